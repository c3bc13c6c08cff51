"""How many tokens fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from evalkit.scoring.host_memory import available_bytes

LOGIT_BYTES = {"cpu": 256 << 20}
"""Ceiling for the logits of one pack by device type; ``LOGIT_BYTES_DEFAULT`` elsewhere."""
LOGIT_BYTES_DEFAULT = 2 << 30

BATCH_TOKENS = {"cpu": 4096}
"""Ceiling for the tokens of one pack by device type, measured (docs/performance.md); more gains nothing."""
BATCH_TOKENS_DEFAULT = 16384


def free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes, or None where it cannot be asked."""
    if device.type == "cpu":
        return available_bytes()
    backend = getattr(torch, device.type, None)
    if backend is None or not hasattr(backend, "mem_get_info"):
        return None
    try:
        free, _total = backend.mem_get_info(device)
    except (RuntimeError, TypeError, ValueError):
        return None
    return int(free)


def model_device(model: Any) -> torch.device:
    """Return the device that the model's inputs belong on."""
    embeddings = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    weight = getattr(embeddings, "weight", None)
    device = weight.device if isinstance(weight, torch.Tensor) else getattr(model, "device", "cpu")
    return torch.device(device)


def text_config(model: Any) -> Any:
    """Return the part of the model's configuration that describes its text decoder."""
    config = model.config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def cache_token_bytes(model: Any) -> int:
    """Return what a token's keys and values take in all layers, in bytes: four a number, whatever the dtype."""
    config = text_config(model)
    heads = int(getattr(config, "num_attention_heads", 0) or 32)
    kept_heads = int(getattr(config, "num_key_value_heads", 0) or heads)
    # Wider than their share of the hidden states in Gemma and Qwen3; of layers that differ, the widest.
    layer_configs = getattr(config, "per_layer_config", None) or [config]
    own = max(int(getattr(layer, "head_dim", 0) or 0) for layer in layer_configs)
    width = own or int(getattr(config, "hidden_size", 0) or 4096) // heads
    layers = int(getattr(config, "num_hidden_layers", 0) or 32)
    return layers * kept_heads * width * 2 * 4


def vocabulary_size(model: Any) -> int:
    """Return the number of logits a position has (padding of the vocabulary included)."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    weight = getattr(head, "weight", None)
    size = int(weight.shape[0]) if isinstance(weight, torch.Tensor) and weight.dim() == 2 else 0
    return max(size, int(getattr(text_config(model), "vocab_size", 0) or 0), 1)


def max_scored_positions(model: Any, device: torch.device) -> int:
    """Return how many positions of a pack may have logits.

    The logits and their float32 log-softmax exist at once, so two times four bytes a logit are reckoned with.
    """
    ceiling = LOGIT_BYTES.get(device.type, LOGIT_BYTES_DEFAULT)
    free = free_bytes(device)
    usable = ceiling if free is None else min(ceiling, free // 8)
    return max(64, usable // (8 * vocabulary_size(model)))


def batch_tokens(model: Any, device: torch.device, token_bytes: float | None = None) -> int:
    """Return the token budget of a pack: a power of two that fits into a third of the free memory.

    Args:
        model: the model.
        device: where it is.
        token_bytes: what a position needs, as ``measure_token_bytes`` found; None: reckoned. A position needs its
            hidden states, the widest intermediate of a layer and its keys and values at the same time; twelve
            hidden vectors and four intermediates of four bytes are reckoned with.
    """
    config = text_config(model)
    hidden = int(getattr(config, "hidden_size", 0) or 4096)
    inner = int(getattr(config, "intermediate_size", 0) or 4 * hidden)
    ceiling = BATCH_TOKENS.get(device.type, BATCH_TOKENS_DEFAULT)
    free = free_bytes(device)
    if free is None:
        return ceiling
    fits = free / 3 / (token_bytes or 4.0 * (12 * hidden + 4 * inner))
    budget = 256
    while budget * 2 <= min(ceiling, fits):
        budget *= 2
    return budget


def measure_token_bytes(device: torch.device, run: Callable[[], int]) -> float | None:
    """Return the memory that a position needs during a forward pass, in bytes.

    Args:
        device: where ``run`` computes.
        run: does a forward pass and returns its number of positions.

    Returns:
        None where the device keeps no such figures (a CPU does not).
    """
    backend = getattr(torch, device.type, None)
    needed = ("reset_peak_memory_stats", "max_memory_allocated", "memory_allocated")
    if device.type == "cpu" or backend is None or not all(hasattr(backend, name) for name in needed):
        return None
    backend.reset_peak_memory_stats()
    before = int(backend.memory_allocated())
    tokens = run()
    used = int(backend.max_memory_allocated()) - before
    return used / tokens if used > 0 and tokens > 0 else None
