"""ForestScorer against PlainScorer, and both against lm-eval's own model, for every architecture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.errors import ConfigError, ModelError, StoreError
from evalkit.scoring.packs import iter_packs, score
from evalkit.scoring.plan import PackPlan, PackResult
from evalkit.scoring.requests import Score, TokenRequest

pytestmark = pytest.mark.model

TOLERANCE = 1e-4
MAX_LENGTH = 96

Make = Callable[..., list[TokenRequest]]


def assert_same(found: list[Score], expected: list[Score]) -> None:
    assert len(found) == len(expected)
    for (logprob, greedy), (other_logprob, other_greedy) in zip(found, expected, strict=True):
        assert logprob == pytest.approx(other_logprob, abs=TOLERANCE)
        assert greedy == other_greedy


def lm_eval_scores(model: Any, requests: list[TokenRequest], max_length: int = MAX_LENGTH) -> list[Score]:
    """Return what lm-eval's ``hf`` model says."""
    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {f"w{k}": k for k in range(120)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")), eos_token="w2", pad_token="w0"
    )
    lm = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=3, max_length=max_length)
    asked = [(("", ""), list(request.context_ids), list(request.continuation_ids)) for request in requests]
    return lm._loglikelihood_tokens(asked, disable_tqdm=True)


def transformers_major() -> int:
    """Return the major version; before 5 fewer models take a mask."""
    import transformers

    return int(transformers.__version__.split(".")[0])


def greedy_requests(model: Any, requests: list[TokenRequest]) -> list[TokenRequest]:
    """Return requests whose continuation is what the model itself would say."""
    import torch

    made = []
    for request in requests:
        ids = list(request.context_ids)
        for _ in range(3):
            with torch.inference_mode():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        made.append(TokenRequest(request.context_ids, tuple(ids[len(request.context_ids) :])))
    return made


def test_every_architecture_scores_as_in_lm_eval(
    architecture: str, expected_scorer: str, build_model: Callable[[str], Any], make_requests: Make
) -> None:
    from evalkit.scoring.choice import choose_scorer
    from evalkit.scoring.plain import PlainScorer

    model = build_model(architecture)
    # Some rows are longer than max_length and lose their beginning.
    requests = make_requests(1) + make_requests(2, count=10, longest=130)
    requests += greedy_requests(model, requests[:4])
    expected = lm_eval_scores(model, requests)
    assert {greedy for _, greedy in expected} == {False, True}
    scorer, choice = choose_scorer(model, max_length=MAX_LENGTH)
    assert choice.name == scorer.name
    if transformers_major() >= 5 or expected_scorer == "plain":
        assert choice.name == expected_scorer, choice.reason
    assert_same(score(scorer, requests), expected)
    assert_same(score(PlainScorer(model, max_length=MAX_LENGTH), requests), expected)


def test_every_way_that_passes_the_probe_is_exact(
    architecture: str, build_model: Callable[[str], Any], make_requests: Make
) -> None:
    from evalkit.scoring.attention import attempts
    from evalkit.scoring.choice import check_exactness
    from evalkit.scoring.packed import ForestScorer
    from evalkit.scoring.plain import PlainScorer

    model = build_model(architecture)
    requests = make_requests(3)
    plain = PlainScorer(model, max_length=MAX_LENGTH)
    expected = score(plain, requests)
    for attention in attempts(model):
        for scale in (math.inf, 30.0):
            forest = ForestScorer(model, max_length=MAX_LENGTH, attention=replace(attention, attention_scale=scale))
            if check_exactness(forest, plain).name == "forest":
                assert_same(score(forest, requests), expected)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    budget=st.integers(1, 600),
    block_nodes=st.sampled_from([0, 4, 16, 128]),
    window=st.sampled_from([None, 5]),
    order=st.randoms(use_true_random=False),
    count=st.integers(1, 40),
)
def test_scores_do_not_depend_on_budget_order_or_number_of_requests(
    seed: int,
    budget: int,
    block_nodes: int,
    window: int | None,
    order: Any,
    count: int,
    build_model: Callable[[str], Any],
    make_requests: Make,
) -> None:
    from evalkit.scoring.attention import attention_of
    from evalkit.scoring.packed import ForestScorer
    from evalkit.scoring.plain import PlainScorer

    model = build_model("mistral" if window is None else "mistral-window")
    requests = make_requests(seed)
    expected = score(PlainScorer(model, max_length=MAX_LENGTH, max_batch_tokens=300), requests)
    shown = order.sample(range(len(requests)), count)
    attention = replace(attention_of(model), block_nodes=block_nodes, attention_scale=40.0)
    scorer = ForestScorer(model, max_length=MAX_LENGTH, max_batch_tokens=budget, attention=attention)
    assert_same(score(scorer, [requests[k] for k in shown]), [expected[k] for k in shown])


def test_packs_can_be_scored_apart_by_a_stored_plan(mistral: Any, make_requests: Make) -> None:
    from evalkit.scoring.packed import ForestScorer

    requests = make_requests(5, count=60)
    scorer = ForestScorer(mistral, max_length=MAX_LENGTH, max_batch_tokens=128)
    results: list[PackResult] = []
    whole = score(scorer, requests, on_pack=results.append)
    plan = PackPlan.from_json(scorer.plan(requests).to_json())
    assert [result.pack for result in results] == list(range(len(plan.packs)))
    assert sum(result.tokens for result in results) == plan.tokens
    assert len(plan.packs) > 2
    # Another budget than the plan's must not matter, and the bits are those of the first time.
    other = ForestScorer(mistral, max_length=MAX_LENGTH, max_batch_tokens=999)
    odd = list(iter_packs(other, requests, plan, packs=range(1, len(plan.packs), 2)))
    even = list(iter_packs(other, requests, plan, packs=range(0, len(plan.packs), 2)))
    scores = {
        request: (logprob, greedy)
        for result in odd + even
        for request, logprob, greedy in zip(result.requests, result.logprobs, result.is_greedy, strict=True)
    }
    assert [scores[k] for k in range(len(requests))] == whole


def test_a_plan_for_other_requests_is_refused(mistral: Any, make_requests: Make) -> None:
    from evalkit.scoring.packed import ForestScorer

    scorer = ForestScorer(mistral, max_length=MAX_LENGTH)
    plan = scorer.plan(make_requests(5))
    with pytest.raises(StoreError, match="made for other requests"):
        next(iter_packs(scorer, make_requests(6), plan))


def test_nothing_to_score(mistral: Any) -> None:
    from evalkit.scoring.packed import ForestScorer
    from evalkit.scoring.plain import PlainScorer

    assert score(ForestScorer(mistral, max_length=MAX_LENGTH), []) == []
    assert score(PlainScorer(mistral, max_length=MAX_LENGTH), []) == []


# Out of memory


class Scarce:
    """A model that has memory for some tokens only."""

    def __init__(self, model: Any, most_tokens: int, error: BaseException) -> None:
        self.model = model
        self.most_tokens = most_tokens
        self.error = error
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, input_ids: Any, **inputs: Any) -> Any:
        if input_ids.numel() > self.most_tokens:
            self.refused += 1
            raise self.error
        return self.model(input_ids=input_ids, **inputs)


def memory_error(device: str) -> BaseException:
    """Return what running out of memory looks like there."""
    import torch

    if device == "cuda":
        kind = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)
        return kind("CUDA out of memory. Tried to allocate 2.00 GiB")
    if device == "npu":
        return RuntimeError("NPU out of memory. Tried to allocate 20.00 MiB")
    if device == "cpu":
        return RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
    return MemoryError()


@pytest.mark.parametrize("device", ["cuda", "npu", "cpu", "python"])
@pytest.mark.parametrize("kind", ["forest", "plain"])
def test_out_of_memory_halves_the_pack_and_loses_nothing(
    kind: str, device: str, mistral: Any, make_requests: Make
) -> None:
    from evalkit.scoring.packed import ForestScorer
    from evalkit.scoring.plain import PlainScorer

    requests = make_requests(7, count=60)
    scorer_type = {"forest": ForestScorer, "plain": PlainScorer}[kind]
    expected = score(scorer_type(mistral, max_length=MAX_LENGTH, max_batch_tokens=4096), requests)
    scarce = Scarce(mistral, 120, memory_error(device))
    results: list[PackResult] = []
    scorer = scorer_type(scarce, max_length=MAX_LENGTH, max_batch_tokens=4096)
    assert_same(score(scorer, requests, on_pack=results.append), expected)
    assert max(result.parts for result in results) > 1
    assert sorted(request for result in results for request in result.requests) == list(range(len(requests)))
    # The budget stays lowered: the first failures teach it, later packs are cut before they fail.
    assert 0 < scarce.refused <= 10


@pytest.mark.parametrize("kind", ["forest", "plain"])
def test_a_row_that_never_fits_is_an_error_with_the_remedy(kind: str, mistral: Any, make_requests: Make) -> None:
    from evalkit.scoring.packed import ForestScorer
    from evalkit.scoring.plain import PlainScorer

    scarce = Scarce(mistral, 0, RuntimeError("CUDA out of memory"))
    scorer_type = {"forest": ForestScorer, "plain": PlainScorer}[kind]
    with pytest.raises(ModelError, match=r"out of memory on cpu for one row of \d+ tokens .* smaller dtype"):
        score(scorer_type(scarce, max_length=MAX_LENGTH), make_requests(8))


@pytest.mark.parametrize("kind", ["forest", "plain"])
def test_other_errors_pass_through(kind: str, mistral: Any, make_requests: Make) -> None:
    from evalkit.scoring.packed import ForestScorer
    from evalkit.scoring.plain import PlainScorer

    broken = Scarce(mistral, 0, RuntimeError("a bug"))
    scorer_type = {"forest": ForestScorer, "plain": PlainScorer}[kind]
    with pytest.raises(RuntimeError, match="a bug"):
        score(scorer_type(broken, max_length=MAX_LENGTH), make_requests(8))


# Choosing


def test_a_model_that_ignores_the_mask_falls_back(mistral: Any) -> None:
    from evalkit.scoring.choice import choose_scorer

    class Deaf(Scarce):
        def __call__(self, input_ids: Any, **inputs: Any) -> Any:
            inputs.pop("attention_mask", None)
            return self.model(input_ids=input_ids, **inputs)

    scorer, choice = choose_scorer(Deaf(mistral, 0, MemoryError()), max_length=MAX_LENGTH)
    assert scorer.name == choice.name == "plain"
    assert "differ" in choice.reason
    assert choice.max_difference is not None
    assert choice.max_difference > TOLERANCE


def test_a_model_without_context_is_inconclusive(mistral: Any) -> None:
    import torch

    from evalkit.scoring.choice import choose_scorer

    class Forgetful(Scarce):
        """Predicts from the last token alone."""

        def __call__(self, input_ids: Any, **_inputs: Any) -> Any:
            flat = input_ids.reshape(-1, 1)
            logits = self.model(input_ids=flat, use_cache=False).logits
            return type("Output", (), {"logits": logits.reshape(*input_ids.shape, -1)})

        def get_output_embeddings(self) -> torch.nn.Module | None:
            return None

    scorer, choice = choose_scorer(Forgetful(mistral, 0, MemoryError()), max_length=MAX_LENGTH)
    assert scorer.name == "plain"
    assert "inconclusive" in choice.reason


def test_half_precision_is_probed_against_its_own_rounding(build_model: Callable[[str], Any]) -> None:
    import copy

    import torch

    from evalkit.scoring.choice import choose_scorer

    for name, expected in (("mistral-window", "forest"), ("mpt", "plain")):
        model = copy.deepcopy(build_model(name)).to(torch.bfloat16)
        _, choice = choose_scorer(model, max_length=MAX_LENGTH)
        assert choice.name == expected, choice.reason


def test_the_wish_is_obeyed_or_refused(mistral: Any, build_model: Callable[[str], Any]) -> None:
    from evalkit.scoring.choice import choose_scorer

    assert choose_scorer(mistral, max_length=MAX_LENGTH, kind="plain")[1].reason == "asked for"
    assert choose_scorer(mistral, max_length=MAX_LENGTH, kind="forest")[0].name == "forest"
    with pytest.raises(ConfigError, match="not exact for this model"):
        choose_scorer(build_model("mamba"), max_length=MAX_LENGTH, kind="forest")
    with pytest.raises(ConfigError, match="did you mean 'forest'"):
        choose_scorer(mistral, max_length=MAX_LENGTH, kind="forrest")


def test_flash_attention_is_named_as_the_reason(mistral: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.scoring.choice import choose_scorer

    monkeypatch.setattr(mistral.config, "_attn_implementation_internal", "flash_attention_2", raising=False)
    _, choice = choose_scorer(mistral, max_length=MAX_LENGTH)
    assert choice.name == "plain"
    assert "flash_attention_2 takes no mask" in choice.reason
