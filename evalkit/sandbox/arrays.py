"""How arrays and scalars of numpy cross: dtype, shape and bits, views as views of one array, changes in place.

In one process two arrays can be the same memory. So a view crosses as its place in the array that owns the memory,
which is a common object (``heap.py``), and is made a view again. An array's memory is never given back or moved here
while somebody may hold a view of it: where a change would need that, it cannot cross.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from typing import Any

MAX_ARRAY_BYTES = 64 << 20
NUMPY_KINDS = "biufcSUMmO"
# Nothing else is given to numpy's own reader of dtypes: a unit of time divided by zero, say, ends the process there.
_DTYPE = re.compile(
    r"[<>|=](?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[SU][0-9]{1,9}|O8?"
    r"|[mM]8(?:\[(?:[1-9][0-9]{0,8})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)
# Flags, where they are not the usual ones: columns first in memory; not to be written.
COLUMNS_FIRST, READ_ONLY = "F", "R"


class NotRenewed(ValueError):  # noqa: N818 - not an error of the program
    """A change of a common object that cannot be made in place; says what it is."""


def _flags(array: Any) -> str:
    columns = array.flags.f_contiguous and not array.flags.c_contiguous
    return COLUMNS_FIRST * columns + READ_ONLY * (not array.flags.writeable)


def crosses(dtype: Any) -> bool:
    """Whether arrays of a dtype cross."""
    return dtype.kind in NUMPY_KINDS and dtype.names is None


def parts_of_array(value: Any) -> tuple[Any, ...] | None:
    """(dtype, shape or None for a scalar, items or hex, flags) of a numpy scalar or array; None where it cannot
    cross."""
    numpy = sys.modules["numpy"]
    scalar = not isinstance(value, numpy.ndarray)
    dtype = value.dtype
    if not crosses(dtype) or (scalar and dtype.kind == "O"):
        return None
    shape = None if scalar else list(value.shape)
    flags = "" if scalar else _flags(value)
    if dtype.kind in "OU":
        return dtype.str, shape, numpy.asarray(value).reshape(-1).tolist(), flags
    return dtype.str, shape, numpy.ascontiguousarray(value).tobytes().hex(), flags


def _checked(text: Any, sizes: Any) -> tuple[Any, int]:
    """(dtype, number of items).

    Raises:
        ValueError: no dtype or shape that crosses, or too large.
    """
    numpy = importlib.import_module("numpy")
    if type(text) is not str or _DTYPE.fullmatch(text) is None:
        raise ValueError("not a dtype")
    if type(sizes) is not list or len(sizes) > 32 or not all(type(n) is int and n >= 0 for n in sizes):
        raise ValueError("not a shape")
    count, dtype = math.prod(sizes), numpy.dtype(text)
    if dtype.names is not None or dtype.subdtype is not None:
        raise ValueError("a dtype of several fields")
    if count * dtype.itemsize > MAX_ARRAY_BYTES:
        raise ValueError("an array that is too large")
    return dtype, count


def build_array(text: Any, shape: Any, data: Any, flags: Any = "") -> Any:
    """The scalar or array of these parts; an array owns its memory.

    Raises:
        ValueError: they are none.
    """
    numpy = importlib.import_module("numpy")
    sizes = [1] if shape is None else shape
    dtype, count = _checked(text, sizes)
    if dtype.kind in "OU":
        if type(data) is not list or len(data) != count or (dtype.kind == "U" and {*map(type, data)} - {str}):
            raise ValueError("not the items of an array")
        if dtype.kind == "U":  # made by numpy from strings: no code points that Python does not have
            flat = numpy.array(data, dtype)
        else:
            flat = numpy.empty(count, object)
            for place, item in enumerate(data):
                flat[place] = item
    else:
        raw = bytes.fromhex(data)
        if len(raw) != count * dtype.itemsize or (count > 0 and dtype.itemsize == 0):
            raise ValueError("an array whose data have another length")
        flat = numpy.frombuffer(raw, dtype) if raw else numpy.empty(count, dtype)
        if dtype.kind == "b":
            flat = numpy.frombuffer(raw, numpy.uint8) != 0  # a byte of 2 would be neither True nor False
    if shape is None:
        return flat.copy()[0]
    made = flat.reshape(sizes).copy("F" if COLUMNS_FIRST in flags else "C")
    if READ_ONLY in flags:
        made.flags.writeable = False
    return made


def owner_of(value: Any) -> Any:
    """The array that owns the memory of another one; None where it owns its own, or no array does."""
    numpy, owner = sys.modules["numpy"], value
    while True:
        below = owner.base
        if type(below).__name__ == "DummyArray" and str(type(below).__module__).startswith("numpy.lib"):
            below = below.base  # as_strided and sliding_window_view put it between
        if type(below) is not numpy.ndarray:
            break
        owner = below
    return None if owner is value else owner


def view_parts(value: Any) -> tuple[Any, ...] | None:
    """(owner, shape, strides, offset in bytes, flags) of a view; None where it cannot cross as one."""
    owner = owner_of(value)
    if owner is None or not owner.flags.owndata or not owner.flags.forc or not value.size:
        return None
    if not crosses(value.dtype) or value.dtype.kind == "O" or owner.dtype != value.dtype:
        return None
    offset = value.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    places = (list(value.shape), list(value.strides), offset)
    if not _are_whole_items(value.dtype, *places[1:]) or not _is_within(owner, *places):
        return None
    return owner, *places, _flags(value)


def _are_whole_items(dtype: Any, strides: list[int], offset: int) -> bool:
    """Whether a view has items of its owner, not the end of one and the start of the next."""
    return dtype.itemsize > 0 and not any(n % dtype.itemsize for n in (*strides, offset))


def _is_within(owner: Any, shape: list[int], strides: list[int], offset: int) -> bool:
    """Whether no item of a view lies before or behind its owner's memory; numpy's own check of that overflows."""
    if len(shape) != len(strides) or not all(n > 0 for n in shape):
        return False
    ways = [stride * (n - 1) for n, stride in zip(shape, strides, strict=True)]
    first, last = offset + sum(w for w in ways if w < 0), offset + sum(w for w in ways if w > 0)
    return first >= 0 and last + int(owner.dtype.itemsize) <= int(owner.nbytes)


def build_view(owner: Any, shape: Any, strides: Any, offset: Any, flags: Any) -> Any:
    """A view again.

    Raises:
        ValueError, TypeError: no view of this owner.
    """
    numpy = importlib.import_module("numpy")
    if type(owner) is not numpy.ndarray or not owner.flags.owndata or owner.dtype.kind == "O":
        raise TypeError("not the owner of a view")
    _checked(owner.dtype.str, shape)
    if type(strides) is not list or {*map(type, strides), type(offset)} - {int}:
        raise TypeError("not the place of a view")
    if not _are_whole_items(owner.dtype, strides, offset):
        raise ValueError("a view of parts of items")
    if not _is_within(owner, shape, strides, offset):
        raise ValueError("a view beyond its owner")
    buffer = owner if owner.flags.c_contiguous else owner.T
    made = numpy.ndarray(tuple(shape), owner.dtype, buffer, offset, tuple(strides))
    if READ_ONLY in flags:
        made.flags.writeable = False
    return made


def parts_of_dtype(value: Any) -> tuple[Any, ...] | None:
    """(text,) of a dtype; None where it cannot cross."""
    return (value.str,) if crosses(value) else None


def build_dtype(text: Any) -> Any:
    """A dtype; ValueError."""
    return _checked(text, [])[0]


def build_scalar_type(name: Any) -> Any:
    """``numpy.int32`` and its like.

    Raises:
        ValueError: not the name of one.
    """
    numpy = importlib.import_module("numpy")
    found = vars(numpy).get(name) if type(name) is str else None
    if not isinstance(found, type) or not (found is numpy.ndarray or issubclass(found, numpy.generic)):
        raise ValueError("not a type of numpy")
    return found


def known_of_array(value: Any) -> list[Any] | bytes:
    """By what a change of an array is noticed."""
    if value.dtype.kind == "O":
        return list(value.flat)
    return bytes(repr((value.dtype.str, value.shape)).encode() + value.tobytes())


def renew_array(value: Any, new: Any) -> None:
    """Give an array the content of another, in its own memory.

    Raises:
        NotRenewed: that cannot be done in place.
    """
    if new.dtype != value.dtype:
        raise NotRenewed("an array that became one of another dtype")
    if not value.flags.writeable:
        raise NotRenewed("an array that was made read-only and has changed")
    if new.shape != value.shape:
        if new.size != value.size or value.dtype.kind == "O":
            raise NotRenewed("an array that was given another size")
        try:
            value.shape = new.shape
        except Exception as error:  # not contiguous; or a warning that the tests made an error
            raise NotRenewed("an array that was given another shape") from error
    value[...] = new
