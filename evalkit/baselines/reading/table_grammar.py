"""Is every cell of a file's tables known? What a table may hold where its scores are nous-2023.

A table of tasks holds the names of tasks and metrics, numbers in the columns of numbers, and no model; a table of
suites holds models on one side, suites and averages on the other. Each cell is judged as a whole, in every row,
also what stands before the first bar and behind the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from evalkit.baselines.reading.columns import Columns, Line, columns_of, is_rule, split_heading, split_line
from evalkit.baselines.reading.fences import without_fences
from evalkit.baselines.reading.wording import (
    CHANGE,
    NUMBER,
    OWN_ROLE,
    ROLE,
    is_average,
    is_average_name,
    is_fact,
    is_fact_value,
    is_heading,
    is_label,
    is_metric_name,
    is_model,
    is_sign,
    is_suite,
    is_suite_with_shots,
    is_task,
    name_cell,
    plain_cell,
)

_SET_DOWN = re.compile(r"none|yaml|", re.IGNORECASE)
"""What the 0.4 line of the harness prints as a filter and a version."""


def odd_cells(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield (line, cell) of each line with bars that holds a cell which is not known."""
    for number, table, line, heads in _rows(lines):
        pieces = _pieces(line)
        if is_rule(line.cells):
            odd = next((piece for piece in pieces if piece.strip() and not is_rule((piece,))), None)
        else:
            odd = table.odd_heading(line) or _twice(pieces) if heads else table.odd(pieces)
        if odd is not None:
            yield number, f"{odd.strip()} (in a table)"


def named_cells(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of each cell that stands where a table of models has their names."""
    for number, table, line, heads in _rows(lines):
        yield from ((number, name) for name in table.names(_pieces(line), heads=heads))


def _rows(lines: list[tuple[int, str]]) -> Iterator[tuple[int, _Table, Line, bool]]:
    """Yield each line with bars, but for a blank one or a rule, with its table and whether it is the heading."""
    table, above = _Table(None, ()), False
    block = [(number, split_line(text)) for number, text in lines if text.strip("`~ \t")]
    for place, (number, line) in enumerate(block):
        if line is None:
            table, above = _Table(None, ()), False
            continue
        said = [piece for piece in _pieces(line) if piece.strip()]
        columns = columns_of(split_heading(line)[0])
        following = block[place + 1][1] if place + 1 < len(block) else None
        below = tuple(piece for piece in _pieces(following) if piece.strip()) if following is not None else ()
        numbers = any(NUMBER.fullmatch(plain_cell(piece)) for piece in said)
        begins = not above or (bool(below) and is_rule(below))
        heads = columns is not None or (not numbers and begins and len(said) > 1)
        above = True
        if is_rule(tuple(said)):
            continue
        if heads and not is_rule(line.cells):
            table = _Table(columns, _pieces(line))
        yield number, table, line, heads


def _pieces(line: Line) -> tuple[str, ...]:
    """Return all that stands on a line with bars: cells, and what is before and behind them but for fences, labels."""
    around = (without_fences(line.before), without_fences(line.after))
    before, after = ("" if line.cells and _is_label_beside(said) else said for said in around)
    return (*([before] if before.strip() else []), *line.cells, *([after] if after.strip() else []))


def _is_label_beside(said: str) -> bool:
    """Tell whether what stands at a row's end is a line of its own that was glued to it: a label, or an average."""
    known = is_average(said) or (is_label(said) and re.search(r"\w", said) is not None)
    return known and not (is_task(said) or is_heading(said) or is_suite(said))


def _is_name(plain: str) -> bool:
    return is_model(plain) or ROLE.fullmatch(plain) is not None or OWN_ROLE.fullmatch(plain) is not None


def _twice(pieces: tuple[str, ...]) -> str | None:
    """Return a heading that is there twice; several errors, and headings run together with rows, may be."""
    plain = [plain_cell(piece).lower() for piece in pieces]
    if any(re.fullmatch(r":?-{3,}:?", piece) for piece in plain):
        return None
    return next(
        (p for p, said in zip(pieces, plain, strict=True) if plain.count(said) > 1 and not _may_recur(said)), None
    )


def _may_recur(said: str) -> bool:
    return is_sign(said) or re.fullmatch(r"std.*|changes?|[δ∆]", said) is not None


def _is_of_tasks(cell: str, *, heading: bool = False) -> bool:
    """Tell whether a cell may stand in a table of tasks, in any column."""
    plain = plain_cell(cell)
    return (
        is_sign(plain)
        or NUMBER.fullmatch(plain) is not None
        or is_task(plain)
        or is_metric_name(plain)
        or is_suite(plain)
        or is_average_name(plain)
        or _SET_DOWN.fullmatch(plain) is not None
        or (heading and is_heading(plain))
    )


class _Table:
    """A table's heading, and what may stand below it; of tasks, of suites by models, or of models by suites."""

    def __init__(self, columns: Columns | None, heading: tuple[str, ...]) -> None:
        self._columns = columns
        self._heading = tuple(plain_cell(piece) for piece in heading)
        self._units: dict[int, bool] = {}  # column -> whether its numbers have a per cent sign
        named = [
            i
            for i, said in enumerate(self._heading)
            if re.fullmatch(r"models?|model name|names?|模型(?:名称?)?", said, re.I)
        ]
        self._names = named[0] if named else 0
        rest = [said for i, said in enumerate(self._heading) if i != self._names]
        self._by_rows = (
            columns is None
            and bool(heading)
            and all(
                is_suite_with_shots(s) or is_average_name(s) or is_task(s) or is_fact(s) or is_sign(s) for s in rest
            )
        )

    def names(self, pieces: tuple[str, ...], *, heads: bool) -> list[str]:
        """Return the names of models in a row, or in the heading."""
        if self._columns is not None or not self._heading:
            return []
        if heads:
            found = () if self._by_rows else self._heading[1:]
        else:
            found = tuple(map(name_cell, pieces[self._names : self._names + 1])) if self._by_rows else ()
        return [name for name in map(name_cell, found) if _is_name(name) and not is_fact(name)]

    def odd_heading(self, line: Line) -> str | None:
        """Return the cell of the heading `line` that is not known."""
        if self._columns is not None:
            pieces, runs = _pieces(line), split_heading(line)[1].cells
            numbers = (p for p in pieces if NUMBER.fullmatch(plain_cell(p)) and not runs)
            return next((p for p in pieces if not _is_of_tasks(p, heading=True)), None) or next(numbers, None)
        if self._by_rows:
            first = self._heading[self._names]
            return None if is_fact(first) or is_sign(first) else first
        first, *rest = self._heading
        known = is_fact(first) or is_sign(first) or is_heading(first, of_rows=False) or is_label(first)
        odd = (
            said
            for said in rest
            if not (_is_name(name_cell(said)) or is_fact(said) or is_heading(said, of_rows=False) or is_sign(said))
        )
        return next(odd, None) if known else first

    def odd(self, pieces: tuple[str, ...]) -> str | None:
        """Return the first cell of a row that may not stand where it stands; None without one."""
        if self._columns is None and self._heading:
            return self._odd_of_models(pieces)
        for i, piece in enumerate(pieces):
            runs = any(re.fullmatch(r":?-{3,}:?", said) for said in pieces)
            if not _is_of_tasks(piece, heading=runs) or self._odd_unit(i, piece):
                return piece
        return self._odd_place(pieces)

    def _odd_unit(self, column: int, piece: str) -> bool:
        found = NUMBER.fullmatch(plain_cell(piece))
        if found is None or found[0].strip("0.% ") == "":
            return False
        signed = found["percent"] is not None
        return self._units.setdefault(column, signed) != signed

    def _odd_place(self, pieces: tuple[str, ...]) -> str | None:
        """Return a cell of a row of tasks that is not what the heading of its column says."""
        columns = self._columns
        if columns is None:
            return None
        beyond = [piece for piece in pieces[len(columns.headings) :] if not is_sign(piece)]
        if len(pieces) != len(columns.headings):
            rows = sum(is_metric_name(plain_cell(piece)) for piece in pieces)
            return beyond[0] if beyond and rows < 2 and not columns.labelled else None
        for i, (heading, piece) in enumerate(zip(columns.headings, pieces, strict=True)):
            plain = plain_cell(piece)
            number = NUMBER.fullmatch(plain) is not None
            if i == columns.task:
                fits = not number and not is_metric_name(plain)
                fits = fits or (is_metric_name(plain) and columns.labelled)
            elif i == columns.metric:
                fits = is_metric_name(plain) or is_sign(plain) or is_average_name(plain)
            elif not heading.strip():
                fits = is_sign(plain)
            else:
                fits = number or is_sign(plain) or _SET_DOWN.fullmatch(plain) is not None
            if not fits:
                return piece
        return None

    def _odd_of_models(self, pieces: tuple[str, ...]) -> str | None:
        for i, piece in enumerate(pieces):
            plain = plain_cell(piece)
            heading = self._heading[i] if i < len(self._heading) else ""
            if i == self._names:
                fits = (
                    _is_name(name_cell(piece))
                    if self._by_rows
                    else (is_suite_with_shots(plain) or is_task(plain) or is_average_name(plain))
                )
                fits = (
                    fits
                    or is_sign(plain)
                    or CHANGE.fullmatch(plain) is not None
                    or (not self._by_rows and (is_fact(plain) or is_label(plain)))
                )
            elif not heading.strip():
                fits = is_sign(plain)
            elif is_fact(heading) or (not self._by_rows and is_fact(plain_cell(pieces[0]))):
                fits = is_fact_value(plain)
            else:
                fits = NUMBER.fullmatch(plain) is not None or is_sign(plain)
                fits = fits or (not self._by_rows and (is_metric_name(plain) and is_heading(heading)))
            if not fits or (i != self._names and self._odd_unit(i, piece)):
                return piece
        return None
