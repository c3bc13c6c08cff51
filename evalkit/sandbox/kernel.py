"""The few Linux calls that build the walls, through ctypes and nothing else.

Every function raises ``OSError`` with the kernel's errno when the kernel refuses. Numbers and layouts are from the
kernel's user-space headers (``linux/prctl.h``, ``linux/landlock.h``, ``linux/seccomp.h``, ``linux/capability.h``,
``linux/sched.h``), the rules of use from ``landlock.rst``, ``seccomp_filter.rst`` and ``no_new_privs.rst`` in its
``Documentation/userspace-api`` and from the manual pages prctl(2), capabilities(7), clock_getres(2).

This module is imported by the helper processes, which know only the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import resource
import signal
import stat
import struct
from collections.abc import Callable, Iterable

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_held = ctypes.PyDLL(None, use_errno=True)  # the same, with Python's lock held
_held.syscall.restype = ctypes.c_long

# linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 15, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 36, 38, 47, 4
SECCOMP_SET_MODE_FILTER = 1  # argument of seccomp(2)
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_MODE_FILTER = 2  # argument of prctl(PR_SET_SECCOMP)

# linux/sched.h
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_PARENT = 0x00008000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

# Landlock's system calls have the same numbers on every architecture (asm-generic/unistd.h).
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION, LANDLOCK_RULE_PATH_BENEATH = 1, 1
LANDLOCK_EXECUTE, LANDLOCK_READ_FILE, LANDLOCK_READ_DIR = 1 << 0, 1 << 2, 1 << 3

# Only these differ: x86-64, then aarch64 (and every architecture with the generic table).
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
SYS_CLONE = {"x86_64": 56, "aarch64": 220}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
MACHINE = os.uname().machine
_WORD = struct.Struct("<I")
_DIE = (ctypes.c_int(PR_SET_PDEATHSIG), *map(ctypes.c_ulong, (signal.SIGKILL, 0, 0, 0)))  # made before any fork


def syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make one raw system call and return its result; ``OSError`` if it fails."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def prctl(option: int, *arguments: int | ctypes.Array[ctypes.c_char]) -> int:
    """prctl(2); missing arguments are passed as 0, as the kernel demands for most options."""
    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in (*arguments, 0, 0, 0, 0)][:4]
    result = int(_libc.prctl(ctypes.c_int(option), *words))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def last_error() -> OSError:
    """What the kernel said to the last call of this module that it refused."""
    error = ctypes.get_errno()
    return OSError(error, os.strerror(error))


def prepared(number: int, *arguments: int) -> Callable[[], int]:
    """One raw system call, ready to be made in a child; it returns -1 where the kernel refuses (:func:`last_error`).

    All that can be made before a fork is, and no function of Python runs for it: a child that runs one for the first
    time copies the pages of memory that this changes.
    """
    return functools.partial(_libc.syscall, *map(ctypes.c_long, (number, *arguments)))


ask_to_die: Callable[[], int] = functools.partial(_libc.prctl, *_DIE)
""":func:`die_with_parent`, prepared."""


def die_with_parent() -> None:
    """Ask for SIGKILL when the *thread* that started this process ends (prctl(2), PR_SET_PDEATHSIG)."""
    if ask_to_die() < 0:
        raise last_error()


def fork_beside() -> int:
    """Fork as ``os.fork`` does, but the child is one of this process's parent (clone(2), CLONE_PARENT); 0 in the child.

    Call where this thread is the only one. The child dies with its parent's thread, where it asks for that, and its
    signal at the end is this process's own.
    """
    python = ctypes.pythonapi  # keeps the interpreter's lock, as the calls around a fork demand
    python.PyOS_BeforeFork()
    ctypes.set_errno(0)
    pid = int(_held.syscall(*map(ctypes.c_long, (SYS_CLONE[MACHINE], CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))))
    error = ctypes.get_errno()
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, os.strerror(error))
    return pid


def start_afresh() -> None:
    """Undo what a caller can hand down that would break a helper: blocked signals, an ignored SIGCHLD, a soft limit."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def be_killed_first() -> None:
    """Under memory pressure this process and its children go before the evaluation, the largest first (proc(5))."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def set_name(name: bytes) -> None:
    """Set the name that ps(1) shows (at most 15 bytes)."""
    prctl(PR_SET_NAME, ctypes.create_string_buffer(name[:15]))


def drop_capabilities() -> None:
    """Give up every capability, in all five sets (capabilities(7)).

    The bounding set needs CAP_SETPCAP to shrink; without it (an ordinary user) it is left, which is harmless: under
    no_new_privs nothing can be gained from it.
    """
    for capability in range(64):
        with contextlib.suppress(OSError):  # not permitted, or no such capability
            prctl(PR_CAPBSET_DROP, capability)
    with contextlib.suppress(OSError):  # kernels before 4.3 have no ambient set
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))  # _LINUX_CAPABILITY_VERSION_3, this thread
    syscall(SYS_CAPSET[MACHINE], header, ctypes.create_string_buffer(bytes(24)))


def unshare(flags: int) -> None:
    """unshare(2). A new PID namespace begins with the next child."""
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def install_seccomp(program: bytes) -> None:
    """Put a BPF program (an array of ``struct sock_filter``) over this thread; needs no_new_privs or CAP_SYS_ADMIN.

    Uses seccomp(2), and prctl(2) where that is refused: outer filters sometimes know only one of them.
    """
    code = ctypes.create_string_buffer(program, len(program))
    fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    try:
        syscall(SYS_SECCOMP[MACHINE], SECCOMP_SET_MODE_FILTER, 0, fprog)
    except OSError:
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(fprog))


class SeccompFilter:
    """A BPF program, ready to be put over a child as :func:`install_seccomp` does: all that can be made before the fork
    is, since a child copies each page of memory that it changes.

    Args:
        program: of :func:`evalkit.sandbox.filter.build`.
        own_pid: the four bytes in it that stand for the id of the process.
    """

    def __init__(self, program: bytes, own_pid: bytes) -> None:
        self._code = ctypes.create_string_buffer(program, len(program))
        address = ctypes.addressof(self._code)
        self._fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, address))
        self._places = [place for place in range(len(program) - 3) if program[place : place + 4] == own_pid]
        self._call = (ctypes.c_long(SYS_SECCOMP[MACHINE]), ctypes.c_long(SECCOMP_SET_MODE_FILTER), ctypes.c_long(0))

    def install(self, pid: int) -> None:
        """Put it over this thread, whose process has this id."""
        for place in self._places:
            _WORD.pack_into(self._code, place, pid)
        if _libc.syscall(*self._call, self._fprog) < 0:
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(self._fprog))


def install_listener(program: bytes) -> int:
    """Put a BPF program over this process as :func:`install_seccomp` does; return the descriptor that is told of calls.

    ``OSError`` where the kernel has no user notification (before 5.0), or an outer filter has a listener already.
    """
    code = ctypes.create_string_buffer(program, len(program))
    fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    return syscall(SYS_SECCOMP[MACHINE], SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, fprog)


def landlock_abi() -> int:
    """The Landlock version of this kernel, 0 where it is absent, disabled or refused."""
    try:
        return syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)
    except OSError:
        return 0


def landlock_ruleset(abi: int, readable: Iterable[str]) -> int:
    """Make a ruleset that refuses everything ``abi`` can refuse except reading ``readable`` (files, or folders whole).

    Returns its descriptor, for :func:`landlock_restrict`. What each version added: 2 REFER, 3 TRUNCATE, 4 TCP bind and
    connect, 5 IOCTL_DEV, 6 abstract Unix sockets and signals to processes outside.
    """
    files = (1 << (13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16)) - 1
    attributes = struct.pack("=QQQ", files, 3, 3)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = syscall(SYS_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    for path in readable:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not there: nothing to allow
        try:
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
            rights = LANDLOCK_READ_FILE | (LANDLOCK_READ_DIR if is_folder else 0)
            syscall(SYS_LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
        finally:
            os.close(fd)
    return ruleset


def landlock_restrict(ruleset: int) -> None:
    """Put this thread and its future children under the ruleset; needs no_new_privs or CAP_SYS_ADMIN."""
    syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)


def map_memory(count: int) -> None:
    """Map ``count`` more bytes, private and untouched, and keep them: tries the limit of the address space."""
    _libc.mmap.restype = ctypes.c_void_p
    address = _libc.mmap(None, ctypes.c_size_t(count), ctypes.c_int(3), ctypes.c_int(0x22), -1, ctypes.c_long(0))
    if address == ctypes.c_void_p(-1).value:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def set_thread_stacks(count: int) -> None:
    """Have new threads of this process and its children get stacks of so many bytes, unless they ask for another size.

    A pthread_attr_t is at most 64 bytes (bits/pthreadtypes-arch.h). C libraries without this call keep their default.
    """
    attributes = ctypes.create_string_buffer(256)
    with contextlib.suppress(AttributeError):
        if _libc.pthread_getattr_default_np(attributes) == 0:
            _libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(count))
            _libc.pthread_setattr_default_np(attributes)


def use_few_heaps() -> None:
    """Have the threads of this process and its children share two heaps: glibc reserves 128 MiB of the limited address
    space for each, which leaves room for some ten threads. Other C libraries have no such heaps, and no mallopt."""
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(ctypes.c_int(-8), ctypes.c_int(2))  # M_ARENA_MAX (malloc.h)
