"""What nobody has seen: how large a loss clusters of these sizes can hide, and how large the cluster is that hides it.

`evalkit.stats.paired` says why; `evalkit.stats.strata` asks the same of a part of the clusters.
"""

from __future__ import annotations

import math

import numpy as np

from evalkit.stats.estimates import FloatArray

_SMALL = 1e-4
_STEPS = 200
_HALVINGS = 50


def hidden_probability(sizes: FloatArray, counts: FloatArray, loss: float) -> float:
    """Return the greatest probability that no cluster is lost although `loss` of the mean is lost in expectation.

    Clusters are lost independently and as a whole, each with any probability; see `evalkit.stats.paired`.

    Args:
        sizes: the clusters' parts of the mean, in any unit. shape (values,)
        counts: how many clusters have each of them. shape (values,)
        loss: share of the whole that is lost in expectation.
    """
    return math.exp(log_hidden(sizes, counts, loss)) if loss < 1 else 0.0


def log_hidden(sizes: FloatArray, counts: FloatArray, loss: float) -> float:
    """Return the logarithm of `hidden_probability`, for a loss below 1."""
    order = np.argsort(-sizes)
    large, number = sizes[order], counts[order]
    clusters, whole = np.cumsum(number), np.cumsum(number * large)
    # If the first k sizes carry the loss, `kept` is left of each of their clusters, which is more than the next size.
    kept = (whole - max(0.0, loss) * float(whole[-1])) / clusters
    first = int(np.argmax(kept >= np.append(large[1:], 0.0)))
    return float(number[: first + 1] @ np.log(np.minimum(1.0, kept[first] / large[: first + 1])))


def unseen_size(sizes: FloatArray, counts: FloatArray, loss: float) -> float:
    """Return the size of the cluster that nobody has seen, in the unit of `sizes`.

    With it, the p-value of "the loss is `loss` or more" is `hidden_probability` where nothing changed: there it is
    prod(1 / (1 + a_i r)) with r = loss / ((1 - loss) size), because all weights are exponential. For no loss that is
    the largest cluster, for a total one the mean of all.
    """
    if loss <= _SMALL:
        return float(sizes.max())
    whole, clusters = float(counts @ sizes), float(counts.sum())
    if loss >= 1 - _SMALL:
        return whole / clusters
    wanted = log_hidden(sizes, counts, loss)
    # Newton's method in log r: the left side is convex in it, and increasing, so from above it cannot overshoot.
    point = math.log(clusters / (whole * (1 - loss)))
    for _ in range(_STEPS):
        terms = sizes * math.exp(point)
        step = (float(counts @ np.log1p(terms)) + wanted) / float(counts @ (terms / (1 + terms)))
        point -= step
        if abs(step) < 1e-12:
            break
    return loss / ((1 - loss) * math.exp(point))


def largest_hidden(sizes: FloatArray, counts: FloatArray, probability: float) -> float:
    """Return the loss, as a share of the whole, of which nothing is seen with the given probability at most."""
    low, high, wanted = 0.0, 1.0, math.log(probability)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if log_hidden(sizes, counts, middle) > wanted else (low, middle)
    return low
