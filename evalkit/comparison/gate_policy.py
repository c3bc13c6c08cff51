"""The policy file of a gate: which suites and tasks are judged, by which margins, and what blocks.

alpha: 0.05
margin: 1.0                # percentage points, where nothing else is said
missing: refuse            # a suite or task that a run lacks: refuse, undecided or ignore
suites:                    # what is judged; without this key, all that the baseline has
  gpt4all: {margin: 0.5}
  agieval: {margin: 3, tier: advisory}
  truthfulqa: {missing: ignore}
tasks:                     # single tasks, judged besides
  bigbench_snarks: {margin: 5, tier: advisory}
  truthfulqa_mc: {metric: mc1, lower_is_better: false}
average: {margin: 0.5}     # the suites' average; `average: false` leaves it out
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from evalkit.comparison.questions import AVERAGE, TIERS
from evalkit.errors import ConfigError, did_you_mean
from evalkit.suites import find_suite, find_task
from evalkit.yaml_files import read_yaml

Found = TypeVar("Found")

MISSING = ("refuse", "undecided", "ignore")
_KEYS = ("alpha", "margin", "missing", "suites", "tasks", AVERAGE)
_RULE_KEYS = ("margin", "tier", "missing")
_TASK_KEYS = (*_RULE_KEYS, "metric", "lower_is_better")


@dataclass(frozen=True)
class Rule:
    """How one suite or task is judged.

    Attributes:
        margin: largest acceptable loss in percentage points.
        tier: ``blocking``, or ``advisory``: shown, but without a part in the verdict.
        missing: what it means that a run lacks it: ``refuse`` (exit code 2), ``undecided`` (the verdict cannot be
            pass) or ``ignore`` (a note).
        metric: of a task; None: its headline metric.
        lower_is_better: of a task: True if a higher value is a loss.
    """

    margin: float = 1.0
    tier: str = "blocking"
    missing: str = "refuse"
    metric: str | None = None
    lower_is_better: bool = False


@dataclass(frozen=True)
class Policy:
    """A gate's rules.

    Attributes:
        alpha: level of the verdict as a whole.
        default: the rule for what is not named.
        suites: suite -> rule; empty: all suites that the baseline has.
        tasks: single tasks that are judged besides.
        average: the rule for the suites' average, None: it is not judged.
        source: the file, for messages; empty if the command line says everything.
        asks_average: True if the file names the average.
    """

    alpha: float = 0.05
    default: Rule = field(default_factory=Rule)
    suites: Mapping[str, Rule] = field(default_factory=dict)
    tasks: Mapping[str, Rule] = field(default_factory=dict)
    average: Rule | None = field(default_factory=Rule)
    source: str = ""
    asks_average: bool = False

    def rule(self, key: str) -> Rule:
        """Return the rule of a suite, a task, or the average."""
        if key == AVERAGE:
            return self.average or self.default
        return self.suites.get(key) or self.tasks.get(key) or self.default


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        ConfigError: it cannot be read, or a key or value is not known; the message names both.
    """
    where = str(path)
    found = read_yaml(path, where, "'margin' and 'suites'").content
    _check_keys(found, _KEYS, where)
    alpha = _number(found.get("alpha", 0.05), 0.5, f"{where}: alpha")
    default = _rule({k: v for k, v in found.items() if k in ("margin", "missing")}, Rule(), _RULE_KEYS, where)
    for name in _section(found, "suites", where):
        _named(find_suite, name, f"{where}: suites")
    tasks = _section(found, "tasks", where)
    for name in tasks:
        task = _named(find_task, name, f"{where}: tasks")
        metric = (tasks[name] or {}).get("metric") if isinstance(tasks[name], dict) else None
        if metric is not None and metric not in task.metrics:
            raise ConfigError(f"{where}: tasks: {name}: no metric {metric!r} (it has: {', '.join(task.metrics)})")
    average = found.get(AVERAGE, {})
    asks_average = AVERAGE in found and average is not False
    named = _section(found, "suites", where)
    if asks_average and named and sum(find_suite(name).in_total for name in named) < 2:
        raise ConfigError(
            f"{where}: {AVERAGE}: it is the average of the suites below 'suites', and takes two of the total; name "
            f"more, or say '{AVERAGE}: false'"
        )
    return Policy(
        alpha,
        default,
        {
            name: _rule(entry, default, _RULE_KEYS, f"{where}: suites: {name}")
            for name, entry in _section(found, "suites", where).items()
        },
        {name: _rule(entry, default, _TASK_KEYS, f"{where}: tasks: {name}") for name, entry in tasks.items()},
        None
        if average is False
        else _rule({} if average is True else average, default, ("margin", "tier"), f"{where}: {AVERAGE}"),
        where,
        asks_average,
    )


def _named(find: Callable[[str], Found], name: str, where: str) -> Found:
    """Return the suite or task of a name; an unknown one is said with its file."""
    try:
        return find(name)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _section(found: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    entries = found.get(key, {})
    if key in found and not entries:
        left_out = "all suites are judged" if key == "suites" else "none is judged besides"
        raise ConfigError(f"{where}: {key}: names none; name those to judge, or leave the key out ({left_out})")
    if not isinstance(entries, dict) or not all(isinstance(name, str) for name in entries):
        raise ConfigError(f"{where}: {key}: expected a mapping of names to rules, e.g. 'gpt4all: {{margin: 0.5}}'")
    return entries


def _rule(entry: object, default: Rule, keys: tuple[str, ...], where: str) -> Rule:
    if entry is None:
        return default
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: expected a mapping, e.g. {{margin: 0.5, tier: advisory}}; got {entry!r}")
    _check_keys(entry, keys, where)
    rule = default
    if "margin" in entry:
        rule = replace(rule, margin=_number(entry["margin"], 100.0, f"{where}: margin"))
    for key, known in (("tier", TIERS), ("missing", MISSING)):
        if key in entry:
            if entry[key] not in known:
                raise ConfigError(f"{where}: {key}: {entry[key]!r} is not one of {', '.join(known)}")
            rule = replace(rule, **{key: entry[key]})
    if not isinstance(entry.get("lower_is_better", False), bool):
        raise ConfigError(f"{where}: lower_is_better: expected true or false, got {entry['lower_is_better']!r}")
    return replace(rule, metric=entry.get("metric"), lower_is_better=entry.get("lower_is_better", False))


def _check_keys(found: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in known:
            raise ConfigError(
                f"{where}: unknown key {key!r}{did_you_mean(str(key), known)} (known: {', '.join(known)})"
            )


def _number(value: object, top: float, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < top:
        raise ConfigError(f"{where}: expected a number above 0 and below {top:g}, got {value!r}")
    return float(value)
