"""The tester's side of the pipes to a candidate: calls out, plain values and exceptions back, and nothing else."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import select
from typing import Any

from .values import CrossingError, decode, encode, write_back
from .wire import MAX_FRAME_BYTES, frame, frame_length

MAX_OUTPUT_BYTES = 64 << 10


class Ending(BaseException):
    """Ends the sample, whatever the tests catch: :class:`Proxy` raises it again at every further call."""


class TimeIsUp(Ending):
    """The wall-clock bound of the whole sample passed."""


class Malformed(Ending):
    """The candidate sent something that is not a reply."""


class Gone(Ending):
    """The candidate closed its end: it exited, was killed, or closed its descriptors."""


class Fault(Ending):
    """The harness or the data set is at fault, not the candidate."""


class Channel:
    """The pipes to one candidate: frames out, frames in, and what it prints."""

    def __init__(self) -> None:
        requests, self.requests = os.pipe()
        self.replies, replies = os.pipe()
        self.prints, prints = os.pipe()
        self.theirs = (requests, replies, prints)
        self.output = bytearray()
        self.printed = 0
        self._held = b""
        for fd in (self.requests, self.replies, self.prints):
            os.set_blocking(fd, False)
        self.poller = select.poll()
        self.poller.register(self.replies, select.POLLIN)
        self.poller.register(self.prints, select.POLLIN)

    def close_theirs(self) -> None:
        for fd in self.theirs:
            os.close(fd)
        self.theirs = ()  # type: ignore[assignment]

    def close(self) -> None:
        self.close_theirs()
        for fd in (self.requests, self.replies, self.prints):
            os.close(fd)

    def drain(self) -> None:
        """Take what was printed; keep the first 64 KiB, drop the rest."""
        try:
            while part := os.read(self.prints, 1 << 16):
                self.printed += len(part)
                self.output += part[: MAX_OUTPUT_BYTES - len(self.output)]
                if len(part) < 1 << 16:
                    return
            self.poller.unregister(self.prints)
        except (BlockingIOError, KeyError):
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
        data = memoryview(frame(message))
        waiting = False
        try:
            while data:
                try:
                    data = data[os.write(self.requests, data) :]
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
        """
        length = frame_length(self._at_least(4)[:4])
        if length > MAX_FRAME_BYTES:
            raise Malformed(f"a reply of {length} bytes; the most is {MAX_FRAME_BYTES}")
        data = self._at_least(4 + length)
        self._held = data[4 + length :]
        try:
            message = json.loads(str(data[4 : 4 + length], "ascii"))
        except (ValueError, RecursionError):
            raise Malformed("a reply that is not JSON") from None
        if type(message) is not dict:
            raise Malformed("a reply that is not an object")
        return message

    def _at_least(self, count: int) -> bytes:
        parts, size = [self._held], len(self._held)
        while size < count:
            self._wait(self.replies)
            part = os.read(self.replies, max(1 << 16, count - size))
            if not part:
                raise Gone
            parts.append(part)
            size += len(part)
        self._held = b"".join(parts)
        return self._held


class CandidateExit(BaseException):
    """The candidate raised SystemExit or another exception that is not an ``Exception``."""


def rebuild(raised: Any) -> BaseException:
    """Make the nearest built-in exception of what the candidate says it raised."""
    try:
        names, message, line = raised["names"], raised["message"], raised["line"]
        if type(message) is not str or type(line) not in (int, type(None)) or type(names) is not list:
            raise TypeError
        names = [name for name in names[:30] if type(name) is str]
        arguments = decode(raised["args"])
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError, AttributeError):
        raise Malformed("an exception without name, message, arguments and line") from None
    error: BaseException = Exception(message[:500])
    for name in names:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            with contextlib.suppress(Exception):  # arguments that do not suit it; its base will do
                error = kind(*arguments) if issubclass(kind, Exception) else CandidateExit(message[:500])
                break
    error.from_candidate = (names[0] if names else "Exception", message, line)  # type: ignore[attr-defined]
    return error


class Proxy:
    """What the tests call: each call goes to the candidate, and its value or exception comes back."""

    def __init__(self, channel: Channel, name: str, first_number: int) -> None:
        self._channel = channel
        self._number = first_number
        self.__name__ = name
        self.calls = 0
        self.ending: Ending | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.ending is not None:
            raise self.ending
        try:
            return self._call(args, kwargs)
        except Ending as ending:
            self.ending = ending
            raise

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._number += 1
        self.calls += 1
        arguments = list(args)
        try:
            sent = {"id": self._number, "args": encode(arguments), "kwargs": encode(kwargs)}
        except CrossingError as error:
            raise Fault(f"a test passes an argument that cannot be sent: {error}") from None
        self._channel.send(sent)
        reply = self._channel.receive()
        if reply.get("id") != self._number:
            raise Malformed("a reply to another call")
        if "malformed" in reply:
            raise Malformed(str(reply["malformed"])[:200])
        try:
            if "changed" in reply:
                new_arguments, new_keywords = map(decode, reply["changed"])
                if len(new_arguments) != len(arguments):
                    raise ValueError
                for old, new in zip(arguments, new_arguments, strict=True):
                    write_back(old, new)
                for name, old in kwargs.items():
                    write_back(old, new_keywords[name])
            if "ok" in reply:
                return decode(reply["ok"])
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError, AttributeError):
            raise Malformed("a value that is not plain data") from None
        raise rebuild(reply.get("raised"))
