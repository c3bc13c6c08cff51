"""Every number of a file is accounted for: read, or named as not read.

A layout that nobody thought of loses numbers without a word: a column of which no heading is known, an average in a
form of its own. So what was read is held against what is printed. Each number with places or a per cent sign, in the
cells of tables and in lines that speak of scores, has to be among the scores, errors and averages that were read of its
table, or in what a note says. What is left is noted with its line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from evalkit.baselines.published import ComparisonTable, ModelScores, Note
from evalkit.baselines.reading.cells import decimal_of, score_of
from evalkit.baselines.reading.columns import columns_of, is_rule, is_version_column, split_heading, split_line
from evalkit.baselines.reading.commands import settings_of
from evalkit.baselines.reading.log_lines import code_lines
from evalkit.baselines.reading.wording import SUITE, is_fact, is_heading
from evalkit.results.task_names import any_suite, is_metric, suite_of_task, task_and_metric

Lines = Sequence[tuple[int, str]]

_NUMBER = re.compile(
    r"(?<![\w.,:/^~-])(?P<sign>[+-]?)(?:(?P<percent>[0-9]{1,4}(?:[.,][0-9]+)?(?=\s?%))|(?P<number>[0-9]{0,4}[.,][0-9]+))(?![\w:/-]|[.,][0-9]|\s?(?:hours?|h|min(?:ute)?s?|s(?:ec(?:ond)?s?)?|days?|[KMGT]i?B|[BMK]|(?<=[0-9])x|x(?=\s+\w)|times|tokens?|epochs?|steps?)\b)"
)
_CHANGE = re.compile(r"\(\s*[+\-↑↓▲▼△▽↗↘][^()]*\)|(?<![0-9])\s*[+↑↓▲▼△▽↗↘→]\s*[0-9.,]+\s?%?")
"""By how much a number changed, which is no score."""
_SIZE = re.compile(r"\W*[0-9][0-9.,]*\s*(?:[BMKGT]i?b?|bits?|[hms]|mins?|hours?)\W*", re.IGNORECASE)
_OF_SCORES = re.compile(
    r"(?<![a-z])(?:averages?|avg|mean|scores?|overall|acc(?:uracy)?(?:_norm)?|mc[12]|pass@[0-9]+)(?![a-z])"
    r"|平均|得分|总分|分数|准确率|均值|总计|合计",
    re.IGNORECASE,
)
_LABELLED = re.compile(
    r"[\s>#*_`+-]*(?:(?:grand\s+)?(?:totals?|sum|final|results?|median|max(?:imum)?|min(?:imum)?|best|worst|macro|micro|std|总计|合计)"
    rf"(?:\s+\w+)?[\s*_`]*[:：=][\s*_`]*|(?:{SUITE.pattern})\s+(?=[0-9]+\W*$)|[(\[]?(?=[0-9]+[.,][0-9]+\s?%?\W*$))(?P<number>[0-9.,]+)",
    re.IGNORECASE,
)
"""A label with a number that is a score if anything is."""
_COUNTS = re.compile(
    r"n|#.*|.*(?:samples?|documents?|docs?|shots?|questions?|items?|size|seed|time|rank)s?|数量|样本数?", re.IGNORECASE
)
_WHOLE_LINE = re.compile(
    r"^(?:not read, removed|row not read(?!:.* has no )|number not read|item of a list|average not read|no number after"
    r"|average .* belongs to no suite)"
)
"""Notes that speak of all that stands on their line."""
_WHOLE_TABLE = re.compile(r"^(?:table not read|comparison table of)|table not read$")
_COLUMN_NOTE = re.compile(r"column '(.*)' not read")
_ERROR = re.compile(r"(?:±|\+/?-)\s*[0-9.,]+\s?%?")
_BEFORE = re.compile(
    rf"{_ERROR.pattern}|(?:from|vs\.?|versus|compared\s+(?:to|with)|over|(?:up|down)\s+by)\s+(?:the\s+)?[0-9.,]+\s?%?",
    re.IGNORECASE,
)
"""What a line says beside a score that was read: its error, and what it was before."""
_SHOWN = 6
_LONG = 400


@dataclass(frozen=True)
class _Printed:
    """A number as it is printed: its line, its text, and its value."""

    line: int
    text: str
    value: Decimal


class _Pools:
    """The numbers that were read or noted, by line; each accounts for one that is printed."""

    def __init__(self) -> None:
        self._left: dict[int, Counter[Decimal]] = {}
        self._errors: dict[int, set[Decimal]] = {}

    def add(self, line: int, *values: Decimal | None) -> None:
        self._left.setdefault(line, Counter()).update(value.normalize() for value in values if value is not None)

    def add_error(self, line: int, error: Decimal | None) -> None:
        """Add a standard error, which may stand twice: beside its score and in a column."""
        if error is not None:
            self._errors.setdefault(line, set()).update((error, error.scaleb(2)))

    def has(self, line: int) -> bool:
        """Tell whether anything of a line was read or noted."""
        return line in self._left

    def take(self, printed: _Printed, lines: Iterable[int]) -> bool:
        """Tell whether a number is among those of some lines, as a share or in per cent, and take it out."""
        for line in lines:
            left = self._left.get(line, Counter())
            if printed.value in self._errors.get(line, ()):
                return True
            for wanted in (printed.value, printed.value.scaleb(-2), printed.value.scaleb(2)):
                if left[wanted.normalize()] > 0:
                    left[wanted.normalize()] -= 1
                    return True
        return False


def unaccounted(
    lines: Lines, models: Sequence[ModelScores], comparisons: Sequence[ComparisonTable], notes: Sequence[Note]
) -> list[Note]:
    """Return a note for each line with numbers that were neither read nor noted.

    Args:
        lines: the file's numbered lines; a row that was broken in two is one line.
        models: what was read of each model.
        comparisons: tables that were read as they stand.
        notes: what was said so far.
    """
    pools = _pools(models, comparisons)
    said: dict[int, list[Note]] = {}
    for note in notes:
        said.setdefault(note.line, []).append(note)
        pools.add(note.line, *note.numbers)
    found: list[Note] = []
    code = code_lines(list(lines))
    for region in _regions([line for line in lines if line[0] not in code]):
        numbers = {number for number, _ in region}
        first, text = region[0]
        if split_line(text) is not None:
            out = {match[1] for note in said.get(first, ()) if (match := _COLUMN_NOTE.match(note.message)) is not None}
            printed = _of_table(region, out)
        else:
            printed = _of_prose(first, _BEFORE.sub(" ", text) if pools.has(first) else text)
        whole = any(_WHOLE_TABLE.search(note.message) for number in numbers for note in said.get(number, ()))
        printed = [] if whole else [p for p in printed if not _is_noted(p, said.get(p.line, ()))]
        printed = [p for p in printed if not pools.take(p, (p.line,))]
        lost: dict[int, list[str]] = {}
        for p in printed:
            if not pools.take(p, sorted(numbers)):
                lost.setdefault(p.line, []).append(p.text)
        texts = dict(region)
        found += [Note(line, _lost(texts[line], words), unread=True) for line, words in lost.items()]
    return found


def _lost(text: str, numbers: list[str]) -> str:
    """Say which numbers of a line were not read."""
    shown = ", ".join(numbers[:_SHOWN]) + (f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else "")
    return f"number not read: {shown} in '{' '.join(text.split())[:60]}'"


def _pools(models: Iterable[ModelScores], comparisons: Iterable[ComparisonTable]) -> _Pools:
    pools = _Pools()
    for model in models:
        for table in model.tables:
            for row in table.rows:
                pools.add(row.line, row.value)
                pools.add_error(row.line, row.stderr)
        printed = [*model.averages, *([model.humaneval] if model.humaneval is not None else [])]
        for line, percent in [(a.line, a.percent) for a in printed] + [
            (a.line, a.percent) for a in model.other_averages
        ]:
            pools.add(line, percent)
    for comparison in comparisons:
        for compared in comparison.rows:
            for column, value in enumerate(compared.cells):
                pools.add(compared.line_of(column), value)
    return pools


def _is_noted(printed: _Printed, notes: Iterable[Note]) -> bool:
    return any(
        _WHOLE_LINE.search(note.message) or re.search(rf"(?<![0-9.]){re.escape(printed.text)}(?![0-9])", note.message)
        for note in notes
    )


def _regions(lines: Lines) -> Iterator[list[tuple[int, str]]]:
    """Yield each table, as its lines, and each other line with text, alone."""
    table: list[tuple[int, str]] = []
    for place, (number, text) in enumerate(lines):
        line = split_line(text)
        if line is None:
            if text.strip("`~ \t"):
                if table:
                    yield table
                    table = []
                yield [(number, text)]
            continue
        following = next((said for _, said in lines[place + 1 : place + 3] if said.strip("`~ \t")), "")
        below = split_line(following)
        heads = columns_of(split_heading(line)[0]) is not None
        if table and (heads or (below is not None and is_rule(below.cells) and not is_rule(line.cells))):
            yield table
            table = []
        table.append((number, text))
    if table:
        yield table


def _of_prose(number: int, text: str) -> list[_Printed]:
    """Return the numbers of a line that speaks of scores; one of data, or of hundreds of letters, does not."""
    if len(text) > _LONG or text.lstrip().startswith(("{", "[{")):
        return []
    if settings_of(text) is not None:
        return []
    speaks = (
        _OF_SCORES.search(text) is not None
        or _LABELLED.match(text) is not None
        or any_suite(text) is not None
        or _names_task(text)
    )
    found = list(_numbers(number, text)) if speaks else []
    label = _LABELLED.match(text)
    value = decimal_of(label["number"]) if label is not None and not found else None
    return found if label is None or value is None else [_Printed(number, label["number"], value)]


def _names_task(text: str) -> bool:
    words = re.findall(r"[A-Za-z][\w:]{3,}", text)
    return any(suite_of_task(task_and_metric(word, "score")[0]) is not None for word in words)


def _numbers(line: int, text: str) -> Iterator[_Printed]:
    for found in _NUMBER.finditer(_CHANGE.sub(" ", text)):
        printed = found["percent"] or found["number"]
        value = decimal_of(printed) if not found["sign"] else None  # with a sign it is a change
        if value is not None:
            yield _Printed(line, printed, value)


def _of_table(region: Lines, out: set[str]) -> list[_Printed]:
    """Return the numbers in the cells of a table: no sizes, versions or changes, and none of the columns `out`."""
    printed: list[_Printed] = []
    first = split_line(region[0][1])
    assert first is not None  # a region of lines with bars
    headings = [c for c in (first.before, *first.cells, first.after) if c] if first.before else list(first.cells)
    numbered = any(score_of(heading) is not None for heading in headings)
    of_models = columns_of(split_heading(first)[0]) is None  # errors are of no interest there
    for number, text in region:
        line = split_line(text)
        if line is None or is_rule(line.cells):
            continue
        cells = ([line.before] if line.before else []) + list(line.cells) + ([line.after] if line.after else [])
        aligned = len(cells) == len(headings) and not numbered
        for place, cell in enumerate(cells):
            heading = headings[place] if aligned else ""
            score, cell = score_of(cell), _ERROR.sub(" ", cell) if of_models else cell
            if is_version_column(heading) or is_fact(heading) or heading in out or _SIZE.fullmatch(cell):
                continue
            if place + 1 < len(cells) and is_metric(cells[place + 1]):
                continue  # a version, before the metric
            if score is not None and not re.search(r"[.,%]", cell):
                other = not of_models and heading and not is_heading(heading) and not _COUNTS.fullmatch(heading.strip())
                if heading and (is_metric(heading) or (other and re.search(r"[^\W\d_]", heading))):
                    printed.append(_Printed(number, cell, score.value))
            elif score is not None or not re.search(r"[^\W\d_]{2}", cell):
                printed += _numbers(number, cell)
            elif re.search(r"(?:average|avg|mean|平均)\W", cell, re.IGNORECASE):
                printed += _numbers(number, cell)  # glued to the row
    return printed
