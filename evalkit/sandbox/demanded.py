"""What isolation "require" demands of a worker's walls."""

from __future__ import annotations

from pathlib import Path

from evalkit.errors import SandboxError
from evalkit.sandbox.wire import FOREIGN_PROC, NO_THREADS
from evalkit.sandbox.worker import Level

PROC = Path("/proc/self/status")


class NotIsolatedError(SandboxError):
    """A wall that is demanded cannot be had here; trying again is of no use."""


def demand(level: Level) -> None:
    """Refuse what "require" does not accept.

    Raises:
        SandboxError: names what is missing and the remedy.
    """
    remedy = (
        "run where the kernel and the container allow it (default Docker does), or accept weaker isolation with "
        "--isolation best"
    )
    if "seccomp" not in level.walls:
        raise NotIsolatedError(
            f"model code cannot be isolated here: no seccomp ({level.missing.get('seccomp')}); {remedy}"
        )
    if "landlock" not in level.walls and "sealed" not in level.walls:
        raise NotIsolatedError(
            f"model code cannot be isolated here: no Landlock ({level.missing.get('landlock')}); {remedy}"
        )
    if FOREIGN_PROC in level.leaks:
        raise NotIsolatedError(
            f"model code cannot be isolated here: {FOREIGN_PROC}, so nothing can be told of the processes here; mount "
            "this one's (mount -t proc proc /proc; unshare --mount-proc)"
        )
    if level.leaks and not PROC.exists():
        raise NotIsolatedError(
            f"model code cannot be isolated here: /proc is not mounted, and without it these walls cannot be kept: "
            f"{', '.join(level.leaks)}; mount it (mount -t proc proc /proc)"
        )
    if level.leaks:
        raise NotIsolatedError(f"model code cannot be isolated here: not enforced: {', '.join(level.leaks)}; {remedy}")
    if level.faults:
        remedy = "" if level.faults[0].startswith(NO_THREADS) else f"; {remedy}"
        raise NotIsolatedError(f"honest programs cannot run in the sandbox here: {'; '.join(level.faults)}{remedy}")
