"""What generation is tried with when a model is loaded: prompts, how many tokens, and how far results may lie apart."""

from __future__ import annotations

import random
from typing import Any

import torch

from evalkit.scoring.attention import LONGEST_WINDOW
from evalkit.scoring.memory import text_config, vocabulary_size

PROBE_TOKENS = 8
"""Tokens that a probe generates of each prompt."""
_TOLERANCE = 1e-3
_TOLERANCE_HALF = 0.05 * PROBE_TOKENS
"""Rounding alone, of half-precision logits, in the log-probability of the probe's tokens together."""


def allowed(model: Any) -> float:
    """Return by how much the log-probability of the probe's tokens together may differ between two ways, in nats."""
    return _TOLERANCE if model.dtype in (torch.float32, torch.float64) else _TOLERANCE_HALF


def probe_prompts(model: Any, max_length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return two random prompts that begin alike and exceed a sliding window that is short enough."""
    rng = random.Random(0)
    vocabulary = vocabulary_size(model)
    window = int(getattr(text_config(model), "sliding_window", None) or 0)
    room = max_length - PROBE_TOKENS
    length = max(1, min(room, 24 + (window if window <= LONGEST_WINDOW else 0)))
    first = tuple(rng.randrange(vocabulary) for _ in range(length))
    other = first[: max(1, length - 4)] + tuple(rng.randrange(vocabulary) for _ in range(2))
    return first, other[-room:]
