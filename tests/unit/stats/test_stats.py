"""The formulas of evalkit.stats against slow oracles, and their coverage and error rates by simulation (seeded)."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.stats import estimates as stats

pytestmark = pytest.mark.torch_free

REPETITIONS = 20_000
shares = st.floats(0, 1, allow_nan=False)


def slow_clustered_variance(values: list[float], keys: list[int]) -> float:
    """Double sum over pairs of documents of one cluster, as the formula is written in the paper, times G/(G-1)."""
    n, centre, groups = len(values), sum(values) / len(values), len(set(keys))
    pairs = ((values[i] - centre) * (values[j] - centre) for i, j in product(range(n), repeat=2) if keys[i] == keys[j])
    return groups / (groups - 1) * math.fsum(pairs) / n**2


@given(st.lists(st.tuples(shares, st.integers(0, 6)), min_size=2, max_size=30))
def test_clustered_error_equals_the_double_sum(rows: list[tuple[float, int]]) -> None:
    values, keys = [v for v, _ in rows], [k for _, k in rows]
    if len(set(keys)) < 2:
        with pytest.raises(DataError, match="one cluster"):
            stats.mean(values, keys)
        return
    found = stats.mean(values, keys)
    assert found.stderr == pytest.approx(math.sqrt(max(0.0, slow_clustered_variance(values, keys))), abs=1e-9)
    assert found.df == len(set(keys)) - 1


@given(st.lists(shares, min_size=2, max_size=50))
def test_clusters_of_one_document_change_nothing(values: list[float]) -> None:
    assert stats.mean(values, range(len(values))) == stats.mean(values)
    assert stats.mean(values).stderr == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)), abs=1e-12)


@given(st.integers(2, 500), st.data())
def test_binomial_error_is_the_error_of_zeros_and_ones(documents: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, documents))
    scores = [1.0] * right + [0.0] * (documents - right)
    assert stats.binomial_stderr(right / documents, documents) == pytest.approx(stats.mean(scores).stderr, abs=1e-12)


def test_published_standard_errors_follow_from_value_and_documents() -> None:
    # arc_challenge and boolq of the OpenHermes 2.5 card.
    assert round(stats.binomial_stderr(0.5623, 1172), 4) == 0.0145
    assert round(stats.binomial_stderr(0.8657, 3270), 4) == 0.0060


@given(st.lists(st.lists(shares, min_size=2, max_size=12), min_size=1, max_size=5))
def test_suite_of_independent_tasks_adds_variances(tasks: list[list[float]]) -> None:
    scores = {f"task{i}": values for i, values in enumerate(tasks)}
    found = stats.suite_mean(scores).scaled(100)
    singles = [stats.mean(values) for values in tasks]
    assert found.value == pytest.approx(100 * sum(s.value for s in singles) / len(singles), abs=1e-9)
    assert found.stderr == pytest.approx(100 * stats.suite_stderr([s.stderr for s in singles]), abs=1e-9)
    assert found.documents == sum(map(len, tasks))


def test_suite_with_the_same_documents_in_two_tasks_counts_them_once() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(40)
    keys = [f"document {i}" for i in range(40)]
    twice = stats.suite_mean({"a": values, "b": values}, {"a": keys, "b": keys})
    assert twice.stderr == pytest.approx(stats.mean(values).stderr)
    assert stats.suite_stderr([0.03, 0.03], ["same", "same"]) == pytest.approx(0.03)
    assert stats.suite_stderr([0.03, 0.04]) == pytest.approx(0.025)


def test_wilson_is_known_for_a_small_share() -> None:
    # Wilson's closed form for 1 of 20 at z = 1.959964, worked by hand.
    z, n, p = 1.959963984540054, 20, 1 / 20
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert stats.wilson_interval(1, 20) == pytest.approx((centre - half, centre + half))
    assert stats.wilson_interval(0, 5)[0] == 0.0
    assert stats.wilson_interval(5, 5)[1] == 1.0
    with pytest.raises(DataError, match="not a share"):
        stats.wilson_interval(6, 5)


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_equals_counting_all_coin_tosses(gained: int, lost: int) -> None:
    flips = gained + lost
    as_extreme = [math.comb(flips, k) for k in range(flips + 1) if math.comb(flips, k) <= math.comb(flips, gained)]
    assert stats.mcnemar(gained, lost).p_value == pytest.approx(sum(as_extreme) / 2**flips)


@given(st.lists(shares, max_size=10))
def test_holm_adjusts_upwards_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = stats.holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    for (p, a), (q, b) in product(zip(p_values, adjusted, strict=True), repeat=2):
        assert p > q or a <= b
    # Slow oracle: the step-down procedure itself, at several levels.
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if (len(p_values) - rank) * p_values[i] > alpha:
                break
            rejected.add(i)
        assert rejected == {i for i, a in enumerate(adjusted) if a <= alpha}


def test_unpaired_difference_adds_errors_in_squares() -> None:
    a, b = stats.Estimate(0.7, 0.03, 100, 99), stats.Estimate(0.6, 0.04, 200, 199)
    found = stats.unpaired_difference(a, b)
    assert (found.value, found.stderr) == (pytest.approx(0.1), pytest.approx(0.05))
    assert 99 < found.df < 298
    assert math.isinf(stats.unpaired_difference(stats.Estimate(0.7, 0.03), stats.Estimate(0.6, 0.04)).df)


# --- simulations -----------------------------------------------------------------------------------------------------


def covered(values: np.ndarray, truth: float, confidence: float = 0.95) -> float:
    """Share of rows whose interval holds the truth; the vectorised twin of `stats.mean().interval`."""
    n = values.shape[1]
    half = stats.t_quantile(0.5 + confidence / 2, n - 1) * values.std(axis=1, ddof=1) / math.sqrt(n)
    assert half[0] == pytest.approx(np.diff(stats.mean(values[0]).interval(confidence))[0] / 2)
    return float(np.mean(np.abs(values.mean(axis=1) - truth) <= half))


@pytest.mark.parametrize(("share", "documents"), [(0.5, 206), (0.25, 254), (0.81, 1172), (0.35, 500)])
def test_clt_interval_covers(share: float, documents: int) -> None:
    rng = np.random.default_rng(1)
    rates = rng.random((REPETITIONS, documents), dtype=np.float32) < share
    assert 0.94 <= covered(rates.astype(np.float64), share) <= 0.96


def test_clt_interval_covers_graded_scores() -> None:
    values = np.random.default_rng(2).beta(0.6, 0.5, (REPETITIONS, 200))
    assert 0.94 <= covered(values, 0.6 / 1.1) <= 0.96


def test_wilson_covers_where_the_normal_interval_does_not() -> None:
    documents, share = 30, 0.93
    counts = np.random.default_rng(3).binomial(documents, share, REPETITIONS)
    intervals = np.array([stats.wilson_interval(k, documents) for k in range(documents + 1)])
    inside = (intervals[counts, 0] <= share) & (share <= intervals[counts, 1])
    assert 0.93 <= inside.mean() <= 0.97
    normal = 1.96 * np.sqrt(counts / documents * (1 - counts / documents) / documents)
    assert np.mean(np.abs(counts / documents - share) <= normal) < 0.9


def test_clustered_interval_covers_and_the_plain_one_does_not() -> None:
    # 36 passages of 4 to 10 questions, each passage easier or harder as a whole.
    rng = np.random.default_rng(4)
    sizes = np.resize([4, 7, 10], 36)
    keys = np.repeat(np.arange(36), sizes)
    repetitions = 10_000
    ease = rng.beta(3, 2, (repetitions, 36))
    right = (rng.random((repetitions, keys.size)) < ease[:, keys]).astype(np.float64)
    truth, inside, plain_inside = 0.6, 0, 0
    for row in right:
        low, high = stats.mean(row, keys.tolist()).interval()
        inside += low <= truth <= high
    plain_inside = covered(right, truth)
    assert 0.94 <= inside / repetitions <= 0.96
    assert plain_inside < 0.92


def paired_runs(rng: np.random.Generator, documents: int, effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw right/wrong pairs of REPETITIONS runs: 8 % of the documents flip at random, `effect` more towards a gain."""
    base = rng.random((REPETITIONS, documents)) < 0.7
    draw = rng.random((REPETITIONS, documents))
    gained = ~base & (draw < (0.04 + max(effect, 0)) / 0.3)
    lost = base & (draw < (0.04 + max(-effect, 0)) / 0.7)
    return base.astype(np.float64), ((base & ~lost) | gained).astype(np.float64)


def test_mcnemar_raises_few_false_alarms_and_finds_real_changes() -> None:
    def rejected(effect: float) -> float:
        base, changed = paired_runs(np.random.default_rng(6), 1000, effect)
        gained, lost = ((changed > base).sum(axis=1), (changed < base).sum(axis=1))
        cache: dict[tuple[int, int], float] = {}
        for pair in set(zip(gained.tolist(), lost.tolist(), strict=True)):
            cache[pair] = stats.mcnemar(*pair).p_value
        p_values = [cache[pair] for pair in zip(gained.tolist(), lost.tolist(), strict=True)]
        return float(np.mean(np.asarray(p_values) <= 0.05))

    assert 0.02 <= rejected(0.0) <= 0.05  # exact, so never above the level
    assert rejected(0.04) > 0.9


def test_holm_keeps_the_family_wise_level() -> None:
    rng = np.random.default_rng(7)
    alarms = [min(stats.holm(row)) <= 0.05 for row in rng.random((REPETITIONS // 2, 8)).tolist()]
    assert 0.04 <= np.mean(alarms) <= 0.06


def test_what_has_no_error_is_refused() -> None:
    for empty in (lambda: stats.suite_mean({}), lambda: stats.suite_stderr([]), lambda: stats.independent_mean([])):
        with pytest.raises(DataError):
            empty()
