"""A saved web page, or a table of HTML, -> numbered lines with bars."""

from __future__ import annotations

import html.parser
import re

ESCAPED_BAR = "\ue000"
"""Stands for a bar that is text inside a cell (``\\|``, ``&#124;``), until the line was split at its bars."""


class Page(html.parser.HTMLParser):
    """A saved web page as lines: a table row becomes ``|a|b|``, a heading ``# title``; scripts are dropped.

    A cell over several columns is followed by empty cells, one over several rows has empty cells below it, so that each
    other cell stays in its column. As in Markdown, a rule follows a table's head, an empty line parts it from a table
    above it, and notes at its foot are items of a list.
    """

    _BREAKS = frozenset(
        {
            "p",
            "div",
            "br",
            "details",
            "summary",
            "li",
            "pre",
            "table",
            "thead",
            "tbody",
            "tfoot",
            "ul",
            "ol",
            "section",
            "article",
            "hr",
        }
    )
    _HEADINGS = frozenset(f"h{level}" for level in range(1, 7))

    def __init__(self, first_line: int = 1) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[tuple[int, str]] = []
        self._offset = first_line - 1
        self._buffer: list[str] = []
        self._cells: list[str] | None = None
        self._open = False  # inside a cell
        self._span = (1, 1)  # columns and rows of the cell that is open
        self._below: dict[int, int] = {}  # column -> rows that a cell above still covers
        self._part = ""  # of the table: "thead", "tfoot", or nothing
        self._tags: list[str] = []  # of the cells of the row that is open
        self._note = ""  # text of its last cell, with line breaks
        self._head = 0  # rows of the table's head so far
        self._body = True  # the head is over
        self._supposed = False  # the head is one only if numbers stand below it
        self._hidden = 0
        self._pre = 0

    def _line(self) -> int:
        return self.getpos()[0] + self._offset

    def _flush(self) -> None:
        text = "".join(self._buffer)
        self._buffer.clear()
        if self._cells is None and text.strip():
            self.lines.append((self._line(), text.strip()))

    def _skip_covered(self) -> None:
        while self._cells is not None and self._below.get(len(self._cells), 0) > 0:
            self._below[len(self._cells)] -= 1
            self._cells.append("")

    def _end_cell(self) -> None:
        if self._cells is None or not self._open:
            return
        self._open = False
        columns, rows = self._span
        self._note = "".join(self._buffer)
        text = " ".join(self._note.split()).replace("|", ESCAPED_BAR)
        self._buffer.clear()
        for place in range(columns):
            if rows > 1:
                self._below[len(self._cells)] = rows - 1
            self._cells.append(text if place == 0 else "")
        self._skip_covered()

    def _end_row(self) -> None:
        self._end_cell()
        if self._cells and self._part == "tfoot" and len(self._tags) == 1:
            self.lines += [(self._line(), f"- {' '.join(n.split())}") for n in self._note.split("\n") if n.strip()]
        elif self._cells:
            self._rule_off(self._cells)
            self.lines.append((self._line(), "|" + "|".join(self._cells) + "|"))
        self._cells = None
        self._buffer.clear()

    def _rule_off(self, cells: list[str]) -> None:
        """Put a rule above the first row that is not of the table's head.

        Of the head are rows of <thead>, rows of <th> alone (below the first one those of several labels), and a first
        row of several labels above a row with numbers.
        """
        if self._body:
            return
        labels = sum(bool(cell.strip()) for cell in cells) > 1 and not any(map(_NUMBER.match, cells))
        if self._part == "thead" or (set(self._tags) == {"th"} and (labels or not self._head)):
            self._head += 1
        elif labels and not self._head:
            self._head, self._supposed = 1, True
        else:
            self._body = True
            if self._head and (not self._supposed or any(map(_NUMBER.match, cells))):
                self.lines.append((self._line(), "|" + "---|" * len(cells)))

    def _set_apart(self) -> None:
        """Part what comes from a table right above it."""
        if self.lines and self.lines[-1][1].startswith("|"):
            self.lines.append((self._line(), ""))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "style", "template"}:
            self._hidden += 1
        elif tag == "tr":
            if self._cells is None:
                self._flush()
            else:
                self._end_row()
            self._cells = []
            self._tags = []
            self._skip_covered()
        elif tag in {"td", "th"}:
            self._end_cell()
            self._tags.append(tag)
            self._buffer.clear()
            found = dict(attrs)
            self._span = (_span(found.get("colspan")), _span(found.get("rowspan")))
            self._open = True
        elif tag in self._HEADINGS:
            self._flush()
            self._buffer.append("#" * int(tag[1]) + " ")
        elif tag in {"sup", "sub", "s", "del", "strike"}:
            self._buffer.append(f"<{tag}>")
        elif tag in self._BREAKS:
            if self._cells is None:
                self._flush()
            else:
                self._buffer.append("\n" if tag == "br" else " ")
            self._pre += tag == "pre"
            if tag in {"thead", "tbody", "tfoot"}:
                self._part = tag
            elif tag in {"table", "pre"} and self._cells is None:
                self._set_apart()
            if tag == "table":
                self._below.clear()
                self._part, self._head, self._body, self._supposed = "", 0, False, False

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style", "template"}:
            self._hidden = max(0, self._hidden - 1)
        elif tag in {"td", "th"}:
            self._end_cell()
        elif tag == "tr" and self._cells is not None:
            self._end_row()
        elif tag in {"sup", "sub", "s", "del", "strike"}:
            self._buffer.append(f"</{tag}>")
        elif tag in self._HEADINGS or tag in self._BREAKS:
            if tag in {"table", "tbody", "thead", "tfoot"}:
                if self._cells is not None:
                    self._end_row()
                self._part = ""
            self._flush()
            self._pre = max(0, self._pre - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._open and data[:1] in _OF_NUMBER and "".join(self._buffer)[-1:] in _OF_NUMBER:
            self._buffer.append(" ")  # a tag inside a number: it is none
        if self._pre and self._cells is None:
            first = self._line()
            *whole, rest = data.split("\n")
            for offset, part in enumerate(whole):
                text = "".join(self._buffer) + part
                self._buffer.clear()
                self.lines.append((first + offset, text))
            self._buffer.append(rest)
        else:
            self._buffer.append(data.replace("\n", " "))

    def close(self) -> None:
        super().close()
        if self._cells is not None:
            self._end_row()
        self._flush()


_OF_NUMBER = tuple("0123456789.,")
_NUMBER = re.compile(r"\W*[0-9][0-9.,]*(?![\w.])")


def _span(text: str | None) -> int:
    number = int(text) if text is not None and text.strip().isascii() and text.strip().isdigit() else 1
    return min(max(number, 1), 100)
