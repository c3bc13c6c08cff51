"""A table of benchmarks by models, or of models by benchmarks -> `ComparisonTable`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.baselines.published import ComparisonRow, ComparisonTable, Note
from evalkit.baselines.reading.cells import holds_nothing, score_of, value_of
from evalkit.baselines.reading.columns import is_version_column
from evalkit.baselines.reading.telling_apart import model_column, names_of, ways_of
from evalkit.results.task_names import (
    any_suite,
    comparison_role,
    is_benchmark,
    is_metric,
    is_no_share,
    names_other_benchmark,
    shots_named,
    suite_of_task,
    task_and_metric,
    task_and_shots,
    without_arrows,
)

_NO_MODELS = {
    *("metric", "metrics", "value", "score", "scores", "result", "version", "mode", "filter", "n-shot", "shots"),
    *("stderr", "指标", "数值", "分数", "得分", "版本", "标准误"),
}
"""Headings of a table of one model that are no model's name."""

ONLY_NUMBERS = "Score"
"""The heading of the one row of numbers in a table without a column of names."""

Body = Sequence[tuple[int, tuple[str, ...]]]
"""The rows of a table: their lines and cells."""


def comparison_of(
    line: int, heading: tuple[str, ...], body: Body, rules: Sequence[int], above: str
) -> tuple[ComparisonTable | None, list[Note]]:
    """Return a table that is none of per-task scores as a comparison, and notes; None if it is no comparison.

    `rules` are the lines of the rules between its rows, `above` the heading that it stands below.
    """
    notes: list[Note] = []
    plain = [without_arrows(cell) for cell in heading]
    heading = tuple(p if plain.count(p) == 1 else cell for p, cell in zip(plain, heading, strict=True))
    heading, body = _without_statistics(*_labels_first(heading, body))
    by_row = [(number, cells, comparison_role(cells[0])) for number, cells in body]
    corner = heading[0] if heading else ""

    def by_models() -> ComparisonTable:
        rows = [_row(n, c[0], role, [(n, cell) for cell in c[1:]], notes) for n, c, role in by_row]
        return ComparisonTable(line, heading[1:], tuple(rows), tuple(rules), corner=corner, above=above)

    if sum(role not in ("other", "total", "average") for _, _, role in by_row) >= 2:
        return by_models(), notes
    if body and _lists_models(heading, body):
        return _on_its_side(line, heading, body, rules, above, notes), notes
    if len(body) > 2 and any(role == "average" for _, _, role in by_row):
        # Benchmarks that are no suites of evalkit, by models; its averages are checked.
        found = by_models()
        if sum(any(cell is not None for cell in row.cells) for row in found.rows) > 2:
            return found, notes
    # Columns that say how and how much are of one model: OpenCompass's, or two values, nobody knows which counts.
    of_one = any(_names_no_model(cell) or is_metric(cell.lower()) for cell in heading[1:])
    if heading and not of_one and sum(names_other_benchmark(c[0]) for _, c, _ in by_row) > 1:
        found = by_models()
        if sum(cell is not None for row in found.rows for cell in row.cells) > 1:
            return found, notes
    title = " | ".join(c for c in heading if c) or " | ".join(body[0][1] if body else ())
    if any(is_metric(cell) for cell in heading) and any(
        suite_of_task(task_and_metric(task_and_shots(c[0])[0], "")[0]) is not None for _, c in body
    ):
        text = f"table not read, not all of its columns are known: {title[:80]}"
        return None, [*notes, Note(line, text, unread=True)]
    named = any(is_benchmark(cell) for cell in (*heading, *(cell for _, c in body for cell in c if len(cell) <= 40)))
    why = "its columns are not understood" if named else "it holds neither tasks nor suites"
    return None, [*notes, Note(line, f"table not read, {why}: {title[:80]}", unread=named)]


_SHOTS_COLUMN = re.compile(
    r"\W*(?:(?:num(?:ber)?|no\.?)\s*(?:of\s*)?|n[-_ ]?|few[-_ ]?)?shots?\W*|样本数", re.IGNORECASE
)


def _labels_first(heading: tuple[str, ...], body: Body) -> tuple[tuple[str, ...], Body]:
    """Return a table with its benchmarks in the first column, and with what a column of shots says in their labels.

    What stands left of them and holds no number groups the rows ("English", "Code") and says nothing of a score.
    """
    if len(heading) < 3 or not body:
        return heading, body
    columns = [[cells[i].strip() if i < len(cells) else "" for _, cells in body] for i in range(len(heading))]
    named = [sum(is_benchmark(cell) for cell in column) for column in columns]
    numbers = [any(score_of(cell) is not None for cell in column) for column in columns]
    shots = next((i for i in range(1, len(heading)) if _SHOTS_COLUMN.fullmatch(heading[i])), None)
    label = next((i for i, count in enumerate(named) if count > 1 and not any(numbers[: i + 1])), 0)
    if any(named[:label]) or named[label] < 2 or (label == 0 and shots is None):
        return heading, body
    kept = [i for i in range(label + 1, len(heading)) if i != shots]
    rows = []
    for number, cells in body:
        said = cells[shots].strip() if shots is not None and shots < len(cells) else ""
        found = re.fullmatch(r"([0-9]{1,3})(?:[\s-]*shots?)?", said, re.IGNORECASE)
        text = cells[label].strip() if label < len(cells) else ""
        text += f" ({found[1]}-shot)" if found is not None and shots_named(text) == (None, False) else ""
        rows.append((number, (text, *(cells[i] if i < len(cells) else "" for i in kept))))
    return (heading[label], *(heading[i] for i in kept)), rows


_STATISTIC = re.compile(
    r"\W*(?:p(?:[-\s]?values?| 值)?(?:\s*[(（].*[)）])?|gained|lost"
    r"|[0-9]+(?:\.[0-9]+)?\s*%\s*(?:confidence )?(?:intervals?|置信区间|CIs?))\W*",
    re.IGNORECASE,
)


def _without_statistics(heading: tuple[str, ...], body: Body) -> tuple[tuple[str, ...], Body]:
    """Return a table of two models without what says how sure their difference is, and in which metric a row is.

    Those columns hold no scores: p, a confidence interval, documents gained and lost, as evalkit's own `compare` has.
    """
    if sum(map(bool, map(_STATISTIC.fullmatch, heading))) < 2:
        return heading, body
    out = {i for i, title in enumerate(heading) if i and (_STATISTIC.fullmatch(title) or title in ("Metric", "指标"))}
    return (
        tuple(title for i, title in enumerate(heading) if i not in out),
        [(number, tuple(cell for i, cell in enumerate(cells) if i not in out)) for number, cells in body],
    )


def _lists_models(heading: tuple[str, ...], body: Body) -> bool:
    """Tell whether the rows of a table are models and its columns benchmarks."""
    roles = [comparison_role(cell) for cell in heading]
    average = any(role in ("average", "total") for role in roles)
    numbers = sum(any(score_of(c[i]) for _, c in body if i < len(c)) for i in range(1, len(heading)))
    suites = sum(any_suite(cell) is not None for cell in heading) >= 2
    scored = [i for i in range(1, len(heading)) if is_benchmark(heading[i])]
    benchmarks = len(scored) >= 2 and numbers >= 2 and not any(is_benchmark(c[0]) for _, c in body)
    plain = not any(_says_how(cell) for cell in heading[1:])
    return suites or (average and numbers >= 3) or (benchmarks and plain)


def _on_its_side(
    line: int, heading: tuple[str, ...], body: Body, rules: Sequence[int], above: str, notes: list[Note]
) -> ComparisonTable:
    """Return a table of models by suites. A cell's line is the line of its model."""
    model = model_column(heading, body)
    if model is not None:  # a row of a label alone is no model: it names the group of those below it
        body = [(n, c) for n, c in body if not (c[model].strip() and sum(map(bool, map(str.strip, c))) == 1)] or body
    lines = tuple(number for number, _ in body)
    ways = ways_of(heading, body, model) if model is not None else []
    rows = [
        _row(line, label, comparison_role(label), [(n, c[i] if i < len(c) else "") for n, c in body], notes, lines)
        for i, label in enumerate(heading)
        if i != model and i not in ways
    ]
    # A column of which no cell is a number is no column of scores.
    rows = [row for row in rows if any(row.cells) or is_benchmark(row.label)]
    if model is None:  # without names: the one row is of whom the file is of, of several nobody knows whose they are
        names = (ONLY_NUMBERS,) if len(body) == 1 else ("",) * len(body)
    else:
        names = names_of(heading, body, model, ways)
    corner = heading[model] if model is not None else ""
    return ComparisonTable(line, names, tuple(rows), tuple(rules), True, corner=corner, above=above)


def _row(
    line: int,
    label: str,
    role: str,
    cells: list[tuple[int, str]],
    notes: list[Note],
    lines: tuple[int, ...] = (),
) -> ComparisonRow:
    """Return a row of a comparison from its (line, printed cell); a cell that is not understood is noted."""
    if "~~" in label:
        notes.append(Note(line, f"'{label[:40]}': struck out; not read", unread=True))
        cells = [(number, "") for number, _ in cells]
    scores = [score_of(cell) for _, cell in cells]
    benchmark = is_benchmark(label) or role == "average"
    for (number, cell), score in zip(cells, scores, strict=True):
        size = re.fullmatch(r"\W*[0-9][0-9.,]*\s*[BMKGTbmkgt]\W*", cell)
        like_one = re.search(r"[0-9][.,][0-9]", cell) and not re.search(r"[^\W\d_]{2}", cell) and not size
        if score is None and (like_one or (benchmark and not holds_nothing(cell))):
            what = f" of {label[:40]}" if lines else ""
            notes.append(Note(number, f"cell{what} not read: '{cell[:40]}'", unread=True))
    return ComparisonRow(
        line,
        label,
        role,
        tuple(score.value if score is not None else None for score in scores),
        lines,
        tuple(score is not None and score.percent for score in scores),
        tuple(score is not None and value_of(cell) is None for (_, cell), score in zip(cells, scores, strict=True)),
    )


def _says_how(heading: str) -> bool:
    """Tell whether a heading belongs to a table of one model; a perplexity may stand beside benchmarks of several."""
    name = heading.lower().strip("*_ ")
    return _names_no_model(heading) or (is_metric(name) and not is_no_share(name))


def _names_no_model(heading: str) -> bool:
    return heading.lower().strip("*_ ") in _NO_MODELS or is_version_column(heading)
