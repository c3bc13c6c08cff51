"""What a published log or model card says, with line numbers, before anybody judges it.

`evalkit.baselines.logs` fills these; the importer makes baselines from them, the audit recomputes them. All numbers
are decimals exactly as printed: 0.5000 keeps its four places, because rounding can only be checked against what was
printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Note:
    """Something about a line that a reader should know.

    Attributes:
        line: line number in the file, from 1; 0 for the file as a whole.
        message: what was not read, or was read in a way that is not literal.
        unread: True if the line carried something that could not be read.
    """

    line: int
    message: str
    unread: bool = False


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
    """

    line: int
    task: str
    printed_task: str
    metric: str
    value: Decimal
    stderr: Decimal | None


@dataclass(frozen=True)
class ScoreTable:
    """One table of per-task scores.

    Attributes:
        line: line of its first row.
        suite: the suite of most of its tasks, or None if evalkit knows none of them.
        headings: column headings; empty if the table has no heading.
        rows: its rows.
        harness: ``lm-eval-0.3`` or ``lm-eval-0.4``, by the columns that the two lines of the harness print.
    """

    line: int
    suite: str | None
    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    harness: str


@dataclass(frozen=True)
class PrintedScore:
    """A number that stands beside the tables: a suite's average, or HumanEval's pass@1.

    Attributes:
        line: line number in the file, from 1.
        suite: the suite that it belongs to, or None if the text does not tell.
        percent: the number in per cent, with the printed places.
    """

    line: int
    suite: str | None
    percent: Decimal


@dataclass(frozen=True)
class ComparisonRow:
    """One row of a comparison table: a suite, a total, or an average of suites.

    Attributes:
        line: line number in the file, from 1.
        label: as printed.
        role: a suite's name, ``total`` or ``average``; ``other`` if neither.
        cells: one number a column after the label; None where there is none.
    """

    line: int
    label: str
    role: str
    cells: tuple[Decimal | None, ...]


@dataclass(frozen=True)
class Comparison:
    """A table of suites by models.

    Attributes:
        line: line of its heading (of its first row, without a heading).
        headings: one a column after the label column.
        rows: its rows, without rules.
        body_rules: lines of dashes that stand between body rows, where no renderer treats them as a rule.
    """

    line: int
    headings: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    body_rules: tuple[int, ...]


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
    """

    name: str | None
    line: int
    tables: tuple[ScoreTable, ...]
    averages: tuple[PrintedScore, ...]
    humaneval: PrintedScore | None
    settings: str | None


@dataclass(frozen=True)
class Log:
    """A published file.

    Attributes:
        name: file name.
        models: in the order of the file; a comparison table makes no entry here.
        comparisons: tables of suites by models.
        notes: what was not read, or not literally, by line.
    """

    name: str
    models: tuple[ModelScores, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[Note, ...]
