"""Gives common objects (``heap.py``) the content that they have on the other side, in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arrays import NotRenewed, renew_array
from .decoding import BUILD, CODED, Decoder, as_list, build_dict, elements_of
from .order import arrange
from .parts import mutable_base, parts_of, restored, state_of
from .stock import TABLE, _type_is, stock_name


def apply_changes(changes: Any, decoder: Decoder, spoil: Callable[[Any, str], None]) -> None:
    """Make common objects what they have become; ``spoil`` is given those whose content could not cross.

    Raises:
        ValueError, TypeError, KeyError, ArithmeticError, AttributeError, LookupError: not such changes.
    """
    for change in as_list(changes):
        number, why = change[0], change[1]
        value = decoder.heap.get(number)
        try:
            if why is None:
                renew(value, change[2], decoder)
        except (NotRenewed, BufferError) as error:
            why = str(error)
        if why is not None:
            spoil(value, str(why)[:200])
        entry = decoder.heap.entries[number]
        entry.known = parts_of(value)


def renew(value: Any, content: Any, decoder: Decoder) -> None:
    """Give a common object other content, in place.

    Raises:
        NotRenewed, BufferError: that cannot be done while others may look at its memory.
        ValueError, TypeError, KeyError, ArithmeticError, AttributeError, LookupError: no content for it.
    """
    kind: Any = type(value)
    base = mutable_base(kind)
    if base is list:
        list.__setitem__(value, slice(None), decoder.items(content, 1))
        return
    if base is not None:
        ((tag, inner),) = content.items()
        if tag.lower() != {dict: "d", set: "s", bytearray: "y"}[base] or (tag != tag.lower() and base is not set):
            raise TypeError("the content of another type")
        if base is set:
            recipe, elements = elements_of(decoder, inner if tag == "S" else [0, *inner], 1)
            set.clear(value)
            arrange(value, elements, recipe)
        elif base is bytearray:
            bytearray.__setitem__(value, slice(None), BUILD[tag](decoder, inner, 1))
        else:
            _renew_dict(value, BUILD[tag](decoder, inner, 1))
        return
    name = stock_name(kind)
    if name is None:
        ((_, inner),) = content.items()
        state = build_dict(decoder, inner, 1)
        for gone in state_of(value).keys() - state.keys():
            object.__delattr__(value, gone)
        restored(kind, state, value)
        return
    parts = [decoder(part, 1) if type(part) in CODED else part for part in as_list(content)]
    if name == "=numpy":
        if value.dtype.kind == "O":  # numpy may be comparing them, and holds no reference of its own
            decoder.heap.last.append(value.tolist())
        renew_array(value, TABLE[name][1](*parts))
    elif name in ("collections.UserDict", "collections.UserList"):
        value.data = _type_is(parts[0], dict if name == "collections.UserDict" else list)
    elif name == "collections.ChainMap":
        value.maps = [_type_is(table, dict) for table in parts[0]]
    elif name == "types.SimpleNamespace":
        vars(value).clear()
        vars(value).update(vars(TABLE[name][1](*parts)))
    elif name == "collections.deque":
        value.clear()
        value.extend(as_list(parts[0]))
    elif name in ("io.StringIO", "io.BytesIO"):
        text, place = parts
        if text is None:
            value.close()
            return
        value.seek(0)
        value.truncate()
        value.write(text)
        value.seek(_type_is(place, int))
    elif name == "array.array":
        value[:] = TABLE[name][1](*parts)  # of one length, it may lie under a memoryview
    else:
        value.clear()
        for key, item in as_list(parts[-1]):
            value[key] = item


def _renew_dict(value: Any, table: dict[Any, Any]) -> None:
    """With the same keys, only the values change: tests may be iterating over it."""
    if dict.__len__(value) != len(table) or not all(map(_is_same_key, dict.keys(value), table)):
        dict.clear(value)
    dict.update(value, table)


def _is_same_key(one: Any, other: Any) -> bool:
    """Asks no object for its equality."""
    return one is other or (type(one) is type(other) and type(one) in (str, int, float) and one == other)
