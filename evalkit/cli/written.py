"""Options that name files to write: looked at before any work, see `evalkit.replacing`.

Such an option has the type :class:`Written`, and its command the class :class:`Writing`. What a command writes without
being told where, it asks `refuse_to_replace` for itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from evalkit.errors import ConfigError
from evalkit.replacing import is_same, refuse_to_replace


class Written(click.Path):
    """The type of an option that names a file to write.

    Args:
        kind: which of `evalkit.replacing.KINDS` it will be.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(path_type=Path)
        self.kind = kind


class Writing(click.Command):
    """A command that writes files which its options name."""

    def invoke(self, ctx: click.Context) -> Any:
        """Refuse before any work what would cost the user a file."""
        named = [
            (parameter, ctx.params[parameter.name])
            for parameter in self.params
            if parameter.name and ctx.params.get(parameter.name) is not None
        ]
        reads = [path for parameter, value in named if not isinstance(parameter.type, Written) for path in paths(value)]
        seen: list[tuple[str, Path]] = []
        for parameter, value in named:
            if isinstance(parameter.type, Written):
                option = parameter.opts[0]
                for other, path in seen:
                    if is_same(path, value):
                        raise ConfigError(f"{other} and {option} name one file, {value}; give each its own")
                seen.append((option, value))
                refuse_to_replace(option, value, reads, parameter.type.kind)
        return super().invoke(ctx)


def paths(value: Any) -> Iterator[Path]:
    """Yield what a value of the command line may read: each text that names something on this disk, also as
    ``SUITE=PATH``."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from paths(item)
    elif isinstance(value, (str, Path)):
        text = str(value)
        for part in {text, text.partition("=")[2]}:
            path = os.path.expanduser(part)  # noqa: PTH111 (raises at no text)
            if part and os.path.lexists(path):
                yield Path(path)
