"""Importing a package that changes others, without the change spreading.

Some packages replace functions of transformers as soon as they are imported. Here the import is done under observation,
undone at once, and the changes can be put in force again for a limited time.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

_ABSENT = object()


@dataclass(frozen=True)
class Patch:
    """An attribute of a class or module that an import changed."""

    holder: Any
    name: str
    # `_ABSENT` where the import added it.
    before: Any
    after: Any

    def apply(self) -> None:
        """Put the import's value in."""
        setattr(self.holder, self.name, self.after)

    def undo(self) -> None:
        """Put back what was there before the import."""
        if self.before is _ABSENT:
            delattr(self.holder, self.name)
        else:
            setattr(self.holder, self.name, self.before)


@dataclass(frozen=True)
class Contained:
    """A module, and the changes that its import made to others (undone)."""

    module: ModuleType
    patches: tuple[Patch, ...]

    @contextmanager
    def in_force(self) -> Iterator[ModuleType]:
        """Apply the changes inside the ``with`` block, and nowhere else."""
        for patch in self.patches:
            patch.apply()
        try:
            yield self.module
        finally:
            for patch in self.patches:
                patch.undo()


def contained_import(package: str, attributes: Sequence[str], holders: Sequence[Any]) -> Contained:
    """Import a package and undo what that changed in ``holders`` and in ``sys.tracebacklimit``.

    A package that was imported before has made its changes already; those stay, since nobody knows what was there.

    Args:
        attributes: of the package, to be resolved under observation too; lazy packages make changes only then.
        holders: the classes and modules that the package is known to change.

    Raises:
        Exception: whatever the import raises, after its changes have been undone.
    """
    before = [dict(vars(holder)) for holder in holders]
    traceback_limit = getattr(sys, "tracebacklimit", _ABSENT)
    patches: list[Patch] = []
    try:
        module = importlib.import_module(package)
        for attribute in attributes:
            getattr(module, attribute)
    finally:
        for holder, old in zip(holders, before, strict=True):
            for name, after in dict(vars(holder)).items():
                previous = old.get(name, _ABSENT)
                # Python's own bookkeeping (__abstractmethods__, __doc__ ...) is no patch.
                if previous is not after and not name.startswith("__"):
                    patches.append(Patch(holder, name, previous, after))
        for patch in patches:
            patch.undo()
        if hasattr(sys, "tracebacklimit"):
            Patch(sys, "tracebacklimit", before=traceback_limit, after=None).undo()
    return Contained(module, tuple(patches))
