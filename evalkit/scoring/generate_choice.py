"""Choose who generates: evalkit's loop where it agrees with the plain scorer, else transformers, with the reason."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from evalkit.out_of_memory import raise_what_is_no_answer
from evalkit.scoring.generate import Generator
from evalkit.scoring.packs import score
from evalkit.scoring.plain import PlainScorer
from evalkit.scoring.probe import PROBE_TOKENS, allowed, probe_prompts
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
    model: Any,
    tokenizer: Any,
    *,
    max_length: int,
    add_special_tokens: bool | None = False,
    prepacks: bool | None = None,
) -> tuple[Generator | None, str]:
    """Return a generator for a loaded model, or None where transformers' own loop must be used, and the reason."""
    reason = unsupported(model)
    if reason is not None:
        return None, reason
    found = ""
    for uses_slots in (True, False):
        generator = Generator(
            model,
            tokenizer,
            max_length=max_length,
            add_special_tokens=add_special_tokens,
            uses_slots=uses_slots,
            prepacks=prepacks,
        )
        if uses_slots != generator.uses_slots:
            continue
        try:
            # Longer rows are left to transformers, one by one.
            most = min(max_length, generator.rotary.length or max_length)
            difference = probe_slots(generator, most) if uses_slots else probe_steps(generator.runner, most)
            if uses_slots and not generator.is_invariant and generator.runner.device.type == "cpu":
                generator.one_thread = torch.get_num_threads() > 1
                if generator.one_thread:
                    difference = probe_slots(generator, most)
                    generator.one_thread = generator.is_invariant
        except Exception as error:
            raise_what_is_no_answer(error)
            # Whatever else the model's code raises means that it cannot be driven in this way.
            line = str(error).strip().splitlines()[0] if str(error).strip() else ""
            found = f"the model's cache does not work here ({type(error).__name__}: {line[:160]})"
            continue
        if difference <= allowed(model):
            return generator, f"agrees with plain rows on the probe to {difference:.2g} nats"
        found = f"generated tokens differ by {difference:.2g} nats from plain rows on the probe"
    return None, found


_PROBE_MATES = 17
"""Rows beside the one that is looked at; with it no multiple of four."""
_PROBE_DRAFTED = 45
"""Tokens of a draft beside it."""


@torch.inference_mode()
def probe_steps(runner: ModelRunner, max_length: int) -> float:
    """Generate a little from random prompts and return how far the plain scorer disagrees, in nats.

    The prompts differ in length, share a prefix, repeat, and exceed a sliding window that is short enough.
    """
    first, other = probe_prompts(runner.model, max_length)
    worst = 0.0
    for prompts in ([first, other, first], [first, first[: len(first) // 3 + 1]]):
        state, logits = runner.read(prompts, max(map(len, prompts)) + PROBE_TOKENS)
        totals = torch.zeros(len(prompts), device=runner.device)
        generated: list[list[int]] = []
        for _ in range(PROBE_TOKENS):
            logprobs, tokens = torch.log_softmax(logits.float(), dim=-1).max(dim=-1)
            totals += logprobs
            generated.append(tokens.tolist())
            logits = runner.step(state, None, generated[-1])
        texts = [tuple(text) for text in zip(*generated, strict=True)]
        worst = _worse(worst, difference(runner.model, max_length, prompts, texts, totals.tolist()))
    return worst


@torch.inference_mode()
def probe_slots(generator: Generator, max_length: int) -> float:
    """Do the same in slots, rows joining one by one; sets ``is_invariant`` where company changes no bit of a row, and
    ``drafts`` where drafts change none either.

    Rows are generated among few and among many, beside shorter and longer ones, and after a prompt that begins alike.
    """
    model, device = generator.runner.model, generator.runner.device
    first, other = probe_prompts(model, max_length)
    short = first[: len(first) // 3 + 1]
    seen: list[torch.Tensor] = []
    found: list[tuple[list[tuple[int, ...]], list[tuple[int, ...]], list[float]]] = []
    with generator.prepacked.used():
        for prompts in ([first, other, short], [first], [*[short] * _PROBE_MATES, first, other]):
            slots = generator.new_slots(len(prompts), max(map(len, prompts)) + PROBE_TOKENS)
            logits = torch.stack([slots.read(slot, prompt) for slot, prompt in enumerate(prompts)])
            totals = torch.zeros(len(prompts), device=device)
            generated: list[list[int]] = []
            mine = []
            for step in range(PROBE_TOKENS):
                mine.append(logits[prompts.index(first)])
                logprobs, tokens = torch.log_softmax(logits.float(), dim=-1).max(dim=-1)
                totals += logprobs
                generated.append(tokens.tolist())
                logits = slots.step(generated[-1], [len(prompt) + step for prompt in prompts])
            seen.append(torch.stack(mine))
            if len(seen) == 1 or not torch.equal(seen[0], seen[-1]):
                texts = [tuple(text) for text in zip(*generated, strict=True)]
                found.append((prompts, texts, totals.tolist()))
        generator.is_invariant = all(torch.equal(seen[0], again) for again in seen[1:])
        prompts, texts, _ = found[0]
        generator.drafts = generator.is_invariant and _can_draft(generator, max_length, prompts, texts, seen[0])
    worst = 0.0
    for prompts, texts, sums in found:
        worst = _worse(worst, difference(model, max_length, prompts, texts, sums))
    return worst


def _can_draft(
    generator: Generator,
    max_length: int,
    prompts: Sequence[tuple[int, ...]],
    texts: Sequence[tuple[int, ...]],
    seen: torch.Tensor,
) -> bool:
    """Return whether the first row's logits are the same bits where its tokens are drafted.

    Args:
        generator: with slots.
        max_length: the model's context length in tokens.
        prompts, texts: the rows, and what was generated for each.
        seen: [new tokens, vocabulary] the first row's logits, a token a step.
    """
    lengths, half = [len(prompt) for prompt in prompts], PROBE_TOKENS // 2
    # Beside it a long draft that is wrong, so that there are many tokens; its own is wrong in the end.
    room = min(_PROBE_DRAFTED, max_length - lengths[1] - 1) if len(prompts) > 1 else 0
    drafts = [[*texts[0][1:half], texts[0][half - 1]], [texts[0][0]] * room, *([] for _ in prompts[2:])]
    slots = generator.new_slots(len(prompts), max(lengths) + PROBE_TOKENS + _PROBE_DRAFTED)
    if not slots.takes_drafts or min(room, half - 1) < 1:
        return False
    for slot, prompt in enumerate(prompts):
        slots.read(slot, prompt)
    try:
        first = slots.step([text[0] for text in texts], lengths, drafts)
        later = [length + half for length in lengths]
        second = slots.step([text[half] for text in texts], later, [texts[0][half + 1 :]])
    except Exception as error:
        raise_what_is_no_answer(error)
        # Attention that is not scaled_dot_product_attention, or is called otherwise: whatever the code raises then.
        return False
    rows = len(prompts)
    found = [first[:1], first[rows : rows + half - 1], second[:1], second[rows:]]
    return torch.equal(torch.cat(found)[: PROBE_TOKENS - 1], seen[1:])


def difference(
    model: Any,
    max_length: int,
    prompts: Sequence[tuple[int, ...]],
    texts: Sequence[tuple[int, ...]],
    totals: Sequence[float],
) -> float:
    """Return how far the plain scorer's log-probabilities of texts are from ``totals`` at most."""
    requests = [TokenRequest(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    expected = score(PlainScorer(model, max_length=max_length), requests)
    worst = 0.0
    for total, (logprob, _) in zip(totals, expected, strict=True):
        worst = _worse(worst, abs(total - logprob))
    return worst


def _worse(first: float, second: float) -> float:
    """Return the greater difference; a NaN is passed on."""
    return max(first, second, key=lambda value: (value != value, value))
