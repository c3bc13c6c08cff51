"""A tokenizer that is a SentencePiece file alone: as transformers converts it, against SentencePiece itself.

transformers 5 makes a fast tokenizer of the file and puts merges into another order than the file's scores: runs of
spaces are merged first, so that nearly every indented line gets other tokens than those that the model was trained on.
Here the merges get the order of their scores, and what still differs from SentencePiece on a probe is refused.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.tokenizer_json import LEAVE_PREFIX_SPACE_MODELS

FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
# Words, spaces before and between them, indented code, digits, accents, scripts, bytes: what conversions get wrong.
PROBES = (
    "Question: What is the capital of France?\nAnswer: Paris",
    " lead  two   three    four     five",
    'def f(x):\n    """Return x.\n\n    >>> f(1)\n    """\n        return x ** 2\n\tpass\n',
    "The cat (A)123 + 4567 = 4690.5%, don't",
    "naïve façade Ωmega, 東京は首都。 Привет 🙂 ½",
)


# Classes, and models that have them where no file names a class, that begin a text with the BOS unless
# tokenizer_config.json has an add_bos_token that is not true (tried with transformers 4.57). 5 asks for it to be said.
BEGIN_WITH_BOS = frozenset(
    f"{name}Tokenizer{fast}" for name in ("Llama", "CodeLlama", "Gemma") for fast in ("", "Fast")
)
BEGIN_WITH_BOS_MODELS = (LEAVE_PREFIX_SPACE_MODELS - {"t5"}) | {
    "code_llama",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "recurrent_gemma",
}


def restore_bos(folder: Path, tokenizer: Any) -> None:
    """Let a tokenizer that is a SentencePiece file alone begin texts with its BOS where its class is made to.

    Without --add-bos texts are encoded without it all the same; but then the user is told so (`preflight`).
    """
    if (folder / "tokenizer.json").is_file() or not any((folder / name).is_file() for name in FILES):
        return
    settings, config = (
        dict(json.loads((folder / name).read_text(encoding="utf-8"))) if (folder / name).is_file() else {}
        for name in ("tokenizer_config.json", "config.json")
    )
    name = settings.get("tokenizer_class") or config.get("tokenizer_class")
    is_one = name in BEGIN_WITH_BOS if name else config.get("model_type") in BEGIN_WITH_BOS_MODELS
    if is_one and settings.get("add_bos_token", True):
        begin_with_bos(tokenizer)


def begin_with_bos(tokenizer: Any) -> None:
    """Let a tokenizer over the ``tokenizers`` library put its BOS before a text; nothing is done where it does."""
    bos = tokenizer.bos_token_id
    if bos is None or getattr(tokenizer, "backend_tokenizer", None) is None or tokenizer.encode("a")[:1] == [bos]:
        return
    tokenizer.add_bos_token = True
    tokenizer.update_post_processor()


def as_sentencepiece(folder: Path, tokenizer: Any) -> None:
    """Make a tokenizer encode as its SentencePiece file does. Nothing is done where a tokenizer.json lies beside it.

    Args:
        folder: of the tokenizer.
        tokenizer: as transformers loaded it; changed in place.

    Raises:
        ModelError: it still encodes otherwise; says how.
    """
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None or (folder / "tokenizer.json").is_file() or getattr(tokenizer, "backend_tokenizer", None) is None:
        return
    from sentencepiece import SentencePieceProcessor

    own = SentencePieceProcessor(model_file=str(file))
    if _difference(tokenizer, own) is None:
        return
    _order_merges(tokenizer, own)
    if (found := _difference(tokenizer, own)) is not None:
        text, theirs, right = found
        differ = f"{file}: transformers encodes {text!r} as {theirs}, SentencePiece itself as {right}"
        if causes := _not_converted(file):
            raise ModelError(
                f"{differ}; the file has {', '.join(causes)}, which transformers does not convert, whatever "
                "tokenizer_config.json says: only a tokenizer.json made by the model's authors helps, beside it or in "
                "a folder named with --tokenizer"
            )
        raise ModelError(
            f"{differ}; put the model's own tokenizer_config.json beside it, or a tokenizer.json made by its authors"
        )


def _not_converted(file: Path) -> list[str]:
    """Return what a SentencePiece file has that transformers' conversion leaves out, in words; none where unknown."""
    try:
        form: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")  # without type information
    except (ImportError, TypeError):  # TypeError: of a protobuf that its code is too old for
        return []
    model = form.ModelProto.FromString(file.read_bytes())
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    kind = form.ModelProto.SentencePiece.USER_DEFINED
    white = [piece.piece for piece in model.pieces if piece.type == kind and not piece.piece.replace("▁", " ").strip()]
    shown = ", ".join(map(repr, white[:3])) + (" ..." if len(white) > 3 else "")
    found = [f"user-defined white space ({shown})"] if white else []
    if normalizer.name not in ("", "identity"):
        found.append(f"the normalization {normalizer.name}")
    if normalizer.remove_extra_whitespaces:
        found.append("the removal of extra white space")
    if not normalizer.add_dummy_prefix:
        found.append("no space before texts (add_dummy_prefix: false)")
    if trainer.treat_whitespace_as_suffix:
        found.append("white space at the end of words (treat_whitespace_as_suffix)")
    return found


def _difference(tokenizer: Any, own: Any) -> tuple[str, list[str], list[str]] | None:
    """Return a text that is encoded in two ways, and where they part; None where all are equal."""
    for text in PROBES:
        if text[0] == " " and _is_new(tokenizer):
            continue  # it keeps its space as the one before the text, by transformers' own rule for these
        theirs = list(tokenizer.convert_ids_to_tokens(tokenizer.encode(text, add_special_tokens=False)))
        right = list(own.encode(text, out_type=str))
        if theirs != right:
            at = next((k for k, pair in enumerate(zip(theirs, right)) if pair[0] != pair[1]), 0)  # noqa: B905
            return text[:40], theirs[at : at + 4], right[at : at + 4]
    return None


def _is_new(tokenizer: Any) -> bool:
    """Whether tokenizer_config.json says ``legacy: false``: then only the beginning of a text gets a space."""
    return tokenizer.init_kwargs.get("legacy") is False


def _order_merges(tokenizer: Any, own: Any) -> None:
    """Put the merges of a BPE tokenizer into the order of their scores, best first, and the space before its texts."""
    from tokenizers import Tokenizer

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    if content["model"]["type"] != "BPE" or not hasattr(tokenizer, "_tokenizer"):
        return
    score = {own.id_to_piece(k): own.get_score(k) for k in range(own.get_piece_size())}
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in content["model"]["merges"]]
    merges.sort(key=lambda merge: -score.get("".join(merge), 0.0))
    content["model"]["merges"] = [list(merge) for merge in merges]
    if own.encode("a", out_type=str)[0] == "▁a" and not _is_new(tokenizer):
        # The space before every text, also before one that begins with a space.
        content["normalizer"] = {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        }
        content["pre_tokenizer"] = None
    elif own.encode("a", out_type=str)[0] == "▁a" and tokenizer.encode("a", add_special_tokens=False) != own.encode(
        "a"
    ):
        # A class that is not Llama's leaves out the space before a text.
        content["normalizer"] = None
        content["pre_tokenizer"] = {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "first",
            "split": False,
        }
        content["decoder"] = {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        }
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(content))
