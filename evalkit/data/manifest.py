"""The data manifest (``configs/datasets.yaml``) and the ``--data`` flag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from evalkit.data.layouts import LAYOUTS
from evalkit.errors import ConfigError, did_you_mean
from evalkit.paths import SAMPLES, configs_dir, user_path
from evalkit.yaml_files import read_mapping

SourceKind = Literal["folder", "hub", "openmind", "samples"]


@dataclass(frozen=True)
class HubLocation:
    """A data set on a hub.

    Attributes:
        repository: hub id, e.g. ``allenai/ai2_arc``.
        config: name of its configuration, or None for the only one.
        revision: branch, tag or commit. What is loaded is checked by row count and content hash all the same.
        sha256: hash of the hub's normalised content, where it is known to differ from the manifest's.
    """

    repository: str
    config: str | None
    revision: str
    sha256: str | None


@dataclass(frozen=True)
class Dataset:
    """One entry of the manifest.

    Attributes:
        name: manifest key, e.g. ``arc_challenge``; the data of the task of that name (``agieval_aqua_rat``...).
        suite: suite of the task.
        layout: which columns and values a document has; a name of ``evalkit.data.layouts``.
        file: path inside a local folder, e.g. ``gpt4all/arc_challenge/test.jsonl``.
        split: split on the hubs.
        rows: rows of the complete file.
        sha256: hash of the normalised content (see ``layouts.content_sha256``).
        hub: location on the Hugging Face hub, or None where the protocol's form is not there.
        openmind: location on the openMind hub, or None where none is known.
        remedy: what to do where a hub does not have it.
    """

    name: str
    suite: str
    layout: str
    file: str
    split: str
    rows: int
    sha256: str
    hub: HubLocation | None
    openmind: HubLocation | None
    remedy: str


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


_KEYS = {"suite", "layout", "file", "split", "rows", "sha256", "hub", "openmind", "remedy"}
_HUB_KEYS = {"repository", "config", "revision", "sha256"}


def _check_keys(entry: Any, known: set[str], needed: set[str], where: str) -> None:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: expected a mapping with the keys {', '.join(sorted(needed))}")
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'{did_you_mean(str(key), known)}")
    for key in sorted(needed - set(entry)):
        raise ConfigError(f"{where}: missing key '{key}'")


def _hub(entry: Any, where: str) -> HubLocation | None:
    if entry is None:
        return None
    _check_keys(entry, _HUB_KEYS, {"repository"}, where)
    return HubLocation(
        repository=entry["repository"],
        config=entry.get("config"),
        revision=entry.get("revision", "main"),
        sha256=entry.get("sha256"),
    )


@lru_cache(maxsize=4)
def _load(path: Path) -> dict[str, Dataset]:
    found = read_mapping(path, f"configs/{path.name}", "'arc_easy'")
    datasets = {}
    for name, entry in found.items():
        where = f"configs/{path.name}: {name}"
        _check_keys(entry, _KEYS, _KEYS - {"remedy"}, where)
        if entry["layout"] not in LAYOUTS:
            raise ConfigError(f"{where}: unknown layout '{entry['layout']}'{did_you_mean(entry['layout'], LAYOUTS)}")
        datasets[name] = Dataset(
            name=name,
            suite=entry["suite"],
            layout=entry["layout"],
            file=entry["file"],
            split=entry["split"],
            rows=int(entry["rows"]),
            sha256=entry["sha256"],
            hub=_hub(entry["hub"], where),
            openmind=_hub(entry["openmind"], where),
            remedy=entry.get("remedy", "").strip(),
        )
    return datasets


def load_manifest(path: Path | None = None) -> dict[str, Dataset]:
    """Return all data sets by name.

    Raises:
        ConfigError: an entry has an unknown or missing key.
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


def sources_text(sources: Mapping[str, DataSource]) -> str:
    """Describe the sources in one phrase: one source, or ``suite=source`` for each."""
    if len(set(sources.values())) == 1:
        return str(next(iter(sources.values())))
    return ", ".join(f"{suite}={source}" for suite, source in sources.items())
