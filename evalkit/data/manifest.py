"""The data manifest (``configs/datasets.yaml``) and the ``--data`` flag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import asdict

from evalkit.config.suites import load_suites, load_tasks
from evalkit.config.yaml_files import Entry, read_yaml, shown
from evalkit.data.layouts import LAYOUTS, PASSAGES
from evalkit.errors import ConfigError, did_you_mean
from evalkit.paths import SAMPLES, configs_dir, user_path

SourceKind = Literal["folder", "hub", "openmind", "samples"]


class HubLocation(Entry, frozen=True, kw_only=True):
    """A data set on a hub."""

    repository: str
    """Hub id, e.g. ``allenai/ai2_arc``."""
    config: str | None = None
    """Name of its configuration, or None for the only one."""
    revision: str = "main"
    """Branch, tag or commit. What is loaded is checked by row count and content hash all the same."""
    sha256: str | None = None
    """Hash of the hub's normalised content, where it is known to differ from the manifest's."""


class DatasetFacts(Entry, frozen=True, kw_only=True):
    """What the manifest says of a data set."""

    suite: str
    """Suite of the task."""
    layout: str
    """Which columns and values a document has; a name of ``evalkit.data.layouts``."""
    file: str
    """Path inside a local folder, e.g. ``gpt4all/arc_challenge/test.jsonl``."""
    split: str
    """Split on the hubs."""
    rows: Annotated[int, Meta(ge=1)]
    """Rows of the complete file."""
    sha256: str
    """Hash of the normalised content (see ``layouts.content_sha256``)."""
    hub: HubLocation | None
    """Location on the Hugging Face hub, or None where the protocol's form is not there."""
    openmind: HubLocation | None
    """Location on the openMind hub, or None where none is known."""
    remedy: str = ""
    """What to do where a hub does not have it."""


class Dataset(DatasetFacts, frozen=True, kw_only=True):
    """One entry of the manifest."""

    name: str
    """Manifest key, e.g. ``arc_challenge``; the data of the task of that name (``agieval_aqua_rat``...)."""


@dataclass(frozen=True)
class DataSource:
    """Where the documents of a suite are taken from.

    Attributes:
        kind: folder, hub, openmind or samples.
        folder: the folder, for kind ``folder``.
    """

    kind: SourceKind
    folder: Path | None = None

    def __str__(self) -> str:
        return str(self.folder) if self.kind == "folder" else self.kind


@lru_cache(maxsize=4)
def _load(path: Path) -> dict[str, Dataset]:
    file = read_yaml(path, f"configs/{path.name}", "'arc_easy'")
    datasets = {}
    for name, facts in file.read_as(dict[str, DatasetFacts]).items():
        if facts.layout not in LAYOUTS:
            hint = did_you_mean(facts.layout, LAYOUTS)
            raise file.fault((name, "layout"), f"unknown layout '{facts.layout}'{hint}")
        for trail, what in _faults(name, facts):
            raise file.fault((name, *trail), what)
        datasets[name] = Dataset(**{**asdict(facts), "remedy": facts.remedy.strip()}, name=name)
    return datasets


def _faults(name: str, facts: DatasetFacts) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what an entry says that cannot be, as (place, what)."""
    if facts.suite not in load_suites():
        yield ("suite",), f"unknown suite '{facts.suite}'{did_you_mean(facts.suite, load_suites())}"
    task = load_tasks().get(name)
    if task is not None and task.suite != facts.suite:
        yield ("suite",), f"'{facts.suite}', but the task is one of {task.suite}"
    if task is not None and max(task.passages or {1: 0}) > 1 and facts.layout not in PASSAGES:
        what = (
            "the suite's file gives the task passages, but evalkit/data/layouts.py (PASSAGES) names none of this layout"
        )
        yield ("layout",), f"'{facts.layout}': {what}; without it their documents would count as independent"
    parts = PurePosixPath(facts.file).parts
    if not parts or facts.file.startswith("/") or ".." in parts or "\\" in facts.file:
        yield ("file",), f"expected a path inside a folder of data, found '{facts.file}'"
    hubs = {"hub": facts.hub, "openmind": facts.openmind}
    texts: dict[tuple[str, ...], str] = {("split",): facts.split}
    hashes: dict[tuple[str, ...], str] = {("sha256",): facts.sha256}
    for key, hub in hubs.items():
        if hub is not None:
            texts |= {(key, "repository"): hub.repository, (key, "revision"): hub.revision}
            texts |= {(key, "config"): hub.config} if hub.config is not None else {}
            hashes |= {(key, "sha256"): hub.sha256} if hub.sha256 is not None else {}
    for trail, text in texts.items():
        if not text.strip():
            yield trail, "is empty"
    for trail, digest in hashes.items():
        if not re.fullmatch("[0-9a-f]{64}", digest):
            yield trail, f"expected 64 hexadecimal digits in small letters, found {shown(digest)}"


def load_manifest(path: Path | None = None) -> dict[str, Dataset]:
    """Return all data sets by name.

    Raises:
        ConfigError: an entry has an unknown or missing key, or a value of another type.
    """
    return dict(_load(path or configs_dir() / "datasets.yaml"))


def find_dataset(name: str) -> Dataset:
    """Return one data set of the manifest.

    Raises:
        ConfigError: no such entry; names the nearest one.
    """
    manifest = load_manifest()
    if name not in manifest:
        raise ConfigError(f"configs/datasets.yaml: no data set '{name}'{did_you_mean(name, manifest)}")
    return manifest[name]


def parse_source(text: str) -> DataSource:
    """Read one source: ``hub``, ``openmind``, ``samples`` or a folder's path.

    Raises:
        ConfigError: it is none of the words and no folder.
    """
    if not text.strip():
        raise ConfigError("--data: empty; give hub, openmind, samples or a folder")
    if text == "hub":
        return DataSource("hub")
    if text == "openmind":
        return DataSource("openmind")
    if text == "samples":
        return DataSource("samples")
    folder = user_path(text)
    if not folder.is_dir():
        hint = did_you_mean(text, ["hub", "openmind", "samples"])
        raise ConfigError(f"--data {text}: no such folder{hint} (known words: hub, openmind, samples)")
    if folder.resolve() == SAMPLES.resolve():
        raise ConfigError(
            f"--data {text}: these are the built-in samples, no complete data; name them as --data samples"
        )
    return DataSource("folder", folder.resolve())


def resolve_sources(values: Iterable[str], suites: Iterable[str], needed: Iterable[str]) -> dict[str, DataSource]:
    """Assign a source to each suite that is needed.

    Args:
        values: the ``--data`` flags, each ``SOURCE`` (for all suites) or ``SUITE=SOURCE``; later ones win.
        suites: the known suite names.
        needed: the suites whose documents will be loaded.

    Raises:
        ConfigError: an unknown suite or source, or a suite without one.
    """
    names = list(suites)
    sources: dict[str, DataSource] = {}
    for value in values:
        suite, equals, rest = value.partition("=")
        if equals and suite.isidentifier():
            if suite not in names:
                raise ConfigError(f"--data {value}: unknown suite '{suite}'{did_you_mean(suite, names)}")
            sources[suite] = parse_source(rest)
        else:
            everywhere = parse_source(value)
            sources.update(dict.fromkeys(names, everywhere))
    wanted = list(needed)
    missing = [suite for suite in wanted if suite not in sources]
    if missing:
        raise ConfigError(
            f"no data source for {', '.join(missing)}; add --data {missing[0]}=FOLDER, or --data SOURCE for all suites"
        )
    return {suite: sources[suite] for suite in wanted}
