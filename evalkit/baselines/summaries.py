"""Tables of several models as baselines: suites by models, as mergers print them, and benchmarks by models.

They are read only where a file has nothing better: rows of tasks say more than an average of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from evalkit.baselines.names import (
    leading_suite,
    names_other_benchmark,
    shots_named,
    suite_of_task,
    task_and_metric,
    task_and_shots,
)
from evalkit.baselines.published import Comparison, ComparisonRow, ModelScores, Note, PrintedScore, Row, ScoreTable
from evalkit.suites import load_suites

_NO_MODEL = re.compile(
    r"^\W*(?:change|Δ|delta|diff|gain|improve|recover|recup|retention|relative|ratio|变化|提升|恢复|保留)",
    re.IGNORECASE,
)


_THIS = re.compile(r"\s*\((?:this model|ours|este modelo|本模型)\)\s*$", re.IGNORECASE)
_OTHER_SCALE = re.compile(r"mt[\s_-]*bench|\barena|\belo\b|wikitext|perplexity|\bppl\b", re.IGNORECASE)


def models_of_tables(tables: Iterable[Comparison]) -> tuple[list[ModelScores], list[Note]]:
    """Return what tables of several models say of each, in the order of the file, and notes of what was left out."""
    models: dict[str, ModelScores] = {}
    notes: list[Note] = []
    read: list[ModelScores] = []
    for table in tables:
        notes += [
            Note(row.line, f"'{row.label[:40]}': {why}; not read")
            for row in table.rows
            if (why := _why_not(row)) and any(cell is not None for cell in row.cells)
        ]
        columns = [i for i, heading in enumerate(table.headings) if heading.strip() and not _NO_MODEL.match(heading)]
        read += [found for column in columns if (found := _model(table, column, notes)) is not None]
    for found in sorted(read, key=lambda model: bool(model.tables)):  # what is said of suites comes first
        name = str(found.name)
        if name in models:
            text = f"{name} again, other than in the table of line {models[name].line}, which is kept"
            notes.append(Note(found.line, text))
        else:
            models[name] = found
    return sorted(models.values(), key=lambda model: model.line), notes


def _model(table: Comparison, column: int, notes: list[Note]) -> ModelScores | None:
    name = _THIS.sub("", table.headings[column].strip("*_` "))
    cells = [(row, row.cells[column]) for row in table.rows if column < len(row.cells)]
    known = [(row, value) for row, value in cells if value is not None]
    scores = [(row, value) for row, value in known if row.role not in ("average", "total")]
    if any(value > 100 or value < 0 for row, value in scores if _is_score(row)):
        line = table.rows[0].line_of(column)
        notes.append(Note(line, f"{name}: not read, a number above 100 or below 0 is no score", unread=True))
        return None
    places = 2 if all(value <= 1 for _, value in known) else 0
    plain = all(row.role in load_suites() for row, _ in scores if _is_score(row))
    suites = {row.role for row, _ in scores if row.role in load_suites() and load_suites()[row.role].in_total}
    line = table.rows[0].line_of(column)
    if plain and len(suites) > 1:
        return _of_suites(name, line, column, known, places)
    return _of_benchmarks(name, line, column, known, places)


def _why_not(row: ComparisonRow) -> str:
    """Say why a row's numbers are no shares of right answers in a benchmark; else empty."""
    if row.role in ("average", "total") or _is_score(row):
        return ""
    return "its scale is not per cent" if _OTHER_SCALE.search(row.label) else "no benchmark that is known"


def _is_score(row: ComparisonRow) -> bool:
    """Tell whether a row's label names a suite, a task or another benchmark, and so is neither a size nor a date."""
    if _OTHER_SCALE.search(row.label):
        return False
    task = task_and_metric(task_and_shots(row.label)[0], "score")[0]
    return row.role in load_suites() or suite_of_task(task) is not None or names_other_benchmark(row.label)


def _of_suites(
    name: str, line: int, column: int, known: list[tuple[ComparisonRow, Decimal]], places: int
) -> ModelScores:
    averages: dict[str, PrintedScore] = {}
    protocols: dict[str, str] = {}
    humaneval = None
    for row, value in known:
        score = PrintedScore(row.line_of(column), row.role, value.scaleb(places), row.label.lower())
        if row.role == "humaneval":
            humaneval = humaneval or score
        elif row.role in load_suites() or row.role in ("average", "total"):
            averages.setdefault(row.role, score)
        shots, some = shots_named(row.label)
        rest = (leading_suite(row.label) or ("", ""))[1]
        if row.role in load_suites() and (shots or some or re.search(r"[^\W_]", re.sub(r"\(.*?\)", "", rest))):
            protocols[row.role] = f"lm-eval-0.3, {shots}-shot" if shots else "unknown"
    return ModelScores(name, line, (), tuple(averages.values()), humaneval, None, (), protocols, None)


def _of_benchmarks(
    name: str, line: int, column: int, known: list[tuple[ComparisonRow, Decimal]], places: int
) -> ModelScores | None:
    rows = []
    for row, value in known:
        if not _is_score(row) or row.role in ("average", "total"):
            continue
        printed = re.sub(r"(?<=shot),[^)]*|(?<=shots),[^)]*", "", row.label)  # (5-shot, strict-match)
        label, shots, _ = task_and_shots(printed)
        task, metric = task_and_metric(label.strip(), "score")
        rows.append(Row(row.line_of(column), task, row.label, metric, value.scaleb(places - 2), None, shots))
    if not any(suite_of_task(row.task) for row in rows):
        return None
    has_average = any(row.role == "average" for row, _ in known)
    protocol = "open-llm-leaderboard" if has_average and any(row.shots for row in rows) else "unknown"
    table = ScoreTable(line, None, (), tuple(rows), protocol, labelled=True)
    suites = {suite for row in rows if (suite := suite_of_task(row.task)) is not None}
    return ModelScores(name, line, (table,), (), None, None, (), dict.fromkeys(suites, protocol), protocol)
