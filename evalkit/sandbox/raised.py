"""Exceptions that cross: what a candidate raised, told as plain data, and raised again in the tests.

Classes of the prompt, of Python and of the standard library's modules that the tests have imported are those very
classes; nothing is imported for it, and no constructor but Python's own is run. A class of the program's own becomes a
class of its name below the nearest of these, with the same attributes and text.
"""

from __future__ import annotations

import builtins
import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .stock import built

MAX_MESSAGE_CHARACTERS = 100_000
MAX_PARTS = 1000  # arguments, notes
MAX_CAUSES = 3
_FIELDS = (
    "filename",
    "filename2",
    "name",
    "path",
    "code",
    "value",
    "obj",
)  # that Python's own classes keep beside ``args``
# What UnicodeError keeps beside ``args`` has been checked by its constructor; its text trusts in that.
_OF_THE_CONSTRUCTOR = frozenset(("encoding", "object", "start", "end", "reason"))
OWN: dict[int, tuple[BaseException, int]] = {}
"""In a candidate: exceptions that a function of the tests raised in it, with their number there, by id."""
_PACKAGES = sys.stdlib_module_names | {"numpy"}


def kinds_of(kind: type) -> list[list[str]]:
    """A class and its bases, up to BaseException: [module, name] each; without module those of the program's own."""
    pairs = []
    for base in kind.__mro__:
        if base is object:
            break
        module = base.__dict__.get("__module__", "builtins")
        if module == "builtins" and vars(builtins).get(base.__name__) is not base:
            module = ""  # a program has no __name__, so its classes say builtins
        pairs.append([module if isinstance(module, str) else "", str.__str__(base.__name__)])
    return pairs


def describe(
    error: BaseException, encode: Callable[[Any], Any], program_name: str, causes: int = MAX_CAUSES
) -> dict[str, Any]:
    """An exception as plain data: its classes, text, arguments, attributes, the last line of the program it passed."""
    line = None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == program_name:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    if isinstance(error, MemoryError):
        error.__traceback__ = None  # frees what the failing frames hold: the reply needs a little memory too
        kinds = [["builtins", "MemoryError"], ["builtins", "Exception"]]
        return {"kinds": kinds, "message": "", "args": [], "state": [], "line": line}
    try:
        message = str.__str__(str(error))[:MAX_MESSAGE_CHARACTERS]
    except BaseException:
        message = "(the exception cannot be shown)"
    try:
        arguments = [encode(argument) for argument in error.args[:MAX_PARTS]]
    except BaseException:
        arguments = [message]
    state = []
    try:
        fields = {name: getattr(error, name, None) for name in _FIELDS}
        fields = {name: value for name, value in fields.items() if value is not None} | vars(error)
    except BaseException:
        fields = {}
    for name, value in list(fields.items())[:20]:
        if isinstance(name, str) and not name.startswith("__"):
            with contextlib.suppress(BaseException):
                state.append([str.__str__(name), encode(value)])
    told: dict[str, Any] = {
        "kinds": kinds_of(type(error))[:30],
        "message": message,
        "args": arguments,
        "state": state,
        "line": line,
    }
    if isinstance(notes := getattr(error, "__notes__", None), list):
        told["notes"] = [
            str.__str__(note)[:MAX_MESSAGE_CHARACTERS] for note in notes[:MAX_PARTS] if isinstance(note, str)
        ]
    if error.__suppress_context__:
        told["alone"] = True
    if id(error) in OWN:
        told["own"] = OWN[id(error)][1]
    if causes:
        for name in ("__cause__", "__context__"):
            other = getattr(error, name, None)
            if isinstance(other, BaseException):
                told[name] = describe(other, encode, program_name, causes - 1)
    return told


class Raiser:
    """Makes exceptions again, in the tests. Mutable: the classes made for the program's own."""

    def __init__(self, own: Mapping[str, Any]) -> None:
        self.own = own
        """The prompt's classes by name."""
        self._made: dict[tuple[tuple[str, str], ...], type[BaseException]] = {}

    def class_of(self, kinds: Any) -> type[BaseException]:
        """The class that ``kinds_of`` told.

        Raises:
            ValueError, TypeError: it told none.
        """
        if type(kinds) is not list or not 1 <= len(kinds) <= 40:
            raise TypeError("no classes")
        pairs = []
        for module, name in kinds:
            if type(module) is not str or type(name) is not str:
                raise TypeError("no class")
            pairs.append((module, name[:100]))
        return self._class(tuple(pairs))

    def _class(self, pairs: tuple[tuple[str, str], ...]) -> type[BaseException]:
        if not pairs:
            return BaseException
        known = self._known(*pairs[0])
        if known is not None:
            return known
        if pairs not in self._made:
            bases = [self._class(pairs[1:])]
            for further in map(self._known, *zip(*pairs[1:], strict=True)) if pairs[1:] else ():
                if further is not None and not any(issubclass(base, further) for base in bases):
                    bases.append(further)
            body = {"__str__": _text, "__module__": "builtins"}
            try:
                made = type(pairs[0][1], tuple(bases), body)
            except TypeError:  # bases that do not go together, which the program made up
                made = type(pairs[0][1], (bases[0],), body)
            self._made[pairs] = made
        return self._made[pairs]

    def _known(self, module: str, name: str) -> type[BaseException] | None:
        kind: Any
        if module == "builtins":
            kind = vars(builtins).get(name)
        elif not module:
            kind = self.own.get(name)
        elif module.partition(".")[0] in _PACKAGES and module in sys.modules:
            kind = vars(sys.modules[module]).get(name)
        else:
            return None
        return kind if isinstance(kind, type) and issubclass(kind, BaseException) else None

    def make(self, told: Any, decode: Callable[[Any], Any], causes: int = MAX_CAUSES) -> BaseException:
        """The exception that ``describe`` told.

        Raises:
            Exception: it is no such description.
        """
        kind, message, line = self.class_of(told["kinds"]), told["message"], told["line"]
        if type(message) is not str or type(line) not in (int, type(None)):
            raise TypeError("no message or line")
        message = message[:MAX_MESSAGE_CHARACTERS]
        arguments = [decode(argument) for argument in told["args"]]
        error = _instance(kind, arguments, message)
        for name, encoded in told["state"]:
            if type(name) is not str or name.startswith("__") or callable(getattr(kind, name, None)):
                raise TypeError("an attribute in the place of a method")
            if issubclass(kind, UnicodeError) and name in _OF_THE_CONSTRUCTOR:
                continue
            with contextlib.suppress(AttributeError, TypeError, ValueError):
                setattr(error, name, decode(encoded))
        if kind in self._made.values():
            error._evalkit_text = message  # type: ignore[attr-defined]
        for name in ("__cause__", "__context__") if causes else ():
            if name in told:
                setattr(error, name, self.make(told[name], decode, causes - 1))
        error.__suppress_context__ = told.get("alone") is True
        if notes := told.get("notes"):
            error.__notes__ = [str(note)[:MAX_MESSAGE_CHARACTERS] for note in notes[:MAX_PARTS]]  # type: ignore[attr-defined]
        error.from_candidate = (told["kinds"][0][1], message, line)  # type: ignore[attr-defined]
        return error


def _text(self: BaseException) -> str:
    """``__str__`` of the classes made for a program's own."""
    text = self.__dict__.get("_evalkit_text")
    return text if type(text) is str else BaseException.__str__(self)


def _instance(kind: type[BaseException], arguments: list[Any], message: str) -> BaseException:
    """An exception without running a constructor that is written in Python."""
    try:
        if kind.__module__ == "builtins" and vars(builtins).get(kind.__name__) is kind:
            made: BaseException = built(kind, arguments)
            return made
        error = kind.__new__(kind, *arguments)
        error.args = tuple(arguments)
        codes: tuple[Any, ...] = (UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError)
        for code in codes:
            if isinstance(error, code):  # keeps its arguments as start, end and so on, too
                built(code, arguments)  # checks them
                code.__init__(error, *arguments)
    except Exception:  # arguments that do not suit it; its text will do
        for base in kind.__mro__:
            with contextlib.suppress(TypeError):  # an exception group without exceptions is none
                error = BaseException.__new__(base)
                break
        error.args = (message,)
    return error
