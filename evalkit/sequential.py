"""Intervals that stay valid however often one looks: the basis of a gate that stops early.

An ordinary 95 % interval is wrong 5 % of the time *at one look*; looked at after every document it is wrong far more
often. A confidence sequence covers the truth at all looks together with the stated probability.

- [WR24] Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", arXiv 2010.09686,
  theorem 2: the predictable plug-in empirical Bernstein sequence. Exact for any sample size, for bounded scores.
- [WS24] Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
  sequences", arXiv 2103.06476, theorem 2.2 and its one-sided form in the appendix: the normal mixture. Narrower, works
  for any estimate that has a standard error (a suite's mean over tasks, clustered errors), and valid from the size on
  at which the ordinary interval would be valid as well.

Documents must come in random order; fixed seeds are fine, orders by difficulty or length are not.
"""

from __future__ import annotations

import math

import numpy as np

from evalkit.errors import DataError
from evalkit.stats import FloatArray, Values


def mixture_scale(planned_looks: int, alpha: float = 0.05, *, one_sided: bool = True) -> float:
    """Return the mixture's rho squared that makes the sequence narrowest after `planned_looks` documents.

    [WS24] section 2.4: rho^2 = (-2 ln a + ln(1 - 2 ln a)) / t, with a = alpha, or twice alpha if one-sided.
    """
    if planned_looks < 1:
        raise DataError(f"planned number of documents must be positive, got {planned_looks}")
    level = -2 * math.log(min(0.5, 2 * alpha) if one_sided else alpha)
    return (level + math.log1p(level)) / planned_looks


def mixture_factor(documents: int, rho_squared: float, alpha: float = 0.05, *, one_sided: bool = True) -> float:
    """Return by what to multiply a standard error in place of 1.645 (one-sided) or 1.96 (two-sided).

    Args:
        documents: how many documents are behind the standard error by now.
        rho_squared: from `mixture_scale`; the same at all looks.

    The lower bound ``estimate - factor * stderr`` holds at all looks together with probability 1 - alpha.
    """
    grown = documents * rho_squared + 1
    inner = 2 * math.log1p(math.sqrt(grown) / (2 * alpha)) if one_sided else math.log(grown / alpha**2)
    return math.sqrt(grown / (documents * rho_squared) * inner)


def mixture_sequence(
    values: Values, alpha: float = 0.05, *, planned_looks: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the two-sided normal-mixture sequence of a stream's mean ([WS24] theorem 2.2).

    Args:
        values: one score a document, in random order. shape (documents,)
        planned_looks: number of documents at which it should be narrowest; the stream's length if None.

    Returns:
        lower and upper bounds, each of shape (documents,); infinite before the second document.
    """
    array = np.asarray(values, dtype=np.float64)
    count = np.arange(1, array.size + 1, dtype=np.float64)
    centre = np.cumsum(array) / count
    variance = np.maximum(np.cumsum(array**2) / count - centre**2, 0.0)
    rho_squared = mixture_scale(planned_looks or array.size, alpha, one_sided=False)
    grown = count * rho_squared + 1
    half = np.sqrt(variance * grown / (count**2 * rho_squared) * np.log(grown / alpha**2))
    half[variance == 0] = np.inf
    return centre - half, centre + half


def bernstein_sequence(
    values: Values, alpha: float = 0.05, *, low: float = 0.0, high: float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """Return the empirical-Bernstein sequence of a bounded stream's mean ([WR24] theorem 2), two-sided.

    Args:
        values: one score a document, in random order, each within `low`..`high`. shape (documents,)

    Returns:
        lower and upper bounds of all looks so far (running intersections), each of shape (documents,).

    Raises:
        DataError: a score outside the bounds.
    """
    array = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    if array.size and not (np.nanmin(array) >= 0 and np.nanmax(array) <= 1 and np.isfinite(array).all()):
        raise DataError(f"scores must lie within {low}..{high}")
    count = np.arange(1, array.size + 1, dtype=np.float64)
    regular_mean = (0.5 + np.cumsum(array)) / (count + 1)
    regular_variance = (0.25 + np.cumsum((array - regular_mean) ** 2)) / (count + 1)
    mean_before = np.concatenate(([0.5], regular_mean[:-1]))
    variance_before = np.concatenate(([0.25], regular_variance[:-1]))
    # The stake on document t may depend on documents before t only; that is what makes every look valid.
    stake = np.minimum(np.sqrt(2 * math.log(2 / alpha) / (variance_before * count * np.log1p(count))), 0.5)
    surprise = (array - mean_before) ** 2 * (-np.log1p(-stake) - stake)
    total = np.cumsum(stake)
    centre = np.cumsum(stake * array) / total
    half = (math.log(2 / alpha) + np.cumsum(surprise)) / total
    lower = np.maximum.accumulate(np.clip(centre - half, 0, 1))
    upper = np.minimum.accumulate(np.clip(centre + half, 0, 1))
    return low + (high - low) * lower, low + (high - low) * upper
