"""Files as people publish them -> numbered lines of plain text.

Covers byte order marks, UTF-16, Windows line ends, encodings other than UTF-8, saved web pages and HTML tables inside
Markdown (headings, code blocks, spans of rows and columns), full-width punctuation, box-drawing bars, escapes and
emphasis of Markdown, and marks beside numbers. What a line means is decided in `evalkit.baselines.reading.logs`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from pathlib import Path

from evalkit.baselines.published import Note
from evalkit.baselines.reading.fences import FENCE_MARK
from evalkit.baselines.reading.pages import ESCAPED_BAR, Page
from evalkit.errors import DataError
from evalkit.results.task_names import ARROWS, any_suite

MAX_BYTES = 20_000_000
"""A log is a few kilobytes and a saved web page a few hundred; anything above this is the wrong file."""

MARK = "†"
"""Stands for any footnote mark: raised or circled digits would otherwise become digits of the number before them."""

STAR = "\u2217"
"""Stands for an escaped star behind a word or a number, which is printed; other stars are emphasis."""

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


_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_POWER = re.compile(r"(?<=[×xX*·]10)([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)|(?<=[×xX*·] 10)([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
# A whole number with a raised one may be a power; one with places has a footnote.
_RAISED_WHOLE = re.compile(r"(?<=[0-9])(?<![.,][0-9])(?<![.,][0-9]{2})(?<![.,][0-9]{3})(?<![.,][0-9]{4})[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_RAISED_TAG = re.compile(r"<(sup|sub)\b[^>]*>\s*(.*?)\s*</\1>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:b|strong|em|i|u|s|del|code|sub|sup|span|font|a|small|big|mark|tt|center|details|summary)\b[^>]*>",
    re.IGNORECASE,
)
_INSIDE = re.compile(r"(?<=[0-9.,])(?:<[^<>]*>)+(?=[0-9.,])")  # a tag inside a number: nobody knows which it is
_STRUCK = re.compile(r"</?(?:s|del|strike)\b[^>]*>", re.IGNORECASE)  # a number struck out was withdrawn
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)")
_FOOTNOTE = re.compile(r"\[\^[\w-]+\](?!:)")


def _raised(found: re.Match[str]) -> str:
    """Return what a raised or lowered text in a line stands for: a power of ten, a footnote's mark, or a remark."""
    inner = re.sub(r"<[^>]*>", "", found[2])
    if found[1].lower() == "sup" and re.search(r"[×xX*·]\s?10$", found.string[: found.start()]):
        return f"^{inner}"
    return MARK if re.fullmatch(r"[0-9a-z]{1,2}|[^\w.+±-]*", inner) else f" ({inner})"


def _marks(line: str) -> str:
    """Replace characters that NFKC would turn into digits beside a number: ``0.80¹`` is not 0.801."""
    line = _POWER.sub(lambda found: "^" + (found[1] or found[2]).translate(_RAISED), line)
    line = _RAISED_WHOLE.sub(lambda found: f"^{found[0].translate(_RAISED)}", line)
    # Fractions and numbers of several digits in one character keep their sign, which no number has.
    return "".join(MARK if unicodedata.category(c) == "No" and unicodedata.numeric(c, 0) % 1 == 0 else c for c in line)


_BETTER = r"(?:the\s+)?(?:higher|larger|bigger|greater|more)(?:\s+(?:values?|scores?|numbers?))?"
_IS_BETTER = rf"(?:{_BETTER}\s*(?:\b(?:is|are|means?)\b|=|,?\s*\bthe\b)\s*better|越[高大]越好)"
_BRACKETED = re.compile(
    rf"\s*[(\[](?P<before>[^()\[\]]{{0,20}}?)(?:{_IS_BETTER}|{_BETTER}\s+better)(?P<behind>[^()\[\]]{{0,20}})[)\]]",
    re.IGNORECASE,
)
_UNBRACKETED = re.compile(rf"\s*(?:[-,;:/]\s+)?\b{_IS_BETTER}", re.IGNORECASE)
_LAST_ARROWS = re.compile(rf"(?<=[^\W\d_)\]BKM])(?:\s*[(\[]\s*{ARROWS}+\s*[)\]]|\s*{ARROWS}+)(?=[\s*_:]*$)")


def _without_direction(line: str) -> str:
    """Return a line without what says only that more is better, in a heading, a label or a cell.

    >>> _without_direction("## GPT4All (%, higher is better ↑)"), _without_direction("### AGIEval ↑")
    ('## GPT4All (%)', '### AGIEval')
    """

    def rest(found: re.Match[str]) -> str:
        kept = f"{found['before']} {found['behind']}"
        kept = re.sub(ARROWS, "", kept).strip(" \t,;:")
        return f" ({kept})" if kept else ""

    line = _UNBRACKETED.sub("", _BRACKETED.sub(rest, line))
    return line if "|" in line else _LAST_ARROWS.sub("", line)


_IMAGE = re.compile(r"!\[[^\]|]*\]\(https?://[^()\s|]*\)")


def _plain(line: str) -> str:
    """Return the line with one spelling of bars, spaces and digits, and without Markdown's escapes and emphasis."""
    line = re.sub(r"&(?:#124|#x7c|vert|verbar|VerticalLine);", ESCAPED_BAR, line.replace("\\|", ESCAPED_BAR))
    line = _FOOTNOTE.sub(MARK, _RAISED_TAG.sub(_raised, line))
    line = _marks(html.unescape(line)) if "&" in line else _marks(line)
    # NFKC turns full-width bars, colons, digits and no-break spaces into the plain ones; fractions stay as they are.
    line = "".join(c if unicodedata.category(c) == "No" else unicodedata.normalize("NFKC", c) for c in line)
    line = re.sub(r"[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufe00-\ufe0f]", "", line.translate(_BARS))
    line = re.sub(r"^(\s*)\*(?=\s+[^\s*|])", r"\1-", line)  # an item of a list stays one
    line = re.sub(r"(?<=[\w)\]])\\\*(?!\\?\*)", STAR, line)  # "Foo\\*" is another name than "Foo"
    line = re.sub(r"\\([_*#%~`+-])", r"\1", re.sub(r"<br\s*/?>", " ", line, flags=re.IGNORECASE))
    # A pipe-free emphasis only: underscores belong to task names.
    line = re.sub(r"\*{1,3}", "", _LINK.sub(r"\1", _IMAGE.sub("", line)))
    return _without_direction(_TAG.sub("", _INSIDE.sub(" ", _STRUCK.sub("~~", line))))


# What no reader sees as a result: comments of HTML, text struck out, comments and literals of programs.
# A tag that begins or ends a line, or stands before a table, strikes out whole tables; one inside a row a cell. A
# comment that begins a line goes on to the file's end where nothing ends it.
_HIDDEN = re.compile(
    r"(?:<!--(?P<comment>.*?)-->|^[ \t]{0,3}<!--(?P<unclosed>.*)\Z)"
    r"|^[ \t>]*<(?P<first>s|del|strike)\b[^<>]*>(?P<whole>.*?)</(?P=first)\s*>"
    r"|<(?P<tag>s|del|strike)\b[^<>]*>(?P<struck>(?:\s*(?:\n|<table\b).*?|[^|]*?))</(?P=tag)\s*>"
    r"|^[ \t]*~~[ \t]*(?P<lines>\n.*?)^[ \t]*~~[ \t]*$|~~(?P<tilde>[^~|\n]+)~~",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)
_NEVER_CLOSED = re.compile(r"^[ \t>]*(?P<tag><(?:s|del|strike)\b[^<>\n]*>)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_PROGRAM = re.compile(
    rf"^[ \t]*(?P<fence>{FENCE_MARK})[ \t]*\{{?\.?"
    r"(?:i?python[23]?|py|javascript|js|typescript|ts|java|kotlin|swift|c|cpp"
    r"|c\+\+|csharp|cs|rust|rs|go|r|julia|ruby|rb|perl|php|lua|scala|sql|html|xml|css)\b[^\n]*\n"
    r"(?P<program>.*?)(?:^[ \t]*(?P=fence)|\Z)",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)


def without_hidden(text: str) -> tuple[str, list[Note]]:
    """Blank out what is not shown or not meant as a result, and note the lines of it that hold numbers.

    A cell of a table that is struck out stays, since it is named as not read; so do tables inside programs' fences and
    the harness's line about a run.
    """
    notes: list[Note] = []

    def note(offset: int, hidden: str, why: str) -> None:
        first = text.count("\n", 0, offset) + 1
        for line, part in enumerate(hidden.split("\n"), first):
            scored = re.search(r"[0-9][.,][0-9]|[0-9]\s*%", part) is not None
            if scored and (
                "|" in part
                or "<t" in part
                or any_suite(part) is not None
                or re.search(r"average|\bavg|pass@", part, re.I)
            ):
                notes.append(Note(line, f"not read, {why}: {' '.join(part.split())[:60]}"))

    def blank(found: re.Match[str]) -> str:
        comment = found["comment"] if found["comment"] is not None else found["unclosed"]
        inner = comment or found["whole"] or found["struck"] or found["lines"] or found["tilde"] or ""
        line = text[text.rfind("\n", 0, found.start()) + 1 :].split("\n", 1)[0]
        if comment is None and line.strip().startswith("|"):
            return found[0]
        note(found.start(), inner, "in a comment" if comment is not None else "struck out")
        glued = re.match(r"[0-9.,]", text[found.end() :]) and re.search(r"[0-9.,]$", text[: found.start()][-1:])
        return "\n" * found[0].count("\n") or (" " if glued else "")

    def program(found: re.Match[str]) -> str:
        kept, start = [], found.start("program")
        for line in found["program"].split("\n"):
            shown = "|" in line or "num_fewshot" in line
            if not shown:
                note(start, line, "part of a program")
            kept.append(line if shown else "")
            start += len(line) + 1
        return found[0].replace(found["program"], "\n".join(kept), 1) if found["program"] else found[0]

    text = _HIDDEN.sub(blank, _PROGRAM.sub(program, text))
    for found in _NEVER_CLOSED.finditer(text):
        line = text.count("\n", 0, found.start("tag")) + 1
        notes.append(Note(line, f"'{found['tag']}' is never closed; what stands below it is read all the same"))
    return text, notes


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Return (line number from 1, plain text) of every line of a Markdown file or a saved web page."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text, _ = without_hidden(text)
    head = text[:2000].lower()
    if "<html" in head or "<!doctype html" in head:
        page = Page()
        page.feed(text)
        page.close()
        return [(number, _plain(line)) for number, line in page.lines]
    lines: list[tuple[int, str]] = []
    first, start = 1, 0
    for table in re.finditer(r"<table\b.*?(?:</table\s*>|\Z)", text, re.IGNORECASE | re.DOTALL):
        before = text[start : table.start()]
        lines += [(number, _plain(line)) for number, line in enumerate(before.split("\n"), first)]
        first += before.count("\n")
        page = Page(first)
        page.feed(table[0])
        page.close()
        lines += [(number, _plain(line)) for number, line in page.lines]
        first += table[0].count("\n")
        start = table.end()
    lines += [(number, _plain(line)) for number, line in enumerate(text[start:].split("\n"), first)]
    if lines and not lines[-1][1]:
        lines.pop()
    return lines


def read_text(path: Path) -> tuple[str, list[Note]]:
    """Return a file's text as it is written, with one kind of line ends, and a note where its encoding was guessed.

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
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def read_lines(path: Path) -> tuple[list[tuple[int, str]], list[Note]]:
    """Return a file's numbered lines, and what was noted in reading it; errors are those of `read_text`."""
    text, notes = read_text(path)
    text, removed = _without_removed(text)
    text, hidden = without_hidden(text)
    return numbered_lines(text), [*notes, *removed, *hidden]


def _without_removed(text: str) -> tuple[str, list[Note]]:
    """Return a file as a diff leaves it: without the lines that it removes, which are noted where they are rows."""
    if re.search(r"^(?:diff --git |@@ -[0-9,]+ \+[0-9,]+ @@)", text, re.MULTILINE) is None:
        return text, []
    kept, notes = [], []
    for number, line in enumerate(text.split("\n"), 1):
        removed = line.startswith("-")
        kept.append("" if removed or line.startswith(("+++", "@@", "diff ", "index ")) else line[line[:1] in "+ " :])
        if removed and "|" in line:
            notes.append(Note(number, f"not read, removed by a diff: {' '.join(line.split())[:60]}"))
    return "\n".join(kept), notes
