"""What a paired comparison detects, before it is made: the test itself, put to what it would see.

A loss is detected with probability `power` if the test rejects what is seen with less luck than that share of all runs
have. That is not a smaller mean alone: with 14 documents lost and 2 gained, bad luck is mostly that fewer are lost,
not that as many flip and more of them are gained, which the exact test minds far more. So `unlucky` goes the likeliest
way. The test's signed root r (Lugannani and Rice; `evalkit.stats.strata`) changes with the number of clusters that move
by x as d r / d count = log(1 - s x) / r, s the saddlepoint, which by the envelope theorem has no term of its own; with
independent counts of variance `count` the likeliest way of r to be z standard deviations low is to tilt the counts by
exp(-z g / sqrt(sum(count g^2))), g that derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from evalkit.stats.estimates import Estimate, FloatArray, t_quantile
from evalkit.stats.paired import PairedTest, smallest_factor, typical_size
from evalkit.stats.strata import saddlepoints

AtLoss: TypeAlias = Callable[[float], PairedTest]
"""A true loss, as a share -> the test of what is seen of it in the mean."""

_MOST_TILTED = 40.0


@dataclass(frozen=True)
class PlannedTask:
    """A task of a comparison that nobody has made yet.

    Attributes:
        weight: its weight in the mean.
        clusters: number of documents in a cluster -> number of such clusters.
        flips: share of the documents that flip, each for itself.
        tasks: how many tasks ask these questions; the weight is that of them together.
    """

    weight: float
    clusters: Mapping[int, float]
    flips: float
    tasks: int = 1

    @property
    def documents(self) -> float:
        """Their number."""
        return math.fsum(size * number for size, number in self.clusters.items())


def planned_test(parts: Sequence[PlannedTask], loss: float = 0.0) -> PairedTest:
    """Return the test of two runs of which only the share of documents that flip is known.

    Args:
        parts: the tasks.
        loss: of each task's mean; where it is more than flips, nothing but losses flips.
    """
    rows, sizes, typical = [], [], 0.0
    for part in parts:
        of_document = part.weight / part.documents
        lost = max(loss, (part.flips + loss) / 2)
        gained = lost - loss
        for size, number in part.clusters.items():
            losses = _summed(np.array([gained, 1 - gained - lost, lost]), size)
            for total, probability in enumerate(losses, -size):
                rows.append((total * of_document, size * of_document, number * float(probability)))
            sizes.append((size * of_document, number))
        # As for runs that are there, the typical size is that of one task, and of all together.
        of_task, counts = np.array([(size * of_document / part.tasks, n) for size, n in part.clusters.items()]).T
        typical = max(typical, typical_size(of_task, counts))
    typical = max(typical, typical_size(*np.array(sizes).T))
    found, weights, counts = np.array(rows).T
    documents = round(math.fsum(part.documents for part in parts))
    empty = PairedTest(
        Estimate(0.0, 0.0, documents),
        found,
        found,
        weights,
        counts,
        typical,
        any(max(part.clusters) > 1 for part in parts),
    )
    return _with_counts(empty, counts)


def _summed(of_one: FloatArray, number: int) -> FloatArray:
    """Return the probabilities of the sum of so many independent variables, each on -1, 0, 1; shape (2 number + 1,)."""
    found = np.ones(1)
    for _ in range(number):
        found = np.convolve(found, of_one)
    return found


def _with_counts(test: PairedTest, counts: FloatArray) -> PairedTest:
    """Return the test if there were so many clusters of each kind."""
    loss = float(counts @ test.losses) / float(counts @ test.weights)
    residuals = test.losses - test.weights * loss
    estimate = replace(test.difference, value=-loss, stderr=math.sqrt(float(counts @ residuals**2)))
    return replace(test, difference=estimate, residuals=residuals, counts=counts)


def tilted_test(test: PairedTest, loss: float) -> PairedTest:
    """Return the test if the same clusters changed, but so many of them for the worse that the loss is `loss`.

    More of them change only if a loss of all that changed is not enough.
    """
    changed = test.losses != 0
    mean = np.zeros_like(test.losses)
    mean[changed] = test.losses[changed] / test.weights[changed]
    moving = float(test.counts[changed].sum())
    # One document of five that is lost is a loss as a single one is: by their means alone, all the loss would be tilted
    # into the single ones, and none into the passages that hide it best.
    _, kinds = np.unique(test.weights, return_inverse=True)
    largest = np.zeros(kinds.max() + 1)
    np.maximum.at(largest, kinds, np.abs(mean))
    mean[changed] /= largest[kinds][changed]

    def tilted(strength: float) -> FloatArray:
        weighted: FloatArray = test.counts[changed] * np.exp(strength * mean[changed] - abs(strength))
        scaled: FloatArray = weighted * (moving / float(weighted.sum()))
        return scaled

    def lost(strength: float) -> float:
        return float(tilted(strength) @ test.losses[changed]) - loss

    counts = test.counts.copy()
    if moving and lost(_MOST_TILTED) >= 0 >= lost(-_MOST_TILTED):
        from scipy import optimize

        counts[changed] = tilted(optimize.brentq(lost, -_MOST_TILTED, _MOST_TILTED, xtol=1e-9))
    elif moving:
        most = tilted(math.copysign(_MOST_TILTED, loss))
        counts[changed] = most * (loss / float(most @ test.losses[changed]))
        counts[~changed] *= max(0.0, test.clusters - float(counts[changed].sum())) / max(1e-9, test.clusters - moving)
    residuals = test.losses - test.weights * loss
    stderr = math.sqrt(float(counts @ residuals**2))
    return replace(
        test, difference=replace(test.difference, value=-loss, stderr=stderr), residuals=residuals, counts=counts
    )


def unlucky(test: PairedTest, power: float) -> PairedTest:
    """Return the test of what is seen with less luck than a share `power` of all runs have, in showing a loss."""
    is_there = test.counts > 1e-9 * test.counts.max()
    test = replace(
        test,
        residuals=test.residuals[is_there],
        losses=test.losses[is_there],
        weights=test.weights[is_there],
        counts=test.counts[is_there],
    )
    size = test.unseen(0.0)
    totals, counts = np.append(-test.losses, size), np.append(test.counts, 1.0)
    if totals.min() >= 0:
        return test
    point = float(saddlepoints(totals[None], counts)[0])
    slopes = math.copysign(1.0, point) * np.log1p(-point * totals[:-1])
    # There are as many clusters of each size whatever the luck.
    _, kinds = np.unique(test.weights, return_inverse=True)
    whole = np.bincount(kinds, weights=test.counts)
    slopes = slopes - (np.bincount(kinds, weights=test.counts * slopes) / whole)[kinds]
    spread = math.sqrt(float(test.counts @ slopes**2))
    if not spread:
        return test
    seen = test.counts * np.exp(-t_quantile(power, math.inf) * slopes / spread)
    return _with_counts(test, seen * (whole / np.bincount(kinds, weights=seen))[kinds])


def detects(at_loss: AtLoss, loss: float, alpha: float, power: float, factor: float = 1.0) -> bool:
    """Return whether `factor` times these clusters show a true loss at the two-sided level alpha so probably."""
    found = at_loss(loss)
    return unlucky(replace(found, counts=found.counts * factor), power).p_worse(0.0) <= alpha / 2


def smallest_loss(at_loss: AtLoss, alpha: float, power: float) -> float:
    """Return the smallest true loss that is detected with probability `power` by the two-sided test; 1 if none."""
    low, high = 0.0, 1.0
    if not detects(at_loss, high, alpha, power):
        return 1.0
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if detects(at_loss, middle, alpha, power) else (middle, high)
    return high


def factor_to_detect(at_loss: AtLoss, loss: float, alpha: float, power: float) -> float | None:
    """Return how many times as many clusters of the same kinds detect a true loss; None if no number does."""
    return smallest_factor(lambda factor: detects(at_loss, loss, alpha, power, factor))
