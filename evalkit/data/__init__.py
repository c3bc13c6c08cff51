"""Where documents come from: a folder, the Hugging Face hub, the openMind hub, or the built-in samples."""

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
