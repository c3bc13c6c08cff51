"""What a results file of lm-eval says, as a log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from evalkit.baselines.published import NO_SHARE, GroupScore, Log, ModelScores, Note, Row, ScoreTable
from evalkit.baselines.reading.grammar import stem_of
from evalkit.baselines.reading.protocol import documents_at_most
from evalkit.baselines.reading.vocabulary import other_way
from evalkit.baselines.reading.wording import names_another_model
from evalkit.config.suites import load_suites, load_tasks
from evalkit.results.harness_settings import odd_results, other_weights
from evalkit.results.task_names import suite_of_task, task_and_metric


def read_results_file(path: Path) -> Log:
    """Return what a results file of lm-eval says."""
    from evalkit.results.lm_eval_files import NoScoresError, read_foreign_run
    from evalkit.results.lm_eval_protocol import harness_of

    try:
        record = read_foreign_run(path, is_table=True)
    except NoScoresError:
        return Log(path.name, (), (), (Note(0, "no metric in it is a share; not read"),))
    foreign = record.foreign
    if foreign is None:
        raise AssertionError("a results file of lm-eval says how it was measured")
    rows = []
    lines = _lines_of(path) if path.is_file() else {}
    for task, metrics in record.metrics.items():
        n = foreign.shots.get(task)
        for metric, found in metrics.items():
            if found.value is not None:
                error = None if found.stderr is None else _decimal(found.stderr)
                value, line = _decimal(found.value), lines.get((task, metric), 1)
                rows.append(Row(line, task, task, metric, value, error, n, found.n or None))
    no_shares: dict[str, list[str]] = {}
    for task, metric in foreign.ignored:
        no_shares.setdefault(metric, []).append(task)
    ignored = [Note(0, f"{metric} of {_counted(tasks)} {NO_SHARE}") for metric, tasks in no_shares.items()]
    ignored += [Note(line, text, unread=True) for line, text in foreign.unread]
    ignored += [Note(line, text) for line, text in foreign.errors]
    known = [suite for row in rows if (suite := suite_of_task(row.task)) is not None]
    suite = max(known, key=known.count) if known else None
    others = {
        name: protocol for name, protocol in foreign.protocols.items() if protocol != load_suites()[name].protocol
    }
    doubts: dict[str, Note] = {}
    if harness_of(record.lm_eval) == "lm-eval-0.3":
        why = odd_results(record.lm_eval) or _odd_name(path, record.model.name) or _odd_error(rows)
        if why is not None:
            claimed = [name for name, said in foreign.protocols.items() if said == load_suites()[name].protocol]
            others |= dict.fromkeys(claimed, "unknown")
            doubts = dict.fromkeys(claimed, Note(0, why))
            ignored += [] if claimed else [Note(0, f"not nous-2023: {why}")]
    groups = tuple(_groups(record.lm_eval, {row.metric for row in rows}, lines))
    ignored += [Note(group.line, f"score of a group, not imported: {group.name} {group.metric}") for group in groups]
    table = ScoreTable(1, suite, (), tuple(rows), harness_of(record.lm_eval), groups=groups)
    model = ModelScores(record.model.name, 1, (table,), (), None, None, (), others, record.protocol, doubts)
    return Log(path.name, (model,), (), tuple(ignored))


def _odd_name(path: Path, model: str) -> str | None:
    """Return what a file's name says of another model or another way to measure; None if it says neither."""
    stem = stem_of(path.name)
    for name in (stem, model):
        if (said := other_weights(name) or other_way(name.replace("_", " "))) is not None:
            return f"the name {name} says '{said}'"
    if path.is_file() and names_another_model(stem, model):
        return f"the file's name says '{stem}', its text '{model}'"
    return None


def _odd_error(rows: Iterable[Row]) -> str | None:
    """Return of which row the standard error is that of a limited run; None if none is."""
    for row in rows:
        most, known = documents_at_most(row), load_tasks().get(row.task)
        if most is not None and known is not None and 2 * most < known.documents:
            return f"the standard error of {row.task} {row.metric} is that of about {most} documents, a limited run"
    return None


def _groups(found: Mapping[str, Any], metrics: set[str], lines: Mapping[tuple[str, str], int]) -> Iterable[GroupScore]:
    """Return the scores of groups of which the file has all tasks; `metrics` are those that tasks have."""
    from evalkit.results.lm_eval_numbers import number
    from evalkit.results.lm_eval_protocol import members_of, scored_names

    names, groups = scored_names(found), found.get("groups")
    for name, values in groups.items() if isinstance(groups, dict) else ():
        members = members_of(found, name)
        for key, printed in values.items() if isinstance(values, dict) else ():
            metric = task_and_metric("", key)[1]
            value = number(printed)
            if metric in metrics and members and value is not None and 0 <= value <= 1:
                tasks = tuple(task_and_metric(names.get(task, task), key)[0] for task in members)
                yield GroupScore(lines.get((name, metric), 1), name, metric, _decimal(value), tasks, whole=True)


def _decimal(number: float) -> Decimal:
    """Return a number of a results file; what a double's arithmetic adds to one of few places is left out.

    >>> _decimal(0.32989999999999997), _decimal(0.5622866894197952)
    (Decimal('0.3299'), Decimal('0.5622866894197952'))
    """
    short = Decimal(f"{number:.15g}")
    return short if len(short.as_tuple().digits) <= 12 else Decimal(repr(number))


def _lines_of(path: Path) -> dict[tuple[str, str], int]:
    """Return (task, metric) -> the line of its number in a results file of one key a line."""
    found: dict[tuple[str, str], int] = {}
    inside, name = False, ""
    for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        key = re.match(r'\s*"((?:[^"\\]|\\.)+)"\s*:\s*(.*)$', text)
        if key is None:
            continue
        if key[1] == "results" and not inside:
            inside = True
        elif inside and key[2].startswith("{"):
            name = key[1]
        elif inside and name and "_stderr" not in key[1]:
            found.setdefault(task_and_metric(name, key[1]), number)
    return found


def _counted(tasks: list[str]) -> str:
    return tasks[0] + (f" and {len(tasks) - 1} more tasks" if len(tasks) > 1 else "")
