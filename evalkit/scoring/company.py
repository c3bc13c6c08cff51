"""With which rows a row may share a batch of transformers' own loop, so that its text depends on none of them."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch

from evalkit.out_of_memory import raise_what_is_no_answer
from evalkit.scoring.memory import model_device
from evalkit.scoring.probe import PROBE_TOKENS, allowed, probe_prompts
from evalkit.scoring.rotary import Rotary


class Company(enum.Enum):
    """With which rows a row may share a batch so that its text is its own."""

    ANY = "any"
    OF_ITS_LENGTH = "of its length"
    NONE = "none"


_companies: WeakKeyDictionary[Any, Company] = WeakKeyDictionary()


def company_of(model: Any, max_length: int, padding: int) -> Company:
    """Return with which rows a row may share a batch of transformers' ``generate``; tried once a model.

    A recurrent state reads the padding, and some models say neither that they have one nor that they take no mask,
    or make one of their own of the ids.

    Args:
        model: a transformers causal language model in evaluation mode.
        max_length: the model's context length in tokens.
        padding: the token before shorter prompts.
    """
    if model not in _companies:
        _companies[model] = _tried_company(model, max_length, padding)
    return _companies[model]


@torch.inference_mode()
def _tried_company(model: Any, max_length: int, padding: int) -> Company:
    if max_length <= PROBE_TOKENS + 1:
        return Company.NONE  # no room to try
    first, other = probe_prompts(model, max_length)
    short = first[: max(1, len(first) // 4)]
    with Rotary(model).fresh(len(first) + PROBE_TOKENS):
        alone = {prompt: _logprobs(model, [prompt], padding)[0] for prompt in (first, other, short)}

        def agree(prompts: Sequence[tuple[int, ...]]) -> bool:
            try:
                found = _logprobs(model, prompts, padding)
            except Exception as error:  # whatever the model's code raises of a batch
                raise_what_is_no_answer(error)
                return False
            return all(
                _differ(alone[prompt], row) <= allowed(model) for prompt, row in zip(prompts, found, strict=True)
            )

        if not getattr(model, "_is_stateful", False) and agree([first, short]):
            return Company.ANY
        equal = [first, other] if len(first) == len(other) else [first, first]
        return Company.OF_ITS_LENGTH if agree(equal) else Company.NONE


def _differ(alone: list[tuple[int, float]], beside: list[tuple[int, float]]) -> float:
    """Return by how much the log-probabilities of a row's tokens differ, in nats, as far as the tokens are the same."""
    worst = 0.0
    for (token, value), (other, found) in zip(alone, beside, strict=False):  # an end token may have ended one
        worst = max(worst, abs(value - found)) if not math.isnan(value - found) else math.inf
        if token != other:
            break
    return worst


def _logprobs(model: Any, prompts: Sequence[tuple[int, ...]], padding: int) -> list[list[tuple[int, float]]]:
    """Return of each prompt the likeliest tokens that follow it, one after another, and their log-probabilities."""
    ids, mask = padded(prompts, padding, model_device(model))
    found = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=PROBE_TOKENS,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=padding,
        use_cache=True,
        output_logits=True,
        return_dict_in_generate=True,
    )
    steps = [torch.log_softmax(logits.float(), dim=-1).max(dim=-1) for logits in found.logits]
    rows = range(len(prompts))
    return [[(int(step.indices[row]), float(step.values[row])) for step in steps] for row in rows]


def padded(prompts: Sequence[tuple[int, ...]], padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids, shape [rows, longest prompt], with padding before shorter ones, and the mask that leaves it out."""
    width = max(map(len, prompts))
    ids = [[padding] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
