"""Numbers of a ``run.json`` that contradict each other.

A record is written by one process from one list of samples, so its parts agree; where they do not, somebody changed or
mixed files, and no number in them can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evalkit.records.model import MetricValue, RunFacts
from evalkit.records.samples import Sample

SAME = 1e-6
"""How far lm-eval's mean and evalkit's of the same values can be apart."""


def check_sample(sample: Sample) -> None:
    """Check that a sample's numbers belong to its requests.

    Raises:
        ValueError: it has other numbers of continuations and log-probabilities.
    """
    if len(sample.logprobs) != len(sample.continuations) or len(sample.greedy) not in (0, len(sample.logprobs)):
        raise ValueError("not one log-probability for each continuation")


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
    for key, theirs in result.items():
        said = key.partition(",")[0] == f"{metric}_stderr" and theirs is not None and not isinstance(theirs, str)
        if said and (not _is_finite(theirs) or theirs < 0):
            raise ValueError(f"results.{task}.{key}: {theirs!r}")


def _mapping(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, Mapping) else {}
