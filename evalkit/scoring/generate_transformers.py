"""Generation by transformers' own loop, for what ``generate.Generator`` does not do.

That is: models whose cache that loop cannot drive (recurrent states, caches of their own), and settings that it does
not know (beams, penalties that a task asks for). The text is the same function of the tokens there as here
(``completion``), and so is the search for stop strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from evalkit.errors import ConfigError, ModelError, first_line
from evalkit.scoring.company import Company, company_of, padded
from evalkit.scoring.memory import model_device, vocabulary_size
from evalkit.scoring.parts import Budget, halved, in_parts
from evalkit.scoring.rotary import Rotary
from evalkit.scoring.sampling import choose
from evalkit.scoring.schedule import GenerationRow, check_room
from evalkit.scoring.stopping import EndWatch, Stopping

LEAST_TEMPERATURE = 1e-30
"""transformers divides in float32, which has no smaller numbers to divide by; by this one draws are greedy already."""


_READ_THE_PROMPT = frozenset(
    {"min_length", "no_repeat_ngram_size", "repetition_penalty", "bad_words_ids", "guidance_scale"}
)
"""Settings whose processors of transformers take the padding before a shorter prompt for its tokens."""


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


class _Choice(LogitsProcessor):  # type: ignore[misc]
    """Leaves only the token that a row's request makes of the logits, and gives it to the row."""

    def __init__(self, row: GenerationRow, on_token: Callable[[int], None] | None) -> None:
        self._row, self._on_token = row, on_token

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        row = self._row
        text = (*row.prompt_ids, *row.generated)
        (token,), (is_finite,) = choose(scores, [row.request], [len(row.generated)], [text])
        row.generated.append(token)
        row.has_failed = row.has_failed or not is_finite
        if self._on_token is not None:
            self._on_token(token)
        return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([token], device=scores.device), 0.0)


class _Ends(StoppingCriteria):  # type: ignore[misc]
    """Ends each row where its watch says so."""

    def __init__(self, watches: list[EndWatch]) -> None:
        self._watches = watches
        self._is_done = [False] * len(watches)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        for k, token in enumerate(input_ids[:, -1].tolist()):
            self._is_done[k] = self._is_done[k] or self._watches[k].push(token)
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
        rows: greatest number of rows of a batch; fewer where memory runs out.
        think_end: text or id of the token that ends a model's thinking; the text begins after the last one.

    Raises:
        ConfigError: max_new_tokens leaves no room for a prompt.
        ModelError: a single row does not fit into memory.
    """
    texts: list[str | None] = [None] * len(wishes)
    groups: dict[str, list[int]] = {}
    for index, wish in enumerate(wishes):
        check_room(wish.max_new_tokens, max_length)
        _check_ids(wish.settings, vocabulary_size(model))
        groups.setdefault(repr((wish.until, wish.max_new_tokens, sorted(wish.settings.items()))), []).append(index)
    stopping, budget = Stopping(model, tokenizer), Budget(rows)

    def run(batch: list[int]) -> list[tuple[int, str | None]]:
        with rotary.fresh(max(map(tokens, batch))):
            found = _batch(model, tokenizer, [wishes[index] for index in batch], stopping, max_length, think_end)
        return list(zip(batch, found, strict=True))

    rotary = Rotary(model)

    def tokens(index: int) -> int:
        wish = wishes[index]
        return min(len(wish.prompt_ids), max_length - wish.max_new_tokens) + wish.max_new_tokens

    company = (
        company_of(model, max_length, _padding(model, tokenizer, stopping))
        if len(wishes) > 1 and rows > 1
        else Company.NONE
    )
    for group in groups.values():
        takes_padding = company is Company.ANY and _READ_THE_PROMPT.isdisjoint(
            key for key, value in wishes[group[0]].settings.items() if value is not None
        )
        group.sort(key=lambda index: (-len(wishes[index].prompt_ids), wishes[index].prompt_ids, index))
        while group:
            size = min(budget.size, len(group)) if company is not Company.NONE else 1
            if not takes_padding:
                longest = len(wishes[group[0]].prompt_ids)
                size = next((k for k in range(size) if len(wishes[group[k]].prompt_ids) != longest), size)
            if rotary.is_long(tokens(group[0])):
                size = 1
            batch, group = group[:size], group[size:]
            for done in in_parts(
                batch,
                run,
                size=len,
                halves=halved,
                name=lambda part: f"one prompt of {len(wishes[part[0]].prompt_ids)} tokens",
                budget=budget,
                device=model_device(model),
            ):
                for index, text in done:
                    texts[index] = text
    return texts


def _padding(model: Any, tokenizer: Any, stopping: Stopping) -> int:
    """Return the token before shorter prompts; a tokenizer may have one that the model lacks."""
    known, padding = vocabulary_size(model), tokenizer.pad_token_id
    if padding is not None and padding < known:
        return int(padding)
    return min((end for end in stopping.end_ids if end < known), default=0)


def _check_ids(settings: Mapping[str, Any], vocabulary: int) -> None:
    """Refuse ids of tokens that the model lacks; transformers fails on some, and does nothing of others."""
    for key in ("bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_eos_token_id"):
        given = settings.get(key)
        ids = given if isinstance(given, (list, tuple)) else [] if given is None else [given]
        flat = [one for item in ids for one in (item if isinstance(item, (list, tuple)) else [item])]
        if (wrong := next((one for one in flat if one >= vocabulary), None)) is not None:
            raise ConfigError(f"generation_kwargs: {key}: {wrong}, but this model's tokens end at {vocabulary - 1}")


@torch.inference_mode()
def _batch(
    model: Any,
    tokenizer: Any,
    wishes: Sequence[Wish],
    stopping: Stopping,
    max_length: int,
    think_end: str | int | None,
) -> list[str | None]:
    first, ends = wishes[0], stopping.end_ids
    prompts = [wish.prompt_ids[-(max_length - first.max_new_tokens) :] for wish in wishes]
    padding = _padding(model, tokenizer, stopping)
    ids, mask = padded(prompts, padding, model_device(model))
    width = ids.shape[1]
    look = _Look(len(prompts))
    # Beams change places while they grow, so that only finished ones are looked at.
    has_beams = int(first.settings.get("num_beams") or 1) > 1
    watches = [stopping.watch(prompt, first.until, first.max_new_tokens) for prompt in prompts]
    try:
        whole = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=first.max_new_tokens,
            eos_token_id=sorted(ends) or None,
            pad_token_id=padding,
            use_cache=True,
            logits_processor=LogitsProcessorList([look]),
            stopping_criteria=StoppingCriteriaList([] if has_beams else [_Ends(watches)]),
            **first.settings,
        )
    except (ValueError, IndexError, OverflowError) as error:
        # Settings that each may be so, but not together, or not of this model.
        said = ", ".join(f"{key}: {value}" for key, value in first.settings.items() if value not in (None, False))
        if not said:
            raise ModelError(f"transformers' own generate fails with this model: {first_line(error)}") from error
        raise ConfigError(f"generation_kwargs ({said}): transformers refuses: {first_line(error)}") from error
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):  # what torch.multinomial says of NaN
            raise
        if len(wishes) == 1:
            return [None]
        # Only requests alone tell which of them it is.
        return [text for wish in wishes for text in _batch(model, tokenizer, [wish], stopping, max_length, think_end)]
    texts: list[str | None] = []
    for k, prompt in enumerate(prompts):
        new = whole[k, width:].tolist()
        if has_beams:
            any(watches[k].push(token) for token in new)  # up to the end that it finds
        new = new[: watches[k].count]
        texts.append(_text(stopping, first.until, prompt, new, think_end) if look.is_finite[k] else None)
    return texts


@torch.inference_mode()
def generate_row(
    model: Any, row: GenerationRow, stopping: Stopping, on_token: Callable[[int], None] | None = None
) -> None:
    """Generate a row alone, the model being run as transformers' ``generate`` runs it; the tokens are chosen as ever.

    Some models compute all of a row anew when it becomes longer than their rotary embeddings' first length
    (``rotary``); their own code for ``generate`` says when.

    Args:
        model: a transformers causal language model in evaluation mode.
        row: is begun anew; its ``generated`` is filled in.
        stopping: the ends of the model's texts.
        on_token: is given each token as soon as it is known.
    """
    row.begin()
    ids = torch.tensor([row.prompt_ids], device=model_device(model))
    watch = stopping.watch(row.prompt_ids, row.request.until, row.request.max_new_tokens)
    ends = sorted(stopping.end_ids)
    with Rotary(model).fresh(row.tokens):
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=row.request.max_new_tokens,
            eos_token_id=ends or None,
            pad_token_id=min(ends, default=0),
            use_cache=True,
            logits_processor=LogitsProcessorList([_Choice(row, on_token)]),
            stopping_criteria=StoppingCriteriaList([_Ends([watch])]),
            do_sample=False,
        )
    row.is_finished = True


def _text(
    stopping: Stopping, until: Sequence[str], prompt: Sequence[int], new: list[int], think_end: str | int | None
) -> str:
    decoder = stopping.decoder
    if isinstance(think_end, int) and think_end in new:
        start = len(new) - new[::-1].index(think_end)
        text = decoder.added(decoder.end_of([*prompt, *new[:start]]), new[start:]).lstrip()
    else:
        text = decoder.completion(prompt, new)
        if isinstance(think_end, str) and think_end:
            text = text.split(think_end)[-1].lstrip()
    return stopping.cut(text, until)
