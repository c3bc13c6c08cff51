"""Whether the kernel's limits on threads are so near that programs can take them from each other."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def threads_can_run_out(wanted: int, *, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> bool:
    """Return whether one of the limits is below what may be there at once: twice all threads of this kernel, and more.

    Twice, since this is asked after the moment in question. What the kernel does not tell counts as yes.

    Args:
        wanted: threads that the programs in work may have.
        proc: of proc(5).
        cgroups: where control groups are mounted.
    """
    try:
        there = int((proc / "loadavg").read_text().split()[3].partition("/")[2])
        lowest = min(_limits(proc, cgroups))
    except (OSError, ValueError, IndexError):
        return True
    return lowest < 2 * there + wanted


def _limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yield the limits that stand: of the kernel, the user, the control group and those above it (cgroups(7))."""
    yield int((proc / "sys/kernel/threads-max").read_text())
    yield int((proc / "sys/kernel/pid_max").read_text())
    own = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if own != resource.RLIM_INFINITY:
        yield own
    for line in (proc / "self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers and "pids" not in controllers.split(","):
            continue
        root = cgroups / "pids" if controllers else cgroups
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder == root.parent:
                break
            file = folder / "pids.max"
            if file.exists() and (most := file.read_text().strip()) != "max":
                yield int(most)
