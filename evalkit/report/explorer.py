"""The documents of one or more runs as compact data for the HTML report's sample explorer.

Documents that several runs share (see `evalkit.report.pairing`) are one entry with one result a run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from evalkit.report.pairing import document_keys, have_hashes, same_data
from evalkit.report.scores import RunData
from evalkit.results import Sample, plain
from evalkit.suites import load_suites

_GROUPS = ("mc1_choices", "mc2_true")
"""Details of TruthfulQA that say how its continuations are grouped (see `evalkit.evaluated`)."""


def explorer_data(runs: Sequence[RunData]) -> dict[str, Any]:
    """Return ``{"tasks": [...], "docs": [...]}`` as JSON values.

    A task has ``name``, ``suite`` (title), ``metrics`` (headline first) and ``perChar`` (length-normalised headline).
    A document has ``t`` (its task's position), ``d`` (number), ``k`` (cluster), ``c`` (contexts), ``o``
    (continuations), ``s`` (where its second group of continuations starts, for TruthfulQA), ``g`` (positions of right
    continuations, or null if unknown), ``x`` (the target where it is no position) and ``r``: for each run null, or
    ``m`` (values in the order of the task's metrics), ``l`` (log-probabilities in nats), ``p`` (position of the pick),
    ``y`` (greedy positions), ``w`` (generated texts), ``e`` (details); and ``c``, ``o`` where that run's requests
    differ from the first one's.
    """
    tasks: list[dict[str, Any]] = []
    docs: list[dict[str, Any]] = []
    for suite in load_suites().values():
        for task in suite.tasks:
            if not any(task.name in run.samples for run in runs):
                continue
            metrics = [task.headline, *(name for name in task.metrics if name != task.headline)]
            per_char = task.headline == "acc_norm"
            tasks.append({"name": task.name, "suite": suite.title, "metrics": metrics, "perChar": per_char})
            having = [run for run in runs if task.name in run.samples]
            by_content = not all(same_data(run.record, having[0].record, task.name) for run in having)
            hashed = have_hashes(s for run in having for s in run.samples[task.name])
            documents: dict[Hashable, dict[str, Any]] = {}
            for position, run in enumerate(runs):
                for key, sample in document_keys(run.samples.get(task.name, ()), by_content=by_content, hashed=hashed):
                    if key not in documents:
                        documents[key] = _document(sample, len(tasks) - 1, len(runs))
                    documents[key]["r"][position] = _result(sample, metrics, documents[key])
            docs += documents.values()
    return {"tasks": tasks, "docs": docs}


def _document(sample: Sample, task: int, runs: int) -> dict[str, Any]:
    start, gold = groups_and_gold(sample)
    target = None if gold is not None else plain(sample.target)
    return {
        "t": task,
        "d": sample.doc_id,
        "k": sample.cluster,
        "c": _contexts(sample),
        "o": sample.continuations,
        "s": start,
        "g": gold,
        "x": target,
        "r": [None] * runs,
    }


def _contexts(sample: Sample) -> list[str]:
    return [str(text) for text in sample.context] if isinstance(sample.context, list) else [str(sample.context)]


def _result(sample: Sample, metrics: Sequence[str], document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "m": [_short(sample.metrics.get(metric), 6) for metric in metrics],
        "l": [_short(value, 4) for value in sample.logprobs],
        "p": pick_of(sample),
        "y": [position for position, greedy in enumerate(sample.greedy) if greedy],
    }
    if sample.generated:
        found["w"] = sample.generated
    details = {name: plain(value) for name, value in sample.details.items() if name not in _GROUPS}
    if details:
        found["e"] = details
    if _contexts(sample) != document["c"]:
        found["c"] = _contexts(sample)
    if sample.continuations != document["o"]:
        found["o"] = sample.continuations
    return found


def _short(value: float | None, places: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, places)


def characters(continuation: str) -> int:
    """Return the length by which ``acc_norm`` divides: of the choice without the request's leading space."""
    return len(continuation[1:] if continuation.startswith(" ") else continuation)


def pick_of(sample: Sample) -> int | None:
    """Return the position of the continuation that the model chose by the task's headline metric.

    None if a log-probability is missing or nothing was to be chosen. TruthfulQA: the choice among mc1's continuations.
    """
    known = [value for value in sample.logprobs if value is not None]
    if len(known) < len(sample.logprobs) or not known:
        return None
    values = np.array(known, dtype=np.float64)
    if "acc_norm" in sample.metrics:
        lengths = np.array([float(characters(text)) for text in sample.continuations])
        values = np.divide(values, lengths, out=np.full_like(values, -np.inf), where=lengths > 0)
    elif "multiple_choice_grade" in sample.metrics:
        # The tie rule of these tasks (see evalkit.tasks.metrics, which a report must not import: it needs lm-eval).
        best = np.flatnonzero(values == values.max())
        return int(best[int(hashlib.sha256(values.tobytes()).hexdigest(), 16) % len(best)])
    elif "mc1" in sample.metrics:
        values = values[: groups_and_gold(sample)[0] or len(values)]
    return int(np.argmax(values))


def groups_and_gold(sample: Sample) -> tuple[int | None, list[int] | None]:
    """Return where a second group of continuations starts (None: one group) and which are right (None: unknown)."""
    target, choices = sample.target, len(sample.continuations)
    if "mc1" in sample.metrics:
        return _truthfulqa(sample)
    if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < choices:
        return None, [target]
    if isinstance(target, list) and target and all(isinstance(t, int) and 0 <= t < choices for t in target):
        return None, list(target)
    if choices == 2 and sample.metrics.get("acc") is not None and None not in sample.logprobs:
        # winogrande: both continuations are one text after different contexts, so the target names neither.
        best = int(np.argmax([value or 0.0 for value in sample.logprobs]))
        return None, [best if sample.metrics["acc"] == 1 else 1 - best]
    return None, None


def _truthfulqa(sample: Sample) -> tuple[int | None, list[int] | None]:
    """Read the groups of mc1 and mc2 from the details; mc1's first choice is right, mc2's right ones come first."""
    start, right = sample.details.get("mc1_choices"), sample.details.get("mc2_true")
    if not isinstance(start, int) or not isinstance(right, int) or start + right > len(sample.continuations):
        return None, None
    return start, [0, *range(start, start + right)]
