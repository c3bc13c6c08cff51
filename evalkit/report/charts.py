"""Charts as rows of marks on an axis: what the HTML report draws as inline SVG, and matplotlib for papers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.baselines import Baseline, load_baseline
from evalkit.comparison.chosen import names_a_run
from evalkit.comparison.points import ModelPoints, Point, RunData, points_of_baseline, points_of_run
from evalkit.config.suites import load_suites, short_name
from evalkit.languages import ENGLISH, Language
from evalkit.records.model import RunRecord
from evalkit.results.reading import read_run

COLOURS = 8
"""Colours that tell models apart; further models begin again, with another shape."""
SHAPES = 4
GUESSED = ("acc", "acc_norm", "multiple_choice_grade")
"""Metrics by which picking at random has a known score."""


@dataclass(frozen=True)
class Model:
    """A model as charts show it.

    Attributes:
        label: its name, with a letter where there are several runs.
        scores: its scores.
        colour, shape: positions in the palette and among the markers.
        source: where a published result is from; empty for a run.
    """

    label: str
    scores: ModelPoints
    colour: int
    shape: int
    source: str = ""

    @property
    def is_run(self) -> bool:
        """True for a run: drawn filled; published results are hollow."""
        return self.scores.is_run

    @property
    def caveats(self) -> tuple[str, ...]:
        """Why its numbers are no scores to compare."""
        return self.scores.caveats


@dataclass(frozen=True)
class Mark:
    """A model's point in a row; `y` is its height in pixels from the row's top."""

    model: Model
    point: Point
    y: float


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high` per cent with ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> str:
        """Return a value's place as a share of the width, e.g. ``"12.50%"``; never outside the axis."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(1.0, max(0.0, share)):.2f}%"

    def label(self, tick: float) -> str:
        """Return a tick's text."""
        return f"{tick:g}"


@dataclass(frozen=True)
class ChartRow:
    """A row of a chart.

    Attributes:
        label: task or model.
        marks: what is drawn.
        point: the score written beside it.
        height: in pixels.
        chance: score of guessing in per cent, or None.
        caveats: of the row's model, if it has one.
    """

    label: str
    marks: tuple[Mark, ...]
    point: Point
    height: int = 24
    chance: float | None = None
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Rows with one scale; `axis` is None where there is nothing to draw."""

    title: str
    rows: tuple[ChartRow, ...]
    axis: Axis | None


def run_labels(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """Return (letter, label) of each run; the letter tells runs of one model apart."""
    titles = [record.model.name for record in records]
    if len(records) == 1:
        return [("", titles[0])]
    found = []
    for place, title in enumerate(titles):
        letter = chr(ord("A") + place) if place < 26 else str(place + 1)
        found.append((letter, f"{letter}: {title}"))
    return found


def charted_models(runs: Sequence[RunData], baselines: Sequence[Baseline], tr: Language = ENGLISH) -> list[Model]:
    """Return published results first, then the runs, the candidate last: the order of the comparison table."""
    labels = [label for _, label in run_labels([run.record for run in runs])]
    models = []
    for place, baseline in enumerate(baselines):
        position = len(runs) + place
        scores = points_of_baseline(baseline, tr)
        source = tr("{source}, retrieved {date}", source=baseline.source, date=baseline.retrieved)
        models.append(Model(scores.title, scores, position % COLOURS, position % SHAPES, source))
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        models.append(Model(label, points_of_run(run, tr), place % COLOURS, place % SHAPES))
    return models


def read_models(folders: Sequence[Path], against: Sequence[str]) -> tuple[list[RunRecord], list[Baseline]]:
    """Read finished runs, and what they are set against: published baselines, or other runs, which come first.

    Raises:
        ConfigError, DataError, StoreError: one of them cannot be found or read.
    """
    others = [Path(name) for name in against if names_a_run(name)]
    baselines = [load_baseline(name) for name in against if not names_a_run(name)]
    return [read_run(folder) for folder in (*others, *folders)], baselines


def without_documents(run: RunData, tr: Language = ENGLISH) -> str:
    """Return what to say of results whose documents are not there."""
    return tr(
        "no documents: there are no samples files beside {file} (lm_eval --log_samples writes them), so nothing is "
        "shown or paired document by document; intervals come from its scores, counts and standard errors.",
        file=run.record.folder,
    )


def axis_for(points: Iterable[Point]) -> Axis | None:
    """Return a scale with round ticks that holds all intervals, inside 0..100; None for no points."""
    ends = [end for p in points if p.value is not None for end in (p.low, p.high, p.value) if end is not None]
    if not ends:
        return None
    least, most = min(ends), max(ends)
    spread = max(most - least, 1.0)
    step = 10.0 ** math.floor(math.log10(spread))
    step = next(step * factor for factor in (0.2, 0.5, 1, 2, 5, 10) if spread / (step * factor) <= 5)
    bottom = max(0.0, step * math.floor((least - 0.02 * spread) / step))
    top = min(100.0, step * math.ceil((most + 0.02 * spread) / step))
    count = round((top - bottom) / step)
    ticks = tuple(round(bottom + i * step, 6) for i in range(count + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def chance_of(runs: Sequence[RunData], task: str, metric: str) -> float | None:
    """Return the score in per cent of picking at random: the mean share of right choices; None if it has none."""
    if metric not in GUESSED:
        return None
    shares = []
    for sample in next((run.samples[task] for run in runs if task in run.samples), ()):
        gold = sample.gold
        if gold is None or not sample.continuations:
            return None
        shares.append(len(set(gold)) / len(sample.continuations))
    return 100 * sum(shares) / len(shares) if shares else None


def suite_groups(models: Sequence[Model], tr: Language = ENGLISH) -> list[Group]:
    """Return one group a suite that a run has, and one for the average, a row a model."""
    suites = load_suites()
    titles = {name: suite.title for name, suite in suites.items()}
    shown = [name for name in titles if any(name in model.scores.suites for model in models if model.is_run)]
    groups = []
    for name in shown:
        points = [(model, model.scores.suites.get(name)) for model in models]
        groups.append(_models_group(titles[name], points))
    averages = [(model, model.scores.average) for model in models]
    if any(point is not None and model.is_run for model, point in averages):
        groups.insert(0, _models_group(tr("Average Total"), averages))
    return groups


def _models_group(title: str, points: Sequence[tuple[Model, Point | None]]) -> Group:
    axis = axis_for(point for _, point in points if point is not None)
    rows = []
    for model, point in points:
        if point is None:
            continue
        marks = (Mark(model, point, 12),) if point.value is not None else ()
        rows.append(ChartRow(model.label, marks, point, caveats=model.caveats))
    return Group(title, tuple(rows), axis)


def task_groups(models: Sequence[Model], runs: Sequence[RunData]) -> list[Group]:
    """Return one group a suite that a run has, a row a task by its headline metric, on one scale from 0 to 100."""
    axis = Axis(0, 100, (0.0, 25.0, 50.0, 75.0, 100.0))
    groups = []
    main = [model for model in models if model.is_run][-1]
    for suite in load_suites().values():
        rows = []
        for task in suite.tasks:
            if not any(task.name in model.scores.tasks for model in models if model.is_run):
                continue
            found = [(m, p) for m in models if (p := m.scores.tasks.get(task.name)) is not None and p.value is not None]
            marks = tuple(Mark(model, point, 10 + 12 * place) for place, (model, point) in enumerate(found))
            point = main.scores.tasks.get(task.name, Point(None))
            height = 20 + 12 * max(0, len(found) - 1)
            rows.append(
                ChartRow(short_name(task.name), marks, point, height, chance_of(runs, task.name, task.headline))
            )
        if rows:
            groups.append(Group(suite.title, tuple(rows), axis))
    return groups
