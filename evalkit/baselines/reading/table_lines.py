"""One line of a table -> its rows, whatever happened to the table on the way.

Logs get pasted: rows run together on one line with a run of spaces between them, break in two, lose a bar at either
end, or have text glued to their last cell. A heading that names the columns decides what a cell means; where the number
of cells does not fit the heading, the name of a metric with a number right after it does. A cell that is not understood
as a whole is no number: the number in another cell never takes its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from evalkit.baselines.reading.cells import NO_METRIC, Score, holds_nothing, score_of, value_of, without_marks
from evalkit.baselines.reading.columns import Columns, Line, is_rule
from evalkit.results.task_names import is_metric

_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class RawRow:
    """One metric of one task, before names and units are settled.

    Attributes:
        task: as printed; empty if the cell is empty, which means the task of the row above.
        metric: as printed.
        score: the number; None if the cell has none.
        stderr: its standard error, or None.
        shots: number of examples in the prompt, or None where the row does not say.
        printed: the value's cell as printed, for a note about it.
        level: how far the task is set in below its group; 0 for a group and for a task of none.
        documents: how many documents the row says were scored, or None where it does not say.
    """

    task: str
    metric: str
    score: Score | None
    stderr: Score | None
    shots: int | None = None
    printed: str = ""
    level: int = 0
    documents: int | None = None


def _shots(cells: tuple[str, ...], columns: Columns) -> int | None:
    text = cells[columns.shots].strip() if columns.shots is not None else ""
    found = re.fullmatch(r"([0-9]{1,3})(?:[\s-]*shots?)?", text, re.IGNORECASE)
    return int(found[1]) if found else None


def _by_heading(cells: tuple[str, ...], columns: Columns) -> list[RawRow]:
    """Return the rows of a line that has a cell for each heading; a row without a number keeps its cell's text."""
    task, shots = cells[columns.task], _shots(cells, columns)
    if columns.wide:
        errors = columns.wide_errors
        found = [(metric, cells[i], cells[errors[i]] if i in errors else "") for i, metric in columns.wide]
        # An empty cell is a metric that the task does not have; one that says N/A, or has an error, is a lost number.
        filled = [(m, c, e) for m, c, e in found if c or e] or found[:1]
        return [RawRow(task, m, value_of(c), score_of(e), shots, c) for m, c, e in filled]
    if columns.value is None:
        return []
    score = value_of(cells[columns.value])
    stderr = score_of(cells[columns.stderr]) if columns.stderr is not None else None
    metric = cells[columns.metric] if columns.metric is not None else NO_METRIC
    filtered = cells[columns.filter].lower() if columns.filter is not None else ""
    if filtered not in ("", "none", "n/a", "-") and "," not in metric:
        metric = f"{metric},{filtered}"
    if score is not None and score.shots is not None:
        shots = score.shots
    said = cells[columns.documents] if columns.documents is not None else ""
    documents = int(said) if re.fullmatch(r"[0-9]{1,9}", said) else None
    return [RawRow(task, metric, score, stderr, shots, cells[columns.value], documents=documents)]


def rows_by_meaning(cells: tuple[str, ...], *, bare_error: bool = False) -> list[RawRow]:
    """Return the rows in a list of cells, found by the names of metrics; for lines that fit no heading.

    The value is the cell after the metric's name, or after one arrow or one empty cell between them (the 0.4 line of
    lm-eval has that column); after an empty one only with a standard error behind it, because an empty cell may also be
    a value that is not there. An error follows its sign, or with `bare_error` directly.
    """
    places = [i for i, cell in enumerate(cells) if is_metric(cell)]
    rows = []
    start = 0
    for place, following in zip(places, [*places, len(cells)][1:], strict=True):
        names = [c for c in cells[start:place] if _LETTER.search(c) and not re.fullmatch(r"yaml|none|n/a|nan", c, re.I)]
        at = place + 1
        skipped = at < following and not without_marks(cells[at])
        empty = skipped and not cells[at].strip()
        at += skipped
        score = value_of(cells[at]) if at < following else None
        stderr, end = None, at + 1
        if score is not None:
            signed = end < following and re.match(r"^(?:±|\+\s*/?\s*-|\\pm|_|卤|\?|�)$", cells[end]) is not None
            blank = end < following and not cells[end]
            behind = end + 1 if signed or blank else end
            if behind < following and (signed or blank or bare_error):
                stderr = score_of(cells[behind])
                end = behind + 1 if stderr is not None else end
            missing = empty and (stderr is None or not (signed or blank))
            plain = not (signed or skipped) and at + 1 < following
            if missing or (plain and _is_count(cells[at], cells[at + 1])):
                score = None
        name = names[0] if names else ""
        rows.append(RawRow(name, cells[place], score, stderr, printed=cells[at] if at < following else ""))
        start = end if score is not None else place + 1
    return rows


def _is_count(cell: str, following: str) -> bool:
    """Tell whether a whole number with a value, or the sign that there is none, behind it may be a version or count."""
    whole = re.fullmatch(r"[0-9]+", cell) is not None
    return whole and (score_of(following) is not None or holds_nothing(following))


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
    return (
        re.fullmatch(
            r"\W*(?:(?:macro |overall |total )?(?:average|avg|mean)(?: score)?|平均\S*)\W*", label, re.IGNORECASE
        )
        is not None
    )


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


def _rejoined(cells: tuple[str, ...], width: int) -> tuple[str, ...] | None:
    """Return a row whose first cell, lighteval's ``suite|task|shots|0``, was cut at its bars; None if it was not."""
    extra = len(cells) - width
    if extra not in (2, 3) or not re.fullmatch(r"[a-z][\w-]*", cells[0]) or not re.fullmatch(r"[0-9]{1,3}", cells[2]):
        return None
    if is_metric(cells[1]) or (extra == 3 and cells[3] not in ("0", "1")):
        return None
    return ("|".join(cells[: extra + 1]), *cells[extra + 1 :])


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
    if not before and columns.task == 0 and (joined := _rejoined(cells, width)) is not None:
        cells = joined
        line = Line(before, cells, after)
    for whole, left, right in _readings(line, columns):
        chunks = _chunks(whole, width)
        if chunks is not None:
            before, after = left, right
            break
    else:
        rows = rows_by_meaning(cells, bare_error=columns.stderr is not None) if columns.adjoining else []
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
        if _has_moved(chunk, columns):
            found += (moved := [row for row in rows_by_meaning(chunk) if row.score is not None])
            unread_cells += [] if moved else [f"row not read: {' | '.join(c for c in chunk if c)}"]
        elif columns.wide or columns.labelled or (rows and rows[0].score is not None and _fits(rows[0])):
            found += rows
        elif by_meaning := _moved(chunk, columns):
            found += by_meaning
        elif rows and _fits(rows[0]) and (rows[0].task or rows[0].metric):
            found += rows  # a row that has no number; its cell is noted
        else:
            unread_cells.append(f"row not read: {' | '.join(c for c in chunk if c)}")
    return TableLine(tuple(found), before, after, True, tuple(unread_cells))


def _has_moved(cells: tuple[str, ...], columns: Columns) -> bool:
    """Tell whether a metric's name stands in a column without a name, and none in the metric's: of other columns."""
    if columns.metric is None or is_metric(cells[columns.metric]):
        return False
    return any(is_metric(cell) for cell, title in zip(cells, columns.headings, strict=True) if not title.strip())


def _moved(cells: tuple[str, ...], columns: Columns) -> list[RawRow]:
    """Return the rows of a line whose cells have moved: none where its metric stands below its heading."""
    if not columns.adjoining or (columns.metric is not None and is_metric(cells[columns.metric])):
        return []
    return [row for row in rows_by_meaning(cells) if row.score is not None]


def _fits(row: RawRow) -> bool:
    """Tell whether a row's cells are what its headings say: a metric, if there is one, is no number."""
    if row.metric and score_of(row.metric) is not None:
        return False
    return bool(row.metric) or is_average(row.task)
