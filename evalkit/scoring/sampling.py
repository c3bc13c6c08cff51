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


def choose(
    logits: torch.Tensor, requests: Sequence[GenerationRequest], positions: Sequence[int]
) -> tuple[list[int], list[bool]]:
    """Return the next token of each row, and whether there is one: a row whose logits are not finite has none.

    Args:
        logits: [rows, vocabulary].
        requests: one a row; temperature 0 takes the greatest logit, the lower id where two are equal.
        positions: for each row how many tokens were generated before.
    """
    best = logits.max(dim=-1)
    tokens: list[int] = best.indices.tolist()
    # The maximum of a row with NaN is NaN.
    is_finite: list[bool] = torch.isfinite(best.values).tolist()
    for k, (request, position) in enumerate(zip(requests, positions, strict=True)):
        if is_finite[k] and request.temperature > 0:
            probabilities = torch.softmax(logits[k].double() / request.temperature, dim=-1)
            tokens[k] = pick(probabilities.cpu().numpy(), request.top_p, uniform(request, position))
    return tokens, is_finite


def uniform(request: GenerationRequest, position: int) -> float:
    """Return the uniform random number in [0, 1) that draws a request's token at a position."""
    key = hashlib.sha256(f"{request.seed}:{request.sample}:{request.prompt}".encode()).digest()
    digest = hashlib.sha256(key + position.to_bytes(8, "big")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def pick(probabilities: Any, top_p: float, at: float) -> int:
    """Return the token at ``at`` of the distribution, cut to its most probable tokens.

    Args:
        probabilities: [vocabulary], float64.
        top_p: share to keep; the token that crosses it is kept too.
        at: random number in [0, 1).
    """
    order = np.argsort(-probabilities, kind="stable")
    total = np.cumsum(probabilities[order])
    kept = int(np.searchsorted(total, min(top_p, 1.0) * total[-1])) + 1
    kept = min(kept, len(order))
    return int(order[min(int(np.searchsorted(total[:kept], at * total[kept - 1], side="right")), kept - 1)])
