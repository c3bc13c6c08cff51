"""Lines that are no text of a card: front matter, configurations, programs, and what a program puts before a line."""

from __future__ import annotations

import re
from itertools import takewhile

from evalkit.baselines.published import Note
from evalkit.baselines.reading.columns import split_line
from evalkit.baselines.reading.fences import language_of
from evalkit.baselines.reading.own_reports import is_own_report
from evalkit.results.task_names import any_suite


def code_lines(lines: list[tuple[int, str]]) -> set[int]:
    """Return the numbers of the lines that name no model: what a hub reads, and configurations and programs.

    A block of code without a language that holds a table or names a suite is a log, and may name one.
    """
    if is_own_report(lines):  # its title names the model, and nothing else does
        return {number for number, text in lines if not text.startswith("# ")}
    found: set[int] = set()
    block: list[tuple[int, str]] = []
    language: str | None = None  # of the block that we are in; "" if it says none
    front = bool(lines) and lines[0][1].strip() == "---"
    for number, text in lines[1:] if front else lines:
        fence = language_of(text)
        if front:
            found.add(number)
            front = text.strip() != "---"
        elif language is None:
            language, block = fence, []
        elif fence is None:
            block.append((number, text))
        else:
            scored = any(split_line(said) is not None or any_suite(said) is not None for _, said in block)
            if not scored or language in _CODE:
                found |= {line for line, _ in block}
            language = None
    return found


_CODE = frozenset(("yaml", "yml", "json", "toml", "ini", "python", "py", "bash", "sh", "shell"))
"""Languages of blocks of code that hold no log."""


# What a program's log puts before its text: a time, a level, a file and line.
_LEVEL = r"(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR)"
_LOGGED = re.compile(
    r"^[\s>]*(?:\[?[0-9]{4}-[0-9]{2}-[0-9]{2}[T: _][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]+)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?\]?"
    rf"(?:\s*\|\s*{_LEVEL}\s*\|\s*[\w.:<>]+\s+-|[\s:-]*(?:\[?{_LEVEL}\]?)?)|{_LEVEL}:[\w.-]+:)"
    r"(?:\s*-?\s*[\w.]+\s+-(?=\s))?\s*(?:\[[\w./-]+:[0-9]+\]|[\w./-]+\.py:[0-9]+)?\s*:?\s*"
)


def without_prefixes(lines: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], set[int]]:
    """Return the lines without what a program's log puts before them, and the numbers of those that had it."""
    found = {number: match.end() for number, text in lines if (match := _LOGGED.match(text)) is not None}
    return [(number, text[found.get(number, 0) :]) for number, text in lines], set(found)


def unread_metadata(lines: list[tuple[int, str]]) -> list[Note]:
    """Return a note about the scores in what a hub reads of a card; they have neither version nor error."""
    if not lines or lines[0][1].strip() != "---":
        return []
    front = list(takewhile(lambda line: line[1].strip() != "---", lines[1:]))
    start = next((number for number, text in front if text.startswith("model-index:")), None)
    if start is None:
        return []
    count = sum(number > start and re.match(r"[\s-]*value:\s*\S", text) is not None for number, text in front)
    text = f"model-index: {count} score{'' if count == 1 else 's'} of the hub's metadata; not read"
    return [Note(start, text, unread=True)] if count else []
