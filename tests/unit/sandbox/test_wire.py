"""Frames are JSON as the library writes and reads it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from evalkit.sandbox.wire import frame, frame_length, parsed

MESSAGES: list[Any] = [
    {"id": 1, "ok": [1, -2.5, None, True, 'é\u2028\ud800"\\', {"a": []}, 10**40]},
    {"1": [math.inf, -math.inf, 1e308, 5e-324]},
    "",
    [],
    0,
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_frame_is_the_librarys_json(message: Any) -> None:
    data = frame(message)
    assert data[4:] == json.dumps(message, separators=(",", ":")).encode("ascii")
    assert frame_length(data[:4]) == len(data) - 4
    assert parsed(data[4:]) == message


@pytest.mark.parametrize("body", [b' {"a": 1}\n', b"NaN", b"[1,2]", b'"\\ud83d"', b"-0.0", b"1e999"])
def test_a_body_is_read_as_the_library_reads_it(body: bytes) -> None:
    assert repr(parsed(body)) == repr(json.loads(body))


@pytest.mark.parametrize("body", [b"", b" ", b"{", b"[1,]", b"1 2", b'{"a":1}x', b"\xff", b"'a'", b"nul"])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|Extra data|codec"):
        parsed(body)


def test_nesting_beyond_the_stack_is_told() -> None:
    with pytest.raises(RecursionError):
        parsed(b"[" * 100_000 + b"]" * 100_000)
