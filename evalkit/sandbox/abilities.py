"""What an object of the program can be asked for: told and done on the program's side."""

from __future__ import annotations

import builtins
import copy
import functools
import itertools
import math
import operator
import re
import types
from collections.abc import Callable
from typing import Any

# Question -> (the method that must be there for it, what asks it). None of them has an operand.
UNARY: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "iter": ("__iter__", iter),
    "reversed": ("__reversed__", reversed),
    "len": ("__len__", len),
    "bool": ("__bool__", bool),
    "str": ("__str__", str),
    "repr": ("__repr__", repr),
    "hash": ("__hash__", hash),
    "int": ("__int__", int),
    "float": ("__float__", float),
    "complex": ("__complex__", complex),
    "index": ("__index__", operator.index),
    "abs": ("__abs__", abs),
    "neg": ("__neg__", operator.neg),
    "pos": ("__pos__", operator.pos),
    "invert": ("__invert__", operator.invert),
    "round": ("__round__", round),
    "trunc": ("__trunc__", math.trunc),
    "floor": ("__floor__", math.floor),
    "ceil": ("__ceil__", math.ceil),
}
ABILITIES = {name: method for name, (method, _) in UNARY.items()} | {
    "next": "__next__",
    "call": "__call__",
    "item": "__getitem__",
    "eq": "__eq__",
    "lt": "__lt__",
    "gt": "__gt__",
    "le": "__le__",
    "ge": "__ge__",
    "ne": "__ne__",
    "contains": "__contains__",
    "setitem": "__setitem__",
    "delitem": "__delitem__",
    "enter": "__enter__",
    "format": "__format__",
    "missing": "__missing__",
}
# With a second object of the candidate only.
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    name: getattr(operator, name)
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "xor")
} | {"and": operator.and_, "or": operator.or_, "divmod": divmod}
OPERATORS |= {f"i{name}": getattr(operator, f"i{name}") for name in OPERATORS if name != "divmod"}
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")
}
ABILITIES |= {name: f"__{name}__" for name in OPERATORS}
# With a value of the tests at the left, which is not shown; and what is asynchronous.
REFLECTED = frozenset(f"r{name}" for name in OPERATORS if name[:1] != "i" or name == "invert")
ASYNCHRONOUS = frozenset(("aiter", "anext", "await", "aenter"))
ABILITIES |= {name: f"__{name}__" for name in REFLECTED | ASYNCHRONOUS}
ABLE = frozenset(ABILITIES.values())
# Types that a stand-in may claim in isinstance(); none of a value that a test compares.
KINDS: dict[str, type] = {
    str(kind.__name__): kind
    for kind in (
        *(types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, types.CoroutineType),
        *(types.GeneratorType, map, filter, zip, enumerate, reversed, functools.partial, re.Match, re.Pattern),
        *(itertools.chain, itertools.islice, itertools.count, itertools.cycle, itertools.permutations),
        *(itertools.combinations, itertools.product, itertools.accumulate, type(iter([])), type(iter(()))),
        *(type(iter(range(0))), type(iter("")), type(iter({})), type(iter(set()))),
    )
}
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType)
_OF_FLAGS = frozenset(f"__{name}__" for name in ("or", "and", "xor", "ror", "rand", "rxor", "invert"))


def replaced_in(kind: type, base: type) -> list[str]:
    """Names of the methods that a subclass has in the place of its base type's, or beside them if they are Python's."""
    own: set[str] = set()
    for between in kind.__mro__[: kind.__mro__.index(base)]:
        for name, method in list(between.__dict__.items()):
            # A Flag's operators are those of its values.
            if type(name) is not str or (name in _OF_FLAGS and getattr(method, "__module__", "") == "enum"):
                continue
            if name != "__hash__" or method is not None or base.__hash__ is not None:
                own.add(name)
    names = ({*dir(base)} - {*dir(object)}) | ABLE | {f"__{sign}__" for sign in COMPARISONS}
    return sorted(own & names)[:100]


def abilities_of(kind: type) -> list[str]:
    """What an object of the candidate can do, for :func:`remote_class` on the other side."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base is not object:
            found.update(base.__dict__)
    able = [name for name, method in ABILITIES.items() if found.get(method) is not None]
    if kind in _FUNCTIONS:
        able = [name for name in able if name not in COMPARISONS]
    if isinstance(found.get("__next__"), types.FunctionType):
        able.append("step")
    if "__hash__" in found and found["__hash__"] is None:
        able.append("unhashable")
    return able


def kind_of(value: Any) -> str:
    """The key of :data:`KINDS` that tells an object's type, or an empty string."""
    name = type(value).__name__
    return name if KINDS.get(name) is type(value) else ""


def perform(question: str, value: Any, arguments: list[Any]) -> Any:
    """Ask an object of the candidate, in the candidate."""
    if question == "round":
        return round(value, *[digits for digits in arguments if digits is not None])
    if question in UNARY:
        return UNARY[question][1](value)
    if question == "attr":
        return getattr(value, arguments[0])
    if question == "item":
        return value[arguments[0]]
    if question == "setattr":
        return setattr(value, *arguments)
    if question == "delattr":
        return delattr(value, arguments[0])
    if question == "setitem":
        return operator.setitem(value, *arguments)
    if question == "delitem":
        return operator.delitem(value, arguments[0])
    if question == "enter":
        return type(value).__enter__(value)
    if question == "exit":
        error = arguments[0]
        return type(value).__exit__(value, None if error is None else type(error), error, None)
    if question == "format":
        return format(value, arguments[0])
    if question == "close":
        return value.close()
    if question == "copy":
        return copy.copy(value)
    if question == "sum":
        return 0 + value
    if question in OPERATORS:
        return OPERATORS[question](value, arguments[0])
    if question in COMPARISONS:
        return COMPARISONS[question](value, arguments[0])
    raise builtins.ValueError(f"unknown question {question!r}")
