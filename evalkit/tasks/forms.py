"""What a loaded task of lm-eval's says of a document, in whichever of lm-eval's forms its file is written.

Choices are a list, a template, a column or a function; the right one is a position, several, or a text; the choices may
stand in the contexts (winogrande). All that is asked of a task object here is in the list of `lm_eval_tasks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from evalkit.config.suites import find_task, suite_fault
from evalkit.config.task_files import named_file
from evalkit.errors import ConfigError, EvalkitError, did_you_mean
from evalkit.tasks.documents import Documents
from evalkit.tasks.lacking import lacking_key
from evalkit.tasks.metric_values import metric_fault

Document = Mapping[str, Any]


def is_judged(task: Any) -> bool:
    """Tell whether a task's texts are programs, which are run."""
    return bool(getattr(task, "UNSAFE_CODE", False))


def has_own_metrics(task: Any) -> bool:
    """Tell whether a function of the task's own makes its metrics; else lm-eval's do."""
    return task.config.process_results is not None


def texts_of_target(task: Any, doc: Document) -> list[str]:
    """Return a document's right answers as a model would write them."""
    target = task.doc_to_target(doc)
    if isinstance(target, int) and (choices := choices_of(task, doc)) is not None and 0 <= target < len(choices):
        return [str(choices[target])]
    return list(map(str, target)) if isinstance(target, list) and target else [str(target)]


def unknown_column(task: Any) -> str | None:
    """Return what is wrong where a task's file names a column that its documents lack; None: nothing.

    lm-eval takes such a word for the text itself, the same for every document: a slip of the pen would be scored.
    Choices, and targets of choices, that are no column are refused in any case.
    """
    keys = ["doc_to_text"] if task.config.doc_to_choice is not None else ["doc_to_text", "doc_to_target"]
    for key in keys:
        said = getattr(task.config, key)
        if not isinstance(said, str) or not said.strip() or "{" in said or said in task.features:
            continue
        if (near := did_you_mean(said.strip(), task.features)) or said.strip().isidentifier():
            return f"{key}: '{said}' is no column of its documents{near}; the word itself is \"{{{{'{said}'}}}}\""
    return None


def choices_of(task: Any, doc: Document) -> list[str] | None:
    """Return a document's choices as they stand in the data; None for a task without."""
    return None if task.config.doc_to_choice is None else list(task.doc_to_choice(doc))


def target_of(task: Any, doc: Document) -> Any:
    """Return a document's right answer; where lm-eval's own metrics judge choices, their positions, as these do."""
    if task.OUTPUT_TYPE != "multiple_choice" or task.config.process_results is not None:
        return task.doc_to_target(doc)
    choices = choices_of(task, doc) or []  # first, as in lm-eval: a function may put them in order in the document
    said = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    places = [
        choices.index(place) if isinstance(place, str) and place in choices else place
        for place in (said if isinstance(said, list) else [said])
    ]
    is_such = all(isinstance(place, int) and 0 <= place < len(choices) for place in places)
    return said if not is_such else places if isinstance(said, list) else int(places[0])


def without_numpy(value: Any) -> Any:
    """Return a target without numpy's types (those of pandas too): its numbers, truths and lists as Python's own."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return [without_numpy(item) for item in value] if isinstance(value, list) else value


def lacking_column(name: str, error: Exception, documents: Sequence[Document]) -> ConfigError | None:
    """Return the refusal where an error names a key that some documents of a task lack; None: it is about no such.

    lm-eval looks at the first document, and raises of any other what says neither document nor task.
    """
    lacking = lacking_key(documents, lambda key: f"'{key}'" in str(error))
    if lacking is None:
        return None
    where = named_file(find_task(name).suite, name)
    return ConfigError(f"{where}: {name}: {lacking}; give it to every document, or have the task do without it")


@contextmanager
def explaining_task(name: str, doc_id: int, what: str, documents: Sequence[Document]) -> Iterator[None]:
    """Turn what a task's own functions and templates raise of one of its documents into one line."""
    try:
        yield
    except EvalkitError:
        raise
    except Exception as error:  # whatever a person's function may raise
        if (lacking := lacking_column(name, error, documents)) is not None:
            raise lacking from error
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise metric_fault(name, doc_id, f"{what} ({why})", "mend the task's file") from error


def check_documents(name: str, task: Any, documents: Documents, data: Sequence[Document]) -> None:
    """Check that a task's documents are those that the record will name, in their order.

    Raises:
        ConfigError: they are others, or ``process_docs`` left some out.
    """
    if len(documents) != len(data):
        what = f"{len(documents):,} documents, but its data have {len(data):,}; have process_docs leave none out"
        raise suite_fault(find_task(name), None, what)
    if task.config.process_docs is None and not documents.are(data):
        what = f"its documents are not those of {name} in configs/datasets.yaml"
        raise suite_fault(find_task(name), None, f"{what}; write 'dataset_kwargs: {{dataset: {name}}}'")
    if task.config.process_docs is not None and (column := _moved(documents, data)) is not None:
        what = f"process_docs puts its documents in another order (by their column '{column}')"
        raise suite_fault(find_task(name), None, f"{what}; leave that out, scores do not depend on it")
    if task.OUTPUT_TYPE != "multiple_choice" or task.config.process_results is not None:
        return
    for doc_id, doc in enumerate(documents):
        with explaining_task(name, doc_id, "its choices cannot be made", documents):
            choices, target = choices_of(task, doc) or [], target_of(task, doc)
        places = target if isinstance(target, list) else [target]
        if not places or not all(type(place) is int and 0 <= place < len(choices) for place in places):
            raise metric_fault(
                name, doc_id, f"its target {target!r} is none of its {len(choices)} choices", "mend its data"
            )


def _moved(documents: Sequence[Document], data: Sequence[Document]) -> str | None:
    """Return a column that shows that documents changed places: of its values, of which most are there once, none is
    new and none is gone. None: there is no such."""
    made = list(documents)
    for column in data[0] if data else ():
        before, after = ([repr(doc.get(column)) for doc in docs] for docs in (data, made))
        if before != after and 2 * len(set(before)) > len(before) and sorted(before) == sorted(after):
            return column
    return None


def check_same(name: str, task: Any, doc_id: int, first: Any, others: Sequence[Any], makers: Sequence[str]) -> None:
    """Check that a task's functions gave the same for the same, so that another look at a record makes no other of it.

    Args:
        name, task, doc_id: whose.
        first: what they gave first.
        others: what they gave then.
        makers: keys of the task's file that may have made it, the likeliest first.

    Raises:
        ConfigError: they draw lots, or count their calls; names the functions.
    """
    if all(repr(other) == repr(first) for other in others):  # nan is nan here
        return
    functions = [(key, getattr(task.config, key, None)) for key in makers]
    named = [f"{key} ({function.__name__})" for key, function in functions if callable(function)]
    made = " or ".join(named or makers[:1])
    remedy = "have it draw no lots and keep nothing between its calls (what is drawn in process_docs is drawn once)"
    raise metric_fault(name, doc_id, f"{made} gives another result each time for the same document", remedy)
