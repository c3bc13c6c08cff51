"""Events of a file -> models: which table and which average belongs to whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from evalkit.baselines.prose import Event, ModelHeading, Settings, SuiteHeading
from evalkit.baselines.published import ModelScores, Note, PrintedScore, Row, ScoreTable


@dataclass
class _Open:
    """A model while its events come in."""

    name: str | None
    line: int
    tables: list[ScoreTable] = field(default_factory=list)
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    averages: list[PrintedScore] = field(default_factory=list)
    humaneval: PrintedScore | None = None
    settings: str | None = None

    @property
    def empty(self) -> bool:
        return not (self.tables or self.averages or self.humaneval)

    def done(self) -> ModelScores:
        return ModelScores(
            self.name, self.line, tuple(self.tables), tuple(self.averages), self.humaneval, self.settings
        )


def _model_lines(events: list[Event]) -> set[int]:
    """Return the indices of headings that separate models: those with scores below, if there are several such."""
    headings = [i for i, event in enumerate(events) if isinstance(event, ModelHeading)]
    with_scores = [
        i
        for i, following in zip(headings, [*headings, len(events)][1:], strict=True)
        if any(isinstance(event, ScoreTable) for event in events[i:following])
    ]
    certain = {i for i in with_scores if getattr(events[i], "certain", False)}
    return set(with_scores) if len(with_scores) > 1 else certain


def _averages_come_first(events: list[Event]) -> bool:
    """Tell whether averages stand before their tables: the first one has neither a heading nor a table before it."""
    for event in events:
        if isinstance(event, (SuiteHeading, ScoreTable)):
            return False
        if isinstance(event, PrintedScore):
            return event.suite is None
    return False


def _add_table(model: _Open, table: ScoreTable, notes: list[Note]) -> ScoreTable | None:
    """Add a table's new rows to a model; a row that the model has already is noted."""
    rows = []
    for row in table.rows:
        known = model.rows.get((row.task, row.metric))
        if known is None:
            model.rows[row.task, row.metric] = row
            rows.append(row)
        elif (known.value, known.stderr) == (row.value, row.stderr):
            notes.append(Note(row.line, f"{row.task} {row.metric} again, as on line {known.line}"))
        else:
            text = f"{row.task} {row.metric} again, other than on line {known.line}, which is kept"
            notes.append(Note(row.line, text, unread=True))
    if not rows:
        return None
    kept = ScoreTable(rows[0].line, table.suite, table.headings, tuple(rows), table.harness)
    model.tables.append(kept)
    return kept


def _is_another_model(model: _Open, table: ScoreTable) -> bool:
    """Tell whether a table repeats most of a model's rows with other numbers."""
    clashes = sum(
        (known := model.rows.get((row.task, row.metric))) is not None and known.value != row.value for row in table.rows
    )
    return clashes * 2 > len(table.rows)


def models_of(events: list[Event]) -> tuple[list[ModelScores], list[Note]]:
    """Return the models of a file in its order, and notes about scores that found no place."""
    notes: list[Note] = []
    boundaries = _model_lines(events)
    before_tables = _averages_come_first(events)
    models: list[_Open] = []
    current = _Open(None, events[0].line if events else 0)
    heading: str | None = None  # the suite named last by a heading or a table
    waiting: list[PrintedScore] = []  # averages whose table comes later
    settings: str | None = None
    candidate: ModelHeading | None = None  # last heading that may be a model's name

    def begin(name: str | None, line: int) -> None:
        nonlocal current, heading
        if not current.empty:
            models.append(current)
        current, heading = _Open(name, line), None

    def keep(score: PrintedScore, suite: str) -> None:
        same = [known for known in current.averages if known.suite == suite]
        if same and same[0].percent != score.percent:
            text = f"second average of {suite}, {score.percent}, other than on line {same[0].line}, which is kept"
            notes.append(Note(score.line, text, unread=True))
        elif not same:
            current.averages.append(PrintedScore(score.line, suite, score.percent))

    for index, event in enumerate(events):
        if isinstance(event, ModelHeading):
            candidate = event
            if index in boundaries:
                begin(event.name, event.line)
        elif isinstance(event, SuiteHeading):
            heading = event.suite
        elif isinstance(event, Settings):
            settings = event.text
        elif isinstance(event, ScoreTable):
            if _is_another_model(current, event):
                begin(candidate.name if candidate is not None else None, event.line)
                notes.append(Note(event.line, "the same tasks again with other numbers: read as another model"))
            if current.settings is None:
                current.settings = settings
            _add_table(current, event, notes)
            if event.suite is not None:
                heading = event.suite
                for score in waiting:
                    keep(score, heading)
                waiting.clear()
        elif event.suite == "humaneval" or (event.suite is None and heading == "humaneval"):
            if current.humaneval is not None and current.humaneval.percent != event.percent:
                notes.append(Note(event.line, f"second HumanEval score {event.percent} not read", unread=True))
            else:
                current.humaneval = PrintedScore(event.line, "humaneval", event.percent)
        elif event.suite is not None:
            keep(event, event.suite)
        elif before_tables:
            waiting.append(event)
        elif heading is not None:
            keep(event, heading)
        else:
            waiting.append(event)
    notes += [Note(score.line, f"average {score.percent}: no suite beside it", unread=True) for score in waiting]
    if not current.empty:
        models.append(current)
    return [_humaneval_from_table(model.done()) for model in models], notes


def _humaneval_from_table(model: ModelScores) -> ModelScores:
    """Take pass@1 from a task row where the file has one and no text says it."""
    if model.humaneval is not None:
        return model
    for table in model.tables:
        for row in table.rows:
            if (row.task, row.metric) == ("humaneval", "pass@1"):
                score = PrintedScore(row.line, "humaneval", row.value * Decimal(100))
                return ModelScores(model.name, model.line, model.tables, model.averages, score, model.settings)
    return model
