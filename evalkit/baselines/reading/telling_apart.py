"""Rows of one model in a table of several: which columns tell them apart, and the names that this gives."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.baselines.reading.cells import holds_nothing, score_of
from evalkit.baselines.reading.names import is_number
from evalkit.results.task_names import bare, comparison_role, is_benchmark

_WAY_COLUMN = re.compile(
    r"(?:quant\w*\W*)?(?:methods?|quant(?:i[sz]ation|i[sz]ed)?|algorithms?|techniques?|schemes?|(?:[wak]|avg\.?|average)?[\W_]*bits?"
    r"|bit[\W_]*widths?|precisions?|d?types?|data\W*types?|settings?|formats?|config(?:uration)?s?|variants?|group\W*sizes?|modes?"
    r"|recipes?|strategy|strategies|方法|算法|量化(?:方法|方式|位数)?|精度|位宽|比特数?|设置|格式|配置)",
    re.IGNORECASE,
)


# Columns that number the rows and would tell any two apart.
_ORDER = re.compile(r"\W*(?:rank(?:ing)?|positions?|places?|no\.?|nr\.?|id|index|排名|序号|编号)?\W*", re.IGNORECASE)


def model_column(heading: tuple[str, ...], body: Sequence[tuple[int, tuple[str, ...]]]) -> int | None:
    """Return the column with the models' names: the one that says so, or the first; None if that is one of scores."""
    for i, title in enumerate(heading):
        if re.fullmatch(r"models?(?:\s+names?)?|模型(?:名称?)?", title.lower().strip("*_` :")):
            return i
    first = [cells[0].strip() for _, cells in body if cells and cells[0].strip()]
    scored = bool(first) and all(score_of(cell) is not None for cell in first)
    return None if scored and heading and (is_benchmark(heading[0]) or comparison_role(heading[0]) != "other") else 0


def ways_of(heading: tuple[str, ...], body: Sequence[tuple[int, tuple[str, ...]]], model: int) -> list[int]:
    """Return the columns that tell rows of one model apart: how it was quantised, prompted or trained.

    Those are columns that are named so, and, where a model's name stands in several rows, columns of text.
    """
    names = [cells[model].strip() for _, cells in body if model < len(cells)]
    repeated = len(set(names)) < len(names)
    ways = []
    for i, title in enumerate(heading):
        cells = [c[i].strip() for _, c in body if i < len(c)]
        if i == model or is_benchmark(title) or comparison_role(title) != "other" or not any(cells):
            continue
        text = not any(score_of(cell) is not None for cell in cells) and not any("](" in cell for cell in cells)
        if _WAY_COLUMN.fullmatch(title.strip("*_` ")) or (repeated and text and any(map(str.isalnum, "".join(cells)))):
            ways.append(i)
    # What else stands before the first benchmark is a setting (a rank), where it tells rows of a name apart.
    first = next((i for i, title in enumerate(heading) if i != model and is_benchmark(title)), 0)
    for i in range(first):
        names = [name.strip() for name in names_of(heading, body, model, ways)]
        if len(set(names)) == len(names):
            break
        known = comparison_role(heading[i]) != "other" or _ORDER.fullmatch(heading[i].strip("*_` "))
        cells = [c[i].strip() for _, c in body if i < len(c)]
        if i != model and i not in ways and not (known and heading[i].strip()) and len(set(cells)) > 1:
            ways.append(i)
    return sorted(ways)


def names_of(
    heading: tuple[str, ...], body: Sequence[tuple[int, tuple[str, ...]]], model: int, ways: list[int]
) -> tuple[str, ...]:
    """Return the models' names with what tells them apart; an empty cell beside that has the name above it."""
    names, above = [], ""
    for _, cells in body:
        name = cells[model].strip() if model < len(cells) else ""
        if name and is_number(name):  # a step says what it is of; a rank is nobody's name
            told = re.search(r"[^\W\d_]", heading[model]) is not None and not _ORDER.fullmatch(
                heading[model].strip("*_` ")
            )
            name = f"{heading[model].strip('*_` ')} {name}" if told else ""
        if not ways:
            names.append(name)
            continue
        above = name or above
        parts = [above]
        for i in ways:
            part = cells[i].strip("*_` ") if i < len(cells) else ""
            bits = re.fullmatch(r"[0-9.]+", part) and re.search(r"bits?|位", heading[i], re.IGNORECASE)
            said = not part.isdigit() and bare(part) and bare(part) in bare(above)
            if part and not holds_nothing(part) and not said:
                number = re.fullmatch(r"[0-9.,e+-]+%?", part) is not None and not bits
                parts.append(f"{part}-bit" if bits else f"{heading[i].strip('*_` ')} {part}" if number else part)
        names.append(" ".join(parts) if above else "")
    return tuple(names)
