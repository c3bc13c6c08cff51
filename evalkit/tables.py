"""One model of a table, and what it looks like as Markdown, CSV, JSON, LaTeX and HTML.

Cells are text, whole numbers, decimals that are already rounded, or empty. Names come from users and from files of
others, so every format escapes them; numbers are written as they are.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

from evalkit.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Cell: TypeAlias = str | int | Decimal | None
FORMATS = ("markdown", "csv", "json", "latex", "html")
EMPTY = "-"
"""What stands in place of a number that is not there; an empty cell would look like an oversight."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: as shown.
        align: ``left`` or ``right``.
        signed: True if positive numbers carry a plus sign.
        key: name in CSV and JSON; the heading if empty.
    """

    heading: str
    align: Literal["left", "right"] = "right"
    signed: bool = False
    key: str = ""


@dataclass(frozen=True)
class Table:
    """A table as data.

    Attributes:
        title: caption; empty for none.
        columns: its columns; their keys are distinct.
        rows: cells, one a column.
        notes: remarks below the table, in order.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        keys = [column.key or column.heading for column in self.columns]
        if len(set(keys)) < len(keys):
            raise ValueError(f"two columns with one heading: {keys}")
        if any(len(row) != len(keys) for row in self.rows):
            raise ValueError(f"a row does not have {len(keys)} cells")


def rounded(value: Decimal | float, places: int = 2) -> Decimal:
    """Return a number rounded half away from zero, the one rule of all reports.

    The published tables do it so (AGIEval's 43.065 is printed as 43.07). A float is taken to ten decimals first: a
    mean of printed numbers that ends in 5 would otherwise be a binary fraction just below it.
    """
    number = value if isinstance(value, Decimal) else Decimal(f"{value:.10f}")
    return number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP) + 0  # no -0.00


def p_text(p_value: float) -> str:
    """Return a p-value as shown; small ones as a bound, since their exact size says nothing."""
    return "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return a text with characters that cannot be seen, or turn the direction of writing, shown by their codes."""
    return _UNSEEN.sub(lambda match: f"[U+{ord(match.group()):04X}]", text)


def one_line(text: str) -> str:
    """Return a text without line breaks, which would end a table's row in most formats, and with nothing unseen."""
    return visible(" ".join(text.split()))


def cell_text(cell: Cell, column: Column) -> str:
    """Return a cell as it is shown, before any escaping."""
    if cell is None:
        return EMPTY
    if isinstance(cell, str):
        return one_line(cell)
    return f"{cell:+f}" if column.signed and isinstance(cell, Decimal) else str(cell)


def _texts(table: Table) -> list[list[str]]:
    return [[cell_text(cell, column) for cell, column in zip(row, table.columns, strict=True)] for row in table.rows]


def escape_markdown(text: str) -> str:
    """Escape what Markdown or HTML inside Markdown would take for markup.

    Underscores inside words are none, nor is a less-than sign before a number, or an ampersand before a space.
    """
    return _escaped(one_line(text))


def _escaped(text: str) -> str:
    text = re.sub(r"&(?=[#\w])", "&amp;", text)
    text = re.sub(r"<(?![\s\d=.-])", "&lt;", text)
    return re.sub(r"([\\|`*\[\]~]|(?<!\w)_|_(?!\w))", r"\\\1", text)


_PATH = re.compile(r"(?<![\w/.~-])(?:https?://)?[\w.~-]*/[\w.~/@+=-]*[\w/]")


def escape_note(text: str) -> str:
    """Escape a remark as `escape_markdown` does, but keep paths as they are: who reads it in a terminal copies them.

    >>> print(escape_note("No score: a*b (/runs/_old_/x_1): see run_1/_a"))
    No score: a\\*b (`/runs/_old_/x_1`): see `run_1/_a`
    """
    text = one_line(text)
    parts, end = [], 0
    for found in _PATH.finditer(text):
        path = found[0]
        parts += [_escaped(text[end : found.start()]), path if _escaped(path) == path else f"`{path}`"]
        end = found.end()
    return "".join([*parts, _escaped(text[end:])])


def to_markdown(table: Table) -> str:
    """Return a pipe table with aligned columns, its notes below it."""
    import tabulate

    rows = [[escape_markdown(text) for text in row] for row in _texts(table)]
    body = tabulate.tabulate(
        rows,
        [escape_markdown(column.heading) for column in table.columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[column.align for column in table.columns] if rows else None,
    )
    title = f"**{escape_markdown(table.title)}**\n\n" if table.title else ""
    notes = "".join(f"\n- {escape_note(note)}" for note in table.notes)
    return f"{title}{body}\n{notes}\n" if notes else f"{title}{body}\n"


def to_csv(table: Table) -> str:
    """Return comma-separated values with one heading line; notes are left out.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.key or column.heading for column in table.columns])
    for row in table.rows:
        writer.writerow(
            [
                "" if cell is None else f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t" and cell else cell
                for cell in row
            ]
        )
    return out.getvalue()


def to_json(table: Table) -> str:
    """Return an object with title, columns, rows (one object a row) and notes; numbers are numbers."""
    keys = [column.key or column.heading for column in table.columns]
    rows = [
        {key: float(cell) if isinstance(cell, Decimal) else cell for key, cell in zip(keys, row, strict=True)}
        for row in table.rows
    ]
    found = {"title": table.title, "columns": keys, "rows": rows, "notes": list(table.notes)}
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


def escape_latex(text: str) -> str:
    """Escape the characters that LaTeX treats specially; a plus-minus sign becomes math."""
    special = {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$"},
    }
    return "".join(special.get(character, character) for character in one_line(text))


def to_latex(table: Table) -> str:
    """Return a booktabs table (needs ``\\usepackage{booktabs}``)."""
    rows = [[escape_latex(text) for text in row] for row in _texts(table)]
    aligns = "".join(column.align[0] for column in table.columns)
    headings = " & ".join(escape_latex(column.heading) for column in table.columns)
    lines = [r"\begin{table}", r"\centering"]
    lines += [rf"\caption{{{escape_latex(table.title)}}}"] if table.title else []
    lines += [rf"\begin{{tabular}}{{{aligns}}}", r"\toprule", rf"{headings} \\", r"\midrule"]
    lines += [rf"{' & '.join(row)} \\" for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {escape_latex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}", ""])


def to_html(table: Table) -> str:
    """Return a ``<table>`` element with caption and notes; all texts are escaped, nothing in them runs."""

    def cells(tag: str, texts: Sequence[str]) -> str:
        scope = ' scope="col"' if tag == "th" else ""
        return "".join(
            f'<{tag}{scope} class="{column.align}">{html.escape(visible(text))}</{tag}>'
            for column, text in zip(table.columns, texts, strict=True)
        )

    lines = ['<table class="evalkit-table">']
    lines += [f"<caption>{html.escape(visible(table.title))}</caption>"] if table.title else []
    lines += [f"<thead><tr>{cells('th', [column.heading for column in table.columns])}</tr></thead>", "<tbody>"]
    lines += [f"<tr>{cells('td', row)}</tr>" for row in _texts(table)]
    lines += ["</tbody>"]
    if table.notes:
        notes = "<br>".join(html.escape(visible(note)) for note in table.notes)
        lines += [f'<tfoot><tr><td colspan="{len(table.columns)}">{notes}</td></tr></tfoot>']
    return "\n".join([*lines, "</table>", ""])


def render_table(table: Table, form: str) -> str:
    """Return a table in one of `FORMATS`.

    Raises:
        ConfigError: no such format.
    """
    writers = {"markdown": to_markdown, "csv": to_csv, "json": to_json, "latex": to_latex, "html": to_html}
    if form not in writers:
        raise ConfigError(f"unknown table format '{form}'{did_you_mean(form, FORMATS)} (known: {', '.join(FORMATS)})")
    return writers[form](table)


def to_frame(columns: Mapping[str, type], rows: Sequence[Sequence[object]]) -> pd.DataFrame:
    """Return rows as a pandas frame.

    Args:
        columns: name -> str, int, float or bool; None is a gap in any of them.
        rows: a value a column each.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise ConfigError("to_frame() needs pandas, which is not installed here: pip install pandas") from None
    kinds = {int: "Int64", float: "float64", bool: "bool", str: "object"}
    frame: pd.DataFrame = pd.DataFrame(list(rows), columns=list(columns))
    typed: pd.DataFrame = frame.astype({name: kinds[kind] for name, kind in columns.items()})
    return typed
