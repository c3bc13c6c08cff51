"""SIGINT and SIGTERM: finish what is in hand, keep it, say how to go on. A second signal stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):  # like its base, no error but the user's wish
    """The user, or the machine's scheduler, asked to stop.

    A KeyboardInterrupt, so that no ``except Exception`` on the way takes it for a fault.

    Attributes:
        signal_number: which signal.
        exit_code: 128 + the signal's number: 130 for SIGINT, 143 for SIGTERM.
        is_explained: whether the user was told what is kept and how to go on.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number
        self.is_explained = False


class StopSignals:
    """While entered, the first SIGINT or SIGTERM raises `Interrupted`, or waits until a ``held`` block's next `check`.

    From then on the signals have their default effect, so that a second one ends the process at once, wherever it is.
    In a thread other than the main one this does nothing: Python lets only that one handle signals.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._is_held = False
        self._held_text = ""
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            # A parent may have blocked them; then nobody could stop this process but by force.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._before = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned
        self._before = {}

    @contextmanager
    def held(self, text: str = "finishing the batch in hand; once more stops at once") -> Iterator[None]:
        """Let a signal wait: inside, only `check` raises.

        Args:
            text: what the user is told meanwhile; "": nothing, where it is over at once.
        """
        self._is_held, self._held_text = True, text
        try:
            yield
        finally:
            self._is_held = False

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self.received is not None:
            raise Interrupted(self.received)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if self._is_held:
            if self._held_text:
                # Not print: the signal may have come in the middle of another print.
                os.write(2, f"\nevalkit: {signal.Signals(number).name}: {self._held_text}\n".encode())
            return
        raise Interrupted(number)
