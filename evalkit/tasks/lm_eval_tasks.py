"""The one seam to lm-eval's tasks: requests of a document, results of its answers, evaluate.

`evalkit.tasks.lm_eval_loading` loads them. Everything else in evalkit sees `ScoreRequest` and `TextRequest`, and hands
answers back. What of lm-eval 0.4 is used in both, so that a new release is checked in one place:

    public    lm_eval.tasks.TaskManager(include_path, include_defaults, metadata): load, task_index
              lm_eval.evaluator.evaluate (calls ``loglikelihood`` and ``generate_until`` of what it takes for a model)
              lm_eval.api.metrics.mean, mean_stderr; lm_eval.api.registry: names of aggregations, metrics of its own
              lm_eval.api.instance.Instance (in `evalkit.tasks.trial`: made-up answers go through a task's filters)
    of tasks  eval_docs, fewshot_context, construct_requests, process_results, doc_to_choice, doc_to_target,
              doc_to_text, set_config, config, instances, aggregation, higher_is_better, OUTPUT_TYPE
    private   task._filters          replaced where texts are programs: verdicts come with the texts; else tried
              task.UNSAFE_CODE       which tasks those are, as their YAML says
              task.build_all_requests  replaced once its work is done: `evaluate` would do it again
              task.process_results   what it gives is looked at (`evalkit.tasks.metric_values`)
              task.test_docs, task.validation_docs, task.task_docs  replaced: `process_docs` is called once
              task.doc_to_target     what it gives has no numpy types (`evalkit.tasks.forms.without_numpy`)
              task.multiple_input    whether the choices are in the contexts
              task._metric_fn_list   whether the functions of its metrics are there
              instance.arguments     replaced where --max-new-tokens lowers a length
              lm_eval.utils.env.from_string  keeps what it compiled
              lm_eval.api.task.tqdm  a bar a task that is over at once; in a notebook they would hide our own lines
    loggers   `lm_eval_loading._QUIET`

Besides, `evalkit.tasks.mixed` is a task class of lm-eval's own kind, and `evalkit.models` holds its model classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from evalkit.answering import (
    Answerer,
    Answers,
    Request,
    Session,
    TextRequest,
    score_requests,
    text_requests,
)
from evalkit.answering.asking import ask_scores, ask_texts, chat_template_of
from evalkit.answering.marks import Marks
from evalkit.config.generation_settings import MAX_TOKENS, max_tokens
from evalkit.config.run_config import RunConfig
from evalkit.config.suites import find_task
from evalkit.config.task_files import own_functions, task_file
from evalkit.config.task_modules import importing, stand
from evalkit.data import DataSource
from evalkit.errors import EvalkitError
from evalkit.records.facts import Numerics
from evalkit.scoring.requests import Score
from evalkit.store.sections import FailedText
from evalkit.tasks.choosing import chooser_of
from evalkit.tasks.documents import Documents, fresh, load
from evalkit.tasks.forms import (
    choices_of,
    explaining_task,
    has_own_metrics,
    is_judged,
    target_of,
)
from evalkit.tasks.lm_eval_loading import load_lm_eval_tasks
from evalkit.tasks.metric_values import values_of
from evalkit.tasks.programs import Programs, VerdictFilter
from evalkit.tasks.trial import try_task

Document = Mapping[str, Any]
Answer = Score | str


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What came of all requests.

    Attributes:
        results: lm-eval's part of a record: ``results``, ``configs``, ``versions``, ``n-samples`` ...
        samples: by task lm-eval's entry of each document; texts that are programs bring their verdicts. Besides its
            ``choices``, and its ``document`` as the data have it (``doc`` is what the task made of it).
        marks: what happened to requests.
        numerics: what the answerer's second look found; None without one.
    """

    results: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]]
    marks: Marks
    numerics: Numerics | None


class Tasks:
    """Tasks of lm-eval's, loaded. Mutable: lm-eval keeps each task's requests in it.

    Args:
        names: of tasks (see ``evalkit.config.suites``).
        sources: source of the documents, by suite.

    Raises:
        DataError: documents are missing, incomplete or malformed.
        ConfigError: a task's own file is missing or wrong, states another version or other metrics than its suite's,
            or its functions give for the first documents what no record could hold.
    """

    def __init__(self, names: Iterable[str], sources: Mapping[str, DataSource]) -> None:
        chooser_of.cache_clear()  # the functions may be others than when this process loaded them last
        self._loaded = load_lm_eval_tasks(names, sources)
        self._tasks: dict[str, Any] = self._loaded["tasks"]
        self._data: dict[str, list[Document]] = {}
        self.made: dict[str, str] = {}
        """By task that was not published what it makes of its documents (`evalkit.records.made.made_of`)."""
        self.remarks: list[str] = []
        """What a user should know of their functions, one line each."""
        files = {name: task_file(find_task(name).suite, name) for name in self._tasks}
        self._own = {name: file for name, file in files.items() if file is not None and own_functions(file)}
        for name, file in files.items():
            self._data[name] = list(load(name, sources[find_task(name).suite]).documents)
            with importing(file):
                made, alike = try_task(name, self._tasks[name], self, self._data[name])
            if made is not None:
                self.made[name] = made
            if alike:
                self.remarks.append(
                    f"{name}: of {alike:,} of its {len(self._data[name]):,} documents its functions score the target's "
                    "text as any other, so what they compare answers with is not known, and no comparison names it "
                    "where it changes; give it as the target (doc_to_target)"
                )

    def _task(self, name: str) -> Any:
        """Return lm-eval's task, to be called now: its functions may import what another task has by the same name."""
        if name in self._own:
            stand(self._own[name])
        return self._tasks[name]

    def documents(self, name: str) -> Documents:
        """Return a task's documents, in the data's order; each access to one gives it fresh."""
        documents: Documents = self._tasks[name].task_docs
        return documents

    def requests_of(
        self, name: str, doc_id: int, config: RunConfig | None = None, answerer: Answerer | None = None
    ) -> list[Request]:
        """Return the requests of one document, those for a choice each in the order of the choices.

        Args:
            name: the task.
            doc_id: number of the document.
            config: says whether there is a system prompt and a chat template; None: neither.
            answerer: knows that template.
        """
        task, doc = self._task(name), self.documents(name)[doc_id]
        chat = config is not None and config.apply_chat_template
        template = chat_template_of(answerer) if chat and answerer is not None else None
        context = task.fewshot_context(
            doc,
            num_fewshot=0,
            system_instruction=None if config is None else config.system,
            apply_chat_template=chat,
            chat_template=template,
        )
        built = task.construct_requests(
            doc, context, metadata=(name, doc_id, 1), apply_chat_template=chat, chat_template=template
        )
        return _requests(built if isinstance(built, list) else [built])

    def results_of(self, name: str, doc_id: int, answers: Sequence[Answer]) -> dict[str, float]:
        """Return the metric values of one document; ``answers`` in the order of its requests.

        Raises:
            ConfigError: see `evalkit.tasks.metric_values.values_of`.
        """
        task, doc = self._task(name), self.documents(name)[doc_id]
        given = list(answers)
        judged, own = is_judged(task), has_own_metrics(task)
        return values_of(name, doc_id, lambda: task.process_results(doc, given), given, is_judged=judged, has_own=own)

    def right_of(self, name: str, doc_id: int) -> tuple[list[str] | None, Any]:
        """Return a document's choices and its right answer, of one copy of it and in lm-eval's order."""
        task, doc = self._task(name), self.documents(name)[doc_id]
        return choices_of(task, doc), target_of(task, doc)

    def build(self, config: RunConfig, answerer: Answerer | None) -> None:
        """Build the requests of all documents that the configuration wants.

        Args:
            config: limit, system prompt, chat template, sampling, lengths.
            answerer: knows the chat template; None where there is none to apply.
        """
        import numpy

        random.seed(config.seed)
        numpy.random.seed(config.seed)
        for name, task in self._tasks.items():
            sampling = _sampling(config)
            if sampling and is_judged(task):
                task.set_config(key="generation_kwargs", value=sampling, update=True)
                task.set_config(key="repeats", value=config.samples)
            chat = config.apply_chat_template and answerer is not None
            with _no_collection(), self._explaining(name, config, answerer):
                self._task(name).build_all_requests(
                    limit=config.limit,
                    rank=0,
                    world_size=1,
                    system_instruction=config.system,
                    apply_chat_template=chat,
                    chat_template=chat_template_of(answerer) if chat and answerer is not None else None,
                )
            task.build_all_requests = _built_before
            if config.max_new_tokens is not None:
                _shorten(task, config.max_new_tokens)

    @contextlib.contextmanager
    def _explaining(self, name: str, config: RunConfig, answerer: Answerer | None) -> Iterator[None]:
        """Turn what a task's functions raise of a document that was not tried into one line that names it."""
        try:
            yield
        except EvalkitError:
            raise
        except Exception:  # whatever a person's function may raise
            documents = self.documents(name)
            for doc_id in range(len(documents)):
                with explaining_task(name, doc_id, "its requests cannot be made", documents):
                    self.requests_of(name, doc_id, config, answerer)
            raise

    def requests(self) -> dict[str, list[Request]]:
        """Return by task all requests that `build` built; a text that is wanted several times is there as often."""
        return {
            name: _requests([instance for instance in task.instances for _ in range(instance.repeats)])
            for name, task in self._tasks.items()
        }

    def evaluate(
        self, config: RunConfig, answerer: Answers, session: Session, programs: Programs | None = None
    ) -> Evaluated:
        """Put all requests to an answerer, those of a kind in one call, and make metrics of the answers.

        Args:
            config: as for `build`, which comes before.
            answerer: whom to ask.
            session: where finished work is kept.
            programs: runs the programs among the texts while others are written, and judges them; None: they are not
                run, and their tasks have no score.
        """
        from lm_eval.evaluator import evaluate

        marks = Marks()
        if programs is not None:
            session = dataclasses.replace(session, on_text=self._checked_by(programs))
        for task in self._tasks.values():
            if is_judged(task):
                task._filters = [VerdictFilter(programs)]
        kept = {name: task.process_results for name, task in self._tasks.items()}
        for name, task in self._tasks.items():
            task.process_results = self._checked_results(name, task)
        asked = _AsModel(answerer, session, marks)
        try:
            evaluated = dict(
                evaluate(
                    asked,
                    self._loaded,
                    limit=config.limit,
                    bootstrap_iters=1,  # above 0, so that lm-eval gives standard errors; means need no bootstrap
                    log_samples=True,
                    system_instruction=config.system,
                    apply_chat_template=config.apply_chat_template,
                    confirm_run_unsafe_code=True,  # the sandbox was proven before, or switched off by the user
                )
            )
        finally:
            for name, task in self._tasks.items():
                task.process_results = kept[name]
        samples = evaluated.pop("samples")
        for name, entries in samples.items():
            for entry in entries:
                doc_id = int(entry["doc_id"])
                entry["choices"], entry["target"] = self.right_of(name, doc_id)
                entry["doc"], entry["document"] = self.documents(name)[doc_id], self._data[name][doc_id]
        return Evaluated(evaluated, samples, marks, asked.numerics)

    def _checked_results(self, name: str, task: Any) -> Callable[[Document, Sequence[Any]], dict[str, float]]:
        """Return a task's ``process_results``, looked at; lm-eval calls it once a document, in the data's order."""
        make, judged, own, ids = task.process_results, is_judged(task), has_own_metrics(task), itertools.count()

        def checked(doc: Document, answers: Sequence[Any]) -> dict[str, float]:
            self._task(name)
            # A copy: lm-eval asks the document for its target afterwards.
            return values_of(name, next(ids), lambda: make(fresh(doc), answers), answers, is_judged=judged, has_own=own)

        return checked

    def _checked_by(self, programs: Programs) -> Callable[[TextRequest, str], None]:
        runs = {name for name, task in self._tasks.items() if is_judged(task)}

        def begin(request: TextRequest, text: str) -> None:
            if request.task in runs:
                programs.begin((request.task, request.doc_id, request.sample), self._doc(request), text)

        return begin

    def _doc(self, request: TextRequest) -> Document:
        return self.documents(request.task)[request.doc_id]


class _AsModel:
    """An answerer as what lm-eval's `evaluate` takes for a model: lists of instances in, lists of answers out."""

    rank = 0
    world_size = 1
    tokenizer_name = ""

    def __init__(self, answerer: Answers, session: Session, marks: Marks) -> None:
        self._answerer = answerer
        self._session = session
        self._marks = marks
        self.numerics: Numerics | None = None

    def loglikelihood(self, instances: Sequence[Any]) -> list[Score]:
        requests = score_requests(instances)
        found = ask_scores(self._answerer, requests, self._session)
        self._marks.add(requests, found.marks)
        self.numerics = found.numerics
        return list(found.answers)

    def generate_until(self, instances: Sequence[Any]) -> list[str]:
        requests = text_requests(instances)
        found = ask_texts(self._answerer, requests, self._session)
        self._marks.add(requests, found.marks)
        return [FailedText() if text is None else text for text in found.answers]


def _requests(instances: Sequence[Any]) -> list[Request]:
    texts = iter(text_requests(i for i in instances if i.request_type != "loglikelihood"))
    scores = iter(score_requests(i for i in instances if i.request_type == "loglikelihood"))
    return [next(scores) if i.request_type == "loglikelihood" else next(texts) for i in instances]


def mean_and_stderr(values: Sequence[float]) -> tuple[float, float]:
    """Return lm-eval's mean of a metric's values and its standard error."""
    from lm_eval.api.metrics import mean, mean_stderr

    return float(mean(values)), float(mean_stderr(values))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Look for no garbage while many objects are made that all stay: that takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _built_before(**_options: Any) -> None:
    """Stand for ``build_all_requests`` of a task whose requests are there."""


def _sampling(config: RunConfig) -> dict[str, Any]:
    """Return how programs are drawn where that is asked for, in lm-eval's words; what is left out changes nothing."""
    found: dict[str, Any] = {}
    if config.temperature:
        found = {"do_sample": True, "temperature": config.temperature}
        found |= {"top_p": config.top_p} if config.top_p != 1 else {}
        found |= {"top_k": config.top_k} if config.top_k else {}
    return found | ({"repetition_penalty": config.repetition_penalty} if config.repetition_penalty != 1 else {})


def _shorten(task: Any, max_new_tokens: int) -> None:
    """Lower the number of tokens that a completion may have, in the requests and in the task's own record."""

    def shortened(settings: dict[str, Any]) -> dict[str, Any]:
        shortest = min(max_tokens(settings, max_new_tokens), max_new_tokens)
        return {**{key: value for key, value in settings.items() if key not in MAX_TOKENS}, "max_gen_toks": shortest}

    texts = [instance for instance in task.instances if instance.request_type == "generate_until"]
    for instance in texts:
        context, settings = instance.arguments
        instance.arguments = (context, shortened(settings))
    if texts:
        task.set_config(key="generation_kwargs", value=shortened(dict(task.config.generation_kwargs or {})))
