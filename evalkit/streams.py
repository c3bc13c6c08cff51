"""stdout and stderr of one thread, put elsewhere for a while.

`contextlib.redirect_stdout` exchanges the process's stream: two runs in two threads of a notebook leave each other's
behind when the one that began first ends first, and nothing that the notebook prints is seen any more. Here the
process's stream is exchanged once, for one that asks which thread writes, and put back when the last thread is done.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TextIO

Name = Literal["stdout", "stderr"]

_lock = threading.Lock()
_switches: dict[str, _Switch] = {}


class _Switch:
    """What stands for a stream of `sys`: each thread's own target where it has one, else the stream that was there.

    Mutable: `targets` is changed under the module's lock.
    """

    def __init__(self, found: TextIO) -> None:
        self.found = found
        self.targets: dict[int, list[TextIO]] = {}

    @property
    def target(self) -> TextIO:
        own = self.targets.get(threading.get_ident())
        return own[-1] if own else self.found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


def stream_target(name: Name) -> TextIO:
    """Return where a stream of `sys` leads in this thread, now."""
    stream = getattr(sys, name)
    found: TextIO = stream.target if isinstance(stream, _Switch) else stream
    return found


@contextmanager
def redirected(name: Name, target: TextIO) -> Iterator[None]:
    """Send what this thread writes to a stream of `sys` elsewhere; what other threads write stays where it goes."""
    me = threading.get_ident()
    with _lock:
        switch = _switches.get(name)
        if switch is None or getattr(sys, name) is not switch:  # somebody else may have exchanged it since
            switch = _switches[name] = _Switch(getattr(sys, name))
            setattr(sys, name, switch)
        switch.targets.setdefault(me, []).append(target)
    try:
        yield
    finally:
        with _lock:
            switch.targets[me].pop()
            if not switch.targets[me]:
                del switch.targets[me]
            if not switch.targets:
                if getattr(sys, name) is switch:
                    setattr(sys, name, switch.found)
                if _switches.get(name) is switch:
                    del _switches[name]
