"""Where a checkpoint's files are, and whether they are all there.

A model is named by a folder or by a hub's id. Either way the answer is one folder on this machine, so that everything
after it (checks, loading, fingerprints) has a single case.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from evalkit.data.offline import chosen_by_user
from evalkit.errors import ModelError, first_line
from evalkit.paths import user_path

# A repository holds one of these, or it has no tokenizer. The last two are tokenizers that bring their own code.
TOKENIZER_PATTERNS = (
    "tokenizer.json",
    "tokenizer.model",
    "tekken.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "*.tiktoken",
    "tokenization_*.py",
)
# Everything but weights: small, and needed to know which weights there are.
SMALL_PATTERNS = ("*.json", "*.txt", "*.model", "*.py", "*.jinja", "*.tiktoken")
# In the order in which transformers prefers them.
WEIGHTS = (
    ("model.safetensors.index.json", "model*.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model*.bin"),
)
# JSON objects of a checkpoint and of a tokenizer; what is damaged in them transformers reports without the file's name,
# or not at all.
MODEL_JSON = ("config.json", "generation_config.json", "quantize_config.json", "quantization_config.json")
TOKENIZER_JSON = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "tokenizer.json",
    "vocab.json",
)
# How a file begins that Git LFS has not fetched; such a file has three lines.
LFS_POINTER, LFS_POINTER_BYTES = b"version https://git-lfs.github.com/", 1024
ADAPTER_CONFIG = "adapter_config.json"
# In the order in which transformers and peft prefer them.
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's files on this machine."""

    # What the user called it: a folder or a hub's id.
    name: str
    folder: Path
    origin: Literal["folder", "huggingface hub", "openmind hub"]
    # The hub's commit; None for a folder, whose content only the fingerprint identifies.
    revision: str | None = None

    def config(self) -> dict[str, Any]:
        """Return ``config.json``.

        Raises:
            ModelError: it is missing or is not a JSON object.
        """
        path = self.folder / "config.json"
        if not path.is_file():
            if (self.folder / ADAPTER_CONFIG).is_file():
                base = _json_object(self.folder / ADAPTER_CONFIG).get("base_model_name_or_path") or "BASE"
                raise ModelError(
                    f"{self.folder}: this is a PEFT adapter, not a model; "
                    f"name both: --model {base} --adapter {self.folder}"
                )
            raise ModelError(
                f"{self.folder}: config.json is missing; this is not a checkpoint that transformers can load"
            )
        return _json_object(path)


def find_local(name: str) -> Checkpoint | None:
    """Return the folder called ``name``, or None where the name can only be a hub's id.

    Raises:
        ModelError: the name is a file, or a path to nothing, or nothing that a hub would accept.
    """
    path = user_path(name)
    if path.is_dir():
        return Checkpoint(name=name, folder=path, origin="folder")
    if path.exists():
        raise ModelError(f"{name}: a model is a folder with config.json and weights, and this is a file")
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        raise ModelError(f"{name}: no such folder, and not a hub id of the form 'owner/name'")
    return None


def fetch_from_huggingface(name: str, revision: str | None) -> Checkpoint:
    """Download what is missing of a repository of the Hugging Face hub, or find it in the cache.

    HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME and HF_TOKEN mean what they mean to huggingface_hub.

    Raises:
        ModelError: unknown or closed repository, unknown revision, or neither network nor cached files.
    """
    from huggingface_hub import constants, errors, snapshot_download

    def snapshot(patterns: tuple[str, ...]) -> Path:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))

    try:
        folder = snapshot(SMALL_PATTERNS)
        for index, pattern in WEIGHTS:
            if not any((folder / file).is_file() for file, _ in WEIGHTS) or (folder / index).is_file():
                # The one file first: with it, an index and its shards are not used.
                folder = snapshot((*SMALL_PATTERNS, single := pattern.replace("*", "")))
                if (folder / single).is_file():
                    break
                folder = snapshot((*SMALL_PATTERNS, pattern))
                if next(folder.glob(pattern), None) is not None:
                    break
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{name}: access to this repository is closed; accept its terms on {constants.ENDPOINT} and set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"{name}: no such folder here and no such model on {constants.ENDPOINT}; check the spelling, "
            "or set HF_TOKEN if it is private"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(
            f"{name}: the repository has no revision '{revision}'; check its branches and commits"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        chosen = chosen_by_user()
        cause = "HF_HUB_OFFLINE is set" if chosen else f"{constants.ENDPOINT} cannot be reached"
        remedy = "unset it to download" if chosen else "set HF_ENDPOINT to a mirror"
        raise ModelError(
            f"{name}: no such folder here, not in the cache {constants.HF_HUB_CACHE}, and {cause}; "
            f"give a local folder, or {remedy}"
        ) from error
    except Exception as error:  # whatever else the hub's client or the connection raises
        raise ModelError(f"{name}: download from {constants.ENDPOINT} failed: {first_line(error)}") from error
    # A snapshot's folder is called by its commit.
    return Checkpoint(name=name, folder=folder, origin="huggingface hub", revision=folder.name)


def check_model_json(checkpoint: Checkpoint) -> None:
    """Raise `ModelError` where a JSON file of the model's is damaged or has a setting of the wrong kind."""
    check_no_pointers(_small_files(checkpoint.folder))
    for name in MODEL_JSON:
        path = checkpoint.folder / name
        if path.is_file():
            settings = _json_object(path)
            quantised = settings.get("quantization_config")
            if quantised is not None and not isinstance(quantised, dict):
                raise ModelError(
                    f"{path}: quantization_config must be an object with quant_method and its settings, not "
                    f"{json.dumps(quantised)[:60]}; take config.json from the export, or remove the line where the "
                    "weights are not quantised"
                )
            ends = settings.get("eos_token_id")
            if not all(type(end) is int for end in (ends if isinstance(ends, list) else [ends] if ends else [])):
                raise ModelError(f"{path}: eos_token_id must be a token id or a list of them, not {ends!r}")


def check_tokenizer(checkpoint: Checkpoint) -> None:
    """Raise `ModelError` unless the folder holds a tokenizer, and its JSON files are whole.

    Asked before transformers, which may otherwise build an empty tokenizer from the model's type alone.
    """
    check_no_pointers(_small_files(checkpoint.folder))
    if not any(next(checkpoint.folder.glob(pattern), None) for pattern in TOKENIZER_PATTERNS):
        newer = next(iter(sorted(checkpoint.folder.glob("tokenizer.model.v*"))), None)
        if newer is not None:
            raise ModelError(
                f"{newer}: a SentencePiece file by a name that transformers does not read; copy it to tokenizer.model"
            )
        raise ModelError(
            f"{checkpoint.folder}: no tokenizer (no tokenizer.json, tokenizer.model, vocab.json ...); "
            "copy the base model's there, or name its folder or id with --tokenizer"
        )
    for name in TOKENIZER_JSON:
        if (checkpoint.folder / name).is_file():
            _json_object(checkpoint.folder / name)


def check_no_pointers(files: Iterable[Path]) -> None:
    """Raise `ModelError` where a file is only Git LFS's pointer to it, as a clone without git-lfs leaves it."""
    pointers = []
    for file in files:
        if file.is_file() and file.stat().st_size < LFS_POINTER_BYTES:
            with file.open("rb") as stream:
                if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                    pointers.append(file)
    if pointers:
        more = f" (and {len(pointers) - 1} more)" if len(pointers) > 1 else ""
        raise ModelError(
            f"{pointers[0]}{more}: a Git LFS pointer, not the file itself; fetch it with git lfs pull in "
            f"{pointers[0].parent}"
        )


def _small_files(folder: Path) -> list[Path]:
    return sorted(file for pattern in SMALL_PATTERNS for file in folder.glob(pattern))


@dataclass(frozen=True)
class Weights:
    """Which weight files of a folder are loaded.

    Attributes:
        files: those that transformers loads, whether they exist or not, sorted.
        unused: names of weight files and indexes that lie there too and are not loaded, sorted.
    """

    files: tuple[Path, ...]
    unused: tuple[str, ...]


def weights_of(folder: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Weights:
    """Return what transformers loads from a folder.

    Its order: the file that config.json names (``transformers_weights``), one safetensors file, safetensors shards by
    their index, one pickled file, pickled shards by their index.

    Args:
        folder: of the checkpoint.
        options: arguments of ``from_pretrained``; ``variant``, ``subfolder`` and ``use_safetensors`` count.

    Raises:
        ModelError: an index that would be used is damaged.
    """
    variant, safe = options.get("variant"), options.get("use_safetensors")
    base = folder / str(options.get("subfolder") or "")
    named = _named_weights(folder)
    candidates = [base / named] if named else []
    for index, pattern in WEIGHTS:
        is_safe = pattern.endswith(".safetensors")
        if (safe is False and is_safe) or (safe and not is_safe):
            continue
        candidates += [base / _variant(pattern.replace("*", ""), variant), base / _variant(index, variant)]
    chosen = next((file for file in candidates if file.is_file()), None)
    files: set[Path] = set()
    if chosen is not None:
        files = {chosen}
        if chosen.suffix == ".json":
            files = {base / shard for shard in _shards(chosen)}
    there = {file for index, pattern in WEIGHTS for name in (index, pattern) for file in base.glob(name)}
    return Weights(tuple(sorted(files)), tuple(sorted(file.name for file in there - files - {chosen})))


def _shards(index: Path) -> set[str]:
    content = _json_object(index)
    shards = content.get("weight_map")
    if (
        not isinstance(shards, dict)
        or not shards
        or not all(isinstance(name, str) and name for name in shards.values())
    ):
        raise ModelError(f"{index}: 'weight_map' must name the file of each weight; download or export it again")
    if not isinstance(content.get("metadata"), dict):
        raise ModelError(f"{index}: no 'metadata', which transformers reads; add \"metadata\": {{}} to it")
    return set(shards.values())


def _named_weights(folder: Path) -> str | None:
    config = folder / "config.json"
    named = _json_object(config).get("transformers_weights") if config.is_file() else None
    return str(named) if named else None


def _variant(name: str, variant: str | None) -> str:
    """Return a weight file's name in a variant, as transformers makes it: ``model.fp16.safetensors``."""
    if not variant:
        return name
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{variant}{dot}{suffix}"


def check_weights(checkpoint: Checkpoint, options: Mapping[str, Any] = MappingProxyType({})) -> Weights:
    """Return the files to be loaded; all are there, and every safetensors header fits its file.

    Args:
        checkpoint: where they are.
        options: arguments of ``from_pretrained``.

    Raises:
        ModelError: a file is missing or damaged.
    """
    weights = weights_of(checkpoint.folder, options)
    if not weights.files:
        raise ModelError(
            f"{checkpoint.folder}: no weights (model.safetensors or pytorch_model.bin, or their shards with an index); "
            "the download or the export is incomplete"
        )
    missing = [file.name for file in weights.files if not file.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"{checkpoint.folder}: weights are missing: {missing[0]}{more}; complete the download or the export"
        )
    check_no_pointers(weights.files)
    for file in weights.files:
        if file.suffix == ".safetensors":
            _check_safetensors(file)
    return weights


def check_no_adapter(checkpoint: Checkpoint) -> None:
    """Raise `ModelError` where an adapter lies beside full weights: transformers would apply it without a word.

    Nobody can tell from the files whether the adapter is merged into these weights already.
    """
    folder = checkpoint.folder
    if (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"{folder}: a PEFT adapter ({ADAPTER_CONFIG}) lies beside full weights; if it is merged into them, "
            f"move its files away; if not, apply it with --adapter {folder}"
        )


def adapter_files(folder: Path) -> tuple[Path, ...]:
    """Return an adapter's configuration and weights.

    Raises:
        ModelError: one of them is missing or damaged.
    """
    if not folder.is_dir():
        raise ModelError(f"--adapter {folder}: no such folder; an adapter is a folder with {ADAPTER_CONFIG}")
    config = folder / ADAPTER_CONFIG
    if not config.is_file():
        raise ModelError(f"--adapter {folder}: no {ADAPTER_CONFIG}; an adapter is a folder as PEFT saves it")
    check_no_pointers([config, *(folder / name for name in ADAPTER_WEIGHTS)])
    _json_object(config)
    weights = next((folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise ModelError(f"--adapter {folder}: no {ADAPTER_WEIGHTS[0]}; complete the download or the export")
    if weights.suffix == ".safetensors":
        _check_safetensors(weights)
    return (config, weights)


def weight_files(folder: Path) -> list[Path]:
    """Return the files that transformers takes the weights from, whether they exist or not, sorted."""
    return list(weights_of(folder).files)


def _check_safetensors(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        # Opening reads the header and compares the offsets in it with the file's size: it finds cut files at once.
        with safe_open(os.fspath(file), framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file}: damaged safetensors file ({first_line(error)}); download or export it again"
        ) from error


def _json_object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ModelError(
            f"{path}: bad JSON at line {error.lineno}: {error.msg}; download or export it again"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read: {first_line(error)}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path}: a JSON object is expected here")
    return document
