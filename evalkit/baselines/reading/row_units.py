"""Whether a number is a share or per cent, told by its standard error and its task's documents."""

from __future__ import annotations

import math
from decimal import Decimal

from evalkit.baselines.reading.table_lines import RawRow
from evalkit.config.suites import load_tasks
from evalkit.results.task_names import task_and_metric, task_and_shots


def unit_of(row: RawRow) -> str | None:
    """Return the unit, ``share`` or ``per cent``, in which a number of at most 1 fits its standard error; else None.

    An error is about sqrt(p (1 - p) / n) of the n documents of its task; those of an unknown task are at least ten, and
    not more than a million.
    """
    score = row.score
    assert score is not None  # rows without a number have no unit
    stderr = row.stderr if row.stderr is not None else score
    error = stderr.value if row.stderr is not None else score.stderr
    signed = row.stderr.percent if row.stderr is not None else score.stderr_percent
    if error is None or not error or signed or not 0 < score.value <= 1:
        return None
    task, _ = task_and_metric(task_and_shots(row.task)[0], row.metric)
    known = load_tasks().get(task)

    documents = known.documents if known is not None else None

    def implied(scale: int) -> float:
        value = float(score.value) / scale
        return value * (1 - value) / (float(error) / scale) ** 2

    def fits(found: float) -> bool:
        return documents / 9 < found < 9 * documents if documents is not None else 10 < found < 1e6

    if fits(implied(1)):
        return None if fits(implied(100)) else "share"
    # Per cent that are taken for shares have errors ten times too large, so a hundredth of the documents. Of more than
    # three places they are never printed, and a share of that many rounds to very little.
    if score.value.as_tuple().exponent < -3:  # type: ignore[operator]  # a number's exponent, not that of NaN
        return None
    too_few = documents / 30 if documents is not None else 10
    return "per cent" if fits(implied(100)) and implied(1) < too_few else None


def unlike_an_error(value: Decimal, stderr: Decimal, task: str, *, assumed: bool) -> str | None:
    """Tell why a number is no standard error of a mean of shares, or has another unit; None if it may be one.

    The documents of a known task say how large an error is about: one above 0.5, which no mean of shares has, is per
    cent if it fits as such. Where per cent was only `assumed`, since the value is per cent, an error that implies more
    than ten million documents, or is ten times too small and fits as a share, is a share beside a percentage.
    """
    p, error = float(value), float(stderr)
    variance = p * (1 - p)
    if not 0 <= error <= 1:
        return "is no standard error of a share"
    if not error or not variance:
        return None
    known = load_tasks().get(task)
    expected = math.sqrt(variance / known.documents) if known is not None else 0.0
    if known is not None and error > 0.5 and expected / 3 < error / 100 < 3 * expected:
        return f"has another unit than its value ({known.documents} documents)"
    if not assumed:
        return None
    if known is not None and error < expected / 10 and expected / 3 < 100 * error < 3 * expected:
        return f"has another unit than its value ({known.documents} documents)"
    if variance / error**2 > 1e7:
        return "is too small beside a percentage (it would take more than ten million documents)"
    return None
