"""Repositories of the openMind hub, models and data sets alike: the only file that imports openmind_hub."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from evalkit.data.offline import chosen_by_user
from evalkit.errors import EvalkitError, first_line


def snapshot(
    name: str,
    revision: str | None,
    kind: Literal["model", "dataset"],
    error_type: type[EvalkitError],
    elsewhere: str,
    ignore_patterns: list[str] | None = None,
) -> Path:
    """Download what is missing of a repository, or find it in openmind_hub's cache; returns its folder.

    Without a network the cache has to do; with HF_HUB_OFFLINE the network is not asked.

    Args:
        name: ``owner/name``.
        revision: branch, tag or commit; None for the main branch.
        kind: what the repository holds.
        error_type: what is raised.
        elsewhere: what to do where this hub cannot deliver, for the message.
        ignore_patterns: files that are not wanted.

    Raises:
        error_type: openmind_hub cannot be imported; unknown or closed repository, unknown revision, or neither network
            nor cached files.
    """
    try:
        hub = importlib.import_module("openmind_hub")
    except ModuleNotFoundError as error:
        raise error_type(f"{name}: the openMind hub needs the package openmind-hub ({error}); {elsewhere}") from error
    except Exception as error:  # ValueError for an endpoint that is not https, among others
        raise error_type(f"openmind_hub cannot be imported: {first_line(error)}; {elsewhere}") from error
    # Models are the hub's default kind. Their names may have been meant as folders, which the messages then say.
    options, here = ({}, "no such folder here and ") if kind == "model" else ({"repo_type": kind}, "")
    download: Callable[..., str] = functools.partial(
        hub.snapshot_download, name, revision=revision, ignore_patterns=ignore_patterns, **options
    )
    offline = chosen_by_user()  # that the other hub cannot be reached says nothing about this one
    try:
        try:
            return Path(download(local_files_only=offline))
        except OSError as error:
            # HTTP errors are answers of the hub; any other means that it was not reached, and the cache may do.
            if getattr(error, "response", None) is not None:
                raise
            return Path(download(local_files_only=True))
    except hub.GatedRepoError as error:
        raise error_type(f"{name}: access to this openMind repository must be granted on its page") from error
    except hub.RevisionNotFoundError as error:
        raise error_type(f"{name}: the repository has no revision '{revision}'; check its branches") from error
    except (hub.RepositoryNotFoundError, hub.OMValidationError) as error:
        raise error_type(
            f"{name}: {here}no such {kind} on the openMind hub {hub.ENDPOINT}; check the spelling, or {elsewhere}"
        ) from error
    except hub.LocalEntryNotFoundError as error:
        raise error_type(
            f"{name}: {here}not in the cache {hub.OM_HUB_CACHE}, and the openMind hub {hub.ENDPOINT} "
            f"{'is not asked (HF_HUB_OFFLINE)' if offline else 'cannot be reached'}; {elsewhere}"
        ) from error
    except Exception as error:  # whatever else the hub's client raises
        raise error_type(
            f"{name}: download from the openMind hub {hub.ENDPOINT} failed: {first_line(error)}; {elsewhere}"
        ) from error
