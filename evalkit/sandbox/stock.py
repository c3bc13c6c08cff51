"""Stock types beyond JSON's: how each is taken apart into plain parts, and built again from nothing but such parts.

A closed list. Building runs the constructors of the standard library and numpy on checked plain data; no name of a
class or function to call ever comes from the other side, except as a key of these tables.
"""

# ruff: noqa: ARG005 - the entries of a table have one signature
from __future__ import annotations

import builtins
import collections
import contextlib
import datetime
import functools
import gc
import importlib
import keyword
import math
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

from .arrays import build_array, build_dtype, build_scalar_type, build_view, crosses, parts_of_array, parts_of_dtype

# Builtins that cross as themselves: a program may return `int`, a test may pass `len`.
_TYPES = "int float complex str bool bytes bytearray list tuple dict set frozenset range object"
_FUNCTIONS = "len abs min max sum sorted any all ord chr hex bin oct round divmod pow repr ascii hash iter next"
_ITERATORS = "reversed enumerate zip map filter"
NAMED = frozenset(f"{_TYPES} {_FUNCTIONS} {_ITERATORS}".split()) | frozenset(
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
)


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
    usable = name.isidentifier() and not keyword.iskeyword(name)
    # A field that ``rename`` called _1 is called so again; any other that it would rename is refused.
    made: type[Any] = collections.namedtuple(name if usable else "Record", fields, rename=True)  # type: ignore[misc]
    if made._fields != fields:
        raise ValueError("not the fields of a namedtuple")
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


def built(kind: Any, arguments: list[Any]) -> Any:
    """An exception of Python's own, of arguments that its constructor and its text can bear.

    Raises:
        ValueError: places of a UnicodeError that are not in its object, which some versions of Python read.
    """
    made = kind(*arguments)
    if isinstance(made, UnicodeEncodeError | UnicodeDecodeError | UnicodeTranslateError):
        whole, start, end = arguments[-4:-1]
        if not 0 <= start <= end <= len(whole):
            raise ValueError("no such place")
    return made


def _build_exception(names: Any, arguments: Any) -> BaseException:
    for name in names:
        kind = getattr(builtins, name, None) if name in NAMED else None
        if isinstance(kind, type) and issubclass(kind, Exception):
            error: BaseException = built(kind, arguments)
            return error
    return Exception(*arguments)


def _under(view: Any) -> Any:
    """The table under a view of it, which stays a view of that one."""
    proxy = view if type(view) is types.MappingProxyType else view.mapping
    below = gc.get_referents(proxy)
    if len(below) != 1 or not isinstance(below[0], dict):
        return dict(proxy)
    return below[0] if _crosses_as_table(type(below[0])) else dict(dict.items(below[0]))


def _crosses_as_table(kind: Any) -> bool:
    """Whether objects of a subclass of dict are a dict's for the tests, too: not of a subclass of Counter, say."""
    return stock_name(kind) is not None or all(base is dict or stock_name(base) is None for base in kind.__mro__)


# The tests' own tables that a program could not change in one process are sent as copies.
COPIED: dict[str, Callable[[Any], dict[Any, Any]]] = {
    "dict_keys": dict.fromkeys,
    "dict_values": lambda v: dict(enumerate(v)),
    "dict_items": dict,
    "mappingproxy": dict,
}


VIEWED = frozenset({"array.array", "=numpy"})


def is_whole_view(value: Any) -> bool:
    """Whether a memoryview is all of a bytearray, an array or an array of numpy, as that is."""
    kind: Any = type(value.obj)
    if kind is not bytearray and stock_name(kind) not in VIEWED:
        return False
    if hasattr(value.obj, "dtype") and not crosses(value.obj.dtype):
        return False
    whole = memoryview(value.obj)
    names = ("format", "shape", "strides", "readonly", "nbytes")
    return whole.nbytes > 0 and all(getattr(value, name) == getattr(whole, name) for name in names)


def _memoryview(data: Any, text: Any) -> Any:
    """The view of an object that has this content now; once it is viewed, it takes no other length."""
    kind: Any = type(data)
    if kind is not bytearray and (stock_name(kind) not in VIEWED or not hasattr(data, "tolist")):
        raise TypeError("no object that can be viewed")
    if kind is bytearray:
        with contextlib.suppress(BufferError):
            data[:] = bytes.fromhex(text)
    elif stock_name(kind) == "array.array" and data.typecode != "u":
        with contextlib.suppress(BufferError):
            data[:] = _build_array(data.typecode, text)
    return memoryview(data)


# What a view of bytes can be cast to.
_FORMATS = frozenset("bBhHiIlLqQnNfd?c")


def _view_parts(value: Any) -> tuple[Any, ...] | None:
    """(bytes, format, shape) of a memoryview that is no whole one; None where a view of bytes cannot be that."""
    if value.format not in _FORMATS or not value.contiguous or 0 in (value.shape or ()):
        return (value.tobytes(), "B", None) if value.format == "B" and value.ndim == 1 else None
    return value.tobytes(), value.format, None if value.ndim == 1 else list(value.shape)


def _build_view(data: Any, how: Any, shape: Any) -> Any:
    made = memoryview(_type_is(data, bytes))
    if type(how) is not str or how not in _FORMATS:
        raise ValueError("not the format of a view")
    if shape is None:
        return made if how == "B" else made.cast(how)  # type: ignore[call-overload]
    return made.cast(how, tuple(_int(*_type_is(shape, list))))  # type: ignore[call-overload]


def _table(value: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError("a table was expected")
    return value


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
    "memoryview": (_view_parts, _build_view),
    "dict_keys": (lambda v: (_under(v),), lambda table: dict.keys(_table(table))),
    "dict_values": (lambda v: (_under(v),), lambda table: dict.values(_table(table))),
    "dict_items": (lambda v: (_under(v),), lambda table: dict.items(_table(table))),
    "mappingproxy": (lambda v: (_under(v),), lambda table: types.MappingProxyType(_table(table))),
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
    "=numpy": (parts_of_array, build_array),
    "=view": (lambda v: (), build_view),
    "=memoryview": (lambda v: (), _memoryview),
    "=dtype": (parts_of_dtype, build_dtype),
    "=numpy type": (lambda v: (v.__name__,), build_scalar_type),
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
        if numpy is not None and kind is numpy.dtype:
            return "=dtype"
        known = numpy is not None and getattr(numpy, name, None) is kind
        return "=numpy" if known and (kind is numpy.ndarray or issubclass(kind, numpy.generic)) else None
    if module == "numpy.dtypes":
        return "=dtype" if getattr(sys.modules.get(module), name, None) is kind else None
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
