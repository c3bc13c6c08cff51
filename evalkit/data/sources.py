"""One data set from one source: read, checked against the manifest, fingerprinted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evalkit.data.hubs import load_hub, load_openmind_hub
from evalkit.data.layouts import DEDUPLICATED, Document, content_sha256, normal
from evalkit.data.manifest import Dataset, DataSource
from evalkit.data.reading import read_bigbench, read_jsonl
from evalkit.errors import DataError
from evalkit.paths import SAMPLES
from evalkit.records.facts import DataFacts


@dataclass(frozen=True)
class LoadedData:
    """The documents of one task, and what is known about them.

    Attributes:
        dataset: manifest entry.
        source: where they were taken from.
        location: file or hub location, for people.
        documents: in file order; equal BIG-bench documents once.
        rows: rows read, before equal ones were dropped.
        sha256: hash of the normalised content.
        verdict: ``published`` (the content behind the published scores), ``other`` (complete, but other content),
            ``samples`` (built in; no score).
    """

    dataset: Dataset
    source: DataSource
    location: str
    documents: list[Document]
    rows: int
    sha256: str
    verdict: Literal["published", "other", "samples"]

    def describe(self) -> DataFacts:
        """Return the entry of the run's record."""
        return DataFacts(
            source=self.source.kind,
            location=self.location,
            rows=self.rows,
            documents=len(self.documents),
            sha256=self.sha256,
            expected_rows=self.dataset.rows,
            expected_sha256=self.dataset.sha256,
            verdict=self.verdict,
        )


def _folder_file(dataset: Dataset, source: DataSource) -> Path:
    root = SAMPLES if source.kind == "samples" else source.folder
    if root is None:
        raise AssertionError("a folder source has a folder")
    return root / dataset.file


def _without_equal(documents: Sequence[Document]) -> list[Document]:
    """Keep the first of documents that are equal as JSON, as the protocol does with those of BIG-bench."""
    unique: dict[str, Document] = {}
    for doc in documents:
        unique.setdefault(json.dumps(doc), doc)
    return list(unique.values())


def load_documents(dataset: Dataset, source: DataSource) -> LoadedData:
    """Load all documents of one data set.

    Raises:
        DataError: the source does not have it, a document does not fit its layout, or the number of rows is not the
            manifest's. The message names the file and the line (or hub repository and row).
    """
    if source.kind in ("folder", "samples"):
        path = _folder_file(dataset, source)
        location = str(path)
        if source.kind == "samples":
            location = f"built-in samples: {dataset.file}"
        elif not path.exists():
            raise DataError(
                f"{path}: no such file; the folder given by --data must hold '{dataset.file}' "
                f"(layout: docs/data.md){'. ' + dataset.remedy if dataset.remedy else ''}"
            )
        found = read_bigbench(path) if path.suffix == ".json" else read_jsonl(path)
    elif source.kind == "hub":
        location, found = load_hub(dataset)
    else:
        location, found = load_openmind_hub(dataset)

    contents = []
    for where, document in found:
        try:
            contents.append(normal(dataset.layout, document))
        except ValueError as error:
            raise DataError(f"{where}: {error}") from None
    if source.kind != "samples" and len(found) != dataset.rows:
        raise DataError(
            f"{location}: {len(found)} rows, expected {dataset.rows}; "
            "the file is incomplete or another version (to score fewer documents of a complete file, use --limit)"
        )

    sha256 = content_sha256(contents)
    expected = {dataset.sha256}
    if source.kind == "hub" and dataset.hub is not None and dataset.hub.sha256 is not None:
        expected.add(dataset.hub.sha256)
    documents = [document for _, document in found]
    return LoadedData(
        dataset=dataset,
        source=source,
        location=location,
        documents=_without_equal(documents) if dataset.layout in DEDUPLICATED else documents,
        rows=len(found),
        sha256=sha256,
        verdict="samples" if source.kind == "samples" else "published" if sha256 in expected else "other",
    )


def availability(dataset: Dataset, source: DataSource) -> str:
    """Say in one phrase whether a source has a data set, without the network.

    Folders and samples are read and checked; hubs are looked up in the manifest only.
    """
    if source.kind == "hub":
        return _hub_text(dataset, "hub")
    if source.kind == "openmind":
        return _hub_text(dataset, "openmind")
    if not _folder_file(dataset, source).exists():
        return "missing"
    try:
        loaded = load_documents(dataset, source)
    except DataError as error:
        return f"unusable: {error}"
    if source.kind == "samples":
        return f"{len(loaded.documents)} sample documents (not a score)"
    return "complete" if loaded.verdict == "published" else "complete, but not the published content"


def availability_columns(dataset: Dataset) -> tuple[str, str]:
    """Say where the Hugging Face hub and the openMind hub have a data set."""
    return _hub_text(dataset, "hub"), _hub_text(dataset, "openmind")


def _hub_text(dataset: Dataset, kind: Literal["hub", "openmind"]) -> str:
    location = dataset.hub if kind == "hub" else dataset.openmind
    if location is None:
        return "not known on the openMind hub" if kind == "openmind" else "not on the hub in the protocol's form"
    return f"{location.repository}{f' ({location.config})' if location.config else ''}"
