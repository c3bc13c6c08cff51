"""Suites and their tasks, as ``configs/suites/*.yaml`` declare them.

A suite names its tasks in the order of the published tables, each with the version, the metrics of its rows and the
headline metric that enters the suite's average. Everything that prints or averages scores reads it from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field
from msgspec.structs import asdict

from evalkit.config.yaml_files import Entry, Trail, YamlFile, read_yaml
from evalkit.errors import ConfigError, did_you_mean
from evalkit.paths import configs_dir


class TaskFacts(Entry, frozen=True, kw_only=True):
    """What a suite's file says of a task."""

    version: int
    """The task's version in the published tables."""
    metrics: Annotated[tuple[str, ...], Meta(min_length=1)]
    """The metrics of its rows, in the printed order."""
    headline: str
    """The metric that enters the suite's average."""
    documents: Annotated[int, Meta(ge=1)]
    """Number of documents of the full data (after counting equal ones once)."""
    passages: dict[int, int] | None = None
    """Documents that share a passage -> number of such passages; without it, no two documents share one. For planning
    alone: what is compared has its own."""
    passages_in_order: tuple[Annotated[int, Meta(ge=1)], ...] | None = None
    """Documents of each passage, in the order of the published data, in place of `passages`: for what is compared
    without the passages, as its twin's questions are (`same_questions_as`)."""
    same_documents_as: str | None = None
    """The task that holds the same documents (a defect of the original data): they count once for errors."""
    same_questions_as: str | None = None
    """The task that asks the same questions at the same positions, in another form: one cluster a question."""


class Task(TaskFacts, frozen=True, kw_only=True):
    """One row group of a published table."""

    name: str
    """lm-eval task name, as printed, e.g. ``arc_challenge``."""
    suite: str
    """Name of the suite that it belongs to."""


class SuiteFacts(Entry, frozen=True, kw_only=True):
    """What a suite's file says of the suite."""

    name: str = field(name="suite")
    """``gpt4all``, ``agieval``, ``bigbench``, ``truthfulqa`` or ``humaneval``."""
    title: str
    """Heading in reports."""
    order: int
    """Place among the suites of a report."""
    protocol: str
    """How its requests are made, e.g. ``nous-2023``."""
    in_total: bool
    """Whether its average is one of the four in "Total Score"."""
    default: bool
    """Whether it is run when no suite is named."""
    published: bool = False
    """Whether there are published scores of its tasks, whose documents can be others than ours."""
    average: Literal["mean"]
    """How the average is made: the unweighted mean of the tasks' headline metrics, in percent."""
    card_row: int | None = None
    """Its place among the rows of the published card's comparison, whose sum is "Total Score"; None: none of them."""
    task_prefix: str = ""
    """What its tasks' names begin with, and people leave out where the suite is named."""
    runs_programs: bool = False
    """Whether its scores come from running what the model wrote."""
    graded: tuple[str, ...] | None = None
    """Metrics of its tasks of which one document's value can lie between 0 and 1; the others are right or wrong. None:
    not said, so that nothing is concluded from numbers of right answers."""
    always_chat: bool = False
    """Whether its questions are wrapped in the chat template without being asked to."""


class _SuiteFile(SuiteFacts, frozen=True, kw_only=True):
    tasks: dict[str, TaskFacts]


class Suite(SuiteFacts, frozen=True, kw_only=True):
    """One published table."""

    tasks: tuple[Task, ...]
    """In printed order."""


def _open(path: Path) -> YamlFile:
    return read_yaml(path, f"{path.parent.parent.name}/{path.parent.name}/{path.name}", "'suite' and 'tasks'")


def _read_suite(path: Path) -> tuple[YamlFile, Suite]:
    file = _open(path)
    found = file.read_as(_SuiteFile)
    if found.name != path.stem:
        raise file.fault(("suite",), f"'{found.name}', but the file is called {path.name}; make them equal")
    for key in ("title", "protocol"):
        if not getattr(found, key).strip():
            raise file.fault((key,), "is empty")
    if not found.tasks:
        raise file.fault(("tasks",), "names none")
    if found.in_total != (found.card_row is not None):
        what = "and card_row belong together: the total is the sum of the card's rows; give both or none"
        raise file.fault(("in_total",), what)
    for name, task in found.tasks.items():
        if twice := {metric for metric in task.metrics if task.metrics.count(metric) > 1}:
            raise file.fault(("tasks", name, "metrics"), f"'{min(twice)}' is there twice")
        for key in ("same_documents_as", "same_questions_as"):
            twin = getattr(task, key)
            if twin is not None and (twin not in found.tasks or twin == name):
                raise file.fault(("tasks", name, key), f"'{twin}' is no other task of this suite")
            if twin is not None and (found.tasks[twin].same_documents_as or found.tasks[twin].same_questions_as):
                raise file.fault(("tasks", name, key), f"'{twin}' has a twin itself; name that one")
        if task.passages is not None and task.passages_in_order is not None:
            raise file.fault(("tasks", name, "passages"), "'passages_in_order' says it already; give one of both")
        held = sum(size * number for size, number in (_passages(task, found.tasks) or {1: task.documents}).items())
        if held != task.documents:
            raise file.fault(("tasks", name, "passages"), f"they hold {held} documents, not {task.documents}")
        if task.headline not in task.metrics:
            raise file.fault(("tasks", name, "headline"), f"'{task.headline}' is not among its metrics")
    for metric in found.graded or ():
        if not any(metric in task.metrics for task in found.tasks.values()):
            raise file.fault(("graded",), f"'{metric}' is no metric of its tasks")
    tasks = tuple(
        Task(**{**asdict(task), "passages": _passages(task, found.tasks)}, name=name, suite=found.name)
        for name, task in found.tasks.items()
    )
    return file, Suite(**{**asdict(found), "tasks": tasks})


def _passages(task: TaskFacts, tasks: Mapping[str, TaskFacts]) -> dict[int, int] | None:
    """Return how many passages of each size a task has: as it says, or as the task does whose questions it asks."""
    twin = tasks[task.same_questions_as] if task.same_questions_as else None
    if task.passages_in_order is not None:
        return dict(sorted(Counter(task.passages_in_order).items()))
    return _passages(twin, tasks) if task.passages is None and twin is not None else task.passages


@lru_cache(maxsize=4)
def _load(folder: Path) -> dict[str, Suite]:
    found: dict[tuple[str, int | str], str] = {}
    suites = []
    for path in sorted(folder.glob("*.yaml")):
        file, suite = _read_suite(path)
        places: list[tuple[tuple[str, int | str], Trail]] = [(("order", suite.order), ("order",))]
        places += [(("card_row", suite.card_row), ("card_row",))] if suite.card_row is not None else []
        places += [(("task", task.name), ("tasks", task.name)) for task in suite.tasks]
        for (what, value), trail in places:
            if (other := found.setdefault((what, value), path.name)) != path.name:
                raise file.fault(trail, f"{other} has {f'{what} {value}' if what != 'task' else 'this task'} already")
        suites.append(suite)
    return {suite.name: suite for suite in sorted(suites, key=lambda suite: suite.order)}


def load_suites(folder: Path | None = None) -> dict[str, Suite]:
    """Return all suites by name, in the order in which reports show them.

    Raises:
        ConfigError: a file has an unknown or missing key, a value of another type, or what another file has already.
    """
    return dict(_load(folder or configs_dir() / "suites"))


def load_tasks() -> dict[str, Task]:
    """Return all tasks of all suites by name, in reporting order."""
    return {task.name: task for suite in load_suites().values() for task in suite.tasks}


def suite_fault(task: Task, key: str | None, what: str) -> ConfigError:
    """Return the error that names what a suite's file says of a task, or that it names one, with its line."""
    trail = ("tasks", task.name) if key is None else ("tasks", task.name, key)
    return _open(configs_dir() / "suites" / f"{task.suite}.yaml").fault(trail, what)


def question_group(task: str) -> str:
    """Return the task whose questions a task asks: its own name but for the second of two with the same questions."""
    return _twins().get(task, task)


@lru_cache(maxsize=1)
def _twins() -> dict[str, str]:
    twins = {name: task.same_documents_as or task.same_questions_as for name, task in load_tasks().items()}
    return {name: twin for name, twin in twins.items() if twin}


def same_documents() -> dict[str, str]:
    """Return task -> the earlier task that holds the same documents."""
    return {name: task.same_documents_as for name, task in load_tasks().items() if task.same_documents_as}


def short_name(task: str) -> str:
    """Return a task's name without what its suite says already.

    >>> short_name("agieval_lsat_ar"), short_name("truthfulqa_mc")
    ('lsat_ar', 'truthfulqa_mc')
    """
    found = load_tasks().get(task)
    return task.removeprefix(load_suites()[found.suite].task_prefix) if found is not None else task


def rows_of_card() -> list[Suite]:
    """Return the suites of the card's comparison in its order."""
    rows = [(suite.card_row, suite) for suite in load_suites().values() if suite.card_row is not None]
    return [suite for _, suite in sorted(rows, key=lambda row: row[0])]


def is_published(task: str) -> bool:
    """Tell whether there are published scores of a task."""
    known = load_tasks().get(task)
    return known is not None and load_suites()[known.suite].published


def with_programs(tasks: Iterable[str]) -> list[str]:
    """Return those of the tasks whose scores come from running what the model wrote."""
    suites = [suite for suite in load_suites().values() if suite.runs_programs]
    return _of(suites, tasks)


def with_chat(tasks: Iterable[str]) -> list[str]:
    """Return those of the tasks that always ask through the chat template."""
    suites = [suite for suite in load_suites().values() if suite.always_chat]
    return _of(suites, tasks)


def _of(suites: Iterable[Suite], tasks: Iterable[str]) -> list[str]:
    known = {task.name for suite in suites for task in suite.tasks}
    return [name for name in tasks if name in known]


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


# What is known of metrics by their names, ours and those of other harnesses' tables.
EXACT = ("acc", "acc_norm", "mc1")
"""1 where the continuation that it chose is right, else 0."""
BEST_CHOICE = ("acc", "acc_norm", "multiple_choice_grade")
"""Of the task's choices the best one is taken."""
MASS = "mc2"
"""The probability of the right choices among all: it chooses none."""
BY_CHARACTERS = "acc_norm"
"""Divides log-probabilities by the choices' characters."""
_GRADED_ELSEWHERE = frozenset({MASS, "score", "f1", "mcc", "brier_score"})
"""Of tasks of no suite; "score" is that of a table that names no metrics."""


def is_graded(task: str, metric: str) -> bool:
    """Tell whether one document's value of a metric can lie between 0 and 1; else each is right or wrong.

    The task's suite says it of its metrics; one that does not has none of which right or wrong is known.
    """
    known = load_tasks().get(task)
    if known is None or metric not in known.metrics:
        return metric in _GRADED_ELSEWHERE
    graded = load_suites()[known.suite].graded
    return graded is None or metric in graded
