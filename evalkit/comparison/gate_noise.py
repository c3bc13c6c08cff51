"""Two runs of one model: how much the measurement itself moves, and which margins that allows.

Both runs have the same weights, so every difference is noise: other batches, other kernels, another device, sampling.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from evalkit.comparison import comparable
from evalkit.comparison.chosen import chosen_suites, model_title, suites_in, tasks_of
from evalkit.comparison.gate_text import too_few_text
from evalkit.comparison.pairing import TaskPair, pair, scores_of
from evalkit.comparison.questions import Question, is_too_few, paired_tests, passing_margin
from evalkit.comparison.remarks import remarks
from evalkit.config.suites import load_suites
from evalkit.errors import ConfigError
from evalkit.results.reading import read_run
from evalkit.stats.paired import PairedTest
from evalkit.tables import Cell, Column, Table, rounded, to_markdown


@dataclass(frozen=True)
class Noise:
    """What two runs of one model differ by.

    Attributes:
        name: the model.
        folders: the two runs.
        alpha: level of the bounds.
        parts: the suites and their average, run 2 against run 1.
        gained, lost: of each part, the documents whose score rose or fell.
        moved: largest change of a log-probability, in nats; None without log-probabilities.
        notes: what a reader should know.
    """

    name: str
    folders: tuple[Path, Path]
    alpha: float
    parts: tuple[Question, ...]
    gained: tuple[int, ...]
    lost: tuple[int, ...]
    moved: float | None
    notes: tuple[str, ...]


def noise_between(
    first: Path, second: Path, *, alpha: float = 0.05, suites: Sequence[str] = (), allow_different: Sequence[str] = ()
) -> Noise:
    """Compare two runs of one model.

    Raises:
        ConfigError: they are of two models, or not comparable. StoreError, DataError: a run cannot be read.
    """
    if not 0 < alpha < 0.5:
        raise ConfigError(f"--alpha {alpha:g}: give a level above 0 and below 0.5")
    allowed = comparable.parse_fields(allow_different)
    left, right = read_run(first), read_run(second)
    if left.folder.resolve() == right.folder.resolve():
        raise ConfigError(f"--aa: {first} is given twice; make a second run of the model to see its noise")
    a, b = left.model.model_fingerprint, right.model.model_fingerprint
    if a and b and a != b:
        raise ConfigError(
            f"--aa: {first} and {second} are runs of two models ({a[:12]} and {b[:12]}); "
            "`evalkit compare` says what differs"
        )
    notes = remarks(right, left)
    if not (a and b):
        notes.append("the records do not say whether the weights are the same; the names are taken for it")
        if model_title(left) != model_title(right):
            raise ConfigError(f"--aa: {first} and {second} are runs of {model_title(left)} and {model_title(right)}")
    chosen = chosen_suites(suites, suites_in(left), str(left.folder))
    tasks = tasks_of(left, chosen)
    granted = comparable.split(comparable.between_runs(right, left, tasks), allowed, f"{first} and {second}")
    notes += [f"allowed to differ: {difference}" for difference in granted]
    tasks = [task for task in tasks if task in right.metrics]
    pairs = pair(right, left, tasks, drop_failed="failed" in allowed)
    left_out = sum(found.left_out for found in pairs.values())
    if left_out and not allowed & {"data", "limit", "failed"}:
        raise ConfigError(f"--aa: {first} and {second}: {left_out:,} documents are in one run only; rerun it")
    chosen = [suite for suite in chosen if any(task.name in pairs for task in suite.tasks)]
    extra = [suite.title for name, suite in suites_in(right).items() if name not in suites_in(left)]
    if extra and not suites:
        notes.append(f"not compared, because run 1 lacks it: {', '.join(extra)}")
    scores = scores_of(pairs)
    parts = paired_tests(scores, chosen, 1.0)
    totalled = {task.name for suite in chosen if suite.in_total for task in suite.tasks}
    names = [
        {t.name for t in load_suites()[part.key].tasks} if part.key in load_suites() else totalled for part in parts
    ]
    counts = [
        [sum(int((sign * s.differences > 0).sum()) for name, s in scores.items() if name in own) for own in names]
        for sign in (1, -1)
    ]
    moved = [size for found in pairs.values() for size in _moves(found)]
    return Noise(
        model_title(left),
        (left.folder, right.folder),
        alpha,
        tuple(parts),
        tuple(counts[0]),
        tuple(counts[1]),
        max(moved, default=None),
        tuple(notes),
    )


def _moves(found: TaskPair) -> list[float]:
    return [
        abs(x - y)
        for a, b in zip(found.candidate, found.baseline, strict=True)
        for x, y in zip(a.logprobs, b.logprobs, strict=False)
        if x is not None and y is not None
    ]


def noise_table(noise: Noise) -> Table:
    """Return a row a suite: the difference, what moved, and the smallest margin that passes on this noise alone."""
    columns = (
        Column("Suite", "left", key="suite"),
        Column("Run 1", key="run_1"),
        Column("Run 2", key="run_2"),
        Column("Difference", signed=True, key="difference"),
        Column("Stderr", key="stderr"),
        Column("Rose", key="rose"),
        Column("Fell", key="fell"),
        Column("Documents", key="documents"),
        Column("p", key="p"),
        Column("Margin that passes", key="passing_margin"),
    )
    rows: list[tuple[Cell, ...]] = []
    for part, rose, fell in zip(noise.parts, noise.gained, noise.lost, strict=True):
        test = cast(PairedTest, part.source)
        lowest = 100 * test.lowest(noise.alpha)
        margin = passing_margin(part, noise.alpha, test.difference.value * 100 if part.same else lowest)
        rows.append(
            (
                part.title,
                rounded(part.baseline),
                rounded(part.candidate),
                rounded(100 * test.difference.value),
                rounded(100 * test.shown.stderr),
                rose,
                fell,
                test.difference.documents,
                rounded(test.p_value, 4),
                None if part.same or margin is None else rounded(margin),
            )
        )
    notes = [
        f"{noise.name}: run 2 ({noise.folders[1]}) against run 1 ({noise.folders[0]}), percentage points; one model, "
        "so all of it is noise of the measurement",
        f"Margin that passes: the smallest --margin that passes at alpha {noise.alpha:g} with this noise and these "
        "documents; with a smaller one this pair would not have passed, though the model is the same",
    ]
    if any(part.same for part in noise.parts):
        notes.append("without a margin: the same log-probabilities and texts on every document, so every margin passes")
    notes += [
        f"{part.title}: no margin is shown, {too_few_text(part.source)}"
        for part in noise.parts
        if is_too_few(part) and not part.same and isinstance(part.source, PairedTest)
    ]
    if noise.moved is not None:
        notes.append(f"largest change of a log-probability: {noise.moved:.2g} nats")
    return Table("", columns, tuple(rows), (*notes, *noise.notes))


def noise_text(noise: Noise, form: str) -> str:
    """Return the report as ``markdown`` or ``json``."""
    table = noise_table(noise)
    if form == "markdown":
        return to_markdown(table)
    parts = []
    for part, rose, fell in zip(noise.parts, noise.gained, noise.lost, strict=True):
        test = cast(PairedTest, part.source)
        parts.append(
            {
                "suite": part.key,
                "run_1": part.baseline,
                "run_2": part.candidate,
                "difference": 100 * test.difference.value,
                "stderr": 100 * test.shown.stderr,
                "rose": rose,
                "fell": fell,
                "documents": test.difference.documents,
                "p": test.p_value,
                "same_answers": part.same,
                "passing_margin": None
                if part.same
                else passing_margin(part, noise.alpha, 100 * test.lowest(noise.alpha)),
            }
        )
    found = {"model": noise.name, "runs": [str(f) for f in noise.folders], "alpha": noise.alpha, "parts": parts}
    found |= {"largest_logprob_change": noise.moved, "notes": list(table.notes)}
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"
