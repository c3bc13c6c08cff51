"""What memory a process may have, by the files of systems that are only pretended."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.scoring.host_memory import available_bytes, whole_bytes

pytestmark = pytest.mark.torch_free

GIB = 1 << 30


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a /proc of a machine with 64 GiB, of which 40 are available and 2 free; no limits."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    lines = [f"{name}: {gib << 20:>12} kB" for name, gib in (("MemTotal", 64), ("MemFree", 2), ("MemAvailable", 40))]
    (folder / "meminfo").write_text("\n".join(lines) + "\n")
    mapped, data = (gib * GIB // os.sysconf("SC_PAGE_SIZE") for gib in (3, 2))
    (folder / "self" / "statm").write_text(f"{mapped} 1 1 1 0 {data} 0\n")
    return folder


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def test_page_cache_is_available(proc: Path, tmp_path: Path) -> None:
    assert (available_bytes(proc, tmp_path / "none"), whole_bytes(proc, tmp_path / "none")) == (40 * GIB, 64 * GIB)


def test_control_groups_of_version_2(proc: Path, tmp_path: Path) -> None:
    """The tightest of a group and those above it; what it uses counts without file cache that is given up first."""
    group = tmp_path / "cgroup"
    (proc / "self" / "cgroup").write_text("0::/batch/job 7\n")
    write(group / "batch", memory__max=16 * GIB, memory__current=13 * GIB, memory__stat=f"anon 1\ninactive_file {GIB}")
    write(group / "batch" / "job 7", memory__max="max", memory__current=GIB)
    assert (available_bytes(proc, group), whole_bytes(proc, group)) == (4 * GIB, 16 * GIB)
    write(group / "batch" / "job 7", memory__max=2 * GIB, memory__current=3 * GIB)
    assert (available_bytes(proc, group), whole_bytes(proc, group)) == (0, 2 * GIB)


def test_a_container_sees_its_own_group_as_the_root(proc: Path, tmp_path: Path) -> None:
    group = tmp_path / "cgroup"
    (proc / "self" / "cgroup").write_text("0::/../docker/abc\n")
    write(group, memory__max=8 * GIB, memory__current=GIB)
    assert available_bytes(proc, group) == 7 * GIB


def test_control_groups_of_version_1(proc: Path, tmp_path: Path) -> None:
    group = tmp_path / "cgroup"
    (proc / "self" / "cgroup").write_text("12:pids:/x\n5:cpu,memory:/job\n0::/\n")
    none = 9223372036854771712
    write(group / "memory", memory__limit_in_bytes=none, memory__usage_in_bytes=60 * GIB)
    assert available_bytes(proc, group) == 40 * GIB
    write(
        group / "memory" / "job",
        memory__limit_in_bytes=10 * GIB,
        memory__usage_in_bytes=9 * GIB,
        memory__stat=f"inactive_file 5\ntotal_inactive_file {2 * GIB}",
    )
    assert (available_bytes(proc, group), whole_bytes(proc, group)) == (3 * GIB, 10 * GIB)


@pytest.mark.parametrize(
    ("limits", "available", "whole"),
    [
        ({resource.RLIMIT_AS: 12}, 9, 12),
        ({resource.RLIMIT_DATA: 7}, 5, 7),
        ({resource.RLIMIT_AS: 12, resource.RLIMIT_DATA: 10}, 8, 10),
        ({resource.RLIMIT_DATA: 1}, 0, 1),
    ],
)
def test_the_limits_of_the_process(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[int, int], available: int, whole: int
) -> None:
    no = resource.RLIM_INFINITY
    soft = {kind: gib * GIB for kind, gib in limits.items()}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft.get(kind, no), no))
    assert (available_bytes(proc, tmp_path), whole_bytes(proc, tmp_path)) == (available * GIB, whole * GIB)


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="the use of memory is read from Linux's /proc")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_what_is_available_under_a_limit_can_be_had_and_no_more(limit: str) -> None:
    """The oracle is the kernel."""
    code = f"""
import mmap, resource
from evalkit.scoring.host_memory import available_bytes
resource.setrlimit(resource.{limit}, (1 << 30, 1 << 30))
left, flags = available_bytes(), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
mmap.mmap(-1, left - (16 << 20), flags=flags).close()
try:
    mmap.mmap(-1, left + (16 << 20), flags=flags)
except OSError:
    print("no more")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "no more\n", done.stderr


def test_a_system_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert available_bytes(tmp_path, tmp_path) is None
    assert whole_bytes(tmp_path, tmp_path) is None


def test_this_system() -> None:
    available, whole = available_bytes(), whole_bytes()
    assert available is None or whole is None or 0 <= available <= whole
