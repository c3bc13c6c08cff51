"""The interval of one run's average: its coverage, added up over all outcomes."""

from __future__ import annotations

from functools import cache
from itertools import product
from math import comb

import numpy as np
import pytest

from evalkit.stats.estimates import Estimate, suite_mean
from evalkit.stats.unpaired import Side, UnpairedTest, limits, observed

pytestmark = pytest.mark.torch_free


@cache
def found(first: int, second: int, sizes: tuple[int, int]) -> tuple[float, float, float, float]:
    """Both bounds of a mean of two tasks with so many right answers, and the ends of the interval from its error."""
    scores = {
        name: np.repeat([1.0, 0.0], [right, size - right])
        for name, right, size in zip("ab", (first, second), sizes, strict=True)
    }
    keys = {name: [(name, i) for i in range(len(column))] for name, column in scores.items()}
    low, high = limits(scores, keys, 0.025)
    return (low, high, *observed(suite_mean(scores), scores, keys).interval())


@pytest.mark.parametrize("sizes", [(10, 10), (40, 5)])
def test_the_interval_of_two_small_tasks_covers_as_often_as_it_says(sizes: tuple[int, int]) -> None:
    """By their spread alone, 2 x 10 documents of which 95 % are right were covered in 63 % of runs."""
    outcomes = list(product(*(range(size + 1) for size in sizes)))
    for right in (0.5, 0.9, 0.95, 0.99):
        covered = np.zeros(2)
        for a, b in outcomes:
            chances = [comb(n, k) * right**k * (1 - right) ** (n - k) for n, k in zip(sizes, (a, b), strict=True)]
            if (chance := chances[0] * chances[1]) < 1e-7:
                continue
            low, high, lower, higher = found(a, b, sizes)
            assert 0 <= low < high <= 1
            covered += chance * np.array([low <= right <= high, lower <= right <= higher])
        assert covered.min() >= 0.94


def graded(scores: np.ndarray) -> Side:
    """What a results file says of a graded metric: its mean and standard error."""
    return Side(Estimate(float(scores.mean()), float(scores.std(ddof=1)) / len(scores) ** 0.5), len(scores))


@pytest.mark.parametrize("rare_in", ["candidate", "baseline"])
@pytest.mark.parametrize("documents", [10, 20, 50, 200])
@pytest.mark.parametrize(("usual", "share"), [(0.9, 0.05), (0.6, 0.1), (0.6, 0.03), (0.3, 0.05)])
def test_a_loss_in_a_few_documents_of_a_graded_score_rarely_passes(
    rare_in: str, documents: int, usual: float, share: float
) -> None:
    """All documents score the same, but that some of the candidate's are 0, or some of the baseline's 1.

    By the error seen, 35 % of runs of 10 documents showed none of them, and passed.
    """
    steady = graded(np.full(documents, usual))
    passed = 0.0
    for number in range(documents + 1):
        column = np.full(documents, usual)
        column[:number] = 0.0 if rare_in == "candidate" else 1.0
        sides = (graded(column), steady) if rare_in == "candidate" else (steady, graded(column))
        loss = share * (usual if rare_in == "candidate" else 1 - usual)
        if UnpairedTest(*sides).p_fine(loss) <= 0.05:
            passed += comb(documents, number) * share**number * (1 - share) ** (documents - number)
    assert passed <= 0.055
