"""A problem, and the canaries around the checker."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

from evalkit.sandbox import Problem

TIMEOUT_SECONDS = 1.0
PROMPT = '''from typing import List


def has_close(numbers: List[float], threshold: float) -> bool:
    """Are any two of the numbers nearer to each other than the threshold?"""
'''
TESTS = """
def check(candidate):
    assert candidate([1.0, 2.0, 3.9, 4.0], 0.3) == True
    assert candidate([1.0, 2.0, 3.0], 0.3) == False
    assert candidate([1.0, 2.8, 3.0], 0.3) is True
    assert candidate([], 0.3) is False
    assert candidate([5.0, 5.0], 0.1) == True
"""
ANSWERS = [True, False, True, False, True]
PROBLEM = Problem("Test/0", PROMPT, TESTS, "has_close")

_VICTIM = """
import ctypes, sys
buffer = ctypes.create_string_buffer(b"as it was")
print(ctypes.addressof(buffer), flush=True)
for line in sys.stdin:
    print(buffer.value.decode(), flush=True)
"""

# The name of what a program leaves behind: this test process's own, since others run beside it.
ORPHAN = f"hx_{os.getpid()}"


class Canaries:
    """What a program must not touch: files, listeners, a process and its memory, System V objects."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.out.mkdir(mode=0o777)
        self.keep = folder / "keep.txt"
        self.secret = folder / "secret.txt"
        self.secret.write_text("secret")
        self.sockets = {
            "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "tcp": socket.socket(socket.AF_INET, socket.SOCK_STREAM),
            "unix": socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        }
        name = f"\0evalkit-canary-{os.getpid()}"
        for kind, listener in self.sockets.items():
            listener.bind(name if kind == "unix" else ("127.0.0.1", 0))
            listener.setblocking(False)
        self.sockets["tcp"].listen()
        self.victim: subprocess.Popen[str] | None = None
        self.restore()
        self.names = {
            "OUT": str(self.out),
            "KEEP": str(self.keep),
            "SECRET": str(self.secret),
            "UDP": str(self.sockets["udp"].getsockname()[1]),
            "TCP": str(self.sockets["tcp"].getsockname()[1]),
            "UNIX": repr(name)[1:-1],
            "ORPHAN": ORPHAN,
            "ANSWERS": repr(ANSWERS),
        }

    def restore(self) -> None:
        """Put everything back as it was, also after a wall was switched off on purpose."""
        self.keep.unlink(missing_ok=True)
        self.keep.write_text("keep me")
        os.utime(self.keep, (1e9, 1e9))
        for entry in self.out.iterdir():
            entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if self.victim is None or self.victim.poll() is not None or self.victim_changed():
            self.end_victim()
            self.victim = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _VICTIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self.victim.stdout is not None
            self.address = self.victim.stdout.readline().strip()
            self.state = self.victim_state()

    def victim_state(self) -> tuple[object, ...]:
        assert self.victim is not None
        pid = self.victim.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        return limits, os.sched_getaffinity(pid), os.getpriority(os.PRIO_PROCESS, pid)

    def victim_changed(self) -> bool:
        assert self.victim is not None
        if self.victim.poll() is not None or self.victim_state() != self.state:
            return True
        assert self.victim.stdin is not None
        assert self.victim.stdout is not None
        self.victim.stdin.write("\n")
        self.victim.stdin.flush()
        return self.victim.stdout.readline() != "as it was\n"

    def end_victim(self) -> None:
        if self.victim is not None:
            self.victim.kill()
            self.victim.communicate()

    def fill(self, completion: str, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
        """Put the canaries' names into a program."""
        assert self.victim is not None
        names = {**self.names, "PID": str(self.victim.pid), "ADDRESS": self.address, "OVER": str(timeout_seconds + 0.2)}
        for name, value in names.items():
            completion = completion.replace(f"@{name}@", value)
        return completion

    def touched(self) -> list[str]:
        """What a program reached; must be empty."""
        found = []
        if any(self.out.iterdir()):
            found.append("out")
        state = self.keep.stat() if self.keep.exists() else None
        # Its mode first: whoever is not root cannot read a file of mode 0.
        if state is None or not state.st_mode & 0o400 or state.st_mtime != 1e9 or self.keep.read_text() != "keep me":
            found.append("keep")
        if self.victim_changed():
            found += ["alive", "memory"]
        for kind, listener in self.sockets.items():
            try:
                if kind == "tcp":
                    listener.accept()[0].close()
                else:
                    listener.recv(100)
            except BlockingIOError:
                continue
            found.append(kind)
        if orphans():
            found.append("process")
        if Path("/dev/shm/hx_shm").exists():
            found.append("shm")
        for table in ("msg", "sem"):
            lines = Path(f"/proc/sysvipc/{table}").read_text().splitlines()[1:]
            if any(line.split()[0] == str(0x7A7A02) for line in lines):
                found.append("sysv")
        return found

    def close(self) -> None:
        self.end_victim()
        for listener in self.sockets.values():
            listener.close()


def orphans() -> list[int]:
    """Processes that a hostile program named `ORPHAN`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "comm").read_text() == f"{ORPHAN}\n":
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def remove_message_queue() -> None:
    libc = ctypes.CDLL(None)
    queue = libc.msgget(0x7A7A02, 0)
    if queue >= 0:
        libc.msgctl(queue, 0, None)
