"""Sealed programs (no Landlock, every open refused) that import what their nursery did not load beforehand.

Loading the whole standard library takes most of a second and makes every later fork eight times as dear, and few
programs need it. So a sealed nursery begins with the usual modules; a program that imports another one is stopped at
that import, and its sample is judged once more from its start, in a worker whose nursery has loaded everything.
The walls of both are the same, and both are proved. A program that lies about it gains that second run, no more.
"""

from __future__ import annotations

import importlib.machinery
import sys
import time
import types
from collections.abc import Callable, Collection
from typing import NoReturn


class LackingFinder:
    """Stops a program for good at an import that would have to open a file."""

    def __init__(self, names: Collection[str], tell: Callable[[str], object]) -> None:
        self._names = frozenset(names)
        self._tell = tell

    def find_spec(self, name: str, path: object = None, target: types.ModuleType | None = None) -> None:
        del path, target
        if name.partition(".")[0] in self._names:
            self._stop(name)

    def _stop(self, name: str) -> NoReturn:
        self._tell(name)
        while True:  # not an end: that could be seen before what was told
            time.sleep(3600)


def stop_at_imports(packages: Collection[str], tell: Callable[[str], object]) -> None:
    """From now on, in this process, importing what is not loaded (of the standard library or ``packages``) ends in
    ``tell``. What is built into the interpreter needs no file and is imported as ever."""
    finder = LackingFinder({*sys.stdlib_module_names, *packages}, tell)
    place = sys.meta_path.index(importlib.machinery.PathFinder)
    sys.meta_path.insert(place, finder)
