"""The command line: a file a group of commands, no logic. Imports are lazy, so that `--help` is instant."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.cli.commands import main

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    # `python -m evalkit.cli.humaneval` is one of the group's commands, and must not be imported before it is run.
    if name == "main":
        try:
            from evalkit.cli.commands import main
        except KeyboardInterrupt:  # before there is anybody who would say it
            sys.stderr.write("aborted\n")
            raise SystemExit(130) from None
        return main
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
