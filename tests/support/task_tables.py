"""Per-task tables as the published logs have them, of a baseline's numbers or of numbers that a test makes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from evalkit.baselines.model import Baseline
from evalkit.config.suites import Suite
from evalkit.report.run_report import published_layout


@dataclass(frozen=True)
class TaskScore:
    """One row of a per-task table.

    Attributes:
        task: its name; rows of one task follow each other.
        version: the task's version.
        metric: the metric's name.
        value: score as a share.
        stderr: its standard error as a share, or None.
    """

    task: str
    version: int
    metric: str
    value: Decimal | float
    stderr: Decimal | float | None


def task_table(scores: Sequence[TaskScore], sign: str = "±") -> str:
    """Return the per-task table in the published layout, without a line end after its last row.

    Four places; the task and its version stand on its first row only.
    """
    rows: list[tuple[str, ...]] = []
    last = None
    for score in scores:
        first = score.task != last
        last = score.task
        error = ("", "") if score.stderr is None else (sign, f"{score.stderr:.4f}")
        name = (score.task, str(score.version)) if first else ("", "")
        rows.append((*name, score.metric, f"{score.value:.4f}", *error))
    return published_layout(rows)


def baseline_task_scores(baseline: Baseline, suite: Suite) -> list[TaskScore]:
    """Return a baseline's rows of a suite in printed order; empty if it has none."""
    return [
        TaskScore(task.name, task.version, metric, number.value, number.stderr)
        for task in suite.tasks
        for metric in task.metrics
        if (number := baseline.tasks.get(task.name, {}).get(metric)) is not None
    ]
