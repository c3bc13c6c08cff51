"""The gate: is the candidate worse than the baseline by more than a margin?

Each suite and their average are tested for non-inferiority, document by document where both runs have records, against
the published aggregate otherwise. What the level means for the verdict as a whole:

- ``pass`` needs every suite and the average to pass. If any of them is truly worse by the margin or more, that happens
  with probability alpha at most; several hypotheses that must all be rejected need no correction (Berger 1982).
- ``worse`` needs one of them to be worse by more than the margin. If none truly is, that happens with probability
  alpha at most, because their p-values are corrected by Holm's method.
- ``undecided`` is everything else, and says how many documents would settle it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evalkit.baselines import Baseline, load_baseline
from evalkit.errors import ConfigError
from evalkit.report import comparable
from evalkit.report.comparable import Difference
from evalkit.report.pairing import TaskScores, pair, scores_of
from evalkit.report.run_scores import RunScores, run_scores
from evalkit.results import SAMPLES_FILE, RunRecord, has_samples, read_run
from evalkit.results import is_run as is_run_path
from evalkit.stats import (
    Estimate,
    NonInferiority,
    documents_to_decide,
    holm,
    independent_mean,
    non_inferiority,
    stderr_on_margin,
    suite_mean,
    t_quantile,
    unpaired_difference,
)
from evalkit.suites import Suite, find_suite, load_suites

Verdict = Literal["pass", "worse", "undecided"]
EXIT_CODES: dict[Verdict, int] = {"pass": 0, "worse": 1, "undecided": 3}
AVERAGE = "average"


@dataclass(frozen=True)
class Question:
    """One question that the gate asks, before anything is decided.

    Attributes:
        key: a suite's name or ``average``.
        title: as shown.
        candidate: its score in per cent.
        baseline: the baseline's score in per cent.
        test: the difference in percentage points and its p-values.
        baseline_stderr: the published score's standard error in points, which more documents do not make smaller; 0.0
            for a paired test.
        same: True if both runs gave every document the same log-probabilities and texts: there is nothing to test.
    """

    key: str
    title: str
    candidate: float
    baseline: float
    test: NonInferiority
    baseline_stderr: float = 0.0
    same: bool = False


@dataclass(frozen=True)
class Judged:
    """One question with its answer.

    Attributes:
        asked: the question.
        p_worse: p-value of "not worse by more than the margin", corrected for the number of questions.
        verdict: pass, worse or undecided.
        needed: documents that would decide it with 80 % probability, if the difference seen is the true one; None if
            it is decided, or if no number of documents would.
        lowest: the difference is at least this with confidence 1 - alpha, in percentage points.
    """

    asked: Question
    p_worse: float
    verdict: Verdict
    needed: int | None
    lowest: float


@dataclass(frozen=True)
class Gate:
    """A verdict and everything that belongs to it.

    Attributes:
        candidate: name of the candidate.
        baseline: name of the baseline.
        paired: True if the test went document by document.
        margin: largest acceptable loss in percentage points.
        alpha: level; see the module's description.
        judged: the suites in reporting order, then the average.
        allowed: fields that differ and were allowed to.
        notes: what a reader should know.
        sequential: what a sequential run adds: seed, looks, documents, what was saved; None otherwise.
    """

    candidate: str
    baseline: str
    paired: bool
    margin: float
    alpha: float
    judged: tuple[Judged, ...]
    allowed: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    sequential: Mapping[str, object] | None = None

    @property
    def verdict(self) -> Verdict:
        """Worse if any part is, pass if all parts do, else undecided."""
        found = {item.verdict for item in self.judged}
        return "worse" if "worse" in found else "pass" if found == {"pass"} else "undecided"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 worse, 3 undecided."""
        return EXIT_CODES[self.verdict]


def check_levels(margin: float, alpha: float) -> None:
    """Raise `ConfigError` unless the margin (points) and the level make sense."""
    if not (math.isfinite(margin) and 0 < margin < 100):
        raise ConfigError(f"--margin {margin:g}: give percentage points above 0 and below 100")
    if not 0 < alpha < 0.5:
        raise ConfigError(f"--alpha {alpha:g}: give a level above 0 and below 0.5")


def paired_tests(scores: Mapping[str, TaskScores], suites: Sequence[Suite], margin: float) -> list[Question]:
    """Return the paired tests of suites and, for two or more of those in the total, of their average.

    Args:
        scores: task -> both runs' scores of the same documents; a suite is judged by those of its tasks that are here.
        suites: the suites.
        margin: in percentage points.
    """
    tests = []
    for suite in suites:
        own = {task.name: scores[task.name] for task in suite.tasks if task.name in scores}
        tests.append(_paired(suite.name, _title(suite, len(own)), own, dict.fromkeys(own, 1 / len(own)), margin))
    totalled = [suite for suite in suites if suite.in_total]
    if len(totalled) > 1:
        own, weights = {}, {}
        for suite in totalled:
            names = [task.name for task in suite.tasks if task.name in scores]
            own.update({name: scores[name] for name in names})
            weights.update(dict.fromkeys(names, 1 / (len(totalled) * len(names))))
        tests.append(_paired(AVERAGE, _average_title(totalled), own, weights, margin))
    return tests


def _paired(
    key: str, title: str, scores: Mapping[str, TaskScores], weights: Mapping[str, float], margin: float
) -> Question:
    differences = {name: found.differences for name, found in scores.items()}
    found = suite_mean(differences, {name: s.clusters for name, s in scores.items()}, weights=weights)
    error = stderr_on_margin(differences, found, margin / 100, weights)
    return Question(
        key,
        title,
        100 * math.fsum(weights[name] * float(s.candidate.mean()) for name, s in scores.items()),
        100 * math.fsum(weights[name] * float(s.baseline.mean()) for name, s in scores.items()),
        non_inferiority(found.scaled(100), margin, 100 * error),
        same=all(s.same for s in scores.values()),
    )


def unpaired_tests(
    candidate: Mapping[str, Estimate], baseline: Mapping[str, Estimate], suites: Sequence[Suite], margin: float
) -> list[Question]:
    """Return the tests of two sets of suite scores of which documents are not known together.

    Args:
        candidate: suite -> score in per cent with its error.
        baseline: likewise.
        suites: the suites.
        margin: in percentage points.
    """

    def test(key: str, title: str, own: Estimate, other: Estimate) -> Question:
        found = unpaired_difference(own, other)
        # What grows with more documents is the candidate's part.
        found = Estimate(found.value, found.stderr, own.documents, found.df)
        return Question(key, title, own.value, other.value, non_inferiority(found, margin), other.stderr)

    tests = [test(s.name, s.title, candidate[s.name], baseline[s.name]) for s in suites]
    totalled = [suite for suite in suites if suite.in_total]
    if len(totalled) > 1:
        sides = (independent_mean([side[s.name] for s in totalled]) for side in (candidate, baseline))
        tests.append(test(AVERAGE, _average_title(totalled), *sides))
    return tests


def judge(tests: Sequence[Question], alpha: float) -> tuple[Judged, ...]:
    """Answer the questions; see the module's description for what alpha means."""
    adjusted = holm([0.5 if asked.same else asked.test.p_worse for asked in tests])
    judged = []
    for asked, p_worse in zip(tests, adjusted, strict=True):
        verdict: Verdict = "undecided"
        if asked.same or asked.test.p_fine <= alpha:
            verdict = "pass"
        elif p_worse <= alpha:
            verdict = "worse"
        below = asked.test.difference.value + asked.test.margin < 0
        needed = documents_needed(asked, alpha / len(tests) if below else alpha) if verdict == "undecided" else None
        quantile = t_quantile(1 - alpha, asked.test.difference.df)
        lowest = asked.test.difference.value - (0.0 if asked.same else quantile * asked.test.stderr)
        judged.append(Judged(asked, p_worse, verdict, needed, max(-100.0, lowest)))
    return tuple(judged)


def documents_needed(asked: Question, alpha: float) -> int | None:
    """Return how many documents decide, also where the baseline's own error stays; None if no number does."""
    if not asked.baseline_stderr:
        return documents_to_decide(asked.test, alpha)
    quantiles = t_quantile(1 - alpha, math.inf) + t_quantile(0.8, math.inf)
    distance = abs(asked.test.difference.value + asked.test.margin)
    room = (distance / quantiles) ** 2 - asked.baseline_stderr**2
    own = asked.test.stderr**2 - asked.baseline_stderr**2
    if room <= 0 or not asked.test.difference.documents:
        return None
    return max(2, math.ceil(asked.test.difference.documents * own / room))


def _title(suite: Suite, tasks: int) -> str:
    return suite.title if tasks == len(suite.tasks) else f"{suite.title} ({tasks} of {len(suite.tasks)} tasks)"


def _average_title(suites: Sequence[Suite]) -> str:
    whole = len(suites) == sum(suite.in_total for suite in load_suites().values())
    return "Average" if whole else f"Average of {len(suites)} suites"


def gate(
    candidate: Path,
    baseline: str,
    *,
    margin: float = 1.0,
    alpha: float = 0.05,
    suites: Sequence[str] = (),
    allow_different: Sequence[str] = (),
) -> Gate:
    """Judge a finished run by another run or by a published result.

    Args:
        candidate: the folder of a finished run.
        baseline: the folder of another one, or what `load_baseline` takes.
        margin: largest acceptable loss in percentage points.
        alpha: level.
        suites: suites to judge; by default all that the baseline has and (of a published result) the candidate too.
        allow_different: fields of `comparable.FIELDS` that may differ.

    Raises:
        ConfigError: wrong use, or results that are not comparable; the message names what differs.
        StoreError, DataError: a run cannot be read, or lacks scores.
    """
    check_levels(margin, alpha)
    allowed = comparable.parse_fields(allow_different)
    record = read_run(candidate)
    if is_run(baseline):
        return _against_run(record, read_run(Path(baseline)), margin, alpha, suites, allowed)
    return _against_published(record, load_baseline(baseline), margin, alpha, suites, allowed)


def is_run(name: str) -> bool:
    """Return True if a baseline's name is the folder (or the ``run.json``) of a run."""
    return is_run_path(Path(name))


def chosen_suites(names: Sequence[str], available: Mapping[str, object], whose: str) -> list[Suite]:
    """Return the named suites, or all that are available, in reporting order.

    Raises:
        ConfigError: an unknown suite, or one that is not available.
    """
    for name in names:
        if find_suite(name).name not in available:
            raise ConfigError(f"--suite {name}: {whose} has no score for it (it has: {', '.join(available) or 'none'})")
    return [suite for suite in load_suites().values() if suite.name in (names or available)]


def tasks_of(record: RunRecord, suites: Sequence[Suite]) -> list[str]:
    """Return the tasks of the suites that a run has."""
    return [task.name for suite in suites for task in suite.tasks if task.name in record.metrics]


def suites_in(record: RunRecord) -> dict[str, Suite]:
    """Return the suites of which a run has at least one task."""
    return {name: suite for name, suite in load_suites().items() if tasks_of(record, [suite])}


def _against_run(
    candidate: RunRecord,
    baseline: RunRecord,
    margin: float,
    alpha: float,
    names: Sequence[str],
    allowed: frozenset[str],
) -> Gate:
    chosen = chosen_suites(names, suites_in(baseline), str(baseline.folder))
    tasks = tasks_of(baseline, chosen)
    differences = comparable.between_runs(candidate, baseline, tasks)
    granted = comparable.split(differences, allowed, f"{candidate.folder} and {baseline.folder}")
    tasks = [task for task in tasks if task in candidate.metrics]
    chosen = [suite for suite in chosen if any(task.name in tasks for task in suite.tasks)]
    if not chosen:
        raise ConfigError(f"{candidate.folder} and {baseline.folder} have no task in common")
    notes = comparable.remarks(candidate, baseline)
    extra = [suite for name, suite in suites_in(candidate).items() if name not in suites_in(baseline)]
    if extra and not names:
        notes.append(f"not judged, because the baseline lacks it: {', '.join(suite.title for suite in extra)}")
    paired = all(has_samples(record) for record in (candidate, baseline))
    if paired:
        pairs = pair(candidate, baseline, tasks, drop_failed="failed" in allowed)
        left_out = sum(found.left_out for found in pairs.values())
        if left_out:
            used = sum(len(found.candidate) for found in pairs.values())
            notes.append(f"{used:,} documents that both runs scored; {left_out:,} of one run alone are left out")
        tests = paired_tests(scores_of(pairs), chosen, margin)
    else:
        notes.append(f"unpaired: {SAMPLES_FILE} of a run is missing, so errors are larger than they need be")
        own, other = (_estimates(run_scores(record), chosen) for record in (candidate, baseline))
        tests = unpaired_tests(own, other, chosen, margin)
    return Gate(
        model_name(candidate),
        f"{model_name(baseline)} (run {baseline.folder.name})",
        paired,
        margin,
        alpha,
        judge(tests, alpha),
        tuple(granted),
        tuple(notes),
    )


def _against_published(
    candidate: RunRecord,
    baseline: Baseline,
    margin: float,
    alpha: float,
    names: Sequence[str],
    allowed: frozenset[str],
) -> Gate:
    published = {name: score for name, suite in load_suites().items() if (score := baseline.score(suite)) is not None}
    available = {name: score for name, score in published.items() if names or name in suites_in(candidate)}
    chosen = chosen_suites(names, available, baseline.slug)
    if not chosen:
        raise ConfigError(f"{candidate.folder} has no suite for which {baseline.slug} has a score")
    differences = comparable.with_published(candidate, baseline, [suite.name for suite in chosen])
    # A suite's published average is one of all its tasks and documents.
    granted = comparable.split(
        differences, allowed, f"{candidate.folder} and {baseline.slug}", never=frozenset({"tasks", "failed"})
    )
    notes = [f"unpaired: {baseline.name} is a published aggregate ({baseline.source}, {baseline.retrieved})"]
    notes += ["dtype: the publication does not say its own; the candidate's is " + candidate.evalkit["model"]["dtype"]]
    bounds = [suite.title for suite in chosen if published[suite.name].stderr_from == "bound"]
    if bounds:
        notes.append(f"only an average was published, so its error is an upper bound: {', '.join(bounds)}")
    if baseline.humaneval is not None and any(suite.name == "humaneval" for suite in chosen):
        notes.append(f"HumanEval: {baseline.humaneval.note}")
    absent = [published_name for published_name in published if published_name not in available]
    if absent:
        titles = ", ".join(load_suites()[name].title for name in absent)
        notes.append(f"not judged, because the candidate did not run it: {titles}")
    notes += comparable.remarks(candidate)
    own = _estimates(run_scores(candidate), chosen)
    other = {suite.name: published[suite.name].estimate for suite in chosen}
    tests = unpaired_tests(own, other, chosen, margin)
    return Gate(
        model_name(candidate), baseline.name, False, margin, alpha, judge(tests, alpha), tuple(granted), tuple(notes)
    )


def _estimates(scores: RunScores, suites: Sequence[Suite]) -> dict[str, Estimate]:
    found = {}
    for suite in suites:
        estimate = scores.suite(suite)
        if estimate is None:
            raise ConfigError(f"{scores.record.folder}: no score for {suite.title}: tasks are missing or failed")
        found[suite.name] = estimate
    return found


def model_name(record: RunRecord) -> str:
    """Return the name of a run's model."""
    return str(record.evalkit["model"]["name"])
