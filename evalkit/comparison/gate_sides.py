"""The two sides of an unpaired question: a run's averages, and a published suite's, with their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evalkit.baselines import Baseline
from evalkit.baselines.model import SuiteScore
from evalkit.comparison.run_scores import RunScores
from evalkit.config.suites import Suite
from evalkit.errors import ConfigError
from evalkit.records.model import RunRecord
from evalkit.stats.estimates import binomial_stderr
from evalkit.stats.unpaired import Side, widened


def why_no_score(record: RunRecord, suite: Suite) -> str:
    """Say why a suite has no score with an error."""
    values = {task.name: record.metrics.get(task.name, {}).get(task.headline) for task in suite.tasks}
    without = [name for name, value in values.items() if value is not None and value.stderr is None]
    if all(value is not None and value.value is not None for value in values.values()) and without:
        return f"no standard error of {', '.join(without)}, so nothing says how sure its score is"
    return "no score, because tasks are missing or failed"


def sides_of(scores: RunScores, suites: Sequence[Suite], beside: RunScores | None = None) -> dict[str, Side]:
    """Return a run's averages; where its own documents are not known, passages count as in the run beside it.

    Where that has none either, they count as much as passages can: see `RunScores.design_effect`.
    """
    found = {}
    for suite in suites:
        estimate = scores.suite(suite)
        if estimate is None:
            raise ConfigError(f"{scores.record.folder}: {suite.title}: {why_no_score(scores.record, suite)}")
        side = Side(estimate.scaled(0.01), _independent(scores.clusters(suite)))
        known = scores.samples is not None
        found[suite.name] = side if known else side.widened((beside or scores).design_effect(suite))
    return found


def published_side(baseline: Baseline, suite: Suite, score: SuiteScore) -> Side:
    """Return a published suite's average; where its rows are known, none of them may understate its error."""
    counts = [task.documents for task in suite.tasks]
    rows = [baseline.headline(task) for task in suite.tasks]
    tasks = [
        (
            float(row.value),
            binomial_stderr(float(row.value), count) if row.stderr is None else float(row.stderr),
            count,
        )
        for row, count in zip(rows, counts, strict=True)
        if row is not None
    ]
    estimate = score.estimate.scaled(0.01)
    return Side(widened(estimate, tasks) if len(tasks) == len(rows) else estimate, _independent(counts))


def _independent(counts: Sequence[int]) -> float:
    """Return as how many independent documents tasks of equal weight count together."""
    return len(counts) ** 2 / math.fsum(1 / count for count in counts)
