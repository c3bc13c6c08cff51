"""lm-eval's own results files as runs: `evalkit.results.reading` hands them here, so that every command takes them.

A results file (``results_<time>.json``) gives tasks, metrics, errors; ``samples_<task>_<time>.jsonl`` files beside it
give the documents, which pair by the hash of the document. How the tasks were measured is read by
`evalkit.results.lm_eval_protocol`. What the file does not say is "unknown", never guessed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from evalkit.data.layouts import cluster_key
from evalkit.data.manifest import find_dataset
from evalkit.errors import StoreError
from evalkit.records.asked import Asked
from evalkit.records.facts import DataFacts, Environment, ModelFacts, ScorerFacts
from evalkit.records.model import MetricValue, RunRecord
from evalkit.records.samples import Sample
from evalkit.results.lm_eval_folders import (
    GZIP,
    TIME,
    joined_files,
    left_out_samples,
    not_unpacked,
    packed_samples,
    results_files,
    sample_files_of,
)
from evalkit.results.lm_eval_numbers import (
    FACTS,
    as_in_file,
    check_document_counts,
    counted,
    error_of,
    is_ours,
    is_score,
    number,
)
from evalkit.results.lm_eval_protocol import (
    counts_of,
    dtype_of,
    joint_protocol,
    limit_of,
    measured,
    model_name,
    scored_names,
)
from evalkit.results.lm_eval_settings import check_settings, digest_of_request, of_file, of_tasks
from evalkit.suites import EXACT, MASS, load_tasks
from evalkit.task_names import is_no_share, task_and_metric

_MEANS = frozenset({"acc", "acc_norm", "acc_mutual_info", "acc_bytes", "exact_match"})


def is_foreign(path: Path) -> bool:
    """Tell whether a path is a results file of another harness, or a folder that holds such and no run of evalkit."""
    return bool(results_files(path))


class NoScoresError(StoreError):
    """A results file in which no metric is a share of right answers."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; one with a key twice and two values says nothing that could be believed."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and repr(found[key]) != repr(value):
            raise ValueError(f"key {key!r} twice, with two values")
        found[key] = value
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: damaged, not valid JSON ({error})") from None
    if not isinstance(found, dict) or not isinstance(found.get("results"), dict):
        raise StoreError(f"{path}: neither a run of evalkit nor a results file of lm-eval (no key 'results')")
    return found


def _line_of(file: Path, name: str) -> int:
    """Return the line of a task's scores in a results file."""
    text = file.read_text(encoding="utf-8", errors="replace")
    results = max(text.find('"results"'), 0)
    found = re.compile(re.escape(json.dumps(name)) + r"\s*:\s*\{").search(text, results)
    return text.count("\n", 0, found.start()) + 1 if found is not None else 1


def _mapping(found: dict[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def _count(found: dict[str, Any], name: str, task: str, scored: Mapping[str, int]) -> int:
    """Return the number of documents: what the file says, else how many samples there are, else the whole task."""
    entry = counts_of(found).get(name)
    count = entry.get("effective") if isinstance(entry, dict) else None
    if isinstance(count, int) and count > 0:
        return count
    known, limit = load_tasks().get(task), limit_of(found)
    whole = known.documents if known is not None else 0
    if whole and limit is not None:  # the 0.3 line counts no samples
        whole = min(whole, math.ceil(limit if limit >= 1 else limit * whole))
    return scored.get(task) or whole


def _metrics(
    path: Path, found: dict[str, Any], scored: Mapping[str, int], *, is_table: bool
) -> tuple[dict[str, dict[str, MetricValue]], list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the scores of a results file, the (task, metric) of its numbers that are no shares, and what is amiss.

    Those are what is no number, and errors that are not those of their scores, as (name in the file, what is said).
    """
    unread: list[tuple[str, str]] = []
    errors: list[tuple[str, str]] = []
    metrics: dict[str, dict[str, MetricValue]] = {}
    ignored: list[tuple[str, str]] = []
    names = scored_names(found)
    for name, values in found["results"].items():
        if not isinstance(values, dict):
            raise StoreError(f"{path}: results: {name}: expected a mapping of metrics")
        if name not in names:
            continue
        for key, value in values.items():
            base, _, filtered = key.partition(",")
            if base in FACTS or base.endswith("_stderr") or not base.strip():
                continue
            share = number(value)
            task, metric = task_and_metric(names[name], key)
            ours = is_ours(task, metric)
            if value is not None and ours and not is_score(value) and (str(value).strip() or not is_table):
                text = (
                    f"{task} {metric}: {as_in_file(value)} is no {'number' if share is None else 'share from 0 to 1'}"
                )
                if not is_table:
                    raise StoreError(f"{path}: {text}, so the file was changed or cut; run it again")
                unread.append((name, f"{text}; not read"))
                continue
            if share is None:
                is_said = not isinstance(value, (dict, list)) and value is not None and bool(str(value).strip())
                if is_said and not is_no_share(metric):
                    unread.append((name, f"{task} {metric}: {as_in_file(value)} is no number; not read"))
                if value is not None:
                    continue
            if is_no_share(metric) or (share is not None and not 0 <= share <= 1):
                ignored.append((task, metric))
                continue
            n = _count(found, name, task, scored)
            stderr = values.get(f"{base}_stderr,{filtered}" if filtered else f"{base}_stderr")
            where = f"{path}: {task} {metric}"
            error, remark = error_of(where, share, stderr, n, ours=ours, exact=metric in EXACT)
            errors += [(name, f"{task} {metric}: {remark}")] if remark is not None else []
            failed = 0 if share is not None else max(n, 1)
            metrics.setdefault(task, {})[metric] = MetricValue(value=share, stderr=error, n=n, failed=failed)
    if not metrics:
        raise NoScoresError(f"{path}: no scores read: no metric in it is a share")
    return metrics, ignored, unread, errors


def mean_metrics(found: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """Return (task, metric) of the scores in a results file that are means over its documents.

    That is what a task's configuration says of its metric, else what lm-eval does by default with its own metrics.
    """
    means = set()
    names = scored_names(found)
    for name, values in found["results"].items():
        listed = _mapping(_mapping(found, "configs"), name).get("metric_list")
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        said = {
            str(entry["metric"]): entry["aggregation"] for entry in entries if {"metric", "aggregation"} <= set(entry)
        }
        for key in values:
            base = key.partition(",")[0]
            if said.get(base, "mean" if base in _MEANS else None) == "mean":
                means.add(task_and_metric(names.get(name, name), key))
    return frozenset(means)


def read_foreign_run(path: Path, *, is_table: bool = False) -> RunRecord:
    """Read a results file of lm-eval as a run's record.

    Args:
        path: the file, or its folder.
        is_table: take it as a table of scores: one that is no share is named as not read, instead of refusing them all.

    Raises:
        StoreError: it cannot be read, is none, has no scores, or a number in it cannot be what it is said to be.
    """
    files = results_files(path)
    if not files:
        raise StoreError(f"{path}: no results file of lm-eval")
    loaded = {file: _load(file) for file in files}
    for each, said in loaded.items():
        check_settings(said, each)
        check_document_counts(said, each)
    found = loaded[files[0]] if len(files) == 1 else joined_files(path, loaded)
    file = files[0] if len(files) == 1 else path
    hashes: dict[str, list[str]] = {}
    asked: dict[str, list[str]] = {}
    for sample in read_foreign_samples(path):
        hashes.setdefault(sample.task, []).append(str(sample.details.get("doc_hash", "")))
        prompt = sample.details.get("prompt_hash")
        asked.setdefault(sample.task, []).append(
            digest_of_request(sample.context, sample.continuations, sample.target, prompt)
        )
    scored = {task: len(of_task) for task, of_task in hashes.items()}
    found = counted(found, scored)
    metrics, ignored, unread, errors = _metrics(file, found, scored, is_table=is_table)
    source = {name: each for each, said in loaded.items() for name in said["results"]}
    config = _mapping(found, "config")
    name = model_name(found, files[-1])
    data = {
        task: DataFacts(
            source="lm-eval",
            verdict="unknown",
            location=str(file),
            rows=next(iter(values.values())).n,
            documents=next(iter(values.values())).n,
            sha256=hashlib.sha256("\n".join(hashes[task]).encode()).hexdigest()
            if all(hashes.get(task, [""]))
            else None,
        )
        for task, values in metrics.items()
    }
    versions = {key: str(found[f"{key}_version"]) for key in ("transformers", "lm_eval") if found.get(f"{key}_version")}
    tasks = load_tasks()
    return RunRecord(
        protocol=joint_protocol(found, scored_names(found)),
        started=_started(found.get("date"), file),
        duration_seconds=number(_seconds(found)) or 0.0,
        command=("lm_eval",),
        config=Asked(model=name, limit=limit_of(found), system=_system(found)),
        suites=tuple(dict.fromkeys(tasks[task].suite for task in metrics if task in tasks)),
        model=ModelFacts(
            name=name,
            origin="lm-eval",
            loader=str(config.get("model") or "unknown"),
            device=str(config.get("device") or "unknown"),
            dtype=dtype_of(found),
            chat_template_sha256=_template(found),
        ),
        scorer=ScorerFacts(name="lm-eval", reason="imported results file"),
        data=data,
        environment=Environment(versions=versions),
        metrics=metrics,
        folder=file,
        lm_eval=found,
        foreign=replace(
            measured(found, ignored, [(_line_of(source[name], name), text) for name, text in unread], hashes),
            errors=tuple((_line_of(source[name], name), text) for name, text in errors),
            unpaired_because=next((why for each in files if (why := left_out_samples(each)) is not None), None),
            settings=of_file(found),
            task_settings=of_tasks(found),
            asked={task: tuple(digests) for task, digests in asked.items()},
        ),
    )


def _system(found: dict[str, Any]) -> str | None:
    """Return the system prompt; where the file has only its digest, that."""
    text, digest = found.get("system_instruction"), found.get("system_instruction_sha")
    return str(text) if text else (f"sha256 {str(digest)[:12]}" if digest else None)


def _template(found: dict[str, Any]) -> str | None:
    """Return the digest of the chat template in use; lm-eval's is the sha256 of its text."""
    text, digest = found.get("chat_template"), found.get("chat_template_sha")
    if isinstance(digest, str) and digest:
        return digest
    return hashlib.sha256(str(text).encode()).hexdigest() if text else None


def _started(date: Any, file: Path) -> str:
    """Return when a run began: lm-eval writes seconds since 1970; the file's name has the time of its end."""
    seconds = number(date)
    if seconds is not None and 0 < seconds < 1e11:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(date or (TIME.search(file.name) or ("", "unknown"))[1])


def _seconds(found: dict[str, Any]) -> float | None:
    try:
        return float(found.get("total_evaluation_time_seconds") or 0)
    except (TypeError, ValueError):
        return None


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
            if value is not None and key in _MEANS and not 0 <= value <= 1:
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
