"""The figures behind an explanation: where a suite's gap sits, what other metrics give, what hangs on rounding."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from evalkit.baselines import Baseline
from evalkit.comparison.run_scores import RunScores
from evalkit.config.suites import BEST_CHOICE, BY_CHARACTERS, MASS, Suite, Task
from evalkit.records.samples import Sample
from evalkit.stats.estimates import binomial_stderr

DTYPES = {"float16": "float16", "fp16": "float16", "half": "float16", "bfloat16": "bfloat16", "bf16": "bfloat16"}
DTYPES |= {"float32": "float32", "fp32": "float32", "float": "float32"}


@dataclass(frozen=True)
class Facts:
    """One suite of a run and of a publication.

    Attributes:
        scores: the run.
        baseline: the publication.
        suite: the suite.
    """

    scores: RunScores
    baseline: Baseline
    suite: Suite

    def scored(self, task: Task) -> int:
        """Return how many documents of a task the run has scored."""
        found = self.scores.record.metrics.get(task.name, {}).get(task.headline)
        return 0 if found is None else found.n

    def value(self, task: Task, metric: str) -> float | None:
        """Return the run's value of a metric, a share; None without one."""
        found = self.scores.record.metrics.get(task.name, {}).get(metric)
        return None if found is None else found.value

    def published_dtype(self) -> str | None:
        """Return the dtype that the publication's settings name, or None."""
        found = re.search(r"\bdtype\s*=\s*[\"']?(?:torch\.)?(\w+)", self.baseline.settings or "")
        return DTYPES.get(found.group(1).lower()) if found else None


@dataclass(frozen=True)
class Figure:
    """One task's part in a suite's gap.

    Attributes:
        name: the task.
        published: its score in per cent.
        run: the run's.
        points: what it adds to the suite's gap, percentage points of the average.
        z: its gap in standard errors of the difference; infinite if the error is 0.
    """

    name: str
    published: float
    run: float
    points: float
    z: float


def task_gaps(facts: Facts) -> list[Figure]:
    """Return the parts of all tasks of which both have a score, in printed order."""
    found = []
    for task in facts.suite.tasks:
        row, value = facts.baseline.headline(task), facts.value(task, task.headline)
        if row is None or value is None:
            continue
        theirs = float(row.value)
        own = facts.scores.record.metrics[task.name][task.headline].stderr or 0.0
        published = float(row.stderr) if row.stderr is not None else binomial_stderr(theirs, task.documents)
        stderr = math.hypot(own, published)
        gap = value - theirs
        z = gap / stderr if stderr else math.copysign(99.9, gap) if gap else 0.0
        found.append(Figure(task.name, 100 * theirs, 100 * value, 100 * gap / len(facts.suite.tasks), z))
    return found


def other_metrics(facts: Facts) -> Iterator[tuple[str, float]]:
    """Yield (metric, per cent): the run's average if another metric were taken wherever a task has it."""
    names = dict.fromkeys(metric for task in facts.suite.tasks for metric in task.metrics)
    for name in names:
        chosen = [(task, name if name in task.metrics else task.headline) for task in facts.suite.tasks]
        if all(metric == task.headline for task, metric in chosen):
            continue
        values = [facts.value(task, metric) for task, metric in chosen]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            yield name, 100 * math.fsum(known) / len(known)


def graded_calls(facts: Facts, nats: float) -> float | None:
    """Return by how many points mc2 moves at most if each choice's log-probability moves by up to `nats`.

    The odds of the true choices against the false ones then change by twice that. None without documents or for
    suites whose metric is not mc2.
    """
    moves = []
    for task in facts.suite.tasks:
        samples = (facts.scores.samples or {}).get(task.name, ())
        shares = [share for sample in samples if (share := sample.metrics.get(task.headline)) is not None]
        if task.headline != MASS or not shares:
            return None
        odds = math.exp(2 * nats)
        moved = [max(p * odds / (1 + p * (odds - 1)) - p, p - p / (p + (1 - p) * odds)) for p in shares]
        moves.append(math.fsum(moved) / len(moved))
    return 100 * math.fsum(moves) / len(moves)


def close_calls(facts: Facts, nats: float) -> float | None:
    """Return how many points of the suite's average hang on answers that are closer than `nats`.

    None without documents, and for suites whose metric is no choice of the best.
    """
    shares = []
    for task in facts.suite.tasks:
        samples = (facts.scores.samples or {}).get(task.name, ())
        margins = [margin for sample in samples if (margin := choice_margin(sample, task.headline)) is not None]
        if not margins:
            return None
        shares.append(sum(margin < nats for margin in margins) / len(margins))
    return 100 * math.fsum(shares) / len(shares)


def choice_margin(sample: Sample, metric: str) -> float | None:
    """Return by how many nats the best choice leads the second; None where the metric is no choice of the best.

    For acc_norm, which divides by the choice's characters, the lead is that of the score times the shorter length.
    """
    values = sample.logprobs
    if metric not in BEST_CHOICE or len(values) < 2:
        return None
    lengths = (sample.characters if metric == BY_CHARACTERS else None) or [1] * len(values)
    scored = sorted(
        ((v / length, length) for v, length in zip(values, lengths, strict=True) if v is not None and length),
        reverse=True,
    )
    return None if len(scored) < 2 else (scored[0][0] - scored[1][0]) * min(scored[0][1], scored[1][1])
