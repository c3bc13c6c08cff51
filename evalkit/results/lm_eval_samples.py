"""lm-eval's samples files (``samples_<task>_<time>.jsonl``, packed or not) as evalkit's samples, one a document."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from evalkit.config.suites import MASS, load_tasks
from evalkit.data.layouts import cluster_key
from evalkit.data.manifest import find_dataset
from evalkit.errors import StoreError
from evalkit.records.samples import Sample
from evalkit.results.lm_eval_folders import GZIP, not_unpacked, packed_samples, results_files, sample_files_of
from evalkit.results.lm_eval_numbers import MEANS, number
from evalkit.results.task_names import task_and_metric


def sample_files(path: Path) -> list[tuple[str, Path]]:
    """Return (task as lm-eval names it, file) of the samples that belong to the results files at a path."""
    return [named for file in results_files(path) for named in sample_files_of(file)]


def why_lost(path: Path, task: str) -> str | None:
    """Say why a task has no samples at a path although a file of them is there; None if none is."""
    packed = [named for file in results_files(path) for named in packed_samples(file)]
    return next((not_unpacked(file) for name, file in packed if task_and_metric(name, "acc,none")[0] == task), None)


def read_foreign_samples(path: Path) -> Iterator[Sample]:
    """Yield the documents of lm-eval's samples files, task by task; metrics of one document in two tasks are joined.

    Raises:
        StoreError: a line is damaged.
    """
    joined: dict[tuple[str, int], Sample] = {}
    for name, file in sample_files(path):
        for place, line in _lines(file):
            try:
                sample = _sample(name, json.loads(line.decode("utf-8")) if isinstance(line, bytes) else line)
            except _BeyondError as error:
                raise StoreError(f"{file}:{place}: {error}") from None
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError):
                raise StoreError(f"{file}:{place}: damaged line") from None
            known = joined.get((sample.task, sample.doc_id))
            if known is not None and known.metrics.keys() & sample.metrics.keys():
                raise StoreError(f"{file}:{place}: document {sample.doc_id} again")
            joined[sample.task, sample.doc_id] = sample if known is None else _as_one(known, sample)
    order = {task: place for place, task in enumerate(load_tasks())}
    yield from sorted(joined.values(), key=lambda s: (order.get(s.task, len(order)), s.task, s.doc_id))


def _as_one(first: Sample, second: Sample) -> Sample:
    """Return one document of two tasks of lm-eval that are one of evalkit's: TruthfulQA's mc1 and mc2.

    Its requests are those of both, in the order of the task's metrics, as a run of evalkit asks them.
    """
    known = load_tasks().get(first.task)
    order = {metric: place for place, metric in enumerate(known.metrics if known is not None else ())}
    places = [min((order.get(metric, len(order)) for metric in s.metrics), default=len(order)) for s in (first, second)]
    if places[1] < places[0]:
        first, second = second, first
    one = replace(first, metrics={**first.metrics, **second.metrics})
    # Two filters of one task make two lines of one document, too, but of the same requests.
    is_split = max(places) < len(order)
    if not is_split or first.context != second.context or str(first.target) != str(second.target):
        return one
    return replace(
        one,
        continuations=[*first.continuations, *second.continuations],
        logprobs=[*first.logprobs, *second.logprobs],
        greedy=[*first.greedy, *second.greedy],
        second_group=len(first.continuations) if first.continuations and second.continuations else None,
        gold=[0, *(len(first.continuations) + place for place in second.gold)] if second.gold is not None else None,
    )


class _BeyondError(Exception):
    """A metric of a document that is a share and lies outside of 0 to 1."""


def _lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line, its bytes); of 0.4.0 to 0.4.2, whose files are one JSON list, (place in the list, document)."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror})") from None
    if file.suffix == GZIP:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise StoreError(f"{file}: damaged, not whole as gzip ({error}); copy it again") from None
    if content.lstrip()[:1] == b"[":
        try:
            yield from enumerate(json.loads(content.decode("utf-8")), 1)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{file}: damaged, not valid JSON ({error})") from None
        return
    for place, line in enumerate(content.split(b"\n"), 1):  # decoded line by line, so that a bad byte has a line
        if line.strip():
            yield place, line


def _sample(name: str, found: dict[str, Any]) -> Sample:
    filtered = str(found.get("filter", "none"))
    metrics: dict[str, float | None] = {}
    task = task_and_metric(name, "")[0]
    for key in found["metrics"] if isinstance(found.get("metrics"), list) else ("acc", "acc_norm", "exact_match"):
        if key in found:
            task, metric = task_and_metric(name, f"{key},{filtered}")
            value = number(found[key] if not isinstance(found[key], bool) else float(found[key]))
            if value is not None and key in MEANS and not 0 <= value <= 1:
                raise _BeyondError(f"document {found['doc_id']}: {key} is {value:g}, no share from 0 to 1")
            metrics[metric] = value
    arguments = found.get("arguments") or {}
    pairs = (
        list(arguments.values()) if isinstance(arguments, dict) else [{"arg_0": a[0], "arg_1": a[1]} for a in arguments]
    )
    contexts = [str(pair.get("arg_0", "")) for pair in pairs]
    scored = all(isinstance(pair.get("arg_1"), str) for pair in pairs)
    resps = found.get("filtered_resps") or []
    numbers = [_logprob(resp) for resp in resps] if scored else []
    if numbers and len(numbers) != len(pairs):
        raise ValueError("not one log-probability for each continuation")
    return Sample(
        task=task,
        doc_id=int(found["doc_id"]),
        cluster=_cluster(task, found.get("doc")),
        metrics=metrics,
        target=found.get("target"),
        context=contexts[0] if len(set(contexts)) == 1 else contexts,
        continuations=[str(pair["arg_1"]) for pair in pairs] if scored else [],
        logprobs=[n for n, _ in numbers],
        greedy=[g for _, g in numbers],
        generated=[] if scored else [str(text) for text in _flat(found.get("resps")) or resps],
        details={name: str(found[name]) for name in ("doc_hash", "prompt_hash") if found.get(name)},
        gold=_mc2_gold(found.get("doc")) if MASS in metrics else None,
    )


def _flat(responses: Any) -> list[Any]:
    """Return the texts as the model wrote them, before filters; lm-eval has a list for each request."""
    requests = responses if isinstance(responses, list) else []
    return [text for of_one in requests for text in (of_one if isinstance(of_one, list) else [of_one])]


def _mc2_gold(doc: Any) -> list[int] | None:
    """Return the positions of mc2's true choices, where the document says them."""
    targets = doc.get("mc2_targets") if isinstance(doc, dict) else None
    labels = targets.get("labels") if isinstance(targets, dict) else None
    return [place for place, label in enumerate(labels) if label == 1] if isinstance(labels, list) else None


def _cluster(task: str, doc: Any) -> str | None:
    """Return the key of a document's passage, where the samples file holds the document."""
    known = load_tasks().get(task)
    if known is None or not isinstance(doc, dict):
        return None
    try:
        return cluster_key(find_dataset(task).layout, doc)
    except (KeyError, AttributeError):
        return None  # columns of another form of the data


def _logprob(resp: Any) -> tuple[float | None, bool]:
    first, greedy = (resp[0], resp[1]) if isinstance(resp, (list, tuple)) and len(resp) > 1 else (resp, False)
    try:
        value = float(first)
    except (TypeError, ValueError):
        return None, False
    return (value if math.isfinite(value) else None), str(greedy) == "True"
