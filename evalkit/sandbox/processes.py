"""What the kernel tells of another process. Without ``ctypes``, which ``kernel.py`` needs and the evaluating process
does not."""

from __future__ import annotations

import functools
import os
import time


def process_cpu_seconds(pid: int) -> float:
    """CPU seconds that a process (all its threads) has used: its clock's id is made as clock_getcpuclockid(3) does."""
    return time.clock_gettime((~pid << 3) | 2)


_PF_EXITING, _PF_SIGNALED = 0x4, 0x400  # linux/sched.h; /proc/PID/stat tells them as field 9


def is_dying(pid: int) -> bool:
    """Whether a process is ending: it exits, or a signal killed it. Not where only its first thread ended."""
    try:
        state, flags = _state_and_flags(f"/proc/{pid}/stat")
        if flags & _PF_SIGNALED:
            return True
        if not (state in b"ZX" or flags & _PF_EXITING):
            return False
        others = [name for name in os.listdir(f"/proc/{pid}/task") if name != str(pid)]
    except (OSError, ValueError, IndexError):
        return False
    return all(map(functools.partial(_thread_is_dying, pid), others))


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped (SIGSTOP), which none of ours ever does to another."""
    try:
        return _state_and_flags(f"/proc/{pid}/stat")[0] == b"T"
    except (OSError, ValueError, IndexError):
        return False


def _thread_is_dying(pid: int, thread: str) -> bool:
    try:
        state, flags = _state_and_flags(f"/proc/{pid}/task/{thread}/stat")
    except (OSError, ValueError, IndexError):
        return True  # gone
    return state in b"ZX" or bool(flags & (_PF_EXITING | _PF_SIGNALED))


def _state_and_flags(path: str) -> tuple[bytes, int]:
    with open(path, "rb") as file:
        state, *fields = file.read().rpartition(b")")[2].split()
    return state, int(fields[5])
