"""The command line: a file a group of commands, no logic. Imports are lazy, so that `--help` is instant."""

from evalkit.cli.commands import main

__all__ = ["main"]
