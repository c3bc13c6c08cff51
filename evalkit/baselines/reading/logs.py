"""A published log or model card -> what it says about which model (`evalkit.baselines.published.Log`).

One pass over the lines makes a list of events (a heading, a table, an average ...), a second one hands the events to
models. Nothing is guessed from a missing number; what cannot be read is noted with its line.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from evalkit.baselines.published import (
    ComparisonTable,
    Log,
    ModelScores,
    Note,
)
from evalkit.baselines.reading.cells import score_of
from evalkit.baselines.reading.columns import Line, columns_of, is_rule, split_heading, split_line
from evalkit.baselines.reading.commands import on_one_line, settings_of
from evalkit.baselines.reading.comparisons import comparison_of
from evalkit.baselines.reading.grammar import free_text
from evalkit.baselines.reading.layouts import (
    following_rows,
    has_two_row_head,
    lacks_its_value,
    lists_suites,
    starts_other_table,
    told_apart,
)
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
from evalkit.baselines.reading.rows import Rows
from evalkit.baselines.reading.sections import models_of
from evalkit.baselines.reading.statements import says_more_than_a_row
from evalkit.baselines.reading.table_lines import table_line
from evalkit.baselines.reading.text import read_lines, read_text
from evalkit.baselines.reading.vocabulary import is_name, label_of, names_another
from evalkit.errors import DataError
from evalkit.results.lm_eval_folders import results_files
from evalkit.results.task_names import (
    any_suite,
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
        self.events: list[Event] = []
        self.comparisons: list[ComparisonTable] = []
        self.notes: list[Note] = []
        self.rows = Rows(self.notes, self.events)
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
                if said or (not self.rows.bare(number, text) and not self._listed_row(number, text)):
                    self._prose(number, text)
                position += 1
            elif (
                (columns := columns_of(split_heading(line)[0])) is not None
                and not lacks_its_value(self.lines, position, columns, self.rows.columns)
                and not (columns.labelled and lists_suites(self.lines, position))
            ):
                self._close()
                if line.before and not columns.open_left:
                    self._prose(number, line.before)
                if (apart := told_apart(self.lines, position, columns)) is not None:
                    self.rows.columns, self.rows.task = None, ""
                    position = self._refuse(position, apart)
                    continue
                self.rows.columns, self.rows.task = columns, ""
                for heading in columns.unclear_errors:
                    metrics = ", ".join(metric for _, metric in columns.wide)
                    self.note(number, f"column '{heading}' not read: of which of {metrics}?", unread=True)
                rest = split_heading(line)[1]
                position += self._score_line(position, number, text, rest) if rest.cells else 1
            elif (columns is not None and columns.labelled) or starts_other_table(
                self.lines, position, line, self.rows.columns, inside=bool(self.rows)
            ):
                self._close()
                self.rows.columns = None
                position = self._other_table(position)
            else:
                position += self._score_line(position, number, text, line)
        self._close()

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

    # --- tables of per-task scores ---

    def _score_line(self, position: int, number: int, text: str, line: Line) -> int:
        """Read a line of a score table; return how many lines it took."""
        said = [c for c in (line.before, *line.cells, line.after) if c]
        label = label_of(said[0]) if len(line.cells) == len(said) == 1 else None
        if label is not None and names_another(said[0], label):
            self._prose(number, said[0])  # "| Mistral-7B |" heads what is below it
            return 1
        used = 1
        found = table_line(line, self.rows.columns)
        if self.rows.columns is not None and not found.complete:
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
                attempt = table_line(whole, self.rows.columns) if whole is not None else None
                if attempt is not None and attempt.complete and attempt.rows and not attempt.unread:
                    found, used = attempt, 1 + extra
                    self.joined |= {number: joined} | {n: "" for n, _ in self.lines[position + 1 : position + used]}
                    break
        if found.before:
            self._prose(number, found.before)
        indent = re.match(r"\|( *)[-└]", text.lstrip())
        self.rows.indent = max(1, len(indent[1])) if indent is not None else 1
        for row in found.rows:
            self.rows.add(number, row)
        for message in found.unread:
            self.note(number, message, unread=True)
            self._aside(number, message.partition(": ")[2], "sentence")
        if not found.rows and not found.unread and self.rows.columns is None and not is_rule(line.cells):
            self._prose(number, " ".join(c for c in (line.before, *line.cells, line.after) if c))
        elif found.after:
            self._prose(number, found.after)
        return used

    def _is_whole_row(self, text: str) -> bool:
        line = split_line(text)
        found = table_line(line, self.rows.columns) if line is not None and text.startswith("|") else None
        return found is not None and found.complete and bool(found.rows) and not found.unread

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

    # --- everything else ---

    def _close(self) -> None:
        """End the score table that we are in."""
        for number, text in self.rows.close():
            self._prose(number, text)

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
            self.rows.task = ""
        if events:
            self._close()
        self.events.extend(events)
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
        second = following_rows(self.lines, position)[0][0] if has_two_row_head(self.lines, position) else None
        after: tuple[int, str] | None = None
        blank = False  # the line above is empty
        while position < len(self.lines) and after is None:
            number, text = self.lines[position]
            line = split_line(text)
            if line is None:
                if text.strip("` \t"):
                    break
                blank = True
            elif blank and (below := following_rows(self.lines, position)) and is_rule(below[0][2].cells):
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
        found: ComparisonTable | None = None
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
