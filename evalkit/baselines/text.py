"""Files as people publish them -> numbered lines of plain text.

Covers byte order marks, UTF-16, Windows line ends, encodings other than UTF-8, saved web pages (tables, code blocks,
headings), full-width punctuation, box-drawing bars and Markdown's escapes and emphasis. What a line means is decided in
`evalkit.baselines.logs`.
"""

from __future__ import annotations

import html.parser
import re
import unicodedata
from pathlib import Path

from evalkit.baselines.published import Note
from evalkit.errors import DataError

MAX_BYTES = 20_000_000
"""A log is a few kilobytes and a saved web page a few hundred; anything above this is the wrong file."""

_BARS = str.maketrans(
    {"│": "|", "┃": "|", "║": "|", "¦": "|", "∣": "|", "−": "-", "–": "-", "—": "-", "─": "-", "━": "-"}
)


def decode(raw: bytes) -> tuple[str, list[Note]]:
    """Return the text of a file, and a note if the encoding had to be guessed."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace"), []
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        # Latin text read as GB18030 loses its bars: the plus-minus sign takes the bar after it for its second byte.
        encoding = next((name for name in ("gb18030", "cp1252") if _keeps_bars(raw, name)), "latin-1")
        return raw.decode(encoding), [Note(0, f"not UTF-8; read as {encoding}")]


def _keeps_bars(raw: bytes, encoding: str) -> bool:
    try:
        return raw.decode(encoding).count("|") == raw.count(b"|")
    except UnicodeDecodeError:
        return False


class _Page(html.parser.HTMLParser):
    """A saved web page as lines: a table row becomes ``|a|b|``, a heading ``# title``; scripts are dropped."""

    _BREAKS = frozenset(
        {"p", "div", "br", "li", "pre", "table", "thead", "tbody", "ul", "ol", "section", "article", "hr"}
    )
    _HEADINGS = frozenset(f"h{level}" for level in range(1, 7))

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[tuple[int, str]] = []
        self._buffer: list[str] = []
        self._cells: list[str] | None = None
        self._hidden = 0
        self._pre = 0

    def _flush(self) -> None:
        text = "".join(self._buffer)
        self._buffer.clear()
        if self._cells is None and text.strip():
            self.lines.append((self.getpos()[0], text.strip()))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 (the base's signature)
        if tag in {"script", "style", "template"}:
            self._hidden += 1
        elif tag == "tr":
            self._flush()
            self._cells = []
        elif tag in {"td", "th"}:
            self._buffer.clear()
        elif tag in self._HEADINGS:
            self._flush()
            self._buffer.append("# ")
        elif tag in self._BREAKS:
            if self._cells is None:
                self._flush()
            else:
                self._buffer.append(" ")
            self._pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style", "template"}:
            self._hidden = max(0, self._hidden - 1)
        elif tag in {"td", "th"} and self._cells is not None:
            self._cells.append(" ".join("".join(self._buffer).split()).replace("|", "/"))
            self._buffer.clear()
        elif tag == "tr" and self._cells is not None:
            if self._cells:
                self.lines.append((self.getpos()[0], "|" + "|".join(self._cells) + "|"))
            self._cells = None
            self._buffer.clear()
        elif tag in self._HEADINGS or tag in self._BREAKS:
            self._flush()
            self._pre = max(0, self._pre - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._pre and self._cells is None:
            first = self.getpos()[0]
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
        self._flush()


def _plain(line: str) -> str:
    """Return the line with one spelling of bars, spaces and digits, and without Markdown's escapes and emphasis."""
    # NFKC turns full-width bars, colons, digits and no-break spaces into the plain ones.
    line = unicodedata.normalize("NFKC", line).translate(_BARS).replace("\ufeff", "").replace("\u200b", "")
    line = re.sub(r"\\([_*|#%~`-])", r"\1", line)
    # A pipe-free emphasis only: underscores belong to task names.
    return re.sub(r"\*{1,3}|~~|</?(?:b|strong|em|i|code|sub|sup|span)\b[^>]*>", "", line)


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Return (line number from 1, plain text) of every line of a Markdown file or a saved web page."""
    head = text[:2000].lower()
    if "<html" in head or "<!doctype html" in head or ("<table" in text.lower() and "<td" in text.lower()):
        page = _Page()
        page.feed(text)
        page.close()
        return [(number, _plain(line)) for number, line in page.lines]
    return [(number, _plain(line)) for number, line in enumerate(text.splitlines(), start=1)]


def read_lines(path: Path) -> tuple[list[tuple[int, str]], list[Note]]:
    """Read a file.

    Raises:
        DataError: it does not exist, is a folder, or is far larger than any log.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size:,} bytes is no score log (limit {MAX_BYTES:,})")
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    text, notes = decode(raw)
    return numbered_lines(text), notes
