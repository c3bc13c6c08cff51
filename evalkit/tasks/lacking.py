"""Which document lacks a key that others have, at any depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def _mappings(value: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the mappings in a value, and where they are: ``""``, ``choices``, ``choices.text``; in lists alike."""
    if isinstance(value, Mapping):
        yield where, value
        for key, item in value.items():
            yield from _mappings(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _mappings(item, where)


def lacking_key(documents: Sequence[Mapping[str, Any]], asked: Callable[[str], bool] = lambda _: True) -> str | None:
    """Return what the first document lacks that others have; None: nothing.

    Args:
        documents: in the data's order.
        asked: whether a key matters.
    """
    having: dict[tuple[str, str], set[int]] = {}
    found: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for place, doc in enumerate(documents):
        for where, mapping in _mappings(doc):
            found.setdefault(where, []).append((place, mapping))
            for key in mapping:
                having.setdefault((where, key), set()).add(place)
    lacking = [
        (next((place for place, mapping in found[where] if key not in mapping), None), where, key)
        for where, key in having
        if asked(str(key))
    ]
    first = min(((place, where, key) for place, where, key in lacking if place is not None), default=None)
    if first is None:
        return None
    place, where, key = first
    column = f"column '{key}'" if not where else f"key '{key}' in its column '{where}'"
    return f"document {place} has no {column}, which {len(having[where, key]):,} of {len(documents):,} have"
