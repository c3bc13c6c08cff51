"""Generation by transformers' own loop, for what ``generate.Generator`` does not do.

That is: models whose cache that loop cannot drive (recurrent states, caches of their own), and settings that it does
not know (beams, penalties that a task asks for). The text is the same function of the tokens there as here
(``completion``), and so is the search for stop strings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from evalkit.errors import ConfigError
from evalkit.scoring.completion import Decoder, Stream, first_stop
from evalkit.scoring.generate import end_ids, end_text, stop_strings
from evalkit.scoring.memory import model_device


@dataclass(frozen=True)
class Wish:
    """One completion that is wanted.

    Attributes:
        prompt_ids: the prompt's tokens, not empty, not yet cut to the context.
        until: stop strings, in the order in which they are applied.
        max_new_tokens: greatest number of tokens generated.
        settings: further arguments of transformers' ``generate``, such as ``do_sample`` and ``temperature``.
    """

    prompt_ids: tuple[int, ...]
    until: tuple[str, ...]
    max_new_tokens: int
    settings: Mapping[str, Any]


class _Look(LogitsProcessor):  # type: ignore[misc]  # transformers has no type information here
    """Changes no logits; notes which rows had a maximum that is no finite number (that of a row with NaN is NaN)."""

    def __init__(self, rows: int) -> None:
        self.is_finite = torch.ones(rows, dtype=torch.bool)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        finite = torch.isfinite(scores.amax(dim=-1)).cpu()
        self.is_finite &= finite.view(len(self.is_finite), -1).all(dim=1)
        return scores


class _Stops(StoppingCriteria):  # type: ignore[misc]
    """Ends each row at its first stop string or end token."""

    def __init__(self, streams: list[Stream], stops: list[str], ends: frozenset[int]) -> None:
        self._streams, self._stops, self._ends = streams, stops, ends
        self.counts = [0] * len(streams)
        self._is_done = [False] * len(streams)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        for k, token in enumerate(input_ids[:, -1].tolist()):
            if not self._is_done[k]:
                self.counts[k] += 1
                self._is_done[k] = self._streams[k].push(token, self._stops) or token in self._ends
        return torch.tensor(self._is_done, device=input_ids.device)


def generate(
    model: Any,
    tokenizer: Any,
    wishes: Sequence[Wish],
    *,
    max_length: int,
    rows: int,
    think_end: str | int | None = None,
) -> list[str | None]:
    """Return the completions, in order; None where the model's logits were not finite.

    Args:
        model: a transformers causal language model in evaluation mode.
        tokenizer: its tokenizer.
        wishes: any number, of any settings.
        max_length: the model's context length in tokens.
        rows: greatest number of rows of a batch.
        think_end: text or id of the token that ends a model's thinking; the text begins after the last one.

    Raises:
        ConfigError: max_new_tokens leaves no room for a prompt.
    """
    texts: list[str | None] = [None] * len(wishes)
    groups: dict[str, list[int]] = {}
    for index, wish in enumerate(wishes):
        if wish.max_new_tokens >= max_length:
            raise ConfigError(
                f"max_new_tokens {wish.max_new_tokens} leaves no room for a prompt in the model's {max_length} tokens; "
                "lower it"
            )
        groups.setdefault(repr((wish.until, wish.max_new_tokens, sorted(wish.settings.items()))), []).append(index)
    # A recurrent state would read the padding.
    is_stateful = bool(getattr(model, "_is_stateful", False))
    for group in groups.values():
        group.sort(key=lambda index: (-len(wishes[index].prompt_ids), wishes[index].prompt_ids, index))
        while group:
            size = min(rows, len(group))
            if is_stateful:
                longest = len(wishes[group[0]].prompt_ids)
                size = next((k for k in range(size) if len(wishes[group[k]].prompt_ids) != longest), size)
            batch, group = group[:size], group[size:]
            found = _batch(model, tokenizer, [wishes[index] for index in batch], max_length, think_end)
            for index, text in zip(batch, found, strict=True):
                texts[index] = text
    return texts


@torch.inference_mode()
def _batch(
    model: Any, tokenizer: Any, wishes: Sequence[Wish], max_length: int, think_end: str | int | None
) -> list[str | None]:
    first = wishes[0]
    decoder, ends = Decoder(tokenizer), end_ids(model, tokenizer)
    stops = stop_strings(first.until, end_text(tokenizer))
    prompts = [wish.prompt_ids[-(max_length - first.max_new_tokens) :] for wish in wishes]
    width = max(map(len, prompts))
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0)
    device = model_device(model)
    ids = torch.tensor([[padding] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    look = _Look(len(prompts))
    # Beams change places while they grow, so that only finished ones are looked at.
    has_beams = int(first.settings.get("num_beams") or 1) > 1
    criteria = _Stops([Stream(decoder, prompt) for prompt in prompts], stops, ends)
    try:
        whole = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=first.max_new_tokens,
            eos_token_id=sorted(ends) or None,
            pad_token_id=padding,
            use_cache=True,
            logits_processor=LogitsProcessorList([look]),
            stopping_criteria=StoppingCriteriaList([] if has_beams else [criteria]),
            **first.settings,
        )
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):  # what torch.multinomial says of NaN
            raise
        if len(wishes) == 1:
            return [None]
        # Only requests alone tell which of them it is.
        return [text for wish in wishes for text in _batch(model, tokenizer, [wish], max_length, think_end)]
    texts: list[str | None] = []
    for k, prompt in enumerate(prompts):
        new = whole[k, width:].tolist()
        if not has_beams:
            new = new[: criteria.counts[k]]
        last = next((place for place, token in enumerate(new) if token in ends), len(new))
        new = new[: last + 1]
        texts.append(_text(decoder, prompt, new, stops, think_end) if look.is_finite[k] else None)
    return texts


def _text(
    decoder: Decoder, prompt: Sequence[int], new: list[int], stops: Sequence[str], think_end: str | int | None
) -> str:
    if isinstance(think_end, int) and think_end in new:
        start = len(new) - new[::-1].index(think_end)
        return first_stop(decoder.added(decoder.end_of([*prompt, *new[:start]]), new[start:]).lstrip(), stops)
    text = decoder.completion(prompt, new)
    if isinstance(think_end, str) and think_end:
        text = text.split(think_end)[-1].lstrip()
    return first_stop(text, stops)
