"""One padded batch of rows a forward pass: the reference, and the scorer for models that take no mask.

The model is called as lm-eval calls it: ``model(input_ids)``, padded on the right with token 0, no mask. In a causal
model nothing to the right matters, so this is right for every architecture, recurrent ones included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from evalkit.errors import ModelError
from evalkit.scoring import Score, TokenRequest
from evalkit.scoring.forest import truncate
from evalkit.scoring.head import call_options, selected_logits, token_scores
from evalkit.scoring.memory import (
    batch_tokens,
    is_out_of_memory,
    max_scored_positions,
    model_device,
    release_cache,
)
from evalkit.scoring.plan import PackResult

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

    def iter_packs(self, requests: Sequence[TokenRequest]) -> Iterator[PackResult]:
        """Yield the scores of each batch as it is finished, the longest rows first."""
        rows: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
        for index, request in enumerate(requests):
            input_ids, targets = truncate(request, self.max_length, index)
            rows.setdefault(input_ids, []).append((index, targets))
        ordered = sorted(rows.items(), key=lambda row: (-len(row[0]), row[0]))
        number = 0
        while ordered:
            batch = ordered[: self._batch_size(ordered)]
            scored, parts = self._score_batch(batch)
            ordered = ordered[len(batch) :]
            indices, logprobs, greedy = zip(*scored, strict=True)
            yield PackResult(number, indices, logprobs, greedy, parts, len(batch) * len(batch[0][0]))
            number += 1

    def _batch_size(self, ordered: Sequence[_Row]) -> int:
        size = max(1, self.max_batch_tokens // len(ordered[0][0]))
        scored = 0
        for k, (_, members) in enumerate(ordered[:size]):
            scored += max(len(targets) for _, targets in members)
            if k > 0 and scored > self._max_scored:
                return k
        return min(size, len(ordered))

    def _score_batch(self, batch: Sequence[_Row]) -> tuple[list[tuple[int, float, bool]], int]:
        """Return (request, log-probability, greedy) of a batch and into how many parts it had to be split."""
        todo = [batch]
        scored: list[tuple[int, float, bool]] = []
        parts = 0
        while todo:
            part = todo.pop(0)
            width, half = len(part[0][0]), len(part) // 2
            if half and width * len(part) > self.max_batch_tokens:
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
            self.max_batch_tokens = width * half
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
