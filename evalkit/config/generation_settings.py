"""Settings of a generated text: which there are, and what each may be, whoever asks.

Task files (``generation_kwargs``), requests of lm-eval, options and notebooks are judged by `settings_fault`. Names and
forms are lm-eval's (``normalize_gen_kwargs``), which hands on unseen what it does not know itself. What is below
"transformers' own loop" is an argument of its ``generate`` (5.x), with the range in which it does something.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from evalkit.config.yaml_files import shown
from evalkit.errors import did_you_mean

MAX_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""lm-eval's names of the greatest number of tokens; of several the first that is given counts."""

Allowed = tuple[Callable[[Any], bool], str]
"""Whether a value may be, and what may be, for messages."""


def _number(least: float, most: float, what: str, *, without: float | None = None) -> Allowed:
    def holds(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        # float() takes no greater integers.
        return least <= value <= most and value != without and abs(value) < 2**1023

    return holds, what


def _whole(least: int, what: str) -> Allowed:
    return lambda value: _is_whole(value) and least <= value < 2**63, what


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list(of: Callable[[Any], bool], what: str) -> Allowed:
    return lambda value: isinstance(value, (list, tuple)) and all(map(of, value)), what


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_id(value: Any) -> bool:
    return _is_whole(value) and value >= 0


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_id, value))


_YES_OR_NO: Allowed = (lambda value: isinstance(value, bool), "true or false")
_IDS = _list(_is_id, "a list of token ids")
_ID: Allowed = (_is_id, "a token id")
_TEXTS = _list(_is_text, "")

SETTINGS: Mapping[str, Allowed] = {
    "until": (lambda value: _is_text(value) or _TEXTS[0](value), "a text or a list of texts"),
    **dict.fromkeys(MAX_TOKENS, _whole(1, "a number of tokens (1 or more)")),
    "do_sample": _YES_OR_NO,
    "temperature": _number(0, math.inf, "0 (greedy) or a finite number above"),
    "top_p": _number(0, 1, "a probability (1: draw among all)"),
    "top_k": _whole(-1, "a number of tokens, or 0 for all"),  # -1 is vLLM's word for all
    "repetition_penalty": _number(0.01, 100, "between 0.01 and 100 (1 is none)"),
    "chat": _YES_OR_NO,  # evalkit's: the prompt goes into the chat template
    # transformers' own loop
    "num_beams": _whole(1, "a number of beams (1: none)"),
    "early_stopping": (lambda value: isinstance(value, bool) or value == "never", "true, false or 'never'"),
    "length_penalty": _number(-math.inf, math.inf, "a finite number"),
    "min_p": _number(0, 1, "a probability (0: draw among all)"),
    "typical_p": _number(0, 1, "a probability above 0 (1: draw among all)", without=0),
    "epsilon_cutoff": _number(0, 1, "a probability below 1 (0: none)", without=1),
    "eta_cutoff": _number(0, 1, "a probability below 1 (0: none)", without=1),
    "no_repeat_ngram_size": _whole(0, "a number of tokens (0: none)"),
    "min_length": _whole(0, "a number of tokens"),
    "min_new_tokens": _whole(0, "a number of tokens"),
    "renormalize_logits": _YES_OR_NO,
    "remove_invalid_values": _YES_OR_NO,
    "bad_words_ids": (lambda value: bool(value) and _list(_are_ids, "")[0](value), "a list of lists of token ids"),
    "suppress_tokens": _IDS,
    "begin_suppress_tokens": _IDS,
    "forced_eos_token_id": _ID,
    "guidance_scale": _number(0, math.inf, "a finite number (1: none)"),
}
_NEVER_NULL = ("until", "temperature")
"""lm-eval itself fails on these; of all others null means that they are not given."""


def settings_fault(settings: Any) -> str | None:
    """Return what is wrong with settings of a text, as ``KEY: VALUE is not WHAT``; None: nothing."""
    if not isinstance(settings, Mapping):
        return f"expected settings of a text, such as 'until: [...]' and 'max_gen_toks: 256', found {shown(settings)}"
    for key, value in settings.items():
        if key not in SETTINGS:
            near = did_you_mean(str(key), SETTINGS)
            return f"{key}: {shown(value)}, but there is no such setting{near or '; there are ' + ', '.join(SETTINGS)}"
        is_allowed, what = SETTINGS[key]
        if (value is None and key in _NEVER_NULL) or (value is not None and not is_allowed(value)):
            is_long = isinstance(value, int) and not -(2**63) <= value < 2**63  # too long to be shown
            return f"{key}: {'a number of more than 64 bits' if is_long else shown(value)} is not {what}"
    return None


def refusing(key: str) -> Callable[[Any], str | None]:
    """Return what says of a value of one setting what is wrong with it, as ``VALUE is not WHAT``; for `Option`."""

    def refuse(value: Any) -> str | None:
        found = settings_fault({key: value})
        return None if found is None else found.removeprefix(f"{key}: ")

    return refuse


def max_tokens(settings: Mapping[str, Any], default: int) -> int:
    """Return the greatest number of tokens of a text that settings without a `settings_fault` ask for."""
    given = (settings.get(name) for name in MAX_TOKENS)
    return next((int(value) for value in given if value is not None), default)
