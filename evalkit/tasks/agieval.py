"""AGIEval's eight English multiple-choice tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.tasks.metrics import Result, accuracies

Doc = Mapping[str, Any]


def text(doc: Doc) -> str:
    """Passage, question and options; hub documents (``hails/agieval-*``) bring the same text as ``query``."""
    if "query" in doc:
        return str(doc["query"])
    options = doc["options"]
    last = chr(ord("A") + len(options) - 1)
    return (
        f"{doc['passage'] or ''}Q: {doc['question']} Answer Choices: {' '.join(options)}\n"
        f"A: Among A through {last}, the answer is"
    )


def choices(doc: Doc) -> list[str]:
    """The options as they stand, ``(A)...``."""
    return list(doc["choices"] if "query" in doc else doc["options"])


def target(doc: Doc) -> list[int]:
    """Indices of the right options."""
    return list(doc["gold"]) if "query" in doc else [ord(doc["label"]) - ord("A")]


def results(doc: Doc, results: Sequence[Result]) -> dict[str, float]:
    """acc and acc_norm."""
    return accuracies(results, choices(doc), set(target(doc)))
