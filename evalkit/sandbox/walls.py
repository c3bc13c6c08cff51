"""The walls around one candidate, in the order in which they are raised.

What is covered: the file system (nothing readable but the interpreter's own files, nothing writable), the network and
every socket, other processes (no signals, no tracing, no shared memory), new processes, privileges, the environment,
inherited descriptors, CPU time, memory, threads, file sizes.
What is not covered: the time that a call takes (a side channel), the names and sizes of files (stat is allowed, reading
is not), faults of the kernel itself, and the processor's own leaks.

Two kinds: walls of the nursery, which its children inherit (:meth:`Walls.raise_in_nursery`), and walls of each
candidate (:meth:`Walls.raise_in_candidate`).
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import resource
import signal
from collections.abc import Callable, Collection, Sequence

from . import kernel
from .filter import build
from .syscalls import AUDIT_ARCH, OWN_PID
from .talking import REPLIES_FD, REQUESTS_FD
from .threads import ThreadBound
from .wire import MAX_CROSSING, MAX_THREADS

MAX_DESCRIPTORS = 64
STACK_BYTES = 8 << 20
UNSTACKED_BYTES = 192 << 20  # of a program's memory that the stacks of all its threads leave: interpreter, numpy, data
# Opens that a sealed candidate (no Landlock: the kernel cannot tell paths apart) is refused.
OPENING = ("open", "openat")


def cpu_limits(timeout_seconds: float) -> tuple[int, int]:
    """RLIMIT_CPU, soft and hard, in seconds: the second line behind the nursery's watch, which counts exactly.

    The kernel keeps this limit by counting ticks, and a process that often waits for another is counted too high (seen:
    killed at 2.87 of 3 s), so it stands a tenth and a second behind. SIGXCPU comes first: it names its cause, SIGKILL
    does not.
    """
    soft = math.ceil(1.1 * timeout_seconds) + 1
    last = math.ceil(1.1 * (1 + MAX_CROSSING) * timeout_seconds) + 2
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    return (soft, last) if hard == resource.RLIM_INFINITY else (min(soft, hard), min(last, hard))


def thread_stack_bytes(memory_bytes: int) -> int:
    """The stack of a thread that asks for no other size: so small that all the threads which a program may have find
    room in its memory. The first thread's is not meant: calls go as deep as they do without walls."""
    page = resource.getpagesize()
    share = max(0, memory_bytes - UNSTACKED_BYTES) // MAX_THREADS - page  # each has a page that guards it
    return max(256 << 10, min(STACK_BYTES, share)) // page * page


def raise_cpu_limit(pid: int, seconds: float) -> None:
    """Let a candidate have so many seconds of CPU time."""
    with contextlib.suppress(OSError, ValueError):
        last = resource.prlimit(pid, resource.RLIMIT_CPU)[1]
        resource.prlimit(pid, resource.RLIMIT_CPU, (min(math.ceil(1.1 * seconds) + 1, last), last))


class Walls:
    """Which walls this nursery raises, and with what settings. Mutable: what the kernel refuses is taken off.

    No dataclass: that module brings ``inspect`` and more, which every fork would pay for.
    """

    def __init__(self, timeout_seconds: float, memory_bytes: int, without: frozenset[str] = frozenset()) -> None:
        self.timeout_seconds = timeout_seconds
        """CPU seconds of one candidate."""
        self.memory_bytes = memory_bytes
        """Address space of one candidate."""
        self.without = without
        """Mechanisms left out, for tests only: each must be missed by some hostile program."""
        self.seccomp = True
        self.landlock = 0
        """The Landlock version, 0: not available."""
        self.sealed = False
        """Without Landlock, with seccomp: every open is refused, so that modules have to be loaded beforehand."""
        self.full = False
        """Where sealed: the whole standard library is (else the usual modules, ``lacking.py``)."""
        self.namespaces = False
        self.missing: dict[str, str] = {}
        """Wall -> why it is not there."""
        self.init_pid = 0
        """The first process of the PID namespace, which keeps it alive; 0 without namespaces."""
        self.threads = ThreadBound(is_on="threads" not in without, only_count="listener" in without)
        """The bound on threads, which the nursery keeps."""
        self._cpu_limits = cpu_limits(timeout_seconds)
        self._restrict: Callable[[], int]  # where there is Landlock
        self._filter: kernel.SeccompFilter  # where there is seccomp

    def enter_namespaces(self) -> None:
        """Move to new user, PID, network, IPC and host-name namespaces where that is allowed. Call before any thread.

        The nursery itself stays in its PID namespace (pid_namespaces(7)): only its children are in the new one, so it
        knows them by the ids that the rest of the machine knows them by.
        """
        if "namespaces" in self.without:
            self.missing["namespaces"] = "switched off"
            return
        inner = kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
        try:
            kernel.unshare(kernel.CLONE_NEWUSER | inner)
        except OSError:
            try:
                kernel.unshare(inner)  # root where user namespaces are switched off
            except OSError as error:
                self.missing["namespaces"] = f"unshare: {error.strerror}"
                return
        lifeline, held = os.pipe()  # the nursery keeps the other end, unused: end of file means that it died
        self.init_pid = os.fork()
        if self.init_pid == 0:
            os.close(held)
            _be_init(lifeline)
        os.close(lifeline)
        self.namespaces = True

    def raise_in_nursery(self) -> None:
        """Raise the walls that children inherit: privileges, limits."""
        if "caps" not in self.without:
            kernel.drop_capabilities()
        if "nnp" not in self.without:
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if "dumpable" not in self.without:
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        signal.set_wakeup_fd(-1)
        limits = {
            "as": (resource.RLIMIT_AS, self.memory_bytes),
            "fsize": (resource.RLIMIT_FSIZE, 0),
            "core": (resource.RLIMIT_CORE, 0),
            "nofile": (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
            "stack": (resource.RLIMIT_STACK, STACK_BYTES),
            "memlock": (resource.RLIMIT_MEMLOCK, 0),
            "msgqueue": (resource.RLIMIT_MSGQUEUE, 0),
        }
        for name, (limit, value) in limits.items():
            if f"limit:{name}" not in self.without:
                hard = resource.getrlimit(limit)[1]
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(limit, (value, value))

    def find_kernel_walls(self, readable: Collection[str]) -> None:
        """Prepare the Landlock ruleset and the seccomp filter, as far as this kernel has them."""
        if "landlock" in self.without:
            self.missing["landlock"] = "switched off"
        else:
            self.landlock = kernel.landlock_abi()
            if self.landlock:
                ruleset = kernel.landlock_ruleset(self.landlock, readable)
                high = fcntl.fcntl(ruleset, fcntl.F_DUPFD, REPLIES_FD + 1)  # out of the way of the pipes
                os.close(ruleset)
                self._restrict = kernel.prepared(kernel.SYS_LANDLOCK_RESTRICT_SELF, high, 0)
            else:
                self.missing["landlock"] = (
                    "the kernel has none (5.13 or later, with landlock among its security modules)"
                )
        if "seccomp" in self.without:
            self.lose("seccomp", "switched off")
        elif kernel.MACHINE not in AUDIT_ARCH:
            self.lose("seccomp", f"no system call table for {kernel.MACHINE}")
        else:
            self._settle()

    def lose(self, wall: str, why: str) -> None:
        """Go on without a wall that turned out to be refused."""
        self.missing[wall] = why
        if wall == "seccomp":
            self.seccomp = False
        elif wall == "landlock":
            self.landlock = 0
        self._settle()

    def _settle(self) -> None:
        self.sealed = self.seccomp and not self.landlock and "sealed" not in self.without
        if self.seccomp:
            extra = [item[8:] for item in self.without if item.startswith("seccomp:")]
            program = build(kernel.MACHINE, extra=extra, without=OPENING if self.sealed else ())
            self._filter = kernel.SeccompFilter(program, OWN_PID.to_bytes(4, "little"))

    def raise_in_candidate(self, pipes: Sequence[int], nursery: int) -> None:
        """Raise the walls of one candidate, in it. ``pipes``: requests to read, replies to write, output to write.

        In as few functions as can be, from what was made before the fork: see :func:`kernel.prepared`.

        Raises:
            WallError: the kernel refused one; the process must end.
        """
        without, dup2, above, lift = self.without, os.dup2, fcntl.fcntl, fcntl.F_DUPFD
        if "pdeathsig" not in without:
            if kernel.ask_to_die() < 0:
                raise kernel.last_error()
            if not self.namespaces and os.getppid() != nursery:
                os._exit(1)  # the nursery died in between
        requests, replies, prints = pipes
        requests, replies, prints = above(requests, lift, 16), above(replies, lift, 16), above(prints, lift, 16)
        dup2(requests, REQUESTS_FD)
        dup2(replies, REPLIES_FD)
        dup2(prints, 1)
        dup2(prints, 2)
        if self.landlock and self._restrict() < 0:
            raise WallError("landlock", kernel.last_error().strerror)
        if "descriptors" not in without:
            os.closerange(REPLIES_FD + 1, MAX_DESCRIPTORS)
        if "limit:cpu" not in without:
            resource.setrlimit(resource.RLIMIT_CPU, self._cpu_limits)
        if self.seccomp:
            try:
                self._filter.install(os.getpid())
            except OSError as error:
                raise WallError("seccomp", error.strerror) from error
        elif "limit:nproc" not in without:
            # Without seccomp this is what holds a fork bomb, where it holds: not for root. Threads count too.
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    def in_force(self) -> list[str]:
        """The walls that distinguish the levels of isolation."""
        names = ["seccomp"] if self.seccomp else []
        names += ["landlock"] if self.landlock else ["sealed"] if self.sealed else []
        names += ["namespaces"] if self.namespaces else []
        return names or ["limits"]


class WallError(Exception):
    """The kernel refused to raise a wall; ``args`` are the wall's name and the reason."""


def _be_init(lifeline: int) -> None:
    """The first process of the PID namespace: reaps orphans, ends with the nursery and then takes all others along."""
    kernel.die_with_parent()
    kernel.set_name(b"evalkit-init")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    os.dup2(lifeline, 0)
    os.closerange(1, 1 << 10)
    os.read(0, 1)
    os._exit(0)
