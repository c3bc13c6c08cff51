"""Builds values again that ``encoding.py`` encoded, of exactly the types listed in ``crossing.py``."""

# ruff: noqa: ARG005 - the entries of a table have one signature
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .crossing import DECODED_DEPTH
from .flat import unflatten
from .heap import Heap
from .order import LOST, NO_RECIPE, arrange, frozen
from .parts import MUTABLE_STOCK, mutable_base, parts_of, restored
from .stock import TABLE, _type_is

CODED = frozenset({list, dict})


def decode_arguments(data: Any, decoder: Decoder) -> tuple[list[Any], dict[str, Any]]:
    """What :func:`encode_arguments` encoded; raises as :func:`decode` does."""
    args, kwargs = data
    if type(args) is not list or type(kwargs) is not dict:
        raise TypeError("not the arguments of a call")
    return (
        [decoder(value) if type(value) in CODED else value for value in args],
        {name: decoder(value) for name, value in kwargs.items()} if kwargs else {},
    )


class Decoder:
    """Builds values again. ``remote`` takes what the tags u, p, o, h and k hold."""

    def __init__(self, remote: Callable[[str, Any, Any], Any] | None = None, heap: Heap | None = None) -> None:
        self.remote = remote
        self.flat = False
        self.heap = Heap(1, parts_of) if heap is None else heap

    def __call__(self, data: Any, depth: int = 0) -> Any:
        if depth > DECODED_DEPTH:
            raise ValueError("nested too deep")
        if type(data) is list:
            return self.items(data, depth)
        if type(data) is not dict:
            return data
        if len(data) != 1:
            raise ValueError("a tagged value has one tag")
        ((tag, body),) = data.items()
        build = BUILD.get(tag)
        if build is not None:
            return build(self, body, depth + 1)
        if tag in ("u", "p", "o", "h", "k", "e") and self.remote is not None:
            self.heap.is_plain = False
            return self.remote(tag, body, functools.partial(self, depth=depth + 1))
        raise ValueError(f"unknown tag {str(tag)[:20]!r}")

    def items(self, data: Any, depth: int) -> list[Any]:
        if type(data) is not list:
            raise TypeError("a list was expected")
        kinds = set(map(type, data))
        if dict not in kinds and list not in kinds:
            return data[:]
        return [self(item, depth + 1) for item in data]


def decode(data: Any, decoder: Decoder | None = None) -> Any:
    """Build the value again.

    Raises:
        ValueError, TypeError, KeyError, ArithmeticError, AttributeError, LookupError: not the encoding of anything.
    """
    return (decoder or Decoder())(data)


def build_dict(decoder: Decoder, body: Any, depth: int) -> dict[Any, Any]:
    # A loop of byte code, here and for sets: a time-out can interrupt it even where all keys collide.
    return {decoder(key, depth): decoder(value, depth) for key, value in as_list(body)}


def _integer(decoder: Decoder, body: Any, depth: int) -> int:
    del decoder, depth
    if type(body) is not str:
        raise TypeError("a string was expected")
    return int(body, 16)


def _range(decoder: Decoder, body: Any, depth: int) -> range:
    start, stop, step = decoder.items(body, depth)
    return range(start, stop, step)


def _complex(decoder: Decoder, body: Any, depth: int) -> complex:
    del decoder, depth
    real, imag = body
    return complex(float(real), float(imag))


def elements_of(decoder: Decoder, body: Any, depth: int) -> tuple[int, list[Any]]:
    """(recipe, elements) of the tags S and F."""
    recipe = _type_is(as_list(body)[0], int)
    if recipe < 0:
        decoder.heap.note(LOST.get(recipe, LOST[NO_RECIPE]))
    return max(recipe, 0), [decoder(item, depth) for item in body[1:]]


def _fill_set(decoder: Decoder, made: set[Any], tag: str, body: Any, depth: int) -> None:
    if tag == "S":
        recipe, elements = elements_of(decoder, body, depth)
        arrange(made, elements, recipe)
        return
    for item in as_list(body):
        made.add(decoder(item, depth))


def _set(decoder: Decoder, body: Any, depth: int) -> set[Any]:
    made: set[Any] = set()
    _fill_set(decoder, made, "S", body, depth)
    return made


def _frozenset(decoder: Decoder, body: Any, depth: int) -> frozenset[Any]:
    recipe, elements = elements_of(decoder, body, depth)
    return frozen(elements, recipe)


def _stock(decoder: Decoder, body: Any, depth: int) -> Any:
    decoder.heap.is_plain = False
    name, *parts = as_list(body)
    if type(name) is not str or name not in TABLE:
        raise ValueError("not a stock type")
    return TABLE[name][1](*decoder.items(parts, depth))


def _flat(decoder: Decoder, body: Any, depth: int) -> Any:
    del depth
    return unflatten(body, decoder)


def _common(decoder: Decoder, body: Any, depth: int) -> Any:
    """A mutable object by its number, or a new one. What can contain itself is there before its content."""
    if type(body) is not list or not 1 <= len(body) <= 2:
        raise TypeError("not a common object")
    number, heap = body[0], decoder.heap
    if len(body) == 1:
        return heap.get(number)
    content = body[1]
    made: Any
    if type(content) is list:
        heap.put(number, made := [])
        made.extend(decoder.items(content, depth - 1))
        return made
    if type(content) is not dict or len(content) != 1:
        raise TypeError("not a common object's content")
    ((tag, inner),) = content.items()
    if tag == "d":
        heap.put(number, made := {})
        _fill_dict(decoder, made, inner, depth)
    elif tag in ("s", "S"):
        heap.put(number, made := set())
        _fill_set(decoder, made, tag, inner, depth)
    elif tag == "p" and decoder.remote is not None:
        name, state = inner
        heap.put(number, made := decoder.remote("p", [name, {"d": []}], decoder))
        restored(type(made), decoder(state, depth), made)
    elif tag in ("y", "x", "u"):
        made = decoder(content, depth)
        kind: Any = type(made)
        if tag == "u" and mutable_base(kind) is None:
            raise ValueError("not a mutable type")
        if tag == "x" and inner[0] not in MUTABLE_STOCK and inner[0] != "=own nan":
            raise ValueError("not a mutable type")
        heap.put(number, made)
    else:
        raise ValueError("not a mutable type")
    return made


def _fill_dict(decoder: Decoder, table: Any, body: Any, depth: int) -> None:
    for key, value in as_list(body):
        table[decoder(key, depth)] = decoder(value, depth)


BUILD: dict[str, Callable[[Decoder, Any, int], Any]] = {
    "t": lambda r, b, d: tuple(r.items(b, d)),
    "d": build_dict,
    "s": lambda r, b, d: {r(item, d) for item in as_list(b)},
    "f": lambda r, b, d: frozenset([r(item, d) for item in as_list(b)]),
    "S": _set,
    "F": _frozenset,
    "b": lambda r, b, d: bytes.fromhex(b),
    "y": lambda r, b, d: bytearray.fromhex(b),
    "i": _integer,
    "c": _complex,
    "r": _range,
    "x": _stock,
    "w": _flat,
    "m": _common,
}


def as_list(body: Any) -> list[Any]:
    if type(body) is not list:
        raise TypeError("a list was expected")
    return body
