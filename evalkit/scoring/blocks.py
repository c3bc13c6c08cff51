"""Attention over a tree in blocks: each block of nodes looks only at its ancestors and itself.

A dense mask makes attention quadratic in the tree's size although a node sees its ancestors only, a path of some
hundred nodes in a tree of thousands. Here the nodes of a tree, which lie depth first, are taken in blocks of
consecutive nodes; what a block can see is the path to its first node and the block itself. One small attention with
exactly these keys a block costs nodes times depth, so that a whole pack can be one tree, without padding.

The model's code is left alone: while the mode is entered, ``torch.nn.functional.scaled_dot_product_attention`` is
answered from here. In place of a mask the model is given ``marker`` tensors, which say whether a layer is windowed;
a call that carries anything else is refused, and the probe then uses dense masks for this model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from evalkit.scoring.attention import Attention
from evalkit.scoring.forest import Ints, Layout


class NotBlockableError(RuntimeError):
    """The model does not do its attention through scaled_dot_product_attention with the mask that it was given."""


@dataclass(frozen=True)
class _Block:
    """Queries [start, stop) of one tree, and what they see.

    Attributes:
        keys: a slice where the visible nodes are consecutive, else their indices.
        mask: [1, 1, queries, keys], additive.
        near: the same with the sliding window, or None without one.
    """

    row: int
    start: int
    stop: int
    keys: slice | torch.Tensor
    mask: torch.Tensor
    near: torch.Tensor | None


def block_starts(depth: Ints, size: int) -> list[int]:
    """Cut the nodes into blocks of half to one and a half times ``size``, each cut where the tree is shallowest.

    Args:
        depth: [nodes] depth of each node of one tree.
        size: wanted number of nodes of a block.

    Returns:
        The blocks' first nodes, beginning with 0.
    """
    starts = [0]
    while len(depth) - starts[-1] > size + size // 2:
        low = starts[-1] + size // 2
        starts.append(low + int(depth[low : low + size + 1].argmin()))
    return starts


class BlockedAttention(TorchFunctionMode):
    """Answers scaled_dot_product_attention for one layout.

    Args:
        layout: a pack's arrays.
        attention: block size and sliding window.
        dtype: of the masks; the model's.
        device: of the model.
    """

    def __init__(self, layout: Layout, attention: Attention, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.calls = 0
        self._shape = layout.token.shape
        self._blocks: list[_Block] = []
        for row in range(len(layout.token)):
            depth, end = layout.depth[row], layout.end[row]
            starts = block_starts(depth, attention.block_nodes)
            for start, stop in zip(starts, [*starts[1:], len(depth)], strict=True):
                ancestors = np.flatnonzero(end[:start] > start)
                keys = np.concatenate([ancestors, np.arange(start, stop)])
                queries = np.arange(start, stop)
                sees = (keys[None, :] <= queries[:, None]) & (queries[:, None] < end[keys][None, :])
                near = None
                if attention.window is not None:
                    is_near = depth[queries][:, None] - depth[keys][None, :] < attention.window
                    near = _additive(sees & is_near, dtype, device)
                is_run = keys[-1] - keys[0] + 1 == len(keys)
                self._blocks.append(
                    _Block(
                        row=row,
                        start=start,
                        stop=stop,
                        keys=slice(int(keys[0]), stop) if is_run else torch.from_numpy(keys).to(device),
                        mask=_additive(sees, dtype, device),
                        near=near,
                    )
                )

    @staticmethod
    def marker(is_windowed: bool, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Return what the model is given as mask: its last dimension tells the kind of layer."""
        return torch.zeros(1, 1, 1, 2 if is_windowed else 1, dtype=dtype, device=device)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass on everything but scaled_dot_product_attention."""
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        return self._attend(*args, **(kwargs or {}))

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> torch.Tensor:
        is_marker = attn_mask is not None and attn_mask.shape[:3] == (1, 1, 1) and attn_mask.shape[3] in (1, 2)
        is_whole = (query.shape[0], query.shape[2]) == self._shape and key.shape[2] == query.shape[2]
        if not is_marker or not is_whole or is_causal or dropout_p:
            raise NotBlockableError("its attention was given something else than the mask")
        assert attn_mask is not None
        is_windowed = attn_mask.shape[3] == 2
        self.calls += 1
        out = torch.empty(*query.shape[:3], value.shape[3], dtype=query.dtype, device=query.device)
        for block in self._blocks:
            row = slice(block.row, block.row + 1)
            if isinstance(block.keys, slice):
                keys, values = key[row, :, block.keys], value[row, :, block.keys]
            else:
                keys, values = key[row].index_select(2, block.keys), value[row].index_select(2, block.keys)
            out[row, :, block.start : block.stop] = F.scaled_dot_product_attention(
                query[row, :, block.start : block.stop],
                keys,
                values,
                attn_mask=block.near if is_windowed else block.mask,
                **options,
            )
        return out


def _additive(sees: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    mask = torch.zeros(1, 1, *sees.shape, dtype=dtype)
    return mask.masked_fill_(~torch.from_numpy(np.asarray(sees)), torch.finfo(dtype).min).to(device)
