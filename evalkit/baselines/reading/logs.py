"""A published log or model card -> what it says about which model (`evalkit.baselines.published.Log`).

One pass over the lines makes a list of events (a heading, a table, an average ...), a second one hands the events to
models. Nothing is guessed from a missing number; what cannot be read is noted with its line.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from evalkit.baselines.published import (
    Comparison,
    Log,
    ModelScores,
    Note,
)
from evalkit.baselines.reading.cells import NO_METRIC, holds_nothing, score_of
from evalkit.baselines.reading.columns import Columns, Line, columns_of, is_rule, split_heading, split_line
from evalkit.baselines.reading.commands import on_one_line, settings_of
from evalkit.baselines.reading.comparisons import comparison_of
from evalkit.baselines.reading.grammar import free_text
from evalkit.baselines.reading.ledger import unaccounted
from evalkit.baselines.reading.log_lines import code_lines, unread_metadata, without_prefixes
from evalkit.baselines.reading.names import is_number, may_be_a_name, stands_alone
from evalkit.baselines.reading.own_reports import stated_documents, with_documents
from evalkit.baselines.reading.prose import (
    Aside,
    Event,
    Label,
    ModelHeading,
    OtherHeading,
    Settings,
    SuiteHeading,
    read_prose,
)
from evalkit.baselines.reading.results_file import read_results_file
from evalkit.baselines.reading.score_tables import ScoreTables
from evalkit.baselines.reading.sections import models_of
from evalkit.baselines.reading.statements import says_more_than_a_row
from evalkit.baselines.reading.table_lines import RawRow, is_average, rows_by_meaning, table_line
from evalkit.baselines.reading.text import read_lines, read_text
from evalkit.baselines.reading.vocabulary import is_name, label_of, names_another
from evalkit.errors import DataError
from evalkit.results.lm_eval_folders import results_files
from evalkit.suites import load_suites
from evalkit.task_names import (
    any_suite,
    comparison_role,
    is_benchmark,
    is_metric,
    leading_suite,
    names_other_benchmark,
    names_something_else,
    suite_of_task,
    task_and_metric,
    task_and_shots,
)


class _Reader:
    """State of the first pass: where in the file we are, and what was found so far."""

    def __init__(self, lines: list[tuple[int, str]], logged: set[int]) -> None:
        self.lines = lines
        self.code = code_lines(lines)
        self.logged = logged
        self.bare_error = False  # the heading of rows without bars has errors right behind the values
        self.events: list[Event] = []
        self.comparisons: list[Comparison] = []
        self.notes: list[Note] = []
        self.tables = ScoreTables(self.notes)
        self.columns: Columns | None = None  # of the score table that we are in or were in last
        self.rows: list[tuple[int, RawRow]] = []  # of the score table that we are in
        self.task = ""  # of the last row that named one
        self.level = 0  # of the last row that named a task
        self.indent = 1  # of the row: how far its task is set in
        self.table_averages: list[tuple[int, Decimal, bool]] = []  # of the score table that we are in
        self.joined: dict[int, str] = {}  # lines of rows that were broken in two, as they were read
        self.above = ""  # the heading of Markdown or HTML that we are below

    def note(self, line: int, message: str, *, unread: bool = False) -> None:
        self.notes.append(Note(line, message, unread))

    def as_joined(self) -> list[tuple[int, str]]:
        """Return the lines, with broken rows on one."""
        return [(number, self.joined.get(number, text)) for number, text in self.lines]

    # --- walking ---

    def read(self) -> None:
        position = 0
        while position < len(self.lines):
            number, text = self.lines[position]
            line = split_line(text)
            if line is None:
                said = says_more_than_a_row(text)
                if said or (not self._bare_row(number, text) and not self._listed_row(number, text)):
                    self._prose(number, text)
                position += 1
            elif (
                (columns := columns_of(split_heading(line)[0])) is not None
                and not self._lacks_its_value(position, columns)
                and not (columns.labelled and self._lists_suites(position))
            ):
                self._close()
                if line.before and not columns.open_left:
                    self._prose(number, line.before)
                if (apart := self._told_apart(position, columns)) is not None:
                    self.columns, self.task = None, ""
                    position = self._refuse(position, apart)
                    continue
                self.columns, self.task = columns, ""
                for heading in columns.unclear_errors:
                    metrics = ", ".join(metric for _, metric in columns.wide)
                    self.note(number, f"column '{heading}' not read: of which of {metrics}?", unread=True)
                rest = split_heading(line)[1]
                position += self._score_line(position, number, text, rest) if rest.cells else 1
            elif (columns is not None and columns.labelled) or self._starts_other_table(position, line):
                self._close()
                self.columns = None
                position = self._other_table(position)
            else:
                position += self._score_line(position, number, text, line)
        self._close()

    def _told_apart(self, position: int, columns: Columns) -> str | None:
        """Return the column, with its values, that tells rows of a table apart by what they are of; None without one.

        A model, a language, a seed: rows that differ in it are no scores of one thing.
        """
        said: dict[int, list[str]] = {i: [] for i in columns.unknown if i != columns.documents}
        for _, text in self.lines[position + 1 :] if said else []:
            line = split_line(text)
            if line is None:
                if text.strip("` \t"):
                    break
                continue
            cells = ((line.before,) if columns.open_left else ()) + line.cells
            if columns_of(line) is not None:
                break
            if len(cells) < len(columns.headings) or is_rule(cells):
                continue
            for i, values in said.items():
                cell = cells[i].strip()
                # Numbers with places are values, or errors: they are of the row, and do not say what it is of.
                if cell and not (score_of(cell) is not None and re.search(r"[.,%]", cell)) and cell not in values:
                    values.append(cell)
        # A column that says of which suite a task is, as in evalkit's own tables, tells apart what differs anyway.
        told = (i for i, values in said.items() if len(values) > 1 and not all(map(_is_suite, values)))
        found = next(told, None)
        if found is None:
            return None
        shown = ", ".join(said[found][:3]) + (", ..." if len(said[found]) > 3 else "")
        return f"its column '{columns.headings[found]}' ({shown[:60]}) tells its rows apart"

    def _refuse(self, position: int, why: str) -> int:
        """Note that a table is not read, and why; return the position after it."""
        number = self.lines[position][0]
        self.note(number, f"table not read, {why}", unread=True)
        self.events.append(Aside(number, why, "unread"))
        position += 1
        while position < len(self.lines):
            line = split_line(self.lines[position][1])
            if line is None or columns_of(line) is not None:
                break
            position += 1
        return position

    def _lacks_its_value(self, position: int, columns: Columns) -> bool:
        """Tell whether what looks like the heading of a wide table is a row of a metric without its number."""
        if not columns.wide:
            return False
        task = columns.headings[columns.task]
        if task:
            return suite_of_task(task_and_metric(task_and_shots(task)[0], "")[0]) is not None
        following = self._following(position)
        ruled = bool(following) and is_rule(following[0][2].cells)
        return len(columns.wide) == 1 and self.columns is not None and not self.columns.wide and not ruled

    def _lists_suites(self, position: int) -> bool:
        """Tell whether the labels of a table of labels and numbers are suites: then its numbers are their averages."""
        labels = []
        for _, text in self.lines[position + 1 :]:
            line = split_line(text)
            if line is None:
                break
            labels.append(line.before or next(iter(line.cells), ""))
        roles = [comparison_role(label) for label in labels if is_benchmark(label)]
        suites = [load_suites()[role] for role in roles if role in load_suites()]
        return len(roles) == len(suites) > 1 and any(suite.in_total and len(suite.tasks) > 1 for suite in suites)

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
        if not cells or is_rule(cells):
            return False
        if self._two_row_head(position):
            return True
        if any(is_metric(c) for c in cells):
            return self._is_unknown_heading(position, cells)
        if self._fits_heading(line):
            return False
        if any(score_of(c) for c in cells):
            # A first row without a heading; inside a score table a suite's name would be a row that was not read.
            return comparison_role(cells[0]) != "other" and len(cells) > 2 and not self.rows
        following = self._following(position)
        if following and is_rule(following[0][2].cells):
            return True
        if len(cells) > 1 and sum(self._benchmark_by_models(next_line) for _, _, next_line in following) > 1:
            return True  # a table of HTML has no rule below its heading
        if sum(is_benchmark(cell) for cell in cells) > 1 and any(
            sum(score_of(cell) is not None for cell in below.cells) > 1 for _, _, below in following[:1]
        ):
            return True  # models by benchmarks, in HTML
        return any(
            comparison_role(next_line.before or next_line.cells[0]) != "other"
            and not any(is_metric(c) for c in next_line.cells)
            for _, _, next_line in following[:1]
            if next_line.cells
        )

    def _two_row_head(self, position: int) -> bool:
        """Tell whether a line names benchmarks, and the next line says nothing but the metrics of each."""
        head, following = split_line(self.lines[position][1]), self._following(position)
        if head is None or not following or not any(is_benchmark(c) for c in head.cells):
            return False
        said = [c for c in (following[0][2].before, *following[0][2].cells, following[0][2].after) if c]
        if any(score_of(c) for c in head.cells) or sum(is_metric(c) for c in said) < 2:
            return False
        return all(is_metric(c) or i == 0 for i, c in enumerate(said)) and not any(score_of(c) for c in said)

    def _is_unknown_heading(self, position: int, cells: tuple[str, ...]) -> bool:
        """Tell whether a line with a metric's name heads a table, and not all of its columns are known."""
        if any(score_of(c) for c in cells) or (self.columns is not None and len(cells) >= len(self.columns.headings)):
            return False
        following = self._following(position)
        return bool(following) and is_rule(following[0][2].cells)

    @staticmethod
    def _benchmark_by_models(line: Line) -> bool:
        """Tell whether a line is a row of a table of benchmarks by models: a name and two numbers."""
        label, *rest = [line.before, *line.cells] if line.before else [*line.cells, ""]
        numbers = sum(score_of(cell) is not None for cell in rest)
        return numbers > 1 and names_other_benchmark(label) and not any(is_metric(cell) for cell in rest)

    def _fits_heading(self, line: Line) -> bool:
        """Tell whether a line is a row of the heading above it: a metric's name, known or not, and a number."""
        columns, cells = self.columns, line.cells
        if columns is None or columns.metric is None or columns.value is None or len(cells) != len(columns.headings):
            return False
        metric = cells[columns.metric]
        return (
            re.fullmatch(r"[a-zA-Z]\w*(?:,[\w-]+)?", metric) is not None and score_of(cells[columns.value]) is not None
        )

    # --- tables of per-task scores ---

    def _score_line(self, position: int, number: int, text: str, line: Line) -> int:
        """Read a line of a score table; return how many lines it took."""
        said = [c for c in (line.before, *line.cells, line.after) if c]
        label = label_of(said[0]) if len(line.cells) == len(said) == 1 else None
        if label is not None and names_another(said[0], label):
            self._prose(number, said[0])  # "| Mistral-7B |" heads what is below it
            return 1
        used = 1
        found = table_line(line, self.columns)
        if self.columns is not None and not found.complete:
            # A row that was broken in two (or three): joined, it has as many cells as the heading.
            joined = text.rstrip()
            for extra in range(1, 3):
                if position + extra >= len(self.lines):
                    break
                addition = self.lines[position + extra][1].strip()
                if self._is_whole_row(addition):
                    break  # a row that is short, not one that was broken
                if not addition or columns_of(split_line(addition) or Line("", (), "")) is not None:
                    break
                joined = (
                    joined.rstrip("|") + "|" + addition.lstrip("|") if addition.startswith("|") else joined + addition
                )
                whole = split_line(joined)
                attempt = table_line(whole, self.columns) if whole is not None else None
                if attempt is not None and attempt.complete and attempt.rows and not attempt.unread:
                    found, used = attempt, 1 + extra
                    self.joined |= {number: joined} | {n: "" for n, _ in self.lines[position + 1 : position + used]}
                    break
        if found.before:
            self._prose(number, found.before)
        indent = re.match(r"\|( *)[-└]", text.lstrip())
        self.indent = max(1, len(indent[1])) if indent is not None else 1
        for row in found.rows:
            self._row(number, row)
        for message in found.unread:
            self.note(number, message, unread=True)
            self._aside(number, message.partition(": ")[2], "sentence")
        if not found.rows and not found.unread and self.columns is None and not is_rule(line.cells):
            self._prose(number, " ".join(c for c in (line.before, *line.cells, line.after) if c))
        elif found.after:
            self._prose(number, found.after)
        return used

    def _is_whole_row(self, text: str) -> bool:
        line = split_line(text)
        found = table_line(line, self.columns) if line is not None and text.startswith("|") else None
        return found is not None and found.complete and bool(found.rows) and not found.unread

    def _bare_row(self, number: int, text: str) -> bool:
        """Read a row without bars, its cells separated by tabs or spaces; return whether there was one."""
        cells = tuple(cell for cell in re.split(r"[\t;\s]+|,(?=\D)|(?<=\D),", text.strip("` ")) if cell)
        if not 2 <= len(cells) <= 10:
            return False
        columns = columns_of(Line("", cells, ""))
        if columns is not None and columns.value is not None:
            self.bare_error = columns.stderr == columns.value + 1
            return False
        found = rows_by_meaning(cells, bare_error=self.bare_error)
        rows = [row for row in found if row.score is not None]
        named = bool(found) and (suite_of_task(task_and_metric(found[0].task, "")[0]) is not None)
        if not found or not (named or (not found[0].task and self.task and self.rows)):
            return False
        if not rows:
            if not any(
                score_of(r.printed) or r.printed == "±" or (r.printed and holds_nothing(r.printed)) for r in found
            ):
                return False
            self.note(number, f"row not read: {text.strip()[:60]}", unread=True)
        for row in rows:
            known = not row.task or suite_of_task(task_and_metric(row.task, "")[0]) is not None
            if known or row is rows[0]:
                self._row(number, row)
            else:
                self.note(number, f"row not read: '{row.task[:40]}' {row.metric}: is it a task?", unread=True)
        if len(rows) == 1 and rows[0].stderr is None and rows[0].score is not None and not self.bare_error:
            behind = cells[cells.index(rows[0].printed) + 1 :]
            if behind and score_of(behind[0]) is not None:
                what = f"{rows[0].task or self.task} {rows[0].metric}"
                self.note(number, f"{what}: '{behind[0]}' beside it: an error, or what? not read", unread=True)
        for cell in cells:
            if re.fullmatch(r"[(\[].*[0-9].*[)\]],?", cell):
                self.note(number, f"in brackets, not read: '{cell}'", unread=True)
        return True

    def _listed_row(self, number: int, text: str) -> bool:
        """Say that an item of a list with a task's name and its number is not read; return whether there was one."""
        found = re.match(r"\s*(?:(?:[-+•]|[0-9]{1,2}[.)])\s+)?([\w:/ .-]{3,60}?)\s*[:=]\s*(.{1,60})$", text.strip("` "))
        if found is None or not re.search(r"[0-9][.,][0-9]|[0-9]\s*%", found[2]):
            return False
        words = found[1].split()
        name = " ".join(words[:-1]) if len(words) > 1 and is_metric(words[-1]) else found[1].strip()
        task = task_and_metric(task_and_shots(name)[0], "")[0]
        if suite_of_task(task) is None or leading_suite(name) is not None:
            return False
        self.note(number, f"item of a list, not read: {text.strip()[:60]}", unread=True)
        self._aside(number, task, "sentence")
        return True

    def _row(self, number: int, row: RawRow) -> None:
        task = re.sub(r"^[\s\-*└├|>`]+|[\s:*`]+$", "", row.task)
        if "~~" in task:
            self.task = ""
            self.note(number, f"row not read, struck out: {task[:40]} {row.metric}", unread=True)
            return
        if is_average(task):
            if row.score is not None:
                self.table_averages.append((number, row.score.value, row.score.percent))
            elif not holds_nothing(row.printed):
                self.note(number, f"average not read: '{row.printed}'", unread=True)
            return
        if row.task.strip():  # rows of further metrics are set in as far as their task
            self.level = self.indent if re.match(r"\s*[-└]", row.task) else 0
        level = self.level
        task = task or self.task
        if not task:
            self.note(number, f"row not read: {row.metric} without a task above it", unread=True)
            return
        self.task = task
        if row.metric.lower().split(",")[0] in ("alias", "name"):
            return  # lm-eval's display name, printed as a metric by some tools
        if row.score is None:
            metric = "" if row.metric == NO_METRIC else f" {row.metric}"
            what = "certain value" if re.search(r"[0-9]", row.printed) else "number"
            error = (row.stderr.value,) if row.stderr is not None else ()  # nobody needs it without its score
            text = f"row not read: {task}{metric} has no {what} in '{row.printed[:40]}'"
            self.notes.append(Note(number, text, unread=True, numbers=error))
            return
        base, _, filtered = row.metric.strip().partition(",")
        if base.lower().endswith("_stderr"):
            self._error_of(number, task, base[: -len("_stderr")] + (f",{filtered}" if filtered else ""), row)
            return
        if self.columns is not None and self.columns.groups:
            self.rows.append((number, replace(row, task=task, level=-1)))
            return
        name, _ = task_and_metric(task, row.metric)
        suite = suite_of_task(name)
        if self.rows and suite is not None:
            before = suite_of_task(task_and_metric(self.rows[-1][1].task, self.rows[-1][1].metric)[0])
            if before is not None and before != suite:
                self._close()
                self.task = task
        self.rows.append((number, replace(row, task=task, level=level)))

    def _error_of(self, number: int, task: str, metric: str, row: RawRow) -> None:
        """Keep a row ``acc_stderr`` as the standard error of the row ``acc`` above it."""
        for place in range(len(self.rows) - 1, -1, -1):
            line, known = self.rows[place]
            if (known.task, known.metric.lower()) == (task, metric.lower()):
                before = known.stderr or (known.score if known.score and known.score.stderr is not None else None)
                if before is not None:
                    if row.score != before:
                        self.note(number, f"second standard error of {task} {metric} not read", unread=True)
                    return
                self.rows[place] = (line, replace(known, stderr=row.score))
                return
        self.note(number, f"standard error without a score above it: {task} {metric}", unread=True)

    def _close(self) -> None:
        """Turn the rows gathered so far into a table."""
        rows, self.rows = self.rows, []
        averages, self.table_averages = self.table_averages, []
        if not rows and not (self.columns is not None and self.columns.labelled):
            for number, value, percent in averages:
                self._prose(number, f"Average: {value}{'%' if percent else ''}")
        elif (table := self.tables.table(rows, averages, self.columns)) is not None:
            self.events.append(table)

    # --- everything else ---

    def _prose(self, number: int, text: str) -> None:
        events, notes = read_prose(number, text)
        if names_other_benchmark(self.above) and any_suite(self.above) is None:
            # A line "Model: ..." there says what that benchmark was run with.
            events = [event for event in events if not (isinstance(event, ModelHeading) and event.certain)]
        if number in self.code:
            events = [event for event in events if not isinstance(event, (ModelHeading, Label))]
        if number in self.logged:  # what a program says of its work, unless it names a model
            events = [event for event in events if not isinstance(event, Label) or is_name(event.text)]
        if found := re.match(r"\s*#{1,6}\s+(.*\S)", text):
            self.above = found[1].rstrip("# ")
        if any(isinstance(event, (SuiteHeading, OtherHeading)) for event in events):
            self.task = ""
        if events:
            self._close()
        self.events += events
        self.notes += notes

    def _aside(self, number: int, text: str, kind: str) -> None:
        """Say that something stands here that is no score of a task; see `Aside`."""
        if kind != "sentence" or names_something_else(text, None):
            self._close()
            self.events.append(Aside(number, text, kind))

    def _other_table(self, position: int) -> int:
        """Read a table that is not one of per-task scores; return the position after it."""
        heading: tuple[str, ...] = ()
        body: list[tuple[int, tuple[str, ...]]] = []
        rules: list[int] = []
        first = position
        second = self._following(position)[0][0] if self._two_row_head(position) else None
        after: tuple[int, str] | None = None
        blank = False  # the line above is empty
        while position < len(self.lines) and after is None:
            number, text = self.lines[position]
            line = split_line(text)
            if line is None:
                if text.strip("` \t"):
                    break
                blank = True
            elif blank and (below := self._following(position)) and is_rule(below[0][2].cells):
                break  # the heading of another table
            elif columns_of(line) is not None and position > first and number != second:
                break
            else:
                blank = False
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
        found: Comparison | None = None
        if second is not None:
            shown = " | ".join(c for c in heading if c)[:60]
            self.note(second, f"table not read, its head has two rows, the second of metrics: {shown}", unread=True)
        else:
            found, notes = comparison_of(self.lines[first][0], heading, body, rules, self.above)
            self.comparisons += [found] if found is not None else []
            self.notes += notes
        title = " | ".join(c for c in heading if c) or " | ".join(body[0][1] if body else ())
        self._aside(self.lines[first][0], title, "comparison" if found is not None else "unread")
        if after is not None:
            self._prose(*after)
        return position


def _is_suite(cell: str) -> bool:
    return comparison_role(cell) in load_suites()


def _really_named(model: ModelScores, named: set[str], loaded: set[str], lines: list[tuple[int, str]]) -> ModelScores:
    """Return a model, named by its line where its name is prose; `named` and `loaded` are what lines call models.

    Its scores are not those of the file's own model, so the file's name is not theirs.
    """
    name = model.name
    if name is None:
        return model
    if not is_number(name) and (name in named or any(v and name.startswith(v.strip("/ ")) for v in loaded)):
        return model
    words = name.split()
    said = next((text for n, text in reversed(lines) if n <= model.line and all(w in text for w in words)), name)
    return (
        model
        if may_be_a_name(name) and stands_alone(name, said)
        else replace(model, name=f"unnamed (line {model.line})")
    )


def read_log(path: Path) -> Log:
    """Read a published log, model card or saved web page.

    Raises:
        DataError: the file cannot be read at all, or is a listing of lines of several.
    """
    if path.suffix.lower() == ".json" or (path.is_dir() and results_files(path)):
        return read_results_file(path)
    lines, notes = read_lines(path)
    listed = [text for _, text in lines if re.match(r"[\w./-]+\.(?:md|txt|log|html)[:-](?:[0-9]+[:-])?\s*\|", text)]
    if len(listed) > 1:
        raise DataError(f"{path}: lines of several files, as grep prints them ('{listed[0][:40]}'); give the files")
    log = parse_log(path.name, lines, notes)
    return replace(log, free=tuple(free_text(read_text(path)[0], lines, path.name)))


def parse_log(name: str, lines: list[tuple[int, str]], notes: list[Note] | None = None) -> Log:
    """Return what numbered lines say; `notes` are those of reading the file."""
    lines, logged = without_prefixes(lines)
    lines = on_one_line(lines)
    reader = _Reader(lines, logged)
    reader.read()
    models, more = models_of(reader.events, re.sub(r"\.\w{2,4}$", "", name))
    named = {event.name for event in reader.events if isinstance(event, ModelHeading) and event.certain}
    loaded = {v for e in reader.events if isinstance(e, Settings) for v in (settings_of(e.text) or {}).values()}
    models = [_really_named(model, named, loaded, lines) for model in models]
    metadata = unread_metadata(lines)
    if documents := stated_documents(lines):
        models = [with_documents(model, documents) for model in models]
    found = [*(notes or []), *metadata, *reader.notes, *more]
    found += unaccounted(reader.as_joined(), models, reader.comparisons, found)
    found.sort(key=lambda note: note.line)
    return Log(name, tuple(models), tuple(reader.comparisons), tuple(found), tuple(lines))
