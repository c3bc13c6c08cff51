"""What a task's own functions and templates give, tried before any work on its first documents and made-up answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from evalkit.answering import Request, ScoreRequest
from evalkit.errors import ConfigError
from evalkit.scoring.requests import Score
from evalkit.suites import find_task, is_published
from evalkit.task_files import named_file, own_functions, task_file
from evalkit.tasks.documents import Documents
from evalkit.tasks.forms import (
    check_documents,
    check_same,
    explaining_task,
    has_own_metrics,
    is_judged,
    lacking_column,
    text_of_target,
    unknown_column,
)
from evalkit.tasks.metric_values import try_choices

_TRIED = 4
"""Documents of each task that its functions are tried on several times, with several answers."""

_AGAIN = 3
"""How often their functions are called again, to see whether they give the same."""

Document = Mapping[str, Any]
Answer = Score | str


class Loaded(Protocol):
    """The part of `evalkit.tasks.lm_eval_tasks.Tasks` that is tried."""

    def documents(self, name: str) -> Documents: ...

    def requests_of(self, name: str, doc_id: int) -> list[Request]: ...

    def results_of(self, name: str, doc_id: int, answers: Sequence[Answer]) -> dict[str, float]: ...

    def right_of(self, name: str, doc_id: int) -> tuple[list[str] | None, Any]: ...


def try_task(name: str, task: Any, tasks: Loaded, data: Sequence[Document]) -> None:
    """Refuse a task whose functions give, for made-up answers, what no record could hold.

    Args:
        name: the task's.
        task: lm-eval's.
        tasks: has it.
        data: its documents as they stand in its data.

    Raises:
        ConfigError: as said; or its documents are others, or no column has the name that its file says.
    """
    documents = tasks.documents(name)
    if (what := unknown_column(task)) is not None:
        raise ConfigError(f"{named_file(find_task(name).suite, name)}: {what}")
    check_documents(name, task, documents, data)
    if is_judged(task):
        return
    for doc_id in range(min(_TRIED, len(documents))):
        with explaining_task(name, doc_id, "its requests cannot be made", documents):
            requests = tasks.requests_of(name, doc_id)
            again = [_asked(tasks.requests_of(name, doc_id)) for _ in range(_AGAIN)]
        check_same(name, task, doc_id, _asked(requests), again, ("doc_to_text", "doc_to_choice", "doc_to_target"))
        with explaining_task(name, doc_id, "its choices cannot be made", documents):
            choices, target = tasks.right_of(name, doc_id)
            right = text_of_target(task, documents[doc_id])
        is_of_texts = not any(isinstance(request, ScoreRequest) for request in requests)
        for best in [0] if is_of_texts else sorted({0, len(requests) // 2, len(requests) - 1}):
            answers = _made_up(requests, best)
            values = _try_results(name, task, doc_id, tasks, answers, right)
            try_choices(name, doc_id, documents[doc_id], target, choices, answers, values)
    if not is_published(name):  # else its layout and evalkit's functions know the same columns
        _try_every(name, task, tasks)


def _made_up(requests: Sequence[Request], best: int) -> list[Answer]:
    """Return answers to a document's requests, of which one is the likeliest."""
    return [
        (-1.0 - abs(place - best) / 8, False) if isinstance(request, ScoreRequest) else ""
        for place, request in enumerate(requests)
    ]


def _try_every(name: str, task: Any, tasks: Loaded) -> None:
    """Make the requests of every document, its choices and its target: any may lack what the first ones have.

    The values that a person's function makes of choices are held against what they say was picked.
    """
    documents = tasks.documents(name)
    file = task_file(find_task(name).suite, name)
    is_own = file is not None and bool(own_functions(file)) and has_own_metrics(task)
    for doc_id in range(len(documents)):
        with explaining_task(name, doc_id, "its requests cannot be made", documents):
            requests = tasks.requests_of(name, doc_id)
        with explaining_task(name, doc_id, "its choices cannot be made", documents):
            choices, target = tasks.right_of(name, doc_id)
            right = text_of_target(task, documents[doc_id])
        if not is_own:
            continue
        if all(isinstance(request, ScoreRequest) for request in requests):
            for best in {0, len(requests) - 1}:
                answers = _made_up(requests, best)
                values = tasks.results_of(name, doc_id, answers)
                try_choices(name, doc_id, documents[doc_id], target, choices, answers, values)
        else:
            _try_results(name, task, doc_id, tasks, _made_up(requests, 0), right, again=0)


def _try_results(
    name: str, task: Any, doc_id: int, tasks: Loaded, answers: Sequence[Answer], right: str, again: int = _AGAIN
) -> dict[str, float] | None:
    """Return the metric values of made-up answers; None where there are none.

    In place of texts stand no text and the right one, as the task's filters leave them. Of a text that no model wrote
    a person's function may well make nothing; lm-eval's own metrics make something of one of them.
    """
    texts = [isinstance(answer, str) for answer in answers]
    makers = ("process_results", "doc_to_target", "doc_to_choice")
    found: dict[str, float] | None = None
    wrong: ConfigError | None = None
    for text in ("", right) if any(texts) else ("",):
        try:
            given = _filtered(task, tasks.documents(name)[doc_id], text, len(answers)) if any(texts) else answers
        except Exception:  # a filter may take nothing but a model's texts
            continue
        made = [new if is_text else old for new, old, is_text in zip(given, answers, texts, strict=True)]
        try:
            found = tasks.results_of(name, doc_id, made)
            others = [tasks.results_of(name, doc_id, made) for _ in range(again)]
        except ConfigError as error:
            if (lacking := lacking_column(name, error, tasks.documents(name))) is not None:
                raise lacking from error
            wrong = error
            continue
        check_same(name, task, doc_id, found, others, makers)
    if found is None and wrong is not None and not (any(texts) and has_own_metrics(task)):
        raise wrong
    return found


def _filtered(task: Any, doc: Document, text: str, count: int) -> list[Any]:
    """Return what a task's filters make of a text that answers a document so many times, as its metrics get it."""
    from lm_eval.api.instance import Instance

    made = [
        Instance("generate_until", dict(doc), ("", {}), place, resps=[text], filtered_resps={})
        for place in range(count)
    ]
    for one in task._filters:
        one.apply(made)
    return [next(iter(instance.filtered_resps.values()), text) for instance in made]


def _asked(requests: Sequence[Request]) -> list[tuple[Any, ...]]:
    """Return what is asked of a model."""
    return [
        (it.context, it.continuation) if isinstance(it, ScoreRequest) else (it.prompt, it.settings) for it in requests
    ]
