"""Objects that candidate and tests have in common: one object there is one object here, and a change is seen by both.

In one process a test and a program hold the same list; here each side has its own copy of it, under one number. Every
message ends with what has changed since the last one (:meth:`Heap.changes`), so a list that the program kept, sorted,
swapped for another or returned twice is found by the tests as it would be in one process, and the other way round.
Only one side runs at a time, so nothing can change on both.

The tests' side gives even numbers, the candidate's odd ones. What only this table still refers to is dropped.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any

from .order import Search

MAX_KEPT = 512  # objects that stay common from one call to the next; beyond it those of the call in hand
MAX_GIVEN = 20_000  # objects of one reply that become common; the others are copies
MAX_KEPT_ITEMS = 20_000


class CommonObject:
    """A common object and the parts that it had when both sides knew them."""

    __slots__ = ("known", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.known: list[Any] | bytes | None = None


class Heap:
    """One side's table of common objects. Mutable: grows with each message, see the module.

    Args:
        first: 0 or 1; this side's numbers are even or odd.
        parts_of: the parts of a mutable object, by which a change is noticed: items, or bytes.
    """

    def __init__(self, first: int, parts_of: Callable[[Any], list[Any] | bytes]) -> None:
        self.first = first
        self.entries: dict[int, CommonObject] = {}
        self.numbers: dict[int, int] = {}
        self.fresh: list[int] = []
        """Numbers that the message in hand gives."""
        self.note: Callable[[str], None] = lambda _: None
        """Told what of a value does not cross though the rest of it does."""
        self.last: list[Any] = []
        """What objects held before a change, where somebody may still use it without a reference."""
        self.is_plain = True
        """Whether only numbers, texts and their containers have crossed."""
        self.search = Search()
        """For the orders of sets."""
        self._next = first
        self._parts_of = parts_of

    def add(self, value: Any) -> int:
        """Give an object of this side a number."""
        number = self._next
        self._next += 2
        self._enter(number, value)
        self.entries[number].known = self._parts_of(value)  # its content is encoded next; the program may go on
        return number

    def put(self, number: Any, value: Any) -> None:
        """Take an object under the number that the other side gave.

        Raises:
            ValueError: not a number of the other side's, or one that is taken.
        """
        if type(number) is not int or number < 0 or number % 2 == self.first or number in self.entries:
            raise ValueError("not a new number")
        self._enter(number, value)

    def _enter(self, number: int, value: Any) -> None:
        self.entries[number] = CommonObject(value)
        self.numbers[id(value)] = number
        self.fresh.append(number)

    def get(self, number: Any) -> Any:
        """The object of a number; ``KeyError``."""
        return self.entries[number].value

    def undo(self, mark: int = 0) -> None:
        """Forget what the message in hand gave numbers to, after the first ``mark``: it is not sent."""
        for number in self.fresh[mark:]:
            self._leave(number)
        del self.fresh[mark:]

    def _leave(self, number: int) -> None:
        entry = self.entries.pop(number)
        if self.numbers.get(id(entry.value)) == number:
            del self.numbers[id(entry.value)]

    def settle(self) -> None:
        """A message is through: what it brought is as the other side has it."""
        for number in self.fresh:
            entry = self.entries.get(number)
            if entry is not None and entry.known is None:
                entry.known = self._parts_of(entry.value)
        self.fresh = []

    def changed(self) -> list[tuple[int, Any]]:
        """(number, object) of those whose parts are not the ones that both sides know."""
        found = []
        for number, entry in list(self.entries.items()):
            if entry.known is None:
                continue  # just received
            parts = self._parts_of(entry.value)
            if type(parts) is bytes:
                same = parts == entry.known
            else:
                same = len(parts) == len(entry.known) and all(map(operator.is_, parts, entry.known))
            if not same:
                entry.known = parts
                found.append((number, entry.value))
        return found

    def is_full(self) -> bool:
        """Whether keeping all of it would make each message slow."""
        return len(self.entries) > MAX_KEPT or (
            sum(len(entry.known or ()) for entry in self.entries.values()) > MAX_KEPT_ITEMS
        )

    def prune(self) -> list[int]:
        """Drop what nobody but this table refers to, after :meth:`changed`; return the numbers."""
        dropped = []
        for number, entry in list(self.entries.items()):
            # The table's own reference, and the argument's.
            if sys.getrefcount(entry.value) <= 2 and number not in self.fresh:
                self._leave(number)
                entry.value = entry.known = None  # so that its parts may be dropped next
                dropped.append(number)
        return dropped

    def clear(self) -> None:
        """Drop everything."""
        self.entries, self.numbers, self.fresh = {}, {}, []

    def forget(self, numbers: Any) -> None:
        """Drop these; unknown ones are none."""
        for number in numbers:
            if number in self.entries:
                self._leave(number)
