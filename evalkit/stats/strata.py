"""A loss that is known well in some clusters and hardly in others: the clusters in strata, each with its own mean.

Beside thousands of documents that show a large loss, 40 heavier ones can hide more than they show. A single reweighting
of all clusters (`paired`) takes the loss of the thousands for that of the 40. Here clusters of one size are a
stratum, the mean of each is reweighted for itself (independent, exponential weights), and the means are added. The
cluster that nobody has seen, and that is lost as a whole, is put into one stratum, into each in turn; the worst counts.

One is enough where each stratum has many clusters: those that show nothing hide no more together than the one with the
largest, since with p_i the probability that cluster i is lost, none is with about exp(-sum(p_i)), at most
exp(-loss / largest). A stratum of few clusters cannot hide so much by itself: six passages, each of a size of its own,
are six strata that hide one passage, and together they hide one and a half. So every cut between two sizes, the
clusters above it one stratum and those below it the other, is asked as well. The unseen cluster of a stratum with
several sizes is as large as makes its bound the loss that they can hide (`hidden.largest_hidden`).

A stratum by itself is the bound of Gaffke (2005), which is that of Clopper and Pearson where clusters are lost as a
whole. To add such distributions is the melding of Fay, Proschan and Brittain, Biometrics 71 (2015); one unseen event at
the largest weight is what Fay and Feuer, Statistics in Medicine 16 (1997), add to weighted sums of Poisson counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from evalkit.stats.estimates import FloatArray
from evalkit.stats.hidden import largest_hidden, unseen_size

BAND = 1.05
"""Clusters of one stratum differ in size by this factor at most."""
GROWTH = 1.5
"""From one cut to the next, the clusters above it become this many times as many at least, but for the last cut."""
_HIDDEN = 0.05
"""A stratum of several sizes is bounded exactly at this level, where it shows nothing."""
_CELLS = 64
"""Cells of the grid in one standard deviation of the sum."""
_GRID, _BELOW = 2048, 640
"""Cells of the grid, and how many of them lie below the mean."""
_KNOTS = np.concatenate([np.arange(-8, -3, 0.25), np.arange(-3, 4, 0.0625), np.arange(4, 16.1, 0.25)])
_STEPS = 100
_SMALL = 1e-3


def tail_probabilities(weights: FloatArray, counts: FloatArray) -> FloatArray:
    """Return P(sum of E_i * weights_i >= 0) for independent standard exponentials E and many sets of weights at once.

    shapes: (sets, values), (values,) -> (sets,). By Lugannani and Rice, Advances in Applied Probability 12 (1980).
    """
    from scipy import special

    # A pole of hardly any weight is next to the root.
    is_there = counts > 1e-9 * counts.max()
    weights, counts = weights[:, is_there], counts[is_there]
    low, high = weights.min(axis=1), weights.max(axis=1)
    never, always = high <= -1e-12 * low, low >= -1e-12 * high
    found = np.where(never, 0.0, 1.0)
    rows = np.flatnonzero(~(never | always))
    if not rows.size:
        return found
    scaled = weights[rows]
    point = saddlepoints(scaled, counts)
    terms = scaled / (1 - point[:, None] * scaled)
    curvature = terms**2 @ counts
    root = np.copysign(np.sqrt(np.maximum(0.0, 2 * (np.log1p(-point[:, None] * scaled) @ counts))), point)
    is_central = np.abs(root) < _SMALL
    safe = np.where(is_central, 1.0, root)
    steep = np.where(is_central, 1.0, point * np.sqrt(curvature))
    density = np.exp(-safe * safe / 2) / math.sqrt(2 * math.pi)
    central = 0.5 - (2 * terms**3 @ counts) / curvature**1.5 / (6 * math.sqrt(2 * math.pi))
    tail = np.where(is_central, central, special.ndtr(-safe) + density * (1 / steep - 1 / safe))
    found[rows] = np.clip(tail, 0.0, 1.0)
    return found


def saddlepoints(weights: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the saddlepoint of sum of E_i * weights_i at 0, for many sets of weights that have both signs each.

    It is the root of the cumulant function's derivative, which increases between its two poles; found by Newton's
    method on the derivative times both poles, which is a line where there are two values.
    shapes: (sets, values), (values,) -> (sets,)
    """
    low, high = weights.min(axis=1), weights.max(axis=1)
    left, right, point = 1 / low, 1 / high, np.zeros(len(weights))
    precision = 1e-12 * np.minimum(-left, right)
    with np.errstate(divide="ignore", invalid="ignore"):  # what is no number is not inside
        for _ in range(_STEPS):
            terms = weights / (1 - point[:, None] * weights)
            slope, curvature = terms @ counts, terms**2 @ counts
            is_above = slope > 0
            left, right = np.where(is_above, left, point), np.where(is_above, point, right)
            to_left, to_right = 1 - point * low, 1 - point * high
            following = point - slope / (curvature - slope * (low / to_left + high / to_right))
            is_inside = (left <= following) & (following <= right) & (1 / low < following) & (following < 1 / high)
            following = np.where(is_inside, following, (left + right) / 2)
            is_found = np.abs(following - point) <= precision
            point = following
            if is_found.all():
                break
    return point


@dataclass(frozen=True)
class Stratum:
    """Clusters that are reweighted together.

    Attributes:
        losses: each cluster's part of the total loss. shape (clusters,), equal ones once
        weights: each cluster's part of the mean. shape (clusters,)
        counts: how many are like this one. shape (clusters,)
    """

    losses: FloatArray
    weights: FloatArray
    counts: FloatArray

    @property
    def weight(self) -> float:
        """The stratum's part of the mean."""
        return float(self.counts @ self.weights)

    @property
    def unseen(self) -> float:
        """The size of the cluster that nobody has seen: that of a typical one here, or of the one that hides most."""
        if self.weights.max() <= self.weights.min() * BAND * (1 + 1e-9):
            return math.sqrt(float(self.counts @ self.weights**3) / self.weight)
        return unseen_size(self.weights, self.counts, largest_hidden(self.weights, self.counts, _HIDDEN))

    @property
    def centre(self) -> float:
        """The stratum's part of the loss that was seen."""
        return float(self.counts @ self.losses)

    @property
    def spread(self) -> float:
        """Standard deviation of that part under reweighting."""
        whole = self.weight
        return math.sqrt(float(self.counts @ (self.losses - self.weights * self.centre / whole) ** 2))

    def with_unseen(self) -> Stratum:
        """Return the stratum with one cluster more, that is lost."""
        size = self.unseen
        return Stratum(np.append(self.losses, size), np.append(self.weights, size), np.append(self.counts, 1.0))

    def cells(self, edges: FloatArray) -> FloatArray:
        """Return the probability that the mean loss lies between two edges each. shape (edges,) -> (edges - 1,)"""
        whole = self.weight
        centre, spread = self.centre / whole, self.spread / whole
        if spread < 1e-9 * (edges[1] - edges[0]):
            above = (edges <= centre).astype(np.float64)
        else:
            levels = centre + spread * _KNOTS
            knots = tail_probabilities(self.losses - self.weights * levels[:, None], self.counts)
            above = np.interp(edges, levels, knots, left=1.0, right=0.0)
        return -np.diff(above)


def strata_of(losses: FloatArray, weights: FloatArray, counts: FloatArray) -> Iterator[Stratum]:
    """Yield the strata, largest clusters first."""
    order = np.argsort(-weights, kind="stable")
    begin = 0
    while begin < order.size:
        sizes = weights[order[begin:]]
        end = begin + int(np.count_nonzero(sizes >= sizes[0] / BAND * (1 - 1e-9)))
        chosen = order[begin:end]
        yield Stratum(losses[chosen], weights[chosen], counts[chosen])
        begin = end


def _together(strata: Sequence[Stratum]) -> Stratum:
    """Return several strata as one."""
    return Stratum(*(np.concatenate([getattr(stratum, name.name) for stratum in strata]) for name in fields(Stratum)))


def _divisions(strata: Sequence[Stratum]) -> Iterator[Sequence[Stratum]]:
    """Yield the ways to divide the clusters: a stratum for each size, then two for each cut between two sizes."""
    yield strata
    if len(strata) < 3:
        return
    above, last = 0.0, 0.0
    for cut in range(1, len(strata)):
        above += float(strata[cut - 1].counts.sum())
        if above >= last * GROWTH or cut == len(strata) - 1:
            last = above
            yield [_together(strata[:cut]), _together(strata[cut:])]


@dataclass(frozen=True)
class Melded:
    """The distribution of the whole loss; of all divisions, and of all places of the unseen cluster, the worst counts.

    Attributes:
        curves: of each division losses, rising, and the largest probability, over the strata, that the loss is this or
            more. shapes (levels,), (levels,)
    """

    curves: tuple[tuple[FloatArray, FloatArray], ...]

    def at(self, loss: float) -> float:
        """Return the probability that the loss is `loss` or more."""
        return max(float(np.interp(loss, levels, above, left=1.0, right=0.0)) for levels, above in self.curves)


def melded(losses: FloatArray, weights: FloatArray, counts: FloatArray) -> Melded | None:
    """Return the distribution of the loss of all strata; None where there is one stratum: `paired` has it."""
    is_there = counts > 0  # none of a kind where losses are only imagined (`evalkit.stats.planning`)
    losses, weights, counts = losses[is_there], weights[is_there], counts[is_there]
    whole = float(counts @ weights)  # other than 1 where more clusters of the same kinds are asked about
    strata = list(strata_of(losses / whole, weights / whole, counts))
    return Melded(tuple(map(_curve, _divisions(strata)))) if len(strata) > 1 else None


def _curve(strata: Sequence[Stratum]) -> tuple[FloatArray, FloatArray]:
    """Return losses, and the largest probability, over the strata, that the loss is this or more."""
    unseen = max(stratum.unseen for stratum in strata)
    step = math.sqrt(math.fsum(stratum.spread**2 for stratum in strata) + unseen**2) / _CELLS
    # Each stratum's grid lies around its own mean, so the sum's lies around the sum of the means; the transform is
    # circular, which puts what is below the mean at the end.
    edges: FloatArray = (np.arange(_GRID + 1, dtype=np.float64) - _BELOW - 0.5) * step
    plain, padded = [], []
    for stratum in strata:
        own = (stratum.centre + edges) / stratum.weight
        plain.append(np.fft.rfft(np.roll(stratum.cells(own), -_BELOW)))
        padded.append(np.fft.rfft(np.roll(stratum.with_unseen().cells(own), -_BELOW)))
    above = np.zeros(_GRID + 1)
    for place in range(len(strata)):
        chosen = [padded[place] if number == place else found for number, found in enumerate(plain)]
        cells = np.roll(np.fft.irfft(np.prod(chosen, axis=0), _GRID), _BELOW)
        above = np.maximum(above, np.append(np.cumsum(cells[::-1])[::-1], 0.0))
    return math.fsum(stratum.centre for stratum in strata) + edges, np.clip(above, 0.0, 1.0)
