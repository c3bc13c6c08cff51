"""A run beside published results: the comparison table of the card, and a run's scores as a table."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from evalkit.baselines import load_baseline
from evalkit.errors import ConfigError
from evalkit.report.gate import is_run
from evalkit.report.published import COMPARISON_ORDER, ModelScores, column_of, comparison_table
from evalkit.report.run_report import run_report, suite_average, warnings
from evalkit.report.tables import Column, Table, render, rounded, to_markdown
from evalkit.results import RunRecord, read_run
from evalkit.suites import load_suites


def column_of_run(record: RunRecord) -> ModelScores:
    """Return a run's column: unrounded averages, and what a reader must know about its numbers."""
    suites = load_suites()
    averages = {name: suite_average(suite, record.metrics) for name, suite in suites.items()}
    exact = {name: None if value is None else Decimal(f"{value:.10f}") for name, value in averages.items()}
    model, config = record.evalkit["model"], record.evalkit["config"]
    changed = [name for name in ("add_bos", "apply_chat_template", "system") if config.get(name)]
    protocol = str(record.evalkit["protocol"]) + (f", changed: {', '.join(changed)}" if changed else "")
    notes = [f"measured by evalkit, protocol {protocol}, {model['dtype']} on {model['device']}", *warnings(record)]
    missing = [suites[name].title for name in COMPARISON_ORDER if exact[name] is None]
    notes += [f"no score for {', '.join(missing)}: tasks are missing or failed"] if missing else []
    others = sorted(name for name, entry in record.evalkit["data"].items() if entry["verdict"] == "other")
    notes += [f"not the published content: {', '.join(others)}"] if others else []
    name = Path(str(model["name"])).name or str(model["name"])
    return ModelScores(name, name, exact, exact.get("humaneval"), tuple(notes))


def against_table(record: RunRecord, names: Sequence[str]) -> Table:
    """Return the card's comparison table with a run as its last model.

    Args:
        record: the run.
        names: baselines, or folders of other runs, in the order of the columns.

    Raises:
        ConfigError, DataError, StoreError: one of them cannot be found or read.
    """
    others = []
    for name in names:
        if is_run(name):
            others.append(column_of_run(read_run(Path(name))))
        else:
            baseline = load_baseline(name)
            column = column_of(baseline)
            source = f"{baseline.protocol}, from {baseline.source}, retrieved {baseline.retrieved}"
            others.append(
                ModelScores(column.title, column.short, column.suites, column.humaneval, (source, *column.notes))
            )
    return comparison_table(column_of_run(record), others)


def run_table(record: RunRecord) -> Table:
    """Return all scores of a run, a row a metric, with the suites' averages: what the other formats get."""
    columns = (
        Column("Suite", "left", key="suite"),
        Column("Task", "left", key="task"),
        Column("Version", key="version"),
        Column("Metric", "left", key="metric"),
        Column("Value", key="value"),
        Column("Stderr", key="stderr"),
        Column("Documents", key="documents"),
    )
    rows: list[tuple[str | int | Decimal | None, ...]] = []
    for suite in load_suites().values():
        present = [task for task in suite.tasks if task.name in record.metrics]
        for task in present:
            for name in task.metrics:
                found = record.metrics[task.name].get(name)
                if found is None:
                    continue
                value = None if found.value is None else rounded(found.value, 4)
                stderr = None if found.stderr is None else rounded(found.stderr, 4)
                rows.append((suite.title, task.name, task.version, name, value, stderr, found.n))
        if present:
            average = suite_average(suite, record.metrics)
            shown = None if average is None else rounded(average)
            rows.append((suite.title, "Average", None, "per cent", shown, None, None))
    return Table(str(record.evalkit["model"]["name"]), columns, tuple(rows), tuple(warnings(record)))


def report_text(record: RunRecord, against: Sequence[str], form: str) -> str:
    """Return a run's report, with the comparison appended, or in another format than Markdown one table of it.

    Raises:
        ConfigError: a comparison with an unfinished run, or as `against_table`.
    """
    if against and record.evalkit.get("partial"):
        raise ConfigError(f"{record.folder}: not finished, so there is nothing to set against {against[0]}")
    if form != "markdown":
        return render(against_table(record, against) if against else run_table(record), form).rstrip("\n")
    text = run_report(record)
    return f"{text}\n## Comparison\n\n{to_markdown(against_table(record, against))}" if against else text
