"""Deep and cyclic values as a flat list of nodes, without recursion on either side.

A node is ``["l", common, child...]``, ``["t", child...]``, ``["d", common, [key, child]...]`` or ``["p", common, class,
[name, child]...]``, with the number that a common object gets (``heap.py``); a child is ``[number]``, another node, or
``{"v": value}``, a value in the encoding of ``crossing.py``. Node 0 is the whole.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .crossing import MAX_FLAT_DEPTH, MAX_ITEMS, CrossingError
from .parts import restored, state_of

if TYPE_CHECKING:
    from .decoding import Decoder
    from .encoding import Encoder

_FLAT = (list, tuple, dict)


def flatten(root: Any, encoder: Encoder) -> Any:
    """Encode a value of any depth up to :data:`MAX_FLAT_DEPTH`.

    Raises:
        CrossingError: deeper, too many items, or something deep that is neither list, tuple, dict nor prompt object.
    """
    encoder.heap.is_plain = False  # comparing and printing it comes near the recursion limit
    numbers: dict[int, int] = {}
    nodes: list[Any] = []
    waiting: list[tuple[Any, int]] = []
    kept: list[Any] = []  # attributes' dicts would be freed, and their ids given to others

    def child(value: Any, depth: int) -> Any:
        encoder.left -= 1
        if encoder.left < 0:
            raise CrossingError(f"a value of more than {MAX_ITEMS} items")
        if id(value) not in numbers and (
            id(value) in encoder.heap.numbers or (type(value) not in _FLAT and not _is_object(value, encoder))
        ):
            return {"v": encoder(value)}
        if id(value) not in numbers:
            if depth > MAX_FLAT_DEPTH:
                raise CrossingError(f"a value nested more than {MAX_FLAT_DEPTH} deep")
            numbers[id(value)] = len(nodes)
            is_common = type(value) is not tuple and len(encoder.heap.fresh) < encoder.most_common
            nodes.append(encoder.heap.add(value) if is_common else None)
            waiting.append((value, depth))
        return [numbers[id(value)]]

    child(root, 0)
    if not nodes:
        raise CrossingError("a value nested too deep")
    while waiting:
        value, depth = waiting.pop()
        number = numbers[id(value)]
        down = functools.partial(child, depth=depth + 1)
        if type(value) is dict:
            nodes[number] = ["d", nodes[number], *([encoder(key), down(item)] for key, item in value.items())]
        elif type(value) is list:
            nodes[number] = ["l", nodes[number], *map(down, value)]
        elif type(value) is tuple:
            nodes[number] = ["t", *map(down, value)]
        else:
            state = state_of(value)
            kept.append(state)
            nodes[number] = [
                "p",
                nodes[number],
                type(value).__name__,
                *([name, down(item)] for name, item in state.items()),
            ]
    return {"w": nodes}


def _is_object(value: Any, encoder: Encoder) -> bool:
    return encoder.prompt_class(type(value)) and type(state_of(value)) is dict


def unflatten(nodes: Any, decoder: Decoder) -> Any:
    """Build what :func:`flatten` encoded.

    Raises:
        ValueError, TypeError, LookupError: not such an encoding, a tuple that contains itself, or one nested too deep.
    """
    if type(nodes) is not list or not all(type(node) is list and node for node in nodes):
        raise TypeError("a list of nodes was expected")
    if decoder.flat:
        raise ValueError("a flat value within a flat value")
    decoder.flat = True
    decoder.heap.is_plain = False
    try:
        return _unflatten(nodes, decoder)
    finally:
        decoder.flat = False


def _unflatten(nodes: list[Any], decoder: Decoder) -> Any:
    made: dict[int, Any] = {}
    heights: dict[int, int] = {}
    for number, node in enumerate(nodes):
        if node[0] in ("l", "d"):
            made[number] = [] if node[0] == "l" else {}
        elif node[0] == "p" and decoder.remote is not None:
            made[number] = decoder.remote("p", [node[2], {"d": []}], decoder)
        elif node[0] != "t":
            raise ValueError("an unknown node")
        if node[0] != "t" and node[1] is not None:
            decoder.heap.put(node[1], made[number])

    def number_of(item: Any) -> int:
        (number,) = item
        if type(number) is not int or not 0 <= number < len(nodes):
            raise ValueError("no such node")
        return number

    def value_of(item: Any) -> Any:
        if type(item) is list:
            return made[number_of(item)]
        return decoder(item["v"])

    # Tuples last to first in: each needs its parts, which are tuples at most MAX_FLAT_DEPTH deep.
    for start, node in enumerate(nodes):
        if node[0] != "t" or start in made:
            continue
        path, on_path = [start], {start}
        while path:
            parts = [number_of(item) for item in nodes[path[-1]][1:] if type(item) is list]
            missing = next((number for number in parts if number not in made), None)
            if missing is None:
                heights[path[-1]] = 1 + max((heights.get(number, 0) for number in parts), default=0)
                if heights[path[-1]] > MAX_FLAT_DEPTH:
                    raise ValueError("nested too deep")
                made[path[-1]] = tuple([value_of(item) for item in nodes[path[-1]][1:]])
                on_path.discard(path.pop())
            elif missing in on_path or len(path) > MAX_FLAT_DEPTH:
                raise ValueError("a tuple that contains itself")
            else:
                path.append(missing)
                on_path.add(missing)
    for number, node in enumerate(nodes):
        if node[0] == "l":
            made[number].extend(map(value_of, node[2:]))
        elif node[0] == "d":
            for key, item in node[2:]:
                made[number][decoder(key)] = value_of(item)
        elif node[0] == "p":
            restored(type(made[number]), {name: value_of(item) for name, item in node[3:]}, made[number])
    return made[0]
