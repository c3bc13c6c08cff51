"""Tasks and suites in two runs: scores, their difference with its interval, and p-values (see `compare.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from evalkit.comparison.pairing import TaskScores
from evalkit.comparison.questions import margin_test, p_of, paired_tests, suite_p_values
from evalkit.config.suites import Suite
from evalkit.errors import ConfigError
from evalkit.stats.estimates import Estimate, holm
from evalkit.stats.paired import PairedTest


@dataclass(frozen=True)
class TaskChange:
    """One task in two runs.

    Attributes:
        task: its name.
        metric: its headline metric.
        a: A's score in per cent, over the common documents.
        b: B's.
        difference: B minus A in percentage points; its error is `PairedTest.shown`'s.
        low, high: ends of its 95 % interval.
        gained: documents that B scores higher; for right and wrong: that only B has right.
        lost: documents that A scores higher.
        p_value: see `compare.py`.
        p_holm: corrected over the tasks.
        test: ``McNemar`` or ``clusters``.
    """

    task: str
    metric: str
    a: float
    b: float
    difference: Estimate
    low: float
    high: float
    gained: int
    lost: int
    p_value: float
    p_holm: float
    test: str


@dataclass(frozen=True)
class SuiteChange:
    """A suite, or the average of the suites, in two runs; attributes as for `TaskChange`."""

    key: str
    title: str
    a: float
    b: float
    difference: Estimate
    low: float
    high: float
    p_value: float
    p_holm: float


def task_changes(scores: Mapping[str, TaskScores]) -> list[TaskChange]:
    """Return the tasks' changes; a task with one common document is a `ConfigError`."""
    rows = []
    for name, found in scores.items():
        if len(found.differences) < 2:
            raise ConfigError(f"{name}: one common document is too few to compare; leave the task out with --task")
        test = margin_test({name: found})
        gained, lost = int((found.differences > 0).sum()), int((found.differences < 0).sum())
        kind = "McNemar" if found.is_exact else "clusters"
        rows.append((found, test, gained, lost, p_of([found], test), kind))
    adjusted = holm([row[4] for row in rows])
    return [
        TaskChange(
            found.task.name,
            found.task.headline,
            100 * float(found.baseline.mean()),
            100 * float(found.candidate.mean()),
            test.shown.scaled(100),
            100 * test.interval()[0],
            100 * test.interval()[1],
            gained,
            lost,
            p_value,
            p_holm,
            kind,
        )
        for (found, test, gained, lost, p_value, kind), p_holm in zip(rows, adjusted, strict=True)
    ]


def suite_changes(scores: Mapping[str, TaskScores], suites: Sequence[Suite]) -> list[SuiteChange]:
    """Return the changes of suites, then of their average."""
    # The margin does not matter here: only the differences and their errors are used.
    asked = paired_tests(scores, suites, margin=1.0)
    tests = [cast(PairedTest, question.source) for question in asked]
    p_values = suite_p_values(scores, asked)
    adjusted = holm(p_values)
    return [
        SuiteChange(
            q.key,
            q.title,
            q.baseline,
            q.candidate,
            test.shown.scaled(100),
            100 * test.interval()[0],
            100 * test.interval()[1],
            p_value,
            p_holm,
        )
        for q, test, p_value, p_holm in zip(asked, tests, p_values, adjusted, strict=True)
    ]
