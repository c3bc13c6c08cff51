"""What a table of models says of a model whose scores stand beside it: are its numbers the scores', to their places?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from evalkit.baselines.published import ComparisonTable, ModelScores, Note
from evalkit.baselines.reading.averages import one_a_task
from evalkit.baselines.reading.wording import CHANGE, name_cell
from evalkit.config.suites import load_suites
from evalkit.results.task_names import suite_of_task, task_and_metric

_Bounds = list[tuple[Decimal, Decimal]]
"""Numbers in per cent, each with how far off the exact one may be: it is rounded, cut, or of rounded ones."""


@dataclass(frozen=True)
class Column:
    """One model's numbers in a table of models, under whatever label.

    Attributes:
        table: the table.
        place: which of its columns.
        name: the model's name, or what stands in its place.
    """

    table: ComparisonTable
    place: int
    name: str

    def differing(self, model: ModelScores) -> list[Note]:
        """Return a note for each number that is none of a model's scores."""
        found = []
        for role, percent, unit, line in self._numbers():
            scores = self._expected(model, role)
            if scores and all(abs(percent - score) > slack + unit for score, slack in scores):
                shown = load_suites()[role].title if role in load_suites() else role
                text = f"{shown} is {percent} in this table and {round(scores[0][0], 2)} by the scores beside it"
                found.append(Note(line, text))
        return found

    def fits(self, model: ModelScores) -> bool:
        """Tell whether it has, with places, the number of every suite that a model has scores of, and no other one."""
        with_places = {role for role, _, unit, _ in self._numbers() if unit < 1}
        scores = _scores(model)
        return _scored(model) <= with_places & scores.keys() and not self.differing(model)

    def _numbers(self) -> Iterator[tuple[str, Decimal, Decimal, int]]:
        """Yield (suite, "average", "total" or task, per cent, unit of its last place, line) of each number."""
        for row in self.table.rows:
            value = row.cells[self.place] if self.place < len(row.cells) else None
            if value is not None:
                share = value <= 1 and not any(row.percent[self.place : self.place + 1])
                percent = value.scaleb(2) if share else value
                role = row.role if row.role != "other" else task_and_metric(row.label, "score")[0]
                yield role, percent, _unit(percent), row.line_of(self.place)

    def _expected(self, model: ModelScores, role: str) -> _Bounds:
        """Return what a number may be: a suite's score; of the average, that of the table's suites, or as printed."""
        scores = _scores(model)
        if role not in ("average", "total"):
            rows = [row for table in model.tables for row in table.rows if row.task == role]
            return scores.get(role, []) + [(100 * row.value, 50 * _unit(row.value)) for row in rows]
        roles = [row.role for row in self.table.rows if row.role not in ("average", "total")]
        suites = roles or [name for name in scores if name in load_suites() and load_suites()[name].in_total]
        if not suites or any(suite not in scores for suite in suites):
            return []
        exact = [scores[suite][-1] for suite in suites]
        total, slack = sum((score for score, _ in exact), Decimal(0)), sum((slack for _, slack in exact), Decimal(0))
        return [(total / len(exact), slack / len(exact)), (total, slack), *scores.get("average", [])]


def columns_of(table: ComparisonTable) -> list[Column]:
    """Return the columns of a table of models but for those of changes."""
    names = [name_cell(heading.strip("*_`[] ")) for heading in table.headings]
    return [Column(table, place, name) for place, name in enumerate(names) if not CHANGE.fullmatch(name)]


def _scored(model: ModelScores) -> set[str]:
    """Return the suites that a model has any score of."""
    found = {suite for table in model.tables for row in table.rows if (suite := suite_of_task(row.task)) is not None}
    found |= {str(average.suite) for average in model.averages} & load_suites().keys()
    return found | ({"humaneval"} if model.humaneval is not None else set())


def _scores(model: ModelScores) -> dict[str, _Bounds]:
    """Return suite, or "average" -> its printed average, and that of its rows where all are there."""
    found: dict[str, _Bounds] = {}
    printed = [*model.averages, *([model.humaneval] if model.humaneval is not None else [])]
    for average in printed:
        found.setdefault(str(average.suite), []).append((average.percent, _unit(average.percent)))
    rows = one_a_task([row for table in model.tables for row in table.rows])
    for suite in load_suites().values():
        own = [row.value for row in rows if row.task in {task.name for task in suite.tasks}]
        if suite.tasks and len(own) == len(suite.tasks):
            mean, slack = (
                sum(values, Decimal(0)) / len(own) for values in ([100 * v for v in own], [50 * _unit(v) for v in own])
            )
            found.setdefault(suite.name, []).append((mean, slack))
    return found


def _unit(number: Decimal) -> Decimal:
    """Return one of a number's last place."""
    return Decimal(1).scaleb(int(number.as_tuple().exponent))
