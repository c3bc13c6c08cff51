"""The evaluating process's side of ``forkserver.py``: helpers that are forked where their modules are loaded."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

from evalkit.sandbox.processes import is_stopped
from evalkit.sandbox.sockets import Socket, send_fds, socketpair
from evalkit.sandbox.wire import ANSWER

KINDS = ("nursery", "tester")
ANSWER_SECONDS = 60.0  # a server that says nothing for so long is not coming
LOOK_SECONDS = 0.5  # so often a process that is waited for is looked at: one that was stopped is not coming either


class Forked:
    """A child of this process that a server made; used as a ``subprocess.Popen`` is. Mutable: how it ended."""

    def __init__(self, pid: int, stdin: IO[bytes] | None, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.returncode: int | None = None
        self._reaping = threading.Lock()

    def poll(self) -> int | None:
        """How it ended, as ``subprocess`` says it: minus a signal, or the exit code; None while it runs."""
        with self._reaping:
            if self.returncode is None:
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:  # somebody else waited for it
                    pid, status = self.pid, 0
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; ``subprocess.TimeoutExpired`` if that takes longer than ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is None:
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # reaped by poll(), which kill() excludes
            elif time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("helper", timeout or 0.0)
            else:
                time.sleep(0.001)
        return code

    def kill(self) -> None:
        """Kill it, unless it has ended and its number may be another's."""
        with self._reaping:
            if self.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)


class ForkServers:
    """Makes nurseries and testers, each kind from a server of its own. Both are started when one is first asked.

    A server that does not start, or is lost, is not started again: there is another way to start a process. Both die
    with the thread that asked first, and so do the processes that they made. Mutable: the servers.

    Args:
        spawn: starts a server: the module's name, its arguments and its end of the socket.
        folders: of the packages that programs may import.
    """

    def __init__(
        self, spawn: Callable[[str, list[str], Socket], subprocess.Popen[bytes]], folders: Sequence[str]
    ) -> None:
        self._spawn = spawn
        self._folders = folders
        self._lock = threading.Lock()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._controls: dict[str, Socket | None] = {}

    def start(self, kind: str, settings: str, stdin: Socket | None, link: Socket | None) -> Forked | None:
        """A process of this kind; None where there is no server for it.

        Args:
            settings: its first argument.
            stdin: its descriptor 0; None: a pipe.
            link: its descriptor 3, if any.

        Raises:
            OSError: no descriptors.
        """
        pipes: list[tuple[int, int]] = []
        try:
            pipes.extend(os.pipe() for _ in range(2 if stdin is not None else 3))
            (out, out_far), (err, err_far) = pipes[:2]
            fds = [pipes[2][0] if stdin is None else stdin.fileno(), out_far, err_far]
            pid = self._asked(kind, settings, fds if link is None else [*fds, link.fileno()])
        except BaseException:
            for fd in (end for pipe in pipes for end in pipe):
                os.close(fd)
            raise
        for fd in (out_far, err_far, *([pipes[2][0]] if stdin is None else [])):
            os.close(fd)
        if pid is None:
            for fd in (out, err, *([pipes[2][1]] if stdin is None else [])):
                os.close(fd)
            return None
        writer = os.fdopen(pipes[2][1], "wb", buffering=0) if stdin is None else None
        return Forked(pid, writer, os.fdopen(out, "rb", buffering=0), os.fdopen(err, "rb", buffering=0))

    def _asked(self, kind: str, settings: str, fds: list[int]) -> int | None:
        with self._lock:
            if not self._controls:
                self._controls = dict.fromkeys(KINDS)
                for name in KINDS:  # both at once: each takes a while to load its modules
                    self._controls[name] = self._started(name)
            control = self._controls[kind]
            if control is None:
                return None
            text = settings.encode("ascii")
            try:
                send_fds(control, len(text).to_bytes(4, "big"), fds)
                control.sendall(text)
                answer = _answer(control, self._processes[kind].pid)
            except OSError:
                self._processes[kind].kill()  # one that was stopped does not see its end
                control.close()
                self._controls[kind] = None
                return None
            if answer < 0:  # no memory, or no process ids: the servers leave theirs to the workers
                self.close()
                self._controls = dict.fromkeys(KINDS)
        return answer if answer > 0 else None

    def _started(self, kind: str) -> Socket | None:
        near, far = socketpair()
        with contextlib.closing(far):
            try:
                self._processes[kind] = self._spawn("forkserver", [kind, str(os.getpid()), *self._folders], far)
            except OSError:
                near.close()
                return None
        return near

    def kill(self) -> None:
        """Kill the servers, from any thread; no process that they made."""
        for process in list(self._processes.values()):
            process.kill()

    def close(self) -> None:
        """End the servers and wait until they are gone."""
        self.kill()
        for process in self._processes.values():
            process.wait()
        for control in self._controls.values():
            if control is not None:
                control.close()
        self._processes, self._controls = {}, {}


def _answer(control: Socket, server: int) -> int:
    """A process id, or an error with a minus.

    Raises:
        OSError: the server has ended, says nothing, or was stopped.
    """
    poller = select.poll()
    poller.register(control, select.POLLIN)
    data, deadline = b"", time.monotonic() + ANSWER_SECONDS
    while len(data) < ANSWER.size:
        left = deadline - time.monotonic()
        if not poller.poll(max(0, int(1000 * min(left, LOOK_SECONDS)))):
            if left <= 0 or is_stopped(server):
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            continue
        part = control.recv(ANSWER.size - len(data))
        if not part:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        data += part
    return int(ANSWER.unpack(data)[0])
