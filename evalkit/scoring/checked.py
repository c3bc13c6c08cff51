"""Answers, looked at before anybody keeps or believes them: a scorer or a server may be anybody's."""

from __future__ import annotations

import math
import numbers
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from evalkit.errors import ModelError
from evalkit.scoring.requests import Score

K = TypeVar("K", bound=Hashable)

ROUNDING_NATS = 0.01
"""How far above 0 rounding can bring the log-probability of a long continuation; more is no log-probability."""


def checked_scores(who: str, found: Any, count: int) -> list[Score]:
    """Return the scores of so many requests, if that is what they are.

    Args:
        who: names for the message who gave them.
        found: pairs of log-probability (in nats; nan where there is none) and whether it is greedy.
        count: how many were asked for.

    Raises:
        ModelError: another number of them, or one that is no score.
    """
    scores = _listed(who, found, count, "scores")
    for place, score in enumerate(scores):
        pair = score if isinstance(score, (tuple, list)) and len(score) == 2 else None
        if pair is None or not _is_logprob(pair[0]) or not _is_flag(pair[1]):
            raise ModelError(
                f"{who}: score {place + 1} of {count} is {_shown(score)}; "
                "expected (log-probability in nats, whether it is greedy), with nan where there is none"
            )
    return [(float(logprob), bool(greedy)) for logprob, greedy in scores]


def checked_texts(who: str, found: Any, count: int) -> list[str | None]:
    """Return the texts of so many requests, if that is what they are; arguments and errors as in `checked_scores`."""
    texts = _listed(who, found, count, "texts")
    for place, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise ModelError(
                f"{who}: text {place + 1} of {count} is {_shown(text)}; expected a text, or None where it failed"
            )
    return texts


def by_request(who: str, found: Any, asked: Sequence[K]) -> list[Any]:
    """Return answers in the order of what was asked, from a mapping of what was asked to its answer.

    Answers are given by request, not by place: whoever sorts requests on its way cannot give one another's answer.

    Args:
        who: names for the message who gave them.
        found: the mapping.
        asked: its keys.

    Raises:
        ModelError: it is none, an answer lacks, or is to something else.
    """
    if not isinstance(found, Mapping):
        raise ModelError(
            f"{who}: expected each request with its answer, as a mapping, found {_shown(found)}; "
            "return {request: answer, ...}"
        )
    lacking = sum(key not in found for key in asked)
    if lacking:
        raise ModelError(f"{who}: {lacking} of {len(asked)} request(s) without an answer; each needs one")
    if len(found) > len(set(asked)):
        raise ModelError(f"{who}: {len(found)} answers for {len(set(asked))} request(s); give those asked for alone")
    return [found[key] for key in asked]


def check_batches(who: str, batches: Sequence[Sequence[int]], count: int) -> None:
    """Check that batches hold each of so many positions once.

    Raises:
        ModelError: they do not.
    """
    if sorted(place for batch in batches for place in batch) != list(range(count)):
        raise ModelError(f"{who}: its batches do not hold each of {count} prompts once")


def _listed(who: str, found: Any, count: int, what: str) -> list[Any]:
    try:
        given = list(found)
    except TypeError:
        raise ModelError(f"{who}: expected {count} {what}, found {_shown(found)}") from None
    if len(given) != count:
        raise ModelError(f"{who}: {len(given)} {what} for {count} request(s); each needs one")
    return given


def _is_logprob(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    return not math.isfinite(value) or value <= ROUNDING_NATS  # infinities are failures, as nan is


def _is_flag(value: Any) -> bool:
    return isinstance(value, (bool, int, np.bool_)) and value in (0, 1)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
