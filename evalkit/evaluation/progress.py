"""Progress on stderr, with an estimate of the time left that one may believe.

The unit is work (tokens to compute), not requests: requests sorted by length would make any estimate from their number
wrong. The rate is that of the work done so far in this process; what a resume found finished does not count.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

# Lines on something that is no terminal (a log file) come this rarely; a terminal's one line is renewed more often.
LOG_SECONDS = 30.0
TERMINAL_SECONDS = 0.5
# No estimate before this share of the work: the first packs pay for compilation and memory allocation.
ESTIMATE_AFTER = 0.02


def duration_text(seconds: float) -> str:
    """Return e.g. ``45 s``, ``12 min`` or ``3 h 05 min``.

    >>> duration_text(44.6), duration_text(719), duration_text(11100)
    ('45 s', '12 min', '3 h 05 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """One phase of work.

    Args:
        name: what is being done, e.g. ``scoring``.
        total: units of work of the phase.
        unit: name of the unit, e.g. ``tokens``.
        done: units that were finished before (a resumed run).
        stream: where to write; stderr unless told otherwise.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str = "tokens",
        done: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.done = done
        self._found = done
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started = clock()
        self._terminal = self._stream.isatty()
        self._last_shown = self._started
        self._open_line = False

    def advance(self, units: int) -> None:
        """Count finished work, and show it if it is time."""
        self.done += units
        interval = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        if self._clock() - self._last_shown >= interval:
            self._show(self.text())

    def finish(self) -> None:
        """Say how long the phase took."""
        seconds = self._clock() - self._started
        work = self.done - self._found
        per_second = work / seconds if seconds > 0 else 0.0
        rate = f", {per_second:,.{0 if per_second >= 10 else 1}f} {self.unit} a second" if per_second else ""
        self._show(f"{self.name}: {work:,} {self.unit} in {duration_text(seconds)}{rate}")
        if self._open_line:
            self._stream.write("\n")
            self._open_line = False

    def text(self) -> str:
        """Return the line for now."""
        share = self.done / self.total if self.total else 1.0
        line = f"{self.name}: {share:.0%} of {self.total:,} {self.unit}"
        left = self.seconds_left()
        return line if left is None else f"{line}, {duration_text(left)} left"

    def seconds_left(self) -> float | None:
        """Return the estimate, or None while too little is done to know."""
        work = self.done - self._found
        to_do = self.total - self._found
        if work <= 0 or work < ESTIMATE_AFTER * to_do:
            return None
        return (self._clock() - self._started) * (to_do - work) / work

    def _show(self, text: str) -> None:
        self._last_shown = self._clock()
        if self._terminal:
            self._stream.write(f"\r\x1b[2Kevalkit: {text}")
            self._open_line = True
        else:
            self._stream.write(f"evalkit: {text}\n")
        self._stream.flush()
