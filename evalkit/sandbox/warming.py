"""A trivial program that goes a candidate's way in the nursery, so that children need not adapt the same code anew."""

from __future__ import annotations

import contextlib
import functools
import gc
import marshal
import os
from binascii import b2a_base64
from os import write as write_fd
from typing import Any

from .candidate import serve
from .encoding import Encoder, encode_arguments
from .heap import Heap
from .parts import parts_of
from .wire import frame

# A program of the usual kind, and what tests ask of it.
_USUAL = """
from typing import List

def first(values: List[int], text: str = "") -> List[int]:
    \"\"\"A docstring.\"\"\"
    found = []
    for value in sorted(values):
        if value % 2 == 0 and value not in found:
            found.append(value)
    return found if len(text) < 3 else str(max(found))
"""
_ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    ([3, 2, 6, 2],),
    ([1, 2], "ab"),
    ([4, 2], "a longer text"),
    ([1.5, 2.0],),
    ([],),
)
WARMING_ROUNDS = 8  # Python 3.11 and later adapt a function's code to what it meets after so many calls


def warm_up() -> None:
    """Go the way of a program a few times in this process, the nursery, which runs no other program than this one.

    Each child would else adapt the same code anew, and copy the memory pages that this changes.
    """
    code = b2a_base64(marshal.dumps(compile(_USUAL, "<usual>", "exec", dont_inherit=True))).decode("ascii")
    for _ in range(WARMING_ROUNDS):
        pipes = (*os.pipe(), *os.pipe())
        heap = Heap(0, parts_of)  # the tests' side
        requests: list[dict[str, Any]] = [{"code": code, "entry_point": "first", "classes": []}]
        for number, arguments in enumerate(_ARGUMENTS):
            values = encode_arguments(arguments, {}, functools.partial(Encoder, heap=heap))
            requests.append({"id": number, "do": "call", "on": 0, "values": values})
        write_fd(pipes[1], b"".join(map(frame, requests)))
        os.close(pipes[1])
        with contextlib.suppress(EOFError):
            serve(pipes[0], pipes[3])
        for fd in (pipes[0], pipes[2], pipes[3]):
            os.close(fd)
    gc.disable()
