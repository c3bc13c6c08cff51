"""A baseline's YAML file.

Numbers are decimals as printed: ``0.5000`` in the file keeps its four places in memory and is written back with them,
so averages can be recomputed exactly and a table can be printed as it was published.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import yaml
from msgspec import Meta, field
from msgspec.structs import asdict

from evalkit.baselines.model import Baseline, HumanEval, Metric
from evalkit.config.suites import load_suites, load_tasks
from evalkit.config.yaml_files import NUMBER, Entry, Trail, UniqueKeyLoader, YamlFile, parse_yaml, read_yaml, shown
from evalkit.errors import did_you_mean
from evalkit.results.task_names import is_metric


class _Loader(UniqueKeyLoader):
    """Reads numbers with a point as decimals, so that printed places survive."""


class _Dumper(yaml.SafeDumper):
    """Writes decimals as they are and metrics on one line."""


class _OneLine(dict[str, Any]):
    """A mapping that is written on one line."""


def _decimal(text: str) -> Decimal:
    # .nan and .inf, 1_000.5, 1:30.5: refused with their place by _check_number
    return Decimal(text) if NUMBER.fullmatch(text) else Decimal("NaN")


_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: _decimal(str(node.value)))
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: str(node.value))
_Dumper.add_implicit_resolver(  # puts a text such as 1e3 into quotes
    "tag:yaml.org,2002:float", re.compile(f"^(?:{NUMBER.pattern})$"), list("-+0123456789.")
)
_Dumper.add_representer(Decimal, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", str(value)))
_Dumper.add_representer(
    _OneLine, lambda dumper, value: dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)
)


class _Row(Entry, frozen=True, kw_only=True):
    value: Decimal
    stderr: Decimal | None = None
    shots: Annotated[int, Meta(ge=0)] | None = None


class _HumanEval(Entry, frozen=True, kw_only=True):
    percent: Decimal
    note: str = ""


class _File(Entry, frozen=True, kw_only=True):
    """What a file may hold; `Baseline` says what it means."""

    name: str
    slug: str
    protocol: str
    other_protocols: dict[str, str] = field(default_factory=dict)
    source: str
    retrieved: str
    same_model_as: str | None = None
    settings: str | None = None
    averages: dict[str, Decimal] = field(default_factory=dict)
    humaneval: _HumanEval | None = None
    tasks: dict[str, dict[str, _Row]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


_EXAMPLES = "'name' and 'tasks'"


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
    kept = {key: value for key, value in values.items() if value}
    return yaml.dump(kept, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118)


def read_baseline(path: Path) -> Baseline:
    """Read a baseline's file.

    Raises:
        ConfigError: it cannot be read, or has an unknown key, a missing one, or a value of another type.
    """
    where = f"{path.parent.name}/{path.name}"
    return _baseline(read_yaml(path, where, _EXAMPLES, _Loader))


def parse_baseline(text: str, where: str) -> Baseline:
    """Return the baseline of a file's text; `where` names it in messages.

    Raises:
        ConfigError: as for `read_baseline`.
    """
    return _baseline(parse_yaml(text, where, _EXAMPLES, _Loader))


def _baseline(file: YamlFile) -> Baseline:
    found = file.read_as(_File)
    suites = load_suites()
    for key in ("averages", "other_protocols"):
        for suite in getattr(found, key):
            if suite not in suites:
                raise file.fault((key,), f"unknown key '{suite}'{did_you_mean(suite, suites)}", suite)
    for suite in found.averages:
        _check_number(file, ("averages", suite), 100)
    if found.humaneval is not None:
        _check_number(file, ("humaneval", "percent"), 100)
    for name, rows in found.tasks.items():
        known = load_tasks().get(name)
        for metric, row in rows.items():
            # Other metrics than evalkit's are kept and ignored; one that is nearly evalkit's own is a slip.
            slip = known is not None and metric not in known.metrics and did_you_mean(metric, known.metrics)
            if slip and not is_metric(metric) and metric != "score":
                raise file.fault(("tasks", name), f"no metric '{metric}'{slip}", metric)
            _check_number(file, ("tasks", name, metric, "value"), 1)
            if row.stderr is not None:
                _check_number(file, ("tasks", name, metric, "stderr"), 1)
    return Baseline(
        **{
            **asdict(found),
            "humaneval": found.humaneval and HumanEval(**asdict(found.humaneval)),
            "tasks": {
                task: {name: Metric(**asdict(row)) for name, row in rows.items()} for task, rows in found.tasks.items()
            },
        }
    )


def _check_number(file: YamlFile, trail: Trail, top: int) -> None:
    """Refuse what is no finite number from 0 to `top`: msgspec takes a text for a decimal."""
    found: Any = file.content
    for step in trail:
        found = found[step]
    if not isinstance(found, (Decimal, int)):
        raise file.fault(trail, f"expected a number, found {shown(found)}")
    if not Decimal(found).is_finite() or not 0 <= found <= top:
        raise file.fault(trail, f"{found} is outside 0..{top}")
