"""What an import says of what it left out is the real reason, and what it can read beside that is read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from evalkit.baselines import Baseline, import_log
from evalkit.baselines.audit.checks import Agreement
from evalkit.baselines.audit.findings import audit_file
from evalkit.errors import DataError

pytestmark = pytest.mark.torch_free
HEAD = "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
LINE = "hf-causal (pretrained=a/Foo-7B), limit: None, provide_description: False, num_fewshot: 0, batch_size: 16\n"


def baselines(text: str, folder: Path, name: str = "card.md") -> list[Baseline]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return list(import_log(path, retrieved="2026-01-01").baselines)


def test_a_heading_of_another_benchmark_is_the_reason_that_is_named(tmp_path: Path) -> None:
    row = "|bigbench_causal_judgement|0|multiple_choice_grade|0.5632|±|0.0361|\n"
    (found,) = baselines(f"# Foo-7B\n\n## BigBench Hard\n\n{LINE}{HEAD}{row}", tmp_path)
    why = "BigBench: protocol unknown, not nous-2023: it stands below 'BigBench Hard', another benchmark"
    assert f"line 3: {why}" in found.notes


def test_benchmarks_behind_a_column_of_groups_and_beside_one_of_shots(tmp_path: Path) -> None:
    text = """# DeepSeek-V3

| | Benchmark (Metric) | # Shots | DeepSeek-V2 | DeepSeek-V3 |
|---|---|---|---|---|
| | Architecture | - | MoE | MoE |
| English | BBH (EM) | 3-shot | 78.8 | **87.5** |
| | HellaSwag (Acc.) | 10-shot | 87.1 | 88.9 |
| | PIQA (Acc.) | 0-shot | 83.9 | 84.7 |
| Code | HumanEval (Pass@1) | 0-shot | 43.3 | **65.2** |
"""
    old, new = baselines(text, tmp_path)
    assert (old.name, new.name) == ("DeepSeek-V2", "DeepSeek-V3")
    rows = {task: (str(found.value), found.shots) for task, m in new.tasks.items() for found in m.values()}
    assert rows == {
        "BBH": ("0.875", 3),
        "hellaswag": ("0.889", 10),
        "piqa": ("0.847", 0),
        "humaneval": ("0.652", 0),
    }
    assert new.protocol == "unknown"
    assert new.humaneval is None


def test_a_table_whose_columns_hide_the_benchmarks_is_not_said_to_hold_none(tmp_path: Path) -> None:
    text = "|Area|Metric|Benchmark|\n|---|---|---|\n|English|acc|HellaSwag|\n|Code|pass|PIQA|\n"
    with pytest.raises(DataError, match="its columns are not understood"):
        baselines(f"# Foo\n\n{text}", tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "card.rst",
            "GPT4All\n-------\n\n=====  =======  ======  ======  ======\nTask   Version  Metric  Value   Stderr\n"
            "=====  =======  ======  ======  ======\nboolq        1  acc     0.8599  0.0061\n"
            "=====  =======  ======  ======  ======\n",
        ),
        ("card.tsv", "Task\tVersion\tMetric\tValue\tStderr\nboolq\t1\tacc\t0.8599\t0.0061\n"),
    ],
)
def test_rows_without_bars_have_the_errors_that_their_heading_names(name: str, text: str, tmp_path: Path) -> None:
    (found,) = baselines(text, tmp_path, name)
    assert (found.tasks["boolq"]["acc"].value, found.tasks["boolq"]["acc"].stderr) == (
        Decimal("0.8599"),
        Decimal("0.0061"),
    )


def test_a_number_beside_a_value_without_bars_or_a_heading_is_named(tmp_path: Path) -> None:
    (found,) = baselines("GPT4All\nboolq 1 acc 0.8599 0.0061\n", tmp_path)
    assert found.tasks["boolq"]["acc"].stderr is None
    assert any("line 2: boolq acc: '0.0061' beside it" in note for note in found.notes)


PIVOT = (
    "|Task|acc|acc_stderr|acc_norm|acc_norm_stderr|\n|---|---|---|---|---|\n|arc_easy|0.8371|0.0076|0.8144|0.0080|\n"
)
VALUES = "|Task|Metric|Value|\n|---|---|---|\n|arc_easy|acc_norm|0.8144|\n|boolq|acc|0.8599|\n"


@pytest.mark.parametrize("table", [PIVOT, VALUES])
def test_rows_without_versions_are_nous_2023_only_below_a_line_of_that_harness(table: str, tmp_path: Path) -> None:
    (found,) = baselines(f"# Foo-7B\n\nGPT4All\n{table}", tmp_path)
    assert found.protocol == "unknown"
    assert any("its rows have no versions and no line of the harness" in note for note in found.notes)
    (found,) = baselines(f"# Foo-7B\n\nGPT4All\n{LINE}{table}", tmp_path)
    assert found.protocol == "nous-2023"
    newer = "hf (pretrained=a/Foo-7B), gen_kwargs: (None), limit: None, num_fewshot: 0, batch_size: 8\n"
    (found,) = baselines(f"# Foo-7B\n\nGPT4All\n{newer}{table}", tmp_path)
    assert found.protocol == "unknown"


@pytest.mark.parametrize("version", ["Yaml", "v2", "1.0.0"])
def test_a_version_that_is_no_number_is_none_of_that_time(version: str, tmp_path: Path) -> None:
    (found,) = baselines(f"# Foo-7B\n\nGPT4All\n{HEAD}|boolq|{version}|acc|0.8599|±|0.0061|\n", tmp_path)
    assert found.protocol == "unknown"


def test_what_folds_away_below_a_suites_name_is_the_suites(tmp_path: Path) -> None:
    boolq = f"{HEAD}|boolq|1|acc|0.8599|±|0.0061|\n\nAverage: 72.59\n"
    aqua = f"{HEAD}|agieval_aqua_rat|0|acc_norm|0.2441|±|0.0270|\n\nAverage: 44.05\n"
    text = f"<details><summary>GPT4All</summary>\n\n{boolq}</details>\n"
    text += f"<details><summary><b>AGIEval</b></summary>\n\n{aqua}</details>"
    for head in ("# Foo-7B\n\n", "<html><body><h1>Foo-7B</h1>"):
        if head.startswith("<html"):
            text = text.replace("|", "").replace(boolq.replace("|", ""), "<p>Average: 72.59</p>")
            text = text.replace(aqua.replace("|", ""), "<p>Average: 44.05</p>")
        (found,) = baselines(head + text, tmp_path)
        last = {"agieval": Decimal("44.05")} if head.startswith("<html") else {}  # one row of eight does not give it
        assert found.averages == {"gpt4all": Decimal("72.59"), **last}
        assert last or any("average 44.05: no rows of AGIEval give it" in n for n in found.notes)


def test_what_is_struck_out_is_not_imported(tmp_path: Path) -> None:
    head = "|Model|AGIEval|GPT4All|\n|---|---|---|\n"
    (found,) = baselines(f"{head}|Foo-7B|44.20|76.22|\n|~~Bar-7B~~ (withdrawn)|43.99|75.95|\n", tmp_path)
    assert found.name == "Foo-7B"
    assert any("'~~Bar-7B~~ (withdrawn)': struck out; not imported" in note for note in found.notes)
    (found,) = baselines(
        "|Suite|Foo-7B|\n|---|---|\n|AGIEval|44.20|\n|GPT4All|76.22|\n|~~BigBench~~|40.00|\n", tmp_path
    )
    assert set(found.averages) == {"agieval", "gpt4all"}
    (found,) = baselines(f"GPT4All\n{HEAD}|~~boolq~~|1|acc|0.8599|±|0.0061|\n|piqa|0|acc|0.8156|±|0.0090|\n", tmp_path)
    assert set(found.tasks) == {"piqa"}
    assert any("row not read, struck out: ~~boolq~~ acc" in note for note in found.notes)


def test_sentences_that_are_read_are_read_and_leave_no_claim(tmp_path: Path) -> None:
    said = (
        "- GPT4All benchmark average is now 70.0 - from 68.8 in Hermes-Llama1\n"
        "- 0.3657 on BigBench, up from 0.328 on hermes-llama1\n"
        "- 0.372 on AGIEval, up from 0.354 on Hermes-llama1\n"
    )
    (found,) = baselines(f"# Foo-13B\n\nGPT4All\n{HEAD}|boolq|1|acc|0.8599|±|0.0061|\n\n{said}", tmp_path)
    assert found.averages == {"gpt4all": Decimal("70.0"), "bigbench": Decimal("36.57"), "agieval": Decimal("37.2")}
    assert (found.protocol, found.other_protocols) == ("unknown", {})


def test_a_group_that_a_log_was_cut_within_is_not_judged(tmp_path: Path) -> None:
    head = "|Tasks|Version|Filter|n-shot|Metric||Value||Stderr|\n|---|--:|---|--:|---|---|--:|---|--:|\n"
    rows = "|mmlu|1|none||acc|↑|0.2354|±|0.0056|\n| - humanities|1|none||acc|↑|0.2462|±|0.0119|\n"
    rows += "|  - formal_logic|0|none|0|acc|↑|0.2300|±|0.0423|\n|any_group|1|none||acc|↑|0.5000|±|0.01|\n"
    path = tmp_path / "run.md"
    path.write_text(head + rows + "| - any_task|1|none|0|acc|↑|0.6000|±|0.01|\n", encoding="utf-8")
    found = audit_file(path)
    groups = {f.what: f.verdict for f in found.findings if "(group)" in f.what}
    assert groups == dict.fromkeys(
        ("mmlu acc (group)", "humanities acc (group)", "any_group acc (group)"), Agreement.UNCHECKED
    )
    assert not found.inconsistent


def test_a_fact_about_a_model_has_no_change_to_check(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    head = "|模型|层数|GPT4All|AGIEval|平均|\n|---|---|---|---|---|\n"
    path.write_text(
        f"{head}|Foo-7B|95|70.00|40.00|55.00|\n|Bar-7B|80|71.50|42.00|56.75|\n|提升|15|1.50|2.00|1.75|\n", "utf-8"
    )
    changes = [f.what for f in audit_file(path).findings if "提升" in f.what]
    assert changes == ["GPT4All, 提升", "AGIEval, 提升", "平均, 提升"]


def test_a_results_file_is_audited_on_its_own_lines(tmp_path: Path) -> None:
    text = """{
  "results": {
    "boolq": {
      "alias": "boolq",
      "acc,none": 0.8000000000000001,
      "acc_stderr,none": 0.5
    }
  },
  "versions": {"boolq": 2.0},
  "n-shot": {"boolq": 0},
  "config": {"model": "hf", "model_args": "pretrained=a/Foo", "limit": null},
  "n-samples": {"boolq": {"original": 3270, "effective": 3270}}
}
"""
    path = tmp_path / "results_2026-01-01T00-00-00.000000.json"
    path.write_text(text, encoding="utf-8")
    (found,) = (f for f in audit_file(path).findings if f.what == "boolq acc standard error")
    assert found.line == 5
    (row,) = audit_file(path).log.models[0].tables[0].rows
    assert row.value == Decimal("0.8")
