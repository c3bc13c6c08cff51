"""Rows of groups: do their scores follow from their members'?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from evalkit.baselines.audit.checks import (
    Agreement,
    Finding,
    as_decimal,
    classify,
    half_unit,
    places_of,
)
from evalkit.baselines.audit.standard_errors import documents_of, rows_of
from evalkit.baselines.published import GroupScore, ModelScores, Row
from evalkit.config.suites import load_suites
from evalkit.results.task_names import bare, leading_suite, suite_of_task

_GROUPS = {"mmlu": 4, "humanities": 13, "socialsciences": 12, "other": 13, "stem": 19} | {
    f"mmlu{part}": count for part, count in (("humanities", 13), ("socialsciences", 12), ("other", 13), ("stem", 19))
}
"""Groups of lm-eval that logs are often cut within, and how many members they have."""


def group_findings(model: ModelScores, counts: Mapping[str, int]) -> Iterable[Finding]:
    """Compare the score of a group with its members': it is their mean, weighted by documents or not."""
    groups = [group for table in model.tables for group in table.groups]
    rows = rows_of(model)
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
            yield Finding(group.line, what, str(group.value), "", Agreement.INCONSISTENT, reason)
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
            yield Finding(group.line, what, printed, "", Agreement.UNCHECKED, reason)
            continue
        values = [Fraction(row.value) for row in found]
        score, slack = group.value, max(half_unit(row.value) for row in found)
        if group.whole:  # a program leaves out zeros at the end: the number of most places tells how all were rounded
            places = min(11, max(map(places_of, (score, *(row.value for row in found)))))  # further ones a double loses
            score = score.quantize(Decimal(1).scaleb(-places))
            slack = half_unit(score)
        mean = sum(values, Fraction(0)) / len(values)
        verdict, exact = classify(score, mean, slack), mean
        sizes = [documents_of(row, counts) for row in found]
        if verdict is Agreement.INCONSISTENT and all(sizes):
            exact = sum((v * n for v, n in zip(values, sizes, strict=True)), Fraction(0)) / sum(sizes)
            verdict = classify(score, exact, slack)
        whole = max(_tasks_of_group(group.name, names), _GROUPS.get(bare(group.name), 2))  # one member makes no group
        whole = len(names) if group.whole else whole
        if verdict is Agreement.INCONSISTENT and len(found) < whole:
            verdict, reason = Agreement.UNCHECKED, f"the file shows {len(found)} of its {whole} members"
            if bare(group.name) not in _GROUPS and whole == 2:
                reason = "the file shows one member, and a group has more"
            yield Finding(group.line, what, printed, "", verdict, reason)
            continue
        reason = "" if verdict is Agreement.EXACT else f"the mean of its {len(found)} members is {as_decimal(mean, 4)}"
        if verdict is Agreement.INCONSISTENT:
            if all(sizes):
                reason += f", weighted by documents {as_decimal(exact, 4)}"
            elif min(values) - slack <= score <= max(values) + slack:
                verdict = Agreement.UNCHECKED
                reason += ", and weighted by unknown numbers of documents it may be another"
            else:
                reason += "; no weights of theirs give it"
        yield Finding(group.line, what, printed, str(as_decimal(exact, places_of(score))), verdict, reason)


def _tasks_of_group(group: str, shown: Sequence[str]) -> int:
    """Return how many tasks a group has that is named after a suite of evalkit; 0 of any other group."""
    suites = {suite for task in shown if (suite := suite_of_task(task)) is not None}
    named = load_suites().get(suites.pop()) if len(suites) == 1 else None
    return len(named.tasks) if named is not None and bare(group).startswith(bare(named.name)) else 0
