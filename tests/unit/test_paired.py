"""The paired test: exact where an exact test exists, and its level where documents move together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchmarks.gate_rates import Case, rates
from evalkit.errors import DataError
from evalkit.paired import paired_test
from evalkit.stats import Estimate
from evalkit.unpaired import Side, UnpairedTest, restricted_share

pytestmark = pytest.mark.torch_free


@given(st.integers(3, 400), st.integers(0, 6), st.integers(1, 20), st.floats(0.002, 0.6))
def test_whole_clusters_give_the_p_value_of_the_binomial_distribution(
    clusters: int, lost: int, size: int, margin: float
) -> None:
    if lost >= clusters:
        return
    values = np.repeat(np.r_[-np.ones(lost), np.zeros(clusters - lost)], size)
    found = paired_test({"t": values}, {"t": list(np.repeat(np.arange(clusters), size))})
    exact = float(scipy_stats.binom.cdf(lost, clusters, margin))
    assert found.p_fine(margin) == pytest.approx(exact, rel=0.04, abs=0.004)


@given(st.integers(0, 30), st.integers(0, 30))
def test_independent_documents_give_mcnemars_test(gained: int, lost: int) -> None:
    found = paired_test({"t": [1.0] * gained + [-1.0] * lost + [0.0] * 40})
    exact = scipy_stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert found.p_value == pytest.approx(exact, rel=0.06, abs=0.004)


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.0, 1.0, 0.3]), min_size=1, max_size=40), st.integers(1, 6))
def test_bounds_invert_the_test_and_stay_within_the_possible(values: list[float], size: int) -> None:
    found = paired_test({"t": values}, {"t": [i // size for i in range(len(values))]})
    low, high = found.interval()
    assert -1 <= low <= found.difference.value + 1e-9
    assert found.difference.value - 1e-9 <= high <= 1
    assert high > low
    bound = found.lowest(0.05)
    if -1 < bound < 0:
        assert found.p_fine(-bound + 1e-6) <= 0.05 < found.p_fine(-bound - 1e-6)


def test_what_cannot_be_tested_is_refused() -> None:
    for bad in ({}, {"t": []}, {"t": [float("nan")]}, {"t": [2.0]}):
        with pytest.raises(DataError):
            paired_test(bad)
    with pytest.raises(DataError, match="2 scores but 1 cluster"):
        paired_test({"t": [0.0, 1.0]}, {"t": ["a"]})


@pytest.mark.parametrize(
    "case",
    [
        Case("81 of 10", ([10] * 81,), 0.0, 0.05, 1.0),
        Case("50 of 20, half", ([20] * 50,), 0.02, 0.06, 0.5),
        Case("9 of 30", ([30] * 9,), 0.0, 0.1, 1.0),
        Case("independent", ([1] * 300,), 0.02, 0.04),
        Case("200 + 20", ([1] * 200, [1] * 20), 0.02, 0.06),
        Case("sequential", ([30] * 20,), 0.0, 0.1, 1.0, True),
    ],
    ids=lambda case: case.name,
)
def test_the_level_holds_in_the_code_that_the_gate_calls(case: Case) -> None:
    found = rates(case, 120)
    # 5 % and three standard errors of so few pairs; the whole table: python benchmarks/gate_rates.py
    assert found["pass"] <= 0.11
    assert found["worse"] <= 0.11


def test_the_gate_still_passes_what_is_equal() -> None:
    assert rates(Case("independent", ([1] * 2000,), 0.01, 0.02), 60, equal=True)["pass"] >= 0.7


@given(st.floats(0, 1), st.integers(5, 300), st.floats(0, 1), st.integers(5, 300), st.floats(0.01, 0.3))
def test_the_restricted_shares_are_the_most_likely_ones(p1: float, n1: int, p2: float, n2: int, margin: float) -> None:
    def likelihood(first: np.ndarray) -> np.ndarray:
        a, b = np.clip(first, 1e-12, 1 - 1e-12), np.clip(first + margin, 1e-12, 1 - 1e-12)
        return n1 * (p1 * np.log(a) + (1 - p1) * np.log1p(-a)) + n2 * (p2 * np.log(b) + (1 - p2) * np.log1p(-b))

    best = float(likelihood(np.linspace(0, 1 - margin, 4001)).max())
    assert float(likelihood(np.array([restricted_share(p1, n1, p2, n2, -margin)]))[0]) >= best - 1e-3 * (1 + abs(best))


def test_all_right_of_few_documents_is_no_certainty() -> None:
    few = Side(Estimate(1.0, 0.0, 10), 10)
    found = UnpairedTest(few, Side(Estimate(1.0, 0.0, 10), 10))
    assert found.p_fine(0.01) > 0.3
    assert found.lowest() < -0.15
