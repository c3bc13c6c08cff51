"""Arguments of the Python API: what notebooks hand over, checked and in the forms that the rest takes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, KeysView, ValuesView
from pathlib import Path
from typing import Any, TypeAlias

from evalkit.config.yaml_files import shown, wrong
from evalkit.errors import ConfigError, did_you_mean
from evalkit.records.model import RunRecord

RunLike: TypeAlias = "str | os.PathLike[str] | RunRecord"


def name_of(run: RunLike) -> str:
    """Return what the command line would call a run, a baseline or a file."""
    if isinstance(run, RunRecord):
        return str(run.folder)
    if not isinstance(run, (str, os.PathLike)):
        raise ConfigError(f"expected a path, a name or a Run, found {type(run).__name__}")
    name = os.fspath(run)
    _check_name(name)
    return name


def _check_name(name: str) -> None:
    """Refuse what no file can be called: looking for it raises, from one Python to the next at other places."""
    if "\n" in name or "\r" in name:
        raise ConfigError(f"{shown(name)}: a path of several lines; give the file's path, not its text")
    try:
        Path(name).stat()
    except ValueError:
        raise ConfigError(f"{shown(name)}: holds a character that no path has") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(f"{shown(name)}: too long for a path") from None


def path_of(run: RunLike) -> Path:
    return Path(name_of(run))


def texts_of(function: str, name: str, value: object) -> tuple[str, ...]:
    """Return what may be one text or several as several; None is none."""
    if value is None:
        return ()
    found = [value] if isinstance(value, (str, os.PathLike)) else value
    if isinstance(found, Iterable) and not isinstance(found, (bytes, dict)):
        texts = tuple(os.fspath(item) if isinstance(item, os.PathLike) else item for item in found)
        if wrong(texts, tuple[str, ...]) is None:
            return texts
    raise ConfigError(f"evalkit.{function}: {name}: expected a text or a list of texts, found {shown(value)}")


def as_yaml_value(function: str, name: str, value: Any) -> Any:
    """Return an argument as a YAML file would hold it: paths and runs as texts, NumPy's numbers and arrays as ours."""
    if isinstance(value, RunRecord):
        return str(value.folder)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (set, frozenset)):
        raise ConfigError(f"evalkit.{function}: {name}: a set has no order; give a list")
    if isinstance(value, type):
        raise ConfigError(f"evalkit.{function}: {name}: expected a value, found the type {value.__name__}")
    # Of what NumPy has and Python has not, tolist gives the same again.
    if hasattr(value, "tolist") and type(found := value.tolist()) is not type(value):
        return as_yaml_value(function, name, found)
    if isinstance(value, (list, tuple, range, Iterator, KeysView, ValuesView)):
        return [as_yaml_value(function, name, item) for item in value]
    if isinstance(value, int) and value.bit_length() > 64:
        raise ConfigError(f"evalkit.{function}: {name}: a number of more than 64 bits")
    if value is None or isinstance(value, (str, bytes, bool, int, float, dict)):
        return value
    raise ConfigError(f"evalkit.{function}: {name}: expected what a YAML file can hold, found {type(value).__name__}")


def checked(function: str, **arguments: tuple[object, Any]) -> list[Any]:
    """Return the values of (value, its type) pairs as `as_yaml_value`; `ConfigError` for the first of another type."""
    values = [as_yaml_value(function, name, value) for name, (value, _) in arguments.items()]
    for value, (name, (_, kind)) in zip(values, arguments.items(), strict=True):
        if fault := wrong(value, kind):
            raise ConfigError(f"evalkit.{function}: {name}: {fault}")
    return values


def check_known(options: Iterable[str], known: Iterable[str], function: str) -> None:
    known = tuple(known)
    for name in options:
        if name not in known:
            raise ConfigError(f"evalkit.{function}: unknown argument '{name}'{did_you_mean(name, known)}")
