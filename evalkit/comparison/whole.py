"""A run's documents, as far as they are those of its record: all there, each once, its scores their means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from evalkit.comparison.clusters import with_passages
from evalkit.errors import StoreError
from evalkit.records.model import RUN_FILE, SAMPLES_FILE, RunRecord
from evalkit.records.samples import Sample
from evalkit.results.agreement import check_errors, check_marks, check_task_samples
from evalkit.results.lm_eval_files import mean_metrics
from evalkit.results.lm_eval_samples import why_lost
from evalkit.results.reading import has_samples, read_samples

SAME_MEAN = 1e-6
"""A record's score and the mean of its documents differ by rounding alone."""

ROUNDED_MEAN = 6e-5
"""Another harness's results file may print its scores with four decimals."""


class LostDocumentsError(StoreError):
    """A run has fewer documents than its record counts."""


def samples_by_task(
    record: RunRecord, tasks: Iterable[str] | None = None, *, allow_missing: bool = False
) -> dict[str, list[Sample]]:
    """Read a run's documents by task, each with its passage, and check that they are all there, each once.

    Args:
        record: the run.
        tasks: the tasks that are wanted; None: all.
        allow_missing: take it if there are fewer documents than the record says.

    Raises:
        StoreError: the file is missing or damaged, or its documents are not those that ``run.json`` counts.
    """
    wanted = None if tasks is None else set(tasks)
    found: dict[str, list[Sample]] = {}
    for sample in read_samples(record.folder):
        found.setdefault(sample.task, []).append(sample)
    for task in dict.fromkeys([*record.metrics, *found]):
        # A task of which only the documents are there was lost from the record, whoever asks for it.
        if wanted is None or task in wanted or task not in record.metrics:
            _check_whole(record, task, found.get(task, []), allow_missing=allow_missing)
    if record.foreign is None and record.partial is None and not allow_missing:
        try:
            check_marks(record, [sample for samples in found.values() for sample in samples])
        except ValueError as error:
            raise StoreError(f"{record.folder / RUN_FILE}: {error}; a file was changed, rerun it") from None
    found = with_passages(record, found)
    return {task: samples for task, samples in found.items() if wanted is None or task in wanted}


def check_report(record: RunRecord) -> None:
    """Check that a finished run's numbers are those of its documents, where these are there, its errors included.

    Raises:
        StoreError: they are not, or documents are missing or damaged.
    """
    if record.partial is not None or record.foreign is not None or not has_samples(record):
        return
    for task, samples in samples_by_task(record).items():
        try:
            check_errors(record, task, samples)
        except ValueError as error:
            raise StoreError(f"{record.folder / RUN_FILE}: {task}: {error}; the file was changed, rerun it") from None


def _check_whole(record: RunRecord, task: str, samples: Sequence[Sample], *, allow_missing: bool) -> None:
    where, counts = f"{record.folder / SAMPLES_FILE}: {task}", RUN_FILE
    if record.foreign is not None:
        where, counts = f"{record.folder.parent}: samples of {task}", record.folder.name
    counted = max((value.n for value in record.metrics.get(task, {}).values()), default=0)
    twice = len(samples) - len({sample.doc_id for sample in samples})
    if twice:
        raise StoreError(f"{where}: {twice:,} of {len(samples):,} documents are there twice; the file is damaged")
    if len(samples) > counted:
        raise StoreError(
            f"{where}: {len(samples):,} documents, but {counts} counts {counted:,}; the files are not of one run"
        )
    if len(samples) < counted and not allow_missing:
        if record.foreign is not None and (why := why_lost(record.folder, task)) is not None:
            raise StoreError(why)
        raise LostDocumentsError(
            f"{where}: {len(samples):,} documents, but {counts} counts {counted:,}: {counted - len(samples):,} are "
            "lost; copy the run's folder again or rerun it"
        )
    data, limit = record.data.get(task), record.config.limit
    read = None if record.foreign is not None or data is None else data.documents
    if read is not None and counted < min(read, limit or read):
        raise StoreError(
            f"{record.folder / RUN_FILE}: {task}: {counted:,} documents are counted, but its data had {read:,}"
            f"{f' and the limit was {limit:,}' if limit else ''}; the file was changed, rerun it"
        )
    if len(samples) == counted:
        _check_means(record, task, samples, where, counts)
        if record.foreign is None and record.partial is None:
            try:
                check_task_samples(record, task, samples)
            except ValueError as error:
                raise StoreError(f"{where}: {error}; a file was changed, rerun it") from None


def _check_means(record: RunRecord, task: str, samples: Sequence[Sample], where: str, counts: str) -> None:
    """The record's scores are the samples' means, or one of the files is another run's."""
    is_foreign = record.foreign is not None
    means = mean_metrics(record.lm_eval) if is_foreign else frozenset()
    for metric, recorded in record.metrics.get(task, {}).items():
        if is_foreign and (task, metric) not in means:
            continue
        values = [sample.metrics.get(metric) for sample in samples]
        numbers = [value for value in values if value is not None]
        if recorded.value is None or len(numbers) < len(values):
            continue
        found = math.fsum(numbers) / len(numbers)
        if abs(found - recorded.value) > (ROUNDED_MEAN if is_foreign else SAME_MEAN):
            raise StoreError(
                f"{where}: the documents' mean {metric} is {found:.4f}, but {counts} says {recorded.value:.4f}; the "
                "files are not of one run"
            )
