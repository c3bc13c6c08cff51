"""The smallest change that a finished run can detect, from its own documents."""

from __future__ import annotations

import math
from collections.abc import Container, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from msgspec import structs

from evalkit.baselines import load_baseline
from evalkit.comparison.chosen import chosen_suites, model_title, suites_in
from evalkit.comparison.pairing import TaskScores, pair, scores_of
from evalkit.comparison.power import check
from evalkit.comparison.questions import AVERAGE, paired_tests, part_title
from evalkit.comparison.run_scores import RunScores, run_scores
from evalkit.config.suites import Suite, Task, load_suites, question_group
from evalkit.errors import ConfigError
from evalkit.records.model import RunRecord
from evalkit.results.reading import read_run
from evalkit.stats.estimates import Estimate, independent_mean, smallest_detectable, t_cdf, t_quantile
from evalkit.stats.paired import PairedTest
from evalkit.stats.planning import (
    AtLoss,
    PlannedTask,
    factor_to_detect,
    planned_test,
    smallest_loss,
    tilted_test,
)
from evalkit.tables import Cell, Column, Table, rounded

FEW_CHANGES = 10
"""Where fewer documents or passages change, their spread says nothing of what the gate's exact test would find."""


@dataclass(frozen=True)
class Detectable:
    """What one suite of a run detects in one kind of comparison.

    Attributes:
        title: the suite.
        kind: ``paired`` or ``unpaired``.
        documents: documents that the run has scored.
        deciding: the error that the smallest change is made of, in percentage points: paired that of the interval of
            `compare` (`PairedTest.shown`); None where too little changed to know it.
        stderr: the difference's own standard error, from the spread of its documents or passages; None where that is
            not known, or 0 (passages that all moved alike have none).
        fixed: the part of it that more documents do not make smaller: a publication's.
        at_loss: the paired comparison's test at any true loss; None: a z-test.
        changes: how many clusters changed between two runs, where that was measured.
    """

    title: str
    kind: str
    documents: int
    deciding: float | None
    stderr: float | None
    fixed: float = 0.0
    at_loss: AtLoss | None = None
    changes: float | None = None

    def smallest(self, alpha: float, power: float) -> float | None:
        """Return the smallest change, in points, that is detected; None where too little is known."""
        if self.deciding is None:
            return None
        if self.at_loss is not None:
            return 100 * smallest_loss(self.at_loss, alpha, power)
        return smallest_detectable(self.deciding, alpha, power)

    def needed(self, effect: float, alpha: float, power: float) -> int | None:
        """Return how many documents detect a change of `effect` points; None if no number does, or none is known."""
        if self.deciding is None:
            return None
        if self.at_loss is not None:
            factor = factor_to_detect(self.at_loss, effect / 100, alpha, power)
            return None if factor is None else math.ceil(self.documents * factor)
        room = (effect / smallest_detectable(1.0, alpha, power)) ** 2 - self.fixed**2
        return math.ceil(self.documents * (self.deciding**2 - self.fixed**2) / room) if room > 0 else None


def run_power(
    runs: Sequence[Path],
    suites: Sequence[str],
    *,
    effect: float | None,
    baseline: str,
    flips: float,
    alpha: float,
    power: float,
) -> Table:
    """Return the table of `evalkit power --run`.

    Args:
        runs: one run, or two of which the second tells how much the documents' scores differ between runs.
        suites: names; empty for all that the run has.
        effect: change in points whose number of documents is asked for, or None.
        baseline: the publication for the unpaired comparison.
        flips: per cent of documents that flip, where no second run says so.
        alpha: level of the two-sided test.
        power: probability of detection.

    Raises:
        ConfigError: more than two runs, or a number outside its range. StoreError: a run cannot be read.
    """
    if len(runs) > 2:
        raise ConfigError("--run: give one run, or two to measure how many documents flip between them")
    if len({path.resolve() for path in runs}) < len(runs):
        raise ConfigError(f"--run: {runs[0]} is given twice; a second run of its own says how much documents differ")
    check(effect=effect, flips=flips / 100, alpha=alpha, power=power)
    records = [read_run(path) for path in runs]
    scores = run_scores(records[0])
    chosen = chosen_suites(suites, suites_in(scores.record), str(runs[0]))
    second = records[1] if len(records) > 1 else None
    there = [part for suite in chosen if (part := _part(suite, records)) is not None]
    parts = [part for part in there if scores.suite(part) is not None]
    if not parts:
        raise ConfigError(
            f"{runs[0]} and {runs[1]} have no task of {', '.join(suite.title for suite in chosen)} in common"
            if second is not None and not there
            else f"{runs[0]}: no suite with a score; documents failed, or standard errors are missing"
        )
    lacking = [suite.title for suite in chosen if suite.name not in {part.name for part in parts}]
    whole = [part for part in parts if len(part.tasks) == len(load_suites()[part.name].tasks)]
    cut = [part.title for part in parts if part not in whole]
    paired = list(_measured(scores, second, parts) if second is not None else _assumed(scores, parts, flips / 100))
    few = [row.title for row in paired if row.deciding is None]
    wide = [row.title for row in paired if row.deciding != row.stderr]
    rows = [*paired, *_unpaired(scores, whole, baseline)]
    notes = [
        f"{model_title(scores.record)}: percentage points, detected with probability {power:g} at the two-sided level "
        f"{alpha:g}: paired by the test of evalkit compare, unpaired by a z-test; errors are from the run's documents",
        f"Paired: the differences to {runs[1]} as they are{_ranges(paired, alpha, power)}"
        if second is not None
        else f"Paired: assumed, not measured: {flips:g} % of documents flip (--flips; a second --run measures it)",
        *(
            [f"{', '.join(few)}: the two runs differ too little to say (fewer than {FEW_CHANGES} changes)"]
            if few
            else []
        ),
        *(
            [
                f"{', '.join(wide)}: passages or changes are few, so the interval is wider than the stderr alone "
                "would have it; 'Error that decides' is half its width over 1.96"
            ]
            if wide
            else []
        ),
        *([f"left out, because a run has no score of any task: {', '.join(lacking)}"] if lacking else []),
        *([f"Unpaired: against {load_baseline(baseline).name} as published"] if whole else []),
        *([f"no unpaired row, because publications give averages of all tasks: {', '.join(cut)}"] if cut else []),
    ]
    return _table(rows, effect, alpha, power, notes)


def _part(suite: Suite, records: Sequence[RunRecord]) -> Suite | None:
    """Return a suite with those of its tasks that all runs have, as the gate judges it; None without any."""
    tasks = tuple(task for task in suite.tasks if all(task.name in record.metrics for record in records))
    return structs.replace(suite, tasks=tasks, title=part_title(suite, len(tasks))) if tasks else None


def _assumed(scores: RunScores, suites: Sequence[Suite], flips: float) -> Iterator[Detectable]:
    """Yield the paired comparisons with an assumed share of flips, in as many passages as the run's documents have."""
    of_suites: dict[str, list[PlannedTask]] = {}
    for suite in suites:
        own = scores.suite(suite)
        if own is None:
            continue
        same: dict[str, list[Task]] = {}
        for task in suite.tasks:
            same.setdefault(question_group(task.name), []).append(task)
        sizes = scores.cluster_sizes(suite)
        of_suites[suite.name] = [
            PlannedTask(
                len(tasks) / len(suite.tasks),
                sizes[tasks[0].name],
                math.fsum(min(flips, _most_flips(scores, task)) for task in tasks) / len(tasks),
                len(tasks),
            )
            for tasks in same.values()
        ]
        yield _planned(suite.title, own.documents, of_suites[suite.name])
    names = _totalled(suites, of_suites)
    if names:
        joined = [replace(part, weight=part.weight / len(names)) for name in names for part in of_suites[name]]
        documents = sum(own.documents for suite in suites if suite.in_total and (own := scores.suite(suite)))
        yield _planned(AVERAGE.title(), documents, joined)


def _most_flips(scores: RunScores, task: Task) -> float:
    """Return the share of documents that flip at most: those that one model has right and the other wrong."""
    share = float(scores.record.metrics[task.name][task.headline].value or 0.0)
    return 2 * min(share, 1 - share)


def _planned(title: str, documents: int, parts: Sequence[PlannedTask]) -> Detectable:
    test = planned_test(parts)
    return Detectable(title, "paired", documents, *_errors(test), at_loss=partial(planned_test, parts))


def _errors(test: PairedTest) -> tuple[float, float | None]:
    """Return the error that decides and the difference's own, in percentage points."""
    stderr = 100 * test.difference.stderr
    return 100 * test.shown.stderr, stderr if stderr > 1e-9 else None


def _measured(scores: RunScores, other: RunRecord, suites: Sequence[Suite]) -> Iterator[Detectable]:
    tasks = [task.name for suite in suites for task in suite.tasks]
    found = scores_of(pair(other, scores.record, tasks))
    for question in paired_tests(found, suites, margin=1.0):
        judged = [
            suite for suite in suites if suite.name == question.key or (question.key == AVERAGE and suite.in_total)
        ]
        changes = _changes([found[task.name] for suite in judged for task in suite.tasks])
        test = cast(PairedTest, question.source)
        deciding, stderr = _errors(test) if changes >= FEW_CHANGES else (None, None)
        yield Detectable(
            question.title,
            "paired",
            test.difference.documents,
            deciding,
            stderr,
            at_loss=partial(tilted_test, test),
            changes=changes,
        )


def _changes(scores: Sequence[TaskScores]) -> float:
    """Return how many clusters changed; one whose scores moved by less than a whole document counts in part."""
    moved: dict[Hashable, float] = {}
    for of_task in scores:
        for key, difference in zip(of_task.clusters, of_task.differences, strict=True):
            moved[key] = moved.get(key, 0.0) + abs(float(difference))
    return math.fsum(min(1.0, change) for change in moved.values())


def _ranges(rows: Sequence[Detectable], alpha: float, power: float) -> str:
    """Say between which probabilities each suite detects its smallest change, given how many changes were seen.

    So many changes are a Poisson variable, of which the 95 % limits count; the smallest change goes with its root.
    """
    from scipy import special

    critical = t_quantile(1 - alpha / 2, math.inf)
    reach, texts = critical + t_quantile(power, math.inf), []
    for row in rows:
        if row.deciding is None or not row.changes:
            continue
        limits = special.chdtri(2 * row.changes + 2, 0.025) / 2, special.chdtri(2 * row.changes, 0.975) / 2
        low, high = (100 * t_cdf(reach * math.sqrt(row.changes / n) - critical, math.inf) for n in limits)
        texts.append(f"{low:.0f} to {high:.0f} % ({row.title}, {row.changes:.0f} changes)")
    said = f"; how many change is a matter of chance as well, so that {100 * power:g} % may truly be "
    return said + ", ".join(texts) if texts else ""


def _unpaired(scores: RunScores, suites: Sequence[Suite], baseline: str) -> Iterator[Detectable]:
    published = load_baseline(baseline)
    sides: dict[str, tuple[Estimate, Estimate]] = {}
    for suite in suites:
        own, theirs = scores.suite(suite), published.score(suite)
        if own is not None and theirs is not None:
            sides[suite.name] = own, theirs.estimate
    stderrs = {n: Estimate(0.0, math.hypot(a.stderr, b.stderr), a.documents) for n, (a, b) in sides.items()}
    fixed = {name: theirs for name, (_, theirs) in sides.items()}
    for suite in suites:
        if suite.name in stderrs:
            found = stderrs[suite.name]
            error = found.stderr
            yield Detectable(suite.title, "unpaired", found.documents, error, error, fixed[suite.name].stderr)
    names = _totalled(suites, stderrs)
    if names:
        mean = independent_mean([stderrs[name] for name in names])
        part = independent_mean([fixed[name] for name in names]).stderr
        yield Detectable(AVERAGE.title(), "unpaired", mean.documents, mean.stderr, mean.stderr, part)


def _totalled(suites: Sequence[Suite], found: Container[str]) -> list[str]:
    """Return the suites of the total if all of them are there, else none."""
    names = [suite.name for suite in suites if suite.in_total and suite.name in found]
    return names if len(names) == sum(suite.in_total for suite in load_suites().values()) else []


def _cell(value: float | None) -> Cell:
    return None if value is None else rounded(value)


def _table(rows: Sequence[Detectable], effect: float | None, alpha: float, power: float, notes: Sequence[str]) -> Table:
    columns = [
        Column("Suite", "left", key="suite"),
        Column("Comparison", "left", key="comparison"),
        Column("Documents", key="documents"),
        Column("Stderr of the difference", key="stderr"),
        Column("Error that decides", key="deciding"),
        Column("Smallest detectable change", key="smallest_detectable"),
    ]
    if effect is not None:
        columns.append(Column(f"Documents for {effect:g}", key="needed"))
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        smallest = row.smallest(alpha, power)
        numbers = (_cell(x) for x in (row.stderr, row.deciding, smallest))
        line: tuple[Cell, ...] = (row.title, row.kind, row.documents, *numbers)
        if effect is not None:
            needed = row.needed(effect, alpha, power)
            line = (*line, None if row.deciding is None else "no number" if needed is None else needed)
        cells.append(line)
    return Table("", tuple(columns), tuple(cells), tuple(notes))
