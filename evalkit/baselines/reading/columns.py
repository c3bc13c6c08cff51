"""A line with bars -> its cells; the heading of a score table -> what its columns mean."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evalkit.baselines.reading.pages import ESCAPED_BAR
from evalkit.results.task_names import is_metric, without_arrows

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
