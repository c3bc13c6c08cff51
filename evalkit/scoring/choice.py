"""Choose the scorer: the forest where it is exact for this model, else plain rows, with the reason.

A small forest of random tokens is scored with both scorers when a model is loaded. Two things are compared with the
plain scores: the forest's, which must agree, and those of a control that packs the rows in the same way but lets
every node see all nodes before it, which must not. The control shows that the probe would have noticed a model that
ignores the mask; without it, a model on which context makes no difference would pass for exact.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from evalkit.errors import ConfigError, ModelError, did_you_mean
from evalkit.out_of_memory import raise_what_is_no_answer
from evalkit.scoring.attention import attempts
from evalkit.scoring.memory import batch_tokens, measure_token_bytes, text_config, vocabulary_size
from evalkit.scoring.packed import ForestScorer
from evalkit.scoring.packs import Scorer, iter_packs, score
from evalkit.scoring.plain import PlainScorer
from evalkit.scoring.requests import Score, TokenRequest

KINDS = ("auto", "forest", "plain")

TOLERANCE = 1e-4
"""Greatest difference allowed between the scorers in float32, in nats a request."""

CONTROL_RATIO = 8.0
"""In half precision rounding alone differs between the scorers; it must stay this many times below the control."""

_PROBE_BLOCK = 16
"""Blocks of the probe: small, so that its few nodes make several."""


_MEASURED_TOKENS = 1024
"""Positions of the pack by which memory is measured."""

_SMALLEST_BUDGET = 256


@dataclass(frozen=True)
class ScorerChoice:
    """Which scorer scores a run, and why; part of the run's record.

    Attributes:
        name: "forest" or "plain".
        reason: one sentence for the report.
        max_difference: greatest difference between forest and plain scores of the probe in nats; None: not measured.
    """

    name: str
    reason: str
    max_difference: float | None = None


def choose_scorer(
    model: Any, *, max_length: int, kind: str = "auto", max_batch_tokens: int | None = None
) -> tuple[Scorer, ScorerChoice]:
    """Return a scorer for a loaded model and the reason for it.

    Args:
        model: a causal language model in evaluation mode, on its device.
        max_length: the model's context length in tokens.
        kind: "auto"; "forest" refuses to fall back; "plain" asks for no probe.
        max_batch_tokens: positions of a pack; None: measured.

    Raises:
        ConfigError: an unknown kind, or "forest" for a model that it is not exact for.
    """
    if kind not in KINDS:
        raise ConfigError(f"--scorer {kind}: choose from {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    plain = PlainScorer(model, max_length=max_length, max_batch_tokens=max_batch_tokens)
    if kind == "plain":
        return plain, ScorerChoice("plain", "asked for")
    choice = _unsupported(model)
    if choice is None:
        for attempt in attempts(model):
            forest = ForestScorer(model, max_length=max_length, max_batch_tokens=max_batch_tokens, attention=attempt)
            choice = check_exactness(forest, plain)
            if choice.name == "forest":
                if max_batch_tokens is None:
                    forest.max_batch_tokens = _measured_budget(forest)
                return forest, choice
    assert choice is not None
    if kind == "forest":
        raise ConfigError(f"--scorer forest: not exact for this model ({choice.reason}); use --scorer auto")
    return plain, choice


def _unsupported(model: Any) -> ScorerChoice | None:
    """Name what can be known without running the model."""
    implementation = getattr(text_config(model), "_attn_implementation", None)
    if implementation is not None and "flash" in str(implementation):
        return ScorerChoice("plain", f"attention implementation {implementation} takes no mask; sdpa would")
    return None


def check_exactness(forest: ForestScorer, plain: PlainScorer) -> ScorerChoice:
    """Score the probe with both scorers and the control; see the module's description."""
    requests = probe_requests(forest)
    try:
        block_nodes = min(forest.attention.block_nodes, _PROBE_BLOCK)
        found = score(_like(ForestScorer, forest, block_nodes), requests)
        control = score(_like(_Unmasked, forest, block_nodes=0), requests)
    except Exception as error:
        raise_what_is_no_answer(error)
        # Whatever else the model's code raises, from a wrong shape to an unknown argument, means: no mask.
        line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        return ScorerChoice("plain", f"the model does not take the mask ({type(error).__name__}: {line[:160]})")
    expected = score(plain, requests)
    difference = _max_difference(found, expected)
    noticed = _max_difference(control, expected)
    is_float32 = forest.model.dtype in (torch.float32, torch.float64)
    allowed = TOLERANCE if is_float32 else noticed / CONTROL_RATIO
    if not math.isfinite(difference):
        return ScorerChoice("plain", "the model gives no numbers (NaN) on the probe")
    if not difference <= allowed:
        return ScorerChoice(
            "plain", f"forest scores differ by {difference:.2g} nats on the probe ({allowed:.2g} allowed)", difference
        )
    if noticed <= CONTROL_RATIO * difference:
        return ScorerChoice(
            "plain", "the probe is inconclusive: this model's scores hardly depend on the context", difference
        )
    if is_float32:
        return ScorerChoice("forest", f"exact on the probe to {difference:.2g} nats", difference)
    dtype = str(forest.model.dtype).removeprefix("torch.")
    rounding = f"within {difference:.2g} nats of plain rows on the probe, where a wrong mask makes {noticed:.2g}"
    return ScorerChoice("forest", f"{rounding}; the rest is rounding of {dtype}", difference)


def _measured_budget(forest: ForestScorer) -> int:
    """Return the token budget of a pack by the memory that a small one takes."""
    length = max(1, min(forest.max_length - 2, _MEASURED_TOKENS))
    rng = random.Random(1)
    stem = tuple(rng.randrange(vocabulary_size(forest.model)) for _ in range(length))
    requests = [TokenRequest(stem, (0, token, 0)) for token in (1, 2)]

    def run() -> int:
        return sum(result.tokens for result in iter_packs(forest, requests))

    try:
        found = measure_token_bytes(forest.device, run)
    except ModelError:
        return _SMALLEST_BUDGET  # there is next to no memory; a larger pack would only fail first
    return batch_tokens(forest.model, forest.device, found)


def _like(kind: type[ForestScorer], forest: ForestScorer, block_nodes: int) -> ForestScorer:
    return kind(
        forest.model,
        max_length=forest.max_length,
        max_batch_tokens=forest.max_batch_tokens,
        attention=replace(forest.attention, block_nodes=block_nodes, attention_scale=math.inf),
    )


def probe_requests(forest: ForestScorer) -> list[TokenRequest]:
    """Return a small forest of random tokens: shared prefixes, prefixes of one another, one-token continuations.

    Rows exceed the sliding window where there is one that is short enough to afford it.
    """
    rng = random.Random(0)
    vocabulary = vocabulary_size(forest.model)
    window = forest.attention.window or 0
    room = forest.max_length
    length = min(max(24, window + 8), room)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary) for _ in range(count))

    requests: list[TokenRequest] = []
    for context in (draw(length), draw(max(1, length // 3)), draw(2)):
        branch = context[: max(1, len(context) // 2)] + draw(3)
        for stem in (context, branch, context[: max(1, len(context) - 2)]):
            requests += [TokenRequest(stem, draw(count)) for count in (1, 1, 4, 7)]
    return [request for request in requests if len(request.continuation_ids) <= room]


def _max_difference(scores: Sequence[Score], expected: Sequence[Score]) -> float:
    differences = [abs(a - b) for (a, _), (b, _) in zip(scores, expected, strict=True)]
    # max() of a list with NaN depends on the order; a NaN anywhere is a failure.
    return max(differences) if all(value == value for value in differences) else float("nan")


class _Unmasked(ForestScorer):
    """The control: every node sees all nodes before it, as in a model that ignores the mask."""

    def _mask(self, layout: Any, depth: torch.Tensor) -> Any:
        width = layout.end.shape[1]
        everything = torch.ones(depth.shape[0], width, width, dtype=torch.bool, device=self.device).tril_()
        return self._as_given(everything, everything)
