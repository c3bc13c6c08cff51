"""Settings of a generated text: which there are, and what each may be."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit.config.generation_settings import max_tokens, settings_fault

TOKENS = "is not a number of tokens (1 or more)"
FINITE = "is not 0 (greedy) or a finite number above"
SHARE = "is not a probability (1: draw among all)"


@pytest.mark.torch_free
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("max_gen_toks", 0, f"0 {TOKENS}"),
        ("max_gen_toks", -3, f"-3 {TOKENS}"),
        ("max_gen_toks", 2.0, f"2.0 {TOKENS}"),
        ("max_gen_toks", True, f"True {TOKENS}"),
        ("max_new_tokens", "9", f"'9' {TOKENS}"),
        ("max_tokens", 10**4000, f"a number of more than 64 bits {TOKENS}"),
        ("temperature", "hot", f"'hot' {FINITE}"),
        ("temperature", "0.7", f"'0.7' {FINITE}"),
        ("temperature", None, f"null {FINITE}"),
        ("temperature", -0.5, f"-0.5 {FINITE}"),
        ("temperature", math.inf, f"inf {FINITE}"),
        ("temperature", math.nan, f"nan {FINITE}"),
        ("top_p", 7, f"7 {SHARE}"),
        ("top_p", math.nan, f"nan {SHARE}"),
        ("top_k", "abc", "'abc' is not a number of tokens, or 0 for all"),
        ("top_k", 2.9, "2.9 is not a number of tokens, or 0 for all"),
        ("top_k", -5, "-5 is not a number of tokens, or 0 for all"),
        ("repetition_penalty", "loud", "'loud' is not between 0.01 and 100 (1 is none)"),
        ("do_sample", "false", "'false' is not true or false"),
        ("do_sample", 1, "1 is not true or false"),
        ("chat", "yes", "'yes' is not true or false"),
        ("until", None, "null is not a text or a list of texts"),
        ("until", [3], "[3] is not a text or a list of texts"),
        ("num_beams", 0, "0 is not a number of beams (1: none)"),
        ("min_p", 5, "5 is not a probability (0: draw among all)"),
        ("typical_p", 0, "0 is not a probability above 0 (1: draw among all)"),
        ("epsilon_cutoff", 1.0, "1.0 is not a probability below 1 (0: none)"),
        ("length_penalty", math.inf, "inf is not a finite number"),
        ("guidance_scale", math.inf, "inf is not a finite number (1: none)"),
        ("bad_words_ids", [[]], "[[]] is not a list of lists of token ids"),
        ("suppress_tokens", [-1], "[-1] is not a list of token ids"),
        ("foo", 3, "3, but there is no such setting; there are until, max_gen_toks, max_new_tokens,"),
        ("temprature", 1, "1, but there is no such setting; did you mean 'temperature'?"),
        ("num_return_sequences", 2, "2, but there is no such setting"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_value_and_what_may_be(key: str, value: Any, said: str) -> None:
    found = settings_fault({"until": ["x"], key: value} if key != "until" else {key: value})
    assert found is not None
    assert found.startswith(f"{key}: {said}")
    assert "\n" not in found


@pytest.mark.torch_free
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"until": "\n", "do_sample": False, "temperature": 0.0},
        {"until": [], "max_gen_toks": 1, "do_sample": True, "temperature": 5e-324, "top_p": 0, "top_k": 2**62},
        {"max_tokens": 5, "max_completion_tokens": 6, "max_new_tokens": None, "top_k": -1, "top_p": 1, "chat": True},
        {"do_sample": None, "top_k": None, "temperature": 1e300, "repetition_penalty": 1},
        {"num_beams": 4, "early_stopping": "never", "length_penalty": -1, "no_repeat_ngram_size": 3, "min_p": 0.05},
        {"bad_words_ids": [[5], [6, 7]], "suppress_tokens": [1], "min_new_tokens": 0, "guidance_scale": 1.5},
    ],
)
def test_lm_evals_forms_and_transformers_settings_are_taken(settings: dict[str, Any]) -> None:
    assert settings_fault(settings) is None


@pytest.mark.torch_free
def test_the_number_of_tokens_has_lm_evals_names_in_its_order() -> None:
    assert max_tokens({"max_completion_tokens": 4, "max_tokens": 3, "max_new_tokens": 2}, 9) == 2
    assert max_tokens({"max_gen_toks": None, "max_tokens": 3}, 9) == 3
    assert max_tokens({}, 9) == 9


@pytest.mark.model
def test_all_that_lm_evals_own_tasks_ask_for_is_taken() -> None:
    import lm_eval

    class Loader(yaml.SafeLoader):
        """Knows no functions."""

    Loader.add_constructor("!function", lambda *_: "function")
    files = [path for path in Path(lm_eval.__file__).parent.glob("tasks/**/*yaml") if path.is_file()]
    asked = {}
    for path in files:
        text = path.read_text(encoding="utf-8")
        block = re.search(r"^generation_kwargs:.*\n(?:(?:[ \t-].*)?\n)*", text, re.MULTILINE)
        if block is not None:
            asked[path] = yaml.load(block[0], Loader)["generation_kwargs"]  # a safe loader's child
    assert len(asked) > 300
    assert {
        path.name: found for path, settings in asked.items() if settings and (found := settings_fault(settings))
    } == {}
