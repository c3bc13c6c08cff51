"""A scorer for whoever scores requests one by one, elsewhere: packs are so many rows each. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.errors import ModelError
from evalkit.scoring.checked import by_request, checked_scores
from evalkit.scoring.forest import Pack, TokenRows, Tree
from evalkit.scoring.packs import Scored
from evalkit.scoring.plan import PackPlan, requests_sha256
from evalkit.scoring.requests import Score, TokenRequest


@dataclass(frozen=True)
class Elsewhere:
    """The device of whoever has no memory here that could run out.

    Attributes:
        name: of whoever answers.
        type: "cpu": a pack's results are there when it was launched.
    """

    name: str
    type: str = "cpu"

    def __str__(self) -> str:
        return self.name


class RowScorer:
    """A `Scorer` made of a function that scores some requests: packs of so many rows each, in the requests' order.

    Args:
        name: as the record calls it.
        score_rows: returns the score of each of up to ``rows`` requests, by request.
        rows: of a pack.
        max_length: longest input in tokens, as ids count them.

    Raises:
        ModelError: ``rows`` or ``max_length`` is no number from 1.
    """

    def __init__(
        self,
        name: str,
        score_rows: Callable[[Sequence[TokenRequest]], Mapping[TokenRequest, Score]],
        rows: int,
        max_length: int,
    ) -> None:
        for what, number in (("rows", rows), ("max_length", max_length)):
            if number < 1:
                raise ModelError(f"{name}: {what} of its scorer is a number from 1, found {number}")
        self.name = name
        self.max_length = max_length
        self.max_batch_tokens = rows * max_length
        self.device = Elsewhere(name)
        self._score_rows = score_rows
        self._rows = rows

    def rows(self, requests: Sequence[TokenRequest]) -> TokenRows:
        """Return a row a request, nothing shared and nothing cut."""
        inputs = [np.array((*r.context_ids, *r.continuation_ids[:-1]), dtype=np.int64) for r in requests]
        targets = [np.array(r.continuation_ids, dtype=np.int64) for r in requests]
        return TokenRows(
            inputs=inputs,
            shared=np.zeros(len(inputs), dtype=np.int64),
            lengths=np.array([row.size for row in inputs], dtype=np.int64),
            requests=[[index] for index in range(len(inputs))],
            targets=targets,
            scored=np.array([row.size for row in targets], dtype=np.int64),
        )

    def plan(self, requests: Sequence[TokenRequest], rows: TokenRows | None = None) -> PackPlan:
        """Return the packs; a tree is a row here."""
        rows = self.rows(requests) if rows is None else rows
        trees = [Tree(row, row + 1, length) for row, length in enumerate(rows.lengths.tolist())]
        parts = [tuple(trees[start : start + self._rows]) for start in range(0, len(trees), self._rows)]
        packs = tuple(Pack(part, max(tree.nodes for tree in part)) for part in parts)
        return PackPlan(packs, len(requests), rows.forest_tokens, requests_sha256(requests))

    def launch(self, rows: TokenRows, pack: Pack) -> Callable[[], Scored]:
        """Score a pack's rows."""
        chosen = [tree.start for tree in pack.trees]
        asked = []
        for row in chosen:
            target = tuple(rows.targets[row].tolist())
            whole = (*rows.inputs[row].tolist(), target[-1])
            asked.append(TokenRequest(whole[: len(whole) - len(target)], target))
        given = by_request(self.name, self._score_rows(tuple(asked)), asked)
        scores = checked_scores(self.name, given, len(asked))
        return lambda: Scored(chosen, [logprob for logprob, _ in scores], [greedy for _, greedy in scores])
