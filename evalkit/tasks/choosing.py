"""What a task's metrics choose among its continuations, and which are right: said by the functions beside its metrics.

A task's file names the function that makes its metrics, ``evalkit.tasks.gpt4all.boolq_results``. Beside it may stand
``boolq_picks``, which the metrics themselves call; ``boolq_gold``, where the target is no position; and
``boolq_second_group``, where a second group of continuations starts that another metric sees. Without ``picks`` it is
the rule of acc and acc_norm. Nothing here needs lm-eval.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from evalkit.paths import configs_dir
from evalkit.suites import BY_CHARACTERS, load_tasks
from evalkit.tasks.metrics import accuracy_picks, characters

Doc = Mapping[str, Any]
Picks = dict[str, int]

__all__ = ["Chooser", "Chosen", "characters", "chooser_of", "chosen"]


@dataclass(frozen=True)
class Chooser:
    """The functions of one task.

    Attributes:
        picks: (log-probabilities in nats, shape [choices]; characters of the choices) -> metric -> position chosen.
        choices: the choices as they stand in the data.
        gold: positions of the right continuations; None where the target says them.
        second_group: where the second group of continuations starts; None for one group.
    """

    picks: Callable[[np.ndarray, Sequence[int]], Picks]
    choices: Callable[[Doc], Sequence[str]]
    gold: Callable[[Doc], Sequence[int]] | None
    second_group: Callable[[Doc], int] | None


@dataclass(frozen=True)
class Chosen:
    """What a sample says of its choices.

    Attributes:
        picked: metric -> position of the continuation that it chose; empty where a log-probability is missing.
        gold: positions of the right continuations; None where none is.
        second_group: where the second group of continuations starts; None for one group.
        characters: of each choice, where a metric divides by it; else None.
    """

    picked: Picks
    gold: list[int] | None = None
    second_group: int | None = None
    characters: list[int] | None = None


def chosen(task: str, doc: Doc, target: Any, logprobs: Sequence[float | None], metrics: Sequence[str]) -> Chosen:
    """Return what the metrics of a document chose.

    Args:
        task: the task's name.
        doc: the document.
        target: its gold answer, as the task defines it.
        logprobs: of its continuations, in nats; None where missing.
        metrics: those that the sample has.
    """
    chooser = chooser_of(task)
    if chooser is None or not logprobs:
        return Chosen({})
    start = chooser.second_group(doc) if chooser.second_group is not None else None
    places = chooser.gold(doc) if chooser.gold is not None else target if isinstance(target, list) else [target]
    lengths = characters(chooser.choices(doc))
    picked: Picks = {}
    if None not in logprobs and len(lengths) == len(logprobs):
        found = chooser.picks(np.array(logprobs[:start], dtype=np.float64), lengths[:start])
        picked = {metric: place for metric, place in found.items() if metric in metrics}
    gold = list(places) if all(type(place) is int for place in places) else None
    return Chosen(picked, gold, start, lengths if BY_CHARACTERS in metrics else None)


@cache
def chooser_of(task: str) -> Chooser | None:
    """Return how a task's metrics choose; None for a task of no suite, or without choices."""
    known = load_tasks().get(task)
    if known is None:
        return None
    said = _task_file(configs_dir() / "tasks" / known.suite / f"{task}.yaml")
    if not {"process_results", "doc_to_choice"} <= said.keys():
        return None
    module, _, name = str(said["process_results"]).rpartition(".")
    beside, first = importlib.import_module(module), name.partition("results")[0]
    choices = said["doc_to_choice"]  # a function's name, or the choices of all documents
    return Chooser(
        picks=getattr(beside, f"{first}picks", accuracy_picks),
        choices=getattr(beside, choices.rpartition(".")[2]) if isinstance(choices, str) else lambda _: choices,
        gold=getattr(beside, f"{first}gold", None),
        second_group=getattr(beside, f"{first}second_group", None),
    )


class _Loader(yaml.SafeLoader):
    """YAML in which ``!function`` gives the function's name."""


_Loader.add_constructor("!function", lambda _, node: node.value)


def _task_file(path: Path) -> dict[str, Any]:
    """Return a task's file with what it includes."""
    said: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    included = said.get("include")
    return _task_file(path.parent / included) | said if included else said
