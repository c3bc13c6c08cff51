"""Where documents come from: a folder, the Hugging Face hub, the openMind hub, or the built-in samples.

A name brings its module when it is first used: readers of plain files need no manifest, and no YAML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.data.manifest import Dataset, DataSource, load_manifest, parse_source, resolve_sources
    from evalkit.data.sources import LoadedData, availability, load_documents

__all__ = [
    "DataSource",
    "Dataset",
    "LoadedData",
    "availability",
    "load_documents",
    "load_manifest",
    "parse_source",
    "resolve_sources",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'evalkit.data' has no attribute '{name}'")
    from importlib import import_module

    in_sources = name in ("LoadedData", "availability", "load_documents")
    module = import_module(f"evalkit.data.{'sources' if in_sources else 'manifest'}")
    globals()[name] = found = getattr(module, name)
    return found
