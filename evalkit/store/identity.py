"""What a run's scores depend on, as plain values that can be stored, compared and named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evalkit import __version__
from evalkit.config.run_config import RunConfig
from evalkit.config.suites import find_suite, find_task
from evalkit.config.task_files import content_of, task_file
from evalkit.config.task_modules import code_of
from evalkit.records.facts import DataFacts
from evalkit.records.identity import MOVING
from evalkit.records.made import other_documents

# Options that change neither requests nor scores (a stored plan outlives another batch size), or where they are kept.
NOT_ASKED = ("output", "source_file", "batch_size", "max_batch_tokens", "fresh", "resume", "dry_run")
# Versions that no score depends on.
NOT_COMPARED = ("python", "openmind_hub")
# The code that makes requests, answers them, keeps the answers and makes values of them. What only asks for a run,
# looks at it or shows it must not make an unfinished run unresumable, so a new room has to be entered here to count.
ANSWERING = (
    "answering",
    "data",
    "evaluation/evaluated.py",
    "config/generation_settings.py",
    "models",
    "records/made.py",
    "records/samples.py",
    "records/values.py",
    "results/writing.py",
    "sandbox",
    "scoring",
    "store",
    "config/suites.py",
    "config/task_files.py",
    "config/task_modules.py",
    "tasks",
)
# Groups that must be equal where one run takes over another's results: what the same request's answer depends on. How a
# task makes its requests is no part of it: only the same request (tokens, or prompt and settings) is ever taken over.
REUSED = ("model", "tokenizer", "chat_template", "generation", "dtype", "other", "scorer")
# Groups that may differ there, and that are then named: an answer depends on how it was computed, but an evalkit or a
# library that computes nothing otherwise must not cost a run. Only the user knows whether a fault was mended between.
COMPUTED = ("code", "versions", "device")


def code_sha256() -> str:
    """Return a digest of the code that answers: what a version number alone doesn't tell in a checkout."""
    package = Path(__file__).resolve().parent.parent
    sources = [
        path
        for path in package.rglob("*.py")
        if any(path.relative_to(package).is_relative_to(name) for name in ANSWERING)
    ]
    return _digest_of_files(package, sources)


def protocol_sha256(name: str) -> str:
    """Return a digest of how a task makes requests and metrics: what its file and those included say of it.

    Comments and layout, other tasks, and how a suite is shown do not count; functions of `evalkit.tasks` and layouts of
    `evalkit.data` do in `code_sha256`: a suite that brings some ends the runs that are interrupted.
    """
    task = find_task(name)
    suite = find_suite(task.suite)
    file = task_file(task.suite, name)
    said = {
        "task": [name, task.version, list(task.metrics)],
        "suite": [suite.name, suite.protocol, suite.runs_programs, suite.always_chat],
        "files": [] if file is None else content_of(file),
    }
    return _digest(said)


def protocol_of(names: Iterable[str], made: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return how tasks ask and score, as `evalkit.records.identity.ProtocolIdentity` has it; what is empty is left out.

    Args:
        names: the tasks, which this process has loaded and tried.
        made: of those that were not published what they make of their documents.
    """
    files = {name: task_file(find_task(name).suite, name) for name in names}
    code = {name: found for name, file in files.items() if file is not None and (found := code_of(file))}
    said = {
        "tasks": {name: protocol_sha256(name) for name in files},
        "code": {name: _digest(found) for name, found in code.items()},
        "documents": {name: made[name] for name in files if name in made},
    }
    return {part: found for part, found in said.items() if found}


def _digest(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _digest_of_files(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(file for file in files if file.is_file() and "__pycache__" not in file.parts):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def identity(
    config: RunConfig,
    protocol: str,
    data: Mapping[str, DataFacts],
    model: Mapping[str, Any],
    made: Mapping[str, str],
    reuse: str | None = None,
) -> dict[str, Any]:
    """Return everything that a score depends on, in named groups of JSON values.

    Args:
        config: the run's configuration.
        protocol: name of the protocol(s).
        data: by task what the record says of the data.
        model: the model's description (``OpenMindLM.describe``), with its identity under ``identity``.
        made: as for `protocol_of`.
        reuse: name of the run that results are taken over from.
    """
    versions = model.get("versions") or {}
    return {
        **model["identity"],
        "data": {task: {"sha256": facts.sha256, "documents": facts.documents} for task, facts in data.items()},
        "protocol": {"name": protocol, **protocol_of(config.task_names(), made)},
        "code": {"evalkit": __version__, "sha256": code_sha256()},
        "versions": {name: version for name, version in sorted(versions.items()) if name not in NOT_COMPARED},
        "scorer": model.get("scorer"),
        "device": {
            "kind": str(model.get("device")).split(":")[0],
            "name": model.get("device_name"),
            "instruction_set": model.get("instruction_set"),
        },
        "settings": {
            "tasks": list(config.task_names()),
            **{key: value for key, value in config.to_dict().items() if key in MOVING},
        },
        "reuse": reuse,
    }


def asked(config: RunConfig) -> dict[str, Any]:
    """Return what the user asked for: two commands with equal values want the same run."""
    return {key: value for key, value in config.to_dict().items() if key not in NOT_ASKED}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs, one phrase each: ``model.model_fingerprint: 12ab34cd, now 56ef78ab``."""
    old, new = dict(_leaves(then)), dict(_leaves(now))
    return [
        f"{name}: it makes something else of {of}"
        if (of := other_documents(old.get(name), new.get(name))) is not None
        else f"{name}: {_shown(old.get(name))}, now {_shown(new.get(name))}"
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    ]


def _leaves(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{name}.{key}" if name else str(key))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    digest = text.partition(":")[0]
    if isinstance(value, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= 60 else text[:57] + "..."
