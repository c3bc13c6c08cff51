"""`checkpoints`: every way in which a folder can fail to be a checkpoint ends in one line with a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.errors import ModelError
from evalkit.models import checkpoints
from evalkit.models.checkpoints import Checkpoint, find_local

pytestmark = pytest.mark.model


def checked(folder: Path) -> None:
    checkpoint = Checkpoint(name=str(folder), folder=folder, origin="folder")
    checkpoint.config()
    checkpoints.check_tokenizer(checkpoint)
    checkpoints.check_weights(checkpoint)


def test_a_complete_checkpoint_passes(checkpoint_folder: Path) -> None:
    checked(checkpoint_folder)
    found = find_local(str(checkpoint_folder))
    assert found == Checkpoint(name=str(checkpoint_folder), folder=checkpoint_folder, origin="folder")


def test_a_sharded_checkpoint_passes(tmp_path: Path, make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint(tmp_path, shards=True)
    assert len(checkpoints.weight_files(folder)) > 1
    checked(folder)


@pytest.mark.parametrize("name", ["gpt2", "NousResearch/Hermes-2-Pro-Mistral-7B", "a.b/c_d-e"])
def test_a_hub_id_is_not_local(name: str) -> None:
    assert find_local(name) is None


@pytest.mark.parametrize("name", ["./no/such", "/no/such/folder", "a/b/c", "results/x y", "~/no-such-model", "../gone"])
def test_a_path_to_nothing(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        find_local(name)
    assert str(caught.value) == f"{name}: no such folder, and not a hub id of the form 'owner/name'"


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_text("")
    with pytest.raises(ModelError, match=r"a model is a folder with config\.json and weights, and this is a file"):
        find_local(str(file))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "{d}: config.json is missing; this is not a checkpoint"),
        (
            lambda d: (d / "config.json").rename(d / "adapter_config.json"),
            "{d}: this is a PEFT adapter, not a model; merge it into its base model first",
        ),
        (
            lambda d: (d / "config.json").write_text('{\n "model_type": "mistral",\n}'),
            "{d}/config.json: bad JSON at line 3: ",
        ),
        (lambda d: (d / "config.json").write_text("[]"), "{d}/config.json: a JSON object is expected here"),
        (lambda d: (d / "config.json").write_bytes(b"\xff\xfe"), "{d}/config.json: cannot be read: UnicodeDecodeError"),
        (lambda d: (d / "tokenizer.json").unlink(), "{d}: no tokenizer (no tokenizer.json, "),
        (lambda d: (d / "model.safetensors").unlink(), "{d}: no weights (model.safetensors or "),
        (lambda d: cut(d / "model.safetensors"), "{d}/model.safetensors: damaged safetensors file (SafetensorError: "),
        (
            lambda d: (d / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
            "{d}/model.safetensors: damaged safetensors file (SafetensorError: ",
        ),
    ],
)
def test_each_damage_is_named(own_checkpoint: Path, damage: object, message: str) -> None:
    damage(own_checkpoint)  # type: ignore[operator]
    with pytest.raises(ModelError) as caught:
        checked(own_checkpoint)
    assert str(caught.value).startswith(message.format(d=own_checkpoint))
    assert "\n" not in str(caught.value)


def test_missing_shards_are_counted(tmp_path: Path, make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint(tmp_path, shards=True)
    files = checkpoints.weight_files(folder)
    for file in files[:2]:
        file.unlink()
    with pytest.raises(ModelError) as caught:
        checked(folder)
    expected = f"{folder}: weights are missing: {files[0].name} and 1 more; complete the download or the export"
    assert str(caught.value) == expected


def test_safetensors_are_preferred_to_pickled_weights(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_text("")
    assert checkpoints.weight_files(tmp_path) == [tmp_path / "pytorch_model.bin"]
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "x", "b": "x", "c": "y"}}))
    assert checkpoints.weight_files(tmp_path) == [tmp_path / "x", tmp_path / "y"]


def test_first_line_is_short_and_never_empty() -> None:
    assert checkpoints.first_line(ValueError("one\ntwo")) == "ValueError: one"
    assert checkpoints.first_line(KeyError()) == "KeyError"
    assert len(checkpoints.first_line(ValueError("x" * 9999))) < 320
