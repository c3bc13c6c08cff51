"""The files of a record belong together: another run's run.json beside the samples is refused, as are odd values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from evalkit.cli import main

pytestmark = pytest.mark.torch_free

RECORDED = Path(__file__).parents[2] / "golden" / "runs" / "tiny-samples"


def gate(folder: Path) -> tuple[int, str]:
    found = CliRunner().invoke(main, ["gate", str(folder), "--baseline", str(RECORDED)])
    return found.exit_code, found.output


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("value", 0.9, "results.piqa.acc_norm,none: 0.7, but evalkit.tasks says 0.9"),
        ("value", "0.9", "damaged"),
        ("n", "10", "damaged"),
        ("n", True, "damaged"),
        ("failed", None, "damaged"),
    ],
)
def test_a_score_that_is_not_the_samples(key: str, value: object, message: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    document["evalkit"]["tasks"]["piqa"]["acc_norm"][key] = value
    (folder / "run.json").write_text(json.dumps(document), encoding="utf-8")
    code, said = gate(folder)
    assert (code, said.count("\n")) == (2, 1)
    assert message in said


def test_a_sample_whose_metric_is_no_number(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    sample = json.loads(lines[3])
    sample["metrics"] = dict.fromkeys(sample["metrics"], "0.0")
    lines[3] = json.dumps(sample)
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, said = gate(folder)
    assert code == 2
    assert "samples.jsonl:4: damaged line" in said


def lines_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]


def write_lines(folder: Path, samples: list[dict[str, object]]) -> None:
    (folder / "samples.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples), encoding="utf-8")


def dropped(folder: Path, task: str, *, also_samples: bool) -> None:
    """Take a task out of run.json."""
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    document["evalkit"]["tasks"].pop(task)
    (folder / "run.json").write_text(json.dumps(document), encoding="utf-8")
    if also_samples:
        write_lines(folder, [sample for sample in lines_of(folder) if sample["task"] != task])


@pytest.mark.parametrize("kind", ["swapped", "replaced", "another gold"])
def test_other_documents_at_the_same_positions(kind: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    samples = lines_of(folder)
    boolq = [sample for sample in samples if sample["task"] == "boolq"]
    if kind == "swapped":
        boolq[0]["doc_id"], boolq[1]["doc_id"] = boolq[1]["doc_id"], boolq[0]["doc_id"]
    elif kind == "replaced":
        boolq[0]["context"] = boolq[1]["context"] = "another question"
    else:
        for sample in boolq[:2]:
            sample["target"] = 1 - int(str(sample["target"]))
    write_lines(folder, samples)
    code, said = gate(folder)
    assert (code, said.count("\n")) == (2, 1)
    assert "boolq: 2 of 10 documents are others at the same position (0, 1)" in said


def test_both_runs_damaged_alike(tmp_path: Path) -> None:
    folders = [Path(shutil.copytree(RECORDED, tmp_path / name)) for name in ("a", "b")]
    for folder in folders:
        document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        document["evalkit"]["tasks"]["boolq"]["acc"]["n"] = 7
        document["n-samples"]["boolq"]["effective"] = 7
        (folder / "run.json").write_text(json.dumps(document), encoding="utf-8")
        write_lines(folder, [s for s in lines_of(folder) if s["task"] != "boolq" or int(str(s["doc_id"])) < 7])
    found = CliRunner().invoke(main, ["gate", str(folders[0]), "--baseline", str(folders[1])])
    assert found.exit_code == 2
    assert "boolq: 7 documents are counted, but its data had 10" in found.output
    for folder in folders:
        dropped(folder, "boolq", also_samples=False)
    found = CliRunner().invoke(main, ["gate", str(folders[0]), "--baseline", str(folders[1])])
    assert found.exit_code == 2
    assert "boolq: 7 documents, but run.json counts 0" in found.output


def test_what_neither_run_has_is_lost(tmp_path: Path) -> None:
    folders = [Path(shutil.copytree(RECORDED, tmp_path / name)) for name in ("a", "b")]
    for folder in folders:
        write_lines(folder, [s for s in lines_of(folder) if s["task"] != "boolq" or int(str(s["doc_id"])) < 7])
    asked = ["gate", str(folders[0]), "--baseline", str(folders[1])]
    assert CliRunner().invoke(main, asked).exit_code == 2
    found = CliRunner().invoke(main, [*asked, "--allow-missing"])
    assert found.exit_code == 3
    assert "missing: neither run has 3 documents (3 of boolq), which count as right in the baseline" in found.output


@pytest.mark.parametrize(("rule", "code"), [("refuse", 2), ("undecided", 3), ("ignore", 0)])
def test_a_policy_says_what_an_incomplete_suite_means(rule: str, code: int, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    dropped(folder, "boolq", also_samples=True)
    policy = tmp_path / "gate.yaml"
    policy.write_text(f"missing: {rule}\n", encoding="utf-8")
    asked = ["gate", str(folder), "--baseline", str(RECORDED), "--policy", str(policy)]
    found = CliRunner().invoke(main, asked)
    assert found.exit_code == code
    assert ("| GPT4All" in found.output) is False


def test_a_policy_with_a_key_given_twice_or_an_average_of_one_suite(tmp_path: Path) -> None:
    policy = tmp_path / "gate.yaml"
    for text, message in (
        ("margin: 1\nmargin: 2\n", "key 'margin' is there twice"),
        ("suites:\n  gpt4all: {margin: 1}\n  gpt4all: {margin: 9}\n", "key 'gpt4all' is there twice"),
        ("suites:\n  gpt4all: {}\naverage: {margin: 1}\n", "takes two of the total"),
    ):
        policy.write_text(text, encoding="utf-8")
        found = CliRunner().invoke(main, ["gate", str(RECORDED), "--baseline", str(RECORDED), "--policy", str(policy)])
        assert (found.exit_code, found.output.count("\n")) == (2, 1)
        assert message in found.output


@pytest.mark.parametrize("command", ["gate", "compare"])
def test_a_bad_byte_is_a_damaged_line_and_no_verdict(command: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    file = folder / "samples.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:4], lines[4][:30] + b"\xff" + lines[4][30:], *lines[5:]]))
    asked = {
        "gate": ["gate", str(folder), "--baseline", str(RECORDED)],
        "compare": ["compare", str(folder), str(RECORDED)],
    }
    found = CliRunner().invoke(main, asked[command])
    assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output
    assert "samples.jsonl:5: damaged line" in found.output


def test_a_bad_byte_in_the_samples_of_another_harness(tmp_path: Path) -> None:
    files = [lm_eval_run(tmp_path / name, [1, 0] * 20) for name in ("a", "b")]
    (samples,) = files[0].parent.glob("samples_*")
    samples.write_bytes(samples.read_bytes() + b"\xff\n")
    found = CliRunner().invoke(main, ["gate", str(files[0]), "--baseline", str(files[1])])
    assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output
    assert f"{samples.name}:41: damaged line" in found.output


def lm_eval_run(folder: Path, right: list[int], task: str = "boolq", **metrics: float) -> Path:
    """Write a results file with samples of one task, as lm-eval lays them out; `metrics` in place of the mean."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = "2024-05-01T00-00-00.000000"
    scores = {f"{name},none": value for name, value in (metrics or {"acc": sum(right) / len(right)}).items()}
    file = folder / f"results_{stamp}.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"results": {}, "n-samples": {}}
    found |= {"config": {"model": "hf"}, "model_name": "m"}
    found["results"][task] = {"alias": task, **scores}
    found["n-samples"][task] = {"original": len(right), "effective": len(right)}
    file.write_text(json.dumps(found), encoding="utf-8")
    lines = [
        {
            "doc_id": i,
            "target": "0",
            "arguments": {f"gen_args_{j}": {"arg_0": f"{task} {i}", "arg_1": f" {j}"} for j in (0, 1)},
            "filtered_resps": [[-1.0 - value, "False"], [-2.0, "False"]],
            "filter": "none",
            "metrics": ["acc"],
            "doc_hash": f"{task}{i}",
            "acc": float(value),
        }
        for i, value in enumerate(right)
    ]
    (folder / f"samples_{task}_{stamp}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_two_results_files_of_a_task_are_refused_and_the_one_with_samples_is_named(tmp_path: Path) -> None:
    older = lm_eval_run(tmp_path / "a", [1, 0] * 20)
    newer = older.with_name("results_2024-06-01T00-00-00.000000.json")
    newer.write_bytes(older.read_bytes())
    other = str(lm_eval_run(tmp_path / "b", [1, 0] * 20))
    compared = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), other])
    assert compared.exit_code == 2, compared.output
    assert (
        f"({older.name}, {newer.name}), so nothing says which counts; name one of them, e.g. {older}" in compared.output
    )
    assert CliRunner().invoke(main, ["compare", str(older), other]).exit_code == 0


@pytest.mark.parametrize("said", [0.1, 0.4999, 0.75])
def test_scores_of_another_harness_that_are_not_its_samples(said: float, tmp_path: Path) -> None:
    file = lm_eval_run(tmp_path / "a", [1, 0] * 20, acc=said)
    other = str(lm_eval_run(tmp_path / "b", [1, 0] * 20))
    gated = ["gate", str(file), "--baseline", other]
    for arguments in (gated, [*gated, "--allow-missing"], ["compare", other, str(file)]):
        found = CliRunner().invoke(main, arguments)
        assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output
        assert f"mean acc is 0.5000, but {file.name} says {said:.4f}; the files are not of one run" in found.output


def test_a_rounded_score_of_another_harness_is_its_samples(tmp_path: Path) -> None:
    file = lm_eval_run(tmp_path / "a", [1, 0, 1] * 13, acc=0.6667)
    found = CliRunner().invoke(main, ["gate", str(file), "--baseline", str(file.parent)])
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("aggregation", ["median", "def mine(items): ...", "mean"])
def test_a_metric_of_another_harness_that_is_no_mean_is_not_held_to_it(aggregation: str, tmp_path: Path) -> None:
    file = lm_eval_run(tmp_path / "a", [1, 0, 1] * 13, acc=1.0)  # the median
    found = json.loads(file.read_text(encoding="utf-8"))
    found["configs"] = {"boolq": {"metric_list": [{"metric": "acc", "aggregation": aggregation}]}}
    file.write_text(json.dumps(found), encoding="utf-8")
    gated = CliRunner().invoke(main, ["gate", str(file), "--baseline", str(file.parent)])
    assert gated.exit_code == (2 if aggregation == "mean" else 0), gated.output


def without_task(folder: Path, task: str) -> None:
    write_lines(folder, [sample for sample in lines_of(folder) if sample["task"] != task])


def test_a_task_without_any_samples_is_wrong_as_a_whole(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    without_task(folder, "boolq")
    before = json.loads((RECORDED / "run.json").read_text(encoding="utf-8"))["evalkit"]["tasks"]["boolq"]["acc"]
    asked = ["gate", str(folder), "--baseline", str(RECORDED), "--suite", "gpt4all", "--margin", "90"]
    refused = CliRunner().invoke(main, asked)
    assert refused.exit_code == 2
    assert "boolq: 0 documents, but run.json counts 10: 10 are lost" in refused.output
    path = tmp_path / "gate.json"
    found = CliRunner().invoke(main, [*asked, "--allow-missing", "--json", str(path)])
    assert found.exit_code in (0, 1, 3), found.output
    assert "missing: the candidate lacks 10 documents (10 of boolq), which count as wrong" in found.output
    (part,) = json.loads(path.read_text(encoding="utf-8"))["parts"]
    assert part["difference"] == pytest.approx(-100 * before["value"] / 7)
    assert part["documents"] == 70


def test_a_task_that_neither_run_or_only_the_candidate_has_samples_of(tmp_path: Path) -> None:
    a, b = (Path(shutil.copytree(RECORDED, tmp_path / name)) for name in ("a", "b"))
    without_task(b, "boolq")
    asked = ["gate", str(a), "--baseline", str(b), "--allow-missing"]
    found = CliRunner().invoke(main, asked)
    assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output
    assert "boolq: the two runs have no document in common; the baseline's samples of it are missing" in found.output
    without_task(a, "boolq")
    found = CliRunner().invoke(main, asked)
    assert found.exit_code in (1, 3), found.output
    assert "missing: neither run has 10 documents (10 of boolq), which count as right in the baseline" in found.output


def test_a_task_of_another_harness_without_any_samples_is_wrong_as_a_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lm_eval_run(tmp_path / name, [1, 0] * 20)
        lm_eval_run(tmp_path / name, [1, 1, 1, 0] * 10, "winogrande")
    (samples,) = (tmp_path / "a").glob("samples_winogrande_*")
    samples.unlink()
    path = tmp_path / "gate.json"
    asked = ["gate", str(tmp_path / "a"), "--baseline", str(tmp_path / "b"), "--allow-missing", "--json", str(path)]
    found = CliRunner().invoke(main, asked)
    assert found.exit_code == 1, found.output
    assert "missing: the candidate lacks 40 documents (40 of winogrande), which count as wrong" in found.output
    (part,) = json.loads(path.read_text(encoding="utf-8"))["parts"]
    assert part["difference"] == pytest.approx(-75 / 2)
