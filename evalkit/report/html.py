"""The report as one HTML file that opens from disk: charts, tables that sort and filter, and a sample explorer.

What is safe about it: names, prompts and answers are untrusted text. Jinja2 escapes everything that it inserts; the
charts are SVG of the same template; samples are one JSON block in which ``<``, ``>`` and ``&`` are written as escapes,
and the script puts them on the page as text nodes. A content security policy allows exactly the file's own script and
style, by their hashes, and no connection at all, so that nothing would run or load even if an escape were forgotten.

The charts are made here and not by matplotlib, so that they follow light and dark, keep their text at reading size on
a phone, can be read aloud (every number stands beside its mark), and need nothing installed; `evalkit.report.plots`
makes the same charts for papers by matplotlib.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from evalkit import __version__
from evalkit.baselines import Baseline
from evalkit.report.charts import Model, models_of, run_labels, suite_groups, task_groups, visible
from evalkit.report.explorer import explorer_data
from evalkit.report.language import ENGLISH, Language
from evalkit.report.published import ModelScores, column_of, comparison_table
from evalkit.report.run_report import header_rows, protocol_changes, suite_average, warnings
from evalkit.report.scores import (
    Point,
    RunData,
    change_from,
    paired_samples,
    read_data,
    suite_change,
    task_change,
)
from evalkit.report.tables import rounded, to_html
from evalkit.results import RunRecord
from evalkit.stats import Estimate, holm
from evalkit.store.files import write_atomically
from evalkit.suites import load_suites

PAGE = Path(__file__).resolve().parent / "page"


def number(value: float) -> str:
    """Return a percentage with two decimals."""
    return str(rounded(Decimal(f"{value:.10f}")))


def signed(value: float) -> str:
    """Return a change in percentage points with its sign and two decimals."""
    return f"{rounded(Decimal(f'{value:.10f}')):+f}"


def breakable(name: str) -> Markup:
    """Return a name that may be broken after its underscores."""
    return Markup("_<wbr>").join(visible(name).split("_"))


def trend(change: Point) -> str:
    """Return ``up`` or ``down`` if a change's interval excludes 0, else ``level``."""
    if change.low is not None and change.low > 0:
        return "up"
    return "down" if change.high is not None and change.high < 0 else "level"


def as_json_block(value: Any) -> Markup:
    """Return JSON for a ``<script type="application/json">``: nothing in it can end the block or open another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate is no UTF-8; JSON has an escape for it, which is Python's too.
    return Markup(text.encode("utf-8", "backslashreplace").decode("utf-8"))


@dataclass(frozen=True)
class _Change:
    """A change of a tile: against whom, how much, and what is to be said about the other score."""

    label: str
    point: Point
    paired: bool
    note: str

    @property
    def trend(self) -> str:
        return trend(self.point)


@dataclass(frozen=True)
class _Cell:
    """A cell of the table of tasks; `key` is what it is sorted by."""

    text: str
    key: str | float
    align: str = "right"
    trend: str = ""


def _tiles(models: Sequence[Model], runs: Sequence[RunData], say: Language) -> list[dict[str, Any]]:
    """Return the candidate's scores, each with its change from the first run or else the published results."""
    own = models[-1].scores
    pairs = paired_samples(runs[0], runs[-1]) if len(runs) > 1 else {}
    first = next(model for model in models if model.is_run)
    tiles: list[dict[str, Any]] = []
    if own.average is not None:
        changes = [(m, change_from(own.average, m.scores.average), False) for m in models[:-1]]
        if pairs:
            changes = [(first, _average_change(pairs), True)]
        tiles.append(
            {"title": say("Average Total"), "total": True, "point": own.average, "changes": _shown(changes, "")}
        )
    for name, suite in load_suites().items():
        point = own.suites.get(name)
        if point is None:
            continue
        changes = [(m, change_from(point, m.scores.suites.get(name)), False) for m in models[:-1]]
        if pairs:
            changes = [(first, suite_change(pairs, suite), True)]
        tiles.append({"title": suite.title, "total": False, "point": point, "changes": _shown(changes, name)})
    return tiles


def _shown(changes: Sequence[tuple[Model, Point | None, bool]], suite: str) -> list[_Change]:
    found = [
        _Change(model.label, point, paired, model.scores.suites[suite].note if suite in model.scores.suites else "")
        for model, point, paired in changes
        if point is not None
    ]
    return found[:3]


def _footnotes(models: Sequence[Model]) -> list[tuple[str, str]]:
    """Return (model, note) for what must be said about published scores, each note once."""
    found = [(m.label, p.note) for m in models for p in m.scores.suites.values() if p.note and p.value is not None]
    return list(dict.fromkeys(found))


def _average_change(pairs: Mapping[str, Any]) -> Point | None:
    """Return the change of the mean of the four suites; their documents differ, so variances add."""
    suites = [suite for suite in load_suites().values() if suite.in_total]
    parts = [change.estimate for suite in suites if (change := suite_change(pairs, suite)) and change.estimate]
    if len(parts) < len(suites):
        return None
    value = sum(part.value for part in parts) / len(parts)
    found = Estimate(value, sum(part.stderr**2 for part in parts) ** 0.5 / len(parts))
    low, high = found.interval()
    return Point(value, low, high, found)


def _comparison(
    models: Sequence[Model], runs: Sequence[RunData], baselines: Sequence[Baseline], say: Language
) -> Markup | None:
    """Return the card's comparison table, or None for a single model."""
    if len(models) < 2:
        return None
    suites = load_suites()
    columns = [column_of(baseline, say) for baseline in baselines]
    for model, run in zip(models[len(baselines) :], runs, strict=True):
        metrics = run.record.metrics
        averages = {name: suite_average(suite, metrics) for name, suite in suites.items()}
        exact = {name: None if value is None else Decimal(f"{value:.10f}") for name, value in averages.items()}
        # The heading itself says so where the numbers are no scores: tables get copied without their notes.
        title = f"{model.label} ({'; '.join(model.caveats)})" if model.caveats else model.label
        columns.append(ModelScores(visible(title), visible(model.label), exact, exact.get("humaneval")))
    return Markup(to_html(comparison_table(columns[-1], columns[:-1], say("Comparison"), say)))


def _task_table(
    models: Sequence[Model], runs: Sequence[RunData], baselines: Sequence[Baseline], say: Language
) -> dict[str, Any]:
    """Return columns, rows and notes of the table of tasks: a row a metric."""
    texts = (say("Task"), say("Suite"), say("Metric"))
    headings: list[dict[str, Any]] = [{"title": text, "align": "left", "sort": "text"} for text in texts]
    headings.append({"title": say("Documents"), "align": "right", "sort": "number"})
    headings += [{"title": model.label, "align": "right", "sort": "number"} for model in models]
    pairs = paired_samples(runs[0], runs[-1]) if len(runs) > 1 else {}
    notes = [say("± is the standard error as the published tables print it; intervals in the charts are clustered.")]
    if len(runs) > 1:
        letters = [letter for letter, _ in run_labels([run.record for run in runs])]
        names = {"from": letters[0], "to": letters[-1]}
        headings.append({"title": say("Change {from} to {to}", **names), "align": "right", "sort": "number"})
        headings.append({"title": say("p (Holm)"), "align": "right", "sort": "number"})
        notes.append(
            say(
                "Change over the documents that both runs share. p: exact McNemar test, or the paired difference where "
                "documents share a passage or are graded; adjusted for all tasks (Holm); headline metrics only."
            )
        )
    else:
        headings.append({"title": say("95 % interval"), "align": "right", "sort": None})
    listed = [(s, t, m) for s in load_suites().values() for t in s.tasks for m in t.metrics]
    listed = [row for row in listed if any(row[1].name in run.samples for run in runs)]
    changes = {(t.name, m): task_change(pairs[t.name], m) for _, t, m in listed if t.name in pairs}
    tested = {
        task.name: change.p_value
        for _, task, metric in listed
        if metric == task.headline and (change := changes.get((task.name, metric))) and change.p_value is not None
    }
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    rows = []
    for suite, task, metric in listed:
        n = max(len(run.samples.get(task.name, ())) for run in runs)
        headline = metric == task.headline
        cells = [_Cell(suite.title, suite.title, "left"), _Cell(metric, metric, "left"), _Cell(f"{n:,}", n)]
        cells += [_baseline_cell(baseline, task.name, metric) for baseline in baselines]
        cells += [_run_cell(run, task.name, metric, say) for run in runs]
        if len(runs) > 1:
            cells += _change_cells(changes.get((task.name, metric)), adjusted.get(task.name) if headline else None)
        else:
            point = models[-1].scores.tasks.get(task.name) if headline else None
            text = ""
            if point is not None and point.low is not None and point.high is not None:
                text = say("{low} to {high}", low=number(point.low), high=number(point.high))
            cells.append(_Cell(text, ""))
        rows.append({"task": task.name, "suite": suite.title, "headline": headline, "cells": cells})
    return {"task_columns": headings, "task_rows": rows, "task_notes": notes}


def _score_cell(value: float, stderr: float | None) -> _Cell:
    text = number(100 * value)
    return _Cell(text if stderr is None else f"{text} ± {number(100 * stderr)}", round(100 * value, 6))


def _baseline_cell(baseline: Baseline, task: str, metric: str) -> _Cell:
    found = baseline.tasks.get(task, {}).get(metric)
    if found is None:
        return _Cell("-", "")
    return _score_cell(float(found.value), None if found.stderr is None else float(found.stderr))


def _run_cell(run: RunData, task: str, metric: str, say: Language) -> _Cell:
    found = run.record.metrics.get(task, {}).get(metric)
    if found is None:
        return _Cell("-", "")
    if found.value is None:
        return _Cell("n/a: " + say("{failed} of {n} failed", failed=found.failed, n=found.n), "")
    return _score_cell(found.value, found.stderr)


def _change_cells(change: Point | None, p_value: float | None) -> list[_Cell]:
    if change is None or change.value is None:
        return [_Cell("-", ""), _Cell("", "")]
    p_text = "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
    significant = p_value is not None and p_value <= 0.05
    return [
        _Cell(signed(change.value), round(change.value, 6), trend=trend(change) if significant else "level"),
        _Cell(p_text, "" if p_value is None else p_value),
    ]


def _facts(runs: Sequence[RunData], say: Language) -> list[dict[str, Any]]:
    """Return what was run, a row a fact and a column a run."""
    columns = [dict(header_rows(run.record, say)) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    ignored = {say("Date"), say("Duration")}  # they always differ
    rows = []
    for name in names:
        values = [str(column.get(name, "-")) for column in columns]
        rows.append({"name": name, "values": values, "differs": len(set(values)) > 1 and name not in ignored})
    rows.append({"name": say("Folder"), "values": [str(run.record.folder) for run in runs], "differs": False})
    return rows


def script_messages(say: Language) -> dict[str, str]:
    """Return the messages that the script shows, English template -> template in the language."""
    script = (PAGE / "report.js").read_text(encoding="utf-8")
    return {text: say.messages.get(text, text) for text in re.findall(r'\bsay\("([^"]+)"', script)} if say is not ENGLISH else {}


def _warnings(record: RunRecord, say: Language) -> list[str]:
    found = warnings(record, say)
    changes = protocol_changes(record)
    if changes:
        names = ", ".join(changes)
        found.append(say("other protocol: {changes}; published scores are not comparable.", changes=names))
    return found


def _source(text: str) -> str:
    """Return the policy source that allows an inline script or style: the base64 sha256 of its text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def html_report(records: Sequence[RunRecord], baselines: Sequence[Baseline] = (), say: Language = ENGLISH) -> str:
    """Return the report of one or more finished runs beside published results; the last run is the candidate.

    Raises:
        StoreError: a run's samples are missing or damaged.
    """
    runs = [read_data(record) for record in records]
    labels = run_labels(records)
    models = models_of(runs, baselines, say)
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    explored = explorer_data(runs)
    data = {
        "messages": script_messages(say),
        "runs": [{"letter": letter, "label": visible(label)} for letter, label in labels],
        **explored,
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, signed=signed, breakable=breakable)
    groups = task_groups(models, runs)
    return environment.get_template("report.html").render(
        say=say,
        title=" / ".join(label for _, label in labels),
        policy=Markup(
            f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        style=Markup(style),
        script=Markup(script),
        data=as_json_block(data),
        dates=sorted({str(record.evalkit["started"])[:10] for record in records}),
        protocols=sorted({str(record.evalkit["protocol"]) for record in records}),
        runs=[
            {"label": label, "warnings": _warnings(record, say)}
            for (_, label), record in zip(labels, records, strict=True)
        ],
        models=models,
        caveats=models[-1].caveats,
        caveated=bool(models[-1].caveats),
        tiles=_tiles(models, runs, say),
        suite_groups=suite_groups(models, say),
        footnotes=_footnotes(models),
        task_groups=groups,
        chance=any(row.chance is not None for group in groups for row in group.rows),
        suite_titles=[group.title for group in groups],
        comparison=_comparison(models, runs, baselines, say),
        **_task_table(models, runs, baselines, say),
        documents=f"{len(explored['docs']):,}",
        facts=_facts(runs, say),
        version=__version__,
    )


def write_html(
    path: Path, records: Sequence[RunRecord], baselines: Sequence[Baseline] = (), say: Language = ENGLISH
) -> None:
    """Write the report to a file, whole or not at all.

    Raises:
        StoreError: a run's samples cannot be read, or the file cannot be written.
    """
    write_atomically(path, html_report(records, baselines, say))
