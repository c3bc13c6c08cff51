"""Which files of a folder are lm-eval's results, which samples belong to them, and when several files are one run.

lm-eval writes ``OUT/<model>/results_<time>.json`` and ``samples_<task>_<time>.jsonl`` of the same time; 0.4.0 to 0.4.2
wrote ``OUT/results.json`` and ``OUT/<model_args>_<task>.jsonl``. Runs of one model, task by task, into one folder are
one run; whatever else lies there together is named and left to the user. Samples files may be packed by gzip.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import StoreError, some
from evalkit.results.lm_eval_protocol import limit_of, model_name
from evalkit.results.lm_eval_settings import model_arguments, of_file

TIME = re.compile(r"_(\d{4}-\d{2}-\d{2}T[\d.:-]+)\.json$")

GZIP = ".gz"
_SAMPLES = ".jsonl"
_BY_TASK = ("results", "configs", "versions", "n-shot", "n-samples", "higher_is_better", "group_subtasks", "groups")
_VERSIONS = ("lm_eval_version", "transformers_version", "git_hash")


def _in(folder: Path) -> list[Path]:
    found = sorted(folder.glob("results_*.json"))
    alone = folder / "results.json"
    return found or ([alone] if alone.is_file() else [])


def results_files(path: Path) -> list[Path]:
    """Return lm-eval's results files at a path, oldest first; none where it is a run of evalkit, or nothing.

    A path is a file, a folder with results files, or one whose folders have them, as ``--output_path`` makes it.
    """
    if not path.is_dir():
        return [path] if path.suffix == ".json" and path.name != "run.json" and path.is_file() else []
    if (path / "run.json").exists():
        return []
    return _in(path) or [file for inner in sorted(path.iterdir()) if inner.is_dir() for file in _below(inner)]


def _below(folder: Path) -> list[Path]:
    return [] if (folder / "run.json").exists() else sorted(folder.glob("results_*.json"))


def sample_files_of(file: Path, found: Mapping[str, Any] | None = None) -> list[tuple[str, Path]]:
    """Return (task as lm-eval names it, file) of the samples that belong to a results file."""
    return [(name, sample) for name, sample in _samples_of(file, found) if _is_read(sample)]


def _samples_of(file: Path, found: Mapping[str, Any] | None = None) -> list[tuple[str, Path]]:
    """Return (task, file) of the samples of a results file, packed or not."""
    stamp = TIME.search(file.name)
    if stamp is not None:
        return _of_time(file.parent, stamp[1])
    if file.name != "results.json":
        return []
    if found is None:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return []  # who reads the file says so
    config = found.get("config") if isinstance(found, dict) else None
    arguments = config.get("model_args") if isinstance(config, dict) else None
    prefix = re.sub("/|=", "__", arguments) if isinstance(arguments, str) else ""
    results = found.get("results") if isinstance(found, dict) else None
    names: dict[str, Any] = results if isinstance(results, dict) else {}
    taken = []
    for name in names:
        exact = f"{prefix}_{name}{_SAMPLES}"
        others: dict[str, Path] = {}
        for f in sorted(file.parent.glob(f"*_{name}{_SAMPLES}*"), key=_reading_order):
            if _task_of(_unpacked(f), names) == name:
                others.setdefault(_unpacked(f), f)
        if exact in others:
            taken.append((name, others[exact]))
        elif len(others) == 1:
            taken.append((name, next(iter(others.values()))))
    return taken


def _reading_order(sample: Path) -> tuple[bool, str]:
    """Sort files in several forms so that the one that is read comes first."""
    return not _is_read(sample), sample.name


def _unpacked(sample: Path) -> str:
    """Return the name that a samples file has or had before it was packed."""
    head, end, _ = sample.name.rpartition(_SAMPLES)
    return head + end


def _is_read(sample: Path) -> bool:
    return sample.name.endswith((_SAMPLES, _SAMPLES + GZIP))


def _of_time(folder: Path, time: str) -> list[tuple[str, Path]]:
    """Return (task, file) of the samples of a time, packed or not; of a file in several forms the one that is read."""
    found: dict[str, Path] = {}
    for sample in sorted(folder.glob(f"samples_*_{time}{_SAMPLES}*"), key=_reading_order):
        found.setdefault(_unpacked(sample)[len("samples_") : -len(f"_{time}{_SAMPLES}")], sample)
    return sorted(found.items())


def packed_samples(file: Path) -> list[tuple[str, Path]]:
    """Return (task, file) of the samples of a results file that are packed in a form that is not read."""
    return [(name, sample) for name, sample in _samples_of(file) if not _is_read(sample)]


def not_unpacked(sample: Path) -> str:
    """Say what to do about a samples file that is packed in a form that is not read."""
    return f"{sample}: packed in a form that is not read; unpack it there, or pack it by gzip"


def _task_of(unpacked: str, names: Mapping[str, Any]) -> str:
    """Return the longest name of a task that the name of a samples file of 0.4.0 to 0.4.2 ends with."""
    return max((name for name in names if unpacked.endswith(f"_{name}{_SAMPLES}")), key=len)


def left_out_samples(file: Path) -> str | None:
    """Say that samples files of other times, or packed ones, lie beside a results file that has none to read."""
    if sample_files_of(file):
        return None
    packed = packed_samples(file)
    if packed:
        return not_unpacked(packed[0][1])
    if TIME.search(file.name) is None:
        return None
    times = {match[1] for other in _in(file.parent) if (match := TIME.search(other.name)) is not None}
    others = sorted(
        sample.name
        for sample in file.parent.glob(f"samples_*{_SAMPLES}*")
        if not any(_unpacked(sample).endswith(f"_{time}{_SAMPLES}") for time in times)
    )
    if not others:
        return None
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"{file}: has no samples files of its time; {others[0]}{more} beside it, of another time, not taken"


def joined_files(path: Path, loaded: Mapping[Path, dict[str, Any]]) -> dict[str, Any]:
    """Return several results files of one folder as one.

    Raises:
        StoreError: they are of several models, share a task, or were made with other settings.
    """
    files = list(loaded)
    models: dict[str, list[Path]] = {}
    for file, found in loaded.items():
        models.setdefault(model_name(found, file), []).append(file)
    best = next((file for file in reversed(files) if sample_files_of(file, loaded[file])), files[-1])
    named = f"name one of them, e.g. {best}"
    if len(models) > 1:
        shown = "; ".join(f"{name}: {_names(path, of_model)}" for name, of_model in models.items())
        raise StoreError(f"{path}: results files of {len(models)} models ({shown}); {named}")
    if len({file.parent for file in files}) > 1:
        raise StoreError(f"{path}: results files in {len({f.parent for f in files})} folders; {named}")
    seen: dict[str, Path] = {}
    for file, found in loaded.items():
        for task in found["results"]:
            if task in seen:
                raise StoreError(
                    f"{path}: {task} is in several results files ({seen[task].name}, {file.name}), so nothing says "
                    f"which counts; {named}"
                )
            seen[task] = file
    first = _settings(loaded[files[0]])
    for file in files[1:]:
        other = _settings(loaded[file])
        differing = [name for name in {**first, **other} if first.get(name) != other.get(name)]
        if differing:
            name = differing[0]
            more = f" and {len(differing) - 1} more settings" if len(differing) > 1 else ""
            raise StoreError(
                f"{path}: {files[0].name} and {file.name} were made with other settings ({name}: "
                f"{_short(first.get(name))}, {_short(other.get(name))}{more}); {named}"
            )
    merged = dict(loaded[files[-1]])
    for key in (*_BY_TASK, "task_hashes"):
        parts = [part for found in loaded.values() if isinstance(part := found.get(key), dict)]
        if parts:
            merged[key] = {name: value for part in parts for name, value in part.items()}
    merged["date"] = loaded[files[0]].get("date")
    merged["total_evaluation_time_seconds"] = _total(loaded.values())
    if len({json.dumps(_config(found).get("num_fewshot")) for found in loaded.values()}) > 1:
        merged["config"] = {**_config(merged), "num_fewshot": None}
    return merged


def _config(found: Mapping[str, Any]) -> dict[str, Any]:
    config = found.get("config")
    return config if isinstance(config, dict) else {}


def _total(found: Any) -> float | None:
    try:
        return sum(float(of_file["total_evaluation_time_seconds"]) for of_file in found)
    except (KeyError, TypeError, ValueError):
        return None


def _settings(found: Mapping[str, Any]) -> dict[str, str]:
    """Return all that must agree for two files to be parts of one run."""
    # Counted documents are a limit, too, but then of the tasks of one file: only what was asked for must agree.
    asked = _config(found).get("limit")
    limit = limit_of({"results": {}, "config": {"limit": asked}})
    settings = {**of_file(found), **{f"model_args {name}": value for name, value in model_arguments(found).items()}}
    settings |= {"limit": str(limit)} if limit is not None else {}
    if not isinstance(found.get("n-shot"), dict) and _config(found).get("num_fewshot") is not None:
        settings["num_fewshot"] = str(_config(found)["num_fewshot"])
    for name in ("system_instruction", "chat_template", "chat_template_sha", *_VERSIONS):
        if found.get(name):
            settings[name] = str(found[name])
    return settings


def _names(path: Path, files: list[Path]) -> str:
    return some([str(file.relative_to(path)) for file in files])


def _short(value: str | None) -> str:
    text = "none" if value is None else " ".join(value.split())
    return text if len(text) <= 40 else text[:37] + "..."
