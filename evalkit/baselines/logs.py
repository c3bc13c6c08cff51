"""A published log or model card -> what it says about which model (`evalkit.baselines.published.Log`).

One pass over the lines makes a list of events (a heading, a table, an average ...), a second one hands the events to
models. Nothing is guessed from a missing number; what cannot be read is noted with its line.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

from evalkit.baselines.cells import (
    Columns,
    Line,
    RawRow,
    columns_of,
    is_average,
    is_rule,
    rows_by_meaning,
    score_of,
    split_heading,
    split_line,
    table_line,
)
from evalkit.baselines.names import (
    any_suite,
    comparison_role,
    is_metric,
    suite_of_task,
    task_and_metric,
)
from evalkit.baselines.prose import Event, SuiteHeading, read_prose
from evalkit.baselines.published import Comparison, ComparisonRow, Log, Note, Row, ScoreTable
from evalkit.baselines.sections import models_of
from evalkit.baselines.text import read_lines

# Not shares of right answers, so neither scores of a suite nor a sign that a table counts in per cent.
_NOT_SHARES = re.compile(r"perplexity|ppl|bits_per_byte|likelihood_diff|bleu|rouge")


class _Reader:
    """State of the first pass: where in the file we are, and what was found so far."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.lines = lines
        self.events: list[Event] = []
        self.comparisons: list[Comparison] = []
        self.notes: list[Note] = []
        self.columns: Columns | None = None  # of the score table that we are in or were in last
        self.rows: list[tuple[int, RawRow]] = []  # of the score table that we are in
        self.task = ""  # of the last row that named one
        self.renamed: set[str] = set()  # printed tasks whose reading was noted

    def note(self, line: int, message: str, *, unread: bool = False) -> None:
        self.notes.append(Note(line, message, unread))

    # --- walking ---

    def read(self) -> None:
        position = 0
        while position < len(self.lines):
            number, text = self.lines[position]
            line = split_line(text)
            if line is None:
                if not self._bare_row(number, text):
                    self._prose(number, text)
                position += 1
            elif (columns := columns_of(split_heading(line)[0])) is not None:
                self._close()
                if line.before and not columns.open_left:
                    self._prose(number, line.before)
                self.columns, self.task = columns, ""
                rest = split_heading(line)[1]
                position += self._score_line(position, number, text, rest) if rest.cells else 1
            elif self._starts_other_table(position, line):
                self._close()
                self.columns = None
                position = self._other_table(position)
            else:
                position += self._score_line(position, number, text, line)
        self._close()

    def _following(self, position: int) -> list[tuple[int, str, Line]]:
        """Return up to three table lines after `position`, skipping blank ones."""
        found = []
        for number, text in self.lines[position + 1 : position + 8]:
            line = split_line(text)
            if line is not None:
                found.append((number, text, line))
            elif text.strip("` \t"):
                break
        return found[:3]

    def _starts_other_table(self, position: int, line: Line) -> bool:
        """Tell whether the line is the heading (or first row) of a table that is not one of per-task scores."""
        cells = tuple(c for c in (line.before, *line.cells, line.after) if c)
        if not cells or is_rule(cells) or any(is_metric(c) for c in cells):
            return False
        if any(score_of(c) for c in cells):
            # A first row without a heading; inside a score table a suite's name would be a row that was not read.
            return comparison_role(cells[0]) != "other" and len(cells) > 2 and not self.rows
        following = self._following(position)
        if following and is_rule(following[0][2].cells):
            return True
        return any(
            comparison_role(next_line.before or next_line.cells[0]) != "other"
            and not any(is_metric(c) for c in next_line.cells)
            for _, _, next_line in following[:1]
            if next_line.cells
        )

    # --- tables of per-task scores ---

    def _score_line(self, position: int, number: int, text: str, line: Line) -> int:
        """Read a line of a score table; return how many lines it took."""
        used = 1
        found = table_line(line, self.columns)
        if self.columns is not None and not found.complete:
            # A row that was broken in two (or three): joined, it has as many cells as the heading.
            joined = text.rstrip()
            for extra in range(1, 3):
                if position + extra >= len(self.lines):
                    break
                addition = self.lines[position + extra][1].strip()
                if not addition or columns_of(split_line(addition) or Line("", (), "")) is not None:
                    break
                joined = (
                    joined.rstrip("|") + "|" + addition.lstrip("|") if addition.startswith("|") else joined + addition
                )
                whole = split_line(joined)
                attempt = table_line(whole, self.columns) if whole is not None else None
                if attempt is not None and attempt.complete and attempt.rows and not attempt.unread:
                    found, used = attempt, 1 + extra
                    break
        if found.before:
            self._prose(number, found.before)
        for row in found.rows:
            self._row(number, row)
        for message in found.unread:
            self.note(number, message, unread=True)
        if not found.rows and not found.unread and self.columns is None and not is_rule(line.cells):
            self._prose(number, " ".join(c for c in (line.before, *line.cells, line.after) if c))
        elif found.after:
            self._prose(number, found.after)
        return used

    def _bare_row(self, number: int, text: str) -> bool:
        """Read a row without bars, its cells separated by tabs or spaces; return whether there was one."""
        cells = tuple(cell for cell in re.split(r"[\t;\s]+|,(?=\D)|(?<=\D),", text.strip("` ")) if cell)
        if not 2 <= len(cells) <= 10:
            return False
        rows = [row for row in rows_by_meaning(cells) if row.score is not None]
        named = bool(rows) and (suite_of_task(task_and_metric(rows[0].task, "")[0]) is not None)
        if not rows or not (named or (not rows[0].task and self.task and self.rows)):
            return False
        for row in rows:
            self._row(number, row)
        return True

    def _row(self, number: int, row: RawRow) -> None:
        task = re.sub(r"^[\s\-*└├|>`]+|[\s:*`]+$", "", row.task)
        if is_average(task):
            if row.score is not None:
                self._close()
                self._prose(number, f"Average: {row.score.value}{'%' if row.score.percent else ''}")
            return
        if self.columns is not None and self.columns.groups:
            self.note(number, f"group average not read: {task} {row.metric}")
            return
        task = task or self.task
        if not task:
            self.note(number, f"row not read: {row.metric} without a task above it", unread=True)
            return
        self.task = task
        if row.score is None:
            self.note(number, f"no number for {task} {row.metric}", unread=True)
            return
        name, _ = task_and_metric(task, row.metric)
        suite = suite_of_task(name)
        if self.rows and suite is not None:
            before = suite_of_task(task_and_metric(self.rows[-1][1].task, self.rows[-1][1].metric)[0])
            if before is not None and before != suite:
                self._close()
                self.task = task
        self.rows.append((number, RawRow(task, row.metric, row.score, row.stderr)))

    def _close(self) -> None:
        """Turn the rows gathered so far into a table."""
        rows, self.rows = self.rows, []
        if not rows:
            return
        shares = [(n, r) for n, r in rows if not _NOT_SHARES.search(r.metric.lower())]
        for number, row in rows:
            if (number, row) not in shares:
                self.note(number, f"{row.task} {row.metric} is no share of right answers; not read")
        large = sum(r.score is not None and r.score.value > 1 for _, r in shares)
        percent = 2 * large > len(shares)
        if percent and shares:
            self.note(shares[0][0], "values above 1: the table is read as per cent")
        table_rows = []
        for number, row in shares:
            score = row.score
            assert score is not None  # rows without a number were noted and dropped in _row
            places = -2 if percent or score.percent else 0
            value = score.value.scaleb(places)
            stderr = row.stderr.value if row.stderr is not None else score.stderr
            if not 0 <= value <= 1:
                self.note(number, f"{row.task} {row.metric}: {score.value} is no share or percentage", unread=True)
                continue
            task, metric = task_and_metric(row.task, row.metric)
            if row.task not in self.renamed:
                self.renamed.add(row.task)
                if task != row.task:
                    self.note(number, f"'{row.task}' is read as {task}")
                elif suite_of_task(task) is None:
                    self.note(number, f"task '{task}' is in no suite of evalkit; kept as printed")
            scaled = stderr.scaleb(places) if stderr is not None else None
            table_rows.append(Row(number, task, row.task, metric, value, scaled))
        if not table_rows:
            return
        suites = [suite for row in table_rows if (suite := suite_of_task(row.task)) is not None]
        self.events.append(
            ScoreTable(
                line=table_rows[0].line,
                suite=max(suites, key=suites.count) if suites else None,
                headings=self.columns.headings if self.columns is not None else (),
                rows=tuple(table_rows),
                harness=self.columns.harness if self.columns is not None else "lm-eval-0.3",
            )
        )

    # --- everything else ---

    def _prose(self, number: int, text: str) -> None:
        events, notes = read_prose(number, text)
        if any(isinstance(event, SuiteHeading) for event in events):
            self.task = ""
        if events:
            self._close()
        self.events += events
        self.notes += notes

    def _other_table(self, position: int) -> int:
        """Read a table that is not one of per-task scores; return the position after it."""
        heading: tuple[str, ...] = ()
        body: list[tuple[int, tuple[str, ...]]] = []
        rules: list[int] = []
        first = position
        after: tuple[int, str] | None = None
        while position < len(self.lines) and after is None:
            number, text = self.lines[position]
            line = split_line(text)
            if line is None:
                if text.strip("` \t"):
                    break
            elif columns_of(line) is not None and position > first:
                break
            else:
                cells = line.cells
                if line.before:
                    cells = (line.before, *cells)
                if line.after:
                    if len(cells) < max(len(heading), 2):
                        cells = (*cells, line.after)
                    else:
                        after = (number, line.after)
                if is_rule(cells):
                    rules += [number] if body else []
                elif not heading and not body and not any(score_of(c) for c in cells[1:]):
                    heading = cells
                elif any(cells):
                    body.append((number, cells))
            position += 1
        self._keep_comparison(self.lines[first][0], heading, body, rules)
        if after is not None:
            self._prose(*after)
        return position

    def _keep_comparison(
        self, line: int, heading: tuple[str, ...], body: list[tuple[int, tuple[str, ...]]], rules: list[int]
    ) -> None:
        by_row = [(number, cells, comparison_role(cells[0])) for number, cells in body]
        if sum(role not in ("other", "total", "average") for _, _, role in by_row) >= 2:
            rows = [ComparisonRow(n, c[0], role, tuple(_cell(x) for x in c[1:])) for n, c, role in by_row]
            self.comparisons.append(Comparison(line, heading[1:], tuple(rows), tuple(rules)))
            return
        roles = [comparison_role(cell) for cell in heading]
        if sum(any_suite(cell) is not None for cell in heading) >= 2 and body:
            # Models by suites: the same table on its side. A cell's line is then the line of its model.
            rows = [
                ComparisonRow(line, heading[i], role, tuple(_cell(c[i]) if i < len(c) else None for _, c in body))
                for i, role in enumerate(roles)
                if role != "other"
            ]
            names = tuple(cells[0] for _, cells in body)
            self.comparisons.append(Comparison(line, names, tuple(rows), tuple(rules)))
            return
        title = " | ".join(c for c in heading if c) or " | ".join(body[0][1] if body else ())
        self.note(line, f"table not read, it holds neither tasks nor suites: {title[:80]}")


def _cell(text: str) -> Decimal | None:
    score = score_of(text)
    return score.value if score is not None else None


def read_log(path: Path) -> Log:
    """Read a published log, model card or saved web page.

    Raises:
        DataError: the file cannot be read at all.
    """
    lines, notes = read_lines(path)
    return parse_log(path.name, lines, notes)


def parse_log(name: str, lines: list[tuple[int, str]], notes: list[Note] | None = None) -> Log:
    """Return what numbered lines say; `notes` are those of reading the file."""
    reader = _Reader(lines)
    reader.read()
    models, more = models_of(reader.events)
    found = sorted([*(notes or []), *reader.notes, *more], key=lambda note: note.line)
    return Log(name, tuple(models), tuple(reader.comparisons), tuple(found))
