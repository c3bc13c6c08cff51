"""Is this a causal model that gives numbers? One forward pass over two short rows, before the work.

Log-likelihoods are read from the logits of the token before, and mean nothing where those know the tokens after: a
bidirectional model (a BERT whose configuration does not say that it is a decoder) would look its answers up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch

from evalkit.scoring.head import call_options
from evalkit.scoring.memory import model_device, text_config

_LENGTH = 12
_SAME = 8
"""Tokens of a row, and how many of them both rows have in common."""

_SHARE = 1e-3
"""Rounding may change logits before the changed tokens by this share of what changes at these."""
_SHARE_HALF = 1e-2
"""The same in half precision."""

_POSITIONS = ("n_positions", "max_position_embeddings", "n_ctx", "max_seq_len")


@dataclass(frozen=True)
class Soundness:
    """What one forward pass shows of a model.

    Attributes:
        has_numbers: no logit is NaN.
        is_causal: later tokens leave earlier logits as they are; True where there are no numbers to tell by.
    """

    has_numbers: bool
    is_causal: bool


@torch.no_grad()
def soundness(model: Any, rows: int, max_length: int) -> Soundness:
    """Run two rows that differ in their last tokens alone.

    Args:
        model: a causal language model in evaluation mode, on its device.
        rows: token ids below this one are used.
        max_length: the context's tokens; rows are no longer.
    """
    length = max(2, min(_LENGTH, max_length))
    same = min(_SAME, length - 1)
    step = max(1, rows // (2 * length + 1))
    first = [(1 + k) * step % rows for k in range(length)]
    second = first[:same] + [(1 + length + k) * step % rows for k in range(length - same)]
    ids = torch.tensor([first, second], device=model_device(model))
    logits = model(input_ids=ids, **call_options(model)).logits.float()
    # A padded vocabulary's rows may be at minus infinity, which is a number.
    if bool(torch.isnan(logits).any()):
        return Soundness(False, True)
    finite = logits.clamp(-1e30, 1e30)
    change = (finite[0] - finite[1]).abs()
    share = _SHARE if getattr(model, "dtype", torch.float32) in (torch.float32, torch.float64) else _SHARE_HALF
    return Soundness(True, bool(change[:same].max() <= share * change[same:].max()))


def positions(model: Any) -> tuple[int, bool] | None:
    """Return how many positions a model was made for, and whether it has none beyond (a table); None: it says none."""
    config = text_config(model)
    count = next((value for name in _POSITIONS if isinstance(value := getattr(config, name, None), int)), None)
    if count is None or count < 1:
        return None
    # `wpe` of GPT-2, `embed_positions` of OPT (a module) and GPT-J (a buffer), `position_embeddings` of BERT.
    pattern = re.compile(r"(^|[._])(wpe|pos_emb|embed_positions|position_embeddings?)$")
    tables = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Embedding)]
    tables += [name for name, buffer in model.named_buffers() if buffer.dim() >= 2]
    return count, any(pattern.search(name) for name in tables)
