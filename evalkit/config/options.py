"""Settings whose fields say everything once: YAML key, command-line option, help, default, what is refused, docs.

A struct of settings declares a field as ``limit: Annotated[int | None, Option("First N documents.", default="all")] =
None``. A struct may be part of another one; keys and options stay flat. From the fields come the options of a command
(`command_options`), the reading of a YAML file (`read_settings`), the values from either (`build`) and the table of the
docs (`table`).
"""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import msgspec

from evalkit.config.yaml_files import Entry, YamlFile, shown, wrong
from evalkit.errors import ConfigError, did_you_mean

S = TypeVar("S", bound="OptionStruct")
F = TypeVar("F", bound=Callable[..., Any])


def _nothing(_value: Any) -> str | None:
    return None


@dataclass(frozen=True)
class Option:
    """What a field of settings is to a user."""

    help: str
    """What it is, as a sentence."""
    default: str | None = None
    """What its default is called, where the value does not say it: ``measured``."""
    metavar: str | None = None
    """What stands for its value in the help."""
    missing: str | None = None
    """What to do where it is not given, though it must be; None: a command line without it is refused by click."""
    negatable: bool = False
    """Of a yes or no: whether there is ``--no-...`` too, to say no where a file says yes."""
    or_number: bool = False
    """Of a text: whether a number stands for its digits, as YAML and lm-eval make one of them."""
    refuse: Callable[[Any], str | None] = _nothing
    """Returns what is wrong with a value that has the right type: ``0 is not a number of documents (1 or more)``."""
    since: int = 0
    """Minor version of the records that first had it (`evalkit.records.growth`); 0: all of this schema have it."""
    gate: bool = False
    """Whether `gate --run-model` takes it too; what it does not take is as it was in the baseline, or by default."""
    moves_scores: bool = False
    """Whether scores depend on it: then it is part of a run's identity, and the gate refuses where it differs."""
    in_requests: bool = False
    """Of one that moves scores: whether the requests themselves are others where it differs, so that scores of equal
    requests may be taken over all the same (``--reuse``)."""


def between(least: float, most: float | None, what: str) -> Callable[[Any], str | None]:
    """Return what refuses numbers out of a range (and NaN), as ``VALUE is not WHAT``; None is let through."""

    def refuse(value: Any) -> str | None:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"a number of more than 64 bits is not {what}"
        is_right = value is None or (least <= value and (most is None or value <= most))
        return None if is_right else f"{value} is not {what}"

    return refuse


@dataclass(frozen=True)
class Setting:
    """One field, flat: a key of a file and an option of a command."""

    key: str
    """YAML key; the option's name with hyphens for underscores."""
    name: str
    """The struct's attribute."""
    kind: Any
    """Its type."""
    default: Any
    """Its value where it is not given; msgspec.NODEFAULT where it must be."""
    option: Option

    @property
    def flag(self) -> str:
        """The option: ``--max-length``."""
        return "--" + self.key.replace("_", "-")

    @property
    def is_list(self) -> bool:
        """Whether the option may be repeated."""
        return typing.get_origin(self.kind) is tuple

    @property
    def scalar(self) -> type:
        """The type of one value: str, int, float or bool."""
        kind = self.kind
        if typing.get_origin(kind) in (types.UnionType, typing.Union):
            kind = next(item for item in typing.get_args(kind) if item is not type(None))
        return kind if kind in (int, float, bool) else str

    def default_text(self) -> str | None:
        """Return the default as help and docs show it; None where it goes without saying."""
        if self.option.default is not None:
            return self.option.default
        if self.default in (msgspec.NODEFAULT, None, ()):
            return None
        if self.scalar is bool:
            return "no" if self.option.negatable else None
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def settled(self, value: Any) -> Any:
        """Return a value in the field's form: one text is a list of one, and a number its digits where it may be."""
        if self.is_list and isinstance(value, (str, list)):
            return (value,) if isinstance(value, str) else tuple(value)
        return str(value) if self.option.or_number and type(value) is int else value

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value: ``limit: expected an integer, found 'x'``; None where nothing is."""
        if self.option.missing and not value:
            return f"no {self.key}: {self.option.missing}"
        found = wrong(value, self.kind) or self.option.refuse(value)
        return f"{self.key}: {found}" if found else None


class OptionStruct(Entry, frozen=True, kw_only=True):
    """A struct of settings; its values are checked however it is made."""

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(type(self)):
            part, value = _part(field.type), getattr(self, field.name)
            if part and not isinstance(value, part):
                raise ConfigError(f"{field.name}: expected a {part.__name__}, found {shown(value)}")
        for setting in _own(type(self)):
            if fault := setting.fault(getattr(self, setting.name)):
                raise ConfigError(fault)


def _part(kind: Any) -> type[OptionStruct] | None:
    return kind if isinstance(kind, type) and issubclass(kind, OptionStruct) else None


@functools.cache
def _own(kind: type[OptionStruct]) -> tuple[Setting, ...]:
    """Return the fields of a struct that are options, without those of its parts."""
    found = []
    for field in msgspec.structs.fields(kind):
        bare, *notes = typing.get_args(field.type) if typing.get_origin(field.type) is typing.Annotated else [None]
        found += [
            Setting(field.encode_name, field.name, bare, field.default, note)
            for note in notes
            if isinstance(note, Option)
        ]
    return tuple(found)


@functools.cache
def declared_settings(kind: type[OptionStruct]) -> Mapping[str, Setting]:
    """Return the options of a struct and of its parts by key, in the order of their fields."""
    parts = [part for field in msgspec.structs.fields(kind) if (part := _part(field.type))]
    inner = {key: setting for part in parts for key, setting in declared_settings(part).items()}
    return types.MappingProxyType(inner | {setting.key: setting for setting in _own(kind)})


# --- values ----------------------------------------------------------------------------------------------------------


def build(kind: type[S], values: Mapping[str, Any]) -> S:
    """Make a struct of settings from flat values by key; keys of others are passed over.

    Raises:
        ConfigError: a value is missing, of another type, or refused.
    """
    known = {setting.name: setting for setting in _own(kind)}
    arguments: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        setting = known.get(field.name)
        if part := _part(field.type):
            arguments[field.name] = build(part, values)
        elif field.encode_name in values:
            value = values[field.encode_name]
            arguments[field.name] = setting.settled(value) if setting else value
        elif field.required:
            raise ConfigError((setting.fault("") if setting else None) or f"{field.encode_name}: is missing")
    return kind(**arguments)


def flat(settings: OptionStruct) -> dict[str, Any]:
    """Return the values by key as plain data, those of parts among them: what `build` takes."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(settings)):
        value = getattr(settings, field.name)
        if isinstance(value, OptionStruct):
            found |= flat(value)
        else:
            found[field.encode_name] = list(value) if isinstance(value, tuple) else value
    return found


def given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that were given: click has None or an empty tuple for the others."""
    return {key: value for key, value in flags.items() if value not in (None, (), [])}


def read_settings(file: YamlFile, kind: type[OptionStruct]) -> dict[str, Any]:
    """Return the values of a YAML file by key, each of its field's type and in its range.

    Raises:
        ConfigError: an unknown key or a value that is refused, with file and line.
    """
    known = declared_settings(kind)
    values: dict[str, Any] = {}
    for key, found in file.content.items():
        if key not in known:
            raise file.fault((), f"unknown key '{key}'{did_you_mean(str(key), known)}", key)
        setting = known[key]
        if setting.is_list and not isinstance(found, (str, list)):
            raise file.fault((key,), f"expected a text or a list of texts, found {shown(found)}")
        is_as_it_stands = isinstance(found, list) or setting.settled(found) is found
        values[key] = file.value((key,), setting.kind) if is_as_it_stands else setting.settled(found)
        if refused := setting.option.refuse(values[key]):
            raise file.fault((key,), refused)
    return values


# --- the command line and the docs -----------------------------------------------------------------------------------


def command_options(
    *kinds: type[OptionStruct],
    only: Collection[str] = (),
    without: Collection[str] = (),
    prefix: str = "",
    says: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Give a click command the options of structs, each None (or empty) where it is not given.

    Args:
        kinds: structs of settings; the options are in the order of their fields.
        only: keys to take, in this order; empty: all.
        without: keys to leave out.
        prefix: put before each help, e.g. ``With --run-model: ``.
        says: help of options that mean something else here, by key.
        defaults: defaults that are others here, by key.
    """
    known = {key: setting for kind in kinds for key, setting in declared_settings(kind).items()}
    chosen = [known[key] for key in only or known if key not in without]

    def decorate(command: F) -> F:
        for setting in reversed(chosen):
            text = (says or {}).get(setting.key, setting.option.help)
            default = (defaults or {}).get(setting.key, setting.default_text())
            text = prefix + (_lower(text) if prefix else text) + (f"  [default: {default}]" if default else "")
            command = _click_option(setting, text)(command)
        return command

    return decorate


def _lower(text: str) -> str:
    """Return a sentence as it goes on after a colon; abbreviations (PEFT) stay."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _click_option(setting: Setting, text: str) -> Callable[[F], F]:
    option = setting.option
    if setting.scalar is bool:
        flag = f"{setting.flag}/--no-{setting.flag[2:]}" if option.negatable else setting.flag
        return click.option(flag, is_flag=True, default=None, help=text)
    return click.option(
        setting.flag,
        type=setting.scalar,
        multiple=setting.is_list,
        metavar=option.metavar,
        required=setting.default is msgspec.NODEFAULT and option.missing is None,
        help=text,
    )


def typed_dict(name: str, doc: str, settings: Collection[Setting], base: str = "TypedDict") -> str:
    """Return the source of a TypedDict of settings as Python takes them: paths where texts are, runs where a run is."""
    lines = [f"class {name}({base}, total=False):", f'    """{doc}"""', ""]
    for setting in settings:
        kind = setting.kind
        parts = typing.get_args(kind) if typing.get_origin(kind) in (types.UnionType, typing.Union) else (kind,)
        texts = []
        for part in parts:
            if setting.is_list:
                texts += ["Text", "Sequence[Text]"]
            elif typing.get_origin(part) is typing.Literal:
                texts.append(f"Literal[{', '.join(json.dumps(word) for word in typing.get_args(part))}]")
            elif part is type(None):
                texts.append("None")
            else:
                texts.append("Text" if part is str else part.__name__)
        texts += ["int"] if setting.option.or_number else []
        texts += ["RunRecord"] if setting.option.metavar == "RUN" else []
        texts.sort(key="None".__eq__)
        lines += [f"    {setting.key}: {' | '.join(texts)}", f'    """{setting.option.help}"""']
    return "\n".join([*lines, ""])


def table(kind: type[OptionStruct]) -> str:
    """Return the options of a struct and its parts as a Markdown table, a row each."""
    lines = ["| option | key | default | what it is |", "|---|---|---|---|"]
    for setting in declared_settings(kind).values():
        no = f", `--no-{setting.flag[2:]}`" if setting.scalar is bool and setting.option.negatable else ""
        default = setting.default_text() or ("no" if setting.scalar is bool else "")
        text = setting.option.help.replace("<", "&lt;")
        lines.append(f"| `{setting.flag}`{no} | `{setting.key}` | {default} | {text} |")
    return "\n".join(lines)
