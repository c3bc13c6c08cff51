"""What happened to requests on their way to the model; the documents that have such requests are marked with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from evalkit.answering import Mark, ScoreRequest, TextRequest


@dataclasses.dataclass
class Marks:
    """What happened to a run's requests.

    Attributes:
        documents: by mark the (task, doc_id) of documents with such a request.
        counts: by mark the number of requests.
    """

    documents: dict[str, set[tuple[str, int]]] = dataclasses.field(default_factory=dict)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(
        self, requests: Sequence[ScoreRequest] | Sequence[TextRequest], marks: Mapping[Mark, Sequence[int]]
    ) -> None:
        """Note what came back with answers: by mark the positions among the requests."""
        for mark, positions in marks.items():
            found = [(requests[position].task, requests[position].doc_id) for position in positions]
            self.documents.setdefault(mark, set()).update(found)
            self.counts[mark] = self.counts.get(mark, 0) + len(found)

    def of(self, task: str, doc_id: int) -> list[str]:
        """Return the marks of a document."""
        return [mark for mark, documents in self.documents.items() if (task, doc_id) in documents]
