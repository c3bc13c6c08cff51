"""Encodes values that cross, in the form of ``crossing.py``."""

# ruff: noqa: ARG005 - the entries of a table have one signature
from __future__ import annotations

import builtins
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .abilities import replaced_in
from .arrays import view_parts
from .crossing import MAX_DEPTH, MAX_ITEMS, CrossingError
from .flat import flatten
from .heap import Heap
from .order import LOST, recipe_of_frozenset, recipe_of_set
from .parts import (
    BASES,
    LEVELS,
    MUTABLE,
    MUTABLE_STOCK,
    PLAIN_COPY,
    is_attribute,
    is_mutable_object,
    is_object,
    is_rebuildable,
    is_record,
    mutable_base,
    parts_of,
    state_of,
)
from .stock import COPIED, NAMED, TABLE, is_whole_view, stock_name

MOST_HIDDEN_BYTES = 16384  # of an array that is sent for the sake of a view of it
_PLAIN = frozenset({type(None), bool, float, str})
_AS_THEY_ARE = frozenset({type(None), bool, str})


# Two surrogates, which JSON would make one character.
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _are_plain(values: list[Any]) -> bool:
    """Whether the strings among these are their own encoding."""
    return all(value.isascii() or not _PAIR.search(value) for value in values if type(value) is str)


def _utf32(text: str) -> str:
    return text.encode("utf-32-be", "surrogatepass").hex()


class _FlatError(CrossingError):
    """Too deep, or with parts that are one object: to be sent flat."""


class Encoder:
    """Encodes one message. ``other`` is asked for what is no stock type; ``prompt_class`` for prompt classes; ``heap``
    has the objects that both sides know."""

    def __init__(
        self,
        other: Callable[[Any], Any] | None = None,
        prompt_class: Callable[[type], bool] = lambda kind: False,
        handle: Callable[[Any], int] = lambda value: -1,
        heap: Heap | None = None,
        most_common: int = MAX_ITEMS,
    ) -> None:
        self.left = MAX_ITEMS
        self.most_common = most_common
        self.other = other
        self.prompt_class = prompt_class
        self.handle = handle
        self.heap = Heap(0, parts_of) if heap is None else heap
        self._open: set[int] = set()  # stock containers that are not finished: the other side cannot refer to them yet

    def items(self, values: Any, depth: int) -> list[Any]:
        encoded = []
        for value in values:
            self.left -= 1
            if self.left < 0:
                raise CrossingError(f"a value of more than {MAX_ITEMS} items")
            encoded.append(self(value, depth))
        return encoded

    def pairs(self, table: Any, depth: int) -> dict[str, Any]:
        return {"d": [self.items(pair, depth) for pair in list(table.items())]}

    def sequence(self, values: list[Any], depth: int) -> list[Any]:
        """The items of a list; the common ones, all strings, all floats or all small integers, as they are."""
        kinds = set(map(type, values))
        if (
            (kinds <= _AS_THEY_ARE and (str not in kinds or _are_plain(values)))
            or (kinds == {int} and min(values) >= -(1 << 63) and max(values) < 1 << 63)
            or (kinds == {float} and not math.isnan(sum(values)))
        ):
            self.left -= len(values)
            if self.left < 0:
                raise CrossingError(f"a value of more than {MAX_ITEMS} items")
            return values[:]
        return self.items(values, depth)

    def common(self, value: Any, body: Callable[[], Any], *, opens: bool = True) -> Any:
        """A mutable object: its number where both sides have it, else a new number and its content."""
        number = self.heap.numbers.get(id(value))
        if number is not None:
            if number in self._open:
                raise CrossingError(f"a {type(value).__name__} that contains itself")
            return {"m": [number]}
        if len(self.heap.fresh) >= self.most_common:
            return body()
        number = self.heap.add(value)
        if opens:
            return {"m": [number, body()]}
        self._open.add(number)
        content = body()
        self._open.discard(number)
        return {"m": [number, content]}

    def content(self, value: Any) -> Any:
        """What a common object contains now."""
        kind: Any = type(value)
        base = mutable_base(kind)
        if base is not None:
            return _ENCODED[base](self, value if kind is base else PLAIN_COPY[base](value), 0)
        name = stock_name(kind)
        return self.state(value, 0) if name is None else self.parts(name, value, 0)

    def state(self, value: Any, depth: int) -> Any:
        state = state_of(value)
        if type(state) is dict:
            for name in state:
                if not is_attribute(type(value), name):
                    raise CrossingError(f"{type(value).__name__}.{str(name)[:60]}, which stands in a method's place")
            return self.pairs(state, depth + 1)
        return self.items([state], depth + 1)[0]

    def parts(self, name: str, value: Any, depth: int) -> Any:
        """The parts of a stock type. Their lists are this function's own, down to a level, and no common objects."""
        mine = name in COPIED and self.heap.first == 0
        parts = (COPIED[name](value),) if mine else TABLE[name][0](value)
        return None if parts is None else [self.own(part, depth + 1, LEVELS.get(name, 1)) for part in parts]

    def own(self, part: Any, depth: int, levels: int) -> Any:
        if levels and type(part) is list:
            if levels == 1:
                return self.sequence(part, depth)
            return [self.own(item, depth, levels - 1) for item in part]
        if levels and type(part) is dict:
            return self.pairs(part, depth)
        return self.items([part], depth)[0]

    def __call__(self, value: Any, depth: int = 0) -> Any:
        kind: Any = type(value)
        if kind is float:
            return value if value == value else self.nan(value)
        if kind is str:
            return value if value.isascii() or not _PAIR.search(value) else {"x": ["=surrogates", _utf32(value)]}
        if kind in _PLAIN:
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 63 else {"i": hex(value)}
        if depth >= MAX_DEPTH:
            raise _FlatError("nested too deep")
        own = _ENCODED.get(kind)
        if own is not None:
            if kind in MUTABLE:
                return self.common(value, lambda: own(self, value, depth))
            return own(self, value, depth)
        name = stock_name(kind)
        if name is not None:
            return self.stock(name, value, depth)
        return self.special(value, kind, depth)

    def nan(self, value: float) -> Any:
        """A NaN equals only itself, and that only where identity is asked first, as lists do: it is an object."""
        numpy = sys.modules.get("numpy")
        if value is math.nan or (numpy is not None and value is getattr(numpy, "nan", None)):
            return {"x": ["=nan" if value is math.nan else "=numpy.nan"]}
        return self.common(value, lambda: {"x": ["=own nan"]})

    def ordered(self, value: Any, depth: int) -> Any:
        """A set or frozenset, in its order."""
        elements = list(value)
        tag, recipe_of = ("s", recipe_of_set) if type(value) is set else ("f", recipe_of_frozenset)
        recipe = recipe_of(value, elements, self.heap.search)
        encoded = self.items(elements, depth)
        if recipe == 0:
            return {tag: encoded}
        if recipe < 0:
            self.heap.note(LOST[recipe])
        return {tag.upper(): [recipe, *encoded]}

    def stock(self, name: str, value: Any, depth: int) -> Any:
        self.heap.is_plain = False

        def body() -> Any:
            parts = self.parts(name, value, depth)
            return self.rest(value) if parts is None else {"x": [name, *parts]}

        if name == "=numpy" and hasattr(value, "sort"):
            return self.rest(value) if TABLE[name][0](value) is None else self.array(value, body)
        if name == "memoryview" and is_whole_view(value):
            return {"x": ["=memoryview", self(value.obj, depth + 1), value.hex()]}
        return self.common(value, body, opens=False) if name in MUTABLE_STOCK else body()

    def array(self, value: Any, body: Callable[[], Any]) -> Any:
        """An array; one that is a view, as the view of what owns its memory."""
        number = self.heap.numbers.get(id(value))
        view = None if number is not None else view_parts(value)
        if view is None:
            return self.common(value, body, opens=False)
        owner = view[0]
        if id(owner) not in self.heap.numbers and owner.nbytes > max(4 * value.nbytes, MOST_HIDDEN_BYTES):
            return self.common(value, body, opens=False)
        return self.common(value, lambda: {"x": ["=view", self(owner), *view[1:]]}, opens=False)

    def special(self, value: Any, kind: type, depth: int) -> Any:
        """Prompt classes, namedtuples, subclasses of stock types, exceptions, named builtins; then the rest."""
        self.heap.is_plain = False
        if self.prompt_class(kind) and is_rebuildable(kind):

            def body() -> Any:
                return {"p": [kind.__name__, self.state(value, depth)]}

            return self.common(value, body) if is_mutable_object(value) else body()
        if isinstance(value, type) and "." in (stock_name(value) or ""):
            return self.stock("=class", value, depth)
        if isinstance(value, type) and stock_name(value) == "=numpy":
            return self.stock("=numpy type", value, depth)
        if kind is type or kind is _BUILTIN_FUNCTION:
            name = value.__name__
            if value is type(None) or (name in NAMED and getattr(builtins, name, None) is value):
                return {"x": ["=named", name]}
            return self.rest(value)
        for base in kind.__mro__[1:]:
            if base is tuple and is_record(kind):
                return self.stock("=record", value, depth)
            if base in BASES or stock_name(base) is not None:
                if base in (float, int, str, tuple, list, dict, set, frozenset, bytes, bytearray):
                    return self.derived(value, kind, base, depth)
                break
        if isinstance(value, Exception) and getattr(builtins, kind.__name__, None) is kind:
            return self.stock("=exception", value, depth)
        return self.rest(value)

    def derived(self, value: Any, kind: type, base: Any, depth: int) -> Any:
        """An instance of a subclass: its handle, and what its base type has. The methods of the base type are called
        for it, not the subclass's own, which can say anything."""

        handle = self.handle(value)
        if handle < 0:
            raise CrossingError(f"a {kind.__name__} object")
        if self.heap.first == 0 and base not in MUTABLE:  # of the program's, it goes home
            return {"h": handle}

        def body() -> Any:
            plain = PLAIN_COPY[base](value)
            content = _ENCODED[base](self, plain, depth + 1)  # `plain` itself is nobody's
            return {"u": [handle, str.__str__(kind.__name__)[:60], content, replaced_in(kind, base)]}

        return self.common(value, body, opens=False) if base in MUTABLE else body()

    def rest(self, value: Any) -> Any:
        if self.other is None:
            raise CrossingError(f"a {type(value).__name__} object")
        return self.other(value)


_BUILTIN_FUNCTION = type(len)
_ENCODED: dict[type, Callable[[Encoder, Any, int], Any]] = {
    list: lambda e, v, d: e.sequence(v, d + 1),
    tuple: lambda e, v, d: {"t": e.items(v, d + 1)},
    dict: lambda e, v, d: e.pairs(v, d + 1),
    set: lambda e, v, d: e.ordered(v, d + 1),
    frozenset: lambda e, v, d: e.ordered(v, d + 1),
    bytes: lambda e, v, d: {"b": v.hex()},
    bytearray: lambda e, v, d: {"y": v.hex()},
    complex: lambda e, v, d: {"c": [v.real, v.imag]},
    range: lambda e, v, d: {"r": [e(v.start, d), e(v.stop, d), e(v.step, d)]},
    # Only as bases of subclasses: exact ones are answered before.
    int: lambda e, v, d: e(v, d),
    float: lambda e, v, d: e(v, d),
    str: lambda e, v, d: e(v, d),
    type(None): lambda e, v, d: None,
}


def encode(value: Any, encoder: Encoder | None = None) -> Any:
    """Turn a value into what JSON can carry.

    Raises:
        CrossingError: an object that is no plain data (without ``other``), too deep, or too many items.
    """
    encoder = encoder or Encoder()
    left, mark = encoder.left, len(encoder.heap.fresh)
    try:
        return encoder(value)
    except (_FlatError, RecursionError):
        encoder.left = left
        encoder.heap.undo(mark)
        return flatten(value, encoder)


def encode_arguments(args: Sequence[Any], kwargs: Mapping[str, Any], encoder: Callable[[], Encoder]) -> list[Any]:
    """The arguments of a call: ``[[value, ...], {name: value}]``."""
    return [
        [value if is_simple(value) else encode(value, encoder()) for value in args],
        {name: encode(value, encoder()) for name, value in kwargs.items()} if kwargs else {},
    ]


def encode_changes(heap: Heap, make_encoder: Callable[[], Encoder]) -> list[list[Any]]:
    """What common objects have become since the last message: ``[[number, None, content] or [number, why], ...]``; the
    latter where it cannot cross."""
    encoded: list[list[Any]] = []
    for number, value in heap.changed():
        mark = len(heap.fresh)
        try:
            encoded.append([number, None, _content(value, make_encoder())])
        except CrossingError as error:
            heap.undo(mark)
            encoded.append([number, str(error)])
    return encoded


def _content(value: Any, encoder: Encoder) -> Any:
    mark = len(encoder.heap.fresh)
    try:
        return encoder.content(value)
    except (_FlatError, RecursionError):
        encoder.heap.undo(mark)
        if type(value) is list:
            return [encode(item, encoder) for item in value]
        if type(value) is dict:
            return {"d": [[encode(key, encoder), encode(item, encoder)] for key, item in value.items()]}
        if is_object(value):
            return {"d": [[name, encode(item, encoder)] for name, item in state_of(value).items()]}
        raise CrossingError("a value nested too deep") from None


def is_simple(value: Any) -> bool:
    """Whether a value is its own encoding; most are, and an encoder costs more than they do."""
    kind = type(value)
    if kind is str:
        return value.isascii() or not _PAIR.search(value)
    return kind in _AS_THEY_ARE or (kind is int and -(1 << 63) <= value < 1 << 63) or (kind is float and value == value)
