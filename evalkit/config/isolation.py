"""How model-written programs may run. A module of its own: a checker needs no more of the configuration, which takes
longer to import than the whole checker."""

from __future__ import annotations

from typing import Literal, get_args

Isolation = Literal["require", "best", "off"]
"""With every wall proved, with those that there are, with none at all."""
ISOLATIONS: tuple[Isolation, ...] = get_args(Isolation)
