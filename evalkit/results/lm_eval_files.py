"""lm-eval's own results files as runs: `evalkit.results.reading` hands them here, so that every command takes them.

A results file (``results_<time>.json``) gives tasks, metrics, errors; samples files beside it give the documents
(`evalkit.results.lm_eval_samples`), which pair by their hash. How the tasks were measured is read by
`evalkit.results.lm_eval_protocol`. What the file does not say is "unknown", never guessed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from evalkit.config.suites import EXACT, load_tasks
from evalkit.errors import StoreError
from evalkit.records.asked import Asked
from evalkit.records.facts import DataFacts, Environment, ModelFacts, ScorerFacts
from evalkit.records.model import MetricValue, RunRecord
from evalkit.results.lm_eval_folders import (
    TIME,
    joined_files,
    left_out_samples,
    results_files,
)
from evalkit.results.lm_eval_numbers import (
    FACTS,
    MEANS,
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
    mapping_at,
    measured,
    model_name,
    scored_names,
)
from evalkit.results.lm_eval_samples import read_foreign_samples
from evalkit.results.lm_eval_settings import check_settings, digest_of_request, of_file, of_tasks
from evalkit.results.task_names import is_no_share, task_and_metric


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
        listed = mapping_at(mapping_at(found, "configs"), name).get("metric_list")
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        said = {
            str(entry["metric"]): entry["aggregation"] for entry in entries if {"metric", "aggregation"} <= set(entry)
        }
        for key in values:
            base = key.partition(",")[0]
            if said.get(base, "mean" if base in MEANS else None) == "mean":
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
    config = mapping_at(found, "config")
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
