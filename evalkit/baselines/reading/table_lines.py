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
from evalkit.baselines.reading.pages import ESCAPED_BAR
from evalkit.task_names import is_metric, without_arrows

_LETTER = re.compile(r"[^\W\d_]")
_RULE = re.compile(r"^:?-+:?$")
_COLUMN = {
    "task": re.compile(
        r"tasks?(?: name)?|groups?|datasets?|benchmarks?|bench|tests?|evals?"
        r"|任务(?:名称?)?|数据集|基准(?:测试)?|测试集?|评测(?:集|项目?)?"
    ),
    "metric": re.compile(r"metrics?|指标|评价指标|度量"),
    "value": re.compile(
        r"%?\s*(?:values?|scores?|results?|accuracy|分数|得分|值|数值|成绩|结果|准确率)\s*(?:\(?%\)?)?"
    ),
    "stderr": re.compile(r"std[\s._]*err(?:or)?\.?|standard error|std\.? error|s\.?e\.?|标准误差?"),
    "shots": re.compile(r"n[-_ ]?shots?|num_fewshot|few-?shot|shots?|样本数"),
    "filter": re.compile(r"filters?|过滤器?"),
    "other": re.compile(r"(?:tasks?[\s_-]*)?(?:versions?|vers?|v)\.?(?:\s*\(s\))?|(?:任务)?版本号?"),
}


# Columns that say nothing of how a row was measured: versions, errors, descriptions of tasks.
_KNOWN_COLUMN = re.compile(
    rf"(?:{_COLUMN['other'].pattern})|(?:{_COLUMN['stderr'].pattern})"
    r"|categor(?:y|ies)|types?|task types?|descriptions?|notes?|remarks?"
    r"|capabilit(?:y|ies)|abilit(?:y|ies)|domains?|skills?|类别|类型|说明|能力|领域|备注"
)


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


@dataclass(frozen=True)
class Columns:
    """What the columns of a score table mean.

    Attributes:
        headings: as printed.
        task: index of the task column.
        metric: index of the metric column; None if each metric has a column of its own, or no metric is named.
        value: index of the value column; None likewise.
        stderr: index of the column of standard errors; None without one, or where each metric has a column of its own.
        wide: column index -> metric, where each metric has a column of its own.
        open_left, open_right: whether the rows have no bar at that end.
        groups: True for lm-eval's table of group averages.
        shots: index of the column of numbers of examples in the prompt, or None.
        filter: index of the column of filters, or None.
        labelled: True for a table of a label and a number, without metrics.
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
    shots: int | None = None
    filter: int | None = None
    labelled: bool = False

    @property
    def in_percent(self) -> bool:
        """True if the heading of the values has a per cent sign."""
        return self.value is not None and "%" in self.headings[self.value]

    @property
    def _bare_errors(self) -> list[int]:
        return [i for i, heading in enumerate(self.headings) if _COLUMN["stderr"].fullmatch(_label(heading))]

    @property
    def wide_errors(self) -> dict[int, int]:
        """Column of a metric -> column of its standard error, where each metric has a column of its own.

        ``acc_stderr`` names its metric. ``stderr`` is that of the only metric, or of the one on its left where each
        metric has one; of anything else nobody knows whose it is.
        """
        plain = [_label(heading) for heading in self.headings]
        found = {i: plain.index(f"{metric}_stderr") for i, metric in self.wide if f"{metric}_stderr" in plain}
        bare, metrics = self._bare_errors, [i for i, _ in self.wide]
        if len(bare) == len(metrics) and (len(bare) == 1 or bare == [i + 1 for i in metrics]):
            found = dict(zip(metrics, bare, strict=True)) | found
        return found

    @property
    def unclear_errors(self) -> tuple[str, ...]:
        """Headings of the standard errors of which nobody knows whose they are."""
        known = set(self.wide_errors.values())
        return tuple(self.headings[i] for i in self._bare_errors if i not in known) if self.wide else ()

    @property
    def unknown(self) -> tuple[int, ...]:
        """Columns with a name of which nobody knows what it says of the rows."""
        used = {self.task, self.metric, self.value, self.stderr, self.shots, self.filter, *(i for i, _ in self.wide)}
        used |= set(self.wide_errors.values())
        return tuple(
            i
            for i, heading in enumerate(self.headings)
            if i not in used and re.search(r"\w", heading) and not _KNOWN_COLUMN.fullmatch(_label(heading))
        )

    @property
    def documents(self) -> int | None:
        """The column of numbers of documents, as evalkit's own report has it; None without one."""
        return next((i for i in self.unknown if _label(self.headings[i]) in ("documents", "题目数")), None)

    @property
    def adjoining(self) -> bool:
        """True if the value follows the metric's name, with at most one column without a name (an arrow) between."""
        if self.wide or self.value is None:
            return True
        metric = self.metric if self.metric is not None else self.task
        between = self.headings[metric + 1 : self.value]
        return metric < self.value and len(between) <= 1 and not any(re.search(r"\w", cell) for cell in between)

    @property
    def harness(self) -> str:
        """The line of lm-eval that prints such columns; the 0.4 line added Filter, n-shot and the plural."""
        plain = {heading.lower() for heading in self.headings}
        newer = plain & {"filter", "n-shot", "tasks"} or self.shots is not None or self.filter is not None
        return "lm-eval-0.4" if newer and not self.labelled else "lm-eval-0.3"


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
    first, *middle, last = (part.strip().replace(ESCAPED_BAR, "|") for part in text.split("|"))
    return Line(first, tuple(middle), last)


def is_rule(cells: tuple[str, ...]) -> bool:
    """Tell whether cells are a rule (dashes only)."""
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(_RULE.match(cell) for cell in filled)


def _label(cell: str) -> str:
    return without_arrows(cell.lower().strip(" :*_`")).strip(" :*_`")


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
    if len(places["value"]) > 1 and (places["task"] or places["metric"]):
        return None  # two columns of values: of two models, or two ways to measure; nothing says which is meant
    task, metric, value, stderr, shots, filtered = (
        next(iter(places[name]), None) for name in ("task", "metric", "value", "stderr", "shots", "filter")
    )
    # |Metric|Value| and |Task|Score|: a label and a number, and nothing else that could be meant.
    lettered = [i for i, c in enumerate(plain) if re.search(r"\w", c)]
    known = {*places["stderr"], *places["shots"], *places["filter"], *places["other"], task, metric, value}
    if value is not None and (task is None) != (metric is None) and set(lettered) <= known:
        label = task if task is not None else metric
        assert label is not None  # one of the two is there
        return Columns(cells, label, None, value, stderr, (), left, right, False, shots, filtered, True)
    task = task or 0
    wide = tuple((i, c) for i, c in enumerate(plain) if i != task and is_metric(c))
    # Each metric a column: then nothing else may stand there but the columns that lm-eval adds.
    others = (
        {"#", ""}
        | {c for _, c in wide}
        | {f"{c}_stderr" for _, c in wide}
        | {plain[i] for n in ("other", "shots", "filter", "stderr") for i in places[n]}
    )
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
        shots=shots,
        filter=filtered,
    )


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


def is_version_column(heading: str) -> bool:
    """Tell whether a column's heading says that the versions of tasks stand below it.

    >>> [is_version_column(heading) for heading in ("Version", "Ver.", "*V*", "Task Version", "Value", "Model")]
    [True, True, True, True, False, False]
    """
    return _COLUMN["other"].fullmatch(_label(heading)) is not None


def is_heading_word(cell: str, *, of_rows: bool) -> bool:
    """Tell whether a cell heads a column of scores or errors; in a table `of_rows` with metrics also of shots."""
    known = (name for name in _COLUMN if of_rows or name not in ("shots", "filter"))
    return cell == "#" or any(_COLUMN[name].fullmatch(_label(cell)) for name in known)


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
        if columns.wide or columns.labelled or (rows and rows[0].score is not None and _fits(rows[0])):
            found += rows
        elif by_meaning := _moved(chunk, columns):
            found += by_meaning
        elif rows and _fits(rows[0]) and (rows[0].task or rows[0].metric):
            found += rows  # a row that has no number; its cell is noted
        else:
            unread_cells.append(f"row not read: {' | '.join(c for c in chunk if c)}")
    return TableLine(tuple(found), before, after, True, tuple(unread_cells))


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
