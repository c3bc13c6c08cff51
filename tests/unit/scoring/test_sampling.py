"""Greedy tokens, and draws that depend on the request and the position only."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evalkit.errors import ConfigError
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


@settings(deadline=None, max_examples=60)
@given(
    logits=st.lists(st.floats(-60, 60, width=32), min_size=2, max_size=40),
    temperature=st.one_of(st.sampled_from([5e-324, 1e-308, 1e-45, 1e-37, 1e300]), st.floats(5e-324, 1e300)),
    top_p=st.one_of(st.sampled_from([0.0, 5e-324, 1 - 2**-53, 1.0]), st.floats(0, 1)),
    top_k=st.sampled_from([0, 1, 2, 7, 10**18]),
    penalty=st.sampled_from([1.0, 0.01, 1.5, 100.0]),
    sample=st.integers(0, 9),
)
def test_every_setting_that_is_taken_draws_a_token_that_it_allows(
    logits: list[float], temperature: float, top_p: float, top_k: int, penalty: float, sample: int
) -> None:
    import torch

    from evalkit.scoring.sampling import choose, penalised

    request = GenerationRequest(
        "p", temperature=temperature, top_p=top_p, top_k=top_k, repetition_penalty=penalty, sample=sample
    )
    rows = torch.tensor([logits])
    (token,), (is_finite,) = choose(rows, [request], [0], [(0,)])
    scores = penalised(rows, [penalty], [(0,)])[0].tolist()
    assert is_finite == math.isfinite(max(scores))
    if not is_finite:
        return
    ranked = sorted(scores, reverse=True)
    if top_k:
        assert scores[token] >= ranked[min(top_k, len(ranked)) - 1]
    if top_p <= 5e-324:
        assert (ranked[0] - scores[token]) / temperature <= 1e-12  # as probable, to rounding
    # float32 numbers that differ do so by 2**-149 at least, which is 745 temperatures (where exp is nought) and more.
    if temperature <= 1e-300 or top_k == 1:
        assert scores[token] == ranked[0]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    temperature=st.floats(0.05, 5),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 80),
    penalty=st.floats(0.5, 2),
)
def test_a_draw_is_where_transformers_probabilities_have_it(
    seed: int, temperature: float, top_p: float, top_k: int, penalty: float
) -> None:
    """The draw's number lies, to 1e-6, in the token's part of the cumulated probabilities of transformers' chain."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    from evalkit.scoring.sampling import choose, uniform

    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 60, generator=generator) * 4
    before = torch.randint(0, 60, (1, 12), generator=generator)
    config = GenerationConfig(
        do_sample=True, temperature=temperature, top_p=top_p, top_k=top_k, repetition_penalty=penalty
    )
    shape = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=60, **shape))
    chain = model._get_logits_processor(generation_config=config, input_ids_seq_length=12)
    expected = torch.softmax(chain(before, logits.clone()).double(), -1)[0].tolist()
    for sample in range(20):
        request = GenerationRequest(
            "p", temperature=temperature, top_p=top_p, top_k=top_k, repetition_penalty=penalty, sample=sample
        )
        (token,), _ = choose(logits, [request], [3], before.tolist())
        ranked = sorted(range(60), key=lambda k: (-expected[k], k))
        below = sum(expected[k] for k in ranked[: ranked.index(token)])
        assert below - 1e-6 <= uniform(request, 3) <= below + expected[token] + 1e-6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -1.0}, "temperature: -1.0 is not 0"),
        ({"temperature": math.nan}, "temperature: nan is not 0"),
        ({"temperature": math.inf}, "temperature: inf is not 0"),
        ({"top_p": -0.1}, "top_p: -0.1 is not a probability"),
        ({"top_p": 1.1}, "top_p: 1.1 is not a probability"),
        ({"repetition_penalty": 0.0}, "repetition_penalty: 0.0 is not between 0.01 and 100"),
    ],
)
def test_settings_without_probabilities_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GenerationRequest("p", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_greatest_is_found_as_by_torch(dtype: str) -> None:
    import torch

    from evalkit.scoring.sampling import greatest

    torch.manual_seed(0)
    rows = torch.randn(40, 301).to(getattr(torch, dtype))
    rows[3, 5], rows[4, :], rows[5, 7], rows[6, 9] = math.nan, -math.inf, math.inf, -math.inf
    rows[7, 20:40] = 9.0
    places, is_finite = greatest(rows)
    best = rows.max(dim=-1)
    assert is_finite == torch.isfinite(best.values).tolist()
    assert rows[range(40), places].nan_to_num(77).tolist() == best.values.nan_to_num(77).tolist()
    assert (places[4], places[7]) == (0, 20)  # the lower id of equal ones


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
