"""Totals and averages of a comparison table: of which rows they are, and whether those give them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from itertools import combinations

from evalkit.baselines.audit.checks import Agreement, Finding, as_decimal, classify
from evalkit.baselines.audit.grid import Grid, as_printed
from evalkit.baselines.published import ComparisonRow
from evalkit.baselines.reading.units import SHARE
from evalkit.config.suites import load_suites
from evalkit.results.task_names import (
    any_suite,
    has_other_scale,
    is_benchmark,
    names_other_benchmark,
    suite_of_task,
    task_and_metric,
    task_and_shots,
)

_NO_SCORE = re.compile(
    r"^\W*(?:#|rank|size|param|type|license|date|token|epoch|link|url|context|precision|dtype|version|排名|参数|备注)",
    re.IGNORECASE,
)


def _on_other_scale(grid: Grid, r: int) -> bool:
    """Tell whether a row's numbers cannot count like the scores beside them: MT-Bench, a speed, a number of tokens."""
    row = grid.table.rows[r]
    if row.role in ("average", "total") or is_benchmark(row.label):
        return False
    most = 1 if SHARE in grid.units.values() else 100
    return has_other_scale(row.label) or any(cell is not None and not 0 <= cell <= most for cell in row.cells)


def parts_of(grid: Grid) -> list[int]:
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


def _fits_mean(grid: Grid, chosen: list[int]) -> list[bool]:
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


def _by_documents(grid: Grid, chosen: list[int], column: int) -> Fraction | None:
    """Return the mean of scores weighted by the documents that the table prints beside them; None if it prints none."""
    for i, heading in enumerate(grid.headings):
        if i == column or grid.table.on_its_side or not _DOCUMENTS.fullmatch(heading):
            continue
        pairs = [(grid.cells.get((r, i)), grid.cells.get((r, column))) for r in chosen]
        known = [(n.printed, cell.should) for n, cell in pairs if n is not None and cell is not None]
        if len(known) == len(chosen) and all(n > 0 and n == int(n) for n, _ in known):
            return sum((Fraction(n) * score for n, score in known), Fraction(0)) / sum(int(n) for n, _ in known)
    return None


def _doubt(grid: Grid, chosen: list[int], *, suites: bool) -> str:
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


def check_totals(grid: Grid) -> Iterable[Finding]:
    """Yield what is to be said of each total and each average."""
    rows = grid.table.rows
    chosen = parts_of(grid)
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
            yield Finding(line, what, str(cell.printed), as_printed(exact, cell.printed), verdict, reason)
