"""The numbers of a comparison table by row and column, with their units and what they should be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from evalkit.baselines.audit.checks import as_decimal, places_of
from evalkit.baselines.published import ComparisonTable
from evalkit.baselines.reading.units import SHARE, UNCLEAR, names_no_model, units_of

CHANGE = re.compile(r"^\W*(?:change|changes|Δ|delta|diff(?:erence)?|gain|improvement|变化|提升)", re.IGNORECASE)


@dataclass
class Cell:
    """A cell while the table is checked: what is printed and what it should be, not rounded."""

    printed: Decimal
    should: Fraction


class Grid:
    """The numbers of a comparison table by row and column."""

    def __init__(self, table: ComparisonTable) -> None:
        self.table = table
        width = max((len(row.cells) for row in table.rows), default=0)
        self.headings = [*table.headings, *("" for _ in range(width - len(table.headings)))]
        self.changes = [i for i, heading in enumerate(self.headings) if CHANGE.match(heading)]
        self.models = [
            i for i in range(width) if i not in self.changes and not names_no_model(self.headings[i], self.headings)
        ]
        self.cells: dict[tuple[int, int], Cell] = {}
        for r, row in enumerate(table.rows):
            for c, number in enumerate(row.cells):
                if number is not None:
                    self.cells[r, c] = Cell(number, Fraction(number))
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


def as_printed(exact: Fraction, printed: Decimal) -> str:
    """Return what a number should be, with at least as many places as are printed: 0.6303 is not 0.63."""
    return str(as_decimal(exact, max(2, places_of(printed))))
