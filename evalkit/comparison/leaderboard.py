"""Runs and baselines in one table, by suite, with standard errors and the ranks that the errors leave possible."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.baselines import Baseline, SuiteScore, list_baselines, load_baseline
from evalkit.comparison.comparable import protocol_of, sampling_changes
from evalkit.comparison.points import caveats_of
from evalkit.comparison.run_scores import run_scores
from evalkit.config.suites import Suite, load_suites
from evalkit.errors import ConfigError, did_you_mean
from evalkit.records.model import RunRecord
from evalkit.results.reading import is_run, read_run
from evalkit.stats.estimates import Estimate, holm, independent_mean, unpaired_difference
from evalkit.tables import Cell, Column, Table, rounded, to_frame, to_markdown

if TYPE_CHECKING:
    import pandas as pd

AVERAGE = "average"
"""Sorting key of the mean over the four suites of the total score."""

OTHER_PROTOCOL, BY_ROWS, BOUND, NO_SCORE = "¶", "†", "‡", "§"
_MARKS = {
    OTHER_PROTOCOL: "measured by another protocol than nous-2023, so not comparable in the strict sense",
    BY_ROWS: "the average of the published rows; the printed average does not follow from them",
    NO_SCORE: "no score to rank: on the built-in samples, limited, with another chat setting, or on other data",
    BOUND: "only an average was published; its standard error is an upper bound",
}


@dataclass(frozen=True)
class Standing:
    """One model of a leaderboard.

    Attributes:
        title: the model's name.
        slug: what the command line calls it; a folder for a run.
        scores: suite -> score in per cent; suites without one are absent.
        marks: suite -> marks of `_MARKS` that apply.
        is_run: True for a run, False for a published baseline.
        caveats: why a run's numbers are no scores to compare; empty if they are.
        humaneval_note: how the published pass@1 was measured, as far as it is known; empty if it has none.
        why_absent: why it has no score at all; empty if it has one.
    """

    title: str
    slug: str
    scores: dict[str, Estimate]
    marks: dict[str, str] = field(default_factory=dict)
    is_run: bool = False
    humaneval_note: str = ""
    caveats: tuple[str, ...] = ()
    why_absent: str = ""

    def comparable(self, key: str, *, across_protocols: bool) -> bool:
        """Tell whether the score of a suite (or the average) may be ranked among nous-2023's."""
        if self.caveats:
            return False
        parts = [s.name for s in load_suites().values() if s.in_total] if key == AVERAGE else [key]
        return across_protocols or not any(OTHER_PROTOCOL in self.marks.get(part, "") for part in parts)

    def score(self, key: str) -> Estimate | None:
        """Return the score of a suite, or of the mean over the suites of the total (None if one is missing)."""
        if key != AVERAGE:
            return self.scores.get(key)
        needed = [suite for suite in load_suites().values() if suite.in_total]
        found = [self.scores[suite.name] for suite in needed if suite.name in self.scores]
        if len(found) < len(needed):
            return None
        return independent_mean(found)


def standing_of_baseline(baseline: Baseline) -> Standing:
    """Return a baseline's scores. The rows decide where there are rows, because some printed averages are wrong."""
    scores: dict[str, Estimate] = {}
    marks: dict[str, str] = {}
    for suite in load_suites().values():
        found = baseline.score(suite, prefer_rows=True)
        if found is None:
            continue
        scores[suite.name] = found.estimate
        marks[suite.name] = _marks(baseline, suite, found)
    note = baseline.humaneval.note if baseline.humaneval is not None else ""
    why = "" if scores else _why_absent({task: set(rows) for task, rows in baseline.tasks.items()})
    return Standing(baseline.name, baseline.slug, scores, marks, humaneval_note=note, why_absent=why)


def _why_absent(metrics: Mapping[str, Collection[str]], what: str = "") -> str:
    """Say why tasks (name -> metrics with a score) make no suite's score: what of each suite is there."""
    parts = []
    for suite in load_suites().values():
        has = [task for task in suite.tasks if task.headline in metrics.get(task.name, ())]
        if any(task.name in metrics for task in suite.tasks):
            parts.append(f"{len(has)} of {len(suite.tasks)} tasks of {suite.title}")
    return f"no suite is complete ({', '.join(parts)}{what})" if parts else "no task of a suite"


def _marks(baseline: Baseline, suite: Suite, found: SuiteScore) -> str:
    marks = OTHER_PROTOCOL if baseline.protocol_of(suite.name) != suite.protocol else ""
    printed = baseline.averages.get(suite.name)
    # Up to 0.01 is rounding or truncation of the printed average.
    if printed is not None and not found.printed and abs(float(printed) - found.estimate.value) > 0.0101:
        marks += BY_ROWS
    return marks + (BOUND if found.stderr_from == "bound" else "")


def standing_of_run(record: RunRecord) -> Standing:
    """Return a run's scores, with clustered errors; a suite counts only if all its tasks have a score."""
    found = run_scores(record)
    scores = {name: estimate for name, suite in load_suites().items() if (estimate := found.suite(suite)) is not None}
    caveats = caveats_of(record) if record.foreign is None else ()
    if record.foreign is not None and record.config.limit:
        caveats = (f"limited: {record.config.limit} of each task",)
    suites, sampled = load_suites(), record.foreign is None and bool(sampling_changes(record))
    marks = {
        name: (NO_SCORE if caveats else "")
        + (
            OTHER_PROTOCOL
            if protocol_of(record, suites[name]) != suites[name].protocol or (sampled and suites[name].runs_programs)
            else ""
        )
        for name in scores
    }
    there = {
        task: {name for name, value in values.items() if value.value is not None and value.stderr is not None}
        for task, values in record.metrics.items()
    }
    why = "" if scores else _why_absent(there, " with a score and its error")
    name, slug = record.model.name, str(record.folder)
    return Standing(name, slug, scores, marks, is_run=True, caveats=caveats, why_absent=why)


def standing_of(name: str) -> Standing:
    """Return the standing of a run's folder, a baseline's name or file, or a published log.

    Raises:
        ConfigError, DataError, StoreError: it cannot be found or read.
    """
    path = Path(name)
    return standing_of_run(read_run(path)) if is_run(path) else standing_of_baseline(load_baseline(name))


def standings(
    names: Iterable[str] = (), *, all_records: bool = False, warn: Callable[[str], None] | None = None
) -> list[Standing]:
    """Return the named runs and files, and all baselines.

    Args:
        names: run folders, baseline files or published logs.
        all_records: also show baselines that are another record of a model that is shown.
        warn: is told of baselines' files that cannot be read; without it they are an error.
    """
    mine = [standing_of(name) for name in names]
    shown = {standing.slug for standing in mine if not standing.is_run}
    published = [b for b in list_baselines(warn) if b.slug not in shown and (all_records or b.same_model_as is None)]
    return [*mine, *map(standing_of_baseline, published)]


def rank_intervals(scores: Sequence[Estimate]) -> list[tuple[int, int]]:
    """Return for each score the best and the worst rank that its error leaves possible.

    A model's rank is at least one plus the number of models that are significantly better, at most the number of
    models minus those significantly worse; its comparisons with all others hold together (Holm). This is the marginal
    confidence set of Mogstad, Romano, Shaikh and Wilhelm, "Inference for Ranks", Review of Economic Studies 91 (2024).
    Published scores share their documents, which correlates them, so the unpaired errors are on the safe side.
    """
    intervals = []
    for i, own in enumerate(scores):
        differences = [unpaired_difference(own, other) for j, other in enumerate(scores) if j != i]
        adjusted = holm([difference.p_value() for difference in differences])
        sure = [d.value for d, p in zip(differences, adjusted, strict=True) if p <= 0.05]
        better = sum(value < 0 for value in sure)
        intervals.append((1 + better, len(scores) - (len(sure) - better)))
    return intervals


def sort_keys() -> tuple[str, ...]:
    """Return what a leaderboard can be sorted by."""
    return (AVERAGE, *load_suites())


def _ranked(
    models: Sequence[Standing], sort: str, *, across_protocols: bool
) -> tuple[list[tuple[Standing, tuple[int, int]]], list[Standing]]:
    """Return those with a rank, the best first, each with its possible ranks; then the others by name.

    Raises:
        ConfigError: `sort` is neither a suite nor the average.
    """
    keys = sort_keys()
    if sort not in keys:
        raise ConfigError(f"cannot sort by '{sort}'{did_you_mean(sort, keys)} (known: {', '.join(keys)})")
    ranked = [
        (m, e)
        for m in models
        if (e := m.score(sort)) is not None and m.comparable(sort, across_protocols=across_protocols)
    ]
    ranked.sort(key=lambda pair: (-pair[1].value, pair[0].title))
    intervals = rank_intervals([estimate for _, estimate in ranked])
    places = {id(model) for model, _ in ranked}
    unranked = sorted((m for m in models if id(m) not in places), key=lambda m: m.title)
    return [(model, ranks) for (model, _), ranks in zip(ranked, intervals, strict=True)], unranked


@dataclass(frozen=True)
class Leaderboard:
    """Runs and published results, ranked.

    Attributes:
        models: who takes part.
        sort: a suite's name or ``average``.
        across_protocols: whether scores of other protocols are ranked too, marked.
    """

    models: tuple[Standing, ...]
    sort: str = AVERAGE
    across_protocols: bool = False

    def __post_init__(self) -> None:
        self.table()  # refuses what cannot be sorted by

    def table(self, *, numeric: bool = False) -> Table:
        """Return the table; with `numeric` a column each for score and standard error."""
        return leaderboard(self.models, self.sort, numeric=numeric, across_protocols=self.across_protocols)

    def __repr__(self) -> str:
        return f"<evalkit.Leaderboard of {len(self.models)} models by {self.sort}>"

    def _repr_markdown_(self) -> str:
        return to_markdown(self.table())

    def to_frame(self) -> pd.DataFrame:
        """Return a row a model, scores in per cent.

        Columns: rank, rank_low and rank_high (the best and the worst rank that the errors leave possible, at 95 %),
        model, slug, run (whether it is one), then of the average and each suite the score under its name, with
        ``_stderr``, ``_low`` and ``_high`` (95 % interval) behind it.
        """
        columns: dict[str, type] = {"rank": int, "rank_low": int, "rank_high": int, "model": str, "slug": str}
        columns["run"] = bool
        columns |= {f"{key}{end}": float for key in sort_keys() for end in ("", "_stderr", "_low", "_high")}
        ranked, unranked = _ranked(self.models, self.sort, across_protocols=self.across_protocols)
        places = [(place, *ranks, model) for place, (model, ranks) in enumerate(ranked, start=1)]
        rows = []
        for *ranks, model in [*places, *((None, None, None, model) for model in unranked)]:
            scores = [model.score(key) for key in sort_keys()]
            numbers = [
                (None,) * 4
                if e is None
                else (e.value, e.stderr, max(0.0, e.interval()[0]), min(100.0, e.interval()[1]))
                for e in scores
            ]
            rows.append((*ranks, model.title, model.slug, model.is_run, *(x for four in numbers for x in four)))
        return to_frame(columns, rows)


def leaderboard(
    models: Sequence[Standing], sort: str = AVERAGE, *, numeric: bool = False, across_protocols: bool = False
) -> Table:
    """Return the leaderboard.

    Args:
        models: who takes part.
        sort: a suite's name or ``average``.
        numeric: a column each for score and standard error instead of "73.12 ± 0.46"; for CSV and JSON.

        across_protocols: also rank scores of other protocols, marked.

    Raises:
        ConfigError: `sort` is neither.
    """
    ranked, unranked = _ranked(models, sort, across_protocols=across_protocols)
    titles = {AVERAGE: "Average"} | {name: suite.title for name, suite in load_suites().items()}
    shown = [sort, *(key for key in titles if key != sort)]
    columns = [Column("Rank"), Column("Ranks (95 %)", "right", key="ranks"), Column("Model", "left")]
    for key in shown:
        columns.append(Column(titles[key], key=key))
        if numeric:
            columns.append(Column(f"{titles[key]} stderr", key=f"{key}_stderr"))
    rows = []
    for place, (model, (best, worst)) in enumerate(ranked, start=1):
        rows.append((place, f"{best}-{worst}", _title(model), *_scores(model, shown, numeric=numeric)))
    rows += [(None, None, _title(model), *_scores(model, shown, numeric=numeric)) for model in unranked]
    used = "".join(marks for model in models for marks in model.marks.values())
    notes = [f"{mark} {text}" for mark, text in _MARKS.items() if mark in used]
    notes.append("± is one standard error; Ranks: those that sampling error leaves possible, at 95 % for each model")
    notes += [f"HumanEval of {model.title}: {model.humaneval_note}" for model in models if model.humaneval_note]
    if any(model.score(sort) is None for model in unranked):
        notes.append(f"Without a rank: no score for {titles[sort]}")
    others = [m for m in unranked if m.score(sort) is not None]
    if any(not m.caveats for m in others):
        notes.append("Without a rank: measured by another protocol; --across-protocols ranks them all the same")
    notes += [f"Without a rank: {model.title}: {', '.join(model.caveats)}" for model in others if model.caveats]
    notes += _without_scores(models)
    return Table("", tuple(columns), tuple(rows), tuple(notes))


def _without_scores(models: Sequence[Standing]) -> list[str]:
    """Say who has no score at all: its model, what it is called by, and why."""
    return [
        f"No score: {_title(m)} ({m.slug}): {m.why_absent or 'no suite of it is complete'}"
        for m in models
        if not m.scores
    ]


def _title(model: Standing) -> str:
    return f"{model.title} (run)" if model.is_run else model.title


def _scores(model: Standing, keys: Sequence[str], *, numeric: bool) -> list[Cell]:
    cells: list[Cell] = []
    for key in keys:
        estimate = model.score(key)
        marks = model.marks.get(key, "")
        if key == AVERAGE:
            parts = [model.marks.get(s.name, "") for s in load_suites().values() if s.in_total]
            marks = "".join(mark for mark in (NO_SCORE, OTHER_PROTOCOL) if any(mark in part for part in parts))
        if numeric:
            cells += [None, None] if estimate is None else [rounded(estimate.value), rounded(estimate.stderr)]
        else:
            cells.append(None if estimate is None else f"{rounded(estimate.value)} ± {rounded(estimate.stderr)}{marks}")
    return cells
