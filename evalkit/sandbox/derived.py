"""Values of subclasses of base types: a base type's value here, the rest is asked of the program."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .abilities import ABILITIES, COMPARISONS, REFLECTED
from .remote import Derived, _asked_reflected, _methods, _typed, attribute, handle_of

if TYPE_CHECKING:
    from .calls import CandidateSession


# Of a subclass of a base type, these are its base type's: its own are never asked, see the module.
_OF_THE_BASE = frozenset((*COMPARISONS, "contains", "hash", "next"))


def derived(session: CandidateSession, handle: int, name: str, base: Any, replaced: frozenset[str]) -> Any:
    """A value of a subclass: its base type's value, whose comparisons are its base type's, too. Methods that the
    subclass has in the place of its base type's (``replaced``), and other attributes, are asked for.

    Raises:
        TypeError: the value is of no base type.
    """
    kind: Any = type(base)
    if kind not in (int, float, str, tuple, list, dict, set, frozenset, bytes, bytearray):
        raise TypeError("not a base type")
    made = _derived_class(name, kind, replaced)(base)
    made.__dict__.update(_session=session, _handle=handle, _numbers={})
    return made


@functools.lru_cache(maxsize=512)
def _derived_class(name: str, kind: type, replaced: frozenset[str]) -> Any:
    def __getattr__(self: Any, wanted: str) -> Any:  # noqa: N807 - the method of the class to be made
        if wanted.startswith("__") or "_handle" not in self.__dict__:
            raise AttributeError(f"{name!r} object has no attribute {wanted!r}")
        return attribute(self._session, self._handle, name, wanted)

    def asked(wanted: str) -> Any:
        return property(lambda self: attribute(self._session, self._handle, name, wanted))

    abilities = frozenset(ability for ability, method in ABILITIES.items() if method in replaced) - _OF_THE_BASE
    methods = {"__getattr__": __getattr__, **_methods(abilities)}
    methods |= {wanted: asked(wanted) for wanted in replaced if not wanted.startswith("__")}
    compared = replaced & {"__contains__", "__hash__", *(f"__{sign}__" for sign in COMPARISONS)}
    methods |= {method: _compares_as(method.strip("_"), kind) for method in compared if hasattr(kind, method)}
    methods |= {f"__{sign}__": _reflects_as(sign, kind) for sign in abilities & REFLECTED}
    plain = {sign[1:] for sign in REFLECTED if hasattr(kind, f"__{sign[1:]}__")} - abilities
    if kind in (list, bytearray):
        plain.discard("mul")  # with a ``__mul__`` of its own, ``*=`` would make a new object
    methods |= {f"__{sign}__": _left_of(sign, kind) for sign in plain}
    if "__hash__" in compared and vars(kind).get("__hash__") is None:
        methods["__hash__"] = _typed("hash", int)
    if "__eq__" in compared and "__hash__" not in compared:
        methods["__hash__"] = kind.__hash__
    return type(name, (Derived, kind), methods)


def _compares_as(sign: str, kind: type) -> Any:
    """A comparison of the subclass: asked for two objects of the candidate, the base type's with a value of the
    tests, which the verdict then says."""
    by_value = getattr(kind, f"__{sign}__")

    def compares(self: Any, *others: Any) -> Any:
        if others and sign in COMPARISONS and handle_of(others[0]) >= 0:
            return self._session.compare(sign, self, others[0])
        self._session.doubts.setdefault(f"__{sign}__ of the program's own class {type(self).__name__} was not asked")
        return by_value(self, *others)

    return None if by_value is None else compares


def _reflects_as(sign: str, kind: type) -> Any:
    """An operator of the subclass with a value at its left: asked where that may be shown, else the base type's, which
    the verdict then says."""
    by_value = getattr(kind, f"__{sign}__", None)

    def reflects(self: Any, other: object, *more: object) -> Any:
        if (answer := _asked_reflected(sign, self, other)) is not None:
            return answer[0]
        self._session.note_operator(self)
        self._session.doubts.setdefault(f"__{sign}__ of the program's own class {type(self).__name__} was not asked")
        return NotImplemented if by_value is None else by_value(self, other, *more)

    return reflects


def _left_of(sign: str, kind: type) -> Any:
    """An operator that the subclass has from its base type: that one's, but asked for where the right side is an object
    of the candidate whose class has its own reflected one, which may come first."""
    by_value, reflected = getattr(kind, f"__{sign}__"), f"__r{sign}__"

    def operates(self: Any, other: object, *more: object) -> Any:
        if handle_of(other) >= 0 and reflected in vars(type(other)):
            return self._session.operate(sign, self, other)
        return by_value(self, other, *more)

    return operates
