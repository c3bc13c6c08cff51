"""Planted errors of a kind each, found once and nowhere else: limits, totals, groups, one-row summaries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.baselines.audit.checks import Agreement
from evalkit.baselines.audit.findings import audit_file, audit_log
from evalkit.baselines.audit.text import audit_lines
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.text import numbered_lines
from evalkit.config import suites
from evalkit.config.suites import load_suites

pytestmark = pytest.mark.torch_free
HEADING = "|Task|Version|Metric|Value|   |Stderr|\n|---|---|---|---|---|---|\n"
V4 = "|Tasks|Version|Filter|n-shot|Metric|   |Value|   |Stderr|\n|---|---|---|---|---|---|---|---|---|\n"
SCORES = {"gpt4all": "60.00", "agieval": "30.00", "bigbench": "40.00", "truthfulqa": "50.00"}  # average 45.00


def wrong(text: str) -> list[int]:
    return [found.line for found in audit_log(parse_log("log.md", numbered_lines(text))).inconsistent]


def card(printed: dict[str, str], end: str) -> str:
    """Return a card whose rows have the averages of `SCORES` and that prints others."""
    text = ""
    for name, average in {**SCORES, **printed}.items():
        suite = load_suites()[name]
        rows = "".join(f"|{t.name}|0|{t.headline}|0.{SCORES[name].replace('.', '')}| | |\n" for t in suite.tasks)
        text += f"### {suite.title}\n{HEADING}{rows}\nAverage: {average}\n\n"
    return text + end


@pytest.mark.parametrize(
    "total",
    [
        "## Summary\nAverage score: {}%",
        "## Summary\n\nAverage: {}",
        "Average over the four suites = {}",
        "Mean of all suites: {}",
        "## Results\nAverage score: {}",
        "### Overall\nAverage: {}",
    ],
)
def test_totals_below_headings_of_their_own(total: str) -> None:
    good, bad = card({}, total.format("45.00")), card({}, total.format("47.00"))
    assert wrong(good) == []
    assert wrong(bad) == [len(bad.splitlines())]


def test_one_wrong_average_is_one_finding() -> None:
    text = card({"agieval": "34.00"}, "Average score: 45.00")
    assert wrong(text) == [text.splitlines().index("Average: 34.00") + 1]
    text = card({"agieval": "34.00"}, "Average score: 46.00")  # computed from the wrong average: wrong as well
    assert len(wrong(text)) == 2


def test_a_score_of_another_benchmark_is_no_total() -> None:
    assert wrong(card({}, "## Vicuna-Bench\nAverage score: 7.10")) == []


@pytest.mark.parametrize(("limit", "stderr", "errors"), [("100.0", "0.0492", []), ("50", "0.0492", [3 + 1])])
def test_limited_runs_are_judged_by_their_own_documents(limit: str, stderr: str, errors: list[int]) -> None:
    line = f"hf-causal (pretrained=x), limit: {limit}, provide_description: False, num_fewshot: 0, batch_size: 2\n"
    assert wrong(f"{line}{HEADING}|piqa|0|acc|0.6200|±|{stderr}|".replace("0.0492", "0.0488")) == errors


def test_results_files_are_judged_by_their_own_documents(tmp_path: Path) -> None:
    file = tmp_path / "results_2024-05-01T00-00-00.000000.json"
    found = {
        "results": {"piqa": {"alias": "piqa", "acc,none": 0.6, "acc_stderr,none": 0.1632993161855452}},
        "n-samples": {"piqa": {"original": 1838, "effective": 10}},
        "config": {"limit": 10.0},
    }
    file.write_text(json.dumps(found))
    assert audit_file(file).inconsistent == ()
    found["n-samples"]["piqa"]["effective"] = 1838
    found["config"]["limit"] = None
    file.write_text(json.dumps(found))
    assert len(audit_file(file).inconsistent) == 1


def test_groups_below_groups_are_the_means_of_their_own_members() -> None:
    def text(inner: str, again: str) -> str:
        rows = [("suite", "0.40"), (" - part", inner), ("  - one", "0.30"), ("  - two", "0.40"), (" - rest", "0.45")]
        tasks = "".join(f"|{name}|1|none|0|acc|↑|{value}| | |\n" for name, value in rows)
        groups = V4.replace("Tasks", "Groups")
        return f"{V4}{tasks}\n{groups}|suite|1|none||acc|↑|{again}| | |\n"

    assert wrong(text("0.35", "0.40")) == []
    assert wrong(text("0.25", "0.40")) == [4]
    assert wrong(text("0.35", "0.42")) == [11]


def test_the_only_row_of_a_summary_is_the_files_model() -> None:
    def text(agieval: str) -> str:
        head = "|Model|AGIEval|GPT4All|TruthfulQA|Bigbench|Average|\n|---|---|---|---|---|---|\n"
        average = f"{(float(agieval) + 150) / 4:.2f}"
        return f"{head}|mine|{agieval}|60.00|50.00|40.00|{average}|\n\n{card({}, '')}"

    assert wrong(text("30.00")) == []
    assert wrong(text("38.00"))[:1] == [3]


# Averages over subjects, weighted by their questions, as cards of Chinese benchmarks print them.
SUBJECTS = """| Model | STEM | Humanities | Social Science | Other | China Specific | Average |
|---|---|---|---|---|---|---|
| A-72B | 90.52 | 90.48 | 88.76 | 91.31 | 91.46 | 90.26 |
| B-35B | 89.14 | 91.02 | 90.17 | 89.53 | 89.64 | 90.16 |
| C-20B | 89.76 | 90.92 | 89.71 | 90.21 | 89.44 | 90.07 |
| D-72B | 90.20 | 91.18 | 88.54 | 90.26 | 90.15 | 89.65 |
"""
BENCHMARKS = """| Model | ARC | HellaSwag | PIQA | BoolQ | Average |
|---|---|---|---|---|---|
| A | 40.00 | 60.00 | 70.00 | 50.00 | 55.00 |
| B | 42.00 | 62.00 | 72.00 | 52.00 | 57.00 |
| C | 44.00 | 64.00 | 74.00 | 54.00 | {} |
"""


def test_an_average_over_subjects_is_not_checkable() -> None:
    found = audit_log(parse_log("log.md", numbered_lines(SUBJECTS)))
    assert found.inconsistent == ()
    assert found.count(Agreement.UNCHECKED) == 4
    one = "".join(SUBJECTS.splitlines(keepends=True)[:3])  # of a single model nobody can tell the rule
    assert wrong(one) == []


def test_one_wrong_average_among_plain_means_is_found() -> None:
    assert wrong(BENCHMARKS.format("59.00")) == []
    assert wrong(BENCHMARKS.format("61.00")) == [5]


def test_an_average_of_rows_of_one_benchmarks_subjects_is_not_checkable() -> None:
    rows = "".join(f"|hendrycksTest-{n}|1|acc|{v}|±|0.04|\n" for n, v in (("a", 0.3), ("b", 0.4), ("c", 0.6)))
    assert wrong(f"## MMLU\n{HEADING}{rows}\nAverage: 45.10\n") == []
    assert wrong(f"## MMLU\n{HEADING}{rows}\nAverage: 65.10\n") == [8]  # above every subject


def results(folder: Path, values: dict[str, dict[str, float]]) -> Path:
    """Write a results file of lm-eval 0.3."""
    file = folder / "eval.json"
    config = {"model": "hf-causal", "model_args": "pretrained=a/b", "num_fewshot": 0, "limit": None}
    file.write_text(json.dumps({"results": values, "versions": dict.fromkeys(values, 0), "config": config}))
    return file


@pytest.mark.parametrize(
    ("task", "right", "documents"),
    [("arc_challenge", 639, 1172), ("hellaswag", 6302, 10042), ("piqa", 1496, 1838), ("openbookqa", 169, 500)],
)
def test_shares_in_full_precision_are_of_whole_numbers(tmp_path: Path, task: str, right: int, documents: int) -> None:
    value = right / documents
    stderr = (value * (1 - value) / (documents - 1)) ** 0.5
    # The mean as NumPy sums it, and as a loop does: the last binary places differ.
    for shown in (value, value + 2e-16, value - 2e-16):
        file = results(tmp_path, {task: {"acc": shown, "acc_stderr": stderr * (1 + 1e-15)}})
        found = audit_file(file, strict=True)
        assert [f.verdict for f in found.findings] == [Agreement.EXACT]
    file = results(tmp_path, {task: {"acc": value + 0.3 / documents, "acc_stderr": stderr}})
    assert audit_file(file, strict=True).inconsistent


def test_differences_of_bleu_are_no_shares_and_are_listed(tmp_path: Path) -> None:
    values = {"bleu_max": 27.1, "bleu_acc": 0.48, "bleu_diff": 0.79, "rouge2_diff": 0.6, "rouge2_diff_stderr": 1.1}
    audit = audit_file(results(tmp_path, {"truthfulqa_gen": values}))
    assert audit.inconsistent == ()
    text = "\n".join(audit_lines([audit], everything=False))
    assert [name for name in values if f"{name} of truthfulqa_gen is no share" in text] == [
        "bleu_max",
        "bleu_diff",
        "rouge2_diff",
    ]


def test_an_error_whose_last_digit_is_off_names_no_other_number_of_documents() -> None:
    rows = f"## GPT4All\n{HEADING}|arc_easy|0|acc|0.8042929292929293|±|0.0081415|\n"
    found = audit_log(parse_log("log.md", numbered_lines(rows)))
    said = [line for line in audit_lines([found], everything=True) if "impossible with" in line]
    assert len(said) == 1
    assert "impossible with 2376 documents" in said[0]
    assert "would fit" not in said[0]


def verdicts(text: str) -> dict[int, str]:
    found = audit_log(parse_log("log.md", numbered_lines(text))).findings
    return {finding.line: finding.verdict.value for finding in found}


@pytest.mark.parametrize("label", ["Average", "All", "Overall"])
def test_an_average_weighted_by_the_documents_beside_it(label: str) -> None:
    table = "|Task|n|Score|\n|---|---|---|\n|boolq|3270|87.0|\n|piqa|1838|82.1|\n|{}|5108|{}|\n"
    # (3270 x 87.0 + 1838 x 82.1) / 5108 = 85.2368...
    assert verdicts(table.format(label, "85.24")) == {5: "exact"}
    assert verdicts(table.format(label, "84.55")) == {5: "exact"}  # the plain mean
    wrong_one = "inconsistent" if label == "Average" else "not checkable"
    assert verdicts(table.format(label, "86.24")) == {5: wrong_one}


def test_an_average_of_more_than_is_shown() -> None:
    table = "|Model|ARC|HellaSwag|MMLU|Avg ({} tasks)|\n|---|---|---|---|---|\n|Foo-7B|60.0|80.0|60.0|55.2|\n"
    assert verdicts(table.format(12)) == {3: "not checkable"}
    assert verdicts(table.format(3)) == {3: "inconsistent"}


@pytest.mark.parametrize("label", ["Overall", "Average", "All"])
def test_a_column_total_of_questions_is_no_sum_of_scores(label: str) -> None:
    table = "|Subject|Correct|Total|Accuracy|\n|---|---|---|---|\n|Math|10|20|50.0|\n|Law|90|100|90.0|\n"
    assert wrong(table + f"|{label}|100|120|83.3|\n") == []


def test_a_total_of_suites_is_one() -> None:
    head = "|Model|AGIEval|GPT4All|TruthfulQA|Bigbench|Total|\n|---|---|---|---|---|---|\n"
    table = head + "|Foo-7B|40.0|70.0|50.0|40.0|{}|\n"
    assert (wrong(table.format("200.0")), wrong(table.format("201.0"))) == ([], [3])


def test_an_average_row_beyond_all_rows_of_its_table() -> None:
    head = "|Task|Metric|Value|Stderr|\n|---|---|---|---|\n|boolq|acc|0.8700|0.0059|\n"
    table = head + "|piqa|acc|{}|0.0089|\n|Average||{}||\n"
    assert wrong(table.format("0.8210", "0.9455")) == [5]
    assert wrong(table.format("0.8210", "0.8455")) == []
    assert wrong(table.format("n/a", "0.9455")) == []  # of rows that are not read, nobody knows


@pytest.mark.parametrize(
    ("graded", "impossible"), [(["confidence"], False), (None, False), ([], True)], ids=["graded", "unsaid", "right"]
)
def test_a_suites_own_file_says_which_metrics_are_graded(
    graded: list[str] | None, impossible: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 0.3419 of 24 documents is no whole number of right answers: 8/24 = 0.3333, 9/24 = 0.3750.
    facts = {"version": 1, "metrics": ["confidence"], "headline": "confidence", "documents": 24}
    suite = {"suite": "factual", "title": "Factual", "order": 9, "protocol": "factual-1", "in_total": False}
    suite |= {"default": False, "average": "mean", "tasks": {"factual_quiz": facts}}
    suite |= {} if graded is None else {"graded": graded}
    folder = tmp_path / "configs" / "suites"
    folder.mkdir(parents=True)
    (folder / "factual.yaml").write_text(json.dumps(suite))
    monkeypatch.setattr(suites, "configs_dir", lambda: tmp_path / "configs")
    table = "|Task|Version|Metric|Value| |Stderr|\n|---|--:|---|--:|---|--:|\n"
    log = parse_log("r.md", numbered_lines(table + "|factual_quiz|1|confidence|0.3419|±|0.0568|\n"))
    found = audit_log(log, strict=True).findings
    said = [finding.reason for finding in found if finding.verdict not in (Agreement.EXACT, Agreement.UNCHECKED)]
    assert any("no whole number of right answers among 24" in reason for reason in said) is impossible


@pytest.mark.parametrize("said", ["- Documents: first 4 of each task", "- 文档：每个任务的前 4 题"])
def test_evalkits_own_report_of_a_part_is_judged_by_that_part(said: str) -> None:
    """0.25 +- 0.25 is what one right answer of four gives: sqrt(0.25 * 0.75 / 3)."""
    table = f"{HEADING}|piqa|0|acc|0.2500|±|0.2500|"
    assert wrong(f"# tiny\n\n{said}\n- Date: 2026-11-29\n\n## GPT4All\n\n{table}") == []
    assert len(wrong(f"# tiny\n\n## GPT4All\n\n{table}")) == 1


OWN = "# tiny\n\n- Versions: evalkit 0.1.0, python 3.11.7\n"


@pytest.mark.parametrize(
    ("said", "verdicts"),
    [
        # one right answer of ten: 0.1000 +- sqrt(0.1 * 0.9 / 9) = 0.1000; of 1838 documents it would be 0.0070
        ("- Data: samples\n- Documents: all (10 of each task)", [Agreement.EXACT]),
        ("- Data: folder\n- Documents: all (boolq 3270, piqa 10)", [Agreement.EXACT]),
        ("- Data: folder; not the published content: piqa\n- Documents: all (piqa 10)", [Agreement.EXACT]),
        ("- 数据：samples\n- 题目数：全部 (每个任务 10 题)", [Agreement.EXACT]),
        ("- Data: samples\n- Documents: first 20 of each task (10 of each task)", [Agreement.EXACT]),
        # as reports were printed before: not how many
        ("- Data: samples\n- Documents: all", [Agreement.UNCHECKED]),
        ("- Data: samples\n- Documents: first 20 of each task", [Agreement.UNCHECKED]),
        ("- Data: hub; not the published content: boolq, piqa\n- Documents: all", [Agreement.UNCHECKED]),
        # the full data, and a number that is none of theirs
        ("- Data: hub\n- Documents: all", [Agreement.REMARK, Agreement.INCONSISTENT]),
        ("- Data: hub; not the published content: boolq\n- Documents: all", [Agreement.REMARK, Agreement.INCONSISTENT]),
        ("- Data: samples\n- Documents: all (20 of each task)", [Agreement.INCONSISTENT]),
    ],
)
def test_evalkits_own_report_is_judged_by_the_documents_that_it_states(said: str, verdicts: list[Agreement]) -> None:
    text = f"{OWN}{said}\n\n## GPT4All\n\n{HEADING}|piqa|0|acc|0.1000|±|0.1000|"
    log = parse_log("report.md", list(enumerate(text.split("\n"), 1)))
    assert [finding.verdict for finding in audit_log(log).findings] == verdicts


def test_equal_numbers_of_few_documents_are_no_copies() -> None:
    rows = "|piqa|0|acc|0.3000|±|0.1528|\n|boolq|1|acc|0.3000|±|0.1528|"
    text = f"{OWN}- Data: samples\n- Documents: all (10 of each task)\n\n## GPT4All\n\n{HEADING}{rows}"
    log = parse_log("report.md", list(enumerate(text.split("\n"), 1)))
    assert {finding.verdict for finding in audit_log(log).findings} == {Agreement.EXACT}
