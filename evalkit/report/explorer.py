"""The documents of one or more runs as compact data for the HTML report's sample explorer.

Documents that several runs share (see `evalkit.comparison.pairing`) are one entry with one result a run.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

from evalkit.comparison.pairing import document_keys, have_hashes, same_data, shared_metrics
from evalkit.comparison.points import RunData
from evalkit.config.suites import BY_CHARACTERS, load_suites
from evalkit.records.samples import Sample
from evalkit.records.values import strict_json


def explorer_data(runs: Sequence[RunData]) -> dict[str, Any]:
    """Return ``{"tasks": [...], "docs": [...]}`` as JSON values.

    A task has ``name``, ``suite`` (title), ``metrics`` (headline first), ``groups`` (the same in printed order, that of
    the groups of continuations that they see) and ``perChar`` (length-normalised headline).
    A document has ``t`` (its task's position), ``d`` (number), ``k`` (cluster), ``c`` (contexts), ``o``
    (continuations), ``n`` (characters of each choice, where a metric divides by them), ``s`` (where its second group of
    continuations starts, for TruthfulQA), ``g`` (positions of right continuations, or null if unknown), ``x`` (the
    target where it is no position) and ``r``: for each run null, or ``m`` (values in the order of the task's metrics),
    ``l`` (log-probabilities in nats), ``q`` (probability of each continuation among those of its group), ``h`` (of all
    right ones together, in the last group), ``p`` (position of the pick), ``y`` (greedy positions), ``w`` (generated
    texts), ``e`` (details); and ``c``, ``o``, ``n`` where that run's requests differ from the first one's.
    """
    tasks: list[dict[str, Any]] = []
    docs: list[dict[str, Any]] = []
    for suite in load_suites().values():
        for task in suite.tasks:
            if not any(task.name in run.samples for run in runs):
                continue
            metrics = [task.headline, *(name for name in task.metrics if name != task.headline)]
            per_char = task.headline == BY_CHARACTERS
            tasks.append(
                {"name": task.name, "suite": suite.title, "metrics": metrics, "perChar": per_char}
                | {"groups": list(task.metrics)}
            )
            having = [run for run in runs if task.name in run.samples]
            by_content = not all(same_data(run.record, having[0].record, task.name) for run in having)
            everyone = [s for run in having for s in run.samples[task.name]]
            hashed, shared = have_hashes(everyone), shared_metrics(everyone)
            documents: dict[Hashable, dict[str, Any]] = {}
            for position, run in enumerate(runs):
                own = run.samples.get(task.name, ())
                for key, sample in document_keys(own, by_content=by_content, hashed=hashed, shared=shared):
                    if key not in documents:
                        documents[key] = _document(sample, len(tasks) - 1, len(runs))
                    documents[key]["r"][position] = _result(sample, metrics, documents[key])
            docs += documents.values()
    return {"tasks": tasks, "docs": docs}


def _document(sample: Sample, task: int, runs: int) -> dict[str, Any]:
    return {
        "t": task,
        "d": sample.doc_id,
        "k": sample.cluster,
        "c": _contexts(sample),
        "o": sample.continuations,
        "n": sample.characters,
        "s": sample.second_group,
        "g": sample.gold,
        "x": None if sample.gold is not None else strict_json(sample.target),
        "r": [None] * runs,
    }


def _contexts(sample: Sample) -> list[str]:
    return [str(text) for text in sample.context] if isinstance(sample.context, list) else [str(sample.context)]


def _result(sample: Sample, metrics: Sequence[str], document: dict[str, Any]) -> dict[str, Any]:
    shares = _shares(sample)
    found: dict[str, Any] = {
        "m": [_short(sample.metrics.get(metric), 6) for metric in metrics],
        "l": [_short(value, 4) for value in sample.logprobs],
        "q": [_short(share, 6) for share in shares],
        "h": _short(_gold_share(sample, shares), 6),
        "p": _pick(sample, metrics),
        "y": [position for position, greedy in enumerate(sample.greedy) if greedy],
    }
    if sample.generated:
        found["w"] = sample.generated
    details = {name: strict_json(value) for name, value in sample.details.items()}
    if details:
        found["e"] = details
    if _contexts(sample) != document["c"]:
        found["c"] = _contexts(sample)
    if sample.continuations != document["o"]:
        found["o"] = sample.continuations
        found["n"] = sample.characters
    return found


def _shares(sample: Sample) -> list[float | None]:
    """Return the probability of each continuation among those of its group; None where one of these has no number."""
    start, found = sample.second_group or 0, list[float | None]()
    for group in (sample.logprobs[:start], sample.logprobs[start:]):
        known = [value for value in group if value is not None]
        if len(known) < len(group):
            found += [None] * len(group)
        elif known:
            odds = [math.exp(value - max(known)) for value in known]
            found += [share / math.fsum(odds) for share in odds]
    return found


def _gold_share(sample: Sample, shares: Sequence[float | None]) -> float | None:
    gold = [shares[place] for place in sample.gold or () if place >= (sample.second_group or 0)]
    known = [share for share in gold if share is not None]
    return math.fsum(known) if known and len(known) == len(gold) else None


def _pick(sample: Sample, metrics: Sequence[str]) -> int | None:
    """Return the position that the first of the task's metrics chose that chooses (mc2 does not, mc1 does)."""
    picked = sample.picked or {}
    return next((picked[metric] for metric in metrics if metric in picked), None)


def _short(value: float | None, places: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, places)
