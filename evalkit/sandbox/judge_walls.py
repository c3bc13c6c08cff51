"""The walls of the processes that run tests."""

from __future__ import annotations

import contextlib
import os
import resource
from os import pread  # ours, whatever the tests make of the module
from typing import Any

from . import kernel
from .filter import build, for_process
from .packages import allow_packages, standard_library
from .syscalls import AUDIT_ARCH

# A returned value can make a test compute with it, so the judge's memory counts too: beyond what it has when it starts
# it may take half of what a candidate may, at least this much.
LEAST_MEMORY_BYTES = 256 << 20
PAGE_BYTES = resource.getpagesize()


class JudgeWalls:
    """Walls around each judge too: the tests come from a data set, and a data set can come from anywhere.

    A second line, so what the kernel lacks is left out: the walls that count are the candidate's, which are probed.
    Prepared once, raised in each judge. The tester has only those that it can hand down, since it has to fork.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._memory_bytes = max(settings["memory_bytes"] // 2, LEAST_MEMORY_BYTES)
        self._ruleset = -1
        self._filters = (b"", b"")
        self._statm = os.open("/proc/self/statm", os.O_RDONLY) if os.path.exists("/proc/self/statm") else -1
        for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
            resource.setrlimit(limit, (0, 0))
        readable = [*standard_library(), *allow_packages(settings["packages"]), *settings["libraries"]]
        if settings["isolation"] == "off":
            return
        with contextlib.suppress(OSError):
            kernel.drop_capabilities()
        with contextlib.suppress(OSError):
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
            if abi := kernel.landlock_abi():
                self._ruleset = kernel.landlock_ruleset(abi, readable)
        if kernel.MACHINE in AUDIT_ARCH:
            self._filters = (build(kernel.MACHINE), build(kernel.MACHINE, extra=("recvmsg",)))

    def mapped_bytes(self) -> int:
        """This process's address space in use; 0 if the kernel does not tell."""
        try:
            return int(pread(self._statm, 100, 0).split()[0]) * PAGE_BYTES
        except (OSError, ValueError, IndexError):
            return 0

    def raise_here(self, mapped_bytes: int, *, stays: bool) -> None:
        """Raise them in this process, which has ``mapped_bytes`` of address space in use; one that stays is sent its
        jobs."""
        if stays and self._statm >= 0:
            with contextlib.suppress(OSError):
                os.dup2(os.open("/proc/self/statm", os.O_RDONLY), self._statm)  # its own
        memory, hard = self._memory_bytes + mapped_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]
        memory = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        if self._ruleset >= 0:
            with contextlib.suppress(OSError):
                kernel.landlock_restrict(self._ruleset)
            os.close(self._ruleset)
        if self._filters[stays]:
            with contextlib.suppress(OSError):
                kernel.install_seccomp(for_process(self._filters[stays], os.getpid()))
