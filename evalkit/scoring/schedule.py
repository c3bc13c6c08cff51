"""The rows: which are read, in what order, which go on. Token ids only, no torch.

Equal requests are one row. The longest prompts come first, so that those together are of similar length. Equal prompts
are read once, and so is what prompts begin with in common; a row that is finished leaves, and with slots the next takes
its place at once (`Flow`), else the batch gets smaller (`Batch`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

from evalkit.errors import ConfigError
from evalkit.scoring.requests import GenerationRequest

Item = TypeVar("Item")

READ_TOKENS = 128
"""A prompt in a slot is read in parts of so many tokens; what prompts have in common is shared in whole parts."""

SHORTEST_SHARED_PREFIX = 16
"""Fewer common tokens are not worth a forward pass of their own."""


@dataclass(eq=False)
class GenerationRow:
    """A completion in the making.

    Attributes:
        request: what is wanted.
        prompt_ids: the prompt's tokens, cut to what fits.
        indices: the requests that get this completion.
        generated: tokens so far, an end token included.
        has_failed: the model's logits after them were not finite.
        is_finished: nothing more is generated.
    """

    request: GenerationRequest
    prompt_ids: tuple[int, ...]
    indices: list[int]
    generated: list[int] = field(default_factory=list)
    has_failed: bool = False
    is_finished: bool = False

    @property
    def tokens(self) -> int:
        """The most that it can become, prompt included."""
        return len(self.prompt_ids) + self.request.max_new_tokens

    def begin(self) -> None:
        """Forget what was generated; begin anew."""
        self.generated.clear()
        self.has_failed = False
        self.is_finished = False


def check_room(max_new_tokens: int, max_length: int) -> None:
    """Raise ConfigError unless a context of ``max_length`` tokens has room for a prompt beside the new ones."""
    if max_new_tokens >= max_length:
        raise ConfigError(
            f"max_new_tokens {max_new_tokens} leaves no room for a prompt in the model's {max_length} tokens; lower it"
        )


def make_rows(
    requests: Sequence[GenerationRequest], encoded: Mapping[str, tuple[int, ...]], max_length: int
) -> list[GenerationRow]:
    """Return the completions to be made, the longest prompts first; equal requests share one.

    Args:
        requests: any number, in any order.
        encoded: each prompt's tokens; its last ones are kept where the context has no place for all.
        max_length: the model's context length in tokens.

    Raises:
        ConfigError: max_new_tokens leaves no room for a prompt.
    """
    # Equal greedy requests have equal answers; sampled ones differ by their sample number.
    jobs: dict[GenerationRequest, list[int]] = {}
    for index, request in enumerate(requests):
        check_room(request.max_new_tokens, max_length)
        jobs.setdefault(request, []).append(index)
    rows = [
        GenerationRow(request, encoded[request.prompt][-(max_length - request.max_new_tokens) :], indices)
        for request, indices in jobs.items()
    ]
    return sorted(rows, key=lambda row: (-len(row.prompt_ids), row.prompt_ids, row.request.sample))


@dataclass(frozen=True)
class Reading:
    """How the prompts of a batch are read.

    Attributes:
        prefix: what all of them begin with, read once; may be empty.
        ids: [distinct prompts][length] what is left of each, never empty; zeros to the left of shorter ones, so that
            all end together.
        mask: [distinct prompts][length] 1 for tokens, 0 for padding.
        places: for each prompt of the batch, which of the distinct ones it is.
    """

    prefix: tuple[int, ...]
    ids: list[list[int]]
    mask: list[list[int]]
    places: list[int]


def plan_reading(prompts: Sequence[tuple[int, ...]], *, shares_prefix: bool = True) -> Reading:
    """Say how the prompts of a batch are read, each distinct one once.

    Args:
        prompts: one or more, none empty.
        shares_prefix: False where padding between prefix and rest would matter.
    """
    place = {prompt: k for k, prompt in enumerate(dict.fromkeys(prompts))}
    distinct = list(place)
    common = _common_prefix(distinct) if len(distinct) > 1 and shares_prefix else 0
    if common < SHORTEST_SHARED_PREFIX:
        common = 0
    longest = max(map(len, distinct))
    return Reading(
        prefix=distinct[0][:common],
        ids=[[0] * (longest - len(prompt)) + list(prompt[common:]) for prompt in distinct],
        mask=[[0] * (longest - len(prompt)) + [1] * (len(prompt) - common) for prompt in distinct],
        places=[place[prompt] for prompt in prompts],
    )


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    return next(
        (k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def in_families(items: Sequence[Item], text: Callable[[Item], Any], shared: int) -> list[Item]:
    """Return items in the order in which slots take them.

    Those whose texts begin with so much in common follow one another, depth first: what a text has in common with any
    before it, it has in common with the one right before it. These families come by their longest text.

    Args:
        items: rows, or what becomes one; equal texts stay in their order.
        text: of an item, token ids or characters.
        shared: so many tokens or characters in common, or all of them, make a family.
    """
    families: list[list[Item]] = []
    for item in sorted(items, key=text):
        before = text(families[-1][-1]) if families else None
        if before is not None and (before == text(item) or common_prefix(before, text(item)) >= shared):
            families[-1].append(item)
        else:
            families.append([item])
    families.sort(key=lambda family: -max(len(text(item)) for item in family))
    return [item for family in families for item in family]


def _common_prefix(prompts: Sequence[tuple[int, ...]]) -> int:
    """Return how many leading tokens all prompts share, less one: each prompt keeps a token of its own."""
    first, last = min(prompts), max(prompts)
    shortest = min(map(len, prompts))
    common = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), shortest)
    return min(common, shortest - 1)


class Batch:
    """Rows that are generated together.

    Attributes:
        active: those that go on, in the order in which the model has them.
    """

    def __init__(self, rows: Sequence[GenerationRow]) -> None:
        for row in rows:
            row.begin()
        self.active = list(rows)

    def leave(self) -> list[int] | None:
        """Let the finished rows go; returns the places of the others among those before, None where all stay."""
        kept = [k for k, row in enumerate(self.active) if not row.is_finished]
        if len(kept) == len(self.active):
            return None
        self.active = [self.active[k] for k in kept]
        return kept


class Flow:
    """Rows in slots: a waiting row takes the place of one that is finished.

    Attributes:
        active: those in slots 0, 1, 2 ..., without gaps.
    """

    def __init__(self, waiting: Iterable[GenerationRow], slots: int) -> None:
        self._waiting = iter(waiting)
        self.slots = slots
        self.active: list[GenerationRow] = []

    def join(self) -> Iterator[tuple[int, GenerationRow]]:
        """Let waiting rows join while there is a slot for them; yields each with its slot."""
        while len(self.active) < self.slots and (row := next(self._waiting, None)) is not None:
            row.begin()
            self.active.append(row)
            yield len(self.active) - 1, row

    def leave(self) -> Iterator[tuple[GenerationRow, int, int]]:
        """Let the finished rows go; yields each with its slot, and the slot of the row that moves there.

        The last row moves into the gap, so that one row is moved for one that leaves, at most. Slots are equal where
        there was no gap.
        """
        slot = 0
        while slot < len(self.active):
            row = self.active[slot]
            if not row.is_finished:
                slot += 1
                continue
            last = len(self.active) - 1
            self.active[slot] = self.active[last]
            self.active.pop()
            yield row, slot, last

    def start_again(self, given: Sequence[GenerationRow] = ()) -> None:
        """Put the rows in slots back to those that wait, before them, but for those whose texts were given."""
        done = set(map(id, given))
        self._waiting = chain([row for row in self.active if id(row) not in done], self._waiting)
        self.active = []
