"""lm-eval's generation requests in the words of ``evalkit.scoring.generate``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from evalkit.scoring.generate import GenerationRequest

# With any other setting lm-eval's own loop generates.
KNOWN_SETTINGS = frozenset({"until", "max_gen_toks", "do_sample", "temperature", "top_p"})


def generation_requests(
    requests: Sequence[Any], seed: int, default_max_gen_toks: int
) -> list[GenerationRequest | None]:
    """Translate requests; None for one with settings that our loop does not know.

    Repetitions of a request are numbered, so that each sampled text has draws of its own, whatever its batch.

    Args:
        requests: lm-eval instances with (context, settings) as arguments.
        seed: of the sampled texts.
        default_max_gen_toks: where the settings name none.
    """
    seen: dict[str, int] = {}
    translated: list[GenerationRequest | None] = []
    for request in requests:
        context, given = request.args[0], request.args[1]
        key = json.dumps([context, given], sort_keys=True, default=str)
        sample = seen[key] = seen.get(key, -1) + 1
        settings = normalize_gen_kwargs(dict(given), default_max_gen_toks)
        if not settings.keys() <= KNOWN_SETTINGS:
            translated.append(None)
            continue
        temperature = float(settings["temperature"])
        translated.append(
            GenerationRequest(
                prompt=context,
                until=tuple(settings["until"]),
                max_new_tokens=int(settings["max_gen_toks"]),
                temperature=temperature,
                top_p=float(settings.get("top_p", 1.0)),
                seed=seed if temperature else 0,
                sample=sample if temperature else 0,
            )
        )
    return translated
