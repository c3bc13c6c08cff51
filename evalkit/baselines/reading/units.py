"""Shares or per cent: the units of the scores in a table of several models.

The unit belongs to the scores of benchmarks. What stands beside them (MT-Bench, a perplexity, a model's size) says
nothing about it, and neither do changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from evalkit.baselines.published import Comparison
from evalkit.task_names import is_benchmark

SHARE, PERCENT, UNCLEAR = "share", "per cent", "unclear"

_NO_MODEL = re.compile(
    r"^\W*(?:(?:change|Δ|delta|diff|gain|improve|recover|recup|retention|relative|ratio|变化|提升|恢复|保留)"
    r"|(?:rank(?:ing|s)?|position|place|averages?|avg|means?|median|max(?:imum)?|min(?:imum)?|std(?:ev|err)?\.?"
    r"|stderr|metrics?|shots?|n[-_ ]?shots?|num_fewshot|samples|documents|weights?|排名|平均|均值|样本数)\W*$)",
    re.IGNORECASE,
)


def names_no_model(heading: str) -> bool:
    """Tell whether the heading of a column (of a row, in a table on its side) says changes, ranks or averages."""
    return _NO_MODEL.match(heading) is not None


def model_columns(table: Comparison) -> list[int]:
    """Return the columns that are models: those with a name that says nothing else."""
    return [i for i, heading in enumerate(table.headings) if heading.strip() and not names_no_model(heading)]


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _finer(column: int, cells: Mapping[tuple[int, int], Decimal], percent: set[tuple[int, int]]) -> bool:
    """Tell whether a model's numbers have two places more than the percentages of other models, as shares have."""
    own = [(r, value) for (r, c), value in cells.items() if c == column and value]
    finest = [(value, max((_places(cells[r, c]) for s, c in percent if s == r), default=None)) for r, value in own]
    return len(own) > 1 and all(places is not None and _places(value) >= places + 2 for value, places in finest)


def units_of(table: Comparison) -> dict[tuple[int, int], str]:
    """Return (row, column) -> unit of every score of a benchmark: ``share``, ``per cent`` or ``unclear``.

    A per cent sign, of the cell or of a heading, decides. A value above 1 is no share. One of at most 1 is a share if
    all other scores of its model and all of its benchmark may be shares as well; among percentages nobody knows: 0.6
    may be a weak model's per cent as well as a slip. A model whose numbers all have two places more than the others'
    percentages is in shares.
    """
    columns = model_columns(table)
    cells: dict[tuple[int, int], Decimal] = {}
    said: set[tuple[int, int]] = set()
    for r, row in enumerate(table.rows):
        if not is_benchmark(row.label):
            continue
        for c in columns:
            value = row.cells[c] if c < len(row.cells) else None
            if value is None or (c < len(row.changes) and row.changes[c]):
                continue
            cells[r, c] = value
            signed = c < len(row.percent) and row.percent[c]
            if signed or "%" in row.label or "%" in table.headings[c] or "%" in table.corner:
                said.add((r, c))
    percent = {place for place, value in cells.items() if value > 1 or place in said}
    rows = {r for r, _ in percent}
    models = {c for _, c in percent}
    units = {}
    for place, value in cells.items():
        beside = place[1] in models or (place[0] in rows and not _finer(place[1], cells, percent))
        units[place] = PERCENT if place in percent or not value else UNCLEAR if beside else SHARE
    return units
