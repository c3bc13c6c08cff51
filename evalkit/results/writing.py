"""Making a run's record, and writing it: finished and unfinished runs alike.

A run's folder holds ``run.json`` (an lm-eval results file with one more key, ``evalkit``), ``samples.jsonl`` (a line a
document) and ``report.md``. Files appear complete or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from evalkit.config.yaml_files import Entry, fault_in
from evalkit.errors import StoreError
from evalkit.records.model import (
    REPORT_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    SCHEMA_MINOR,
    SCHEMA_VERSION,
    MetricValue,
    Partial,
    RunFacts,
    RunRecord,
)
from evalkit.records.samples import Sample
from evalkit.records.values import strict_json, summarise_samples
from evalkit.store.files import write_atomically

_ADDRESS = re.compile(r" at 0x[0-9a-f]+>")
PartOf = TypeVar("PartOf", bound=Entry)


def part(kind: type[PartOf], found: Mapping[str, Any], where: str) -> PartOf:
    """Return what another room describes in plain values as a part of the record.

    Args:
        kind: the part's type.
        found: its keys and values.
        where: who says so, for the message.

    Raises:
        StoreError: a key is unknown or missing, or a value of another type; a record with it could not be read again.
    """
    try:
        return msgspec.convert(strict_json(found), kind)
    except msgspec.ValidationError as error:
        raise StoreError(f"{where}: {fault_in(strict_json(found), kind) or error}") from None


def make_record(
    folder: Path,
    facts: RunFacts,
    lm_eval: Mapping[str, Any],
    samples: Sequence[Sample],
    partial: Partial | None = None,
) -> RunRecord:
    """Make a run's record from its samples.

    Args:
        folder: where it will be written.
        facts: everything of evalkit's part but the metrics, which are computed here.
        lm_eval: lm-eval's part.
        samples: all of them, in canonical order.
        partial: how much is there, of an unfinished run.
    """
    metrics = summarise_samples(samples)
    theirs = strict_json(lm_eval)
    if "configs" in theirs:
        theirs["configs"] = _without_addresses(theirs["configs"])
    # What is made is what would be read again: text that is no UTF-8 is escaped, NaN is null.
    strict = msgspec.convert(strict_json(msgspec.to_builtins(facts)), RunFacts)
    fields = {name: getattr(strict, name) for name in RunFacts.__struct_fields__}
    return RunRecord(
        **{**fields, "metrics": metrics, "folder": folder, "lm_eval": _refused(theirs, metrics), "partial": partial}
    )


def evalkit_part(record: RunRecord) -> dict[str, Any]:
    """Return the key ``evalkit`` of ``run.json``."""
    facts = RunFacts(**{name: getattr(record, name) for name in RunFacts.__struct_fields__})
    found: dict[str, Any] = msgspec.to_builtins(facts)
    return found


def _without_addresses(value: Any) -> Any:
    """Name functions without their memory address, which is another one in each process."""
    if isinstance(value, dict):
        return {key: _without_addresses(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_addresses(item) for item in value]
    return _ADDRESS.sub(">", value) if isinstance(value, str) else value


def _refused(lm_eval: dict[str, Any], metrics: Mapping[str, Mapping[str, MetricValue]]) -> dict[str, Any]:
    """Remove the scores that lm-eval made of tasks with failed samples, which it doesn't know of."""
    failed = {task for task, of_task in metrics.items() if any(value.failed for value in of_task.values())}
    results = lm_eval.get("results", {})
    for name, values in results.items():
        # A group's mean contains its tasks'.
        subtasks = set(lm_eval.get("group_subtasks", {}).get(name, ()))
        if failed & {name, *subtasks}:
            results[name] = {key: None if isinstance(value, float) else value for key, value in values.items()}
    return lm_eval


def write_run(
    folder: Path,
    facts: RunFacts,
    lm_eval: Mapping[str, Any],
    samples: Sequence[Sample],
    report: Callable[[RunRecord], str] | None = None,
    check: Callable[[RunRecord, Sequence[Sample]], None] | None = None,
) -> RunRecord:
    """Make a run's record and write it: ``samples.jsonl``, ``report.md``, and ``run.json`` last.

    A folder without ``run.json`` is no finished run.

    Args:
        folder: an existing folder.
        facts, lm_eval, samples: see `make_record`.
        report: makes the text of ``report.md``; None for no such file.
        check: looks at what would be written, and raises where it must not be.

    Raises:
        StoreError: a file cannot be written.
    """
    record = make_record(folder, facts, lm_eval, samples)
    if check is not None:
        check(record, samples)
    lines = [
        json.dumps(strict_json(msgspec.structs.asdict(sample)), ensure_ascii=False, allow_nan=False)
        for sample in samples
    ]
    write_atomically(folder / SAMPLES_FILE, "".join(line + "\n" for line in lines))
    if report is not None:
        write_atomically(folder / REPORT_FILE, report(record))
    document = {
        "schema_version": SCHEMA_VERSION,
        "schema_minor": SCHEMA_MINOR,
        "evalkit": evalkit_part(record),
        **record.lm_eval,
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)
    write_atomically(folder / RUN_FILE, text + "\n")
    return record
