"""A baseline's YAML file.

Numbers are decimals as printed: ``0.5000`` in the file keeps its four places in memory and is written back with them,
so averages can be recomputed exactly and a table can be printed as it was published.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from evalkit.baselines.model import Baseline, HumanEval, Metric
from evalkit.baselines.names import is_metric
from evalkit.errors import ConfigError, did_you_mean
from evalkit.suites import load_suites, load_tasks

if TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:
    # The C parser reads all baselines of a leaderboard in a tenth of the time; not every build of PyYAML has it.
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """Reads numbers with a point as decimals, so that printed places survive."""


class _Dumper(yaml.SafeDumper):
    """Writes decimals as they are and metrics on one line."""


class _OneLine(dict[str, Any]):
    """A mapping that is written on one line."""


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")  # .nan and .inf: refused with their place by _number


_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: _decimal(str(node.value)))
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: str(node.value))
_Dumper.add_representer(Decimal, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", str(value)))
_Dumper.add_representer(
    _OneLine, lambda dumper, value: dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)
)

_KEYS = (
    *("name", "slug", "protocol", "other_protocols", "source", "retrieved", "same_model_as", "settings"),
    *("averages", "humaneval", "tasks", "notes"),
)
_NEEDED = ("name", "slug", "protocol", "source", "retrieved")


def to_yaml(baseline: Baseline) -> str:
    """Return the text of a baseline's file; keys without content are left out."""
    tasks = {
        task: {
            name: _OneLine(
                value=m.value,
                **({"stderr": m.stderr} if m.stderr is not None else {}),
                **({"shots": m.shots} if m.shots is not None else {}),
            )
            for name, m in ms.items()
        }
        for task, ms in baseline.tasks.items()
    }
    humaneval = baseline.humaneval and {"percent": baseline.humaneval.percent, "note": baseline.humaneval.note}
    values = {
        "name": baseline.name,
        "slug": baseline.slug,
        "protocol": baseline.protocol,
        "other_protocols": dict(baseline.other_protocols),
        "source": baseline.source,
        "retrieved": baseline.retrieved,
        "same_model_as": baseline.same_model_as,
        "settings": baseline.settings,
        "averages": dict(baseline.averages),
        "humaneval": humaneval,
        "tasks": tasks,
        "notes": list(baseline.notes),
    }
    kept = {key: values[key] for key in _KEYS if values[key]}
    return yaml.dump(kept, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118)


def _number(value: object, where: str, *, top: int) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (Decimal, int)):
        raise ConfigError(f"{where}: expected a number, got {value!r}")
    number = Decimal(value)
    if not number.is_finite() or not 0 <= number <= top:
        raise ConfigError(f"{where}: {number} is outside 0..{top}")
    return number


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a mapping, got {value!r}")
    return value


def _known(found: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'{did_you_mean(str(key), known)}")


def _metric(entry: object, where: str) -> Metric:
    values = _mapping(entry, where)
    _known(values, ("value", "stderr", "shots"), where)
    if "value" not in values:
        raise ConfigError(f"{where}: missing key 'value'")
    stderr, shots = values.get("stderr"), values.get("shots")
    if shots is not None and (type(shots) is not int or shots < 0):
        raise ConfigError(f"{where}: shots: expected a number of examples, got {shots!r}")
    return Metric(
        _number(values["value"], f"{where}: value", top=1),
        _number(stderr, f"{where}: stderr", top=1) if stderr is not None else None,
        shots,
    )


def read_baseline(path: Path) -> Baseline:
    """Read a baseline's file.

    Raises:
        ConfigError: it cannot be read, or has an unknown key, a missing one, or a number that is none.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: cannot be read: {' '.join(str(error).split())}") from error
    return parse_baseline(text, where)


def parse_baseline(text: str, where: str) -> Baseline:
    """Return the baseline of a file's text; `where` names it in messages.

    Raises:
        ConfigError: as for `read_baseline`.
    """
    try:
        # _Loader only adds two constructors of plain values to the safe loader.
        found = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: cannot be read: {' '.join(str(error).split())}") from error
    values = _mapping(found, where)
    _known(values, _KEYS, where)
    for key in _NEEDED:
        if not isinstance(values.get(key), str):
            raise ConfigError(f"{where}: needs the key '{key}' with a text")
    suites = tuple(load_suites())
    averages = _mapping(values.get("averages", {}), f"{where}: averages")
    _known(averages, suites, f"{where}: averages")
    others = _mapping(values.get("other_protocols", {}), f"{where}: other_protocols")
    _known(others, suites, f"{where}: other_protocols")
    humaneval = values.get("humaneval")
    if humaneval is not None:
        _known(_mapping(humaneval, f"{where}: humaneval"), ("percent", "note"), f"{where}: humaneval")
    tasks = _mapping(values.get("tasks", {}), f"{where}: tasks")
    for name in tasks:
        for metric in _mapping(tasks[name], f"{where}: tasks: {name}"):
            known = load_tasks().get(name)
            # Other metrics than evalkit's are kept and ignored; one that is nearly evalkit's own is a slip.
            slip = known is not None and metric not in known.metrics and did_you_mean(str(metric), known.metrics)
            if known is not None and slip and not is_metric(str(metric)) and metric != "score":
                raise ConfigError(f"{where}: tasks: {name}: no metric '{metric}'{did_you_mean(metric, known.metrics)}")
    return Baseline(
        slug=values["slug"],
        name=values["name"],
        protocol=values["protocol"],
        source=values["source"],
        retrieved=values["retrieved"],
        averages={s: _number(v, f"{where}: averages: {s}", top=100) for s, v in averages.items()},
        tasks={
            task: {metric: _metric(entry, f"{where}: tasks: {task}: {metric}") for metric, entry in metrics.items()}
            for task, metrics in tasks.items()
        },
        humaneval=humaneval
        and HumanEval(
            _number(humaneval.get("percent"), f"{where}: humaneval: percent", top=100), str(humaneval.get("note", ""))
        ),
        other_protocols={suite: str(protocol) for suite, protocol in others.items()},
        same_model_as=values.get("same_model_as"),
        settings=values.get("settings"),
        notes=tuple(str(note) for note in values.get("notes", ())),
    )
