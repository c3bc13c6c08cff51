"""A process that nurseries, or testers, are forked from: their modules are imported once, not once a worker.

Started by ``servers.py``, one for each of the two kinds, so that nurseries and testers have neither a layout of memory
nor any module's state in common. It has seen no test and no program, and runs none: it answers each request (settings
as JSON, and descriptors) with a process that goes on in the ``main`` of its kind, where all walls are raised and proved
as in one that was started afresh. Such a process is the evaluation's child (clone(2), CLONE_PARENT), which waits for
it, and with whose thread it dies.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import sys

from . import kernel
from .packages import library_search
from .sockets import MSG_WAITALL, Socket, receive_fds
from .wire import ANSWER, frame_length

MAX_FDS = 4
_HIGH_FD = 16  # above all that are in use


def main() -> None:
    """Entry point; the arguments are the kind, "nursery" or "tester", the process that asks, the packages' folders."""
    kind, parent, *folders = sys.argv[1:]
    kernel.start_afresh()
    kernel.die_with_parent()
    if os.getppid() != int(parent):
        return
    kernel.set_name(b"evalkit-forks")
    kernel.be_killed_first()
    search = library_search(tuple(folders)) if kind == "nursery" else None
    module = importlib.import_module(f".{kind}", __package__)
    module.load()
    if search is not None:
        search.found()
    sys.dont_write_bytecode = True  # not before: else each start compiles these modules
    control = Socket(fileno=os.dup(0))
    gc.freeze()
    while True:
        header, fds = receive_fds(control, 4, MAX_FDS)
        if not header:
            return
        text = control.recv(frame_length(header), MSG_WAITALL)
        try:
            answer = pid = kernel.fork_beside()
        except OSError as error:
            answer, pid = -(error.errno or 1), -1
        if pid == 0:
            try:
                control.close()
                _begin(fds)
                sys.argv = ["-c", str(text, "ascii")]
                module.main()
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.__stderr__, flush=True)
            finally:
                os._exit(0)
        for fd in fds:
            os.close(fd)
        control.sendall(ANSWER.pack(answer))


def _begin(fds: list[int]) -> None:
    """In a new process: a session of its own, no other descriptors than ``fds``, from 0 on, and streams to them."""
    os.setsid()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, _HIGH_FD) for fd in fds]
    for place, fd in enumerate(high):
        os.dup2(fd, place)
    os.closerange(len(fds), 256)
    # The server's own found out what kind of file was there, and where in it they were.
    sys.stdin = sys.__stdin__ = os.fdopen(0, "r", closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", closefd=False, errors="backslashreplace")  # type: ignore[misc]
