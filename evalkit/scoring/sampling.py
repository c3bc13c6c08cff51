"""The next token of each row: the most probable one, or a numbered draw from the most probable ones.

A draw depends on the request (prompt, seed, number of the sample) and on the token's position only, whatever else is
in the batch and whoever generated before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from evalkit.scoring.requests import GenerationRequest

LIKELY = 64
"""So many of the most probable tokens are looked at before all are sorted."""

LEAST_TEMPERATURE = 1e-300
"""Smaller ones draw as this does, which is as in the limit: no two logits that differ are near enough for both to have
a probability above nought. A device that multiplies by the reciprocal would have infinity for it."""


def choose(
    logits: torch.Tensor,
    requests: Sequence[GenerationRequest],
    positions: Sequence[int],
    before: Sequence[Sequence[int]] = (),
) -> tuple[list[int], list[bool]]:
    """Return the next token of each row, and whether there is one: a row whose logits are not finite has none.

    Args:
        logits: [rows, vocabulary].
        requests: one a row; temperature 0 takes the greatest logit, the lower id where two are equal.
        positions: for each row how many tokens were generated before.
        before: for each row its tokens so far, prompt included; empty, also as a whole, where there is no penalty.
    """
    logits = penalised(logits, [request.repetition_penalty for request in requests], before)
    tokens, is_finite = greatest(logits)
    drawn = [k for k, request in enumerate(requests) if is_finite[k] and request.temperature > 0]
    if drawn:
        # What is rarely beyond the most probable tokens is looked for among these first: sorting a vocabulary for each
        # token takes longer than a small model's step.
        likely = logits[drawn].topk(min(LIKELY, logits.shape[-1])).indices.cpu().numpy()
        for k, few in zip(drawn, likely, strict=True):
            request, at = requests[k], uniform(requests[k], positions[k])
            # Less the greatest: what a tiny temperature makes of the others is minus infinity then, never NaN.
            scores = logits[k].double()
            temperature = max(request.temperature, LEAST_TEMPERATURE)
            chances = torch.softmax((scores - scores[tokens[k]]) / temperature, dim=-1)
            if request.top_k:
                # The temperature changes no order, but could make scores equal that are not.
                chances = chances.masked_fill(~among_likeliest(scores, request.top_k), 0)
            probabilities = chances.cpu().numpy()
            token = pick_likely(probabilities, request.top_p, at, few)
            tokens[k] = pick(probabilities, request.top_p, at) if token is None else token
    return tokens, is_finite


def greatest(logits: torch.Tensor) -> tuple[list[int], list[bool]]:
    """Return where each row of [rows, vocabulary] is greatest, the lower id of equal ones, and whether it is finite.

    The maximum of a row with NaN is NaN.
    """
    if logits.device.type == "cpu":
        # torch's search for a place is not vectorised: 1.8 ms for 64 rows of 32,000 (one thread), numpy's 0.17.
        half = logits.dtype in (torch.float16, torch.bfloat16)
        values = (logits.float() if half else logits).detach().numpy()
        places = values.argmax(axis=-1)
        found = np.take_along_axis(values, places[:, None], axis=-1)[:, 0]
        return places.tolist(), np.isfinite(found).tolist()
    best = logits.max(dim=-1)
    return best.indices.tolist(), torch.isfinite(best.values).tolist()


def penalised(logits: torch.Tensor, penalties: Sequence[float], before: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return logits in which tokens that a row has already are less probable, in float32 where any row has a penalty.

    Args:
        logits: [rows, vocabulary]; stay as they are.
        penalties: of each row; 1: none.
        before: for each row with a penalty its tokens so far, prompt included.
    """
    rows = [k for k, penalty in enumerate(penalties) if penalty != 1]
    if not rows:
        return logits
    logits = logits.to(dtype=torch.float32, copy=True)
    for k in rows:
        # Tokens of the tokenizer that the head has no row for cannot come anyway.
        ids = sorted({token for token in before[k] if token < logits.shape[-1]})
        at = torch.tensor(ids, dtype=torch.long, device=logits.device)
        seen = logits[k, at]
        logits[k, at] = torch.where(seen < 0, seen * penalties[k], seen / penalties[k])
    return logits


def among_likeliest(scores: torch.Tensor, top_k: int) -> torch.Tensor:
    """Return which of [vocabulary] are among the ``top_k`` greatest, or equal the last of these."""
    least = scores.topk(min(top_k, scores.shape[-1])).values[-1]
    return scores >= least


def uniform(request: GenerationRequest, position: int) -> float:
    """Return the uniform random number in [0, 1) that draws a request's token at a position."""
    key = hashlib.sha256(f"{request.seed}:{request.sample}:{request.prompt}".encode()).digest()
    digest = hashlib.sha256(key + position.to_bytes(8, "big")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def pick(probabilities: Any, top_p: float, at: float) -> int:
    """Return the token at ``at`` of the distribution, cut to its most probable tokens.

    Args:
        probabilities: [vocabulary], float64; may sum to less than 1.
        top_p: share to keep; the token that crosses it is kept too.
        at: random number in [0, 1).
    """
    order = np.argsort(-probabilities, kind="stable")
    total = np.cumsum(probabilities[order])
    kept = int(np.searchsorted(total, min(top_p, 1.0) * total[-1])) + 1
    kept = min(kept, len(order))
    return int(order[min(int(np.searchsorted(total[:kept], at * total[kept - 1], side="right")), kept - 1)])


def pick_likely(probabilities: Any, top_p: float, at: float, likely: Any) -> int | None:
    """Return what `pick` returns, or None where a few tokens cannot tell.

    Args:
        probabilities, top_p, at: as there.
        likely: [few] the most probable tokens, in any order; of equally probable ones it may have any.
    """
    order = likely[np.lexsort((likely, -probabilities[likely]))]
    total = np.cumsum(probabilities[order])
    # The last of them may be one of several that are equally probable, of which others are not here.
    known = int(np.searchsorted(-probabilities[order], -probabilities[order[-1]]))
    if len(order) == len(probabilities):
        known = len(order)
    mass = float(probabilities.sum())
    if top_p < 1.0:
        kept = int(np.searchsorted(total, top_p * mass)) + 1
        if kept > known:
            return None
        mass = float(total[kept - 1])
        known = kept
    place = int(np.searchsorted(total[:known], at * mass, side="right"))
    if place < known:
        return int(order[place])
    return int(order[known - 1]) if top_p < 1.0 else None
