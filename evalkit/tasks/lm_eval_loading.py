"""lm-eval's task objects, built of `configs/tasks` and looked at: the part of the seam that comes before any request.

What of lm-eval is used here stands in the list of `evalkit.tasks.lm_eval_tasks`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from evalkit.config.suites import find_task, load_tasks, suite_fault
from evalkit.config.task_files import read_task_file, shown_path, task_file
from evalkit.config.task_modules import importing
from evalkit.data import DataSource
from evalkit.errors import ConfigError, EvalkitError
from evalkit.paths import configs_dir
from evalkit.tasks.documents import Documents, load
from evalkit.tasks.forms import has_own_metrics, lacking_column, without_numpy
from evalkit.tasks.stated import check_loaded, check_written

# lm-eval warns once a task about metadata that it passes to custom_dataset, which is what it is there for.
# `datasets` warns where it cannot keep what process_docs makes; lm-eval's calls of it are one call here.
_QUIET = ("lm_eval.api.task", "lm_eval.tasks", "lm_eval.config.task", "datasets")


def load_lm_eval_tasks(tasks: Iterable[str], sources: Mapping[str, DataSource]) -> dict[str, Any]:
    """Build lm-eval's task objects from ``configs/tasks`` alone, without indexing its own 14,000; see `Tasks`.

    Returns:
        lm-eval's task dictionary, with the keys ``tasks``, ``groups`` and ``group_map``.
    """
    import lm_eval.api.task
    import lm_eval.utils
    from lm_eval.tasks import TaskManager

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    lm_eval.api.task.tqdm = _no_bar
    templates = lm_eval.utils.env
    if not hasattr(templates.from_string, "cache_info"):  # lm-eval compiles a template again for each document
        templates.from_string = lru_cache(maxsize=1024)(templates.from_string)
    data = [f"{suite}={source}" for suite, source in sources.items()]
    manager = TaskManager(
        include_path=str(configs_dir() / "tasks"),
        include_defaults=False,
        metadata={"data": data},
    )
    known = load_tasks()
    loaded: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
    for name in tasks:
        if name in known and name not in manager.task_index:
            folder = f"configs/tasks/{known[name].suite}"
            if (path := task_file(known[name].suite, name)) is not None:
                read_task_file(path)  # which says what is wrong with it
            raise suite_fault(known[name], None, f"no file in {folder}/ that can be read says 'task: {name}'")
        try:
            _check_written(name, manager.task_index.get(name))
            _seed()  # a task's documents are the same whatever is loaded before it
            with importing(task_file(known[name].suite, name) if name in known else None, anew=True), _no_bars():
                found = manager.load(name)
                for task in found["tasks"].values():
                    _keep_documents(task)
        except EvalkitError:
            raise
        except Exception as error:  # lm-eval raises many, for what a person may have written
            if name in known:
                lacking = lacking_column(name, error, load(name, sources[known[name].suite]).documents)
                if lacking is not None:
                    raise lacking from error
            what = " ".join(f"{type(error).__name__}: {error}".split())
            if "class" in (getattr(manager.task_index.get(name), "cfg", None) or {}):
                what = f"class: {what}; its class is given the file's keys as 'config', and has to leave 'class' out"
            raise ConfigError(f"configs/tasks: lm-eval cannot load '{name}': {what}") from error
        for task_name, task in found["tasks"].items():
            _check_loaded(task_name, manager.task_index.get(task_name), task)
        for key, part in found.items():
            loaded[key] |= part
    return loaded


@contextmanager
def _no_bars() -> Iterator[None]:
    """Have `datasets` show no bar for each step of ``process_docs``."""
    import datasets

    had = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if had:
            datasets.enable_progress_bars()


def _seed() -> None:
    """Set the seeds that lm-eval's ``simple_evaluate`` sets before it loads tasks; ``process_docs`` may draw lots."""
    import numpy
    import torch

    random.seed(0)
    numpy.random.seed(1234)
    torch.manual_seed(1234)


def _keep_documents(task: Any) -> None:
    """Have a task give the documents that are made here for good; lm-eval calls ``process_docs`` at each access."""
    _seed()
    documents = task.eval_docs
    kept = documents if isinstance(documents, Documents) else Documents(documents)
    task.test_docs = task.validation_docs = lambda: kept
    task.task_docs = kept
    target = task.doc_to_target
    task.doc_to_target = lambda doc: without_numpy(target(doc))


def _check_written(name: str, entry: Any) -> None:
    """Refuse what stands in a task's file, before lm-eval builds the task from it; groups have no such keys."""
    if entry is not None and "group" not in (entry.cfg or {}):
        if entry.yaml_path is not None:
            read_task_file(entry.yaml_path)  # lm-eval takes the last of a key that is there twice
        check_written(_file_of(name, entry), entry.cfg or {}, _registered())


def _check_loaded(name: str, entry: Any, task: Any) -> None:
    """Refuse a loaded task by what it says itself, lm-eval's defaults for what its file leaves out among it."""
    from lm_eval.api.registry import aggregation_registry

    names = {function: known for known, function in aggregation_registry.items()}
    written = {metric["metric"]: metric.get("aggregation") for metric in task.config.metric_list or ()}
    made = {
        metric: names.get(how) or (f"!function {how.__name__}" if callable(how) else str(written.get(metric)))
        for metric, how in task.aggregation().items()
    }
    where = _file_of(name, entry)
    check_loaded(
        name,
        where,
        (task.config.metadata or {}).get("version"),
        list(made),
        made,
        task.higher_is_better(),
        _registered(),
        has_own=has_own_metrics(task),
    )
    absent = [metric for metric, function in task._metric_fn_list.items() if not callable(function)]
    if absent and not has_own_metrics(task):
        raise ConfigError(
            f"{where}: metric '{absent[0]}' is not to be had here: lm-eval looks for it in the library evaluate "
            "(hf_evaluate), which loads it from the hub; make it in a function of your own (process_results)"
        )


def _registered() -> dict[str, bool | None]:
    """Return by metric of lm-eval's own whether more of it is better."""
    import lm_eval.api.metrics  # noqa: F401  # registers them
    from lm_eval.api.registry import is_higher_better, metric_registry

    return {str(metric): is_higher_better(metric) for metric in metric_registry}


def _file_of(name: str, entry: Any) -> str:
    path = None if entry is None else entry.yaml_path
    return f"configs/tasks/{find_task(name).suite}/{name}.yaml" if path is None else shown_path(path)


def _no_bar(items: Iterable[Any], *_args: Any, **_options: Any) -> Iterable[Any]:
    """Stand for tqdm in lm-eval's building of requests."""
    return items
