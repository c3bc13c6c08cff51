"""The gate while documents still come in: which to score next, and when the verdict is certain.

Documents come in a random order that a seed fixes, a growing share of every task at each look, documents of one passage
together. At every look before the last one a suite is decided only if a confidence sequence decides it, which holds
however often one looks (`evalkit.sequential`); when all documents are there, by the ordinary test. Half of alpha is
for the one, half for the other, so the verdict errs with probability alpha at most, as that of a whole run does. A
suite that is decided gets no more documents, and everything ends once the verdict as a whole is certain.

The average is not tested: it loses no more than the margin if no suite does.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evalkit.baselines.model import SAME_DOCUMENTS
from evalkit.report.gate import Judged, Question, Verdict, documents_needed, paired_tests
from evalkit.report.pairing import TaskScores
from evalkit.sequential import mixture_factor, mixture_scale
from evalkit.stats import FloatArray, t_cdf, t_quantile
from evalkit.suites import Suite, Task

FIRST_SHARE = 1 / 16
GROWTH = 1.5
MIN_DEGREES = 4
"""A look with fewer degrees of freedom decides nothing: its error is hardly known."""


@dataclass(frozen=True)
class Recorded:
    """A task of the baseline's record.

    Attributes:
        task: the task.
        doc_ids: its documents' positions. shape (documents,)
        values: their headline scores. shape (documents,)
        clusters: one key a document.
    """

    task: Task
    doc_ids: Sequence[int]
    values: FloatArray
    clusters: Sequence[Hashable]


@dataclass
class _TaskState:
    recorded: Recorded
    order: list[int]
    """Indices into the recorded documents, in the order of scoring."""
    values: list[float] = field(default_factory=list)
    is_same: bool = True


@dataclass(frozen=True)
class Look:
    """One look at one suite.

    Attributes:
        suite: its name.
        documents: scored so far.
        difference: percentage points.
        lowest: bound that holds at all looks together.
        verdict: so far.
    """

    suite: str
    documents: int
    difference: float
    lowest: float
    verdict: Verdict


class SequentialGate:
    """Chooses documents and judges as their scores arrive.

    Args:
        recorded: the baseline's tasks.
        suites: suites to judge; each has a task in `recorded`.
        margin: percentage points.
        alpha: level of the verdict as a whole.
        seed: of the documents' order.
    """

    def __init__(
        self, recorded: Mapping[str, Recorded], suites: Sequence[Suite], margin: float, alpha: float, seed: int
    ) -> None:
        self.suites = list(suites)
        self.margin = margin
        self.alpha = alpha
        self.seed = seed
        self.looks: list[Look] = []
        self._tasks = {name: _TaskState(found, document_order(found, seed)) for name, found in recorded.items()}
        self._share = FIRST_SHARE
        self._judged: dict[str, Judged] = {}

    @property
    def is_finished(self) -> bool:
        """True if the verdict as a whole is certain, or no document is left."""
        verdicts = [found.verdict for found in self._judged.values()]
        return "worse" in verdicts or all(not self._is_open(suite) for suite in self.suites)

    def batch(self) -> dict[str, list[int]]:
        """Return the documents to score next, by task: their positions. Empty if the gate is finished."""
        if self.is_finished:
            return {}
        while not (wanted := self._up_to_share()):
            self._share = min(1.0, self._share * GROWTH)
        return wanted

    def _up_to_share(self) -> dict[str, list[int]]:
        wanted = {}
        for suite in self.suites:
            if not self._is_open(suite):
                continue
            for name in self._names(suite):
                state = self._tasks[name]
                chosen = state.order[len(state.values) : prefix_end(state.recorded, state.order, self._share)]
                if chosen:
                    wanted[name] = [int(state.recorded.doc_ids[index]) for index in chosen]
        return wanted

    def add(self, scored: Mapping[str, Sequence[tuple[float, bool]]]) -> None:
        """Take the scores of the last batch and judge.

        Args:
            scored: task -> for each document of the batch, in its order, the score and whether log-probabilities and
                texts equal the baseline's.
        """
        asked = [suite for suite in self.suites if self._is_open(suite)]
        for name, found in scored.items():
            state = self._tasks[name]
            state.values.extend(value for value, _ in found)
            state.is_same = state.is_same and all(same for _, same in found)
        for suite in asked:
            self._judge(suite)
        self._share = min(1.0, self._share * GROWTH)

    def result(self) -> tuple[Judged, ...]:
        """Return the suites' verdicts so far."""
        return tuple(self._judged[suite.name] for suite in self.suites if suite.name in self._judged)

    def documents(self) -> tuple[int, int]:
        """Return how many documents were scored, and of how many."""
        states = self._tasks.values()
        return sum(len(state.values) for state in states), sum(len(state.order) for state in states)

    def order_sha256(self) -> str:
        """Return a digest of the order of all documents, for the record."""
        order = {name: [int(s.recorded.doc_ids[i]) for i in s.order] for name, s in self._tasks.items()}
        return hashlib.sha256(json.dumps(order, sort_keys=True).encode()).hexdigest()

    def _names(self, suite: Suite) -> list[str]:
        return [task.name for task in suite.tasks if task.name in self._tasks]

    def _is_open(self, suite: Suite) -> bool:
        states = [self._tasks[name] for name in self._names(suite)]
        judged = self._judged.get(suite.name)
        decided = judged is not None and judged.verdict != "undecided"
        return not decided and any(len(state.values) < len(state.order) for state in states)

    def _scores(self, suite: Suite) -> dict[str, TaskScores]:
        found = {}
        for name in self._names(suite):
            state = self._tasks[name]
            seen = state.order[: len(state.values)]
            found[name] = TaskScores(
                state.recorded.task,
                np.array(state.values, dtype=np.float64),
                np.asarray(state.recorded.values, dtype=np.float64)[seen],
                tuple(state.recorded.clusters[index] for index in seen),
                state.is_same,
            )
        return found

    def _judge(self, suite: Suite) -> None:
        question = paired_tests(self._scores(suite), [suite], self.margin)[0]
        total = sum(len(self._tasks[name].order) for name in self._names(suite))
        is_last = question.test.difference.documents == total
        half = self.alpha / 2
        judged = self._at_end(question, half) if is_last else self._on_the_way(question, half, total)
        self._judged[suite.name] = judged
        found = question.test.difference
        self.looks.append(Look(suite.name, found.documents, found.value, judged.lowest, judged.verdict))

    def _on_the_way(self, question: Question, alpha: float, total: int) -> Judged:
        """Judge by the confidence sequence at level alpha; "worse" in any of m suites at alpha / m each."""
        found = question.test.difference
        distance = found.value + question.test.margin
        fine, worse = (
            _factor(found.documents, total, level, found.df) * question.test.stderr
            for level in (alpha, alpha / len(self.suites))
        )
        verdict: Verdict = "undecided"
        if found.df >= MIN_DEGREES:
            verdict = "pass" if distance >= fine else "worse" if distance <= -worse else "undecided"
        return Judged(question, question.test.p_worse, verdict, None, max(-100.0, found.value - fine))

    def _at_end(self, question: Question, alpha: float) -> Judged:
        """Judge by the ordinary test at level alpha, all documents being there."""
        test = question.test
        p_worse = min(1.0, test.p_worse * len(self.suites))
        verdict: Verdict = "undecided"
        if question.same or test.p_fine <= alpha:
            verdict = "pass"
        elif p_worse <= alpha:
            verdict = "worse"
        reach = 0.0 if question.same else t_quantile(1 - alpha, test.difference.df) * test.stderr
        needed = documents_needed(question, alpha) if verdict == "undecided" else None
        return Judged(question, p_worse, verdict, needed, max(-100.0, test.difference.value - reach))


def _factor(documents: int, planned: int, alpha: float, df: float) -> float:
    """Return by what to multiply a standard error at a look; widened where few clusters leave it uncertain."""
    normal = mixture_factor(documents, mixture_scale(planned, alpha), alpha)
    return t_quantile(t_cdf(normal, math.inf), df) if df < 200 else normal


def document_order(recorded: Recorded, seed: int) -> list[int]:
    """Return the documents' indices in a random order, those of one cluster together.

    Tasks that hold the same documents get the same order, so that both are scored on the same ones.
    """
    group = SAME_DOCUMENTS.get(recorded.task.name, recorded.task.name)
    units: dict[Hashable, list[int]] = {}
    for index, key in enumerate(recorded.clusters):
        units.setdefault(key, []).append(index)
    shuffled = list(units.values())
    random.Random(f"{seed} {group}").shuffle(shuffled)
    return [index for unit in shuffled for index in unit]


def prefix_end(recorded: Recorded, order: Sequence[int], share: float) -> int:
    """Return how many documents of an order are `share` of them: whole clusters, and two of these at least."""
    keys = [recorded.clusters[index] for index in order]
    end = min(len(keys), math.ceil(share * len(keys)))
    while end < len(keys) and (keys[end] == keys[end - 1] or keys[end - 1] == keys[0]):
        end += 1
    return end
