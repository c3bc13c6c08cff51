"""The bound on a candidate's threads (and, where nothing refuses processes, on those).

Where the kernel has seccomp's user notification (Linux 5.5), each start of a thread is put to the nursery, which counts
the program's threads and answers "go on" or EAGAIN: the bound holds at any speed. The notification decides only how
many; what kind of call it is, the filter of each candidate decides, and its refusal comes first (seccomp(2): of several
filters' answers the strictest counts). Elsewhere the nursery counts every few milliseconds and ends the program.

A limit of the kernel's own (RLIMIT_NPROC) would do for neither: it does not hold for root, and otherwise counts the
user's other processes too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import struct
import time
from collections.abc import Callable

from . import kernel
from .filter import pack
from .syscalls import ALLOWED, AUDIT_ARCH, THREAD_FLAGS
from .wire import MAX_THREADS

STARTS_WITHOUT_PROC = 4096  # where /proc does not show the number at once (hidepid=2): starts altogether
COUNTING_MILLISECONDS = 20
GRANTED_SECONDS = 0.005  # within which a start that was granted has run

# struct seccomp_notif {u64 id; u32 pid; u32 flags; struct seccomp_data data}; struct seccomp_notif_resp {u64 id;
# s64 val; s32 error; u32 flags}; their ioctls, and "go on with the call" (linux/seccomp.h).
_NOTIFICATION_BYTES = 80
_ASKER = struct.Struct("=I")
_RECEIVE, _ANSWER, _GO_ON = 0xC0502100, 0xC0182101, 1


def notifying_filter(machine: str) -> bytes:
    """A filter that asks about the start of a thread and allows everything else."""
    asks = [(0x15, len(THREAD_FLAGS) - k, 0, flags) for k, flags in enumerate(THREAD_FLAGS)]
    return pack(
        [
            (0x20, 0, 0, 4),  # the calling convention; others are refused by the candidate's own filter
            (0x15, 0, len(asks) + 3, AUDIT_ARCH[machine]),
            (0x20, 0, 0, 0),
            (0x15, 0, len(asks) + 1, ALLOWED[machine]["clone"]),
            (0x20, 0, 0, 16),
            *asks,
            (0x06, 0, 0, 0x7FFF0000),
            (0x06, 0, 0, 0x7FC00000),
        ]
    )


def threads_of(pid: int) -> int:
    """Threads that a process has now.

    Raises:
        OSError: it is gone, or there is no /proc.
    """
    return os.stat(f"/proc/{pid}/task").st_nlink - 2


class ThreadBound:
    """Holds one candidate after the other to the bound. Mutable: the candidate in hand, how many starts it had."""

    def __init__(self, *, is_on: bool, only_count: bool) -> None:
        self.limit = MAX_THREADS
        self.starts_limit = STARTS_WITHOUT_PROC
        self.is_on = is_on
        self.listener = -1
        self._only_count = only_count
        self._starts = self._refused = 0
        self._granted: dict[int, float] = {}  # when, by the thread that asked

    def install(self) -> None:
        """Have this process and its children ask, where the kernel can; once, and before the first candidate."""
        if self.is_on and self.listener < 0 and not self._only_count and kernel.MACHINE in AUDIT_ARCH:
            try:
                self.listener = kernel.install_listener(notifying_filter(kernel.MACHINE))
            except OSError:
                self._only_count = True
                return
            with contextlib.suppress(OSError):  # out of the way of the pipes, where so many descriptors are allowed
                high = fcntl.fcntl(self.listener, fcntl.F_DUPFD_CLOEXEC, 32)
                os.close(self.listener)
                self.listener = high

    def only_count(self) -> None:
        """Rely on counting: without the candidate's own filter a thread can be started by a call that is not asked."""
        self._only_count = True

    @property
    def counts(self) -> bool:
        """Whether the candidate has to be looked at from time to time."""
        return self.is_on and (self.listener < 0 or self._only_count)

    def begin(self) -> None:
        """A new candidate."""
        self._starts = self._refused = 0
        self._granted = {}

    @property
    def kernel_may_have_refused(self) -> bool:
        """Whether the candidate's "can't start new thread" may be the kernel's: it asked, and the bound refused none.

        Always where no start is put to us.
        """
        return not self.is_on or self.counts or (self._starts > 0 and not self._refused)

    def answer(self, pid: int) -> None:
        """Answer one question that the listener has."""
        question = bytearray(_NOTIFICATION_BYTES)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, question)
            refused = self._is_full(pid, *_ASKER.unpack_from(question, 8))
            self._refused += refused
            answer = (0, -errno.EAGAIN, 0) if refused else (0, 0, _GO_ON)
            fcntl.ioctl(self.listener, _ANSWER, struct.pack("=8sqiI", bytes(question[:8]), *answer))
        except OSError:
            return  # whoever asked is gone

    def _is_full(self, pid: int, asker: int) -> bool:
        """Whether one more is too many. A start that was granted shows in the number only once its call has run: that
        of a thread that asks again has; those of the last moment are added, and looked at again where they would
        decide.

        Args:
            asker: the thread that asks, as the kernel numbers it here; 0 where it has no number here.
        """
        self._starts += 1
        self._granted.pop(asker, None)
        asker = asker or -self._starts
        for _ in range(20):
            try:
                there = threads_of(pid)
            except OSError:
                return self._starts > self.starts_limit
            now = time.monotonic()
            self._granted = {one: at for one, at in self._granted.items() if now - at < GRANTED_SECONDS}
            if there >= self.limit:
                return True
            if there + len(self._granted) < self.limit:
                self._granted[asker] = now
                return False
            time.sleep(GRANTED_SECONDS / 5)
        return True

    def is_crowded(self, family: list[int]) -> bool:
        """Whether these processes have more threads than the bound now."""
        total = 0
        for member in family:
            try:
                total += threads_of(member)
            except OSError:
                continue
        return total > self.limit

    def wait_readable(self, fd: int, pid: int, enough: Callable[[], bool] = lambda: False) -> None:
        """Return when ``fd`` can be read, or ``enough`` says so; meanwhile answer."""
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        if self.listener >= 0:
            poller.register(self.listener, select.POLLIN)
        while not enough():
            ready = dict(poller.poll(COUNTING_MILLISECONDS if self.counts else None))
            if self.listener in ready:
                self.answer(pid)
            if fd in ready:
                return
