"""The plan of a run: what is estimated from a part stands for the whole, and set-up is not taken for work."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.evaluation import dry_run
from evalkit.scoring.requests import TokenRequest

pytestmark = pytest.mark.model


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 3000), min_size=1), st.integers(100, 3000))
def test_the_requests_looked_at_stand_for_all(counts: dict[str, int], most: int) -> None:
    tasks = [task for task, count in counts.items() for _ in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dry_run, "ENCODED", most)
        chosen, share = dry_run._some_pairs(tasks)
    assert len(set(chosen)) == len(chosen)
    kept = Counter(tasks[k] for k in chosen)
    for task, count in counts.items():
        assert kept[task] * share[task] == pytest.approx(count)
    if len(tasks) <= most:
        assert sorted(chosen) == list(range(len(tasks)))
    else:
        # A block of each task at least; beyond that no more than a block a task above what is wanted.
        assert len(chosen) <= most + dry_run._BLOCK * len(counts)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_set_up_is_not_taken_for_work(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    class Scorer:
        """1,000 tokens a second, after a hundred seconds of set-up."""

        max_batch_tokens = 4096
        set_up = 100.0

    def iter_packs(scorer: Scorer, requests: list[TokenRequest]) -> Any:
        nonlocal now
        tokens = sum(len(request.context_ids) for request in requests)
        now += tokens / 1000 + scorer.set_up
        scorer.set_up = 0.0
        yield SimpleNamespace(tokens=tokens)

    monkeypatch.setattr(dry_run, "iter_packs", iter_packs)
    model = SimpleNamespace(scorer=Scorer(), device=device, running=nullcontext)
    requests = [TokenRequest((1,) * 100, (2,)) for _ in range(5000)]
    rate, tokens, spent = dry_run._scoring_rate(model, requests, dry_run._Weights(layers=1, head=0))
    assert rate == pytest.approx(1000)
    assert tokens / spent == pytest.approx(rate)
