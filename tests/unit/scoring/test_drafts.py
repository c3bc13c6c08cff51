"""Drafts: where they are from, how far they go, and that they cost no memory without end."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.scoring import drafts as module
from evalkit.scoring.drafts import LONGEST_DRAFT, Drafts


def written(drafts: Drafts, prompt: list[int], tokens: list[int]) -> module.Text:
    text = drafts.begin(prompt)
    for token in tokens:
        drafts.push(text, token)
    return text


def is_in(whole: list[int], texts: list[list[int]]) -> bool:
    return any(text[k : k + len(whole)] == whole for text in texts for k in range(len(text)))


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=30), min_size=1, max_size=4), st.integers(0, 20))
@settings(deadline=None)
def test_a_draft_is_what_followed_the_same_tokens_somewhere(texts: list[list[int]], most: int) -> None:
    drafts = Drafts()
    begun = [written(drafts, tokens[:2], tokens[2:]) for tokens in texts]
    for text in begun:
        draft, match = drafts.propose(text, 1, most)
        assert len(draft) <= min(most, LONGEST_DRAFT)
        assert bool(match) or not draft
        if draft:
            assert is_in([*text.tokens[-match:], *draft], texts)


def test_what_repeats_is_drafted_and_what_is_new_is_not() -> None:
    drafts = Drafts()
    loop = written(drafts, [1, 2, 3], [4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3])
    assert drafts.propose(loop, 1, 4)[0] == [4, 5, 6, 7]
    assert drafts.propose(loop, 1, 0) == ([], 0)
    assert written(drafts, [20, 21], [22, 23]).tokens == [20, 21, 22, 23]
    new = written(drafts, [30, 31], [32, 33])
    assert drafts.propose(new, 1, 4) == ([], 0)
    # Another row's text is as good.
    other = written(drafts, [40], [9, 1, 2, 3, 4, 5, 6])
    assert drafts.propose(other, 1, 3)[0] == [7, 8, 9]


def test_drafts_that_are_wrong_are_no_longer_made_and_come_back_when_right() -> None:
    rng = random.Random(0)
    drafts = Drafts()
    text = written(drafts, [1, 2], [3, 4] * 20)
    assert drafts.propose(text, 4, 8)[0]
    for _ in range(200):
        draft, match = drafts.propose(text, 4, 8)
        if not draft:
            break
        drafts.judge(match, len(draft), 0)
    assert not drafts.propose(text, 4, 8)[0]
    for _ in range(400):
        drafts.judge(module.LONGEST_MATCH, 8, 8 if rng.random() < 0.99 else 0)
    assert drafts.propose(text, 4, 8)[0]


def test_many_rows_want_a_likelier_draft_than_few() -> None:
    drafts = Drafts()
    text = written(drafts, [1, 2], [3, 1, 2])
    lengths = [len(drafts.propose(text, rows, 8)[0]) for rows in (1, 8, 64)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


def test_texts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_TOKENS", 50)
    drafts = Drafts()
    for number in range(100):
        written(drafts, [], [1000 * number + k for k in range(20)])
    assert len(drafts._young) + len(drafts._old) <= 2 * (len(module.CONTEXTS) * 50 + 1)
    assert not drafts.propose(written(drafts, [], [0, 1, 2, 3]), 1, 4)[0]
