"""What tests have of a program by name: the entry, and the global names that they do not define."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from . import remote

if TYPE_CHECKING:
    from .calls import CandidateSession


class Proxy:
    """What the tests call: each call goes to the candidate's entry, and its value or exception comes back."""

    def __init__(self, session: CandidateSession, name: str) -> None:
        self._session = session
        self.__name__ = name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._session.call(0, args, kwargs)

    def __copy__(self) -> Any:
        return self._session.ask("copy", 0, [])

    def __deepcopy__(self, memo: dict[Any, Any]) -> Any:
        return self._session.deep_copy(0, memo)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        del protocol
        remote.cannot_pickle(self)

    def __getattr__(self, name: str) -> Any:
        if name in ("__bases__", "__mro__"):  # the first is what issubclass looks for
            self._session.end_uncrossed("the entry as a class: its bases")
        if name.startswith("__") and name not in ("__qualname__", "__annotations__", "__wrapped__"):
            remote.note_hidden(self._session, "the entry", name)
            raise AttributeError(name)
        return remote.attribute(self._session, 0, self.__name__, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("_session", "__name__"):
            object.__setattr__(self, name, value)
        else:
            self._session.ask("setattr", 0, [name, value])

    def __instancecheck__(self, value: object) -> bool:
        self._session.end_uncrossed("the entry as a class: isinstance")

    def __subclasscheck__(self, value: object) -> bool:
        self._session.end_uncrossed("the entry as a class: issubclass")


Proxy.__doc__ = property(lambda self: self._session.ask("attr", 0, ["__doc__"]))  # type: ignore[assignment]


class Namespace(dict[str, Any]):
    """The tests' global names; one that neither prompt nor tests define is the program's own, as in one process."""

    def __init__(self, session: CandidateSession, hidden: set[str]) -> None:
        super().__init__()
        self._session = session
        self._hidden = hidden

    def __missing__(self, name: str) -> Any:
        if name.startswith("__") or hasattr(builtins, name) or name in self._hidden or self._session.ending is not None:
            raise KeyError(name)
        found = self._session.ask("global", 0, [name])
        if found is None:
            raise KeyError(name)
        return found[0]

    def ask_for(self, name: str) -> None:
        """Take a name of the prompt's from the tests: it is the program's."""
        self.pop(name, None)
        self._hidden.discard(name)


class CallNamespace(Namespace):
    """The names of the text that calls ``check``: what the tests have bound, then the program's."""

    def __init__(self, session: CandidateSession, tests: dict[str, Any], bound: Callable[[str], bool]) -> None:
        super().__init__(session, set())
        self._tests = tests
        self._bound = bound
        self["__builtins__"] = builtins

    def __missing__(self, name: str) -> Any:
        return self._tests[name] if self._bound(name) else super().__missing__(name)
