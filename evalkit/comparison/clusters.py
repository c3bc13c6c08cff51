"""Which documents are not independent: the one place that says it, for one run, for tasks together and for two runs.

A document's cluster is its passage. A task that asks a passage's questions without the passage
(`Task.same_questions_as`) has the passages of its twin: as the same run's documents say them, or, if the twin was not
run, as the suite's file does (`Task.passages_in_order`). So a task has the same clusters whatever else was run or asked
for.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from evalkit.config.suites import load_tasks, question_group
from evalkit.records.model import RunRecord
from evalkit.records.samples import Sample

Keys = tuple[Hashable, ...]
BLOCK = 2
"""Where nothing says which questions share a passage, so many times the longest passage's questions in a row count as
one: most passages lie in one block then, and what the others lose in spread the fewer blocks make good."""


def with_passages(record: RunRecord, samples: Mapping[str, Sequence[Sample]]) -> dict[str, list[Sample]]:
    """Return a run's documents, each with its passage, where only its twin or the suite's file says it.

    Args:
        record: the run.
        samples: all its tasks' documents.
    """
    passage = _passages(samples)
    return {task: _with_passages(record, task, of_task, passage) for task, of_task in samples.items()}


def _with_passages(
    record: RunRecord, task: str, samples: Sequence[Sample], passage: Mapping[Hashable, str]
) -> list[Sample]:
    group = question_group(task)
    sizes = load_tasks()[group].passages_in_order if group in load_tasks() else None
    if not sizes or all(sample.cluster for sample in samples):
        return list(samples)
    data = record.data.get(task)
    is_published = data is None or data.verdict == "published"
    starts = [f"{group} {number}" for number, size in enumerate(sizes) for _ in range(size)]

    def cluster(sample: Sample) -> str | None:
        known = sample.cluster or passage.get(_question(sample))
        if known is None and is_published and sample.doc_id < len(starts):
            return starts[sample.doc_id]
        return known or _block(sample)

    return [replace(sample, cluster=cluster(sample)) for sample in samples]


def _block(sample: Sample) -> str | None:
    """Return the cluster of a document of a task with passages of which nothing says the passage; None of others."""
    group = question_group(sample.task)
    sizes = load_tasks()[group].passages_in_order if group in load_tasks() else None
    return f"{group} block {sample.doc_id // (BLOCK * max(sizes))}" if sizes else None


def _has_passage(sample: Sample) -> bool:
    """Tell whether a document's cluster is its passage, and not the block that stands for an unknown one."""
    return sample.cluster is not None and sample.cluster != _block(sample)


def _passages(samples: Mapping[str, Iterable[Sample]]) -> dict[Hashable, str]:
    return {_question(sample): sample.cluster for of_task in samples.values() for sample in of_task if sample.cluster}


def _question(sample: Sample) -> Hashable:
    return question_group(sample.task), sample.doc_id


def cluster_keys(samples: Sequence[Sample]) -> Keys:
    """Return a key for each document of one task; equal for documents that are not independent.

    Where all documents share one passage (the first few of a task, with ``--limit``), they count as independent: one
    cluster says nothing about others, and no error at all would be worse. Paired tests take `paired_keys` instead.
    """
    shared = {sample.cluster for sample in samples}
    use_clusters = len(shared) > 1 or None in shared
    return tuple((sample.cluster if use_clusters else None) or _question(sample) for sample in samples)


def linked_keys(samples: Mapping[str, Sequence[Sample]]) -> dict[str, Keys]:
    """Return task -> a key for each document of a run; equal for documents that are not independent, across tasks too.

    Documents of one passage belong together, and so do the documents of two tasks that ask the same question
    (`question_group`): a question of sat_en_without_passage falls to the passage of its twin in sat_en.
    """
    passage = _passages(samples)
    return {
        task: tuple(passage.get(_question(sample), _question(sample)) for sample in of_task)
        for task, of_task in samples.items()
    }


def paired_keys(
    documents: Mapping[str, tuple[Sequence[Sample], Sequence[Sample], Sequence[Sample]]],
) -> dict[str, tuple[Keys, Keys]]:
    """Return task -> a key for each document of two runs; equal for those that either run says are not independent.

    A passage that one run knows takes the place of the other's block, which only says that none is known: joined with
    blocks, passages that have nothing to do with one another would count as one.

    Args:
        documents: task -> the candidate's documents, the same ones of the baseline, and those of the baseline alone.

    Returns:
        Of each task the keys of the common documents, and of the baseline's own.
    """
    parent: dict[Hashable, Hashable] = {}

    def root(node: Hashable) -> Hashable:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def joined(run: int, sample: Sample, *, known: bool = False) -> Hashable:
        question = (run, _question(sample))
        if sample.cluster and (not known or _has_passage(sample)):
            parent[root(question)] = root((run, sample.cluster))
        return question

    for candidate, baseline, missing in documents.values():
        for own, theirs in zip(candidate, baseline, strict=True):
            left = joined(0, own, known=_has_passage(theirs))
            right = joined(1, theirs, known=_has_passage(own))
            parent[root(left)] = root(right)
        for sample in missing:
            joined(1, sample)
    return {
        task: (
            tuple(root((1, _question(sample))) for sample in baseline),
            tuple(root((1, _question(sample))) for sample in missing),
        )
        for task, (_, baseline, missing) in documents.items()
    }
