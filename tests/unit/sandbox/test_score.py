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
    # Values 1, 1/2, 1/2, 0 fourfold: mean 1/2, squares about it 16 / 8 = 2 and those of z^2 / 2 ones and zeros.
    (score,) = pass_at_k(verdicts({f"T/{i}": row for i, row in enumerate([[1, 1], [1, 0], [0, 1], [0, 0]] * 4)}), [1])
    square = 1.959963984540054**2
    half = math.sqrt(square * (2 + square / 4)) / (16 + square)
    assert (score.low, score.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))


def test_a_harness_error_leaves_no_score() -> None:
    rows = [*verdicts({"T/0": [True]}), Verdict("T/1", False, "harness error", "fork: out", 0, 0, "seccomp")]
    with pytest.raises(SandboxError, match=r"no score: 1 of 2 samples .*T/1"):
        pass_at_k(rows, [1])


def test_problems_that_all_pass_hide_some_that_do_not() -> None:
    """Samples that agree are one: Agresti and Coull's interval of 20 of 20 and of 15 of 20, worked out by hand."""
    (score,) = pass_at_k(verdicts({f"T/{i}": [1, 1, 1] for i in range(20)}), [1])
    assert (score.low, score.high) == (pytest.approx(0.81019, abs=1e-5), 1.0)
    (score,) = pass_at_k(verdicts({f"T/{i}": [i < 15] * 3 for i in range(20)}), [1])
    assert (score.low, score.high) == (pytest.approx(0.527525, abs=1e-6), pytest.approx(0.891913, abs=1e-6))
