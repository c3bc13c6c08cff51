"""evalkit's own reports: how many documents of each task they say that they are of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from evalkit.baselines.published import ModelScores
from evalkit.config.suites import load_tasks

_VERSIONS = re.compile(r"- [^:：]{1,10}[:：]\s*evalkit [0-9]")
_FACT = re.compile(r"- (?P<name>[^:：]{1,20})[:：]\s*(?P<value>.*)")
_LIMIT = re.compile(r"first ([0-9]+) of each task|每个任务的前 ([0-9]+) 题")
_EACH = re.compile(r"\((?:([0-9]+) of each task|每个任务 ([0-9]+) 题)\)")
_ONE = re.compile(r"([a-z]\w+) ([0-9]+)(?=[,)])")
# Data of which the report does not say how many documents they are, unless its line about documents does.
_SAMPLES = re.compile(r"samples\b")
_OTHERS = re.compile(r"(?:not the published content|内容与发布分数所用数据不同)[:：]\s*(?P<names>.*)")


def is_own_report(lines: Iterable[tuple[int, str]]) -> bool:
    """Tell whether a line of the file is the one of evalkit's own report that says which versions made it."""
    return any(_VERSIONS.match(text) for _, text in lines)


def stated_documents(lines: Iterable[tuple[int, str]]) -> dict[str, int] | None:
    """Return task -> number of documents that evalkit's own report says it is of, without those of the published data.

    0 where they are not the published data's and the report does not say how many; None if the file is no such report.

    >>> head = [(1, "- Versions: evalkit 0.1.0"), (2, "- Data: samples"), (3, "- Documents: all (10 of each task)")]
    >>> stated_documents(head)["boolq"], stated_documents(head[:2])["boolq"], stated_documents(head[:1])
    (10, 0, {})
    """
    known = list(lines)
    if not is_own_report(known):
        return None
    tasks = load_tasks()
    found: dict[str, int] = {}
    facts = [fact for _, text in known if (fact := _FACT.fullmatch(text.strip())) is not None]
    for value in (fact["value"] for fact in facts if fact["name"] in ("Data", "数据")):
        if _SAMPLES.match(value):
            found |= dict.fromkeys(tasks, 0)
        if (others := _OTHERS.search(value)) is not None:
            found |= dict.fromkeys(re.split(r",\s*", others["names"]), 0)
    for value in (fact["value"] for fact in facts if fact["name"] in ("Documents", "题目数")):
        if (limit := _LIMIT.search(value)) is not None:
            most = int(limit[1] or limit[2])
            found = {name: 0 if found.get(name) == 0 else min(most, task.documents) for name, task in tasks.items()}
        if (each := _EACH.search(value)) is not None:
            found = dict.fromkeys(tasks, int(each[1] or each[2]))
        found |= {name: int(count) for name, count in _ONE.findall(value) if name in tasks}
    return found


def with_documents(model: ModelScores, documents: dict[str, int]) -> ModelScores:
    """Return a model whose rows have the numbers of documents that their report states."""
    tables = (
        replace(
            table,
            rows=tuple(replace(row, documents=documents.get(row.task, row.documents)) for row in table.rows),
        )
        for table in model.tables
    )
    return replace(model, tables=tuple(tables))
