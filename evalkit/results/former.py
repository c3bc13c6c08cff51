"""Records of former schemas, brought into the present form, and what their samples do not say.

A sample that was not scored here (of schema 1 or 2, or lm-eval's) does not say what its metrics chose. It is found
again by the task's own functions from the log-probabilities and continuations that are there; where these do not
settle it, it stays unknown.
"""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from evalkit.config.suites import BY_CHARACTERS, MASS
from evalkit.records.model import RunFacts
from evalkit.records.samples import Sample
from evalkit.tasks.choosing import characters, chooser_of


def upgraded(evalkit: Any, version: int) -> Any:
    """Return the key ``evalkit`` of a schema as the present one has it; other than that it is not checked."""
    if not isinstance(evalkit, dict):
        return evalkit
    if version < 2:
        evalkit = _from_1(evalkit)
    return _from_2(evalkit) if version < 3 else evalkit


def _from_1(evalkit: dict[str, Any]) -> dict[str, Any]:
    """Identity, work and sessions were not recorded."""
    return {"identity": None, "work": None, "sessions": [], **evalkit}


def _from_2(evalkit: dict[str, Any]) -> dict[str, Any]:
    """Keys were not checked: one that no version of evalkit reads any more is left out."""
    return dict(_known(evalkit, RunFacts))


def _known(found: Any, kind: Any) -> Any:
    """Return a value without the keys that its type does not know."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kind = next((inner for inner in typing.get_args(kind) if inner is not type(None)), kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(found, dict):
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        return {key: _known(value, fields[key]) for key, value in found.items() if key in fields}
    if typing.get_origin(kind) is dict and isinstance(found, dict):
        return {key: _known(value, typing.get_args(kind)[1]) for key, value in found.items()}
    if typing.get_origin(kind) is tuple and isinstance(found, list):
        return [_known(value, typing.get_args(kind)[0]) for value in found]
    return found


def with_choices(sample: Sample) -> Sample:
    """Return a sample with what its metrics chose; one that says so itself stays as it is."""
    if sample.picked is not None:
        return sample
    chooser, lengths = chooser_of(sample.task), characters([_choice(text) for text in sample.continuations])
    second, true = sample.details.get("mc1_choices"), sample.details.get("mc2_true")
    is_grouped = type(second) is int and type(true) is int and 0 < second <= second + true <= len(lengths)
    start = second if is_grouped else sample.second_group
    known = [value for value in sample.logprobs if value is not None]
    picked: dict[str, int] = {}
    if chooser is not None and known and len(known) == len(sample.logprobs) == len(lengths):
        found = chooser.picks(np.array(known[:start], dtype=np.float64), lengths[:start])
        picked = {metric: place for metric, place in found.items() if metric in sample.metrics}
    gold: list[int] | None
    if sample.gold is not None:
        gold = sample.gold
    elif is_grouped and start is not None:  # mc1's first choice is right, and mc2's right ones come first
        gold = [0, *range(start, start + int(true or 0))]
    else:
        gold = None if MASS in sample.metrics else _gold(sample, picked)
    return replace(
        sample,
        details={name: value for name, value in sample.details.items() if name not in ("mc1_choices", "mc2_true")},
        picked=picked,
        gold=gold,
        second_group=start,
        characters=lengths if BY_CHARACTERS in sample.metrics and lengths else None,
    )


def _choice(continuation: str) -> str:
    """Return the choice that a request's continuation was made of: without the space that joins it to the context."""
    return continuation.removeprefix(" ")


def _gold(sample: Sample, picked: dict[str, int]) -> list[int] | None:
    target, choices = sample.target, len(sample.continuations)
    targets = target if isinstance(target, list) else [target]
    if targets and all(type(place) is int and 0 <= place < choices for place in targets):
        return list(targets)
    if choices == 2 and sample.metrics.get("acc") is not None and "acc" in picked:
        # winogrande: both continuations are one text after different contexts, so the target names neither.
        return [picked["acc"] if sample.metrics["acc"] == 1 else 1 - picked["acc"]]
    return None
