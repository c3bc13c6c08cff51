"""What a published log or model card says, with line numbers, before anybody judges it.

`reading.logs` fills these; the importer makes baselines from them, the audit recomputes them. All numbers
are decimals exactly as printed: 0.5000 keeps its four places, because rounding can only be checked against what was
printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

NO_SHARE = "is no share of right answers; not read"
"""How the note about a number ends whose range is not 0 to 1."""


@dataclass(frozen=True)
class Note:
    """Something about a line that a reader should know.

    Attributes:
        line: line number in the file, from 1; 0 for the file as a whole.
        message: what was not read, or was read in a way that is not literal.
        unread: True if the line carried something that could not be read.
        numbers: the printed numbers that it speaks of, where the message does not show them.
        again: True if it speaks of a score that its model had already.
    """

    line: int
    message: str
    unread: bool = False
    numbers: tuple[Decimal, ...] = field(default=(), compare=False)
    again: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Row:
    """One metric of one task.

    Attributes:
        line: line number in the file, from 1.
        task: the task's name in evalkit, or as printed if evalkit has no such task.
        printed_task: the name as printed.
        metric: e.g. ``acc_norm``.
        value: score as a share, 0 to 1.
        stderr: its standard error as a share, or None where the table has none.
        shots: number of examples in the prompt, or None where the file does not say.
        documents: how many documents the file says were scored, where it is not the whole task; 0 where it says only
            that they are others than the published data's.
    """

    line: int
    task: str
    printed_task: str
    metric: str
    value: Decimal
    stderr: Decimal | None
    shots: int | None = None
    documents: int | None = None


@dataclass(frozen=True)
class ScoreTable:
    """One table of per-task scores.

    Attributes:
        line: line of its first row.
        suite: the suite of most of its tasks, or None if evalkit knows none of them.
        headings: column headings; empty if the table has no heading.
        rows: its rows.
        harness: ``lm-eval-0.3`` or ``lm-eval-0.4``, by the columns that the two lines of the harness print; or
            ``lighteval``, ``open-llm-leaderboard`` or ``unknown`` where the table or its heading says so.
        averages: averages that stand in the table itself.
        groups: scores of groups of tasks that stand in the table.
        labelled: True if the table names no metrics.
        limit: the limit of documents that the harness's line names, or None.
    """

    line: int
    suite: str | None
    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    harness: str
    averages: tuple[PrintedScore, ...] = ()
    groups: tuple[GroupScore, ...] = ()
    labelled: bool = False
    limit: str | None = None


@dataclass(frozen=True)
class PrintedScore:
    """A number that stands beside the tables: a suite's average, or HumanEval's pass@1.

    Attributes:
        line: line number in the file, from 1.
        suite: the suite that it belongs to, or None if the text does not tell.
        percent: the number in per cent, with the printed places.
        label: what the text calls it, e.g. ``average score``.
        doubtful: whether nothing says that it is the suite's; the audit checks it as that, an import leaves it out.
    """

    line: int
    suite: str | None
    percent: Decimal
    label: str = ""
    doubtful: bool = False


@dataclass(frozen=True)
class RowsAverage:
    """An average of rows that are no suite of evalkit.

    Attributes:
        line: line number in the file, from 1.
        what: what it is an average of, as far as the file says.
        percent: the number in per cent, with the printed places.
        rows: the rows, one a task.
    """

    line: int
    what: str
    percent: Decimal
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class GroupScore:
    """The score of a group of tasks, as the 0.4 line of lm-eval prints it.

    Attributes:
        line: line number in the file, from 1.
        name: the group.
        metric: e.g. ``acc``.
        value: score as a share.
        members: its tasks (or groups) as far as the table shows them by setting them in; empty if it does not.
        whole: True if `members` are all of its tasks, as a results file says it.
    """

    line: int
    name: str
    metric: str
    value: Decimal
    members: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class ComparisonRow:
    """One row of a comparison table: a suite, a total, or an average of suites.

    Attributes:
        line: line number in the file, from 1.
        label: as printed.
        role: a suite's name, ``total`` or ``average``; ``other`` if neither.
        cells: one number a column after the label; None where there is none.
        lines: the line of each cell, where the file has a row a model; else empty.
        percent: whether each cell has a per cent sign.
        changes: whether each cell has a sign or an arrow before its number, as changes have.
    """

    line: int
    label: str
    role: str
    cells: tuple[Decimal | None, ...]
    lines: tuple[int, ...] = ()
    percent: tuple[bool, ...] = ()
    changes: tuple[bool, ...] = ()

    def line_of(self, column: int) -> int:
        """Return the line of a cell: in a table of models by suites each model has its own."""
        return self.lines[column] if column < len(self.lines) else self.line


@dataclass(frozen=True)
class ComparisonTable:
    """A table of suites by models.

    Attributes:
        line: line of its heading (of its first row, without a heading).
        headings: one a column after the label column.
        rows: its rows, without rules.
        body_rules: lines of dashes that stand between body rows, where no renderer treats them as a rule.
        on_its_side: True if the file has a row a model and a column a suite.
        corner: the heading of the column of labels.
        above: the heading that the table stands below, or empty.
    """

    line: int
    headings: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    body_rules: tuple[int, ...]
    on_its_side: bool = False
    corner: str = ""
    above: str = ""


@dataclass(frozen=True)
class ModelScores:
    """All that a file says about one model.

    Attributes:
        name: the model's name where the file gives one, else None.
        line: where its scores begin.
        tables: per-task scores.
        averages: printed averages.
        humaneval: printed pass@1, or None.
        settings: the harness's own line about the run, as printed, or None.
        other_averages: averages of rows that are no suite.
        protocols: suite -> protocol, for suites that were not measured as nous-2023.
        protocol: of the tasks that are in no suite; None if nothing says that it is not nous-2023.
        doubts: suite -> why nobody knows how it was measured, where that is so.
    """

    name: str | None
    line: int
    tables: tuple[ScoreTable, ...]
    averages: tuple[PrintedScore, ...]
    humaneval: PrintedScore | None
    settings: str | None
    other_averages: tuple[RowsAverage, ...] = ()
    protocols: Mapping[str, str] = field(default_factory=dict)
    protocol: str | None = None
    doubts: Mapping[str, Note] = field(default_factory=dict)


@dataclass(frozen=True)
class Log:
    """A published file.

    Attributes:
        name: file name.
        models: in the order of the file; a comparison table makes no entry here.
        comparisons: tables of suites by models.
        notes: what was not read, or not literally, by line.
        lines: the numbered lines of its text; none of a results file.
        free: those that say more than scores, by number (`reading.grammar`).
    """

    name: str
    models: tuple[ModelScores, ...]
    comparisons: tuple[ComparisonTable, ...]
    notes: tuple[Note, ...]
    lines: tuple[tuple[int, str], ...] = field(default=(), repr=False)
    free: tuple[tuple[int, str], ...] = field(default=(), repr=False)
