"""What a loaded task of lm-eval's says of a document, in whichever of lm-eval's forms its file is written.

Choices are a list, a template, a column or a function; the right one is a position, several, or a text; the choices may
stand in the contexts (winogrande). All that is asked of a task object here is in the list of `lm_eval_tasks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.suites import find_task, suite_fault
from evalkit.tasks.metric_values import fault

Document = Mapping[str, Any]


def is_judged(task: Any) -> bool:
    """Tell whether a task's texts are programs, which are run."""
    return bool(getattr(task, "UNSAFE_CODE", False))


def choices_of(task: Any, doc: Document) -> list[str] | None:
    """Return a document's choices as they stand in the data; None for a task without."""
    return None if task.config.doc_to_choice is None else list(task.doc_to_choice(doc))


def target_of(task: Any, doc: Document) -> Any:
    """Return a document's right answer; where lm-eval's own metrics judge choices, their positions, as these do."""
    if task.OUTPUT_TYPE != "multiple_choice" or task.config.process_results is not None:
        return task.doc_to_target(doc)
    said = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    choices = choices_of(task, doc) or []
    places = [
        choices.index(place) if isinstance(place, str) and place in choices else place
        for place in (said if isinstance(said, list) else [said])
    ]
    is_such = all(isinstance(place, int) and 0 <= place < len(choices) for place in places)
    return said if not is_such else places if isinstance(said, list) else int(places[0])


@contextmanager
def explained(name: str, doc_id: int, what: str) -> Iterator[None]:
    """Turn what a task's own functions and templates raise into one line."""
    try:
        yield
    except EvalkitError:
        raise
    except Exception as error:  # whatever a person's function may raise
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise fault(name, doc_id, f"{what} ({why})", "mend the task's file") from error


def check_documents(name: str, task: Any, documents: Sequence[Document], data: Sequence[Document]) -> None:
    """Check that a task's documents are those that the record will name, in their order.

    Raises:
        ConfigError: they are others, or ``process_docs`` left some out.
    """
    if len(documents) != len(data):
        what = f"{len(documents):,} documents, but its data have {len(data):,}; have process_docs leave none out"
        raise suite_fault(find_task(name), None, what)
    is_same = all(ours is theirs for ours, theirs in zip(documents, data, strict=True))
    if task.config.process_docs is None and not is_same:
        what = f"its documents are not those of {name} in configs/datasets.yaml"
        raise suite_fault(find_task(name), None, f"{what}; write 'dataset_kwargs: {{dataset: {name}}}'")
    if task.OUTPUT_TYPE != "multiple_choice" or task.config.process_results is not None:
        return
    for doc_id, doc in enumerate(documents):
        with explained(name, doc_id, "its choices cannot be made"):
            choices, target = choices_of(task, doc) or [], target_of(task, doc)
        places = target if isinstance(target, list) else [target]
        if not places or not all(type(place) is int and 0 <= place < len(choices) for place in places):
            raise fault(name, doc_id, f"its target {target!r} is none of its {len(choices)} choices", "mend its data")
