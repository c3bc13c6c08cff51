"""How much memory this process may have on its host: what is there, what its control groups and its limits leave.

No torch. A container's or a batch system's share is a limit of its control group (v1 or v2, or of a group above it);
``ulimit -v`` (address space) and ``ulimit -d`` (private, writable memory) are limits of the process. Page cache counts
as free where the kernel would give it up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60
"""Greater limits are none: v1 writes the greatest number of whole pages."""


def available_bytes(proc: Path = PROC, cgroup: Path = CGROUP) -> int | None:
    """Return how many bytes can still be had, or None where the system does not say."""
    left = [_meminfo(proc, "MemAvailable")]
    left += [max(0, limit - used) for limit, used in _groups(proc, cgroup)]
    left += [max(0, limit - used) for limit, used in _process(proc) if used is not None]
    return min((one for one in left if one is not None), default=None)


def whole_bytes(proc: Path = PROC, cgroup: Path = CGROUP) -> int | None:
    """Return how many bytes this process could have if nobody else had any, or None where the system does not say."""
    whole = [_meminfo(proc, "MemTotal")]
    whole += [limit for limit, _ in (*_groups(proc, cgroup), *_process(proc))]
    return min((one for one in whole if one is not None), default=None)


def _meminfo(proc: Path, name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB", _read(proc / "meminfo"), re.MULTILINE)
    if found is not None:
        return int(found.group(1)) << 10
    if proc != PROC:
        return None
    # Systems without /proc; these pages leave out page cache.
    pages = {"MemAvailable": "SC_AVPHYS_PAGES", "MemTotal": "SC_PHYS_PAGES"}[name]
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _groups(proc: Path, cgroup: Path) -> Iterator[tuple[int, int]]:
    """Yield (limit, use) of each control group with a limit that this process is in."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            root, names = cgroup, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root, names = cgroup / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Within a container the path may be the host's, which is not there; then the root is its own group.
        parts = Path(path.lstrip("/")).parts
        for depth in range(len(parts), -1, -1):
            found = _group(root.joinpath(*parts[:depth]), *names)
            if found is not None:
                yield found


def _group(folder: Path, limit_name: str, used_name: str, cache_name: str) -> tuple[int, int] | None:
    limit, used = _read(folder / limit_name).strip(), _read(folder / used_name).strip()
    if not limit.isdecimal() or not used.isdecimal() or int(limit) >= _NO_LIMIT:
        return None
    cache = re.search(rf"^{cache_name} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
    return int(limit), max(0, int(used) - (int(cache.group(1)) if cache else 0))


def _process(proc: Path) -> Iterator[tuple[int, int | None]]:
    """Yield (limit, use) of each of this process's own limits; the use is None where the system does not say."""
    try:
        import resource
    except ImportError:
        return
    pages = _read(proc / "self" / "statm").split()
    # The places in proc(5)'s statm: all that is mapped; data, with the stack, which RLIMIT_DATA leaves out.
    for kind, place in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        soft, _hard = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield int(soft), int(pages[place]) * os.sysconf("SC_PAGE_SIZE") if pages else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
