"""What crosses between a candidate and its tester: plain data, as tagged JSON, and handles for everything else.

Nothing that crosses can run code, on either side: no pickle, no marshal, no types but the ones listed here and in
``stock.py``. JSON has null, booleans, integers, floats (with NaN and Infinity), strings and lists; the others are an
object with one key, their tag:

    t tuple   d dict [[key, value], ...]   s set   f frozenset   b bytes (hex)   y bytearray (hex)   c complex [re, im]
    i integer of more than 64 bits (hex)   r range [start, stop, step]   g iterator of an argument (its items)
    x [name, part, ...]        a stock type of ``stock.py``
    u [handle, class, value]   an instance of a subclass of a type above, as its base type's value
    p [class, state]           an instance of a class that the prompt defines, with its attributes
    o [handle, class, kind, abilities]   any other object: it stays where it is (``remote.py``); h handle: that again
    k [number, name]           a function of the tests, called back by number
    w [node, ...]              a deep or cyclic value: lists, tuples, dicts and prompt objects that refer to each other
"""

# ruff: noqa: ARG005 - the entries of a table have one signature
from __future__ import annotations

import builtins
import functools
import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .stock import NAMED, TABLE, stock_name

MAX_DEPTH = 100  # nested containers in one value, before it is sent flat
MAX_FLAT_DEPTH = 10_000  # in a flat value: hash() of a nested tuple recurses in C without a bound of its own
MAX_ITEMS = 2_000_000  # items in one message
_PLAIN = frozenset({type(None), bool, float, str})
_CODED = frozenset({list, dict})
_AS_THEY_ARE = frozenset({type(None), bool, str})


class CrossingError(ValueError):
    """A value is too deep or too large to be sent."""


class _FlatError(CrossingError):
    """Too deep, or with parts that are one object: to be sent flat."""


class Encoder:
    """Encodes one message. ``other`` is asked for what is no stock type; ``prompt_class`` for prompt classes."""

    def __init__(
        self,
        other: Callable[[Any], Any] | None = None,
        prompt_class: Callable[[type], bool] = lambda kind: False,
        handle: Callable[[Any], int] = lambda value: -1,
    ) -> None:
        self.left = MAX_ITEMS
        self.other = other
        self.prompt_class = prompt_class
        self.handle = handle
        self.seen: set[int] | None = set()  # lists and dicts met; None: sharing does not matter any more
        self.arguments: dict[int, int] = {}  # id of a call's argument -> its place: it goes back as that

    def met(self, value: Any) -> None:
        """Note a list or dict; one that was met before makes the value go flat, which keeps identity."""
        if self.seen is not None:
            if id(value) in self.seen or id(value) in self.arguments:
                raise _FlatError("shared")
            self.seen.add(id(value))

    def items(self, values: Any, depth: int) -> list[Any]:
        encoded = []
        for value in values:
            self.left -= 1
            if self.left < 0:
                raise CrossingError(f"a value of more than {MAX_ITEMS} items")
            encoded.append(self(value, depth))
        return encoded

    def pairs(self, table: dict[Any, Any], depth: int) -> dict[str, Any]:
        self.met(table)
        return {"d": [self.items(pair, depth) for pair in list(table.items())]}

    def sequence(self, values: list[Any], depth: int) -> list[Any]:
        """A list; the common ones, all strings, all floats or all small integers, as they are."""
        self.met(values)
        kinds = set(map(type, values))
        if (
            kinds <= _AS_THEY_ARE
            or (kinds == {int} and min(values) >= -(1 << 63) and max(values) < 1 << 63)
            or (kinds == {float} and not math.isnan(sum(values)))
        ):
            self.left -= len(values)
            if self.left < 0:
                raise CrossingError(f"a value of more than {MAX_ITEMS} items")
            return values[:]
        return self.items(values, depth)

    def __call__(self, value: Any, depth: int = 0) -> Any:
        kind: Any = type(value)
        if kind is float:
            return {"x": ["=nan"]} if value is math.nan else value
        if kind in _PLAIN:
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 63 else {"i": hex(value)}
        if depth >= MAX_DEPTH:
            raise _FlatError("nested too deep")
        own = _BASES.get(kind)
        if own is not None:
            return own(self, value, depth)
        name = stock_name(kind)
        if name is not None:
            return self.stock(name, value, depth)
        return self.special(value, kind, depth)

    def stock(self, name: str, value: Any, depth: int) -> Any:
        parts = TABLE[name][0](value)
        if parts is None:
            return self.rest(value)
        return {"x": [name, *self.items(parts, depth + 1)]}

    def special(self, value: Any, kind: type, depth: int) -> Any:
        """Prompt classes, namedtuples, subclasses of stock types, exceptions, named builtins; then the rest."""
        if self.prompt_class(kind) and _rebuildable(kind):
            return {"p": [kind.__name__, self.items([state_of(value)], depth + 1)[0]]}
        if kind is type or kind is _BUILTIN_FUNCTION:
            name = value.__name__
            if value is type(None) or (name in NAMED and getattr(builtins, name, None) is value):
                return {"x": ["=named", name]}
            return self.rest(value)
        for base in kind.__mro__[1:]:
            if base is tuple and _is_record(kind):
                return self.stock("=record", value, depth)
            if base in _BASES or stock_name(base) is not None:
                if base in (float, int, str, tuple, list, dict, set, frozenset, bytes, bytearray):
                    # The methods of the base type are called, not the subclass's own, which can say anything.
                    plain = _PLAIN_COPY[base](value)
                    return {"u": [self.handle(value), str.__str__(kind.__name__)[:60], self(plain, depth + 1)]}
                break
        if isinstance(value, Exception) and getattr(builtins, kind.__name__, None) is kind:
            return self.stock("=exception", value, depth)
        return self.rest(value)

    def rest(self, value: Any) -> Any:
        if self.other is None:
            raise CrossingError(f"a {type(value).__name__} object")
        return self.other(value)


_BUILTIN_FUNCTION = type(len)
_BASES: dict[type, Callable[[Encoder, Any, int], Any]] = {
    list: lambda e, v, d: e.sequence(v, d + 1),
    tuple: lambda e, v, d: {"t": e.items(v, d + 1)},
    dict: lambda e, v, d: e.pairs(v, d + 1),
    set: lambda e, v, d: {"s": e.items(list(v), d + 1)},
    frozenset: lambda e, v, d: {"f": e.items(v, d + 1)},
    bytes: lambda e, v, d: {"b": v.hex()},
    bytearray: lambda e, v, d: {"y": v.hex()},
    complex: lambda e, v, d: {"c": [v.real, v.imag]},
    range: lambda e, v, d: {"r": [e(v.start, d), e(v.stop, d), e(v.step, d)]},
    # Only as bases of subclasses: exact ones are answered before.
    int: lambda e, v, d: e(v, d),
    float: lambda e, v, d: e(v, d),
    str: lambda e, v, d: v,
    type(None): lambda e, v, d: None,
}
_PLAIN_COPY: dict[type, Callable[[Any], Any]] = {
    float: float.__float__,
    int: int.__int__,
    str: str.__str__,
    tuple: lambda v: tuple(tuple.__iter__(v)),
    list: lambda v: list(list.__iter__(v)),
    dict: lambda v: dict(dict.items(v)),
    set: lambda v: set(set.__iter__(v)),
    frozenset: lambda v: frozenset(frozenset.__iter__(v)),
    bytes: lambda v: bytes(bytes.__iter__(v)),
    bytearray: lambda v: bytearray(bytearray.__iter__(v)),
}


def _is_record(kind: type) -> bool:
    fields = getattr(kind, "_fields", None)
    return type(fields) is tuple and all(type(field) is str for field in fields) and kind.__mro__[1] is tuple


def _rebuildable(kind: type) -> bool:
    """Whether an instance is its attributes: no built-in type's layout below it, but a namedtuple's or an Enum's."""
    enum = sys.modules.get("enum")
    if _is_record(kind) or (enum is not None and issubclass(kind, enum.Enum)):
        return True
    return all(
        base is object or base.__flags__ & 1 << 9
        for base in kind.__mro__  # Py_TPFLAGS_HEAPTYPE
    )


def state_of(value: Any) -> Any:
    """The attributes of an object as plain data: a member's name, a tuple's items, or a dict of attributes."""
    kind = type(value)
    if (enum := sys.modules.get("enum")) is not None and isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, tuple):
        return tuple(value)
    state = dict(getattr(value, "__dict__", {}))
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                state[slot] = getattr(value, slot)
    return state


def restored(kind: Any, state: Any, made: Any = None) -> Any:
    """An instance of a prompt's class with this state (see :func:`state_of`); its constructor is not run."""
    if (enum := sys.modules.get("enum")) is not None and issubclass(kind, enum.Enum):
        return kind[state]
    if issubclass(kind, tuple):
        if len(state) != len(kind._fields):
            raise ValueError("another number of fields")
        return tuple.__new__(kind, state)
    made = object.__new__(kind) if made is None else made
    for name, value in state.items():
        if type(name) is not str:
            raise TypeError("an attribute without a name")
        if callable(getattr(kind, name, None)) or (name.startswith("__") and name.endswith("__")):
            raise TypeError("an attribute in the place of a method")  # which `__dict__` would bring in, too
        object.__setattr__(made, name, value)
    return made


def encode(value: Any, encoder: Encoder | None = None) -> Any:
    """Turn a value into what JSON can carry.

    Raises:
        CrossingError: an object that is no plain data (without ``other``), too deep, or too many items.
    """
    encoder = encoder or Encoder()
    left = encoder.left
    try:
        return encoder(value)
    except (_FlatError, RecursionError):
        encoder.left, encoder.seen = left, None
        return flatten(value, encoder)


def encode_arguments(args: Sequence[Any], kwargs: Mapping[str, Any], encoder: Callable[[], Encoder]) -> list[Any]:
    """The arguments of a call, each encoded by itself: ``[[value, ...], {name: value}]``."""
    return [
        [value if is_simple(value) else encode(value, encoder()) for value in args],
        {name: encode(value, encoder()) for name, value in kwargs.items()} if kwargs else {},
    ]


def is_simple(value: Any) -> bool:
    """Whether a value is its own encoding; most are, and an encoder costs more than they do."""
    kind = type(value)
    return kind in _AS_THEY_ARE or (kind is int and -(1 << 63) <= value < 1 << 63) or (kind is float and value == value)


def decode_arguments(data: Any, decoder: Decoder) -> tuple[list[Any], dict[str, Any]]:
    """What :func:`encode_arguments` encoded; raises as :func:`decode` does."""
    args, kwargs = data
    if type(args) is not list or type(kwargs) is not dict:
        raise TypeError("not the arguments of a call")
    return (
        [decoder(value) if type(value) in _CODED else value for value in args],
        {name: decoder(value) for name, value in kwargs.items()} if kwargs else {},
    )


class Decoder:
    """Builds values again, of exactly the types listed above. ``remote`` takes what the tags u, p, o, h and k hold."""

    def __init__(self, remote: Callable[[str, Any, Any], Any] | None = None) -> None:
        self.remote = remote
        self.flat = False
        self.arguments: list[Any] = []  # of the call whose answer is decoded

    def __call__(self, data: Any, depth: int = 0) -> Any:
        if depth > MAX_DEPTH + 8:
            raise ValueError("nested too deep")
        if type(data) is list:
            return self.items(data, depth)
        if type(data) is not dict:
            return data
        if len(data) != 1:
            raise ValueError("a tagged value has one tag")
        ((tag, body),) = data.items()
        build = _BUILD.get(tag)
        if build is not None:
            return build(self, body, depth + 1)
        if tag in ("u", "p", "o", "h", "k") and self.remote is not None:
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


def _dict(decoder: Decoder, body: Any, depth: int) -> dict[Any, Any]:
    # A loop of byte code, here and for sets: a time-out can interrupt it even where all keys collide.
    return {decoder(key, depth): decoder(value, depth) for key, value in _list(body)}


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


def _stock(decoder: Decoder, body: Any, depth: int) -> Any:
    name, *parts = _list(body)
    if type(name) is not str or name not in TABLE:
        raise ValueError("not a stock type")
    return TABLE[name][1](*decoder.items(parts, depth))


def _flat(decoder: Decoder, body: Any, depth: int) -> Any:
    del depth
    return unflatten(body, decoder)


_BUILD: dict[str, Callable[[Decoder, Any, int], Any]] = {
    "t": lambda r, b, d: tuple(r.items(b, d)),
    "d": _dict,
    "s": lambda r, b, d: {r(item, d) for item in _list(b)},
    "f": lambda r, b, d: frozenset({r(item, d) for item in _list(b)}),
    "b": lambda r, b, d: bytes.fromhex(b),
    "y": lambda r, b, d: bytearray.fromhex(b),
    "i": _integer,
    "c": _complex,
    "r": _range,
    "g": lambda r, b, d: iter(r.items(b, d)),
    "x": _stock,
    "w": _flat,
}


def _list(body: Any) -> list[Any]:
    if type(body) is not list:
        raise TypeError("a list was expected")
    return body


def write_back(old: Any, new: Any, seen: dict[int, Any] | None = None) -> Any:
    """Make ``old`` equal to ``new``, in place where it is mutable, keeping containers' identity; return the result.

    This is how a test sees that the candidate changed an argument: ``old`` is the test's object, ``new`` a copy of what
    the candidate made of it. Deeper than the interpreter's recursion, the copies take the place of the old objects.
    """
    seen = {} if seen is None else seen
    if id(new) in seen:
        return seen[id(new)]
    if type(old) is not type(new) or old is new or len(seen) > 200:
        return new
    seen = {**seen, id(new): old}
    back = functools.partial(write_back, seen=seen)
    if isinstance(old, list):
        old[:] = [back(a, b) for a, b in itertools.zip_longest(old[: len(new)], new)]
    elif isinstance(old, tuple):
        kept = [back(a, b) for a, b in zip(old, new, strict=False)]
        same = len(old) == len(new) and all(a is b for a, b in zip(kept, old, strict=True))
        return old if same else tuple(kept) + new[len(old) :] if type(old) is tuple else new
    elif isinstance(old, dict):
        merged = {key: back(old[key], value) if key in old else value for key, value in new.items()}
        old.clear()
        for key, value in merged.items():
            old[key] = value
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif isinstance(old, bytearray):
        old[:] = new
    elif is_object(old) and hasattr(old, "__dict__"):
        merged = {name: back(old.__dict__[name], v) if name in old.__dict__ else v for name, v in vars(new).items()}
        old.__dict__.clear()
        old.__dict__.update(merged)
    else:
        return _renewed(old, new)
    return old


def is_object(value: Any) -> bool:
    """Whether a value is of no type of the tables."""
    kind: Any = type(value)
    return stock_name(kind) is None and kind not in _BASES


def _renewed(old: Any, new: Any) -> Any:
    """The mutable stock types, in place; of the immutable ones ``old`` where it is equal."""
    name = type(old).__name__
    if name in ("deque", "array", "UserList"):
        if name == "deque" and old.maxlen != new.maxlen:
            return new
        while len(old):
            old.pop()
        old.extend(new)
    elif name == "UserDict":
        old.data = new.data
    elif name == "ndarray":
        if old.shape != new.shape or old.dtype != new.dtype or not old.flags.writeable:
            return new
        old[...] = new
    elif name == "SimpleNamespace":
        vars(old).clear()
        vars(old).update(vars(new))
    elif name in ("ChainMap", "mappingproxy") or old != new or type(old) is float:
        return new
    return old


from .flat import flatten, unflatten  # noqa: E402 - needs what is above; candidates can read no file of this folder
