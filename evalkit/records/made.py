"""What a record keeps of what a task makes of its documents: one digest, and marks that tell which document differs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

_MARKS = 1000
"""Marks that there are at most of a task's documents."""


def made_of(documents: Sequence[bytes]) -> str:
    """Return what a record keeps of what a task makes of its documents, given a digest of each."""
    few = -(-len(documents) // _MARKS) or 1
    marks = [sha256(b"".join(documents[i : i + few])).hexdigest()[:4] for i in range(0, len(documents), few)]
    return f"{sha256(b''.join(documents)).hexdigest()}:{len(documents)}:{''.join(marks)}"


def other_documents(first: Any, second: Any) -> str | None:
    """Return of which document first a task makes something else: ``document 7``, ``one of documents 12 to 13``.

    Args:
        first, second: as `made_of` returned them; None where what differs is something else.
    """
    sides = [side.split(":") if isinstance(side, str) else [] for side in (first, second)]
    if [len(side) for side in sides] != [3, 3] or sides[0][1] != sides[1][1] or not all(s[1].isdigit() for s in sides):
        return None
    count = int(sides[0][1])
    few = -(-count // _MARKS) or 1
    marks = zip(*(re.findall("....", side[2]) for side in sides), strict=False)
    place = next((place for place, (a, b) in enumerate(marks) if a != b), None)
    if place is None:
        return None
    begin, end = place * few, min((place + 1) * few, count) - 1
    return f"document {begin}" if begin == end else f"one of documents {begin} to {end}"
