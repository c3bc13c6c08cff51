"""Sets that iterate as they do on the other side: a program's ``list(s)`` and ``s.pop()`` depend on it.

CPython keeps a set in a table of 2^k places; an element's hash names the places where it may stand, and it takes the
first free one (Objects/setobject.c, 3.10 to 3.13). So the order depends on the table's size, which growth, merging and
deletions leave different, and on who came first. Neither can be set from Python, but both can be brought about: by
elements that are taken out again (their places stay used), and by the order of adding. The sender tries that, and tells
the recipe that worked. Both processes hash with one seed.

To think of each element's places takes long, about 30 microseconds: it is done for sets of up to :data:`MAX_ARRANGED`
elements, and for so many of them in a sample (:class:`Search`). For others there is one cheap try, in a table that has
its size from the start.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Iterator
from typing import Any

SMALLEST = 8  # places of an empty set
_EMPTY_BYTES = sys.getsizeof(set())
_PLACE_BYTES = 16
MAX_ARRANGED = 512  # elements of a set for which each one's places are thought of
MAX_SEARCHED = 30_000  # elements in all of the sets of a sample, on each side, for which that is done
MAX_SIZE = 1 << 12  # places of a table that a plan is made for: it looks at each
_LINEAR = 9  # places that are tried after the one in hand, where the table has so many
_TRIED = 24  # places of an element that are thought of
NO_RECIPE = -1
CHANGED = -2  # there is none: some of its elements have other hashes than when they came in, or have become equal
LOST = {NO_RECIPE: "the order of a set", CHANGED: "a set of which elements have changed their hashes"}
"""What could not cross, of a set without a recipe."""


class Search:
    """What is left of the thorough searches for recipes. Mutable."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_SEARCHED

    def may(self, count: int) -> bool:
        """Whether there may be another one, for so many elements; it is counted."""
        if count > min(MAX_ARRANGED, self.left):
            return False
        self.left -= count
        return True


class _Filler:
    """Takes a place for a while."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number


def table_size(value: set[Any] | frozenset[Any]) -> int:
    """The number of places in a set's table."""
    beyond = sys.getsizeof(value) - _EMPTY_BYTES
    return beyond // _PLACE_BYTES if beyond > 0 else SMALLEST


def _places(element: Any, size: int) -> Iterator[int]:
    """Where an element may stand, best first."""
    number = hash(element)
    mask, perturb = size - 1, number & ((1 << 64) - 1)
    place = number & mask
    while True:
        yield place
        if place + _LINEAR <= mask:
            yield from range(place + 1, place + _LINEAR + 1)
        perturb >>= 5
        place = (place * 5 + 1 + perturb) & mask


def _chosen(tried: list[list[int]]) -> list[int] | None:
    """A rising sequence of places, one of each element's, with the fewest places in front of them on their ways."""
    before = [(-1, 0, 0)]  # of the element in front: (place, cost, number of the best one before it), rising
    steps = []
    for mine in tried:
        now: list[tuple[int, int, int]] = []
        reached, best, best_number = 0, -1, -1
        for place, cost in sorted(zip(mine, range(len(mine)), strict=True)):
            while reached < len(before) and before[reached][0] < place:
                if best < 0 or before[reached][1] < best:
                    best, best_number = before[reached][1], reached
                reached += 1
            if best >= 0:
                now.append((place, best + cost, best_number))
        if not now:
            return None
        steps.append(now)
        before = now
    number = min(range(len(before)), key=lambda at: before[at][1])
    chosen = []
    for step in reversed(steps):
        chosen.append(step[number][0])
        number = step[number][2]
    return chosen[::-1]


def _plan(elements: list[Any], size: int) -> tuple[list[Any], list[int], list[int]] | None:
    """(elements in the order of adding, places to be filled before, places that stay free)."""
    tried = []
    for element in elements:
        mine: list[int] = []
        for place in _places(element, size):
            if place not in mine:
                mine.append(place)
            if len(mine) >= min(_TRIED, size):
                break
        tried.append(mine)
    chosen = _chosen(tried)
    if chosen is None:
        return None
    owner = {place: number for number, place in enumerate(chosen)}
    before = [mine[: mine.index(place)] for mine, place in zip(tried, chosen, strict=True)]
    fillers = sorted({place for places in before for place in places} - owner.keys())
    ordered = [number for number, places in enumerate(before) if not places]
    added = set(ordered)
    rest = [number for number, places in enumerate(before) if places]
    while rest:
        ready = [number for number in rest if all(owner.get(place, number) in added for place in before[number])]
        ready = ready or rest[:1]  # a circle: somebody was deleted in between
        ordered += ready
        added.update(ready)
        rest = [number for number in rest if number not in added]
    return [elements[number] for number in ordered], fillers, sorted({*range(size)} - owner.keys() - {*fillers})


def arrange(target: set[Any], elements: list[Any], size: int) -> None:
    """Fill an empty set; with a ``size`` above 0, so that its table has that many places and the order is the list's,
    where that can be had; with one more than the number of places, they are had from the start and that is all."""
    if size % 2 and size > SMALLEST:
        _fill_at_once(target, elements, size - 1)
        return
    plan = _plan_within_bounds(elements, size)
    if plan is None:
        for element in elements:
            set.add(target, element)
        return
    ordered, fillers, free = plan
    taken = [_Filler(place + (size << 20)) for place in fillers]
    needed = (
        max(5, size // 4) if size > SMALLEST else 0
    )  # an update with a dict makes room for twice what there will be
    extra = max(0, needed - len(taken) - len(ordered))
    taken += [_Filler(place + (size << 20)) for _, place in zip(range(extra), free, strict=False)]
    everything = [*taken, *ordered]
    set.update(target, dict.fromkeys(everything[:needed]))
    for element in everything[needed:]:  # byte code: a time-out can interrupt it even where all hashes collide
        set.add(target, element)
    for filler in taken:
        set.discard(target, filler)


def _plan_within_bounds(elements: list[Any], size: int) -> tuple[list[Any], list[int], list[int]] | None:
    """The plan, where a sender may have thought of one."""
    if len(elements) > MAX_ARRANGED or not SMALLEST <= size <= MAX_SIZE or size & (size - 1):
        return None
    return _plan(elements, size)


def _fill_at_once(target: set[Any], elements: list[Any], size: int) -> None:
    """Fill an empty set in a table of this size, if an update with so many can bring that about."""
    at_once = max(0, size // 2 - 1)  # room is made for more than twice as many
    set.update(target, dict.fromkeys(elements[:at_once]))
    for element in elements[at_once:]:
        set.add(target, element)


def is_in_order(value: Iterable[Any], elements: list[Any]) -> bool:
    """Whether a set iterates over these very objects in this order."""
    found = list(value)
    return len(found) == len(elements) and all(map(operator.is_, found, elements))


def recipe_of_set(value: set[Any], elements: list[Any], search: Search) -> int:
    """What :func:`arrange` needs to know to make this set again: 0 nothing, else the size, or the size and 1;
    :data:`NO_RECIPE`, :data:`CHANGED`."""
    if len(elements) < 2:
        return 0
    try:
        made = set(elements)
        if is_in_order(made, elements):
            return 0
        if len(made) != len(elements):
            return CHANGED
        size = table_size(value)
        for recipe in (size + 1, size):
            if recipe % 2 or search.may(len(elements)):
                made = set()
                arrange(made, elements, recipe)
                if is_in_order(made, elements):
                    return recipe
    except Exception:  # a hash or a comparison of the program's own, which no program in one process is asked for here
        return CHANGED
    return NO_RECIPE


# A frozenset cannot be changed after it is made, so it is made of something else: of a list, which is added one by one,
# or of a set, which is merged in its order.
def frozen(elements: list[Any], recipe: int) -> frozenset[Any]:
    """A frozenset. Recipe 0: of the list; 1: of a set of it; an even n: of the list in the order for n places; an
    odd n: of a set arranged for n - 1 places (where that is 2 beyond a power of two: of one that had them from the
    start)."""
    if recipe == 0:
        return frozenset(elements)
    source: set[Any] = set()
    if recipe % 2:
        arrange(source, elements, recipe - 1 if recipe % 8 == 1 else recipe - 2)
        return frozenset(source)
    plan = _plan_within_bounds(elements, recipe)
    return frozenset(plan[0] if plan else elements)


def recipe_of_frozenset(value: frozenset[Any], elements: list[Any], search: Search) -> int:
    """What :func:`frozen` needs to know to make this frozenset again; :data:`NO_RECIPE`, :data:`CHANGED`."""
    if len(elements) < 2:
        return 0
    try:
        made = frozenset(elements)
        if is_in_order(made, elements):
            return 0
        if len(made) != len(elements):
            return CHANGED
        size = table_size(value)
        sizes = (size, size // 2, 2 * size, 4 * size, size // 4)
        cheap = (1, size + 3)
        for recipe in (*cheap, size, *(places + 1 for places in sizes)):
            if recipe != 1 and not SMALLEST <= recipe <= MAX_SIZE:
                continue
            if (recipe in cheap or search.may(len(elements))) and is_in_order(frozen(elements, recipe), elements):
                return recipe
    except Exception:  # a hash or a comparison of the program's own, which no program in one process is asked for here
        return CHANGED
    return NO_RECIPE
