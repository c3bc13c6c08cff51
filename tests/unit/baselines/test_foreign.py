"""Tables of other layouts, marks in cells, and lm-eval's own results files: right numbers or none."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evalkit.baselines.published import Log
from evalkit.baselines.reading.cells import score_of
from evalkit.baselines.reading.importer import import_log
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.text import numbered_lines
from evalkit.cli import main
from evalkit.comparison.pairing import pair_samples
from evalkit.config.suites import find_task
from evalkit.errors import DataError
from evalkit.results.lm_eval_files import read_foreign_run
from evalkit.results.lm_eval_samples import read_foreign_samples

pytestmark = pytest.mark.torch_free
SHARED = Path(os.environ.get("EVALKIT_SHARED", Path(__file__).resolve().parents[4] / "shared"))
needs_shared = pytest.mark.skipif(not (SHARED / "tables").is_dir(), reason="reference material (../shared) is absent")
HEADING = "|Task|Version|Metric|Value|   |Stderr|\n|---|---|---|---|---|---|\n"


def read(text: str) -> Log:
    return parse_log("log.md", numbered_lines(text))


@pytest.mark.parametrize(
    "cell",
    [
        "0.8001†",
        "0.8001*",
        "0.8001¹",
        "0.8001<sup>1</sup>",
        "0.8001[^1]",
        "0.8001①",
        "🥇0.8001",
        "0.8001↑",
        "`0.8001`",
        "0.8001",
        "8.001e-1",
        "8.001×10⁻¹",
        "80.01%",
        "0.8001(+0.5)",
    ],
)
def test_marks_beside_a_number_leave_it_as_it_is(cell: str) -> None:
    (row,) = read(f"{HEADING}|piqa|0|acc|{cell}|±|0.0093|\n").models[0].tables[0].rows
    assert row.value == Decimal("0.8001")


@pytest.mark.parametrize(
    "cell", ["", "nan", "N/A", "-", "~0.6", "<0.6", "0.5-0.6", "0.6 (0.7)", "1,234", "½", "10³", "3/5"]
)
def test_what_is_no_number_is_not_read_and_no_neighbour_takes_its_place(cell: str) -> None:
    log = read(f"{HEADING}|piqa|0|acc|{cell}|±|0.0093|\n")
    assert log.models == ()
    assert [note.line for note in log.notes if note.unread] == [3]


@settings(max_examples=300)
@given(st.text(max_size=12).filter(lambda text: not set(text) & set("|│┃║¦∣\n\r\\&<\ue000") and text.isprintable()))
def test_the_score_is_in_its_own_cell_or_nowhere(cell: str) -> None:
    log = read(f"GPT4All\n{HEADING}|piqa|3|acc|{cell}|±|0.0093|\n|boolq|1|acc|0.5000|±|0.0087|\n")
    rows = {row.task: row for model in log.models for table in model.tables for row in table.rows}
    assert rows["boolq"].value in (Decimal("0.5000"), Decimal("0.005000"))
    if "piqa" in rows:
        found = score_of(numbered_lines(cell)[0][1] if cell else "")
        assert found is not None
        assert rows["piqa"].value in (found.value, found.value.scaleb(-2))


def test_a_heading_of_something_else_ends_the_suite() -> None:
    log = read(
        f"TruthfulQA\n{HEADING}|truthfulqa_mc|1|mc2|0.53|±|0.01|\n\nMT-Bench:\nAverage: 9.04\n\nIFEval\nAverage: 70.1\n"
    )
    assert log.models[0].averages == ()


CASES = {  # file -> exit code of the audit
    "t02_transposed_bad.md": 1,
    "t04_avgfirst_bad.md": 1,
    "t06_pct_ok.md": 0,
    "t08_v4_ok.md": 0,
    "t09_v4_bad.md": 1,
    "t10_v4_stderr_na.md": 1,
    "t12_ollm_v1_ok.md": 0,
    "t14_ollm_v2_bad.md": 1,
    "t16_lighteval_pipes.md": 0,
    "t18_html_bad.html": 1,
    "t20_zh_ok.md": 0,
    "t22_crlf_bom.md": 1,
    "t24_gb18030.md": 1,
    "t26_cmp_pct_bad.md": 1,
    "t28_two_models.md": 1,
    "t30_trunc.md": 0,
    "t32_task_value_only.md": 1,
    "u4_avgscore_last_noavg.md": 0,
}


@needs_shared
@pytest.mark.parametrize("name", CASES)
def test_the_audit_finds_planted_errors_and_no_others(name: str) -> None:
    assert CliRunner().invoke(main, ["audit", str(SHARED / "tables" / name)]).exit_code == CASES[name]


@needs_shared
@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("u1_fewshot_v4.md", "lm-eval-0.4, 5/10/25-shot"),
        ("u3_limit.md", "lm-eval-0.3, limit 100"),
        ("t12_ollm_v1_ok.md", "open-llm-leaderboard"),
        ("t16_lighteval_pipes.md", "lighteval, 25-shot"),
    ],
)
def test_shots_limits_and_other_harnesses_are_other_protocols(name: str, protocol: str) -> None:
    (found,) = import_log(SHARED / "tables" / name, retrieved="2024-01-01").baselines
    assert found.protocol == protocol


def test_nothing_read_is_exit_4(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("nothing here\n")
    found = CliRunner().invoke(main, ["audit", str(tmp_path / "a.md")])
    assert found.exit_code == 4
    assert "no scores read" in found.output


def test_an_unreadable_file_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.yaml").write_text("a: [\n")
    monkeypatch.setenv("EVALKIT_BASELINES", str(tmp_path))
    for command in (["baselines", "list"], ["leaderboard"]):
        found = CliRunner().invoke(main, command)
        assert found.exit_code == 0
        assert "broken.yaml:2: not valid YAML" in found.output


def results(folder: Path, right: list[int], stamp: str = "2024-05-01T00-00-00.000000") -> Path:
    """Write a results file with samples, as lm-eval lays them out: truthfulqa's two tasks, one document hash each."""
    folder.mkdir(parents=True)
    mean = sum(right) / len(right)
    tasks = {
        name: {"alias": name, "acc,none": mean, "acc_stderr,none": 0.1} for name in ("truthfulqa_mc1", "truthfulqa_mc2")
    }
    head = {"results": tasks, "n-shot": dict.fromkeys(tasks, 0), "config": {"model": "hf"}, "model_name": "org/*m*"}
    (folder / f"results_{stamp}.json").write_text(json.dumps(head))
    for name in tasks:
        lines = [
            {
                "doc_id": i,
                "target": "0",
                "arguments": {f"gen_args_{j}": {"arg_0": f"Q{i}", "arg_1": f" {j}"} for j in (0, 1)},
                "filtered_resps": [[-1.0 - value, "False"], [-2.0, "False"]],
                "filter": "none",
                "metrics": ["acc"],
                "doc_hash": f"hash{i}",
                "acc": float(value),
            }
            for i, value in enumerate(right)
        ]
        (folder / f"samples_{name}_{stamp}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / f"results_{stamp}.json"


def test_results_files_with_samples_are_runs(tmp_path: Path) -> None:
    a, b = results(tmp_path / "a", [1, 0] * 20), results(tmp_path / "b", [1, 1, 1, 0] * 10)
    run = CliRunner().invoke
    for command in (
        ["report", str(a)],
        ["compare", str(a), str(b)],
        ["leaderboard", str(a)],
        ["report", str(b), "--against", str(a)],
    ):
        found = run(main, command)
        assert found.exit_code == 0, (command, found.output)
    compared = run(main, ["compare", str(a), str(b)]).output
    assert "50.00" in compared
    assert "75.00" in compared
    assert r"# org/\*m\*" in run(main, ["report", str(a)]).output
    refused = run(main, ["gate", str(a), "--baseline", "openhermes-2.5-mistral-7b"])
    assert refused.exit_code == 2
    assert "protocol: lm-eval-0.4" in refused.output
    refused = run(main, ["explain", str(a), "--against", "openhermes-2.5-mistral-7b"])
    assert refused.exit_code == 2
    assert "--across-protocols" in refused.output
    gated = run(main, ["gate", str(b), "--baseline", str(a)])
    assert gated.exit_code in (0, 1, 3), gated.output
    assert run(main, ["audit", str(a)]).exit_code in (0, 1)


def test_results_files_without_samples_say_what_is_missing(tmp_path: Path) -> None:
    file = results(tmp_path / "a", [1, 0] * 20)
    for sample in file.parent.glob("samples_*"):
        sample.unlink()
    assert CliRunner().invoke(main, ["report", str(file)]).exit_code == 0
    found = CliRunner().invoke(main, ["compare", str(file), str(file)])
    assert found.exit_code == 2
    assert "--log_samples" in found.output
    (tmp_path / "other.json").write_text("{}")
    assert "no key 'results'" in CliRunner().invoke(main, ["report", str(tmp_path / "other.json")]).output


def test_humaneval_plus_is_not_humaneval() -> None:
    log = read("|Benchmark|pass@1|\n|---|---|\n|HumanEval+|45.1|\n|HumanEval|50.6|\n")
    humaneval = log.models[0].humaneval
    assert humaneval is not None
    assert humaneval.percent == Decimal("50.6")


def test_refusal_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        import_log(tmp_path / "absent.md", retrieved="2024-01-01")


def cut(folder: Path, task: str, keep: int) -> None:
    (file,) = folder.glob(f"samples_{task}_*.jsonl")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:keep]))


def test_documents_cut_from_a_samples_file_are_wrong_whatever_is_allowed(tmp_path: Path) -> None:
    right = [1] * 20 + [0] * 20
    a, b = (results(tmp_path / name, right) for name in "ab")
    for task in ("truthfulqa_mc1", "truthfulqa_mc2"):
        cut(b.parent, task, 10)
    for file in (a, b):  # what lm-eval counted
        found = json.loads(file.read_text())
        found["n-samples"] = {task: {"original": 40, "effective": 40} for task in found["results"]}
        file.write_text(json.dumps(found))
    gate = ["gate", str(b), "--baseline", str(a)]
    refused = CliRunner().invoke(main, gate)
    assert refused.exit_code == 2
    assert f"10 documents, but {b.name} counts 40: 30 are lost" in refused.output
    for allowed in ([], ["--allow-different", "data"]):
        found = CliRunner().invoke(main, [*gate, "--allow-missing", *allowed])
        assert found.exit_code == 1, found.output
        assert "lacks 30 documents" in found.output
        assert "25.00" in found.output  # 10 of 40, not 10 of 10


def test_hashes_of_one_run_alone_are_no_key_and_passages_are_clusters(tmp_path: Path) -> None:
    file = results(tmp_path / "a", [1, 0])
    theirs = [s for s in read_foreign_samples(file) if s.task == "truthfulqa_mc"]
    ours = [replace(sample, details={}, target=0) for sample in theirs]
    found = pair_samples(find_task("truthfulqa_mc"), ours, theirs, by_content=True)
    assert (len(found.candidate), found.left_out) == (2, 0)
    line = {"doc_id": 0, "acc": 1.0, "doc": {"passage": "P", "question": "Q", "options": [], "label": "A"}}
    for doc_id in (0, 1):
        with (tmp_path / "a" / "samples_agieval_lsat_rc_2024-05-01T00-00-00.000000.jsonl").open("a") as stream:
            stream.write(json.dumps(line | {"doc_id": doc_id}) + "\n")
    clusters = {s.cluster for s in read_foreign_samples(file) if s.task == "agieval_lsat_rc"}
    assert len(clusters) == 1
    assert None not in clusters


def test_a_whole_limit_is_a_count(tmp_path: Path) -> None:
    file = results(tmp_path / "a", [1, 0])
    found = json.loads(file.read_text())
    file.write_text(json.dumps({**found, "config": {"limit": 2.0}}))
    assert read_foreign_run(file).config.limit == 2
    assert "first 2 of each" in CliRunner().invoke(main, ["report", str(file)]).output
