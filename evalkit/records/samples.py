"""One document's part of a record: a line of ``samples.jsonl``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evalkit.config.yaml_files import Entry as Part


class Sample(Part, frozen=True, kw_only=True):
    """One document of one task."""

    task: str
    """Task name."""
    doc_id: int
    """Position among the task's documents, from 0."""
    cluster: str | None
    """Key shared by documents that are not independent (one passage); null for a document of its own."""
    metrics: dict[str, float | None]
    """Value of each metric; null where the sample failed."""
    target: Any
    """Gold answer, as the task defines it."""
    context: str | list[str] | None
    """The context of its requests; a list where they differ, as for winogrande."""
    continuations: list[str]
    """Of its log-likelihood requests."""
    logprobs: list[float | None]
    """Summed log-probability in nats of each continuation; null where missing or not finite."""
    greedy: list[bool]
    """Whether each continuation is the model's greedy one."""
    generated: list[str]
    """Generated texts as the model wrote them, before a task's filter."""
    details: dict[str, Any]
    """What a task adds, such as the verdicts on programs, and marks of what happened to its requests."""
    picked: dict[str, int] | None = None
    """By each metric that chooses: the position of the continuation that it chose. Null: not recorded."""
    gold: list[int] | None = None
    """Positions of the right continuations; null where none is, or it is not known."""
    second_group: int | None = None
    """Where a second group of continuations starts, which another metric sees (TruthfulQA's mc2); null: one group."""
    characters: list[int] | None = None
    """The length of each choice, where a metric divides by it (acc_norm)."""


def disputed_programs(samples: Iterable[Sample]) -> tuple[str, ...]:
    """The problems of model-written programs that failed and pass in one process, in order, one entry a program."""
    verdicts = (verdict for sample in samples for verdict in sample.details.get("verdicts", ()))
    return tuple(
        verdict["task_id"]
        for verdict in verdicts
        if not verdict["passed"] and verdict.get("in_one_process") == "passed"  # former records have no such key
    )
