"""The model's process: run the program text, then answer the tester's calls until killed.

This runs behind the walls. Nothing here is trusted: the model's code shares the address space, so it can change any of
it. It gains nothing by that, since all it can do is answer calls, and the answers are compared in another process.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from .values import CrossingError, decode, encode
from .wire import frame, frame_length

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
        return json.loads(str(data[4:length], "ascii"))

    def _at_least(self, count: int) -> bytes:
        parts, size = [self._held], len(self._held)
        while size < count:
            part = os.read(self._fd, max(1 << 16, count - size))
            if not part:
                raise EOFError
            parts.append(part)
            size += len(part)
        self._held = b"".join(parts)
        return self._held


def send(message: Any, fd: int = REPLIES_FD) -> None:
    """Write one frame to the tester."""
    data = memoryview(frame(message))
    while data:
        data = data[os.write(fd, data) :]


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as plain data: the names of its classes, its message, the last line of the program it passed."""
    line = None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == PROGRAM_NAME:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    names = [str.__str__(kind.__name__) for kind in type(error).__mro__]
    if isinstance(error, MemoryError):
        error.__traceback__ = None  # frees what the failing frames hold: the reply needs a little memory too
        return {"names": ["MemoryError", "Exception"], "message": "", "args": [], "line": line}
    try:
        message = str.__str__(str(error))[:MAX_MESSAGE_CHARACTERS]
    except BaseException:
        message = "(the exception cannot be shown)"
    try:
        arguments = encode(list(error.args[:5]))
    except BaseException:
        arguments = [message]
    return {"names": names, "message": message, "args": arguments, "line": line}


def load(text: str, entry_point: str) -> tuple[Callable[..., Any] | None, dict[str, Any]]:
    """Run the program text as a module; return its entry and the reply for the tester."""
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module  # dataclasses, typing and pickle look up a class's module
    module.__dict__["__builtins__"] = builtins
    try:
        try:
            code = compile(text, PROGRAM_NAME, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
            return None, {"malformed": f"{type(error).__name__}: {error}"[:MAX_MESSAGE_CHARACTERS]}
        exec(code, module.__dict__)
        entry = module.__dict__.get(entry_point)
        if entry is None:
            raise NameError(f"name {entry_point!r} is not defined")
    except BaseException as error:
        return None, {"raised": describe(error)}
    return entry, {"ready": True}


def answer(entry: Callable[..., Any], request: dict[str, Any]) -> dict[str, Any]:
    """Make one call and return the reply: the value or the exception, and the arguments where the call changed them."""
    number = request["id"]
    arguments, keywords = decode(request["args"]), decode(request["kwargs"])
    try:
        value = entry(*arguments, **keywords)
        reply = {"id": number, "ok": encode(value)}
    except CrossingError as error:
        return {"id": number, "malformed": str(error)}
    except BaseException as error:
        reply = {"id": number, "raised": describe(error)}
    try:
        changed = encode([arguments, keywords])
    except CrossingError as error:
        return {"id": number, "malformed": f"an argument was changed: {error}"}
    # Compared as text: 1, 1.0 and True are equal as values.
    if repr(changed) != repr([request["args"], request["kwargs"]]):
        reply["changed"] = changed
    return reply


def serve() -> None:
    """Say that the walls stand, take the program, answer calls. Ends when the tester closes the pipe."""
    send({"up": True})
    requests = Requests()
    request = requests.receive()
    gc.enable()
    entry, reply = load(request["program"], request["entry_point"])
    while True:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):  # the program may have closed or replaced it
                stream.flush()
        try:
            send(reply)
        except MemoryError:
            send({"raised": describe(MemoryError()), "id": reply.get("id")})
        if entry is None:
            return
        del reply
        reply = answer(entry, requests.receive())
