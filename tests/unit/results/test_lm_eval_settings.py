"""Settings that lm-eval records are compared, and several results files of a folder are one run or named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evalkit.cli import main

STAMP = "2025-01-01T00-00-00.000000"


def write(folder: Path, change: dict[str, Any], *, task: str = "boolq", model: str = "m", stamp: str = STAMP) -> Path:
    """Write a results file of one task with 40 documents and their samples; `change` is laid over the file."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "results": {task: {"alias": task, "acc,none": 0.5, "acc_stderr,none": 0.08}},
        "configs": {task: {"task": task, "num_fewshot": 0}},
        "versions": {task: 2.0},
        "n-shot": {task: 0},
        "n-samples": {task: {"original": 40, "effective": 40}},
        "config": {"model": "hf", "model_args": f"pretrained={model}", "limit": 40.0},
        "task_hashes": {task: "aa"},
        "model_name": model,
    }
    prompt = change.get("prompt", "Q")
    for key, value in change.items():
        if key != "prompt":
            found[key] = {**found[key], **value} if isinstance(found.get(key), dict) else value
    (folder / f"results_{stamp}.json").write_text(json.dumps(found))
    lines = [
        {
            "doc_id": i,
            "target": "0",
            "arguments": {f"gen_args_{j}": {"arg_0": f"{prompt}{i}", "arg_1": f" {j}"} for j in (0, 1)},
            "filtered_resps": [[-1.0 if i % 2 else -3.0, "False"], [-2.0, "False"]],
            "filter": "none",
            "metrics": ["acc"],
            "doc_hash": f"{task}{i}",
            "acc": float(i % 2),
        }
        for i in range(40)
    ]
    (folder / f"samples_{task}_{stamp}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def call(*arguments: object) -> tuple[int, str]:
    found = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return found.exit_code, found.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"system_instruction": "Be a pirate"}, "system"),
        ({"fewshot_as_multiturn": True}, "fewshot_as_multiturn"),
        ({"versions": {"boolq": 3.0}}, "task_version"),
        ({"task_hashes": {"boolq": "bb"}}, "requests"),
        ({"config": {"gen_kwargs": {"temperature": 1}}}, "gen_kwargs"),
        ({"config": {"model_args": "pretrained=m,add_bos_token=True"}}, "model_args"),
        ({"configs": {"boolq": {"description": "In French"}}}, "task_config"),
        ({"configs": {"boolq": {"test_split": "train"}}}, "task_config"),
        ({"prompt": "Pirate"}, "requests"),
        ({"n-shot": {"boolq": "5"}, "configs": {"boolq": {"num_fewshot": "5"}}}, "protocol"),
        ({"config": {"limit": "20"}}, "limit"),
    ],
)
@pytest.mark.parametrize("with_samples", [True, False])
def test_every_recorded_setting_is_compared(
    tmp_path: Path, change: dict[str, Any], said: str, with_samples: bool
) -> None:
    a, b = write(tmp_path / "a", {}), write(tmp_path / "b", change)
    if not with_samples:
        for file in tmp_path.rglob("samples_*"):
            file.unlink()
    code, output = call("gate", b, "--baseline", a, "--margin", 20)
    if not with_samples and "prompt" in change:  # only the samples have the requests
        assert "requests" not in output
        return
    assert (code, f"{said}: " in output, f"--allow-different {said}" in output) == (2, True, True), output
    if with_samples:
        assert "No recorded setting differs" not in call("compare", a, b)[1]


def test_quantisation_is_said_and_does_not_refuse(tmp_path: Path) -> None:
    a = write(tmp_path / "a", {})
    b = write(tmp_path / "b", {"config": {"model_args": "pretrained=m,load_in_4bit=True"}})
    code, output = call("gate", b, "--baseline", a, "--margin", 20)
    assert code != 2
    assert "load_in_4bit: True, baseline none" in output
    assert "load_in_4bit" in call("compare", a, b)[1]
    assert "No recorded setting differs" in call("compare", a, write(tmp_path / "c", {}))[1]


def test_tasks_of_one_model_in_one_folder_are_one_run(tmp_path: Path) -> None:
    write(tmp_path / "a", {}, task="boolq")
    folder = write(tmp_path / "a", {}, task="piqa", stamp="2025-01-02T00-00-00.000000")
    code, output = call("report", folder)
    assert code == 0, output
    assert "boolq" in output
    assert "piqa" in output
    assert "2.0" in output  # the file's version
    assert call("report", tmp_path)[0] == 0  # --output_path itself


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"model": "other", "task": "piqa"}, "results files of 2 models"),
        ({"task": "boolq"}, "boolq is in several results files"),
        ({"task": "piqa", "change": {"system_instruction": "x"}}, "made with other settings (system_instruction"),
    ],
)
def test_files_that_are_no_one_run_are_named(tmp_path: Path, second: dict[str, Any], said: str) -> None:
    write(tmp_path, {})
    write(tmp_path, second.pop("change", {}), stamp="2025-01-02T00-00-00.000000", **second)
    code, output = call("report", tmp_path)
    assert (code, said in output, "name one of them, e.g. " in output) == (2, True, True), output
    assert call("report", tmp_path / f"results_{STAMP}.json")[0] == 0


def test_a_file_that_contradicts_itself_and_a_metric_beyond_one_are_named(tmp_path: Path) -> None:
    a = write(tmp_path / "a", {"configs": {"boolq": {"num_fewshot": 5}}})
    assert "contradicts itself" in call("report", a)[1]
    b = write(tmp_path / "b", {})
    (samples,) = b.glob("samples_*")
    samples.write_text(samples.read_text().replace('"acc": 0.0', '"acc": 2.0', 1))
    code, output = call("report", b)
    assert code == 2
    assert f"{samples}:1: document 0: acc is 2" in output


def score(**changed: Any) -> dict[str, Any]:
    return {"results": {"boolq": {"acc,none": 0.5, "acc_stderr,none": 0.08} | changed}}


NUMBERS = [
    (score(**{"acc,none": "0.5"}), 'boolq acc: "0.5" is no number'),
    (score(**{"acc,none": True}), "boolq acc: true is no number"),
    (score(**{"acc,none": 50.0}), "boolq acc: 50.0 is no share from 0 to 1"),
    (score(**{"acc,none": float("nan")}), "boolq acc: NaN is no number"),
    (score(**{"acc_stderr,none": "0.08"}), 'boolq acc: stderr: expected a number, found "0.08"'),
    (score(**{"acc_stderr,none": float("nan")}), "boolq acc: stderr: expected a number, found NaN"),
    (score(**{"acc_stderr,none": -0.08}), "boolq acc: stderr: expected a number, found -0.08"),
    ({"n-samples": {"boolq": {"original": 40, "effective": "40"}}}, "n-samples.boolq.effective: expected a number of"),
    ({"n-samples": {"boolq": {"original": 40, "effective": 0}}}, "n-samples.boolq.effective: expected a number of"),
    ({"n-samples": {"boolq": {"original": 30, "effective": 40}}}, "n-samples.boolq: 40 of 30 documents"),
    ({"config": {"limit": 20}}, "n-samples.boolq.effective: 40, but config.limit is 20"),
    ({"config": {"limit": -40}}, "config.limit: expected a number above 0, found -40"),
    ({"config": {"limit": float("nan")}}, "config.limit: expected a number above 0, found NaN"),
    ({"config": {"limit": "all"}}, 'config.limit: expected a number above 0, found "all"'),
    ({"versions": {"boolq": [2]}}, "versions.boolq: expected a number, found [2]"),
    ({"versions": {"boolq": float("inf")}}, "versions.boolq: expected a number, found Infinity"),
    ({"higher_is_better": {"boolq": {"acc": False}}}, "higher_is_better.boolq.acc: false, but of it more is better"),
]


@pytest.mark.parametrize(("change", "said"), NUMBERS, ids=[said for _, said in NUMBERS])
def test_a_number_that_cannot_be_refuses_the_file_in_one_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    whole, damaged = write(tmp_path / "b", {}), write(tmp_path / "a", change)
    for arguments in (["gate", damaged, "--baseline", whole], ["compare", whole, damaged], ["report", damaged]):
        code, output = call(*arguments)
        assert (code, output.count("\n")) == (2, 1), output
        assert said in output


@pytest.mark.parametrize("stderr", ["N/A", None])
def test_a_score_may_have_no_error(tmp_path: Path, stderr: str | None) -> None:
    whole, other = write(tmp_path / "b", {}), write(tmp_path / "a", score(**{"acc_stderr,none": stderr}))
    assert call("gate", other, "--baseline", whole)[0] == 0


@pytest.mark.parametrize(("stderr", "counts"), [(0.0, ", which counts"), (0.3, " at most")])
def test_an_error_that_is_not_that_of_its_score_is_said(tmp_path: Path, stderr: float, counts: str) -> None:
    damaged = write(tmp_path / "a", score(**{"acc_stderr,none": stderr}))
    # A share of one half of 40 documents: sqrt(0.5 * 0.5 / 39).
    said = f"boolq acc: stderr {stderr:g}, but 0.5 of 40 documents has one of 0.08006{counts}"
    assert said in call("report", damaged)[1]
    assert said in call("gate", damaged, "--baseline", write(tmp_path / "b", {}))[1]


def test_fewer_samples_than_the_task_has_are_a_limit_where_the_file_says_none(tmp_path: Path) -> None:
    from evalkit.results.reading import read_run

    folder = write(tmp_path / "a", {})
    (file,) = folder.glob("results_*.json")
    found = json.loads(file.read_text())
    del found["n-samples"], found["config"]["limit"]
    file.write_text(json.dumps(found))
    assert read_run(folder).config.limit == 40
    assert read_run(folder).metrics["boolq"]["acc"].n == 40


def test_a_file_of_the_old_line_without_counts_is_limited_as_its_errors_say(tmp_path: Path) -> None:
    from evalkit.results.reading import read_run

    # 0.5 with 0.0503 is a share of 100 documents; boolq has 3,270.
    old = {"results": {"boolq": {"acc": 0.5, "acc_stderr": 0.050252}}, "versions": {"boolq": 1}}
    file = tmp_path / "old.json"
    file.write_text(json.dumps(old | {"config": {"num_fewshot": 0}}))
    assert (read_run(file).config.limit, read_run(file).protocol) == (100, "lm-eval-0.3, limit 100")
    file.write_text(json.dumps(old | {"config": {"num_fewshot": 0, "limit": None}}))
    assert "but 0.5 of 3,270 documents has one of 0.008745 at most" in call("report", file)[1]


def test_what_only_one_of_two_files_records_is_said(tmp_path: Path) -> None:
    whole, bare = write(tmp_path / "b", {}), write(tmp_path / "a", {})
    (file,) = bare.glob("results_*.json")
    found = json.loads(file.read_text())
    del found["versions"], found["task_hashes"]
    file.write_text(json.dumps(found))
    code, output = call("gate", bare, "--baseline", whole)
    assert code == 0
    for what in ("version", "hash"):
        assert f"{what}: only the baseline records that of boolq" in output


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.eval", b"PK", "; logs of inspect are not read"),
        ("a.csv", b"dataset,version,metric,mode,llama\nARC-c,1e0de5,accuracy,gen,50.85\n", "summaries of OpenCompass"),
    ],
)
def test_a_file_of_another_harness_is_said_to_be_one(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    code, output = call("report", tmp_path / name)
    assert (code, output.count("\n"), said in output) == (2, 1, True), output
