"""One padded batch of rows a forward pass: the reference, and the scorer for models that take no mask.

The model is called as lm-eval calls it: ``model(input_ids)``, padded on the right with token 0, no mask. In a causal
model nothing to the right matters, so this is right for every architecture, recurrent ones included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from evalkit.scoring.forest import Pack, TokenRows, Tree, build_rows
from evalkit.scoring.head import call_options, selected_logits, token_scores
from evalkit.scoring.memory import batch_tokens, max_scored_positions, model_device
from evalkit.scoring.packs import Scored
from evalkit.scoring.plan import PackPlan, requests_sha256
from evalkit.scoring.requests import TokenRequest
from evalkit.scoring.rotary import Rotary


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
        self._rotary = Rotary(model)

    def rows(self, requests: Sequence[TokenRequest]) -> TokenRows:
        """Return the distinct inputs, the longest first; what they share is computed again."""
        return build_rows(requests, self.max_length, longest_first=True)

    def plan(self, requests: Sequence[TokenRequest], rows: TokenRows | None = None) -> PackPlan:
        """Return the batches for these requests, the longest rows first, without touching the model.

        A batch's trees are single rows.
        """
        rows = self.rows(requests) if rows is None else rows
        packs: list[Pack] = []
        start = 0
        while start < len(rows.inputs):
            lengths = rows.lengths[start : start + self._batch_size(rows, start)].tolist()
            trees = (Tree(start + k, start + k + 1, length) for k, length in enumerate(lengths))
            packs.append(Pack(tuple(trees), lengths[0]))
            start += len(lengths)
        return PackPlan(tuple(packs), len(requests), rows.forest_tokens, requests_sha256(requests))

    def _batch_size(self, rows: TokenRows, start: int) -> int:
        if self._rotary.is_long(int(rows.lengths[start])):
            return 1
        size = max(1, self.max_batch_tokens // int(rows.lengths[start]))
        scored = 0
        for k, positions in enumerate(rows.scored[start : start + size].tolist()):
            scored += positions
            if k > 0 and scored > self._max_scored:
                return k
        return size

    def launch(self, rows: TokenRows, pack: Pack) -> Callable[[], Scored]:
        """Start one forward pass over a batch; what is returned waits for its scores."""
        with self._rotary.fresh(pack.width):
            return self._forward(rows, [tree.start for tree in pack.trees], pack.width)

    @torch.inference_mode()
    def _forward(self, rows: TokenRows, batch: Sequence[int], width: int) -> Callable[[], Scored]:
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        positions: list[int] = []  # flat positions that predict a target
        pair_target: list[int] = []
        requests: list[int] = []
        lengths: list[int] = []  # numbers of targets
        for b, row in enumerate(batch):
            input_ids = rows.inputs[row]
            ids[b, : len(input_ids)] = torch.from_numpy(input_ids)
            stop = b * width + len(input_ids)
            for index in rows.requests[row]:
                targets = rows.targets[index].tolist()
                positions += range(stop - len(targets), stop)
                pair_target += targets
                requests.append(index)
                lengths.append(len(targets))
        select, pair_select = torch.unique(torch.tensor(positions), return_inverse=True)
        device = self.device
        logits = selected_logits(self.model, {"input_ids": ids.to(device), **self._options}, select.to(device))
        logprobs, greedy = token_scores(
            logits, pair_select.to(logits.device), torch.tensor(pair_target).to(logits.device)
        )

        def fetch() -> Scored:
            return Scored(
                requests,
                [float(part.sum()) for part in torch.split(logprobs.cpu(), lengths)],
                [bool(part.all()) for part in torch.split(greedy.cpu(), lengths)],
            )

        return fetch
