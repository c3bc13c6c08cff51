"""Which numbers of a results file of lm-eval are believed: those that are numbers, and that agree with each other.

A score of one of evalkit's tasks is a mean of shares over documents, so its standard error follows from it and from
how many documents there were; where the file does not count them, the errors do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.config.suites import EXACT, load_tasks
from evalkit.errors import StoreError
from evalkit.records.values import finite
from evalkit.results.lm_eval_protocol import COUNTED, harness_of, mapping_at, scored_names
from evalkit.results.task_names import task_and_metric

ROUNDED = 6e-5
"""Results files may print four decimals."""

FACTS = frozenset({"name", "alias", "sample_len", "sample_count"})
"""What lm-eval writes of a task beside its metrics: how it is called, how many documents it has."""

MEANS = frozenset({"acc", "acc_norm", "acc_mutual_info", "acc_bytes", "exact_match"})
"""lm-eval's own metrics that are means of shares unless a task's file says otherwise."""

SAME_SHARE = 0.02
"""Relative: errors over n or n - 1 documents, or over a few more or less, differ by less."""


def as_in_file(value: Any) -> str:
    """Return a value as it stands in the file, cut."""
    return json.dumps(value, default=str)[:40]


def number(value: Any) -> float | None:
    """Return a finite number, else None; True is none."""
    return finite(float(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def is_ours(task: str, metric: str) -> bool:
    """Tell whether a metric is one that a suite prints, so that it is a share, and more of it is better."""
    known = load_tasks().get(task)
    return known is not None and metric in known.metrics


def is_score(value: Any) -> bool:
    """Tell whether a score is a number from 0 to 1."""
    found = number(value)
    return found is not None and 0 <= found <= 1


def check_document_counts(found: Mapping[str, Any], file: Path) -> None:
    """Check counts of documents, versions and directions.

    Raises:
        StoreError: one is of another type, beyond what it can be, or says that less is better; names it.
    """
    names = scored_names(found)
    for name in names:
        for key, value in mapping_at(mapping_at(found, "n-samples"), name).items():
            if key in ("original", "effective") and not (type(value) is int and value > 0) and value is not None:
                raise StoreError(
                    f"{file}: n-samples.{name}.{key}: expected a number of documents, found {as_in_file(value)}"
                )
        counts = mapping_at(mapping_at(found, "n-samples"), name)
        original, effective = counts.get("original"), counts.get("effective")
        limit = number(mapping_at(found, "config").get("limit"))
        if original is not None and effective is not None and effective > original:
            raise StoreError(f"{file}: n-samples.{name}: {effective:,} of {original:,} documents")
        if limit is not None and limit >= 1 and effective is not None and effective != min(limit, original or limit):
            raise StoreError(
                f"{file}: n-samples.{name}.effective: {effective:,}, but config.limit is {limit:g}; the file "
                "contradicts itself"
            )
        version = mapping_at(found, "versions").get(name)
        if isinstance(version, (bool, list, dict)) or (isinstance(version, float) and not math.isfinite(version)):
            raise StoreError(f"{file}: versions.{name}: expected a number, found {as_in_file(version)}")
    for name, plain in names.items():
        said = dict(mapping_at(mapping_at(found, "higher_is_better"), name))
        listed = mapping_at(mapping_at(found, "configs"), name).get("metric_list")
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and "higher_is_better" in entry:
                said.setdefault(str(entry.get("metric")), entry["higher_is_better"])
        for key, value in said.items():
            if value not in (True, None) and is_ours(*task_and_metric(plain, key)):
                raise StoreError(
                    f"{file}: higher_is_better.{name}.{key}: {as_in_file(value)}, but of it more is better; the file "
                    "was changed, or it measures something else"
                )


def error_of(
    where: str, value: float | None, said: Any, n: int, *, ours: bool, exact: bool
) -> tuple[float | None, str | None]:
    """Return the standard error of a score, None where there is none, and what must be said of it.

    One that is too small for right or wrong answers is made anew from the score and the number of documents.

    Args:
        where: file, task and metric, for messages.
        value: the score.
        said: what the file says of its error.
        n: how many documents it is of.
        ours: whether it is a mean of shares over documents, see `is_ours`.
        exact: whether each document is right or wrong.

    Raises:
        StoreError: it is no number.
    """
    found = number(said)
    if not ours or said is None or (isinstance(said, str) and said.strip().upper() in ("", "N/A", "NONE")):
        return found, None
    if n < 2:  # one document has no spread, whatever stands there
        return found, None
    if found is None or found < 0:
        raise StoreError(f"{where}: stderr: expected a number, found {as_in_file(said)}")
    if value is None:
        return found, None
    most = math.sqrt(max(0.0, value * (1 - value)) / (n - 1))
    room = ROUNDED + SAME_SHARE * most
    if exact and found < most - room:
        return most, f"stderr {found:.4g}, but {value:.4g} of {n:,} documents has one of {most:.4g}, which counts"
    if found > most + room:
        return found, f"stderr {found:.4g}, but {value:.4g} of {n:,} documents has one of {most:.4g} at most"
    return found, None


def documents_of_errors(found: Mapping[str, Any], name: str, plain: str) -> int | None:
    """Return of how many documents the standard errors of a task's right-or-wrong scores are; None if none says it."""
    values = mapping_at(mapping_at(found, "results"), name)
    for key, value in values.items():
        task, metric = task_and_metric(plain, key)
        base, _, filtered = key.partition(",")
        error = number(values.get(f"{base}_stderr,{filtered}" if filtered else f"{base}_stderr"))
        share = number(value)
        if metric not in EXACT or not is_ours(task, metric) or share is None or not error or not 0 < share < 1:
            continue
        whole = load_tasks()[task].documents
        expected = math.sqrt(share * (1 - share) / (whole - 1))
        if abs(error - expected) <= ROUNDED + SAME_SHARE * expected:
            return None
        return max(2, round(share * (1 - share) / error**2 + 1))
    return None


def counted(found: dict[str, Any], scored: Mapping[str, int]) -> dict[str, Any]:
    """Return the file's content with a count of documents for each task of which it has none but something tells.

    Args:
        found: the file's content.
        scored: evalkit's task -> number of documents in its samples files.
    """
    if "config_general" in found:
        return found
    counts: dict[str, dict[str, int]] = {}
    for name, plain in scored_names(found).items():
        if mapping_at(found, "n-samples").get(name) is None:
            task = task_and_metric(plain, "acc")[0]
            # Only a file of the 0.3 line is taken for the published protocol, and such a file says its limit.
            is_cut = harness_of(found) == "lm-eval-0.3" and "limit" not in mapping_at(found, "config")
            n = scored.get(task) or (documents_of_errors(found, name, plain) if is_cut else None)
            if n:
                counts[name] = {"effective": n}
    return {**found, COUNTED: counts} if counts else found
