"""Does each wall really deny? A forked child behind all walls tries what is forbidden and reports what happened.

Run by the nursery at every start, before the first program. Every act is chosen so that it does no harm where it
succeeds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from _socket import AF_INET, AF_UNIX, SOCK_DGRAM, SOCK_STREAM, socketpair
from _thread import allocate_lock, stack_size, start_new_thread
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from . import kernel
from .interpreter import ENVIRONMENT
from .syscalls import ALLOWED, OTHERS
from .talking import REPLIES_FD, REQUESTS_FD
from .threads import threads_of
from .walls import MAX_DESCRIPTORS, WallError, Walls, cpu_limits
from .wire import FOREIGN_PROC, NO_THREADS

AT_FDCWD = -100
MISSING = b"/evalkit-probe/none"
PROBED_THREADS = 8  # the bound on threads that the probe sets for itself
CROWD_SECONDS = 2.0  # how long the probe waits for its threads to be counted


def _calls() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Acts that only seccomp refuses in every set-up: (what it would allow, the act). EPERM is the only good answer."""
    numbers = {**ALLOWED[kernel.MACHINE], **OTHERS[kernel.MACHINE]}
    me = os.getpid()

    def call(name: str, *arguments: int | bytes | None) -> Callable[[], int]:
        return lambda: kernel.syscall(numbers[name], *arguments)

    def fork() -> None:
        if kernel.syscall(numbers["clone"], 17, 0, 0, 0, 0) == 0:
            os._exit(0)

    yield "new processes (clone)", fork
    yield "new programs (execve)", call("execve", MISSING, None, None)
    yield "sockets (socket AF_INET)", call("socket", AF_INET, SOCK_STREAM, 0)
    yield "sockets (socket AF_UNIX)", call("socket", AF_UNIX, SOCK_DGRAM, 0)
    yield "sockets (socketpair of datagrams)", lambda: socketpair(AF_UNIX, SOCK_DGRAM)
    yield "sockets (sendto with an address)", call("sendto", -1, b"", 0, 0, b"\1\0", 2)
    yield "sockets (sendmsg)", call("sendmsg", -1, None, 0)
    yield "signals to others (kill)", call("kill", 0, 0)
    yield "signals to others (tgkill)", call("tgkill", me + 1, me + 1, 0)
    yield "signals to others (tkill)", call("tkill", me, 0)
    yield "signals to others (F_SETOWN)", lambda: fcntl.fcntl(0, 8, me)
    yield "signals to others (F_SETSIG)", lambda: fcntl.fcntl(0, 10, 0)
    yield "signals to others (pidfd_open)", call("pidfd_open", me, 0)
    yield "memory of others (ptrace)", call("ptrace", 2, 0, 0, 0)
    yield "memory of others (process_vm_readv)", call("process_vm_readv", me, None, 0, None, 0, 0)
    yield "memory of others (process_vm_writev)", call("process_vm_writev", me, None, 0, None, 0, 0)
    yield "shared memory (memfd_create)", call("memfd_create", b"probe", 0)
    yield "shared memory (shmget)", call("shmget", 0, 0, 0)
    yield "shared memory (msgget)", call("msgget", 1, 0)
    yield "io_uring", call("io_uring_setup", 0, None)
    yield "writing files (openat)", call("openat", AT_FDCWD, b"/dev/null", os.O_WRONLY, 0)
    yield "writing files (openat, create)", call("openat", AT_FDCWD, MISSING, os.O_CREAT, 0)
    yield "writing files (openat2)", call("openat2", AT_FDCWD, MISSING, b"\0" * 24, 24)
    yield "changing files (unlinkat)", call("unlinkat", AT_FDCWD, MISSING, 0)
    yield "changing files (mkdirat)", call("mkdirat", AT_FDCWD, MISSING, 0)
    yield "changing files (fchmodat)", call("fchmodat", AT_FDCWD, MISSING, 0)
    yield "changing files (renameat2)", call("renameat2", AT_FDCWD, MISSING, AT_FDCWD, MISSING, 0)
    yield "changing files (linkat)", call("linkat", AT_FDCWD, MISSING, AT_FDCWD, MISSING, 0)
    yield "changing files (truncate)", call("truncate", MISSING, 0)
    yield "process control (prctl)", call("prctl", 3, 0, 0, 0, 0)
    yield "process control (unshare)", call("unshare", 0)
    yield "process control (setpriority)", call("setpriority", 0, 0, 0)
    yield "process control (prlimit64 of others)", call("prlimit64", me, 7, None, None)
    if kernel.MACHINE == "x86_64":
        yield "the x32 interface", lambda: kernel.syscall(0x40000000 | 39)


def _denied(act: Callable[[], Any], expected: tuple[int, ...]) -> bool:
    try:
        act()
    except OSError as error:
        return error.errno in expected
    return False


def _leaks(walls: Walls) -> Iterator[str]:
    """Every forbidden act that was not refused by the wall that should have."""
    if walls.seccomp:
        for what, act in _calls():
            if not _denied(act, (errno.EPERM,)):
                yield what
    if walls.landlock or walls.sealed:
        expected = (errno.EPERM,) if walls.sealed else (errno.EACCES,)
        for path in (__file__, "/etc/passwd", "/proc/self/status", "/"):
            if os.path.exists(path) and not _denied(partial(os.open, path, os.O_RDONLY), expected):
                yield f"reading files ({path})"
    if not _denied(partial(kernel.map_memory, walls.memory_bytes), (errno.ENOMEM,)):
        yield "memory beyond the limit"
    for name, limit, most in (
        ("CPU time", resource.RLIMIT_CPU, cpu_limits(walls.timeout_seconds)[1]),
        ("file size", resource.RLIMIT_FSIZE, 0),
        ("core dumps", resource.RLIMIT_CORE, 0),
        ("descriptors", resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
    ):
        hard = resource.getrlimit(limit)[1]
        if hard == resource.RLIM_INFINITY or hard > most:
            yield f"no limit ({name})"
    for fd in range(REPLIES_FD + 1, MAX_DESCRIPTORS):
        if not _denied(partial(fcntl.fcntl, fd, fcntl.F_GETFD), (errno.EBADF,)):
            yield f"an inherited descriptor ({fd})"
    if dict(os.environ) != {**ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1"}:
        yield "environment variables"


def _start_threads(count: int, *, stay: bool = False) -> bool:
    """Whether so many threads can wait at once; ``stay``: until the requests end, for somebody to count them."""
    # As ``threading`` starts them, which is not loaded: it is slow to import, and the nursery's memory stays small.
    stack = stack_size(1 << 16)
    go, gone = allocate_lock(), allocate_lock()
    go.acquire()
    gone.acquire()
    left = started = 0

    def wait() -> None:
        nonlocal left
        with go:
            left += 1
            if left == started:
                gone.release()

    try:
        for _ in range(count):
            start_new_thread(wait, ())
            started += 1
        if stay:
            os.read(REQUESTS_FD, 1)
    except RuntimeError:
        return False
    finally:
        go.release()
        if started:
            gone.acquire()
        stack_size(stack)
    return True


def _faults(walls: Walls) -> Iterator[str]:
    """What honest programs need and this set-up refuses."""
    if walls.seccomp:
        if not _start_threads(2):
            yield f"{NO_THREADS}; raise the limit on processes (ulimit -u, the container's pids limit)"
        try:
            for end in socketpair():
                end.close()
        except OSError as error:
            yield f"asyncio's socket pair: {error}"
    try:
        import colorsys  # noqa: F401 - any module that nothing has imported yet
    except (ImportError, OSError) as error:
        yield f"importing the standard library: {error}"


def _is_foreign_proc() -> bool:
    """Whether the numbers in /proc are those of another PID namespace (``unshare --pid`` without a mount)."""
    try:
        return os.readlink("/proc/self") != str(os.getpid())
    except OSError:
        return os.path.exists("/proc/version")  # mounted, and this process is not in it


def _kernel_account(pid: int, walls: Walls) -> Iterator[str]:
    """What the kernel says of the child, which the child cannot forge: /proc/PID/status."""
    if _is_foreign_proc():
        yield FOREIGN_PROC
        return
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            lines = file.read().splitlines()
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    except OSError:
        return  # no /proc here: the acts must do
    if status.get("NoNewPrivs", "1") != "1":
        yield "new privileges"
    if walls.seccomp and status.get("Seccomp", "2") != "2":
        yield "no system call filter"
    if any(int(status.get(name, "0"), 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")):
        yield "capabilities"


def _load_own(walls: Walls) -> None:
    """Import what the acts need where no file can be opened once the walls stand, nor was all loaded before."""
    if walls.sealed and not walls.full:
        import colorsys  # noqa: F401


def _crowd(walls: Walls, pipes: tuple[int, int, int], nursery: int) -> None:
    """More threads than the bound, which stay until the nursery has looked; it is to refuse them, or to end this."""
    _load_own(walls)
    walls.raise_in_candidate(pipes, nursery)
    if not _start_threads(PROBED_THREADS + 4, stay=walls.threads.counts):
        os.write(REPLIES_FD, b'{"leaks": []}\n')
    else:
        os.write(REPLIES_FD, b'{"leaks": ["threads beyond the limit"]}\n')


def _child(walls: Walls, pipes: tuple[int, int, int], nursery: int) -> None:
    _load_own(walls)
    try:
        walls.raise_in_candidate(pipes, nursery)
    except WallError as refused:
        report: dict[str, Any] = {"refused": list(refused.args)}
    else:
        os.write(REPLIES_FD, b"up\n")
        os.read(REQUESTS_FD, 1)  # until the parent has read the kernel's account
        report = {"leaks": list(_leaks(walls)), "faults": list(_faults(walls))}
    os.write(REPLIES_FD, json.dumps(report).encode() + b"\n")


def _fork(walls: Walls, act: Callable[[Walls, tuple[int, int, int], int], None]) -> tuple[int, int, int]:
    """Run ``act`` in a child; return (its process, the descriptor of its requests, that of its replies)."""
    requests_r, requests_w = os.pipe()
    replies_r, replies_w = os.pipe()
    nursery = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(requests_w)
            os.close(replies_r)
            act(walls, (requests_r, replies_w, replies_w), nursery)
        except BaseException as error:
            print(f"the probe failed: {type(error).__name__}: {error}", file=sys.__stderr__, flush=True)
        finally:
            os._exit(0)
    os.close(requests_r)
    os.close(replies_w)
    return pid, requests_w, replies_r


def _line(walls: Walls, replies: int, pid: int) -> bytes:
    """Read a child's next line, answering meanwhile whether it may start threads; what there is, if it ends before."""
    line = b""
    while not line.endswith(b"\n"):
        walls.threads.wait_readable(replies, pid)
        some = os.read(replies, 1 << 16)
        if not some:
            break
        line += some
    return line


def _crowd_leaks(walls: Walls) -> list[str]:
    """Whether a child gets more threads than a bound that is small for this once."""
    threads = walls.threads
    usual = threads.limit, threads.starts_limit
    threads.limit = threads.starts_limit = PROBED_THREADS
    threads.begin()
    pid, requests, replies = _fork(walls, _crowd)
    try:
        deadline = time.monotonic() + CROWD_SECONDS

        def is_enough() -> bool:
            return threads.counts and (threads.is_crowded([pid]) or time.monotonic() > deadline)

        threads.wait_readable(replies, pid, is_enough)
        if threads.counts and threads.is_crowded([pid]):
            return []  # seen in time, and ended below
        if threads.counts and not select.select([replies], [], [], 0)[0]:
            # The child waits to be counted, and was not counted in time.
            try:
                threads_of(pid)
            except OSError:
                return ["threads beyond the limit, since /proc does not show their number"]
            return ["threads beyond the limit"]
        report = _line(walls, replies, pid)
        if not report:
            raise RuntimeError("the probe of the threads ended without a report")  # it was killed: no leak
        return list(json.loads(report)["leaks"])
    finally:
        threads.limit, threads.starts_limit = usual
        os.close(requests)
        os.close(replies)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def probe(walls: Walls, prepare: Callable[[], None]) -> tuple[list[str], list[str]]:
    """Try the walls and return (leaks, faults): forbidden acts that were not refused, needed ones that were.

    A wall that the kernel refuses to raise is taken off (``walls.missing`` says why) and the rest is tried again;
    ``prepare`` is called before each try.

    Raises:
        RuntimeError: the child died without a report.
    """
    while True:
        prepare()
        walls.threads.begin()
        pid, requests, replies = _fork(walls, _child)
        first = _line(walls, replies, pid)
        account = list(_kernel_account(pid, walls)) if first == b"up\n" else []
        os.close(requests)
        last = _line(walls, replies, pid) if first == b"up\n" else first
        os.close(replies)
        _, status = os.waitpid(pid, 0)
        try:
            report = json.loads(last)
        except ValueError:
            raise RuntimeError(f"the probe of the walls ended without a report (status {status})") from None
        if "refused" not in report:
            if FOREIGN_PROC in account:
                return account, report["faults"]
            return account + report["leaks"] + _crowd_leaks(walls), report["faults"]
        walls.lose(*report["refused"])
