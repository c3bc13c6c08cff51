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
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec
import numpy as np

from evalkit.comparison.gate_sequential import Recorded, SequentialGate
from evalkit.comparison.pairing import TaskScores
from evalkit.comparison.questions import judge, paired_tests
from evalkit.config.suites import Suite, find_suite
from evalkit.stats.estimates import FloatArray

ALPHA = 0.05


def of(*sizes: tuple[int, int]) -> tuple[int, ...]:
    """Return cluster sizes, given as (size, how many)."""
    return tuple(size for size, count in sizes for _ in range(count))


LOGIQA = of((1, 519), (2, 15), (3, 4), (4, 5), (5, 14))
LSAT_RC = of((5, 5), (6, 12), (7, 12), (8, 11))
SAT_EN = of((2, 1), (3, 4), (4, 16), (5, 12), (6, 9), (7, 2))
AGIEVAL = (
    of((1, 254)),
    LOGIQA,
    of((4, 1), (5, 15), (6, 17), (7, 7)),
    of((1, 504), (2, 3)),
    LSAT_RC,
    of((1, 207), (2, 5), (3, 1)),
    SAT_EN,
    SAT_EN,
)
"""The passages of AGIEval's tasks: how many questions each has. The last two tasks ask the same questions."""
SIZES = {"2,000 + 40 of 20": of((1, 2000), (20, 40)), "500 + 100 of 5": of((1, 500), (5, 100)), "logiqa_en": LOGIQA}

TEN = (50, 80, 120, 200, 400, 700, 1000, 2000, 3500, 5000)
UNEVEN: dict[str, tuple[tuple[int, float], ...]] = {
    "6 x 2,000 losing 20 % + 40 losing 5 %": ((2000, 0.2),) * 6 + ((40, 0.05),),
    "5,000 losing 40 % + 20 losing 20 %": ((5000, 0.4), (20, 0.2)),
    "3 x 1,000 losing 30 % + 30 losing 10 %": ((1000, 0.3),) * 3 + ((30, 0.1),),
    "10 of 50 to 5,000, losing 2 to 40 %": tuple(
        zip(TEN, (0.02, 0.4, 0.05, 0.1, 0.3, 0.02, 0.2, 0.4, 0.1, 0.3), strict=True)
    ),
    "10 of 50 to 5,000, the large losing most": tuple(
        zip(TEN, (0.02, 0.02, 0.02, 0.05, 0.05, 0.2, 0.2, 0.4, 0.4, 0.4), strict=True)
    ),
}
"""Tasks that lose unevenly: (documents, share that is lost)."""

FEW = (
    (18, 3, 0.0, 0.3),
    (18, 3, 0.0, 0.5),
    (18, 3, 0.3, 0.6),
    (18, 4, 0.0, 0.3),
    (18, 5, 0.0, 0.3),
    (18, 6, 0.0, 0.4),
    (18, 10, 0.0, 0.5),
    (16, 3, 0.0, 0.5),
    (8, 6, 0.0, 0.5),
)
"""Many tasks of few documents: (tasks, documents of each, gain, loss)."""


@dataclass(frozen=True)
class Case:
    """Pairs of runs of one kind.

    Attributes:
        name: as shown.
        tasks: of each task the sizes of its clusters.
        gain, loss: shares of documents that flip, in the mean, where documents flip at all.
        shared: the part of the flips that takes whole clusters.
        sequential: True: put to the gate that stops early.
        least: only clusters of at least so many documents lose or gain.
        only: only these tasks lose or gain; empty: all.
        tied: so many tasks, the last ones, ask the same questions: their clusters are one.
        noise: share of all documents that flip each way besides, one by one.
        losses: of each task the share of documents that is lost, one by one, where tasks lose unevenly.
    """

    name: str
    tasks: tuple[Sequence[int], ...]
    gain: float
    loss: float
    shared: float = 0.0
    sequential: bool = False
    least: int = 1
    only: tuple[int, ...] = ()
    tied: int = 0
    noise: float = 0.0
    losses: tuple[float, ...] = ()

    @property
    def margin(self) -> float:
        """The true loss: whole clusters first, then documents of the others."""
        if self.losses:
            return sum(self.losses) / len(self.losses)
        whole = self.shared * (self.gain + self.loss)
        net = self.loss - self.gain
        return self.moving * (self.shared * net + (1 - whole) * (1 - self.shared) * net)

    @property
    def moving(self) -> float:
        """The part of the mean that may lose or gain."""
        return sum(
            sum(size for size in sizes if size >= self.least) / sum(sizes)
            for task, sizes in enumerate(self.tasks)
            if not self.only or task in self.only
        ) / len(self.tasks)

    def losing(self, margin: float) -> Case:
        """Return the case with as much loss as makes the margin."""
        return replace(self, loss=margin / replace(self, gain=0.0, loss=1.0, shared=1.0).margin)

    @cached_property
    def suite(self) -> Suite:
        """A suite of so many tasks; their names do not matter."""
        suite = find_suite("bigbench")
        return msgspec.structs.replace(suite, tasks=suite.tasks[: len(self.tasks)])

    @cached_property
    def clusters(self) -> list[tuple[np.ndarray, np.ndarray, tuple[tuple[int, int], ...]]]:
        """Of each task: each document's cluster, whether it may lose or gain, and its key."""
        found = []
        for number, sizes in enumerate(self.tasks):
            code = np.repeat(np.arange(len(sizes)), sizes)
            moves = np.repeat(np.asarray(sizes) >= self.least, sizes)
            if self.only and number not in self.only:
                moves &= False
            owner = min(number, len(self.tasks) - self.tied) if self.tied else number
            found.append((code, moves, tuple((owner, int(key)) for key in code)))
        return found


def sizes(count: int, sigma: float, seed: int = 0) -> tuple[int, ...]:
    """Return log-normal cluster sizes."""
    return tuple(max(1, int(size)) for size in np.random.default_rng(seed).lognormal(1.5, sigma, count))


def cases() -> Iterator[Case]:
    """Yield all cases."""
    for count, size in ((81, 10), (50, 20), (40, 5), (9, 30)):
        for shared, kind in ((1.0, "whole"), (0.5, "half-shared")):
            for gain, loss in ((0.0, 0.01), (0.02, 0.03), (0.0, 0.10)):
                name = f"{count} clusters of {size}, {kind}, +{100 * gain:g} -{100 * loss:g} %"
                yield Case(name, (of((size, count)),), gain, loss, shared)
    for shared in (1.0, 0.5):
        for gain, loss in ((0.0, 0.01), (0.02, 0.04), (0.02, 0.05)):
            name = f"AGIEval's passages, shared {shared:g}, +{100 * gain:g} -{100 * loss:g} %"
            yield Case(name, AGIEVAL, gain, loss, shared, tied=2)
    for margin in (0.02, 0.03):
        for noise in (0.0, 0.02):
            beside = f", beside +{100 * noise:g} -{100 * noise:g} %" if noise else ""
            sat = Case(f"AGIEval, only sat_en's passages{beside}", AGIEVAL, 0, 0, 1.0, only=(6, 7), tied=2, noise=noise)
            yield sat.losing(margin)
            reading = replace(sat, name=f"AGIEval, only passages{beside}", only=(), least=2)
            yield reading.losing(margin)
            for name, of_task in SIZES.items():
                least = 5 if name != "2,000 + 40 of 20" else 20
                large = Case(f"{name}, only the large{beside}", (of_task,), 0, 0, 1.0, least=least, noise=noise)
                yield large.losing(margin)
    for count, loss in ((100, 0.10), (500, 0.10), (2000, 0.02), (2000, 0.10)):
        name = f"{count} log-normal clusters, whole, -{100 * loss:g} %"
        yield Case(name, (sizes(count, 1.0),), 0.0, loss, 1.0)
        large = Case(
            f"{count} log-normal clusters, only those of 10 or more", (sizes(count, 1.0),), 0, 0, 1.0, least=10
        )
        yield large.losing(loss)
    yield Case("a giant (100) and 100 of 3, whole, -10 %", (of((100, 1), (3, 100)),), 0.0, 0.10, 1.0)
    for gain, loss in ((0.0, 0.01), (0.02, 0.03), (0.1, 0.12), (0.0, 0.1)):
        flips = f"+{100 * gain:g} -{100 * loss:g} %"
        yield Case(f"200 independent, {flips}", (of((1, 200)),), gain, loss)
        yield Case(f"1,000 independent, {flips}", (of((1, 1000)),), gain, loss)
        yield Case(f"6 x 2,000 + 40, {flips}", (*([of((1, 2000))] * 6), of((1, 40))), gain, loss)
        yield Case(f"5,000 + 20, {flips}", (of((1, 5000)), of((1, 20))), gain, loss)
    for count, each, gain, loss in FEW:
        name = f"{count} tasks of {each}, +{100 * gain:g} -{100 * loss:g} %"
        yield Case(name, (of((1, each)),) * count, gain, loss)
    for name, parts in UNEVEN.items():
        tasks = tuple(of((1, count)) for count, _ in parts)
        yield Case(name, tasks, 0.0, 1.0, losses=tuple(loss for _, loss in parts))
    for shared in (1.0, 0.5):
        yield Case(f"sequential, 30 clusters of 30, shared {shared:g}, -10 %", (of((30, 30)),), 0.0, 0.10, shared, True)
    yield Case("sequential, 600 independent, +4 -6 %", (of((1, 600)),), 0.04, 0.06, 0.0, True)
    for count, size, beside in ((3, 100, 0.0), (20, 12, 0.02)):
        name = f"sequential, {count} of {size} beside 400 +{100 * beside:g} -{100 * beside:g} %, only the large"
        huge = Case(name, (of((size, count), (1, 400)),), 0, 0, 1.0, True, least=size, noise=beside)
        yield huge.losing(0.3 * count * size / (count * size + 400))
    sat = Case("sequential, AGIEval, only sat_en's passages", AGIEVAL, 0, 0, 1.0, True, only=(6, 7), tied=2, noise=0.01)
    yield sat.losing(0.03)


def draw(case: Case, rng: np.random.Generator, loss: float) -> dict[str, TaskScores]:
    """Draw one pair of runs."""
    found: dict[str, TaskScores] = {}
    kinds: FloatArray = np.zeros(0)
    for number, task in enumerate(case.suite.tasks):
        code, moves, keys = case.clusters[number]
        if not case.tied or number <= len(case.tasks) - case.tied:
            kinds = rng.random(int(code[-1]) + 1)
        whole = flips(kinds, case.gain * case.shared, loss * case.shared)[code] * moves
        alone = case.losses[number] if case.losses and loss else loss * (1 - case.shared)
        single = flips(rng.random(code.size), case.gain * (1 - case.shared), alone) * moves
        moved = np.where(whole != 0, whole, single)
        if case.noise:
            moved = np.where(moved != 0, moved, flips(rng.random(code.size), case.noise, case.noise))
        before = np.where(moved == 0, rng.random(code.size) < 0.6, moved < 0).astype(np.float64)
        found[task.name] = TaskScores(task, before + moved, before, keys)
    return found


def flips(uniform: FloatArray, gain: float, loss: float) -> FloatArray:
    """Turn uniform numbers into +1 (with probability `gain`), -1 (`loss`) and 0."""
    return np.where(uniform < gain, 1.0, np.where(uniform < gain + loss, -1.0, 0.0))


def verdict_of(case: Case, scores: dict[str, TaskScores], seed: int) -> str:
    """Return the gate's verdict on one pair, at a margin of the case's true loss."""
    margin = 100 * case.margin
    if not case.sequential:
        return judge(paired_tests(scores, [case.suite], margin), ALPHA)[0].verdict
    recorded = {n: Recorded(s.task, range(len(s.baseline)), s.baseline, s.clusters) for n, s in scores.items()}
    gate = SequentialGate(recorded, [case.suite], margin, ALPHA, seed)
    while batch := gate.batch():
        gate.add({name: [(float(scores[name].candidate[i]), False) for i in ids] for name, ids in batch.items()})
    return gate.result()[0].verdict


def rates(case: Case, pairs: int, seed: int = 0, *, equal: bool = False) -> dict[str, float]:
    """Return the share of each verdict at a loss of the margin, or (`equal`) where losses are as many as gains.

    Without gains and noise an equal model changes nothing.
    """
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(("pass", "worse", "undecided"), 0)
    for number in range(pairs):
        counts[verdict_of(case, draw(case, rng, case.gain if equal else case.loss), number)] += 1
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
