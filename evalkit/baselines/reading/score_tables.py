"""The rows of a table of per-task scores -> `ScoreTable`: its unit, its groups, its tasks' names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from evalkit.baselines.published import NO_SHARE, GroupScore, Note, PrintedScore, Row, ScoreTable
from evalkit.baselines.reading.columns import Columns
from evalkit.baselines.reading.prose import Aside
from evalkit.baselines.reading.row_units import unit_of, unlike_an_error
from evalkit.baselines.reading.table_lines import RawRow
from evalkit.config.suites import load_tasks
from evalkit.results.task_names import (
    is_no_share,
    names_other_benchmark,
    suite_of_task,
    task_and_metric,
    task_and_shots,
)

NumberedRow = tuple[int, RawRow]
"""A row and its line."""


@dataclass(frozen=True)
class Unit:
    """In which unit a column of scores is, by its heading and all of its values."""

    percent: bool
    """Its values are per cent."""
    mixed: bool
    """They are above and below 1, and nothing says what they are."""
    headed: bool
    """The heading says per cent."""
    some_shares: bool
    """Some value is a share: its standard error says so."""

    @classmethod
    def of(cls, rows: Sequence[NumberedRow], *, headed: bool) -> Unit:
        large = sum(row.score is not None and row.score.value > 1 for _, row in rows)
        small = [unit_of(row) for _, row in rows if row.score is not None and 0 < row.score.value <= 1]
        shares, percents = small.count("share"), small.count("per cent")
        # One column has one unit, and a value above 1 is no share; but a slip in a column of shares makes no per cent.
        percent = bool(large) and large + percents > shares + small.count(None)
        mixed = bool(large) and not percent and not shares > large + percents
        return cls(percent, mixed, headed, shares > 0)

    def doubt(self, row: RawRow) -> str | None:
        """Return why nobody knows in which unit a row of the column is; None if it is known, or does not matter."""
        score, own = row.score, unit_of(row)
        assert score is not None
        if score.percent or (self.percent and self.headed) or not score.value:
            return None
        if self.percent and score.value <= 1 and own != "per cent":
            return "a share or per cent? the values beside it are per cent"
        if self.mixed and own != "share":
            return "a share or per cent? the values of its column are above and below 1"
        if not self.percent and own == "per cent" and not self.some_shares:
            return "its standard error fits only if both are per cent, and nothing says so"
        return None


@dataclass
class ScoreTables:
    """Makes tables of rows; remembers of which tasks it has said already how their names are read."""

    notes: list[Note]
    _renamed: set[str] = field(default_factory=set)

    def table(
        self, rows: Sequence[NumberedRow], averages: Sequence[tuple[int, Decimal, bool]], columns: Columns | None
    ) -> ScoreTable | Aside | None:
        """Return the table of some rows; an `Aside` if it is not read, None if there is nothing in it.

        `averages` are the table's own: line, value, and whether a sign says per cent.
        """
        labelled = columns is not None and columns.labelled
        if labelled and not any(_is_benchmark_row(row) for _, row in rows):
            if not rows:
                return None
            self._note(rows[0][0], "table not read, none of its labels is a known benchmark")
            return Aside(rows[0][0], rows[0][1].task, "unread")
        shares = []
        for number, row in rows:
            if is_no_share(row.metric):
                self._note(number, f"{row.task} {row.metric} {NO_SHARE}", row=row)
            else:
                shares.append((number, row))
        unit = Unit.of(shares, headed=columns is not None and columns.in_percent)
        scores = [row.score for _, row in shares if row.score is not None]
        if unit.headed and all(s.value <= 1 for s in scores) and any(s.value and not s.percent for s in scores):
            text = "the heading says per cent and no value is above 1: shares or per cent, nobody knows; table not read"
            self._note(shares[0][0], text, unread=True)
            return Aside(shares[0][0], shares[0][1].task, "unread")
        if unit.percent and shares:
            self._note(shares[0][0], "values above 1: the table is read as per cent")
        harness = columns.harness if columns is not None else "lm-eval-0.3"
        harness = "lm-eval-0.4" if any("," in row.metric for _, row in rows) else harness
        kept: list[Row] = []
        groups: list[GroupScore] = []
        for place, (number, row) in enumerate(shares):
            found = self._scaled(number, row, unit)
            if found is None:
                continue
            value, stderr = found
            printed, shots, labelled_by = task_and_shots(row.task)
            harness = labelled_by or harness
            task, metric = task_and_metric(printed, row.metric)
            members = _members(shares, place)
            if row.level < 0 or (members and load_tasks().get(row.task) is None):
                self._note(number, f"score of a group, not imported: {row.task} {metric}", row=row)
                groups.append(GroupScore(number, row.task, metric, value, members))
                continue
            self._name(number, row.task, task, shots)
            shown = shots if shots is not None else row.shots
            kept.append(Row(number, task, row.task, metric, value, stderr, shown, row.documents))
        if not kept and not groups:
            return None
        suites = [suite for row in kept if (suite := suite_of_task(row.task)) is not None]
        scaled = [
            PrintedScore(number, None, value if unit.percent or sign or value > 1 else value.scaleb(2), "average")
            for number, value, sign in averages
        ]
        return ScoreTable(
            line=kept[0].line if kept else groups[0].line,
            suite=max(suites, key=suites.count) if suites else None,
            headings=columns.headings if columns is not None else (),
            rows=tuple(kept),
            harness=harness,
            averages=tuple(a for a in scaled if 0 <= a.percent <= 100),
            groups=tuple(groups),
            labelled=labelled,
        )

    def _note(self, number: int, message: str, *, unread: bool = False, row: RawRow | None = None) -> None:
        """Say something of a line; of all numbers of a `row` that is left out."""
        scores = [score for score in (row.score, row.stderr) if score is not None] if row is not None else []
        said = (number for score in scores for number in (score.value, score.stderr) if number is not None)
        self.notes.append(Note(number, message, unread, tuple(said)))

    def _scaled(self, number: int, row: RawRow, unit: Unit) -> tuple[Decimal, Decimal | None] | None:
        """Return a row's value and standard error as shares; None, with a note, if nobody knows what the value is."""
        score = row.score
        assert score is not None  # rows without a number were noted and dropped before
        places = -2 if unit.percent or score.percent else 0
        if (why := unit.doubt(row)) is not None:
            self._note(number, f"{row.task} {row.metric}: {score.value}: {why}; not read", unread=True, row=row)
            return None
        value = score.value.scaleb(places)
        if not 0 <= value <= 1:
            why = "is above 1 in a table of shares" if 1 < score.value <= 100 else "is no share or percentage"
            self._note(number, f"{row.task} {row.metric}: {score.value} {why}; not read", unread=True, row=row)
            return None
        return value, self._stderr(number, row, value, places)

    def _stderr(self, number: int, row: RawRow, value: Decimal, places: int) -> Decimal | None:
        """Return a row's standard error as a share; None, with a note, if it cannot be one in its row's unit."""
        score = row.score
        assert score is not None  # its value was read
        stderr = row.stderr.value if row.stderr is not None else score.stderr
        if stderr is None:
            return None
        signed = row.stderr.percent if row.stderr is not None else score.stderr_percent
        task, _ = task_and_metric(task_and_shots(row.task)[0], row.metric)
        if row.stderr is not None and score.stderr is not None:
            inside = score.stderr.scaleb(-2 if score.stderr_percent else places)
            if inside not in (stderr, stderr.scaleb(-2)):
                text = f"two standard errors, {score.stderr} in its cell and {stderr} beside it; neither is read"
                self._note(number, f"{row.task} {row.metric}: {text}", unread=True)
                return None
            return inside
        scaled = stderr.scaleb(-2 if signed else places)
        why = unlike_an_error(value, scaled, task, assumed=places != 0 and not signed)
        if why is None:
            return scaled
        self._note(number, f"{row.task} {row.metric}: standard error {stderr} {why}; not read", unread=True)
        return None

    def _name(self, number: int, printed: str, task: str, shots: int | None) -> None:
        """Say once how a task's printed name is read, where it is not as it stands."""
        if printed in self._renamed:
            return
        self._renamed.add(printed)
        if task != printed:
            shown = f", {shots} shots" if shots is not None else ""
            self._note(number, f"'{printed}' is read as {task}{shown}")
        elif suite_of_task(task) is None:
            self._note(number, f"task '{task}' is in no suite of evalkit; kept as printed")


def _is_benchmark_row(row: RawRow) -> bool:
    known = suite_of_task(task_and_metric(task_and_shots(row.task)[0], "")[0]) is not None
    return known or names_other_benchmark(row.task)


def _members(rows: Sequence[NumberedRow], place: int) -> tuple[str, ...]:
    """Return the tasks, or groups, that are set in one step below a row; none if it is no group."""
    first = rows[place][1]
    if first.level < 0:
        return ()
    following = place + 1
    while following < len(rows) and rows[following][1].task == first.task:
        following += 1
    members = []
    while following < len(rows) and rows[following][1].level > first.level:
        members.append(rows[following][1])
        following += 1
    step = min((row.level for row in members), default=0)
    return tuple(dict.fromkeys(task_and_metric(row.task, "")[0] for row in members if row.level == step))
