"""Is a model in this process, with its tokenizer, one that anything right can come of?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from evalkit.config.run_config import ModelConfig
from evalkit.errors import ModelError, first_line
from evalkit.models.checkpoints import SMALL_PATTERNS
from evalkit.out_of_memory import is_out_of_memory
from evalkit.scoring.memory import text_config, vocabulary_size

if TYPE_CHECKING:
    from evalkit.models.scored import ScoredLM


def check_alone(
    config: ModelConfig, model: ScoredLM, *, needs_numbers: bool = False, has_specials: bool = False
) -> list[str]:
    """Look at the model and its tokenizer, whatever is asked; `infer` too does.

    Args:
        config: which model.
        model: the model in this process.
        needs_numbers: a model without numbers (NaN) is an error; a run goes on and marks its samples as failed.
        has_specials: the texts bring their special tokens, as those of a chat template do.

    Returns:
        Warnings, one line each.

    Raises:
        ModelError: nothing right can come of this model; says why and what to do.
    """
    return [
        *_vocabulary(config.name, model),
        *_positions(config.name, model),
        *_soundness(config.name, model, needs_numbers),
        *([] if has_specials else _special_tokens(config, model)),
    ]


def embedding_rows(model: ScoredLM) -> int:
    """Return how many token ids the model knows: rows of its embedding, or of its head where those are fewer."""
    layer = model.model.get_input_embeddings() if hasattr(model.model, "get_input_embeddings") else None
    weight = getattr(layer, "weight", None)
    rows = [int(weight.shape[0])] if weight is not None and weight.dim() == 2 else []
    return min([*rows, vocabulary_size(model.model)])


def _beyond(model: ScoredLM) -> dict[str, int]:
    """Return the tokenizer's own tokens that the model has no row for."""
    rows = embedding_rows(model)
    own = model.tokenizer.get_vocab().items()
    return {token: index for token, index in own if index >= rows and token not in model.tokens_of_lm_eval}


def _vocabulary(name: str, model: ScoredLM) -> Iterable[str]:
    beyond = _beyond(model)
    if not beyond:
        return
    rows, highest = embedding_rows(model), max(beyond.values())
    added = set(model.tokenizer.get_added_vocab())
    ordinary = [token for token in beyond if token not in added]
    if ordinary:
        raise ModelError(
            f"{name}: the tokenizer has ids up to {highest:,}, the model's embedding only {rows:,} rows; "
            f"{len(ordinary):,} ordinary tokens are beyond it: this tokenizer belongs to another model; "
            "name the right one with --tokenizer"
        )
    # Filling up rows with a token that has no embedding would end the first batch of unequal lengths.
    if model.tokenizer.pad_token_id is not None and model.tokenizer.pad_token_id >= rows:
        model.tokenizer.pad_token_id = next(
            (i for i in (model.tokenizer.eos_token_id, model.tokenizer.bos_token_id) if i is not None and i < rows), 0
        )
    added_here = _not_in_files(model, beyond)
    if added_here:
        yield (
            f"transformers adds {', '.join(sorted(added_here))} to this tokenizer, whose files do not have "
            f"{'it' if len(added_here) == 1 else 'them'}, beyond the {rows:,} rows of the model's embedding; no "
            "request contains such a token, or the run stops here"
        )
        beyond = {token: index for token, index in beyond.items() if token not in added_here}
        if not beyond:
            return
        highest = max(beyond.values())
    shown = ", ".join(sorted(beyond, key=beyond.__getitem__)[:3])
    yield (
        f"the tokenizer has ids up to {highest:,}, the model's embedding {rows:,} rows (ids to {rows - 1:,}); without "
        f"a row: {shown}{' ...' if len(beyond) > 3 else ''}; no request contains them, or the run stops here"
    )


def _not_in_files(model: ScoredLM, tokens: Iterable[str]) -> set[str]:
    """Return the tokens that no file of the tokenizer's folder holds: its class in transformers brings them."""
    checkpoint = getattr(model, "tokenizer_checkpoint", None)
    if checkpoint is None:
        return set()
    files = [file for pattern in SMALL_PATTERNS for file in checkpoint.folder.glob(pattern) if file.is_file()]
    texts = [file.read_bytes() for file in files]
    return {
        token
        for token in tokens
        if not any(form.encode() in text for text in texts for form in (token, json.dumps(token)[1:-1]))
    }


def _positions(name: str, model: ScoredLM) -> Iterable[str]:
    """A context beyond the positions that the model was made for."""
    from evalkit.scoring.soundness import positions

    found = positions(model.model)
    if found is None or int(model.max_length) <= found[0]:
        return
    count, is_table = found
    what = f"a context of {int(model.max_length):,} tokens, but the model"
    if is_table:
        raise ModelError(f"{name}: {what} has only {count:,} positions; give --max-length {count} or less")
    yield (
        f"{what} was made for {count:,} positions: what lies beyond them is not what it was trained on; "
        f"--max-length {count} stays within"
    )


def _soundness(name: str, model: ScoredLM, needs_numbers: bool) -> Iterable[str]:
    """A model that gives no numbers, sees what it shall predict, or cannot compute at all."""
    from evalkit.scoring.soundness import soundness

    try:
        with model.running():
            found = soundness(model.model, embedding_rows(model), int(model.max_length))
    except ModelError:
        raise
    except Exception as error:  # a model's own code raises what it likes
        if is_out_of_memory(error):
            raise
        device = str(getattr(model, "device", "cpu")).partition(":")[0]
        lacks = "" if device == "cpu" else ", or this device lacks an operation (--device cpu tells)"
        raise ModelError(
            f"{name}: the model cannot compute twelve tokens ({first_line(error)}); its configuration does not belong "
            f"to its code or to its weights{lacks}"
        ) from error
    if not found.is_causal:
        raise ModelError(
            f"{name}: not a causal model: later tokens change the logits of earlier ones, so that it would see the "
            "answers it is scored on; if it is a decoder, its config.json must say so (is_decoder: true)"
        )
    if not found.has_numbers:
        half = "float16" in str(getattr(model.model, "dtype", "")) and "bfloat16" not in str(model.model.dtype)
        remedy = "try --dtype float32 (float16 overflows)" if half else "its weights are damaged: export them again"
        if needs_numbers:
            raise ModelError(f"{name}: the model computes NaN instead of numbers; {remedy}")
        yield f"the model computes NaN instead of numbers; samples without a score will be marked as failed; {remedy}"


def _special_tokens(config: ModelConfig, model: ScoredLM) -> Iterable[str]:
    """What the tokenizer adds to a text by itself, and what the run makes of it."""
    tokenizer = model.tokenizer
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    by_itself, bare = list(tokenizer.encode("a")), list(tokenizer.encode("a", add_special_tokens=False))
    if config.add_bos and eos is not None and len(by_itself) > 1 and by_itself[-1] == eos != bare[-1]:
        raise ModelError(
            f"{config.name}: with --add-bos its tokenizer also ends every text with {tokenizer.eos_token}, so that "
            "continuations would be scored after an end; leave --add-bos out, or set add_eos_token to false in its "
            "tokenizer_config.json"
        )
    if bos is None or config.add_bos:
        return
    if bare[:1] == [bos]:
        yield (
            f"the tokenizer puts {tokenizer.bos_token} before a text even where none is asked for; the protocol "
            "leaves it out, so that scores are not those of the published protocol"
        )
    elif by_itself[:1] == [bos] or _is_gemma(model):
        why = (
            "Gemma models score near chance without it: --add-bos puts it there"
            if _is_gemma(model)
            else "the published scores were made without it; --add-bos puts it there"
        )
        yield f"texts are scored without {tokenizer.bos_token}, which this tokenizer is made to begin with; {why}"


def _is_gemma(model: ScoredLM) -> bool:
    kinds = (getattr(config, "model_type", "") for config in (model.model.config, text_config(model.model)))
    return any(str(kind).startswith(("gemma", "recurrent_gemma")) for kind in kinds)


def check_texts(name: str, model: ScoredLM, texts: Iterable[str]) -> None:
    """Raise ModelError where a text holds an added token that the model has no row for."""
    beyond, texts = _beyond(model), list(texts)
    for token, index in beyond.items():
        if any(token in text for text in texts):
            raise ModelError(
                f"{name}: the requests contain {token}, id {index:,}, and the model's embedding has "
                f"{embedding_rows(model):,} rows; name the model's own tokenizer with --tokenizer, or enlarge the "
                "embedding (resize_token_embeddings) before you train"
            )
