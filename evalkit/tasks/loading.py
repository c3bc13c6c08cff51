"""evalkit's task configs, as lm-eval task objects."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from evalkit.data import DataSource
from evalkit.paths import configs_dir

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
    return dict(manager.load(list(tasks)))
