"""Does a printed number follow from the numbers beside it? Exact decimal arithmetic, no tolerance but rounding.

Every row of a table was rounded before it was printed, so a sum or mean of rows is only known to within half a unit of
the rows' last place each. A printed number can therefore be

- exact: what the printed rows give, rounded;
- rounded from unrounded values: not what the printed rows give, but what unrounded rows behind them can give;
- truncated: cut off instead of rounded;
- inconsistent: none of these.

Scores of right and wrong answers say more: k right of n documents is the only value that prints as 0.5316 for n = 190,
so the unrounded rows, and with them the average, are known exactly, and rounding can be told from truncation for sure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from enum import Enum
from fractions import Fraction


class Agreement(str, Enum):
    """What an audit says about a number."""

    EXACT = "exact"
    ROUNDED = "rounded from unrounded values"
    TRUNCATED = "truncated"
    INCONSISTENT = "inconsistent"
    UNCHECKED = "not checkable"
    REMARK = "remark"


@dataclass(frozen=True)
class Finding:
    """One number (or one heading, one pair of rows) and what the audit says about it.

    Attributes:
        line: line number in the file, from 1.
        what: what it is, e.g. ``BigBench average``.
        printed: as printed.
        recomputed: what the numbers beside it give, or empty.
        verdict: see `Agreement`.
        reason: why, or what else is worth knowing; may be empty.
        from_counts: True for a remark that rests on the number of documents; inconsistent in a strict audit.
    """

    line: int
    what: str
    printed: str
    recomputed: str
    verdict: Agreement
    reason: str = ""
    from_counts: bool = False


def places_of(number: Decimal) -> int:
    """Return the number of printed places after the point."""
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def half_unit(number: Decimal) -> Fraction:
    """Return half a unit of a number's last printed place: how far the unrounded number can be from it."""
    return Fraction(1, 2 * 10 ** places_of(number))


def rounds_to(exact: Fraction, printed: Decimal) -> bool:
    """Tell whether a number rounds to the printed one; a tie may go either way, as it does in the tools people use."""
    return abs(exact - Fraction(printed)) <= half_unit(printed)


def cut_to(exact: Fraction, printed: Decimal) -> bool:
    """Tell whether cutting off a number's further places gives the printed one."""
    distance = (exact - Fraction(printed)) * (-1 if printed < 0 else 1)
    return 0 <= distance < 2 * half_unit(printed)


def as_decimal(exact: Fraction, places: int = 2) -> Decimal:
    """Return a fraction rounded half away from zero to so many places."""
    scaled = abs(exact) * 10**places
    whole = Decimal(math.floor(scaled + Fraction(1, 2)))
    return (whole if exact >= 0 else -whole).scaleb(-places)


def classify(printed: Decimal, exact: Fraction, slack: Fraction, known: Fraction | None = None) -> Agreement:
    """Return how a printed number relates to what it should be.

    Args:
        printed: the number.
        exact: what the printed inputs give.
        slack: how far the unrounded inputs can be from that.
        known: what the unrounded inputs give, where they can be reconstructed.
    """
    if rounds_to(exact, printed):
        return Agreement.EXACT
    if known is not None and abs(known - exact) <= slack:
        if rounds_to(known, printed):
            return Agreement.ROUNDED
        if cut_to(known, printed):
            return Agreement.TRUNCATED
    elif cut_to(exact, printed):
        # Nearly every rounding error of the inputs would have to point the same way to use up all of the slack; a
        # quarter of it is what several of them usually leave.
        near = abs(exact - Fraction(printed)) - half_unit(printed) <= slack / 4
        return Agreement.ROUNDED if near else Agreement.TRUNCATED
    if abs(exact - Fraction(printed)) <= slack + half_unit(printed):
        return Agreement.ROUNDED
    low, high = exact - slack, exact + slack
    unit = 2 * half_unit(printed)
    start, end = (
        (Fraction(printed) - unit, Fraction(printed)) if printed < 0 else (Fraction(printed), Fraction(printed) + unit)
    )
    return Agreement.TRUNCATED if low < end and high >= start else Agreement.INCONSISTENT


FLOAT_PLACES = 12
"""Numbers with so many places were written by a program, in binary: their last places are not rounded decimals."""


def share_slack(number: Decimal) -> Fraction:
    """Return how far the unrounded number can be from a printed one: half a unit, or what binary sums lose."""
    return Fraction(1, 10**FLOAT_PLACES) if places_of(number) >= FLOAT_PLACES else half_unit(number)


def right_answers(value: Decimal, documents: int) -> int | None:
    """Return the only number of right answers among so many documents that prints as a share; None if none or several.

    >>> right_answers(Decimal("0.5316"), 190)
    101
    """
    first = math.ceil((Fraction(value) - share_slack(value)) * documents)
    last = math.floor((Fraction(value) + share_slack(value)) * documents)
    return first if first == last else None


def is_possible_share(value: Decimal, documents: int) -> bool:
    """Tell whether some number of right answers among so many documents prints as this share."""
    first = math.ceil((Fraction(value) - share_slack(value)) * documents)
    return first <= math.floor((Fraction(value) + share_slack(value)) * documents)


def _binomial(share: float, divisor: int) -> float:
    return math.sqrt(max(0.0, share * (1 - share)) / divisor)


def _prints_as(low: float, high: float, printed: Decimal) -> bool:
    half = float(half_unit(printed)) + 1e-12
    return low - half <= float(printed) <= high + half


def check_stderr(value: Decimal, stderr: Decimal, documents: int, *, graded: bool) -> tuple[Agreement, str, str]:
    """Return verdict, recomputed number and reason for a standard error printed beside a share.

    Args:
        value: the share.
        stderr: its printed standard error.
        documents: number of documents.
        graded: True if a document's score can lie between 0 and 1; the share then only bounds the error: no scores
            between 0 and 1 spread more around their mean than zeros and ones do.
    """
    half = float(half_unit(value))
    low, high = max(0.0, float(value) - half), min(1.0, float(value) + half)
    spreads = [_binomial(share, documents - 1) for share in (low, high)]
    most = _binomial(0.5, documents - 1) if low <= 0.5 <= high else max(spreads)
    expected = Decimal(repr(_binomial(float(value), documents - 1)))
    places = places_of(stderr)
    step = Decimal(1).scaleb(-places)
    shown = str(expected.quantize(step, rounding=ROUND_HALF_UP))
    if graded:
        if float(stderr) > most + float(half_unit(stderr)) + 1e-12:
            return Agreement.INCONSISTENT, f"at most {shown}", f"larger than scores of {documents} documents allow"
        return Agreement.UNCHECKED, f"at most {shown}", "graded metric: the share only bounds its error"
    if places >= FLOAT_PLACES and abs(float(stderr) - float(expected)) < 1e-9:
        return Agreement.EXACT, shown, ""
    if stderr in (expected.quantize(step, rounding=ROUND_HALF_UP), expected.quantize(step, rounding=ROUND_HALF_EVEN)):
        return Agreement.EXACT, shown, ""
    if _prints_as(min(spreads), most, stderr):
        return Agreement.ROUNDED, shown, ""
    # Some tools divide by n instead of n - 1, which is another definition and no mistake.
    others = [_binomial(share, documents) for share in (low, high)]
    if _prints_as(min(others), max(others), stderr):
        return Agreement.ROUNDED, shown, "with n in place of n - 1"
    if stderr == expected.quantize(step, rounding=ROUND_FLOOR):
        return Agreement.TRUNCATED, shown, ""
    return Agreement.INCONSISTENT, shown, _why_not(value, stderr, documents)


def _why_not(value: Decimal, stderr: Decimal, documents: int) -> str:
    spread = float(value) * (1 - float(value))
    if stderr == 0:
        return f"an error of 0 is impossible for a share of {value}"
    fits = round(spread / float(stderr) ** 2 + 1)
    if fits < 2:
        return "larger than any number of documents allows"
    other = "" if fits == documents else f"; it would fit about {fits}"  # the error's last digit is off
    return f"impossible with {documents} documents{other}"
