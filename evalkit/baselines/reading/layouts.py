"""Which kind of table begins on a line: one of per-task scores, a row of one, or another; what tells its rows apart.

`before` are the columns of the score table that was read last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.baselines.reading.cells import score_of
from evalkit.baselines.reading.columns import Columns, Line, columns_of, is_rule, split_line
from evalkit.config.suites import load_suites
from evalkit.results.task_names import (
    comparison_role,
    is_benchmark,
    is_metric,
    names_other_benchmark,
    suite_of_task,
    task_and_metric,
    task_and_shots,
)

Lines = Sequence[tuple[int, str]]


def following_rows(lines: Lines, position: int) -> list[tuple[int, str, Line]]:
    """Return up to three table lines after `position`, skipping blank ones."""
    found = []
    for number, text in lines[position + 1 : position + 8]:
        line = split_line(text)
        if line is not None:
            found.append((number, text, line))
        elif text.strip("` \t"):
            break
    return found[:3]


def told_apart(lines: Lines, position: int, columns: Columns) -> str | None:
    """Return the column, with its values, that tells rows of a table apart by what they are of; None without one.

    A model, a language, a seed: rows that differ in it are no scores of one thing.
    """
    said: dict[int, list[str]] = {i: [] for i in columns.unknown if i != columns.documents}
    for _, text in lines[position + 1 :] if said else []:
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


def lacks_its_value(lines: Lines, position: int, columns: Columns, before: Columns | None) -> bool:
    """Tell whether what looks like the heading of a wide table is a row of a metric without its number."""
    if not columns.wide:
        return False
    task = columns.headings[columns.task]
    if task:
        return suite_of_task(task_and_metric(task_and_shots(task)[0], "")[0]) is not None
    following = following_rows(lines, position)
    ruled = bool(following) and is_rule(following[0][2].cells)
    return len(columns.wide) == 1 and before is not None and not before.wide and not ruled


def lists_suites(lines: Lines, position: int) -> bool:
    """Tell whether the labels of a table of labels and numbers are suites: then its numbers are their averages."""
    labels = []
    for _, text in lines[position + 1 :]:
        line = split_line(text)
        if line is None:
            break
        labels.append(line.before or next(iter(line.cells), ""))
    roles = [comparison_role(label) for label in labels if is_benchmark(label)]
    suites = [load_suites()[role] for role in roles if role in load_suites()]
    return len(roles) == len(suites) > 1 and any(suite.in_total and len(suite.tasks) > 1 for suite in suites)


def starts_other_table(lines: Lines, position: int, line: Line, before: Columns | None, *, inside: bool) -> bool:
    """Tell whether the line is the heading (or first row) of a table that is not one of per-task scores."""
    cells = tuple(c for c in (line.before, *line.cells, line.after) if c)
    if not cells or is_rule(cells):
        return False
    if has_two_row_head(lines, position):
        return True
    if any(is_metric(c) for c in cells):
        return _is_unknown_heading(lines, position, cells, before)
    if _fits_heading(line, before):
        return False
    if any(score_of(c) for c in cells):
        # A first row without a heading; inside a score table a suite's name would be a row that was not read.
        return comparison_role(cells[0]) != "other" and len(cells) > 2 and not inside
    following = following_rows(lines, position)
    if following and is_rule(following[0][2].cells):
        return True
    if len(cells) > 1 and sum(_benchmark_by_models(next_line) for _, _, next_line in following) > 1:
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


def has_two_row_head(lines: Lines, position: int) -> bool:
    """Tell whether a line names benchmarks, and the next line says nothing but the metrics of each."""
    head, following = split_line(lines[position][1]), following_rows(lines, position)
    if head is None or not following or not any(is_benchmark(c) for c in head.cells):
        return False
    said = [c for c in (following[0][2].before, *following[0][2].cells, following[0][2].after) if c]
    if any(score_of(c) for c in head.cells) or sum(is_metric(c) for c in said) < 2:
        return False
    return all(is_metric(c) or i == 0 for i, c in enumerate(said)) and not any(score_of(c) for c in said)


def _is_unknown_heading(lines: Lines, position: int, cells: tuple[str, ...], before: Columns | None) -> bool:
    """Tell whether a line with a metric's name heads a table, and not all of its columns are known."""
    if any(score_of(c) for c in cells) or (before is not None and len(cells) >= len(before.headings)):
        return False
    following = following_rows(lines, position)
    return bool(following) and is_rule(following[0][2].cells)


def _benchmark_by_models(line: Line) -> bool:
    """Tell whether a line is a row of a table of benchmarks by models: a name and two numbers."""
    label, *rest = [line.before, *line.cells] if line.before else [*line.cells, ""]
    numbers = sum(score_of(cell) is not None for cell in rest)
    return numbers > 1 and names_other_benchmark(label) and not any(is_metric(cell) for cell in rest)


def _fits_heading(line: Line, columns: Columns | None) -> bool:
    """Tell whether a line is a row of the heading above it: a metric's name, known or not, and a number."""
    cells = line.cells
    if columns is None or columns.metric is None or columns.value is None or len(cells) != len(columns.headings):
        return False
    metric = cells[columns.metric]
    return re.fullmatch(r"[a-zA-Z]\w*(?:,[\w-]+)?", metric) is not None and score_of(cells[columns.value]) is not None


def _is_suite(cell: str) -> bool:
    return comparison_role(cell) in load_suites()
