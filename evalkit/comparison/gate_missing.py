"""Documents that the candidate lacks, where they count: wrong, or at the worst where nothing is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from evalkit.comparison.pairing import TaskPair, TaskScores, paired_clusters
from evalkit.records.model import RunRecord


def lost_of(candidate: RunRecord, found: TaskPair, *, every: bool) -> TaskPair:
    """Return a pair with only those missing documents that count as wrong.

    That is every one, or those at positions that the candidate's record counts where its samples are fewer.
    """
    if every:
        return found
    counted = max(value.n for value in candidate.metrics[found.task.name].values())
    scored = len(found.candidate) + found.left_out - len(found.missing)
    kept = [sample for sample in found.missing if sample.doc_id < counted] if scored < counted else []
    return replace(found, missing=tuple(kept))


def in_neither(candidate: RunRecord, found: TaskPair) -> int:
    """Return how many documents the candidate's record counts that neither run's samples have."""
    counted = max(value.n for value in candidate.metrics[found.task.name].values())
    there = len(found.candidate) + found.left_out - len(found.missing)
    return max(0, counted - there - len(found.missing))


def with_lost(scores: TaskScores, count: int, wrong: float = 0.0) -> TaskScores:
    """Add documents of which nothing is known, at the worst: right before and wrong now."""
    return replace(
        scores,
        candidate=np.concatenate([scores.candidate, np.full(count, wrong)]),
        baseline=np.concatenate([scores.baseline, np.full(count, 1 - wrong)]),
        clusters=(*scores.clusters, *((scores.task.name, "lost", number) for number in range(count))),
        same=scores.same and not count,
    )


def counted_by_name(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    shown = ", ".join(f"{count:,} of {name}" for name, count in list(counts.items())[:3])
    more = f" and {len(counts) - 3} more tasks" if len(counts) > 3 else ""
    return f"{total:,} document{'' if total == 1 else 's'} ({shown}{more})"


def with_wrong(
    found: TaskPair, scores: TaskScores, metric: str, pairs: Mapping[str, TaskPair], wrong: float = 0.0
) -> TaskScores:
    """Add the documents that the candidate lacks, as wrong; their passages are those of all `pairs`."""
    name = found.task.name
    missing = tuple(sample for sample in found.missing if sample.metrics.get(metric) is not None)
    keys = paired_clusters({**pairs, name: replace(found, missing=missing)})
    return replace(
        scores,
        candidate=np.concatenate([scores.candidate, np.full(len(missing), wrong)]),
        baseline=np.concatenate([scores.baseline, [float(s.metrics[metric] or 0.0) for s in missing]]),
        clusters=(*keys[name][0], *keys[name][1]),
        same=scores.same and not missing,
    )
