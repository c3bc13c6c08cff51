"""The gate while documents still come in: which to score next, and when the verdict is certain.

Documents come in a random order that a seed fixes, a growing share of every task at each look: documents of one passage
together, and of every size of passage the same share, so that no look is of other sizes than the task. The test is that
of a whole run (`stats.paired`), at a level that is split between the looks: half of alpha is for the last one, the
other half is shared equally by those before it. The levels add up to alpha, so whatever the looks have in common, the
verdict errs with probability alpha at most (Bonferroni). A suite that is decided gets no more documents, and everything
ends once the verdict as a whole is certain.

The average is not tested: it loses no more than the margin if no suite does.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evalkit.comparison.pairing import TaskScores
from evalkit.comparison.questions import Judged, Verdict, answer, paired_tests
from evalkit.config.suites import Suite, Task, question_group
from evalkit.stats.estimates import FloatArray
from evalkit.stats.strata import BAND

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
    order: Order
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
        orders = document_orders(recorded, seed)
        self._tasks = {name: _TaskState(found, orders[name]) for name, found in recorded.items()}
        self._share = FIRST_SHARE
        self._first = {suite.name: self._first_share(suite) for suite in self.suites}
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
                end = state.order.end(max(self._share, self._first[suite.name]))
                chosen = state.order.indices[len(state.values) : end]
                if chosen:
                    wanted[name] = [int(state.recorded.doc_ids[index]) for index in chosen]
        return wanted

    def add(self, scored: Mapping[str, Sequence[tuple[float, bool]]]) -> None:
        """Take the scores of the last batch and judge.

        Args:
            scored: task -> for each document of the batch, in its order, the score and whether log-probabilities and
                texts equal the baseline's.
        """
        asked = [
            suite for suite in self.suites if self._is_open(suite) and not scored.keys().isdisjoint(self._names(suite))
        ]
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
        return sum(len(state.values) for state in states), sum(len(state.order.indices) for state in states)

    def whole_suites(self) -> list[str]:
        """Return the suites of which every document was scored, decided or not."""
        states = {suite.name: [self._tasks[name] for name in self._names(suite)] for suite in self.suites}
        return [
            name
            for name, of_suite in states.items()
            if all(len(state.values) == len(state.order.indices) for state in of_suite)
        ]

    def order_sha256(self) -> str:
        """Return a digest of the order of all documents, for the record."""
        order = {name: [int(s.recorded.doc_ids[i]) for i in s.order.indices] for name, s in self._tasks.items()}
        return hashlib.sha256(json.dumps(order, sort_keys=True).encode()).hexdigest()

    def _names(self, suite: Suite) -> list[str]:
        return [task.name for task in suite.tasks if task.name in self._tasks]

    def _first_share(self, suite: Suite) -> float:
        """Return the share of a suite's first look: so many documents that its model can be recognised by them."""
        orders = [self._tasks[name].order for name in self._names(suite)]
        due = sorted(share for order in orders for share in order.due)
        return 1.0 if len(due) < MIN_SAME else max(math.nextafter(due[MIN_SAME - 1], 2), FIRST_SHARE)

    def _is_open(self, suite: Suite) -> bool:
        states = [self._tasks[name] for name in self._names(suite)]
        judged = self._judged.get(suite.name)
        decided = judged is not None and judged.verdict != "undecided"
        return not decided and any(len(state.values) < len(state.order.indices) for state in states)

    def _scores(self, suite: Suite) -> dict[str, TaskScores]:
        found = {}
        for name in self._names(suite):
            state = self._tasks[name]
            seen = list(state.order.indices[: len(state.values)])
            found[name] = TaskScores(
                state.recorded.task,
                np.array(state.values, dtype=np.float64),
                np.asarray(state.recorded.values, dtype=np.float64)[seen],
                tuple(state.recorded.clusters[index] for index in seen),
                state.is_same,
                state.order.scales(len(seen)),
            )
        return found

    def _judge(self, suite: Suite) -> None:
        question = paired_tests(self._scores(suite), [suite], self.margin)[0]
        test = question.test
        documents = test.difference.documents
        is_last = documents == sum(len(self._tasks[name].order.indices) for name in self._names(suite))
        if not is_last and (self.is_other or documents < MIN_SAME):
            question = replace(question, same=False)
        level = self.alpha / 2 / (1 if is_last else LOOKS - 1)
        # "Worse" in any of the suites ends everything, so the level is for all of them together.
        p_worse = min(1.0, test.p_worse * len(self.suites))
        judged = answer(question, test, p_worse, level, level / len(self.suites))
        self._judged[suite.name] = judged
        self.looks.append(Look(suite.name, documents, test.difference.value, judged.lowest, judged.verdict))


@dataclass(frozen=True)
class Order:
    """In which order a task's documents are scored.

    Attributes:
        indices: of the recorded documents, those of one cluster together. shape (documents,)
        due: each of these is scored as soon as more than this share of the task is. shape (documents,), rising
        strata: which of them stand for each other: those in clusters of one size. shape (documents,)
    """

    indices: Sequence[int]
    due: Sequence[float]
    strata: Sequence[int]

    def end(self, share: float) -> int:
        """Return how many documents to score for a share of every size of cluster, of each one cluster at least."""
        return bisect.bisect_left(self.due, share)

    def scales(self, end: int) -> FloatArray | None:
        """Return how much each of the first documents counts, so that each size has its whole part; None: all alike."""
        strata = np.asarray(self.strata)
        whole, seen = np.bincount(strata), np.bincount(strata[:end], minlength=max(self.strata) + 1)
        factors = whole / np.maximum(1, seen) * (end / strata.size)
        found: FloatArray = factors[strata[:end]]
        return None if np.allclose(found, 1.0, rtol=0, atol=1e-12) else found


def document_orders(recorded: Mapping[str, Recorded], seed: int) -> dict[str, Order]:
    """Return each task's documents in a random order: clusters whole, and a like share of every size at any time.

    A random part of the clusters alone has other sizes than the whole: where three hold half of all documents, most
    first looks would see none of them, and pass what they lose. So clusters of one size are a stratum, each look has
    as large a share of each, and one of each at least. Tasks that ask the same questions are scored on the same ones.
    """
    groups: dict[str, list[str]] = {}
    for name in recorded:
        groups.setdefault(question_group(name), []).append(name)
    found: dict[str, Order] = {}
    for group, names in groups.items():
        units: dict[Hashable, dict[str, list[int]]] = {}
        for name in names:
            for index, key in enumerate(recorded[name].clusters):
                units.setdefault(key, {}).setdefault(name, []).append(index)
        shuffled = list(units.values())
        random.Random(f"{seed} {group}").shuffle(shuffled)
        strata = _strata(shuffled)
        count, reached = Counter(strata), Counter[int]()
        due = []
        for stratum in strata:
            due.append(reached[stratum] / count[stratum])
            reached[stratum] += 1
        _second_with_the_first(due)
        order = sorted(range(len(shuffled)), key=due.__getitem__)
        for name in names:
            rows = [(index, due[u], strata[u]) for u in order for index in shuffled[u].get(name, ())]
            found[name] = Order(*map(list, zip(*rows, strict=True)))
    return found


def _strata(units: Sequence[Mapping[str, Sequence[int]]]) -> list[int]:
    """Return of each cluster its stratum: clusters of one size (`BAND`) in the same tasks."""
    kinds = [tuple(sorted(unit)) for unit in units]
    sizes = [sum(map(len, unit.values())) for unit in units]
    found, stratum, largest, last = [0] * len(units), -1, 0, None
    for u in sorted(range(len(units)), key=lambda u: (kinds[u], -sizes[u])):
        if kinds[u] != last or sizes[u] * BAND < largest:
            stratum, largest, last = stratum + 1, sizes[u], kinds[u]
        found[u] = stratum
    return found


def _second_with_the_first(due: list[float]) -> None:
    """Let two clusters at least be scored at the first look: one says nothing about others."""
    if due.count(0.0) == 1 and len(due) > 1:
        due[min((u for u in range(len(due)) if due[u] > 0), key=due.__getitem__)] = 0.0
