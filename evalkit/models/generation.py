"""Which generation settings are in force, and generation requests in words of ``evalkit.scoring.generate``.

The protocol is plain greedy decoding, or plain sampling where a temperature is asked for. A checkpoint's
generation_config.json may ask for more (a repetition penalty, suppressed tokens ...); transformers would apply it to
every text without a word. Here it is taken out of the model when that is loaded, and named: on stderr, in the record
and in the report. What stays in force of that file are the tokens that end a text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from evalkit.answering import TextRequest
from evalkit.config.generation_settings import settings_fault
from evalkit.errors import ConfigError
from evalkit.scoring.requests import GenerationRequest

# Settings that change what greedy decoding gives, and the values that do not.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "repetition_penalty": (None, 1.0),
    "encoder_repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "bad_words_ids": (None, []),
    "force_words_ids": (None, []),
    "constraints": (None, []),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "num_beams": (None, 1),
    "num_beam_groups": (None, 1),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "forced_decoder_ids": (None, []),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "sequence_bias": (None, [], {}),
    "guidance_scale": (None, 1.0),
    "exponential_decay_length_penalty": (None,),
    "penalty_alpha": (None, 0.0),
    "dola_layers": (None,),
    "stop_strings": (None, []),
    "watermarking_config": (None,),
    "prompt_lookup_num_tokens": (None, 0),
    "max_time": (None,),
}


def settings_out_of_force(settings: Any) -> dict[str, Any]:
    """Return what of a model's generation settings would change a greedy text and is therefore not applied.

    Args:
        settings: a ``GenerationConfig``, or None.
    """
    found = {name: getattr(settings, name, None) for name in NEUTRAL}
    return {
        name: value if isinstance(value, (bool, int, float, str, list)) else str(value)
        for name, value in found.items()
        if value not in NEUTRAL[name]
    }


def make_plain(model: Any) -> dict[str, Any]:
    """Take all but the special tokens out of a model's generation settings; returns `settings_out_of_force`.

    The settings are replaced, not overridden in each call: transformers fills whatever a call leaves open from them.
    """
    from transformers import GenerationConfig

    settings = getattr(model, "generation_config", None)
    if settings is None:
        return {}
    kept = {
        name: getattr(settings, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id") if settings
    }
    ignored = settings_out_of_force(settings)
    model.generation_config = GenerationConfig(**kept)
    return ignored


# With any other setting transformers' own loop generates.
KNOWN_SETTINGS = frozenset(
    {"until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k", "repetition_penalty"}
)


def normalised(request: TextRequest, default_max_gen_toks: int) -> dict[str, Any]:
    """Return a request's settings in lm-eval's one form (``until`` a list, ``max_gen_toks``, ``do_sample``).

    Raises:
        ConfigError: there is no such setting, or it cannot have this value.
    """
    found = settings_fault(request.settings)
    if found is not None:
        raise ConfigError(f"{request.task}: generation_kwargs: {found}")
    return dict(normalize_gen_kwargs(dict(request.settings), default_max_gen_toks))


def generation_requests(
    requests: Sequence[TextRequest], seed: int, default_max_gen_toks: int
) -> list[GenerationRequest | None]:
    """Translate requests; None for one with settings that our loop does not know.

    Repetitions of a request are numbered, so that each sampled text has draws of its own, whatever its batch.

    Args:
        requests: as the model sees them.
        seed: of the sampled texts.
        default_max_gen_toks: where the settings name none.

    Raises:
        ConfigError: settings of one cannot be.
    """
    seen: dict[str, int] = {}
    translated: list[GenerationRequest | None] = []
    for request in requests:
        context, given = request.prompt, request.settings
        key = json.dumps([context, dict(given)], sort_keys=True, default=str)
        sample = seen[key] = seen.get(key, -1) + 1
        settings = normalised(request, default_max_gen_toks)
        if not settings.keys() <= KNOWN_SETTINGS:
            translated.append(None)
            continue
        # transformers' own temperature is 1.
        temperature = float(settings.get("temperature", 1.0 if settings["do_sample"] else 0.0))
        top_p, penalty = settings.get("top_p"), settings.get("repetition_penalty")
        translated.append(
            GenerationRequest(
                prompt=context,
                until=tuple(settings["until"]),
                max_new_tokens=int(settings["max_gen_toks"]),
                temperature=temperature,
                # Without draws there is nothing for them to change.
                top_p=float(top_p) if temperature and top_p is not None else 1.0,
                top_k=max(0, int(settings.get("top_k") or 0)) if temperature else 0,
                repetition_penalty=1.0 if penalty is None else float(penalty),
                seed=seed if temperature else 0,
                sample=sample if temperature else 0,
            )
        )
    return translated
