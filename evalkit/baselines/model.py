"""A published result as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from evalkit.config.suites import Suite, Task, question_group
from evalkit.stats.estimates import Estimate, binomial_stderr, suite_stderr

PASS_AT_1 = "humaneval"
"""The suite that publications give as one number, without a task's row."""


@dataclass(frozen=True)
class Metric:
    """One published number.

    Attributes:
        value: score as a share, 0 to 1, with the printed places.
        stderr: its standard error as a share, or None where none was published.
        shots: number of examples in the prompt, or None where the publication does not say.
    """

    value: Decimal
    stderr: Decimal | None = None
    shots: int | None = None


@dataclass(frozen=True)
class HumanEval:
    """A published pass@1.

    Attributes:
        percent: pass@1 in per cent.
        note: who measured it and how, as far as it is known; shown wherever the number is.
    """

    percent: Decimal
    note: str


@dataclass(frozen=True)
class SuiteScore:
    """A suite's score of a baseline.

    Attributes:
        estimate: value and standard error in per cent.
        printed: True if the value is the printed average, False if it is recomputed from the rows.
        stderr_from: ``published`` (the rows' standard errors), ``rows`` (from the rows' values and the number of
            documents) or ``bound`` (only an average is known: the largest error that any rows could have).
    """

    estimate: Estimate
    printed: bool
    stderr_from: str


@dataclass(frozen=True)
class Baseline:
    """A published result.

    Attributes:
        slug: its name on the command line and of its file.
        name: the model's name as published.
        protocol: how it was measured, e.g. ``nous-2023``.
        source: where the numbers are from: a URL or a file name.
        retrieved: date of retrieval, ISO 8601.
        averages: suite -> average in per cent, as printed.
        tasks: task -> metric -> number.
        humaneval: pass@1, or None.
        other_protocols: suite -> protocol, for suites that were measured by another one than `protocol`.
        same_model_as: slug of another record of the same model, which stands for both in a leaderboard.
        settings: the harness's own line about the run, or None.
        notes: what a reader should know about the numbers.
    """

    slug: str
    name: str
    protocol: str
    source: str
    retrieved: str
    averages: Mapping[str, Decimal] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, Metric]] = field(default_factory=dict)
    humaneval: HumanEval | None = None
    other_protocols: Mapping[str, str] = field(default_factory=dict)
    same_model_as: str | None = None
    settings: str | None = None
    notes: tuple[str, ...] = ()

    def headline(self, task: Task) -> Metric | None:
        """Return the number of a task that enters its suite's average, or None if it was not published."""
        return self.tasks.get(task.name, {}).get(task.headline)

    def recomputed(self, suite: Suite) -> Decimal | None:
        """Return the suite's average in per cent from the printed rows, not rounded; None if a row is missing."""
        rows = [self.headline(task) for task in suite.tasks]
        values = [row.value for row in rows if row is not None]
        return 100 * sum(values, Decimal(0)) / len(values) if len(values) == len(rows) else None

    def protocol_of(self, suite: str) -> str:
        """Return the protocol by which a suite was measured."""
        return self.other_protocols.get(suite, self.protocol)

    def score(self, suite: Suite, *, prefer_rows: bool = False) -> SuiteScore | None:
        """Return the suite's score with its standard error, or None if nothing was published for it.

        The printed average comes first, because it is what the publication compares; without one, the rows' average.
        With `prefer_rows` it is the other way round, because some printed averages do not follow from their rows.
        """
        if suite.name == PASS_AT_1:
            return self._humaneval_score(suite)
        printed = self.averages.get(suite.name)
        rows_average = self.recomputed(suite)
        use_printed = printed is not None and not (prefer_rows and rows_average is not None)
        value = printed if use_printed else rows_average
        if value is None:
            return None
        rows = [self.headline(task) for task in suite.tasks]
        groups = [question_group(task.name) for task in suite.tasks]
        found = [row for row in rows if row is not None]
        if len(found) < len(rows):
            largest = [0.5 / (task.documents - 1) ** 0.5 for task in suite.tasks]
            return SuiteScore(Estimate(float(value), 100 * suite_stderr(largest, groups)), True, "bound")
        published = [float(row.stderr) for row in found if row.stderr is not None]
        origin = "published" if len(published) == len(rows) else "rows"
        errors = (
            published
            if origin == "published"
            else [
                binomial_stderr(float(row.value), task.documents) for row, task in zip(found, suite.tasks, strict=True)
            ]
        )
        documents = sum(task.documents for task in suite.tasks)
        estimate = Estimate(float(value), 100 * suite_stderr(errors, groups), documents)
        return SuiteScore(estimate, use_printed, origin)

    def pass_at_1(self, suite: Suite) -> HumanEval | None:
        """Return the published pass@1 if that is the suite's score, and there is one."""
        return self.humaneval if suite.name == PASS_AT_1 else None

    def _humaneval_score(self, suite: Suite) -> SuiteScore | None:
        if self.humaneval is None:
            return None
        share = float(self.humaneval.percent) / 100
        stderr = 100 * binomial_stderr(share, suite.tasks[0].documents)
        return SuiteScore(Estimate(100 * share, stderr, suite.tasks[0].documents), True, "rows")


def slug_of(name: str) -> str:
    """Return the file name for a model's name.

    >>> slug_of("TinyLlama-1B--intermediate 2.5T")
    'tinyllama-1b-intermediate-2.5t'
    """
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model"
