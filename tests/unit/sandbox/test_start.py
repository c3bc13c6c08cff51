"""What a start of the checker leaves out, and that nothing is missing for it."""

from __future__ import annotations

import importlib.machinery
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from evalkit.sandbox import Checker, packages, threads
from evalkit.sandbox.elf import needed_libraries
from evalkit.sandbox.packages import LibrarySearch
from evalkit.sandbox.thread_limits import threads_can_run_out
from evalkit.sandbox.threads import ThreadBound
from evalkit.sandbox.walls import thread_stack_bytes
from evalkit.sandbox.wire import MAX_THREADS
from tests.support.sandbox.canaries import PROBLEM
from tests.support.sandbox.hostile import SOLVE

EXTENSIONS = sorted(
    path
    for path in Path(sysconfig.get_config_var("DESTSHARED")).glob("*.so")
    if path.name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
)
# All that loading every extension module brings into memory, in a process of its own.
ALL = """
import contextlib, ctypes, os, sys
for path in sys.argv[1:]:
    with contextlib.suppress(OSError):
        ctypes.CDLL(path, mode=os.RTLD_LAZY)
print(*{line.split(maxsplit=5)[5].rstrip() for line in open("/proc/self/maps") if ".so" in line}, sep="\\n")
"""


@pytest.mark.skipif(not EXTENSIONS, reason="this interpreter has its extension modules built in")
def test_no_library_is_missed() -> None:
    command = [sys.executable, "-c", ALL, *map(str, EXTENSIONS)]
    every = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n"))
    folders = tuple(f"{os.path.normpath(folder)}/" for folder in sys.path)
    assert {path for path in every if path and not path.startswith(folders)} <= set(LibrarySearch([]).found())


def test_libraries_are_found_where_proc_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = set(LibrarySearch([]).found())

    def refuse(path: str, *_: object, **__: object) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(packages, "open", refuse, raising=False)
    assert there <= set(LibrarySearch([]).found())


def test_what_the_linker_has_is_what_memory_holds() -> None:
    code = f"{ALL}\nfrom evalkit.sandbox.packages import linked\nprint('--', *linked(), sep='\\n')"
    command = [sys.executable, "-c", code, *map(str, EXTENSIONS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mapped, _, found = done.stdout.partition("--\n")
    assert {os.path.realpath(path) for path in mapped.split()} <= set(found.split())


def test_a_search_for_libraries_that_fails_is_no_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: LibrarySearch) -> list[str]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    monkeypatch.setattr(LibrarySearch, "_mapped", fail)
    with pytest.raises(OSError, match="shared libraries"):
        LibrarySearch([]).found()


def test_what_a_file_asks_for(tmp_path: Path) -> None:
    found = needed_libraries(sys.executable)
    assert found
    assert all(".so" in name for name in found)
    for data in (b"", b"\x7fELF", b"\x7fELF\2\1" + bytes(58), b"#!/bin/sh\n" * 100):
        (tmp_path / "file").write_bytes(data)
        assert needed_libraries(str(tmp_path / "file")) is None


def test_a_thread_that_asks_again_has_been_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    there = iter([1, 2, 3, 4, 4])
    monkeypatch.setattr(threads, "threads_of", lambda _: next(there))
    monkeypatch.setattr(threads.time, "sleep", lambda _: pytest.fail("it waited"))
    bound = ThreadBound(is_on=True, only_count=False)
    bound.limit = 4
    assert [bound._is_full(1, asker=7) for _ in range(4)] == [False, False, False, True]


@pytest.mark.parametrize("askers", [(7, 8, 9), (0, 0, 0)])
def test_starts_of_others_count_until_they_show(monkeypatch: pytest.MonkeyPatch, askers: tuple[int, ...]) -> None:
    monkeypatch.setattr(threads, "threads_of", lambda _: 2)  # none of them has run yet
    monkeypatch.setattr(threads.time, "monotonic", lambda: 1.0)
    monkeypatch.setattr(threads.time, "sleep", lambda _: None)
    bound = ThreadBound(is_on=True, only_count=False)
    bound.limit = 4
    assert [bound._is_full(1, asker) for asker in askers] == [False, False, True]


def test_importing_the_checker_brings_little() -> None:
    code = "import sys, evalkit.sandbox, evalkit.sandbox.files; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"ctypes", "dataclasses", "inspect", "logging", "msgspec", "socket", "yaml", "evalkit.config.run_config"}
    base = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert {*done.stdout.split()} & slow <= {*base.stdout.split()}


def test_where_the_number_of_threads_is_hidden_starts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(_: int) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(threads, "threads_of", hidden)
    bound = ThreadBound(is_on=True, only_count=False)
    bound.starts_limit = 8  # as for the probe
    assert [bound._is_full(1, 0) for _ in range(10)] == [False] * 8 + [True] * 2
    bound.begin()
    assert not bound._is_full(1, 0)


def test_whose_refusal_of_a_thread_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "threads_of", lambda _: 1)
    monkeypatch.setattr(threads.fcntl, "ioctl", lambda *_: 0)
    monkeypatch.setattr(threads.time, "sleep", lambda _: None)
    monkeypatch.setattr(threads.time, "monotonic", lambda: 1.0)
    bound = ThreadBound(is_on=True, only_count=False)
    assert bound.kernel_may_have_refused  # nobody asks us
    bound.listener, bound.limit = 1000, 3
    bound.begin()
    assert not bound.kernel_may_have_refused  # the program said so by itself
    bound.answer(1)
    assert bound.kernel_may_have_refused
    bound.answer(1)
    bound.answer(1)
    assert not bound.kernel_may_have_refused  # the bound's refusal
    bound.begin()
    assert not bound.kernel_may_have_refused


@pytest.mark.parametrize(
    ("changes", "can"),
    [
        ({}, False),
        ({"proc/sys/kernel/threads-max": "1000"}, True),
        ({"proc/sys/kernel/pid_max": "1000"}, True),
        ({"cgroups/a/b/pids.max": "1000"}, True),
        ({"cgroups/a/pids.max": "1000"}, True),
        ({"cgroups/a/b/pids.max": "1712"}, False),
        ({"cgroups/pids/c/pids.max": "1711"}, True),
        ({"proc/loadavg": "0 0 0 1/9000 5"}, True),
        ({"proc/loadavg": "?"}, True),
        ({"proc/self/cgroup": None}, True),
    ],
)
def test_whether_threads_can_run_out(
    changes: dict[str, str | None], can: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    files = {
        "proc/loadavg": "0.1 0.2 0.3 2/600 4321\n",
        "proc/sys/kernel/threads-max": "20000\n",
        "proc/sys/kernel/pid_max": "20000\n",
        "proc/self/cgroup": "7:cpu,pids:/c\n5:memory:/d\n0::/a/b\n",
        "cgroups/a/pids.max": "max\n",
        "cgroups/a/b/pids.max": "9000\n",
        "cgroups/pids/c/pids.max": "max\n",
        "cgroups/d/pids.max": "1\n",
        **changes,
    }
    for name, text in files.items():
        if text is not None:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    asked = {"proc": tmp_path / "proc", "cgroups": tmp_path / "cgroups"}
    assert threads_can_run_out(512, **asked) is can
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1711, 2000))
    assert threads_can_run_out(512, **asked)


# --- Surroundings ----------------------------------------------------------------------------------------------------


def checked(folder: Path, *before: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """Check one sample in a process of its own, behind the words of another command."""
    problem = {name: getattr(PROBLEM, name) for name in ("task_id", "prompt", "test", "entry_point")}
    (folder / "p.jsonl").write_text(json.dumps(problem) + "\n")
    (folder / "s.jsonl").write_text(json.dumps({"task_id": PROBLEM.task_id, "completion": SOLVE}) + "\n")
    command = [sys.executable, "-m", "evalkit.cli.humaneval", "check", str(folder / "s.jsonl")]
    command += ["--data", str(folder / "p.jsonl"), "--jobs", "1"]
    return subprocess.run([*before, *command], capture_output=True, text=True, **how)


def test_a_proc_of_another_pid_namespace_is_named(tmp_path: Path) -> None:
    unshare = ["unshare", *(["-r"] if os.getuid() else []), "-pf"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no new PID namespace here")
    found = checked(tmp_path, *unshare)
    assert found.returncode == 2
    assert "/proc belongs to another PID namespace" in found.stderr
    assert "unshare --mount-proc" in found.stderr
    assert "capabilities" not in found.stderr


def test_too_few_descriptors_are_named(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))

    found = checked(tmp_path, preexec_fn=limit)
    assert found.returncode == 2
    assert "limit is 16; raise it (ulimit -n)" in found.stderr
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("memory", [1 << 28, 1 << 30, 1 << 36])
def test_stacks_of_all_threads_leave_room(memory: int) -> None:
    stack = thread_stack_bytes(memory)
    assert stack % resource.getpagesize() == 0
    assert 256 << 10 <= stack <= 8 << 20  # of a thread outside: ulimit -s
    assert memory < 1 << 29 or memory - MAX_THREADS * stack >= 128 << 20


def waiting(threads: int, before: str = "") -> str:
    return (
        f"    import threading{before}\n    go = threading.Event()\n"
        f"    threads = [threading.Thread(target=go.wait) for _ in range({threads})]\n"
        "    for thread in threads: thread.start()\n    go.set()\n    for thread in threads: thread.join()\n"
    )


def test_all_threads_that_are_allowed_find_memory() -> None:
    many, more = waiting(MAX_THREADS - 6) + SOLVE, waiting(MAX_THREADS + 6) + SOLVE
    deep = (
        "    import sys\n    sys.setrecursionlimit(10**5)\n    d = lambda n: n and 1 + d(n - 1)\n    d(8000)\n" + SOLVE
    )
    with Checker(jobs=1) as checker:
        verdicts = checker.check(PROBLEM, [many, more, deep])
    assert [verdict.label for verdict in verdicts] == ["passed", "failed", "passed"]
    assert "can't start new thread" in verdicts[1].detail
    assert f"at most {MAX_THREADS} threads at once, and their stacks count as memory" in verdicts[1].detail
