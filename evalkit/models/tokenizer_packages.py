"""The packages that a tokenizer's files need, looked for before it is loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from evalkit.errors import ModelError
from evalkit.models.sentencepieces import FILES
from evalkit.models.tekken import FILE, is_tekken


def check_tokenizer_packages(folder: Path) -> None:
    """Raise ModelError where a tokenizer is a SentencePiece or tiktoken file alone, and what reads it is not installed.

    transformers would take the one kind for the other then, and name the wrong package.
    """
    if (folder / "tokenizer.json").is_file():
        return
    if is_tekken(folder) and not _is_there("mistral_common"):
        raise ModelError(
            f"{folder / FILE}: reading this tokenizer needs mistral-common, not installed here; "
            "pip install mistral-common"
        )

    names = [name for name in FILES if (folder / name).is_file()]
    needed = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf", "tiktoken": "tiktoken"}
    missing = [package for module, package in needed.items() if not _is_there(module)]
    if names and missing:
        raise ModelError(
            f"{folder / names[0]}: reading this tokenizer needs {', '.join(missing)}, not installed here; "
            f"pip install {' '.join(missing)} (or -e '.[model]')"
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
