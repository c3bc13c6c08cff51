"""What candidates can import: the standard library and a few named packages, found without reading their folder.

Site-packages as a whole is not readable: it may hold data sets with solutions. So a package is found by its path, and
only the files that importing needs are opened to candidates.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from . import kernel
from .elf import needed_libraries

_NOT_READABLE = {"site-packages", "dist-packages"}
# Modules that do something when imported (open a browser, print, start a window) or are the interpreter's own tests.
_NOT_PRELOADED = {
    "antigravity",
    "this",
    "test",
    "idlelib",
    "tkinter",
    "turtle",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "venv",
}


# Submodules that are scripts, tests, or build things.
_NOT_BELOW = {"__main__", "test", "tests", "idle_test", "conftest", "f2py", "distutils", "_pyinstaller", "setup"}

# The system's tables of time zones (zoneinfo.TZPATH's usual places, the local one): public, and nothing else is there.
TIME_ZONES = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/localtime")


class _PackageFinder:
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

    The folder itself must not be readable (a Landlock rule covers all below it), so the importer, which lists a folder
    to find a module, has to know the list already.
    """
    importlib.util.find_spec("a_name_that_no_folder_has")
    readable = ["/etc/ld.so.cache", "/dev/urandom", "/dev/null", *TIME_ZONES]
    for folder in map(os.path.normpath, sys.path):
        if folder in readable:
            continue  # with all below: fewer rules, which every program's wall is made of
        if os.path.isdir(folder):
            readable += [f"{folder}/{name}" for name in os.listdir(folder) if name not in _NOT_READABLE]
        elif os.path.exists(folder):
            readable.append(folder)
    return readable


class LibrarySearch:
    """Finds the shared libraries that extension modules of the standard library and of packages need from the system.

    A child loads extension modules, without running them, until all that any of them asks for is there, and looks at
    its own memory map (proc(5)); this process can do something else meanwhile.

    Args:
        folders: of the packages.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        self._own = [*map(os.path.normpath, sys.path), *map(os.path.normpath, folders)]
        self._names: list[str] | None = None
        self._read, write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                kernel.die_with_parent()
                os.environ["OPENBLAS_NUM_THREADS"] = "1"
                os.write(write, "\n".join(self._mapped()).encode())
                os._exit(0)
            finally:
                os._exit(1)
        os.close(write)

    def _mapped(self) -> list[str]:
        """In the child: the files in its memory once all is that extension modules ask for."""
        suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
        there: set[str] = set()  # what those that were loaded asked for: the linker takes the same again (ld.so(8))
        for place, root in enumerate(self._own):
            for folder, below, files in os.walk(root):
                if place < len(sys.path):
                    below.clear()  # folders of packages are looked through, those of the search path not
                for name in files:
                    if name.endswith(suffixes):
                        with contextlib.suppress(OSError):  # broken, or lacks a library: then candidates lack it
                            needed = needed_libraries(f"{folder}/{name}")
                            if needed is None or not needed <= there:
                                ctypes.CDLL(f"{folder}/{name}", mode=os.RTLD_LAZY)
                                there |= needed or set()
        try:
            with open("/proc/self/maps", encoding="utf-8") as file:
                paths = {line.split(maxsplit=5)[5].rstrip("\n") for line in file if "/" in line}
        except OSError:  # no /proc here
            paths = linked()
        inside = tuple(folder + end for folder in self._own for end in ("/", ".libs/"))  # see allow_packages
        return sorted(path for path in paths if not path.startswith(inside))

    def found(self) -> list[str]:
        """Wait for the child, the first time; the libraries' paths.

        Raises:
            OSError: the child did not end well; without its list, programs would fail at honest imports.
        """
        if self._names is None:
            with os.fdopen(self._read) as names:
                found = [name for name in names.read().split("\n") if ".so" in os.path.basename(name)]
            _, status = os.waitpid(self._pid, 0)
            if status:
                raise OSError("the shared libraries that extension modules need cannot be found: loading them failed")
            self._names = found
        return self._names


def linked() -> set[str]:
    """The shared objects of this process as the dynamic linker has them (dl_iterate_phdr(3)), links resolved."""

    class Object(ctypes.Structure):
        _fields_ = (("address", ctypes.c_void_p), ("name", ctypes.c_char_p))  # what struct dl_phdr_info begins with

    names: list[str] = []

    def add(found: Any, _size: int, _data: int | None) -> int:
        names.append(os.fsdecode(found.contents.name or b""))
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Object), ctypes.c_size_t, ctypes.c_void_p)(add)
    ctypes.CDLL(None).dl_iterate_phdr(callback, None)
    return {os.path.realpath(name) for name in names if name.startswith("/")}


@functools.cache
def library_search(folders: tuple[str, ...]) -> LibrarySearch:
    """Begin a search, or go on with the one that a fork server began."""
    return LibrarySearch(folders)


def _import_with_submodules(name: str) -> None:
    last = name.rpartition(".")[2]
    if last.startswith(("_test", "_xx", "xx")) or last in _NOT_BELOW:
        return
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit):  # not for this system, or a script
        return
    import pkgutil  # only sealed nurseries need it

    for child in pkgutil.iter_modules(getattr(module, "__path__", [])):
        _import_with_submodules(f"{name}.{child.name}")


def preload_everything(packages: Collection[str]) -> None:
    """Import the whole standard library and the packages: a sealed candidate can open no file."""
    null = os.open(os.devnull, os.O_RDWR)
    kept = os.dup(1), os.dup(2)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        # The C halves last: `_asyncio` before `asyncio` would leave half of it in Python, half in C.
        standard = sorted(set(sys.stdlib_module_names) - _NOT_PRELOADED, key=lambda name: (name[0] == "_", name))
        for name in (*standard, *packages):
            _import_with_submodules(name)
    finally:
        sys.stdout.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for fd in (null, *kept):
            os.close(fd)
