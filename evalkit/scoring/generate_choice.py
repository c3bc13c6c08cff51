"""Choose who generates: evalkit's loop where it agrees with the plain scorer, else transformers, with the reason."""

from __future__ import annotations

import inspect
import random
from typing import Any

import torch

from evalkit.scoring.attention import LONGEST_WINDOW
from evalkit.scoring.generate import Generator
from evalkit.scoring.memory import text_config, vocabulary_size
from evalkit.scoring.packs import score
from evalkit.scoring.plain import PlainScorer
from evalkit.scoring.requests import TokenRequest
from evalkit.scoring.runner import ModelRunner


def unsupported(model: Any) -> str | None:
    """Return why generation must be left to transformers for this model, as far as can be known without running it."""
    if getattr(model, "_is_stateful", False):
        return "the model keeps a recurrent state instead of keys and values"
    if not getattr(model, "_supports_cache_class", True):
        return "this version of transformers keeps the model's cache as tuples"
    parameters = inspect.signature(model.forward).parameters
    if not {"attention_mask", "past_key_values"} <= set(parameters):
        return "the model's forward takes no attention_mask or past_key_values"
    return None


def choose_generator(
    model: Any, tokenizer: Any, *, max_length: int, add_special_tokens: bool | None = False
) -> tuple[Generator | None, str]:
    """Return a generator for a loaded model, or None where transformers' own loop must be used, and the reason."""
    reason = unsupported(model)
    if reason is not None:
        return None, reason
    generator = Generator(model, tokenizer, max_length=max_length, add_special_tokens=add_special_tokens)
    try:
        difference = probe(generator.runner, max_length)
    except Exception as error:
        # Whatever the model's code raises means that it cannot be driven in this way.
        line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        return None, f"the model's cache does not work here ({type(error).__name__}: {line[:160]})"
    allowed = _PROBE_TOLERANCE if model.dtype in (torch.float32, torch.float64) else _PROBE_TOLERANCE_HALF
    if not difference <= allowed:
        return None, f"generated tokens differ by {difference:.2g} nats from plain rows on the probe"
    return generator, f"agrees with plain rows on the probe to {difference:.2g} nats"


_PROBE_TOKENS = 8
_PROBE_TOLERANCE = 1e-3
_PROBE_TOLERANCE_HALF = 0.05 * _PROBE_TOKENS
"""Rounding alone, of half-precision logits, in the log-probability of the probe's tokens together."""


@torch.inference_mode()
def probe(runner: ModelRunner, max_length: int) -> float:
    """Generate a little from random prompts and return how far the plain scorer disagrees, in nats.

    The prompts differ in length, share a prefix, repeat, and exceed a sliding window that is short enough.
    """
    rng = random.Random(0)
    vocabulary = vocabulary_size(runner.model)
    window = int(getattr(text_config(runner.model), "sliding_window", None) or 0)
    room = max_length - _PROBE_TOKENS
    length = max(1, min(room, 24 + (window if window <= LONGEST_WINDOW else 0)))
    first = tuple(rng.randrange(vocabulary) for _ in range(length))
    other = first[: max(1, length - 4)] + tuple(rng.randrange(vocabulary) for _ in range(2))
    last_difference = 0.0
    for prompts in ([first, other[-room:], first], [first, first[: length // 3 + 1]]):
        state, logits = runner.read(prompts, max(map(len, prompts)) + _PROBE_TOKENS)
        totals = torch.zeros(len(prompts), device=runner.device)
        generated: list[list[int]] = []
        for _ in range(_PROBE_TOKENS):
            logprobs, tokens = torch.log_softmax(logits.float(), dim=-1).max(dim=-1)
            totals += logprobs
            generated.append(tokens.tolist())
            logits = runner.step(state, None, generated[-1])
        texts = zip(*generated, strict=True)
        requests = [TokenRequest(prompt, tuple(text)) for prompt, text in zip(prompts, texts, strict=True)]
        expected = score(PlainScorer(runner.model, max_length=max_length), requests)
        differences = [abs(a - b) for a, (b, _) in zip(totals.tolist(), expected, strict=True)]
        # Written so that a NaN is passed on.
        last_difference = max([last_difference, *differences], key=lambda value: (value != value, value))
    return last_difference
