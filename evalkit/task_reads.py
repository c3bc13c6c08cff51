"""Which files a task's own functions read while they are loaded and tried: modules beside them, keys, examples.

They are part of what a task's scores depend on (`evalkit.store.identity.protocol_sha256`), wherever they are and
whatever they are called; what lies beside and is not read is not. What a function reads for a document that is not
tried, and what `evalkit.opened` does not see, is not known.
"""

from __future__ import annotations

import hashlib
import importlib.util
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from evalkit.opened import collecting
from evalkit.paths import configs_dir
from evalkit.task_files import files_of, own_functions

_reads: dict[Path, set[Path]] = {}
_imported: set[str] = set()


@contextmanager
def noting(file: Path | None) -> Iterator[None]:
    """Note what is read, in this process, for the task of a file; nothing where it has no functions of its own."""
    functions = [] if file is None else own_functions(file)
    if file is None or not functions:
        yield
        return
    _forget_modules({function.parent for function in functions})
    before = set(sys.modules)
    with collecting() as opened:
        yield
    new = ((name, getattr(sys.modules[name], "__file__", None)) for name in set(sys.modules) - before)
    _imported.update(name for name, where in new if isinstance(where, str) and not _is_elsewhere(where))
    known = {path.resolve() for path in files_of(file)}
    read = {_source(path) for path in opened if not _is_elsewhere(path)}
    _reads.setdefault(file.resolve(), set()).update(path for path in read if path.resolve() not in known)


def content_read(file: Path) -> list[list[str]]:
    """Return the names of the files that a task's functions read, and hashes of their bytes, for a digest."""
    found = sorted(path for path in _reads.get(file.resolve(), ()) if path.is_file())
    return sorted([path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in found)


def _forget_modules(folders: set[Path]) -> None:
    """Have modules beside a task's functions, and those that other tasks brought, imported anew: each reads its own."""
    roots = {folder.resolve() for folder in folders}
    for name, module in list(sys.modules.items()):
        where = getattr(module, "__file__", None)
        is_beside = isinstance(where, str) and any(root in Path(where).resolve().parents for root in roots)
        if is_beside or name in _imported:
            del sys.modules[name]
    _imported.clear()


def _source(path: str) -> Path:
    try:
        return Path(importlib.util.source_from_cache(path)) if path.endswith(".pyc") else Path(path)
    except ValueError:
        return Path(path)


def _is_elsewhere(path: str) -> bool:
    """Tell whether a file is Python's, a library's, a cache, the system's, or evalkit's and says nothing of tasks."""
    there = Path(path).resolve()
    if there.is_relative_to(configs_dir().resolve()):
        return not there.is_relative_to((configs_dir() / "tasks").resolve())
    is_cache = there.parent == Path(tempfile.gettempdir()).resolve() or there.is_relative_to(Path.home() / ".cache")
    return is_cache or any(there.is_relative_to(root) for root in _elsewhere())


@lru_cache(maxsize=1)
def _elsewhere() -> list[Path]:
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    places += [*site.getsitepackages(), site.getusersitepackages(), sys.executable, str(Path(__file__).parent)]
    places += ["/proc", "/sys", "/dev", "/etc", "/usr/share", "/usr/lib"]
    return [Path(place).resolve() for place in places]
