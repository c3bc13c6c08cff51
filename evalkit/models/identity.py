"""A model's identity: digests of everything of it that can change an answer.

One value, made from what was really loaded. The record holds it, a run is continued and other runs' results are taken
over under it (``evalkit.store``), and comparisons name where two of them differ (``evalkit.comparison.comparable``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.answering import AnswererIdentity
from evalkit.models import fingerprint, tiny
from evalkit.scoring.stopping import end_ids

if TYPE_CHECKING:
    from evalkit.models.openmind import OpenMindLM


@dataclass(frozen=True)
class LoadedIdentity:
    """What answers depend on, on the model's side.

    Attributes:
        model_fingerprint: sha256 over the weight files that were loaded, configuration, model code, and the adapter.
        adapter: sha256 over the adapter's files; None without one.
        revision: the hub's commit, or None.
        architecture: the model's class.
        quantization: its method, or None.
        loader: what loaded it.
        max_length: tokens of its context.
        dtype: of the weights.
        tokenizer_fingerprint: sha256 of the ids of a fixed text.
        tokenizer_files: sha256 over the tokenizer's files; None for the built-in model.
        vocabulary: entries of the tokenizer.
        add_bos: whether the tokenizer's BOS token goes before texts.
        chat_template: sha256 of the chat template and its arguments; None without one.
        end_ids: the tokens that end a text.
        ignored: settings of generation_config.json that would change a text and are not applied.
        engine: what makes texts instead of evalkit's own loop, and its version; None: that loop.
    """

    model_fingerprint: str
    adapter: str | None
    revision: str | None
    architecture: str
    quantization: str | None
    loader: str
    max_length: int
    dtype: str
    tokenizer_fingerprint: str
    tokenizer_files: str | None
    vocabulary: int
    add_bos: bool
    chat_template: str | None
    end_ids: tuple[int, ...]
    ignored: tuple[str, ...]
    engine: str | None

    def to_dict(self) -> AnswererIdentity:
        """Return it in named groups of JSON values; `evalkit.store.identity.REUSED` names those groups."""
        return {
            "model": {
                name: getattr(self, name)
                for name in (
                    "model_fingerprint",
                    "adapter",
                    "revision",
                    "architecture",
                    "quantization",
                    "loader",
                    "max_length",
                )
            },
            "tokenizer": {
                name: getattr(self, name)
                for name in ("tokenizer_fingerprint", "tokenizer_files", "vocabulary", "add_bos")
            },
            "chat_template": self.chat_template,
            "generation": {"end_ids": list(self.end_ids), "ignored": list(self.ignored), "engine": self.engine},
            "dtype": self.dtype,
        }


def of(lm: OpenMindLM, quantization: str | None) -> LoadedIdentity:
    """Return the identity of a loaded model; reads its files, as `fingerprint` says."""
    folder = lm.checkpoint.folder if lm.checkpoint else None
    tokenizer_folder = lm.tokenizer_checkpoint.folder if lm.tokenizer_checkpoint else None
    adapter = fingerprint.of_listing(lm.adapter_files) if lm.adapter_files else None
    return LoadedIdentity(
        model_fingerprint=tiny.fingerprint()
        if folder is None
        else fingerprint.of_folder(folder, lm.weights.files, lm.adapter_files),
        adapter=adapter,
        revision=lm.checkpoint.revision if lm.checkpoint else None,
        architecture=type(lm.model).__name__,
        quantization=quantization,
        loader=lm.loader,
        max_length=int(lm.max_length),
        dtype=str(lm.model.dtype).removeprefix("torch."),
        tokenizer_fingerprint=fingerprint.of_tokenizer(lm.tokenizer),
        tokenizer_files=None if tokenizer_folder is None else fingerprint.of_tokenizer_files(tokenizer_folder),
        vocabulary=len(lm.tokenizer) - len(lm.tokens_of_lm_eval),
        add_bos=bool(lm.add_bos_token),
        chat_template=fingerprint.of_chat_template(
            getattr(lm.tokenizer, "chat_template", None), dict(lm.chat_template_args or {})
        ),
        end_ids=tuple(sorted(end_ids(lm.model, lm.tokenizer))),
        ignored=tuple(f"{name}={value}" for name, value in sorted(lm.ignored_settings.items())),
        engine=lm.engine_name,
    )
