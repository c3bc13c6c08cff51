"""Two runs, document by document: which documents both have, and what each run made of them.

Documents are the same where the data's content hash is the same and the position is; where the hashes differ, only
documents with the same requests and the same gold answer count as common.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from evalkit.comparison.clusters import Keys, paired_keys
from evalkit.comparison.whole import samples_by_task
from evalkit.config.suites import Task, load_tasks
from evalkit.errors import DataError, StoreError
from evalkit.records.identity import changed_of, same_protocol
from evalkit.records.model import RunRecord
from evalkit.records.samples import Sample
from evalkit.results.lm_eval_samples import why_lost
from evalkit.results.reading import has_samples
from evalkit.stats.estimates import FloatArray

SAME_LOGPROB = 0.01
"""Nats. Sums in another order move a log-probability in float32 by less than this, another model by more."""


@dataclass(frozen=True)
class TaskPair:
    """One task's documents in two runs.

    Attributes:
        task: the task.
        candidate: the candidate's documents, in the candidate's order.
        baseline: the same documents of the baseline, in the same order.
        left_out: documents of either run that are not paired.
        missing: documents that the baseline has and the candidate lacks; part of `left_out`.
        by_content: True if documents were matched by content because the data differ.
        failed: documents that both have and that have no score in one of them; part of `left_out`.
    """

    task: Task
    candidate: tuple[Sample, ...]
    baseline: tuple[Sample, ...]
    left_out: int = 0
    by_content: bool = False
    missing: tuple[Sample, ...] = ()
    failed: int = 0

    def scores(self, metric: str | None = None) -> TaskScores:
        """Return the values of a metric, by default the headline metric.

        Raises:
            DataError: a document has no value.
        """
        name = metric or self.task.headline
        return TaskScores(
            self.task,
            _column(self.candidate, name, "the candidate"),
            _column(self.baseline, name, "the baseline"),
            paired_clusters({self.task.name: self})[self.task.name][0],
            all(same_answers(a, b) for a, b in zip(self.candidate, self.baseline, strict=True)),
        )


@dataclass(frozen=True)
class TaskScores:
    """One metric of one task in two runs, as arrays; all that a test needs.

    Attributes:
        task: the task.
        candidate: one score a document. shape (documents,)
        baseline: the same documents' scores. shape (documents,)
        clusters: one key a document; documents with one key are not independent, also across tasks.
        same: True if both runs gave every document the same log-probabilities and texts.
        scales: how much each document counts beside the others, 1 in the mean; None: all the same. shape (documents,)
    """

    task: Task
    candidate: FloatArray
    baseline: FloatArray
    clusters: tuple[Hashable, ...]
    same: bool = False
    scales: FloatArray | None = None

    def mean(self, column: FloatArray) -> float:
        """Return the task's mean of one value a document."""
        return float(column.mean() if self.scales is None else (self.scales * column).mean())

    @cached_property
    def differences(self) -> FloatArray:
        """Candidate minus baseline. shape (documents,)"""
        return self.candidate - self.baseline

    @property
    def is_right_or_wrong(self) -> bool:
        """True if all scores are 0 or 1."""
        return bool(np.isin(self.candidate, (0, 1)).all() and np.isin(self.baseline, (0, 1)).all())

    @property
    def is_exact(self) -> bool:
        """True if McNemar's test holds: independent documents that are right or wrong."""
        return self.is_right_or_wrong and not self.is_clustered

    @property
    def is_clustered(self) -> bool:
        """True if some documents of the task share a cluster."""
        return len(set(self.clusters)) < len(self.clusters)


def _column(samples: Iterable[Sample], metric: str, whose: str) -> FloatArray:
    values = []
    for sample in samples:
        value = sample.metrics.get(metric)
        if value is None:
            raise DataError(f"{sample.task}: document {sample.doc_id} of {whose} has no {metric}; run it again")
        values.append(value)
    return np.array(values, dtype=np.float64)


def same_answers(a: Sample, b: Sample) -> bool:
    """Return True if two runs gave a document the same scores, log-probabilities (`SAME_LOGPROB`) and texts."""
    if a.metrics.keys() != b.metrics.keys() or a.generated != b.generated or not (a.logprobs or a.generated):
        return False
    return same_numbers(list(a.metrics.values()), list(b.metrics.values())) and same_numbers(a.logprobs, b.logprobs)


def same_numbers(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    """Return True if all numbers are there and equal within `SAME_LOGPROB`; a flipped answer is off by 1."""
    return len(a) == len(b) and all(
        x is not None and y is not None and abs(x - y) <= SAME_LOGPROB for x, y in zip(a, b, strict=True)
    )


def data_sha256(record: RunRecord, task: str) -> str | None:
    """Return the content hash of a task's data, None where the record has none."""
    data = record.data.get(task)
    return None if data is None else data.sha256


def same_data(candidate: RunRecord, baseline: RunRecord, task: str) -> bool:
    """Return True if both runs read the same documents of a task; the number of them scored may differ."""
    left, right = data_sha256(candidate, task), data_sha256(baseline, task)
    return left is not None and left == right


def _doc_hashes(record: RunRecord, task: str) -> tuple[str, ...] | None:
    return None if record.foreign is None else record.foreign.doc_hashes.get(task, ())


def is_cut(record: RunRecord, task: str) -> bool:
    """Return True if fewer documents of a task are there than another harness's results file counts."""
    hashes = _doc_hashes(record, task)
    return hashes is not None and len(hashes) < max((v.n for v in record.metrics.get(task, {}).values()), default=0)


def cut_from(candidate: RunRecord, baseline: RunRecord, task: str) -> bool:
    """Return True if a run's samples are cut, and what is left of them is among the other run's documents."""
    if not (is_cut(candidate, task) or is_cut(baseline, task)):
        return False
    left, right = (Counter[str](_doc_hashes(record, task) or ()) for record in (candidate, baseline))
    return left <= right or right <= left


def pair(
    candidate: RunRecord,
    baseline: RunRecord,
    tasks: Iterable[str] | None = None,
    *,
    drop_failed: bool = False,
    allow_missing: bool = False,
) -> dict[str, TaskPair]:
    """Pair the documents of two runs, task by task, in reporting order.

    Args:
        candidate: a finished run.
        baseline: another one.
        tasks: tasks to pair, by default all that both have.
        drop_failed: leave documents out that have no score in either run, instead of failing at them.
        allow_missing: as for `samples_by_task`.

    Raises:
        StoreError: samples are missing or damaged, or not those that the record counts.
        DataError: a task has no common documents.
    """
    for record in (candidate, baseline):
        if record.foreign is not None and not has_samples(record):
            if record.foreign.unpaired_because:
                raise DataError(record.foreign.unpaired_because)
            raise DataError(
                f"{record.folder}: no samples files beside it (lm_eval --log_samples writes them), so no pairs"
            )
    common = set(candidate.metrics) & set(baseline.metrics)
    wanted = [task for task in load_tasks().values() if task.name in (common if tasks is None else set(tasks))]
    names = [task.name for task in wanted]
    left = samples_by_task(candidate, names, allow_missing=allow_missing)
    right = samples_by_task(baseline, names, allow_missing=allow_missing)
    pairs = {}
    for task in wanted:
        by_content = not same_data(candidate, baseline, task.name)
        found = pair_samples(task, left.get(task.name, []), right.get(task.name, []), by_content=by_content)
        if not by_content:
            _check_content(candidate, baseline, found)
        in_both = len(found.candidate)
        if drop_failed:
            found = _without_failed(found)
        of_one = [len(of_run.get(task.name, ())) for of_run in (left, right)]
        # All documents of a task that the candidate lost are lost like any; without the baseline's there is no task.
        if not found.candidate and not (allow_missing and not of_one[0]):
            why = "none has a score in both"
            if by_content and not in_both:
                both = [*left.get(task.name, []), *right.get(task.name, [])]
                what = "hash of lm-eval's" if have_hashes(both) else "requests and the same gold answer"
                why = f"none has the same {what} in both"
            if not all(of_one):
                why = f"the {'baseline' if of_one[0] else 'candidate'}'s samples of it are missing, rerun it"
            for record, of_run in ((candidate, left), (baseline, right)):
                own = of_run.get(task.name, ())
                if record.foreign is not None and not any(task.headline in sample.metrics for sample in own):
                    lost = (
                        f"{record.folder}: {task.name}: no samples file has its {task.headline}; copy all of them again"
                    )
                    raise StoreError(why_lost(record.folder, task.name) or lost)
            raise DataError(f"{task.name}: the two runs have no document in common; {why}")
        pairs[task.name] = found
    return pairs


def _check_content(candidate: RunRecord, baseline: RunRecord, found: TaskPair) -> None:
    """Documents at one position are the same document, or one of the files was changed.

    The gold answer of the same data is the same. Requests may be made in another way, but then in all documents.
    """
    documents = list(zip(found.candidate, found.baseline, strict=True))
    asked = [a.context == b.context and a.continuations == b.continuations for a, b in documents]
    as_before = same_protocol(candidate.identity, baseline.identity, found.task.name) is True and all(
        getattr(candidate.config, name) == getattr(baseline.config, name)
        for name in ("apply_chat_template", "system", "system_in_user")
    )
    templates = [record.model.chat_template_sha256 for record in (candidate, baseline)]
    as_before = as_before and templates[0] == templates[1]
    comparable = any(asked) or as_before
    other = [
        a.doc_id
        for (a, b), is_same in zip(documents, asked, strict=True)
        if str(a.target) != str(b.target) or (comparable and not is_same)
    ]
    if other:
        shown = ", ".join(map(str, sorted(other)[:5])) + (", ..." if len(other) > 5 else "")
        changed = changed_of(candidate.identity, baseline.identity, found.task.name)
        what = f"the task was changed, {', '.join(changed)}" if changed else "a file was changed"
        raise StoreError(
            f"{candidate.folder} and {baseline.folder}: {found.task.name}: {len(other):,} of {len(documents):,} "
            f"documents are others at the same position ({shown}), though the data have one hash; {what}; rerun it"
        )


def pair_samples(task: Task, left: Sequence[Sample], right: Sequence[Sample], *, by_content: bool) -> TaskPair:
    """Pair one task's documents: by position, or by what was asked."""
    hashed, shared = have_hashes([*left, *right]), shared_metrics([*left, *right])
    a, b = (
        dict(document_keys(samples, by_content=by_content, hashed=hashed, shared=shared)) for samples in (left, right)
    )
    common = [name for name in a if name in b]
    return TaskPair(
        task,
        tuple(a[name] for name in common),
        tuple(b[name] for name in common),
        len(a) + len(b) - 2 * len(common),
        by_content,
        tuple(sample for name, sample in b.items() if name not in a),
    )


def have_hashes(samples: Iterable[Sample]) -> bool:
    """Return True if all documents carry lm-eval's hash; it is the same however the document was asked."""
    return all(sample.details.get("doc_hash") for sample in samples)


def shared_metrics(samples: Iterable[Sample]) -> frozenset[str]:
    """Return the metrics that all documents of a task have: of lm-eval's two tasks of TruthfulQA one may be there."""
    found = [sample.metrics.keys() for sample in samples]
    return frozenset(set(found[0]).intersection(*found[1:])) if found else frozenset()


def document_keys(
    samples: Iterable[Sample], *, by_content: bool, hashed: bool, shared: frozenset[str]
) -> Iterator[tuple[Hashable, Sample]]:
    """Yield each document of one task with what tells it apart: its position, its hash, or what was asked.

    Args:
        samples: a run's documents.
        by_content: not by position.
        hashed: what `have_hashes` says of all runs; the hash of one run is no key for another that has none.
        shared: what `shared_metrics` says of all runs; requests that only other metrics see do not count.
    """
    return _occurrences(samples, hashed=hashed, shared=shared) if by_content else _positions(samples)


def _positions(samples: Iterable[Sample]) -> Iterator[tuple[Hashable, Sample]]:
    return ((sample.doc_id, sample) for sample in samples)


def _asked(sample: Sample, shared: frozenset[str]) -> list[str]:
    """Return the continuations that the shared metrics see: of two groups the one, where only its metric is shared."""
    start, known = sample.second_group, load_tasks().get(sample.task)
    seen = [metric in shared for metric in (known.metrics if known is not None else ())]
    if start is None or seen.count(True) != 1 or len(seen) != 2:
        return sample.continuations
    return sample.continuations[:start] if seen[0] else sample.continuations[start:]


def _occurrences(
    samples: Iterable[Sample], *, hashed: bool, shared: frozenset[str]
) -> Iterator[tuple[Hashable, Sample]]:
    """Key documents by content; the second of two equal ones is another document than the first."""
    seen: dict[str, int] = {}
    for sample in samples:
        # lm-eval writes a target as text, evalkit as what it is.
        asked = [sample.context, _asked(sample, shared), str(sample.target)]
        content = str(sample.details["doc_hash"]) if hashed else json.dumps(asked, sort_keys=True)
        seen[content] = seen.get(content, 0) + 1
        yield (content, seen[content]), sample


def _without_failed(pair: TaskPair) -> TaskPair:
    headline = pair.task.headline
    kept = [
        (a, b)
        for a, b in zip(pair.candidate, pair.baseline, strict=True)
        if a.metrics.get(headline) is not None and b.metrics.get(headline) is not None
    ]
    dropped = len(pair.candidate) - len(kept)
    return replace(
        pair,
        candidate=tuple(a for a, _ in kept),
        baseline=tuple(b for _, b in kept),
        left_out=pair.left_out + dropped,
        failed=dropped,
    )


def scores_of(pairs: Mapping[str, TaskPair]) -> dict[str, TaskScores]:
    """Return the headline scores of all pairs, with the clusters that go across tasks."""
    keys = paired_clusters(pairs)
    return {name: replace(found.scores(), clusters=keys[name][0]) for name, found in pairs.items()}


def paired_clusters(pairs: Mapping[str, TaskPair]) -> dict[str, tuple[Keys, Keys]]:
    """Return of each pair the keys of its documents and of those that the candidate lacks; see `paired_keys`."""
    return paired_keys({name: (found.candidate, found.baseline, found.missing) for name, found in pairs.items()})
