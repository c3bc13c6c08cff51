"""A judge as its tester sees it: a process, the link to it, and what of its words can be a report."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from .channel import Channel
from .processes import process_cpu_seconds
from .sockets import Socket, send_fds
from .wire import END, KILL, NOT_JUDGED, frame, frame_length, parsed

MAX_REPORT_BYTES = 4 << 20
MAX_REPORTED = 1e6  # seconds
ROUNDING_SECONDS = 1e-3
EXIT_SECONDS = 1.0  # a judge that closed its link is given so long to end
LATE_SECONDS = 3.0  # that a judge may begin so much later than it was made
SILENCE_SECONDS = 0.4  # how long a judge may be silent beyond the bound, which ends all but a long call in C
WRITTEN = f"{NOT_JUDGED} the tests, or a text of the program that they ran, wrote to their process's pipes"


class DiedError(Exception):
    """A judge made no report: ``args`` are why, the signal that ended it (0: none), its share of a CPU after the bound
    had passed (-1: it was not silent), and its state then, as /proc/PID/stat has it ("": not told)."""


class JudgeProcess:
    """A judge and the link to it, for one job that it was forked with, or for many that are sent to it. Mutable: what
    it has sent of its report."""

    def __init__(self, pid: int, link: Socket) -> None:
        self.pid = pid
        self.link = link
        self._data = b""

    def send(self, job: dict[str, Any], channel: Channel) -> None:
        """Send a job and the pipes to its candidate. What it does with them, its report tells."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            text = frame(job)
            send_fds(self.link, text[:4], channel.ours)
            self.link.sendall(text[4:])

    def report(self, bound: float, more: Callable[[float], None], most: float) -> dict[str, Any]:
        """The report on the job in hand.

        Args:
            more: told of the seconds that crossing has taken so far, which the bound is put off by.
            most: seconds that a judge grants for that; its words grow, and up to this. Others are not a judge's.
            bound: when (time.monotonic) its clock ends the tests, if it began them at once; on a busy machine it begins
                later, at the latest when it says that the program is up. What it does after that shows what it is busy
                with; before, it may only have waited for the program.

        Raises:
            DiedError: there is none, and the process is gone.
        """
        seconds, latest = bound - time.monotonic(), bound + LATE_SECONDS
        begun, used, bound, told, is_up = 0.0, 0.0, latest, 0.0, False
        deadline = bound
        while True:
            try:
                message = self._message(deadline)
            except TimeoutError:
                if not begun:
                    begun, used = time.monotonic(), self._cpu_seconds()
                    deadline = begun + SILENCE_SECONDS
                    continue
                share = (self._cpu_seconds() - used) / (time.monotonic() - begun)
                state = self._state()
                self.end()
                raise DiedError("the tests did not end", 0, share, state) from None
            except (EOFError, OSError):
                return self._last_report()
            word = message.get("more") if type(message) is dict and len(message) == 1 else None
            if type(word) is float and told < word <= most + ROUNDING_SECONDS:
                told = word
                more(told)
                begun, deadline = 0.0, bound + told
                continue
            if message == {"up": True} and not is_up:
                is_up, bound = True, min(time.monotonic() + seconds, latest)
                begun, deadline = 0.0, bound + told
                continue
            if not is_report(message) or (is_up and message["label"] == "lost"):
                self.end()
                return {**NO_REPORT, "label": "failed", "detail": WRITTEN}
            report: dict[str, Any] = message
            return report

    def _last_report(self) -> dict[str, Any]:
        status = self.end(grace_seconds=EXIT_SECONDS)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            raise DiedError(f"the tests' process was ended by signal {number}", number, -1.0, "")
        detail = f"{NOT_JUDGED} the tests ended their own process (exit code {os.WEXITSTATUS(status)})"
        return {**NO_REPORT, "label": "failed", "detail": detail}

    def _cpu_seconds(self) -> float:
        try:
            return process_cpu_seconds(self.pid)
        except OSError:
            return 0.0

    def _state(self) -> str:
        """The letter of its state: R runs or waits for a CPU, S sleeps, T is stopped."""
        try:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8") as file:
                return file.read().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return ""

    def _message(self, deadline: float) -> Any:
        """The next message; None of what is no message. A part of one is kept where the time is over."""
        poller = select.poll()
        poller.register(self.link, select.POLLIN)
        length = 4
        while len(self._data) < length:
            if not poller.poll(max(0, int(1000 * (deadline - time.monotonic())))):
                raise TimeoutError
            part = self.link.recv(length - len(self._data))
            if not part:
                raise EOFError
            self._data += part
            if length == 4 and len(self._data) >= 4:
                length += frame_length(self._data[:4])
                if length > MAX_REPORT_BYTES:
                    return None
        data, self._data = self._data, b""
        try:
            return parsed(data[4:])
        except (ValueError, RecursionError):
            return None

    def end(self, grace_seconds: float = 0.0) -> int:
        """End the process, which is first given a moment to end by itself; its wait status."""
        self.link.close()
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline:
            reaped, status = os.waitpid(self.pid, os.WNOHANG)
            if reaped:
                return status
            time.sleep(0.001)
        os.kill(self.pid, signal.SIGKILL)
        return os.waitpid(self.pid, 0)[1]


NO_REPORT: dict[str, Any] = {
    **{"label": "lost", "detail": "", "word": KILL.decode(), "output": "", "printed": 0},
    **{"used": 0.0, "waited": 0.0, "waited_in_use": 0.0, "crossing": 0.0, "numpy": False, "plain": False},
}
_LABELS = frozenset(
    (
        "passed",
        "failed",
        "timed out",
        "out of memory",
        "ended early",
        "malformed",
        "unjudged",
        "gone",
        "lost",
        "lacking",
    )
)
_WORDS = frozenset((END.decode(), KILL.decode()))


def is_report(message: Any) -> bool:
    """Whether a message has the form of a judge's report. Tests can write to all that their process has open."""
    if type(message) is not dict or message.keys() != {*NO_REPORT, "mapped"}:
        return False
    if any(type(message[name]) is not type(value) for name, value in NO_REPORT.items()):
        return False
    if not all(-1.0 <= message[name] <= MAX_REPORTED for name, value in NO_REPORT.items() if type(value) is float):
        return False
    try:
        bytes.fromhex(message["output"])
    except ValueError:
        return False
    if type(message["mapped"]) is not int or not 0 <= message["printed"] < 1 << 63:
        return False
    return message["label"] in _LABELS and message["word"] in _WORDS
