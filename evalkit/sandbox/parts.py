"""What a value consists of: the types that cross as themselves, and by what a change of an object is noticed."""

from __future__ import annotations

import collections
import functools
import sys
from collections.abc import Callable
from typing import Any

from .abilities import ABLE
from .arrays import known_of_array
from .stock import COPIED, TABLE, _type_is, stock_name

MUTABLE = frozenset({list, dict, set, bytearray})
MUTABLE_STOCK = frozenset(
    (
        "collections.deque",
        "collections.OrderedDict",
        "collections.Counter",
        "collections.defaultdict",
        "=numpy",
        "=view",
    )
) | {"collections.UserDict", "collections.UserList", "array.array", "types.SimpleNamespace", "collections.ChainMap"}
MUTABLE_STOCK |= {"io.StringIO", "io.BytesIO"}
# Levels of lists in a stock type's parts that are not the value's own; 1 for the others.
LEVELS = (
    {"collections.UserDict": 0, "collections.UserList": 0}
    | dict.fromkeys(COPIED, 0)
    | {f"collections.{name}": 2 for name in ("OrderedDict", "Counter", "defaultdict")}
)
PLAIN_COPY: dict[type, Callable[[Any], Any]] = {
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
BASES = frozenset({*PLAIN_COPY, complex, range, type(None)})
"""Types that the encoding has a tag for, or JSON has."""


@functools.lru_cache(maxsize=1024)
def mutable_base(kind: Any) -> Any:
    """list, dict, set or bytearray, where a type is one of them or a subclass that crosses as one; else None."""
    for base in kind.__mro__:
        if base in BASES or stock_name(base) is not None:
            return base if base in MUTABLE else None
    return None


def is_object(value: Any) -> bool:
    """Whether a value is of no type of the tables."""
    kind: Any = type(value)
    return stock_name(kind) is None and kind not in BASES


def is_mutable_object(value: Any) -> bool:
    """Whether an instance of a prompt's class is more than a value: not a member of an Enum, not a namedtuple."""
    enum = sys.modules.get("enum")
    return not isinstance(value, tuple) and not (enum is not None and isinstance(value, enum.Enum))


def parts_of(value: Any) -> list[Any] | bytes:
    """By what a change of a common object is noticed: its items, or its bytes."""
    kind: Any = type(value)
    if kind is list:
        copy: list[Any] = value[:]
        return copy
    if (base := mutable_base(kind)) is not None and base is not kind:
        return parts_of(PLAIN_COPY[base](value))
    if kind is dict:
        return [*value.keys(), *value.values()]
    if kind is set:
        return list(value)
    if kind is bytearray:
        return bytes(value)
    if kind is float:  # a NaN
        return b""
    name: str | None = stock_name(kind)
    if name in ("collections.OrderedDict", "collections.Counter", "collections.defaultdict"):
        return [part for pair in TABLE[name][0](value)[-1] for part in pair]  # type: ignore[index]
    if name == "collections.deque":
        return list(value)
    if name in ("collections.UserDict", "collections.UserList"):
        return [value.data]
    if name == "collections.ChainMap":
        return list(value.maps)
    if name == "array.array":
        return bytes(value.tobytes())
    if name in ("io.StringIO", "io.BytesIO"):
        return repr(TABLE[name][0](value)).encode()
    if name == "=numpy":
        return known_of_array(value)
    state = vars(value) if name == "types.SimpleNamespace" else state_of(value)
    return [*state.keys(), *state.values()]


_OF_A_RECORD = frozenset(collections.namedtuple("_OF_A_RECORD", "").__dict__)


def is_record(kind: type) -> bool:
    fields = getattr(kind, "_fields", None)
    if type(fields) is not tuple or not all(type(field) is str for field in fields) or kind.__mro__[1] is not tuple:
        return False
    return not any(name in ABLE or name[:1] != "_" for name in kind.__dict__.keys() - {*fields} - _OF_A_RECORD)


def is_rebuildable(kind: type) -> bool:
    """Whether an instance is its attributes: no built-in type's layout below it, but a namedtuple's or an Enum's."""
    enum = sys.modules.get("enum")
    if is_record(kind) or (enum is not None and issubclass(kind, enum.Enum)):
        return True
    heap_type = 1 << 9  # Py_TPFLAGS_HEAPTYPE
    return all(base is object or base.__flags__ & heap_type for base in kind.__mro__)


def state_of(value: Any) -> Any:
    """The attributes of an object as plain data: a member's name, a tuple's items, or a dict of attributes."""
    kind = type(value)
    if (enum := sys.modules.get("enum")) is not None and isinstance(value, enum.Enum):
        return int(value.value) if isinstance(value, enum.Flag) else value.name
    if isinstance(value, tuple):
        return tuple(value)
    state = dict(getattr(value, "__dict__", {}))
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                state[slot] = getattr(value, slot)
    return state


def is_attribute(kind: type, name: Any) -> bool:
    """Whether a name is an attribute's, and takes no method away from the class."""
    return type(name) is str and not callable(getattr(kind, name, None)) and name[:2] + name[-2:] != "____"


def restored(kind: Any, state: Any, made: Any = None) -> Any:
    """An instance of a prompt's class with this state (see :func:`state_of`); its constructor is not run."""
    if (enum := sys.modules.get("enum")) is not None and issubclass(kind, enum.Enum):
        return kind(_type_is(state, int)) if issubclass(kind, enum.Flag) else kind[state]
    if issubclass(kind, tuple):
        if len(state) != len(kind._fields):
            raise ValueError("another number of fields")
        return tuple.__new__(kind, state)
    made = object.__new__(kind) if made is None else made
    for name, value in state.items():
        if type(name) is not str:
            raise TypeError("an attribute without a name")
        if not is_attribute(kind, name):
            raise TypeError("an attribute in the place of a method")  # which `__dict__` would bring in, too
        object.__setattr__(made, name, value)
    return made
