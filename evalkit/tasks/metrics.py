"""Metric values of one document, from the log-probabilities (nats) of its continuations.

A value is a float; NaN says that the model's answer is missing or not finite. The record counts such samples and
refuses the task's score: nothing here turns NaN into a right or wrong answer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence

import numpy as np

NOT_SCORED = math.nan

# What lm-eval hands to process_results for a log-likelihood request: (log-probability, is greedy).
Result = tuple[float, bool]


def logprobs(results: Sequence[Result]) -> np.ndarray | None:
    """Return the log-probabilities as float64, shape [choices], or None if one of them is missing or not finite."""
    values = np.array([math.nan if result is None else result[0] for result in results], dtype=np.float64)
    return values if bool(np.isfinite(values).all()) else None


def characters(choices: Sequence[str]) -> list[int]:
    """Return the lengths by which acc_norm divides: characters of the choices as they stand in the data."""
    return [len(choice) for choice in choices]


def accuracy_picks(values: np.ndarray, lengths: Sequence[int]) -> dict[str, int]:
    """Position of the most probable choice, plain (acc) and normalised by its length in characters (acc_norm).

    Args:
        values: log-probabilities, shape [choices].
        lengths: characters of each choice.
    """
    divisors = np.array(lengths, dtype=np.float64)
    # A choice without characters (an ending that was nothing but marks) is never the best one: a log-probability
    # divided by zero.
    normalised = np.divide(values, divisors, out=np.full_like(values, -np.inf), where=divisors > 0)
    return {"acc": int(np.argmax(values)), "acc_norm": int(np.argmax(normalised))}


def accuracies(results: Sequence[Result], choices: Sequence[str], gold: Collection[int]) -> dict[str, float]:
    """Accuracy of the most probable choice, plain and normalised by the choice's length in characters.

    Args:
        results: one for each choice.
        choices: as they stand in the data, without the leading space.
        gold: indices of the right choices.
    """
    values = logprobs(results)
    if values is None:
        return {"acc": NOT_SCORED, "acc_norm": NOT_SCORED}
    picks = accuracy_picks(values, characters(choices))
    return {metric: float(place in gold) for metric, place in picks.items()}


def tie_broken_argmax(values: np.ndarray) -> int:
    """Index of the maximum; equal maxima are told apart by the sha256 of the float64 array's bytes.

    The rule of the BigBench tasks in lm-evaluation-harness 0.3 (``lm_eval/tasks/bigbench.py``).
    """
    best = np.flatnonzero(values == values.max())
    digest = hashlib.sha256(np.ascontiguousarray(values, dtype=np.float64).tobytes()).hexdigest()
    return int(best[int(digest, 16) % len(best)])


def probability_mass(values: np.ndarray, first: int) -> float:
    """Share of the total probability that the first ``first`` choices hold (TruthfulQA's mc2).

    Sums of exponentials without shifting by the maximum, as the published scores were made; where all of them
    underflow, the shifted form (the same number) is used instead of 0/0.
    """
    probabilities = np.exp(values)
    total = probabilities.sum()
    if total == 0.0:
        probabilities = np.exp(values - values.max())
        total = probabilities.sum()
    return float((probabilities[:first] / total).sum())
