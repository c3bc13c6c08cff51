"""What a task's functions give for a document, looked at: by trial before any work, and again when answers are there.

A person's functions may give, and raise, anything. What no record can hold, or no reader would take, is one line that
names the suite's file and line, the task, the metric and the document.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from evalkit.config.suites import EXACT, find_task, suite_fault
from evalkit.config.yaml_files import shown
from evalkit.errors import ConfigError, EvalkitError
from evalkit.records.values import is_share
from evalkit.store.sections import FailedText
from evalkit.tasks.choosing import chosen

Answer = tuple[float, bool] | str


def metric_fault(task: str, doc_id: int, what: str, remedy: str = "mend the task's function") -> ConfigError:
    """Return the error that says what is wrong with a task's metrics of one document."""
    return suite_fault(find_task(task), "metrics", f"document {doc_id}: {what}; {remedy}")


def values_of(
    task: str, doc_id: int, make: Callable[[], Any], answers: Sequence[Any], *, is_judged: bool, has_own: bool = True
) -> dict[str, float]:
    """Return the metric values of one document as plain floats.

    Args:
        task: its task.
        doc_id: its number.
        make: calls the task's function, or lm-eval's where it has none.
        answers: that it is given; where one of them is missing, a value may be nan.
        is_judged: they are programs, whose verdicts may be missing, and of whose metrics (pass@k) there may be more
            than the task names.
        has_own: the task has a function of its own that makes them.

    Raises:
        ConfigError: the function fails, or gives other metrics than the task names, or a value that is no share.
    """
    try:
        found = make()
    except EvalkitError:
        raise
    except Exception as error:  # whatever a person's function may raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        if not has_own:
            remedy = "make them in a function of your own (process_results), or name metrics that fit its answers"
            raise metric_fault(task, doc_id, f"lm-eval's own metrics fail ({what})", remedy) from error
        raise metric_fault(task, doc_id, f"the task's function fails ({what})") from error
    if not isinstance(found, Mapping):
        raise metric_fault(task, doc_id, f"the task's function gives {shown(found)}, expected metrics and their values")
    wanted = find_task(task).metrics
    for metric in wanted:
        if metric not in found and not is_judged:
            given = ", ".join(map(str, found)) or "none"
            raise metric_fault(task, doc_id, f"'{metric}' is lacking, there is {given}")
    other = next((metric for metric in found if metric not in wanted), None)
    if other is not None and not is_judged:
        remedy = "name it in both, or leave it out of the function"
        raise metric_fault(task, doc_id, f"'{other}' is a metric that neither the suite nor the task names", remedy)
    is_whole = not is_judged and all(map(_is_there, answers))
    remedy = "mend the task's function" if has_own else "lm-eval's own metric is no share; add process_results"
    return {str(metric): _value(task, doc_id, metric, value, is_whole, remedy) for metric, value in found.items()}


def _value(task: str, doc_id: int, metric: str, value: Any, is_whole: bool, remedy: str) -> float:
    if not isinstance(value, (Real, np.bool_)):
        what = f"'{metric}' is {_kind(value)} ({shown(value)}), expected a number from 0 to 1"
        raise metric_fault(task, doc_id, what, remedy)
    number = float(value)
    if not math.isfinite(number):
        if is_whole:
            raise metric_fault(task, doc_id, f"'{metric}' is {number}, although all answers are there")
    elif not is_share(number):
        raise metric_fault(task, doc_id, f"'{metric}' is {number:g}, but a metric is a share from 0 to 1")
    return number


def _kind(value: Any) -> str:
    names = {str: "a text", type(None): "null", list: "a list", tuple: "a tuple", dict: "a mapping"}
    return names.get(type(value), f"of type {type(value).__name__}")


def _is_there(answer: Any) -> bool:
    if isinstance(answer, tuple):
        return len(answer) == 2 and answer[0] is not None and math.isfinite(answer[0])
    if isinstance(answer, list):
        return all(map(_is_there, answer))
    return answer is not None and not isinstance(answer, FailedText)


def try_choices(
    task: str,
    doc_id: int,
    doc: Mapping[str, Any],
    target: Any,
    choices: Sequence[str] | None,
    answers: Sequence[Answer],
    metrics: Mapping[str, float] | None,
) -> None:
    """Make by trial what a document's sample will say of its choices.

    Args:
        task, doc_id, doc, target, choices: as for `evalkit.tasks.choosing.chosen`.
        answers: made up ones.
        metrics: what the task's function made of them; None: unknown.

    Raises:
        ConfigError: its sample could not be read again.
    """
    logprobs = [answer[0] for answer in answers if isinstance(answer, tuple)]
    names = find_task(task).metrics
    try:
        found = chosen(task, doc, target, logprobs, names, choices or ())
    except EvalkitError:
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise metric_fault(task, doc_id, f"what its metrics choose cannot be said ({what})") from error
    for metric in (metric for metric in names if metric in EXACT):
        value = None if metrics is None else metrics.get(metric)
        if value is not None and value not in (0.0, 1.0):
            remedy = "give it another name, in the suite too"
            raise metric_fault(
                task, doc_id, f"'{metric}' is {value:g}, but by its name it is right (1) or wrong (0)", remedy
            )
        if len(logprobs) > 1 and metric not in found.picked:
            remedy = "say it by a function *_picks beside the task's (evalkit/tasks/choosing.py)"
            raise metric_fault(task, doc_id, f"nothing says which choice '{metric}' takes", remedy)
        place = found.picked.get(metric)
        if value is not None and place is not None and found.gold is not None and value != float(place in found.gold):
            raise metric_fault(
                task,
                doc_id,
                f"'{metric}' is {value:g} where choice {place} is the likeliest and {shown(list(found.gold))} is right",
                "give it another name, in the suite too, or mend its target",
            )
    if choices is not None and len(logprobs) > 1 and found.gold is None:
        raise metric_fault(
            task, doc_id, f"its target {shown(target)} says no right choice of {len(choices)}", "mend its data"
        )
