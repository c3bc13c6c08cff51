"""What a task's metrics choose among its continuations, and which are right: said by the functions beside its metrics.

The one rule of names. A task's file names the function that makes its metrics (``process_results``); what stands before
``results`` in its name is that of the functions beside it (``boolq_results``: ``boolq_picks``), and where the name has
no ``results``, all of it (``score``: ``score_picks``):

- ``*_picks(logprobs, characters)``, which the metrics themselves call: metric -> position chosen. Without it the rule
  is that of acc (mc1 too) and acc_norm;
- ``*_gold(doc)``: positions of the right continuations, where the target says none;
- ``*_second_group(doc)``: where a second group of continuations starts that another metric sees.

A task without ``process_results`` has lm-eval's own metrics, which choose as acc and acc_norm do. Nothing here needs
lm-eval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from evalkit.config.suites import BY_CHARACTERS, load_tasks
from evalkit.config.task_files import Function, read_task_file, shown_path, task_file
from evalkit.errors import ConfigError
from evalkit.tasks.metrics import accuracy_picks, characters

Doc = Mapping[str, Any]
Picks = dict[str, int]

__all__ = ["Chooser", "Chosen", "characters", "chooser_of", "chosen"]


@dataclass(frozen=True)
class Chooser:
    """The functions of one task.

    Attributes:
        picks: (log-probabilities in nats, shape [choices]; characters of the choices) -> metric -> position chosen.
        gold: positions of the right continuations; None where the target says them.
        second_group: where the second group of continuations starts; None for one group.
    """

    picks: Callable[[np.ndarray, Sequence[int]], Picks]
    gold: Callable[[Doc], Sequence[int]] | None
    second_group: Callable[[Doc], int] | None


@dataclass(frozen=True)
class Chosen:
    """What a sample says of its choices.

    Attributes:
        picked: metric -> position of the continuation that it chose; empty where a log-probability is missing.
        gold: positions of the right continuations; None where none is.
        second_group: where the second group of continuations starts; None for one group.
        characters: of each continuation's choice, where a metric divides by it; else None.
    """

    picked: Picks
    gold: list[int] | None = None
    second_group: int | None = None
    characters: list[int] | None = None


def chosen(
    task: str,
    doc: Doc,
    target: Any,
    logprobs: Sequence[float | None],
    metrics: Sequence[str],
    choices: Sequence[str],
) -> Chosen:
    """Return what the metrics of a document chose.

    Args:
        task: the task's name.
        doc: the document.
        target: its gold answer, as the task defines it.
        logprobs: of its continuations, in nats; None where missing.
        metrics: those that the sample has.
        choices: as they stand in the data; there may be fewer than continuations (acc_mutual_info asks each twice).
    """
    chooser = chooser_of(task)
    if chooser is None or not logprobs:
        return Chosen({})
    start = chooser.second_group(doc) if chooser.second_group is not None else None
    places = chooser.gold(doc) if chooser.gold is not None else target if isinstance(target, list) else [target]
    lengths = characters(choices)
    if start is None and len(logprobs) == 2 * len(lengths):
        start = len(lengths)
    picked: Picks = {}
    if None not in logprobs and len(lengths) in (len(logprobs), start):
        found = chooser.picks(np.array(logprobs[:start], dtype=np.float64), lengths[:start])
        picked = {metric: place for metric, place in found.items() if metric in metrics}
    gold = list(places) if all(type(place) is int for place in places) else None
    if start == len(lengths) and len(logprobs) == 2 * start:
        lengths = [*lengths, *lengths]
    return Chosen(picked, gold, start, lengths if BY_CHARACTERS in metrics else None)


def _usual_picks(values: np.ndarray, lengths: Sequence[int]) -> Picks:
    found = accuracy_picks(values, lengths)
    return {**found, "mc1": found["acc"]}


@cache
def chooser_of(task: str) -> Chooser | None:
    """Return how a task's metrics choose; None for a task of no suite, without a file, or without choices.

    Raises:
        ConfigError: its file, or the module of its function, cannot be read.
    """
    known = load_tasks().get(task)
    path = None if known is None else task_file(known.suite, task)
    if path is None:
        return None
    said = read_task_file(path)
    if said.get("doc_to_choice") is None:
        return None
    function = said.get("process_results")
    if not isinstance(function, Function):
        return Chooser(accuracy_picks, None, None)
    try:
        beside = function.load()
    except Exception as error:  # whatever a module may raise that a person wrote
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{shown_path(path)}: process_results: {function.module} cannot be loaded ({what})") from None
    first, results, _ = function.name.partition("results")
    stem = first if results else f"{function.name}_"
    return Chooser(
        picks=getattr(beside, f"{stem}picks", _usual_picks),
        gold=getattr(beside, f"{stem}gold", None),
        second_group=getattr(beside, f"{stem}second_group", None),
    )
