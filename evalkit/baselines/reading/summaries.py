"""Tables of several models as baselines: suites by models, as mergers print them, and benchmarks by models.

They are read only where a file has nothing better: rows of tasks say more than an average of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import combinations

from evalkit.baselines.published import ComparisonRow, ComparisonTable, ModelScores, Note, PrintedScore, Row, ScoreTable
from evalkit.baselines.reading.statements import other_than_a_suites_average
from evalkit.baselines.reading.text import MARK
from evalkit.baselines.reading.units import (
    PERCENT,
    SHARE,
    UNCLEAR,
    model_columns,
    names_no_model,
    says_only_numbers,
    units_of,
)
from evalkit.config.suites import load_suites
from evalkit.results.task_names import (
    any_suite,
    bare,
    has_other_scale,
    is_benchmark,
    is_metric,
    leading_suite,
    names_something_else,
    shots_named,
    suite_of_task,
    task_and_metric,
    task_and_shots,
    without_arrows,
)

# Which metric it is is printed too shortly to say: "(Acc.)" may be acc or acc_norm.
_METRIC = re.compile(r"\s*\(\s*(?:acc(?:uracy)?\.?|em|exact[\s_]match|f1|pass\s*@\s*1)\s*\)", re.IGNORECASE)
_THIS = re.compile(r"\s*\((?:this model|ours|este modelo|本模型)\)\s*$", re.IGNORECASE)
# How a model was made smaller or written down; which model it is then stands in the heading above the table.
_WAY = re.compile(
    r"(?:(?:opt[\s_-]*rtn|rtn|gptq|awq|gguf|exl[23]|hqq|nf4|bnb|mxfp[0-9]|nvfp[0-9]|mxint[0-9]"
    r"|mx[\s_-]*fp[0-9]|nv[\s_-]*fp[0-9]|b?fp?(?:4|8|16|32)|bf16|int[\s_-]*[2348]|fp8\w*|w[0-9]+(?:a[0-9]+)?(?:g[0-9]+)?"
    r"|i?q[0-9]\w*|[0-9](?:\.[0-9]+)?[\s-]*bits?|tuning|tuned|alg_ext|autoround|auto-round|sym|asym)[\s_,()+/-]*)+",
    re.IGNORECASE,
)
_NO_NAME = re.compile(
    r"^[0-9]+[.)]\s+|\s*[-–—:|]*\s*(?:evaluation|benchmark|accuracy|eval|评测|评估|测试)?\s*(?:results?|scores?|evaluation|结果|得分)\s*$",
    re.IGNORECASE,
)


def models_of_tables(tables: Iterable[ComparisonTable]) -> tuple[list[ModelScores], list[Note]]:
    """Return what tables of several models say of each, in the order of the file, and notes of what was left out."""
    models: dict[str, ModelScores] = {}
    notes: list[Note] = []
    read: list[tuple[ComparisonTable, ModelScores]] = []
    for table in tables:
        notes += _left_out(table)
        units = units_of(table)
        found = [_model(table, column, units, notes) for column in model_columns(table)]
        read += [(table, model) for model in found if model is not None]
    named = _named_by_headings(read)
    for model in sorted(named, key=lambda known: bool(known.tables)):  # what is said of suites comes first
        name = model.name or ""
        if name in models:
            models[name], note = _again(models[name], model)
            notes.append(note)
        else:
            models[name] = model
    return sorted(models.values(), key=lambda model: model.line), notes


def _again(known: ModelScores, model: ModelScores) -> tuple[ModelScores, Note]:
    """Return a model of which a second table speaks, with what that says of other suites, and a note about it."""
    name, first, second = model.name or "the model", _numbers(known), _numbers(model)
    if any(first[key] != second[key] for key in first.keys() & second.keys()):
        text = f"{name} again, other than on line {known.line}, which is kept"
        return known, Note(model.line, text, unread=True, numbers=tuple(second.values()))
    shared = _suites(known) & _suites(model)
    otherwise = {suite for suite in shared if known.protocols.get(suite) != model.protocols.get(suite)}
    if second.keys() <= first.keys() and not otherwise:
        text = f"{name} again, as on line {known.line}, which is kept"
        return known, Note(model.line, text, numbers=tuple(second.values()))
    if shared:
        titles = ", ".join(suite.title for key, suite in load_suites().items() if key in shared)
        text = f"{name} again: {titles} measured otherwise, or with more rows, than on line {known.line}, which is kept"
        return known, Note(model.line, text, unread=True, numbers=tuple(second.values()))
    merged = replace(
        known,
        tables=(*known.tables, *model.tables),
        averages=(*known.averages, *(average for average in model.averages if (str(average.suite), "") not in first)),
        humaneval=known.humaneval or model.humaneval,
        protocols={**model.protocols, **known.protocols},
        protocol=known.protocol if known.protocol is not None else model.protocol,
    )
    return merged, Note(model.line, f"{name} again: other scores than on line {known.line}, read as the same model's")


def _suites(model: ModelScores) -> set[str]:
    """Return the suites that anything is said of."""
    found = {str(average.suite) for average in model.averages} & load_suites().keys()
    found |= {suite for table in model.tables for row in table.rows if (suite := suite_of_task(row.task)) is not None}
    return found | ({"humaneval"} if model.humaneval is not None else set())


def _left_out(table: ComparisonTable) -> list[Note]:
    """Return notes of the rows and columns of which nothing is read."""
    notes = [
        Note(row.line, f"'{row.label[:40]}': {why}; not read", numbers=_of_row(row))
        for row in table.rows
        if (why := _why_not(row)) and any(cell is not None for cell in row.cells)
    ]
    if not _is_of_suites(table):
        averages = [
            row for row in table.rows if row.role in ("average", "total") and any(c is not None for c in row.cells)
        ]
        notes += [
            Note(r.line, f"'{r.label[:40]}': average of benchmarks, not kept", numbers=_of_row(r)) for r in averages
        ]
    seen: dict[str, ComparisonRow] = {}
    for row in table.rows if _is_of_suites(table) else ():
        if row.role not in load_suites() or not any(cell is not None for cell in row.cells):
            continue
        other = other_than_a_suites_average(row.label, row.role)
        where = row.line_of(0) if table.on_its_side else row.line
        if other is not None:
            text = f"'{row.label[:40]}': '{other}' says that it is not the average of {load_suites()[row.role].title}"
            notes.append(Note(where, f"{text}; not read", unread=True, numbers=_of_row(row)))
        elif seen.setdefault(row.role, row) is not row:
            text = f"'{row.label[:40]}': {load_suites()[row.role].title} again, the first is kept"
            notes.append(Note(where, f"{text}; not read", unread=True, numbers=_of_row(row)))
    for column, heading in enumerate(table.headings):
        numbers = [row for row in table.rows if is_benchmark(row.label) and row.cells[column : column + 1] != (None,)]
        numbers = [row for row in numbers if column < len(row.cells)]
        if not numbers:
            continue
        line = numbers[0].line_of(column)
        values = tuple(v for row in table.rows for v in row.cells[column : column + 1] if v is not None)
        if not heading.strip():
            text = f"{'row' if table.on_its_side else 'column'} without a model's name; not read"
            notes.append(Note(line, text, unread=True, numbers=values))
        elif names_no_model(heading, table.headings):
            why = "struck out" if "~~" in heading else "no model"
            notes.append(Note(line, f"'{heading[:40]}': {why}; not imported", numbers=values))
    return notes


def _of_row(row: ComparisonRow) -> tuple[Decimal, ...]:
    return tuple(value for value in row.cells if value is not None)


_PICTURES = re.compile(r"(?:\s*[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])+$")
"""Pictures behind a name: a link to its log, a medal."""


def _named_by_headings(read: list[tuple[ComparisonTable, ModelScores]]) -> list[ModelScores]:
    """Return the models, named with the heading above their table where their own name does not tell them apart.

    That is so where tables below different headings have a model's name in common, and where the name only says how the
    model was made smaller (``BF16``, ``Q4_K_M``).
    """
    shared: set[str] = set()
    for (left, a), (right, b) in combinations(read, 2):
        if a.name != b.name or left.above == right.above or not (_may_name(left.above) and _may_name(right.above)):
            continue
        first, second = _numbers(a), _numbers(b)
        if any(first[key] != second[key] for key in first.keys() & second.keys()):
            shared |= {left.above, right.above}
    named = []
    for table, model in read:
        above = _NO_NAME.sub("", table.above).strip(" *_`:#") if table.above else ""
        name = model.name or ""
        wanted = table.above in shared or not name or _WAY.fullmatch(name) is not None
        if above and wanted and _may_name(above) and (not name or bare(above) not in bare(name)):
            model = replace(model, name=f"{above} {name}".strip())
        named.append(replace(model, name=model.name or None))
    return named


def _may_name(heading: str) -> bool:
    """Tell whether a heading may name a model: one that names a benchmark says what was measured."""
    return not names_something_else(heading, None) and any_suite(heading) is None


def _numbers(model: ModelScores) -> dict[tuple[str, str], Decimal]:
    rows = {(row.task, row.metric): row.value for table in model.tables for row in table.rows}
    humaneval = {("humaneval", ""): model.humaneval.percent} if model.humaneval is not None else {}
    return rows | {(str(average.suite), ""): average.percent for average in model.averages} | humaneval


def _model(
    table: ComparisonTable, column: int, units: Mapping[tuple[int, int], str], notes: list[Note]
) -> ModelScores | None:
    name = _THIS.sub("", table.headings[column].strip("*_` "))
    name = re.sub(r"\s*[(\[]\s*%\s*[)\]]$", "", _PICTURES.sub("", name)) or name
    unmarked = name.replace(MARK, "").strip()
    if sum(bare(heading) == bare(unmarked) for heading in table.headings) == 1:
        name = unmarked  # a footnote's mark is no part of a name, unless it tells two apart
    name = "" if says_only_numbers(name) else name
    line = table.rows[0].line_of(column)
    places = [(r, row) for r, row in enumerate(table.rows) if column < len(row.cells) and row.cells[column] is not None]
    scores = [(row, value) for r, row in places if (r, column) in units and (value := row.cells[column]) is not None]
    if any(value > 100 or value < 0 for _, value in scores):
        notes.append(Note(line, f"{name}: not read, a number above 100 or below 0 is no score", unread=True))
        return None
    own = {units[r, column] for r, _ in places if (r, column) in units}
    known: list[tuple[ComparisonRow, Decimal]] = []  # in per cent
    for r, row in places:
        value = row.cells[column]
        assert value is not None  # see places
        unit = units.get((r, column))
        if row.role in ("average", "total"):
            signed = column < len(row.percent) and row.percent[column]
            whole = value > 1 or not value or signed or "%" in row.label
            # An average of shares has their unit; a total of them may be above 1 and is no share of anything.
            unit = SHARE if own == {SHARE} and (value <= 1 or row.role == "total") and not signed else UNCLEAR
            unit = PERCENT if unit != SHARE and whole else unit
        if unit == UNCLEAR:
            text = (
                f"{name}, {row.label[:40]}: {value}: a share or per cent? the numbers beside it are per cent; not read"
            )
            notes.append(Note(row.line_of(column), text, unread=True))
        elif unit is not None:
            known.append((row, _percent(value) if unit == SHARE else value))
        elif is_benchmark(row.label):
            text = f"{name}, {row.label[:40]}: {value:+}: a change, no score; not read"
            notes.append(Note(row.line_of(column), text, unread=True))
    if _is_of_suites(table):
        others = [row for row in table.rows if is_benchmark(row.label) and row.role not in load_suites()]
        found = _of_suites(name, line, column, known, others)
        suites = [average for average in found.averages if average.suite in load_suites()]
        return found if suites or found.humaneval is not None else None
    return _of_benchmarks(name, line, column, known)


def _is_of_suites(table: ComparisonTable) -> bool:
    """Tell whether the suites' names in a table are those of suites, and not of the tasks that are called so."""
    roles = [row.role for row in table.rows if is_benchmark(row.label)]
    in_total = {role for role in roles if role in load_suites() and load_suites()[role].in_total}
    # GPT4All is the name of no single benchmark.
    return len(in_total) > 1 and ("gpt4all" in in_total or all(role in load_suites() for role in roles))


def _percent(share: Decimal) -> Decimal:
    value = share.scaleb(2)
    return value if value.as_tuple().exponent <= 0 else Decimal(int(value))  # type: ignore[operator]  # a number's


def _why_not(row: ComparisonRow) -> str:
    """Say why a row's numbers are no shares of right answers in a benchmark; else empty."""
    if row.role in ("average", "total") or is_benchmark(row.label):
        return ""
    return "its scale is not per cent" if has_other_scale(row.label) else "no benchmark that is known"


def _of_suites(
    name: str, line: int, column: int, known: list[tuple[ComparisonRow, Decimal]], others: list[ComparisonRow]
) -> ModelScores:
    """Return a model of a table of suites; `others` are benchmarks beside them, of which nothing says how they ran."""
    averages: dict[str, PrintedScore] = {}
    doubts: dict[str, Note] = {}
    protocols: dict[str, str] = {}
    humaneval = None
    for row, value in known:
        score = PrintedScore(row.line_of(column), row.role, value, row.label.lower())
        if row.role in load_suites() and (
            other_than_a_suites_average(row.label, row.role) is not None or row.role in averages
        ):
            continue  # noted by `_left_out`
        if row.role == "humaneval":
            humaneval = humaneval or score
        elif row.role in load_suites() or row.role in ("average", "total"):
            averages.setdefault(row.role, score)
        shots, some = shots_named(row.label)
        rest = (leading_suite(row.label) or ("", ""))[1]
        if row.role in load_suites() and (shots or some or re.search(r"[^\W_]", re.sub(r"\(.*?\)", "", rest))):
            protocols[row.role] = f"lm-eval-0.3, {shots}-shot" if shots else "unknown"
            doubts[row.role] = Note(row.line, f"'{row.label[:40]}' says more than the suite's name")
        if row.role in load_suites() and others:
            protocols.setdefault(row.role, "unknown")
            doubts[row.role] = Note(row.line, f"'{others[0].label[:40]}' stands beside it, which is of no suite")
    beside = _of_benchmarks(name, line, column, [(row, value) for row, value in known if row in others], alone=False)
    tables = beside.tables if beside is not None else ()
    protocol = "unknown" if tables else None
    return ModelScores(
        name, line, tables, tuple(averages.values()), humaneval, None, (), protocols, protocol, doubts=doubts
    )


def _of_benchmarks(
    name: str, line: int, column: int, known: list[tuple[ComparisonRow, Decimal]], *, alone: bool = True
) -> ModelScores | None:
    """Return a model of a table of benchmarks; None if none is known and they stand `alone`."""
    rows = []
    for row, value in known:
        if row.role in ("average", "total"):
            continue
        printed = re.sub(r"(?<=shot),[^)]*|(?<=shots),[^)]*", "", without_arrows(row.label))  # (5-shot, strict-match)
        label, shots, _ = task_and_shots(printed)
        label = re.sub(r"\(\s*\)", "", _METRIC.sub("", label).replace("%", "")).strip()
        words = label.rsplit(None, 1)
        named = words[1].strip("()[]") if len(words) == 2 else ""
        task, metric = task_and_metric(label, "score")
        if suite_of_task(task) is None and is_metric(named):  # "ARC acc_norm"
            task, metric = task_and_metric(words[0], named)
        rows.append(Row(row.line_of(column), task, row.label, metric, value.scaleb(-2), None, shots))
    if not rows or (alone and not any(suite_of_task(row.task) for row in rows)):
        return None
    has_average = any(row.role == "average" for row, _ in known)
    protocol = "open-llm-leaderboard" if has_average and any(row.shots for row in rows) else "unknown"
    table = ScoreTable(line, None, (), tuple(rows), protocol, labelled=True)
    suites = {suite for row in rows if (suite := suite_of_task(row.task)) is not None}
    why = Note(line, "its table names no metrics, and nothing says how they were measured")
    return ModelScores(
        name, line, (table,), (), None, None, (), dict.fromkeys(suites, protocol), protocol, dict.fromkeys(suites, why)
    )
