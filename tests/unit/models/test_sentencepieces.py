"""A SentencePiece file without tokenizer.json: the oracle is SentencePiece itself, with Mistral's own file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import ModelError
from evalkit.models.checkpoints import Checkpoint
from evalkit.models.loading import load_tokenizer
from tests.support.tokenizers import mistral_file, write_mistral

pytestmark = pytest.mark.model


def loaded(folder: Path) -> Any:
    import transformers

    checkpoint = Checkpoint(name=str(folder), folder=folder, origin="folder")
    return load_tokenizer(checkpoint, transformers.AutoTokenizer, trust_remote_code=False, add_bos=False)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = write_mistral(tmp_path_factory.mktemp("mistral"))
    return loaded(folder), sentencepiece.SentencePieceProcessor(model_file=str(mistral_file()))


@given(
    st.lists(
        st.sampled_from(
            [
                " ",
                "  ",
                "\n",
                "\n    ",
                "        ",
                "\t",
                '"""',
                "return",
                "def f(x):",
                "x",
                "=",
                "1",
                "99",
                "é",
                "京",
                "🙂",
                ">>>",
            ]
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=300, deadline=None)
def test_texts_have_the_tokens_of_sentencepiece(both: tuple[Any, Any], parts: list[str]) -> None:
    tokenizer, own = both
    text = "".join(parts)
    assert tokenizer.encode(text, add_special_tokens=False) == own.encode(text)


@pytest.mark.parametrize("legacy", [None, True, False])
def test_either_rule_for_the_space_before_a_text(tmp_path: Path, both: tuple[Any, Any], legacy: bool | None) -> None:
    folder = write_mistral(tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "legacy": legacy}), encoding="utf-8")
    text = "def f(x):\n    return x\n"
    assert loaded(folder).encode(text, add_special_tokens=False) == both[1].encode(text)


def test_what_still_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentencepiece")
    folder = write_mistral(tmp_path)
    monkeypatch.setattr("evalkit.models.sentencepieces._order_merges", lambda *_: None)
    with pytest.raises(ModelError, match=r"tokenizer\.model: transformers encodes .*, SentencePiece itself as"):
        loaded(folder)


@pytest.mark.parametrize(
    ("option", "cause"),
    [
        ({"user_defined_symbols": ["\n", "    "]}, r"user-defined white space \('\\n', '    '\)"),
        ({"normalization_rule_name": "nfkc_cf"}, "the normalization nfkc_cf"),
        ({"remove_extra_whitespaces": True}, "the removal of extra white space"),
        ({"add_dummy_prefix": False}, r"no space before texts \(add_dummy_prefix: false\)"),
        ({"treat_whitespace_as_suffix": True}, r"white space at the end of words \(treat_whitespace_as_suffix\)"),
    ],
)
def test_why_a_file_cannot_be_converted_is_said(tmp_path: Path, option: dict[str, Any], cause: str) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    lines = (path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py")))
    plain = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in lines for line in text.splitlines() if line.strip()),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=900,
        model_type="bpe",
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **{**plain, **option},
    )
    said = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(ModelError, match=f"the file has {cause}, which transformers does not convert"):
        loaded(tmp_path)


# What transformers 4.57.x makes of Mistral's file alone: whether encode("ab") begins with <s>.
BEGINS = [
    ({"tokenizer_class": "LlamaTokenizer"}, "llama", True),
    ({"tokenizer_class": "LlamaTokenizer"}, "granite", True),
    ({"tokenizer_class": "LlamaTokenizerFast"}, "llama", True),
    ({"tokenizer_class": "LlamaTokenizer", "legacy": False}, "mistral", True),
    ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}, "llama", True),
    ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": False}, "llama", False),
    ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": None}, "llama", False),
    ({"tokenizer_class": "GemmaTokenizer"}, "gemma2", True),
    ({}, "mistral", True),
    ({}, "gemma", True),
    ({"add_bos_token": False}, "mixtral", False),
]


@pytest.mark.parametrize(("settings", "kind", "begins"), BEGINS)
def test_a_text_begins_with_bos_where_the_class_is_made_to(
    tmp_path: Path, settings: dict[str, Any], kind: str, begins: bool
) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = write_mistral(tmp_path)
    ends = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**ends, **settings}), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    own = sentencepiece.SentencePieceProcessor(model_file=str(mistral_file()))
    tokenizer = loaded(folder)
    assert tokenizer.encode("ab") == ([own.bos_id()] if begins else []) + own.encode("ab")
    assert tokenizer.encode("ab", add_special_tokens=False) == own.encode("ab")
