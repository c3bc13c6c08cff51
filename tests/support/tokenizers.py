"""Tokenizers in the manner of the common families: Mistral's real one, and ones trained on the samples."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.models.sentencepieces import as_sentencepiece
from evalkit.paths import SAMPLES
from tests.real.make_model import NAME, TOKENIZER, cache_folder

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
_LLAMA3 = _WORDS + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def mistral_file() -> Path:
    """Return the SentencePiece file of Mistral 7B v0.1 that `make real-model` fetches; else skips the test."""
    file = cache_folder() / TOKENIZER
    if not file.is_file():
        pytest.skip(f"Mistral's tokenizer is not at {file}; make real-model fetches it")
    return file


def write_mistral(folder: Path) -> Path:
    """Write Mistral's tokenizer as a checkpoint has it."""
    (folder / "tokenizer.model").write_bytes(mistral_file().read_bytes())
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings |= {"pad_token": "</s>", "clean_up_tokenization_spaces": False}  # type: ignore[dict-item]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def _texts() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(SAMPLES.rglob("*.json*"))]


def _fast(backend: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def _byte_level(pattern: str | None, normalizer: Any = None) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(ignore_merges=pattern is _LLAMA3))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    split = [] if pattern is None else [pre_tokenizers.Split(Regex(pattern), "isolated")]
    backend.pre_tokenizer = pre_tokenizers.Sequence([*split, level])
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        _texts(),
        trainers.BpeTrainer(
            vocab_size=2000, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return _fast(backend)


def gpt2() -> Any:
    """Byte-level, as GPT-2 and SmolLM2."""
    return _byte_level(None)


def llama3() -> Any:
    """Byte-level, with Llama 3's pattern."""
    return _byte_level(_LLAMA3)


def qwen2() -> Any:
    """Byte-level, with Qwen 2's pattern and its normal form."""
    from tokenizers import normalizers

    return _byte_level(_QWEN2, normalizers.NFC())


def gemma() -> Any:
    """Spaces replaced by the mark in a normalizer, nothing put before a text, bytes where a character is unknown."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *_BYTES]
    lines = [word for text in _texts() for word in re.findall(" *[^ ]+", text)]
    backend.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=1500, special_tokens=special, show_progress=False)
    )
    return _fast(_bytes_are_text(backend))


def unigram() -> Any:
    """A Unigram model with the mark before every text, as T5 and XLNet have it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    backend.train_from_iterator(
        _texts(),
        trainers.UnigramTrainer(
            vocab_size=1200,
            special_tokens=["<unk>", "<s>", "</s>"],
            unk_token="<unk>",
            initial_alphabet=[chr(code) for code in (10, 9, *range(33, 127))],
            show_progress=False,
        ),
    )
    return _fast(backend)


def _bytes_are_text(backend: Any) -> Any:
    """Make the byte tokens ordinary ones: a trainer only takes them as special, and special tokens are left out."""
    from tokenizers import Tokenizer

    body = json.loads(backend.to_str())
    body["added_tokens"] = [token for token in body["added_tokens"] if token["content"] not in _BYTES]
    return Tokenizer.from_str(json.dumps(body))


@functools.cache
def mistral() -> Any:
    """The real one."""
    import tempfile

    from transformers import AutoTokenizer

    mistral_file()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = AutoTokenizer.from_pretrained(str(write_mistral(Path(folder))))
        as_sentencepiece(Path(folder), tokenizer)
        return tokenizer


@functools.cache
def smollm2() -> Any:
    """The real one, of the model that `make real-model` makes."""
    from transformers import AutoTokenizer

    folder = cache_folder() / NAME
    if not folder.is_dir():
        pytest.skip(f"SmolLM2 is not at {folder}; make real-model makes it")
    return AutoTokenizer.from_pretrained(str(folder))


FAMILIES: dict[str, Callable[[], Any]] = {
    "mistral": mistral,
    "smollm2": smollm2,
    "gpt2": functools.cache(gpt2),
    "llama3": functools.cache(llama3),
    "qwen2": functools.cache(qwen2),
    "gemma": functools.cache(gemma),
    "unigram": functools.cache(unigram),
}
