"""One padded batch of rows a forward pass: the reference, and the scorer for models that take no mask.

The model is called as lm-eval calls it: ``model(input_ids)``, padded on the right with token 0, no mask. In a causal
model nothing to the right matters, so this is right for every architecture, recurrent ones included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from evalkit.errors import ModelError
from evalkit.scoring import Score, TokenRequest
from evalkit.scoring.forest import Pack, Tree, truncate
from evalkit.scoring.head import call_options, selected_logits, token_scores
from evalkit.scoring.memory import (
    Budget,
    batch_tokens,
    is_out_of_memory,
    max_scored_positions,
    model_device,
    release_cache,
)
from evalkit.scoring.plan import PackResult, Plan, requests_sha256

_Row = tuple[tuple[int, ...], list[tuple[int, tuple[int, ...]]]]
"""Input ids, and (request index, target ids) of each request that has this input."""


class PlainScorer:
    """Scores requests row by row; equal inputs are computed once.

    Args:
        model: a causal language model in evaluation mode.
        max_length: the model's context length in tokens.
        max_batch_tokens: positions of a batch, padding included; None: measured.
    """

    name = "plain"

    def __init__(self, model: Any, *, max_length: int, max_batch_tokens: int | None = None) -> None:
        self.model = model
        self.max_length = max_length
        self.device = model_device(model)
        self.max_batch_tokens = max_batch_tokens or batch_tokens(model, self.device)
        self._max_scored = max_scored_positions(model, self.device)
        self._options = call_options(model)

    def score(
        self, requests: Sequence[TokenRequest], on_pack: Callable[[PackResult], None] | None = None
    ) -> list[Score]:
        """Score all requests, in their order; see ``Scorer``.

        Raises:
            DataError: a request with an empty part or too long a continuation.
            ModelError: a single row does not fit into memory.
        """
        scores: list[Score] = [(math.nan, False)] * len(requests)
        for result in self.iter_packs(requests):
            for index, logprob, greedy in zip(result.requests, result.logprobs, result.is_greedy, strict=True):
                scores[index] = (logprob, greedy)
            if on_pack is not None:
                on_pack(result)
        return scores

    def plan(self, requests: Sequence[TokenRequest]) -> Plan:
        """Return the batches for these requests, the longest rows first, without touching the model.

        A batch's trees are single rows; their numbers are positions among the rows, longest first.
        """
        ordered = self._ordered(requests)
        packs: list[Pack] = []
        start = 0
        while start < len(ordered):
            size = self._batch_size(ordered[start : start + self.max_batch_tokens])
            batch = ordered[start : start + size]
            trees = (Tree(start + k, start + k + 1, len(input_ids)) for k, (input_ids, _) in enumerate(batch))
            packs.append(Pack(tuple(trees), len(batch[0][0])))
            start += size
        tokens = sum(len(input_ids) for input_ids, _ in ordered)
        return Plan(tuple(packs), len(requests), tokens, requests_sha256(requests))

    def iter_packs(
        self,
        requests: Sequence[TokenRequest],
        plan: Plan | None = None,
        packs: Iterable[int] | None = None,
        budget_tokens: int | None = None,
    ) -> Iterator[PackResult]:
        """Yield the scores of each batch as it is finished; see ``ForestScorer.iter_packs``."""
        if not requests:
            return
        if plan is None:
            plan = self.plan(requests)
        else:
            plan.check(requests)
        ordered = self._ordered(requests)
        budget = Budget(budget_tokens or plan.largest_tokens)
        for number in range(len(plan.packs)) if packs is None else packs:
            trees = plan.packs[number].trees
            scored, parts = self._score_batch(ordered[trees[0].start : trees[-1].stop], budget)
            indices, logprobs, greedy = zip(*scored, strict=True)
            yield PackResult(number, indices, logprobs, greedy, parts, plan.packs[number].tokens, budget.tokens)

    def _ordered(self, requests: Sequence[TokenRequest]) -> list[_Row]:
        rows: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
        for index, request in enumerate(requests):
            input_ids, targets = truncate(request, self.max_length, index)
            rows.setdefault(input_ids, []).append((index, targets))
        return sorted(rows.items(), key=lambda row: (-len(row[0]), row[0]))

    def _batch_size(self, ordered: Sequence[_Row]) -> int:
        size = max(1, self.max_batch_tokens // len(ordered[0][0]))
        scored = 0
        for k, (_, members) in enumerate(ordered[:size]):
            scored += max(len(targets) for _, targets in members)
            if k > 0 and scored > self._max_scored:
                return k
        return min(size, len(ordered))

    def _score_batch(self, batch: Sequence[_Row], budget: Budget) -> tuple[list[tuple[int, float, bool]], int]:
        """Return (request, log-probability, greedy) of a batch and into how many parts it had to be split."""
        todo = [batch]
        scored: list[tuple[int, float, bool]] = []
        parts = 0
        while todo:
            part = todo.pop(0)
            width, half = len(part[0][0]), len(part) // 2
            if half and width * len(part) > budget.tokens:
                todo[:0] = [part[:half], part[half:]]
                continue
            try:
                scored += self._forward(part)
                parts += 1
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error).splitlines()[0] if str(error) else type(error).__name__
            # Outside the handler: the exception holds the frames, and they hold the tensors.
            release_cache(self.device)
            if not half:
                raise ModelError(
                    f"out of memory on {self.device} for one row of {width} tokens ({message}); "
                    "use a smaller dtype, a larger device or a smaller max_length"
                )
            budget.tokens = width * half
            todo.insert(0, part)
        return scored, parts

    @torch.inference_mode()
    def _forward(self, batch: Sequence[_Row]) -> list[tuple[int, float, bool]]:
        width = len(batch[0][0])
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        positions: list[int] = []  # flat positions that predict a target
        pair_target: list[int] = []
        spans: list[tuple[int, int]] = []  # (request, number of targets)
        for b, (input_ids, members) in enumerate(batch):
            ids[b, : len(input_ids)] = torch.tensor(input_ids)
            stop = b * width + len(input_ids)
            for index, targets in members:
                positions += range(stop - len(targets), stop)
                pair_target += targets
                spans.append((index, len(targets)))
        select, pair_select = torch.unique(torch.tensor(positions), return_inverse=True)
        device = self.device
        logits = selected_logits(self.model, {"input_ids": ids.to(device), **self._options}, select.to(device))
        logprobs, greedy = token_scores(
            logits, pair_select.to(logits.device), torch.tensor(pair_target).to(logits.device)
        )
        lengths = [length for _, length in spans]
        return [
            (index, float(part.sum()), bool(flags.all()))
            for (index, _), part, flags in zip(
                spans, torch.split(logprobs.cpu(), lengths), torch.split(greedy.cpu(), lengths), strict=True
            )
        ]
