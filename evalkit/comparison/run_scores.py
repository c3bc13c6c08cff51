"""A run's suites as estimates: standard errors from its documents, clustered where they share a passage."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.comparison.clusters import cluster_keys, linked_keys
from evalkit.comparison.whole import samples_by_task
from evalkit.config.suites import Suite, question_group
from evalkit.records.model import RunRecord
from evalkit.records.samples import Sample
from evalkit.results.reading import has_samples
from evalkit.stats.estimates import Estimate, Values, suite_mean, suite_stderr
from evalkit.stats.unpaired import limits, observed, widened


@dataclass(frozen=True)
class RunScores:
    """What a run's documents say about its suites.

    Attributes:
        record: the run.
        samples: its documents by task; None where the run's folder has lost them.
    """

    record: RunRecord
    samples: Mapping[str, Sequence[Sample]] | None

    def suite(self, suite: Suite) -> Estimate | None:
        """Return a suite's average in per cent; None if a task was not run, or has failed documents.

        Its error is not less than its documents allow: a task that is all right beside others hides its own. Without
        documents the tasks' own standard errors are used, which take documents for independent.
        """
        values = [self.record.metrics.get(task.name, {}).get(task.headline) for task in suite.tasks]
        known = [v for v in values if v is not None and v.value is not None and v.stderr is not None]
        if len(known) < len(values):
            return None
        if self.samples is not None:
            scores, clusters = self.columns(suite)
            return observed(suite_mean(scores, clusters), scores, clusters).scaled(100)
        groups = [question_group(task.name) for task in suite.tasks]
        stderr = suite_stderr([float(v.stderr or 0) for v in known], groups)
        mean = sum(float(v.value or 0) for v in known) / len(known)
        tasks = [(float(v.value or 0), float(v.stderr or 0), v.n) for v in known]
        return widened(Estimate(mean, stderr, sum(v.n for v in known)), tasks).scaled(100)

    def interval(self, suite: Suite) -> tuple[float, float]:
        """Return the ends of the 95 % interval of a suite's average, in per cent, from its documents."""
        low, high = limits(*self.columns(suite), alpha=0.025)
        return 100 * low, 100 * high

    def cluster_sizes(self, suite: Suite) -> dict[str, Counter[int]]:
        """Return task -> documents that share a cluster -> number of such clusters; without documents all are alone."""
        if self.samples is None:
            return {t.name: Counter({1: self.record.metrics[t.name][t.headline].n}) for t in suite.tasks}
        return {t.name: Counter(Counter(cluster_keys(self.samples[t.name])).values()) for t in suite.tasks}

    def clusters(self, suite: Suite) -> list[int]:
        """Return the number of independent documents of each task: its passages, where these are known."""
        return [sizes.total() for sizes in self.cluster_sizes(suite).values()]

    def design_effect(self, suite: Suite) -> float:
        """Return how many times larger passages make the error of a suite's average.

        Without documents it is the most that the passages of the tasks' data can do: all questions of one right or
        wrong together. Tasks that hold the same passages count as one, as `suite_stderr` takes them.
        """
        if self.samples is None:
            return self._largest_design_effect(suite)
        scores, clusters = self.columns(suite)
        alone = suite_mean(scores).stderr
        return max(1.0, suite_mean(scores, clusters).stderr / alone) if alone else 1.0

    def _largest_design_effect(self, suite: Suite) -> float:
        groups = [question_group(task.name) for task in suite.tasks]
        values = [self.record.metrics.get(task.name, {}).get(task.headline) for task in suite.tasks]
        alone = [float(value.stderr or 0.0) if value is not None else 0.0 for value in values]
        together = [
            stderr
            * math.sqrt(math.fsum(count * size**2 for size, count in (task.passages or {1: 1}).items()))
            / math.sqrt(math.fsum(count * size for size, count in (task.passages or {1: 1}).items()))
            for stderr, task in zip(alone, suite.tasks, strict=True)
        ]
        before = suite_stderr(alone, groups)
        return suite_stderr(together, groups) / before if before else 1.0

    def columns(self, suite: Suite) -> tuple[dict[str, Values], dict[str, Sequence[Hashable]]]:
        """Return task -> its documents' scores, within 0..1, and task -> one cluster's key a document."""
        documents = {task.name: (self.samples or {}).get(task.name, ()) for task in suite.tasks}
        scores: dict[str, Values] = {
            task.name: np.array([d.metrics[task.headline] for d in documents[task.name]], dtype=np.float64)
            for task in suite.tasks
        }
        clusters: dict[str, Sequence[Hashable]] = dict(linked_keys(documents))
        for name, keys in clusters.items():
            if len(set(keys)) < 2:  # one passage says nothing about others: its documents count as independent
                clusters[name] = cluster_keys(documents[name])
        return scores, clusters


def run_scores(record: RunRecord) -> RunScores:
    """Return a run's scores, from its documents if they are there.

    Raises:
        StoreError: the documents are there and damaged.
    """
    return RunScores(record, samples_by_task(record) if has_samples(record) else None)
