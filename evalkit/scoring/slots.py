"""The model with its keys and values in slots: rows join and leave while others go on, and nothing is copied for it.

Every row has a slot of its own, in which its text begins at position 0. So what a row's numbers are does not depend on
how long its neighbours are, and three further rules make them independent of what shares the batch, to the bit, where
the processor's kernels allow (``generate_choice`` tries it):

- A prompt is read alone, in parts that end at multiples of ``READ_TOKENS``. What is computed of a prefix is then the
  same whether it is computed or copied from the slot of another row that begins with it.
- How many places attention shows a token depends on the token's own place (``slot_attention``); those that its row has
  not filled are masked.
- A step has at least two rows: products of a matrix with one vector have kernels of their own.

Where several threads share a step's attention by then still makes a difference, one computes it (``one_thread``).

A slot is a view of one tensor a layer, [slots, heads, places, width]: a step writes one place of each row instead of
copying all, as growing tensors are.
"""

from __future__ import annotations

import inspect
import math
import mmap
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import transformers.cache_utils

from evalkit.scoring.attention import attention_of
from evalkit.scoring.head import selected_logits
from evalkit.scoring.memory import model_device, text_config
from evalkit.scoring.rotary import rotary_length
from evalkit.scoring.schedule import READ_TOKENS, common_prefix
from evalkit.scoring.slot_attention import StepAttention, parts_of, whole

# Before caches were lists of layers there is nothing to derive from, and `why_no_slots` says so.
CacheLayerMixin: Any = getattr(transformers.cache_utils, "CacheLayerMixin", object)


def why_no_slots(model: Any) -> str | None:
    """Return why a model can't be run over slots, as far as can be known without running it."""
    if CacheLayerMixin is object:
        return "this version of transformers has no layers of caches"
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return "the model's forward takes no position_ids"
    config = text_config(model)
    if rotary_length(config) is not None:
        return "the model's positions change with the longest row of a batch"
    if getattr(config, "attention_chunk_size", None):
        return "the model's attention looks at chunks"
    return None


class _Window:
    """Which slots and places a forward pass writes and sees.

    Attributes:
        slots, places: of how many tensors are made.
        first, count: slots [first, first + count) take part.
        start: place of the first new token, where one slot takes part with consecutive places.
        at: [count] place of each slot's new token; None: consecutive places of one slot.
        length: places that are seen.
    """

    def __init__(self, slots: int, places: int) -> None:
        self.slots, self.places = slots, places
        self.first = self.count = self.start = self.length = 0
        self.at: torch.Tensor | None = None
        self.rows: torch.Tensor | None = None


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # see above
    """Keys and values of one layer."""

    is_sliding = False
    is_compileable = False

    def __init__(self, window: _Window) -> None:
        super().__init__()
        self._window = window

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make the tensors. Zeros: what is masked must be numbers, since nought times none is none."""
        window = self._window
        self.keys, self.values = (
            zeros((window.slots, new.shape[1], window.places, new.shape[3]), new) for new in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new keys and values [rows, heads, new, width]; returns all that are seen."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        window = self._window
        if window.at is None:
            places = slice(window.start, window.start + key_states.shape[2])
            self.keys[window.first, :, places] = key_states[0]
            self.values[window.first, :, places] = value_states[0]
        else:
            self.keys[window.rows, :, window.at] = key_states[:, :, 0]
            self.values[window.rows, :, window.at] = value_states[:, :, 0]
        seen = slice(window.first, window.first + window.count)
        return self.keys[seen, :, : window.length], self.values[seen, :, : window.length]

    def get_seq_length(self, *_: Any) -> int:
        """Return how many places come before the new tokens."""
        return self._window.start

    def get_mask_sizes(self, query_length: Any) -> tuple[int, int]:
        """Return how many keys a mask is for, and which the first is."""
        new = query_length if isinstance(query_length, int) else int(query_length.shape[0])
        return self._window.start + new, 0

    def get_max_length(self) -> int:
        """Return -1: models need not know."""
        return -1

    get_max_cache_shape = get_max_length


def zeros(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Return zeros of the dtype and on the device of a tensor; on a CPU pages that were never written take no memory.

    Slots are as long as the longest text may become, and most texts end early. ``torch.zeros`` writes everything.

    Raises:
        MemoryError: not even the addresses can be had.
    """
    size = math.prod(shape) * like.element_size()
    if like.device.type != "cpu" or not hasattr(mmap, "MAP_ANONYMOUS") or not size:
        return like.new_zeros(shape)
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"{size} bytes of keys and values: {error.strerror}") from error
    return torch.frombuffer(pages, dtype=like.dtype).view(shape)


class Slots:
    """Runs a model over rows in slots. Rows [0, n) are in use; who uses it says how many.

    Args:
        model: a transformers causal language model in evaluation mode.
        slots: greatest number of rows.
        tokens: the most that a row can become, prompt included.
        row_multiple: a step's rows are filled up to a multiple of it.
        fewest: a step has so many tokens at least; two or more.
        one_thread: the attention of a step is computed on one thread, its products on all.

    Attributes:
        takes_drafts: steps may have drafts, which make the number of their rows any.
    """

    def __init__(
        self,
        model: Any,
        slots: int,
        tokens: int,
        *,
        row_multiple: int = 1,
        fewest: int = 2,
        one_thread: bool = False,
    ) -> None:
        self.model = model
        self.device = model_device(model)
        self._attention = attention_of(model)
        self._dtype = model.dtype if model.dtype.is_floating_point else torch.float16
        self._multiple, self._fewest = row_multiple, fewest
        self._one_thread = one_thread
        # Drafts make the number of rows any.
        self.takes_drafts = row_multiple == 1
        rows = max(fewest, -(-slots // row_multiple) * row_multiple)
        # The last place is where the rows write that only fill a step up.
        self._places = whole(tokens + 1)
        self._window = _Window(rows, self._places)
        self._cache = transformers.cache_utils.Cache(layer_class_to_replicate=partial(_Layer, self._window))
        self._numbers = torch.arange(rows, device=self.device)
        self._all_places = torch.arange(self._places, device=self.device)
        # The prompt that was read last: where it is, its tokens, and the logits after it.
        self._last: tuple[int, tuple[int, ...], torch.Tensor] | None = None

    def read(self, slot: int, prompt: tuple[int, ...]) -> torch.Tensor:
        """Read a prompt into a slot, less what the last prompt has in common with it.

        Args:
            slot: which; what it had is lost.
            prompt: token ids, not empty.

        Returns:
            The logits [vocabulary] after it.
        """
        shared = 0
        if self._last is not None:
            source, before, logits = self._last
            if before == prompt:
                self.copy(source, slot, len(prompt))
                self._last = (slot, prompt, logits)
                return logits
            shared = common_prefix(before, prompt)
            shared = min(shared, len(prompt) - 1) // READ_TOKENS * READ_TOKENS
            self.copy(source, slot, shared)
        window = self._window
        window.first, window.count, window.at = slot, 1, None
        logits = torch.empty(0)
        for start in range(shared, len(prompt), READ_TOKENS):
            ids = self._tensor([prompt[start : start + READ_TOKENS]])
            stop = start + ids.shape[1]
            window.start, window.length = start, stop
            is_last = stop == len(prompt)
            inputs = {
                "input_ids": ids,
                "position_ids": torch.arange(start, stop, device=self.device)[None],
                "past_key_values": self._cache,
                "use_cache": True,
            }
            wanted = torch.tensor([ids.shape[1] - 1] if is_last else [], dtype=torch.long, device=self.device)
            logits = selected_logits(self.model, inputs, wanted)
        self._last = (slot, prompt, logits[0])
        return logits[0]

    def step(
        self, tokens: Sequence[int], lengths: Sequence[int], drafts: Sequence[Sequence[int]] | None = None
    ) -> torch.Tensor:
        """Run a token of each row, and drafts behind some, and return the logits [rows + drafted, vocabulary] after it.

        Whatever of a draft does not become part of its row is overwritten by later steps.

        Args:
            tokens: one for each row in use, those in slots 0, 1, 2 ...
            lengths: how many tokens each row had before it.
            drafts: for each row what may come after its token. Their logits come behind those of the rows, in their
                order.
        """
        window, count = self._window, len(tokens)
        drafted = sum(map(len, drafts or ()))
        rows = max(2, self._fewest - drafted, -(-count // self._multiple) * self._multiple)
        more = rows - count
        parts = parts_of(rows, lengths, drafts or ())
        ids, at, seen, owner = self._tensor(
            [
                [*tokens, *[0] * more, *(token for part in parts for token in part.tokens)],
                [*lengths, *[self._places - 1] * more, *(place for part in parts for place in part.places)],
                [*lengths, *[0] * more, *(place for part in parts for place in part.places)],
                [*range(rows), *(part.slot for part in parts for _ in part.tokens)],
            ]
        )
        furthest = max([*lengths, *(part.places[-1] for part in parts)])
        window.first, window.count, window.start = 0, rows, furthest
        window.at, window.rows = at, owner
        window.length = whole(furthest + 1)
        inputs = {
            "input_ids": ids[:, None],
            "position_ids": seen[:, None],
            "attention_mask": self._mask(seen, window.length),
            "past_key_values": self._cache,
            "use_cache": True,
        }
        everything = torch.arange(len(ids), device=self.device)
        wanted = everything[:count] if not parts else torch.cat([everything[:count], everything[rows:]])
        # On an accelerator a call more is a launch more.
        attention = StepAttention(
            [*(length + 1 for length in lengths), *[1] * more],
            parts,
            is_grouped=self.device.type == "cpu",
            one_thread=self._one_thread,
        )
        with attention.used():
            return selected_logits(self.model, inputs, wanted)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first places of a slot to another."""
        if source != target and length:
            for layer in self._cache.layers:
                for tensor in (layer.keys, layer.values):
                    tensor[target, :, :length] = tensor[source, :, :length]

    def move(self, source: int, target: int, length: int) -> None:
        """Move a row to another slot, which is free then."""
        self.copy(source, target, length)
        if self._last is not None and self._last[0] in (source, target):
            _, prompt, logits = self._last
            self._last = (target, prompt, logits) if self._last[0] == source else None

    def clear(self, slot: int, start: int = 0) -> None:
        """Forget what is in a slot from a place on: numbers that are none are kept out by no mask."""
        for layer in self._cache.layers:
            layer.keys[slot, :, start:].zero_()
            layer.values[slot, :, start:].zero_()
        if start == 0 and self._last is not None and self._last[0] == slot:
            self._last = None

    def _mask(self, at: torch.Tensor, length: int) -> Any:
        """Return the ``attention_mask`` [rows, 1, 1, length], one for each kind of layer where these differ."""
        places = self._all_places[:length]
        sees = places[None] <= at[:, None]
        if self._attention.window is None:
            return self._additive(sees)
        near = self._additive(sees & (at[:, None] - places[None] < self._attention.window))
        if self._attention.per_layer:
            return {"full_attention": self._additive(sees), "sliding_attention": near}
        return near

    def _additive(self, sees: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(sees.shape, dtype=self._dtype, device=self.device)
        return mask.masked_fill_(~sees, torch.finfo(self._dtype).min)[:, None, None]

    def _tensor(self, values: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long).to(self.device)
