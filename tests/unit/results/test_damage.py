"""Damaged files of a run are one line that names file and key, exit code 2, whatever the damage is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.errors import StoreError
from evalkit.results.reading import read_run, read_samples

pytestmark = pytest.mark.torch_free
RECORDED = Path(__file__).parents[2] / "golden" / "runs" / "tiny-samples"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORDED, tmp_path / "run"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cluster", [1]),
        ("cluster", {"p": 1}),
        ("cluster", 3),
        ("cluster", float("nan")),
        ("logprobs", None),
        ("logprobs", ["-1.5"]),
        ("logprobs", [-1.5]),  # of several continuations
        ("greedy", [True]),
        ("greedy", ["yes"]),
        ("continuations", None),
        ("generated", None),
        ("generated", [1]),
        ("details", None),
        ("details", []),
        ("metrics", {"acc": "1.0"}),
        ("metrics", {"acc": True}),
        ("metrics", []),
        ("doc_id", "0"),
        ("task", None),
    ],
)
def test_a_sample_of_another_type_is_a_damaged_line(folder: Path, key: str, value: Any) -> None:
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {key: value})
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"samples\.jsonl:3: damaged line"):
        list(read_samples(folder))
    for command in (["gate", str(folder), "--baseline", str(RECORDED)], ["compare", str(RECORDED), str(folder)]):
        found = CliRunner().invoke(main, command)
        assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output


def metric(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(run: dict[str, Any]) -> None:
        run["evalkit"]["tasks"]["piqa"]["acc_norm"][name] = value

    return change


def other(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(run: dict[str, Any]) -> None:
        for key in path[:-1]:
            run = run[key]
        run[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (metric("value", None), "evalkit.tasks.piqa.acc_norm.value: null"),
        (metric("value", float("nan")), "evalkit.tasks.piqa.acc_norm.value: nan"),
        (metric("value", "0.7"), "evalkit.tasks.piqa.acc_norm.value: expected a number, found '0.7'"),
        (metric("value", 0.9), "results.piqa.acc_norm,none: 0.7, but evalkit.tasks says 0.9"),
        (metric("stderr", -0.1), "evalkit.tasks.piqa.acc_norm.stderr: -0.1"),
        (metric("stderr", float("nan")), "evalkit.tasks.piqa.acc_norm.stderr: nan"),
        (metric("failed", -5), "evalkit.tasks.piqa.acc_norm.failed: -5"),
        (metric("failed", 3), "evalkit.tasks.piqa.acc_norm.value: 0.7, although 3 documents failed"),
        (metric("n", -1), "evalkit.tasks.piqa.acc_norm.n: -1"),
        (metric("n", 10.5), "evalkit.tasks.piqa.acc_norm.n: expected an integer, found 10.5"),
        (other("results", "piqa", "acc_norm,none", value=0.1), "results.piqa.acc_norm,none: 0.1"),
        (other("results", "piqa", "acc_norm,none", value=None), "results.piqa.acc_norm,none: None"),
        (other("results", "piqa", "acc_norm_stderr,none", value=-1.0), "results.piqa.acc_norm_stderr,none: -1.0"),
        (other("results", "piqa", "acc_norm_stderr,none", value=float("nan")), "acc_norm_stderr,none: nan"),
        (other("n-samples", "piqa", value={"original": 0, "effective": 0}), "n-samples.piqa.effective: 0"),
        (lambda run: run["results"].pop("piqa"), "results: no piqa"),
        (other("evalkit", "data", "piqa", "documents", value=5), "evalkit.data.piqa.documents: 5"),
        (
            other("evalkit", "data", "piqa", "documents", value="10"),
            "documents: expected an integer, found '10'",
        ),
    ],
)
def test_numbers_that_contradict_each_other_are_damage(
    folder: Path, change: Callable[[dict[str, Any]], None], key: str
) -> None:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    change(run)
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(StoreError) as raised:
        read_run(folder)
    assert key in str(raised.value)
    assert str(raised.value).startswith(f"{folder / 'run.json'}: ")
    found = CliRunner().invoke(main, ["gate", str(folder), "--baseline", str(RECORDED)])
    assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output


def test_the_recorded_run_is_whole() -> None:
    read_run(RECORDED)
    assert sum(1 for _ in read_samples(RECORDED)) > 0
