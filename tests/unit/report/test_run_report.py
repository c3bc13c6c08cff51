"""A run's report: the published layout to the byte, averages, what the reader is warned of."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from evalkit.comparison.leaderboard import standing_of_run
from evalkit.config.suites import load_suites
from evalkit.languages import load_language
from evalkit.records.model import MetricValue
from evalkit.records.samples import Sample, disputed_programs
from evalkit.report.run_report import (
    disputed_text,
    percent,
    published_layout,
    run_report,
    score_text,
    suite_average,
    suite_table,
    summary_rows,
    warnings,
)
from tests.support.records import EVALKIT, sample, write_record, write_samples

pytestmark = pytest.mark.torch_free

LOG = "OpenHermes-2.5-Mistral-7B.md"
Metrics = dict[str, dict[str, MetricValue]]


def value(mean: float, stderr: float | None = 0.01) -> MetricValue:
    return MetricValue(value=mean, stderr=stderr, n=100, failed=0)


def everything(score: float = 0.5) -> Metrics:
    """Every metric of every task of the published suites has one value."""
    tasks = [task for suite in load_suites().values() if suite.default for task in suite.tasks]
    return {task.name: {metric: value(score) for metric in task.metrics} for task in tasks}


def published_tables(text: str) -> dict[str, str]:
    """The tables of a log, by the name of their suite."""
    return dict(re.findall(r"^(\w+):?\s*\n```\n(.*?)\n```", text, flags=re.MULTILINE | re.DOTALL))


def metrics_of(table: str) -> Metrics:
    """The numbers of a table in the published layout."""
    found: Metrics = {}
    task = ""
    for line in table.split("\n")[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        task = cells[0] or task
        found.setdefault(task, {})[cells[2]] = value(float(cells[3]), float(cells[5]))
    return found


def test_a_table_is_the_published_one_to_the_byte(shared: Path) -> None:
    tables = published_tables((shared / "benchmark-logs" / LOG).read_text(encoding="utf-8"))
    suites = {suite.title: suite for suite in load_suites().values()}
    assert set(tables) == {"GPT4All", "AGIEval", "BigBench", "TruthfulQA"}
    for title, table in tables.items():
        metrics = metrics_of(table)
        metrics.get("bigbench_geometric_shapes", {})["exact_str_match"] = value(0.0, 0.0)
        ours = suite_table(suites[title], metrics)
        if title == "BigBench":  # this log leaves the second metric of geometric_shapes out
            ours = "\n".join(line for line in ours.split("\n") if "exact_str_match" not in line)
        assert ours == table


def test_the_second_metric_of_geometric_shapes_is_a_row_as_in_the_logs_that_show_it(shared: Path) -> None:
    shown = [
        line
        for path in sorted((shared / "benchmark-logs").glob("*.md"))
        for line in path.read_text(encoding="utf-8").split("\n")
        if "exact_str_match" in line
    ]
    assert shown
    table = suite_table(load_suites()["bigbench"], everything(0.0))
    ours = next(line for line in table.split("\n") if "exact_str_match" in line)
    # One log has an underscore for the sign.
    assert {re.sub(r"\d", "0", line).replace("|_  |", "|±  |") for line in shown} == {re.sub(r"\d", "0", ours)}


def test_averages_and_totals_are_those_of_the_published_card(shared: Path) -> None:
    text = (shared / "benchmark-logs" / LOG).read_text(encoding="utf-8")
    metrics = {task: values for table in published_tables(text).values() for task, values in metrics_of(table).items()}
    rows = {name: percent(score) for name, score in summary_rows(metrics)}
    # The published BigBench average, 40.96, is 40.95 when computed from the rounded rows.
    assert rows["GPT4All"] == "73.12"
    assert rows["AGIEval"] == "43.07"
    assert rows["BigBench"] == "40.95"
    assert rows["TruthfulQA"] == "53.04"
    assert rows["Total Score"] == "210.18"


def test_layout_of_a_table() -> None:
    table = published_layout([("a_task", "0", "acc", "0.5000", "±", "0.0100")])
    assert table == (
        "| Task |Version|Metric|Value |   |Stderr|\n"
        "|------|------:|------|-----:|---|-----:|\n"
        "|a_task|      0|acc   |0.5000|±  |0.0100|"
    )


def test_scores_as_text() -> None:
    assert score_text(value(0.12345, 0.00009)) == ("0.1235", "0.0001")
    assert score_text(value(1.0, None)) == ("1.0000", "n/a")
    assert score_text(MetricValue(value=None, stderr=None, n=10, failed=3)) == ("n/a", "3 of 10 failed")
    assert score_text(None) == ("n/a", "not recorded")
    assert [percent(number) for number in (None, 0.0, 73.125, 73.135, 100.0)] == [
        "n/a",
        "0.00",
        "73.13",
        "73.14",
        "100.00",
    ]


def test_a_suite_has_an_average_only_when_all_its_tasks_have_a_score() -> None:
    suite = load_suites()["gpt4all"]
    metrics = everything(0.25)
    assert suite_average(suite, metrics) == 25.0
    assert suite_average(suite, {name: v for name, v in metrics.items() if name != "piqa"}) is None
    metrics["piqa"]["acc_norm"] = MetricValue(value=None, stderr=None, n=10, failed=1)
    assert suite_average(suite, metrics) is None
    metrics["piqa"] = {"acc": value(0.9)}
    assert suite_average(suite, metrics) is None


def test_the_headline_metrics_are_averaged() -> None:
    suite = load_suites()["gpt4all"]
    metrics = {
        task.name: {metric: value(1.0 if metric == task.headline else 0.0) for metric in task.metrics}
        for task in suite.tasks
    }
    assert suite_average(suite, metrics) == 100.0


def test_a_suite_beside_the_total_is_named_by_its_own_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    task = msgspec.structs.replace(load_suites()["gpt4all"].tasks[0], name="gap", suite="mini", headline="acc")
    mini = msgspec.structs.replace(load_suites()["humaneval"], name="mini", title="Mini", tasks=(task,))
    suites = {**load_suites(), "mini": mini}
    monkeypatch.setattr("evalkit.report.run_report.load_suites", lambda: suites)
    assert summary_rows({"gap": {"acc": value(0.5)}}) == [("Mini acc", 50.0)]


def test_totals_need_all_four_suites_and_leave_humaneval_out() -> None:
    metrics = everything(0.5)
    metrics["humaneval"] = {"pass@1": value(1.0)}
    assert summary_rows(metrics) == [
        ("GPT4All", 50.0),
        ("AGIEval", 50.0),
        ("BigBench", 50.0),
        ("TruthfulQA", 50.0),
        ("Total Score", 200.0),
        ("Average Total", 50.0),
        ("HumanEval pass@1", 100.0),
    ]
    del metrics["truthfulqa_mc"]
    assert [name for name, _ in summary_rows(metrics)] == ["GPT4All", "AGIEval", "BigBench", "HumanEval pass@1"]
    del metrics["piqa"]
    assert summary_rows(metrics)[0] == ("GPT4All", None)


def test_a_report(tmp_path: Path) -> None:
    record = write_record(tmp_path, {"truthfulqa_mc": {"mc1": [1.0, 0.0], "mc2": [0.75, 0.25]}})
    assert (
        run_report(record)
        == """\
# org/name

- Model: org/name
- Protocol: nous-2023
- Device: npu:0 (Ascend910B)
- Dtype: bfloat16
- Loader: openmind
- Scorer: forest (as fast as can be)
- Data: folder
- Documents: all (2 of each task)
- Versions: evalkit 0.1.0, torch 2.13.0, python 3.11.7
- Date: 2026-01-02T03:04:05+00:00
- Duration: 62 s

## TruthfulQA

|    Task     |Version|Metric|Value |   |Stderr|
|-------------|------:|------|-----:|---|-----:|
|truthfulqa_mc|      1|mc1   |0.5000|±  |0.5000|
|             |       |mc2   |0.5000|±  |0.2500|

Average: 50.00

## Summary

|Suite     | Score|
|----------|-----:|
|TruthfulQA| 50.00|
"""
    )


def test_a_part_of_a_suite_is_said_so(tmp_path: Path) -> None:
    report = run_report(write_record(tmp_path, {"boolq": {"acc": [1.0, 0.0]}}))
    assert "\nAverage: n/a (6 of 7 tasks not run)\n" in report
    assert "|GPT4All|   n/a|" in report


def test_failed_samples_refuse_the_score_and_are_counted(tmp_path: Path) -> None:
    record = write_record(tmp_path, {"boolq": {"acc": [1.0, None, 0.0]}})
    report = run_report(record)
    assert "|boolq|      1|acc   |  n/a|±  |1 of 3 failed|" in report
    assert warnings(record) == ["boolq: acc: 1 of 3 failed"]
    assert "**boolq: acc: 1 of 3 failed**" in report


def test_samples_and_limits_are_no_score(tmp_path: Path) -> None:
    data = {"boolq": {"source": "samples", "verdict": "samples"}}
    config = {**EVALKIT["config"], "limit": 5}
    record = write_record(tmp_path, {"boolq": {"acc": [1.0, 0.0]}}, data=data, config=config)
    report = run_report(record)
    assert "**samples: not a score." in report
    assert "**limited: only the first documents of each task were scored;" in report
    assert "- Documents: first 5 of each task (2 of each task)\n" in report
    assert "- Data: samples" in report


def test_other_data_and_another_way_of_asking_are_named(tmp_path: Path) -> None:
    data = {"boolq": {"source": "hub", "verdict": "other"}, "piqa": {"source": "folder", "verdict": "published"}}
    config = {**EVALKIT["config"], "add_bos": True, "system": "You are"}
    record = write_record(tmp_path, {"boolq": {"acc": [1.0, 0.0]}}, data=data, config=config, isolation="full")
    report = run_report(record)
    assert "- Data: folder, hub; not the published content: boolq" in report
    assert "- Protocol: nous-2023 (changed: add_bos, system)" in report
    assert "- Model-written programs: full" in report


def test_sampling_is_named_where_programs_were_written_and_nowhere_else(tmp_path: Path) -> None:
    config = {**EVALKIT["config"], "samples": 3, "temperature": 1.5}
    for task, metric, named in (("humaneval", "pass@1", True), ("boolq", "acc", False)):
        record = write_record(tmp_path / task, {task: {metric: [1.0, 0.0]}}, config=config)
        assert ("- Protocol: nous-2023 (changed: samples 3, temperature 1.5)\n" in run_report(record)) == named
        assert ("¶" in standing_of_run(record).marks.get("humaneval", "")) == named


def test_programs_that_pass_in_one_process_alone_are_counted_and_named(tmp_path: Path) -> None:
    def judged(place: int, *verdicts: tuple[bool, str | None]) -> Sample:
        rows = [
            {"task_id": f"HumanEval/{place}", "passed": passed} | ({} if second is None else {"in_one_process": second})
            for passed, second in verdicts
        ]
        metrics: dict[str, float | None] = {"pass@1": sum(passed for passed, _ in verdicts) / len(verdicts)}
        return msgspec.structs.replace(sample("humaneval", place, **metrics), details={"verdicts": rows})

    samples = [
        judged(0, (True, ""), (True, "passed")),
        judged(1, (False, "failed"), (False, None)),
        judged(2, (False, "passed"), (False, "passed")),
        judged(3, (False, "passed"), (True, "passed")),
    ]
    disputed = disputed_programs(samples)
    assert disputed == ("HumanEval/2", "HumanEval/2", "HumanEval/3")
    record = write_samples(tmp_path, samples, disputed=list(disputed), isolation="full")
    (line,) = [line for line in run_report(record).splitlines() if "disputed" in line]
    assert line.startswith(
        "**disputed: 3 programs failed and pass in one process, where a program can fake its result:"
    )
    assert line.endswith(" HumanEval/2, HumanEval/3; look at them (evalkit humaneval show).**")
    line = "2 of 164 answers: no code found in the answer (HumanEval/1, HumanEval/2)"
    with_answers = run_report(write_samples(tmp_path / "answers", samples, answers=[line], isolation="full"))
    assert f"**code taken out of answers: {line}.**" in with_answers
    assert "存疑：3 个程序" in run_report(record, load_language("zh"))
    (line,) = disputed_text([f"p/{number}" for number in range(11)])
    assert line.startswith("disputed: 11 programs failed")
    assert "p/9, ...; look" in line
    assert disputed_text([]) == []
    assert "disputed" not in run_report(write_samples(tmp_path / "none", samples[:2], isolation="full"))


def test_a_models_name_is_escaped_wherever_the_report_has_it(tmp_path: Path) -> None:
    name = "x</script><script>alert(1)</script> | `a` \u202eevil\u2066"
    record = write_record(tmp_path, {"boolq": {"acc": [1.0, 0.0]}}, model={**EVALKIT["model"], "name": name})
    shown = [line for line in run_report(record).splitlines() if "evil" in line]
    assert len(shown) == 2
    for line in shown:
        assert "<" not in line.replace("&lt;", "")
        assert "\u202e" not in line
        assert "\u2066" not in line
        assert r"\| \`a\` \[U+202E\]evil\[U+2066\]" in line
