"""Where baselines are found by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from pathlib import Path

from evalkit.baselines.model import Baseline, slug_of
from evalkit.baselines.reading.importer import import_log, is_called
from evalkit.baselines.yamlfile import parse_baseline, read_baseline, to_yaml
from evalkit.errors import ConfigError, did_you_mean
from evalkit.paths import configs_dir
from evalkit.store.files import replacing

FOLDERS_VARIABLE = "EVALKIT_BASELINES"
"""Environment variable: further folders of baselines, separated as in PATH."""


def baseline_folders() -> list[Path]:
    """Return the folders in which baselines are looked for; where a name occurs twice, the later folder wins."""
    folders = [configs_dir() / "baselines", Path("configs") / "baselines"]
    folders += [Path(entry) for entry in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if entry]
    unique = {folder.resolve(): folder for folder in folders}
    return [folder for folder in unique.values() if folder.is_dir()]


@lru_cache(maxsize=512)
def _read(path: Path, modified_ns: int) -> Baseline:  # noqa: ARG001 (part of the key: an edited file is read again)
    return read_baseline(path)


def _files() -> dict[str, Path]:
    return {path.stem: path for folder in baseline_folders() for path in sorted(folder.glob("*.yaml"))}


def list_baselines(warn: Callable[[str], None] | None = None) -> list[Baseline]:
    """Return all baselines, ordered by slug.

    Args:
        warn: is told of each file that cannot be read, which is then left out.

    Raises:
        ConfigError: a file is malformed, and there is nobody to warn.
    """
    files = _files()
    found = []
    for slug in sorted(files):
        try:
            found.append(_read(files[slug], files[slug].stat().st_mtime_ns))
        except (ConfigError, OSError) as error:
            if warn is None:
                raise
            warn(f"{error}; left out")
    return found


def load_baseline(name: str) -> Baseline:
    """Return a baseline by its slug, its model's name, or the path of a baseline's YAML file or a published log.

    Of a log with several models ``LOG.md#model`` names one.

    Raises:
        ConfigError: no such baseline; names the nearest one.
        DataError: a log that cannot be read.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return _read(path, path.stat().st_mtime_ns)
    path, wanted = (path, "") if path.is_file() else (Path(name.partition("#")[0]), name.partition("#")[2])
    if path.suffix.lower() in {".md", ".txt", ".html", ".htm"} and path.is_file():
        found = import_log(path, retrieved=date.today().isoformat()).baselines
        chosen = [baseline for baseline in found if is_called(baseline.name, wanted)] if wanted else list(found)
        if len(chosen) != 1:
            names = ", ".join(f"{path}#{baseline.slug}" for baseline in found[:4])
            raise ConfigError(
                f"{name}: holds {len(found)} models; name one: {names}{', ...' if len(found) > 4 else ''}"
            )
        return chosen[0]
    files = _files()
    slug = slug_of(name)
    if slug not in files:
        raise ConfigError(f"unknown baseline '{name}'{did_you_mean(slug, files)}; `evalkit baselines list` shows all")
    return _read(files[slug], files[slug].stat().st_mtime_ns)


def default_folder() -> Path:
    """Return where an import is written by default: ``configs/baselines`` below the current folder, if it is there.

    That is so in evalkit's own checkout. Elsewhere it is the current folder: what belongs to the installation, or to a
    checkout that one is not in, is changed by nobody who did not say so.
    """
    own = Path("configs") / "baselines"
    return own if own.is_dir() else Path()


def save_baseline(baseline: Baseline, path: Path, *, force: bool = False) -> bool:
    """Write a baseline's file; return False if it was there already with the same text.

    Raises:
        ConfigError: a file with other content is there, or the folder cannot be written.
    """
    text = to_yaml(baseline)
    if parse_baseline(text, path.name) != baseline:
        raise ConfigError(f"{path}: not written, because it would not be read back as it is (please report this)")
    try:
        if path.exists() and not force:
            if path.read_bytes() == text.encode("utf-8"):
                return False
            raise ConfigError(f"{path}: exists with other content; pass --force to replace it, or another --name")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
    return True
