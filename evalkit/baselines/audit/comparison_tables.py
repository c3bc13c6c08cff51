"""Checks of a comparison table: headings, totals, averages, changes, and agreement with the file's own tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import combinations

from evalkit.baselines.audit.checks import Agreement, Finding, as_decimal, classify, places_of
from evalkit.baselines.published import Comparison, ComparisonRow
from evalkit.baselines.reading.units import SHARE, UNCLEAR, names_no_model, says_only_numbers, units_of
from evalkit.suites import load_suites
from evalkit.task_names import (
    any_suite,
    bare,
    has_other_scale,
    is_benchmark,
    names_other_benchmark,
    suite_of_task,
    task_and_metric,
    task_and_shots,
)

_CHANGE = re.compile(r"^\W*(?:change|changes|Δ|delta|diff(?:erence)?|gain|improvement|变化|提升)", re.IGNORECASE)


@dataclass
class _Cell:
    """A cell while the table is checked: what is printed and what it should be, not rounded."""

    printed: Decimal
    should: Fraction


class _Grid:
    """The numbers of a comparison table by row and column."""

    def __init__(self, table: Comparison) -> None:
        self.table = table
        width = max((len(row.cells) for row in table.rows), default=0)
        self.headings = [*table.headings, *("" for _ in range(width - len(table.headings)))]
        self.changes = [i for i, heading in enumerate(self.headings) if _CHANGE.match(heading)]
        self.models = [
            i for i in range(width) if i not in self.changes and not names_no_model(self.headings[i], self.headings)
        ]
        self.cells: dict[tuple[int, int], _Cell] = {}
        for r, row in enumerate(table.rows):
            for c, number in enumerate(row.cells):
                if number is not None:
                    self.cells[r, c] = _Cell(number, Fraction(number))
        # A cell printed as 42.3 among cells of two places is 42.30 with its last zero lost.
        places = max((places_of(cell.printed) for cell in self.cells.values()), default=0)
        self.slack = Fraction(1, 2 * 10**places)
        self.units = units_of(table)

    def unclear(self, column: int, rows: list[int]) -> bool:
        """Tell whether some of a model's scores have another unit than the rest, or one that nobody knows."""
        found = {self.units[r, column] for r in rows if (r, column) in self.units and self.cells[r, column].printed}
        return UNCLEAR in found or len(found) > 1

    def percent(self, r: int, column: int) -> Fraction:
        """Return a score in per cent."""
        return Fraction(self.cells[r, column].printed) * (100 if self.units.get((r, column)) == SHARE else 1)

    def label(self, column: int) -> str:
        heading = self.headings[column] if column < len(self.headings) else ""
        kind = "row" if self.table.on_its_side else "column"
        return f"{kind} {column + 1} ({heading})" if heading else f"{kind} {column + 1}"


def check_comparison(table: Comparison, sections: Mapping[str, Decimal]) -> list[Finding]:
    """Return the findings about a comparison table.

    Args:
        table: the table.
        sections: suite -> score in per cent that the same file prints elsewhere for its one model; may be empty.
    """
    grid = _Grid(table)
    return [
        *_headings(grid),
        *_body_rules(table),
        *_unclear_units(grid),
        *_sections(grid, sections),
        *_totals(grid),
        *_changes(grid),
    ]


def _headings(grid: _Grid) -> Iterable[Finding]:
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


def _apart(grid: _Grid, first: int, second: int) -> bool:
    """Tell whether a row of no model stands between two models' rows, empty or a label alone: each is of a group."""
    if not grid.table.on_its_side or not grid.table.rows:
        return False
    row = grid.table.rows[0]
    printed = {row.line_of(column) for column in range(len(grid.headings))}
    return any(line not in printed for line in range(row.line_of(first), row.line_of(second)))


def _unclear_units(grid: _Grid) -> Iterable[Finding]:
    for (r, column), unit in grid.units.items():
        if unit == UNCLEAR:
            row = grid.table.rows[r]
            reason = "a share or per cent? the numbers beside it are per cent"
            what, printed = f"{row.label} of {grid.label(column)}", str(grid.cells[r, column].printed)
            yield Finding(row.line_of(column), what, printed, "", Agreement.REMARK, reason)


def _body_rules(table: Comparison) -> Iterable[Finding]:
    if table.body_rules:
        lines = ", ".join(map(str, table.body_rules))
        reason = f"rows of dashes inside the body are shown as text by most renderers (lines {lines})"
        yield Finding(table.body_rules[0], "layout", "", "", Agreement.REMARK, reason)


def _sections(grid: _Grid, sections: Mapping[str, Decimal]) -> Iterable[Finding]:
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
            _as_printed(Fraction(score) / scale, cell.printed),
            verdict,
            reason,
        )
        if verdict is Agreement.INCONSISTENT and agrees:
            cell.should = Fraction(score) / scale


_NO_SCORE = re.compile(
    r"^\W*(?:#|rank|size|param|type|license|date|token|epoch|link|url|context|precision|dtype|version|排名|参数|备注)",
    re.IGNORECASE,
)


def _on_other_scale(grid: _Grid, r: int) -> bool:
    """Tell whether a row's numbers cannot count like the scores beside them: MT-Bench, a speed, a number of tokens."""
    row = grid.table.rows[r]
    if row.role in ("average", "total") or is_benchmark(row.label):
        return False
    most = 1 if SHARE in grid.units.values() else 100
    return has_other_scale(row.label) or any(cell is not None and not 0 <= cell <= most for cell in row.cells)


def _parts(grid: _Grid) -> list[int]:
    """Return the rows of which the table's averages are made.

    Those are the suites, if the table has two of them, or all rows that hold scores. A leaderboard may leave one or two
    out of its average; that is believed only if most averages of the table say so.
    """
    rows = grid.table.rows
    in_total = {suite.name for suite in load_suites().values() if suite.in_total}
    suites = [r for r, row in enumerate(rows) if row.role in in_total]
    scores = [
        r
        for r, row in enumerate(rows)
        if row.role not in ("total", "average")
        and not _NO_SCORE.match(row.label)
        and not _on_other_scale(grid, r)
        and any(c is not None for c in row.cells)
    ]
    ways = [suites] if len(suites) >= 2 else []
    ways += [scores] if scores != suites else []
    # "Coding average" among the scores may be an average of some of them, and then no part of the table's own.
    alone = [r for r in scores if not re.search(r"average|avg|mean|平均|total", rows[r].label, re.IGNORECASE)]
    ways += [alone] if len(alone) > 1 and alone not in ways else []
    # Beside benchmarks that are known, a column may be a setting (a sparsity, a learning rate) and no score.
    benchmarks = [r for r in scores if is_benchmark(rows[r].label)]
    ways += [benchmarks] if len(benchmarks) > 1 and benchmarks not in ways else []
    first = len(ways)
    count = sum(row.role == "average" for row in rows) * len(grid.models)
    if count >= 2 and 4 <= len(scores) <= 12:
        ways += [[r for r in scores if r not in out] for n in (1, 2) for out in combinations(scores, n)]

    def fitting(parts: list[int]) -> int:
        fits = 0
        for r, row in enumerate(rows):
            for column in grid.models if row.role in ("average", "total") else ():
                cells = [grid.cells.get((part, column)) for part in parts]
                known = [cell.should for cell in cells if cell is not None]
                printed = grid.cells.get((r, column))
                if printed is None or len(known) < len(parts) or not known:
                    continue
                divisor = len(known) if row.role == "average" else 1
                exact = sum(known, Fraction(0)) / divisor
                verdict = classify(printed.printed, exact, grid.slack * len(known) / divisor)
                fits += verdict is not Agreement.INCONSISTENT
        return fits

    if not ways:
        return scores
    best = max(ways[:first], key=fitting)
    others = max(ways[first:], key=fitting, default=best)
    return others if 2 * fitting(others) > count and fitting(others) > fitting(best) + 1 else best


def _fits_mean(grid: _Grid, chosen: list[int]) -> list[bool]:
    """Return for each average or total, where all its parts are there, whether it is their plain mean or their sum."""
    found = []
    for r, row in enumerate(grid.table.rows):
        for column in grid.models if row.role in ("average", "total") else ():
            cell = grid.cells.get((r, column))
            parts = [p.should for c in chosen if (p := grid.cells.get((c, column))) is not None]
            if cell is not None and len(parts) == len(chosen) > 1:
                exact = sum(parts, Fraction(0)) / (len(parts) if row.role == "average" else 1)
                found.append(classify(cell.printed, exact, grid.slack) is not Agreement.INCONSISTENT)
    return found


def _as_printed(exact: Fraction, printed: Decimal) -> str:
    """Return what a number should be, with at least as many places as are printed: 0.6303 is not 0.63."""
    return str(as_decimal(exact, max(2, places_of(printed))))


_WEIGHTED = re.compile(
    r"(?<!un)(?<!un-)weighted|\bmicro|geo(?:metric|\W*mean)|harmonic|median|trimmed|norm(?:ali[sz]ed)|加权|几何|中位",
    re.IGNORECASE,
)


_COUNTED = re.compile(
    r"([0-9]{1,3})\s*(?:sub)?(?:tasks|benchmarks|benches|data\s*sets|subjects|suites|sets|evals|tests|domains|个)|\(([0-9]{1,3})\)|of\s+([0-9]{1,3})\W*$",
    re.IGNORECASE,
)


def _said_count(row: ComparisonRow) -> int | None:
    """Return of how many scores an average is, as its label says; None if it does not say."""
    found = _COUNTED.search(row.label)
    return int(next(filter(None, found.groups()))) if found is not None else None


def _doubt_by_label(row: ComparisonRow, scores: int) -> str:
    """Say why an average's own label allows another number than the plain mean of the `scores` beside it; else ""."""
    if re.fullmatch(r"\W*(?:overall|all(?:\s+\w+)?)\W*", row.label, re.IGNORECASE):
        return f"'{row.label}' does not say that it is a plain mean"
    if row.role == "average" and _said_count(row) not in (None, scores):
        return f"'{row.label}' says that it is of another number of scores than the {scores} that stand here"
    return ""


_DOCUMENTS = re.compile(
    r"\W*(?:n|#|num(?:ber)?|counts?|sizes?|samples?|documents?|docs|questions?|examples?|items|instances?|题数|数量|样本数)\W*"
    r"(?:of\W*)?(?:samples?|documents?|docs|questions?|examples?|items|instances?)?\W*",
    re.IGNORECASE,
)


def _by_documents(grid: _Grid, chosen: list[int], column: int) -> Fraction | None:
    """Return the mean of scores weighted by the documents that the table prints beside them; None if it prints none."""
    for i, heading in enumerate(grid.headings):
        if i == column or grid.table.on_its_side or not _DOCUMENTS.fullmatch(heading):
            continue
        pairs = [(grid.cells.get((r, i)), grid.cells.get((r, column))) for r in chosen]
        known = [(n.printed, cell.should) for n, cell in pairs if n is not None and cell is not None]
        if len(known) == len(chosen) and all(n > 0 and n == int(n) for n, _ in known):
            return sum((Fraction(n) * score for n, score in known), Fraction(0)) / sum(int(n) for n, _ in known)
    return None


def _doubt(grid: _Grid, chosen: list[int], *, suites: bool) -> str:
    """Say why an average that is not the plain mean of the scores beside it may be right all the same; else empty.

    Averages over suites or benchmarks are plain means. Those over subjects or domains are usually weighted by
    questions, and where most averages of a table differ from the plain mean it is the rule that is another one.
    """
    if suites:
        return ""
    fits = _fits_mean(grid, chosen)
    weighted = [row.label for row in grid.table.rows if row.role == "average" and _WEIGHTED.search(row.label)]
    if weighted:
        return f"'{weighted[0]}' says that it is no plain mean"
    strange = [grid.table.rows[r].label for r in chosen if not is_benchmark(grid.table.rows[r].label)]
    if 1 < len(strange) < len(chosen) and 2 * sum(fits) <= len(fits):
        return f"nobody knows which of '{strange[0]}', '{strange[1]}'... count"
    if len(fits) > 2 and 2 * sum(fits) <= len(fits):
        return f"only {sum(fits)} of the table's {len(fits)} averages are plain means of these: weighted, or of others"
    labels = [grid.table.rows[r].label for r in chosen]
    known = sum(names_other_benchmark(text) or any_suite(text) is not None or _is_task(text) for text in labels)
    if 2 * known < len(labels) and 2 * sum(fits) <= len(fits):
        return "these are no benchmarks that are known to count alike: weighted, or of others"
    return ""


def _is_task(label: str) -> bool:
    return suite_of_task(task_and_metric(task_and_shots(label)[0], "")[0]) is not None


def _totals(grid: _Grid) -> Iterable[Finding]:
    rows = grid.table.rows
    chosen = _parts(grid)
    suites = all(rows[r].role in load_suites() for r in chosen)
    kind = "suites" if suites else "scores"
    doubt = _doubt(grid, chosen, suites=suites)
    if not doubt and not suites and any(_on_other_scale(grid, r) for r in range(len(rows))):
        doubt = "scores on another scale stand beside these, and nothing says how they count"
    for column in grid.models:
        parts = [cell for r in chosen if (cell := grid.cells.get((r, column))) is not None]
        for r, row in enumerate(rows):
            cell = grid.cells.get((r, column))
            if row.role not in ("total", "average") or cell is None:
                continue
            what = f"{row.label} of {grid.label(column)}"
            line = row.line_of(column)
            if len(parts) < 2 or len(parts) < len(chosen):
                reason = f"not every one of its {kind} has a number"
                yield Finding(line, what, str(cell.printed), "", Agreement.UNCHECKED, reason)
                continue
            if grid.unclear(column, chosen):
                reason = f"some of the {kind} may be shares and others per cent"
                yield Finding(line, what, str(cell.printed), "", Agreement.UNCHECKED, reason)
                continue
            divisor = len(parts) if row.role == "average" else 1
            exact = sum((part.should for part in parts), Fraction(0)) / divisor
            # An average in per cent of scores that are shares, with or without its sign.
            shares = any(grid.units.get((r, column)) == SHARE for r in chosen)
            most = 1 if row.role == "average" else len(parts)
            scale = Fraction(100 if shares and cell.printed > most else 1)
            if not shares and cell.printed <= most < exact:
                scale = Fraction(1, 100)  # scores in per cent, and below them what they are as shares
            exact *= scale
            verdict = classify(cell.printed, exact, scale * grid.slack * len(parts) / divisor)
            reason = ""
            if verdict is not Agreement.EXACT:
                reason = f"the {len(parts)} {kind} add up to {as_decimal(exact * divisor)}"
                reason += f", divided by {divisor} {as_decimal(exact, 4)}" if divisor > 1 else ""
            weighted = _by_documents(grid, chosen, column) if row.role == "average" else None
            if verdict is Agreement.INCONSISTENT and weighted is not None:
                by_documents = classify(cell.printed, weighted * scale, scale * grid.slack)
                if by_documents is not Agreement.INCONSISTENT:
                    verdict, exact = by_documents, weighted * scale
                    reason = f"weighted by the documents beside the scores {as_decimal(exact, 4)}"
            why = _doubt_by_label(row, len(parts)) or doubt
            if verdict is Agreement.INCONSISTENT and why:
                verdict, reason = Agreement.UNCHECKED, f"{reason}; {why}"
            if verdict is Agreement.INCONSISTENT:
                cell.should = exact
            yield Finding(line, what, str(cell.printed), _as_printed(exact, cell.printed), verdict, reason)


def _pairs(grid: _Grid, column: int) -> list[tuple[int, int]]:
    """Return (model, reference) columns that a change column may subtract, the likeliest first."""
    name = re.split(r"/|\bvs\.?\b|\bover\b|\bfrom\b|\bto\b", _CHANGE.sub("", grid.headings[column]))[-1]
    wanted = bare(name)

    def likeness(reference: int) -> int:
        heading = bare(grid.headings[reference])
        return 2 if wanted and heading.startswith(wanted) else 1 if wanted and wanted in heading else 0

    pairs = [(m, r) for m in reversed(grid.models) for r in grid.models if m != r]
    if any(likeness(r) for _, r in pairs):
        pairs = [pair for pair in pairs if likeness(pair[1])]
    return pairs


def _changes(grid: _Grid) -> Iterable[Finding]:
    rows = grid.table.rows
    slack = 2 * grid.slack
    # A number of layers beside the scores has no change that anybody claims.
    parts = _parts(grid) if grid.changes else []
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


def _fits(grid: _Grid, r: int, column: int, pair: tuple[int, int], slack: Fraction) -> bool:
    cell, model, reference = (grid.cells.get((r, c)) for c in (column, *pair))
    if cell is None or model is None or reference is None:
        return False
    exact = Fraction(model.printed) - Fraction(reference.printed)
    return classify(cell.printed, exact, slack) is not Agreement.INCONSISTENT


def _change(
    grid: _Grid, r: int, row: ComparisonRow, column: int, pair: tuple[int, int], slack: Fraction
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
