"""What charts and the HTML report show of a model: scores in per cent with 95 % intervals, and what limits them.

Intervals of runs come from their documents: Wilson's for a task of independent right and wrong answers, else what the
paired test says of how far they are from all right and all wrong (`stats.unpaired.limits`): both are honest for few
documents or passages and for shares near 0 and 1. Those of published results come from their standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from evalkit.baselines import Baseline
from evalkit.comparison.clusters import cluster_keys
from evalkit.comparison.comparable import protocol_changes
from evalkit.comparison.pairing import TaskPair, TaskScores, pair_samples, paired_clusters, same_data
from evalkit.comparison.questions import AVERAGE, margin_test, p_of, paired_tests, suite_p_values
from evalkit.comparison.run_scores import RunScores
from evalkit.comparison.whole import samples_by_task
from evalkit.config.suites import Suite, Task, is_graded, load_suites, load_tasks
from evalkit.languages import ENGLISH, Language
from evalkit.records.model import RunRecord
from evalkit.records.samples import Sample
from evalkit.results.reading import has_samples
from evalkit.stats.estimates import (
    Estimate,
    holm,
    independent_mean,
    mean,
    unpaired_difference,
    wilson_interval,
)
from evalkit.stats.paired import PairedTest, of_interval
from evalkit.stats.unpaired import limits


@dataclass(frozen=True)
class Point:
    """A score, or a difference of scores, in per cent.

    Attributes:
        value: the score; None if there is none.
        low, high: ends of the 95 % interval; None where there is none.
        estimate: what the interval comes from; None for intervals of Wilson and where there is none.
        note: why there is no score, or what must be said about it.
        p_value: of a difference being 0; None for scores.
        p_holm: the same, corrected over what is compared with it (Holm); None where nothing says with what.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    estimate: Estimate | None = None
    note: str = ""
    p_value: float | None = None
    p_holm: float | None = None

    @property
    def stderr(self) -> float | None:
        """Standard error in percentage points, or None."""
        return None if self.estimate is None else self.estimate.stderr


@dataclass(frozen=True)
class ModelPoints:
    """A model's scores.

    Attributes:
        title: the model's name, untrusted text.
        is_run: True for a run, False for a published result.
        caveats: why its numbers are no scores to compare, short; empty if they are.
        suites: suite -> score; suites without any task are absent.
        tasks: task -> score by its headline metric.
        average: mean of the four suites of the total score, or None.
    """

    title: str
    is_run: bool
    caveats: tuple[str, ...] = ()
    suites: Mapping[str, Point] = field(default_factory=dict)
    tasks: Mapping[str, Point] = field(default_factory=dict)
    average: Point | None = None


@dataclass(frozen=True)
class RunData:
    """A run with its documents.

    Attributes:
        record: the run.
        samples: task -> its documents, in the data's order; empty for a results file without samples files.
    """

    record: RunRecord
    samples: Mapping[str, Sequence[Sample]]

    def documents(self, task: str) -> int:
        """Return how many documents of a task were scored; where they are not there, by what the record says."""
        if self.samples:
            return len(self.samples.get(task, ()))
        return max((value.n for value in self.record.metrics.get(task, {}).values()), default=0)

    def values(self, task: str, metric: str) -> list[float | None]:
        """Return one value a document; None where it failed."""
        return [sample.metrics.get(metric) for sample in self.samples.get(task, ())]


def read_data(record: RunRecord) -> RunData:
    """Read a run's documents; of another harness's results file, which need not have any, those that are there.

    Raises:
        StoreError: they are missing or damaged.
    """
    return RunData(record, {} if record.foreign is not None and not has_samples(record) else samples_by_task(record))


def _point(estimate: Estimate, note: str = "") -> Point:
    low, high = estimate.interval()
    return Point(estimate.value, max(0.0, low), min(100.0, high), estimate, note)


def task_point(values: Sequence[float | None], clusters: Sequence[Hashable], tr: Language = ENGLISH) -> Point:
    """Return a task's score from one value (a share) and one cluster key a document."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not values:
        return Point(None, note=tr("{failed} of {n} failed", failed=len(values) - len(known), n=len(values)))
    groups = len(set(clusters))
    if groups == len(known) and set(known) <= {0.0, 1.0}:
        right = round(sum(known))
        low, high = wilson_interval(right, len(known))
        return Point(100 * right / len(known), 100 * low, 100 * high)
    if groups < 2:
        return Point(100 * sum(known) / len(known), note=tr("too few documents for an interval"))
    scores, keys = {"": known}, {"": clusters}
    low, high = limits(scores, keys, alpha=0.025)
    estimate = of_interval(mean(known, clusters), low, high).scaled(100)
    return Point(estimate.value, 100 * low, 100 * high, estimate)


def _recorded_point(data: RunData, task: Task, tr: Language) -> Point:
    """Return a task's score and error as the record says them, where its documents are not there."""
    found = data.record.metrics[task.name].get(task.headline)
    if found is None:
        return Point(None, note=tr("not recorded"))
    if found.value is None:
        return Point(None, note=tr("{failed} of {n} failed", failed=found.failed, n=found.n))
    if found.n and task.passages is None and not is_graded(task.name, task.headline):
        low, high = wilson_interval(round(found.value * found.n), found.n)
        return Point(100 * found.value, 100 * low, 100 * high)
    if found.stderr is None:
        return Point(100 * found.value, note=tr("too few documents for an interval"))
    note = tr("shared passages are not allowed for") if task.passages is not None else ""
    return _point(Estimate(found.value, found.stderr, found.n).scaled(100), note)


def _suite_point(data: RunData, suite: Suite, tasks: Mapping[str, Point], tr: Language) -> Point:
    missing = sum(not data.documents(task.name) for task in suite.tasks)
    if missing:
        return Point(None, note=tr("{missing} of {count} tasks not run", missing=missing, count=len(suite.tasks)))
    values = [value for task in suite.tasks if (value := tasks[task.name].value) is not None]
    if len(values) < len(suite.tasks):
        return Point(None, note=tr("failed samples"))
    scores = RunScores(data.record, data.samples or None)
    estimate = scores.suite(suite)
    if estimate is None:
        return Point(math.fsum(values) / len(values), note=tr("too few documents for an interval"))
    if len(suite.tasks) == 1:  # its interval is the task's
        return replace(tasks[suite.tasks[0].name], estimate=estimate)
    if data.samples:
        return Point(estimate.value, *scores.interval(suite), estimate)
    has_passages = any(task.passages for task in suite.tasks)
    return _point(estimate, tr("shared passages are not allowed for") if has_passages else "")


def _average(suites: Mapping[str, Point]) -> Point | None:
    """Return the mean of the four suites; they share no documents, so their errors add in squares."""
    points = [suites.get(name) for name, suite in load_suites().items() if suite.in_total]
    known = [point for point in points if point is not None and point.value is not None]
    if len(known) < len(points):
        return None
    value = math.fsum(point.value or 0.0 for point in known) / len(known)
    parts = [point.estimate for point in known if point.estimate is not None]
    return _point(independent_mean(parts)) if len(parts) == len(known) else Point(value)


def caveats_of(record: RunRecord, tr: Language = ENGLISH) -> tuple[str, ...]:
    """Return, in a few words each, why a run's numbers are not to be compared with published ones."""
    found = []
    if any(entry.verdict == "samples" for entry in record.data.values()):
        found.append(tr("samples: not a score"))
    if record.config.limit:
        found.append(tr("limited: first {limit} of each task", limit=record.config.limit))
    if any(value.failed for of_task in record.metrics.values() for value in of_task.values()):
        found.append(tr("failed samples"))
    changes = protocol_changes(record)
    if changes:
        found.append(tr("other protocol: {changes}", changes=", ".join(changes)))
    if any(entry.verdict == "other" for entry in record.data.values()):
        found.append(tr("not the published data"))
    return tuple(found)


def points_of_run(data: RunData, tr: Language = ENGLISH) -> ModelPoints:
    """Return a run's scores with intervals from its documents."""
    suites: dict[str, Point] = {}
    tasks: dict[str, Point] = {}
    for suite in load_suites().values():
        ran = [task for task in suite.tasks if data.documents(task.name)]
        for task in ran:
            if not data.samples:
                tasks[task.name] = _recorded_point(data, task, tr)
                continue
            keys = cluster_keys(data.samples[task.name])
            tasks[task.name] = task_point(data.values(task.name, task.headline), keys, tr)
        if ran:
            suites[suite.name] = _suite_point(data, suite, tasks, tr)
    title = data.record.model.name
    return ModelPoints(title, True, caveats_of(data.record, tr), suites, tasks, _average(suites))


def points_of_baseline(baseline: Baseline, tr: Language = ENGLISH) -> ModelPoints:
    """Return a published result's scores: averages as printed, intervals from its standard errors."""
    suites: dict[str, Point] = {}
    tasks: dict[str, Point] = {}
    for suite in load_suites().values():
        found = baseline.score(suite)
        if found is not None:
            note = tr("only an average was published: largest possible error") if found.stderr_from == "bound" else ""
            published = baseline.pass_at_1(suite)
            if published is not None:
                note = published.note
                tasks[suite.tasks[0].name] = _point(found.estimate)
            suites[suite.name] = _point(found.estimate, note)
        for task in suite.tasks:
            row = baseline.headline(task)
            if row is not None and row.stderr is not None:
                tasks[task.name] = _point(Estimate(float(row.value), float(row.stderr)).scaled(100))
            elif row is not None:
                tasks[task.name] = Point(100 * float(row.value))
    known = load_suites()
    others = sorted({baseline.protocol_of(name) for name in suites} - {known[name].protocol for name in suites})
    caveats = (tr("other protocol: {changes}", changes=", ".join(others)),) if others else ()
    return ModelPoints(baseline.name, False, caveats, suites, tasks, _average(suites))


def change_from(own: Point | None, other: Point | None) -> Point | None:
    """Return own minus other, unpaired: only the errors of both are known. None without two scores."""
    if own is None or other is None or own.value is None or other.value is None:
        return None
    if own.estimate is None or other.estimate is None:
        return Point(own.value - other.value)
    return _difference(unpaired_difference(own.estimate, other.estimate))


def _difference(found: Estimate) -> Point:
    low, high = found.interval()
    return Point(found.value, low, high, found, p_value=found.p_value())


def paired_samples(first: RunData, second: RunData) -> dict[str, TaskPair]:
    """Return the documents that two runs share, task by task; tasks without any are absent."""
    pairs = {}
    for task in load_tasks().values():
        if task.name in first.samples and task.name in second.samples:
            by_content = not same_data(second.record, first.record, task.name)
            found = pair_samples(task, second.samples[task.name], first.samples[task.name], by_content=by_content)
            if found.candidate:
                pairs[task.name] = found
    return pairs


def _scores(found: TaskPair, metric: str) -> TaskScores | None:
    """Return both runs' values; None if a document failed or there are too few for a test."""
    samples = (*found.candidate, *found.baseline)
    if len(found.candidate) < 2 or any(sample.metrics.get(metric) is None for sample in samples):
        return None
    return found.scores(metric)


def task_change(found: TaskPair, metric: str) -> Point | None:
    """Return the second run's score minus the first's over shared documents; None if one of them failed.

    Interval and p-value are those of `evalkit compare`.
    """
    scores = _scores(found, metric)
    if scores is None:
        return None
    test = margin_test({found.task.name: scores})
    return _paired(test, p_of([scores], test))


def _paired(test: PairedTest, p_value: float) -> Point:
    low, high = test.interval()
    estimate = test.shown.scaled(100)
    return Point(estimate.value, 100 * low, 100 * high, estimate, p_value=p_value)


def suite_points(pairs: Mapping[str, TaskPair]) -> dict[str, Point]:
    """Return the changes of the suites that both runs have in whole, and of their average under ``average``.

    Corrected p-values are those of `evalkit compare`: over all suites of which both have a task, with their average.
    """
    keys = paired_clusters(pairs)
    scores = {
        name: replace(found, clusters=keys[name][0])
        for name, pair in pairs.items()
        if (found := _scores(pair, pair.task.headline)) is not None
    }
    suites = load_suites().values()
    present = [suite for suite in suites if any(task.name in scores for task in suite.tasks)]
    whole = {suite.name for suite in present if all(task.name in scores for task in suite.tasks)}
    if all(suite.name in whole for suite in suites if suite.in_total):
        whole.add(AVERAGE)
    # The margin does not matter here: only the differences and their errors are used.
    asked = paired_tests(scores, present, margin=1.0)
    p_values = suite_p_values(scores, asked)
    return {
        q.key: replace(_paired(cast(PairedTest, q.source), p_value), p_holm=p_holm)
        for q, p_value, p_holm in zip(asked, p_values, holm(p_values), strict=True)
        if q.key in whole
    }
