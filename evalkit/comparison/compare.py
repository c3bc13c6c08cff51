"""What changed between two runs: settings first, then tasks and suites with intervals, then the documents that flipped.

Differences are B minus A, of the same documents. Intervals and p-values are those of `stats.paired`, clustered where
documents share a passage; for right and wrong answers of independent documents its p-value is McNemar's exact one.
Holm's correction goes over the tasks, and over the suites with their average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.comparison.changes import SuiteChange, TaskChange, suite_changes, task_changes
from evalkit.comparison.compare_text import SHOWN_FLIPS, compare_markdown
from evalkit.comparison.differing import setting_differences
from evalkit.comparison.flips import GRADED_CHANGE, Flip, flips_of, shown_first
from evalkit.comparison.pairing import TaskPair, TaskScores, pair, scores_of
from evalkit.comparison.questions import AVERAGE
from evalkit.comparison.remarks import remarks, without_passages
from evalkit.config.suites import find_suite, find_task, load_suites
from evalkit.errors import ConfigError
from evalkit.records.model import RunRecord
from evalkit.results.reading import read_run
from evalkit.tables import to_frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """Two runs compared.

    Attributes:
        a: the first run.
        b: the second run.
        settings: (setting, value in A, value in B) where they differ.
        tasks: common tasks in reporting order.
        suites: suites with at least one common task, then their average.
        flips: documents whose answer changed, those that say most first.
        notes: which documents are compared, and what a reader should know.
    """

    a: RunRecord
    b: RunRecord
    settings: tuple[tuple[str, str, str], ...]
    tasks: tuple[TaskChange, ...]
    suites: tuple[SuiteChange, ...]
    flips: tuple[Flip, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<evalkit.Comparison of {self.a.model.name} with {self.b.model.name}: {len(self.tasks)} tasks>"

    def _repr_markdown_(self) -> str:
        return compare_markdown(self, SHOWN_FLIPS)

    def to_frame(self) -> pd.DataFrame:
        """Return tasks, suites and their average, a row each; scores in per cent, differences in percentage points.

        Columns: kind (task, suite or average), name, metric, a, b, difference (B minus A), stderr, low and high (ends
        of its 95 % interval), documents, gained, lost, p, p_holm (corrected over the rows of its kind).
        """
        columns: dict[str, type] = {"kind": str, "name": str, "metric": str}
        columns |= dict.fromkeys(("a", "b", "difference", "stderr", "low", "high"), float)
        columns |= {"documents": int, "gained": int, "lost": int, "p": float, "p_holm": float}
        rows: list[tuple[object, ...]] = []
        changes: list[TaskChange | SuiteChange] = [*self.tasks, *self.suites]
        for c in changes:
            d = c.difference
            numbers = (c.a, c.b, d.value, d.stderr, c.low, c.high, d.documents)
            if isinstance(c, TaskChange):
                rows.append(("task", c.task, c.metric, *numbers, c.gained, c.lost, c.p_value, c.p_holm))
            else:
                kind = "average" if c.key == AVERAGE else "suite"
                rows.append((kind, c.key, "average", *numbers, None, None, c.p_value, c.p_holm))
        return to_frame(columns, rows)


def compare(a: Path, b: Path, *, suites: Sequence[str] = (), tasks: Sequence[str] = ()) -> Comparison:
    """Compare two finished runs on the documents that both have scored.

    Args:
        a: folder of the first run.
        b: folder of the second one; differences are B minus A.
        suites: suites to compare; with neither suite nor task: all.
        tasks: single tasks to compare besides.

    Raises:
        StoreError: a run cannot be read.
        ConfigError: no task in common, or an unknown suite or task.
        DataError: a task without a common document, or with documents that have no score in either run.
    """
    left, right = read_run(a), read_run(b)
    wanted = _wanted(left, right, suites, tasks)
    pairs = pair(right, left, wanted, drop_failed=True)
    scores = scores_of(pairs)
    changed = task_changes(scores)
    known = load_suites().values()
    present = [suite for suite in known if any(task.name in scores for task in suite.tasks)]
    flips = shown_first([flip for found in pairs.values() for flip in flips_of(found)])
    return Comparison(
        left,
        right,
        tuple(setting_differences(left, right)),
        tuple(changed),
        tuple(suite_changes(scores, present)),
        tuple(flips),
        tuple(_notes(left, right, pairs, scores)),
    )


def _wanted(a: RunRecord, b: RunRecord, suites: Sequence[str], tasks: Sequence[str]) -> list[str]:
    named = {task.name for name in suites for task in find_suite(name).tasks} | {find_task(name).name for name in tasks}
    common = set(a.metrics) & set(b.metrics) & (named if suites or tasks else set(a.metrics))
    if not common:
        raise ConfigError(f"{a.folder} and {b.folder} have no task in common, so there is nothing to compare")
    return sorted(common)


def _notes(a: RunRecord, b: RunRecord, pairs: Mapping[str, TaskPair], scores: Mapping[str, TaskScores]) -> list[str]:
    used = sum(len(found.candidate) for found in pairs.values())
    left_out = sum(found.left_out for found in pairs.values())
    notes = [f"B minus A in percentage points over {used:,} documents that both runs scored"]
    if left_out:
        notes.append(f"{left_out:,} documents that only one run scored are left out; scores are those of the others")
    by_content = [name for name, found in pairs.items() if found.by_content]
    if by_content:
        known = (a.foreign is None) == (b.foreign is None)
        why = "the data differ" if known else "lm-eval and evalkit hash documents in different ways"
        notes.append(f"{why}, so documents were matched by content: {', '.join(by_content)}")
    only = [name for name in {**a.metrics, **b.metrics} if (name in a.metrics) != (name in b.metrics)]
    if only:
        notes.append(f"in one run only: {', '.join(only)}")
    notes.append(
        "p: McNemar's exact test for right and wrong answers of independent documents, else the test that the interval "
        "inverts; Holm: corrected over the rows of a kind: the tasks, and the suites with their average"
    )
    clustered = [name for name, found in scores.items() if found.is_clustered]
    if clustered:
        notes.append(f"documents share passages in {', '.join(clustered)}: intervals and p allow for it")
    notes += without_passages({name: ((a, p.baseline), (b, p.candidate)) for name, p in pairs.items()})
    notes += [_graded_note(found) for found in scores.values() if not found.is_right_or_wrong]
    return notes + remarks(b, a)


def _graded_note(found: TaskScores) -> str:
    moved = found.differences
    much = [int((sign * moved >= GRADED_CHANGE).sum()) for sign in (1, -1)]
    return (
        f"{found.task.name} is graded ({found.task.headline}): gained {int((moved > 0).sum()):,} and lost "
        f"{int((moved < 0).sum()):,} count every document that moved at all; {much[0]:,} gained and {much[1]:,} lost "
        f"moved by {GRADED_CHANGE:g} or more, and only those are among the documents that changed"
    )
