"""Digests that tell whether two runs had the same model and the same tokenizer.

Scores are stored and compared under them, so they must differ whenever an answer could. A model's fingerprint is
therefore made from the whole content of its files. File sizes or samples of the content would miss a checkpoint that
training has overwritten, and a hub's commit says nothing about a folder. Reading 15 GB once takes some 10 to 20
seconds; digests are kept, and used again as long as a file's inode, size and change times are the same. A change time
cannot be set by hand, so neither `cp -p` nor `rsync -t` can pass off other content as known.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from evalkit.models.checkpoints import TOKENIZER_PATTERNS, weight_files
from evalkit.models.tokenizer_json import brings_code

# Words with and without leading space, digits, code, line ends, accents, CJK, emoji: what tokenizers disagree about.
PROBE = (
    "Question: What is the capital of France?\nAnswer: Paris  is.\n\n"
    'Q: (A)123 + 4567 = 4690.5%\n  choice: don\'t "quote"\n'
    "def f(x):\n\treturn x ** 2  # ok\r\n"
    "naïve façade Ωmega, 東京は首都。 Привет 🙂 <s> </s>"
)
# Configuration that changes what a model answers. Tokenizers have their own fingerprint.
CONFIG_FILES = ("config.json", "generation_config.json", "quantize_config.json", "quantization_config.json")
# What a tokenizer is made of besides its vocabulary.
TOKENIZER_SETTINGS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
# What a tokenizer's own code does not read: weights, documentation, pictures, what a trainer leaves.
NOT_OF_TOKENIZERS = frozenset(
    (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf", ".onnx", ".md", ".png", ".jpg", ".log")
)
NAMES_NOT_OF_TOKENIZERS = frozenset(("LICENSE", "NOTICE", "trainer_state.json", "all_results.json"))
TOKENIZER_FILE_BYTES = 1 << 28
CHUNK_BYTES = 1 << 22
HASHED_AT_ONCE = 4


def of_tokenizer(tokenizer: Any) -> str:
    """Return the sha256 (hex) of the ids of `PROBE`, encoded without special tokens."""
    ids = [int(token) for token in tokenizer.encode(PROBE, add_special_tokens=False)]
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()


def of_folder(folder: Path, weights: Iterable[Path] | None = None, adapter: Iterable[Path] = ()) -> str:
    """Return the sha256 (hex) over the names and digests of a checkpoint's weights, configuration and model code.

    Args:
        folder: of the checkpoint.
        weights: the files that were loaded; by default those that transformers loads.
        adapter: the files of an adapter that was applied.

    Raises:
        OSError: a file cannot be read.
    """
    used = weight_files(folder) if weights is None else weights
    files = {*used, *folder.glob("*.py"), *(folder / name for name in CONFIG_FILES)}
    listing = [[name, digest] for name, digest in of_files(files).items()]
    listing += [["adapter", name, digest] for name, digest in of_files(adapter).items()]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def of_files(files: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 (hex) of each file that is there, by its path below their common folder, sorted.

    Raises:
        OSError: a file cannot be read.
    """
    present = sorted(file for file in files if file.is_file())
    known = _read_cache()
    with ThreadPoolExecutor(max_workers=HASHED_AT_ONCE) as pool:  # hashlib lets other threads run
        digests = list(pool.map(lambda file: _digest(file, known), present))
    _write_cache(known)
    # Not by name alone: an index may name files of one name in several folders.
    folder = os.path.commonpath([file.parent for file in present]) if present else ""
    return {os.path.relpath(file, folder): digest for file, digest in zip(present, digests, strict=True)}


def of_tokenizer_files(folder: Path) -> str:
    """Return the sha256 (hex) over the names and digests of the files that a tokenizer is made of.

    Code of the checkpoint's own may read any file, by any name: then all of the folder count but weights, text for
    people and what begins with a dot.

    Raises:
        OSError: a file cannot be read.
    """
    files = {file for pattern in (*TOKENIZER_PATTERNS, *TOKENIZER_SETTINGS) for file in folder.glob(pattern)}
    if brings_code(folder):
        files |= {file for file in folder.rglob("*") if _may_be_read(file, folder)}
    return of_listing(files)


def _may_be_read(file: Path, folder: Path) -> bool:
    """Whether a tokenizer's code may read a file: no weights, nothing hidden, no documentation."""
    is_hidden = any(part.startswith((".", "__pycache__")) for part in file.relative_to(folder).parts)
    is_other = file.suffix.lower() in NOT_OF_TOKENIZERS or file.name in NAMES_NOT_OF_TOKENIZERS
    return not is_hidden and not is_other and file.is_file() and file.stat().st_size <= TOKENIZER_FILE_BYTES


def of_listing(files: Iterable[Path]) -> str:
    """Return the sha256 (hex) over the names and digests of files.

    Raises:
        OSError: a file cannot be read.
    """
    return hashlib.sha256(json.dumps(list(of_files(files).items())).encode()).hexdigest()


def of_chat_template(template: Any, arguments: Mapping[str, Any]) -> str | None:
    """Return the sha256 (hex) of a chat template and the arguments that it is rendered with; None without one.

    Args:
        template: its text, or several by name.
        arguments: what is handed to it besides the conversation.
    """
    if not template:
        return None
    text = json.dumps([template, dict(arguments)] if arguments else template, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(file: Path, known: dict[str, str]) -> str:
    real = file.resolve()
    status = real.stat()
    identity = f"{real}|{status.st_ino}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"
    if identity not in known:
        digest = hashlib.sha256()
        with real.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
        known[identity] = digest.hexdigest()
    return known[identity]


def _cache_file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "evalkit" / "sha256.json"


def _read_cache() -> dict[str, str]:
    try:
        known = json.loads(_cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent or damaged: it only saves time
        return {}
    return known if isinstance(known, dict) else {}


def _write_cache(known: dict[str, str]) -> None:
    target = _cache_file()
    # A read-only home is no reason to stop: the digests are then computed again next time.
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False, encoding="utf-8") as stream:
            json.dump(known, stream)
        Path(stream.name).replace(target)
