"""Which run is meant, how its model is called, and which of its suites and tasks a comparison is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evalkit.config.suites import Suite, find_suite, load_suites
from evalkit.errors import ConfigError
from evalkit.records.model import RunRecord
from evalkit.results.reading import is_run
from evalkit.tables import visible


def names_a_run(name: str) -> bool:
    """Return True if a baseline's name is the folder (or the ``run.json``) of a run."""
    return is_run(Path(name))


def chosen_suites(names: Sequence[str], available: Mapping[str, object], whose: str) -> list[Suite]:
    """Return the named suites, or all that are available, in reporting order.

    Raises:
        ConfigError: an unknown suite, or one that is not available.
    """
    for name in names:
        if find_suite(name).name not in available:
            raise ConfigError(f"--suite {name}: {whose} has no score for it (it has: {', '.join(available) or 'none'})")
    return [suite for suite in load_suites().values() if suite.name in (names or available)]


def tasks_of(record: RunRecord, suites: Sequence[Suite]) -> list[str]:
    """Return the tasks of the suites that a run has."""
    return [task.name for suite in suites for task in suite.tasks if task.name in record.metrics]


def suites_in(record: RunRecord) -> dict[str, Suite]:
    """Return the suites of which a run has at least one task."""
    return {name: suite for name, suite in load_suites().items() if tasks_of(record, [suite])}


def model_title(record: RunRecord) -> str:
    """Return the name of a run's model, with nothing in it that cannot be seen."""
    return visible(record.model.name)
