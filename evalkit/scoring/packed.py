"""Scores the prefix forest of all requests: one forward pass a pack, the tree structure as attention mask.

What is passed to the model: ``input_ids`` and ``position_ids`` (the depth in the tree), both [trees, width], and an
additive mask [trees, 1, width, width] that is 0 where a node sees another and the dtype's minimum elsewhere.
transformers takes such a mask as it stands for the eager and sdpa implementations of most models; whether this model
does is checked by ``probe.choose_scorer``, never assumed. A pack whose trees are single rows needs no mask. On a CPU
the mask is not made at all where the model's attention can be computed in blocks (``blocks.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evalkit.errors import ModelError
from evalkit.scoring import Score, TokenRequest
from evalkit.scoring.attention import Attention, attention_of
from evalkit.scoring.blocks import BlockedAttention, NotBlockableError
from evalkit.scoring.forest import Layout, Pack, Rows, build_rows, lay_out
from evalkit.scoring.head import call_options, selected_logits, token_scores
from evalkit.scoring.memory import (
    Budget,
    batch_tokens,
    is_out_of_memory,
    max_scored_positions,
    model_device,
    release_cache,
)
from evalkit.scoring.plan import PackResult, Plan, plan_packs, split_pack


class ForestScorer:
    """Scores requests with each shared prefix computed once.

    Args:
        model: a transformers causal language model in evaluation mode.
        max_length: the model's context length in tokens.
        max_batch_tokens: positions of a pack, padding included; None: measured.
        attention: how the model wants the mask; None: as its configuration says.
    """

    name = "forest"

    def __init__(
        self,
        model: Any,
        *,
        max_length: int,
        max_batch_tokens: int | None = None,
        attention: Attention | None = None,
    ) -> None:
        self.model = model
        self.max_length = max_length
        self.device = model_device(model)
        self.max_batch_tokens = max_batch_tokens or batch_tokens(model, self.device)
        self.attention = attention or attention_of(model)
        self._max_scored = max_scored_positions(model, self.device)
        self._options = call_options(model)
        # Quantised models may report an integer dtype; their activations are half precision.
        self._mask_dtype = model.dtype if model.dtype.is_floating_point else torch.float16

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
        """Return the packs for these requests, without touching the model."""
        return self._plan(requests, build_rows(requests, self.max_length))

    def _plan(self, requests: Sequence[TokenRequest], rows: Rows) -> Plan:
        return plan_packs(
            requests,
            rows,
            max_batch_tokens=self.max_batch_tokens,
            tree_tokens=self.attention.tree_tokens,
            attention_scale=self.attention.attention_scale,
            max_scored=self._max_scored,
            width_multiple=1 if self.device.type == "cpu" else 8,
        )

    def iter_packs(
        self,
        requests: Sequence[TokenRequest],
        plan: Plan | None = None,
        packs: Iterable[int] | None = None,
        budget_tokens: int | None = None,
    ) -> Iterator[PackResult]:
        """Yield each pack's scores as it is finished, in the order asked for.

        On an accelerator the next pack is launched before the results of the one before are fetched, so that it does
        not wait for the host.

        Args:
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
        rows = build_rows(requests, self.max_length)
        if plan is None:
            plan = self._plan(requests, rows)
        else:
            plan.check(requests)
        budget = Budget(budget_tokens or plan.largest_tokens)
        # A CPU has computed a pack when it is "launched": its results are handed over before the next one is begun.
        looks_ahead = self.device.type != "cpu"
        waiting: _Launched | None = None
        for index in range(len(plan.packs)) if packs is None else packs:
            launched = self._launch_pack(rows, index, plan.packs[index], budget)
            if waiting is not None:
                yield waiting.fetch()
            if looks_ahead:
                waiting = launched
            else:
                yield launched.fetch()
        if waiting is not None:
            yield waiting.fetch()

    def _launch_pack(self, rows: Rows, index: int, pack: Pack, budget: Budget) -> _Launched:
        """Run a pack, in as many parts as memory demands."""
        todo = [pack]
        parts: list[_Part] = []
        tokens = 0
        while todo:
            part = todo.pop(0)
            halves = split_pack(rows, part) if part.tokens > budget.tokens else [part]
            if len(halves) > 1:
                todo[:0] = halves
                continue
            try:
                parts.append(self._forward(lay_out(rows, part), part.is_causal))
                tokens += part.tokens
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error).splitlines()[0] if str(error) else type(error).__name__
            # Outside the handler: the exception holds the frames, and they hold the tensors.
            release_cache(self.device)
            halves = split_pack(rows, part)
            if len(halves) == 1:
                raise ModelError(
                    f"out of memory on {self.device} for one row of {part.width} tokens ({message}); "
                    "use a smaller dtype, a larger device or a smaller max_length"
                )
            budget.tokens = max(halves[0].tokens, part.tokens // 2)
            todo[:0] = halves
        return _Launched(index, parts, tokens, budget.tokens)

    @torch.inference_mode()
    def _forward(self, layout: Layout, is_causal: bool) -> _Part:
        inputs: dict[str, Any] = {"input_ids": self._to_device(layout.token), **self._options}
        if not is_causal:
            inputs["position_ids"] = self._to_device(layout.depth)
            inputs["attention_mask"] = self._mask(layout, inputs["position_ids"])
        select = self._to_device(layout.select)
        if self.attention.block_nodes and not is_causal:
            with BlockedAttention(layout, self.attention, self._mask_dtype, self.device) as blocks:
                logits = selected_logits(self.model, inputs, select)
            if not blocks.calls:
                raise NotBlockableError("its attention does not use scaled_dot_product_attention")
        else:
            logits = selected_logits(self.model, inputs, select)
        pair_select = torch.from_numpy(layout.pair_select).to(logits.device)
        pair_target = torch.from_numpy(layout.pair_target).to(logits.device)
        logprobs, greedy = token_scores(logits, pair_select, pair_target)
        return _Part(layout, logprobs, greedy)

    def _to_device(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def _mask(self, layout: Layout, depth: torch.Tensor) -> Any:
        """Return what the model takes as ``attention_mask`` for this layout; ``forest.visible`` on the device."""
        if self.attention.block_nodes:
            full, near = (BlockedAttention.marker(kind, self._mask_dtype, self.device) for kind in (False, True))
            if self.attention.per_layer:
                return {"full_attention": full, "sliding_attention": near}
            return full if self.attention.window is None else near
        node = torch.arange(layout.end.shape[1], device=self.device)
        end = self._to_device(layout.end)
        sees = (node[None, None, :] <= node[None, :, None]) & (node[None, :, None] < end[:, None, :])
        if self.attention.window is None:
            return self._as_given(sees, sees)
        return self._as_given(sees, sees & (depth[:, :, None] - depth[:, None, :] < self.attention.window))

    def _as_given(self, sees: torch.Tensor, near: torch.Tensor) -> Any:
        """Return additive masks [trees, 1, width, width] of boolean ones, by kind of layer where kinds are mixed."""
        dtype = self._mask_dtype
        if self.attention.per_layer:
            return {"full_attention": _additive(sees, dtype), "sliding_attention": _additive(near, dtype)}
        return _additive(near, dtype)


def _additive(sees: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
    return mask.masked_fill_(~sees, torch.finfo(dtype).min).unsqueeze(1)


@dataclass(frozen=True)
class _Part:
    """Token scores of one forward pass, still on the device."""

    layout: Layout
    logprobs: torch.Tensor  # [pairs]
    greedy: torch.Tensor  # [pairs]


@dataclass(frozen=True)
class _Launched:
    """A pack whose forward passes have been issued."""

    index: int
    parts: list[_Part]
    tokens: int
    budget_tokens: int

    def fetch(self) -> PackResult:
        """Wait for the device and add up the tokens of each request, in float64."""
        requests: list[int] = []
        logprobs: list[float] = []
        greedy: list[bool] = []
        for part in self.parts:
            count = len(part.layout.requests)
            member = part.layout.pair_request
            sums = np.bincount(member, weights=part.logprobs.cpu().numpy().astype(np.float64), minlength=count)
            misses = np.bincount(member, weights=~part.greedy.cpu().numpy(), minlength=count)
            requests += part.layout.requests
            logprobs += sums.tolist()
            greedy += (misses == 0).tolist()
        return PackResult(
            self.index,
            tuple(requests),
            tuple(logprobs),
            tuple(greedy),
            len(self.parts),
            self.tokens,
            self.budget_tokens,
        )
