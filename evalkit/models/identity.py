"""A model's identity: digests of everything of it that can change an answer.

One value, made from what was really loaded. The record holds it, a run is continued and other runs' results are taken
over under it (``evalkit.store``), and comparisons name where two of them differ (``evalkit.comparison.comparable``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from evalkit.answering import AnswererIdentity
from evalkit.models import fingerprint, tiny
from evalkit.records.identity import GenerationIdentity, ModelIdentity, TokenizerIdentity, WeightsIdentity
from evalkit.scoring.stopping import end_ids

if TYPE_CHECKING:
    from evalkit.models.openmind import OpenMindLM


def of(lm: OpenMindLM, quantization: str | None) -> ModelIdentity:
    """Return the identity of a loaded model; reads its files, as `fingerprint` says."""
    folder = lm.checkpoint.folder if lm.checkpoint else None
    tokenizer_folder = lm.tokenizer_checkpoint.folder if lm.tokenizer_checkpoint else None
    return ModelIdentity(
        model=WeightsIdentity(
            model_fingerprint=tiny.fingerprint()
            if folder is None
            else fingerprint.of_folder(folder, lm.weights.files, lm.adapter_files),
            adapter=fingerprint.of_listing(lm.adapter_files) if lm.adapter_files else None,
            revision=lm.checkpoint.revision if lm.checkpoint else None,
            architecture=type(lm.model).__name__,
            quantization=quantization,
            loader=lm.loader,
            max_length=int(lm.max_length),
        ),
        tokenizer=TokenizerIdentity(
            tokenizer_fingerprint=fingerprint.of_tokenizer(lm.tokenizer),
            tokenizer_files=None if tokenizer_folder is None else fingerprint.of_tokenizer_files(tokenizer_folder),
            vocabulary=len(lm.tokenizer) - len(lm.tokens_of_lm_eval),
            add_bos=bool(lm.add_bos_token),
        ),
        chat_template=fingerprint.of_chat_template(
            getattr(lm.tokenizer, "chat_template", None), dict(lm.chat_template_args or {})
        ),
        generation=GenerationIdentity(
            end_ids=tuple(sorted(end_ids(lm.model, lm.tokenizer))),
            ignored=tuple(f"{name}={value}" for name, value in sorted(lm.ignored_settings.items())),
            engine=lm.engine_name,
        ),
        dtype=str(lm.model.dtype).removeprefix("torch."),
    )


def as_described(identity: ModelIdentity) -> AnswererIdentity:
    """Return it in named groups of JSON values; `evalkit.store.identity.REUSED` names those groups."""
    groups = msgspec.json.decode(msgspec.json.encode(identity))  # builtins alone have tuples still
    del groups["other"]  # of those that are no model in this process
    return cast("AnswererIdentity", groups)
