"""Logits of the wanted positions only, and log-probabilities from them.

The output layer of a causal model turns every position into a vector of the vocabulary's size; only the positions
that predict a continuation's token are wanted. ``logits_to_keep`` exists in some versions of transformers, under two
names, and takes the same positions for all rows of a batch. A forward pre-hook on the output layer works everywhere:
it passes on the wanted positions, and whatever the model does after the layer (scaling, soft caps) sees only them.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F

_SOFTMAX_ROWS_CPU = 32
"""Rows of logits whose log-softmax is taken at once: a few MiB, so that they stay in the processor's cache."""

_SOFTMAX_ROWS = 512
"""The same on an accelerator: few launches, and still little beside the logits themselves."""


def call_options(model: Any) -> dict[str, Any]:
    """Return the keyword arguments that keep a model from building a cache, where its forward takes them."""
    parameters = inspect.signature(model.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return {"use_cache": False} if takes_any or "use_cache" in parameters else {}


def selected_logits(model: Any, inputs: dict[str, Any], select: torch.Tensor) -> torch.Tensor:
    """Run a causal model and return the logits of some positions.

    Args:
        model: a transformers causal language model, or anything that is called like one.
        inputs: keyword arguments of the call; ``input_ids`` is [batch, length].
        select: [n] flat positions (batch row * length + position), on the model's device.

    Returns:
        [n, vocabulary], in the model's dtype.
    """
    seen: list[torch.Size] = []

    def pick(_module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        hidden = args[0] if args else None
        if not isinstance(hidden, torch.Tensor) or hidden.shape[:2] != inputs["input_ids"].shape:
            return None
        seen.append(hidden.shape)
        wanted = hidden.reshape(-1, hidden.shape[-1]).index_select(0, select.to(hidden.device))
        return (wanted.unsqueeze(0), *args[1:])

    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    hook = head.register_forward_pre_hook(pick) if isinstance(head, torch.nn.Module) else None
    try:
        logits: torch.Tensor = model(**inputs).logits
    finally:
        if hook is not None:
            hook.remove()
    if seen:
        return logits.reshape(-1, logits.shape[-1])
    return logits.reshape(-1, logits.shape[-1]).index_select(0, select.to(logits.device))


def token_scores(
    logits: torch.Tensor, pair_select: torch.Tensor, pair_target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-probability (nats, float32) and greedy flag of each (position, token) pair.

    Half-precision logits are widened to float32 first. Ties of the maximum go to the lower token id, as in argmax.

    Args:
        logits: [n, vocabulary].
        pair_select: [pairs] row of ``logits`` for each pair.
        pair_target: [pairs] token ids.

    Returns:
        Two tensors [pairs].
    """
    size = _SOFTMAX_ROWS_CPU if logits.device.type == "cpu" else _SOFTMAX_ROWS
    logprobs = torch.empty(len(pair_select), dtype=torch.float32, device=logits.device)
    greedy = torch.empty(len(pair_select), dtype=torch.bool, device=logits.device)
    # Pairs in the order of their rows, so that each chunk of rows owns one slice of them.
    order = torch.argsort(pair_select, stable=True)
    chunk_of_pair = (pair_select[order] // size).cpu()
    counts = torch.bincount(chunk_of_pair, minlength=-(-len(logits) // size)).tolist()
    for chunk, (rows, pairs) in enumerate(zip(torch.split(logits, size), torch.split(order, counts), strict=True)):
        row, target = pair_select[pairs] - chunk * size, pair_target[pairs]
        logprobs[pairs] = F.log_softmax(rows, dim=-1, dtype=torch.float32)[row, target]
        greedy[pairs] = rows.argmax(dim=-1)[row] == target
    return logprobs, greedy
