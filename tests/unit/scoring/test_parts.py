"""The one loop that meets running out of memory: against a memory of a known size."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import ModelError
from evalkit.out_of_memory import is_out_of_memory
from evalkit.scoring.parts import Budget, halved, in_parts

pytestmark = pytest.mark.torch_free

CPU: Any = SimpleNamespace(type="cpu", __str__=lambda _: "cpu")


class Memory:
    """Has room for some things at once; notes what was tried and what was done."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.refused: list[int] = []
        self.done: list[list[int]] = []

    def run(self, part: list[int]) -> list[int]:
        if len(part) > self.room:
            self.refused.append(len(part))
            raise RuntimeError("NPU out of memory. Tried to allocate 2.00 GiB\nand more")
        self.done.append(part)
        return part


def work(memory: Memory, things: list[int], budget: Budget) -> list[int]:
    parts = in_parts(
        things, memory.run, size=len, halves=halved, name=lambda p: f"thing {p[0]}", budget=budget, device=CPU
    )
    return [thing for part in parts for thing in part]


@given(things=st.lists(st.integers(), min_size=1), room=st.integers(1, 60), budget=st.integers(1, 60))
def test_everything_is_done_once_in_order_and_what_failed_is_not_tried_again(
    things: list[int], room: int, budget: int
) -> None:
    memory, left = Memory(room), Budget(budget)
    assert work(memory, things, left) == things
    assert all(len(part) <= min(room, budget) or len(part) == 1 for part in memory.done)
    assert sorted(memory.refused, reverse=True) == memory.refused
    assert len(set(memory.refused)) == len(memory.refused)
    assert left.size == budget if not memory.refused else left.size <= memory.refused[-1] // 2
    # What was learnt holds for the work after it.
    memory.refused.clear()
    assert work(memory, things, left) == things
    assert memory.refused == []


def test_nothing_is_done_before_it_is_asked_for() -> None:
    memory = Memory(2)
    parts = in_parts([1, 2, 3], memory.run, size=len, halves=halved, name=str, budget=Budget(9), device=CPU)
    assert memory.done == []
    assert next(parts) == [1]
    assert memory.done == [[1]]


def test_what_cannot_be_halved_is_an_error_with_the_remedy() -> None:
    with pytest.raises(ModelError, match=r"for thing 7 \(NPU out of memory. Tried to allocate 2.00 GiB\); use a small"):
        work(Memory(0), [7, 8, 9], Budget(9))


def test_other_errors_pass_through() -> None:
    parts = in_parts(
        [1, 0], lambda part: [1 // x for x in part], size=len, halves=halved, name=str, budget=Budget(9), device=CPU
    )
    with pytest.raises(ZeroDivisionError):
        next(parts)
    assert not is_out_of_memory(ZeroDivisionError("out of memory"))
