"""tekken.json alone, GPT-2's files alone, tokenizers with code of their own; oracles: mistral_common, tokenizers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import ModelError
from evalkit.models.checkpoints import Checkpoint
from evalkit.models.loading import load_tokenizer

pytestmark = pytest.mark.model


def loaded(folder: Path, *, add_bos: bool = False) -> Any:
    import transformers

    checkpoint = Checkpoint(name=str(folder), folder=folder, origin="folder")
    return load_tokenizer(checkpoint, transformers.AutoTokenizer, trust_remote_code=True, add_bos=add_bos)


@pytest.mark.parametrize("add_bos", [False, True])
def test_a_tekken_file_begins_texts_as_mistral_common_does(tmp_path: Path, add_bos: bool) -> None:
    tekken = pytest.importorskip("mistral_common.tokens.tokenizers.tekken", reason="mistral-common is not installed")
    words = [bytes([k]) for k in range(256)] + [b"ab", b"  ", b"re", b"th", b"the"]
    vocab = [
        {"rank": k, "token_bytes": base64.b64encode(word).decode(), "token_str": None} for k, word in enumerate(words)
    ]
    pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    config = {
        "pattern": pattern,
        "num_vocab_tokens": len(words),
        "default_vocab_size": len(words) + 20,
        "default_num_special_tokens": 20,
        "version": "v3",
    }
    (tmp_path / "tekken.json").write_text(json.dumps({"config": config, "vocab": vocab}), encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mistral"}), encoding="utf-8")
    own = tekken.Tekkenizer.from_file(str(tmp_path / "tekken.json"))
    tokenizer = loaded(tmp_path, add_bos=add_bos)
    assert tokenizer.encode("the ab") == own.encode("the ab", bos=True, eos=False)
    assert tokenizer.encode("the ab", add_special_tokens=False) == own.encode("the ab", bos=False, eos=False)


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "GPT2TokenizerFast", None])
@pytest.mark.parametrize("kind", ["granite", "gpt_bigcode", "starcoder2", "gpt2"])
def test_vocabulary_and_merges_alone_are_gpt2s(tmp_path: Path, name: str | None, kind: str) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    text = "def f(x):\n    return x  # ok\n\n    12345 don't the theme of them"
    own.train_from_iterator([text], trainer)
    own.model.save(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name} if name else {}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    assert loaded(tmp_path).encode(text) == own.encode(text).ids


CODE = """
from transformers import PreTrainedTokenizer


class OldTokenizer(PreTrainedTokenizer):
    def __init__(self, **options):
        {body}
        super().__init__(**options)

    @property
    def vocab_size(self):
        return 1

    def get_vocab(self):
        return {{"a": 0}}

    def _tokenize(self, text):
        return ["a"]

    def _convert_token_to_id(self, token):
        return 0

    def _convert_id_to_token(self, index):
        return "a"

    def {method}
"""


@pytest.mark.parametrize(
    ("body", "method"),
    [
        ("self.special = list(type(self).vocab_size)", "other(self): pass"),  # while it is made, as Qwen's
        ("pass", "_encode_plus(self, text): return {}"),  # only when it is used, as ChatGLM's
    ],
)
def test_own_code_for_another_release_is_one_line_with_the_remedy(tmp_path: Path, body: str, method: str) -> None:
    (tmp_path / "tokenization_old.py").write_text(CODE.format(body=body, method=method), encoding="utf-8")
    settings = {
        "tokenizer_class": "OldTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_old.OldTokenizer", None]},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"own tokenizer code does not run with transformers .*--tokenizer") as caught:
        loaded(tmp_path)
    assert "\n" not in str(caught.value)
