"""Texts of transformers' own loop are those of rows alone, whatever a model or a setting makes of the padding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from tests.unit.scoring.conftest import VOCABULARY

pytestmark = pytest.mark.model
IDS = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
# Neither says that padding is no matter to it: the one has a state, the other makes its mask of the ids.
KINDS: dict[str, dict[str, Any]] = {
    "MiniMaxConfig": {
        **{"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 2, "num_experts_per_tok": 1},
        **{"head_dim": 8, "layer_types": ["linear_attention", "full_attention"], "max_position_embeddings": 128},
    },
    "CpmAntConfig": {
        **{"vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "dim_head": 8, "dim_ff": 64},
        **{"num_hidden_layers": 2, "prompt_length": 4, "max_distance": 64, "position_bias_num_buckets": 16},
    },
}
PROMPTS = [tuple(range(7, 7 + length)) for length in (19, 4, 11, 11, 6)]


class _Tokenizer:
    """As many letters as there are tokens; its padding is another token than the model's."""

    pad_token_id: int | None = 3
    eos_token_id = None
    all_special_ids: tuple[int, ...] = ()
    all_special_tokens: tuple[str, ...] = ()
    added_tokens_decoder: Mapping[int, Any] = MappingProxyType({})

    def __len__(self) -> int:
        return VOCABULARY

    def decode(self, ids: Any, **_: Any) -> str:
        return "".join(chr(0x4E00 + int(token)) for token in ids)


def model_of(kind: str) -> Any:
    import torch
    import transformers

    if not hasattr(transformers, kind):
        pytest.skip(f"this transformers has no {kind}")
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**KINDS[kind] | IDS)).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.2)
    model.generation_config.eos_token_id = None
    return model


def texts(model: Any, tokenizer: Any, *, rows: int, **settings: Any) -> list[str | None]:
    from evalkit.scoring.generate_transformers import Wish, generate

    wishes = [Wish(prompt, (), 8, {"do_sample": False, **settings}) for prompt in PROMPTS]
    return generate(model, tokenizer, wishes, max_length=64, rows=rows)


def of_transformers(model: Any, tokenizer: Any, **settings: Any) -> list[str]:
    """Row by row, without anything of evalkit's."""
    import torch

    found = []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            whole = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, **settings
            )
        new = whole[0, len(prompt) :].tolist()
        ends = model.generation_config.eos_token_id or []
        stop = next((place + 1 for place, token in enumerate(new) if token in ends), len(new))
        found.append(tokenizer.decode(new[:stop]))  # its end tokens are no special ones
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_reads_padding_is_given_none(kind: str) -> None:
    model, tokenizer = model_of(kind), _Tokenizer()
    expected = of_transformers(model, tokenizer)
    assert len(set(expected)) > 2
    assert texts(model, tokenizer, rows=8) == expected == texts(model, tokenizer, rows=1)


@pytest.mark.parametrize(
    "settings", [{"min_length": 12}, {"no_repeat_ngram_size": 1}, {"num_beams": 2, "min_length": 12}, {"num_beams": 2}]
)
def test_a_setting_that_reads_padding_is_given_none(settings: dict[str, Any], mistral: Any) -> None:
    model, tokenizer = copy.deepcopy(mistral), _Tokenizer()
    model.generation_config.eos_token_id = list(range(0, VOCABULARY, 3))
    assert texts(model, tokenizer, rows=8, **settings) == of_transformers(model, tokenizer, **settings)


def test_a_padding_that_the_model_lacks_is_not_used(build_model: Callable[[str], Any]) -> None:
    tokenizer = _Tokenizer()
    tokenizer.pad_token_id = VOCABULARY
    for name in ("qwen2", "mamba"):
        model = copy.deepcopy(build_model(name))
        model.generation_config.eos_token_id = None
        assert texts(model, tokenizer, rows=8) == of_transformers(model, tokenizer)


@pytest.mark.parametrize("room", [2, 8, 9, 12])
def test_a_context_that_leaves_no_room_to_try_has_its_texts(room: int, mistral: Any) -> None:
    from evalkit.scoring.generate_transformers import Wish, generate

    wishes = [Wish(prompt, (), 1, {"do_sample": False}) for prompt in PROMPTS]
    found = [generate(mistral, _Tokenizer(), wishes, max_length=room, rows=rows) for rows in (8, 1)]
    assert found[0] == found[1]
    assert all(found[0])
