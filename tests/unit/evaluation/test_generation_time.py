"""How long texts will take, by their beginnings."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from evalkit.evaluation import generation_time

pytestmark = pytest.mark.model


@pytest.mark.parametrize(("rows", "chance"), [(1, 0.02), (4, 0.02), (8, 0.1)])
def test_the_steps_of_a_batch_are_those_of_simulated_texts(rows: int, chance: float) -> None:
    """Texts that end with one chance a token, half of them at once: the guess by their beginnings is near the truth."""
    rng = random.Random(0)

    def length(most: int) -> int:
        made = 1
        while made < most and rng.random() >= (0.5 if made == 1 else chance):
            made += 1
        return made

    truth = sum(max(length(300) for _ in range(rows)) - 1 for _ in range(4000)) / 4000
    texts = generation_time.TextTimes(batches=1, rows=rows, prompts=0, most=300)
    for _ in range(60):
        whole = length(300)
        texts.lengths.append(min(16, whole))
        texts.ended.append(whole < 16)
    assert truth / 2 < texts.expected_steps() < truth * 2


def test_texts_that_all_end_at_once_take_no_steps() -> None:
    texts = generation_time.TextTimes(batches=3, rows=2, prompts=100, most=512, lengths=[1, 1], ended=[True, True])
    texts.read_tokens, texts.read_seconds = 50, 2.0
    assert texts.expected_steps() == 0
    assert texts.whole_seconds() == 4.0


def test_rows_that_are_finished_make_room_at_once() -> None:
    """Ten texts of five tokens each in four slots: twice four rows, then the last two; a first token needs no step."""
    texts = generation_time.TextTimes(1, 4, 100, 50, lengths=[5, 5, 5], ended=[True] * 3, texts=10)
    assert texts.flow() == Counter({4: 8, 2: 4})
    texts.read_tokens, texts.read_seconds = 10, 1.0
    texts.costs = [(4, 0.5), (2, 0.3)]
    assert texts.whole_seconds() == pytest.approx(10 + 8 * 0.5 + 4 * 0.3)


@pytest.mark.parametrize("slots", [1, 3, 16])
def test_steps_are_those_of_texts_in_slots(slots: int) -> None:
    """Texts that end with one chance a token, simulated step by step: the guess by their beginnings is near."""
    rng = random.Random(1)

    def length() -> int:
        made = 1
        while made < 200 and rng.random() >= 0.03:
            made += 1
        return made

    waiting, active, steps = [length() - 1 for _ in range(500)], [], 0
    while waiting or active:
        while waiting and len(active) < slots:
            active += [left] if (left := waiting.pop()) else []
        steps += bool(active)
        active = [left - 1 for left in active if left > 1]
    texts = generation_time.TextTimes(1, slots, 0, 200, texts=500)
    for _ in range(60):
        whole = length()
        texts.lengths.append(min(16, whole))
        texts.ended.append(whole < 16)
    assert steps / 1.6 < sum(texts.flow().values()) < steps * 1.6


def test_a_line_is_never_below_nought() -> None:
    assert generation_time.line_through([]) == (0, 0)
    assert generation_time.line_through([(4, 2.0)]) == (2.0, 0)
    assert generation_time.line_through([(2, 1.0), (4, 2.0)]) == pytest.approx((0, 0.5))
    assert generation_time.line_through([(2, 3.0), (4, 1.0)]) == (2.0, 0)
    assert generation_time.line_through([(2, 0.0), (4, 3.0)]) == pytest.approx((0, 0.5))


@pytest.mark.parametrize("count", [12, 40, 164])
def test_few_texts_have_the_lengths_that_were_seen_not_a_draws(count: int) -> None:
    """Together they have as many steps as their mean length says."""
    from evalkit.evaluation.generation_time import Texts

    seen = Texts(1, 4, 0, 96, lengths=[2, 5, 5, 2, 5, 2], ended=[True, False, False, True, False, True], texts=count)
    steps = sum(rows * times for rows, times in seen.flow().items())
    assert steps == pytest.approx(count * sum(seen._survival()), rel=0.1)
