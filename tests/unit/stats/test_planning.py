"""What `power` promises, tried: exactly where independent documents flip, by simulation where passages are shared."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from benchmarks.power_rates import rate
from evalkit.config.suites import find_suite
from evalkit.stats.paired import paired_test
from evalkit.stats.planning import (
    AtLoss,
    PlannedTask,
    factor_to_detect,
    planned_test,
    smallest_loss,
    tilted_test,
    unlucky,
)


def planned(*parts: PlannedTask) -> AtLoss:
    """Return the test of the parts for any true loss."""
    return lambda loss: planned_test(parts, loss)


def mcnemar_power(documents: int, flips: float, loss: float, alpha: float = 0.05) -> float:
    """Return how often McNemar's exact test shows a loss: all numbers of lost and of gained documents, added up."""
    number = np.arange(documents + 1)
    of_flips = stats.binom.pmf(number, documents, max(flips, loss))
    least = stats.binom.isf(alpha / 2, number, 0.5) + 1  # so many losses of these flips are significant
    lost = max(flips, loss) / 2 + loss / 2
    return float(of_flips @ stats.binom.sf(least - 1, number, lost / max(flips, loss)))


@pytest.mark.parametrize("flips", [0.02, 0.03, 0.1, 0.3])
@pytest.mark.parametrize("documents", [817, 3270, 10042])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.9])
def test_what_is_promised_of_one_task_is_what_the_exact_test_shows(documents: int, flips: float, power: float) -> None:
    loss = smallest_loss(planned(PlannedTask(1.0, {1: documents}, flips)), 0.05, power)
    assert mcnemar_power(documents, flips, loss) == pytest.approx(power, abs=0.03)


@pytest.mark.parametrize("documents", [500, 817])
def test_where_eight_documents_flip_the_exact_test_moves_in_steps(documents: int) -> None:
    loss = smallest_loss(planned(PlannedTask(1.0, {1: documents}, 0.01)), 0.05, 0.8)
    assert mcnemar_power(documents, 0.01, loss) == pytest.approx(0.8, abs=0.08)


@pytest.mark.parametrize("name", ["gpt4all", "agieval"])
def test_the_passages_of_a_suite_are_reckoned_with(name: str) -> None:
    """`benchmarks/power_rates.py` in small; the plan had taken sat_en's passages for twice as large: 88 to 94 %."""
    _, found = rate(find_suite(name), 0.1, 0.8, 60, seed=4)
    assert found == pytest.approx(0.8, abs=0.03 + 3 * math.sqrt(0.16 / 60))


def test_the_typical_passage_of_a_plan_is_that_of_runs() -> None:
    """Two tasks that ask the same questions: one cluster a question, but the typical size is that of one task."""
    sizes = np.repeat([2, 4, 6], [10, 20, 5])
    keys = [f"p{i}" for i in np.repeat(np.arange(sizes.size), sizes)]
    same = np.zeros(len(keys))
    runs = paired_test(
        {"a": same, "b": same, "c": np.zeros(300)}, {"a": keys, "b": keys}, {"a": 0.25, "b": 0.25, "c": 0.5}
    )
    plan = planned_test([PlannedTask(0.5, {2: 10, 4: 20, 6: 5}, 0.1, 2), PlannedTask(0.5, {1: 300}, 0.1)])
    assert plan.typical == pytest.approx(runs.typical)
    assert plan.unseen(0.0) == pytest.approx(runs.unseen(0.0))


def test_bad_luck_is_that_of_the_counts_of_lost_and_gained() -> None:
    """The 20 % quantile of McNemar's p-value, by adding up all outcomes."""
    documents, flips, loss = 817, 0.05, 0.022
    found = unlucky(planned_test([PlannedTask(1.0, {1: documents}, flips)], loss), 0.8).p_worse(0.0)
    lost, gained = np.meshgrid(np.arange(90), np.arange(60), indexing="ij")
    q, g = (flips + loss) / 2, (flips - loss) / 2
    probability = stats.binom.pmf(lost, documents, q) * stats.binom.pmf(gained, documents - lost, g / (1 - q))
    p_values = stats.binom.sf(lost - 1, lost + gained, 0.5)
    order = np.argsort(p_values, axis=None)
    quantile = p_values.ravel()[order][np.searchsorted(np.cumsum(probability.ravel()[order]), 0.8)]
    assert found == pytest.approx(quantile, rel=0.2)


def test_documents_for_an_effect_detect_it() -> None:
    factor = factor_to_detect(planned(PlannedTask(1.0, {1: 5000}, 0.1)), 0.02, 0.05, 0.8)
    assert factor is not None
    documents = round(5000 * factor)
    assert mcnemar_power(documents, 0.1, 0.02) == pytest.approx(0.8, abs=0.01)


def test_a_loss_beyond_what_flips_changes_more() -> None:
    part = PlannedTask(1.0, {1: 1000}, 0.02)
    for loss in (0.0, 0.01, 0.05):
        for found in (planned_test([part], loss), tilted_test(planned_test([part]), loss)):
            assert float(found.counts @ found.losses) == pytest.approx(loss, abs=1e-6)
            assert found.clusters == 1000


def test_what_a_plan_says_of_passages_is_detected_so_often() -> None:
    sizes = {1: 150, 5: 20, 6: 10}
    loss = smallest_loss(planned(PlannedTask(1.0, sizes, 0.1)), 0.05, 0.8)
    of_clusters = np.repeat(list(sizes), list(sizes.values()))
    keys = np.repeat(np.arange(of_clusters.size), of_clusters)
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(200):
        drawn = rng.random(keys.size)
        values = np.where(drawn < (0.1 - loss) / 2, 1.0, np.where(drawn < 0.1, -1.0, 0.0))
        found += paired_test({"t": values}, {"t": list(keys)}).p_value <= 0.05
    assert found / 200 == pytest.approx(0.8, abs=0.03 + 3 * 0.028)


@pytest.mark.parametrize("flips", [0.02, 0.03, 0.1])
def test_flips_that_were_measured_plan_as_those_that_are_told(flips: float) -> None:
    """The loss is put into passages as into single questions; all of it in the single ones had promised 80 for 60 %."""
    parts = [PlannedTask(0.5, {1: 400}, flips), PlannedTask(0.5, {4: 20, 5: 20, 6: 10}, flips)]
    told = smallest_loss(planned(*parts), 0.05, 0.8)
    measured = smallest_loss(partial(tilted_test, planned_test(parts)), 0.05, 0.8)
    assert measured == pytest.approx(told, rel=0.05)
