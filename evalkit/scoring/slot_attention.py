"""Attention of a step over slots (``slots``): each token looks at what is filled of its slot, and at little more.

How many places a token is shown depends on its own place alone. Those that are masked add nought, but MKL adds up in
another order where there are more of them (seen with four heads of queries to one of keys): shown as many as the
longest row of a step needs, a row's last bits depended on its neighbours, beyond what a short probe sees. And keys and
values are most of what a step with many rows reads.

``scaled_dot_product_attention`` is replaced by name for the time of a step, in the thread that steps. A
``TorchFunctionMode`` would do, but is asked about every function of torch: 8 ms in a step of 60 (SmolLM2-135M).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

PLACES = 64
"""A token is shown a multiple of so many places: with fewer, fewer rows share a call of the kernel."""


@dataclass(frozen=True)
class Part:
    """The draft of a row: its slot, its tokens, their places there, and where they are among a step's tokens."""

    slot: int
    tokens: Sequence[int]
    places: range
    rows: slice


def parts_of(rows: int, lengths: Sequence[int], drafts: Sequence[Sequence[int]]) -> list[Part]:
    """Return the drafts of a step, whose tokens come behind those of its rows."""
    found, start = [], rows
    for slot, draft in enumerate(drafts):
        if draft:
            first = lengths[slot] + 1
            places = range(first, first + len(draft))
            found.append(Part(slot, draft, places, slice(start, start + len(draft))))
            start += len(draft)
    return found


def whole(places: int) -> int:
    """Return how many places are seen where so many are needed."""
    return -(-places // PLACES) * PLACES


def groups_of(places: Sequence[int], start: int = 0) -> list[tuple[slice, int]]:
    """Return which neighbours are shown equally many places, and how many.

    Args:
        places: that each token needs.
        start: number of the first token.
    """
    found: list[tuple[slice, int]] = []
    for number, needed in enumerate(map(whole, places), start):
        if found and found[-1][1] == needed:
            found[-1] = (slice(found[-1][0].start, number + 1), needed)
        else:
            found.append((slice(number, number + 1), needed))
    return found


class StepAttention:
    """Answers ``scaled_dot_product_attention`` for a step, while `used`.

    The token of a draft is a query of its own, as it is without a draft, and so are its numbers: with several queries
    at once the kernels add up in another order.

    Args:
        places: that each row needs; the rows' tokens come first, each with the slot of its number.
        parts: the other tokens.
        is_grouped: False: one call for all rows, by the longest.
        one_thread: threads have buffers of different alignment, and MKL adds up in an order that depends on that: which
            thread has a row, and so its last bits, would change with the number of rows.
    """

    def __init__(self, places: Sequence[int], parts: Sequence[Part], *, is_grouped: bool, one_thread: bool) -> None:
        self._rows = len(places)
        self._tokens = parts[-1].rows.stop if parts else len(places)
        self._groups = groups_of(places) if is_grouped else [(slice(0, len(places)), whole(max(places)))]
        self._drafted = [
            (part.slot, *group)
            for part in parts
            for group in groups_of([place + 1 for place in part.places], part.rows.start)
        ]
        self._one_thread = one_thread and torch.get_num_threads() > 1

    @contextmanager
    def used(self) -> Iterator[None]:
        """Replace the function; what other threads ask of it is answered as always."""
        if len(self._groups) == 1 and not self._drafted and not self._one_thread:
            yield
            return
        attend, mine = F.scaled_dot_product_attention, threading.get_ident()

        def answer(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != mine:
                return attend(*args, **kwargs)
            return self._answer(attend, *args, **kwargs)

        F.scaled_dot_product_attention = answer
        try:
            yield
        finally:
            F.scaled_dot_product_attention = attend

    def _answer(self, attend: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._one_thread:
            return self._attention(attend, *args, **kwargs)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._attention(attend, *args, **kwargs)
        finally:
            torch.set_num_threads(threads)

    def _attention(
        self, attend: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **more: Any
    ) -> torch.Tensor:
        mask = args[0] if args else more.pop("attn_mask", None)
        is_over_slots = query.shape[0] == self._tokens and key.shape[0] == self._rows
        if not is_over_slots or mask is None or len(mask) != self._tokens:
            # Not over slots, or of a model that cannot have drafts then: it is for the probe to see what comes of it.
            given: torch.Tensor = attend(query, key, value, mask, *args[1:], **more)
            return given
        found = []
        for rows, places in self._groups:
            keys, values = key[rows, :, :places], value[rows, :, :places]
            found.append(attend(query[rows], keys, values, mask[rows, ..., :places], *args[1:], **more))
        for slot, rows, places in self._drafted:
            count = rows.stop - rows.start
            keys, values = (of[slot : slot + 1, :, :places].expand(count, -1, -1, -1) for of in (key, value))
            found.append(attend(query[rows], keys, values, mask[rows, ..., :places], *args[1:], **more))
        return torch.cat(found)
