"""Stock types beyond JSON's: how each is taken apart into plain parts, and built again from nothing but such parts.

A closed list. Building runs the constructors of the standard library and numpy on checked plain data; no name of a
class or function to call ever comes from the other side, except as a key of these tables.
"""

# ruff: noqa: ARG005 - the entries of a table have one signature
from __future__ import annotations

import builtins
import collections
import datetime
import functools
import importlib
import math
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

# Builtins that cross as themselves: a program may return `int`, a test may pass `len`.
_TYPES = "int float complex str bool bytes bytearray list tuple dict set frozenset range object"
_FUNCTIONS = "len abs min max sum sorted any all ord chr hex bin oct round divmod pow repr ascii hash iter next"
_ITERATORS = "reversed enumerate zip map filter"
NAMED = frozenset(f"{_TYPES} {_FUNCTIONS} {_ITERATORS}".split()) | frozenset(
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
)
MAX_ARRAY_BYTES = 64 << 20
NUMPY_KINDS = "biufcSUMmO"


class NotHereError(TypeError):
    """The tests need a part of a value that stayed with the program."""


def _no_factory() -> Any:
    raise NotHereError("the factory of a defaultdict")


def _factory(value: Any) -> str | None:
    name = getattr(value, "__name__", None)
    if value is None:
        return None
    return name if name in NAMED and getattr(builtins, str(name)) is value else ""


@functools.lru_cache(maxsize=256)
def record_type(name: str, fields: tuple[str, ...]) -> type[Any]:
    """A namedtuple class; its maker refuses what is not an identifier."""
    if len(fields) > 255 or not all(type(field) is str and len(field) < 100 for field in fields):
        raise ValueError("not the fields of a namedtuple")
    made: type[Any] = collections.namedtuple(name if name.isidentifier() else "Record", fields)  # type: ignore[misc]
    return made


def _named(name: Any) -> Any:
    if name == "NoneType":
        return type(None)
    if type(name) is not str or name not in NAMED:
        raise ValueError("not a builtin that crosses")
    return getattr(builtins, name)


def _class_parts(value: Any) -> tuple[Any, ...]:
    return (stock_name(value),)


def _class(key: Any) -> Any:
    """A stock type itself."""
    if type(key) is not str or key not in TABLE or "." not in key:
        raise ValueError("not a stock type")
    module, _, name = key.rpartition(".")
    return getattr(_module(module), name)


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _build_array(code: Any, data: Any) -> Any:
    if type(code) is not str or code not in "bBhHiIlLqQfdu" or len(code) != 1:
        raise ValueError("not an array's type code")
    if code == "u":
        return _module("array").array("u", data)
    made = _module("array").array(code)
    made.frombytes(bytes.fromhex(data))
    return made


def _numpy_parts(value: Any) -> tuple[Any, ...] | None:
    """(dtype, shape or None for a scalar, items or hex) of a numpy scalar or array; None where it cannot cross."""
    numpy = sys.modules["numpy"]
    scalar = not isinstance(value, numpy.ndarray)
    dtype = value.dtype
    if dtype.kind not in NUMPY_KINDS or dtype.names is not None or (scalar and dtype.kind == "O"):
        return None
    shape = None if scalar else list(value.shape)
    if dtype.kind in "OU":
        return dtype.str, shape, numpy.asarray(value).reshape(-1).tolist()
    return dtype.str, shape, numpy.ascontiguousarray(value).tobytes().hex()


def _build_numpy(text: Any, shape: Any, data: Any) -> Any:
    numpy = _module("numpy")
    if type(text) is not str or len(text) > 20 or text[1:2] not in NUMPY_KINDS or text[:1] not in "<>|=":
        raise ValueError("not a dtype")
    sizes = [1] if shape is None else shape
    if type(sizes) is not list or len(sizes) > 32 or not all(type(n) is int and n >= 0 for n in sizes):
        raise ValueError("not a shape")
    count = math.prod(sizes)
    dtype = numpy.dtype(text)
    if count * dtype.itemsize > MAX_ARRAY_BYTES:
        raise ValueError("an array that is too large")
    if dtype.kind in "OU":
        if type(data) is not list or len(data) != count or (dtype.kind == "U" and {*map(type, data)} - {str}):
            raise ValueError("not the items of an array")
        if dtype.kind == "U":  # made by numpy from strings: no code points that Python does not have
            made = numpy.array(data, dtype).reshape(sizes)
        else:
            made = numpy.empty(count, object)
            for place, item in enumerate(data):
                made[place] = item
            made = made.reshape(sizes)
    else:
        raw = bytes.fromhex(data)
        if len(raw) != count * dtype.itemsize or (count > 0 and dtype.itemsize == 0):
            raise ValueError("an array whose data have another length")
        made = numpy.frombuffer(raw, dtype) if raw else numpy.empty(count, dtype)
        if dtype.kind == "b":
            made = numpy.frombuffer(raw, numpy.uint8) != 0  # a byte of 2 would be neither True nor False
        made = made.reshape(sizes).copy()
    return made[0] if shape is None else made


def _build_exception(names: Any, arguments: Any) -> BaseException:
    for name in names:
        kind = getattr(builtins, name, None) if name in NAMED else None
        if isinstance(kind, type) and issubclass(kind, Exception):
            return kind(*arguments)
    return Exception(*arguments)


def _int(*values: Any) -> tuple[int, ...]:
    if not all(type(value) is int for value in values):
        raise TypeError("whole numbers were expected")
    return values


def _build_time(kind: Any, numbers: Any, zone: Any, fold: Any) -> Any:
    _int(fold, *numbers)
    return kind(*numbers, tzinfo=zone, fold=fold)


def _fill(kind: Callable[[], Any], pairs: Iterable[Any]) -> Any:
    made = kind()
    for key, value in pairs:  # byte code: a time-out can interrupt it even where all keys collide
        made[key] = value
    return made


def _with_zone(numbers: list[int], value: Any) -> tuple[Any, ...] | None:
    """The parts of a time; None where its zone is of the program's own class."""
    zone = value.tzinfo
    kind: Any = type(zone)
    known = zone is None or stock_name(kind) is not None
    return (numbers, zone, value.fold) if known else None


def _stream_parts(value: Any) -> tuple[Any, ...]:
    """(content, position); of one that is closed, None and 0."""
    return (None, 0) if value.closed else (value.getvalue(), value.tell())


def _build_stream(name: str, kind: type, content: Any, place: Any) -> Any:
    made = getattr(_module("io"), name)(_type_is(content, kind, type(None)), *([""] if kind is str else []))
    if content is None:
        made.close()
        return made
    made.seek(_type_is(place, int))
    return made


def _with_data(made: Any, data: Any) -> Any:
    made.data = data
    return made


def _type_is(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise TypeError("another type was expected")
    return value


# Type's name -> (take apart into parts that are encoded in turn, build from the decoded parts). "module.name"; builtins
# without module. ``pairs`` are lists of two-element lists.
Parts = tuple[Callable[[Any], tuple[Any, ...] | None], Callable[..., Any]]


def _pairs(value: Any) -> list[list[Any]]:
    # An OrderedDict has an order of its own, which dict's methods do not see.
    kind = collections.OrderedDict if isinstance(value, collections.OrderedDict) else dict
    return [list(pair) for pair in kind.items(value)]


TABLE: dict[str, Parts] = {
    "slice": (lambda v: (v.start, v.stop, v.step), slice),
    "ellipsis": (lambda v: (), lambda: ...),
    "NotImplementedType": (lambda v: (), lambda: NotImplemented),
    "memoryview": (lambda v: (v.tobytes(),), lambda data: memoryview(_type_is(data, bytes))),
    "dict_keys": (lambda v: ([[k, None] for k in v],), lambda p: _fill(dict, p).keys()),
    "dict_values": (lambda v: (list(v),), lambda p: dict(enumerate(p)).values()),
    "dict_items": (lambda v: ([list(i) for i in v],), lambda p: _fill(dict, p).items()),
    "mappingproxy": (lambda v: (dict(v),), lambda d: types.MappingProxyType(_type_is(d, dict))),
    "types.SimpleNamespace": (lambda v: (vars(v),), lambda d: types.SimpleNamespace(**d)),
    "collections.deque": (lambda v: (list(v), v.maxlen), lambda items, size: collections.deque(items, size)),
    "collections.OrderedDict": (lambda v: (_pairs(v),), lambda p: _fill(collections.OrderedDict, p)),
    "collections.Counter": (lambda v: (_pairs(v),), lambda p: _fill(collections.Counter, p)),
    "collections.defaultdict": (
        lambda v: (_factory(v.default_factory), _pairs(v)),
        lambda f, p: _fill(
            lambda: collections.defaultdict(None if f is None else _named(f) if f else _no_factory),
            p,
        ),
    ),
    "collections.ChainMap": (lambda v: (list(v.maps),), lambda maps: collections.ChainMap(*maps)),
    "collections.UserDict": (lambda v: (v.data,), lambda d: _with_data(collections.UserDict(), _type_is(d, dict))),
    "collections.UserList": (lambda v: (v.data,), lambda d: _with_data(collections.UserList(), _type_is(d, list))),
    "collections.UserString": (lambda v: (v.data,), lambda d: collections.UserString(_type_is(d, str))),
    "datetime.date": (lambda v: (v.year, v.month, v.day), lambda *n: datetime.date(*_int(*n))),
    "datetime.timedelta": (
        lambda v: (v.days, v.seconds, v.microseconds),
        lambda *n: datetime.timedelta(*_int(*n)),
    ),
    "datetime.timezone": (lambda v: v.__getinitargs__(), datetime.timezone),
    "datetime.time": (
        lambda v: _with_zone([v.hour, v.minute, v.second, v.microsecond], v),
        functools.partial(_build_time, datetime.time),
    ),
    "datetime.datetime": (
        lambda v: _with_zone([v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond], v),
        functools.partial(_build_time, datetime.datetime),
    ),
    "zoneinfo.ZoneInfo": (lambda v: (v.key,), lambda key: _module("zoneinfo").ZoneInfo(_type_is(key, str))),
    "decimal.Decimal": (lambda v: (str(v),), lambda text: _module("decimal").Decimal(_type_is(text, str))),
    "fractions.Fraction": (
        lambda v: (v.numerator, v.denominator),
        lambda *n: _module("fractions").Fraction(*_int(*n)),
    ),
    "array.array": (
        lambda v: (v.typecode, v.tounicode() if v.typecode == "u" else v.tobytes().hex()),
        _build_array,
    ),
    "uuid.UUID": (lambda v: (v.hex,), lambda text: _module("uuid").UUID(_type_is(text, str))),
    "pathlib.PurePosixPath": (lambda v: (str(v),), lambda t: _module("pathlib").PurePosixPath(_type_is(t, str))),
    "pathlib.PosixPath": (lambda v: (str(v),), lambda t: _module("pathlib").PosixPath(_type_is(t, str))),
    "io.StringIO": (lambda v: _stream_parts(v), lambda text, place: _build_stream("StringIO", str, text, place)),
    "io.BytesIO": (lambda v: _stream_parts(v), lambda data, place: _build_stream("BytesIO", bytes, data, place)),
    # Tags that stand for no one type.
    "=surrogates": (lambda v: (), lambda text: bytes.fromhex(text).decode("utf-32-be", "surrogatepass")),
    "=nan": (lambda v: (), lambda: math.nan),  # that very object: `[math.nan] == [math.nan]` asks for identity first
    "=class": (lambda v: _class_parts(v), lambda key: _class(key)),
    "=numpy.nan": (lambda v: (), lambda: _module("numpy").nan),
    "=own nan": (lambda v: (), lambda: float("nan")),
    "=named": (lambda v: (v.__name__,), _named),
    "=record": (
        lambda v: (type(v).__name__, list(v._fields), list(v)),
        lambda name, fields, items: record_type(_type_is(name, str)[:60], tuple(fields))._make(items),
    ),
    "=numpy": (_numpy_parts, _build_numpy),
    "=exception": (
        lambda v: ([k.__name__ for k in type(v).__mro__], list(v.args)),
        _build_exception,
    ),
}


@functools.lru_cache(maxsize=1024)
def stock_name(kind: Any) -> str | None:
    """The key of :data:`TABLE` for exactly this type, or None."""
    try:
        module, name = kind.__module__, kind.__qualname__
    except AttributeError:
        return None
    if type(module) is not str:
        return None
    if module == "numpy":
        numpy: Any = sys.modules.get("numpy")
        known = numpy is not None and getattr(numpy, name, None) is kind
        return "=numpy" if known and (kind is numpy.ndarray or issubclass(kind, numpy.generic)) else None
    key = name if module == "builtins" else f"{module.lstrip('_')}.{name}"
    if module.startswith("pathlib"):
        key = f"pathlib.{name}"
    if key not in TABLE or key.startswith("="):
        return None
    if module == "builtins":
        return key if kind in _BUILTIN_KINDS else None
    return key if getattr(sys.modules.get(key.rpartition(".")[0]), name, None) is kind else None


_BUILTIN_KINDS: frozenset[Any] = frozenset(
    map(type, (slice(0), ..., NotImplemented, memoryview(b""), types.MappingProxyType({}), {}.keys(), {}.values()))
) | {type({}.items())}
