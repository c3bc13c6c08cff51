"""Which mask a model should be given, read from its configuration. Whether it obeys is for the probe to find out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from evalkit.scoring.memory import model_device, text_config
from evalkit.scoring.rotary import rotary_length

TREE_TOKENS = 4096
"""Greatest tree. With dense masks the cost of attention keeps trees well below it."""

BLOCK_NODES = 128
"""Nodes of a block, more or less (it ends where the tree is shallow); measured, see docs/performance.md."""

LONGEST_WINDOW = 512
"""Windows up to this are probed with rows that exceed them."""


@dataclass(frozen=True)
class Attention:
    """How a model wants the mask.

    Attributes:
        block_nodes: size of the blocks of ``blocks.BlockedAttention``, a pack then being one tree; 0: dense masks.
        window: sliding window in tokens of the layers that have one, or None.
        per_layer: whether windowed and full layers are mixed, so that the model is given one mask for each kind.
        tree_tokens: greatest tree that is scored with a mask; longer rows use the model's own causal attention.
        attention_scale: see ``forest.cut_trees``; blocks cost no more in large trees, dense masks do.
    """

    block_nodes: int = 0
    window: int | None = None
    per_layer: bool = False
    tree_tokens: int = TREE_TOKENS
    attention_scale: float = math.inf


def attention_of(model: Any) -> Attention:
    """Read from the configuration which mask a model should be given.

    Sliding windows: a window in all layers goes into the mask; mixed layers get a mask each. Rotary embeddings that
    change with the length (``rotary``) and chunked attention: trees stay below the length at which
    they change, and longer rows are scored by the model's own causal attention.
    """
    config = text_config(model)
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False or (kinds and "sliding_attention" not in kinds):
        window = None
    limit = TREE_TOKENS
    limit = min(limit, rotary_length(config) or limit)
    chunk = getattr(config, "attention_chunk_size", None)
    if chunk:
        limit = min(limit, int(chunk))
    return Attention(
        window=None if window is None else int(window),
        per_layer=len(kinds) > 1 and window is not None,
        tree_tokens=limit,
        attention_scale=4.0 * int(getattr(config, "hidden_size", 0) or 1024),
    )


def attempts(model: Any) -> list[Attention]:
    """Return the ways of giving the mask that are worth trying, the fastest first.

    Blocks are for the CPU, where a small attention costs little more than its arithmetic; on an accelerator each is
    a kernel launch. Windows above ``LONGEST_WINDOW`` would make the probe cost too much, so that no tree reaches them.
    """
    attention = attention_of(model)
    if attention.window is None:
        dense = [attention]
    elif attention.window > LONGEST_WINDOW:
        dense = [limited(attention)]
    else:
        dense = [attention, limited(attention)]
    if model_device(model).type != "cpu":
        return dense
    return [replace(dense[0], block_nodes=BLOCK_NODES, attention_scale=math.inf), *dense]


def limited(attention: Attention) -> Attention:
    """Return the careful variant: no tree reaches the window, so that the window plays no part in the mask.

    Longer rows are trees of their own, for which the model's own causal attention is used.
    """
    assert attention.window is not None
    return replace(attention, window=None, per_layer=False, tree_tokens=min(attention.tree_tokens, attention.window))
