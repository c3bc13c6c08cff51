"""The rows of a batch: which are read, in what order, which go on. Token ids only, no torch.

Equal requests are one row. The longest prompts come first, so that a batch's are of similar length. Of a batch, equal
prompts are read once, and so is what all of them begin with; a row leaves when it is finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.errors import ConfigError
from evalkit.scoring.requests import GenerationRequest

SHORTEST_SHARED_PREFIX = 16
"""Fewer common tokens are not worth a forward pass of their own."""


@dataclass(eq=False)
class Row:
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
) -> list[Row]:
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
        Row(request, encoded[request.prompt][-(max_length - request.max_new_tokens) :], indices)
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

    def __init__(self, rows: Sequence[Row]) -> None:
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
