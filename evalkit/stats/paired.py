"""Two runs of the same documents: is the candidate worse by more than a margin? One test for every paired question.

What varies is the cluster (a passage with its questions; a document without one is a cluster of its own), so the test
sees cluster totals only. It asks how large the loss is in a population of which these clusters are a sample: the
clusters get random weights (independent, exponential: the Bayesian bootstrap), and one cluster more is added that
nobody has seen and that is lost as a whole. The p-value of "the loss is the margin or more" is the probability that the
reweighted loss is at least the margin.

How large is the cluster that nobody has seen, where clusters differ in size? A loss hides best in the large ones. If
cluster i, with the part a_i of the mean, is lost with probability p_i, nothing is lost with probability prod(1 - p_i);
among all p with sum(a_i p_i) = margin that is greatest where 1 - p_i = min(1, c / a_i), with c such that the sum is
right (`hidden`). No test that passes an unchanged model errs less often than this. So the p-value is never
below that probability times the p-value at margin 0: nothing large was lost by chance, and the rest is as good as seen
by chance. The unseen cluster lies between the typical size of all and the size at which it would give "nothing changed"
that probability by itself (`hidden.unseen_size`); how far between was found by simulation (docs/statistics.md).

- For clusters of one size that are lost as a whole or not at all, this *is* the exact test of Clopper and Pearson; for
  right and wrong answers of independent documents at margin 0 it is the exact sign test, which is McNemar's. So no
  flips among few clusters is never certainty: of G clusters none is lost with probability (1 - p)^G.
- For clusters of one size and losses of any kind it is the bound of Gaffke (2005); Learned-Miller and Thomas, "A new
  confidence interval for the mean of a bounded random variable" (arXiv 1905.06208), on why it is believed to hold for
  every distribution and every number of clusters. That is a conjecture; for unequal clusters and several tasks it is an
  approximation. `benchmarks/gate_rates.py` measures both.
- Where clusters differ in size, the loss must also be below the margin with the sizes, and with the larger and the
  smaller ones, reweighted for themselves (`strata`): one mean for all takes what is known of many small ones for known
  of a few large.
- For many clusters it is the normal test with the cluster-robust error.

The probability is that of a weighted sum of exponentials, by Lugannani and Rice, Advances in Applied Probability 12
(1980). Against the exact p-value it is 0.2 % too small to 7 % too large where 3 to 40 clusters of one size are lost
whole or not at all, and 2 % too small to 13 % too large for 3 to 8 weights that differ by factors. Its saddlepoint
solves the equation of Owen's empirical likelihood, Biometrika 75 (1988); the added cluster is the pseudo-observation of
Chen, Variyath and Abraham, J. Computational and Graphical Statistics 17 (2008), put at the worst case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np

from evalkit.errors import DataError
from evalkit.stats.estimates import Estimate, FloatArray, Values, t_quantile
from evalkit.stats.hidden import hidden_probability, unseen_size
from evalkit.stats.strata import Melded, melded, tail_probabilities

TOWARDS_WORST = 0.75
"""How far the unseen cluster's size goes from the typical towards the worst one, in their logarithms."""
USUAL = 0.95
"""Confidence of the intervals that are shown."""
OF_INTERVAL = 1.25
"""An interval so many times as wide as the error of what was seen makes it does not come from that error."""
LARGEST_FACTOR = 1e6
"""More documents than so many times those that are there are "no number of documents"."""


def of_interval(estimate: Estimate, low: float, high: float) -> Estimate:
    """Return an estimate with the error to show beside its 95 % interval: its own, or half the interval's over 1.96.

    The latter where the interval is too wide to come from the error (`OF_INTERVAL`), so that the two say one thing.
    """
    error = (high - low) / 2 / t_quantile(0.975, math.inf)
    return estimate if error <= OF_INTERVAL * estimate.stderr else replace(estimate, stderr=error)


FEWEST_BESIDE = 40
"""Clusters of several tasks together below which the gate decides nothing: an exact sum over all outcomes of 8 + 8
documents, one task gaining 47 points and one losing 83, passed a margin of 18 in 7.8 % of runs; of 14 + 14 in 5.6."""

FEWEST_OF_TASK = 2
"""Clusters of each of several tasks below which the gate decides nothing: one says nothing about its task's spread."""


@dataclass(frozen=True)
class PairedTest:
    """The losses of a suite's clusters, and what they say about any margin. All in shares, 0 to 1.

    Attributes:
        difference: candidate minus baseline, with the cluster-robust standard error of what was seen (0 if all moved
            alike); `shown` has the one for readers.
        residuals: each cluster's summed weighted loss beyond its tasks' means, so long that their squares add up to the
            variance of the difference: of several tasks times sqrt(n / (n - 1)), n the task's clusters, because a mean
            of each task's own was taken off. shape (clusters,), equal ones once
        losses: each cluster's summed weighted loss. shape (clusters,)
        weights: each cluster's part of the mean; all add up to 1. shape (clusters,)
        counts: how many clusters are like this one. shape (clusters,)
        typical: the size of a typical cluster: of all tasks together, or of the task whose clusters weigh most, because
            a loss may be in one task alone.
        is_clustered: True if some documents share a cluster.
        tasks: how many tasks the mean is of.
        fewest: clusters of the task that has fewest.
    """

    difference: Estimate
    residuals: FloatArray
    losses: FloatArray
    weights: FloatArray
    counts: FloatArray
    typical: float
    is_clustered: bool = False
    tasks: int = 1
    fewest: int = 2

    @cached_property
    def shown(self) -> Estimate:
        """The difference with the error that is shown: the one seen if the 95 % interval is of it, else the interval's.

        `difference` has the spread of the clusters seen, which is 0 for two that moved alike, and far too little
        wherever few moved. The interval does not come from it then, and half of it over 1.96 is what is known.
        """
        return of_interval(self.difference, *self.interval())

    @property
    def is_too_few(self) -> bool:
        """True if the gate's level is not kept: tasks side by side of which one gains what another loses."""
        return self.tasks > 1 and (self.clusters < FEWEST_BESIDE or self.fewest < FEWEST_OF_TASK)

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return round(float(self.counts.sum()))

    def hidden(self, margin: float) -> float:
        """Return the greatest probability that nothing changes although the loss is the margin; 1 for no loss."""
        return hidden_probability(self.weights, self.counts, margin)

    def unseen(self, margin: float) -> float:
        """Return the part of the mean that the cluster has which nobody has seen, for the test of a margin."""
        worst = unseen_size(self.weights, self.counts, abs(margin))
        return worst * math.pow(min(1.0, self.typical / worst), 1 - TOWARDS_WORST)

    def smallest_margin(self, alpha: float = 0.05) -> float:
        """Return the smallest margin that passes where nothing changed: any below it could be hidden."""
        nothing = np.zeros_like(self.losses)
        unchanged = replace(
            self, difference=replace(self.difference, value=0.0, stderr=0.0), residuals=nothing, losses=nothing
        )
        return boundary(lambda margin: alpha - unchanged.p_fine(margin))

    def p_fine(self, margin: float) -> float:
        """Return the p-value of "the loss is the margin or more"; small: not worse by the margin.

        Falls with a margin of 0 or more. Below 0, which asks for a gain, it may rise by up to 0.01 where few clusters
        differ in size, because the unseen cluster's size changes with the margin.
        """
        found = max(self._fine(margin), self._melded_loss.at(margin) if self._melded_loss else 0.0)
        return found if margin <= 0 else max(found, self.hidden(margin) * self._fine(0.0))

    def p_worse(self, margin: float) -> float:
        """Return the p-value of "the loss is the margin or less"; small: worse by more than that.

        What `p_fine` is of the runs turned round: it grows with a margin of 0 or less.
        """
        found = max(self._worse(margin), self._melded_gain.at(-margin) if self._melded_gain else 0.0)
        return found if margin >= 0 else max(found, self.hidden(-margin) * self._worse(0.0))

    @cached_property
    def _melded_loss(self) -> Melded | None:
        return melded(self.losses, self.weights, self.counts)

    @cached_property
    def _melded_gain(self) -> Melded | None:
        return melded(-self.losses, self.weights, self.counts)

    def _fine(self, margin: float) -> float:
        totals = self.residuals - self.weights * (self.difference.value + margin)
        return self._tail(totals, self.unseen(margin) * (1 - margin))

    def _worse(self, margin: float) -> float:
        totals = self.residuals - self.weights * (self.difference.value + margin)
        return self._tail(-totals, self.unseen(margin) * (1 + margin))

    def _tail(self, totals: FloatArray, unseen: float) -> float:
        return float(tail_probabilities(np.append(totals, unseen)[None], np.append(self.counts, 1.0))[0])

    @cached_property
    def p_value(self) -> float:
        """Two-sided p-value of "no difference"; what `interval` inverts."""
        return min(1.0, 2 * min(self.p_fine(0.0), self.p_worse(0.0)))

    def lowest(self, alpha: float = 0.05) -> float:
        """Return the bound above which the difference lies with confidence 1 - alpha: what `p_fine` inverts."""
        return -boundary(lambda margin: alpha - self.p_fine(margin))

    def highest(self, alpha: float = 0.05) -> float:
        """Return the bound below which the difference lies with confidence 1 - alpha: what `p_worse` inverts."""
        return -boundary(lambda margin: self.p_worse(margin) - alpha)

    def interval(self, confidence: float = USUAL) -> tuple[float, float]:
        """Return the two-sided interval; never of width 0, never beyond -1 or 1."""
        return self._usual if confidence == USUAL else self._interval(confidence)

    @cached_property
    def _usual(self) -> tuple[float, float]:
        return self._interval(USUAL)

    def _interval(self, confidence: float) -> tuple[float, float]:
        alpha = (1 - confidence) / 2
        return self.lowest(alpha), self.highest(alpha)

    def factor_to_decide(self, margin: float, alpha: float, alpha_worse: float, power: float = 0.8) -> float | None:
        """Return how many times as many clusters of the same kinds decide with the given probability.

        The difference and the variance seen are taken for the true ones; alpha is the level for passing, alpha_worse
        that for "worse". None if no reasonable number does.
        """
        below = self.difference.value + margin < 0

        def decides(factor: float) -> bool:
            error = self.difference.stderr / math.sqrt(factor)
            unlucky = t_quantile(power, math.inf) * error * (1 if below else -1)
            shifted = replace(
                self,
                difference=replace(self.difference, value=self.difference.value + unlucky),
                losses=self.losses - self.weights * unlucky,
                counts=self.counts * factor,
            )
            return shifted.p_worse(margin) <= alpha_worse if below else shifted.p_fine(margin) <= alpha

        return None if self.difference.value + margin == 0 else smallest_factor(decides)


def boundary(rising: Callable[[float], float]) -> float:
    """Return the margin within -1..1 at which a function that rises with it becomes 0; 1.0 if it never does."""
    from scipy import optimize

    if rising(1.0) < 0:
        return 1.0
    if rising(-1.0) >= 0:
        return -1.0
    return float(optimize.brentq(rising, -1.0, 1.0, xtol=1e-9))


def smallest_factor(decides: Callable[[float], bool]) -> float | None:
    """Return the smallest factor on the number of documents that decides, within 0.01 %; None if none does."""
    if not decides(LARGEST_FACTOR):
        return None
    low, high = 1e-9, 1.0
    while not decides(high):
        low, high = high, high * 2
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def paired_test(
    differences: Mapping[str, Values],
    clusters: Mapping[str, Sequence[Hashable]] | None = None,
    weights: Mapping[str, float] | None = None,
    scales: Mapping[str, FloatArray] | None = None,
) -> PairedTest:
    """Make the test of a weighted mean over tasks.

    Args:
        differences: task -> candidate minus baseline for each document, within -1..1.
        clusters: task -> one key a document; a key in two tasks is one cluster. None, or a task that is missing: every
            document is a cluster of its own.
        weights: task -> its weight in the mean; they add up to 1. None: the same for all.
        scales: task -> for each document how much it counts beside the task's others, 1 in the mean. None, or a task
            that is missing: all count the same.

    Raises:
        DataError: no documents, or a difference that is not finite or beyond the bounds.
    """
    if not differences or not all(len(values) for values in differences.values()):
        raise DataError("paired test: no documents")
    columns, shares, named = [], [], []
    for task, values in differences.items():
        array = np.asarray(values, dtype=np.float64)
        if not np.isfinite(array).all() or np.abs(array).max() > 1:
            raise DataError(
                f"{task}: differences must lie within -1 and 1; a document has no score, or one beyond 0..1"
            )
        keys = (clusters or {}).get(task) or [(task, position) for position in range(array.size)]
        if len(keys) != array.size:
            raise DataError(f"{task}: {array.size} scores but {len(keys)} cluster keys")
        columns.append(array)
        shares.append((1 / len(differences) if weights is None else weights[task]) / array.size)
        named.append(keys)
    index: dict[Hashable, int] = {key: code for code, key in enumerate(dict.fromkeys(chain.from_iterable(named)))}
    codes = [np.fromiter(map(index.__getitem__, keys), np.int64, len(keys)) for keys in named]
    return _assembled(columns, shares, codes, len(index), [(scales or {}).get(task) for task in differences])


def _assembled(
    columns: Sequence[FloatArray],
    shares: Sequence[float],
    codes: Sequence[np.ndarray],
    groups: int,
    scales: Sequence[FloatArray | None],
) -> PairedTest:
    residuals, losses, parts, corrected = (np.zeros(groups) for _ in range(4))
    value, variance_parts, typical, fewest = 0.0, [], 0.0, groups
    # One mean for all is estimated in any case, and the unseen cluster answers for it.
    of_all = (groups - 1) / groups
    for array, share, code, scale in zip(columns, shares, codes, scales, strict=True):
        centre = float(array.mean()) if scale is None else float(scale @ array) / array.size
        value += share * array.size * centre
        moved = centre - array
        own = share * np.bincount(code, weights=moved if scale is None else scale * moved, minlength=groups)
        sizes = share * np.bincount(code, weights=scale, minlength=groups)
        count = int(np.count_nonzero(sizes))
        fewest = min(fewest, count)
        typical = max(typical, _typical_listed(sizes))
        factor = count / (count - 1) if count > 1 else 1.0
        residuals += (math.sqrt(factor * of_all) if len(columns) > 1 and count > 1 else 1.0) * own
        losses += own - centre * sizes
        parts += sizes
        corrected += math.sqrt(factor) * own
        variance_parts.append((factor * float(own @ own), count - 1))
    spread = math.fsum(variance for variance, _ in variance_parts)
    freedom = math.fsum((variance / spread) ** 2 / max(1, df) for variance, df in variance_parts) if spread > 0 else 0.0
    documents = sum(array.size for array in columns)
    # One cluster says nothing about the spread: it could have gone any way.
    stderr = math.sqrt(float(corrected @ corrected)) if groups > 1 else 1.0
    estimate = Estimate(value, stderr, documents, 1 / freedom if freedom else math.inf)
    rows, counts = np.unique(np.round(np.stack([residuals, losses, parts]), 14), axis=1, return_counts=True)
    typical = max(typical, _typical_listed(parts))
    residuals, losses, parts = rows
    return PairedTest(
        estimate, residuals, losses, parts, counts.astype(np.float64), typical, groups < documents, len(columns), fewest
    )


def _typical_listed(sizes: np.ndarray) -> float:
    """Return `typical_size` of clusters that are listed one by one."""
    return typical_size(sizes, np.ones_like(sizes))


def typical_size(sizes: FloatArray, counts: FloatArray) -> float:
    """Return the geometric mean of sum(a^2) / sum(a), the size of the cluster that a random document is in, and of
    sum(a^3) / sum(a^2), the step of the Poisson variable with the variance and skewness of losses of whole clusters."""
    return math.sqrt(float(counts @ sizes**3) / float(counts @ sizes))
