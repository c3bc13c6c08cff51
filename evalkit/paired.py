"""Two runs of the same documents: is the candidate worse by more than a margin? One test for every paired question.

What varies is the cluster (a passage with its questions; a document without one is a cluster of its own), so the test
sees cluster totals only. It asks how large the loss is in a population of which these clusters are a sample: the
clusters get random weights (independent, exponential: the Bayesian bootstrap), and one cluster more is added that
nobody has seen and that is lost as a whole. The p-value of "the loss is the margin or more" is the probability that the
reweighted loss is at least the margin.

- For clusters of one size that are lost as a whole or not at all, this *is* the exact test of Clopper and Pearson; for
  right and wrong answers of independent documents at margin 0 it is the exact sign test, which is McNemar's. So no
  flips among few clusters is never certainty: of G clusters none is lost with probability (1 - p)^G.
- For clusters of one size and losses of any kind it is the bound of Gaffke (2005); Learned-Miller and Thomas, "A new
  confidence interval for the mean of a bounded random variable" (arXiv 1905.06208), on why it is believed to hold for
  every distribution and every number of clusters. That is a conjecture; for unequal clusters and several tasks it is an
  approximation. `benchmarks/gate_rates.py` measures both.
- For many clusters it is the normal test with the cluster-robust error.

The probability is that of a weighted sum of exponentials, by Lugannani and Rice, Advances in Applied Probability 12
(1980), which is within 2 % of the exact p-value from three clusters on (the tests say where). Its saddlepoint solves
the equation of Owen's empirical likelihood, Biometrika 75 (1988); the added cluster is the pseudo-observation of Chen,
Variyath and Abraham, J. Computational and Graphical Statistics 17 (2008), put at the worst case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from evalkit.errors import DataError
from evalkit.stats import Estimate, FloatArray, Values, t_cdf, t_quantile

_SMALL = 1e-4
_STEPS = 200
LARGEST_FACTOR = 1e6
"""More documents than so many times those that are there are "no number of documents"."""


def tail_probability(weights: FloatArray, counts: FloatArray) -> float:
    """Return P(sum of E_i * weights_i >= 0) for independent standard exponentials E, `counts` of each weight.

    shapes: (values,), (values,). By Lugannani and Rice (1980).
    """
    low, high = float(weights.min()), float(weights.max())
    if high <= 0:
        return 0.0
    if low >= 0:
        return 1.0
    # The saddlepoint: the root of the cumulant function's derivative, which increases between its two poles.
    left, right, point = 1 / low, 1 / high, 0.0
    for _ in range(_STEPS):
        terms = weights / (1 - point * weights)
        slope, curvature = float(counts @ terms), float(counts @ terms**2)
        left, right = (left, point) if slope > 0 else (point, right)
        following = point - slope / curvature
        if not left < following < right:
            following = (left + right) / 2
        is_found = abs(following - point) <= 1e-13 * max(abs(left), abs(right))
        point = following
        if is_found:
            break
    terms = weights / (1 - point * weights)
    curvature = float(counts @ terms**2)
    root = math.copysign(math.sqrt(max(0.0, 2 * float(counts @ np.log1p(-point * weights)))), point)
    if abs(root) < _SMALL:
        skew: float = 2 * float(counts @ terms**3) / curvature**1.5
        return float(0.5 - skew / (6 * math.sqrt(2 * math.pi)))
    density = math.exp(-root * root / 2) / math.sqrt(2 * math.pi)
    found = t_cdf(-root, math.inf) + density * (1 / (point * math.sqrt(curvature)) - 1 / root)
    return min(1.0, max(0.0, found))


@dataclass(frozen=True)
class PairedTest:
    """The losses of a suite's clusters, and what they say about any margin. All in shares, 0 to 1.

    Attributes:
        difference: candidate minus baseline, with the cluster-robust standard error (0 if nothing changed).
        residuals: each cluster's summed weighted loss beyond its tasks' means. shape (clusters,), equal ones once
        weights: each cluster's part of the mean; all add up to 1. shape (clusters,)
        counts: how many clusters are like this one. shape (clusters,)
        unseen: the part of the mean that the cluster has which nobody has seen: the typical one of all tasks together,
            or of the task whose clusters weigh most, because a loss may be in one task alone.
        is_clustered: True if some documents share a cluster.
    """

    difference: Estimate
    residuals: FloatArray
    weights: FloatArray
    counts: FloatArray
    unseen: float
    is_clustered: bool = False

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return round(float(self.counts.sum()))

    @property
    def independent(self) -> float:
        """As how many independent, equally weighted clusters these count."""
        return 1 / self.unseen

    def p_fine(self, margin: float) -> float:
        """Return the p-value of "the loss is the margin or more"; small: not worse by the margin. Falls with it."""
        totals = self.residuals - self.weights * (self.difference.value + margin)
        return self._tail(totals, self.unseen * (1 - margin))

    def p_worse(self, margin: float) -> float:
        """Return the p-value of "the loss is the margin or less"; small: worse by more than that. Grows with it."""
        totals = self.residuals - self.weights * (self.difference.value + margin)
        return self._tail(-totals, self.unseen * (1 + margin))

    def _tail(self, totals: FloatArray, unseen: float) -> float:
        return tail_probability(np.append(totals, unseen), np.append(self.counts, 1.0))

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

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval; never of width 0, never beyond -1 or 1."""
        alpha = (1 - confidence) / 2
        return self.lowest(alpha), self.highest(alpha)

    def clusters_to_pass(self, margin: float, alpha: float = 0.05) -> int:
        """Return how many independent clusters pass if nothing changes; fewer never pass."""
        return math.ceil(math.log(alpha) / math.log1p(-margin) - 1e-9)

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
) -> PairedTest:
    """Make the test of a weighted mean over tasks.

    Args:
        differences: task -> candidate minus baseline for each document, within -1..1.
        clusters: task -> one key a document; a key in two tasks is one cluster. None, or a task that is missing: every
            document is a cluster of its own.
        weights: task -> its weight in the mean; they add up to 1. None: the same for all.

    Raises:
        DataError: no documents, or a difference that is not finite or beyond the bounds.
    """
    if not differences or not all(len(values) for values in differences.values()):
        raise DataError("paired test: no documents")
    index: dict[Hashable, int] = {}
    columns, shares, codes, tasks = [], [], [], []
    for number, (task, values) in enumerate(differences.items()):
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
        codes.append(np.fromiter((index.setdefault(key, len(index)) for key in keys), np.int64, array.size))
        tasks.append(np.full(array.size, number))
    return _assembled(columns, shares, codes, len(index))


def _assembled(
    columns: Sequence[FloatArray], shares: Sequence[float], codes: Sequence[np.ndarray], groups: int
) -> PairedTest:
    residuals, parts, corrected = np.zeros(groups), np.zeros(groups), np.zeros(groups)
    value, variance_parts, largest = 0.0, [], 0.0
    for array, share, code in zip(columns, shares, codes, strict=True):
        centre = float(array.mean())
        value += share * array.size * centre
        own = share * np.bincount(code, weights=centre - array, minlength=groups)
        sizes = share * np.bincount(code, minlength=groups)
        count = int(np.count_nonzero(sizes))
        largest = max(largest, _typical_size(sizes))
        residuals += own
        parts += sizes
        factor = count / (count - 1) if count > 1 else 1.0
        corrected += math.sqrt(factor) * own
        variance_parts.append((factor * float(own @ own), count - 1))
    spread = math.fsum(variance for variance, _ in variance_parts)
    freedom = math.fsum((variance / spread) ** 2 / max(1, df) for variance, df in variance_parts) if spread > 0 else 0.0
    documents = sum(array.size for array in columns)
    # One cluster says nothing about the spread: it could have gone any way.
    stderr = math.sqrt(float(corrected @ corrected)) if groups > 1 else 1.0
    estimate = Estimate(value, stderr, documents, 1 / freedom if freedom else math.inf)
    rows, counts = np.unique(np.round(np.stack([residuals, parts]), 14), axis=1, return_counts=True)
    unseen = max(largest, _typical_size(parts))
    return PairedTest(estimate, rows[0], rows[1], counts.astype(np.float64), unseen, groups < documents)


def _typical_size(sizes: np.ndarray) -> float:
    """Return the size of the cluster that is added: that of all, if they are equal; else towards the large ones.

    The geometric mean of sum(a^2) / sum(a), the size of the cluster that a random document is in, and of
    sum(a^3) / sum(a^2), the step of the Poisson variable with the variance and skewness of losses of whole clusters.
    """
    return math.sqrt(float((sizes**3).sum()) / float(sizes.sum()))
