"""A task's own file, in lm-eval's form: found, read with what it includes, checked; nothing here needs lm-eval.

``include`` is a file or a list of them, beside the file that says so. ``!function utils.process`` is, as in lm-eval,
the function ``process`` of ``utils.py`` beside the file that says so, else of a module that Python finds.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from evalkit.config.yaml_files import UniqueKeyLoader, parse_yaml
from evalkit.errors import ConfigError
from evalkit.paths import configs_dir

_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Function:
    """What ``!function`` names.

    Attributes:
        module: as written, ``utils`` or ``evalkit.tasks.gpt4all``.
        name: the function's.
        folder: where the file is that says so.
    """

    module: str
    name: str
    folder: Path

    @property
    def file(self) -> Path | None:
        """The module's file beside the task's; None: a module that Python finds."""
        beside = self.folder / f"{self.module.replace('.', '/')}.py"
        return beside if beside.is_file() else None

    def load(self) -> ModuleType:
        """Import the module; whatever that raises, it raises."""
        return importlib.import_module(self.module) if self.file is None else _load(self.file)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"evalkit task file {path}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Loader(UniqueKeyLoader):
    """YAML as lm-eval reads it (numbers and booleans of YAML 1.1), but without a key given twice.

    Attributes:
        folder: of the file, for what ``!function`` names.
    """

    folder = Path()


def _function(loader: _Loader, node: yaml.Node) -> Function:
    if not isinstance(node, yaml.ScalarNode) or not node.value.rpartition(".")[0]:
        what = "!function expects 'MODULE.FUNCTION'"
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
    module, _, name = str(node.value).rpartition(".")
    return Function(module, name, loader.folder)


_Loader.add_constructor("!function", _function)
for _tag in ("int", "float", "bool", "timestamp"):
    _tag = f"tag:yaml.org,2002:{_tag}"
    _Loader.add_constructor(_tag, yaml.SafeLoader.yaml_constructors[_tag])


def shown_path(path: Path) -> str:
    """Return a file as messages name it: ``configs/tasks/gpt4all/boolq.yaml``."""
    try:
        return (Path("configs") / path.relative_to(configs_dir())).as_posix()
    except ValueError:
        return "/".join(path.parts[-4:])


def task_file(suite: str, task: str) -> Path | None:
    """Return the file of a suite's folder that says ``task: <name>``: the one called so, or else the first; None."""
    folder = configs_dir() / "tasks" / suite
    named = folder / f"{task}.yaml"
    if named.is_file():
        return named
    return next((path for path in sorted(folder.rglob("*.yaml")) if _task_of(path) == task), None)


def named_file(suite: str, task: str) -> str:
    """Return a task's file as messages name it; the task where there is none."""
    path = task_file(suite, task)
    return task if path is None else shown_path(path)


def _task_of(path: Path) -> Any:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value.value for key, value in pairs if key.value == "task"), None)


def read_task_file(path: Path, inside: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a task's file says, and what it includes; its own keys win, then those of later files.

    Args:
        path: the file.
        inside: the files by which it is included.

    Raises:
        ConfigError: it, or one that it includes, cannot be read, is no YAML, has a key twice, or includes itself.
    """
    where = shown_path(path)
    if path.resolve() in inside:
        raise ConfigError(f"{where}: includes itself")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        by = f", included by {shown_path(inside[-1])}" if inside else ""
        raise ConfigError(f"{where}: cannot be read ({why}){by}") from None
    loader = type("Loader", (_Loader,), {"folder": path.parent})
    said = parse_yaml(text, where, "'task' and 'doc_to_text'", loader).content
    found: dict[str, Any] = {}
    for name in _included(said.get("include"), where):
        found |= read_task_file(path.parent / name, (*inside, path.resolve()))
    return found | {key: value for key, value in said.items() if key != "include"}


def _included(said: Any, where: str) -> list[str]:
    names = said if isinstance(said, list) else [] if said is None else [said]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{where}: include: expected a file's name or a list of them, found {names}")
    return names


def content_of(path: Path, inside: tuple[Path, ...] = ()) -> list[Any]:
    """Return what a task's file says, and those that it includes, for a digest: comments and layout do not count.

    Tags (``!function``) do; what stands in the Python files that they name: `evalkit.config.task_modules.code_of`.
    """
    return [_said(node) for _, node in _files(path, inside)]


def own_functions(path: Path) -> dict[Path, str]:
    """Return the Python files that a task's file names, and those that it includes, and that are not evalkit's own.

    By file a name that stays where all are copied elsewhere: beside the task's file its place from there, else the
    module's.
    """
    found: dict[Path, str] = {}
    for file, node in _files(path):
        for text in _functions(node):
            function = Function(*text.rpartition(".")[::2], file.parent)
            if (source := _source(function)) is not None:
                is_beside = source == function.file
                found[source] = Path(os.path.relpath(source, path.parent)).as_posix() if is_beside else function.module
    return found


def _files(path: Path, inside: tuple[Path, ...] = ()) -> Iterator[tuple[Path, yaml.Node | None]]:
    """Yield a task's file and those that it includes, and what stands there."""
    if path.is_file() and path.resolve() not in inside:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        yield path, node
        for name in _names_included(node):
            yield from _files(path.parent / name, (*inside, path.resolve()))


def _names_included(node: yaml.Node | None) -> list[str]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    values = [value for key, value in pairs if key.value == "include"]
    names = [one for value in values for one in (value.value if isinstance(value, yaml.SequenceNode) else [value])]
    return [str(name.value) for name in names]


def _functions(node: yaml.Node | None) -> Iterator[str]:
    if isinstance(node, yaml.ScalarNode):
        if node.tag == "!function":
            yield str(node.value)
        return
    for item in node.value if node is not None else ():
        for inner in item if isinstance(item, tuple) else (item,):
            yield from _functions(inner)


def _source(function: Function) -> Path | None:
    """Return the Python file in which ``!function`` finds a function; None for evalkit's own, and for none."""
    if function.file is not None:
        return function.file
    if function.module.partition(".")[0] == _PACKAGE:
        return None
    try:
        spec = importlib.util.find_spec(function.module)
    except (ImportError, ValueError):
        return None
    return None if spec is None or spec.origin is None or not Path(spec.origin).is_file() else Path(spec.origin)


def _said(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        return [node.tag, sorted(([_said(key), _said(value)] for key, value in node.value), key=json.dumps)]
    if isinstance(node, yaml.SequenceNode):
        return [node.tag, [_said(item) for item in node.value]]
    return None if node is None else [node.tag, node.value]
