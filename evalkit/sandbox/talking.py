"""How a candidate talks to the tester: frames in, frames out, and exceptions as plain data."""

from __future__ import annotations

from os import read as read_fd  # these names, and the next, are ours, whatever the program makes of the modules
from os import write as write_fd
from typing import Any

from . import raised
from .encoding import Encoder, encode
from .wire import frame, frame_length, parsed

REQUESTS_FD, REPLIES_FD = 3, 4
PROGRAM_NAME = "<candidate>"
MAX_MESSAGE_CHARACTERS = 500


class Requests:
    """Frames from the tester, read in as few calls as possible. Mutable: what was read beyond the last frame."""

    def __init__(self, fd: int = REQUESTS_FD) -> None:
        self._fd = fd
        self._held = b""

    def receive(self) -> Any:
        """Return the next message; ``EOFError`` when the tester has closed the pipe."""
        length = 4 + frame_length(self._at_least(4)[:4])
        data = self._at_least(length)
        self._held = data[length:]
        return parsed(data[4:length])

    def _at_least(self, count: int) -> bytes:
        parts, size = [self._held], len(self._held)
        while size < count:
            part = read_fd(self._fd, max(1 << 16, count - size))
            if not part:
                raise EOFError
            parts.append(part)
            size += len(part)
        self._held = b"".join(parts)
        return self._held


def send(message: Any, fd: int = REPLIES_FD) -> None:
    """Write one frame to the tester."""
    write(frame(message), fd)


def write(message: bytes, fd: int = REPLIES_FD) -> None:
    """Write all of a frame to the tester."""
    data = memoryview(message)
    while data:
        data = data[write_fd(fd, data) :]


def describe(error: BaseException, encoder: Encoder | None = None) -> dict[str, Any]:
    """An exception as plain data."""
    encoder = encoder or Encoder()

    def encoded(value: Any) -> Any:
        mark = len(encoder.heap.fresh)
        try:
            return encode(value, encoder)
        except BaseException:
            encoder.heap.undo(mark)
            raise

    return raised.describe(error, encoded, PROGRAM_NAME)
