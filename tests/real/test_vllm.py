"""``--engine vllm`` with the real vLLM, where it is installed beside evalkit: texts are those of evalkit's own loop."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.make_model import NAME, WHY_NOT, cache_folder

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.model,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed here"),
]


@pytest.fixture(scope="module")
def model() -> str:
    folder = cache_folder() / NAME
    if not (folder / "config.json").is_file():
        why = cache_folder() / WHY_NOT
        pytest.skip(why.read_text(encoding="utf-8").strip() if why.is_file() else "not made yet: make real-model")
    return str(folder)


def texts(model: str, output: Path, *more: str) -> tuple[list[list[str]], dict[str, object], str]:
    """Texts, record and standard output of a run over the samples of HumanEval."""
    done = subprocess.run(
        [sys.executable, "-m", "evalkit.cli", "run", "--model", model, "--device", "cpu", "--dtype", "float32",
         "--task", "humaneval", "--limit", "4", "--data", "samples", "--max-new-tokens", "48",
         "--output", str(output), *more],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (record,) = output.glob("*/*/run.json")
    lines = (record.parent / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return (
        [json.loads(line)["generated"] for line in lines],
        json.loads(record.read_text(encoding="utf-8")),
        done.stdout,
    )


def test_greedy_texts_are_those_of_evalkits_loop(model: str, tmp_path: Path) -> None:
    found, record, report = texts(model, tmp_path / "vllm", "--engine", "vllm")
    expected, _, _ = texts(model, tmp_path / "evalkit")
    assert found == expected
    assert report.startswith("# "), "vLLM writes nothing where the report is"
    assert str(record["evalkit"]["model"]["generation"]["engine"]).startswith("vllm")  # type: ignore[index]


def test_samples_differ_and_come_again(model: str, tmp_path: Path) -> None:
    drawn = ("--engine", "vllm", "--samples", "3", "--temperature", "0.9", "--top-k", "40")
    first, _, _ = texts(model, tmp_path / "first", *drawn)
    again, _, _ = texts(model, tmp_path / "again", *drawn)
    assert first == again
    # A text that a stop string ends at once is the same in all.
    assert sum(len(set(of_problem)) == 3 for of_problem in first) >= 2
