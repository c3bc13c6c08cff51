"""The built-in model: the same on every machine, complete, and not degenerate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.models import fingerprint, tiny
from evalkit.models.tiny import train_tokenizer

TOKENIZER = tiny.tokenizer()

pytestmark = pytest.mark.model


def test_weights_are_the_recorded_ones() -> None:
    """Recorded with NumPy 2.3 and 1.26: a difference means that no score of `tiny` can be compared any more."""
    assert tiny.fingerprint() == "43f827531b9dd974c82c2188449ba35e335c31f5a57e2a3caee7834cc6721f05"
    assert fingerprint.of_tokenizer(TOKENIZER) == "1ebd9ddbc330eaead533b54c532c05575d04785e75e90400c51affa9ee0d029e"


def test_the_fingerprint_covers_every_parameter() -> None:
    model = tiny.model(torch.float32)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes == tiny._shapes()
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), tiny.weight(name, tuple(parameter.shape)))


def test_answers_are_sure_of_something_but_not_of_everything() -> None:
    ids = torch.tensor([TOKENIZER.encode("Question: Which is the largest planet?\nAnswer: Jupiter, of course.")])
    with torch.no_grad():
        probabilities = tiny.model(torch.float32)(ids).logits.softmax(-1)[0]
    best = probabilities.max(-1).values
    assert 0.002 < best.min() < best.max() < 0.9
    assert len(set(probabilities.argmax(-1).tolist())) > len(best) // 2


@settings(max_examples=200)
@given(st.text())
def test_every_string_survives_the_tokenizer(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert max(ids, default=0) < tiny.VOCABULARY_SIZE == len(TOKENIZER)


def test_bos_is_added_only_where_asked_for() -> None:
    assert TOKENIZER.encode("Paris")[0] != tiny.CONFIG["bos_token_id"]
    assert tiny.tokenizer(add_bos=True).encode("Paris") == [tiny.CONFIG["bos_token_id"], *TOKENIZER.encode("Paris")]


def test_special_tokens_have_the_configured_ids() -> None:
    assert TOKENIZER.convert_tokens_to_ids(list(tiny.SPECIAL_TOKENS)) == [0, 1, 2, 3]
    assert (TOKENIZER.bos_token_id, TOKENIZER.pad_token_id, TOKENIZER.eos_token_id) == (0, 1, 3)
    assert TOKENIZER.encode("<|im_start|>user") == [2, *TOKENIZER.encode("user")]


def test_chat_template_is_chatml() -> None:
    history = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert TOKENIZER.apply_chat_template(history, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_shipped_tokenizer_is_of_the_kind_that_training_makes() -> None:
    trained = json.loads(train_tokenizer.train())
    shipped_file = Path(tiny.__file__).with_name("tokenizer.json")
    shipped = json.loads(shipped_file.read_text(encoding="utf-8"))
    assert shipped_file.stat().st_size < 100_000
    for document in (trained, shipped):
        assert len(document["model"]["vocab"]) == tiny.VOCABULARY_SIZE
        assert all(isinstance(pair, str) for pair in document["model"]["merges"])
    assert {key: trained[key] for key in trained if key != "model"} == {
        key: shipped[key] for key in shipped if key != "model"
    }
