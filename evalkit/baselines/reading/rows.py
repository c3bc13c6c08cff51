"""Rows of a score table, with bars or without, one after the other -> tables."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

from evalkit.baselines.published import Note
from evalkit.baselines.reading.cells import NO_METRIC, holds_nothing, score_of
from evalkit.baselines.reading.columns import Columns, Line, columns_of
from evalkit.baselines.reading.prose import Event
from evalkit.baselines.reading.score_tables import ScoreTables
from evalkit.baselines.reading.table_lines import RawRow, is_average, rows_by_meaning
from evalkit.results.task_names import suite_of_task, task_and_metric


class Rows:
    """Gathers the rows of a score table, and makes a table of them.

    Attributes:
        columns: those of the score table that we are in or were in last.
        task: of the last row that named one.
        indent: how far the task of the next row is set in.
    """

    def __init__(self, notes: list[Note], events: list[Event]) -> None:
        self.columns: Columns | None = None
        self.task = ""
        self.indent = 1
        self._notes = notes
        self._events = events
        self._tables = ScoreTables(notes)
        self._rows: list[tuple[int, RawRow]] = []
        self._averages: list[tuple[int, Decimal, bool]] = []  # those that stand in the table
        self._level = 0  # of the last row that named a task
        self._bare_error = False  # the heading of rows without bars has errors right behind the values

    def __bool__(self) -> bool:
        """Tell whether we are in a table."""
        return bool(self._rows)

    def _note(self, line: int, message: str) -> None:
        self._notes.append(Note(line, message, unread=True))

    def bare(self, number: int, text: str) -> bool:
        """Read a row without bars, its cells separated by tabs or spaces; return whether there was one."""
        cells = tuple(cell for cell in re.split(r"[\t;\s]+|,(?=\D)|(?<=\D),", text.strip("` ")) if cell)
        if not 2 <= len(cells) <= 10:
            return False
        columns = columns_of(Line("", cells, ""))
        if columns is not None and columns.value is not None:
            self._bare_error = columns.stderr == columns.value + 1
            return False
        found = rows_by_meaning(cells, bare_error=self._bare_error)
        rows = [row for row in found if row.score is not None]
        named = bool(found) and (suite_of_task(task_and_metric(found[0].task, "")[0]) is not None)
        if not found or not (named or (not found[0].task and self.task and self._rows)):
            return False
        if not rows:
            if not any(
                score_of(r.printed) or r.printed == "±" or (r.printed and holds_nothing(r.printed)) for r in found
            ):
                return False
            self._note(number, f"row not read: {text.strip()[:60]}")
        for row in rows:
            known = not row.task or suite_of_task(task_and_metric(row.task, "")[0]) is not None
            if known or row is rows[0]:
                self.add(number, row)
            else:
                self._note(number, f"row not read: '{row.task[:40]}' {row.metric}: is it a task?")
        if len(rows) == 1 and rows[0].stderr is None and rows[0].score is not None and not self._bare_error:
            behind = cells[cells.index(rows[0].printed) + 1 :]
            if behind and score_of(behind[0]) is not None:
                what = f"{rows[0].task or self.task} {rows[0].metric}"
                self._note(number, f"{what}: '{behind[0]}' beside it: an error, or what? not read")
        for cell in cells:
            if re.fullmatch(r"[(\[].*[0-9].*[)\]],?", cell):
                self._note(number, f"in brackets, not read: '{cell}'")
        return True

    def add(self, number: int, row: RawRow) -> None:
        """Take the next row; one that is an average, an error or no number is none of the table's."""
        task = re.sub(r"^[\s\-*└├|>`]+|[\s:*`]+$", "", row.task)
        if "~~" in task:
            self.task = ""
            self._note(number, f"row not read, struck out: {task[:40]} {row.metric}")
            return
        if is_average(task):
            if row.score is not None:
                self._averages.append((number, row.score.value, row.score.percent))
            elif not holds_nothing(row.printed):
                self._note(number, f"average not read: '{row.printed}'")
            return
        if row.task.strip():  # rows of further metrics are set in as far as their task
            self._level = self.indent if re.match(r"\s*[-└]", row.task) else 0
        level = self._level
        task = task or self.task
        if not task:
            self._note(number, f"row not read: {row.metric} without a task above it")
            return
        self.task = task
        if row.metric.lower().split(",")[0] in ("alias", "name"):
            return  # lm-eval's display name, printed as a metric by some tools
        if row.score is None:
            metric = "" if row.metric == NO_METRIC else f" {row.metric}"
            what = "certain value" if re.search(r"[0-9]", row.printed) else "number"
            error = (row.stderr.value,) if row.stderr is not None else ()  # nobody needs it without its score
            text = f"row not read: {task}{metric} has no {what} in '{row.printed[:40]}'"
            self._notes.append(Note(number, text, unread=True, numbers=error))
            return
        base, _, filtered = row.metric.strip().partition(",")
        if base.lower().endswith("_stderr"):
            self._error_of(number, task, base[: -len("_stderr")] + (f",{filtered}" if filtered else ""), row)
            return
        if self.columns is not None and self.columns.groups:
            self._rows.append((number, replace(row, task=task, level=-1)))
            return
        name, _ = task_and_metric(task, row.metric)
        suite = suite_of_task(name)
        if self._rows and suite is not None:
            before = suite_of_task(task_and_metric(self._rows[-1][1].task, self._rows[-1][1].metric)[0])
            if before is not None and before != suite:
                self.close()
                self.task = task
        self._rows.append((number, replace(row, task=task, level=level)))

    def _error_of(self, number: int, task: str, metric: str, row: RawRow) -> None:
        """Keep a row ``acc_stderr`` as the standard error of the row ``acc`` above it."""
        for place in range(len(self._rows) - 1, -1, -1):
            line, known = self._rows[place]
            if (known.task, known.metric.lower()) == (task, metric.lower()):
                before = known.stderr or (known.score if known.score and known.score.stderr is not None else None)
                if before is not None:
                    if row.score != before:
                        self._note(number, f"second standard error of {task} {metric} not read")
                    return
                self._rows[place] = (line, replace(known, stderr=row.score))
                return
        self._note(number, f"standard error without a score above it: {task} {metric}")

    def close(self) -> list[tuple[int, str]]:
        """Turn the rows gathered so far into a table; return the averages that stand alone, as lines of text."""
        rows, self._rows = self._rows, []
        averages, self._averages = self._averages, []
        if not rows and not (self.columns is not None and self.columns.labelled):
            return [(number, f"Average: {value}{'%' if percent else ''}") for number, value, percent in averages]
        if (table := self._tables.table(rows, averages, self.columns)) is not None:
            self._events.append(table)
        return []
