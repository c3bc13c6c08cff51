"""Whose are the scores of a file? Every place where the closed grammar lets a model be named, and what differs there.

A model's name may stand in a title, in the front matter, in a line of the harness or its command, in a cell of a table
of models, in the file's name, and (`reading.grammar`) nowhere else. Where all of these name one model, the scores are
its. Where they name several, a score is somebody's only if what stands nearest above it says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from evalkit.baselines.published import ComparisonTable, Log, ModelScores, Note
from evalkit.baselines.reading.averages import one_a_task
from evalkit.baselines.reading.columns import split_line
from evalkit.baselines.reading.commands import settings_of
from evalkit.baselines.reading.front_matter import front_end, named_in_front
from evalkit.baselines.reading.grammar import label_said, stem_of, title_of, titles_of
from evalkit.baselines.reading.table_grammar import named_cells
from evalkit.baselines.reading.wording import (
    OWN_ROLE,
    bare_title,
    is_model,
    is_title,
    model_of_file,
    name_cell,
    same_model,
)
from evalkit.harness_settings import is_placeholder
from evalkit.suites import load_suites
from evalkit.task_names import leading_suite


@dataclass(frozen=True)
class _Naming:
    """A place where a model is named: its line (0: the file's name), the name, and what it is."""

    line: int
    name: str
    kind: str


class Namings:
    """The places of a file where a model is named.

    Attributes:
        title: the name in its title or front matter, or None.
        row: the only model that its tables of models name, or None.
    """

    def __init__(self, log: Log) -> None:
        lines = list(log.lines)
        body = lines[front_end(lines) :]
        titles = [_Naming(n, bare_title(text), "title") for n, text in titles_of(body) if is_title(text)]
        front = named_in_front(lines)
        file = model_of_file(stem_of(log.name)) if lines else None
        whole = ((0, file), (1, front if titles else None))
        self._whole = [_Naming(line, name, "whole") for line, name in whole if name is not None]
        titles += [_Naming(1, front, "title")] if front is not None and not titles else []
        loaded = [(n, ((settings_of(text) or {}).get("pretrained") or "").strip("/ ")) for n, text in lines]
        self._labels = sorted(
            [*titles, *(_Naming(n, name, "settings") for n, name in loaded if name and not is_placeholder(name))],
            key=lambda naming: naming.line,
        )
        self._tables = [_Naming(n, name, "table") for n, name in named_cells(body) if not OWN_ROLE.fullmatch(name)]
        self._headings = [n for n, text in lines if split_line(text) is None and leading_suite(label_said(text) or "")]
        self.title = title_of(lines)
        rows = _distinct(self._tables)
        self._read = {c.line for c in log.comparisons} | {
            n for c in log.comparisons for r in c.rows for n in (r.line, *r.lines)
        }
        self.row = rows[0].name if len(rows) == 1 and is_model(rows[0].name) else None

    def doubt(self, lines: Sequence[int], called: str, *, models: int, by_row: bool) -> Note | None:
        """Return why scores may be another model's than the one that they are called after; None if they are not.

        Args:
            lines: where the scores stand.
            called: the model's name.
            models: of how many models the file has scores.
            by_row: whether a row of a table of models has named this one, by its numbers.
        """
        named = [*self._whole, *self._labels, *self._tables]
        names = _distinct(named)
        if models == 1 and len(names) < 2:
            unread = [naming.line for naming in named if naming.kind == "table" and naming.line not in self._read]
            if not unread or len(unread) < len(named):
                return None
            return Note(unread[0], f"only a table that is not read names {called}")
        shared = len(_distinct(self._labels)) < models
        if all(self._is_labelled(line, called, shared=shared, by_row=by_row) for line in lines):
            return None
        shown = ", ".join(f"{n.name} ({f'line {n.line}' if n.line else 'its own name'})" for n in names[:4])
        shown += f" and {len(names) - 4} more" if len(names) > 4 else ""
        text = f"the file names {shown or 'nobody'}" + (f" and holds scores of {models} models" if models > 1 else "")
        known = f"--protocol nous-2023{' and --name' * (models == 1)}"
        return Note(
            next((n.line for n in names[1:]), 0),
            f"{text}: nothing says for certain whose these scores are; if you know, {known}",
        )

    def _is_labelled(self, line: int, called: str, *, shared: bool, by_row: bool) -> bool:
        """Tell whether what stands above a line says that it is the model's: its line of the harness, row, or title.

        A line of the harness below a suite's heading is that suite's; above all of them it holds for each.
        """
        above = [label for label in self._labels if label.line < line]
        title = next((label for label in reversed(above) if label.kind == "title"), None)
        start = title.line if title is not None else 0
        settings = [label for label in above if label.kind == "settings" and label.line > start][-1:]
        if any(not same_model(label.name, called) for label in (title, *settings) if label is not None):
            return False
        near = [n for n in self._headings if start < n < line]
        if by_row or any(not near or label.line > near[-1] or label.line < near[0] for label in settings):
            return True
        # A title holds for what is below it, but not where that names others, or is more sets of scores than one.
        titles = [label for label in self._labels if label.kind == "title"]
        end = next((label.line for label in titles if label.line >= line), math.inf)
        below = [naming for naming in (*self._labels, *self._tables) if start <= naming.line < end]
        others = any(not same_model(naming.name, called) for naming in below)
        fits = all(any(same_model(known.name, label.name) for label in titles) for known in self._whole)
        return title is not None and fits and not shared and not others


def named_by_rows(
    models: Sequence[ModelScores], tables: Sequence[ComparisonTable]
) -> tuple[list[ModelScores], list[Note], set[int]]:
    """Return the models of a file, a nameless one of several named by a row that has its numbers, and no other's.

    Returns:
        The models, a note for each that is named so, and their positions.
    """
    named, notes, places = list(models), [], set()
    rows = [(t, c, h) for t in tables for c, h in enumerate(t.headings) if is_model(_name(h))]
    fitting = [[i for i, model in enumerate(models) if _differing(model, t, c) == {}] for t, c, _ in rows]
    for i, model in enumerate(models):
        own = [row for row, fits in zip(rows, fitting, strict=True) if i in fits]
        if len(models) > 1 and model.name is None and len(own) == 1 and fitting[rows.index(own[0])] == [i]:
            name, line = _name(own[0][2]), own[0][0].rows[0].line_of(own[0][1])
            named[i] = replace(model, name=name)
            notes.append(Note(model.line, f"read as {name}'s, whose row on line {line} has its averages"))
            places.add(i)
    return named, notes, places


def contradicted(model: ModelScores, called: str, tables: Sequence[ComparisonTable]) -> dict[str, Note]:
    """Return suite -> a note, of the suites of which a table of models gives the model itself another number."""
    found: dict[str, Note] = {}
    for table in tables:
        for column, heading in enumerate(table.headings):
            name = _name(heading)
            if OWN_ROLE.fullmatch(name) or same_model(name, called):
                found = (_differing(model, table, column) or {}) | found
    return found


def _name(heading: str) -> str:
    return name_cell(heading.strip("*_`[] "))


def _scores(model: ModelScores) -> dict[str, set[Decimal]]:
    """Return suite -> its printed average and that of its rows, in per cent."""
    found: dict[str, set[Decimal]] = {}
    for average in model.averages:
        if average.suite in load_suites():
            found.setdefault(str(average.suite), set()).add(average.percent)
    rows = one_a_task([row for table in model.tables for row in table.rows])
    for suite in load_suites().values():
        own = [row.value for row in rows if row.task in {task.name for task in suite.tasks}]
        if suite.tasks and len(own) == len(suite.tasks):
            found.setdefault(suite.name, set()).add(100 * sum(own, Decimal(0)) / len(own))
    return found


def _differing(model: ModelScores, table: ComparisonTable, column: int) -> dict[str, Note] | None:
    """Return suite -> a note where a model's scores are not those of a column; None if they share none with places."""
    scores, shared, differ = _scores(model), False, {}
    for row in table.rows:
        value = row.cells[column] if column < len(row.cells) else None
        if value is None or row.role not in scores:
            continue
        percent = value if value > 1 else value.scaleb(2)
        places = -int(percent.as_tuple().exponent)
        shared = shared or places > 0
        slack = Decimal("0.6") * Decimal(1).scaleb(-places) + Decimal("0.0151")
        if all(abs(percent - scored) > slack for scored in scores[row.role]):
            scored = round(min(scores[row.role]), 2)
            text = f"{load_suites()[row.role].title} is {value} in this table and {scored} by the scores beside it"
            differ[row.role] = Note(row.line_of(column), text)
    return differ if shared or differ else None


def _distinct(namings: Sequence[_Naming]) -> list[_Naming]:
    found: list[_Naming] = []
    for naming in namings:
        if not any(same_model(naming.name, known.name) for known in found):
            found.append(naming)
    return found
