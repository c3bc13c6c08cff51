"""The tables of the HTML report: the card's comparison, all metrics of all tasks, and what was run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from evalkit.baselines import Baseline
from evalkit.comparison.points import Point, RunData, paired_samples, task_change
from evalkit.config.suites import load_suites
from evalkit.languages import Language
from evalkit.report.against import column_of_run
from evalkit.report.card import column_of, comparison_table
from evalkit.report.charts import Model, run_labels
from evalkit.report.run_report import header_rows
from evalkit.stats.estimates import holm
from evalkit.tables import p_text, rounded, to_html, visible


def percent_text(value: float) -> str:
    """Return a percentage with two decimals."""
    return str(rounded(value))


def signed(value: float) -> str:
    """Return a change in percentage points with its sign and two decimals."""
    return f"{rounded(value):+f}"


def trend(change: Point) -> str:
    """Return ``up`` or ``down`` if a change's corrected p-value is at most 0.05, else ``level``."""
    if change.value is None or change.p_holm is None or change.p_holm > 0.05:
        return "level"
    return "up" if change.value > 0 else "down"


@dataclass(frozen=True)
class _Cell:
    """A cell of the table of tasks; `key` is what it is sorted by."""

    text: str
    key: str | float
    align: str = "right"
    trend: str = ""


def comparison(
    models: Sequence[Model], runs: Sequence[RunData], baselines: Sequence[Baseline], tr: Language
) -> Markup | None:
    """Return the card's comparison table, or None for a single model."""
    if len(models) < 2:
        return None
    columns = [column_of(baseline, tr) for baseline in baselines]
    for model, run in zip(models[len(baselines) :], runs, strict=True):
        # The heading itself says so where the numbers are no scores: tables get copied without their notes.
        title = f"{model.label} ({'; '.join(model.caveats)})" if model.caveats else model.label
        column = column_of_run(run.record, tr)
        notes = tuple(visible(note) for note in column.notes)
        columns.append(replace(column, title=visible(title), short=visible(model.label), notes=notes))
    return Markup(to_html(comparison_table(columns[-1], columns[:-1], tr("Comparison"), tr)))


def task_table(
    models: Sequence[Model], runs: Sequence[RunData], baselines: Sequence[Baseline], tr: Language
) -> dict[str, Any]:
    """Return columns, rows and notes of the table of tasks: a row a metric."""
    texts = (tr("Task"), tr("Suite"), tr("Metric"))
    headings: list[dict[str, Any]] = [{"title": text, "align": "left", "sort": "text"} for text in texts]
    headings.append({"title": tr("Documents"), "align": "right", "sort": "number"})
    headings += [{"title": model.label, "align": "right", "sort": "number"} for model in models]
    pairs = paired_samples(runs[0], runs[-1]) if len(runs) > 1 else {}
    notes = [tr("± is the standard error as the published tables print it; intervals in the charts are clustered.")]
    if len(runs) > 1:
        letters = [letter for letter, _ in run_labels([run.record for run in runs])]
        names = {"from": letters[0], "to": letters[-1]}
        headings.append({"title": tr("Change {from} to {to}", **names), "align": "right", "sort": "number"})
        headings.append({"title": tr("p (Holm)"), "align": "right", "sort": "number"})
        notes.append(
            tr(
                "Change over the documents that both runs share. p: McNemar's exact test for right and wrong answers "
                "of independent documents, else the test that the change's interval inverts; adjusted for all tasks "
                "(Holm); headline metrics only."
            )
        )
    else:
        headings.append({"title": tr("95 % interval"), "align": "right", "sort": None})
    listed = [(s, t, m) for s in load_suites().values() for t in s.tasks for m in t.metrics]
    listed = [row for row in listed if any(run.documents(row[1].name) for run in runs)]
    changes = {(t.name, m): task_change(pairs[t.name], m) for _, t, m in listed if t.name in pairs}
    tested = {
        task.name: change.p_value
        for _, task, metric in listed
        if metric == task.headline and (change := changes.get((task.name, metric))) and change.p_value is not None
    }
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    rows = []
    for suite, task, metric in listed:
        n = max(run.documents(task.name) for run in runs)
        headline = metric == task.headline
        cells = [_Cell(suite.title, suite.title, "left"), _Cell(metric, metric, "left"), _Cell(f"{n:,}", n)]
        cells += [_baseline_cell(baseline, task.name, metric) for baseline in baselines]
        cells += [_run_cell(run, task.name, metric, tr) for run in runs]
        if len(runs) > 1:
            cells += _change_cells(changes.get((task.name, metric)), adjusted.get(task.name) if headline else None)
        else:
            point = models[-1].scores.tasks.get(task.name) if headline else None
            text = ""
            if point is not None and point.low is not None and point.high is not None:
                text = tr("{low} to {high}", low=percent_text(point.low), high=percent_text(point.high))
            cells.append(_Cell(text, ""))
        rows.append({"task": task.name, "suite": suite.title, "headline": headline, "cells": cells})
    return {"task_columns": headings, "task_rows": rows, "task_notes": notes}


def _score_cell(value: float, stderr: float | None) -> _Cell:
    text = percent_text(100 * value)
    return _Cell(text if stderr is None else f"{text} ± {percent_text(100 * stderr)}", round(100 * value, 6))


def _baseline_cell(baseline: Baseline, task: str, metric: str) -> _Cell:
    found = baseline.tasks.get(task, {}).get(metric)
    if found is None:
        return _Cell("-", "")
    return _score_cell(float(found.value), None if found.stderr is None else float(found.stderr))


def _run_cell(run: RunData, task: str, metric: str, tr: Language) -> _Cell:
    found = run.record.metrics.get(task, {}).get(metric)
    if found is None:
        return _Cell("-", "")
    if found.value is None:
        return _Cell("n/a: " + tr("{failed} of {n} failed", failed=found.failed, n=found.n), "")
    return _score_cell(found.value, found.stderr)


def _change_cells(change: Point | None, p_value: float | None) -> list[_Cell]:
    if change is None or change.value is None:
        return [_Cell("-", ""), _Cell("", "")]
    return [
        _Cell(signed(change.value), round(change.value, 6), trend=trend(replace(change, p_holm=p_value))),
        _Cell("" if p_value is None else p_text(p_value), "" if p_value is None else p_value),
    ]


def facts(runs: Sequence[RunData], tr: Language) -> list[dict[str, Any]]:
    """Return what was run, a row a fact and a column a run."""
    columns = [dict(header_rows(run.record, tr)) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    ignored = {tr("Date"), tr("Duration")}  # they always differ
    rows = []
    for name in names:
        values = [str(column.get(name, "-")) for column in columns]
        rows.append({"name": name, "values": values, "differs": len(set(values)) > 1 and name not in ignored})
    rows.append({"name": tr("Folder"), "values": [str(run.record.folder) for run in runs], "differs": False})
    return rows
