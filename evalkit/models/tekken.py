"""A tokenizer that is Mistral's tekken.json alone: as transformers converts it, against mistral-common itself.

The conversion (of transformers 5, by way of mistral-common) encodes alike, but names neither BOS nor EOS, and puts no
BOS before a text, as mistral-common does. Both are set here, and what is not encoded alike on a probe is refused.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.sentencepieces import PROBES, begin_with_bos

FILE = "tekken.json"


def is_tekken(folder: Path) -> bool:
    """Whether the tokenizer is a tekken.json and nothing that transformers prefers to it."""
    others = ("tokenizer.json", "tokenizer.model", "vocab.json")
    return (folder / FILE).is_file() and not any((folder / name).is_file() for name in others)


def as_tekken(folder: Path, tokenizer: Any) -> None:
    """Give a tokenizer the BOS and EOS of its tekken.json. Nothing is done for other tokenizers.

    Args:
        folder: of the tokenizer.
        tokenizer: as transformers loaded it; changed in place.

    Raises:
        ModelError: it encodes otherwise than mistral-common; says how.
    """
    if not is_tekken(folder):
        return
    # By name: it is an optional package, which is not there where types are checked.
    own = importlib.import_module("mistral_common.tokens.tokenizers.tekken").Tekkenizer.from_file(str(folder / FILE))
    for text in PROBES:
        theirs, right = tokenizer.encode(text, add_special_tokens=False), own.encode(text, bos=False, eos=False)
        if list(theirs) != list(right):
            raise ModelError(
                f"{folder / FILE}: transformers encodes {text[:40]!r} otherwise than mistral-common; put a "
                "tokenizer.json made by its authors beside it"
            )
    for name in ("bos", "eos"):
        if getattr(tokenizer, f"{name}_token") is None:
            setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(int(getattr(own, f"{name}_id"))))
    begin_with_bos(tokenizer)
