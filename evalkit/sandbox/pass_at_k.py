"""pass@k from verdicts, with its uncertainty."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalkit.errors import SandboxError
from evalkit.sandbox.verdict import Verdict
from evalkit.stats.estimates import wilson_interval

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution


@dataclass(frozen=True)
class PassAtK:
    """pass@k over problems, as fractions of 1."""

    k: int
    value: float
    """Mean over problems of the chance that one of k drawn samples passes."""
    low: float
    high: float
    """95 % confidence interval."""
    problems: int
    method: str
    """How the interval was made."""


def estimate(samples: int, correct: int, k: int) -> float:
    """Unbiased estimate of pass@k of one problem: ``1 - C(n - c, k) / C(n, k)`` (Chen et al. 2021, arXiv:2107.03374).

    Raises:
        ValueError: fewer samples than k.
    """
    if samples < k:
        raise ValueError(f"pass@{k} needs at least {k} samples a problem, not {samples}")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def _of_problems(values: Sequence[float]) -> tuple[float, float]:
    """Return a 95 % interval of the mean of values from 0 to 1, one a problem, that is never of width 0.

    That of Agresti and Coull, The American Statistician 52 (1998), for values between 0 and 1: to the problems come
    z^2 / 2 that are all right and as many that are all wrong. Problems that all pass hide some that do not.
    """
    added = Z95**2 / 2
    count = len(values) + 2 * added
    centre = (math.fsum(values) + added) / count
    spread = math.fsum((v - centre) ** 2 for v in values) + added * ((1 - centre) ** 2 + centre**2)
    half = Z95 * math.sqrt(spread) / count
    mean = math.fsum(values) / len(values)
    return max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))


def pass_at_k(verdicts: Iterable[Verdict], ks: Sequence[int]) -> list[PassAtK]:
    """pass@k for each k that every problem has samples enough for.

    The interval covers the draw of problems: with one sample a problem it is Wilson's, else Agresti and
    Coull's with the spread over problems (samples of a problem are not independent, so a problem counts once).

    Raises:
        SandboxError: a verdict is a harness error, so there is no score.
    """
    verdicts = list(verdicts)
    lost = [verdict for verdict in verdicts if verdict.label == "harness error"]
    if lost:
        raise SandboxError(
            f"no score: {len(lost):,} of {len(verdicts):,} samples could not be judged, which says nothing about the "
            f"model (first {lost[0].task_id}: {lost[0].detail}); mend the cause and give the same command again: it "
            "tries these only"
        )
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for verdict in verdicts:
        counts[verdict.task_id][0] += 1
        counts[verdict.task_id][1] += verdict.passed
    found = []
    for k in ks:
        if not counts or min(n for n, _ in counts.values()) < k:
            continue
        values = [estimate(n, c, k) for n, c in counts.values()]
        mean, problems = math.fsum(values) / len(values), len(values)
        if all(n == 1 for n, _ in counts.values()):
            low, high = wilson_interval(round(math.fsum(values)), problems)
            method = "Wilson"
        elif problems > 1:
            low, high = _of_problems(values)
            method = "Agresti-Coull, clustered by problem"
        else:
            low, high, method = 0.0, 1.0, "none: one problem"
        found.append(PassAtK(k, mean, low, high, problems, method))
    return found
