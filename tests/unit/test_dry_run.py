"""The expected time of ``--dry-run``: what is done once must not be counted for every pack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from evalkit import dry_run

SET_UP, PACK, TOKENS = 500.0, 0.5, 4000


class Clocked:
    """A scorer on a clock of its own: preparing takes 500 s once, then every pack of 4,000 tokens half a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.scored: list[int] = []

    def iter_packs(self, _: Any, *, packs: Iterable[int], **__: Any) -> Iterator[Any]:
        self.now += SET_UP
        for pack in packs:
            self.now += PACK
            self.scored.append(pack)
            yield SimpleNamespace(tokens=TOKENS)


@pytest.mark.parametrize(("packs", "counted"), [(2000, 4), (3, 2), (2, 1)])
def test_the_first_pack_does_not_stand_for_all(packs: int, counted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Clocked()
    monkeypatch.setattr(dry_run.time, "perf_counter", lambda: scorer.now)
    model = SimpleNamespace(scorer=scorer, running=nullcontext)
    tokens, times = dry_run._measured(model, [], SimpleNamespace(packs=[None] * packs))
    assert (tokens, times) == (counted * TOKENS, [PACK] * counted)
    assert len(set(scorer.scored)) == counted + 1


def test_a_lone_pack_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Clocked()
    monkeypatch.setattr(dry_run.time, "perf_counter", lambda: scorer.now)
    model = SimpleNamespace(scorer=scorer, running=nullcontext)
    assert dry_run._measured(model, [], SimpleNamespace(packs=[None])) == (TOKENS, [SET_UP + PACK])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 1755])
def test_packs_are_taken_evenly_and_each_once(count: int) -> None:
    order = dry_run.spread(count)
    assert sorted(order) == list(range(count))
    if count > 3:
        assert sorted(round(4 * pack / count) for pack in order[:3]) == [1, 2, 3]
