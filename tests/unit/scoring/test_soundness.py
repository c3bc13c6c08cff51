"""One look at a loaded model: decoders of several kinds pass, encoders and broken weights do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as t

from evalkit.scoring.soundness import positions, soundness

pytestmark = pytest.mark.model

ROWS = 300
SMALL: dict[str, Any] = {"vocab_size": ROWS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 64, "max_position_embeddings": 64}
GPT2: dict[str, Any] = {"vocab_size": ROWS, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}

DECODERS: dict[str, Callable[[], Any]] = {
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**SMALL)),
    "mistral, sliding window": lambda: t.MistralForCausalLM(
        t.MistralConfig(**SMALL, num_key_value_heads=1, sliding_window=4)
    ),
    "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**GPT2)),
    "opt": lambda: t.OPTForCausalLM(t.OPTConfig(**SMALL, ffn_dim=64, word_embed_proj_dim=32)),
    "bloom": lambda: t.BloomForCausalLM(t.BloomConfig(vocab_size=ROWS, hidden_size=32, n_layer=2, n_head=2)),
    "neox": lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**SMALL)),
    "bert, a decoder": lambda: t.BertLMHeadModel(t.BertConfig(**SMALL, is_decoder=True)),
}
ENCODERS: dict[str, Callable[[], Any]] = {
    "bert": lambda: t.BertLMHeadModel(t.BertConfig(**SMALL, initializer_range=0.2)),
    "roberta": lambda: t.RobertaForCausalLM(t.RobertaConfig(**SMALL, initializer_range=0.2)),
}


def made(make: Callable[[], Any], dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return make().to(dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", DECODERS)
def test_decoders_are_causal(kind: str, dtype: torch.dtype) -> None:
    found = soundness(made(DECODERS[kind], dtype), ROWS, 64)
    assert found.is_causal
    assert found.has_numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders_are_not(kind: str, dtype: torch.dtype) -> None:
    assert not soundness(made(ENCODERS[kind], dtype), ROWS, 64).is_causal


def test_broken_weights_show() -> None:
    model = made(DECODERS["llama"])
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    assert not soundness(model, ROWS, 64).has_numbers


@pytest.mark.parametrize("kind", ["gpt2", "opt", "bert, a decoder"])
def test_learned_positions_end_where_the_model_says(kind: str) -> None:
    model = made(DECODERS[kind])
    assert positions(model) == (64, True)
    row = torch.zeros(1, 64, dtype=torch.long)
    model(input_ids=row)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.zeros(1, 65, dtype=torch.long))


def test_rotary_positions_go_on() -> None:
    model = made(DECODERS["llama"])
    assert positions(model) == (64, False)
    model(input_ids=torch.zeros(1, 65, dtype=torch.long))
    assert positions(made(DECODERS["bloom"])) is None
