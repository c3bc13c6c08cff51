"""What only a file's text as written shows: links, addresses, marks, tags that say something, hidden lines."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from evalkit.baselines.reading.fences import without_fences
from evalkit.results.task_names import bare

_SIZE = r"[0-9]{1,4}(?:px|%|em)?"
_ALIGNED = r"(?:left|right|center|justify|top|middle|bottom|baseline)"
_ATTRIBUTE = (
    rf"(?:v?align\s*=\s*[\"']?{_ALIGNED}[\"']?|(?:width|height|border|colspan|rowspan|cellpadding|cellspacing)\s*=\s*[\"']?{_SIZE}[\"']?"
    rf"|scope\s*=\s*[\"']?(?:col|row)[\"']?|style\s*=\s*[\"']text-align:\s*{_ALIGNED};?[\"']|class\s*=\s*[\"']dataframe[\"']|open)"
)
SAFE_TAG = re.compile(
    r"</?(?:html|body|head|table|thead|tbody|tfoot|tr|td|th|colgroup|col|h[1-6]|p|div|center|section|article|br|hr|pre|code"
    rf"|details|summary|b|strong|em|i|u|span|small|big|tt)(?:\s+{_ATTRIBUTE})*\s*/?>",
    re.IGNORECASE,
)
"""A tag that says nothing: of known attributes with known values only."""
_TABLE = re.compile(r"<table\b.*?(?:</table\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_BETWEEN_CELLS = re.compile(
    r"(?:<(?:table|tr|thead|tbody|tfoot)\b[^>]*>|</(?:td|th|tr|thead|tbody|tfoot)\s*>)([^<]*\w[^<]*)", re.IGNORECASE
)
# Links and images, addresses, footnotes, text struck out, comments, what a diff or `grep` puts before a line.
_TELLING = re.compile(r"\]\s*\(|\]\[|!\[|\[\^|^\s*\[[^\]]*\]:|://|\bwww\.|~~|<!--|-->|<\s*[/a-zA-Z!?]")
_PAGE = re.compile(r"\[(?:\*\*)?([\w./ -]+?)(?:\*\*)?\]\(https://huggingface\.co/[\w.-]+/([\w.-]+)\)", re.ASCII)
_GIST = re.compile(r"\[📄\]\(https://gist\.github\.com/[\w/-]+\)(?=\s*\|)", re.ASCII)
"""The log of a model, behind its name in a table of models."""
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)([^*|]*?\S)\1(?![\w*])")
_ENTITY = re.compile(r"&(?!(?:nbsp|plusmn|minus|ndash|vert|verbar|#124|#x7c|#177|amp);)(?:#?\w+;)")
_TILDES = re.compile(r"^[\s>]*~~~+(?=[ \t]*[\w+-]*\s*$)")
"""A fence of tildes, which strikes nothing out."""
_JOINED = re.compile(r"[0-9.,](?:</?(?!t[dhr]\b|br\b|h[1-6]\b|p\b|div\b)[a-z][^<>]*>)+[0-9.,]", re.IGNORECASE)
"""Digits that would be one number without the tags between them."""
_UNSEEN = re.compile(r"[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_MARKUP = frozenset("[]<>*~`#&!\\{}")


def _becomes_markup(line: str) -> bool:
    """Tell whether a character of another width or form would be markup in plain spelling."""
    return not line.isascii() and any(
        not c.isascii() and _MARKUP & set(unicodedata.normalize("NFKC", c)) and c not in "！" for c in line
    )


def told_as_written(raw: str, shown: set[int]) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of what only the text as written shows; of the lines `shown` reading left something."""
    raw = raw.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    page = "<html" in raw[:2000].lower() or "<!doctype html" in raw[:2000].lower()
    inside: set[int] = set()  # lines of tables of HTML: their text has the number of their row's end
    for table in _TABLE.finditer(raw):
        first = raw.count("\n", 0, table.start()) + 1
        inside |= set(range(first, first + table[0].count("\n") + 1))
        for found in _BETWEEN_CELLS.finditer(table[0]):
            yield first + table[0].count("\n", 0, found.start(1)), found[1]
    for number, line in enumerate(raw.split("\n"), 1):
        rest = _TILDES.sub(" ", _GIST.sub(" ", _PAGE.sub(_without_own_page, SAFE_TAG.sub(" ", line))))
        stars = re.sub(r"^\s*\*(?=\s)|(?<=[0-9][bB])\*(?=\s*\|)", " ", line)  # an item; behind a name with its size
        while stars != (stars := _EMPHASIS.sub(r" \2 ", stars)):
            pass
        hidden = not page and number not in inside and number not in shown and re.search(r"\w", rest.strip("`~ \t"))
        told = _TELLING.search(rest) or _TELLING.search(unicodedata.normalize("NFKC", rest))
        odd = (
            _ENTITY.search(rest)
            or _UNSEEN.search(rest)
            or _becomes_markup(rest)
            or "*" in stars
            or _JOINED.search(line)
        )
        if told or odd or (hidden and without_fences(line)):
            yield number, line


def _without_own_page(found: re.Match[str]) -> str:
    """Return a model's name that is a link to the page of that model."""
    return found[1] if bare(found[1].split("/")[-1]) == bare(found[2]) else found[0]
