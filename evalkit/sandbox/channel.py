"""The pipes to one candidate, as the tests' side has them, and what ends a sample."""

from __future__ import annotations

import os
import select
from os import read, write  # these names, and the next, are ours, whatever the tests make of the modules
from time import monotonic
from typing import Any

from .wire import MAX_FRAME_BYTES, frame, frame_length, parsed

MAX_OUTPUT_BYTES = 64 << 10


class Ending(BaseException):
    """Ends the sample, whatever the tests catch: :class:`CandidateSession` raises it again at every further call."""


class TimeIsUp(Ending):
    """The wall-clock bound of the whole sample passed."""


class Malformed(Ending):
    """The candidate sent something that is not a reply."""


class Gone(Ending):
    """The candidate closed its end: it exited, was killed, or closed its descriptors."""


class Uncrossed(Ending):
    """A value cannot cross: no fault of the program, but its tests cannot go on."""


class Lacking(Ending):
    """The program imports a module that its nursery has not loaded: the sample is judged elsewhere, from its start."""


class FailedWhole(Ending):
    """Program and tests, in one process, did not run to their end."""


class Over(Ending):
    """The sample has its verdict; what is left of it says nothing any more."""


class Fault(Ending):
    """The harness or the data set is at fault, not the candidate."""


class Channel:
    """The pipes to one candidate: frames out, frames in, and what it prints."""

    def __init__(self, ours: tuple[int, int, int], theirs: tuple[int, ...] = ()) -> None:
        self.requests, self.replies, self.prints = ours
        self.ours: tuple[int, ...] = ours
        self.theirs = theirs
        self.output = bytearray()
        self.printed = 0
        self.may_lack = False
        """Whether the candidate can lack a module (``lacking.py``)."""
        self._held = b""
        self.poller: Any = None
        self.spent = 0.0
        """Seconds that this side has worked on messages, without those it waited for an answer meanwhile."""
        self._since = 0.0
        self.exchanges = 0

    @classmethod
    def new(cls) -> Channel:
        """Make the pipes."""
        requests, replies, prints = os.pipe(), os.pipe(), os.pipe()
        ours = (requests[1], replies[0], prints[0])
        for fd in ours:
            os.set_blocking(fd, False)
        return cls(ours, (requests[0], replies[1], prints[1]))

    def start_work(self) -> None:
        """Work on a message begins."""
        self._since = self._since or monotonic()

    def stop_work(self) -> bool:
        """It ends, or waits; whether there was any."""
        was_working = self._since > 0
        if was_working:
            self.spent += monotonic() - self._since
            self._since = 0.0
        return was_working

    def open(self) -> None:
        """Make ready to talk."""
        self.poller = select.poll()
        self.poller.register(self.replies, select.POLLIN)
        self.poller.register(self.prints, select.POLLIN)

    def close_theirs(self) -> None:
        for fd in self.theirs:
            os.close(fd)
        self.theirs = ()

    def leave(self) -> None:
        """Leave the talking to another process, which has the same pipes; keep what is printed."""
        for fd in (self.requests, self.replies):
            os.close(fd)
        self.requests = self.replies = -1
        self.ours = (self.prints,)

    def close(self) -> None:
        self.close_theirs()
        for fd in self.ours:
            os.close(fd)
        self.ours = ()
        self.requests = self.replies = self.prints = -1  # their numbers soon are another channel's

    def drain(self) -> None:
        """Take what was printed; keep the first 64 KiB, drop the rest."""
        try:
            while part := read(self.prints, 1 << 16):
                self.printed += len(part)
                self.output += part[: MAX_OUTPUT_BYTES - len(self.output)]
                if len(part) < 1 << 16:
                    return
            self.poller.unregister(self.prints)
        except (BlockingIOError, KeyError, AttributeError):  # nothing there; its end was seen before
            pass

    def _wait(self, fd: int) -> None:
        """Return when ``fd`` is ready; meanwhile take what is printed, so that the candidate does not block on it."""
        while True:
            for ready, _ in self.poller.poll():
                if ready == self.prints:
                    self.drain()
                if ready == fd:
                    return

    def send(self, message: Any) -> None:
        self.start_work()
        data = memoryview(frame(message))
        self.stop_work()
        self.exchanges += 1
        waiting = False
        try:
            while data:
                try:
                    data = data[write(self.requests, data) :]
                except BlockingIOError:  # the pipe is full
                    if not waiting:
                        self.poller.register(self.requests, select.POLLOUT)
                        self.poller.modify(self.replies, 0)  # a reply now would be out of turn; only its end matters
                        waiting = True
                    self._wait(self.requests)
        except BrokenPipeError:
            raise Gone from None
        finally:
            if waiting:
                self.poller.unregister(self.requests)
                self.poller.modify(self.replies, select.POLLIN)

    def receive(self) -> dict[str, Any]:
        """Return the candidate's next message.

        Raises:
            Gone: the pipe is closed.
            Malformed: not a frame of a JSON object, or one that is too long.
            Lacking: the candidate needs a module that was not loaded.
        """
        length = frame_length(self._at_least(4)[:4])
        if length > MAX_FRAME_BYTES:
            raise Malformed(f"a reply of {length} bytes; the most is {MAX_FRAME_BYTES}")
        data = self._at_least(4 + length)
        self._held = data[4 + length :]
        self.start_work()
        try:
            message = parsed(data[4 : 4 + length])
        except (ValueError, RecursionError):
            raise Malformed("a reply that is not JSON") from None
        finally:
            self.stop_work()
        if type(message) is not dict:
            raise Malformed("a reply that is not an object")
        if self.may_lack and "lacking" in message:
            raise Lacking(str(message["lacking"])[:100])
        return message

    def _at_least(self, count: int) -> bytes:
        parts, size = [self._held], len(self._held)
        while size < count:
            self._wait(self.replies)
            part = read(self.replies, max(1 << 16, count - size))
            if not part:
                raise Gone
            parts.append(part)
            size += len(part)
        self._held = b"".join(parts)
        return self._held
