"""The only values that cross between a candidate and its tester: plain data, as tagged JSON.

Nothing that crosses can run code, on either side: no pickle, no marshal, no types but the ones below. JSON has null,
booleans, integers, floats (with NaN and Infinity), strings and lists; the other types are an object with one key, their
tag:

    t tuple   d dict [[key, value], ...]   s set   f frozenset   b bytes (hex)   y bytearray (hex)   c complex [re, im]
    i integer of more than 64 bits (hex)   r range [start, stop, step]   n Decimal   q Fraction [numerator, denominator]
    g iterator (its items)   o any other object (its type's name): :class:`Opaque`

A subclass crosses as its base type, a numpy scalar as the Python value that it equals.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

MAX_DEPTH = 100  # nested containers in one value
MAX_ITEMS = 400_000  # items in one message
_PLAIN = frozenset({type(None), bool, float, str})


class CrossingError(ValueError):
    """A value is too deep or too large to be sent."""


class Opaque:
    """An object that cannot cross: it equals nothing but itself and proves nothing (it has no truth value)."""

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __repr__(self) -> str:
        return f"<{self.type_name} object>"

    def __bool__(self) -> NoReturn:
        raise TypeError(f"a {self.type_name} object was returned; it cannot cross to the tests")


class _Encoder:
    def __init__(self) -> None:
        self.left = MAX_ITEMS

    def items(self, values: Any, depth: int) -> list[Any]:
        encoded = []
        for value in values:
            self.left -= 1
            if self.left < 0:
                raise CrossingError(f"the value has more than {MAX_ITEMS} items")
            encoded.append(self(value, depth))
        return encoded

    def __call__(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 63 else {"i": hex(value)}
        if depth >= MAX_DEPTH:
            raise CrossingError(f"the value is nested more than {MAX_DEPTH} deep")
        # The methods of the base types are called, not the subclass's own, which can say anything.
        if isinstance(value, list):
            return self.items(list.__iter__(value), depth + 1)
        if isinstance(value, tuple):
            return {"t": self.items(tuple.__iter__(value), depth + 1)}
        if isinstance(value, dict):
            return {"d": [self.items(pair, depth + 1) for pair in list(dict.items(value))]}
        if isinstance(value, (set, type({}.keys()), type({}.items()))):  # a view compares as the set of its items
            return {"s": self.items(list(value), depth + 1)}
        if isinstance(value, frozenset):
            return {"f": self.items(frozenset.__iter__(value), depth + 1)}
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return self(int.__int__(value), depth)
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, bytes):
            return {"b": bytes.hex(value)}
        if isinstance(value, bytearray):
            return {"y": bytearray.hex(value)}
        if isinstance(value, complex):
            return {"c": [value.real, value.imag]}
        if isinstance(value, range):
            return {"r": [self(value.start, depth), self(value.stop, depth), self(value.step, depth)]}
        # Only where the program imported them: loading them for every program would cost more than the rest of it.
        if (decimal := sys.modules.get("decimal")) is not None and isinstance(value, decimal.Decimal):
            return {"n": decimal.Decimal.__str__(value)}
        if (fractions := sys.modules.get("fractions")) is not None and isinstance(value, fractions.Fraction):
            return {"q": [self(int(value.numerator), depth), self(int(value.denominator), depth)]}
        if kind.__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(value, "item"):
            return self(value.item(), depth + 1)
        if hasattr(kind, "__next__"):
            return {"g": self.items(value, depth + 1)}
        return {"o": str.__str__(kind.__name__)[:60]}


def encode(value: Any) -> Any:
    """Turn a value into what JSON can carry.

    Raises:
        CrossingError: nested deeper than :data:`MAX_DEPTH`, or more than :data:`MAX_ITEMS` items.
    """
    return _Encoder()(value)


def _integer(text: Any) -> int:
    if type(text) is int:
        return text
    return int(text["i"], 16)


def decode(data: Any) -> Any:
    """Build the value again, of exactly the types listed above.

    Raises:
        ValueError, TypeError, KeyError, ArithmeticError: not the encoding of anything.
    """
    return _decode(data, 0)


def _decode(data: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    if type(data) is list:
        return [_decode(item, depth + 1) for item in data]
    if type(data) is not dict:
        return data
    if len(data) != 1:
        raise ValueError("a tagged value has one tag")
    ((tag, body),) = data.items()
    if tag == "t":
        return tuple([_decode(item, depth + 1) for item in _list(body)])
    if tag == "d":
        # A loop of byte code, here and for sets: a time-out can interrupt it even where all keys collide.
        return {_decode(key, depth + 1): _decode(value, depth + 1) for key, value in _list(body)}
    if tag == "s":
        return {_decode(item, depth + 1) for item in _list(body)}
    if tag == "f":
        return frozenset({_decode(item, depth + 1) for item in _list(body)})
    if tag == "g":
        return iter([_decode(item, depth + 1) for item in _list(body)])
    if tag == "b":
        return bytes.fromhex(body)
    if tag == "y":
        return bytearray.fromhex(body)
    if tag == "i":
        return int(body, 16)
    if tag == "c":
        real, imag = body
        return complex(float(real), float(imag))
    if tag == "r":
        start, stop, step = map(_integer, body)
        return range(start, stop, step)
    if tag == "n":
        return importlib.import_module("decimal").Decimal(_text(body))
    if tag == "q":
        numerator, denominator = map(_integer, body)
        return importlib.import_module("fractions").Fraction(numerator, denominator)
    if tag == "o":
        return Opaque(_text(body)[:60])
    raise ValueError(f"unknown tag {tag!r}")


def _list(body: Any) -> list[Any]:
    if type(body) is not list:
        raise TypeError("a list was expected")
    return body


def _text(body: Any) -> str:
    if type(body) is not str:
        raise TypeError("a string was expected")
    return body


def write_back(old: Any, new: Any) -> Any:
    """Make ``old`` equal to ``new``, in place where it is mutable, keeping containers' identity; return the result.

    This is how a test sees that the candidate changed an argument: ``old`` is the test's object, ``new`` a copy of what
    the candidate made of it.
    """
    if type(old) is not type(new):
        return new
    if isinstance(old, list):
        old[:] = [write_back(a, b) for a, b in zip(old, new, strict=False)] + new[len(old) :]
    elif isinstance(old, tuple):
        kept = [write_back(a, b) for a, b in zip(old, new, strict=False)]
        return (
            old
            if len(old) == len(new) and all(a is b for a, b in zip(kept, old, strict=True))
            else tuple(kept) + new[len(old) :]
        )
    elif isinstance(old, dict):
        merged = {key: write_back(old[key], value) if key in old else value for key, value in new.items()}
        old.clear()
        old.update(merged)
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif isinstance(old, bytearray):
        old[:] = new
    elif old is not new and old != new:
        return new
    else:
        return old
    return old
