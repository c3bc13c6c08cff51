"""What lm-eval 0.4.13 itself wrote (tests/golden/lm-eval) as runs: every command, and beside a run of evalkit.

The right values are those that stand in the files, read here by json alone.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from evalkit.baselines import Baseline, load_baseline
from evalkit.cli import main
from evalkit.comparison.compare import compare
from evalkit.comparison.explain import Cause, explain
from evalkit.comparison.pairing import pair_samples
from evalkit.comparison.points import points_of_run, read_data
from evalkit.config.suites import find_task
from evalkit.records.samples import Sample
from evalkit.results.reading import read_run, read_samples
from evalkit.tables import p_text

pytestmark = pytest.mark.torch_free

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
A, B = GOLDEN / "lm-eval" / "a", GOLDEN / "lm-eval" / "b"
SAMPLES = Path(__file__).resolve().parents[3] / "evalkit" / "samples"
OURS = GOLDEN / "runs" / "tiny-samples"
CARD = "openhermes-2.5-mistral-7b"


def said(folder: Path) -> dict[str, Any]:
    (file,) = folder.rglob("results_*.json")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def values(folder: Path, task: str) -> list[float]:
    (file,) = folder.rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line)["acc"] for line in file.read_text(encoding="utf-8").splitlines()]


def documents() -> list[dict[str, Any]]:
    """The documents that both runs were asked."""
    lines = (SAMPLES / "truthfulqa" / "multiple_choice" / "validation.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in lines.splitlines()]


def truthfulqa(folder: Path) -> list[Sample]:
    return [sample for sample in read_samples(folder) if sample.task == "truthfulqa_mc"]


def cli(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(main, [str(word) for word in words])
    return found.exit_code, found.output


def without_samples(target: Path, source: Path = A, **changes: Any) -> Path:
    """Copy a folder without its samples files; `changes` replace keys of the results file."""
    target.mkdir()
    (file,) = source.rglob("results_*.json")
    (target / file.name).write_text(json.dumps({**said(source), **changes}), encoding="utf-8")
    return target


def whole(target: Path, **changes: Any) -> Path:
    """Write lm-eval's results of a whole TruthfulQA: 817 documents."""
    found = said(A)
    for task in ("truthfulqa_mc1", "truthfulqa_mc2"):
        share = {"truthfulqa_mc1": 0.35, "truthfulqa_mc2": 0.5}[task]
        found["results"][task] |= {"acc,none": share, "acc_stderr,none": 0.0167 if task.endswith("1") else 0.015}
        found["n-samples"][task] = {"original": 817, "effective": 817}
    for key in ("results", "n-samples", "configs", "versions", "n-shot"):
        found[key].pop("openbookqa", None)
    target.mkdir()
    (target / "results_2026-01-01T00-00-00.000000.json").write_text(json.dumps(found | changes), encoding="utf-8")
    return target


def test_what_stands_beside_the_metrics_is_no_score() -> None:
    assert {"name", "alias", "sample_len"} <= said(A)["results"]["openbookqa"].keys()
    assert "no number" not in cli("report", A)[1]
    record = read_run(A)
    assert record.foreign is not None
    assert (record.foreign.unread, record.foreign.ignored) == ((), ())


def test_versions_are_the_files_in_every_format() -> None:
    versions = {task: str(version) for task, version in said(A)["versions"].items()}
    assert versions == {"openbookqa": "1.0", "truthfulqa_mc1": "2.0", "truthfulqa_mc2": "3.0"}
    expected = [("openbookqa", "acc", "1.0"), ("openbookqa", "acc_norm", "1.0")]
    expected += [("truthfulqa_mc", "mc1", "2.0"), ("truthfulqa_mc", "mc2", "3.0")]
    rows = list(csv.DictReader(io.StringIO(cli("report", A, "--format", "csv")[1])))
    assert [(r["task"], r["metric"], r["version"]) for r in rows if r["version"]] == expected
    rows = json.loads(cli("report", A, "--format", "json")[1])["rows"]
    assert [(r["task"], r["metric"], str(r["version"])) for r in rows if r["version"] is not None] == expected
    markdown = cli("report", A)[1]
    assert re.search(r"\|truthfulqa_mc\| +2\.0\|mc1 ", markdown)
    assert re.search(r"\| +\| +3\.0\|mc2 ", markdown)
    assert re.search(r"truthfulqa\\_mc & 2.0 & mc1", cli("report", A, "--format", "latex")[1])


def test_truthfulqa_pairs_with_a_run_of_evalkit_by_requests_and_gold() -> None:
    found = compare(OURS, A, tasks=["truthfulqa_mc", "openbookqa"])
    changes = {change.task: change for change in found.tasks}
    theirs = values(A, "truthfulqa_mc2")
    assert changes["truthfulqa_mc"].difference.documents == len(theirs) == 10
    assert changes["truthfulqa_mc"].b == pytest.approx(100 * sum(theirs) / len(theirs))
    assert changes["openbookqa"].difference.documents == 10
    own = [s for s in read_samples(OURS) if s.task == "truthfulqa_mc"]
    assert changes["truthfulqa_mc"].a == pytest.approx(100 * sum(s.metrics["mc2"] or 0 for s in own) / len(own))
    # Both groups of continuations, in the order in which a run of evalkit has them, and what is right in them.
    for sample, ours, doc in zip(truthfulqa(A), own, documents(), strict=True):
        first, second = len(doc["mc1_targets"]["choices"]), doc["mc2_targets"]["labels"]
        assert sample.continuations == ours.continuations
        assert sample.second_group == first
        assert sample.gold == [0, *(first + place for place, label in enumerate(second) if label)]
    refused = cli("gate", A, "--baseline", OURS, "--suite", "truthfulqa")[1]
    assert "data: not known to be the same for truthfulqa_mc: lm-eval and evalkit hash documents" in refused
    code, text = cli(
        *("gate", A, "--baseline", OURS, "--suite", "truthfulqa"),
        *(w for name in ("data", "protocol", "dtype", "limit") for w in ("--allow-different", name)),
    )
    assert code in (0, 1, 3)
    assert "paired, document by document" in text


@pytest.mark.parametrize("task", ["mc1", "mc2"])
def test_one_of_the_two_tasks_pairs_by_the_requests_that_its_metric_sees(task: str, tmp_path: Path) -> None:
    shutil.copytree(A, tmp_path / "a")
    other = {"mc1": "mc2", "mc2": "mc1"}[task]
    for file in (tmp_path / "a").rglob(f"samples_truthfulqa_{other}_*"):
        file.unlink()
    theirs = truthfulqa(tmp_path / "a")
    assert {metric for sample in theirs for metric in sample.metrics} == {task}
    ours = [
        replace(sample, second_group=len(doc["mc1_targets"]["choices"]))
        for sample, doc in zip(truthfulqa(OURS), documents(), strict=True)
    ]
    for left, right in ((ours, theirs), (theirs, ours)):
        found = pair_samples(find_task("truthfulqa_mc"), left, right, by_content=True)
        assert [s.doc_id for s in found.candidate] == [s.doc_id for s in found.baseline] == list(range(10))


def test_two_filters_of_a_task_are_one_document_of_the_same_requests(tmp_path: Path) -> None:
    shutil.copytree(A, tmp_path / "a")
    for file in (tmp_path / "a").rglob("samples_openbookqa_*"):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        twice = [line | {"filter": name} for line in lines for name in ("none", "other")]
        for task in ("openbookqa", "gsm8k"):
            target = file.with_name(file.name.replace("openbookqa", task))
            target.write_text("".join(json.dumps(line) + "\n" for line in twice), encoding="utf-8")
    for sample in read_samples(tmp_path / "a"):
        if sample.task in ("openbookqa", "gsm8k"):
            assert sample.metrics.keys() == {"acc", "acc_norm", "acc,other", "acc_norm,other"}
            assert (len(sample.continuations), sample.second_group) == (4, None)


def test_that_no_document_is_the_same_is_said_only_where_it_is_true(tmp_path: Path) -> None:
    shutil.copytree(A, tmp_path / "a")
    for file in (tmp_path / "a").rglob("samples_*"):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            line["arguments"] = {
                key: {**pair, "arg_0": "other " + pair["arg_0"]} for key, pair in line["arguments"].items()
            }
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    code, text = cli("compare", OURS, tmp_path / "a")
    assert code == 2
    assert "none has the same requests and the same gold answer in both" in text


def test_without_samples_all_but_documents_is_shown(tmp_path: Path) -> None:
    a, b = without_samples(tmp_path / "a"), without_samples(tmp_path / "b", B)
    page = tmp_path / "page.html"
    for words in (
        ("report", a, "--html", page),
        ("report", a, b, "--html", page),
        ("report", A, "--against", b, "--html", page),
        ("report", a, "--against", CARD, "--html", page),
    ):
        code, text = cli(*words)
        assert code == 0, (words, text)
        html = page.read_text(encoding="utf-8")
        assert "no documents: there are no samples files beside" in html
        assert f"{100 * said(A)['results']['truthfulqa_mc2']['acc,none']:.2f}" in html
    assert "No documents are there to look at." in html
    scores = points_of_run(read_data(read_run(a)))
    point, known = scores.suites["truthfulqa"], said(A)["results"]["truthfulqa_mc2"]
    assert point.value == pytest.approx(100 * known["acc,none"])
    assert point.stderr is not None
    # The file's error, or wider: what ten documents could hide.
    assert 1 <= point.stderr / (100 * known["acc_stderr,none"]) < 1.1


def test_a_plot_without_samples_says_so(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, text = cli("plot", without_samples(tmp_path / "a"), "--out", tmp_path / "p.svg")
    assert code == 0
    assert "no documents: there are no samples files beside" in text


def test_samples_that_were_lost_are_still_lost(tmp_path: Path) -> None:
    shutil.copytree(A, tmp_path / "a")
    for file in (tmp_path / "a").rglob("samples_openbookqa_*"):
        file.unlink()
    code, text = cli("report", tmp_path / "a", "--html", tmp_path / "page.html")
    assert code == 2
    assert "10 are lost" in text


def test_part_of_a_suite_is_judged_without_samples_too(tmp_path: Path) -> None:
    a, b = without_samples(tmp_path / "a"), without_samples(tmp_path / "b", B)
    code, text = cli("gate", a, "--baseline", b)
    assert code in (0, 1, 3), text
    assert "GPT4All (1 of 7 tasks)" in text
    theirs = [said(folder)["results"]["openbookqa"]["acc_norm,none"] for folder in (B, A)]
    assert re.search(rf"GPT4All \(1 of 7 tasks\) \| +{100 * theirs[0]:.2f} \| +{100 * theirs[1]:.2f} ", text)


def test_the_harness_that_measured_is_named() -> None:
    text = cli("report", A, "--against", CARD)[1]
    assert "measured by lm-eval, protocol lm-eval-0.4" in text
    assert "measured by evalkit" not in text


def test_a_folder_is_imported_and_audited(tmp_path: Path) -> None:
    code, text = cli("baselines", "import", A, "--output", tmp_path / "own.yaml")
    assert code == 0, text
    row = load_baseline(str(tmp_path / "own.yaml")).tasks["truthfulqa_mc"]["mc2"]
    assert float(row.value) == said(A)["results"]["truthfulqa_mc2"]["acc,none"]
    assert cli("audit", A)[0] in (0, 1)


def test_a_named_run_without_a_score_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a"
    shutil.copytree(A, folder)
    for file in folder.rglob("samples_truthfulqa_*"):
        file.unlink()
    (file,) = folder.rglob("results_*.json")
    found = said(A)
    for task in ("truthfulqa_mc1", "truthfulqa_mc2"):
        found["results"].pop(task)
    file.write_text(json.dumps(found), encoding="utf-8")
    code, text = cli("leaderboard", folder)
    assert code == 0
    assert "dummy (run)" in text
    assert "no suite is complete (1 of 7 tasks of GPT4All with a score and its error)" in text
    assert "dummy (run)" in cli("leaderboard", folder, "--format", "csv")[1]
    (tmp_path / "own").mkdir()
    assert cli("baselines", "import", folder, "--name", "own model", "--output", tmp_path / "own")[0] == 0
    monkeypatch.setenv("EVALKIT_BASELINES", str(tmp_path / "own"))
    text = cli("leaderboard")[1]
    assert "No score: own model (own-model): no suite is complete (1 of 7 tasks of GPT4All)" in text


def own_import(tmp_path: Path, file: Path) -> Path:
    assert cli("baselines", "import", file, "--output", tmp_path / "own.yaml")[0] == 0
    return tmp_path / "own.yaml"


def test_data_that_are_not_recorded_do_not_refuse(tmp_path: Path) -> None:
    run = whole(tmp_path / "run")
    code, text = cli("gate", run, "--baseline", own_import(tmp_path, run))
    assert code in (0, 3), text
    assert "data: not recorded whether truthfulqa_mc had the published content" in text
    assert "other content" not in text
    assert "protocol: lm-eval-0.4 for truthfulqa" in cli("gate", run, "--baseline", CARD)[1]
    code, text = cli("gate", run, "--baseline", CARD, "--across-protocols")
    assert code in (0, 1, 3), text


def causes(run: Path, against: str | Path, **options: bool) -> dict[str, Cause]:
    (found,) = explain(run, str(against), ["truthfulqa"], **options).suites
    return {cause.name: cause for cause in found.causes}


def test_what_is_not_recorded_is_neither_found_nor_ruled_out(tmp_path: Path) -> None:
    run = whole(tmp_path / "run")
    across = causes(run, CARD, across_protocols=True)
    assert (across["protocol"].standing, across["BOS token"].standing) == ("found", "unknown")
    assert "published by nous-2023, run by lm-eval-0.4" in across["protocol"].finding
    assert across["BOS token"].finding.startswith("not recorded")
    assert (across["data"].standing, across["data"].points) == ("unknown", None)
    # The file says that neither was used, and so does the protocol.
    found = said(A)
    assert found["chat_template"] is None
    assert found["system_instruction"] is None
    assert {across[name].standing for name in ("chat template", "system prompt")} == {"ruled out"}

    same = causes(run, own_import(tmp_path, run))
    assert (same["protocol"].standing, same["protocol"].finding) == ("ruled out", "both by lm-eval-0.4")
    unknown = ("task versions", "BOS token", "chat template", "system prompt", "data", "number of documents")
    for name in unknown:
        assert (same[name].standing, "not recorded" in same[name].finding) == ("unknown", True), name
    assert "fingerprints are in its record" not in same["tokenizer, checkpoint"].finding


@pytest.mark.parametrize(
    ("changes", "name", "standing"),
    [
        ({"config": {"model": "hf", "model_args": "pretrained=a/b,add_bos_token=True"}}, "BOS token", "found"),
        ({"config": {"model": "hf", "model_args": {"add_bos_token": False}}}, "BOS token", "ruled out"),
        ({"system_instruction": "Be brief."}, "system prompt", "found"),
        ({"chat_template": "{{ messages }}"}, "chat template", "found"),
        ({"config": {"model": "hf", "model_dtype": "torch.bfloat16"}}, "dtype", "unknown"),
        ({"config": {"model": "hf"}, "n-samples": {}}, "number of documents", "unknown"),
    ],
)
def test_what_a_file_records_is_used(changes: dict[str, Any], name: str, standing: str, tmp_path: Path) -> None:
    cause = causes(whole(tmp_path / "run", **changes), CARD, across_protocols=True)[name]
    assert cause.standing == standing
    if name == "dtype":
        assert "run in bfloat16" in cause.finding


def test_two_unknown_protocols_are_not_one(tmp_path: Path) -> None:
    found = {"results": {"truthfulqa_mc": {"mc1": 0.35, "mc1_stderr": 0.0167, "mc2": 0.5, "mc2_stderr": 0.015}}}
    (tmp_path / "plain.json").write_text(json.dumps(found), encoding="utf-8")
    baseline = own_import(tmp_path, tmp_path / "plain.json")
    known: Baseline = load_baseline(str(baseline))
    assert known.protocol_of("truthfulqa") == "unknown"
    code, text = cli("gate", tmp_path / "plain.json", "--baseline", baseline)
    assert (code, "protocol: unknown for truthfulqa" in text) == (2, True)
    cause = causes(tmp_path / "plain.json", baseline)["protocol"]
    assert (cause.standing, cause.finding) == ("unknown", "not recorded by the run and the publication")


def test_what_the_file_says_nothing_of_is_unknown_in_a_comparison() -> None:
    settings = {name: (a, b) for name, a, b in compare(OURS, A, tasks=["truthfulqa_mc"]).settings}
    assert settings["config.apply_chat_template"] == ("False", "unknown")
    assert "config.trust_remote_code" not in settings
    notes = "\n".join(compare(OURS, A, tasks=["truthfulqa_mc"]).notes)
    assert "absent" not in notes
    assert "lm-eval and evalkit hash documents in different ways, so documents were matched by content" in notes


def test_the_page_names_the_test_whose_p_it_prints(tmp_path: Path) -> None:
    assert cli("report", A, B, "--html", tmp_path / "page.html")[0] == 0
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    compared = {change.task: change for change in compare(A, B).tasks}
    shown = re.findall(r'<tr data-suite="[^"]+" data-headline>(.*?)</tr>', html, re.DOTALL)
    printed = {
        re.search(r'data-task="(\w+)"', row)[1]: re.findall(r"<td[^>]*>([^<]*)</td>", row)[-1]  # type: ignore[index]
        for row in shown
    }
    assert printed == {task: p_text(change.p_holm) for task, change in compared.items()}
    assert "McNemar&#39;s exact test for right and wrong answers of independent documents" in html
    assert "Student" not in html


def test_the_command_that_explain_names_for_two_runs_works() -> None:
    code, text = cli("explain", A, "--against", OURS)
    assert code == 2
    named = re.search(r"`evalkit (compare [^`]+)` says", text)
    assert named is not None
    assert cli(*named[1].split())[0] == 0


def test_samples_packed_by_gzip_are_read_as_they_are(tmp_path: Path) -> None:
    shutil.copytree(A, tmp_path / "a")
    for file in sorted(tmp_path.rglob("samples_*.jsonl")):
        Path(f"{file}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert [msgspec.to_builtins(s) for s in read_samples(tmp_path / "a")] == [
        msgspec.to_builtins(s) for s in read_samples(A)
    ]
    code, text = cli("compare", tmp_path / "a", B)
    assert (code, "TruthfulQA" in text) == (0, True)
    # Beside the file that was packed, it is not a second one; a cut one is named.
    (whole_one,) = A.rglob("samples_openbookqa_*.jsonl")
    (packed,) = tmp_path.rglob("samples_openbookqa_*.gz")
    shutil.copy(whole_one, packed.with_suffix(""))
    assert cli("compare", tmp_path / "a", A)[0] == 0
    packed.with_suffix("").unlink()
    packed.write_bytes(packed.read_bytes()[:-20])
    code, text = cli("compare", tmp_path / "a", B)
    assert (code, f"{packed}: damaged, not whole as gzip" in text) == (2, True)


@pytest.mark.parametrize("tasks", ["openbookqa", "*"])
def test_samples_of_former_names_packed_otherwise_are_named_too(tasks: str, tmp_path: Path) -> None:
    (results,) = A.rglob("results_*.json")
    found = json.loads(results.read_text(encoding="utf-8"))
    found["config"]["model_args"] = "pretrained=a/b"
    (tmp_path / "a").mkdir()
    (tmp_path / "a/results.json").write_text(json.dumps(found), encoding="utf-8")
    for file in A.rglob("samples_*.jsonl"):
        task = file.name.removeprefix("samples_").rsplit("_", 1)[0]
        is_packed = tasks in ("*", task)
        shutil.copy(file, tmp_path / "a" / f"pretrained__a__b_{task}.jsonl{'.zst' if is_packed else ''}")
    code, text = cli("compare", tmp_path / "a", B)
    (named,) = re.findall(r"error: (\S+): packed in a form that is not read; unpack it there, or pack it by gzip", text)
    assert (code, Path(named).is_file(), named.endswith(".jsonl.zst")) == (2, True, True)


@pytest.mark.parametrize("tasks", ["truthfulqa_mc2", "*"])
def test_samples_packed_otherwise_are_named_not_lost(tasks: str, tmp_path: Path) -> None:
    shutil.copytree(A, tmp_path / "a")
    for file in sorted(tmp_path.rglob(f"samples_{tasks}_*.jsonl")):
        file.rename(f"{file}.zst")
    code, text = cli("compare", tmp_path / "a", B)
    (named,) = re.findall(r"error: (\S+): packed in a form that is not read; unpack it there, or pack it by gzip", text)
    assert (code, Path(named).is_file(), named.endswith(".jsonl.zst")) == (2, True, True)
    assert cli("report", tmp_path / "a")[0] == 0


def test_half_of_truthfulqas_samples_is_named_by_the_metric_that_is_lost(tmp_path: Path) -> None:
    shutil.copytree(A, tmp_path / "a")
    (lost,) = tmp_path.rglob("samples_truthfulqa_mc2_*.jsonl")
    lost.unlink()
    code, text = cli("compare", tmp_path / "a", B)
    assert (code, "truthfulqa_mc: no samples file has its mc2; copy all of them again" in text) == (2, True)
