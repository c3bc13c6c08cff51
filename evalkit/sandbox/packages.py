"""What candidates can import: the standard library and a few named packages, found without reading their folder.

Site-packages as a whole is not readable: it may hold data sets with solutions. So a package is found by its path, and only the
files that importing needs are opened to candidates.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
import types
from collections.abc import Iterable, Mapping, Sequence

# Modules that do something when imported (open a browser, print, start a window) or are the interpreter's own tests.
_NOT_PRELOADED = {"antigravity", "this", "test", "idlelib", "tkinter", "turtle", "turtledemo", "lib2to3", "ensurepip", "venv"}


class _PackageFinder(importlib.abc.MetaPathFinder):
    def __init__(self, folders: Mapping[str, str]) -> None:
        self.folders = folders

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,  # noqa: ARG002 - the protocol's signature
    ) -> importlib.machinery.ModuleSpec | None:
        if path is not None or fullname not in self.folders:
            return None
        folder = self.folders[fullname]
        return importlib.util.spec_from_file_location(
            fullname, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )


def allow_packages(folders: Mapping[str, str]) -> list[str]:
    """Make packages (name -> folder) importable; return what must be readable for it."""
    sys.meta_path.append(_PackageFinder(folders))
    beside = [f"{folder}.libs" for folder in folders.values()]  # where wheels keep their shared libraries
    return [*folders.values(), *(folder for folder in beside if os.path.isdir(folder))]


def standard_library() -> list[str]:
    """The files and folders of the standard library, without site-packages; and fill the importer's memory of them.

    The folder itself must not be readable (a Landlock rule covers all below it), so the importer, which lists a folder to
    find a module, has to know the list already.
    """
    readable = ["/etc/ld.so.cache", "/dev/urandom"]
    for folder in sys.path:
        importlib.util.find_spec("evalkit_probe_of_every_folder")
        if os.path.isdir(folder):
            names = set(os.listdir(folder)) - {"site-packages", "dist-packages"}
            readable += [os.path.join(folder, name) for name in sorted(names)]
        elif os.path.exists(folder):
            readable.append(folder)
    return readable


def _extension_names() -> Iterable[str]:
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    for folder in sys.path:
        if os.path.isdir(folder):
            for name in os.listdir(folder):
                if name.endswith(suffixes) and not name.startswith(("_test", "_xx", "xx")):
                    yield name.partition(".")[0]


def extension_libraries(folders: Iterable[str]) -> list[str]:
    """The shared libraries that extension modules of the standard library and of packages load from the system.

    A child imports all of them and looks at its own memory map (proc(5), /proc/self/maps).
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            for name in [*_extension_names(), *(os.path.basename(f) for f in folders if not f.endswith(".libs"))]:
                try:
                    importlib.import_module(name)
                except Exception:  # not for this system, or broken: then candidates do not have it either
                    continue
            with open("/proc/self/maps") as maps:
                paths = {line.split(maxsplit=5)[5].strip() for line in maps if line.count("/")}
            os.write(write, "\n".join(sorted(p for p in paths if ".so" in os.path.basename(p))).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as lines:
        found = lines.read().split("\n")
    os.waitpid(pid, 0)
    libraries = set(filter(None, found))
    # The loader opens a library by the name it was linked with, and Landlock judges the file that this leads to.
    return sorted(libraries)


def preload_everything(packages: Iterable[str]) -> None:
    """Import the whole standard library and the packages: a sealed candidate can open no file."""
    null = os.open(os.devnull, os.O_RDWR)
    kept = os.dup(1), os.dup(2)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        names = set(sys.stdlib_module_names) - _NOT_PRELOADED
        for name in sorted(names) + list(packages):
            if name.startswith(("_test", "_xx", "xx")):
                continue
            try:
                module = importlib.import_module(name)
            except Exception:  # not for this system
                continue
            for child in pkgutil.iter_modules(getattr(module, "__path__", [])) if name in names else ():
                if child.name not in ("__main__", "test", "tests") and name not in ("ctypes", "distutils"):
                    try:
                        importlib.import_module(f"{name}.{child.name}")
                    except (Exception, SystemExit):
                        continue
    finally:
        sys.stdout.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for fd in (null, *kept):
            os.close(fd)
