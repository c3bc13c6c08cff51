"""evalkit's task configs, as lm-eval task objects."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from evalkit.data import DataSource
from evalkit.errors import ConfigError
from evalkit.paths import configs_dir
from evalkit.suites import find_task

# lm-eval warns once a task about metadata that it passes to custom_dataset, which is what it is there for.
_QUIET = ("lm_eval.api.task", "lm_eval.tasks", "lm_eval.config.task")


def load_lm_eval_tasks(tasks: Iterable[str], sources: Mapping[str, DataSource]) -> dict[str, Any]:
    """Build tasks from ``configs/tasks`` alone, without indexing lm-eval's own 14,000.

    Args:
        tasks: task names (see ``evalkit.suites``).
        sources: source of the documents, by suite.

    Returns:
        lm-eval's task dictionary, with the keys ``tasks``, ``groups`` and ``group_map``.

    Raises:
        DataError: documents are missing, incomplete or malformed.
        ConfigError: a task's own file states another version or other metrics than its suite's.
    """
    from lm_eval.tasks import TaskManager

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    data = [f"{suite}={source}" for suite, source in sources.items()]
    manager = TaskManager(
        include_path=str(configs_dir() / "tasks"),
        include_defaults=False,
        metadata={"data": data},
    )
    loaded = dict(manager.load(list(tasks)))
    for name, task in loaded["tasks"].items():
        _check_agreement(name, task.config)
    return loaded


def _check_agreement(name: str, config: Any) -> None:
    """Refuse a task whose file and whose suite's file disagree: the one makes the scores, the other names them."""
    ours = find_task(name)
    theirs = (config.metadata["version"], tuple(entry["metric"] for entry in config.metric_list))
    for what, suite, task in zip(("version", "metrics"), (ours.version, ours.metrics), theirs, strict=True):
        if suite != task:
            raise ConfigError(
                f"configs/suites/{ours.suite}.yaml: tasks: {name}: {what}: {suite!r}, but "
                f"configs/tasks/{ours.suite}/{name}.yaml says {task!r}; make them equal"
            )
