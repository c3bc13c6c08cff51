"""What a task's own functions and templates give, tried before any work on its documents and made-up answers.

That is also what two runs are compared by: what a task makes, whatever it reads to make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from typing import Any, Protocol

import numpy as np

from evalkit.answering import Request, ScoreRequest
from evalkit.config.suites import find_task, is_published
from evalkit.config.task_files import named_file, own_functions, task_file
from evalkit.errors import ConfigError
from evalkit.records.made import made_of
from evalkit.scoring.requests import Score
from evalkit.tasks.documents import Documents
from evalkit.tasks.forms import (
    check_documents,
    check_same,
    explaining_task,
    has_own_metrics,
    is_judged,
    lacking_column,
    texts_of_target,
    unknown_column,
)
from evalkit.tasks.metric_values import try_choices

_TRIED = 4
"""Documents of each task that its functions are tried on several times, with several answers."""

_TARGETS = 3
"""Texts of a document's target that are tried as answers."""

_STEPS = (1 / 8, 1e-3, 1.0, 30.0)
"""By how much, in nats, each made-up log-probability is below its neighbour's."""

_AGAIN = 3
"""How often their functions are called again, to see whether they give the same."""

Document = Mapping[str, Any]
Answer = Score | str


class Loaded(Protocol):
    """The part of `evalkit.tasks.lm_eval_tasks.Tasks` that is tried."""

    def documents(self, name: str) -> Documents: ...

    def requests_of(self, name: str, doc_id: int) -> list[Request]: ...

    def results_of(self, name: str, doc_id: int, answers: Sequence[Answer]) -> dict[str, float]: ...

    def right_of(self, name: str, doc_id: int) -> tuple[list[str] | None, Any]: ...


def try_task(name: str, task: Any, tasks: Loaded, data: Sequence[Document]) -> tuple[str | None, int]:
    """Refuse a task whose functions give, for made-up answers, what no record could hold.

    Args:
        name: the task's.
        task: lm-eval's.
        tasks: has it.
        data: its documents as they stand in its data.

    Returns:
        What it makes of its documents (`evalkit.records.made.made_of`): requests, choices, target, and where
        functions make its metrics, the values of made-up answers; None for a published one of evalkit's: its layout and
        evalkit's functions know the same columns. And of how many documents all texts that were tried have one value.

    Raises:
        ConfigError: as said; or its documents are others, or no column has the name that its file says.
    """
    documents = tasks.documents(name)
    if (what := unknown_column(task)) is not None:
        raise ConfigError(f"{named_file(find_task(name).suite, name)}: {what}")
    check_documents(name, task, documents, data)
    file = task_file(find_task(name).suite, name)
    has_functions = file is not None and bool(own_functions(file))
    whole, judged = has_functions or not is_published(name), is_judged(task)
    if judged and not whole:
        return None, 0
    is_own = not judged and (has_own_metrics(task) or has_functions)
    made: list[bytes] = []
    alike, before = 0, ""
    for doc_id in range(len(documents) if whole else min(_TRIED, len(documents))):
        is_first = doc_id < _TRIED
        with explaining_task(name, doc_id, "its requests cannot be made", documents):
            requests = tasks.requests_of(name, doc_id)
            asked = _asked(requests)
            again = [_asked(tasks.requests_of(name, doc_id)) for _ in range(_AGAIN if is_first and not judged else 0)]
        check_same(name, task, doc_id, asked, again, ("doc_to_text", "doc_to_choice", "doc_to_target"))
        with explaining_task(name, doc_id, "its choices cannot be made", documents):
            choices, target = tasks.right_of(name, doc_id)
            right = texts_of_target(task, documents[doc_id])
        values: list[dict[str, float] | None] = []
        if not judged and (is_first or (whole and is_own)):
            is_of_texts = not any(isinstance(request, ScoreRequest) for request in requests)
            for answers in _made_up(requests, every=whole and is_own):
                texts = dict.fromkeys(["", before, *right[:_TARGETS]])
                found = _try_results(name, task, doc_id, tasks, answers, list(texts), _AGAIN if is_first else 0)
                values += found
                last = next((each for each in reversed(found) if each is not None), None)
                try_choices(name, doc_id, documents[doc_id], target, choices, answers, last)
            alike += is_of_texts and has_own_metrics(task) and all(each == values[0] for each in values)
        before = right[0] if right else ""
        made.append(sha256(_canonical([asked, choices, target, values if is_own else None]).encode()).digest())
    return (made_of(made) if whole else None), alike


def _made_up(requests: Sequence[Request], *, every: bool) -> list[list[Answer]]:
    """Return answers to a document's requests: of each, or of a few, that it is the likeliest; greedy or not.

    It is ahead by a little or by much: a person's function may subtract from log-probabilities, or ask how far the
    likeliest is ahead.
    """
    if not any(isinstance(request, ScoreRequest) for request in requests):
        return [["" for _ in requests]]
    last = len(requests) - 1
    places = range(len(requests)) if every else sorted({0, len(requests) // 2, last})
    likeliest = [(best, False, _STEPS[0]) for best in places]
    if every:
        likeliest += [(best, False, step) for step in _STEPS[1:] for best in sorted({0, last})]
        likeliest += [(best, True, _STEPS[0]) for best in places]
    return [
        [
            (-1.0 - abs(place - best) * step, greedy and place == best) if isinstance(request, ScoreRequest) else ""
            for place, request in enumerate(requests)
        ]
        for best, greedy, step in likeliest
    ]


def _try_results(
    name: str, task: Any, doc_id: int, tasks: Loaded, answers: Sequence[Answer], made_up: Sequence[str], again: int
) -> list[dict[str, float] | None]:
    """Return the metric values of made-up answers; None where there are none.

    In place of texts stand those that are made up, as the task's filters leave them. Of a text that no model wrote
    a person's function may well make nothing; lm-eval's own metrics make something of one of them.
    """
    texts = [isinstance(answer, str) for answer in answers]
    makers = ("process_results", "doc_to_target", "doc_to_choice")
    found: list[dict[str, float] | None] = []
    wrong: ConfigError | None = None
    for text in made_up if any(texts) else ("",):
        found.append(None)
        try:
            given = _filtered(task, tasks.documents(name)[doc_id], text, len(answers)) if any(texts) else answers
        except Exception:  # a filter may take nothing but a model's texts
            continue
        made = [new if is_text else old for new, old, is_text in zip(given, answers, texts, strict=True)]
        try:
            found[-1] = tasks.results_of(name, doc_id, made)
            others = [tasks.results_of(name, doc_id, made) for _ in range(again)]
        except ConfigError as error:
            if (lacking := lacking_column(name, error, tasks.documents(name))) is not None:
                raise lacking from error
            wrong = error
            continue
        check_same(name, task, doc_id, found[-1], others, makers)
    if wrong is not None and not any(found) and not (any(texts) and has_own_metrics(task)):
        raise wrong
    return found


def _filtered(task: Any, doc: Document, text: str, count: int) -> list[Any]:
    """Return what a task's filters make of a text that answers a document so many times, as its metrics get it."""
    from lm_eval.api.instance import Instance

    made = [
        Instance("generate_until", dict(doc), ("", {}), place, resps=[text], filtered_resps={})
        for place in range(count)
    ]
    for one in task._filters:
        one.apply(made)
    return [next(iter(instance.filtered_resps.values()), text) for instance in made]


def _asked(requests: Sequence[Request]) -> list[tuple[Any, ...]]:
    """Return what is asked of a model."""
    return [
        (it.context, it.continuation) if isinstance(it, ScoreRequest) else (it.prompt, it.settings) for it in requests
    ]


def _canonical(value: Any) -> str:
    """Return a value as a text that is the same in any process, and for numpy's types as for Python's own."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return "{" + ",".join(sorted(f"{_canonical(key)}:{_canonical(item)}" for key, item in value.items())) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, set | frozenset):
        return "(" + ",".join(sorted(map(_canonical, value))) + ")"
    if isinstance(value, str):
        return repr(str(value))
    if value is None or isinstance(value, int | float | bytes | Decimal | Fraction | date | time | timedelta):
        return repr(value)
    return type(value).__qualname__
