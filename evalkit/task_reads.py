"""What a task's own functions read while they are loaded and tried: modules beside them, keys, examples.

It is part of what a task's scores depend on (`evalkit.store.identity.protocol_sha256`). Two rules: every file that
Python opens there, wherever it is and whatever it is called; and every file of data in the functions' own folder, read
or not, since C libraries, other processes, and functions that open a file for each document read what cannot be seen.
Files that the functions write themselves, caches and libraries are no part of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from evalkit.opened import collecting, uncollected
from evalkit.paths import configs_dir, user_path
from evalkit.task_files import files_of, own_functions

# Notes, logs, code and other tasks' YAML files that lie beside count only where they are read.
_NO_DATA = frozenset(
    (
        *(".py", ".pyi", ".pyc", ".pyo", ".so", ".ipynb", ".sh", ".yaml", ".yml", ".md", ".rst"),
        *(".log", ".out", ".err", ".pid", ".lock", ".tmp", ".swp", ".bak", ".orig", ".part", ".html"),
    )
)
# A checkout of one of these may be installed, and a second copy of it (lm-eval's registries) would fail.
_OURS = ("accelerate", "datasets", "lm_eval", "openmind", "peft", "torch", "torch_npu", "transformers")
# Where libraries keep what they fetch, besides ~/.cache.
_CACHES = ("XDG_CACHE_HOME", "HF_HOME", "HF_DATASETS_CACHE", "HF_HUB_CACHE", "TORCH_HOME", "MPLCONFIGDIR")


@dataclass
class _Reads:
    """What the functions of one task did.

    Attributes:
        folders: those of the functions that lie beside the task's file.
        read, written: files.
        started: programs of processes.
    """

    folders: set[Path]
    read: set[Path] = field(default_factory=set)
    written: set[Path] = field(default_factory=set)
    started: set[str] = field(default_factory=set)


_reads: dict[Path, _Reads] = {}
_imported: set[str] = set()


@contextmanager
def noting(file: Path | None, *, anew: bool = False) -> Iterator[None]:
    """Note what is read, in this process, for the task of a file; nothing where it has no functions of its own.

    Args:
        file: the task's; None: it has none.
        anew: it is loaded now, so what was noted of it before is out of date.
    """
    functions = [] if file is None else own_functions(file)
    if file is None or not functions:
        yield
        return
    roots = {folder for function in functions if not _is_library(folder := function.parent.resolve())}
    known = {path.resolve() for path in files_of(file)}
    beside = {root for root in roots if any(root.is_relative_to(path.parent) for path in known)}
    if anew:
        _reads.pop(file.resolve(), None)
    noted = _reads.setdefault(file.resolve(), _Reads(beside))
    _forget_modules(roots)
    before = set(sys.modules)
    with collecting() as opened, _data_files(opened.read):
        yield
    new = ((name, getattr(sys.modules[name], "__file__", None)) for name in set(sys.modules) - before)
    _imported.update(
        name for name, where in new if isinstance(where, str) and where.endswith(".py") and _counts(Path(where), roots)
    )
    noted.read |= {path for path in map(_source, opened.read) if _counts(path, roots) and path.resolve() not in known}
    noted.written |= {Path(path).resolve() for path in opened.written}
    noted.started |= opened.started


def content_read(file: Path) -> list[list[str]]:
    """Return the names of the files that a task's functions read, and hashes of their bytes, for a digest."""
    noted = _reads.get(file.resolve())
    if noted is None:
        return []
    # Two files that change places are another task; one that is moved with its folder is the same.
    beside, found = set(noted.folders), {}
    # Where they write a file for a document, they will for others.
    theirs = noted.written | {path.parent for path in noted.written} - {_real(folder) for folder in beside}
    for folder in beside:
        for path in map(_absolute, _files(folder)):
            if theirs.isdisjoint((_real(path), _real(path.parent))):
                found[path] = path.relative_to(folder).as_posix()
    others = [path for path in map(_absolute, noted.read) if path not in found]
    for path in others:
        inside = next((folder for folder in beside if path.is_relative_to(folder)), None)
        above = inside or os.path.commonpath([other.parent for other in others])
        found[path] = path.relative_to(above).as_posix()
    return sorted([name, _sha256(path)] for path, name in found.items() if path.is_file())


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # raises nothing where links lead in a circle


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # links are not followed


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of data in a folder, also in those that links there lead to."""
    seen: set[Path] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        there = Path(here).resolve()
        hidden = {name for name in folders if name.startswith((".", "__pycache__"))}
        folders[:] = [] if there in seen else sorted(set(folders) - hidden)
        seen.add(there)
        for name in names:
            suffix = Path(name).suffix.lower()
            if not name.startswith(".") and not name.endswith("~") and suffix not in _NO_DATA:
                yield Path(here) / name


def programs_started(file: Path) -> list[str]:
    """Return the programs that a task's functions start: what those read elsewhere is not known."""
    noted = _reads.get(file.resolve())
    return [] if noted is None else sorted(noted.started)


def _sha256(path: Path) -> str:
    try:
        found = path.stat()
        return _hashed(path, found.st_size, found.st_mtime_ns)
    except OSError:  # one that lies beside and that nobody may read
        return ""


@lru_cache(maxsize=4096)
def _hashed(path: Path, _size: int, _changed: int) -> str:
    """Return the hash of a file, read once as long as its size and time are the same: it may be large."""
    digest = hashlib.sha256()
    with uncollected(), path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def _data_files(read: set[str]) -> Iterator[None]:
    """Add the files that data sets are built from: what ``load_dataset`` finds built before, it does not open again."""
    builders = sys.modules.get("datasets.builder")
    builder = getattr(builders, "DatasetBuilder", None)
    prepare = getattr(builder, "download_and_prepare", None)
    if builder is None or prepare is None:
        yield
        return

    def noted(self: Any, *args: Any, **options: Any) -> Any:
        files = getattr(getattr(self, "config", None), "data_files", None)
        for of_split in files.values() if isinstance(files, dict) else ():
            read.update(os.path.abspath(file) for file in of_split if "://" not in str(file))  # noqa: PTH100
        return prepare(self, *args, **options)

    builder.download_and_prepare = noted
    try:
        yield
    finally:
        builder.download_and_prepare = prepare


def _forget_modules(roots: set[Path]) -> None:
    """Have modules beside a task's functions, and those that other tasks brought, imported anew: each reads its own."""
    for name, module in list(sys.modules.items()):
        where = getattr(module, "__file__", None)
        is_beside = isinstance(where, str) and any(root in Path(where).resolve().parents for root in roots)
        if (is_beside and not _is_library(Path(str(where)))) or name in _imported:
            del sys.modules[name]
    _imported.clear()


def _source(path: str) -> Path:
    try:
        return Path(importlib.util.source_from_cache(path)) if path.endswith(".pyc") else Path(path)
    except ValueError:
        return Path(path)


def _counts(path: Path, roots: set[Path]) -> bool:
    """Tell whether a file is a task's: not Python's, a library's, a cache, the system's, or evalkit's own."""
    there = path.resolve()
    if there.is_relative_to(configs_dir().resolve()):
        return there.is_relative_to((configs_dir() / "tasks").resolve())
    if any(there.is_relative_to(root) for root in roots):
        return True
    return not _is_library(there) and not _is_cache(there)


def _is_cache(there: Path) -> bool:
    """Tell whether a file is one that a program keeps for itself, settings in hidden folders of a home among them."""
    if there.parent == Path(tempfile.gettempdir()).resolve():
        return True
    home = user_path("~").resolve()
    if there.is_relative_to(home) and there.relative_to(home).as_posix().startswith("."):
        return True
    return any(there.is_relative_to(user_path(os.environ[name]).resolve()) for name in _CACHES if os.environ.get(name))


def _is_library(path: Path) -> bool:
    there = path.resolve()
    if there.is_relative_to((configs_dir() / "tasks").resolve()):
        return False
    return any(there.is_relative_to(root) for root in _libraries())


@lru_cache(maxsize=1)
def _libraries() -> list[Path]:
    """Return where Python, its libraries, evalkit's own wherever they are installed from, and the system lie."""
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    places += [*site.getsitepackages(), site.getusersitepackages(), sys.executable, str(Path(__file__).parent)]
    places += ["/proc", "/sys", "/dev", "/etc", "/usr/share", "/usr/lib"]
    specs = [importlib.util.find_spec(name) for name in _OURS]
    places += [place for spec in specs if spec is not None for place in spec.submodule_search_locations or ()]
    return [Path(place).resolve() for place in places]
