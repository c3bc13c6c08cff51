"""Planted errors of a kind each, found once and nowhere else: limits, totals, groups, one-row summaries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.baselines.logs import parse_log
from evalkit.baselines.text import numbered_lines
from evalkit.report.audit import audit_file, audit_log
from evalkit.suites import load_suites

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
