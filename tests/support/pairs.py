"""Runs with chosen scores, for everything that compares two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.config.suites import find_task, load_suites
from evalkit.records.model import RunRecord
from evalkit.records.samples import Sample
from evalkit.results.writing import write_run
from tests.support.records import EVALKIT, facts, of_schema_2

SHA256 = "ab" * 32


def document(
    task: str,
    doc_id: int,
    value: float | None,
    *,
    cluster: str | None = None,
    logprobs: Sequence[float] = (),
    **more: Any,
) -> Sample:
    """A document whose metrics are all `value`, with two choices; a right answer leads by one nat."""
    metrics = dict.fromkeys(find_task(task).metrics, value)
    lead = [-1.0, -2.0] if value else [-2.0, -1.0]
    fields: dict[str, Any] = {
        "target": 0,
        "context": f"{task} question {doc_id}",
        "continuations": [" yes", " no"],
        "generated": [],
        "details": {},
        **more,
    }
    values = list(logprobs or lead) if fields["continuations"] else []  # a generated text has none
    return Sample(
        task=task,
        doc_id=doc_id,
        cluster=cluster,
        metrics=metrics,
        logprobs=values,
        greedy=[False] * len(values),
        **fields,
    )


def data_entry(verdict: str = "published", sha256: str = SHA256) -> dict[str, Any]:
    """A record's entry about a task's data."""
    return {"source": "folder", "verdict": verdict, "sha256": sha256}


def write_samples(folder: Path, samples: Sequence[Sample], **changes: Any) -> RunRecord:
    """Write a run of these documents. ``changes`` replace entries of `EVALKIT`; dictionaries are merged."""
    names = dict.fromkeys(sample.task for sample in samples)
    described: dict[str, Any] = {**EVALKIT, "data": {name: data_entry() for name in names}}
    for key, value in changes.items():
        merged = isinstance(value, dict) and isinstance(described.get(key), dict) and key != "data"
        described[key] = {**described[key], **value} if merged else value
    folder.mkdir(parents=True, exist_ok=True)
    return of_schema_2(write_run(folder, facts(**described), {"results": {}, "versions": {}}, samples))


def write_values(
    folder: Path,
    values: Mapping[str, Sequence[float | None]],
    clusters: Mapping[str, Sequence[str]] | None = None,
    **changes: Any,
) -> RunRecord:
    """Write a run: task -> value of its metrics for each document."""
    samples = [
        document(task, doc_id, value, cluster=(clusters or {}).get(task, [None] * len(column))[doc_id])
        for task, column in values.items()
        for doc_id, value in enumerate(column)
    ]
    return write_samples(folder, samples, **changes)


def draw(documents: int, share: float, seed: int) -> list[float]:
    """Right and wrong answers."""
    return [float(value) for value in np.random.default_rng(seed).random(documents) < share]


def flipped(values: Sequence[float], gain: float, loss: float, seed: int) -> list[float]:
    """The same answers after shares of all documents were gained and lost."""
    rng = np.random.default_rng(seed)
    found = np.array(values)
    for was, share in ((0.0, gain), (1.0, loss)):
        indices = np.flatnonzero(np.array(values) == was)
        found[rng.permutation(indices)[: round(share * len(values))]] = 1 - was
    return [float(value) for value in found]


def suite_values(name: str, documents: int, share: float, seed: int) -> dict[str, list[float]]:
    """Answers of every task of a suite."""
    return {task.name: draw(documents, share, seed + i) for i, task in enumerate(load_suites()[name].tasks)}
