"""YAML files that a person may have edited: read, checked against a type, every mistake one line with file and line.

The one validator of run configurations, suites, the data manifest, baselines and policies. What a file may hold is
declared as a type (an `Entry` for a mapping with known keys), and msgspec checks it, without converting: ``"false"`` is
no boolean, and a text is no list.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from evalkit.errors import ConfigError, did_you_mean

T = TypeVar("T")
Trail = tuple["str | int", ...]
"""Keys and positions that lead to a value, from the file's top."""
_Fault = tuple[Trail, str, "str | int | None"]

_NAMES = {"bool": "true or false", "int": "an integer", "float": "a number", "decimal": "a number", "str": "a text",
          "array": "a list", "object": "a mapping", "null": "null"}  # fmt: skip
_SHOWN = 60
_DEEPEST = 100


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of which every key is known."""


if typing.TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:
    # The C parser reads all baselines of a leaderboard in a tenth of the time; not every build of PyYAML has it.
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UniqueKeyLoader(_SafeLoader):
    """YAML without a key given twice, of which only the last would count.

    Whatever goes wrong while values are made of the text is an error with a place: PyYAML's constructors trust that a
    tag fits, and raise what Python does where it does not (``!!int ""``).
    """

    def construct_document(self, node: yaml.Node) -> Any:
        _check_depth(node)
        self._at = node
        try:
            return super().construct_document(node)
        except (yaml.YAMLError, MemoryError):
            raise
        except Exception:
            at = self._at
            tag = at.tag.replace("tag:yaml.org,2002:", "!!")
            text = f", found {_short(at.value)!r}" if isinstance(at, yaml.ScalarNode) else ""
            what = f"{tag} does not fit{text}; leave the tag out"
            raise yaml.constructor.ConstructorError(None, None, what, at.start_mark) from None

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        self._at = node
        return super().construct_object(node, deep=deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):  # a tag that says so of something else
            raise yaml.constructor.ConstructorError(None, None, "expected a mapping", node.start_mark)
        self._at = node
        seen: dict[tuple[str, str], int] = {}
        for key_node, _ in node.value:
            key = (key_node.tag, key_node.value) if isinstance(key_node, yaml.ScalarNode) else None
            if key in seen and key_node.tag != "tag:yaml.org,2002:merge":
                what = f"key {key_node.value!r} is there twice, first in line {seen[key]}"
                raise yaml.constructor.ConstructorError(None, None, what, key_node.start_mark)
            if key is not None:
                seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


def _check_depth(top: yaml.Node) -> None:
    """Refuse what is nested deeper than any file of ours: what walks it, if only to print it, may be recursive."""
    level, seen = [top], {id(top)}
    for _ in range(_DEEPEST):
        inner = [node for parent in level if not isinstance(parent, yaml.ScalarNode) for node in _children(parent)]
        level = [node for node in inner if id(node) not in seen]
        seen.update(map(id, level))
    if level:
        mark = level[0].start_mark
        raise yaml.constructor.ConstructorError(None, None, f"nested deeper than {_DEEPEST} levels", mark)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    for item in node.value:
        yield from item if isinstance(item, tuple) else (item,)


NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?")
"""A number as every version of YAML reads it."""
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_OTHER_BASES = re.compile(r"[-+]?0(x[0-9a-fA-F_]+|b[01_]+)")
_LONGEST = 80
"""Characters of an integer below 2^63, in any base, with room for underscores."""
_BOOLEANS = ("true", "True", "TRUE", "false", "False", "FALSE")


def _number(loader: _SafeLoader, node: yaml.ScalarNode) -> int | float:
    """Return a number; what only YAML 1.1 takes for one (``1:30``, ``010``, ``0x10``, ``1_000``) is refused."""
    text = str(loader.construct_scalar(node))
    if NUMBER.fullmatch(text) or _OTHER_BASES.fullmatch(text):
        _check_size(node, text)
    if NUMBER.fullmatch(text):
        number = int(text) if _INTEGER.fullmatch(text) else float(text)
        if math.isfinite(number):
            return number
    try:
        of_kind = (
            yaml.SafeLoader.construct_yaml_int if node.tag.endswith(":int") else yaml.SafeLoader.construct_yaml_float
        )
        found = of_kind(loader, node)
        math.isfinite(found)  # an integer may be beyond what a float can hold
    except (ValueError, OverflowError):
        found = math.nan
    if NUMBER.fullmatch(text) or re.fullmatch(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", text):
        raise _unclear(node, f"{_short(text)} is not finite; write a finite number, or '{_short(text)}' for a text")
    hint = f"write {found}" if math.isfinite(found) else "write a finite number"
    if re.fullmatch(r"[-+]?0[0-9]+", text):
        hint = f"write {int(text)}" + (f" (or {found}, if it is octal)" if math.isfinite(found) else "")
    raise _unclear(
        node, f"{_short(text)} is a number in some versions of YAML only; {hint}, or '{_short(text)}' for a text"
    )


def _check_size(node: yaml.ScalarNode, text: str) -> None:
    """Refuse integers that no computer's are as large as; Python's own have no end, and what they meet has."""
    is_integer = _INTEGER.fullmatch(text) or _OTHER_BASES.fullmatch(text)
    if is_integer and (len(text) > _LONGEST or abs(int(text.replace("_", ""), 0)) >= 1 << 63):
        raise _unclear(node, f"{_short(text)} is too large for an integer; write a smaller number")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _boolean(loader: _SafeLoader, node: yaml.ScalarNode) -> bool:
    """Return a boolean; yes, no, on and off are texts in YAML 1.2 and refused."""
    text = str(loader.construct_scalar(node))
    if text in _BOOLEANS:
        return text.lower() == "true"
    known = yaml.SafeLoader.bool_values.get(text.lower())
    hint = "true or false" if known is None else str(known).lower()
    raise _unclear(node, f"{text} is a boolean in some versions of YAML only; write {hint}, or '{text}' for a text")


def _date(loader: _SafeLoader, node: yaml.ScalarNode) -> Any:
    """Return a date as PyYAML does; what only looks like one, or is called one, is refused with its line."""
    try:
        return yaml.SafeLoader.construct_yaml_timestamp(loader, node)
    except (AttributeError, ValueError):
        text = loader.construct_scalar(node)
        raise _unclear(node, f"{text} is no date; write '{text}' for a text") from None


def _unclear(node: yaml.ScalarNode, what: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


for _tag in ("int", "float"):
    UniqueKeyLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _number)
UniqueKeyLoader.add_constructor("tag:yaml.org,2002:bool", _boolean)
UniqueKeyLoader.add_constructor("tag:yaml.org,2002:timestamp", _date)
# YAML 1.1 takes 1e3, which has no point and no sign, for a text.
UniqueKeyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(f"^(?:{NUMBER.pattern})$"), list("-+0123456789.")
)


@dataclass(frozen=True)
class YamlFile:
    """A YAML file that holds one mapping.

    Attributes:
        where: what messages call it.
        text: its text, in which messages find a line.
        content: the mapping.
    """

    where: str
    text: str
    content: dict[Any, Any]

    def read_as(self, kind: type[T]) -> T:
        """Return the whole content as a type.

        Raises:
            ConfigError: a key is unknown or missing, or a value is of another type.
        """
        whole: T = self.value((), kind)
        return whole

    def value(self, trail: Trail, kind: Any) -> Any:
        """Return the value at a place as a type; errors as in `read_as`."""
        found: Any = self.content
        for step in trail:
            found = found[step]
        try:
            return msgspec.convert(found, kind)
        except msgspec.ValidationError:
            for fault in _faults(found, kind, trail):
                raise self.fault(*fault) from None
            raise

    def fault(self, trail: Trail, what: str, key: str | int | None = None) -> ConfigError:
        """Return the error that names a place: ``run.yaml:3: limit: expected an integer, found 'many'``.

        Args:
            trail: the place.
            what: what is wrong there.
            key: the key in it whose line is named; None: that of the place itself.
        """
        keys = "".join(f"{step}: " if isinstance(step, str) else f"item {step + 1}: " for step in trail)
        line = self._line(trail if key is None else (*trail, key))
        return ConfigError(f"{self.where}:{line}: {keys}{what}")

    def _line(self, trail: Trail) -> int:
        node = yaml.compose(self.text, Loader=_SafeLoader)
        line = node.start_mark.line if node is not None else 0
        for step in trail:
            inner = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(step):
                        line, inner = key.start_mark.line, value
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                inner = node.value[step]
                line = inner.start_mark.line
            if inner is None:
                break
            node = inner
        return line + 1


def read_yaml(path: Path, where: str, example_keys: str, loader: type[_SafeLoader] = UniqueKeyLoader) -> YamlFile:
    """Read a file that holds one mapping.

    Args:
        where: what messages call it.
        example_keys: some of its keys, for the message.
        loader: a loader that is made of PyYAML's safe one.

    Raises:
        ConfigError: no file, not UTF-8, not YAML, a key given twice, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: not UTF-8") from None
    return parse_yaml(text, where, example_keys, loader)


def parse_yaml(text: str, where: str, example_keys: str, loader: type[_SafeLoader] = UniqueKeyLoader) -> YamlFile:
    """Return a file's text as one mapping; arguments and errors as in `read_yaml`."""
    try:
        found = yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        said = "; ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{where}{line}: not valid YAML ({' '.join(said.split())})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: expected a mapping of keys such as {example_keys}")
    return YamlFile(where, text, found)


def wrong(value: Any, kind: Any) -> str | None:
    """Return what is wrong with a value that is not of a type, as `YamlFile.value` says it; None where nothing is."""
    for trail, what, _ in _faults(value, kind, ()):
        return "".join(f"item {step + 1}: " for step in trail if isinstance(step, int)) + what
    return None


def fault_in(found: Any, kind: Any, trail: Trail = ()) -> str | None:
    """Return what is wrong in JSON of a type: ``model.dtype: expected a text, found 3``; None if nothing.

    Args:
        trail: where the value is, for the message.
    """
    for place, what, _ in _faults(found, kind, trail):
        keys = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
        return f"{keys.removeprefix('.')}: {what}" if keys else what
    return None


def _faults(found: Any, kind: Any, trail: Trail) -> Iterator[_Fault]:
    """Yield what is wrong at a place, inner values first: msgspec does not name the keys of a mapping."""
    kind = _without_null(kind, found)
    walk = _walk_of(kind)
    if walk is not None and isinstance(found, walk.container):
        yield from walk.faults(found, trail)
    if typing.get_origin(kind) is typing.Literal:
        known = typing.get_args(kind)
        if found not in known:
            hint = did_you_mean(found, known) if isinstance(found, str) else ""
            # YAML takes a bare off for false, and on for true.
            bare = {False: "off", True: "on"}[found] if isinstance(found, bool) else None
            hint = f"; write '{bare}' in quotes" if bare in known else hint
            yield trail, f"{shown(found)} is not one of {', '.join(known)}{hint}", None
        return
    if kind is Decimal and isinstance(found, str):
        yield trail, f"expected a number, found {shown(found)}", None
        return
    try:
        msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        yield trail, _in_words(str(error), found), None


@dataclass(frozen=True)
class _Walk:
    container: type | tuple[type, ...]
    faults: Callable[[Any, Trail], Iterator[_Fault]]


def _walk_of(kind: Any) -> _Walk | None:
    """Return how the inner values of a type are looked at; None for a type without."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _Walk(dict, lambda found, trail: _faults_of_entry(found, kind, trail))
    if origin is dict:
        return _Walk(dict, lambda found, trail: _faults_of_items(found.items(), inner[1], trail, inner[0]))
    if origin in (tuple, list):
        return _Walk((list, tuple), lambda found, trail: _faults_of_items(enumerate(found), inner[0], trail))
    return None


def _faults_of_entry(found: dict[Any, Any], kind: type[msgspec.Struct], trail: Trail) -> Iterator[_Fault]:
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, value in found.items():
        if key not in known:
            yield trail, f"unknown key '{key}'{did_you_mean(str(key), known)}", key
        else:
            yield from _faults(value, known[key].type, (*trail, key))
    for name in sorted(name for name, field in known.items() if field.required and name not in found):
        yield trail, f"missing key '{name}'", None


def _faults_of_items(items: Any, kind: Any, trail: Trail, keys: Any = None) -> Iterator[_Fault]:
    for key, value in items:
        if keys is str and not isinstance(key, str):
            yield trail, f"expected a name, found {shown(key)}", key
        else:
            yield from _faults(value, kind, (*trail, key))


def _without_null(kind: Any, found: Any) -> Any:
    """Return what a value may be besides null: msgspec's message for a union names both."""
    if found is None or typing.get_origin(kind) not in (types.UnionType, typing.Union):
        return kind
    rest = [item for item in typing.get_args(kind) if item is not type(None)]
    return rest[0] if len(rest) == 1 else kind


def _in_words(message: str, found: Any) -> str:
    """Turn msgspec's message (``Expected `int`, got `str```) into ours."""
    _, kinds, bound = message.partition(" - at ")[0].split("`", 2)
    names = [_NAMES.get(name.strip(), name.strip()) for name in kinds.split("|")]
    return f"expected {' or '.join(names)}{bound.partition(', got')[0]}, found {shown(found)}"


def shown(value: Any) -> str:
    """Return a value as messages show it."""
    text = str(value) if isinstance(value, Decimal) else "null" if value is None else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
