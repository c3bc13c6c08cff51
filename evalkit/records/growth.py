"""How a record's types grow: a key that is added says since when it is written, and has a default for records before.

`SCHEMA_VERSION` counts forms of the record that a reader has to translate (`evalkit.results.former`). Keys alone are
counted by the *minor* version, ``schema_minor`` in ``run.json``: a key is declared as ::

    swap_space: Annotated[bool, since(2)] = False

(an option says ``Option(..., since=2)``), and that is all: the greatest number is the version that is written, a record
of a smaller one need not have the key, and one of a greater one is of a newer evalkit.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

_KEY = "since"


def since(minor: int) -> msgspec.Meta:
    """Return the note of a field that records have since a minor version (from 1)."""
    return msgspec.Meta(extra={_KEY: minor})


def minor_of(kind: Any) -> int:
    """Return since which minor version a field of this type is in records; 0: it always was."""
    notes = typing.get_args(kind)[1:] if typing.get_origin(kind) is typing.Annotated else ()
    return max((int((note.extra or {}).get(_KEY, 0)) for note in notes if isinstance(note, msgspec.Meta)), default=0)


def fields_of(*kinds: Any) -> Iterator[tuple[str, str, int, bool]]:
    """Yield (type, key, minor version, whether it has a default) of all fields of types and of their parts, once."""
    seen: set[Any] = set()
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in seen:
            seen.add(kind)
            for field in msgspec.structs.fields(kind):
                yield kind.__name__, field.encode_name, minor_of(field.type), not field.required
                waiting.append(field.type)
        elif typing.get_origin(kind) in (typing.Annotated, types.UnionType, typing.Union, dict, tuple, list):
            waiting += typing.get_args(kind)


def newest_minor(*kinds: Any) -> int:
    """Return the greatest minor version of any field."""
    return max((minor for _, _, minor, _ in fields_of(*kinds)), default=0)


def grown(base: type[msgspec.Struct], more: dict[str, tuple[Any, Any, int]]) -> Any:
    """Return a record's part with more fields: by key (type, default, since), those that it does not declare itself."""
    own = set(base.__struct_fields__)
    fields = [
        (key, typing.Annotated[kind, since(minor)] if minor else kind, default)
        for key, (kind, default, minor) in more.items()
        if key not in own
    ]
    return msgspec.defstruct(
        base.__name__.removeprefix("_"),
        fields,
        bases=(base,),
        module=base.__module__,
        namespace={"__doc__": base.__doc__},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
