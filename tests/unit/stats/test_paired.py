"""The paired test: exact where an exact test exists, and its level where documents move together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as scipy_stats

from benchmarks.gate_rates import Case, cases, rates
from evalkit.errors import DataError
from evalkit.stats.estimates import Estimate, suite_mean
from evalkit.stats.hidden import hidden_probability
from evalkit.stats.paired import paired_test
from evalkit.stats.strata import tail_probabilities
from evalkit.stats.unpaired import Side, UnpairedTest, limits_error, observed, restricted_share, widened

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
@pytest.mark.no_cover
def test_bounds_invert_the_test_and_stay_within_the_possible(values: list[float], size: int) -> None:
    found = paired_test({"t": values}, {"t": [i // size for i in range(len(values))]})
    low, high = found.interval()
    assert -1 <= low <= found.difference.value + 1e-9
    assert found.difference.value - 1e-9 <= high <= 1
    assert high > low
    bound = found.lowest(0.05)
    if -1 < bound < 0:
        assert found.p_fine(-bound + 1e-6) <= 0.05 < found.p_fine(-bound - 1e-6)


# An older SciPy steps past a bound by a rounding error, and clips.
@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
@given(st.lists(st.integers(1, 30), min_size=2, max_size=7), st.floats(0.01, 0.9))
def test_no_way_to_lose_whole_clusters_hides_better(sizes: list[int], loss: float) -> None:
    parts = np.array(sizes) / sum(sizes)
    found = hidden_probability(parts, np.ones(len(sizes)), loss)
    # A slow oracle: scipy looks for the clusters' probabilities, from several starts.
    rest = [
        optimize.minimize(
            lambda p: -float(np.log1p(-p).sum()),
            start,
            method="SLSQP",
            bounds=[(0, 1 - 1e-9)] * len(sizes),
            constraints={"type": "eq", "fun": lambda p: float(parts @ p) - loss},
            options={"ftol": 1e-12, "maxiter": 500},
        )
        for start in (np.full(len(sizes), loss), np.clip(parts / (parts @ parts) * loss, 0, 0.99))
    ]
    best = max(math.exp(-r.fun) for r in rest if abs(float(parts @ r.x) - loss) < 1e-9)
    assert found == pytest.approx(best, abs=2e-5)


@given(st.lists(st.integers(1, 30), min_size=3, max_size=60), st.floats(0.005, 0.5))
@pytest.mark.no_cover
def test_unchanged_answers_have_the_p_value_of_the_loss_that_hides_best(sizes: list[int], loss: float) -> None:
    keys = [cluster for cluster, size in enumerate(sizes) for _ in range(size)]
    found = paired_test({"t": np.zeros(len(keys))}, {"t": keys})
    hidden = hidden_probability(np.array(sizes) / sum(sizes), np.ones(len(sizes)), loss)
    # Strata may ask for more where there are three clusters or so.
    assert 0.95 * hidden - 0.004 <= found.p_fine(loss) <= 1.1 * hidden + 0.004
    assert found.hidden(loss) == pytest.approx(hidden)
    least = found.smallest_margin()
    assert found.p_fine(least + 1e-4) <= 0.05 < found.p_fine(least - 1e-4)


def test_whole_passages_that_are_lost_cannot_be_hidden_among_single_questions() -> None:
    # 519 single questions and 38 passages, as in a reading task: losing only passages, at one point in the mean, shows
    # no change in more than one run of seven, whatever a test does with it.
    sizes = [1] * 519 + [2] * 15 + [3] * 4 + [4] * 5 + [5] * 14
    lost = 0.01 * sum(sizes) / sum(size for size in sizes if size > 1)
    keys = [cluster for cluster, size in enumerate(sizes) for _ in range(size)]
    found = paired_test({"t": np.zeros(len(keys))}, {"t": keys})
    assert found.p_fine(0.01) > (1 - lost) ** 38 > 0.14
    assert found.p_fine(0.021) < 0.05


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.0, 0.0, 1.0]), min_size=14, max_size=40), st.integers(1, 5))
@pytest.mark.no_cover
def test_the_p_value_falls_with_the_margin_and_turns_with_the_runs(values: list[float], size: int) -> None:
    keys = [max(0, i - 3) // size for i in range(len(values))]
    found, turned = (paired_test({"t": sign * np.array(values)}, {"t": keys}) for sign in (1, -1))
    margins = np.linspace(-0.95, 0.95, 39)
    fine = [found.p_fine(m) for m in margins]
    falls = np.diff(fine)
    assert np.all(falls[margins[:-1] >= 0] <= 1e-9)
    # Of a gain of at least so much among few clusters of other sizes: the unseen one's size changes with it.
    assert np.all(falls <= 1e-2)
    assert fine == pytest.approx([turned.p_worse(-m) for m in margins], abs=1e-9)
    assert found.p_value == pytest.approx(turned.p_value)


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
        Case("only the large", ([1] * 519 + [2] * 15 + [3] * 4 + [4] * 5 + [5] * 14,), 0.0, 0.0, 1.0, least=2).losing(
            0.01
        ),
        Case("tied tasks", ([1] * 300, [5] * 40, [5] * 40), 0.0, 0.0, 1.0, only=(1, 2), tied=2, noise=0.01).losing(
            0.05
        ),
        Case("independent", ([1] * 300,), 0.02, 0.04),
        Case("200 + 20", ([1] * 200, [1] * 20), 0.02, 0.06),
        Case("18 of 3", ([1] * 3,) * 18, 0.0, 0.5),
        Case("18 of 3, both ways", ([1] * 3,) * 18, 0.3, 0.6),
        Case("uneven", ([1] * 800, [1] * 800, [1] * 30), 0.0, 1.0, losses=(0.2, 0.3, 0.05)),
        Case("sequential", ([30] * 20,), 0.0, 0.1, 1.0, True),
    ],
    ids=lambda case: case.name,
)
@pytest.mark.no_cover
def test_the_level_holds_in_the_code_that_the_gate_calls(case: Case) -> None:
    found = rates(case, 120)
    # 5 % and three standard errors of so few pairs; the whole table: python benchmarks/gate_rates.py
    assert found["pass"] <= 0.11
    assert found["worse"] <= 0.11


@pytest.mark.parametrize("each", [3, 5, 20])
def test_the_spread_of_few_documents_a_task_is_the_unbiased_one(each: int) -> None:
    rng = np.random.default_rng(each)
    drawn = [rng.choice([-1.0, 0.0, 1.0], each) for _ in range(18)]
    found = paired_test({str(number): values for number, values in enumerate(drawn)})
    groups = 18 * each
    # The textbook's variance of a mean of stratified means; one degree of freedom is the unseen cluster's.
    wanted = sum(float(np.var(values, ddof=1)) / each for values in drawn) / 18**2
    assert float(found.counts @ found.residuals**2) == pytest.approx(wanted * (groups - 1) / groups)
    alone = paired_test({"t": drawn[0]})
    assert float(alone.counts @ alone.residuals**2) == pytest.approx(float(np.var(drawn[0])) / each)


def test_a_task_of_one_cluster_beside_others_decides_nothing() -> None:
    many = {"a": [0.0, 1.0] * 50, "b": [1.0] * 5}
    assert paired_test(many, {"b": ["p"] * 5}).is_too_few
    assert not paired_test(many, {"b": ["p"] * 3 + ["q"] * 2}).is_too_few
    assert not paired_test({"b": [1.0] * 5}, {"b": ["p"] * 5}).is_too_few


def test_the_gate_still_passes_what_is_equal() -> None:
    assert rates(Case("independent", ([1] * 2000,), 0.01, 0.02), 60, equal=True)["pass"] >= 0.7


@pytest.mark.no_cover
def test_an_equal_model_that_flips_passes_agieval_from_two_and_three_quarter_points() -> None:
    agieval = next(case for case in cases() if case.name.startswith("AGIEval, only passages"))
    unchanged = rates(agieval, 1, equal=True)
    assert unchanged["pass"] == 1.0
    assert rates(replace(agieval, noise=0.02).losing(0.0275), 40, equal=True)["pass"] >= 0.75


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


def test_a_small_task_that_is_all_right_hides_no_loss() -> None:
    # Tasks of 5,000 and 20 documents, the small one truly down by 8 points and all right by chance in 19 % of runs.
    chance = 0.92**20
    assert chance > 0.18
    tasks = [(0.6, math.sqrt(0.24 / 4999), 5000.0), (1.0, 0.0, 20.0)]
    seen = Estimate(0.8, tasks[0][1] / 2, 5020)
    side = Side(widened(seen, tasks), 4 / (1 / 5000 + 1 / 20))
    assert UnpairedTest(Side(seen, side.documents), Side(seen, side.documents)).p_fine(0.04) < 0.05
    assert UnpairedTest(side, side).p_fine(0.04) > 0.05


@given(st.integers(1, 400), st.floats(0, 1))
def test_the_error_of_limits_is_that_of_the_exact_binomial_limits(documents: int, share: float) -> None:
    right = round(share * documents)
    found = limits_error(right / documents, 0.0, documents)
    exact = scipy_stats.binomtest(right, documents).proportion_ci(0.9, method="exact")
    distance = max(right / documents - exact.low, exact.high - right / documents)
    assert found == pytest.approx(distance / 1.6448536, abs=1e-6)


@pytest.mark.parametrize(
    ("singles", "share", "passages", "kept"),
    [(3000, 0.95, (60, 70, 80, 91, 105, 121), 0.75), (500, 0.6, (50,) * 6, 0.8), (5000, 0.6, (100,) * 6, 0.75)],
)
def test_six_large_passages_that_are_all_right_prove_nothing_against_a_publication(
    singles: int, share: float, passages: tuple[int, ...], kept: float
) -> None:
    # All are right with a probability of 18 to 26 %, although a quarter of them is wrong in the mean.
    sizes = np.array(passages)
    right = np.arange(singles) < share * singles
    scores = {"t": np.concatenate([right, np.ones(sizes.sum())]).astype(float)}
    clusters = {"t": [*range(singles), *(singles + np.repeat(np.arange(sizes.size), sizes))]}
    documents = singles + int(sizes.sum())
    published = (share * singles + sizes.sum()) / documents  # all of them right in truth
    margin = (1 - kept) * sizes.sum() / documents
    own = Side(observed(suite_mean(scores, clusters), scores, clusters), singles + sizes.size)
    theirs = Side(Estimate(published, math.sqrt(published * (1 - published) / documents), documents), documents)
    assert UnpairedTest(own, theirs).p_fine(margin) > 0.05


def test_the_error_of_independent_documents_is_as_it_was() -> None:
    scores = {"t": np.repeat([1.0, 0.0], [1200, 800])}
    alone = {"t": list(range(2000))}
    seen = suite_mean(scores, alone)
    assert observed(seen, scores, alone).stderr == pytest.approx(seen.stderr, rel=0.03)


@pytest.mark.parametrize("groups", [3, 8, 40])
def test_the_saddlepoint_is_as_near_to_the_exact_limits_as_the_module_says(groups: int) -> None:
    for lost in range(groups):
        for exact in (0.001, 0.01, 0.025, 0.05, 0.2):
            margin = scipy_stats.beta.isf(exact, lost + 1, groups - lost)  # Clopper and Pearson's
            weights = np.array([[1 - margin, -margin]])
            found = tail_probabilities(weights, np.array([lost + 1.0, float(groups - lost)]))[0]
            assert 0.998 <= found / exact <= 1.07
