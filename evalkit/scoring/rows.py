"""A scorer for whoever scores requests one by one, elsewhere: packs are so many rows each. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from evalkit.scoring import Score, TokenRequest
from evalkit.scoring.forest import Pack, Tree
from evalkit.scoring.plan import PackResult, Plan, requests_sha256


class RowScorer:
    """A `Scorer` made of a function that scores some requests: packs of so many rows each, in the requests' order.

    Args:
        name: as the record calls it.
        score_rows: scores up to ``rows`` requests.
        rows: of a pack.
        max_length: longest input in tokens, as ids count them.
    """

    def __init__(
        self, name: str, score_rows: Callable[[Sequence[TokenRequest]], Sequence[Score]], rows: int, max_length: int
    ) -> None:
        self.name = name
        self.max_length = max_length
        self._score_rows = score_rows
        self._rows = rows

    def score(
        self, requests: Sequence[TokenRequest], on_pack: Callable[[PackResult], None] | None = None
    ) -> list[Score]:
        """Score all requests; see `Scorer`."""
        scores: list[Score] = []
        for result in self.iter_packs(requests):
            scores += zip(result.logprobs, result.is_greedy, strict=True)
            if on_pack is not None:
                on_pack(result)
        return scores

    def plan(self, requests: Sequence[TokenRequest]) -> Plan:
        """Return the packs; a tree is a row here."""
        lengths = [len(r.context_ids) + len(r.continuation_ids) - 1 for r in requests]
        trees = [Tree(row, row + 1, length) for row, length in enumerate(lengths)]
        parts = [tuple(trees[start : start + self._rows]) for start in range(0, len(trees), self._rows)]
        packs = tuple(Pack(part, max(tree.nodes for tree in part)) for part in parts)
        return Plan(packs, len(requests), sum(lengths), requests_sha256(requests))

    def iter_packs(
        self,
        requests: Sequence[TokenRequest],
        plan: Plan | None = None,
        packs: Iterable[int] | None = None,
        budget_tokens: int | None = None,
    ) -> Iterator[PackResult]:
        """Yield each pack's scores as it is finished; see `Scorer`."""
        plan = self.plan(requests) if plan is None else plan
        plan.check(requests)
        for number in range(len(plan.packs)) if packs is None else packs:
            pack = plan.packs[number]
            rows = tuple(tree.start for tree in pack.trees)
            scores = self._score_rows([requests[row] for row in rows])
            yield PackResult(
                pack=number,
                requests=rows,
                logprobs=tuple(logprob for logprob, _ in scores),
                is_greedy=tuple(greedy for _, greedy in scores),
                parts=1,
                tokens=pack.tokens,
                budget_tokens=budget_tokens or plan.largest_tokens,
            )
