"""Progress on stderr and in a file, with an estimate of the time left that one may believe.

A terminal gets a bar (tqdm's), a log a line now and then, and a dashboard ``progress.json`` in the run's folder.

The unit is work (tokens to compute), not requests: requests sorted by length would make any estimate from their number
wrong. The rate is that of the work done so far in this process; what a resume found finished does not count.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

PROGRESS_FILE = "progress.json"
# Lines on something that is no terminal (a log file) come this rarely; a terminal's bar and the file more often.
LOG_SECONDS = 30.0
TERMINAL_SECONDS = 0.5
FILE_SECONDS = 1.0
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
        name: what is being done, e.g. ``log-likelihoods``.
        total: units of work of the phase.
        unit: name of the unit, e.g. ``tokens``.
        done: units that were finished before (a resumed run).
        tasks: by task (answered requests, all of its requests).
        folder: where ``progress.json`` is kept; None for none.
        stream: where to write; stderr unless told otherwise.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str = "tokens",
        done: int = 0,
        tasks: Mapping[str, tuple[int, int]] | None = None,
        folder: Path | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.done = done
        self._found = done
        self._answered = Counter({task: answered for task, (answered, _) in (tasks or {}).items()})
        self._requests = {task: every for task, (_, every) in (tasks or {}).items()}
        self._in_hand: list[str] = []
        self._is_finished = False
        self._folder = folder
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started = self._last_shown = clock()
        self._bar = self._open_bar() if self._stream.isatty() else None
        self._write()

    def advance(self, units: int, tasks: Mapping[str, int] | None = None) -> None:
        """Count finished work, and show it if it is time.

        Args:
            units: how much.
            tasks: by task the requests that it answered.
        """
        self.done += units
        self._answered.update(tasks or {})
        self._in_hand = list(tasks or {})
        now = self._clock()
        if self._bar is not None:
            self._bar.update(units)
        elif now - self._last_shown >= LOG_SECONDS:
            self._last_shown = now
            self._say(self.text())
        if now - self._last_written >= FILE_SECONDS:
            self._write()

    def finish(self) -> None:
        """Say how long the phase took."""
        if self._bar is not None:
            self._bar.close()
        self._is_finished = True
        self._write()
        rate = self.per_second()
        shown = f", {rate:,.{0 if rate >= 10 else 1}f} {self.unit} a second" if rate else ""
        seconds = duration_text(self._clock() - self._started)
        self._say(f"{self.name}: {self.done - self._found:,} {self.unit} in {seconds}{shown}")

    def stop(self) -> None:
        """Leave what is true where the run ends before its end."""
        if self._bar is not None:
            self._bar.close()
        self._write(is_stopped=True)

    def text(self) -> str:
        """Return the line for now."""
        share = self.done / self.total if self.total else 1.0
        line = f"{self.name}: {share:.0%} of {self.total:,} {self.unit}"
        left = self.seconds_left()
        return line if left is None else f"{line}, {duration_text(left)} left"

    def per_second(self) -> float:
        """Return the rate of this process so far; 0 where there is none yet."""
        seconds = self._clock() - self._started
        return (self.done - self._found) / seconds if seconds > 0 else 0.0

    def seconds_left(self) -> float | None:
        """Return the estimate, or None while too little is done to know."""
        work = self.done - self._found
        to_do = self.total - self._found
        if work <= 0 or work < ESTIMATE_AFTER * to_do:
            return None
        return (self._clock() - self._started) * (to_do - work) / work

    def _open_bar(self) -> Any:
        from tqdm import tqdm

        return tqdm(
            disable=False,  # the libraries' own bars are off (TQDM_DISABLE), and this one is ours
            desc=f"evalkit: {self.name}",
            total=self.total,
            initial=self.done,
            unit=f" {self.unit}",
            file=self._stream,
            mininterval=TERMINAL_SECONDS,
            miniters=1,
            smoothing=0,  # the mean rate: packs differ, and the last one's says little
            dynamic_ncols=True,
            leave=False,  # what `finish` says takes its place
        )

    def _say(self, text: str) -> None:
        self._stream.write(f"evalkit: {text}\n")
        self._stream.flush()

    def _write(self, is_stopped: bool = False) -> None:
        """Renew the file in one step; no result depends on it, so neither a power failure nor a full disk matters."""
        self._last_written = self._clock()
        if self._folder is None:
            return
        left = 0.0 if self._is_finished else self.seconds_left()
        now = {
            "what": self.name,
            "task": ", ".join(task for task in self._requests if task in self._in_hand) or None,
            "tasks": {task: {"done": self._answered[task], "total": n} for task, n in self._requests.items()},
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "per_second": round(self.per_second(), 3),
            "eta_seconds": None if left is None else round(left, 1),
            "updated": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "finished": self._is_finished,
            "stopped": is_stopped,
        }
        temporary = self._folder / f".{PROGRESS_FILE}.tmp"
        with suppress(OSError):
            temporary.write_text(json.dumps(now) + "\n", encoding="utf-8")
            temporary.replace(self._folder / PROGRESS_FILE)
