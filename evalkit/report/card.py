"""The published cards' comparison of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from evalkit.baselines.model import Baseline
from evalkit.config.suites import rows_of_card
from evalkit.languages import ENGLISH, Language
from evalkit.tables import Cell, Column, Table, rounded


@dataclass(frozen=True)
class CardColumn:
    """One model's column of a comparison.

    Attributes:
        title: column heading.
        short: what its ``Change/...`` column calls it.
        suites: suite -> score in per cent, not rounded (or as printed, for a publication); None or absent if unknown.
        humaneval: pass@1 in per cent, or None.
        notes: what must be said about its numbers, without the model's name.
    """

    title: str
    short: str = ""
    suites: Mapping[str, Decimal | None] = field(default_factory=dict)
    humaneval: Decimal | None = None
    notes: tuple[str, ...] = ()

    def total(self) -> Decimal | None:
        """Return the sum of the four suites, not rounded, or None if one is missing: no total of fewer is a total."""
        values = [self.suites.get(suite.name) for suite in rows_of_card()]
        known = [value for value in values if value is not None]
        return sum(known, Decimal(0)) if len(known) == len(values) else None


def column_of(baseline: Baseline, tr: Language = ENGLISH) -> CardColumn:
    """Return a baseline's column: averages as printed; where only rows were published, their exact average."""
    scores: dict[str, Decimal | None] = {}
    notes = []
    for suite in rows_of_card():
        printed = baseline.averages.get(suite.name)
        scores[suite.name] = printed if printed is not None else baseline.recomputed(suite)
        protocol = baseline.protocol_of(suite.name)
        if scores[suite.name] is not None and protocol != suite.protocol:
            values = {"suite": suite.title, "protocol": protocol, "expected": suite.protocol}
            notes.append(tr("{suite} was measured by {protocol}, not by {expected}.", **values))
    if not baseline.tasks:
        notes.append(tr("only averages were published."))
    if baseline.humaneval is not None:
        notes.append(tr("HumanEval: {note}", note=baseline.humaneval.note))
    humaneval = baseline.humaneval.percent if baseline.humaneval is not None else None
    return CardColumn(baseline.name, baseline.name, scores, humaneval, tuple(notes))


def comparison_table(
    candidate: CardColumn, against: Sequence[CardColumn], title: str = "", tr: Language = ENGLISH
) -> Table:
    """Return the card's comparison table: suites by models, the candidate last, then its change from each other model.

    Totals, averages and changes come from unrounded scores; only what is shown is rounded (half away from zero), so
    the last place can differ from adding up what is shown. HumanEval has a row but no part in the totals.
    """
    models = [*against, candidate]
    titles = [model.title for model in models]
    # Two models of one name would give the two equal headings that the published card has.
    headings = [t if titles.count(t) == 1 else f"{t} ({titles[: i + 1].count(t)})" for i, t in enumerate(titles)]
    shorts = [model.short or heading for model, heading in zip(models, headings, strict=True)]
    shorts = [s if shorts.count(s) == 1 else heading for s, heading in zip(shorts, headings, strict=True)]
    columns = [Column(tr("Bench"), "left"), *(Column(heading) for heading in headings)]
    columns += [Column(tr("Change/{model}", model=short), signed=True) for short in shorts[:-1]]

    def row(label: str, values: Sequence[Decimal | None]) -> tuple[Cell, ...]:
        own = values[-1]
        changes = [None if own is None or value is None else rounded(own - value) for value in values[:-1]]
        return (label, *(None if value is None else rounded(value) for value in values), *changes)

    suites = rows_of_card()
    rows = [row(suite.title, [model.suites.get(suite.name) for model in models]) for suite in suites]
    totals = [model.total() for model in models]
    rows.append(row(tr("Total Score"), totals))
    rows.append(row(tr("Average Total"), [None if total is None else total / len(suites) for total in totals]))
    if any(model.humaneval is not None for model in models):
        rows.append(row("HumanEval", [model.humaneval for model in models]))
    notes = tuple(f"{heading}: {note}" for heading, model in zip(headings, models, strict=True) for note in model.notes)
    return Table(title, tuple(columns), tuple(rows), notes)
