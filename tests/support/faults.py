"""A disk that fails at the Nth call."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from evalkit.store import files

CALLS = ("open", "write", "fdatasync", "fsync", "replace", "ftruncate")


class FaultyOs:
    """The ``os`` of `evalkit.store.files`, which counts the calls that reach the disk and spoils one of them.

    Attributes:
        calls: names of the calls so far, in order.
    """

    def __init__(self, fail_at: int | None = None, error: int | None = None, stuck: bool = False) -> None:
        """Spoil call number ``fail_at`` (from 0): with errno ``error``, or by SIGKILL where that is None.

        A write is half done first. With ``stuck``, all later writes fail too, as on a full disk.
        """
        self.calls: list[str] = []
        self._fail_at, self._error, self._stuck = fail_at, error, stuck

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            number = len(self.calls)
            self.calls.append(name)
            is_repeat = self._stuck and self._fail_at is not None and number > self._fail_at and name == "write"
            if number == self._fail_at or is_repeat:
                if name == "write" and not is_repeat:
                    fd, data = arguments
                    os.write(fd, bytes(data)[: len(data) // 2])
                if self._error is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                else:
                    raise OSError(self._error, os.strerror(self._error))
            return real(*arguments, **options)

        return call


def install(monkeypatch: pytest.MonkeyPatch, **options: Any) -> FaultyOs:
    """Replace the store's disk."""
    faulty = FaultyOs(**options)
    monkeypatch.setattr(files, "os", faulty)
    return faulty
