"""How often what `evalkit power` promises is detected: a table.

    python benchmarks/power_rates.py [--pairs 600] [--seed 0] [--suite NAME]... [--flips 10]... [--power 0.8]

Pairs of runs are drawn whose true loss is the smallest that `evalkit power` says is detected with probability `power`,
documents flipping one by one in the suite's real passages (tasks that ask the same questions flip together), and put to
the code that `evalkit compare` calls. Rates are in per cent, with their Monte-Carlo standard error.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from evalkit.comparison.pairing import TaskScores
from evalkit.comparison.power import plan, shares_of, variances
from evalkit.comparison.questions import paired_tests
from evalkit.config.suites import Suite, load_suites, question_group
from evalkit.stats.paired import PairedTest

ALPHA = 0.05


def draw(suite: Suite, of_document: dict[str, float], loss: float, rng: np.random.Generator) -> dict[str, TaskScores]:
    """Draw one pair of runs.

    Args:
        suite: the suite.
        of_document: task -> share of documents that flip.
        loss: share of each task's mean that is lost.
        rng: chance.
    """
    found: dict[str, TaskScores] = {}
    drawn: dict[str, np.ndarray] = {}
    for task in suite.tasks:
        group = question_group(task.name)
        passages = task.passages or {1: task.documents}
        keys = np.repeat(np.arange(sum(passages.values())), np.repeat(list(passages), list(passages.values())))
        chance = drawn.setdefault(group, rng.random(keys.size))
        lost = max(loss, (of_document[task.name] + loss) / 2)
        moved = np.where(chance < lost, -1.0, np.where(chance < 2 * lost - loss, 1.0, 0.0))
        before = np.where(moved == 0, 1.0, moved < 0).astype(np.float64)
        found[task.name] = TaskScores(task, before + moved, before, tuple((group, int(key)) for key in keys))
    return found


def rate(suite: Suite, flips: float, power: float, pairs: int, seed: int) -> tuple[float, float]:
    """Return the smallest change that is promised, in points, and the share of pairs that shows it."""
    promised = plan(suite, flips=flips, alpha=ALPHA, power=power).smallest
    of_document = variances(suite, shares_of(suite, None), flips)
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(pairs):
        source = paired_tests(draw(suite, of_document, promised / 100, rng), [suite], 1.0)[0].source
        assert isinstance(source, PairedTest)
        found += source.p_worse(0.0) <= ALPHA / 2
    return promised, found / pairs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--power", type=float, default=0.8)
    parser.add_argument("--suite", action="append", help="a suite's name; all of the total without it")
    parser.add_argument("--flips", action="append", type=float, help="documents that flip, per cent; 2 and 10 without")
    options = parser.parse_args()
    suites = load_suites()
    print("| suite | flips | smallest detectable change | detected |\n|---|--:|--:|--:|")
    for name in options.suite or [name for name, suite in suites.items() if suite.in_total]:
        for flips in options.flips or (2.0, 10.0):
            promised, share = rate(suites[name], flips / 100, options.power, options.pairs, options.seed)
            error = math.sqrt(share * (1 - share) / options.pairs)
            print(
                f"| {suites[name].title} | {flips:g} % | {promised:.2f} | {100 * share:.1f} ± {100 * error:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
