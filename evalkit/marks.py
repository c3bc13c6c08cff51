"""What happened to requests on their way to the model; the documents that have such requests are marked with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any


@dataclasses.dataclass
class Marks:
    """What happened to a run's requests.

    Attributes:
        documents: by mark the (task, doc_id) of documents with such a request. ``cut``: its beginning had no place in
            the model's context. ``apart``: context and continuation were encoded apart, since a token spans their join.
            ``reused``: its result was taken from another run.
        counts: by mark the number of requests.
    """

    documents: dict[str, set[tuple[str, int]]] = dataclasses.field(default_factory=dict)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, mark: str, requests: Iterable[Any]) -> None:
        """Note lm-eval's requests under a mark."""
        found = [(str(request.task_name), int(request.doc_id or 0)) for request in requests]
        self.documents.setdefault(mark, set()).update(found)
        self.counts[mark] = self.counts.get(mark, 0) + len(found)

    def of(self, task: str, doc_id: int) -> list[str]:
        """Return the marks of a document."""
        return [mark for mark, documents in self.documents.items() if (task, doc_id) in documents]
