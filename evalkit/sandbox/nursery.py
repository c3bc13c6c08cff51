"""The process that candidates are forked from: a fresh ``python -I -S`` that has never seen a test, a model or torch.

It is started by ``worker.py``, talks to the tester over one socket (descriptor 0), and says once, on its standard
output, which walls stand. For each program it gets three pipe ends, forks, raises the walls in the child, watches its
CPU time, and on the tester's word kills it and everything it may have left, and reports how it ended.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import math
import os
import select
import signal
import sys
import time
from collections.abc import Collection
from typing import Any

from . import kernel
from .candidate import serve
from .interpreter import ENVIRONMENT, prepare_builtins, prepare_sealed, prepare_streams
from .lacking import stop_at_imports
from .packages import allow_packages, library_search, preload_everything, standard_library
from .probe import probe
from .processes import is_dying, is_stopped, process_cpu_seconds
from .semaphores import prepare_semaphores
from .sockets import MSG_WAITALL, Socket, receive_fds
from .talking import send
from .threads import COUNTING_MILLISECONDS
from .walls import WallError, Walls, raise_cpu_limit, thread_stack_bytes
from .warming import warm_up
from .wire import DONE, END, KILL, MORE, OUTCOME, RUN, SECONDS

EXIT_GRACE_SECONDS = 0.1
DYING_SECONDS = (
    10.0  # that a process which is ending anyway may take: the kernel frees a gigabyte of shared memory first
)
LOOK_MILLISECONDS = 100  # how often a program's threads are asked how long they waited: of ended ones nothing is told
WORKPLACE = os.path.join(os.path.dirname(__file__), "workplace")

# Isolation "off" keeps the limits that a verdict depends on (CPU time, memory) and nothing else.
KEPT_OUT_WHEN_OFF = frozenset(("caps", "nnp", "dumpable")).union(
    f"limit:{name}" for name in ("nproc", "fsize", "nofile", "stack", "memlock", "msgqueue")
)

# Modules that HumanEval solutions commonly import: loaded once here, not once a program. Not among them, nor behind
# any import of the helpers: threading and random, which run code in every forked child and so double what a fork costs.
PRELOADED = (
    *("typing", "collections", "collections.abc", "re", "math", "string", "itertools", "functools", "heapq", "bisect"),
    *("copy", "operator", "contextlib", "time", "datetime"),
)
# The same where no file can be opened later; elsewhere the few that need it do not make every fork dearer.
PRELOADED_SEALED = ("hashlib", "pathlib", "socket")


class Waiting:
    """Seconds that a process was ready to run and got no CPU (schedstat in /proc). Mutable: what was told last.

    That is told of each thread, as long as it is there; so it is looked at from time to time, and of each time the
    thread that waited most counts: the others may have waited for it. What the others computed meanwhile is no lack of
    a CPU: they took it.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._told: dict[str, tuple[float, float]] = {}
        self._used = 0.0
        self._seconds = 0.0

    def seconds(self) -> float:
        """Those up to now; -1 where that is not told."""
        told = {}
        try:
            used = process_cpu_seconds(self._pid)
            for thread in os.listdir(f"/proc/{self._pid}/task"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                    fd = os.open(f"/proc/{self._pid}/task/{thread}/schedstat", os.O_RDONLY)
                    try:
                        ran, waited = (int(word) / 1e9 for word in os.read(fd, 100).split()[:2])
                    finally:
                        os.close(fd)
                    told[thread] = ran, waited
        except (OSError, ValueError):
            return -1.0
        if not told:
            return -1.0
        most = 0.0
        for thread, (ran, waited) in told.items():
            ran_before, waited_before = self._told.get(thread, (0.0, 0.0))
            others = max(0.0, used - self._used - (ran - ran_before))
            most = max(most, waited - waited_before - others)
        self._told, self._used = told, used
        self._seconds += most
        return self._seconds


def _start(walls: Walls, pipes: list[int], packages: Collection[str]) -> int:
    nursery = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        walls.raise_in_candidate(pipes, nursery)
        if walls.sealed and not walls.full:
            stop_at_imports(packages, lambda name: send({"lacking": name}))
        serve()
    except EOFError:
        pass  # the tests have ended
    except (WallError, OSError) as error:
        with contextlib.suppress(OSError):
            send({"fault": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)


def _poller(control: Socket, walls: Walls) -> Any:
    """What :func:`_watch` waits for: the tester's word, and questions for more threads."""
    poller = select.poll()
    poller.register(control, select.POLLIN)
    if walls.threads.listener >= 0:
        poller.register(walls.threads.listener, select.POLLIN)
    return poller


def _watch(control: Socket, pid: int, walls: Walls, poller: Any, waiting: Waiting) -> tuple[bytes, bool, bool]:
    """Wait for the tester's word while holding the program to its CPU time and threads.

    Returns (the word, whether it was killed for its time, whether for its threads).
    """
    cores = len(os.sched_getaffinity(0))
    limit = walls.timeout_seconds if "watch" not in walls.without else math.inf
    threads = walls.threads
    threads.begin()
    over = crowded = False
    while True:
        milliseconds = None
        if not over:
            try:
                left = limit - process_cpu_seconds(pid)
            except OSError:
                left = math.inf  # it has ended
            if left <= 0:
                os.kill(pid, signal.SIGKILL)
                over = True
            elif left < math.inf:
                milliseconds = min(max(5, math.ceil(1000 * left / cores)), LOOK_MILLISECONDS)
        if threads.counts and not over and not crowded:
            milliseconds = min(milliseconds or COUNTING_MILLISECONDS, COUNTING_MILLISECONDS)
        ready = dict(poller.poll(milliseconds))
        if not ready:
            waiting.seconds()
        if threads.listener in ready:
            threads.answer(pid)
        if control.fileno() in ready:
            if (word := control.recv(1)) != MORE:
                return word, over, crowded
            (more,) = SECONDS.unpack(control.recv(SECONDS.size, MSG_WAITALL))
            if "watch" not in walls.without:
                limit = walls.timeout_seconds + more
            raise_cpu_limit(pid, walls.timeout_seconds + more)
        if not ready and threads.counts and not over and not crowded and threads.is_crowded(_family(pid, walls)):
            crowded = True
            os.kill(pid, signal.SIGKILL)
            kill_family(walls, spare=pid)


def _end(pid: int, word: bytes) -> tuple[int, bool, float, int]:
    """Reap, after a kill if need be; return (wait status, whether it was killed here, CPU seconds, KiB resident).

    Closing its pipe, at which the tester says END, is also how exiting begins, so let it finish that first: a process
    that others killed is told from one that only closed its pipe.
    """
    if word == DONE:  # how it ended is nobody's question
        os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        return status, True, usage.ru_utime + usage.ru_stime, usage.ru_maxrss
    begun = time.monotonic()
    killed = False
    while True:
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        passed = time.monotonic() - begun
        if not reaped and (
            word != END or passed >= DYING_SECONDS or (passed >= EXIT_GRACE_SECONDS and not is_dying(pid))
        ):
            os.kill(pid, signal.SIGKILL)
            killed = True
            reaped, status, usage = os.wait4(pid, 0)
        if reaped:
            return status, killed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss
        time.sleep(0.001)


def purge(walls: Walls) -> None:
    """Kill whatever the program left behind. Where seccomp stands there can be nothing, and one call confirms it."""
    if "purge" in walls.without:
        return
    if walls.namespaces:
        if not walls.seccomp:
            os.kill(walls.init_pid, signal.SIGKILL)  # the kernel kills the whole namespace with its first process
        return
    for _ in range(200):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return  # no descendant: orphans would have become children of this subreaper
        kill_family(walls)
        time.sleep(0.002)


def kill_family(walls: Walls, spare: int = 0) -> None:
    """Kill all processes that come from here, but the namespace's first and ``spare``. Reaps none."""
    family = [pid for pid in _descendants(os.getpid()) if pid not in (walls.init_pid, spare)]
    for how in (signal.SIGSTOP, signal.SIGKILL):  # a stopped process cannot fork while the others are killed
        for pid in family:
            with contextlib.suppress(OSError):
                os.kill(pid, how)


def _family(pid: int, walls: Walls) -> list[int]:
    """The program's process and, where nothing refuses it more of them, all that come from it."""
    if walls.seccomp:
        return [pid]
    return [member for member in _descendants(os.getpid()) if member != walls.init_pid]


def _descendants(root: int) -> list[int]:
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    family, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sorted(family - {root})


def loop(control: Socket, walls: Walls, packages: Collection[str], *, off: bool) -> None:
    """Fork, watch, end, one program after the other, until the tester is gone."""
    poller = _poller(control, walls)
    while True:
        word, pipes = receive_fds(control, 1, 3)
        if word != RUN:
            return
        try:
            pid = _start(walls, pipes, packages)
        except OSError as error:
            send({"fault": f"fork: {error}"}, pipes[1])
            pid = 0
        for fd in pipes:
            os.close(fd)
        if not pid:
            if not control.recv(1):
                return
            control.sendall(OUTCOME.pack(0, False, False, False, False, False, 0.0, -1.0, 0))
            continue
        waiting = Waiting(pid)
        word, over, crowded = _watch(control, pid, walls, poller, waiting)
        waited = waiting.seconds() if word == KILL else -1.0
        stopped = word == KILL and walls.seccomp and is_stopped(pid)  # else it may have done it
        status, killed, seconds, resident = _end(pid, word)
        purge(walls)
        if not word:
            return
        lacked = walls.threads.kernel_may_have_refused
        control.sendall(OUTCOME.pack(status, over, killed, crowded, stopped, lacked, seconds, waited, resident))
        if not walls.seccomp and not off:
            return  # whatever the program did to this set-up ends with it: the next one gets a fresh nursery


def preload(walls: Walls, packages: Collection[str]) -> None:
    """Load what sealed programs cannot load themselves."""
    if walls.sealed:
        prepare_sealed()
    if walls.sealed and walls.full:
        preload_everything(packages)
    elif walls.sealed:
        for name in PRELOADED_SEALED:
            importlib.import_module(name)


@functools.cache
def load() -> None:
    """Do what every nursery begins with, whatever its settings: import, and get used to programs. A fork server does it
    once for all."""
    for name in PRELOADED:
        importlib.import_module(name)
    compile("0", "", "exec")  # makes the types of the syntax tree, which every program would make anew: 1 ms
    warm_up()


def main() -> None:
    """Entry point; the settings are the first argument, as JSON."""
    settings = json.loads(sys.argv[1])
    sys.argv = [""]
    kernel.start_afresh()
    kernel.die_with_parent()
    if os.getppid() != settings["parent"]:
        return
    kernel.set_name(b"evalkit-nursery")
    if "environment" not in settings["without"]:
        os.environ.clear()
        os.environ.update(ENVIRONMENT)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    sys.dont_write_bytecode = True
    off = settings["isolation"] == "off"
    without = frozenset(settings["without"]) | (KEPT_OUT_WHEN_OFF if off else frozenset())
    walls = Walls(settings["timeout_seconds"], settings["memory_bytes"], without)
    walls.full = settings["full"]
    if not off:
        walls.enter_namespaces()
    load()
    prepare_builtins()
    prepare_semaphores()
    packages = allow_packages(settings["packages"])
    if off:
        walls.seccomp = False
    else:
        libraries = settings["libraries"]
        if libraries is None:
            libraries = library_search(tuple(settings["packages"].values())).found()
        settings["libraries"] = libraries
        os.chdir(WORKPLACE)
        walls.find_kernel_walls([*standard_library(), *packages, *libraries, WORKPLACE])
    control = Socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)  # written to as well: it is what programs get for os.devnull
    os.dup2(null, 0)
    os.close(null)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout.reconfigure(write_through=True, errors="backslashreplace")  # type: ignore[union-attr]
    sys.stderr.reconfigure(write_through=True, errors="backslashreplace")  # type: ignore[union-attr]
    leaks: list[str] = []
    faults: list[str] = []
    kernel.be_killed_first()
    walls.raise_in_nursery()
    kernel.use_few_heaps()
    kernel.set_thread_stacks(thread_stack_bytes(settings["memory_bytes"]))
    if walls.seccomp:
        walls.threads.install()
    else:
        walls.threads.only_count()
    if not off:
        leaks, faults = probe(walls, lambda: preload(walls, settings["packages"]))
    hello = {
        "walls": ["off"] if off else walls.in_force(),
        "missing": walls.missing,
        "leaks": leaks,
        "faults": faults,
        "libraries": settings["libraries"],
    }
    sys.stdout.write(json.dumps(hello) + "\n")
    sys.stdout.flush()
    # The hello pipe and the error file are the evaluator's: keep neither where a candidate could inherit it.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
    prepare_streams()
    gc.freeze()
    loop(control, walls, settings["packages"], off=off)
