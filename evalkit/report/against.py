"""A run beside published results: the comparison table of the card, and a run's scores as a table."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from evalkit.baselines import load_baseline
from evalkit.baselines.model import PASS_AT_1
from evalkit.comparison.chosen import names_a_run
from evalkit.comparison.comparable import protocol_changes, sampling_changes
from evalkit.comparison.whole import check_report
from evalkit.config.suites import load_suites, rows_of_card
from evalkit.errors import ConfigError
from evalkit.languages import ENGLISH, Language
from evalkit.records.model import RunRecord
from evalkit.report.card import CardColumn, column_of, comparison_table
from evalkit.report.run_report import run_report, said_version, suite_average, warnings
from evalkit.results.reading import read_run
from evalkit.tables import Column, Table, render_table, rounded, to_markdown


def column_of_run(record: RunRecord, tr: Language = ENGLISH) -> CardColumn:
    """Return a run's column: unrounded averages, and what a reader must know about its numbers."""
    suites = load_suites()
    averages = {name: suite_average(suite, record.metrics) for name, suite in suites.items()}
    exact = {name: None if value is None else Decimal(f"{value:.10f}") for name, value in averages.items()}
    model = record.model
    names = ", ".join(protocol_changes(record) + sampling_changes(record))
    changed = tr(", changed: {changes}", changes=names) if names else ""
    values = {"protocol": f"{record.protocol}{changed}", "dtype": model.dtype, "device": model.device}
    said = tr("measured by evalkit, protocol {protocol}, {dtype} on {device}", **values)
    if record.foreign is not None:
        values["harness"] = record.foreign.harness
        said = tr("measured by {harness}, protocol {protocol}, {dtype} on {device}", **values)
    notes = [said, *warnings(record, tr)]
    missing = ", ".join(suite.title for suite in rows_of_card() if exact[suite.name] is None)
    notes += [tr("no score for {suites}: tasks are missing or failed", suites=missing)] if missing else []
    others = sorted(name for name, entry in record.data.items() if entry.verdict == "other")
    notes += [tr("not the published content: {names}", names=", ".join(others))] if others else []
    name = Path(model.name).name or model.name
    return CardColumn(name, name, exact, exact.get(PASS_AT_1), tuple(notes))


def against_table(record: RunRecord, names: Sequence[str], tr: Language = ENGLISH) -> Table:
    """Return the card's comparison table with a run as its last model.

    Args:
        record: the run.
        names: baselines, or folders of other runs, in the order of the columns.

    Raises:
        ConfigError, DataError, StoreError: one of them cannot be found or read.
    """
    others = []
    for name in names:
        if names_a_run(name):
            others.append(column_of_run(read_run(Path(name)), tr))
        else:
            baseline = load_baseline(name)
            column = column_of(baseline, tr)
            values = {"protocol": baseline.protocol, "source": baseline.source, "date": baseline.retrieved}
            source = tr("{protocol}, from {source}, retrieved {date}", **values)
            others.append(
                CardColumn(column.title, column.short, column.suites, column.humaneval, (source, *column.notes))
            )
    return comparison_table(column_of_run(record, tr), others, tr=tr)


def scores_table(record: RunRecord, tr: Language = ENGLISH) -> Table:
    """Return all scores of a run, a row a metric, with the suites' averages: what the other formats get."""
    columns = (
        Column(tr("Suite"), "left", key="suite"),
        Column(tr("Task"), "left", key="task"),
        Column(tr("Version"), key="version"),
        Column(tr("Metric"), "left", key="metric"),
        Column(tr("Value"), key="value"),
        Column(tr("Stderr"), key="stderr"),
        Column(tr("Documents"), key="documents"),
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
                version = said_version(task, name, record)
                rows.append((suite.title, task.name, version, name, value, stderr, found.n))
        if present:
            average = suite_average(suite, record.metrics)
            shown = None if average is None else rounded(average)
            rows.append((suite.title, tr("Average"), None, tr("per cent"), shown, None, None))
    return Table(record.model.name, columns, tuple(rows), tuple(warnings(record, tr)))


def report_text(record: RunRecord, against: Sequence[str], form: str, tr: Language = ENGLISH) -> str:
    """Return a run's report, with the comparison appended, or in another format than Markdown one table of it.

    Raises:
        ConfigError: a comparison with an unfinished run, or as `against_table`.
        StoreError: its documents say otherwise.
    """
    check_report(record)
    if against and record.partial is not None:
        raise ConfigError(f"{record.folder}: not finished, so there is nothing to set against {against[0]}")
    if form != "markdown":
        return render_table(against_table(record, against, tr) if against else scores_table(record, tr), form).rstrip(
            "\n"
        )
    text = run_report(record, tr)
    return f"{text}\n## {tr('Comparison')}\n\n{to_markdown(against_table(record, against, tr))}" if against else text
