"""Which lines say whose the scores below them are: models' headings, labels, the file's title, HumanEval's name."""

from __future__ import annotations

import re

from evalkit.baselines.published import PrintedScore, ScoreTable
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
from evalkit.baselines.reading.wording import is_label
from evalkit.results.task_names import any_suite, bare, names_something_else


def model_lines(events: list[Event]) -> set[int]:
    """Return the indices of headings that separate models: those with scores below, if there are several such."""
    headings = [i for i, event in enumerate(events) if isinstance(event, ModelHeading)]
    with_scores = [
        i
        for i, following in zip(headings, [*headings, len(events)][1:], strict=True)
        if any(_is_score(event, events[i]) for event in events[i:following])
    ]
    certain = {i for i in with_scores if getattr(events[i], "certain", False)}
    return set(with_scores) if len(with_scores) > 1 else certain


def name_key(name: str | None) -> str | None:
    """Return what two spellings of a name have in common; None without a name."""
    return (bare(name) or name.strip().lower() or None) if name is not None else None


def title_line(events: list[Event]) -> int | None:
    """Return the line of the heading that a file begins with, which says nothing of other models."""
    for event in events:
        if isinstance(event, (ScoreTable, PrintedScore)):
            return None
        if isinstance(event, (SuiteHeading, OtherHeading)) and event.level:
            return event.line
    return None


def is_of_humaneval(heading: str | None, elsewhere: str | None, apart: Aside | None) -> bool:
    """Tell whether what stands above a bare pass@1, which many benchmarks have, names HumanEval and nothing else."""
    if apart is not None and (apart.kind != "sentence" or names_something_else(apart.text, "humaneval")):
        return False
    said = apart.text if apart is not None else elsewhere or ""
    return heading == "humaneval" or (any_suite(said) == "humaneval" and not names_something_else(said, "humaneval"))


def still_below(label: Label, heading: SuiteHeading | OtherHeading, *, adjacent: bool) -> bool:
    """Tell whether what stands below a heading of Markdown stands below an earlier label, too.

    A heading with nothing below it but another one (`adjacent`), of a suite, heads that, whatever their levels are.
    """
    if label.line == heading.line:
        return True
    if label.level:
        return label.level < heading.level or (adjacent and isinstance(heading, SuiteHeading))
    return isinstance(heading, SuiteHeading) and (label.names or not label.item)


def _is_score(event: Event, heading: Event) -> bool:
    """Tell whether an event is a score of the heading's model: a table, or a list's below a line that names a model."""
    certain = isinstance(heading, ModelHeading) and heading.certain
    return isinstance(event, ScoreTable) or (certain and isinstance(event, PrintedScore))


def unnamed_labels(events: list[Event]) -> dict[int, str]:
    """Return index -> label of headings that tell models apart without looking like a model's name, as "Model A:".

    Such a heading stands right above a table, and another such heading above one with the same rows and other numbers.
    """
    tables: dict[int, tuple[str, ScoreTable]] = {}
    for i, event in enumerate(events):
        following = next(
            (e for e in events[i + 1 :] if not isinstance(e, (Settings, ModelHeading, Shots, Label))), None
        )
        if (
            isinstance(event, OtherHeading)
            and isinstance(following, ScoreTable)
            and not _measured(event.text)
            and not is_label(event.text)
        ):
            tables[i] = (event.text, following)
    found: set[str] = set()
    for i, (text, table) in tables.items():
        for j, (other, rest) in tables.items():
            if i < j and bare(text) != bare(other) and contradict(table, rest):
                found |= {bare(text), bare(other)}
    return {i: text for i, (text, _) in tables.items() if bare(text) in found}


def _measured(text: str) -> bool:
    """Tell whether a heading names a benchmark or a way to measure, and so no model."""
    return (
        names_something_else(text, None) or re.search(r"shots?(?![a-z])|harness|limit|protocol", text, re.I) is not None
    )


def contradict(a: ScoreTable, b: ScoreTable) -> bool:
    """Tell whether two tables give one row of one protocol other numbers."""
    values = {(row.task, row.metric, row.shots or 0): row.value for row in a.rows}
    return a.harness == b.harness and any(
        values.get((row.task, row.metric, row.shots or 0), row.value) != row.value for row in b.rows
    )
