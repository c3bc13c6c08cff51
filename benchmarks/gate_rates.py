"""How often the gate passes a loss of exactly the margin, calls it worse, and passes an equal model: a table.

    python benchmarks/gate_rates.py [--pairs 2000] [--case TEXT] [--seed 0]

Pairs of runs are drawn whose documents flip together in part, and put to the code that `evalkit gate` calls
(`paired_tests` and `judge`; `SequentialGate` for the sequential rows). Rates are in per cent at alpha 5 %, each with
its Monte-Carlo standard error. "pass" and "worse" at a true loss of the margin should be 5 at most.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.report.gate_sequential import Recorded, SequentialGate
from evalkit.report.pairing import TaskScores
from evalkit.report.questions import judge, paired_tests
from evalkit.suites import Suite, find_suite

ALPHA = 0.05
AGIEVAL = (
    [1] * 254,
    [5] * 24 + [1] * 533,
    [6] * 30 + [5] * 10,
    [2] * 3 + [1] * 504,
    [7] * 29 + [6] * 11,
    [5] * 30 + [4] * 14,
)
"""Passages like those of AGIEval's tasks: about as many documents and passages, in the sizes that occur."""


@dataclass(frozen=True)
class Case:
    """Pairs of runs of one kind.

    Attributes:
        name: as shown.
        tasks: of each task the sizes of its clusters.
        gain, loss: shares of documents that flip, in the mean.
        shared: the part of the flips that takes whole clusters.
        sequential: True: put to the gate that stops early.
    """

    name: str
    tasks: tuple[Sequence[int], ...]
    gain: float
    loss: float
    shared: float = 0.0
    sequential: bool = False

    @property
    def margin(self) -> float:
        """The true loss: whole clusters first, then documents of the others."""
        whole = self.shared * (self.gain + self.loss)
        net = self.loss - self.gain
        return self.shared * net + (1 - whole) * (1 - self.shared) * net


def sizes(count: int, sigma: float, seed: int = 0) -> list[int]:
    """Return log-normal cluster sizes."""
    return [max(1, int(size)) for size in np.random.default_rng(seed).lognormal(1.5, sigma, count)]


def cases() -> Iterator[Case]:
    """Yield all cases."""
    for count, size in ((81, 10), (50, 20), (40, 5), (9, 30)):
        for shared, kind in ((1.0, "whole"), (0.5, "half-shared")):
            for gain, loss in ((0.0, 0.01), (0.02, 0.03), (0.0, 0.10)):
                name = f"{count} clusters of {size}, {kind}, +{100 * gain:g} -{100 * loss:g} %"
                yield Case(name, ([size] * count,), gain, loss, shared)
    for shared in (1.0, 0.5):
        yield Case(f"AGIEval's passages, shared {shared:g}, -1 %", AGIEVAL, 0.0, 0.01, shared)
        yield Case(f"AGIEval's passages, shared {shared:g}, +2 -4 %", AGIEVAL, 0.02, 0.04, shared)
    for count, loss in ((100, 0.10), (500, 0.10), (2000, 0.02), (2000, 0.10)):
        yield Case(f"{count} log-normal clusters, whole, -{100 * loss:g} %", (sizes(count, 1.0),), 0.0, loss, 1.0)
    yield Case("a giant (100) and 100 of 3, whole, -10 %", ([100] + [3] * 100,), 0.0, 0.10, 1.0)
    for gain, loss in ((0.0, 0.01), (0.02, 0.03), (0.1, 0.12), (0.0, 0.1)):
        flips = f"+{100 * gain:g} -{100 * loss:g} %"
        yield Case(f"200 independent, {flips}", ([1] * 200,), gain, loss)
        yield Case(f"1,000 independent, {flips}", ([1] * 1000,), gain, loss)
        yield Case(f"6 x 2,000 + 40, {flips}", (*([[1] * 2000] * 6), [1] * 40), gain, loss)
        yield Case(f"5,000 + 20, {flips}", ([1] * 5000, [1] * 20), gain, loss)
    for shared in (1.0, 0.5):
        yield Case(f"sequential, 30 clusters of 30, shared {shared:g}, -10 %", ([30] * 30,), 0.0, 0.10, shared, True)
    yield Case("sequential, 600 independent, +4 -6 %", ([1] * 600,), 0.04, 0.06, 0.0, True)


def suite_for(tasks: int) -> Suite:
    """Return a suite of so many tasks; their names do not matter."""
    suite = find_suite("bigbench")
    return Suite(**{**suite.__dict__, "tasks": suite.tasks[:tasks]})


def draw(case: Case, rng: np.random.Generator, loss: float) -> tuple[Suite, dict[str, TaskScores]]:
    """Draw one pair of runs."""
    suite, found = suite_for(len(case.tasks)), {}
    for task, of_task in zip(suite.tasks, case.tasks, strict=True):
        code = np.repeat(np.arange(len(of_task)), of_task)
        kind = rng.random(len(of_task))
        top = case.gain * case.shared
        whole = np.where(kind < top, 1.0, np.where(kind < top + loss * case.shared, -1.0, 0.0))[code]
        kind = rng.random(code.size)
        top = case.gain * (1 - case.shared)
        single = np.where(kind < top, 1.0, np.where(kind < top + loss * (1 - case.shared), -1.0, 0.0))
        moved = np.where(whole != 0, whole, single)
        before = np.where(moved == 0, rng.random(code.size) < 0.6, moved < 0).astype(np.float64)
        keys = tuple((task.name, int(key)) for key in code)
        found[task.name] = TaskScores(task, before + moved, before, keys)
    return suite, found


def verdict_of(case: Case, suite: Suite, scores: dict[str, TaskScores], seed: int) -> str:
    """Return the gate's verdict on one pair, at a margin of the case's true loss."""
    margin = 100 * case.margin
    if not case.sequential:
        return judge(paired_tests(scores, [suite], margin), ALPHA)[0].verdict
    recorded = {n: Recorded(s.task, range(len(s.baseline)), s.baseline, s.clusters) for n, s in scores.items()}
    gate = SequentialGate(recorded, [suite], margin, ALPHA, seed)
    while batch := gate.batch():
        gate.add({name: [(float(scores[name].candidate[i]), False) for i in ids] for name, ids in batch.items()})
    return gate.result()[0].verdict


def rates(case: Case, pairs: int, seed: int = 0, *, equal: bool = False) -> dict[str, float]:
    """Return the share of each verdict at a loss of the margin, or (`equal`) where losses are as many as gains.

    Without gains an equal model changes nothing.
    """
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(("pass", "worse", "undecided"), 0)
    for number in range(pairs):
        suite, scores = draw(case, rng, case.gain if equal else case.loss)
        counts[verdict_of(case, suite, scores, number)] += 1
    return {verdict: count / pairs for verdict, count in counts.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--case", default="", help="only cases whose name holds this text")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        "| case | margin | pass at the margin | worse at the margin | pass of an equal model |\n|---|--:|--:|--:|--:|"
    )
    for case in cases():
        if options.case not in case.name:
            continue
        found = rates(case, options.pairs, options.seed)
        few = max(100, options.pairs // 10)
        equal = rates(case, few, options.seed + 1, equal=True)["pass"]
        cells = [
            f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / count):.1f}"
            for share, count in ((found["pass"], options.pairs), (found["worse"], options.pairs), (equal, few))
        ]
        print(f"| {case.name} | {100 * case.margin:.2f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
