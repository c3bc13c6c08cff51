"""Checks of a comparison table: headings, totals, averages, changes, and agreement with the file's own tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction

from evalkit.baselines.audit.checks import Agreement, Finding, as_decimal, classify, places_of
from evalkit.baselines.audit.grid import CHANGE, Grid, as_printed
from evalkit.baselines.audit.table_averages import check_totals, parts_of
from evalkit.baselines.published import ComparisonRow, ComparisonTable
from evalkit.baselines.reading.units import SHARE, UNCLEAR, says_only_numbers
from evalkit.config.suites import load_suites
from evalkit.results.task_names import (
    bare,
    has_other_scale,
    is_benchmark,
)


def check_comparison(table: ComparisonTable, sections: Mapping[str, Decimal]) -> list[Finding]:
    """Return the findings about a comparison table.

    Args:
        table: the table.
        sections: suite -> score in per cent that the same file prints elsewhere for its one model; may be empty.
    """
    grid = Grid(table)
    return [
        *_headings(grid),
        *_body_rules(table),
        *_unclear_units(grid),
        *_sections(grid, sections),
        *check_totals(grid),
        *_changes(grid),
    ]


def _headings(grid: Grid) -> Iterable[Finding]:
    seen: dict[str, int] = {}
    for column, heading in enumerate(grid.headings):
        key = " ".join(heading.strip("*_` ").split())
        if not bare(heading) or says_only_numbers(key) or (column not in grid.models and column not in grid.changes):
            continue
        first = seen.setdefault(key, column)
        if first == column:
            continue
        rows = range(len(grid.table.rows))
        same = all(grid.cells.get((r, first)) == grid.cells.get((r, column)) for r in rows)
        if _apart(grid, first, column) and not same:
            continue
        line, what, places = (
            grid.table.line,
            "column heading",
            f"columns {first + 1} and {column + 1} have the same heading",
        )
        if grid.table.on_its_side and grid.table.rows:
            line = grid.table.rows[0].line_of(column)
            what, places = (
                "name",
                f"the rows of lines {grid.table.rows[0].line_of(first)} and {line} have the same name",
            )
        reason = places + (" and the same numbers" if same else " but other numbers")
        verdict = Agreement.REMARK if same else Agreement.INCONSISTENT
        yield Finding(line, what, heading, "", verdict, reason)


def _apart(grid: Grid, first: int, second: int) -> bool:
    """Tell whether a row of no model stands between two models' rows, empty or a label alone: each is of a group."""
    if not grid.table.on_its_side or not grid.table.rows:
        return False
    row = grid.table.rows[0]
    printed = {row.line_of(column) for column in range(len(grid.headings))}
    return any(line not in printed for line in range(row.line_of(first), row.line_of(second)))


def _unclear_units(grid: Grid) -> Iterable[Finding]:
    for (r, column), unit in grid.units.items():
        if unit == UNCLEAR:
            row = grid.table.rows[r]
            reason = "a share or per cent? the numbers beside it are per cent"
            what, printed = f"{row.label} of {grid.label(column)}", str(grid.cells[r, column].printed)
            yield Finding(row.line_of(column), what, printed, "", Agreement.REMARK, reason)


def _body_rules(table: ComparisonTable) -> Iterable[Finding]:
    if table.body_rules:
        lines = ", ".join(map(str, table.body_rules))
        reason = f"rows of dashes inside the body are shown as text by most renderers (lines {lines})"
        yield Finding(table.body_rules[0], "layout", "", "", Agreement.REMARK, reason)


def _sections(grid: Grid, sections: Mapping[str, Decimal]) -> Iterable[Finding]:
    """Compare the column of the file's own model with the averages beside the per-task tables."""
    own = {r: sections[row.role] for r, row in enumerate(grid.table.rows) if row.role in sections}

    def agreeing(column: int) -> int:
        return sum((r, column) in grid.cells and grid.percent(r, column) == Fraction(score) for r, score in own.items())

    column = max(grid.models, key=agreeing, default=None)
    # The only model of a table of suites is the file's one model; else the column is found by what agrees.
    roles = {row.role for row in grid.table.rows}
    alone = len(grid.models) == 1 and len(own) > 1 and roles <= {*load_suites(), "total", "average"}
    agrees = column is not None and agreeing(column) >= 2 and 2 * agreeing(column) > len(own)
    if column is None or not (alone or agrees):
        return
    for r, score in own.items():
        cell = grid.cells.get((r, column))
        if cell is None or grid.units.get((r, column)) == UNCLEAR:
            continue
        row = grid.table.rows[r]
        scale = 100 if grid.units.get((r, column)) == SHARE else 1
        verdict = classify(cell.printed, Fraction(score) / scale, Fraction(0))
        reason = "" if verdict is Agreement.EXACT else "the per-task table of this file says otherwise"
        what = f"{row.label} of {grid.label(column)}"
        yield Finding(
            row.line_of(column),
            what,
            str(cell.printed),
            as_printed(Fraction(score) / scale, cell.printed),
            verdict,
            reason,
        )
        if verdict is Agreement.INCONSISTENT and agrees:
            cell.should = Fraction(score) / scale


def _pairs(grid: Grid, column: int) -> list[tuple[int, int]]:
    """Return (model, reference) columns that a change column may subtract, the likeliest first."""
    name = re.split(r"/|\bvs\.?\b|\bover\b|\bfrom\b|\bto\b", CHANGE.sub("", grid.headings[column]))[-1]
    wanted = bare(name)

    def likeness(reference: int) -> int:
        heading = bare(grid.headings[reference])
        return 2 if wanted and heading.startswith(wanted) else 1 if wanted and wanted in heading else 0

    pairs = [(m, r) for m in reversed(grid.models) for r in grid.models if m != r]
    if any(likeness(r) for _, r in pairs):
        pairs = [pair for pair in pairs if likeness(pair[1])]
    return pairs


def _changes(grid: Grid) -> Iterable[Finding]:
    rows = grid.table.rows
    slack = 2 * grid.slack
    # A number of layers beside the scores has no change that anybody claims.
    parts = parts_of(grid) if grid.changes else []
    facts = {
        r
        for r, row in enumerate(rows)
        if not (row.role in ("average", "total") or r in parts or is_benchmark(row.label) or has_other_scale(row.label))
    }
    for column in grid.changes:
        best: tuple[int, tuple[int, int]] | None = None
        for pair in _pairs(grid, column):
            fits = sum(_fits(grid, r, column, pair, slack) for r in range(len(rows)))
            if best is None or fits > best[0]:
                best = (fits, pair)
        if best is None or best[0] == 0:
            for r, row in enumerate(rows):
                if (cell := grid.cells.get((r, column))) is not None and r not in facts:
                    what = f"{row.label}, {grid.headings[column]}"
                    reason = "no two columns of the table differ by these numbers"
                    yield Finding(row.line_of(column), what, f"{cell.printed:+f}", "", Agreement.UNCHECKED, reason)
            continue
        for r, row in enumerate(rows):
            finding = _change(grid, r, row, column, best[1], slack) if r not in facts else None
            if finding is not None:
                yield finding


def _fits(grid: Grid, r: int, column: int, pair: tuple[int, int], slack: Fraction) -> bool:
    cell, model, reference = (grid.cells.get((r, c)) for c in (column, *pair))
    if cell is None or model is None or reference is None:
        return False
    exact = Fraction(model.printed) - Fraction(reference.printed)
    return classify(cell.printed, exact, slack) is not Agreement.INCONSISTENT


def _change(
    grid: Grid, r: int, row: ComparisonRow, column: int, pair: tuple[int, int], slack: Fraction
) -> Finding | None:
    cell, model, reference = (grid.cells.get((r, c)) for c in (column, *pair))
    if cell is None:
        return None
    what, printed = f"{row.label}, {grid.headings[column]}", f"{cell.printed:+f}"
    if model is None or reference is None:
        return Finding(row.line_of(column), what, printed, "", Agreement.UNCHECKED, "one of the two scores is missing")
    exact = model.should - reference.should
    verdict = classify(cell.printed, exact, slack)
    if UNCLEAR in (grid.units.get((r, c)) for c in pair):
        reason = "one of the two scores may be a share or per cent"
        return Finding(row.line_of(column), what, printed, "", Agreement.UNCHECKED, reason)
    reason = ""
    if verdict is not Agreement.EXACT:
        reason = f"{model.printed} - {reference.printed} = {model.printed - reference.printed:+f}"
        wrong = [c for c in (model, reference) if c.should != Fraction(c.printed)]
        if verdict is Agreement.INCONSISTENT and wrong:
            reason += "; " + ", ".join(f"{c.printed} should be {as_decimal(c.should)}" for c in wrong)
    recomputed = as_decimal(exact, max(2, places_of(cell.printed)))
    return Finding(row.line_of(column), what, printed, f"{recomputed:+f}", verdict, reason)
