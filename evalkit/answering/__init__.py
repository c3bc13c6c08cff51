"""The answering protocol: whoever scores continuations and writes texts for a run, an `Answerer`.

::

    run, gate, partial   ask; they know no model
    tasks/lm_eval_tasks  documents -> requests, answers -> metrics
    Answerer             requests -> answers: the model in this process (models/scored.py), or yours
    Answers              the part of it that answers; a journal of earlier answers (partial.py) is no more than that
    Session              where finished work is kept and who is told of it: one value, given with the requests

Nothing is set on an answerer from outside. What it needs to know of a run comes as the `Session`; what it did besides
answering (a cut prompt, a result that was taken over) comes back with the answers. CONTRIBUTING.md has the recipe for a
new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

from evalkit.answering.asked import Call, text_as_asked
from evalkit.errors import ModelError
from evalkit.records.facts import Numerics
from evalkit.scoring.checked import by_request, check_batches, checked_texts
from evalkit.scoring.packs import Scorer, score
from evalkit.scoring.requests import Score, TokenRequest

if TYPE_CHECKING:
    from evalkit.store.ledger import Ledger
    from evalkit.store.sections import RenderedPrompt

Mark = Literal["cut", "apart", "reused", "missing"]
"""What happened to a request: ``cut``: its beginning had no place in the context. ``apart``: context and continuation
were encoded apart, since a token spans their join. ``reused``: its answer came from another run (the session says it,
too). ``missing``: it has no answer yet; nan or None stands in its place."""


@dataclass(frozen=True)
class ScoreRequest:
    """A continuation whose log-probability is wanted.

    Attributes:
        task, doc_id: which document asks.
        context: what precedes; may be empty.
        continuation: what is scored.
    """

    task: str
    doc_id: int
    context: str
    continuation: str


@dataclass(frozen=True)
class TextRequest:
    """A text that is to be continued.

    Attributes:
        task, doc_id: which document asks.
        sample: number of this text among those that the document wants.
        prompt: the text; where ``settings`` say ``chat``, the user's turn for a chat template.
        settings: ``until`` (stop strings), ``max_gen_toks``, ``do_sample``, ``temperature`` ...; JSON values.
    """

    task: str
    doc_id: int
    sample: int
    prompt: str
    settings: Mapping[str, Any]


Request = ScoreRequest | TextRequest


@dataclass(frozen=True)
class Scores:
    """Answers to score requests.

    Attributes:
        answers: (log-probability in nats, is greedy), in the order of the requests; nan where there is none.
        marks: by mark the positions of the requests that it is about.
        numerics: what a second look in float32 found (`evalkit.scoring.recheck`); None without one.
    """

    answers: Sequence[Score]
    marks: Mapping[Mark, Sequence[int]] = field(default_factory=dict)
    numerics: Numerics | None = None


@dataclass(frozen=True)
class Texts:
    """Answers to text requests.

    Attributes:
        answers: what follows each prompt, in the order of the requests; None where generation failed.
        marks: by mark the positions of the requests that it is about.
    """

    answers: Sequence[str | None]
    marks: Mapping[Mark, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Capabilities:
    """What an answerer can do.

    Attributes:
        scores: log-probabilities of given continuations.
        texts: continuations of its own.
        chat_template: it knows the model's chat template.
        options: keys of `evalkit.config.ModelConfig` that it heeds (``dtype``, ``max_length``); a run that gives others
            is refused before it begins.
    """

    scores: bool = True
    texts: bool = True
    chat_template: bool = True
    options: Collection[str] = ()


@dataclass(frozen=True)
class Work:
    """How work is done where that moves an answer's last bits; kept in the journal, and kept to when a run is resumed.

    Attributes:
        scorer: name of what scores; part of the run's identity.
        reason: why that one; a sentence for the report.
        threads: that a model on the CPU computes with; None elsewhere.
        rows: of a generated batch.
        attention: which kind the scorer uses; part of the run's identity.
        max_difference: greatest difference of a probe of the scorer, in nats; None: not measured.
        prepacks: whether generation on the CPU multiplies with ordered copies of the weights, which memory decides;
            None: there is nothing to decide.
    """

    scorer: str
    reason: str
    threads: int | None = None
    rows: int = 1
    attention: str = ""
    max_difference: float | None = None
    prepacks: bool | None = None


class ModelsIdentity(TypedDict):
    """What every answerer says of that which its answers depend on; `AnswererIdentity` has what not all have."""

    model: Mapping[str, object]  # with "model_fingerprint" and "loader"
    tokenizer: Mapping[str, object]
    chat_template: str | None
    generation: Mapping[str, object]
    dtype: str


class AnswererIdentity(ModelsIdentity, total=False):
    """What answers depend on, in the groups that `evalkit.store.identity.REUSED` names; JSON values.

    ``model``, ``tokenizer`` and ``generation`` have the keys that `evalkit.records.identity` declares, or some of them.
    """

    other: Mapping[str, object]  # any keys: a server's version, its settings...


class Described(TypedDict):
    """What every record says of its model; `FullyDescribed` has what not all can say."""

    loader: str
    device: str
    dtype: str
    identity: AnswererIdentity
    versions: Mapping[str, str | None]


class FullyDescribed(Described, total=False):
    """The model's part of a record; docs/results.md says what each is."""

    name: str
    origin: str
    folder: str | None
    revision: str | None
    device_name: str | None
    instruction_set: str | None
    quantization: str | None
    architecture: str
    parameters: int
    max_length: int
    trust_remote_code: bool
    tokenizer: str
    vocabulary: int | None
    add_bos: bool
    has_chat_template: bool
    chat_template_sha256: str | None
    weights: list[str]
    weights_unused: list[str]
    adapter: Mapping[str, str | None] | None
    generation: Mapping[str, object]
    model_fingerprint: str | None
    tokenizer_fingerprint: str | None


class Answers(Protocol):
    """Who has answers."""

    def scores(self, requests: Sequence[ScoreRequest], session: Session) -> Scores:
        """Score continuations; all requests of all tasks come in one call. Each finished pack goes to the session."""
        ...

    def texts(self, requests: Sequence[TextRequest], session: Session) -> Texts:
        """Continue prompts; each finished batch goes to the session."""
        ...


class Answerer(Answers, Protocol):
    """Who can answer a run's requests: it says besides what it is, and what it can do."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; a run that needs more is refused before it begins."""
        ...

    @property
    def in_process(self) -> object | None:
        """The model itself, a `ScoredLM` of `evalkit.models`, for looks that need its weights and tokenizer (preflight,
        dry run); None elsewhere."""
        ...

    def describe(self) -> FullyDescribed:
        """Say what it is; a run is resumed only by an answerer whose ``identity`` is the same."""
        ...

    def work(self) -> Work:
        """Say how it would work, were nothing prescribed."""
        ...

    def check_in_use(self) -> None:
        """Raise `ModelError` where it is not what it was when it was described; asked before results are kept."""
        ...

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return a conversation as the text that the model was trained on; `ModelError` where it can't."""
        ...


@dataclass(frozen=True, eq=False)
class PendingText:
    """A text that is to be written now; it is itself alone, even where another asks the same.

    Attributes:
        request: what was asked.
        prompt: the same as the model sees it.
    """

    request: TextRequest
    prompt: RenderedPrompt


def _nobody(_request: TextRequest, _text: str) -> None:
    """Stand for nobody who wants to be told."""


@dataclass(frozen=True)
class Session:
    """What an answerer is told of the run that asks.

    Attributes:
        ledger: keeps finished work and knows what is there; None: nothing is kept.
        seed: of sampled texts.
        threads: to compute with on the CPU; None: as many as there are now.
        rows: of a generated batch; None: the answerer's own.
        prepacks: as in `Work`; None: the answerer's own.
        on_text: told of each finished text, once, as soon as it is there (also of those that were kept).
        call: what is asked in this call, which `scored` or `written` is then given; `asking` sets it.
    """

    ledger: Ledger | None = None
    seed: int = 0
    threads: int | None = None
    rows: int | None = None
    prepacks: bool | None = None
    on_text: Callable[[TextRequest, str], None] = _nobody
    call: Call | None = None

    def scored(
        self, requests: Sequence[ScoreRequest], encode: Callable[[ScoreRequest], TokenRequest], scorer: Scorer
    ) -> tuple[list[Score], list[int]]:
        """Score what is not kept, and keep it pack by pack.

        Args:
            requests: all of them, as they came.
            encode: returns one of them as ids; whatever ids stand for, equal ones must mean equal requests.
            scorer: plans packs and computes them, in any order.

        Returns:
            The scores, and the positions of those that came from another run.

        Raises:
            ModelError: the requests are not those asked for in this call, or not in their order.
        """
        self._check("session.scored", requests)
        encoded = [encode(request) for request in requests]
        if self.ledger is None:
            return score(scorer, encoded), []
        scores = self.ledger.score(encoded, scorer, _documents(requests))
        return scores, list(self.ledger.reused)

    def written(
        self,
        requests: Sequence[TextRequest],
        prompt_of: Callable[[TextRequest], RenderedPrompt],
        plan: Callable[[Sequence[RenderedPrompt]], Sequence[Sequence[int]]],
        compute: Callable[[Sequence[PendingText]], Mapping[PendingText, str | None]],
    ) -> tuple[list[str | None], list[int]]:
        """Write what is not kept, and keep it batch by batch; tells ``on_text``.

        Args:
            requests: all of them, as they came.
            prompt_of: returns one of them as the model sees it; equal prompts must mean equal requests.
            plan: groups prompts into batches: lists of positions.
            compute: returns the text of each of a batch; None for one that fails. What follows a stop string
                (``until``) is cut off here.

        Returns:
            The texts, and the positions of those that came from another run.

        Raises:
            ModelError: the requests are not those asked for in this call, or not in their order; a text is longer than
                ``max_gen_toks`` tokens can be.
        """

        def one_by_one(
            batches: Iterator[tuple[int, list[PendingText]]],
        ) -> Iterator[tuple[int, Mapping[PendingText, str | None]]]:
            for number, batch in batches:
                yield number, compute(batch)

        return self.written_stream(requests, prompt_of, plan, one_by_one)

    def written_stream(
        self,
        requests: Sequence[TextRequest],
        prompt_of: Callable[[TextRequest], RenderedPrompt],
        plan: Callable[[Sequence[RenderedPrompt]], Sequence[Sequence[int]]],
        stream: Callable[
            [Iterator[tuple[int, list[PendingText]]]], Iterator[tuple[int, Mapping[PendingText, str | None]]]
        ],
    ) -> tuple[list[str | None], list[int]]:
        """Do as `written` does, for whoever begins batches before others are finished.

        Args:
            requests, prompt_of, plan: as there; a batch's texts must not depend on what is generated beside it.
            stream: is given (number, batch) when it asks for the next, and yields (number, text of each of that batch)
                when it is finished, in any order.
        """
        who = "session.written"
        self._check(who, requests)
        requests = tuple(requests)  # the answerer may change its list
        pending = [PendingText(request, prompt_of(request)) for request in requests]
        prompts = [each.prompt for each in pending]
        told: set[int] = set()

        def tell(positions: Iterable[int], texts: Sequence[str | None]) -> None:
            for position, text in zip(positions, texts, strict=True):
                if text is not None and position not in told:
                    told.add(position)
                    self.on_text(requests[position], text)

        def stream_and_tell(
            batches: Iterator[tuple[int, list[int]]],
        ) -> Iterator[tuple[int, Sequence[str | None]]]:
            asked: dict[int, list[int]] = {}

            def noted() -> Iterator[tuple[int, list[PendingText]]]:
                for number, positions in batches:
                    asked[number] = positions
                    yield number, [pending[position] for position in positions]

            source = noted()
            for number, found in stream(source):
                if number not in asked:
                    raise ModelError(f"{who}: texts of batch {number!r}, which is not asked for or was given")
                positions = asked.pop(number)
                given = checked_texts(who, by_request(who, found, [pending[p] for p in positions]), len(positions))
                texts = [
                    text_as_asked(who, text, requests[position].settings)
                    for position, text in zip(positions, given, strict=True)
                ]
                tell(positions, texts)
                yield number, texts
            if next(source, None) is not None or asked:
                raise ModelError(f"{who}: no texts of batch {min(asked)}, and no more come")

        reused: list[int] = []
        if self.ledger is None:
            texts: list[str | None] = [None] * len(requests)
            batches = dict(enumerate([list(batch) for batch in plan(prompts)]))
            check_batches("plan of the texts", list(batches.values()), len(prompts))
            for number, found in stream_and_tell(iter(batches.items())):
                for position, text in zip(batches[number], found, strict=True):
                    texts[position] = text
        else:
            texts = self.ledger.generate(prompts, plan, stream_and_tell, _documents(requests))
            reused = list(self.ledger.reused)
        tell(range(len(texts)), texts)  # those that were there before
        return texts, reused

    def _check(self, who: str, requests: Sequence[Request]) -> None:
        if self.call is not None:
            self.call.check(who, requests, None if self.ledger is None else self.ledger.called)


def _documents(requests: Iterable[Request]) -> list[tuple[str, int]]:
    return [(request.task, request.doc_id) for request in requests]


def score_requests(instances: Iterable[Any]) -> list[ScoreRequest]:
    """Return lm-eval's instances with (context, continuation) as requests."""
    return [ScoreRequest(str(i.task_name), int(i.doc_id or 0), *i.args) for i in instances]


def text_requests(instances: Iterable[Any]) -> list[TextRequest]:
    """Return lm-eval's instances with (context, settings) as requests; repetitions are numbered."""
    seen: Counter[tuple[str, int, int]] = Counter()
    found = []
    for i in instances:
        task, doc_id = str(i.task_name), int(i.doc_id or 0)
        found.append(TextRequest(task, doc_id, seen[task, doc_id, i.idx], str(i.args[0]), dict(i.args[1])))
        seen[task, doc_id, i.idx] += 1
    return found
