"""`checkpoints`: every way in which a folder can fail to be a checkpoint ends in one line with a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.errors import ModelError, first_line
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
            "{d}: this is a PEFT adapter, not a model; name both: --model BASE --adapter {d}",
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
            "{d}/model.safetensors: a Git LFS pointer, not the file itself; fetch it with git lfs pull in {d}",
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
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"a": "x", "b": "x", "c": "y"}})
    )
    assert checkpoints.weight_files(tmp_path) == [tmp_path / "x", tmp_path / "y"]


class FakeHub:
    """Stands for huggingface_hub.snapshot_download: serves a folder's files by pattern, or raises."""

    def __init__(self, source: Path, cache: Path, error: Exception | None = None) -> None:
        self.source, self.folder, self.error = source, cache / "0123abcd", error
        self.revisions: list[str | None] = []

    def __call__(self, name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert name == "owner/name"
        if self.error is not None:
            raise self.error
        self.revisions.append(revision)
        self.folder.mkdir(exist_ok=True)
        for pattern in allow_patterns:
            for file in self.source.glob(pattern):
                (self.folder / file.name).write_bytes(file.read_bytes())
        return str(self.folder)


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("pickled", [False, True])
def test_only_the_weights_that_are_used_are_downloaded(
    tmp_path: Path,
    make_checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    shards: bool,
    pickled: bool,
) -> None:
    source = make_checkpoint(tmp_path / "source", shards=shards)
    if pickled:
        for file in source.glob("model*"):
            # Names are all that counts here.
            text = file.read_bytes().replace(b".safetensors", b".bin").replace(b'"model-', b'"pytorch_model-')
            file.with_name(file.name.replace("model", "pytorch_model").replace("safetensors", "bin")).write_bytes(text)
            file.unlink()
    else:
        (source / "pytorch_model.bin").write_text("the same weights again")
    (source / "consolidated.safetensors").write_text("and again")
    hub = FakeHub(source, tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    checkpoint = checkpoints.fetch_from_huggingface("owner/name", "v1")
    assert checkpoint == Checkpoint("owner/name", hub.folder, "huggingface hub", "0123abcd")
    assert set(hub.revisions) == {"v1"}
    expected = {file.name for file in checkpoints.weight_files(source)}
    loaded = {file.name for file in hub.folder.iterdir() if file.suffix in (".safetensors", ".bin")}
    assert loaded == expected
    assert len(expected) > 1 if shards else len(expected) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("GatedRepoError", "owner/name: access to this repository is closed; accept its terms on "),
        ("RepositoryNotFoundError", "owner/name: no such folder here and no such model on "),
        ("RevisionNotFoundError", "owner/name: the repository has no revision 'v9'; check its branches and commits"),
        ("LocalEntryNotFoundError", "owner/name: no such folder here, not in the cache "),
        ("OfflineModeIsEnabled", "owner/name: no such folder here, not in the cache "),
        ("HfHubHTTPError", "owner/name: download from https://huggingface.co failed: HfHubHTTPError"),
    ],
)
def test_refusals_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, expected: str) -> None:
    from huggingface_hub import errors

    exception = getattr(errors, error).__new__(getattr(errors, error))
    monkeypatch.setattr("huggingface_hub.snapshot_download", FakeHub(tmp_path, tmp_path, exception))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    with pytest.raises(ModelError) as caught:
        checkpoints.fetch_from_huggingface("owner/name", "v9")
    assert str(caught.value).startswith(expected)


def test_first_line_is_short_and_never_empty() -> None:
    assert first_line(ValueError("one\ntwo")) == "ValueError: one"
    assert first_line(KeyError()) == "KeyError"
    assert len(first_line(ValueError("x" * 9999))) < 320


OBJECTS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
)


@pytest.mark.parametrize("name", [*OBJECTS, "added_tokens.json", "chat_template.json"])
@pytest.mark.parametrize("content", ['{"eos_token_id": 2,', "[]", "null", "", "\ufeff{}", '"text"'])
def test_a_damaged_json_file_is_named(own_checkpoint: Path, name: str, content: str) -> None:
    from evalkit.models.openmind import OpenMindLM

    (own_checkpoint / name).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        OpenMindLM(str(own_checkpoint), device="cpu")
    assert str(caught.value).startswith(f"{own_checkpoint / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ['"2"', "[2, null]", "2.5", "true"])
def test_an_end_token_that_is_no_number_is_named(own_checkpoint: Path, end: str) -> None:
    from evalkit.models.openmind import OpenMindLM

    (own_checkpoint / "generation_config.json").write_text(f'{{"eos_token_id": {end}}}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"generation_config\.json: eos_token_id must be"):
        OpenMindLM(str(own_checkpoint), device="cpu")


@pytest.mark.parametrize("map_", ["null", '["model.safetensors"]', '{"a": 1}', "{}", '"x"', '{"a": ""}'])
def test_an_index_without_files_is_named(tmp_path: Path, make_checkpoint: Callable[..., Path], map_: str) -> None:
    folder = make_checkpoint(tmp_path, shards=True)
    index = folder / "model.safetensors.index.json"
    index.write_text(f'{{"metadata": {{}}, "weight_map": {map_}}}', encoding="utf-8")
    with pytest.raises(ModelError, match="'weight_map' must name the file of each weight"):
        checked(folder)


def test_an_index_without_metadata_is_named(tmp_path: Path, make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint(tmp_path, shards=True)
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    del content["metadata"]
    index.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match=r"index\.json: no 'metadata'"):
        checked(folder)
    content["metadata"] = {}
    index.write_text(json.dumps(content), encoding="utf-8")
    checked(folder)


def test_who_went_offline_is_said_truly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors

    from evalkit.data import offline

    exception = errors.LocalEntryNotFoundError.__new__(errors.LocalEntryNotFoundError)
    monkeypatch.setattr("huggingface_hub.snapshot_download", FakeHub(tmp_path, tmp_path, exception))
    monkeypatch.setattr(offline, "_set_here", [])
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set; give a local folder, or unset it to download"):
        checkpoints.fetch_from_huggingface("owner/name", None)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    offline.go_offline()
    with pytest.raises(ModelError, match="cannot be reached; give a local folder, or set HF_ENDPOINT to a mirror"):
        checkpoints.fetch_from_huggingface("owner/name", None)


def test_a_missing_tokenizer_names_the_option(own_checkpoint: Path) -> None:
    (own_checkpoint / "tokenizer.json").rename(own_checkpoint / "tokenizer.model.v3")
    with pytest.raises(ModelError, match=r"tokenizer\.model\.v3: a SentencePiece file .*; copy it to tokenizer\.model"):
        checkpoints.check_tokenizer(Checkpoint("m", own_checkpoint, "folder"))
    (own_checkpoint / "tokenizer.model.v3").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer .*with --tokenizer$"):
        checkpoints.check_tokenizer(Checkpoint("m", own_checkpoint, "folder"))


def test_a_tekken_file_alone_needs_its_package(own_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.models import tokenizer_packages as packages

    (own_checkpoint / "tokenizer.json").rename(own_checkpoint / "tekken.json")
    monkeypatch.setattr(packages, "_is_there", lambda _: False)
    with pytest.raises(ModelError, match="needs mistral-common, not installed here; pip install mistral-common"):
        packages.check_tokenizer_packages(own_checkpoint)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 493443\n"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_a_git_lfs_pointer_is_named_as_such(own_checkpoint: Path, name: str) -> None:
    from evalkit.models.openmind import OpenMindLM

    (own_checkpoint / name).write_text(POINTER, encoding="utf-8")
    with pytest.raises(ModelError, match="a Git LFS pointer, not the file itself; fetch it with git lfs pull in") as e:
        OpenMindLM(pretrained=str(own_checkpoint), device="cpu")
    assert str(own_checkpoint / name) in str(e.value)


def test_a_pointer_in_place_of_weights_that_are_not_loaded_does_not_matter(own_checkpoint: Path) -> None:
    from evalkit.models.openmind import OpenMindLM

    (own_checkpoint / "pytorch_model.bin").write_text(POINTER, encoding="utf-8")
    OpenMindLM(pretrained=str(own_checkpoint), device="cpu")


def test_a_pointer_in_place_of_an_adapter_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "adapter_model.safetensors").write_text(POINTER, encoding="utf-8")
    with pytest.raises(ModelError, match="git lfs pull"):
        checkpoints.adapter_files(tmp_path)


def test_a_message_that_goes_on_after_its_first_line_is_told_to_its_end() -> None:
    error = ValueError("cannot be made of:\n(1) a file\nor more")
    assert first_line(error) == "ValueError: cannot be made of: (1) a file"
    assert first_line(ValueError("because:\n")) == "ValueError: because"
