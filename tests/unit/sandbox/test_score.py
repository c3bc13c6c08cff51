"""pass@k against enumeration, and its intervals against independent implementations."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import SandboxError
from evalkit.sandbox.pass_at_k import estimate, pass_at_k
from evalkit.sandbox.verdict import Verdict

pytestmark = pytest.mark.torch_free


def verdicts(table: dict[str, list[Any]]) -> list[Verdict]:
    return [
        Verdict(task, bool(passed), "passed" if passed else "failed", "", 0.1, 0.1, "seccomp")
        for task, row in table.items()
        for passed in row
    ]


@given(st.integers(1, 8), st.data())
def test_estimate_is_the_share_of_draws_with_a_pass(samples: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, samples))
    k = data.draw(st.integers(1, samples))
    draws = list(itertools.combinations([True] * correct + [False] * (samples - correct), k))
    assert estimate(samples, correct, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


def test_estimate_needs_k_samples() -> None:
    with pytest.raises(ValueError, match="at least 10 samples"):
        estimate(9, 3, 10)


def test_one_sample_a_problem_gives_wilson() -> None:
    (score,) = pass_at_k(verdicts({f"T/{i}": [i < 7] for i in range(10)}), [1, 10])
    assert (score.k, score.value, score.problems, score.method) == (1, 0.7, 10, "Wilson")
    for bound in (score.low, score.high):  # |share - p| = z sqrt(p (1 - p) / n)
        assert abs(0.7 - bound) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / 10), rel=1e-5)


def test_several_samples_are_clustered_by_problem() -> None:
    scores = pass_at_k(verdicts({"T/0": [True, True], "T/1": [True, False], "T/2": [False, False]}), [1, 2, 3])
    assert [(s.k, s.value) for s in scores] == [(1, 0.5), (2, pytest.approx(2 / 3))]
    assert "clustered" in scores[0].method


def test_the_clustered_interval_is_of_the_mean_over_problems() -> None:
    # Values 1, 1/2, 1/2, 0 fourfold: mean 1/2, sample variance 16 * (1/8) / 15.
    (score,) = pass_at_k(verdicts({f"T/{i}": row for i, row in enumerate([[1, 1], [1, 0], [0, 1], [0, 0]] * 4)}), [1])
    half = 1.959963984540054 * math.sqrt(2 / 15 / 16)
    assert (score.low, score.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))


def test_a_harness_error_leaves_no_score() -> None:
    rows = [*verdicts({"T/0": [True]}), Verdict("T/1", False, "harness error", "fork: out", 0, 0, "seccomp")]
    with pytest.raises(SandboxError, match=r"no score: 1 of 2 samples .*T/1"):
        pass_at_k(rows, [1])
