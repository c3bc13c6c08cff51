"""One line of a table -> its rows, whatever happened to the table on the way.

Logs get pasted: rows run together on one line with a run of spaces between them, break in two, lose a bar at either
end, or have text glued to their last cell. A heading that names the columns decides what a cell means; where the number
of cells does not fit the heading, the name of a metric with a number after it does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from evalkit.baselines.names import is_metric

_NUMBER = r"[+-]?(?:\d+(?:[.,]\d+)?|[.,]\d+)"
_SCORE = re.compile(
    rf"^(?P<value>{_NUMBER})\s*(?P<percent>%?)\s*"
    rf"(?:\(?\s*(?:±|\+\s*/?\s*-|\\pm|_)\s*(?P<stderr>{_NUMBER})\s*%?\s*\)?)?$"
)
_RULE = re.compile(r"^:?-+:?$")
_PLUS_MINUS = re.compile(r"^(?:±|\+\s*/?\s*-|\\pm|_|卤|\?|�)?$")
_COLUMN = {
    "task": re.compile(r"tasks?(?: name)?|groups?|datasets?|benchmarks?|任务"),
    "metric": re.compile(r"metrics?|指标"),
    "value": re.compile(r"values?|scores?|results?|分数|值"),
    "stderr": re.compile(r"std[\s._]*err(?:or)?\.?|std\.? error|se|标准误"),
    "other": re.compile(r"version|filter|n-shot"),
}


@dataclass(frozen=True)
class Score:
    """A printed number.

    Attributes:
        value: as printed.
        stderr: the standard error printed in the same cell, or None.
        percent: True if a per cent sign follows.
    """

    value: Decimal
    stderr: Decimal | None
    percent: bool


def decimal_of(text: str) -> Decimal:
    """Return a printed number; a comma between digits is a decimal comma."""
    return Decimal(text.replace(",", "."))


def score_of(cell: str) -> Score | None:
    """Return the number in a cell, or None if the cell is anything but a number with an optional error."""
    found = _SCORE.match(cell.strip().strip("`$ "))
    if found is None:
        return None
    stderr = decimal_of(found["stderr"]) if found["stderr"] else None
    return Score(decimal_of(found["value"]), stderr, bool(found["percent"]))


@dataclass(frozen=True)
class RawRow:
    """One metric of one task, before names and units are settled.

    Attributes:
        task: as printed; empty if the cell is empty, which means the task of the row above.
        metric: as printed.
        score: the number; None if the cell has none.
        stderr: its standard error, or None.
    """

    task: str
    metric: str
    score: Score | None
    stderr: Score | None


@dataclass(frozen=True)
class Columns:
    """What the columns of a score table mean.

    Attributes:
        headings: as printed.
        task: index of the task column.
        metric: index of the metric column; None if each metric has a column of its own.
        value: index of the value column; None likewise.
        stderr: index of the column of standard errors, or None.
        wide: column index -> metric, where each metric has a column of its own.
        open_left, open_right: whether the rows have no bar at that end.
        groups: True for lm-eval's table of group averages.
    """

    headings: tuple[str, ...]
    task: int
    metric: int | None
    value: int | None
    stderr: int | None
    wide: tuple[tuple[int, str], ...]
    open_left: bool
    open_right: bool
    groups: bool

    @property
    def harness(self) -> str:
        """The line of lm-eval that prints such columns; the 0.4 line added Filter, n-shot and the plural."""
        plain = {heading.lower() for heading in self.headings}
        return "lm-eval-0.4" if plain & {"filter", "n-shot", "tasks"} else "lm-eval-0.3"


@dataclass(frozen=True)
class Line:
    """A line with bars in it.

    Attributes:
        before: text before the first bar (empty if the line begins with a bar).
        cells: the cells between the bars, without surrounding spaces.
        after: text after the last bar.
    """

    before: str
    cells: tuple[str, ...]
    after: str


def split_line(text: str) -> Line | None:
    """Return a line's cells, or None if it has no table in it."""
    if text.count("|") < 2 and not re.search(r"\S\s*\|\s*\S", text):
        return None
    first, *middle, last = (part.strip() for part in text.split("|"))
    return Line(first, tuple(middle), last)


def is_rule(cells: tuple[str, ...]) -> bool:
    """Tell whether cells are a rule (dashes only)."""
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(_RULE.match(cell) for cell in filled)


def _label(cell: str) -> str:
    return cell.lower().strip(" :*_`")


def split_heading(line: Line) -> tuple[Line, Line]:
    """Cut a line on which a heading, its rule and rows run together; the second part is empty if they do not."""
    rule = next((i for i, cell in enumerate(line.cells) if re.fullmatch(r":?-{3,}:?", cell)), 0)
    if rule == 0:
        return line, Line("", (), "")
    heading = line.cells[: rule - 1 if not line.cells[rule - 1] else rule]
    return Line(line.before, heading, ""), Line("", line.cells[rule:], line.after)


def columns_of(line: Line) -> Columns | None:
    """Return what the columns mean if the line is the heading of a score table, else None."""
    left = any(pattern.fullmatch(_label(line.before)) for pattern in _COLUMN.values())
    right = any(pattern.fullmatch(_label(line.after)) for pattern in _COLUMN.values())
    cells = ((line.before,) if left else ()) + line.cells + ((line.after,) if right else ())
    plain = [_label(cell) for cell in cells]
    places = {name: [i for i, c in enumerate(plain) if pattern.fullmatch(c)] for name, pattern in _COLUMN.items()}
    task, metric, value, stderr = (next(iter(places[name]), None) for name in ("task", "metric", "value", "stderr"))
    task = task or 0
    wide = tuple((i, c) for i, c in enumerate(plain) if i != task and is_metric(c))
    # Each metric a column: then nothing else may stand there but the columns that lm-eval adds.
    others = {"version", "filter", "n-shot", "#", ""} | {c for _, c in wide}
    if (metric is None or value is None) and not (wide and all(c in others for i, c in enumerate(plain) if i != task)):
        return None
    if metric is not None and value is not None:
        wide = ()
    return Columns(
        headings=cells,
        task=task,
        metric=None if wide else metric,
        value=None if wide else value,
        stderr=None if wide else stderr,
        wide=wide,
        open_left=left,
        open_right=right,
        groups=plain[task].startswith("group"),
    )


def _by_heading(cells: tuple[str, ...], columns: Columns) -> list[RawRow]:
    task = cells[columns.task]
    if columns.wide:
        found = [(metric, score_of(cells[i])) for i, metric in columns.wide]
        return [RawRow(task, metric, score, None) for metric, score in found if score is not None]
    if columns.metric is None or columns.value is None:
        return []
    stderr = score_of(cells[columns.stderr]) if columns.stderr is not None else None
    return [RawRow(task, cells[columns.metric], score_of(cells[columns.value]), stderr)]


def rows_by_meaning(cells: tuple[str, ...]) -> list[RawRow]:
    """Return the rows in a list of cells, found by the names of metrics; for lines that fit no heading."""
    places = [i for i, cell in enumerate(cells) if is_metric(cell)]
    rows = []
    start = 0
    for place, following in zip(places, [*places, len(cells)][1:], strict=True):
        names = [c for c in cells[start:place] if c and not re.fullmatch(r"[\d.]+|yaml|none|n/a", c, re.IGNORECASE)]
        rest = list(enumerate(cells[place + 1 : following], start=place + 1))
        numbers = [(i, score) for i, cell in rest if (score := score_of(cell)) is not None]
        if not numbers:
            start = place + 1
            rows.append(RawRow(names[0] if names else "", cells[place], None, None))
            continue
        at, score = numbers[0]
        stderr = next((s for i, s in numbers[1:2] if all(_PLUS_MINUS.match(c) for c in cells[at + 1 : i])), None)
        start = (numbers[1][0] if stderr is not None else at) + 1
        rows.append(RawRow(names[0] if names else "", cells[place], score, stderr))
    return rows


def _chunks(cells: tuple[str, ...], width: int) -> list[tuple[str, ...]] | None:
    """Cut a line's cells into rows of `width`, with or without an empty gap between rows; None if they do not fit."""
    count = len(cells)
    with_gaps = (count + 1) % (width + 1) == 0 and not any(cells[gap] for gap in range(width, count, width + 1))
    if not count or not (with_gaps or count % width == 0):
        return None
    step = width + 1 if with_gaps else width
    return [cells[i : i + width] for i in range(0, count, step)]


def is_average(label: str) -> bool:
    """Tell whether a row's label says that the row is an average and no task."""
    return re.fullmatch(r"\W*(?:average|avg|mean|平均\S*)\W*", label, re.IGNORECASE) is not None


@dataclass(frozen=True)
class TableLine:
    """What a line of a score table holds.

    Attributes:
        rows: its rows.
        before, after: text around the table's cells.
        complete: False if the line ends before its last row does; joined with the next line it may read better.
        unread: what could not be made sense of, as messages.
    """

    rows: tuple[RawRow, ...]
    before: str
    after: str
    complete: bool
    unread: tuple[str, ...]


def _readings(line: Line, columns: Columns) -> list[tuple[tuple[str, ...], str, str]]:
    """Return the ways to read a line as (cells, text before, text after), the most likely first."""
    before, cells, after = line.before, line.cells, line.after
    width = len(columns.headings)
    left = ((before, *cells), "") if before else (("", *cells), "")
    ways = []
    if columns.open_left or (before and len(cells) < width):
        if columns.open_right or (after and len(cells) < width):
            ways.append(((*left[0], after), "", ""))
        ways.append((left[0], "", after))
    if columns.open_right or (after and len(cells) == width - 1):
        ways.append(((*cells, after), before, ""))
    return [*ways, (cells, before, after)]


def _cut_off(cells: tuple[str, ...], columns: Columns) -> bool:
    """Tell whether the last cell of a line that lacks its last bar is a number that was cut short."""
    value = score_of(cells[columns.value]) if columns.value is not None else None
    last = score_of(cells[-1])
    return value is None or last is None or _places(last.value) < _places(value.value)


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def table_line(line: Line, columns: Columns | None) -> TableLine:
    """Return the rows of a line under a heading (or without one)."""
    before, cells, after = line.before, line.cells, line.after
    if columns is None:
        inner = tuple(c for c in ((before,) if before else ()) + cells + ((after,) if after else ()))
        rows = rows_by_meaning(inner)
        if not rows:
            return TableLine((), before, after, True, ())
        # Text that is no cell: what stands before the first bar of a line that is otherwise complete.
        return TableLine(tuple(rows), "", "", True, ())
    unread_cells: list[str] = []
    width = len(columns.headings)
    for whole, left, right in _readings(line, columns):
        chunks = _chunks(whole, width)
        if chunks is not None:
            before, after = left, right
            break
    else:
        rows = rows_by_meaning(cells)
        unread = () if rows or not any(cells) else (f"row not read: {' | '.join(c for c in cells if c)}",)
        return TableLine(tuple(rows), before, after, len(cells) >= width, unread)
    if len(whole) > len(cells) and line.after and not columns.open_right and _cut_off(chunks[-1], columns):
        unread_cells.append(f"number cut off at the end of the line: {chunks[-1][-1]}")
        chunks[-1] = (*chunks[-1][:-1], "")
    found: list[RawRow] = []
    for chunk in chunks:
        if is_rule(chunk) or not any(chunk):
            continue
        rows = _by_heading(chunk, columns)
        if columns.wide or (rows and rows[0].score is not None and (rows[0].metric or is_average(rows[0].task))):
            found += rows
        elif by_meaning := [row for row in rows_by_meaning(chunk) if row.score is not None]:
            found += by_meaning
        else:
            unread_cells.append(f"row not read: {' | '.join(c for c in chunk if c)}")
    return TableLine(tuple(found), before, after, True, tuple(unread_cells))
