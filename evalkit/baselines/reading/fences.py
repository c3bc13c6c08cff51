"""Fences of code blocks, for all that look for them."""

from __future__ import annotations

import re

FENCE_MARK = r"(?:```+|~~~+)"
"""What a fence begins with, as a pattern."""
_OPENING = re.compile(rf"[\s>]*{FENCE_MARK}[ \t]*(?P<braced>\{{?\.?)(?P<language>[\w+-]*)(?P<rest>.*)")
_LOGS = frozenset(("", "text", "txt", "markdown", "md", "log", "console", "plaintext", "bash", "sh", "shell"))
"""Languages of blocks that hold logs, tables and commands."""


def language_of(line: str) -> str | None:
    """Return the language that a fence names, in small letters, "" if it names none; None if the line is no fence.

    >>> [language_of(line) for line in ("```Python", "> ~~~", "```{.r}", "boolq")]
    ['python', '', 'r', None]
    """
    found = _OPENING.match(line)
    return found["language"].lower() if found is not None else None


def without_fences(line: str) -> str:
    """Return a line without a fence of a log that begins it, and without one that ends it.

    >>> [without_fences(line) for line in ("```text", "```Average: 40.1```", "``` yaml", "```python x")]
    ['', 'Average: 40.1', 'yaml', 'python x']
    """
    found = _OPENING.match(line)
    if found is not None:
        plain = not found["braced"] and found["language"].lower() in _LOGS
        line = found["rest"] if plain else f"{found['braced']}{found['language']}{found['rest']}"
    return re.sub(rf"{FENCE_MARK}\s*$", "", line).strip()
