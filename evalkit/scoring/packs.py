"""What a scorer is, and how the packs of a plan are run on one. No torch: a scorer's packs are its own business."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from evalkit.errors import ModelError
from evalkit.scoring.checked import checked_scores
from evalkit.scoring.forest import Pack, TokenRows
from evalkit.scoring.parts import Budget, Device, in_parts
from evalkit.scoring.plan import PackPlan, PackResult, split_pack
from evalkit.scoring.requests import Score, TokenRequest


@dataclass(frozen=True)
class Scored:
    """Scores of some requests.

    Attributes:
        requests: their indices.
        logprobs: nats, in the order of ``requests``.
        is_greedy: in the order of ``requests``.
    """

    requests: Sequence[int]
    logprobs: Sequence[float]
    is_greedy: Sequence[bool]


class Scorer(Protocol):
    """Cuts requests into packs and scores one pack; ``iter_packs`` and ``score`` do the rest.

    Attributes:
        name: "forest" or "plain".
        max_length: the model's context length in tokens.
        max_batch_tokens: positions of a pack, padding included.
    """

    name: str
    max_length: int
    max_batch_tokens: int

    @property
    def device(self) -> Device:
        """Where the model is."""

    def rows(self, requests: Sequence[TokenRequest]) -> TokenRows:
        """Return the rows that the trees of this scorer's plans count.

        Raises:
            DataError: a request with an empty part or too long a continuation.
        """
        ...

    def plan(self, requests: Sequence[TokenRequest], rows: TokenRows | None = None) -> PackPlan:
        """Return the packs for these requests, without touching the model.

        Args:
            requests: all of them.
            rows: theirs, where they are made already.
        """
        ...

    def launch(self, rows: TokenRows, pack: Pack) -> Callable[[], Scored]:
        """Start one forward pass over a pack, or over a part of one; what is returned waits for its scores."""
        ...


def score(
    scorer: Scorer, requests: Sequence[TokenRequest], on_pack: Callable[[PackResult], None] | None = None
) -> list[Score]:
    """Score all requests; results in the order of the requests.

    Args:
        scorer: what scores.
        requests: any number; duplicates are computed once.
        on_pack: called after every finished pack, in the order in which packs finish.

    Raises:
        DataError: a request with an empty part or too long a continuation.
        ModelError: a single row does not fit into memory.
    """
    scores: list[Score] = [(math.nan, False)] * len(requests)
    for result in iter_packs(scorer, requests):
        for index, logprob, greedy in zip(result.requests, result.logprobs, result.is_greedy, strict=True):
            scores[index] = (logprob, greedy)
        if on_pack is not None:
            on_pack(result)
    return scores


def iter_packs(
    scorer: Scorer,
    requests: Sequence[TokenRequest],
    plan: PackPlan | None = None,
    packs: Iterable[int] | None = None,
    budget_tokens: int | None = None,
) -> Iterator[PackResult]:
    """Yield each pack's scores as it is finished, in the order asked for.

    On an accelerator the next pack is launched before the results of the one before are fetched, so that it does not
    wait for the host.

    Args:
        scorer: what scores.
        requests: all requests of the run.
        plan: a stored plan of these requests; None: a new one.
        packs: indices of the packs to score; None: all. Asked for one at a time: where they end early, the packs
            begun are finished and yielded.
        budget_tokens: ``PackResult.budget_tokens`` of the last pack of an earlier call; None: the largest pack.

    Raises:
        StoreError: the plan was made for other requests.
        ModelError: a single row does not fit into memory.
    """
    if not requests:
        return
    rows = scorer.rows(requests)
    if plan is None:
        plan = scorer.plan(requests, rows)
    else:
        plan.check(requests)
    budget = Budget(budget_tokens or plan.largest_tokens)
    # A CPU has computed a pack when it is "launched": its results are handed over before the next one is begun.
    looks_ahead = scorer.device.type != "cpu"
    waiting: Callable[[], PackResult] | None = None
    for number in range(len(plan.packs)) if packs is None else packs:
        launched = _launch(scorer, rows, number, plan.packs[number], budget)
        if waiting is not None:
            yield waiting()
        if looks_ahead:
            waiting = launched
        else:
            yield launched()
    if waiting is not None:
        yield waiting()


def _launch(scorer: Scorer, rows: TokenRows, number: int, pack: Pack, budget: Budget) -> Callable[[], PackResult]:
    """Start a pack, in as many parts as memory demands; what is returned waits for its result."""
    tokens = 0

    def launch(part: Pack) -> Callable[[], Scored]:
        nonlocal tokens
        fetch = scorer.launch(rows, part)
        tokens += part.tokens
        return fetch

    parts = in_parts(
        pack,
        launch,
        size=lambda part: part.tokens,
        halves=partial(split_pack, rows),
        name=lambda part: f"one row of {part.width} tokens",
        budget=budget,
        device=scorer.device,
    )
    fetches = list(parts)
    budget_tokens = budget.size

    def fetch() -> PackResult:
        found = [fetch() for fetch in fetches]
        _check(scorer.name, rows, pack, found)
        return PackResult(
            number,
            tuple(index for part in found for index in part.requests),
            tuple(logprob for part in found for logprob in part.logprobs),
            tuple(is_greedy for part in found for is_greedy in part.is_greedy),
            len(found),
            tokens,
            budget_tokens,
        )

    return fetch


def _check(name: str, rows: TokenRows, pack: Pack, found: Sequence[Scored]) -> None:
    """Check that scores are some, and of requests of this pack; those that are left out have none.

    Raises:
        ModelError: they are not.
    """
    given = [index for part in found for index in part.requests]
    own = {index for tree in pack.trees for row in range(tree.start, tree.stop) for index in rows.requests[row]}
    if len(set(given)) != len(given) or not own.issuperset(given):
        raise ModelError(f"{name}: gave scores of other requests than those of the pack")
    for part in found:
        pairs = list(zip(part.logprobs, part.is_greedy, strict=False))
        if len(part.logprobs) != len(part.is_greedy):
            raise ModelError(f"{name}: {len(part.logprobs)} log-probabilities and {len(part.is_greedy)} greedy flags")
        checked_scores(name, pairs, len(part.requests))
