"""Stand-ins for objects that stay with the candidate: what tests ask of them is asked there, answers are plain data.

What may be asked (:data:`abilities.UNARY`, items, attributes, also new ones, calls) carries inputs, never what the
tests expect. So comparisons with a value of the tests are not asked: an ``__eq__`` of the program's own could always
say yes. Such an object equals only itself, another object of the candidate that says so, and nothing of the tests; the
verdict's detail then names it.
``in`` is answered by iterating, with the tests' own ==.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from .abilities import ASYNCHRONOUS, KINDS, OPERATORS, REFLECTED, UNARY

if TYPE_CHECKING:
    from .calls import CandidateSession

# Methods of stock types that compare with their argument: with one, only classes that the prompt asks for have them.
COMPARING = frozenset(
    name
    for kind in (str, bytes, tuple, list, set, frozenset, int, float)
    for name in dir(kind)
    if not name.startswith("_")
) - {"append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "add", "discard", "update", "copy"}
COMPARING |= {"equals", "equal", "eq", "isclose", "allclose", "array_equal", "has_key", "contains", "all", "any"}
# Of functions and classes; the tests do not have them, and the verdict's detail says so.
_NAMED = ("__code__", "__defaults__", "__kwdefaults__", "__signature__", "__mro__", "__bases__", "__annotations__")
_VISIBLE = frozenset(("__name__", "__qualname__", "__doc__", "__dict__", "__self__", "__wrapped__"))
SINGLE_ITEMS = 16  # asked for one by one; then in growing numbers, to save time


class StandInType(type):
    """A class of stand-ins, for one class of the candidate: calls and attributes are asked of that."""

    _class: tuple[CandidateSession, int]

    def __call__(cls, /, *args: Any, **kwargs: Any) -> Any:
        session, handle = cls._class
        return session.call(handle, args, kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or "_class" not in cls.__dict__:
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        session, handle = cls._class
        return attribute(session, handle, cls.__name__, name)

    def __setattr__(cls, name: str, value: object) -> None:
        session, handle = cls._class
        session.ask("setattr", handle, [name, value])

    def __instancecheck__(cls, value: object) -> bool:
        if "_class" in cls.__dict__ and type(value) is not cls and handle_of(value) >= 0:
            cls._class[0].end_uncrossed("a class of the program's own: isinstance")
        return type.__instancecheck__(cls, value)

    def __subclasscheck__(cls, value: Any) -> bool:
        if "_class" in cls.__dict__ and value is not cls and type(value) is StandInType:
            cls._class[0].end_uncrossed("a class of the program's own: issubclass")
        return type.__subclasscheck__(cls, value)


class Remote(metaclass=StandInType):
    """An object of the candidate. Each has a class of its own kind, with the methods that the object has."""

    __slots__ = ("__weakref__", "_handle", "_kind", "_more", "_numbers", "_session")

    def __init__(self, session: CandidateSession, handle: int, kind: str) -> None:
        self._session = session
        self._handle = handle
        self._kind = kind
        self._more: Iterator[Any] | None = None
        self._numbers: dict[str, Any] = {}

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return KINDS.get(self._kind, type(self))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _VISIBLE:
            note_hidden(self._session, type(self).__name__, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return attribute(self._session, self._handle, type(self).__name__, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in Remote.__slots__:
            object.__setattr__(self, name, value)
        else:
            self._session.ask("setattr", self._handle, [name, value])

    def __delattr__(self, name: str) -> None:
        self._session.ask("delattr", self._handle, [name])

    def __instancecheck__(self, value: object) -> NoReturn:
        self._session.end_uncrossed("a class of the program's own: isinstance")

    def __subclasscheck__(self, value: object) -> NoReturn:
        self._session.end_uncrossed("a class of the program's own: issubclass")

    def __eq__(self, other: object) -> Any:
        return self is other or self._session.compare("eq", self, other)

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object>"

    def __copy__(self) -> Any:
        if self._more is not None:
            self._session.end_uncrossed("a copy of an iterator of which items were taken")
        return copied(self)

    def __deepcopy__(self, memo: dict[Any, Any]) -> Any:
        if self._more is not None:
            self._session.end_uncrossed("a copy of an iterator of which items were taken")
        return copied(self, memo)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        del protocol
        cannot_pickle(self)


class Derived:
    """An instance of a subclass of a base type that the program made: a base type's value here, the rest is there."""

    __slots__ = ()
    _session: CandidateSession
    _handle: int

    def __setattr__(self, name: str, value: object) -> None:
        self._session.ask("setattr", self._handle, [name, value])

    def __delattr__(self, name: str) -> None:
        self._session.ask("delattr", self._handle, [name])

    def __copy__(self) -> Any:
        return copied(self)

    def __deepcopy__(self, memo: dict[Any, Any]) -> Any:
        return copied(self, memo)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        del protocol
        cannot_pickle(self)


def note_hidden(session: CandidateSession, owner: str, name: str) -> None:
    """Name an attribute that is not asked for."""
    if name in _NAMED:
        session.notes.setdefault(f"{name} of {owner}")


def copied(value: Any, memo: dict[Any, Any] | None = None) -> Any:
    """``copy.copy`` of an object of the candidate, made there; with a memo, ``copy.deepcopy``."""
    session: CandidateSession = value._session
    if memo is None:
        return session.ask("copy", handle_of(value), [])
    return session.deep_copy(handle_of(value), memo)


def cannot_pickle(value: Any) -> NoReturn:
    """Such an object has no pickle, which the verdict names."""
    value._session.notes.setdefault(f"a pickle of the program's own class {type(value).__name__}")
    raise TypeError(f"cannot pickle {type(value).__name__!r} object")


def handle_of(value: Any) -> int:
    """The handle of a stand-in or an instance of :class:`Derived`; -1 for anything else. Asks the candidate nothing."""
    kind = type(value)
    if kind is StandInType:
        return value._class[1] if "_class" in value.__dict__ else -1
    bases = kind.__mro__
    return int(object.__getattribute__(value, "_handle")) if Remote in bases or Derived in bases else -1


def attribute(session: CandidateSession, handle: int, owner: str, name: str) -> Any:
    """An attribute of an object of the candidate; what has the name of a comparing method can be called without operand
    only, whatever it is: ``len`` or a function of the tests, bound to that name, would say yes as well."""
    value = session.ask("attr", handle, [name])
    if name in COMPARING and callable(value) and not session.asks_for_class:
        return functools.partial(session.call_without_operand, value, f"{owner}.{name}")
    return value


def _ask(name: str) -> Callable[[Remote], Any]:
    def method(self: Remote) -> Any:
        return self._session.ask(name, self._handle, [])

    def number(self: Remote) -> Any:
        """Its value as a number is what it said first: another at each question could suit every comparison."""
        if name not in self._numbers:
            self._numbers[name] = self._session.ask(name, self._handle, [])
        return self._numbers[name]

    return number if name in ("int", "float", "complex") else method


def _typed(name: str, kind: type) -> Callable[[Remote], Any]:
    def method(self: Remote) -> Any:
        value = self._session.ask(name, self._handle, [])
        if type(value) is not kind:
            raise TypeError(f"__{name}__ returned {type(value).__name__}")
        return value

    return method


def _iter(self: Remote) -> Any:
    iterator = self._session.ask("iter", self._handle, [])
    if not hasattr(type(iterator), "__next__"):
        raise TypeError(f"iter() returned {type(iterator).__name__}")
    return iterator


def _items(session: CandidateSession, handle: int) -> Generator[Any, None, Any]:
    for count in itertools.count():
        reply = session.ask("next", handle, [1 if count < SINGLE_ITEMS else min(1 << (count - 15), 4096)])
        if type(reply) is not list or len(reply) < 2 or [*map(type, reply[:2])] != [list, bool]:
            session.end_malformed("no items of an iterator")
        if len(reply) > (3 if reply[1] else 2):
            session.end_malformed("no items of an iterator")
        yield from reply[0]
        if reply[1]:
            return reply[2] if len(reply) == 3 else None


def _step(self: Remote) -> Any:
    """The next item of a class of the program's own, asked for each time: it may go on after its end, and be reset."""
    reply = self._session.ask("next", self._handle, [1])
    if type(reply) is not list or len(reply) < 2 or type(reply[0]) is not list or len(reply[0]) > 1:
        self._session.end_malformed("no item of an iterator")
    if reply[0]:
        return reply[0][0]
    if reply[1] is not True:
        self._session.end_malformed("no item of an iterator")
    raise StopIteration(*reply[2:3])


def _next(self: Remote) -> Any:
    if self._more is None:
        self._more = _items(self._session, self._handle)
    return next(self._more)


def _call(self: Remote, /, *args: Any, **kwargs: Any) -> Any:
    return self._session.call(self._handle, args, kwargs)


def _item(self: Remote, key: Any) -> Any:
    return self._session.ask("item", self._handle, [key])


def _set_item(self: Remote, key: Any, value: Any) -> None:
    self._session.ask("setitem", self._handle, [key, value])


def _delete_item(self: Remote, key: Any) -> None:
    self._session.ask("delitem", self._handle, [key])


def _enter(self: Remote) -> Any:
    return self._session.ask("enter", self._handle, [])


def _exit(self: Remote, kind: Any, error: Any, traceback: Any) -> Any:
    del kind, traceback
    return self._session.ask("exit", self._handle, [error])


def _format(self: Remote, how: str) -> Any:
    return self._session.ask("format", self._handle, [how])


def _operates(name: str) -> Callable[[Remote, Any], Any]:
    return lambda self, other: self._session.operate(name, self, other)


def _reflected(sign: str) -> Callable[[Remote, object], Any]:
    def reflects(self: Remote, other: object, *_: object) -> Any:
        if (answer := _asked_reflected(sign, self, other)) is not None:
            return answer[0]
        self._session.note_operator(self)
        return NotImplemented

    return reflects


def _asked_reflected(sign: str, right: Any, left: object) -> tuple[Any] | None:
    """The answer, where an operator's left side may be shown: it is the candidate's, or the 0 that ``sum`` begins with,
    which tells nothing. None where it may not."""
    session: CandidateSession = right._session
    if handle_of(left) >= 0:
        return (session.operate(sign[1:], left, right),)
    if sign == "radd" and type(left) is int and left == 0:
        return (session.ask("sum", handle_of(right), []),)
    return None


def _asynchronous(self: Remote, *_: object) -> NoReturn:
    self._session.end_uncrossed("what is asynchronous")


def _compares(name: str) -> Callable[[Remote, Any], Any]:
    return lambda self, other: self._session.compare(name, self, other)


def _itself(self: Remote) -> Remote:
    return self


def remote_class(name: str, abilities: frozenset[str], session: CandidateSession, handle: int) -> Any:
    """A class of stand-ins with these abilities (keys of :data:`ABILITIES`, and "unhashable"), for a class of the
    candidate."""
    doc = property(lambda self: attribute(self._session, self._handle, name, "__doc__"))
    methods: dict[str, Any] = {"__slots__": (), "__doc__": doc} | _methods(abilities)
    if "unhashable" in abilities:
        methods["__hash__"] = None
    return StandInType(name, (Remote,), methods | {"_class": (session, handle)})


def stand_in(kind_here: Any, session: CandidateSession, handle: int, kind: str) -> Any:
    """An instance of a class of :func:`remote_class`; calling that would ask the candidate for one."""
    made = object.__new__(kind_here)
    Remote.__init__(made, session, handle, kind)
    return made


@functools.lru_cache(maxsize=512)
def _methods(abilities: frozenset[str]) -> dict[str, Any]:
    """The methods that ask the candidate for these abilities."""
    methods: dict[str, Any] = {}
    for ability in abilities & UNARY.keys():
        methods[UNARY[ability][0]] = _ask(ability)
    for ability, kind in (("bool", bool), ("len", int), ("hash", int), ("index", int), ("str", str), ("repr", str)):
        if ability in abilities:
            methods[f"__{ability}__"] = _typed(ability, kind)
    if "round" in abilities:
        methods["__round__"] = lambda self, digits=None: self._session.ask("round", self._handle, [digits])
    if "iter" in abilities:
        methods["__iter__"] = _iter
    if "next" in abilities:
        methods |= {"__next__": _next, "__iter__": _itself}
    if "step" in abilities:  # of a class of the program's own, which is asked for an iterator, too
        methods |= {"__next__": _step}
        del methods["__iter__"]
        if "iter" in abilities:
            methods["__iter__"] = _iter
    if "call" in abilities:
        methods["__call__"] = _call
    if "item" in abilities:
        methods["__getitem__"] = _item
    if "ne" in abilities:
        methods["__ne__"] = _compares("ne")
    if abilities & {"lt", "gt", "le", "ge"}:
        methods |= {f"__{name}__": _compares(name) for name in ("lt", "le", "gt", "ge")}
    if "missing" in abilities:  # for a subclass of dict
        methods["__missing__"] = _item
    if "setitem" in abilities:
        methods["__setitem__"] = _set_item
    if "delitem" in abilities:
        methods["__delitem__"] = _delete_item
    if "enter" in abilities:
        methods |= {"__enter__": _enter, "__exit__": _exit}
    if "format" in abilities:
        methods["__format__"] = _format
    methods |= {f"__{name}__": _reflected(name) for name in abilities & REFLECTED}
    methods |= {f"__{name}__": _asynchronous for name in abilities & ASYNCHRONOUS}
    return methods | {f"__{name}__": _operates(name) for name in abilities & OPERATORS.keys()}


def generator(remote: Any) -> Generator[Any, Any, Any]:
    """A true generator, for a generator of the candidate."""
    session, handle = remote._session, remote._handle
    more, taken = _items(session, handle), 0
    try:
        item = next(more)
        while True:
            taken += 1
            remote._numbers["taken"] = taken
            try:
                sent = yield item
            except GeneratorExit:
                session.close_generator(handle)
                raise
            except BaseException as error:
                _note_ahead(session, taken)
                item = session.ask("throw", handle, [error])
                continue
            if sent is None:
                item = next(more)
            else:
                _note_ahead(session, taken)
                item = session.ask("send", handle, [sent])
    except StopIteration as stop:
        return stop.value


def is_ahead(remote: Any) -> bool:
    """Whether more items of a generator than the tests have taken may be here already."""
    return int(remote._numbers.get("taken", 0)) > SINGLE_ITEMS


def _note_ahead(session: CandidateSession, taken: int) -> None:
    if taken > SINGLE_ITEMS:
        session.notes.setdefault(f"send and throw after {SINGLE_ITEMS} items of a generator, which is ahead then")
