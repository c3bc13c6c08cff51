"""The text of a completion, over the tokenizers of the common families. The oracle is the text that was encoded."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.paths import SAMPLES
from evalkit.scoring.completion import Detokenizer, Stream, first_stop
from evalkit.scoring.stopping import end_ids
from tests.conftest import SHARED
from tests.support.tokenizers import FAMILIES

pytestmark = pytest.mark.model


# Tokenizers that put nothing before a text, so that the tokens of a text alone are tokens of it behind any other.
PLAIN = ("smollm2", "gpt2", "llama3", "qwen2", "gemma")


def problems() -> list[tuple[str, str]]:
    """(prompt, canonical solution): all 164 where the reference material is, else the samples."""
    file = SHARED / "data" / "humaneval" / "test.jsonl"
    file = file if file.is_file() else Path(SAMPLES) / "humaneval" / "test.jsonl"
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [(row["prompt"], row["canonical_solution"]) for row in rows]


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def split(family: str, prompt: str, rest: str) -> tuple[list[int], list[int]] | None:
    """Return the prompt's tokens and those that follow; None where the tokenizer loses text or joins the two."""
    tokenizer = FAMILIES[family]()
    before, whole = ids_of(tokenizer, prompt), ids_of(tokenizer, prompt + rest)
    if whole[: len(before)] == before:
        new = whole[len(before) :]
    elif family in PLAIN:  # a token spans the join: what a model writes there instead
        new = ids_of(tokenizer, rest)
    else:
        return None
    lossless = tokenizer.decode([*before, *new], clean_up_tokenization_spaces=False) == prompt + rest
    return (before, new) if lossless else None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_canonical_solutions_come_back_exactly(family: str) -> None:
    tokenizer = FAMILIES[family]()
    decoder = Detokenizer(tokenizer)
    cases = [(solution, split(family, prompt, solution)) for prompt, solution in problems()]
    usable = [(solution, ids) for solution, ids in cases if ids is not None]
    assert len(usable) > 0.9 * len(cases)
    for solution, (before, new) in usable:
        assert decoder.completion(before, new) == solution
        # What a model adds behind the text, and what a generator sees on its way.
        assert decoder.completion(before, [*new, tokenizer.eos_token_id]) == solution
        stream = Stream(decoder, before)
        for token in new:
            stream.push(token)
        assert stream.text == solution


def test_decoding_the_new_tokens_alone_loses_the_indentation() -> None:
    """The fault that the rule is there for: the tests above can fail."""
    tokenizer = FAMILIES["mistral"]()
    cases = [(solution, split("mistral", prompt, solution)) for prompt, solution in problems()]
    lost = sum(ids is not None and tokenizer.decode(ids[1]) != solution for solution, ids in cases)
    assert lost > 0.9 * len(cases)


@pytest.mark.parametrize("family", FAMILIES)
@given(
    prompt=st.text(st.sampled_from("ab def(x):\n  ,.é1"), min_size=1, max_size=30),
    rest=st.text(st.sampled_from("ab return\n   ,.é東🙂1"), min_size=1, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back_where_the_tokenizer_is_lossless(family: str, prompt: str, rest: str) -> None:
    tokenizer = FAMILIES[family]()
    ids = split(family, prompt, rest)
    if ids is None:
        return
    decoder = Detokenizer(tokenizer)
    assert decoder.completion(*ids) == rest
    stream = Stream(decoder, ids[0])
    for token in ids[1]:
        stream.push(token)
    assert stream.text == rest


@functools.cache
def with_special() -> Any:
    """A tokenizer in the manner of Llama 2's, with special tokens that its normalizer sees and does not see."""
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    body = json.loads(FAMILIES["gemma"]().backend_tokenizer.to_str())
    marks = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    body["pre_tokenizer"] = None
    body["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, marks]}
    body["decoder"]["decoders"].append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    backend = Tokenizer.from_str(json.dumps(body))
    backend.add_special_tokens([AddedToken("<|seen|>", normalized=True), AddedToken("<|unseen|>", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


SPECIAL = ("<s>", "</s>", "<|seen|>", "<|unseen|>")


@given(
    prompt=st.text(st.sampled_from("ab def(x):\n  ,.é1"), min_size=1, max_size=20),
    parts=st.lists(
        st.one_of(st.sampled_from(SPECIAL), st.text(st.sampled_from("ab return\n   ,.é1"), min_size=1, max_size=6)),
        max_size=8,
    ),
)
@settings(max_examples=150, deadline=None)
def test_special_tokens_are_no_text_wherever_they_are(prompt: str, parts: list[str]) -> None:
    """The oracle is the plain decoding of the other tokens, all of them."""
    tokenizer = with_special()
    plain = tokenizer.backend_tokenizer
    before = ids_of(tokenizer, prompt)
    new: list[int] = []
    for part in parts:
        new += [plain.token_to_id(part)] if part in SPECIAL else ids_of(tokenizer, "a" + part)[1:]
    rest = [token for token in new if token not in {plain.token_to_id(text) for text in SPECIAL}]
    whole, head = (plain.decode(ids, skip_special_tokens=False) for ids in ([*before, *rest], before))
    if "\ufffd" in whole:  # half a character: what it changes before it is another test's
        return
    assert Detokenizer(tokenizer).completion(before, new) == whole[len(head) :]
    stream = Stream(Detokenizer(tokenizer), before)
    for token in new:
        stream.push(token)
    assert stream.text == whole[len(head) :]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stop", ["\ndef", "\n#", "\nprint", "urn x"])
def test_a_stop_string_that_tokens_cut_is_found_when_it_is_complete(family: str, stop: str) -> None:
    tokenizer = FAMILIES[family]()
    text = f"    return x + 1\n    return x{stop}ining = 1\n"
    ids = split(family, "def f(x):\n", text)
    assert ids is not None
    stream = Stream(Detokenizer(tokenizer), ids[0])
    found = next(count for count, token in enumerate(ids[1], 1) if stream.push(token, [stop]))
    assert stop in stream.text
    assert first_stop(stream.text, [stop]) == text.split(stop)[0]
    # One token fewer does not have it yet.
    assert stop not in Detokenizer(tokenizer).completion(ids[0], ids[1][: found - 1])


@functools.cache
def pieces(family: str) -> list[int]:
    """Tokens of a text with characters of one to four bytes, which tokenizers cut."""
    return ids_of(FAMILIES[family](), "ab hello\n\n    return 'é東é🙂 🙂'\n好x")


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_stop_strings_are_found_where_the_whole_text_decoded_again_first_has_them(family: str, data: Any) -> None:
    """Special tokens and characters that are never completed included; the oracle decodes everything at every token."""
    tokenizer = FAMILIES[family]()
    special = [tokenizer.bos_token_id, tokenizer.eos_token_id]
    token = st.one_of(st.sampled_from(pieces(family)), st.sampled_from(special))
    before, new = ids_of(tokenizer, "def f(x"), data.draw(st.lists(token, min_size=1, max_size=12))
    decode = functools.partial(tokenizer.decode, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    head = len(decode(before))
    texts = [decode([*before, *new[:count]])[head:] for count in range(1, len(new) + 1)]
    start = data.draw(st.integers(0, max(0, len(texts[-1]) - 1)))
    stop = texts[-1][start : start + data.draw(st.integers(1, 12))]
    if not stop or "\ufffd" in stop:
        return
    stream = Stream(Detokenizer(tokenizer), before)
    found = next((count for count, token in enumerate(new, start=1) if stream.push(token, [stop])), None)
    assert found == next(count for count, text in enumerate(texts, start=1) if stop in text)


@pytest.mark.parametrize(
    ("configured", "own", "ends"),
    [(0, 7, {0, 7}), ([0, 3], 7, {0, 3, 7}), (7, 7, {7}), (None, 7, {7}), (0, None, {0}), (None, None, set())],
)
def test_a_text_ends_at_the_end_tokens_of_settings_and_tokenizer(configured: Any, own: Any, ends: set[int]) -> None:
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=configured))
    assert end_ids(model, SimpleNamespace(eos_token_id=own)) == ends
