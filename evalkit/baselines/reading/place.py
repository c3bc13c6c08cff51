"""Where in a file its reading has come to: below which headings, behind which rows, how they say that they measured."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import Decimal

from evalkit.baselines.published import Note, Row
from evalkit.baselines.reading.commands import settings_of
from evalkit.baselines.reading.prose import Aside, OtherHeading, Settings, Shots, SuiteHeading
from evalkit.config.suites import load_tasks
from evalkit.results.task_names import is_score_of_another, names_other_benchmark

_LEADERBOARD = re.compile(r"open[\s_-]*llm|leaderboard|open\s*大模型|排行榜", re.IGNORECASE)


@dataclass
class Place:
    """What stands above the line that is read."""

    heading: str | None = None  # the suite named last by a heading or a table
    level: int = 0  # of that heading
    elsewhere: str | None = None  # the heading of something else that we are below
    elsewhere_line: int = 0
    parent: tuple[int, str] | None = None  # level and harness of a section of a leaderboard
    section: list[Row] = field(default_factory=list)  # rows since the last heading
    settled: bool = False  # an average of these rows was read
    left: tuple[str, list[Row]] | None = None  # the suite, and its rows, that a single score of something else follows
    apart: Aside | None = None  # what stands between the rows above and an average
    listed: list[str] = field(default_factory=list)  # beside the suites listed right above, see `SuiteHeading.beside`
    settings: str | None = None
    limit: str | None = None
    _below: list[Shots] = field(default_factory=list)  # what the headings above say about examples in the prompt
    _few: int | None = None  # examples in the prompt, by the harness's line
    _few_line: int = 0
    _said_last: tuple[int, dict[str, str]] = (0, {})  # the last line of settings

    @property
    def shots(self) -> tuple[int | None, bool]:
        """The number of examples that was named last, and whether some were named without a number."""
        if self._below and (self._below[-1].line > self._few_line or not self._few):
            return self._below[-1].count, self._below[-1].count is None
        return self._few or None, False

    def leave_rows(self) -> None:
        """Forget the rows above: what follows is no average of theirs."""
        self.section, self.settled = [], False

    def leave_suite(self) -> None:
        self.heading, self.elsewhere = None, None

    def say_shots(self, event: SuiteHeading | OtherHeading | Shots) -> None:
        self._below = [known for known in self._below if known.level < (event.level or 7)]
        if isinstance(event, Shots):
            self._below.append(event)

    def go_below_other(self, event: OtherHeading) -> None:
        self._leave_parent(event.level)
        if _LEADERBOARD.search(event.text):
            self.parent = (event.level or 7, "open-llm-leaderboard")
        # A smaller heading below a suite's is part of it, unless it names another benchmark.
        if self.heading is None or not event.level > self.level > 0 or names_other_benchmark(event.text):
            own = (self.heading, self.section) if self.heading is not None and not self.settled else self.left
            self.left = own if is_score_of_another(event.text) else None
            self.heading, self.elsewhere, self.elsewhere_line = None, event.text, event.line
            self.leave_rows()

    def go_below_suite(self, event: SuiteHeading) -> None:
        self._leave_parent(event.level)
        self.heading, self.level, self.elsewhere = event.suite, event.level, None
        self.left = None
        self.leave_rows()

    def read_settings(self, event: Settings) -> dict[str, str]:
        """Take over what a line of the harness says of the way to measure; return all that it says."""
        self.settings = event.text
        said = settings_of(event.text) or {}
        if self._said_last[0] == event.line - 1:  # a command over several lines
            said = self._said_last[1] | said
        self._said_last = (event.line, said)
        found = re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", said.get("limit", ""))
        self.limit = f"{Decimal(found[0]).normalize():f}" if found is not None else None
        found = re.fullmatch(r"[0-9]{1,4}", said.get("num_fewshot", ""))
        self._few, self._few_line = int(found[0]) if found is not None else None, event.line
        return said

    def documents(self, task: str) -> int | None:
        """Return how many documents of a task lm-eval's ``--limit`` leaves: a count, or below 1 a share, rounded up."""
        known = load_tasks().get(task)
        if self.limit is None or known is None or Decimal(self.limit) <= 0:
            return None
        wanted = Decimal(self.limit) if Decimal(self.limit) >= 1 else Decimal(self.limit) * known.documents
        return min(math.ceil(wanted), known.documents)

    def harness_of(self, harness: str) -> tuple[str, Note | None]:
        """Return what a table was measured by, its own harness unless the headings above name another way, and why."""
        if harness != "lm-eval-0.3":
            return harness, None
        if self.parent is not None:
            return self.parent[1], None
        if self.elsewhere is not None and names_other_benchmark(self.elsewhere):
            return "unknown", Note(self.elsewhere_line, f"it stands below '{self.elsewhere[:40]}', another benchmark")
        if self.shots[1]:
            return "unknown", Note(self._below[-1].line, "examples in the prompt, and nobody knows how many")
        return harness, None

    def _leave_parent(self, level: int) -> None:
        if self.parent is not None and 0 < level <= self.parent[0]:
            self.parent = None
