"""What there is: suites, tasks, models, data."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from evalkit.config.suites import load_suites
from evalkit.data import availability, load_manifest, resolve_sources
from evalkit.data.sources import availability_columns


def _suites() -> str:
    rows = [
        [suite.name, len(suite.tasks), sum(task.documents for task in suite.tasks), suite.protocol, suite.title]
        for suite in load_suites().values()
    ]
    return tabulate(rows, ["suite", "tasks", "documents", "protocol", "title"], intfmt=",")


def _tasks() -> str:
    rows = [
        [task.name, suite.name, task.version, ", ".join(task.metrics), task.headline, task.documents]
        for suite in load_suites().values()
        for task in suite.tasks
    ]
    return tabulate(rows, ["task", "suite", "version", "metrics", "headline", "documents"], intfmt=",")


def _models() -> str:
    rows = [
        ["tiny", "built in: random weights, two layers; for trying evalkit out and for tests, not for scores"],
        ["FOLDER", "a checkpoint on disk (config.json, tokenizer, safetensors), also GPTQ and AWQ"],
        ["ORG/NAME", "a hub id: openMind hub where openmind is installed (--loader), else the Hugging Face hub"],
    ]
    return tabulate(rows, ["--model", "what it is"])


def _data(values: Iterable[str]) -> str:
    sources = resolve_sources(values, load_suites(), load_suites())
    rows = []
    for dataset in load_manifest().values():
        here = availability(dataset, sources[dataset.suite])
        rows.append([dataset.name, dataset.rows, dataset.file, here, *availability_columns(dataset)])
    headings = ["data set", "rows", "file in a folder", "in --data", "Hugging Face hub", "openMind hub"]
    return tabulate(rows, headings, intfmt=",")


def listing(what: str, data: Iterable[str] = ("samples",)) -> str:
    """Return the table asked for.

    Args:
        what: ``suites``, ``tasks``, ``models`` or ``data``.
        data: for data: the source(s) whose completeness is checked.

    Raises:
        ConfigError: an unknown source.
    """
    if what == "data":
        return _data(data)
    return {"suites": _suites, "tasks": _tasks, "models": _models}[what]()
