"""Rotary embeddings that change with the length of what the model is given: ``longrope`` (``su``), ``dynamic``.

Beyond the length that such a model was first trained at, all its positions are turned by other angles, and which, the
longest row of a batch decides. ``dynamic`` also keeps the angles of the longest row that it ever saw until one below
that length comes. So rows that may become so long are run alone, with nothing kept from the one before; rows that stay
below share batches with their like, and their numbers are what they are for any model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from evalkit.scoring.head import call_options
from evalkit.scoring.memory import model_device, text_config

CHANGING = frozenset({"longrope", "su", "dynamic"})


def rotary_length(config: Any) -> int | None:
    """Return the most tokens of a row whose rotary embeddings do not depend on how long it is; None: any number.

    Args:
        config: of the text decoder. Its kinds of layers may each have embeddings of their own.
    """
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))] if isinstance(rope, dict) else []
    own = getattr(config, "original_max_position_embeddings", None)
    lengths = [
        int(kind.get("original_max_position_embeddings") or own or config.max_position_embeddings)
        for kind in kinds
        if str(kind.get("rope_type", kind.get("type", ""))) in CHANGING
    ]
    return min(lengths, default=None)


class Rotary:
    """A model's rotary embeddings.

    Args:
        model: a causal language model in evaluation mode.

    Attributes:
        length: see `rotary_length`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.length = rotary_length(text_config(model))

    def is_long(self, tokens: int) -> bool:
        """Whether a row of so many tokens must be run alone."""
        return self.length is not None and tokens > self.length

    @contextmanager
    def fresh(self, tokens: int) -> Iterator[None]:
        """Run a row of so many tokens as if none had come before, and leave nothing to those that come after."""
        if not self.is_long(tokens):
            yield
            return
        self._forget()
        try:
            yield
        finally:
            self._forget()

    @torch.inference_mode()
    def _forget(self) -> None:
        """Give the model a row below the length, at which ``dynamic`` begins anew."""
        token = torch.zeros((1, 1), dtype=torch.long, device=model_device(self._model))
        self._model(input_ids=token, **call_options(self._model))
