"""Whose average a printed average is: a suite's, that of the suites, or of other rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from evalkit.baselines.published import Note, PrintedScore, Row, ScoreTable
from evalkit.baselines.reading.open_models import OpenModel
from evalkit.baselines.reading.prose import (
    Event,
)
from evalkit.config.suites import load_suites, load_tasks
from evalkit.results.task_names import any_suite, suite_of_task

OVERALL = re.compile(
    r"(?:average|avg|mean) of all\b|average score|mean score|overall|final|平均总|总平均", re.IGNORECASE
)

_OF_SEVERAL = re.compile(r"average|avg|mean|total|overall|平均|总", re.IGNORECASE)


def averages_come_first(events: list[Event]) -> bool:
    """Tell whether averages stand above their tables: one above each, none below the last, each that of its rows."""
    printed = [e for e in events if isinstance(e, ScoreTable) or (isinstance(e, PrintedScore) and e.suite is None)]
    averages, tables = printed[::2], printed[1::2]
    return len(averages) == len(tables) > 0 and all(
        isinstance(average, PrintedScore) and isinstance(table, ScoreTable) and is_mean(average, table.rows)
        for average, table in zip(averages, tables, strict=True)
    )


def other_rows(average: PrintedScore, rows: list[Row], suite: str) -> str | None:
    """Return of which rows an average is that are not just the suite's; None where it is the suite's, or may be.

    It has more rows where the suite's own do not give it, and fewer where those that are there do.
    """
    own = [row for row in rows if suite_of_task(row.task) == suite]
    known = load_suites()[suite]
    is_whole = {row.task for row in own} >= {task.name for task in known.tasks}
    if not own or (len(own) == len(rows) and is_whole):
        return None
    is_own = is_mean(average, own)
    if is_own and not is_whole:
        return f"{len(one_a_task(own))} of the {len(known.tasks)} rows of {known.title}"
    if not is_own and len(own) < len(rows):
        return f"more rows than those of {known.title}"
    return None


def is_mean(average: PrintedScore, rows: Iterable[Row]) -> bool:
    """Tell whether an average is that of rows, one a task, each of these and it rounded, or it cut, as printed."""
    return _fits(average, [row.value.scaleb(2) for row in one_a_task(rows)])


def _fits(average: PrintedScore, values: Sequence[Decimal]) -> bool:
    """Tell whether an average is that of values in per cent."""
    units = [Decimal(1).scaleb(min(int(v.as_tuple().exponent), 0)) for v in (average.percent, *values)]
    slack = sum(units[1:], Decimal(0)) / 2 / max(len(values), 1) + Decimal("0.001")
    above = sum(values, Decimal(0)) / max(len(values), 1) - average.percent
    return bool(values) and -units[0] / 2 - slack <= above <= units[0] + slack


def is_mean_of(average: PrintedScore, rows: Sequence[Row], suite: str) -> bool:
    """Tell whether an average is the mean of rows that are all of a suite's, and no others."""
    whole = {row.task for row in rows} == {task.name for task in load_suites()[suite].tasks}
    return whole and is_mean(average, rows)


def one_a_task(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the row of each task that an average takes: of the headline metric, else of acc_norm, else the first."""
    chosen: dict[str, Row] = {}
    tasks = load_tasks()
    for row in rows:
        known = tasks.get(row.task)
        best = known.headline if known is not None else "acc_norm"
        if row.task not in chosen or row.metric == best:
            chosen[row.task] = row
    return tuple(chosen.values())


def suite_values(model: OpenModel) -> dict[str, Decimal]:
    """Return suite -> score in per cent: the printed average, else that of a whole suite's rows."""
    found = {a.suite: a.percent for a in model.averages if a.suite in load_suites() and not a.doubtful}
    for suite in load_suites().values():
        rows = [model.rows.get((task.name, task.headline)) for task in suite.tasks]
        values = [row[0].value for row in rows if row is not None]
        if suite.in_total and suite.name not in found and len(values) == len(rows):
            found[suite.name] = 100 * sum(values, Decimal(0)) / len(values)
    return {suite: value for suite, value in found.items() if suite is not None and load_suites()[suite].in_total}


def settle_averages(model: OpenModel, notes: list[Note], *, beside: bool) -> None:
    """Decide whose the averages are that name no suite, and are the model's last or called as that of all suites are.

    Such an average is the suite's if its rows give it, or if it is the only number there and no other suite has rows
    or a row in a table `beside`; that of the suites if these give it or it is called so ("Average score"); else
    nobody knows (`PrintedScore.doubtful`). What is called so is no suite's where the file has several.
    """
    end = max((row.line for table in model.tables for row in table.rows), default=0)
    for place, score in enumerate(model.averages):
        suite = load_suites().get(score.suite or "")
        below = end > score.line or any(later.suite != score.suite for later in model.averages[place + 1 :])
        before = [known for known in model.averages if known is not score]
        called = OVERALL.search(score.label) is not None and score.label not in {known.label for known in before}
        if suite is None or (below and not called) or not score.label or leading(score.label):
            continue
        rows = [row for (task, _), (row, _) in model.rows.items() if task in {known.name for known in suite.tasks}]
        scores = suite_values(replace(model, averages=before))
        elsewhere = {suite_of_task(task) for task, _ in model.rows} - {None, suite.name}
        others = elsewhere | {known.suite for known in before} - {suite.name}
        fits_rows, fits = is_mean_of(score, rows, suite.name), len(scores) > 1 and _fits(score, list(scores.values()))
        blank = not rows and _OF_SEVERAL.search(score.label) is not None  # "Score: 56.81" is a suite's own number
        alone = (blank and (beside or elsewhere)) or (called and others and not rows)
        if (called and len(scores) > 1 and not (below and fits_rows)) or (not fits_rows and fits):
            text = f"average {score.percent} is read as that of the suites, not of {suite.title}"
            model.averages[place] = replace(score, suite="average")
        elif alone or (not fits_rows and rows and (others or len(one_a_task(rows)) == len(suite.tasks))):
            why = (
                f"neither the rows of {suite.title} nor the suites" if len(scores) > 1 else f"no rows of {suite.title}"
            )
            text = f"average {score.percent}: {why} give it; not taken as its score"
            model.averages[place] = replace(score, doubtful=True)
        else:
            continue
        notes.append(Note(score.line, text, unread=model.averages[place].doubtful))


def settle_first(model: OpenModel, score: PrintedScore, notes: list[Note]) -> None:
    """Read an average above all suites of a model as that of the suites, if they give it; it is never a suite's."""
    values = suite_values(model)
    if len(values) > 1 and _fits(score, list(values.values())):
        if all(known.suite != "average" for known in model.averages):
            model.averages.insert(0, replace(score, suite="average"))
    else:
        text = f"average {score.percent}: no suite beside it"
        if not model.empty:
            text = f"average {score.percent} stands above all suites, which do not give it; not read"
        notes.append(Note(score.line, text, unread=True))


def average_of_list(listed: list[str], read: set[str | None], last: str | None) -> bool | None:
    """Tell whether an average below listed suites is that of the suites: None if there is no list above it.

    It is, if several have a number and none a text; it never takes the place of a number of the `last` suite that was
    not among those `read`.
    """
    if len(listed) < 2:
        return False if listed == ["nothing"] or (listed == ["number"] and last not in read) else None
    numbers = listed.count("number")
    if numbers == 0 and "nothing" not in listed:
        return None
    if numbers == 1 and listed[-1] == "":
        return None  # the heading of a section behind a number that stands alone
    return numbers > 1 and set(listed) <= {"number", "nothing"}


def leading(label: str) -> bool:
    """Tell whether a label names a suite itself."""
    return any_suite(label) is not None
