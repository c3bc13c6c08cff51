"""Audit of published tables: recompute every average, total, change and standard error, and say which do not follow.

The rules of arithmetic are in `checks`, the comparison table is checked in
`comparison_tables`; this module checks what a file says about one model and puts everything together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.baselines.audit.checks import (
    Finding,
    Verdict,
    as_decimal,
    check_stderr,
    classify,
    half_unit,
    is_possible_share,
    places_of,
    right_answers,
)
from evalkit.baselines.audit.comparison_tables import check_comparison
from evalkit.baselines.published import GroupScore, Log, ModelScores, PrintedScore, Row
from evalkit.baselines.reading.logs import read_log
from evalkit.suites import GRADED, Suite, load_suites, load_tasks, same_documents
from evalkit.task_names import bare, leading_suite, suite_of_task

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
        return tuple(finding for finding in self.findings if finding.verdict is Verdict.INCONSISTENT)

    def count(self, verdict: Verdict) -> int:
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
            *_stderrs(model, counts),
            *_averages(model, counts),
            *_other_averages(model),
            *_groups(model, counts),
            *_duplicates(model),
        ]
        findings += [replace(finding, what=prefix + finding.what) for finding in found]
    sections = suite_scores(log.models[0]) if len(log.models) == 1 else {}
    for comparison in log.comparisons:
        findings += check_comparison(comparison, sections)
    if strict:
        findings = [replace(f, verdict=Verdict.INCONSISTENT) if f.from_counts else f for f in findings]
    return Audit(log.name, tuple(sorted(findings, key=lambda finding: finding.line)), log)


def _rows(model: ModelScores) -> dict[tuple[str, str], Row]:
    return {(row.task, row.metric): row for table in model.tables for row in table.rows}


def _documents(row: Row, counts: Mapping[str, int]) -> int:
    return row.documents or counts.get(row.task, 0)


def suite_scores(model: ModelScores) -> dict[str, Decimal]:
    """Return suite -> score in per cent, as printed; from the row where a suite of one task has no printed average."""
    scores = {average.suite: average.percent for average in model.averages if average.suite in load_suites()}
    rows = _rows(model)
    for suite in load_suites().values():
        if len(suite.tasks) == 1 and suite.name not in scores:
            row = rows.get((suite.tasks[0].name, suite.tasks[0].headline))
            if row is not None:
                scores[suite.name] = row.value.scaleb(2)
    return {suite: score for suite, score in scores.items() if suite is not None}


# --- standard errors -------------------------------------------------------------------------------------------------


def _documents_that_fit(row: Row) -> tuple[float, float] | None:
    """Return between which numbers of documents a row's printed standard error fits its value."""
    if row.stderr is None or not 0 < row.value < 1 or row.stderr <= half_unit(row.stderr):
        return None
    error, half, value = float(row.stderr), float(half_unit(row.stderr)), float(row.value)
    slack = float(half_unit(row.value))
    variances = [v * (1 - v) for v in (value - slack, value, value + slack)]
    return min(variances) / (error + half) ** 2 + 1, max(variances) / (error - half) ** 2 + 1


def _limited_to(found: Sequence[tuple[Row, int, Verdict]]) -> int | None:
    """Return the limit that a whole run seems to have had, where its errors contradict the tasks' documents.

    One number of documents, smaller than each of theirs, fits every error of several tasks that would be wrong; and
    tasks of more documents have none that is right.
    """
    wrong = [(row, documents) for row, documents, verdict in found if verdict is Verdict.INCONSISTENT]
    ranges = [fit for row, _ in wrong if (fit := _documents_that_fit(row)) is not None]
    if len({row.task for row, _ in wrong}) < 2 or len(ranges) < len(wrong):
        return None
    low, high = max(fit[0] for fit in ranges), min(fit[1] for fit in ranges)
    if low > high or high >= min(documents for _, documents in wrong):
        return None
    if any(verdict is Verdict.EXACT and documents > high for _, documents, verdict in found):
        return None
    likely = [n for n in range(math.ceil(low), math.floor(high) + 1) if n % 50 == 0]
    return likely[0] if likely else round((low + high) / 2)


def _stderrs(model: ModelScores, counts: Mapping[str, int]) -> Iterable[Finding]:
    checked = [
        (row, documents, check_stderr(row.value, row.stderr, documents, graded=False)[0])
        for (_, metric), row in _rows(model).items()
        if row.stderr is not None and (documents := _documents(row, counts)) > 1 and metric not in GRADED
    ]
    limit = _limited_to(checked)
    for (task, metric), row in _rows(model).items():
        documents = _documents(row, counts)
        what = f"{task} {metric}"
        binary = metric not in GRADED
        if documents > 1 and binary and not is_possible_share(row.value, documents):
            reason = f"no whole number of right answers among {documents} documents is this share"
            yield Finding(row.line, what, str(row.value), "", Verdict.REMARK, reason, from_counts=True)
        if row.stderr is None:
            continue
        what = f"{what} standard error"
        if documents > 1:
            verdict, recomputed, reason = check_stderr(row.value, row.stderr, documents, graded=not binary)
            if limit is not None and verdict is Verdict.INCONSISTENT and binary:
                verdict, recomputed = Verdict.UNCHECKED, ""
                reason = f"not of {documents} documents; these errors all fit about {limit}: a limited run?"
            yield Finding(row.line, what, str(row.stderr), recomputed, verdict, reason)
        elif row.stderr > Decimal("0.5"):
            reason = "larger than any number of documents allows"
            yield Finding(row.line, what, str(row.stderr), "", Verdict.INCONSISTENT, reason)
        else:
            reason = "the number of documents is not known"
            yield Finding(row.line, what, str(row.stderr), "", Verdict.UNCHECKED, reason)


# --- averages --------------------------------------------------------------------------------------------------------


def _averages(model: ModelScores, counts: Mapping[str, int]) -> Iterable[Finding]:
    suites = load_suites()
    rows = _rows(model)
    for average in model.averages:
        if average.suite in suites:
            yield from _average(average, suites[average.suite], rows, counts)
        else:
            yield _overall(average, suite_scores(model), rows)


def _other_averages(model: ModelScores) -> Iterable[Finding]:
    """Check averages of rows that are no suite of evalkit, as leaderboards print them."""
    for average in model.other_averages:
        count = len(average.rows)
        exact = 100 * sum((Fraction(row.value) for row in average.rows), Fraction(0)) / count
        slack = 100 * sum((half_unit(row.value) for row in average.rows), Fraction(0)) / count
        verdict = classify(average.percent, exact, slack)
        reason = "" if verdict is Verdict.EXACT else f"the {count} rows give {as_decimal(exact, 4)}"
        if verdict is Verdict.INCONSISTENT and _are_subjects(average.rows):
            low, high = (100 * pick(Fraction(row.value) for row in average.rows) for pick in (min, max))
            if low - slack <= Fraction(average.percent) <= high + slack:
                verdict = Verdict.UNCHECKED
                reason += ", but an average over subjects is usually weighted by their questions"
        what = f"average of {average.what}"
        yield Finding(average.line, what, str(average.percent), str(as_decimal(exact)), verdict, reason)


def _are_subjects(rows: Sequence[Row]) -> bool:
    """Tell whether rows are parts of one benchmark, as ``hendrycksTest-anatomy`` and ``mmlu_law`` are."""
    stems = {re.split(r"[-_:/]", row.printed_task, maxsplit=1)[0].lower() for row in rows}
    return len(rows) > 2 and len(stems) == 1


def _groups(model: ModelScores, counts: Mapping[str, int]) -> Iterable[Finding]:
    """Compare the score of a group with its members': it is their mean, weighted by documents or not."""
    groups = [group for table in model.tables for group in table.groups]
    rows = _rows(model)
    for group in groups:  # a group may be the member of another
        rows.setdefault(
            (group.name, group.metric), Row(group.line, group.name, group.name, group.metric, group.value, None)
        )
    names_of_groups = {(group.name, group.metric) for group in groups}
    seen: dict[tuple[str, str], GroupScore] = {}
    for group in groups:
        first = seen.setdefault((group.name, group.metric), group)
        if first.value != group.value:
            reason = f"{first.value} on line {first.line}: two scores of one group"
            what = f"{group.name} {group.metric} (group)"
            yield Finding(group.line, what, str(group.value), "", Verdict.INCONSISTENT, reason)
        if first is not group:
            continue  # the table of groups repeats what the table of tasks says
        named = leading_suite(group.name)
        suite = load_suites().get(named[0]) if named is not None else None
        names = group.members or tuple(
            dict.fromkeys(
                task
                for task, _ in rows
                if (task.startswith(f"{group.name}_") and (task, group.metric) not in names_of_groups)
                or (suite is not None and task in {t.name for t in suite.tasks})
            )
        )
        found = [rows[task, group.metric] for task in names if (task, group.metric) in rows]
        what, printed = f"{group.name} {group.metric} (group)", str(group.value)
        if len(found) < max(1, len(names)):
            reason = "its members have no rows of this metric" if not found else "some members have no such row"
            yield Finding(group.line, what, printed, "", Verdict.UNCHECKED, reason)
            continue
        values = [Fraction(row.value) for row in found]
        slack = max(half_unit(row.value) for row in found)
        mean = sum(values, Fraction(0)) / len(values)
        verdict, exact = classify(group.value, mean, slack), mean
        sizes = [_documents(row, counts) for row in found]
        if verdict is Verdict.INCONSISTENT and all(sizes):
            exact = sum((v * n for v, n in zip(values, sizes, strict=True)), Fraction(0)) / sum(sizes)
            verdict = classify(group.value, exact, slack)
        whole = _tasks_of_group(group.name, names)
        if verdict is Verdict.INCONSISTENT and len(found) < whole:
            verdict, reason = Verdict.UNCHECKED, f"the file shows {len(found)} of its {whole} tasks"
            yield Finding(group.line, what, printed, "", verdict, reason)
            continue
        reason = "" if verdict is Verdict.EXACT else f"the mean of its {len(found)} members is {as_decimal(mean, 4)}"
        if verdict is Verdict.INCONSISTENT:
            if all(sizes):
                reason += f", weighted by documents {as_decimal(exact, 4)}"
            elif min(values) - slack <= group.value <= max(values) + slack:
                verdict = Verdict.UNCHECKED
                reason += ", and weighted by unknown numbers of documents it may be another"
            else:
                reason += "; no weights of theirs give it"
        yield Finding(group.line, what, printed, str(as_decimal(exact, places_of(group.value))), verdict, reason)


def _tasks_of_group(group: str, shown: Sequence[str]) -> int:
    """Return how many tasks a group has that is named after a suite of evalkit; 0 of any other group."""
    suites = {suite for task in shown if (suite := suite_of_task(task)) is not None}
    named = load_suites().get(suites.pop()) if len(suites) == 1 else None
    return len(named.tasks) if named is not None and bare(group).startswith(bare(named.name)) else 0


def _overall(printed: PrintedScore, scores: Mapping[str, Decimal], rows: Mapping[tuple[str, str], Row]) -> Finding:
    """Check a total or an average over suites that stands in the text.

    A suite's printed average that its rows contradict is reported by itself; here its rows' average takes its place.
    """
    what = "Total over suites" if printed.suite == "total" else "Average over suites"
    known = [scores[suite.name] for suite in load_suites().values() if suite.in_total and suite.name in scores]
    needed = sum(suite.in_total for suite in load_suites().values())
    if len(known) < needed:
        reason = f"only {len(known)} of {needed} suites have a score in the file"
        return Finding(printed.line, what, str(printed.percent), "", Verdict.UNCHECKED, reason)
    divisor = 1 if printed.suite == "total" else needed
    values, slacks, wrong = [], [], []
    for suite in (suite for suite in load_suites().values() if suite.in_total):
        value, slack = Fraction(scores[suite.name]), half_unit(scores[suite.name])
        heads = [rows[task.name, task.headline] for task in suite.tasks if (task.name, task.headline) in rows]
        if len(heads) == len(suite.tasks):
            mean = 100 * sum((Fraction(row.value) for row in heads), Fraction(0)) / len(heads)
            spread = 100 * sum((half_unit(row.value) for row in heads), Fraction(0)) / len(heads)
            if classify(scores[suite.name], mean, spread) is Verdict.INCONSISTENT:
                value, slack = mean, spread
                wrong.append(suite.title)
        values.append(value)
        slacks.append(slack)
    exact = sum(values, Fraction(0)) / divisor
    verdict = classify(printed.percent, exact, sum(slacks, Fraction(0)) / divisor)
    reason = f"with the rows of {', '.join(wrong)} in place of the printed average" if wrong else ""
    reason = reason if verdict is not Verdict.EXACT else ""
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
        yield Finding(printed.line, what, number, "", Verdict.UNCHECKED, "the file has no rows of this suite")
        return
    exact = 100 * sum((Fraction(row.value) for row in found), Fraction(0)) / len(found)
    slack = 100 * sum((half_unit(row.value) for row in found), Fraction(0)) / len(found)
    known = _from_counts(found, counts)
    verdict = classify(printed.percent, exact, slack, known)
    absent = [task.name for task, row in zip(suite.tasks, heads, strict=True) if row is None]
    if absent:
        yield _partial(printed, what, verdict, exact, found, absent)
        return
    reason = _explain(printed.percent, suite, rows, exact) if verdict is Verdict.INCONSISTENT else ""
    recomputed = str(as_decimal(exact, places))
    if verdict is not Verdict.EXACT and places_of(as_decimal(exact, places)) == 2:
        reason = "; ".join(filter(None, (f"the rows give {as_decimal(exact, 4)}", reason)))
    yield Finding(printed.line, what, number, recomputed, verdict, reason)
    contradicted = known is not None and not rounds_to_or_cut(known, printed.percent)
    if verdict is Verdict.ROUNDED and contradicted and known is not None:
        reason = (
            f"the rows' numbers of right answers are known and give {as_decimal(known, 4)}, "
            f"so unrounded rows of these documents do not explain {number} either"
        )
        recomputed = str(as_decimal(known, places))
        yield Finding(printed.line, what, number, recomputed, Verdict.REMARK, reason, from_counts=True)


def rounds_to_or_cut(exact: Fraction, printed: Decimal) -> bool:
    """Tell whether a number prints as given, rounded or cut off."""
    return classify(printed, exact, Fraction(0)) is not Verdict.INCONSISTENT


def _from_counts(rows: Sequence[Row], counts: Mapping[str, int]) -> Fraction | None:
    """Return the average in per cent of the unrounded rows, where their numbers of right answers are known."""
    shares = []
    for row in rows:
        documents = _documents(row, counts)
        right = right_answers(row.value, documents) if documents > 1 and row.metric not in GRADED else None
        if right is None:
            return None
        shares.append(Fraction(right, documents))
    return 100 * sum(shares, Fraction(0)) / len(shares)


def _partial(
    printed: PrintedScore, what: str, verdict: Verdict, exact: Fraction, found: Sequence[Row], absent: Sequence[str]
) -> Finding:
    """Judge an average of a suite of which rows are missing: is there any value of theirs that explains it?"""
    missing = f"no rows of {', '.join(absent)}"
    number = str(printed.percent)
    if verdict is not Verdict.INCONSISTENT:
        reason = f"over the {len(found)} tasks that are there; {missing}"
        return Finding(printed.line, what, number, str(as_decimal(exact)), verdict, reason)
    everything = len(found) + len(absent)
    needed = (Fraction(printed.percent) * everything - exact * len(found)) / len(absent)
    margin = half_unit(printed.percent) * everything / len(absent)
    if -margin <= needed <= 100 + margin:
        reason = f"{missing}, which would have to score {as_decimal(needed)} on average"
        return Finding(printed.line, what, number, "", Verdict.UNCHECKED, reason)
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
    for (task, _), row in _rows(model).items():
        by_task.setdefault(task, []).append(row)
    seen: dict[tuple[tuple[str, Decimal, Decimal | None], ...], str] = {}
    for task, rows in by_task.items():
        key = tuple((row.metric, row.value, row.stderr) for row in rows)
        telling = any(0 < row.value < 1 for row in rows) and (len(rows) > 1 or rows[0].stderr is not None)
        other = seen.setdefault(key, task) if telling else task
        if other == task:
            continue
        if same_documents().get(task) == other or same_documents().get(other) == task:
            reason = f"the original data hold the documents of {other} again, so the average counts them twice"
        else:
            reason = f"the same numbers as {other}, line {by_task[other][0].line}: copied?"
        printed = ", ".join(str(row.value) for row in rows)
        yield Finding(rows[0].line, f"{task} repeats another task", printed, "", Verdict.REMARK, reason)
