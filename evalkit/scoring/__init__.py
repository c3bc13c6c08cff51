"""Log-probabilities of continuations, each shared prefix computed once.

::

    encode.py    strings -> TokenRequest, by lm-eval's splitting rules, in batches
    forest.py    TokenRequest -> sorted rows; the arrays of a pack's trees; numpy only
    plan.py      rows -> trees -> packs (a Plan that can be stored and scored in parts); numpy only
    packed.py    ForestScorer: one forward pass a pack, the tree as attention mask
    rows.py      RowScorer: packs for whoever scores requests one by one, elsewhere
    plain.py     PlainScorer: padded rows, the reference that packed.py is checked against
    probe.py     choose_scorer: the forest where it is exact for this model, else plain, with the reason
    attention.py which mask a model should be given; blocks.py: attention without one
    generate.py  greedy and sampled generation that equals lm-eval's ``generate_until``
    generate_probe.py  choose_generator: that loop where it agrees with plain, else transformers'
    audit.py     a share of the requests again in float32: what the dtype and the packing changed
    head.py      logits of the wanted positions only, for any causal model
    memory.py    pack budgets, and what an out-of-memory error looks like

This module imports neither torch nor numpy; ``forest``, ``plan`` and ``encode`` import no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from evalkit.scoring.plan import PackResult, Plan

Score = tuple[float, bool]
"""Summed log-probability of the continuation in nats; whether greedy decoding would have produced it."""


@dataclass(frozen=True)
class TokenRequest:
    """One continuation to be scored, as token ids.

    Attributes:
        context_ids: what precedes; never empty (an empty text gives the model's prefix token).
        continuation_ids: the tokens whose log-probabilities are summed; never empty.
    """

    context_ids: tuple[int, ...]
    continuation_ids: tuple[int, ...]


class Scorer(Protocol):
    """What ForestScorer and PlainScorer have in common."""

    name: str
    max_length: int

    def score(
        self, requests: Sequence[TokenRequest], on_pack: Callable[[PackResult], None] | None = None
    ) -> list[Score]:
        """Score all requests; results in the order of the requests.

        Args:
            requests: any number; duplicates are computed once.
            on_pack: called after every finished pack, in the order in which packs finish.
        """
        ...

    def plan(self, requests: Sequence[TokenRequest]) -> Plan:
        """Return the packs for these requests, without touching the model."""
        ...

    def iter_packs(
        self,
        requests: Sequence[TokenRequest],
        plan: Plan | None = None,
        packs: Iterable[int] | None = None,
        budget_tokens: int | None = None,
    ) -> Iterator[PackResult]:
        """Yield each pack's scores as it is finished; see ``ForestScorer.iter_packs``."""
        ...
