"""Audit of published tables: recompute every average, total, change and standard error, and say which do not follow.

The rules of arithmetic are in `checks`; comparison tables, standard errors and groups are checked in modules of their
own. This one checks what a file says of a model's averages, and puts everything together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.baselines.audit.checks import (
    Agreement,
    Finding,
    as_decimal,
    classify,
    half_unit,
    places_of,
    right_answers,
)
from evalkit.baselines.audit.comparison_tables import check_comparison
from evalkit.baselines.audit.groups import group_findings
from evalkit.baselines.audit.standard_errors import documents_of, rows_of, stderr_findings
from evalkit.baselines.published import Log, ModelScores, Note, PrintedScore, Row
from evalkit.baselines.reading.averages import one_a_task
from evalkit.baselines.reading.logs import read_log
from evalkit.config.suites import Suite, is_graded, load_suites, load_tasks, same_documents

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Audit:
    """The audit of one file.

    Attributes:
        name: file name.
        findings: by line.
        log: the file as it was read, with what was not read.
    """

    name: str
    findings: tuple[Finding, ...]
    log: Log

    @property
    def inconsistent(self) -> tuple[Finding, ...]:
        """The findings that make the audit fail."""
        return tuple(finding for finding in self.findings if finding.verdict is Agreement.INCONSISTENT)

    def count(self, verdict: Agreement) -> int:
        """Return how many findings have a verdict."""
        return sum(finding.verdict is verdict for finding in self.findings)

    @property
    def read(self) -> bool:
        """Whether the file has any number that an audit can look at."""
        return bool(self.findings or self.log.models or self.log.comparisons)

    def __repr__(self) -> str:
        return f"<evalkit.Audit: {len(self.findings)} findings, {len(self.inconsistent)} inconsistent>"

    def _repr_markdown_(self) -> str:
        from evalkit.baselines.audit.text import audit_markdown

        return audit_markdown(self)

    def to_frame(self) -> pd.DataFrame:
        """Return all findings, a row each: line, what, printed, recomputed, verdict, reason.

        Numbers are in the unit that the file prints; printed and recomputed are empty where they are no plain number,
        and then the reason begins with them.
        """
        from evalkit.baselines.audit.text import audit_frame

        return audit_frame(self)


def document_counts() -> dict[str, int]:
    """Return task -> number of documents of the full data."""
    return {name: task.documents for name, task in load_tasks().items()}


def audit_file(path: Path, documents: Mapping[str, int] | None = None, *, strict: bool = False) -> Audit:
    """Audit a published log, model card or saved web page.

    Args:
        path: the file.
        documents: task -> number of documents; those of evalkit's suites if None.
        strict: count remarks that rest on the number of documents as inconsistent.

    Raises:
        DataError: the file cannot be read.
    """
    return audit_log(read_log(path), documents, strict=strict)


def audit_log(log: Log, documents: Mapping[str, int] | None = None, *, strict: bool = False) -> Audit:
    """Audit a file that was read already; see `audit_file`."""
    counts = document_counts() if documents is None else documents
    findings: list[Finding] = []
    for model in log.models:
        prefix = f"{model.name}: " if len(log.models) > 1 and model.name else ""
        found = [
            *stderr_findings(model, counts),
            *_averages(model, counts, log.notes),
            *_other_averages(model),
            *group_findings(model, counts),
            *_duplicates(model),
        ]
        findings += [replace(finding, what=prefix + finding.what) for finding in found]
    sections = suite_scores(log.models[0]) if len(log.models) == 1 else {}
    for comparison in log.comparisons:
        findings += check_comparison(comparison, sections)
    if strict:
        findings = [replace(f, verdict=Agreement.INCONSISTENT) if f.from_counts else f for f in findings]
    return Audit(log.name, tuple(sorted(findings, key=lambda finding: finding.line)), log)


def suite_scores(model: ModelScores) -> dict[str, Decimal]:
    """Return suite -> score in per cent, as printed; from the row where a suite of one task has no printed average."""
    scores = {average.suite: average.percent for average in model.averages if average.suite in load_suites()}
    rows = rows_of(model)
    for suite in load_suites().values():
        if len(suite.tasks) == 1 and suite.name not in scores:
            row = rows.get((suite.tasks[0].name, suite.tasks[0].headline))
            if row is not None:
                scores[suite.name] = row.value.scaleb(2)
    return {suite: score for suite, score in scores.items() if suite is not None}


# --- averages --------------------------------------------------------------------------------------------------------


def _averages(model: ModelScores, counts: Mapping[str, int], notes: Sequence[Note]) -> Iterable[Finding]:
    suites = load_suites()
    rows = rows_of(model)
    for average in model.averages:
        if average.suite in suites:
            beyond = _beyond_its_rows(average, model, notes)
            if beyond is not None:
                yield beyond
            else:
                yield from _average(average, suites[average.suite], rows, counts)
        else:
            yield _overall(average, suite_scores(model), rows)


def _beyond_its_rows(average: PrintedScore, model: ModelScores, notes: Sequence[Note]) -> Finding | None:
    """Return what is wrong with an average that is a row of a table and above, or below, all rows of that table."""
    table = next((t for t in model.tables if any(own.line == average.line for own in t.averages)), None)
    rows = one_a_task(list(table.rows)) if table is not None else ()
    suite = load_suites()[str(average.suite)]
    if len(rows) < 2 or {row.task for row in rows} >= {task.name for task in suite.tasks}:
        return None  # a whole suite's is recomputed
    if any(rows[0].line <= note.line <= average.line and note.unread for note in notes):
        return None  # a row of the table is lacking
    values = [100 * Fraction(row.value) for row in rows]
    slack = max(100 * half_unit(row.value) for row in rows) + half_unit(average.percent)
    if min(values) - slack <= Fraction(average.percent) <= max(values) + slack:
        return None
    mean = sum(values, Fraction(0)) / len(values)
    reason = f"the {len(rows)} rows of its table give {as_decimal(mean, 4)}, and all of them lie on one side of it"
    what, printed = f"{suite.title} average", str(average.percent)
    return Finding(average.line, what, printed, str(as_decimal(mean)), Agreement.INCONSISTENT, reason)


def _other_averages(model: ModelScores) -> Iterable[Finding]:
    """Check averages of rows that are no suite of evalkit, as leaderboards print them."""
    for average in model.other_averages:
        count = len(average.rows)
        exact = 100 * sum((Fraction(row.value) for row in average.rows), Fraction(0)) / count
        slack = 100 * sum((half_unit(row.value) for row in average.rows), Fraction(0)) / count
        verdict = classify(average.percent, exact, slack)
        reason = "" if verdict is Agreement.EXACT else f"the {count} rows give {as_decimal(exact, 4)}"
        if verdict is Agreement.INCONSISTENT and _are_subjects(average.rows):
            low, high = (100 * pick(Fraction(row.value) for row in average.rows) for pick in (min, max))
            if low - slack <= Fraction(average.percent) <= high + slack:
                verdict = Agreement.UNCHECKED
                reason += ", but an average over subjects is usually weighted by their questions"
        what = f"average of {average.what}"
        yield Finding(average.line, what, str(average.percent), str(as_decimal(exact)), verdict, reason)


def _are_subjects(rows: Sequence[Row]) -> bool:
    """Tell whether rows are parts of one benchmark, as ``hendrycksTest-anatomy`` and ``mmlu_law`` are."""
    stems = {re.split(r"[-_:/]", row.printed_task, maxsplit=1)[0].lower() for row in rows}
    return len(rows) > 2 and len(stems) == 1


def _overall(printed: PrintedScore, scores: Mapping[str, Decimal], rows: Mapping[tuple[str, str], Row]) -> Finding:
    """Check a total or an average over suites that stands in the text.

    A suite's printed average that its rows contradict is reported by itself; here its rows' average takes its place.
    """
    what = "Total over suites" if printed.suite == "total" else "Average over suites"
    known = [scores[suite.name] for suite in load_suites().values() if suite.in_total and suite.name in scores]
    needed = sum(suite.in_total for suite in load_suites().values())
    if len(known) < needed:
        reason = f"only {len(known)} of {needed} suites have a score in the file"
        return Finding(printed.line, what, str(printed.percent), "", Agreement.UNCHECKED, reason)
    divisor = 1 if printed.suite == "total" else needed
    values, slacks, wrong = [], [], []
    for suite in (suite for suite in load_suites().values() if suite.in_total):
        value, slack = Fraction(scores[suite.name]), half_unit(scores[suite.name])
        heads = [rows[task.name, task.headline] for task in suite.tasks if (task.name, task.headline) in rows]
        if len(heads) == len(suite.tasks):
            mean = 100 * sum((Fraction(row.value) for row in heads), Fraction(0)) / len(heads)
            spread = 100 * sum((half_unit(row.value) for row in heads), Fraction(0)) / len(heads)
            if classify(scores[suite.name], mean, spread) is Agreement.INCONSISTENT:
                value, slack = mean, spread
                wrong.append(suite.title)
        values.append(value)
        slacks.append(slack)
    exact = sum(values, Fraction(0)) / divisor
    verdict = classify(printed.percent, exact, sum(slacks, Fraction(0)) / divisor)
    reason = f"with the rows of {', '.join(wrong)} in place of the printed average" if wrong else ""
    reason = reason if verdict is not Agreement.EXACT else ""
    return Finding(printed.line, what, str(printed.percent), str(as_decimal(exact)), verdict, reason)


def _average(
    printed: PrintedScore, suite: Suite, rows: Mapping[tuple[str, str], Row], counts: Mapping[str, int]
) -> Iterable[Finding]:
    what = f"{suite.title} average"
    heads = [rows.get((task.name, task.headline)) for task in suite.tasks]
    found = [row for row in heads if row is not None]
    number = str(printed.percent)
    places = max(2, places_of(printed.percent))
    if not found:
        yield Finding(printed.line, what, number, "", Agreement.UNCHECKED, "the file has no rows of this suite")
        return
    exact = 100 * sum((Fraction(row.value) for row in found), Fraction(0)) / len(found)
    slack = 100 * sum((half_unit(row.value) for row in found), Fraction(0)) / len(found)
    known = _from_counts(found, counts)
    verdict = classify(printed.percent, exact, slack, known)
    absent = [task.name for task, row in zip(suite.tasks, heads, strict=True) if row is None]
    if absent:
        yield _partial(printed, what, verdict, exact, found, absent)
        return
    reason = _explain(printed.percent, suite, rows, exact) if verdict is Agreement.INCONSISTENT else ""
    recomputed = str(as_decimal(exact, places))
    if verdict is not Agreement.EXACT and places_of(as_decimal(exact, places)) == 2:
        reason = "; ".join(filter(None, (f"the rows give {as_decimal(exact, 4)}", reason)))
    yield Finding(printed.line, what, number, recomputed, verdict, reason)
    contradicted = known is not None and not rounds_to_or_cut(known, printed.percent)
    if verdict is Agreement.ROUNDED and contradicted and known is not None:
        reason = (
            f"the rows' numbers of right answers are known and give {as_decimal(known, 4)}, "
            f"so unrounded rows of these documents do not explain {number} either"
        )
        recomputed = str(as_decimal(known, places))
        yield Finding(printed.line, what, number, recomputed, Agreement.REMARK, reason, from_counts=True)


def rounds_to_or_cut(exact: Fraction, printed: Decimal) -> bool:
    """Tell whether a number prints as given, rounded or cut off."""
    return classify(printed, exact, Fraction(0)) is not Agreement.INCONSISTENT


def _from_counts(rows: Sequence[Row], counts: Mapping[str, int]) -> Fraction | None:
    """Return the average in per cent of the unrounded rows, where their numbers of right answers are known."""
    shares = []
    for row in rows:
        documents = documents_of(row, counts)
        right = right_answers(row.value, documents) if documents > 1 and not is_graded(row.task, row.metric) else None
        if right is None:
            return None
        shares.append(Fraction(right, documents))
    return 100 * sum(shares, Fraction(0)) / len(shares)


def _partial(
    printed: PrintedScore, what: str, verdict: Agreement, exact: Fraction, found: Sequence[Row], absent: Sequence[str]
) -> Finding:
    """Judge an average of a suite of which rows are missing: is there any value of theirs that explains it?"""
    missing = f"no rows of {', '.join(absent)}"
    number = str(printed.percent)
    if verdict is not Agreement.INCONSISTENT:
        reason = f"over the {len(found)} tasks that are there; {missing}"
        return Finding(printed.line, what, number, str(as_decimal(exact)), verdict, reason)
    everything = len(found) + len(absent)
    needed = (Fraction(printed.percent) * everything - exact * len(found)) / len(absent)
    margin = half_unit(printed.percent) * everything / len(absent)
    if -margin <= needed <= 100 + margin:
        reason = f"{missing}, which would have to score {as_decimal(needed)} on average"
        return Finding(printed.line, what, number, "", Agreement.UNCHECKED, reason)
    return Finding(printed.line, what, number, str(as_decimal(exact)), verdict, f"{missing}, and no score explains it")


def _explain(printed: Decimal, suite: Suite, rows: Mapping[tuple[str, str], Row], exact: Fraction) -> str:
    """Return the slip that gives a wrong average, if one of the usual ones does."""
    count = len(suite.tasks)

    def mean(values: Sequence[Fraction], divisor: int | None = None) -> Fraction:
        return 100 * sum(values, Fraction(0)) / (divisor or len(values))

    heads = [Fraction(rows[task.name, task.headline].value) for task in suite.tasks]
    for metric in sorted({metric for task in suite.tasks for metric in task.metrics}):
        chosen = [rows.get((task.name, metric), rows[task.name, task.headline]) for task in suite.tasks]
        if rounds_to_or_cut(mean([Fraction(row.value) for row in chosen]), printed):
            return f"it is the mean of {metric} in place of the headline metrics"
    for divisor in (count - 1, count + 1):
        if divisor and rounds_to_or_cut(mean(heads, divisor), printed):
            return f"it is the sum divided by {divisor} in place of {count}"
    every = [Fraction(row.value) for (task, _), row in rows.items() if task in {t.name for t in suite.tasks}]
    if len(every) > count and rounds_to_or_cut(mean(every), printed):
        return "it is the mean of all rows, not of one metric a task"
    for task in suite.tasks if count > 2 else ():
        rest = [h for t, h in zip(suite.tasks, heads, strict=True) if t is not task]
        if rounds_to_or_cut(mean(rest), printed):
            return f"it is the mean without {task.name}"
    digits, should = sorted(str(printed)), sorted(str(as_decimal(exact, places_of(printed))))
    return "two of its digits are swapped" if digits == should else ""


# --- rows that occur twice -------------------------------------------------------------------------------------------


def _duplicates(model: ModelScores) -> Iterable[Finding]:
    """Find tasks that have all their numbers in common with another task."""
    by_task: dict[str, list[Row]] = {}
    for (task, _), row in rows_of(model).items():
        by_task.setdefault(task, []).append(row)
    seen: dict[tuple[tuple[str, Decimal, Decimal | None], ...], str] = {}
    for task, rows in by_task.items():
        key = tuple((row.metric, row.value, row.stderr) for row in rows)
        telling = any(0 < row.value < 1 for row in rows) and (len(rows) > 1 or rows[0].stderr is not None)
        other = seen.setdefault(key, task) if telling else task
        if other == task:
            continue
        twins = same_documents().get(task) == other or same_documents().get(other) == task
        if any(row.documents is not None for row in rows) and not (twins and any(t.limit for t in model.tables)):
            continue  # of few documents many have equal numbers
        if twins:
            reason = f"the original data hold the documents of {other} again, so the average counts them twice"
        else:
            reason = f"the same numbers as {other}, line {by_task[other][0].line}: copied?"
        printed = ", ".join(str(row.value) for row in rows)
        yield Finding(rows[0].line, f"{task} repeats another task", printed, "", Agreement.REMARK, reason)
