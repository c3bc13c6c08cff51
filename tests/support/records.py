"""A run's record without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.records.model import RunFacts, RunRecord
from evalkit.records.samples import Sample
from evalkit.results.writing import part, write_run

EVALKIT: dict[str, Any] = {
    "protocol": "nous-2023",
    "started": "2026-01-02T03:04:05+00:00",
    "duration_seconds": 61.6,
    "command": ["evalkit", "run"],
    "config": {"model": "org/name", "limit": None, "add_bos": False, "apply_chat_template": False, "system": None},
    "suites": ["gpt4all"],
    "model": {
        "name": "org/name",
        "device": "npu:0",
        "device_name": "Ascend910B",
        "dtype": "bfloat16",
        "loader": "openmind",
    },
    "scorer": {"name": "forest", "reason": "as fast as can be"},
    "data": {"boolq": {"source": "folder", "verdict": "published"}},
    "environment": {"versions": {"evalkit": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "pandas": "2.0"}},
    "isolation": None,
}


def facts(**changes: Any) -> RunFacts:
    """evalkit's part of a record; ``changes`` replace entries of `EVALKIT`."""
    return part(RunFacts, {**EVALKIT, **changes}, "test")


def sample(task: str, doc_id: int, **metrics: float | None) -> Sample:
    """A document's record with these metric values."""
    return Sample(
        task=task,
        doc_id=doc_id,
        cluster=None,
        metrics=metrics,
        target=0,
        context="c",
        continuations=[" a"],
        logprobs=[-1.0],
        greedy=[False],
        generated=[],
        details={},
    )


def write_record(folder: Path, values: Mapping[str, Mapping[str, Sequence[float | None]]], **changes: Any) -> RunRecord:
    """Write a run: task -> metric -> values of its documents. ``changes`` replace entries of `EVALKIT`."""
    samples = []
    for task, metrics in values.items():
        columns = {name: list(column) for name, column in metrics.items()}
        count = len(next(iter(columns.values())))
        samples += [
            sample(task, doc_id, **{name: column[doc_id] for name, column in columns.items()})
            for doc_id in range(count)
        ]
    return write_samples(folder, samples, **changes)


def write_samples(folder: Path, samples: Sequence[Sample], **changes: Any) -> RunRecord:
    """Write a run of these samples; ``changes`` replace entries of `EVALKIT`."""
    folder.mkdir(parents=True, exist_ok=True)
    return of_schema_2(write_run(folder, facts(**changes), {"results": {}, "versions": {}}, samples))


def of_schema_2(record: RunRecord) -> RunRecord:
    """Let a written record be one of schema 2, which need not say everything, and return it."""
    file = record.folder / "run.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"schema_version": 3', '"schema_version": 2', 1), encoding="utf-8")
    return record
