"""Attempts that run together, and those that run alone."""

from __future__ import annotations

import threading


class Turns:
    """Lets attempts run together, and a second attempt alone. Mutable: who is running."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._begun = 0
        self._alone = False
        self._waiting_alone = 0

    def shared(self) -> int:
        """Begin one of many; returns a token for :meth:`end`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting_alone)
            self._running += 1
            self._begun += 1
            return self._begun if self._running == 1 else 0

    def alone(self) -> None:
        """Begin when nobody else is running, and keep others out."""
        with self._changed:
            self._waiting_alone += 1
            self._changed.wait_for(lambda: not self._alone and not self._running)
            self._waiting_alone -= 1
            self._alone = True

    def end(self, token: int = 0) -> bool:
        """End what was begun; returns whether no other ran in the meantime."""
        with self._changed:
            was_alone = self._alone or token == self._begun
            if self._alone:
                self._alone = False
            else:
                self._running -= 1
            self._changed.notify_all()
            return was_alone
