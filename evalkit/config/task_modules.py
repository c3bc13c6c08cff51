"""The Python modules of a task's own functions: imported anew for each task, and what stands in them.

Those that its file names, and what they import, whenever they do, that is neither Python's own, an installed library
nor evalkit's.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from evalkit.config.task_files import own_functions
from evalkit.paths import configs_dir

# A checkout of one of these may be installed, and a second copy of it (lm-eval's registries) would fail.
_OURS = ("accelerate", "datasets", "lm_eval", "openmind", "peft", "torch", "torch_npu", "transformers")

_brought: dict[Path, dict[str, ModuleType]] = {}
"""By a task's file the modules that it imported."""

_standing: Path | None = None
"""The task's file whose modules are those of `sys.modules`."""


@contextmanager
def importing(file: Path | None, *, anew: bool = False) -> Iterator[None]:
    """Import what a task's own functions import anew meanwhile, whatever another task or a notebook had imported.

    Args:
        file: the task's; None: it has none.
        anew: it is loaded now, so what it had imported before is out of date.
    """
    functions = {} if file is None else own_functions(file)
    if file is None or not functions:
        yield
        return
    brought = _brought.setdefault(file.resolve(), {})
    if anew:
        _forget({function.parent.resolve() for function in functions if not _is_library(function)})
        brought.clear()
    stand(file)
    before = set(sys.modules)
    yield
    brought |= {name: sys.modules[name] for name in set(sys.modules) - before if _file(name) is not None}


def stand(file: Path) -> None:
    """Have a task's modules stand in `sys.modules`, where another task's of the same names may stand."""
    global _standing
    if file != _standing:
        for name, module in _brought.get((_standing or file).resolve(), {}).items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        sys.modules.update(_brought.get(file.resolve(), {}))
        _standing = file


def code_of(file: Path) -> list[list[str]]:
    """Return the names of a task's modules and hashes of their bytes, for a digest; call it when they were used.

    No folder is named: a task that is copied elsewhere is the same.
    """
    functions = own_functions(file)
    stand(file)
    brought = {name: path for name in _brought.get(file.resolve(), {}) if (path := _file(name)) is not None}
    found = {path.resolve(): name for path, name in functions.items()}
    waiting = [path for path in (*functions, *brought.values()) if not _is_library(path)]
    named = {path: name for name, path in brought.items()}
    while waiting:
        path = waiting.pop()
        for name, folders in _imported(path):
            # It may be imported for an answer that nobody tried.
            for other in (_file(name), *_lying_in(folders, name)):
                if other is not None and other not in named:
                    named[other] = name
                    waiting.append(other)
    for path, name in named.items():
        found.setdefault(path.resolve(), Path(name).name)  # lm-eval's name of a function's module is its path
    return sorted([name, hashlib.sha256(path.read_bytes()).hexdigest()] for path, name in found.items())


def _forget(folders: set[Path]) -> None:
    """Forget the modules in folders, and those that other tasks brought: each imports its own."""
    others = {name for brought in _brought.values() for name in brought}
    for name in list(sys.modules):
        path = _file(name)
        if path is not None and (name in others or not folders.isdisjoint(path.resolve().parents)):
            del sys.modules[name]


def _file(name: str) -> Path | None:
    """Return the file of an imported module that may be a task's own; None: there is none, or it is a library's."""
    where = getattr(sys.modules.get(name), "__file__", None)
    if not isinstance(where, str) or name == "__main__":
        return None
    path = Path(where)
    return None if _is_library(path) or not path.is_file() else path


def _imported(path: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield the names of the modules that a Python file imports, wherever it does, and the folders they may lie in."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # no Python, or none of this version
        return
    anywhere = [path.parent, *map(Path, sys.path)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, anywhere) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folders = [path.parents[min(node.level, len(path.parents)) - 1]] if node.level else anywhere
            start = f"{node.module}." if node.module else ""
            if node.module:
                yield node.module, folders
            yield from ((f"{start}{alias.name}", folders) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value, anywhere


def _lying_in(folders: list[Path], name: str) -> list[Path]:
    """Return the files of a module and of the packages that it is in, in the first folder that has it."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return []
    for folder in folders:
        place = folder.joinpath(*parts)
        files = [place.with_name(f"{place.name}.py"), place / "__init__.py"]
        inside = [parent / "__init__.py" for parent in list(place.parents)[: len(parts) - 1]]
        if any(file.is_file() for file in files):
            return [file for file in (*files, *inside) if file.is_file() and not _is_library(file)]
    return []


def _is_library(path: Path) -> bool:
    return _lies_in_library(path.parent)


@lru_cache(maxsize=4096)
def _lies_in_library(folder: Path) -> bool:
    folder = folder.resolve()
    if folder.is_relative_to((configs_dir() / "tasks").resolve()):
        return False
    return any(folder.is_relative_to(root) for root in _libraries())


@lru_cache(maxsize=1)
def _libraries() -> list[Path]:
    """Return where Python, its libraries, and evalkit's own wherever they are installed from, lie."""
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    places += [*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parent.parent)]
    specs = [importlib.util.find_spec(name) for name in _OURS]
    places += [place for spec in specs if spec is not None for place in spec.submodule_search_locations or ()]
    return [Path(place).resolve() for place in places]
