"""Fewer cases where a test runs a second time, on another Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def few(cases: Sequence[T]) -> Sequence[T]:
    """All cases; every eighth under the profile of the other Pythons (``tests/other_pythons.py``)."""
    return cases[::8] if os.environ.get("EVALKIT_HYPOTHESIS_PROFILE") == "few" else cases
