"""Fingerprints: different whenever an answer could be, and no slower than they must be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from evalkit.models import fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    return folder


def test_one_changed_byte_in_the_middle_of_the_weights_is_seen(folder: Path) -> None:
    weights = folder / "model.safetensors"
    before, status = fingerprint.of_folder(folder), weights.stat()
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    # The size is the same, and so is the modification time after rsync -t or cp -p.
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint.of_folder(folder) != before


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "modeling_own.py"])
def test_what_changes_answers_is_covered(folder: Path, name: str) -> None:
    before = fingerprint.of_folder(folder)
    (folder / name).write_text('{"a": 1}')
    assert fingerprint.of_folder(folder) != before


def test_what_cannot_change_answers_is_not(folder: Path) -> None:
    before = fingerprint.of_folder(folder)
    for name in ("README.md", "pytorch_model.bin", "optimizer.pt"):  # transformers prefers the safetensors file
        (folder / name).write_text("x")
    assert fingerprint.of_folder(folder) == before


def test_the_same_files_elsewhere_have_the_same_fingerprint(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "copy"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    assert fingerprint.of_folder(other) == fingerprint.of_folder(folder)


def test_files_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint.of_folder(folder)
    monkeypatch.setattr(hashlib, "sha256", _sha256_of_small_things_only)
    assert fingerprint.of_folder(folder) == first


_sha256 = hashlib.sha256


def _sha256_of_small_things_only(data: bytes | None = None) -> object:
    assert data is not None, "a file was read again"
    return _sha256(data)


def test_a_damaged_or_unwritable_cache_only_costs_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fingerprint.of_folder(folder)
    fingerprint._cache_file().write_text("{not json")
    assert fingerprint.of_folder(folder) == expected
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fingerprint.of_folder(folder) == expected


class Letters:
    """A tokenizer of one id a character."""

    def __init__(self, shift: int) -> None:
        self.shift = shift

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [ord(letter) + self.shift for letter in text]


def test_a_tokenizer_is_known_by_its_ids() -> None:
    assert fingerprint.of_tokenizer(Letters(0)) == fingerprint.of_tokenizer(Letters(0))
    assert fingerprint.of_tokenizer(Letters(0)) != fingerprint.of_tokenizer(Letters(1))


def test_files_of_one_name_in_two_folders_both_count(tmp_path: Path) -> None:
    files = [tmp_path / "config.json", tmp_path / "a" / "w.safetensors", tmp_path / "b" / "w.safetensors"]
    for number, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes([number]))
    before = fingerprint.of_listing(files)
    assert list(fingerprint.of_files(files)) == ["a/w.safetensors", "b/w.safetensors", "config.json"]
    for file in files:
        kept = file.read_bytes()
        file.write_bytes(b"other")
        assert fingerprint.of_listing(files) != before
        file.write_bytes(kept)
    assert fingerprint.of_listing(files) == before


@pytest.mark.parametrize("name", ["ice_text.model", "words.bpe", "helper.py", "parts/table.txt", "any_other_name"])
def test_whatever_a_tokenizers_own_code_may_read_is_its_identity(tmp_path: Path, name: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["a.T", null]}}', encoding="utf-8")
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("aa 1", encoding="utf-8")
    before = fingerprint.of_tokenizer_files(tmp_path)
    file.write_text("ab 1", encoding="utf-8")
    assert fingerprint.of_tokenizer_files(tmp_path) != before


def test_weights_and_documentation_are_not_a_tokenizers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoTokenizer": ["a.T", null]}}', encoding="utf-8")
    before = fingerprint.of_tokenizer_files(tmp_path)
    for name in ("model.safetensors", "README.md", ".gitattributes"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert fingerprint.of_tokenizer_files(tmp_path) == before
