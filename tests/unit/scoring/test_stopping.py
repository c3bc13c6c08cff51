"""When a text ends: without a model, on a tokenizer of letters."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.scoring.stopping import Stopping, end_ids

pytestmark = pytest.mark.torch_free


class Letters:
    """A tokenizer whose tokens are the characters' numbers; token 0 is its end, written ``$``."""

    eos_token_id: int | None = 0
    all_special_ids = (0,)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return "".join(chr(token) if token else "$" for token in ids if token or not skip_special_tokens)


def model(ends: Any) -> Any:
    return SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=ends))


def test_end_tokens_are_the_models_and_the_tokenizers() -> None:
    tokenizer: Any = Letters()
    assert end_ids(model(None), tokenizer) == {0}
    assert end_ids(model(7), tokenizer) == {0, 7}
    assert end_ids(model([7, 8]), tokenizer) == {0, 7, 8}
    assert end_ids(object(), SimpleNamespace(eos_token_id=None)) == frozenset()


def test_the_end_token_ends_a_text_as_letters_too() -> None:
    stopping = Stopping(model(None), Letters())
    assert stopping.strings(("x", "", "y")) == ["x", "y", "$"]
    assert stopping.strings(("$", "y")) == ["$", "y"]
    assert stopping.cut("ab$cxd", ("x",)) == "ab"
    nameless: Any = Letters()
    nameless.eos_token_id = None
    assert Stopping(model(None), nameless).strings(("x",)) == ["x"]


class Marked(Letters):
    """Token 1 is special, too, and written ``<1>``."""

    all_special_ids = (0, 1)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        shown = (token for token in ids if token > 1 or not skip_special_tokens)
        return "".join({0: "$", 1: "<1>"}.get(token, chr(token)) for token in shown)


@given(
    text=st.text("ab<1>\1", min_size=1, max_size=30),
    until=st.lists(st.sampled_from(["<1>", "a<1>", "<1>b", "<1><1>", "ab", "b<1>a"]), max_size=3),
)
def test_stop_strings_are_looked_for_in_what_was_written_special_tokens_included(text: str, until: list[str]) -> None:
    """The oracle reads the whole text again; the prompt's special token does not count."""
    watch = Stopping(model(None), Marked()).watch([ord("a"), 1], until, 100)
    for count, letter in enumerate(text, start=1):
        expected = any(stop in text[:count].replace("\1", "<1>") for stop in until)
        assert watch.push(ord(letter)) == expected
        if expected:
            break


@given(
    text=st.text("abc$", min_size=1, max_size=30).map(lambda text: text.replace("$", "\0")),
    until=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    room=st.integers(1, 40),
)
def test_the_watch_ends_at_the_first_token_after_which_the_text_has_an_end(
    text: str, until: list[str], room: int
) -> None:
    """The oracle reads the whole text again at every token."""
    watch = Stopping(model(ord("c")) if "cc" in text else model(None), Letters()).watch([ord("p")], until, room)
    ends = {0, ord("c")} if "cc" in text else {0}
    for count, letter in enumerate(text, start=1):
        so_far = text[:count].replace("\0", "")
        expected = ord(letter) in ends or any(stop in so_far for stop in until) or count == room
        assert watch.push(ord(letter)) == expected
        assert watch.count == count
        if expected:
            break
