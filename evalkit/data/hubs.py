"""Documents from the Hugging Face hub (or a mirror of it) and from the openMind hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalkit.data.layouts import Document
from evalkit.data.manifest import Dataset, HubLocation
from evalkit.data.offline import chosen_by_user, is_offline
from evalkit.data.openmind_hub import snapshot
from evalkit.errors import DataError

_FOLDER = "give a local folder with --data FOLDER (layout: docs/data.md)"
_MIRROR = f"set HF_ENDPOINT to a mirror, or {_FOLDER}"
_ELSEWHERE = f"use --data hub, or {_FOLDER}"


def load_hub(dataset: Dataset) -> tuple[str, list[tuple[str, Document]]]:
    """Load a data set through ``datasets``; HF_ENDPOINT, HF_HUB_OFFLINE and HF_HOME hold as usual.

    Returns:
        the location, for people, and (where, document) pairs.

    Raises:
        DataError: the manifest has no hub location, or the hub could not deliver it.
    """
    if dataset.hub is None:
        raise DataError(f"{dataset.name}: not on the hub in the protocol's form. {dataset.remedy}".strip())
    hub = dataset.hub
    location = f"hub: {hub.repository}{f' ({hub.config})' if hub.config else ''}, {dataset.split}"
    rows = _load_dataset(dataset, hub, hub.repository, location)
    return location, [(f"{location}: row {number}", row) for number, row in enumerate(rows, 1)]


def load_openmind_hub(dataset: Dataset) -> tuple[str, list[tuple[str, Document]]]:
    """Load a data set from the openMind hub: a snapshot of the repository, then ``datasets`` on that folder.

    Returns, Raises: as ``load_hub``.
    """
    if dataset.openmind is None:
        elsewhere = f"add --data {dataset.suite}=hub (HF_ENDPOINT may name a mirror), or {_FOLDER}"
        raise DataError(
            f"{dataset.name}: not known on the openMind hub; {dataset.remedy if not dataset.hub else elsewhere}"
        )
    hub = dataset.openmind
    location = f"openMind hub: {hub.repository}{f' ({hub.config})' if hub.config else ''}, {dataset.split}"
    folder = snapshot(hub.repository, hub.revision, "dataset", DataError, _ELSEWHERE)
    rows = _load_dataset(dataset, hub, str(folder), location)
    return location, [(f"{location}: row {number}", row) for number, row in enumerate(rows, 1)]


def _load_dataset(dataset: Dataset, hub: HubLocation, path: str, location: str) -> list[dict[str, Any]]:
    import datasets

    datasets.disable_progress_bars()
    local = Path(path).is_dir()
    try:
        loaded = datasets.load_dataset(
            path,
            hub.config,
            split=dataset.split,
            revision=None if local else hub.revision,
        )
    except Exception as error:  # datasets and its back ends raise dozens of types; all mean "not delivered"
        reason = " ".join(str(error).split()) or type(error).__name__
        why = "HF_HUB_OFFLINE is set" if chosen_by_user() else "the hub cannot be reached"
        offline = f" ({why}: only what is cached can be loaded)" if is_offline() else ""
        raise DataError(f"{location}: cannot be loaded{offline}: {reason[:300]}; {_MIRROR}") from None
    return list(loaded)
