"""The ledger: what a resumed run computes again, and that its results are those of an uninterrupted one."""

from __future__ import annotations

import errno
import math
import random
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.errors import StoreError
from evalkit.evaluation.interrupt import Interrupted
from evalkit.scoring.forest import Pack, TokenRows, Tree, build_rows
from evalkit.scoring.packs import Scored, iter_packs
from evalkit.scoring.plan import PackPlan, requests_sha256
from evalkit.scoring.requests import Score, TokenRequest
from evalkit.store import journal
from evalkit.store.journal import Journal
from evalkit.store.ledger import Ledger
from evalkit.store.sections import (
    RenderedPrompt,
    Section,
    Source,
    plan_batches,
    plan_texts,
    prompt_keys,
    read_sections,
    request_key,
)
from tests.support.faults import install

pytestmark = pytest.mark.torch_free

HEADER = {"identity": {}}


class FakeScorer:
    """Scores that depend on what shares a part, as floating-point sums do.

    Attributes:
        computed: the first rows of the parts computed.
    """

    name = "fake"
    max_length = 64
    max_batch_tokens = 10**9
    device: Any = SimpleNamespace(type="cpu")

    def __init__(self, pack_size: int = 3, bad: Iterable[int] = (), memory: int = 10**9, dies_at: int = -1) -> None:
        self.pack_size, self.bad, self.memory, self.dies_at = pack_size, set(bad), memory, dies_at
        self.computed: list[int] = []

    def rows(self, requests: Sequence[TokenRequest]) -> TokenRows:
        return build_rows(requests, self.max_length)

    def plan(self, requests: Sequence[TokenRequest], rows: TokenRows | None = None) -> PackPlan:
        assert rows is None
        starts = range(0, len(requests), self.pack_size)
        packs = [
            Pack(tuple(Tree(k, k + 1, 4) for k in range(start, min(start + self.pack_size, len(requests)))), 4)
            for start in starts
        ]
        return PackPlan(tuple(packs), len(requests), 4 * len(requests), requests_sha256(requests))

    def launch(self, rows: TokenRows, pack: Pack) -> Callable[[], Scored]:
        if len(self.computed) == self.dies_at:
            raise KeyboardInterrupt
        # Memory runs out as the run goes on: how a pack is split depends on the packs before it.
        if pack.trees[0].start >= 6 and pack.tokens > self.memory:
            raise MemoryError
        self.computed.append(pack.trees[0].start)
        members = [request for tree in pack.trees for request in rows.requests[tree.start]]
        salt = random.Random(repr([rows.inputs[tree.start].tolist() for tree in pack.trees])).random()
        logprobs = tuple(math.nan if m in self.bad else -salt / (m + 1) for m in members)
        return lambda: Scored(members, logprobs, [m % 2 == 0 for m in members])


def make_requests(count: int, first: int = 0) -> list[TokenRequest]:
    return [TokenRequest((1, 2, n % 7), (n + 10, 5)) for n in range(first, first + count)]


PROMPTS = [RenderedPrompt(f"prompt {n % 5}", {"until": ["\n"], "max_gen_toks": 8}) for n in range(8)]


def plan_pairs(prompts: Sequence[RenderedPrompt]) -> list[list[int]]:
    order = sorted(range(len(prompts)), key=lambda n: -len(prompts[n].context))
    return [order[k : k + 2] for k in range(0, len(order), 2)]


def answer(positions: Sequence[int]) -> list[str | None]:
    return [f"{PROMPTS[position].context} answered with {positions}\n\u2028" for position in positions]


def one_by_one(compute: Callable[[Sequence[int]], Sequence[str | None]]) -> Any:
    """A stream that makes each batch when it is asked for."""

    def stream(batches: Iterator[tuple[int, list[int]]]) -> Iterator[tuple[int, Sequence[str | None]]]:
        for number, positions in batches:
            yield number, compute(positions)

    return stream


def open_ledger(path: Path, **options: Any) -> tuple[Journal, Ledger]:
    if path.exists():
        found, records = Journal.open_(path)
        return found, Ledger(found, records, **options)
    made = Journal.create(path, HEADER)
    return made, Ledger(made, **options)


def work(path: Path, scorer: FakeScorer | None = None, **options: Any) -> tuple[list[Score], list[str | None]]:
    """A whole run, without a model."""
    opened, ledger = open_ledger(path, **options)
    with opened:
        scores = ledger.score(make_requests(20), scorer or FakeScorer())
        return scores, ledger.generate(PROMPTS, plan_pairs, one_by_one(answer))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_scores_are_those_of_the_scorer(path: Path) -> None:
    scores, texts = work(path)
    plan = FakeScorer().plan(make_requests(20))
    expected: dict[int, Score] = {}
    for result in iter_packs(FakeScorer(), make_requests(20), plan):
        expected |= zip(result.requests, zip(result.logprobs, result.is_greedy, strict=True), strict=True)
    assert scores == [expected[n] for n in range(20)]
    assert texts[0] == "prompt 0 answered with [0, 1]\n\u2028"


@pytest.mark.parametrize("packs", range(8))
def test_interrupted_after_any_pack_then_resumed(tmp_path: Path, packs: int) -> None:
    whole = work(tmp_path / "whole")
    path = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt) if packs < 7 else _nothing():
        work(path, FakeScorer(dies_at=packs))
    second = FakeScorer(pack_size=5)  # another batch budget today: the stored plan counts
    assert work(path, second) == whole
    assert second.computed == list(range(3 * packs, 20, 3))
    assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_finished_journal_computes_nothing(path: Path) -> None:
    whole = work(path)
    before = path.read_bytes()
    scorer = FakeScorer(dies_at=0)

    def never(positions: Sequence[int]) -> list[str | None]:
        raise AssertionError("computed twice")

    opened, ledger = open_ledger(path)
    with opened:
        assert ledger.score(make_requests(20), scorer) == whole[0]
        assert ledger.generate(PROMPTS, plan_pairs, one_by_one(never)) == whole[1]
    assert path.read_bytes() == before


def test_memory_budget_goes_on_where_it_was(tmp_path: Path) -> None:
    """Memory ran out in the first part: packs of the second part are split as they would have been."""
    scorer = FakeScorer(memory=10)
    whole = work(tmp_path / "whole", scorer)
    # Two packs before memory runs out; two rows fit then, but the budget is half of what did not.
    assert scorer.computed == [0, 3, *range(6, 20)]
    for packs in range(1, 16):
        path = tmp_path / f"{packs}"
        with pytest.raises(KeyboardInterrupt):
            work(path, FakeScorer(memory=10, dies_at=packs))
        assert work(path, FakeScorer(memory=10)) == whole
        assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def test_every_cut_of_the_journal_gives_the_same_results(tmp_path: Path) -> None:
    whole = work(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    rng = random.Random(6)
    header = data.index(b"\n") + 1
    path = tmp_path / "cut"
    for size in [header, *(rng.randrange(header, len(data)) for _ in range(60))]:
        path.write_bytes(data[:size])
        assert work(path) == whole
        assert path.read_bytes() == data


@pytest.mark.parametrize("error", [None, errno.ENOSPC])
def test_every_call_of_the_disk_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None) -> None:
    whole = work(tmp_path / "whole")
    with monkeypatch.context() as patched:
        faulty = install(patched)
        work(tmp_path / "counted")
        calls = len(faulty.calls)
    for number in range(4, calls, 3):  # the first four write the header, see test_journal
        path = tmp_path / f"{number}"
        with monkeypatch.context() as patched:
            install(patched, fail_at=number, error=error or errno.EIO)
            with pytest.raises(StoreError, match="again"):
                work(path)
        assert work(path) == whole
        assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def test_values_that_are_no_numbers_come_back_as_they_were(path: Path) -> None:
    class Odd(FakeScorer):
        def launch(self, rows: TokenRows, pack: Pack) -> Callable[[], Scored]:
            found = super().launch(rows, pack)()
            return lambda: replace(found, logprobs=(-math.inf, math.inf, math.nan)[: len(found.logprobs)])

    opened, ledger = open_ledger(path)
    with opened:
        first = ledger.score(make_requests(3), Odd())
    opened, ledger = open_ledger(path)
    with opened:
        second = ledger.score(make_requests(3), Odd())
    assert repr(first) == repr(second) == "[(-inf, True), (inf, False), (nan, True)]"


def test_a_request_without_result_is_not_a_number(path: Path) -> None:
    class Forgetful(FakeScorer):
        def launch(self, rows: TokenRows, pack: Pack) -> Callable[[], Scored]:
            found = super().launch(rows, pack)()
            return lambda: Scored(found.requests[:-1], found.logprobs[:-1], found.is_greedy[:-1])

    opened, ledger = open_ledger(path)
    with opened:
        scores = ledger.score(make_requests(3), Forgetful())
    assert math.isnan(scores[2][0])
    assert not math.isnan(scores[1][0])


def test_failed_generation_is_kept_as_failed(path: Path) -> None:
    for _ in range(2):
        opened, ledger = open_ledger(path)
        with opened:
            texts = ledger.generate(PROMPTS[:3], plan_pairs, one_by_one(lambda positions: [None for _ in positions]))
        assert texts == [None, None, None]


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_other_requests_are_refused(path: Path) -> None:
    work(path)
    opened, ledger = open_ledger(path)
    with opened, pytest.raises(StoreError, match="made for other requests"):
        ledger.score(make_requests(20, first=1), FakeScorer())
    opened, ledger = open_ledger(path)
    with opened:
        ledger.score(make_requests(20), FakeScorer())
        with pytest.raises(StoreError, match="made for other requests"):
            ledger.generate(PROMPTS[1:], plan_pairs, one_by_one(answer))


def test_other_order_of_calls_is_refused(path: Path) -> None:
    work(path)
    opened, ledger = open_ledger(path)
    with opened, pytest.raises(StoreError, match="has log-likelihoods where texts are wanted"):
        ledger.generate(PROMPTS, plan_pairs, one_by_one(answer))


def rewrite(path: Path, change: Any) -> None:
    """Write the journal anew with changed records but correct checksums."""
    records = journal.read(path).records
    path.unlink()
    with Journal.create(path, HEADER) as made:
        for record in records:
            made.append(change({key: value for key, value in record.items() if key != "prev"}))


def test_a_plan_that_does_not_fit_its_hash_is_refused(path: Path) -> None:
    work(path)
    rewrite(path, lambda record: {**record, "sha256": "0" * 64} if record["kind"] == "plan" else record)
    opened, ledger = open_ledger(path)
    with opened:
        with pytest.raises(StoreError, match="not the one that was hashed"):
            ledger.score(make_requests(20), FakeScorer())
        with pytest.raises(StoreError, match="not the one that was hashed"):
            ledger.generate(PROMPTS, plan_pairs, one_by_one(answer))


@pytest.mark.parametrize(
    "records",
    [
        [{"kind": "pack", "section": 0, "what": "log-likelihoods", "pack": 0}],
        [{"kind": "plan", "section": 1, "what": "log-likelihoods"}],
        [{"kind": "plan", "section": 0, "what": "poems"}],
        [{"kind": "plan", "section": 0, "what": "texts"}] * 2,
        [{"kind": "plan"}],
        [{"kind": "song", "section": 0, "what": "texts"}],
    ],
)
def test_records_in_no_order_are_refused(records: list[dict[str, Any]]) -> None:
    with pytest.raises(StoreError, match="another evalkit"):
        read_sections(records, "journal.jsonl")


# --- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(11))
def test_a_signal_stops_after_the_pack_in_hand(tmp_path: Path, after: int) -> None:
    """Seven packs and four batches: what was computed when the signal came is in the journal."""
    whole = work(tmp_path / "whole")
    path = tmp_path / "stopped"
    committed = 0

    class Counting:
        def advance(self, _units: int, _tasks: object) -> None:
            nonlocal committed
            committed += 1

        def finish(self) -> None:
            pass

        def stop(self) -> None:
            pass

    def check() -> None:
        if committed > after:
            raise Interrupted(signal.SIGTERM)

    first = FakeScorer()
    with pytest.raises(Interrupted):
        work(path, first, watch=lambda *_: Counting(), check=check)
    sections = read_sections(journal.read(path).records, path)
    assert sum(len(section.done) for section in sections) == after + 1
    second = FakeScorer()
    assert work(path, second) == whole
    assert sorted(first.computed + second.computed) == list(range(0, 20, 3))


# --- scores of another run --------------------------------------------------------------------------------------------


def source_of(path: Path) -> Source:
    return Source.of("old", read_sections(journal.read(path).records, path))


def test_reused_scores_are_taken_over_and_marked(tmp_path: Path) -> None:
    old = tmp_path / "old"
    opened, ledger = open_ledger(old)
    with opened:
        taken = ledger.score(make_requests(10), FakeScorer(bad=[4]))
        ledger.generate(PROMPTS[:4], plan_pairs, one_by_one(answer))
    path = tmp_path / "new"
    scorer = FakeScorer()
    opened, ledger = open_ledger(path, source=source_of(old))
    with opened:
        scores = ledger.score(make_requests(20), scorer)
        texts = ledger.generate(PROMPTS, plan_pairs, one_by_one(answer))
    assert [scores[n] for n in range(10) if n != 4] == [taken[n] for n in range(10) if n != 4]
    assert not math.isnan(scores[4][0]), "a failed score is computed anew"
    assert len(scorer.computed) == 4  # 11 requests in packs of 3
    assert [section.reused for section in ledger.describe().sections] == [9, 4]
    assert None not in texts
    # Resumed without the other run, which may be gone by now.
    again = FakeScorer(dies_at=0)
    opened, ledger = open_ledger(path)
    with opened:
        assert ledger.score(make_requests(20), again) == scores
        assert ledger.generate(PROMPTS, plan_pairs, one_by_one(answer)) == texts
    assert [section.reused for section in ledger.describe().sections] == [9, 4]
    assert ledger.reused == [0, 1, 2, 3]


def test_everything_reused_computes_nothing(tmp_path: Path) -> None:
    whole = work(tmp_path / "old")
    again = work(tmp_path / "new", FakeScorer(dies_at=0), source=source_of(tmp_path / "old"))
    assert again == whole


def test_sampled_texts_are_not_reused(tmp_path: Path) -> None:
    prompts = [
        RenderedPrompt("a", {"do_sample": True}),
        RenderedPrompt("a", {"temperature": 0.8}),
        RenderedPrompt("a", {"do_sample": False}),
    ]
    for name, options in (("old", {}), ("new", {"source": None})):
        if name == "new":
            options = {"source": source_of(tmp_path / "old")}
        opened, ledger = open_ledger(tmp_path / name, **options)
        with opened:
            ledger.generate(prompts, plan_pairs, one_by_one(answer))
    assert ledger.reused == [2]


def test_reused_scores_of_other_requests_are_refused(tmp_path: Path) -> None:
    work(tmp_path / "old")
    work(tmp_path / "new", source=source_of(tmp_path / "old"))
    opened, ledger = open_ledger(tmp_path / "new")
    with opened, pytest.raises(StoreError, match="made for other requests"):
        ledger.score(make_requests(4), FakeScorer())


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_tell_requests_apart() -> None:
    requests = [
        TokenRequest((1,), (2, 3)),
        TokenRequest((1, 2), (3,)),
        TokenRequest((1, 2, 3), (4,)),
        TokenRequest((2, 1), (3,)),
    ]
    keys = [request_key(request, 64) for request in requests]
    assert len(set(keys)) == len(keys)
    assert request_key(requests[0], 64) == keys[0]
    # What the model is given is what counts: beyond its length, the front of the context is cut off.
    # A head that this model does not see may be seen by a scorer that cuts nothing: other requests, other keys.
    assert request_key(TokenRequest((9, 1, 2), (3,)), 2) != request_key(TokenRequest((8, 1, 2), (3,)), 2)
    assert request_key(TokenRequest((9, 1, 2), (3,)), 2) == request_key(TokenRequest((9, 1, 2), (3,)), 2)


def test_repeated_prompts_have_keys_of_their_own() -> None:
    keys = prompt_keys([*PROMPTS, RenderedPrompt("prompt 0", {"until": []})])
    assert len(set(keys)) == len(keys)


def test_numbers_of_a_section() -> None:
    section = Section("texts")
    assert (section.requests, section.finished_requests, section.reused_requests) == (0, 0, 0)


def alone(positions: Sequence[int]) -> list[str | None]:
    """Texts that do not depend on what is beside them."""
    return [f"{PROMPTS[position].context} answered" for position in positions]


@settings(deadline=None, max_examples=30)
@given(stops=st.lists(st.integers(0, 4), max_size=4), rows=st.integers(1, 4), rng=st.randoms(use_true_random=False))
def test_texts_that_are_finished_in_any_order_are_kept_and_made_once(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], rows: int, rng: random.Random
) -> None:
    """Stopped after so many texts, again and again: what was finished is not asked for again, what was begun is."""
    path = tmp_path_factory.mktemp("stream") / "journal.jsonl"
    finished: list[int] = []
    texts: list[str | None] = []
    for number, stop in enumerate([*stops, -1]):
        begun: dict[int, list[int]] = {}
        kept = len(finished)

        def stream(batches: Any, begun: Any = begun) -> Any:
            for batch, positions in batches:
                assert not set(positions) & set(finished)
                begun[batch] = positions
                if len(begun) == rows:
                    yield make(begun)
            while begun:
                yield make(begun)

        def make(begun: dict[int, list[int]]) -> tuple[int, list[str | None]]:
            batch = rng.choice(sorted(begun))
            positions = begun.pop(batch)
            finished.extend(positions)
            return batch, alone(positions)

        def check(stop: int = stop, kept: int = kept) -> None:
            if 0 <= stop <= len(finished) - kept:
                raise Interrupted(signal.SIGINT)

        opened, ledger = open_ledger(path, check=check)
        plan = [[k] for k in range(len(PROMPTS))]
        with opened:
            if 0 <= stop < len(PROMPTS) - kept or stop == 0:
                with pytest.raises(KeyboardInterrupt):
                    ledger.generate(PROMPTS, lambda _, plan=plan: plan, stream)
                assert len(finished) == kept + stop, number
            else:
                try:
                    texts = ledger.generate(PROMPTS, lambda _, plan=plan: plan, stream)
                except KeyboardInterrupt:  # it stops where it is finished
                    assert len(finished) == len(PROMPTS)
    assert texts == alone(range(len(PROMPTS)))
    assert sorted(finished) == list(range(len(PROMPTS)))


def test_a_text_a_batch_but_equal_ones_together() -> None:
    long = "the same beginning " * 20
    prompts = [
        RenderedPrompt("short", {}),
        RenderedPrompt(long + "b", {}),
        RenderedPrompt("a longer one", {}),
        RenderedPrompt(long + "a", {}),
        RenderedPrompt("short", {}),
        RenderedPrompt("short", {"temperature": 1.0}),
        RenderedPrompt("short", {"temperature": 1.0}),
        RenderedPrompt("short", {"temperature": 1.0, "sample": 1}),
        RenderedPrompt("short", {"temperature": 1.0, "sample": 1}),
    ]
    batches = plan_texts(prompts)
    assert [batch for batch in batches if len(batch) > 1] == [[0, 4], [7, 8]]
    assert sorted(position for batch in batches for position in batch) == list(range(len(prompts)))
    # Those that begin alike one after the other, first the longest.
    assert batches[:3] == [[3], [1], [2]]


def test_batches_hold_every_prompt_once_and_one_kind_of_settings() -> None:
    prompts = [RenderedPrompt("x" * (n % 6), {"until": ["a" if n % 3 else "b"]}) for n in range(23)]
    batches = plan_batches(prompts, 4)
    assert sorted(position for batch in batches for position in batch) == list(range(23))
    assert all(len(batch) <= 4 for batch in batches)
    assert all(len({str(prompts[position].settings) for position in batch}) == 1 for batch in batches)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, 6), max_size=5), size=st.integers(1, 25), pack_size=st.integers(1, 9))
def test_any_series_of_interruptions(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], size: int, pack_size: int
) -> None:
    """However often it is interrupted, a run computes each pack once and ends with the same bytes."""
    folder = tmp_path_factory.mktemp("series")

    def attempt(name: str, scorer: FakeScorer) -> list[Score] | None:
        opened, ledger = open_ledger(folder / name)
        with opened:
            try:
                return ledger.score(make_requests(size), scorer)
            except KeyboardInterrupt:
                return None

    whole = attempt("whole", FakeScorer(pack_size))
    computed = []
    for stop in stops:
        scorer = FakeScorer(pack_size, dies_at=stop)
        attempt("parts", scorer)
        computed += scorer.computed
    last = FakeScorer(3)
    if not stops:
        last = FakeScorer(pack_size)
    assert attempt("parts", last) == whole
    assert sorted(computed + last.computed) == list(range(0, size, pack_size))
    assert (folder / "whole").read_bytes() == (folder / "parts").read_bytes()
