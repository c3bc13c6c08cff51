"""Suites and their tasks, as ``configs/suites/*.yaml`` declare them.

A suite names its tasks in the order of the published tables, each with the version, the metrics of its rows and the
headline metric that enters the suite's average. Everything that prints or averages scores reads it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from evalkit.errors import ConfigError, did_you_mean
from evalkit.paths import configs_dir
from evalkit.yaml_files import read_mapping


@dataclass(frozen=True)
class Task:
    """One row group of a published table.

    Attributes:
        name: lm-eval task name, as printed, e.g. ``arc_challenge``.
        suite: name of the suite that it belongs to.
        version: the task's version in the published tables.
        metrics: the metrics of its rows, in the printed order.
        headline: the metric that enters the suite's average.
        documents: number of documents of the full data (after counting equal ones once).
    """

    name: str
    suite: str
    version: int
    metrics: tuple[str, ...]
    headline: str
    documents: int


@dataclass(frozen=True)
class Suite:
    """One published table.

    Attributes:
        name: ``gpt4all``, ``agieval``, ``bigbench``, ``truthfulqa`` or ``humaneval``.
        title: heading in reports.
        protocol: how its requests are made, e.g. ``nous-2023``.
        in_total: whether its average is one of the four in "Total Score".
        default: whether it is run when no suite is named.
        average: how the average is made; ``mean`` is the unweighted mean of the tasks' headline metrics, in percent.
        tasks: in printed order.
    """

    name: str
    title: str
    protocol: str
    in_total: bool
    default: bool
    average: str
    tasks: tuple[Task, ...]


_SUITE_KEYS = {"suite", "title", "order", "protocol", "in_total", "default", "average", "tasks"}
_TASK_KEYS = {"version", "metrics", "headline", "documents"}


def _known_keys(found: dict[str, Any], known: set[str], where: str) -> None:
    for key in found:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'{did_you_mean(key, known)}")
    for key in sorted(known - set(found)):
        raise ConfigError(f"{where}: missing key '{key}'")


def _read_suite(path: Path) -> tuple[int, Suite]:
    where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
    found = read_mapping(path, where, "'suite' and 'tasks'")
    _known_keys(found, _SUITE_KEYS, where)
    if found["average"] != "mean":
        raise ConfigError(f"{where}: average: {found['average']!r} is not known; the only one is 'mean'")
    tasks = []
    if not isinstance(found["tasks"], dict) or not all(isinstance(entry, dict) for entry in found["tasks"].values()):
        raise ConfigError(f"{where}: tasks: expected a mapping of task names to their version, metrics...")
    for name, entry in found["tasks"].items():
        _known_keys(entry, _TASK_KEYS, f"{where}: tasks: {name}")
        if entry["headline"] not in entry["metrics"]:
            raise ConfigError(f"{where}: tasks: {name}: headline '{entry['headline']}' is not among its metrics")
        tasks.append(
            Task(
                name=name,
                suite=found["suite"],
                version=int(entry["version"]),
                metrics=tuple(entry["metrics"]),
                headline=entry["headline"],
                documents=int(entry["documents"]),
            )
        )
    suite = Suite(
        name=found["suite"],
        title=found["title"],
        protocol=found["protocol"],
        in_total=bool(found["in_total"]),
        default=bool(found["default"]),
        average=found["average"],
        tasks=tuple(tasks),
    )
    return int(found["order"]), suite


@lru_cache(maxsize=4)
def _load(folder: Path) -> dict[str, Suite]:
    ordered = sorted((_read_suite(path) for path in sorted(folder.glob("*.yaml"))), key=lambda pair: pair[0])
    return {suite.name: suite for _, suite in ordered}


def load_suites(folder: Path | None = None) -> dict[str, Suite]:
    """Return all suites by name, in the order in which reports show them.

    Raises:
        ConfigError: a file has an unknown or missing key.
    """
    return dict(_load(folder or configs_dir() / "suites"))


def load_tasks() -> dict[str, Task]:
    """Return all tasks of all suites by name, in reporting order."""
    return {task.name: task for suite in load_suites().values() for task in suite.tasks}


def find_suite(name: str) -> Suite:
    """Return one suite.

    Raises:
        ConfigError: no such suite; names the nearest one.
    """
    suites = load_suites()
    if name not in suites:
        known = ", ".join(suites)
        raise ConfigError(f"unknown suite '{name}'{did_you_mean(name, suites)} (known: {known})")
    return suites[name]


def find_task(name: str) -> Task:
    """Return one task.

    Raises:
        ConfigError: no such task; names the nearest one.
    """
    tasks = load_tasks()
    if name not in tasks:
        raise ConfigError(f"unknown task '{name}'{did_you_mean(name, tasks)}; `evalkit list tasks` shows all")
    return tasks[name]
