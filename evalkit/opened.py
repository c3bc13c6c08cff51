"""Which files this process opens, for a while: Python's audit hook says so, and stays, so it is set when asked for.

Source: https://docs.python.org/3/library/audit_events.html. What C libraries open themselves (pyarrow), what another
process reads and how a folder is listed are not seen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_opened: set[str] | None = None
_has_hook = False


def _note(event: str, args: tuple[Any, ...]) -> None:
    if _opened is None or event not in ("open", "sqlite3.connect"):
        return
    path, mode, flags = (*args, None, None)[:3]
    if not isinstance(path, (str, bytes, os.PathLike)):
        return
    only_writes = mode[:1] in ("w", "a", "x") if isinstance(mode, str) and mode else bool((flags or 0) & os.O_WRONLY)
    if not only_writes:
        _opened.add(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100  # follows no links and raises nothing


@contextmanager
def collecting() -> Iterator[set[str]]:
    """Give the paths of the files that are opened to be read meanwhile, as they come; not those of an inner one."""
    global _opened, _has_hook
    if not _has_hook:
        sys.addaudithook(_note)
        _has_hook = True
    outer, _opened = _opened, set()
    try:
        yield _opened
    finally:
        _opened = outer


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect nothing of what is opened meanwhile: evalkit reads it for itself."""
    global _opened
    outer, _opened = _opened, None
    try:
        yield
    finally:
        _opened = outer
