"""What this process opens, writes and starts, for a while: Python's audit hook says so, and stays, so it is set when
asked for.

Source: https://docs.python.org/3/library/audit_events.html. What C libraries open themselves (pyarrow), and what
another process does, is not seen.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# Audit events of processes that are started, and the place of the program's name among their arguments.
_STARTS = {"subprocess.Popen": 0, "os.system": 0, "os.posix_spawn": 0, "os.spawn": 1, "os.fork": -1, "os.forkpty": -1}


@dataclass
class Opened:
    """Paths are absolute, links in them not followed.

    Attributes:
        read: files that were opened to be read.
        written: files that were opened to be written only, or that another was renamed to.
        started: programs of processes that were started; "Python" of a fork.
    """

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)


_opened: Opened | None = None
_has_hook = False


def _note(event: str, args: tuple[Any, ...]) -> None:
    if _opened is None:
        return
    if event in ("open", "sqlite3.connect"):
        path, mode, flags = (*args, None, None)[:3]
        if isinstance(path, str) and event != "open" and path.startswith("file:"):
            path = path.removeprefix("file:").partition("?")[0]
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        writes = mode[:1] in ("w", "a", "x") if isinstance(mode, str) and mode else bool((flags or 0) & os.O_WRONLY)
        (_opened.written if writes else _opened.read).add(_absolute(path))
    elif event == "os.rename":
        _opened.written.add(_absolute(args[1]))
    elif event in _STARTS:
        program = args[_STARTS[event]] if _STARTS[event] >= 0 else "Python"
        _opened.started.add(_program(os.fsdecode(program)))


def _absolute(path: str | bytes | os.PathLike[Any]) -> str:
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # follows no links and raises nothing


def _program(command: str) -> str:
    """Return the name of the program of a command, as far as it can be told."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return os.path.basename(words[0]) if words else command  # noqa: PTH119


@contextmanager
def collecting() -> Iterator[Opened]:
    """Give what is opened meanwhile, as it comes; not that of an inner one."""
    global _opened, _has_hook
    if not _has_hook:
        sys.addaudithook(_note)
        _has_hook = True
    outer, _opened = _opened, Opened()
    try:
        yield _opened
    finally:
        _opened = outer


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect nothing of what is opened meanwhile: evalkit reads it for itself."""
    global _opened
    outer, _opened = _opened, None
    try:
        yield
    finally:
        _opened = outer
