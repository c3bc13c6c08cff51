"""Whose the scores of tasks are beside tables of models: a summary row names a model, and repeats its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from evalkit.baselines.published import ComparisonTable, ModelScores, Note
from evalkit.baselines.reading.averages import one_a_task
from evalkit.baselines.reading.comparisons import ONLY_NUMBERS
from evalkit.baselines.reading.units import names_no_model
from evalkit.baselines.reading.wording import ROLE, is_heading, is_label, same_model
from evalkit.suites import load_suites

_MODELS_OWN = "this model"


def named_by_rows(
    models: Sequence[ModelScores], tables: Sequence[ComparisonTable]
) -> tuple[tuple[ModelScores, ...], list[Note]]:
    """Return the models of a file of several, the nameless ones named by the one summary row that has their averages.

    Returns:
        The models, and a note for each that is named so.
    """
    named, notes = list(models), []
    for i, model in enumerate(models if len(models) > 1 else ()):
        if model.name is not None:
            continue
        found = [
            (table, name)
            for table in tables
            if len(names := _names(table)) == 1
            for column, name in names.items()
            if _agrees(model, table, column)
        ]
        if len(found) == 1 and found[0][1] != _MODELS_OWN:
            table, name = found[0]
            named[i] = replace(model, name=name)
            notes.append(Note(model.line, f"read as {name}'s, whose row on line {table.line} has its averages"))
    return tuple(named), notes


def doubt_of_rows(model: ModelScores, called: str, tables: Sequence[ComparisonTable], several: bool) -> Note | None:
    """Return why a model's scores may be another's: a table that names others only; None where none does.

    Args:
        model: the scores.
        called: the name that they have without the tables: the title's, or the file's; empty if these name nobody.
        tables: the file's tables of models.
        several: whether the file has scores of several models, each of which some table may be of.
    """
    for table in tables:
        names = _names(table)
        own = [name for name in names.values() if name == _MODELS_OWN or (called and same_model(name, called))]
        if not names or own:
            continue
        if not called and len(names) == 1:  # the row alone names them
            column, name = next(iter(names.items()))
            if _differing(model, table, column):
                return Note(table.line, f"the row that names {name} has other numbers than the scores beside it")
            continue
        if several and model.name is not None:
            continue  # another's summary, if it is not below a name of its own
        shown = ", ".join(list(names.values())[:3])
        return Note(table.line, f"a table of {shown} stands beside the scores, and not of {called or 'one model'}")
    return None


def contradictions(models: Sequence[ModelScores], tables: Sequence[ComparisonTable]) -> list[Note]:
    """Return notes of the summary rows of one model whose numbers none of the file's models has."""
    notes = []
    for table in tables:
        for column, _ in _names(table).items() if len(_names(table)) == 1 else ():
            differ = [found for model in models if (found := _differing(model, table, column)) is not None]
            if differ and all(differ):
                suite, printed, scored = min(differ, key=len)[0]
                text = f"{load_suites()[suite].title} is {printed} in this table and {scored} by the scores beside it"
                notes.append(Note(table.rows[0].line_of(column), text, unread=True))
    return notes


def _names(table: ComparisonTable) -> dict[int, str]:
    """Return column -> model's name of those that a table names; a role ("ours") is `_MODELS_OWN`."""
    found = {}
    for column, heading in enumerate(table.headings):
        name = heading.strip("*_`[] ")
        if not name or name == ONLY_NUMBERS or is_heading(name, of_rows=False) or is_label(name):
            continue
        if names_no_model(heading, table.headings):
            continue
        found[column] = _MODELS_OWN if ROLE.fullmatch(name) else name
    return found


def _scores(model: ModelScores) -> dict[str, set[Decimal]]:
    """Return suite -> its printed average and that of its rows, in per cent."""
    found: dict[str, set[Decimal]] = {}
    for average in model.averages:
        if average.suite in load_suites():
            found.setdefault(str(average.suite), set()).add(average.percent)
    rows = one_a_task([row for table in model.tables for row in table.rows])
    for suite in load_suites().values():
        own = [row.value for row in rows if row.task in {task.name for task in suite.tasks}]
        if suite.tasks and len(own) == len(suite.tasks):
            found.setdefault(suite.name, set()).add(100 * sum(own, Decimal(0)) / len(own))
    return found


def _differing(model: ModelScores, table: ComparisonTable, column: int) -> list[tuple[str, Decimal, Decimal]] | None:
    """Return (suite, printed, scored) of the suites of which a row has another number; None if they share no suite."""
    scores, shared, differ = _scores(model), False, []
    for row in table.rows:
        value = row.cells[column] if column < len(row.cells) else None
        if value is None or row.role not in scores:
            continue
        shared = True
        percent = value if value > 1 else value.scaleb(2)
        slack = Decimal("0.6") * Decimal(1).scaleb(int(percent.as_tuple().exponent)) + Decimal("0.0151")
        if all(abs(percent - scored) > slack for scored in scores[row.role]):
            differ.append((row.role, value, round(min(scores[row.role]), 2)))
    return differ if shared else None


def _agrees(model: ModelScores, table: ComparisonTable, column: int) -> bool:
    return _differing(model, table, column) == []
