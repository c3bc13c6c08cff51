"""Error bars, tests and power for scores of benchmarks.

What comes from where:

- [M24] Miller, "Adding Error Bars to Evals", arXiv 2411.00640: which standard error to use when, clustered errors for
  documents that share a passage, paired differences, power.
- [CM15] Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference", J. Human Resources 50 (2015): the
  factor G/(G-1) and Student's t with G-1 degrees of freedom for G clusters, without which few clusters give intervals
  that are too narrow.
- [W27] Wilson, J. American Statistical Association 22 (1927): the interval for a share.
- [M47] McNemar, Psychometrika 12 (1947); here the exact binomial form.
- [H79] Holm, Scandinavian J. Statistics 6 (1979): step-down control of the family-wise error.

Scores are shares (0 to 1) or percentage points; every function keeps the unit it is given. Intervals and p-values are
two-sided unless said otherwise. `evalkit.stats.paired` and `evalkit.stats.unpaired` hold the tests of differences.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.errors import DataError

FloatArray = npt.NDArray[np.float64]
Values = Sequence[float] | FloatArray


def t_quantile(probability: float, df: float) -> float:
    """Return the quantile of Student's t with `df` degrees of freedom; ``math.inf`` means the normal distribution."""
    from scipy import special

    return float(special.ndtri(probability) if math.isinf(df) else special.stdtrit(df, probability))


def t_cdf(value: float, df: float) -> float:
    """Return the distribution function of Student's t with `df` degrees of freedom; ``math.inf`` means normal."""
    from scipy import special

    return float(special.ndtr(value) if math.isinf(df) else special.stdtr(df, value))


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference of scores, with its standard error.

    Attributes:
        value: the estimate.
        stderr: its standard error, in the same unit.
        documents: number of documents behind it; 0 where a published aggregate does not say.
        df: degrees of freedom of Student's t for intervals; infinite for published aggregates.
    """

    value: float
    stderr: float
    documents: int = 0
    df: float = math.inf

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval at the given confidence."""
        half = t_quantile(0.5 + confidence / 2, self.df) * self.stderr
        return self.value - half, self.value + half

    def p_value(self, against: float = 0.0) -> float:
        """Return the two-sided p-value of "the true value is `against`"; 1.0 if both agree and the error is 0."""
        distance = abs(self.value - against)
        if self.stderr == 0:
            return 1.0 if distance == 0 else 0.0
        return 2 * t_cdf(-distance / self.stderr, self.df)

    def scaled(self, factor: float) -> Estimate:
        """Return the same estimate in another unit, e.g. ``scaled(100)`` for per cent."""
        return Estimate(self.value * factor, self.stderr * abs(factor), self.documents, self.df)


def _checked(values: Values, what: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < 2:
        raise DataError(f"{what}: a standard error needs at least two documents, got {array.size}")
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(f"{what}: document {bad} has no finite score; score it or leave it out explicitly")
    return array


def _cluster_sums(residuals: FloatArray, clusters: Sequence[Hashable] | None) -> FloatArray:
    """Sum the residuals of each cluster. shapes: (documents,) -> (clusters,)."""
    if clusters is None:
        return residuals
    if len(clusters) != len(residuals):
        raise DataError(f"{len(residuals)} scores but {len(clusters)} cluster keys; both come from the same documents")
    index: dict[Hashable, int] = {}
    codes = np.fromiter((index.setdefault(key, len(index)) for key in clusters), dtype=np.int64, count=len(residuals))
    return np.bincount(codes, weights=residuals, minlength=len(index)).astype(np.float64, copy=False)


def mean(values: Values, clusters: Sequence[Hashable] | None = None) -> Estimate:
    """Return the mean score with its standard error.

    Args:
        values: one score a document. shape (documents,)
        clusters: one key a document; documents of one cluster (one passage, say) may be correlated. None: independent.

    Without clusters this is the sample standard deviation / sqrt(n), as lm-eval prints it ([M24], independent
    questions). With them it is the root of the summed squared cluster totals of the residuals, over n ([M24], clustered
    standard errors), times sqrt(G/(G-1)) [CM15]; clusters of one document each give the first formula again.

    Raises:
        DataError: fewer than two documents or clusters, or a score that is not finite.
    """
    array = _checked(values, "mean")
    centre = float(array.mean())
    totals = _cluster_sums(array - centre, clusters)
    groups = totals.size
    if groups < 2:
        raise DataError("mean: all documents share one cluster, so their spread says nothing about other clusters")
    variance = groups / (groups - 1) * float(totals @ totals) / array.size**2
    return Estimate(centre, math.sqrt(variance), array.size, groups - 1)


def binomial_stderr(share: float, documents: int) -> float:
    """Return sqrt(p (1 - p) / (n - 1)): what `mean` gives for a share p of right answers among n documents."""
    if documents < 2:
        raise DataError(f"a standard error needs at least two documents, got {documents}")
    return math.sqrt(max(0.0, share * (1 - share)) / (documents - 1))


def wilson_interval(right: int, documents: int) -> tuple[float, float]:
    """Return the 95 % interval of [W27] for a share; inside 0..1, and honest for small n and shares near 0 or 1."""
    from scipy import stats as scipy_stats

    if not 0 <= right <= documents or documents < 1:
        raise DataError(f"{right} right answers of {documents} documents is not a share")
    found = scipy_stats.binomtest(right, documents).proportion_ci(confidence_level=0.95, method="wilson")
    return float(found.low), float(found.high)


def suite_mean(
    scores: Mapping[str, Values],
    clusters: Mapping[str, Sequence[Hashable]] | None = None,
) -> Estimate:
    """Return the mean over tasks with its standard error, from per-document scores.

    Args:
        scores: task -> one score a document, or one difference a document for two runs of the same documents.
        clusters: task -> one key a document, for the tasks that have them. A key that occurs in two tasks (the same
            document asked twice, as in the two three-objects tasks of BigBench) correlates them.

    The suite's mean is linear in the scores, so each document enters with 1 / (tasks * documents); the weighted
    residuals are summed a cluster and squared ([M24], clustered standard errors). Degrees of freedom follow Welch and
    Satterthwaite over the tasks.
    """
    if not scores:
        raise DataError("suite_mean: no tasks")
    totals: dict[Hashable, float] = {}
    share = 1 / len(scores)
    centres, variances, freedoms, documents = [], [], [], 0
    for task, values in scores.items():
        single = mean(values, (clusters or {}).get(task))
        array = np.asarray(values, dtype=np.float64)
        weight = share * math.sqrt((single.df + 1) / single.df) / array.size
        keys = (clusters or {}).get(task) or [(task, number) for number in range(array.size)]
        for key, residual in zip(keys, array - single.value, strict=True):
            totals[key] = totals.get(key, 0.0) + weight * float(residual)
        centres.append(share * single.value)
        variances.append((share * single.stderr) ** 2)
        freedoms.append(single.df)
        documents += array.size
    spread = sum(variances)
    parts = [(v / spread) ** 2 / d for v, d in zip(variances, freedoms, strict=True)] if spread > 0 else []
    df = 1 / math.fsum(parts) if parts else math.inf
    stderr = math.sqrt(math.fsum(total * total for total in totals.values()))
    return Estimate(math.fsum(centres), stderr, documents, df)


def independent_mean(estimates: Sequence[Estimate]) -> Estimate:
    """Return the unweighted mean of independent scores, e.g. of suites; 0 documents if one doesn't say how many."""
    if not estimates:
        raise DataError("independent_mean: no scores")
    count = len(estimates)
    documents = 0 if any(e.documents == 0 for e in estimates) else sum(e.documents for e in estimates)
    value = math.fsum(e.value for e in estimates) / count
    stderr = suite_stderr([e.stderr for e in estimates])
    # Welch and Satterthwaite over the suites, as `suite_mean` does it over tasks.
    parts = math.fsum((e.stderr / count) ** 4 / e.df for e in estimates if not math.isinf(e.df))
    return Estimate(value, stderr, documents, stderr**4 / parts if parts > 0 else math.inf)


def suite_stderr(stderrs: Sequence[float], groups: Sequence[Hashable] | None = None) -> float:
    """Return the standard error of an unweighted mean of tasks from the tasks' published standard errors.

    Args:
        stderrs: one a task.
        groups: one key a task; tasks of one group hold the same documents and move together, so their errors add up
            instead of averaging out. None: all independent ([M24]: variances of independent means add).
    """
    if not stderrs:
        raise DataError("suite_stderr: no tasks")
    sums: dict[Hashable, float] = {}
    for number, stderr in enumerate(stderrs):
        key: Hashable = ("task", number) if groups is None else groups[number]
        sums[key] = sums.get(key, 0.0) + stderr
    return math.sqrt(math.fsum(total * total for total in sums.values())) / len(stderrs)


def unpaired_difference(candidate: Estimate, baseline: Estimate) -> Estimate:
    """Return candidate minus baseline for scores of which only aggregates are known: errors add in squares.

    [M24], unpaired analysis. Two models answer the same documents alike, so this error is usually too large by a
    factor of 1 / sqrt(1 - correlation); with per-document scores of both, `evalkit.stats.paired` is the sharper test.
    """
    variances = (candidate.stderr**2, baseline.stderr**2)
    spread = sum(variances)
    freedoms = (candidate.df, baseline.df)
    parts = sum(v**2 / d for v, d in zip(variances, freedoms, strict=True) if not math.isinf(d))
    df = spread**2 / parts if parts > 0 else math.inf
    documents = min(candidate.documents, baseline.documents)
    return Estimate(candidate.value - baseline.value, math.sqrt(spread), documents, df)


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test of two runs' right and wrong answers.

    Attributes:
        gained: documents that only the candidate has right.
        lost: documents that only the baseline has right.
        p_value: two-sided, of "a flip is as likely in either direction".
    """

    gained: int
    lost: int
    p_value: float


def mcnemar(gained: int, lost: int) -> McNemar:
    """Return the exact test of [M47]: flips are fair coin tosses if neither run is better."""
    from scipy import stats as scipy_stats

    flips = gained + lost
    p_value = 1.0 if flips == 0 else float(scipy_stats.binomtest(gained, flips, 0.5).pvalue)
    return McNemar(gained, lost, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for having run them all ([H79]); compare each with the family-wise level."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


@dataclass(frozen=True)
class NonInferiority:
    """Is the candidate worse than the baseline by more than a margin?

    Attributes:
        difference: candidate minus baseline, and its error.
        margin: the largest loss that is still acceptable, positive, in the unit of the difference.
        p_fine: one-sided p-value of "the loss is the margin or more"; small: not worse by more than the margin.
        p_worse: one-sided p-value of "the loss is at most the margin"; small: worse by more than the margin.
    """

    difference: Estimate
    margin: float
    p_fine: float
    p_worse: float


def smallest_detectable(stderr: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest true difference that a two-sided test detects with the given power.

    (z(1 - alpha/2) + z(power)) * stderr, [M24], power analysis, with the standard error of the *difference*.
    """
    return (t_quantile(1 - alpha / 2, math.inf) + t_quantile(power, math.inf)) * stderr
