"""One run's record: what was run, on what, with which versions; and its per-sample values.

A run's folder holds ``run.json`` (an lm-eval results file with one more key, ``evalkit``), ``samples.jsonl`` (a line a
document) and ``report.md``. docs/results.md documents every field. Files appear complete or not at all.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import StoreError
from evalkit.record_checks import check_metric, check_record, sample_from
from evalkit.store.files import write_atomically

# 2 added identity, work and sessions; docs/results.md has the history.
SCHEMA_VERSION = 2
RUN_FILE = "run.json"
SAMPLES_FILE = "samples.jsonl"
REPORT_FILE = "report.md"

_ADDRESS = re.compile(r" at 0x[0-9a-f]+>")

# What every reader of a run relies on; docs/results.md documents the rest.
_NEEDED = {
    "protocol": (),
    "started": (),
    "duration_seconds": (),
    "config": ("model",),
    "model": ("name", "device", "dtype", "loader"),
    "scorer": ("name", "reason"),
    "data": (),
    "environment": ("versions",),
    "tasks": (),
}


@dataclass(frozen=True)
class MetricValue:
    """A metric over a task's documents.

    Attributes:
        value: mean over the documents, a fraction; None if a sample failed, because there is no score then.
        stderr: sample standard deviation / sqrt(n); None for fewer than two documents or without a value.
        n: number of documents.
        failed: documents without a finite value.
    """

    value: float | None
    stderr: float | None
    n: int
    failed: int


@dataclass(frozen=True)
class Sample:
    """One document of one task.

    Attributes:
        task: task name.
        doc_id: position among the task's documents, from 0.
        cluster: key shared by documents that are not independent (one passage), or None.
        metrics: value of each metric; None where the sample failed.
        target: gold answer, as the task defines it.
        context: the context of its requests (a list where they differ, as for winogrande).
        continuations: of its log-likelihood requests.
        logprobs: summed log-probability in nats of each continuation; None where missing or not finite.
        greedy: whether each continuation is the model's greedy one.
        generated: generated texts.
        details: what a task adds, e.g. the verdict on a program.
    """

    task: str
    doc_id: int
    cluster: str | None
    metrics: dict[str, float | None]
    target: Any
    context: Any
    continuations: list[str]
    logprobs: list[float | None]
    greedy: list[bool]
    generated: list[str]
    details: dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        folder: where it was read from.
        evalkit: evalkit's part of ``run.json`` (docs/results.md).
        lm_eval: lm-eval's part: ``results``, ``versions``, ``n-samples``...
        metrics: task -> metric -> value.
    """

    folder: Path
    evalkit: dict[str, Any]
    lm_eval: dict[str, Any]
    metrics: dict[str, dict[str, MetricValue]]


def finite(value: float | None) -> float | None:
    """Return the value, or None for NaN and infinities."""
    return None if value is None or not math.isfinite(value) else float(value)


def summarise(values: Sequence[float | None]) -> MetricValue:
    """Aggregate the values of one metric; a failed sample refuses the score (it is never averaged away)."""
    n = len(values)
    good = [value for value in values if value is not None and math.isfinite(value)]
    if n == 0 or len(good) < n:
        return MetricValue(None, None, n, n - len(good))
    mean = sum(good) / n
    if n < 2:
        return MetricValue(mean, None, n, 0)
    variance = sum((value - mean) ** 2 for value in good) / (n - 1)
    return MetricValue(mean, math.sqrt(variance / n), n, 0)


def summarise_samples(samples: Iterable[Sample]) -> dict[str, dict[str, MetricValue]]:
    """Aggregate per-sample values: task -> metric -> value, in order of appearance."""
    columns: dict[str, dict[str, list[float | None]]] = {}
    for sample in samples:
        for metric, value in sample.metrics.items():
            columns.setdefault(sample.task, {}).setdefault(metric, []).append(value)
    return {task: {metric: summarise(v) for metric, v in of_task.items()} for task, of_task in columns.items()}


def plain(value: Any) -> Any:
    """Make a value strict JSON: NaN and infinities become null, unknown objects their text."""
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, str):
        # Arguments of the command line may hold bytes that are no text (surrogates); a run must not be lost by them.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if value is None or isinstance(value, (int, bool)):
        return value
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        return plain(value.tolist())
    return str(value)


def make_record(
    folder: Path, evalkit: Mapping[str, Any], lm_eval: Mapping[str, Any], samples: Sequence[Sample]
) -> RunRecord:
    """Make a run's record from its samples.

    Args:
        folder: where it will be written.
        evalkit: everything of evalkit's part but the metrics, which are computed here.
        lm_eval: lm-eval's part.
        samples: all of them, in canonical order.
    """
    metrics = summarise_samples(samples)
    tasks = {task: {metric: asdict(value) for metric, value in of_task.items()} for task, of_task in metrics.items()}
    theirs = plain(lm_eval)
    if "configs" in theirs:
        theirs["configs"] = _without_addresses(theirs["configs"])
    return RunRecord(folder, {**plain(evalkit), "tasks": tasks}, _refused(theirs, metrics), metrics)


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
    evalkit: Mapping[str, Any],
    lm_eval: Mapping[str, Any],
    samples: Sequence[Sample],
    report: Callable[[RunRecord], str] | None = None,
) -> RunRecord:
    """Make a run's record and write it: ``samples.jsonl``, ``report.md``, and ``run.json`` last.

    A folder without ``run.json`` is no finished run.

    Args:
        folder: an existing folder.
        evalkit, lm_eval, samples: see `make_record`.
        report: makes the text of ``report.md``; None for no such file.

    Raises:
        StoreError: a file cannot be written.
    """
    record = make_record(folder, evalkit, lm_eval, samples)
    lines = [json.dumps(plain(asdict(sample)), ensure_ascii=False, allow_nan=False) for sample in samples]
    write_atomically(folder / SAMPLES_FILE, "".join(line + "\n" for line in lines))
    if report is not None:
        write_atomically(folder / REPORT_FILE, report(record))
    document = {"schema_version": SCHEMA_VERSION, "evalkit": record.evalkit, **record.lm_eval}
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)
    write_atomically(folder / RUN_FILE, text + "\n")
    return record


def read_run(path: Path) -> RunRecord:
    """Read a finished run from its folder (or its ``run.json``), or a results file of lm-eval.

    Raises:
        StoreError: no finished run is there, it is damaged, or it was written by a newer evalkit.
    """
    from evalkit.foreign import is_foreign, read_foreign_run

    if is_foreign(path):
        return read_foreign_run(path)
    folder = path.parent if path.name == RUN_FILE else path
    file = folder / RUN_FILE
    if folder.is_file():
        raise StoreError(f"{folder}: no run; a run is a folder, its {RUN_FILE}, or a results file of lm-eval")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        from evalkit.store.runs import unfinished_text

        raise StoreError(f"{folder}: {unfinished_text(folder)}") from None
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise StoreError(f"{file}: damaged, not valid JSON ({error})") from None
    if not isinstance(found, dict) or "evalkit" not in found:
        raise StoreError(f"{file}: not written by evalkit (no key 'evalkit')")
    version = found.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise StoreError(
            f"{file}: schema_version {version}, this evalkit reads 1 to {SCHEMA_VERSION}; use a newer evalkit"
        )
    evalkit = found["evalkit"]
    if version < 2 and isinstance(evalkit, dict):
        evalkit = {"identity": None, "work": None, "sessions": [], **evalkit}
    try:
        for key, inner_keys in _NEEDED.items():
            for inner in inner_keys:
                evalkit[key][inner]
        metrics = {
            task: {metric: _checked(MetricValue(**value), f"{task}.{metric}") for metric, value in of_task.items()}
            for task, of_task in evalkit["tasks"].items()
        }
        check_record(evalkit, found, metrics)
    except ValueError as error:
        raise StoreError(f"{file}: damaged, {error}; copy the run's folder again or rerun the evaluation") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{file}: damaged, {type(error).__name__} at {error}; rerun the evaluation") from None
    lm_eval = {key: value for key, value in found.items() if key not in ("schema_version", "evalkit")}
    return RunRecord(folder=folder, evalkit=evalkit, lm_eval=lm_eval, metrics=metrics)


def is_run(path: Path) -> bool:
    """Tell whether a path is that of a run: a folder, a ``run.json``, or a results file of lm-eval."""
    from evalkit.foreign import is_foreign

    return path.is_dir() or path.name == RUN_FILE or is_foreign(path)


def has_samples(record: RunRecord) -> bool:
    """Tell whether a run's documents are there."""
    from evalkit.foreign import is_foreign, sample_files

    if is_foreign(record.folder):
        return bool(sample_files(record.folder))
    return (record.folder / SAMPLES_FILE).is_file()


def _checked(value: MetricValue, where: str) -> MetricValue:
    """Return the value.

    Raises:
        ValueError: a number in it cannot be; names its key.
    """
    try:
        check_metric(value)
    except ValueError as error:
        raise ValueError(f"evalkit.tasks.{where}.{error}") from None
    return value


def read_samples(folder: Path) -> Iterator[Sample]:
    """Yield a finished run's samples, in order.

    Raises:
        StoreError: the file is missing or a line is damaged.
    """
    from evalkit.foreign import is_foreign, read_foreign_samples

    if is_foreign(folder):
        yield from read_foreign_samples(folder)
        return
    path = folder / SAMPLES_FILE
    try:
        with path.open("rb") as stream:  # decoded line by line, so that a bad byte has a line
            for number, line in enumerate(stream, 1):
                try:
                    sample = sample_from(json.loads(line.decode("utf-8")))
                except (ValueError, TypeError, AttributeError, RecursionError):
                    raise StoreError(f"{path}:{number}: damaged line") from None
                yield sample
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
