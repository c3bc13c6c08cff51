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

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import asdict

from evalkit.comparison.questions import AVERAGE
from evalkit.config.suites import find_suite, find_task
from evalkit.config.yaml_files import Entry, Trail, YamlFile, read_yaml, shown
from evalkit.errors import ConfigError

Tier = Literal["blocking", "advisory"]
Missing = Literal["refuse", "undecided", "ignore"]


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
    tier: Tier = "blocking"
    missing: Missing = "refuse"
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


class _Judged(Entry, frozen=True, kw_only=True):
    """What a file says of the average; keys as in `Rule`."""

    margin: float = math.nan
    tier: Tier = "blocking"


class _JudgedSuite(_Judged, frozen=True, kw_only=True):
    """What a file says of a suite."""

    missing: Missing = "refuse"


class _JudgedTask(_JudgedSuite, frozen=True, kw_only=True):
    """What a file says of a task."""

    metric: str | None = None
    lower_is_better: bool = False


class _PolicyFile(Entry, frozen=True, kw_only=True):
    """What a file says."""

    alpha: float = 0.05
    margin: float = 1.0
    missing: Missing = "refuse"
    suites: dict[str, _JudgedSuite | None] | None = None
    tasks: dict[str, _JudgedTask | None] | None = None
    average: Any = True


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        ConfigError: it cannot be read, or a key or value is not known; the message names file, line and place.
    """
    file = read_yaml(path, str(path), "'margin' and 'suites'")
    said = file.read_as(_PolicyFile)
    _check_range(file, ("alpha",), 0.5)
    _check_range(file, ("margin",), 100.0)
    default = Rule(margin=said.margin, missing=said.missing)
    for key in ("suites", "tasks"):
        if key in file.content and not getattr(said, key):
            left_out = "all suites are judged" if key == "suites" else "none is judged besides"
            raise file.fault((key,), f"names none; name those to judge, or leave the key out ({left_out})")
    for name in said.suites or ():
        _known(file, ("suites", name), find_suite)
    for name, task in (said.tasks or {}).items():
        metrics = _known(file, ("tasks", name), find_task).metrics
        if task is not None and task.metric is not None and task.metric not in metrics:
            what = f"no metric '{task.metric}' (it has: {', '.join(metrics)})"
            raise file.fault(("tasks", name, "metric"), what)
    suites = {name: _rule(file, ("suites", name), _JudgedSuite, default) for name in said.suites or ()}
    return Policy(
        said.alpha,
        default,
        suites,
        {name: _rule(file, ("tasks", name), _JudgedTask, default) for name in said.tasks or ()},
        _average(file, said.average, suites, default),
        str(path),
        AVERAGE in file.content and said.average is not False,
    )


def _average(file: YamlFile, said: Any, suites: Mapping[str, Rule], default: Rule) -> Rule | None:
    """Return the average's rule; None where it is not judged."""
    if said is False:
        return None
    if not isinstance(said, (bool, dict)):
        raise file.fault((AVERAGE,), f"expected true, false or a mapping such as {{margin: 0.5}}, found {shown(said)}")
    rule = default if said is True else _rule(file, (AVERAGE,), _Judged, default)
    averaged = [
        name
        for name, of_suite in suites.items()
        if find_suite(name).in_total and (rule.tier == "advisory" or of_suite.tier == "blocking")
    ]
    if AVERAGE in file.content and suites and len(averaged) < 2:
        advisory = any(of_suite.tier == "advisory" for of_suite in suites.values())
        raise file.fault(
            (AVERAGE,),
            f"it is the average of the{' blocking' if advisory else ''} suites below 'suites', and takes two of the "
            f"total; name more, or say '{AVERAGE}: false'"
            + (f" ('{AVERAGE}: {{tier: advisory}}' is of advisory suites, too)" if advisory else ""),
        )
    return rule


def _rule(file: YamlFile, trail: Trail, kind: type[_Judged], default: Rule) -> Rule:
    """Return the rule that stands at a place: what is not said there is the default's."""
    found: Any = file.content
    for step in trail:
        found = found[step]
    if found is None:
        return default
    said = asdict(file.value(trail, kind))
    _check_range(file, (*trail, "margin"), 100.0)
    return replace(default, **{key: said[key] for key in found})


def _known(file: YamlFile, trail: Trail, find: Any) -> Any:
    try:
        return find(trail[-1])
    except ConfigError as error:
        raise file.fault(trail[:-1], str(error), trail[-1]) from None


def _check_range(file: YamlFile, trail: Trail, top: float) -> None:
    found: Any = file.content
    for step in trail:
        if step not in found:
            return
        found = found[step]
    if not 0 < found < top:
        raise file.fault(trail, f"expected a number above 0 and below {top:g}, found {shown(found)}")
