"""A model while the events of its file come in."""

from __future__ import annotations

from dataclasses import dataclass, field

from evalkit.baselines.published import ModelScores, Note, PrintedScore, Row, RowsAverage, ScoreTable


@dataclass
class Conditions:
    """How a suite's numbers were measured, as far as the file says."""

    harnesses: set[str] = field(default_factory=set)
    shots: set[int] = field(default_factory=set)
    limits: set[str] = field(default_factory=set)
    doubt: Note | None = None  # why one of the harnesses is unknown

    def doubted(self, why: Note | None) -> None:
        """Take that nobody knows how some of the numbers were measured, if there is a reason why."""
        if why is not None:
            self.harnesses.add("unknown")
            self.doubt = self.doubt or why

    def protocol(self) -> str | None:
        """Return the protocol's name; None if nothing says that it is another one than nous-2023."""
        others = sorted(self.harnesses - {"lm-eval-0.3"})
        base = others[0] if others else "lm-eval-0.3"
        found = [base]
        if any(self.shots) and base != "open-llm-leaderboard":
            found.append("/".join(map(str, sorted(self.shots))) + "-shot")
        found += [f"limit {limit}" for limit in sorted(self.limits)]
        return None if found == ["lm-eval-0.3"] else ", ".join(found)


@dataclass
class OpenModel:
    """A model while its events come in."""

    name: str | None
    line: int
    tables: list[ScoreTable] = field(default_factory=list)
    rows: dict[tuple[str, str], tuple[Row, str]] = field(default_factory=dict)  # with the table's harness
    averages: list[PrintedScore] = field(default_factory=list)
    other_averages: list[RowsAverage] = field(default_factory=list)
    conditions: dict[str | None, Conditions] = field(default_factory=dict)
    humaneval: PrintedScore | None = None
    settings: str | None = None
    pretrained: str | None = None  # what the harness's own line says was loaded
    identity: tuple[tuple[str, str], ...] | None = None  # all that the line says of the model and the way to measure
    loaded_line: int | None = (
        None  # of the harness's line that names another than the one that the file is called after
    )
    label: str | None = None  # what stands above its first table

    @property
    def empty(self) -> bool:
        return not (self.tables or self.averages or self.humaneval or self.other_averages)

    def measured(self, suite: str | None) -> Conditions:
        return self.conditions.setdefault(suite, Conditions())

    def done(self) -> ModelScores:
        protocols = {s: p for s, c in self.conditions.items() if s is not None and (p := c.protocol()) is not None}
        rest = self.conditions.get(None)
        doubts = {s: c.doubt for s, c in self.conditions.items() if s is not None and c.doubt is not None}
        return ModelScores(
            self.name or (self.pretrained if self.loaded_line is not None else None),
            self.line,
            tuple(self.tables),
            tuple(self.averages),
            self.humaneval,
            self.settings,
            tuple(self.other_averages),
            protocols,
            rest.protocol() if rest is not None else None,
            doubts,
        )
