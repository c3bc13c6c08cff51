"""Whether hubs are asked at all, and who said so."""

from __future__ import annotations

import os

_set_here: list[bool] = []


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE keeps clients from the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def go_offline() -> None:
    """Let the hub's clients use what is cached, since the hub cannot be reached."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    _set_here.append(True)


def chosen_by_user() -> bool:
    """Whether HF_HUB_OFFLINE is the user's own setting: no message may say so of `go_offline`'s."""
    return is_offline() and not _set_here
