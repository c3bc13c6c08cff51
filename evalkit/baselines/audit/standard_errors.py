"""Standard errors of a model's rows: do they follow from values and numbers of documents?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from evalkit.baselines.audit.checks import (
    Agreement,
    Finding,
    check_stderr,
    half_unit,
    is_possible_share,
)
from evalkit.baselines.published import ModelScores, Row
from evalkit.config.suites import is_graded


def rows_of(model: ModelScores) -> dict[tuple[str, str], Row]:
    return {(row.task, row.metric): row for table in model.tables for row in table.rows}


def documents_of(row: Row, counts: Mapping[str, int]) -> int:
    """Return the number of documents that a row is to be judged by; 0 if nobody knows it."""
    return row.documents if row.documents is not None else counts.get(row.task, 0)


def _documents_that_fit(row: Row) -> tuple[float, float] | None:
    """Return between which numbers of documents a row's printed standard error fits its value."""
    if row.stderr is None or not 0 < row.value < 1 or row.stderr <= half_unit(row.stderr):
        return None
    error, half, value = float(row.stderr), float(half_unit(row.stderr)), float(row.value)
    slack = float(half_unit(row.value))
    variances = [v * (1 - v) for v in (value - slack, value, value + slack)]
    return min(variances) / (error + half) ** 2 + 1, max(variances) / (error - half) ** 2 + 1


def _limited_to(found: Sequence[tuple[Row, int, Agreement]]) -> int | None:
    """Return the limit that a whole run seems to have had, where its errors contradict the tasks' documents.

    One number of documents, smaller than each of theirs, fits every error of several tasks that would be wrong; and
    tasks of more documents have none that is right.
    """
    wrong = [(row, documents) for row, documents, verdict in found if verdict is Agreement.INCONSISTENT]
    ranges = [fit for row, _ in wrong if (fit := _documents_that_fit(row)) is not None]
    if len({row.task for row, _ in wrong}) < 2 or len(ranges) < len(wrong):
        return None
    low, high = max(fit[0] for fit in ranges), min(fit[1] for fit in ranges)
    if low > high or high >= min(documents for _, documents in wrong):
        return None
    if any(verdict is Agreement.EXACT and documents > high for _, documents, verdict in found):
        return None
    likely = [n for n in range(math.ceil(low), math.floor(high) + 1) if n % 50 == 0]
    return likely[0] if likely else round((low + high) / 2)


def stderr_findings(model: ModelScores, counts: Mapping[str, int]) -> Iterable[Finding]:
    checked = [
        (row, documents, check_stderr(row.value, row.stderr, documents, graded=False)[0])
        for (task, metric), row in rows_of(model).items()
        if row.stderr is not None and (documents := documents_of(row, counts)) > 1 and not is_graded(task, metric)
    ]
    limit = _limited_to(checked)
    for (task, metric), row in rows_of(model).items():
        documents = documents_of(row, counts)
        what = f"{task} {metric}"
        binary = not is_graded(task, metric)
        if documents > 1 and binary and not is_possible_share(row.value, documents):
            reason = f"no whole number of right answers among {documents} documents is this share"
            yield Finding(row.line, what, str(row.value), "", Agreement.REMARK, reason, from_counts=True)
        if row.stderr is None:
            continue
        what = f"{what} standard error"
        if documents > 1:
            verdict, recomputed, reason = check_stderr(row.value, row.stderr, documents, graded=not binary)
            if limit is not None and verdict is Agreement.INCONSISTENT and binary:
                verdict, recomputed = Agreement.UNCHECKED, ""
                reason = f"not of {documents} documents; these errors all fit about {limit}: a limited run?"
            yield Finding(row.line, what, str(row.stderr), recomputed, verdict, reason)
        elif row.stderr > Decimal("0.5"):
            reason = "larger than any number of documents allows"
            yield Finding(row.line, what, str(row.stderr), "", Agreement.INCONSISTENT, reason)
        else:
            reason = "the number of documents is not known"
            yield Finding(row.line, what, str(row.stderr), "", Agreement.UNCHECKED, reason)
