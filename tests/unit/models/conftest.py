"""Checkpoints on disk for the tests of the adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from evalkit.models import tiny


def write_checkpoint(folder: Path, *, chat_template: bool = True, shards: bool = False, tied: bool = False) -> Path:
    """Write the tiny model as a checkpoint folder that every transformers from 4.45 on can read.

    Written by hand, since a tokenizer saved by transformers 5 names a class that 4.45 does not have.
    """
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    model = tiny.model(torch.float32)
    if tied:
        model = MistralForCausalLM(MistralConfig(**{**tiny.CONFIG, "tie_word_embeddings": True}))
    model.save_pretrained(folder, max_shard_size="500KB" if shards else "5GB")
    text = resources.files("evalkit.models.tiny").joinpath("tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": tiny.BOS, "eos_token": tiny.EOS}
    config |= {"pad_token": tiny.PAD, "clean_up_tokenization_spaces": False}
    if chat_template:
        config["chat_template"] = tiny.CHATML
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def make_checkpoint() -> Callable[..., Path]:
    """`write_checkpoint`."""
    return write_checkpoint


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete checkpoint; tests must not change it."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def own_checkpoint(tmp_path: Path) -> Path:
    """A complete checkpoint that the test may damage."""
    return write_checkpoint(tmp_path / "model")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are cached in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
