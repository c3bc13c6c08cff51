"""The questions that a gate asks, and their answers: a suite, a task or the average against a margin.

What the level alpha means for the verdict as a whole:

- ``pass`` needs every question to pass. If any suite is truly worse by the margin or more, that happens with
  probability alpha at most; several hypotheses that must all be rejected need no correction (Berger 1982).
- ``worse`` needs one of them to be worse by more than the margin. If none truly is, that happens with probability
  alpha at most, because their p-values are corrected by Holm's method.
- ``undecided`` is everything else, and says what would decide it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, cast

from evalkit.comparison.pairing import TaskScores
from evalkit.config.suites import Suite, load_suites
from evalkit.stats.estimates import Estimate, NonInferiority, holm, mcnemar, t_quantile
from evalkit.stats.paired import FEWEST_BESIDE, FEWEST_OF_TASK, PairedTest, paired_test
from evalkit.stats.unpaired import Side, UnpairedTest

Verdict = Literal["pass", "worse", "undecided"]
AVERAGE = "average"
TIERS = ("blocking", "advisory")


class MarginTest(Protocol):
    """What `PairedTest` and `UnpairedTest` have in common; shares, 0 to 1."""

    @property
    def difference(self) -> Estimate:
        """Candidate minus baseline."""

    def p_fine(self, margin: float) -> float:
        """Return the p-value of "the loss is the margin or more"."""

    def p_worse(self, margin: float) -> float:
        """Return the p-value of "the loss is the margin or less"."""

    def lowest(self, alpha: float = 0.05) -> float:
        """Return the lower bound of the difference at confidence 1 - alpha."""

    def factor_to_decide(self, margin: float, alpha: float, alpha_worse: float, power: float = 0.8) -> float | None:
        """Return how many times as many documents decide, or None."""


@dataclass(frozen=True)
class Question:
    """One question that the gate asks, before anything is decided.

    Attributes:
        key: a suite's or a task's name, or ``average``.
        title: as shown.
        candidate: its score in per cent.
        baseline: the baseline's score in per cent.
        source: the test that answers it, for any margin.
        margin: the largest acceptable loss in percentage points.
        same: True if both runs gave every document the same log-probabilities and texts: there is nothing to test.
        tier: ``blocking``, or ``advisory``: shown, but without a part in the verdict.
        existing: how many documents its tasks have in all, in their published data.
    """

    key: str
    title: str
    candidate: float
    baseline: float
    source: MarginTest
    margin: float
    same: bool = False
    tier: str = "blocking"
    existing: int = 0

    @property
    def test(self) -> NonInferiority:
        """The difference in percentage points, and its two p-values at the margin."""
        share = self.margin / 100
        return NonInferiority(
            self.source.difference.scaled(100), self.margin, self.source.p_fine(share), self.source.p_worse(share)
        )


@dataclass(frozen=True)
class Judged:
    """One question with its answer.

    Attributes:
        asked: the question.
        test: its difference in points and p-values.
        p_worse: p-value of "not worse by more than the margin", corrected for the number of questions.
        verdict: pass, worse or undecided.
        alpha: level for ``pass`` and of the bound, and of ``worse`` for the corrected p-value.
        alpha_worse: level at which "worse" is certain to be decided, for the documents needed.
    """

    asked: Question
    test: NonInferiority
    p_worse: float
    verdict: Verdict
    alpha: float
    alpha_worse: float

    @cached_property
    def lowest(self) -> float:
        """The difference is at least this with confidence 1 - alpha, in points; passes only above minus the margin."""
        value = self.test.difference.value
        return value if self.asked.same else min(value, 100 * self.asked.source.lowest(self.alpha))

    @cached_property
    def needed(self) -> int | None:
        """Documents that would decide it with 80 % probability, if what was seen is the truth.

        None if it is decided, or if no number of documents would.
        """
        documents = self.test.difference.documents
        if self.verdict != "undecided" or not documents:
            return None
        factor = self.asked.source.factor_to_decide(self.asked.margin / 100, self.alpha, self.alpha_worse)
        if factor is not None and is_too_few(self.asked) and isinstance(self.asked.source, PairedTest):
            source = self.asked.source
            factor = max(factor, FEWEST_BESIDE / source.clusters, FEWEST_OF_TASK / max(1, source.fewest))
        return None if factor is None else max(2, math.ceil(factor * documents - 1e-6))

    @cached_property
    def passing_margin(self) -> float | None:
        """The smallest margin, in hundredths of a point, that passes with these documents; None if none does."""
        return passing_margin(self.asked, self.alpha, self.lowest)

    @property
    def stderr(self) -> float:
        """The error that decided, in points: `lowest` is the difference less 1.645 times this (for alpha 5 %)."""
        return (self.test.difference.value - self.lowest) / t_quantile(1 - self.alpha, math.inf)


def paired_tests(
    scores: Mapping[str, TaskScores], suites: Sequence[Suite], margin: float, averaged: Sequence[Suite] | None = None
) -> list[Question]:
    """Return the paired tests of suites and, for two or more of those in the total, of their average.

    Args:
        scores: task -> both runs' scores of the same documents; a suite is judged by those of its tasks that are here.
        suites: the suites.
        margin: in percentage points.
        averaged: those of them that the average is of; None: all in the total.
    """
    tests = []
    for suite in suites:
        own = {task.name: scores[task.name] for task in suite.tasks if task.name in scores}
        weights = dict.fromkeys(own, 1 / len(own))
        tests.append(paired_question(suite.name, part_title(suite, len(own)), own, weights, margin))
    totalled = [suite for suite in (suites if averaged is None else averaged) if suite.in_total]
    if len(totalled) > 1:
        own, weights = {}, {}
        for suite in totalled:
            names = [task.name for task in suite.tasks if task.name in scores]
            own.update({name: scores[name] for name in names})
            weights.update(dict.fromkeys(names, 1 / (len(totalled) * len(names))))
        tests.append(paired_question(AVERAGE, average_title(totalled), own, weights, margin))
    return tests


def paired_question(
    key: str, title: str, scores: Mapping[str, TaskScores], weights: Mapping[str, float], margin: float
) -> Question:
    """Return the question whether the weighted mean of tasks lost more than the margin (points)."""
    return Question(
        key,
        title,
        100 * math.fsum(weights[name] * s.mean(s.candidate) for name, s in scores.items()),
        100 * math.fsum(weights[name] * s.mean(s.baseline) for name, s in scores.items()),
        margin_test(scores, weights),
        margin,
        same=all(s.same for s in scores.values()),
        existing=sum(s.task.documents for s in scores.values()),
    )


def margin_test(scores: Mapping[str, TaskScores], weights: Mapping[str, float] | None = None) -> PairedTest:
    """Return the paired test of a weighted mean of tasks; by default all tasks weigh the same."""
    differences = {name: found.differences for name, found in scores.items()}
    clusters = {name: found.clusters for name, found in scores.items()}
    scales = {name: found.scales for name, found in scores.items() if found.scales is not None}
    return paired_test(differences, clusters, weights, scales)


def p_of(scores: Sequence[TaskScores], test: PairedTest) -> float:
    """Return the two-sided p-value of "no difference": McNemar's exact one for a single task that allows it."""
    if len(scores) == 1 and scores[0].is_exact:
        moved = scores[0].differences
        return mcnemar(int((moved > 0).sum()), int((moved < 0).sum())).p_value
    return test.p_value


def suite_p_values(scores: Mapping[str, TaskScores], asked: Sequence[Question]) -> list[float]:
    """Return the p-values of `paired_tests`; a suite of one task has its task's."""
    suites = load_suites()
    found = []
    for question in asked:
        tasks = suites[question.key].tasks if question.key in suites else ()
        own = [scores[task.name] for task in tasks if task.name in scores]
        found.append(p_of(own, cast(PairedTest, question.source)))
    return found


def unpaired_tests(
    candidate: Mapping[str, Side],
    baseline: Mapping[str, Side],
    suites: Sequence[Suite],
    margin: float,
    averaged: Sequence[Suite] | None = None,
) -> list[Question]:
    """Return the tests of two sets of suite scores of which documents are not known together.

    Args:
        candidate: suite -> score as a share with its error.
        baseline: likewise.
        suites: the suites.
        margin: in percentage points.
        averaged: as for `paired_tests`.
    """

    def question(key: str, title: str, own: Side, other: Side, of_suites: Sequence[Suite]) -> Question:
        test = UnpairedTest(own, other)
        existing = sum(task.documents for suite in of_suites for task in suite.tasks)
        share, theirs = own.estimate.value, other.estimate.value
        return Question(key, title, 100 * share, 100 * theirs, test, margin, existing=existing)

    tests = [question(s.name, s.title, candidate[s.name], baseline[s.name], [s]) for s in suites]
    totalled = [suite for suite in (suites if averaged is None else averaged) if suite.in_total]
    if len(totalled) > 1:
        own, other = (mean_side([side[s.name] for s in totalled]) for side in (candidate, baseline))
        tests.append(question(AVERAGE, average_title(totalled), own, other, totalled))
    return tests


def mean_side(sides: Sequence[Side]) -> Side:
    """Return the average of suites, which share no documents."""
    from evalkit.stats.estimates import independent_mean

    count = len(sides)
    return Side(
        independent_mean([side.estimate for side in sides]),
        count**2 / math.fsum(1 / side.documents for side in sides),
    )


def judge(tests: Sequence[Question], alpha: float) -> tuple[Judged, ...]:
    """Answer the questions; see the module's description for what alpha means. Each tier is corrected by itself."""
    found: dict[int, Judged] = {}
    for tier in TIERS:
        own = [number for number, asked in enumerate(tests) if asked.tier == tier]
        answers = [tests[number].test for number in own]
        adjusted = holm([1.0 if tests[n].same else test.p_worse for n, test in zip(own, answers, strict=True)])
        for number, test, p_worse in zip(own, answers, adjusted, strict=True):
            found[number] = answer(tests[number], test, p_worse, alpha, alpha / len(own))
    return tuple(found[number] for number in range(len(tests)))


def answer(asked: Question, test: NonInferiority, p_worse: float, alpha: float, alpha_worse: float) -> Judged:
    """Answer one question.

    Args:
        asked: the question.
        test: its p-values.
        p_worse: the corrected one.
        alpha: level for ``pass`` and of the bound, and of ``worse`` for the corrected p-value.
        alpha_worse: level at which "worse" is certain to be decided, for the documents needed.
    """
    verdict: Verdict = "undecided"
    if asked.same or (test.p_fine <= alpha and not is_too_few(asked)):
        verdict = "pass"
    elif is_too_few(asked):
        verdict = "undecided"
    elif p_worse <= alpha:
        verdict = "worse"
    return Judged(asked, test, p_worse, verdict, alpha, alpha_worse)


def is_too_few(asked: Question) -> bool:
    """Tell whether there are so few documents of several tasks that the level is not kept (`FEWEST_BESIDE`)."""
    return isinstance(asked.source, PairedTest) and asked.source.is_too_few


def passing_margin(asked: Question, alpha: float, lowest: float) -> float | None:
    """Return the smallest margin in hundredths of a point that passes, tried; None if none below 100 does."""
    if is_too_few(asked) and not asked.same:
        return None
    hundredths = max(1, math.ceil(-100 * lowest - 1e-6))
    while hundredths < 10_000:
        if asked.same or asked.source.p_fine(hundredths / 100 / 100) <= alpha:
            return hundredths / 100
        hundredths += 1
    return None


def part_title(suite: Suite, tasks: int) -> str:
    """Return the title of so many of a suite's tasks."""
    return suite.title if tasks == len(suite.tasks) else f"{suite.title} ({tasks} of {len(suite.tasks)} tasks)"


def average_title(suites: Sequence[Suite]) -> str:
    """Return the title of the average of suites."""
    whole = len(suites) == sum(suite.in_total for suite in load_suites().values())
    return "Average" if whole else f"Average of {len(suites)} suites"
