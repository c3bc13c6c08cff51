"""Settings in which two runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import to_builtins

from evalkit.comparison import comparable
from evalkit.records.facts import Generation
from evalkit.records.identity import Identity, of_task
from evalkit.records.made import other_documents
from evalkit.records.model import RunRecord

# Settings that say where a run happened, not what it computed.
_SHOWN_APART = {"versions", "identity", "generation"}
_NOT_COMPARED = {"audit_fraction", "fresh", "output", "resume", "source_file", "suite", "task"}


def setting_differences(a: RunRecord, b: RunRecord) -> list[tuple[str, str, str]]:
    """Return (setting, value in A, value in B) for everything recorded that differs and can move a score."""
    left, right = _described(a), _described(b)
    shots = [{} if record.foreign is None else record.foreign.shots for record in (a, b)]
    if any(len(set(of_file.values())) > 1 for of_file in shots):  # an imported file may have others for each task
        left, right = (d | {f"shots {t}": n for t, n in s.items()} for d, s in zip((left, right), shots, strict=True))
    left, right = (d | more for d, more in zip((left, right), _said_nowhere_else(a, b, left, right), strict=True))
    return [
        (_where(name, left, right), _of_run(a, name, left.get(name)), _of_run(b, name, right.get(name)))
        for name in {**left, **right}
        if left.get(name) != right.get(name)
        and not all(value in (None, [], ()) for value in (left.get(name), right.get(name)))  # nothing is nothing
    ] + [
        (name, _shown(name, left), _shown(name, right))
        for _, name, left, right in comparable.recorded(a, b, [task for task in a.metrics if task in b.metrics])
    ]


def _where(name: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    """Return a setting's name, and of what a task makes of its documents the first that differs."""
    of = other_documents(left.get(name), right.get(name))
    return name if of is None else f"{name} ({of})"


def _said_nowhere_else(
    a: RunRecord, b: RunRecord, left: Mapping[str, Any], right: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what of the two runs' identities differs and nothing else that is described says, by its place in them."""
    if a.identity is None or b.identity is None:
        return {}, {}
    first, second = (_leaves(to_builtins(record.identity)) for record in (a, b))
    said = [(left.get(name), right.get(name)) for name in {**left, **right}]
    more = [
        name
        for name in {**first, **second}
        if first.get(name) != second.get(name) and (first.get(name), second.get(name)) not in said
    ]
    return {name: first[name] for name in more if name in first}, {
        name: second[name] for name in more if name in second
    }


def _leaves(found: Mapping[str, Any], trail: str = "identity") -> dict[str, Any]:
    """Return the values of nested mappings by their places: ``identity.other.version``."""
    leaves: dict[str, Any] = {}
    for name, value in found.items():
        where = f"{trail}.{name}"
        leaves |= _leaves(value, where) if isinstance(value, dict) else {where: value}
    return leaves


def _described(record: RunRecord) -> dict[str, Any]:
    model, identity = record.model, record.identity or Identity()
    found: dict[str, Any] = {"protocol": record.protocol}
    described = {name: value for name, value in to_builtins(model).items() if name not in _SHOWN_APART}
    found |= described
    if record.foreign is not None and "chat_template" in record.lm_eval and not model.chat_template_sha256:
        found["chat_template_sha256"] = "none"  # lm-eval says so
    asked = to_builtins(record.config)
    if record.foreign is not None:  # its other options are defaults of evalkit's, which the file says nothing of
        asked = {name: value for name, value in asked.items() if name in ("model", "limit", "system")}
    found |= {
        f"config.{name}": v for name, v in asked.items() if name not in _NOT_COMPARED and described.get(name) is None
    }
    generation = model.generation or Generation()
    found["end tokens"] = list(generation.end_ids) if model.generation is not None else None
    found["not applied"] = [f"{name}={value}" for name, value in generation.ignored.items()]
    found["scorer"] = record.scorer.name
    found["isolation"] = record.isolation
    found["protocol sha256"] = identity.protocol and identity.protocol.sha256
    for task in identity.protocol.tasks if identity.protocol else ():
        found |= of_task(identity, task)
    found["tokenizer files"] = identity.tokenizer.tokenizer_files
    found["evalkit code"] = identity.code.sha256
    for task, data in record.data.items():
        found[f"data {task}"] = data.sha256 or data.verdict
    found["tasks"] = list(record.metrics)
    found |= {f"version {name}": version for name, version in sorted(record.environment.versions.items())}
    return found


_ABSENT = ("adapter", "quantization", "isolation", "revision", "folder")
"""What a record says nothing of where there is none; of other settings it then does not know."""


def _of_run(record: RunRecord, name: str, value: Any) -> str:
    """Return a setting as text; what another harness's file says nothing of is not known."""
    return "unknown" if value is None and record.foreign is not None else _shown(name, value)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none" if name in _ABSENT or name.startswith("config.") else "unknown"
    if isinstance(value, (list, tuple)):
        return f"{len(value)} of them" if len(value) > 3 else ", ".join(map(str, value)) or "none"
    text = " ".join(str(value).split())
    digest = text.partition(":")[0]
    if len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= 60 else text[:57] + "..."
