"""What a start of the checker leaves out, and that nothing is missing for it."""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from evalkit.sandbox import threads
from evalkit.sandbox.elf import needed_libraries
from evalkit.sandbox.packages import LibrarySearch
from evalkit.sandbox.threads import ThreadBound

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
    slow = {"ctypes", "dataclasses", "inspect", "logging", "msgspec", "socket", "yaml", "evalkit.config"}
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
