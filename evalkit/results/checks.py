"""Numbers of a ``run.json`` that contradict each other.

A record is written by one process from one list of samples, so its parts agree; where they do not, somebody changed or
mixed files, and no number in them can be trusted.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from evalkit.config.suites import EXACT, load_suites, load_tasks
from evalkit.config.yaml_files import fault_in
from evalkit.records.growth import minor_of
from evalkit.records.model import MetricValue, RunFacts
from evalkit.records.samples import Sample
from evalkit.records.values import is_share
from evalkit.results.agreement import SAME, check_counts, check_said_twice


def check_sample(sample: Sample) -> None:
    """Check that a sample's numbers belong to its requests, and what its metrics chose to their values.

    Raises:
        ValueError: it has other numbers of continuations and log-probabilities, chose what is not there...
    """
    count = len(sample.continuations)
    if len(sample.logprobs) != count or len(sample.greedy) not in (0, count):
        raise ValueError("not one log-probability for each continuation")
    if sample.doc_id < 0:
        raise ValueError(f"doc_id: {sample.doc_id}")
    for name, value in sample.metrics.items():
        if value is not None and not (math.isfinite(value) and is_share(value)):
            raise ValueError(f"metrics.{name}: {value!r}")
        if value is not None and "failed" in sample.details:
            raise ValueError(f"metrics.{name}: {value!r}, although details.failed says {sample.details['failed']!r}")
    if sample.cluster is not None and not sample.cluster.strip():
        raise ValueError("cluster: an empty text")
    for where, places in (("gold", sample.gold or ()), ("picked", (sample.picked or {}).values())):
        for place in places:
            if not 0 <= place < count:
                raise ValueError(f"{where}: {place}, of {count} continuations")
    if sample.second_group is not None and not 0 < sample.second_group < count:
        raise ValueError(f"second_group: {sample.second_group}, of {count} continuations")
    if sample.characters is not None:
        if len(sample.characters) != count:
            raise ValueError(f"characters: {len(sample.characters)} of them for {count} continuations")
        for length, text in zip(sample.characters, sample.continuations, strict=True):
            if not min(1, len(text.strip())) <= length <= len(text.encode("utf-8")):
                raise ValueError(f"characters: {length}, of a continuation of {len(text)}")
    for metric, place in (sample.picked or {}).items():
        value = sample.metrics.get(metric)
        if metric in EXACT and sample.gold is not None and value is not None and value != float(place in sample.gold):
            raise ValueError(f"metrics.{metric}: {value!r}, but picked says {place} and gold {sample.gold}")


def missing_key(found: Any, kind: Any, trail: str, minor: int) -> str | None:
    """Return the place of the first key that a type has and a value does not; None if it has all.

    evalkit writes every key of a record, so one that is not there was taken out, or is younger than the record. What
    has a default in the types has it for records of former schemas and other harnesses.

    Args:
        found, kind: the value and its type.
        trail: where the value is, for the message.
        minor: minor version of the record; keys that were added since need not be there.
    """
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kind = next((inner for inner in typing.get_args(kind) if inner is not type(None)), kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(found, Mapping):
        for field in msgspec.structs.fields(kind):
            if field.encode_name in found:
                inner = missing_key(found[field.encode_name], field.type, f"{trail}.{field.encode_name}", minor)
            elif minor_of(field.type) > minor or (kind.__struct_config__.omit_defaults and not field.required):
                continue
            else:
                inner = f"{trail}: key '{field.encode_name}' is missing"
            if inner is not None:
                return inner
        return None
    if typing.get_origin(kind) is dict and isinstance(found, Mapping):
        pairs = [(f"{trail}.{key}", value) for key, value in found.items()]
        kind = typing.get_args(kind)[1]
    elif typing.get_origin(kind) is tuple and isinstance(found, (list, tuple)):
        pairs = [(f"{trail}[{place}]", value) for place, value in enumerate(found)]
        kind = typing.get_args(kind)[0]
    else:
        return None
    return next((text for where, value in pairs if (text := missing_key(value, kind, where, minor)) is not None), None)


_FREE = ("seed", "ignored", "variables", "other")
"""Keys whose numbers are anybody's: a seed may be negative, and settings of a model are its own."""


def check_numbers(found: Any, trail: str) -> None:
    """Check that all numbers of a record's part are finite and not negative: they are counts, durations, differences.

    Raises:
        ValueError: names the key and its value.
    """
    if isinstance(found, Mapping):
        for key, value in found.items():
            if key not in _FREE:
                check_numbers(value, f"{trail}.{key}")
    elif isinstance(found, (list, tuple)):
        for place, value in enumerate(found):
            check_numbers(value, f"{trail}[{place}]")
    elif isinstance(found, (int, float)) and not isinstance(found, bool) and not 0 <= found < math.inf:
        raise ValueError(f"{trail}: {found!r}")


def check_finished(facts: RunFacts, lm_eval: Mapping[str, Any]) -> None:
    """Check a finished run of the present schema, as its readers do and as its writer does before.

    Raises:
        ValueError: names the key that cannot be, or both that contradict each other.
    """
    check_metrics(facts)
    check_record(facts, lm_eval)
    check_numbers(msgspec.to_builtins(facts), "evalkit")
    check_whole(facts, lm_eval)


def check_begun(facts: RunFacts) -> None:
    """Check what a run says before it works, so that no work is spent on a record that no reader would take.

    Raises:
        ValueError: names the key that cannot be, or both that contradict each other.
    """
    check_numbers(msgspec.to_builtins(facts), "evalkit")
    check_said_twice(facts)


def check_whole(facts: RunFacts, lm_eval: Mapping[str, Any]) -> None:
    """Check what a finished run of the present schema always says: all tasks everywhere, and its identity.

    Raises:
        ValueError: names the key that says less than another.
    """
    for name in ("identity", "work", "requests", "duration_seconds"):
        if getattr(facts, name) is None:
            raise ValueError(f"evalkit.{name}: null, but the run is finished")
    identity = facts.identity
    assert identity is not None  # just looked at
    for name in ("settings", "protocol", "scorer", "device"):
        if getattr(identity, name) is None:
            raise ValueError(f"evalkit.identity.{name}: null")
    assert identity.settings is not None  # just looked at
    for where, said in (("config", facts.config), ("identity.settings", identity.settings)):
        if said.limit is not None and said.limit < 1:
            raise ValueError(f"evalkit.{where}.limit: {said.limit}")
        if said.samples < 1:
            raise ValueError(f"evalkit.{where}.samples: {said.samples}")
    if not facts.model.name.strip():
        raise ValueError("evalkit.model.name: an empty text")
    check_lm_eval(lm_eval)
    tasks = list(identity.settings.tasks)
    theirs = {key: _mapping(lm_eval, key) for key in ("results", "n-samples")}
    parts: dict[str, Mapping[str, Any]] = {
        "evalkit.tasks": facts.metrics,
        "evalkit.data": facts.data,
        "evalkit.identity.data": identity.data,
        **theirs,
    }
    for where, part in parts.items():
        absent = [task for task in tasks if task not in part]
        if absent:
            raise ValueError(f"{where}: no {absent[0]}, but evalkit.identity.settings.tasks has it")
    groups = _mapping(lm_eval, "group_subtasks")
    for where in ("evalkit.tasks", "evalkit.data", "n-samples", "results"):
        more = [task for task in parts[where] if task not in tasks and not (where == "results" and task in groups)]
        if more:
            raise ValueError(f"{where}.{more[0]}: no such task in evalkit.identity.settings.tasks")
    for task, of_task in facts.metrics.items():
        for key in _mapping(theirs["results"], task):
            metric, is_metric, _ = key.partition(",")
            if is_metric and metric not in of_task and metric.removesuffix("_stderr") not in of_task:
                raise ValueError(f"evalkit.tasks.{task}: key '{metric}' is missing, but results has it")
    check_said_twice(facts)
    check_counts(facts)
    known = [load_tasks().get(task) for task in tasks]
    wanted = {task.suite for task in known if task is not None}
    suites = [name for name in load_suites() if name in wanted]
    if None not in known and list(facts.suites) != suites:
        raise ValueError(f"evalkit.suites: {list(facts.suites)}, but its tasks are those of {suites}")


class _Counted(msgspec.Struct, frozen=True):
    original: int
    effective: int


_LM_EVAL: dict[str, Any] = {
    "results": dict[str, dict[str, str | int | float | None]],
    "n-samples": dict[str, _Counted],
    "n-shot": dict[str, int],
    "configs": dict[str, dict[str, Any]],
    "versions": dict[str, str | int | float],
    "higher_is_better": dict[str, dict[str, bool | None]],
    "group_subtasks": dict[str, list[str]],
    "config": dict[str, Any],
    "date": float | int,
}
"""What lm-eval writes of the kinds that evalkit reads or shows, by type; other keys are as they are."""


def check_lm_eval(found: Mapping[str, Any]) -> None:
    """Check the types of lm-eval's own part of a record.

    Raises:
        ValueError: names the key and what is there.
    """
    for key, kind in _LM_EVAL.items():
        if key in found and (fault := fault_in(found[key], kind, (key,))) is not None:
            raise ValueError(fault)
    for task, counted in _mapping(found, "n-samples").items():
        if not 0 <= counted["effective"] <= counted["original"]:
            raise ValueError(f"n-samples.{task}: {counted['effective']} of {counted['original']}")


def check_metrics(facts: RunFacts) -> None:
    """Check the numbers of all scores; errors as of `check_metric`."""
    for task, of_task in facts.metrics.items():
        for metric, value in of_task.items():
            check_metric(value, f"evalkit.tasks.{task}.{metric}")


def check_metric(value: MetricValue, where: str) -> None:
    """Check the numbers of one score.

    Raises:
        ValueError: names the key that cannot be, and its value.
    """
    if value.n < 0:
        raise ValueError(f"{where}.n: {value.n!r}")
    if not 0 <= value.failed <= value.n:
        raise ValueError(f"{where}.failed: {value.failed!r} of {value.n}")
    for name, number in (("value", value.value), ("stderr", value.stderr)):
        if number is not None and not math.isfinite(number):
            raise ValueError(f"{where}.{name}: {number!r}")
    if value.value is not None and not is_share(value.value):
        raise ValueError(f"{where}.value: {value.value!r} is no share from 0 to 1")
    if value.value is None and value.n and not value.failed:
        raise ValueError(f"{where}.value: null, although none of {value.n} documents failed")
    if value.value is not None and value.failed:
        raise ValueError(f"{where}.value: {value.value}, although {value.failed} documents failed")
    if value.stderr is not None and value.stderr < 0:
        raise ValueError(f"{where}.stderr: {value.stderr}")


def _is_finite(number: object) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)


def check_record(facts: RunFacts, lm_eval: Mapping[str, Any]) -> None:
    """Check that the parts of a ``run.json`` agree: ``evalkit.tasks``, ``evalkit.data`` and lm-eval's own keys.

    Raises:
        ValueError: names the key that contradicts the others.
    """
    results, samples = _mapping(lm_eval, "results"), _mapping(lm_eval, "n-samples")
    for task, of_task in facts.metrics.items():
        counted = max((value.n for value in of_task.values()), default=0)
        data = facts.data.get(task)
        documents = None if data is None else data.documents
        if documents is not None and documents < counted:
            raise ValueError(f"evalkit.data.{task}.documents: {documents!r}, but evalkit.tasks counts {counted}")
        effective = _mapping(samples, task).get("effective", counted)
        if effective != counted:
            raise ValueError(f"n-samples.{task}.effective: {effective!r}, but evalkit.tasks counts {counted}")
        if results and task not in results:
            raise ValueError(f"results: no {task}, but evalkit.tasks has it")
        for metric, value in of_task.items():
            _check_result(_mapping(results, task), task, metric, value)


def _check_result(result: Mapping[str, Any], task: str, metric: str, value: MetricValue) -> None:
    """Compare a score with the one that lm-eval made of the same documents."""
    keys = [key for key in result if key.partition(",")[0] == metric]
    for key in keys if len(keys) == 1 else []:
        theirs = result[key]
        other = theirs is not None and (not _is_finite(theirs) or abs(theirs - (value.value or 0)) > SAME)
        if other or (theirs is None) != (value.value is None):
            raise ValueError(f"results.{task}.{key}: {theirs!r}, but evalkit.tasks says {value.value}")
    keys = [key for key in result if key.partition(",")[0] == f"{metric}_stderr"]
    for key in keys:
        theirs = result[key]
        if theirs is None or isinstance(theirs, str):  # lm-eval's "N/A"
            continue
        if not _is_finite(theirs) or theirs < 0:
            raise ValueError(f"results.{task}.{key}: {theirs!r}")
        if len(keys) == 1 and value.stderr is not None and abs(theirs - value.stderr) > SAME:
            raise ValueError(f"results.{task}.{key}: {theirs!r}, but evalkit.tasks says {value.stderr}")


def _mapping(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, Mapping) else {}
