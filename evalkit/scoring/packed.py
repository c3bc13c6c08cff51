"""Scores the prefix forest of all requests: one forward pass a pack, the tree structure as attention mask.

What is passed to the model: ``input_ids`` and ``position_ids`` (the depth in the tree), both [trees, width], and an
additive mask [trees, 1, width, width] that is 0 where a node sees another and the dtype's minimum elsewhere.
transformers takes such a mask as it stands for the eager and sdpa implementations of most models; whether this model
does is checked by ``choice.choose_scorer``, never assumed. A pack whose trees are single rows needs no mask. On a CPU
the mask is not made at all where the model's attention can be computed in blocks (``blocks.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evalkit.scoring.attention import Attention, attention_of
from evalkit.scoring.blocks import BlockedAttention, NotBlockableError
from evalkit.scoring.forest import Layout, Pack, TokenRows, build_rows, lay_out
from evalkit.scoring.head import call_options, selected_logits, token_scores
from evalkit.scoring.memory import batch_tokens, max_scored_positions, model_device
from evalkit.scoring.packs import Scored
from evalkit.scoring.plan import PackPlan, plan_packs
from evalkit.scoring.requests import TokenRequest
from evalkit.scoring.rotary import Rotary


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
        self._rotary = Rotary(model)
        # Quantised models may report an integer dtype; their activations are half precision.
        self._mask_dtype = model.dtype if model.dtype.is_floating_point else torch.float16

    def rows(self, requests: Sequence[TokenRequest]) -> TokenRows:
        """Return the forest's rows, in the order of their tokens."""
        return build_rows(requests, self.max_length)

    def plan(self, requests: Sequence[TokenRequest], rows: TokenRows | None = None) -> PackPlan:
        """Return the packs for these requests, without touching the model."""
        return plan_packs(
            requests,
            self.rows(requests) if rows is None else rows,
            max_batch_tokens=self.max_batch_tokens,
            tree_tokens=self.attention.tree_tokens,
            attention_scale=self.attention.attention_scale,
            max_scored=self._max_scored,
            width_multiple=1 if self.device.type == "cpu" else 8,
        )

    def launch(self, rows: TokenRows, pack: Pack) -> Callable[[], Scored]:
        """Start one forward pass over a pack; what is returned waits for its scores."""
        with self._rotary.fresh(pack.width if pack.is_causal else 0):
            return self._forward(lay_out(rows, pack), pack.is_causal).fetch

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

    def fetch(self) -> Scored:
        """Wait for the device and add up the tokens of each request, in float64."""
        count = len(self.layout.requests)
        member = self.layout.pair_request
        sums = np.bincount(member, weights=self.logprobs.cpu().numpy().astype(np.float64), minlength=count)
        misses = np.bincount(member, weights=~self.greedy.cpu().numpy(), minlength=count)
        return Scored(self.layout.requests, sums.tolist(), (misses == 0).tolist())
