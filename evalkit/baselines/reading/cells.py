"""One cell of a table -> its number. A cell that is not understood as a whole is none."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal

_NUMBER = r"[+-]?(?:[0-9]+(?:[.,][0-9]+)?|[.,][0-9]+)"
_POWER = r"(?:[eE][+-]?[0-9]{1,2}|\s*[×xX*·]\s*10\s*\^\s*[+-]?[0-9]{1,2})?"
# Marks beside a number: footnotes, arrows, medals and other signs, but none that says less, more, about or times.
_SIGNS = r"†‡§¶∗#^°↑↓→←↗↘↖↙⇑⇓⇧⇩▲▼△▽"
_UP_DOWN = r"↑↓↗↘↖↙⇑⇓⇧⇩▲▼△▽"
# A change stands in brackets behind its number; without them nobody knows which of two numbers is the score.
_DELTA = rf"\(\s*(?:[+-]|(?P<arrow>[{_UP_DOWN}]))\s*(?P<change>{_NUMBER})\s*%?\s*\)"
_CHANGE = re.compile(rf"^[\s*_`$(]*[+{_UP_DOWN}→⇒]")
_SCORE = re.compile(
    rf"^(?P<value>{_NUMBER}{_POWER})\s*(?P<percent>%?)\s*(?:\((?P<shots>[0-9]{{1,3}})[\s-]*shots?\)\s*)?"
    rf"(?:\(?\s*(?:±|\+\s*/?\s*-|\\pm|_)\s*(?P<stderr>{_NUMBER}{_POWER})\s*(?P<stderr_percent>%?)\s*\)?)?"
    rf"\s*(?:{_DELTA})?$",
    re.IGNORECASE,
)
NO_METRIC = "score"
"""The metric of a row that names none."""

# Emphasis that LaTeX and Markdown put around a number, and remarks behind it that only say how it ranks.
_LATEX = re.compile(r"\\(?:text(?:bf|it|rm|tt|sf)|math(?:bf|it|rm)|underline|emph|bm|boldsymbol)\s*\{([^{}\\]*)\}")
_REMARK = re.compile(
    r"\s*\((?:best|2nd|second|second[\s-]best|runner[\s-]up|ours|sota|最佳|最好|最优|最高|次优)\)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Score:
    """A printed number.

    Attributes:
        value: as printed.
        stderr: the standard error printed in the same cell, or None.
        percent: True if a per cent sign follows.
        shots: the number of examples in the prompt that the cell names, or None.
        stderr_percent: True if a per cent sign follows the standard error.
    """

    value: Decimal
    stderr: Decimal | None
    percent: bool
    shots: int | None = None
    stderr_percent: bool = False


def decimal_of(text: str) -> Decimal | None:
    """Return a printed number; None for ``1,234``, of which nobody knows whether its comma is a decimal one."""
    number, _, power = re.sub(r"\s*[×xX*·]\s*10\s*\^\s*", "e", text).lower().partition("e")
    if re.fullmatch(r"[+-]?[1-9][0-9]*,[0-9]{3}", number):
        return None
    value = Decimal(number.replace(",", "."))
    return value.scaleb(int(power)) if power else value


def without_marks(cell: str) -> str:
    """Return a cell without footnote marks, arrows, medals and the like at its ends."""

    def is_mark(character: str) -> bool:
        return character.isspace() or character in _SIGNS or unicodedata.category(character) in ("So", "Sk", "Mn", "Lm")

    text = cell.strip().strip("`$ ")
    start, end = 0, len(text)
    while start < end and is_mark(text[start]):
        start += 1
    while end > start and (is_mark(text[end - 1]) or re.search(r"\[[0-9a-z]\]$", text[:end])):
        end -= 3 if text[end - 1] == "]" else 1
    return text[start:end]


def score_of(cell: str) -> Score | None:
    """Return the number in a cell, or None if the cell is anything but a number with an optional error and marks.

    >>> score_of("🥇 0.8001† (+0.5)").value
    Decimal('0.8001')
    >>> score_of("N/A") is score_of("~0.6") is score_of("0.5 / 0.6") is None
    True
    """
    if len(cell) > 80:
        return None
    # A mark between the number and what follows it: 0.8001† (+0.5), 0.8001* ± 0.008.
    text = _REMARK.sub("", _LATEX.sub(r"\1", _LATEX.sub(r"\1", without_marks(cell))))
    text = re.sub(r"^(_{1,2})([^_]+)\1$", r"\2", without_marks(text))
    text = re.sub(rf"(?<=[0-9%])[{_SIGNS}]+(?=\s*(?:\(|±|$))", "", text)
    found = _SCORE.match(text)
    if found is None:
        return None
    value = decimal_of(found["value"])
    stderr = decimal_of(found["stderr"]) if found["stderr"] else None
    if value is None or (found["stderr"] and stderr is None):
        return None
    if re.match(r"[+-]?[0-9]+_|[^_]*_[0-9]+(?:[^0-9.,]|$)", text):
        return None  # 1_000: a number with its digits in groups, or nobody knows; an error behind "_" has places
    change = decimal_of(found["change"]) if found["arrow"] else None
    if found["arrow"] and (change is None or 2 * abs(change) > abs(value)):
        return None  # an arrow to the new number, not by how much it changed
    shots = int(found["shots"]) if found["shots"] else None
    return Score(value, stderr, bool(found["percent"]), shots, bool(found["stderr_percent"]))


def value_of(cell: str) -> Score | None:
    """Return the number in a cell of a column of scores: one with a sign or arrow before it is a change, no score.

    >>> value_of("+0.0044") is value_of("↑0.0123") is None
    True
    """
    return None if _CHANGE.match(cell) else score_of(cell)


_NOTHING = re.compile(r"^(?:[-/.?_\s]*|n/?a|none|null|tbd|todo|nan|不适用|无)$", re.IGNORECASE)


def holds_nothing(cell: str) -> bool:
    """Tell whether a cell says that there is no number: empty, dashes, N/A and the like."""
    return _NOTHING.match(cell.strip()) is not None
