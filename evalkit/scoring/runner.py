"""The model with its keys and values: reads prompts, then a token a step."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from evalkit.scoring.head import selected_logits
from evalkit.scoring.memory import cache_token_bytes, free_bytes, model_device, text_config
from evalkit.scoring.schedule import plan_reading

CACHE_BYTES = 1 << 30
"""Keys and values of a batch where the free memory is not known or larger than four times this."""


class State:
    """Keys and values of a batch.

    Attributes:
        cache: transformers' cache.
        mask: [rows, length] 1 for tokens, 0 for padding; None before the first token.
    """

    def __init__(self) -> None:
        from transformers import DynamicCache

        self.cache = DynamicCache()
        self.mask: torch.Tensor | None = None

    def keep(self, rows: torch.Tensor) -> None:
        """Keep these rows, in this order; a row may be kept several times."""
        self.cache.reorder_cache(rows)
        if self.mask is not None:
            self.mask = self.mask.index_select(0, rows)


class ModelRunner:
    """Runs a model over rows that grow.

    Args:
        model: a transformers causal language model in evaluation mode that takes a mask and a cache.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = model_device(model)
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    def rows_that_fit(self, tokens: int) -> int:
        """Return how many rows of so many tokens, new ones included, a batch may have; at least one."""
        free = free_bytes(self.device)
        usable = CACHE_BYTES if free is None else free // 4
        # Twice: the cache is copied when rows leave.
        return max(1, usable // (tokens * cache_token_bytes(self.model) * 2))

    def read(self, prompts: Sequence[tuple[int, ...]], tokens: int) -> tuple[State, torch.Tensor]:
        """Run the prompts of a batch, each distinct one once.

        Args:
            prompts: token ids of each row, none empty.
            tokens: the most that a row can become, prompt included.

        Returns:
            The state after them and the logits [rows, vocabulary], one row for each prompt.
        """
        window = getattr(text_config(self.model), "sliding_window", None)
        # The padding between prefix and rest would count as distance.
        reading = plan_reading(prompts, shares_prefix=window is None or tokens <= window)
        state = State()
        if reading.prefix:
            prefix = self._tensor([reading.prefix])
            self.forward(state, prefix, torch.ones_like(prefix))
            state.keep(torch.zeros(len(reading.ids), dtype=torch.long, device=self.device))
        logits = self.forward(state, self._tensor(reading.ids), self._tensor(reading.mask))
        places = self._tensor(reading.places)
        state.keep(places)
        return state, logits.index_select(0, places)

    def step(self, state: State, kept: Sequence[int] | None, tokens: Sequence[int]) -> torch.Tensor:
        """Run a token of each row and return the logits [rows, vocabulary] after it.

        Args:
            state: of all rows so far; is extended.
            kept: the rows that go on; None: all of them.
            tokens: one for each row that goes on.
        """
        if kept is not None:
            state.keep(self._tensor(kept))
        ids = self._tensor([[token] for token in tokens])
        return self.forward(state, ids, torch.ones_like(ids))

    def forward(self, state: State, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run tokens on top of the state and return the logits [rows, vocabulary] after the last of each row.

        Args:
            state: keys and values of what came before; is extended.
            ids: [rows, new] token ids.
            mask: [rows, new] 1 for tokens, 0 for padding.
        """
        state.mask = mask if state.mask is None else torch.cat([state.mask, mask], dim=1)
        inputs: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": state.mask,
            "past_key_values": state.cache,
            "use_cache": True,
        }
        if self._takes_positions:
            positions = (state.mask.cumsum(dim=1) - 1).clamp_(min=0)
            inputs["position_ids"] = positions[:, -ids.shape[1] :]
        last = torch.arange(1, len(ids) + 1, device=self.device) * ids.shape[1] - 1
        return selected_logits(self.model, inputs, last)

    def _tensor(self, values: Sequence[Any]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long).to(self.device)
