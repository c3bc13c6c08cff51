"""Events of a file -> models: which table and which average belongs to whom."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

from evalkit.baselines.published import ModelScores, Note, PrintedScore, Row, RowsAverage, ScoreTable
from evalkit.baselines.reading.averages import (
    OVERALL,
    average_of_list,
    averages_come_first,
    is_mean_of,
    leading,
    one_a_task,
    other_rows,
    settle_averages,
    settle_first,
    suite_values,
)
from evalkit.baselines.reading.open_models import OpenModel
from evalkit.baselines.reading.owners import Owners
from evalkit.baselines.reading.place import Place
from evalkit.baselines.reading.prose import (
    Aside,
    Event,
    Label,
    ModelHeading,
    OtherHeading,
    Settings,
    Shots,
    SuiteHeading,
)
from evalkit.baselines.reading.whose import (
    is_of_humaneval,
    model_lines,
    unnamed_labels,
)
from evalkit.config.suites import Task, load_suites, load_tasks
from evalkit.results.task_names import bare, names_other_benchmark, names_something_else, suite_of_task

_PUBLISHED = "lm-eval-0.3"
"""The harness whose tables are the published ones'."""


def _add_table(model: OpenModel, table: ScoreTable, notes: list[Note], why: Note | None) -> ScoreTable | None:
    """Add a table's new rows to a model; a row that the model has already is noted.

    `why` says why nobody knows how the table was measured, where that is so.
    """
    rows = []
    for row in table.rows:
        known, harness = model.rows.get((row.task, row.metric), (None, ""))
        numbers = (row.value,) if row.stderr is None else (row.value, row.stderr)
        earlier = next((found for (task, _), found in model.rows.items() if task == row.task), None)
        if earlier is not None and earlier[1] == _PUBLISHED != table.harness:
            # A leaderboard's footer below a card's own tables: a measurement of its own, of no part in the suite's.
            text = f"{row.task} again, measured otherwise than on line {earlier[0].line}, which is kept"
            notes.append(Note(row.line, text, numbers=numbers, again=True))
        elif known is None:
            model.rows[row.task, row.metric] = row, table.harness
            rows.append(row)
        elif harness != table.harness or (known.shots or 0) != (row.shots or 0):
            text = f"{row.task} {row.metric} again, measured otherwise than on line {known.line}, which is kept"
            notes.append(Note(row.line, text, numbers=numbers, again=True))
        elif (known.value, known.stderr) == (row.value, row.stderr):
            text = f"{row.task} {row.metric} again, as on line {known.line}"
            notes.append(Note(row.line, text, numbers=numbers, again=True))
        else:
            text = f"{row.task} {row.metric} again, other than on line {known.line}, which is kept"
            notes.append(Note(row.line, text, unread=True, numbers=numbers, again=True))
    if not rows and not table.groups:
        return None
    kept = replace(table, line=rows[0].line if rows else table.line, rows=tuple(rows))
    model.tables.append(kept)
    for row in rows:
        found = model.measured(suite_of_task(row.task))
        found.harnesses.add(table.harness)
        found.doubted(why)
        found.shots.add(row.shots or 0)
        found.limits |= {table.limit} if table.limit is not None else set()
    return kept


def _is_another_model(model: OpenModel, table: ScoreTable, candidate: ModelHeading | None) -> bool:
    """Tell whether a table repeats most of a model's rows with other numbers, or any below another model's name."""
    known = [
        (row, found[0])
        for row in table.rows
        if (found := model.rows.get((row.task, row.metric))) is not None
        and found[1] == table.harness
        and (found[0].shots or 0) == (row.shots or 0)
    ]
    renamed = candidate is not None and candidate.line > model.line and candidate.name != model.name
    if renamed and candidate is not None and model.tables and candidate.line > model.tables[-1].line and known:
        return True
    return 2 * sum(row.value != before.value for row, before in known) > len(table.rows)


def _named_metrics(table: ScoreTable, heading: str | None, notes: list[Note]) -> ScoreTable:
    """Settle what a table of labels and numbers holds: the headline metrics of a suite, or scores of unknown kind."""
    if not table.labelled:
        return table
    tasks = load_tasks()
    found = {row.task for row in table.rows if row.shots is None and row.metric == "score"}
    whole = [s for s in load_suites().values() if len(s.tasks) > 1 and {task.name for task in s.tasks} <= found]
    suites = {suite_of_task(row.task) for row in table.rows}
    suite = heading if heading is not None and suites <= {heading, None} else whole[0].name if whole else None
    if suite is None or not any(suite_of_task(task) == suite for task in found):
        shots = any(row.shots is not None for row in table.rows)
        known = "open-llm-leaderboard" if shots and table.averages else "unknown"
        return replace(table, harness=known if table.harness == "lm-eval-0.3" else table.harness, suite=None)
    notes.append(Note(table.line, "the table names no metrics; its scores are read as the headline metrics"))
    rows = [
        replace(row, metric=tasks[row.task].headline) if suite_of_task(row.task) == suite else row for row in table.rows
    ]
    return replace(table, rows=tuple(rows), suite=suite)


def models_of(events: list[Event], own: str) -> tuple[list[ModelScores], list[Note]]:
    """Return the models of a file in its order, and notes about scores without a place; `own` is the file's name."""
    reader = _Reader(events, own)
    for index in range(len(events)):
        reader.read(index)
    return reader.done()


class _Reader:
    """Goes through a file's events in their order, and gives each table and each average to a model."""

    def __init__(self, events: list[Event], own: str) -> None:
        self._events = events
        self._notes: list[Note] = []
        self._place = Place()
        self._owners = Owners(events, self._place, self._notes, own)
        self._boundaries = model_lines(events)
        self._labels = unnamed_labels(events)
        headings = (event for i in self._boundaries if isinstance(event := events[i], ModelHeading))
        self._names = [bare(event.name) for event in headings]
        self._before_tables = averages_come_first(events)
        self._waiting: list[PrintedScore] = []  # averages whose table comes later
        self._on_top: list[tuple[OpenModel, PrintedScore]] = []  # averages above all suites of a model
        self._other: tuple[str, str] | None = None  # the suite above, where its label names more
        self._line_before = self._line_now = 0  # of the two last lines that say something

    @property
    def _model(self) -> OpenModel:
        return self._owners.current

    def read(self, index: int) -> None:
        """Take the next event."""
        event, place = self._events[index], self._place
        if event.line != self._line_now:
            self._line_before, self._line_now = self._line_now, event.line
        if isinstance(event, (SuiteHeading, OtherHeading, Shots)):
            place.say_shots(event)
        if isinstance(event, (SuiteHeading, OtherHeading)) and event.level:
            self._owners.go_below(event, self._line_before)
        if isinstance(event, (SuiteHeading, OtherHeading, ScoreTable)):
            place.apart = None
        if isinstance(event, SuiteHeading):
            goes_on = event.beside in ("number", "nothing") or (place.listed and event.level == 0)
            place.listed = [*place.listed, event.beside] if goes_on else []
        elif isinstance(event, (OtherHeading, ScoreTable)) or index in self._boundaries or index in self._labels:
            place.listed = []

        if isinstance(event, Shots):
            pass
        elif isinstance(event, Label):
            self._owners.label(event)
        elif isinstance(event, Aside):
            if event.kind != "sentence" or names_something_else(event.text, place.heading):
                place.apart = event
        elif isinstance(event, ModelHeading):
            self._owners.candidate = event
            if index in self._boundaries and index - 1 not in self._labels:
                self._owners.begin(event.name, event.line, inside=self._names.count(bare(event.name)) > 1)
        elif index in self._labels:
            self._owners.begin(self._labels[index].strip("*_ "), event.line, inside=place.heading is not None)
        elif isinstance(event, OtherHeading):
            place.go_below_other(event)
        elif isinstance(event, SuiteHeading):
            place.go_below_suite(event)
            self._other = (event.suite, event.other) if event.other else None
        elif isinstance(event, Settings):
            self._owners.load(place.read_settings(event), event.line)
        elif isinstance(event, ScoreTable):
            self._table(event)
        else:
            self._printed(event)

    def done(self) -> tuple[list[ModelScores], list[Note]]:
        """Settle what the file's end decides; return its models and the notes."""
        for score in self._waiting:
            self._notes.append(Note(score.line, f"average {score.percent}: no suite beside it", unread=True))
        models = self._owners.models
        beside = any(isinstance(event, Aside) and event.kind != "sentence" for event in self._events)
        for model in models:
            settle_averages(model, self._notes, beside=beside)
        loaded = [m for m in models if m.loaded_line is not None and not m.empty]
        self._notes += [Note(m.loaded_line or 0, f"pretrained={m.pretrained}: read as that model's") for m in loaded]
        for model, score in self._on_top:
            settle_first(next((m for m in models if m.tables), model) if model.empty else model, score, self._notes)
        return [_humaneval_from_table(model.done()) for model in models if not model.empty], self._notes

    def _table(self, event: ScoreTable) -> None:
        place = self._place
        place.left = None
        named = _named_metrics(event, place.heading, self._notes)
        rows = [row if row.shots is not None else replace(row, shots=place.shots[0]) for row in named.rows]
        rows = [row if row.documents is not None else replace(row, documents=place.documents(row.task)) for row in rows]
        harness, why = place.harness_of(named.harness)
        table = replace(named, rows=tuple(rows), harness=harness, limit=place.limit)
        self._owners.settle(table)
        self._owners.divide(table)
        candidate = self._owners.candidate
        if _is_another_model(self._model, table, candidate):
            before = self._model
            if candidate is not None and before.tables and candidate.line < before.tables[-1].line:
                before.name, candidate = before.name or candidate.name, None  # it stands above the former scores
            self._owners.begin(candidate.name if candidate is not None else None, event.line, new=True)
            self._notes.append(Note(event.line, "the same tasks again with other numbers: read as another model"))
        if self._model.settings is None and all(m.settings != place.settings for m in self._owners.models):
            self._model.settings = place.settings  # the harness's line is the first model's below it
        _add_table(self._model, table, self._notes, why)
        place.section += table.rows
        self._heading_of_rows(table)
        if place.heading is not None:
            for score in self._waiting:
                self._keep(score, place.heading)
            self._waiting.clear()
        suites = {suite_of_task(row.task) for row in table.rows} - {None}
        for score in table.averages:
            others = other_rows(score, list(table.rows), place.heading) if place.heading is not None else None
            if others is not None:
                self._average_of_rows(score, list(table.rows), others)
            elif (task := _one_task_not_given(score, list(table.rows), place.heading)) is not None:
                text = f"average {score.percent}: not {task.headline} of {task.name}, its suite's score; not read"
                self._notes.append(Note(score.line, text, unread=True, numbers=(score.percent,)))
            elif place.heading is not None and suites <= {place.heading}:
                self._keep(score, place.heading)
            else:
                self._average_of_rows(score, list(table.rows), place.elsewhere or "its table")
            place.settled = True

    def _heading_of_rows(self, table: ScoreTable) -> None:
        """Let the rows of a table decide the suite that averages are of, where no heading does or another one did."""
        place = self._place
        suites = {suite_of_task(row.task) for row in table.rows}
        suite = load_suites().get(table.suite or "")
        # Without a heading the rows decide: all of one suite, and no single one of many.
        alone = elsewhere_is_plain(place.elsewhere) and suites == {table.suite} and place.parent is None
        if alone and suite is not None and place.heading is None:
            most = 2 * len({row.task for row in table.rows}) >= len(suite.tasks)
            place.heading = suite.name if most or place.elsewhere is None else None
        elif place.heading is not None and table.suite not in (place.heading, None) and suites == {table.suite}:
            place.heading = table.suite
        elif table.rows and table.suite is None and place.heading is not None and not any(suites):
            place.heading, place.elsewhere = None, f"{table.rows[0].printed_task}..."

    def _printed(self, score: PrintedScore) -> None:
        """Read a score that stands outside tables."""
        place = self._place
        alone = place.heading is not None and not place.section  # an average that is its suite's only score
        if score.suite in (*load_suites(), "pass@1") or (score.suite is None and alone):
            self._owners.settle(score)
        if score.suite == "pass@1" and not is_of_humaneval(place.heading, place.elsewhere, place.apart):
            text = f"pass@1 {score.percent}: of what, the file does not say; not read"
            self._notes.append(Note(score.line, text, unread=True))
        elif score.suite in ("humaneval", "pass@1") or (score.suite is None and place.heading == "humaneval"):
            if self._model.humaneval is not None and self._model.humaneval.percent != score.percent:
                text = f"second HumanEval score {score.percent} not read"
                self._notes.append(Note(score.line, text, unread=True, again=True))
            else:
                self._model.humaneval = PrintedScore(score.line, "humaneval", score.percent)
        elif score.suite is None:
            self._average(score)
        elif place.parent is None or score.suite in load_suites():
            own = score.suite if score.suite in load_suites() else ""  # its words name the suite
            self._keep(replace(score, label=f"{own} {score.label}".strip()), score.suite)

    def _average(self, score: PrintedScore) -> None:
        """Find out whose an average is that names no suite itself."""
        place, listed = self._place, self._place.listed
        overall = OVERALL.search(score.label) is not None and len(suite_values(self._model)) > 1
        if place.apart is not None:
            if place.apart.kind == "comparison" and overall:
                self._keep(score, "average")
                return
            what = " ".join(place.apart.text.split())[:40]
            text = f"average {score.percent}: stands below '{what}', not below rows; not read"
            self._notes.append(Note(score.line, text))
            place.apart = replace(place.apart, kind="comparison")  # it has its average; one of the suites may follow
        elif self._before_tables:
            self._waiting.append(score)
        elif place.left is not None and not place.section and is_mean_of(score, place.left[1], place.left[0]):
            self._keep(score, place.left[0])
            place.left = None
        elif (of_list := average_of_list(listed, {a.suite for a in self._model.averages}, place.heading)) is not None:
            place.listed = []
            if (of_list or overall) and place.parent is None:
                self._keep(score, "average")
            else:
                text = f"average {score.percent}: of what, the list above it does not say; not read"
                self._notes.append(Note(score.line, text, unread=True))
        elif place.heading is not None:
            others = other_rows(score, place.section, place.heading) if not place.settled else None
            if others is not None:
                self._average_of_rows(score, place.section, others)
                place.settled = True
            else:
                place.listed = []
                self._keep(score, place.heading)
        elif (
            not place.section
            and _is_of_suites(score.label, place.elsewhere)
            and len(suite_values(self._model)) > 1
            and place.parent is None
        ):
            self._keep(score, "average")
        elif not place.settled:
            self._average_of_rows(score, place.section, place.elsewhere or "")
            place.settled = True
        elif overall and place.parent is None:
            self._keep(score, "average")
        else:
            text = f"average {score.percent}: of what, the file does not say; not read"
            self._notes.append(Note(score.line, text))

    def _keep(self, score: PrintedScore, suite: str) -> None:
        """Keep an average as the suite's ("average": as that of the suites), unless the model has another one."""
        model, place = self._model, self._place
        if self._other is not None and self._other[0] == suite and score.suite is None:
            text = f"average {score.percent} stands below '{self._other[1]}', no label of {suite} alone; not read"
            self._notes.append(Note(score.line, text, unread=True))
            return
        same = [known for known in model.averages if known.suite == suite]
        if place.parent is not None and suite in load_suites():
            if same or any(suite_of_task(task) == suite for task, _ in model.rows):
                text = f"average {score.percent} of {suite}: measured by {place.parent[1]}; not read"
                self._notes.append(Note(score.line, text))
                return
            model.measured(suite).harnesses.add(place.parent[1])
        if same and same[0].percent != score.percent:
            if OVERALL.search(score.label) and not leading(score.label) and suite in load_suites():
                self._keep(score, "average")
                return
            text = f"second average of {suite}, {score.percent}, other than on line {same[0].line}, which is kept"
            self._notes.append(Note(score.line, text, unread=True, again=True))
        elif not same:
            model.averages.append(replace(score, suite=suite))
            if suite in load_suites():
                found = model.measured(suite)
                shots, some = place.shots
                found.shots |= {shots} if shots else set()
                found.harnesses |= {"unknown"} if some else set()
                found.limits |= {place.limit} if place.limit is not None else set()

    def _average_of_rows(self, score: PrintedScore, rows: list[Row], what: str) -> None:
        """Keep an average that is none of a suite, with the rows that it is of."""
        if not rows and not suite_values(self._model) and not names_something_else(what, None):
            self._on_top.append((self._model, score))
            return
        what = re.sub(r"^[\s\-+>]+(?=\w)", "", what)
        text = f"average {score.percent} of {what or 'rows'}: no suite of evalkit; not imported"
        self._notes.append(Note(score.line, text))
        group = [row for row in rows if row.printed_task.lower() == what.lower().strip("# :")]
        rows = group or rows  # the printed average of a group's section is the group's own score
        if rows:
            self._model.other_averages.append(RowsAverage(score.line, what, score.percent, one_a_task(rows)))


def _one_task_not_given(score: PrintedScore, rows: list[Row], suite: str | None) -> Task | None:
    """Return the only task of a suite where an average in its table is not its headline metric, but one of several."""
    tasks = load_suites()[suite].tasks if suite is not None and suite in load_suites() else ()
    own = [row for row in rows if len(tasks) == 1 and row.task == tasks[0].name]
    headline = next((row for row in own if row.metric == tasks[0].headline), None)
    if headline is None or len(own) < 2:
        return None
    return None if is_mean_of(score, own, str(suite)) else tasks[0]


def _is_of_suites(label: str, elsewhere: str | None) -> bool:
    """Tell whether an average below a heading of its own ("Summary") is that of the suites."""
    if elsewhere is None or names_something_else(elsewhere, None):
        return False
    own = re.search(r"summary|overall|total|averages?\b|final|总|汇总|平均", elsewhere, re.IGNORECASE) is not None
    general = re.search(r"results?|scores?|evaluation|结果|评测", elsewhere, re.IGNORECASE) is not None
    return own or (general and OVERALL.search(label) is not None)


def elsewhere_is_plain(text: str | None) -> bool:
    """Tell whether the heading above names no other benchmark, as "Results" and a model's name do not."""
    return text is None or not names_other_benchmark(text)


def _humaneval_from_table(model: ModelScores) -> ModelScores:
    """Take pass@1 from a task row where the file has one and no text says it."""
    if model.humaneval is not None:
        return model
    for table in model.tables:
        for row in table.rows:
            if (row.task, row.metric) == ("humaneval", "pass@1"):
                return replace(model, humaneval=PrintedScore(row.line, "humaneval", row.value * Decimal(100)))
    return model
