"""Numbers and texts as a record holds them: strict JSON, means that a failed sample refuses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalkit.records.model import MetricValue
from evalkit.records.samples import Sample


def finite(value: float | None) -> float | None:
    """Return the value, or None for NaN and infinities."""
    return None if value is None or not math.isfinite(value) else float(value)


def summarise(values: Sequence[float | None]) -> MetricValue:
    """Aggregate the values of one metric; a failed sample refuses the score (it is never averaged away)."""
    n = len(values)
    good = [float(value) for value in values if value is not None and math.isfinite(value)]
    if n == 0 or len(good) < n:
        return MetricValue(value=None, stderr=None, n=n, failed=n - len(good))
    mean = sum(good) / n
    if n < 2:
        return MetricValue(value=mean, stderr=None, n=n, failed=0)
    variance = sum((value - mean) ** 2 for value in good) / (n - 1)
    return MetricValue(value=mean, stderr=math.sqrt(variance / n), n=n, failed=0)


def summarise_samples(samples: Iterable[Sample]) -> dict[str, dict[str, MetricValue]]:
    """Aggregate per-sample values: task -> metric -> value, in order of appearance."""
    columns: dict[str, dict[str, list[float | None]]] = {}
    for sample in samples:
        for metric, value in sample.metrics.items():
            columns.setdefault(sample.task, {}).setdefault(metric, []).append(value)
    return {task: {metric: summarise(v) for metric, v in of_task.items()} for task, of_task in columns.items()}


def strict_json(value: Any) -> Any:
    """Make a value strict JSON: NaN and infinities become null, unknown objects their text."""
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, str):
        # Arguments of the command line may hold bytes that are no text (surrogates); a run must not be lost by them.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if value is None or isinstance(value, (int, bool)):
        return value
    if isinstance(value, Mapping):
        return {strict_json(str(key)): strict_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        return strict_json(value.tolist())
    return str(value)


def is_share(value: float) -> bool:
    """Tell whether a metric's value is one: metrics are shares from 0 to 1, up to the rounding of a sum."""
    return -1e-9 <= value <= 1 + 1e-9
