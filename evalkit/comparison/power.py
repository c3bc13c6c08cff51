"""How many documents a question needs, before anybody runs anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from evalkit.baselines import Baseline
from evalkit.config.suites import Suite, Task, load_suites, question_group
from evalkit.errors import ConfigError
from evalkit.stats.estimates import smallest_detectable, suite_stderr
from evalkit.stats.planning import AtLoss, PlannedTask, factor_to_detect, planned_test, smallest_loss
from evalkit.tables import Cell, Column, Table, rounded


@dataclass(frozen=True)
class SampleSizePlan:
    """What a suite can detect in a comparison of two models.

    Attributes:
        suite: the suite's name.
        paired: True if both models are compared document by document.
        documents: number of documents of the whole suite.
        smallest: smallest detectable change with all of them, in percentage points.
        needed: documents that detect the asked effect, the same share of each task; more than `documents` if the suite
            is too small. None if no effect was asked, or no number of documents detects it.
        limit: first so many documents of each task detect the asked effect (``--limit``); None if no number does, or
            no effect was asked.
        limit_documents: how many documents that is over all tasks.
    """

    suite: str
    paired: bool
    documents: int
    smallest: float
    needed: int | None = None
    limit: int | None = None
    limit_documents: int | None = None


def shares_of(suite: Suite, baseline: Baseline | None) -> dict[str, float]:
    """Return task -> expected share of right answers: a baseline's rows, else one half, which needs most documents."""
    shares = {}
    for task in suite.tasks:
        row = baseline.headline(task) if baseline is not None else None
        shares[task.name] = float(row.value) if row is not None else 0.5
    return shares


def variances(suite: Suite, shares: Mapping[str, float], flips: float | None) -> dict[str, float]:
    """Return task -> variance of one document's difference between two models.

    Args:
        suite: the suite.
        shares: task -> share of right answers.
        flips: share of documents whose verdict differs between the models, for paired comparisons; None: unpaired,
            2 p (1 - p), the sum of two independent models' variances.
    """
    if flips is None:
        return {task.name: 2 * shares[task.name] * (1 - shares[task.name]) for task in suite.tasks}
    # No more documents can flip than one of the two models can have right and the other wrong.
    return {task.name: min(flips, 2 * min(shares[task.name], 1 - shares[task.name])) for task in suite.tasks}


def _stderr(suite: Suite, of_document: Mapping[str, float], limit: int | None = None) -> float:
    """Return the standard error, in percentage points, of the suite's difference with `limit` documents a task."""
    errors = [math.sqrt(of_document[t.name] / min(t.documents, limit or t.documents)) for t in suite.tasks]
    return 100 * suite_stderr(errors, [question_group(task.name) for task in suite.tasks])


def check(*, effect: float | None, flips: float | None, alpha: float, power: float) -> None:
    """Raise `ConfigError` unless all numbers lie within their ranges, in the units of the command's options.

    Args:
        effect: percentage points.
        flips: a share, which people give in per cent.
        alpha, power: probabilities.
    """
    for name, value, top, unit in (
        ("alpha", alpha, 1.0, ""),
        ("power", power, 1.0, ""),
        ("flips", None if flips is None else 100 * flips, 100.0, " per cent"),
        ("effect", effect, 100.0, " percentage points"),
    ):
        if value is not None and not 0 < value < top:
            raise ConfigError(f"{name} must lie between 0 and {top:g}{unit}, got {value:g}")


def plan(
    suite: Suite,
    *,
    effect: float | None = None,
    baseline: Baseline | None = None,
    flips: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> SampleSizePlan:
    """Return what a suite detects, and how many of its documents detect an effect.

    Args:
        suite: the suite.
        effect: true difference of the suite's average, in percentage points.
        baseline: whose shares of right answers to expect.
        flips: see `variances`.
        alpha: level of the two-sided test.
        power: probability of detecting the effect.

    Raises:
        ConfigError: effect, flips, alpha or power outside its range.
    """
    check(effect=effect, flips=flips, alpha=alpha, power=power)
    of_document = variances(suite, shares_of(suite, baseline), flips)
    documents = sum(task.documents for task in suite.tasks)

    def detectable(limit: int | None = None) -> float:
        if flips is not None:
            return 100 * smallest_loss(planned(suite, of_document, limit), alpha, power)
        return smallest_detectable(_stderr(suite, of_document, limit), alpha, power)

    smallest = detectable()
    if effect is None:
        return SampleSizePlan(suite.name, flips is not None, documents, smallest)
    share: float | None = (smallest / effect) ** 2
    if flips is not None:
        share = factor_to_detect(planned(suite, of_document), effect / 100, alpha, power)
    needed = None if share is None else sum(math.ceil(share * task.documents) for task in suite.tasks)
    limit = _smallest_limit(suite, lambda limit: detectable(limit) <= effect)
    used = None if limit is None else sum(min(limit, task.documents) for task in suite.tasks)
    return SampleSizePlan(suite.name, flips is not None, documents, smallest, needed, limit, used)


def planned(suite: Suite, of_document: Mapping[str, float], limit: int | None = None) -> AtLoss:
    """Return, for any true loss, the test that `compare` makes of two runs whose documents flip so often.

    Args:
        suite: the suite.
        of_document: task -> share of documents that flip.
        limit: first so many documents of each task.
    """
    # Tasks with the same questions flip together: each question counts for all of them.
    same: dict[str, list[Task]] = {}
    for task in suite.tasks:
        same.setdefault(question_group(task.name), []).append(task)
    parts = []
    for tasks in same.values():
        first = tasks[0]
        # The first documents bring their share of the passages.
        share = min(1.0, (limit or first.documents) / first.documents)
        clusters = {size: share * n for size, n in (first.passages or {1: first.documents}).items()}
        flips = math.fsum(of_document[task.name] for task in tasks) / len(tasks)
        parts.append(PlannedTask(len(tasks) / len(suite.tasks), clusters, flips, len(tasks)))
    return partial(planned_test, parts)


def _smallest_limit(suite: Suite, detects: Callable[[int], bool]) -> int | None:
    """Return the smallest number of documents a task with which the effect is detected, by bisection."""
    low, high = 1, max(task.documents for task in suite.tasks)
    if not detects(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if detects(middle) else (middle + 1, high)
    return low


def power_table(
    plans: Sequence[SampleSizePlan], effect: float | None, alpha: float, power: float, notes: Sequence[str]
) -> Table:
    """Return the plans as a table."""
    columns = [
        Column("Suite", "left"),
        Column("Comparison", "left"),
        Column("Documents"),
        Column("Smallest detectable change", key="smallest_detectable"),
    ]
    if effect is not None:
        columns += [Column(f"Documents for {effect:g}", key="needed"), Column("or --limit", "left", key="limit")]
    titles = {name: suite.title for name, suite in load_suites().items()}
    rows = []
    for item in plans:
        kind = "paired" if item.paired else "unpaired"
        row: tuple[Cell, ...] = (titles[item.suite], kind, item.documents, rounded(item.smallest))
        if effect is not None:
            needed: Cell = "no number" if item.needed is None else item.needed
            if item.needed is not None and item.needed > item.documents:
                needed = f"{item.needed}, {item.needed / item.documents:.1f} times all"
            limit = "more than there are" if item.limit is None else f"{item.limit} ({item.limit_documents} documents)"
            row = (*row, needed, limit)
        rows.append(row)
    basis = (
        f"Percentage points of the suite's average, detected with probability {power:g} at the two-sided level "
        f"{alpha:g}: paired by the test of evalkit compare, unpaired by a z-test"
    )
    return Table("", tuple(columns), tuple(rows), (basis, *notes))
