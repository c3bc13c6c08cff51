"""The gate while documents still come in: which to score next, and when the verdict is certain.

Documents come in a random order that a seed fixes, a growing share of every task at each look, documents of one passage
together. The test is that of a whole run (`stats.paired`), at a level that is split between the looks: half of alpha
is for the last one, the other half is shared equally by those before it. The levels add up to alpha, so whatever the
looks have in common, the verdict errs with probability alpha at most (Bonferroni). A suite that is decided gets no more
documents, and everything ends once the verdict as a whole is certain.

The average is not tested: it loses no more than the margin if no suite does.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evalkit.comparison.pairing import TaskScores
from evalkit.comparison.questions import Judged, Verdict, answer, paired_tests
from evalkit.stats.estimates import FloatArray
from evalkit.suites import Suite, Task, question_group

FIRST_SHARE = 1 / 16
GROWTH = 1.5
LOOKS = 1 + math.ceil(math.log(1 / FIRST_SHARE) / math.log(GROWTH))
"""How often a suite is looked at, at most."""
MIN_SAME = 20
"""Documents with the same log-probabilities and texts by which a model is recognised as the baseline's."""


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
        lowest: the difference is at least this, at the look's own share of alpha; all looks' bounds hold together.
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
        is_other: True unless the candidate is known to be the baseline's model on the same libraries: then only all
            documents with the same log-probabilities and texts pass without a test, not those of the first look.
    """

    def __init__(
        self,
        recorded: Mapping[str, Recorded],
        suites: Sequence[Suite],
        margin: float,
        alpha: float,
        seed: int,
        *,
        is_other: bool = False,
    ) -> None:
        self.suites = list(suites)
        self.margin = margin
        self.alpha = alpha
        self.seed = seed
        self.is_other = is_other
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
        test = question.test
        documents = test.difference.documents
        is_last = documents == sum(len(self._tasks[name].order) for name in self._names(suite))
        if not is_last and (self.is_other or documents < MIN_SAME):
            question = replace(question, same=False)
        level = self.alpha / 2 / (1 if is_last else LOOKS - 1)
        # "Worse" in any of the suites ends everything, so the level is for all of them together.
        p_worse = min(1.0, test.p_worse * len(self.suites))
        judged = answer(question, test, p_worse, level, level / len(self.suites))
        self._judged[suite.name] = judged
        self.looks.append(Look(suite.name, documents, test.difference.value, judged.lowest, judged.verdict))


def document_order(recorded: Recorded, seed: int) -> list[int]:
    """Return the documents' indices in a random order, those of one cluster together.

    Tasks that hold the same documents get the same order, so that both are scored on the same ones.
    """
    group = question_group(recorded.task.name)
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
