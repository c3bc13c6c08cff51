"""A run against aggregates: a score test, because the error of a share that is all right or all wrong is not 0.

Farrington and Manning, Statistics in Medicine 9 (1990), with the factor N / (N - 1) of Miettinen and Nurminen,
Statistics in Medicine 4 (1985): the error of the difference of two shares is taken at the most likely shares that
differ by exactly the margin. A suite's average counts as a share of as many independent documents as its standard error
says; where that is 0, as its documents are. A small task that is all right or all wrong must not hide its error in the
average of others, so each task's error is at least what its exact limits of Clopper and Pearson, Biometrika 26 (1934),
say: the variance recovered from limits, as of Zou and Donner, Statistics in Medicine 27 (2008).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalkit.stats.estimates import Estimate, Values, t_cdf, t_quantile, unpaired_difference
from evalkit.stats.paired import boundary, paired_test, smallest_factor

_ONE_SIDED = 0.05


def limits_error(share: float, stderr: float, documents: float) -> float:
    """Return the error of a share that its exact one-sided 95 % limits say, the larger of both sides.

    Args:
        share: 0 to 1.
        stderr: its standard error; with it, it counts as many documents as that says, and `documents` at least.
        documents: independent ones.
    """
    from scipy import special

    spread = share * (1 - share)
    count = max(documents, spread / stderr**2) if stderr > 0 and spread > 0 else documents
    right = share * count
    low = float(special.betaincinv(right, count - right + 1, _ONE_SIDED)) if right > 0 else 0.0
    high = float(special.betaincinv(right + 1, count - right, 1 - _ONE_SIDED)) if right < count else 1.0
    return max(share - low, high - share) / t_quantile(1 - _ONE_SIDED, math.inf)


def widened(estimate: Estimate, tasks: Sequence[tuple[float, float, float]]) -> Estimate:
    """Return a suite's average as a share, with an error that no task of it understates.

    Args:
        estimate: of the average, with the error seen.
        tasks: of each task the share, its standard error and the number of independent documents.
    """
    extra = math.fsum(max(0.0, limits_error(share, stderr, count) ** 2 - stderr**2) for share, stderr, count in tasks)
    return replace(estimate, stderr=math.hypot(estimate.stderr, math.sqrt(extra) / len(tasks)))


def observed(estimate: Estimate, scores: Mapping[str, Values], clusters: Mapping[str, Sequence[Hashable]]) -> Estimate:
    """Return a suite's average as a share, with an error that its documents do not understate.

    Six large passages that are all right hide a share of wrong ones that no spread shows, so the error is at least what
    the limits of the paired test say, asked how far the documents are from all right and from all wrong.

    Args:
        estimate: of the average, with the error seen.
        scores: task -> one score a document, within 0..1.
        clusters: task -> one key a document.
    """
    low, high = limits(scores, clusters, _ONE_SIDED)
    furthest = max(estimate.value - low, high - estimate.value)
    return replace(estimate, stderr=max(estimate.stderr, furthest / t_quantile(1 - _ONE_SIDED, math.inf)))


def limits(
    scores: Mapping[str, Values], clusters: Mapping[str, Sequence[Hashable]], alpha: float
) -> tuple[float, float]:
    """Return two bounds of a mean over tasks, as shares, each with confidence 1 - alpha.

    They are what the paired test says of how far the documents are from all right and from all wrong, so they are
    never the score itself, and never beyond 0 and 1.

    Args:
        scores: task -> one score a document, within 0..1.
        clusters: task -> one key a document.
        alpha: level of each; 0.025 for an interval of 95 %.
    """
    missing = paired_test({task: np.asarray(values) - 1 for task, values in scores.items()}, clusters)
    reached = paired_test({task: -np.asarray(values) for task, values in scores.items()}, clusters)
    return 1 + missing.lowest(alpha), -reached.lowest(alpha)


@dataclass(frozen=True)
class Side:
    """One of two scores.

    Attributes:
        estimate: a share with its standard error.
        documents: as how many independent documents it counts where its standard error is 0.
    """

    estimate: Estimate
    documents: float

    def widened(self, factor: float) -> Side:
        """Return the side with an error so many times larger, since its documents share passages."""
        estimate = replace(self.estimate, stderr=self.estimate.stderr * factor)
        return Side(estimate, self.documents / factor**2)

    @property
    def share(self) -> float:
        """The score within 0..1."""
        return min(1.0, max(0.0, self.estimate.value))

    @property
    def effective(self) -> float:
        """As how many independent right or wrong answers the score counts."""
        spread = self.share * (1 - self.share)
        return spread / self.estimate.stderr**2 if spread > 0 and self.estimate.stderr > 0 else self.documents

    @property
    def hidden(self) -> float:
        """What a document counts for of what few of them may hide: 0 of right or wrong answers, else up to 1 / n."""
        return max(0.0, 1 / self.documents - 1 / self.effective) if min(self.documents, self.effective) > 0 else 0.0


def restricted_share(p1: float, n1: float, p2: float, n2: float, difference: float) -> float:
    """Return the most likely first share if the two differ by exactly `difference` (first minus second).

    The root of the cubic equation in the appendix of Farrington and Manning (1990).
    """
    ratio = n2 / n1
    a = 1 + ratio
    b = -(1 + ratio + p1 + ratio * p2 + difference * (ratio + 2))
    c = difference**2 + difference * (2 * p1 + ratio + 1) + p1 + ratio * p2
    d = -p1 * difference * (1 + difference)
    v = b**3 / (27 * a**3) - b * c / (6 * a**2) + d / (2 * a)
    u = math.copysign(math.sqrt(max(0.0, b**2 / (9 * a**2) - c / (3 * a))), v)
    angle = (math.pi + math.acos(min(1.0, max(-1.0, v / u**3 if u else 0.0)))) / 3
    found = 2 * u * math.cos(angle) - b / (3 * a)
    return min(1.0, 1.0 + difference, max(0.0, difference, found))


@dataclass(frozen=True)
class UnpairedTest:
    """Two scores of which the documents are not known together. Shares, 0 to 1.

    Attributes:
        candidate: its score.
        baseline: the one that it must not fall behind.
    """

    candidate: Side
    baseline: Side

    @property
    def difference(self) -> Estimate:
        """Candidate minus baseline, with the error seen; `documents` are the candidate's."""
        found = unpaired_difference(self.candidate.estimate, self.baseline.estimate)
        return replace(found, documents=self.candidate.estimate.documents)

    def stderr_at(self, margin: float) -> float:
        """Return the error of the difference if the true loss is the margin; never below the one seen."""
        p1, n1 = self.candidate.share, self.candidate.effective
        p2, n2 = self.baseline.share, self.baseline.effective
        first = restricted_share(p1, n1, p2, n2, -margin)
        second = first + margin
        both = n1 + n2
        variance = (first * (1 - first) / n1 + second * (1 - second) / n2) * both / max(1.0, both - 1)
        seen = max(math.sqrt(max(0.0, variance)), self.difference.stderr)
        return math.hypot(seen, math.sqrt(self._unseen(max(0.0, margin))))

    def _unseen(self, margin: float) -> float:
        """Return the variance that graded scores may hide: a loss may lie in a few documents, of which none was drawn.

        Documents that all score about 0.6 have a small error, and it says nothing of one in ten that falls to 0 in the
        candidate, or is 1 in the baseline. Right or wrong answers hide nothing that `restricted_share` does not know.
        """
        falls = self.candidate.hidden * margin * self.baseline.share
        rises = self.baseline.hidden * margin * (1 - self.candidate.share)
        return max(falls, rises)

    def p_fine(self, margin: float) -> float:
        """Return the p-value of "the loss is the margin or more"."""
        return self._below(-(self.difference.value + margin), margin)

    def p_worse(self, margin: float) -> float:
        """Return the p-value of "the loss is the margin or less"."""
        return self._below(self.difference.value + margin, margin)

    def _below(self, distance: float, margin: float) -> float:
        error = self.stderr_at(margin)
        if error == 0:
            return 0.5 if distance == 0 else float(distance > 0)
        return t_cdf(distance / error, self.difference.df)

    def lowest(self, alpha: float = 0.05) -> float:
        """Return the bound above which the difference lies with confidence 1 - alpha: what `p_fine` inverts."""
        return -boundary(lambda margin: alpha - self.p_fine(margin))

    def factor_to_decide(self, margin: float, alpha: float, alpha_worse: float, power: float = 0.8) -> float | None:
        """Return how many times as many documents of the candidate decide; None if no number does.

        The difference seen is taken for the true one; the baseline's own error stays as it is.
        """
        below = self.difference.value + margin < 0

        def decides(factor: float) -> bool:
            own = replace(self.candidate.estimate, stderr=self.candidate.estimate.stderr / math.sqrt(factor))
            error = math.hypot(own.stderr, self.baseline.estimate.stderr)
            unlucky = t_quantile(power, math.inf) * error * (1 if below else -1)
            side = Side(own, self.candidate.documents * factor)
            shifted = UnpairedTest(side, self.baseline)
            distance = (shifted.difference.value + unlucky + margin) * (-1 if below else 1)
            return shifted._below(-distance, margin) <= (alpha_worse if below else alpha)

        return None if self.difference.value + margin == 0 else smallest_factor(decides)
