"""Numerics: score a share of the requests again in float32 with the plain scorer, and say what changed.

In half precision a score depends on the rounding, and the rounding on what else is in the pack. Scoring again measures
both at once against float32 rows: how far log-probabilities are off, and for how many whole documents another answer
would have been chosen. Documents are drawn, not single requests, since an answer needs all of a document's choices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from evalkit.errors import ConfigError
from evalkit.records.facts import Numerics
from evalkit.scoring.packs import score
from evalkit.scoring.plain import PlainScorer
from evalkit.scoring.requests import Score, TokenRequest


def recheck(
    model: Any,
    requests: Sequence[TokenRequest],
    scores: Sequence[Score],
    documents: Sequence[Hashable],
    fraction: float,
    *,
    max_length: int,
    max_batch_tokens: int | None = None,
    make_scorer: Callable[..., PlainScorer] = PlainScorer,
) -> Numerics:
    """Score the requests of a share of the documents in float32 and compare.

    Args:
        model: the model of the run; its weights are float32 for that time and unchanged after it.
        requests: all requests of the run.
        scores: their scores.
        documents: for each request the document that it belongs to, e.g. (task, number).
        fraction: share of the documents, in (0, 1]; at least one document is taken.
        max_length: the model's context length in tokens.
        max_batch_tokens: positions of a batch; None: measured for float32.
        make_scorer: what scores; for tests.

    Raises:
        ConfigError: a fraction outside (0, 1], or quantised weights.
        ModelError: float32 does not fit into memory.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"--audit-fraction {fraction:g}: give a share of the documents above 0 and at most 1")
    groups: dict[Hashable, list[int]] = {}
    for index, document in enumerate(documents):
        groups.setdefault(document, []).append(index)
    dtype = str(model.dtype).removeprefix("torch.")
    chosen = _draw(list(groups), fraction) if groups else []
    indices = [index for document in chosen for index in groups[document]]
    exact: dict[int, Score] = {}
    if indices:
        with in_float32(model):
            scorer = make_scorer(model, max_length=max_length, max_batch_tokens=max_batch_tokens)
            exact = dict(zip(indices, score(scorer, [requests[index] for index in indices]), strict=True))
    differences = [abs(scores[index][0] - exact[index][0]) for index in indices] or [0.0]
    most, mean = max(differences), sum(differences) / len(differences)
    flipped = sum(
        _best([scores[index][0] for index in groups[document]])
        != _best([exact[index][0] for index in groups[document]])
        for document in chosen
    )
    points = 100.0 * flipped / len(chosen) if chosen else 0.0
    return Numerics(
        requests=len(indices),
        documents=len(chosen),
        max_difference=most,
        mean_difference=mean,
        flipped=flipped,
        flipped_greedy=sum(scores[index][1] != exact[index][1] for index in indices),
        dtype=dtype,
        points=points,
        summary=f"numerics: ±{points:.2f} points ({flipped} of {len(chosen)} documents change their answer in float32; "
        f"log-probabilities differ by {mean:.2g} nats on average, at most {most:.2g})",
    )


def _draw(documents: list[Hashable], fraction: float) -> list[Hashable]:
    """Return the documents with the smallest hashes: the same ones whatever else is in the run, as far as possible."""
    ranked = sorted(documents, key=lambda document: hashlib.sha256(repr(document).encode()).digest())
    return ranked[: max(1, round(fraction * len(ranked)))]


def _best(logprobs: Sequence[float]) -> int:
    return max(range(len(logprobs)), key=lambda k: logprobs[k])


@contextmanager
def in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Widen a model's weights to float32 in place, and give every tensor its dtype back at the end.

    bfloat16 and float16 values are float32 values, so nothing is lost on the way there and back. One copy at a time
    is made, so that no more than the float32 weights and one tensor exist at once.

    Raises:
        ConfigError: the weights are quantised.
    """
    if getattr(model, "is_quantized", False) or getattr(model, "quantization_method", None) is not None:
        raise ConfigError("--audit-fraction: a quantised model cannot be widened to float32; leave it out")
    tensors = [*model.parameters(), *model.buffers()]
    kept = [(tensor, tensor.dtype) for tensor in tensors if tensor.dtype in (torch.float16, torch.bfloat16)]
    try:
        for tensor, _ in kept:
            tensor.data = tensor.data.float()
        yield
    finally:
        for tensor, dtype in kept:
            tensor.data = tensor.data.to(dtype)
