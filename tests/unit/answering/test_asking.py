"""The seam to whoever answers: what is no answer ends in one line, and nothing of it is kept."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.answering import Capabilities, PendingText, ScoreRequest, Scores, Session, TextRequest, Texts, Work
from evalkit.answering.asking import ask_scores, ask_texts, capabilities_of, chat_template_of, description_of, work_of
from evalkit.errors import ModelError
from evalkit.scoring.requests import TokenRequest
from evalkit.scoring.rows import RowScorer
from evalkit.store.journal import Journal
from evalkit.store.ledger import Ledger, Nowhere
from evalkit.store.sections import RenderedPrompt, Source, read_sections

pytestmark = pytest.mark.torch_free

SCORES = [ScoreRequest("t", k // 2, "question", f" {k}") for k in range(10)]
TEXTS = [TextRequest("t", k, 0, f"prompt {k}", {"until": [], "max_gen_toks": 4}) for k in range(5)]
# By hand: the continuation's number, negated; greedy where it is even. The text is the prompt's last letter.
RIGHT_SCORES = [(-float(k), k % 2 == 0) for k in range(10)]
RIGHT_TEXTS = ["0", "1", "2", "3", "4"]

Rows = Callable[[list[Any]], Any]


def same(given: Any) -> Any:
    return given


class Elsewhere:
    """Answers by hand; each step can be made wrong."""

    in_process = None

    def __init__(self, rows: Rows = same, scores: Rows = same, batch: Rows = same, plan: Rows = same) -> None:
        self.rows, self.wrong_scores, self.batch, self.plan = rows, scores, batch, plan
        self.asked = 0

    def scores(self, requests: Sequence[ScoreRequest], session: Session) -> Any:
        scorer = RowScorer("ours", self._rows, rows=4, max_length=99)
        found, reused = session.scored(requests, lambda r: TokenRequest((1,), tuple(r.continuation.encode())), scorer)
        return self.wrong_scores(Scores(found, {"reused": reused}))

    def texts(self, requests: Sequence[TextRequest], session: Session) -> Any:
        found, reused = session.written(
            requests,
            lambda request: RenderedPrompt(request.prompt, request.settings),
            lambda todo: self.plan([[k] for k in range(len(todo))]),
            lambda batch: by_key(batch, self.batch([pending.prompt.context[-1] for pending in batch])),
        )
        return Texts(found, {"reused": reused})

    def _rows(self, rows: Sequence[TokenRequest]) -> Any:
        self.asked += len(rows)
        numbers = [int(bytes(row.continuation_ids)) for row in rows]
        return by_key(rows, self.rows([(-float(k), k % 2 == 0) for k in numbers]))


def by_key(keys: Sequence[Any], given: Any) -> Any:
    """Answers by what was asked; one too many is to something else, and what is no list is handed over as it is."""
    return dict(zip([*keys, "something else"], given, strict=False)) if isinstance(given, list) else given


def ask(folder: Path, answerer: Any, what: str = "scores") -> list[Any]:
    """Ask once, beside a journal that is continued if it is there."""
    path = folder / "journal.jsonl"
    journal, records = Journal.open_(path) if path.exists() else (Journal.create(path, {}), [])
    try:
        session = Session(Ledger(journal, records))
        if what == "scores":
            return list(ask_scores(answerer, SCORES, session).answers)
        return list(ask_texts(answerer, TEXTS, session).answers)
    finally:
        journal.close()


def results_in(folder: Path) -> int:
    text = (folder / "journal.jsonl").read_text(encoding="utf-8")
    return text.count('"kind":"pack"') + text.count('"kind":"texts"')


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise ValueError


def raising(error: BaseException) -> Rows:
    def fails(_: Any) -> Any:
        raise error

    return fails


def fail(_: Any) -> Any:
    raise RuntimeError("the server\nis gone")


def last_pack(wrong: Rows) -> Rows:
    """Two packs are right, the third one (of two rows) is not."""
    return lambda given: given if len(given) == 4 else wrong(given)


WRONG_ROWS = {
    "too few": lambda given: given[:-1],
    "too many": lambda given: [*given, given[0]],
    "none": lambda _: None,
    "a word": lambda given: [("-3", True), *given[1:]],
    "no pair": lambda given: [-3.0, *given[1:]],
    "None for nan": lambda given: [None, *given[1:]],
    "no number": lambda given: [(None, False), *given[1:]],
    "a flag for a number": lambda given: [(False, False), *given[1:]],
    "no flag": lambda given: [(-3.0, "yes"), *given[1:]],
    "above 0": lambda given: [(5.0, True), *given[1:]],
    "raised": fail,
    "ended": raising(SystemExit(0)),
    "closed": raising(GeneratorExit()),
    "raised without a message": raising(SpeechlessError()),
    "out of memory": raising(MemoryError()),
}


@pytest.mark.parametrize("wrong", WRONG_ROWS.values(), ids=WRONG_ROWS)
def test_a_pack_that_is_no_answer_is_not_kept_and_a_repaired_answerer_goes_on(tmp_path: Path, wrong: Rows) -> None:
    with pytest.raises(ModelError) as error:
        ask(tmp_path, Elsewhere(rows=last_pack(wrong)))
    assert "\n" not in str(error.value)
    assert results_in(tmp_path) == 2  # those before it
    repaired = Elsewhere()
    assert ask(tmp_path, repaired) == RIGHT_SCORES
    assert repaired.asked == 2  # nothing twice


def test_numbers_of_numpy_and_of_rounding_are_scores(tmp_path: Path) -> None:
    import numpy as np

    found = ask(tmp_path, Elsewhere(rows=lambda given: [(np.float32(1e-6), np.bool_(True)) for _ in given]))
    assert found == [(float(np.float32(1e-6)), True)] * 10
    lost = [(math.nan, False)] * 4
    (tmp_path / "nan").mkdir()
    assert [math.isnan(score) for score, _ in ask(tmp_path / "nan", Elsewhere(rows=lambda g: lost[: len(g)]))]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda s: Scores(s.answers[:-1]), "Elsewhere.scores: 9 scores for 10 request(s)"),
        (lambda s: Scores([*s.answers, s.answers[0]]), "Elsewhere.scores: 11 scores for 10 request(s)"),
        (lambda s: Scores(s.answers[::-1]), "answer 1 of 10 is (-9.0, False), but (-0.0, True) was kept of it"),
        (lambda s: Scores(s.answers, {"cutt": [0]}), "unknown mark 'cutt'"),
        (lambda s: Scores(s.answers, {"cut": [10]}), "mark 'cut': no request has the position 10, of 10"),
        (lambda s: Scores(s.answers, {"cut": [True]}), "mark 'cut': no request has the position True, of 10"),
        (lambda s: Scores(s.answers, {"cut": [3, 5, 3]}), "mark 'cut': position 3 is there twice"),
        (lambda s: Scores(s.answers, [("cut", [0])]), "marks: expected positions by mark, found list"),
        (lambda s: Scores(s.answers, {"missing": [4]}), "mark 'missing': answer 5 of 10 is there"),
        (lambda s: Scores(s.answers, {"reused": [0]}), "mark 'reused': 1 of 10 requests, but the session took over 0"),
        (lambda s: Scores(s.answers, {}, "fine"), "numerics: expected Numerics or None, found str"),
        (lambda s: {"answers": s.answers}, "expected Scores, found dict"),
        (fail, "failed with RuntimeError: the server is gone"),
    ],
)
def test_what_is_handed_back_is_what_was_kept(tmp_path: Path, wrong: Rows, says: str) -> None:
    with pytest.raises(ModelError) as error:
        ask(tmp_path, Elsewhere(scores=wrong))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert ask(tmp_path, Elsewhere()) == RIGHT_SCORES  # and what was kept was right


def test_what_was_taken_over_is_marked_whatever_the_answerer_says(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    assert ask(tmp_path / "first", Elsewhere()) == RIGHT_SCORES
    known = read_sections(Journal.open_(tmp_path / "first" / "journal.jsonl")[1], tmp_path)
    for number, says in enumerate((same, lambda s: Scores(s.answers))):
        journal = Journal.create(tmp_path / f"{number}.jsonl", {})
        answerer = Elsewhere(scores=says)
        found = ask_scores(answerer, SCORES, Session(Ledger(journal, source=Source.of("first", known))))
        assert (answerer.asked, found.marks["reused"]) == (0, list(range(10)))
        journal.close()


def test_positions_of_numpy_are_positions(tmp_path: Path) -> None:
    import numpy as np

    journal = Journal.create(tmp_path / "journal.jsonl", {})
    answerer = Elsewhere(scores=lambda s: Scores(s.answers, {"cut": np.array([2, 3])}))
    assert ask_scores(answerer, SCORES, Session(Ledger(journal))).marks["cut"] == [2, 3]
    journal.close()


def test_what_is_not_kept_is_looked_at_all_the_same() -> None:
    asked = []
    ledger = Ledger(Nowhere(), before=lambda: asked.append(1))
    assert list(ask_scores(Elsewhere(), SCORES, Session(ledger)).answers) == RIGHT_SCORES
    assert len(asked) == 3  # before each pack
    swapped = Elsewhere(scores=lambda s: Scores(s.answers[::-1]))
    with pytest.raises(ModelError, match=r"but .* was kept of it"):
        ask_scores(swapped, SCORES, Session(Ledger(Nowhere())))


def test_an_answerer_that_has_nothing_kept_is_refused(tmp_path: Path) -> None:
    class Forgetful(Elsewhere):
        def scores(self, *_: Any) -> Scores:
            return Scores(RIGHT_SCORES)

    with pytest.raises(ModelError, match=r"Forgetful\.scores: calls session\.scored 0 times"):
        ask(tmp_path, Forgetful())
    assert list(ask_scores(Forgetful(), SCORES, Session()).answers) == RIGHT_SCORES  # where nothing is to be kept


def in_place(change: Callable[[list[Any]], object]) -> Rows:
    def changed(requests: list[Any]) -> list[Any]:
        change(requests)
        return requests

    return changed


OTHERS: dict[str, Rows] = {
    "sorted": lambda asked: sorted(asked, key=repr, reverse=True),
    "reversed in place": in_place(list.reverse),
    "one left out": lambda asked: asked[:-1],
    "one twice": lambda asked: [*asked, asked[0]],
    "one for another": lambda asked: [asked[1], *asked[1:]],
    "of another document": lambda asked: [dataclasses.replace(r, doc_id=r.doc_id + 1) for r in asked],
    "one popped": in_place(list.pop),
}
# What n samples of a problem are: equal but for their number.
SAMPLES = [TextRequest("t", k // 4, k % 4, f"p {k // 4}", {"until": ["x"], "max_gen_toks": 4}) for k in range(8)]


@pytest.mark.parametrize("brought", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("asked", [SCORES, TEXTS, SAMPLES], ids=["scores", "texts", "samples"])
def test_requests_come_to_the_session_as_they_were_asked(tmp_path: Path, asked: Any, brought: Rows) -> None:
    class Sorting(Elsewhere):
        def scores(self, requests: Sequence[ScoreRequest], session: Session) -> Any:
            return super().scores(brought(requests), session)  # type: ignore[arg-type]

        def texts(self, requests: Sequence[TextRequest], session: Session) -> Any:
            return super().texts(brought(requests), session)  # type: ignore[arg-type]

    ask_them: Any = ask_scores if asked is SCORES else ask_texts
    before = list(asked)
    for ledger in (None, Ledger(Journal.create(tmp_path / "journal.jsonl", {}))):
        with pytest.raises(ModelError, match=r"^session\.(scored|written): ") as error:
            ask_them(Sorting(), asked, Session(ledger))
        assert "\n" not in str(error.value)
    assert asked == before
    assert results_in(tmp_path) == 0
    assert (tmp_path / "journal.jsonl").read_text().count("\n") == 1  # the header: no plan of wrong requests


class Shuffling(Elsewhere):
    """Sorts whatever it is given on its way, and says whose each answer is."""

    def __init__(self, order: Callable[[Any], list[Any]]) -> None:
        super().__init__()
        self.order = order

    def texts(self, requests: Sequence[TextRequest], session: Session) -> Any:
        return Texts(
            session.written(
                requests,
                lambda request: RenderedPrompt(request.prompt, request.settings),
                lambda todo: self.order([self.order(range(len(todo)))]),
                lambda batch: {pending: pending.request.prompt[-1] for pending in self.order(batch)},
            )[0]
        )

    def _rows(self, rows: Sequence[TokenRequest]) -> Any:
        numbers = {row: int(bytes(row.continuation_ids)) for row in self.order(rows)}
        return {row: (-float(number), number % 2 == 0) for row, number in numbers.items()}


@pytest.mark.parametrize("order", [lambda x: list(reversed(x)), lambda x: sorted(x, key=repr), list])
@pytest.mark.parametrize("kept", [True, False])
def test_answers_are_taken_by_request_in_whatever_order_they_come(
    order: Callable[[Any], list[Any]], *, kept: bool
) -> None:
    session = Session(Ledger(Nowhere())) if kept else Session()
    assert list(ask_scores(Shuffling(order), SCORES, session).answers) == RIGHT_SCORES
    session = Session(Ledger(Nowhere())) if kept else Session()
    # Equal prompts are themselves alone: each of the samples has its own text.
    assert list(ask_texts(Shuffling(order), SAMPLES, session).answers) == ["0"] * 4 + ["1"] * 4


def test_equal_prompts_are_different_requests() -> None:
    written: list[int] = []

    class Drawing(Elsewhere):
        def texts(self, requests: Sequence[TextRequest], session: Session) -> Any:
            def compute(batch: Sequence[PendingText]) -> dict[PendingText, str | None]:
                written.append(len({*batch}))
                return {pending: str(pending.request.sample) for pending in reversed(batch)}

            prompt = RenderedPrompt("p", {})
            return Texts(session.written(requests, lambda _: prompt, lambda todo: [range(len(todo))], compute)[0])

    assert list(ask_texts(Drawing(), SAMPLES, Session()).answers) == ["0", "1", "2", "3"] * 2
    assert written == [8]


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (lambda batch: ["a"] * len(batch), "expected each request with its answer, as a mapping, found ['a', 'a']"),
        (lambda batch: {pending.prompt.context: "a" for pending in batch}, "2 of 2 request(s) without an answer"),
        (lambda batch: {batch[0]: "a"}, "1 of 2 request(s) without an answer"),
        (lambda batch: {**dict.fromkeys(batch, "a"), 3: "a"}, "3 answers for 2 request(s); give those asked for alone"),
    ],
)
def test_answers_that_do_not_say_whose_they_are_are_refused(answers: Callable[[Any], Any], says: str) -> None:
    class Listing(Elsewhere):
        def texts(self, requests: Sequence[TextRequest], session: Session) -> Any:
            prompt_of = lambda r: RenderedPrompt(r.prompt, r.settings)  # noqa: E731
            return Texts(session.written(requests, prompt_of, lambda todo: [range(len(todo))], answers)[0])

    with pytest.raises(ModelError) as error:
        ask_texts(Listing(), TEXTS[:2], Session(Ledger(Nowhere())))
    assert str(error.value).startswith(f"session.written: {says}")
    assert "\n" not in str(error.value)


def test_requests_that_are_equal_are_the_same_ones() -> None:
    """An adapter may make its own of the same values."""

    class Copying(Elsewhere):
        def texts(self, requests: Sequence[TextRequest], session: Session) -> Any:
            own = [TextRequest(r.task, r.doc_id, r.sample, r.prompt, dict(r.settings)) for r in requests]
            return super().texts(own, session)

    assert list(ask_texts(Copying(), SAMPLES, Session(Ledger(Nowhere()))).answers) == ["0"] * 4 + ["1"] * 4


def test_settings_that_an_answerer_changes_are_not_those_of_the_request() -> None:
    class Changing(Elsewhere):
        def texts(self, requests: Sequence[TextRequest], session: Session) -> Any:
            for request in requests:
                request.settings["until"].clear()
            return super().texts(requests, session)

    with pytest.raises(ModelError, match=r"^session\.written: request 1 of 8 is not the one asked for"):
        ask_texts(Changing(), SAMPLES, Session(Ledger(Nowhere())))
    assert SAMPLES[0].settings["until"] == ["x"]


def test_a_second_call_of_the_session_begins_nothing(tmp_path: Path) -> None:
    class Twice(Elsewhere):
        def scores(self, requests: Sequence[ScoreRequest], session: Session) -> Any:
            super().scores(requests, session)
            return super().scores(requests, session)

    with pytest.raises(ModelError, match=r"session\.scored: called a second time"):
        ask(tmp_path, Twice())
    repaired = Elsewhere()
    assert ask(tmp_path, repaired) == RIGHT_SCORES
    assert repaired.asked == 0


def test_what_a_user_stops_is_no_fault_of_the_answerer(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path, Elsewhere(rows=raising(KeyboardInterrupt())))


def test_out_of_memory_names_who_answers(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^out of memory on ours for one row of 2 tokens \(MemoryError\); "):
        ask(tmp_path, Elsewhere(rows=raising(MemoryError())))


# By hand: what comes before the first stop string, applied in their order.
CUTS = [
    ("A\n\nB. C", ["\n\n"], "A"),
    ("A. C", ["C", "."], "A"),
    ("A", ["\n"], "A"),
    ("\nA", ["\n"], ""),
    ("A\nB", "\n", "A"),
    ("A\nB", [], "A\nB"),
    ("A\nB", [""], "A\nB"),
    ("A\nB", None, "A\nB"),
    (None, ["\n"], None),
]


@pytest.mark.parametrize(("written", "until", "kept"), CUTS)
def test_a_text_ends_at_its_stop_string_whoever_wrote_it(tmp_path: Path, written: Any, until: Any, kept: Any) -> None:
    asked = [TextRequest("t", 0, 0, "p", {"until": until, "max_gen_toks": 4})]
    told: list[str] = []
    journal = Journal.create(tmp_path / "journal.jsonl", {})
    for ledger in (None, Ledger(journal)):
        session = Session(ledger, on_text=lambda _, text: told.append(text))
        assert list(ask_texts(Elsewhere(batch=lambda _: [written]), asked, session).answers) == [kept]
    journal.close()
    assert told == [] if kept is None else [kept, kept]


def test_a_text_is_no_longer_than_its_tokens_can_be(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^session\.written: a text of 200,000 characters, where 4 tokens"):
        ask(tmp_path, Elsewhere(batch=lambda _: ["x" * 200_000]), "texts")
    assert results_in(tmp_path) == 0
    assert ask(tmp_path, Elsewhere(batch=lambda _: [" " * 400]), "texts") == [" " * 400] * 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": lambda given: given[:-1]},
        {"batch": lambda given: [*given, "more"]},
        {"batch": lambda _: [3]},
        {"batch": lambda _: None},
        {"batch": fail},
        {"batch": raising(SystemExit(0))},
        {"plan": lambda batches: batches[:-1]},
        {"plan": lambda batches: [*batches, [0]]},
    ],
)
def test_texts_that_are_none_are_not_kept(tmp_path: Path, wrong: dict[str, Rows]) -> None:
    with pytest.raises(ModelError) as error:
        ask(tmp_path, Elsewhere(**wrong), "texts")
    assert "\n" not in str(error.value)
    assert results_in(tmp_path) == 0
    assert ask(tmp_path, Elsewhere(), "texts") == RIGHT_TEXTS


def test_a_text_that_failed_is_none(tmp_path: Path) -> None:
    assert ask(tmp_path, Elsewhere(batch=lambda _: [None]), "texts") == [None] * 5


IDENTITY = {
    "model": {"model_fingerprint": "x", "loader": "y"}, "tokenizer": {}, "chat_template": None, "generation": {},
    "dtype": "float64",
}  # fmt: skip
DESCRIBED = {"loader": "y", "device": "cpu", "dtype": "float64", "versions": {}, "identity": IDENTITY}


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (None, "describe: it is no mapping of keys, but NoneType"),
        ({}, "describe: key 'device' is missing"),
        ({key: value for key, value in DESCRIBED.items() if key != "identity"}, "key 'identity' is missing"),
        (DESCRIBED | {"identity": {}}, "key 'identity.chat_template' is missing"),
        (DESCRIBED | {"identity": IDENTITY | {"model": {1, 2}}}, "Object of type set is not JSON serializable"),
        (DESCRIBED | {"identity": IDENTITY | {"model": {}}}, "identity.model.model_fingerprint: expected a text"),
        (DESCRIBED | {"identity": IDENTITY | {"model": {"loader": "y"}}}, "model_fingerprint: expected a text"),
        (
            DESCRIBED | {"identity": IDENTITY | {"model": {"loader": "y", "model_fingerprint": " "}}},
            "model_fingerprint: expected a text of one line, found ' '",
        ),
        (DESCRIBED | {"identity": IDENTITY | {"model": {"model_fingerprint": "x"}}}, "identity.model.loader: expected"),
        (DESCRIBED | {"identity": IDENTITY | {"model": ["x"]}}, "identity.model: no mapping of keys, but list"),
        (DESCRIBED | {"identity": IDENTITY | {"other": [1]}}, "identity.other: no mapping of keys, but list"),
        (DESCRIBED | {"loader": ""}, "loader: expected a text of one line, found ''"),
        (DESCRIBED | {"device": "a\nb"}, "device: expected a text of one line, found 'a\\nb'"),
        (DESCRIBED | {"dtype": None}, "dtype: expected a text of one line, found null"),
        (DESCRIBED | {"identity": IDENTITY | {"other": {"p": float("nan")}}}, "not JSON compliant"),
    ],
)
def test_a_description_says_what_a_run_depends_on(said: Any, says: str) -> None:
    class Described(Elsewhere):
        def describe(self) -> Any:
            return said

    with pytest.raises(ModelError) as error:
        description_of(Described())  # type: ignore[arg-type]
    assert says in str(error.value)


WRONG_WORK = [
    None,
    Work("", "b"),
    Work("a", "b", rows=0),
    Work("a", "b", rows="many"),  # type: ignore[arg-type]
    Work("a", "b", max_difference=math.nan),
    Work("a", "b", max_difference=-1.0),
]


@pytest.mark.parametrize("work", WRONG_WORK)
def test_how_it_works_is_looked_at(work: Any) -> None:
    class Working(Elsewhere):
        def work(self) -> Any:
            return work

    with pytest.raises(ModelError, match=r"Working\.work: "):
        work_of(Working())  # type: ignore[arg-type]


class Whole(Elsewhere):
    """Has all that an Answerer has."""

    capabilities: Any = Capabilities()

    def describe(self) -> Any:
        return DESCRIBED

    def work(self) -> Work:
        return Work("ours", "there is no other")

    def check_in_use(self) -> None:
        pass

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> Any:
        return {"said": chat_history, "open": add_generation_prompt}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"capabilities": None}, "capabilities: expected Capabilities, found null"),
        ({"capabilities": {"scores": True}}, "capabilities: expected Capabilities, found {'scores': True}"),
        ({"capabilities": property(fail)}, "failed with RuntimeError: the server is gone"),
        ({"capabilities": property(raising(SystemExit(0)))}, "failed with SystemExit: 0"),
        ({"capabilities": Capabilities(options="dtype")}, "options: expected keys, found 'dtype'"),
        ({"capabilities": Capabilities(options=(3,))}, "options: expected keys"),  # type: ignore[arg-type]
        ({"capabilities": Capabilities(texts=1)}, "texts: expected True or False, found 1"),  # type: ignore[arg-type]
        ({"scores": None}, "has no method scores"),
        ({"work": 3}, "has no method work"),
    ],
)
def test_what_it_can_do_is_looked_at(wrong: dict[str, Any], says: str) -> None:
    assert capabilities_of(Whole()) == Capabilities()
    with pytest.raises(ModelError) as error:
        capabilities_of(type("Wrong", (Whole,), wrong)())
    assert str(error.value).startswith("Wrong")
    assert says in str(error.value)


def test_a_conversation_becomes_a_text() -> None:
    with pytest.raises(ModelError, match=r"^Whole\.apply_chat_template: expected a text, found {'said': "):
        chat_template_of(Whole())([])


def test_a_fault_of_the_model_in_this_process_keeps_its_traceback(tmp_path: Path) -> None:
    class Here(Elsewhere):
        in_process = "a model"  # type: ignore[assignment]

    with pytest.raises(RuntimeError, match="is gone"):
        ask(tmp_path, Here(rows=fail))
