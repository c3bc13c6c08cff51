"""What changed between two runs: settings first, then tasks and suites with intervals, then the documents that flipped.

Differences are B minus A, of the same documents. Intervals and p-values are those of `stats.paired`, clustered where
documents share a passage; for right and wrong answers of independent documents its p-value is McNemar's exact one.
Holm's correction goes over the tasks, and over the suites with their average.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from msgspec import to_builtins

from evalkit.comparison import comparable
from evalkit.comparison.flips import GRADED_CHANGE, Flip, flips_markdown, flips_of, shown_first
from evalkit.comparison.gate import model_name
from evalkit.comparison.pairing import TaskPair, TaskScores, pair, scores_of
from evalkit.comparison.questions import AVERAGE, margin_test, p_of, paired_tests, suite_p_values
from evalkit.comparison.remarks import remarks, without_passages
from evalkit.errors import ConfigError
from evalkit.records.facts import Generation
from evalkit.records.identity import Identity
from evalkit.records.model import RunRecord
from evalkit.results.reading import read_run
from evalkit.stats.estimates import Estimate, holm
from evalkit.stats.paired import PairedTest
from evalkit.suites import Suite, find_suite, find_task, load_suites
from evalkit.tables import Cell, Column, Table, escape_markdown, p_text, render, rounded, to_frame, to_markdown

if TYPE_CHECKING:
    import pandas as pd

# Settings that say where a run happened, not what it computed.
_SHOWN_APART = {"versions", "identity", "generation"}
SHOWN_FLIPS = 5
_NOT_COMPARED = {"audit_fraction", "fresh", "output", "resume", "source_file", "suite", "task"}


@dataclass(frozen=True)
class TaskChange:
    """One task in two runs.

    Attributes:
        task: its name.
        metric: its headline metric.
        a: A's score in per cent, over the common documents.
        b: B's.
        difference: B minus A in percentage points; its error is `PairedTest.shown`'s.
        low, high: ends of its 95 % interval.
        gained: documents that B scores higher; for right and wrong: that only B has right.
        lost: documents that A scores higher.
        p_value: see the module's description.
        p_holm: corrected over the tasks.
        test: ``McNemar`` or ``clusters``.
    """

    task: str
    metric: str
    a: float
    b: float
    difference: Estimate
    low: float
    high: float
    gained: int
    lost: int
    p_value: float
    p_holm: float
    test: str


@dataclass(frozen=True)
class SuiteChange:
    """A suite, or the average of the suites, in two runs; attributes as for `TaskChange`."""

    key: str
    title: str
    a: float
    b: float
    difference: Estimate
    low: float
    high: float
    p_value: float
    p_holm: float


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
    changed = _task_changes(scores)
    known = load_suites().values()
    present = [suite for suite in known if any(task.name in scores for task in suite.tasks)]
    flips = shown_first([flip for found in pairs.values() for flip in flips_of(found)])
    return Comparison(
        left,
        right,
        tuple(setting_differences(left, right)),
        tuple(changed),
        tuple(_suite_changes(scores, present)),
        tuple(flips),
        tuple(_notes(left, right, pairs, scores)),
    )


def _wanted(a: RunRecord, b: RunRecord, suites: Sequence[str], tasks: Sequence[str]) -> list[str]:
    named = {task.name for name in suites for task in find_suite(name).tasks} | {find_task(name).name for name in tasks}
    common = set(a.metrics) & set(b.metrics) & (named if suites or tasks else set(a.metrics))
    if not common:
        raise ConfigError(f"{a.folder} and {b.folder} have no task in common, so there is nothing to compare")
    return sorted(common)


def setting_differences(a: RunRecord, b: RunRecord) -> list[tuple[str, str, str]]:
    """Return (setting, value in A, value in B) for everything recorded that differs and can move a score."""
    left, right = _described(a), _described(b)
    shots = [{} if record.foreign is None else record.foreign.shots for record in (a, b)]
    if any(len(set(of_file.values())) > 1 for of_file in shots):  # an imported file may have others for each task
        left, right = (d | {f"shots {t}": n for t, n in s.items()} for d, s in zip((left, right), shots, strict=True))
    left, right = (d | more for d, more in zip((left, right), _said_nowhere_else(a, b, left, right), strict=True))
    return [
        (name, _of_run(a, name, left.get(name)), _of_run(b, name, right.get(name)))
        for name in {**left, **right}
        if left.get(name) != right.get(name)
        and not all(value in (None, [], ()) for value in (left.get(name), right.get(name)))  # nothing is nothing
    ] + [
        (name, _shown(name, left), _shown(name, right))
        for _, name, left, right in comparable.recorded(a, b, [task for task in a.metrics if task in b.metrics])
    ]


def _said_nowhere_else(
    a: RunRecord, b: RunRecord, left: Mapping[str, Any], right: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what of the two runs' identities differs and nothing else that is described says, by its place in them."""
    if a.identity is None or b.identity is None:
        return {}, {}
    first, second = (_leaves(to_builtins(record.identity)) for record in (a, b))
    said = [(left.get(name), right.get(name)) for name in {**left, **right}]
    more = [
        name
        for name in {**first, **second}
        if first.get(name) != second.get(name) and (first.get(name), second.get(name)) not in said
    ]
    return {name: first[name] for name in more if name in first}, {
        name: second[name] for name in more if name in second
    }


def _leaves(found: Mapping[str, Any], trail: str = "identity") -> dict[str, Any]:
    """Return the values of nested mappings by their places: ``identity.other.version``."""
    leaves: dict[str, Any] = {}
    for name, value in found.items():
        where = f"{trail}.{name}"
        leaves |= _leaves(value, where) if isinstance(value, dict) else {where: value}
    return leaves


def _described(record: RunRecord) -> dict[str, Any]:
    model, identity = record.model, record.identity or Identity()
    found: dict[str, Any] = {"protocol": record.protocol}
    described = {name: value for name, value in to_builtins(model).items() if name not in _SHOWN_APART}
    found |= described
    if record.foreign is not None and "chat_template" in record.lm_eval and not model.chat_template_sha256:
        found["chat_template_sha256"] = "none"  # lm-eval says so
    asked = to_builtins(record.config)
    if record.foreign is not None:  # its other options are defaults of evalkit's, which the file says nothing of
        asked = {name: value for name, value in asked.items() if name in ("model", "limit", "system")}
    found |= {
        f"config.{name}": v for name, v in asked.items() if name not in _NOT_COMPARED and described.get(name) is None
    }
    generation = model.generation or Generation()
    found["end tokens"] = list(generation.end_ids) if model.generation is not None else None
    found["not applied"] = [f"{name}={value}" for name, value in generation.ignored.items()]
    found["scorer"] = record.scorer.name
    found["isolation"] = record.isolation
    found["protocol sha256"] = identity.protocol and identity.protocol.sha256
    found |= {
        f"protocol {task}": sha256 for task, sha256 in (identity.protocol.tasks if identity.protocol else {}).items()
    }
    found["tokenizer files"] = identity.tokenizer.tokenizer_files
    found["evalkit code"] = identity.code.sha256
    for task, data in record.data.items():
        found[f"data {task}"] = data.sha256 or data.verdict
    found["tasks"] = list(record.metrics)
    found |= {f"version {name}": version for name, version in sorted(record.environment.versions.items())}
    return found


_ABSENT = ("adapter", "quantization", "isolation", "revision", "folder")
"""What a record says nothing of where there is none; of other settings it then does not know."""


def _of_run(record: RunRecord, name: str, value: Any) -> str:
    """Return a setting as text; what another harness's file says nothing of is not known."""
    return "unknown" if value is None and record.foreign is not None else _shown(name, value)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none" if name in _ABSENT or name.startswith("config.") else "unknown"
    if isinstance(value, (list, tuple)):
        return f"{len(value)} of them" if len(value) > 3 else ", ".join(map(str, value)) or "none"
    text = " ".join(str(value).split())
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= 60 else text[:57] + "..."


def _task_changes(scores: Mapping[str, TaskScores]) -> list[TaskChange]:
    rows = []
    for name, found in scores.items():
        if len(found.differences) < 2:
            raise ConfigError(f"{name}: one common document is too few to compare; leave the task out with --task")
        test = margin_test({name: found})
        gained, lost = int((found.differences > 0).sum()), int((found.differences < 0).sum())
        kind = "McNemar" if found.is_exact else "clusters"
        rows.append((found, test, gained, lost, p_of([found], test), kind))
    adjusted = holm([row[4] for row in rows])
    return [
        TaskChange(
            found.task.name,
            found.task.headline,
            100 * float(found.baseline.mean()),
            100 * float(found.candidate.mean()),
            test.shown.scaled(100),
            100 * test.interval()[0],
            100 * test.interval()[1],
            gained,
            lost,
            p_value,
            p_holm,
            kind,
        )
        for (found, test, gained, lost, p_value, kind), p_holm in zip(rows, adjusted, strict=True)
    ]


def _suite_changes(scores: Mapping[str, TaskScores], suites: Sequence[Suite]) -> list[SuiteChange]:
    # The margin does not matter here: only the differences and their errors are used.
    asked = paired_tests(scores, suites, margin=1.0)
    tests = [cast(PairedTest, question.source) for question in asked]
    p_values = suite_p_values(scores, asked)
    adjusted = holm(p_values)
    return [
        SuiteChange(
            q.key,
            q.title,
            q.baseline,
            q.candidate,
            test.shown.scaled(100),
            100 * test.interval()[0],
            100 * test.interval()[1],
            p_value,
            p_holm,
        )
        for q, test, p_value, p_holm in zip(asked, tests, p_values, adjusted, strict=True)
    ]


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


def settings_table(comparison: Comparison) -> Table:
    """Return the settings that differ."""
    columns = (Column("Setting", "left"), Column("A", "left"), Column("B", "left"))
    return Table("", columns, comparison.settings)


def _columns(first: Sequence[Column], *, flips: bool) -> tuple[Column, ...]:
    counts = (Column("Gained", key="gained"), Column("Lost", key="lost")) if flips else ()
    return (
        *first,
        Column("A", key="a"),
        Column("B", key="b"),
        Column("Difference", signed=True, key="difference"),
        Column("95 % interval", key="interval"),
        *counts,
        Column("p", key="p"),
        Column("p (Holm)", key="p_holm"),
    )


def _change_cells(change: TaskChange | SuiteChange) -> tuple[Cell, ...]:
    return (
        rounded(change.a),
        rounded(change.b),
        rounded(change.difference.value),
        f"{rounded(change.low):+f} to {rounded(change.high):+f}",
    )


def tasks_table(comparison: Comparison) -> Table:
    """Return the tasks, a row each."""
    columns = _columns((Column("Task", "left", key="task"), Column("Metric", "left", key="metric")), flips=True)
    rows = tuple(
        (c.task, c.metric, *_change_cells(c), c.gained, c.lost, p_text(c.p_value), p_text(c.p_holm))
        for c in comparison.tasks
    )
    return Table("", columns, rows, comparison.notes)


def suites_table(comparison: Comparison) -> Table:
    """Return the suites and their average, a row each."""
    columns = _columns((Column("Suite", "left", key="suite"),), flips=False)
    rows = tuple((c.title, *_change_cells(c), p_text(c.p_value), p_text(c.p_holm)) for c in comparison.suites)
    return Table("", columns, rows)


def numbers_table(comparison: Comparison) -> Table:
    """Return tasks, suites and their average as plain numbers, for programs."""
    names = ("task", "metric", "a", "b", "difference", "low", "high", "stderr", "n", "gained", "lost", "p", "p_holm")
    rows: list[tuple[Cell, ...]] = []
    changes: list[TaskChange | SuiteChange] = [*comparison.tasks, *comparison.suites]
    for change in changes:
        found = change.difference
        values = (change.a, change.b, found.value, change.low, change.high, found.stderr)
        rows.append(
            (
                change.task if isinstance(change, TaskChange) else change.title,
                change.metric if isinstance(change, TaskChange) else "average",
                *(rounded(value, 4) for value in values),
                found.documents,
                *((change.gained, change.lost) if isinstance(change, TaskChange) else (None, None)),
                *(Decimal(f"{value:.6g}") for value in (change.p_value, change.p_holm)),
            )
        )
    return Table(
        "", tuple(Column(n, "left" if n in ("task", "metric") else "right", key=n) for n in names), tuple(rows)
    )


def compare_markdown(comparison: Comparison, flips: int) -> str:
    """Return everything for reading: settings, suites, tasks, then up to `flips` documents."""
    a, b = comparison.a, comparison.b
    title = escape_markdown(f"{model_name(a)} → {model_name(b)}")
    lines = [f"# {title}", "", f"- A: {a.folder}", f"- B: {b.folder}", "", "## Settings", ""]
    lines.append(to_markdown(settings_table(comparison)) if comparison.settings else "No recorded setting differs.\n")
    lines += ["## Suites", "", to_markdown(suites_table(comparison))]
    lines += ["## Tasks", "", to_markdown(tasks_table(comparison))]
    lines += ["## Documents that changed", "", flips_markdown(comparison.flips, flips)]
    return "\n".join(lines)


def compare_json(comparison: Comparison, flips: int | None) -> str:
    """Return everything, with unrounded numbers; all documents that flipped if `flips` is None."""

    def numbers(change: TaskChange | SuiteChange) -> dict[str, Any]:
        found = asdict(change) | {"difference": change.difference.value, "stderr": change.difference.stderr}
        return found | {"documents": change.difference.documents}

    found = {
        "a": str(comparison.a.folder),
        "b": str(comparison.b.folder),
        "settings": [{"setting": name, "a": a, "b": b} for name, a, b in comparison.settings],
        "suites": [numbers(change) for change in comparison.suites],
        "tasks": [numbers(change) for change in comparison.tasks],
        "flipped": len(comparison.flips),
        "flips": [asdict(flip) for flip in comparison.flips[:flips]],
        "notes": list(comparison.notes),
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def compare_text(comparison: Comparison, form: str, flips: int | None) -> str:
    """Return a comparison in one of the table formats; CSV is one table of numbers: tasks, suites, average."""
    if form == "json":
        return compare_json(comparison, flips)
    if form == "markdown":
        return compare_markdown(comparison, SHOWN_FLIPS if flips is None else flips)
    if form == "csv":
        return render(numbers_table(comparison), form)
    tasks, suites = tasks_table(comparison), suites_table(comparison)
    joined = [(title, "average", *rest[:4], None, None, *rest[4:]) for title, *rest in suites.rows]
    whole = Table(f"{model_name(comparison.a)} to {model_name(comparison.b)}", tasks.columns, (), tasks.notes)
    rows: tuple[tuple[Cell, ...], ...] = (*tasks.rows, *joined)
    parts = [render(Table(whole.title, whole.columns, rows, whole.notes), form)]
    if comparison.settings:
        parts.insert(0, render(settings_table(comparison), form))
    return "\n".join(parts)
