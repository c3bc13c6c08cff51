"""Which rows are read, in what order, and which go on: token ids only, without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import ConfigError
from evalkit.scoring.requests import GenerationRequest
from evalkit.scoring.schedule import (
    SHORTEST_SHARED_PREFIX,
    Batch,
    Flow,
    GenerationRow,
    in_families,
    make_rows,
    plan_reading,
)

pytestmark = pytest.mark.torch_free

# Few different tokens, so that prompts share prefixes and repeat.
PROMPTS = st.lists(
    st.builds(
        lambda stem, rest: (*[5] * stem, *rest), st.integers(0, 40), st.lists(st.integers(1, 2), min_size=1, max_size=5)
    ),
    min_size=1,
    max_size=8,
)


@given(prompts=PROMPTS, shares_prefix=st.booleans())
def test_reading_gives_every_prompt_back(prompts: list[tuple[int, ...]], shares_prefix: bool) -> None:
    reading = plan_reading(prompts, shares_prefix=shares_prefix)
    lengths = {len(ids) for ids in reading.ids} | {len(mask) for mask in reading.mask}
    assert len(lengths) == 1
    rests = [
        tuple(token for token, is_token in zip(ids, mask, strict=True) if is_token)
        for ids, mask in zip(reading.ids, reading.mask, strict=True)
    ]
    assert [reading.prefix + rests[place] for place in reading.places] == prompts
    # Padding is on the left, and every row has a token whose logits can be asked for.
    assert all(mask == sorted(mask) and mask[-1] == 1 for mask in reading.mask)
    padded = zip(reading.ids, reading.mask, strict=True)
    assert all(is_token or token == 0 for pair in padded for token, is_token in zip(*pair, strict=True))
    # Each distinct prompt once.
    assert len(reading.ids) == len(set(prompts))


@given(prompts=PROMPTS)
def test_what_all_prompts_begin_with_is_read_once(prompts: list[tuple[int, ...]]) -> None:
    common = 0
    while len({prompt[: common + 1] for prompt in prompts}) == 1 and common + 1 < min(map(len, prompts)):
        common += 1
    is_worth_it = len(set(prompts)) > 1 and common >= SHORTEST_SHARED_PREFIX
    assert len(plan_reading(prompts).prefix) == (common if is_worth_it else 0)
    assert plan_reading(prompts, shares_prefix=False).prefix == ()


def test_equal_requests_share_a_row_and_samples_do_not() -> None:
    encoded = {"a": (1,), "long": (3, 4, 5, 6), "b": (2, 1)}
    requests = [
        GenerationRequest("a"),
        GenerationRequest("b"),
        GenerationRequest("a"),
        GenerationRequest("long", temperature=1.0, sample=1),
        GenerationRequest("long", temperature=1.0, sample=0),
    ]
    rows = make_rows(requests, encoded, 300)
    assert [(row.prompt_ids, row.indices) for row in rows] == [
        ((3, 4, 5, 6), [4]),
        ((3, 4, 5, 6), [3]),
        ((2, 1), [1]),
        ((1,), [0, 2]),
    ]


def test_prompts_keep_their_end_where_the_context_is_short() -> None:
    (row,) = make_rows([GenerationRequest("p", max_new_tokens=6)], {"p": tuple(range(20))}, 10)
    assert row.prompt_ids == (16, 17, 18, 19)
    assert row.tokens == 10
    with pytest.raises(ConfigError, match="max_new_tokens 10 leaves no room for a prompt in the model's 10 tokens"):
        make_rows([GenerationRequest("p", max_new_tokens=10)], {"p": (1,)}, 10)


@given(ends=st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_rows_leave_when_they_are_finished_and_the_others_keep_their_places(ends: list[int]) -> None:
    """The model's rows, moved as the batch says, stay those of the batch."""
    rows = [
        GenerationRow(GenerationRequest("p"), (k,), [k], [9], has_failed=True, is_finished=True)
        for k in range(len(ends))
    ]
    batch = Batch(rows)
    assert all(not row.generated and not row.has_failed and not row.is_finished for row in rows)
    of_model = list(range(len(ends)))
    for step in range(1, max(ends) + 1):
        assert [row.indices[0] for row in batch.active] == of_model == [k for k, end in enumerate(ends) if end >= step]
        for row in batch.active:
            row.generated.append(step)
            row.is_finished = step == ends[row.indices[0]]
        kept = batch.leave()
        assert (kept is None) == (step not in ends)
        if kept is not None:
            of_model = [of_model[place] for place in kept]
    assert batch.active == []
    assert [len(row.generated) for row in rows] == ends


@given(prompts=st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=7).map(tuple), min_size=1, max_size=12))
def test_what_a_prompt_shares_with_any_before_it_it_shares_with_the_one_right_before(
    prompts: list[tuple[int, ...]],
) -> None:
    def shared(a: tuple[int, ...], b: tuple[int, ...]) -> int:
        return sum(a[: k + 1] == b[: k + 1] for k in range(min(len(a), len(b))))

    least = 3
    ordered = in_families(prompts, lambda prompt: prompt, least)
    assert sorted(ordered) == sorted(prompts)
    for k, prompt in enumerate(ordered[1:], 1):
        best = max(shared(before, prompt) for before in ordered[:k])
        if best >= least:
            assert shared(ordered[k - 1], prompt) == best
    assert len(ordered[0]) >= max(map(len, prompts)) or any(
        shared(ordered[0], prompt) >= least and len(prompt) == max(map(len, prompts)) for prompt in prompts
    )


@given(ends=st.lists(st.integers(1, 6), max_size=12), slots=st.integers(1, 5), again=st.integers(0, 8))
def test_a_flow_has_no_gaps_and_every_row_once(ends: list[int], slots: int, again: int) -> None:
    """A list of what is in each slot, kept by what the flow says, is the flow's; an accident in between or not."""
    rows = [GenerationRow(GenerationRequest("p"), (k,), [k]) for k in range(len(ends))]
    flow = Flow(iter(rows), slots)
    in_slot: dict[int, GenerationRow] = {}
    finished: list[GenerationRow] = []
    for step in range(1000):
        if step == again:
            flow.slots = slots = max(1, slots // 2)
            flow.start_again()
            in_slot = {}
        for slot, row in flow.join():
            assert slot not in in_slot
            assert row.generated == []
            in_slot[slot] = row
        assert [in_slot[slot] for slot in range(len(in_slot))] == flow.active
        assert len(flow.active) <= slots
        waits = len(rows) - len(finished) - len(flow.active)
        assert len(flow.active) == slots or not waits, "no slot is empty while a row waits"
        if not flow.active:
            break
        for row in flow.active:
            row.generated.append(9)
            row.is_finished = len(row.generated) == ends[row.indices[0]]
        for row, slot, last in flow.leave():
            assert in_slot[slot] is row
            moved = in_slot.pop(last)
            if last != slot:
                in_slot[slot] = moved
            finished.append(row)
    assert sorted(row.indices[0] for row in finished) == list(range(len(ends)))


def test_no_torch_is_needed() -> None:
    modules = ("requests", "encode", "forest", "plan", "packs", "parts", "schedule", "stopping", "completion")
    code = f"import sys, {', '.join(f'evalkit.scoring.{name}' for name in modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
