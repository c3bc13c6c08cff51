"""A comparison as text: tables, Markdown, JSON, CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from evalkit.comparison.changes import SuiteChange, TaskChange
from evalkit.comparison.chosen import model_title
from evalkit.comparison.flips import flips_markdown
from evalkit.tables import Cell, Column, Table, escape_markdown, p_text, render_table, rounded, to_markdown

if TYPE_CHECKING:
    from evalkit.comparison.compare import Comparison

SHOWN_FLIPS = 5


def settings_table(comparison: Comparison) -> Table:
    """Return the settings that differ."""
    columns = (Column("Setting", "left"), Column("A", "left"), Column("B", "left"))
    return Table("", columns, comparison.settings)


def _columns(first: Sequence[Column], *, flips: bool) -> tuple[Column, ...]:
    counts = (Column("Gained", key="gained"), Column("Lost", key="lost")) if flips else ()
    return (
        *first,
        Column("A", key="a"),
        Column("B", key="b"),
        Column("Difference", signed=True, key="difference"),
        Column("95 % interval", key="interval"),
        *counts,
        Column("p", key="p"),
        Column("p (Holm)", key="p_holm"),
    )


def _change_cells(change: TaskChange | SuiteChange) -> tuple[Cell, ...]:
    return (
        rounded(change.a),
        rounded(change.b),
        rounded(change.difference.value),
        f"{rounded(change.low):+f} to {rounded(change.high):+f}",
    )


def tasks_table(comparison: Comparison) -> Table:
    """Return the tasks, a row each."""
    columns = _columns((Column("Task", "left", key="task"), Column("Metric", "left", key="metric")), flips=True)
    rows = tuple(
        (c.task, c.metric, *_change_cells(c), c.gained, c.lost, p_text(c.p_value), p_text(c.p_holm))
        for c in comparison.tasks
    )
    return Table("", columns, rows, comparison.notes)


def suites_table(comparison: Comparison) -> Table:
    """Return the suites and their average, a row each."""
    columns = _columns((Column("Suite", "left", key="suite"),), flips=False)
    rows = tuple((c.title, *_change_cells(c), p_text(c.p_value), p_text(c.p_holm)) for c in comparison.suites)
    return Table("", columns, rows)


def numbers_table(comparison: Comparison) -> Table:
    """Return tasks, suites and their average as plain numbers, for programs."""
    names = ("task", "metric", "a", "b", "difference", "low", "high", "stderr", "n", "gained", "lost", "p", "p_holm")
    rows: list[tuple[Cell, ...]] = []
    changes: list[TaskChange | SuiteChange] = [*comparison.tasks, *comparison.suites]
    for change in changes:
        found = change.difference
        values = (change.a, change.b, found.value, change.low, change.high, found.stderr)
        rows.append(
            (
                change.task if isinstance(change, TaskChange) else change.title,
                change.metric if isinstance(change, TaskChange) else "average",
                *(rounded(value, 4) for value in values),
                found.documents,
                *((change.gained, change.lost) if isinstance(change, TaskChange) else (None, None)),
                *(Decimal(f"{value:.6g}") for value in (change.p_value, change.p_holm)),
            )
        )
    return Table(
        "", tuple(Column(n, "left" if n in ("task", "metric") else "right", key=n) for n in names), tuple(rows)
    )


def compare_markdown(comparison: Comparison, flips: int) -> str:
    """Return everything for reading: settings, suites, tasks, then up to `flips` documents."""
    a, b = comparison.a, comparison.b
    title = escape_markdown(f"{model_title(a)} → {model_title(b)}")
    lines = [f"# {title}", "", f"- A: {a.folder}", f"- B: {b.folder}", "", "## Settings", ""]
    lines.append(to_markdown(settings_table(comparison)) if comparison.settings else "No recorded setting differs.\n")
    lines += ["## Suites", "", to_markdown(suites_table(comparison))]
    lines += ["## Tasks", "", to_markdown(tasks_table(comparison))]
    lines += ["## Documents that changed", "", flips_markdown(comparison.flips, flips)]
    return "\n".join(lines)


def compare_json(comparison: Comparison, flips: int | None) -> str:
    """Return everything, with unrounded numbers; all documents that flipped if `flips` is None."""

    def numbers(change: TaskChange | SuiteChange) -> dict[str, Any]:
        found = asdict(change) | {"difference": change.difference.value, "stderr": change.difference.stderr}
        return found | {"documents": change.difference.documents}

    found = {
        "a": str(comparison.a.folder),
        "b": str(comparison.b.folder),
        "settings": [{"setting": name, "a": a, "b": b} for name, a, b in comparison.settings],
        "suites": [numbers(change) for change in comparison.suites],
        "tasks": [numbers(change) for change in comparison.tasks],
        "flipped": len(comparison.flips),
        "flips": [asdict(flip) for flip in comparison.flips[:flips]],
        "notes": list(comparison.notes),
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def compare_text(comparison: Comparison, form: str, flips: int | None) -> str:
    """Return a comparison in one of the table formats; CSV is one table of numbers: tasks, suites, average."""
    if form == "json":
        return compare_json(comparison, flips)
    if form == "markdown":
        return compare_markdown(comparison, SHOWN_FLIPS if flips is None else flips)
    if form == "csv":
        return render_table(numbers_table(comparison), form)
    tasks, suites = tasks_table(comparison), suites_table(comparison)
    joined = [(title, "average", *rest[:4], None, None, *rest[4:]) for title, *rest in suites.rows]
    whole = Table(f"{model_title(comparison.a)} to {model_title(comparison.b)}", tasks.columns, (), tasks.notes)
    rows: tuple[tuple[Cell, ...], ...] = (*tasks.rows, *joined)
    parts = [render_table(Table(whole.title, whole.columns, rows, whole.notes), form)]
    if comparison.settings:
        parts.insert(0, render_table(settings_table(comparison), form))
    return "\n".join(parts)
