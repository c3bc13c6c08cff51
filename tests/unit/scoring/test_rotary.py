"""Models whose rotary embeddings change with the length: rows are what they are alone. The oracle is transformers."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest

from evalkit.scoring.requests import GenerationRequest, TokenRequest
from tests.unit.scoring.test_generate import tokenizer

pytestmark = pytest.mark.model

LENGTH = 32
MAX_LENGTH = 128
KINDS = ("longrope", "dynamic", "by-layer")


@functools.cache
def build(kind: str) -> Any:
    import torch
    import transformers

    if int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip("rope_parameters are of transformers 5")
    base = {
        "vocab_size": 120,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
    if kind == "longrope":
        factors = {"short_factor": [1.0] * 4, "long_factor": [3.0 + k for k in range(4)]}
        config: Any = transformers.Phi3Config(
            **base,
            max_position_embeddings=MAX_LENGTH,
            original_max_position_embeddings=LENGTH,
            rope_parameters={
                "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": LENGTH, **factors
            },
        )  # fmt: skip
    elif kind == "dynamic":
        config = transformers.LlamaConfig(**base, max_position_embeddings=LENGTH, rope_parameters=dynamic)
    else:
        config = transformers.Gemma3TextConfig(
            **base,
            head_dim=8,
            sliding_window=12,
            max_position_embeddings=LENGTH,
            layer_types=["sliding_attention", "full_attention"],
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                "full_attention": dynamic,
            },
        )
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.2)
    return model


def forget(model: Any) -> None:
    """What a new process would begin with."""
    import torch

    with torch.inference_mode():
        model(torch.zeros((1, 1), dtype=torch.long))


def prompts() -> list[str]:
    return ["a", "the quick brown", "what is", "b" * 20, "zz ab" * 9, "xy" * 30, "c"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loop", ["own", "transformers"])
def test_texts_are_those_of_generate_row_by_row(kind: str, loop: str) -> None:
    import torch

    from evalkit.scoring import generate_transformers
    from evalkit.scoring.generate_choice import choose_generator

    model = build(kind)
    requests = [GenerationRequest(prompt, (), new) for new in (8, 25) for prompt in prompts()]
    expected = []
    for request in requests:
        ids = tokenizer()(request.prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        forget(model)
        with torch.inference_mode():
            whole = model.generate(ids, do_sample=False, max_new_tokens=request.max_new_tokens)
        text = tokenizer().decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
        expected.append(text.split("</s>")[0])
    if loop == "own":
        generator, reason = choose_generator(model, tokenizer(), max_length=MAX_LENGTH)
        assert generator is not None, reason
        lengths = {row.tokens for row in generator.rows(requests)}
        assert min(lengths) < LENGTH < max(lengths)
        assert generator.generate(requests) == expected
        assert generator.generate(requests[::-1]) == expected[::-1]
        return
    wishes = [
        generate_transformers.Wish(
            tuple(tokenizer()(request.prompt, add_special_tokens=False)["input_ids"]),
            (),
            request.max_new_tokens,
            {"do_sample": False},
        )
        for request in requests
    ]
    assert generate_transformers.generate(model, tokenizer(), wishes, max_length=MAX_LENGTH, rows=8) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scorer_kind", ["auto", "plain"])
def test_log_probabilities_are_those_of_rows_alone(kind: str, scorer_kind: str) -> None:
    import torch

    from evalkit.scoring.choice import choose_scorer
    from evalkit.scoring.packs import score

    model = build(kind)
    stem = tuple(3 + (7 * k) % 110 for k in range(60))
    requests = [
        TokenRequest(stem[:length], (token, 9)) for length in (1, 5, 29, 30, 31, 32, 33, 34, 50, 60) for token in (4, 5)
    ]
    expected = []
    for request in requests:
        forget(model)
        ids = [*request.context_ids, *request.continuation_ids]
        with torch.inference_mode():
            logprobs = torch.log_softmax(model(torch.tensor([ids[:-1]]), use_cache=False).logits[0].float(), dim=-1)
        expected.append(sum(float(logprobs[k - 1, ids[k]]) for k in range(len(request.context_ids), len(ids))))
    scorer, _ = choose_scorer(model, max_length=MAX_LENGTH, kind=scorer_kind)
    for order in (requests, requests[::-1]):
        found = dict(zip(order, (logprob for logprob, _ in score(scorer, order)), strict=True))
        assert [found[request] for request in requests] == pytest.approx(expected, abs=1e-4)


def test_the_length_is_read_wherever_a_configuration_has_it() -> None:
    from evalkit.scoring.rotary import rotary_length

    def of(**settings: Any) -> int | None:
        return rotary_length(SimpleNamespace(**{"max_position_embeddings": 100, **settings}))

    assert of() is None
    assert of(rope_parameters={"rope_type": "default"}) is None
    assert of(rope_parameters={"rope_type": "yarn", "original_max_position_embeddings": 7}) is None
    assert of(rope_scaling={"type": "dynamic", "factor": 2.0}) == 100
    assert of(rope_scaling={"type": "su"}, original_max_position_embeddings=40) == 40
    assert of(rope_parameters={"rope_type": "longrope", "original_max_position_embeddings": 30}) == 30
    assert of(rope_parameters={"full_attention": {"rope_type": "dynamic"}, "sliding_attention": {}}) == 100
