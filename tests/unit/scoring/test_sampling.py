"""Greedy tokens, and draws that depend on the request and the position only."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evalkit.scoring.requests import GenerationRequest

pytestmark = pytest.mark.model

GREEDY = GenerationRequest("p")


def sampled(sample: int = 0, seed: int = 0, top_p: float = 1.0, temperature: float = 1.0) -> GenerationRequest:
    return GenerationRequest("p", temperature=temperature, top_p=top_p, seed=seed, sample=sample)


def test_picks_follow_the_distribution() -> None:
    import numpy as np

    from evalkit.scoring.sampling import pick

    probabilities = np.array([0.1, 0.5, 0.0, 0.4])
    draws = [pick(probabilities, 1.0, (k + 0.5) / 1000) for k in range(1000)]
    assert [draws.count(k) for k in range(4)] == [100, 500, 0, 400]
    assert {pick(probabilities, 0.8, (k + 0.5) / 100) for k in range(100)} == {1, 3}
    assert {pick(probabilities, 0.01, (k + 0.5) / 100) for k in range(100)} == {1}


@given(
    weights=st.lists(st.sampled_from([0.0, 1e-9, 0.5, 1.0, 1.0, 2.0, 40.0]), min_size=2, max_size=30).filter(any),
    few=st.integers(1, 30),
    top_p=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    at=st.floats(0, 1, exclude_max=True),
)
def test_a_few_likely_tokens_give_what_all_give_or_say_that_they_cannot(
    weights: list[float], few: int, top_p: float, at: float
) -> None:
    """The oracle goes through the tokens one by one, in fractions."""
    import numpy as np

    from evalkit.scoring.sampling import pick, pick_likely

    exact = [Fraction(weight) / sum(map(Fraction, weights)) for weight in weights]
    ranked = sorted(range(len(weights)), key=lambda k: (-exact[k], k))
    sums = [sum(exact[k] for k in ranked[: n + 1]) for n in range(len(ranked))]
    kept = next((n + 1 for n, total in enumerate(sums) if total >= Fraction(top_p)), len(ranked))
    wanted = Fraction(at) * sums[kept - 1]
    assume(all(abs(border - Fraction(top_p)) > 1e-9 or top_p == 1.0 for border in sums))
    assume(all(abs(border - wanted) > 1e-9 for border in sums))
    expected = ranked[next(n for n, total in enumerate(sums) if wanted < total)]
    probabilities = np.array(weights) / sum(weights)
    assert pick(probabilities, top_p, at) == expected
    likely = np.array(sorted(range(len(weights)), key=lambda k: (-weights[k], -k))[:few])
    found = pick_likely(probabilities, top_p, at, likely)
    assert found in (None, expected)
    if few >= len(weights):
        assert found == expected


def test_draws_are_numbered() -> None:
    from evalkit.scoring.sampling import uniform

    draws = [
        uniform(sampled(sample, seed), position) for sample in range(9) for seed in range(9) for position in range(9)
    ]
    assert len(set(draws)) == len(draws)
    assert all(0 <= draw < 1 for draw in draws)
    # A uniform number's mean is 1/2, its standard deviation 1/sqrt(12): 729 of them are within four standard errors.
    assert abs(statistics.mean(draws) - 0.5) < 4 / math.sqrt(12 * len(draws))
    assert uniform(sampled(2, 3), 4) == uniform(sampled(2, 3), 4)
    # Kept: texts of earlier runs are drawn again as they were (first number made by an earlier evalkit).
    assert uniform(GenerationRequest("hello", temperature=0.8, seed=1, sample=2), 3) == 0.8897869631951715


def test_rows_are_chosen_for_each_by_its_own_request() -> None:
    import torch

    from evalkit.scoring.sampling import choose

    logits = torch.tensor(
        [[0.0, 5.0, 5.0], [1.0, 0.0, 3.0], [0.0, math.nan, 1.0], [0.0, -math.inf, 9.0], [1.0, math.inf, 0.0]]
    )
    tokens, is_finite = choose(logits, [GREEDY] * 5, [0] * 5)
    assert tokens[:2] == [1, 2]  # the lower id of two that are equal
    assert tokens[3] == 2
    assert is_finite == [True, True, False, True, False]
    # Sampled rows beside greedy ones; a probability of nearly one is drawn, whatever the number.
    tokens, is_finite = choose(
        logits, [GREEDY, sampled(temperature=0.01), sampled(), GREEDY, sampled()], [0, 7, 7, 7, 7]
    )
    assert (tokens[0], tokens[1], is_finite) == (1, 2, [True, True, False, True, False])


def test_a_row_does_not_depend_on_the_others() -> None:
    import torch

    from evalkit.scoring.sampling import choose

    torch.manual_seed(0)
    logits = torch.randn(6, 50)
    requests = [sampled(sample, top_p=0.9) for sample in range(6)]
    together = choose(logits, requests, range(6))[0]
    alone = [choose(logits[k : k + 1], [requests[k]], [k])[0][0] for k in range(6)]
    assert together == alone
    assert len(set(together)) > 1


@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.8])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (3, 1.0), (7, 0.6), (500, 0.9)])
def test_the_distribution_is_that_of_transformers_processors(
    monkeypatch: pytest.MonkeyPatch, top_k: int, top_p: float, penalty: float
) -> None:
    import torch
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    from evalkit.scoring import sampling

    torch.manual_seed(top_k)
    logits = torch.randn(1, 300) * 4
    before = torch.randint(0, 300, (1, 40))
    logits[0, before[0, :3]] = torch.tensor([9.0, 8.5, -2.0])
    # In the order in which `generate` applies them.
    chain = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1 else [])
    chain.append(TemperatureLogitsWarper(0.7))
    chain += [TopKLogitsWarper(top_k)] if top_k else []
    chain += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    expected = torch.softmax(chain(before, logits.clone()).double(), -1)[0].tolist()
    request = GenerationRequest("p", temperature=0.7, top_k=top_k, top_p=top_p, repetition_penalty=penalty)
    places = [(k + 0.5) / 3000 for k in range(3000)]
    monkeypatch.setattr(sampling, "uniform", lambda _, position: places[position])
    drawn = [
        token
        for start in range(0, 3000, 500)
        for token in sampling.choose(
            logits.expand(500, -1), [request] * 500, range(start, start + 500), [before[0].tolist()] * 500
        )[0]
    ]
    for token, probability in enumerate(expected):
        assert abs(drawn.count(token) - 3000 * probability) <= 1.01, token


def test_top_k_keeps_what_equals_its_last() -> None:
    import torch
    from transformers import TopKLogitsWarper

    from evalkit.scoring.sampling import among_likeliest

    scores = torch.tensor([1.0, 3.0, 2.0, 2.0, 0.0, 2.0])
    for top_k in range(1, 9):
        kept = TopKLogitsWarper(top_k)(torch.empty(0), scores[None])[0].isfinite()
        assert among_likeliest(scores, top_k).tolist() == kept.tolist()


def test_a_penalty_is_a_rows_own_and_changes_no_logits_in_place() -> None:
    import torch

    from evalkit.scoring.sampling import choose

    logits = torch.tensor([[1.0, 2.0, 1.5], [1.0, 2.0, 1.5], [-1.0, -2.0, -1.1]], dtype=torch.bfloat16)
    kept = logits.clone()
    penalty = GenerationRequest("p", repetition_penalty=1.5)
    # 999: a token that the head has no row for.
    tokens, is_finite = choose(logits, [penalty, GREEDY, penalty], [1, 1, 1], [(1, 1, 999), (), (0,)])
    assert (tokens, is_finite) == ([2, 1, 2], [True, True, True])
    assert torch.equal(logits, kept)
