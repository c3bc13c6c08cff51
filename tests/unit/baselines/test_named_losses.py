"""Nothing that stands in a file is lost without a word: values of results files, items of lists, errors, limits."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evalkit.baselines.audit.checks import Agreement
from evalkit.baselines.audit.findings import audit_log
from evalkit.baselines.published import Log
from evalkit.baselines.reading.importer import import_log
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.text import numbered_lines
from evalkit.cli import main
from evalkit.config.suites import load_suites
from evalkit.errors import StoreError
from evalkit.results.lm_eval_files import read_foreign_run

pytestmark = pytest.mark.torch_free
HEADING = "|Task|Version|Metric|Value|   |Stderr|\n|---|---|---|---|---|---|\n"
DOCUMENTS = {
    "arc_challenge": 1172,
    "arc_easy": 2376,
    "boolq": 3270,
    "hellaswag": 10042,
    "openbookqa": 500,
    "piqa": 1838,
    "winogrande": 1267,
}


def read(text: str) -> Log:
    return parse_log("log.md", numbered_lines(text))


def unread(log: Log) -> list[tuple[int, str]]:
    return [(note.line, note.message) for note in log.notes if note.unread]


def results(file: Path, scored: dict[str, int], limit: Any = None, **changed: Any) -> Path:
    """Write a results file of lm-eval: the seven tasks, so many documents each; `changed` are keys of boolq."""
    tasks: dict[str, dict[str, Any]] = {
        name: {"alias": name, "acc,none": 0.6, "acc_stderr,none": 0.01, "acc_norm,none": 0.6} for name in DOCUMENTS
    }
    for values in tasks.values():
        values["acc_norm_stderr,none"] = 0.01
    tasks["boolq"] |= {key.replace("__", ","): value for key, value in changed.items()}
    counts = {name: {"original": whole, "effective": scored.get(name, whole)} for name, whole in DOCUMENTS.items()}
    found = {
        "results": tasks,
        "n-shot": dict.fromkeys(tasks, 0),
        "n-samples": counts,
        "config": {"model": "hf", "limit": limit},
        "model_name": "org/m",
    }
    file.write_text(json.dumps(found, indent=1))
    return file


@pytest.mark.parametrize(
    ("scored", "wanted"),
    [
        (dict.fromkeys(DOCUMENTS, 100), 100),
        ({"hellaswag": 1000}, 1000),
        ({name: -(-whole // 10) for name, whole in DOCUMENTS.items()}, 0.1),
        ({}, None),
    ],
)
def test_documents_fewer_than_the_tasks_are_a_limit(
    tmp_path: Path, scored: dict[str, int], wanted: float | None
) -> None:
    record = read_foreign_run(results(tmp_path / "a.json", scored))
    assert record.config.limit == wanted
    assert record.protocol == ("lm-eval-0.4" if wanted is None else f"lm-eval-0.4, limit {wanted:g}")


def test_fewer_than_the_known_number_of_a_task_is_a_limit_too(tmp_path: Path) -> None:
    file = results(tmp_path / "a.json", {})
    found = json.loads(file.read_text())
    found["n-samples"] = {name: {"original": 100, "effective": 100} for name in DOCUMENTS}
    file.write_text(json.dumps(found))
    assert read_foreign_run(file).config.limit == 100


def test_a_limited_run_is_said_marked_and_refused(tmp_path: Path) -> None:
    limited = str(results(tmp_path / "limited.json", dict.fromkeys(DOCUMENTS, 100)))
    whole = str(results(tmp_path / "whole.json", {}))
    run = CliRunner().invoke
    assert "limited: only the first documents" in run(main, ["report", limited]).output
    found = run(main, ["gate", limited, "--baseline", whole])
    assert (found.exit_code, "limit: first 100 of each task, baseline all" in found.output) == (2, True)
    rows = run(main, ["leaderboard", limited, "--across-protocols"]).output.splitlines()
    assert any("org/m" in row and "§" in row for row in rows)


@pytest.mark.parametrize("value", ["0.61", float("nan"), True])
def test_a_value_that_is_no_number_is_named_with_its_line(tmp_path: Path, value: Any) -> None:
    file = results(tmp_path / "a.json", {}, acc__none=value)
    found = import_log(file, retrieved="2026-01-01")
    assert "acc" not in found.baselines[0].tasks["boolq"]
    assert found.baselines[0].tasks["piqa"]["acc"].value == Decimal("0.6")
    (note,) = [note for note in found.notes if note.unread]
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if text.strip().startswith('"boolq": {'))
    assert (note.line, note.message) == (line, f"boolq acc: {json.dumps(value)} is no number; not read")


def test_a_key_that_is_there_twice_is_no_results_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"results": {"boolq": {"acc,none": 0.6, "acc,none": 0.9}}}')
    with pytest.raises(StoreError, match=r"key 'acc,none' twice"):
        read_foreign_run(file)
    file.write_text('{"results": {"boolq": {"acc,none": 0.6, "acc,none": 0.6}}}')
    assert read_foreign_run(file).metrics["boolq"]["acc"].value == 0.6


def test_a_results_file_without_scores_is_exit_4_of_the_audit(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"results": {}}')
    found = CliRunner().invoke(main, ["audit", str(tmp_path / "a.json")])
    assert (found.exit_code, "no scores read" in found.output) == (4, True)


def test_a_suite_whose_error_is_missing_is_not_said_to_lack_tasks(tmp_path: Path) -> None:
    file = str(results(tmp_path / "a.json", {}, acc_stderr__none="N/A"))
    found = CliRunner().invoke(main, ["gate", file, "--baseline", file])
    assert (found.exit_code, "no standard error of boolq" in found.output) == (2, True)


def test_suites_that_no_run_has_are_not_said_to_be_all_their_tasks(tmp_path: Path) -> None:
    file = str(results(tmp_path / "a.json", {}))
    (tmp_path / "p.yaml").write_text("missing: ignore\nsuites:\n  bigbench: {margin: 1}\n")
    found = CliRunner().invoke(main, ["gate", file, "--baseline", file, "--policy", str(tmp_path / "p.yaml")])
    assert (found.exit_code, "the baseline lacks it: bigbench" in found.output) == (2, True)


def test_items_of_a_list_that_are_not_read_are_named() -> None:
    log = read("GPT4All:\n\n- boolq: 0.8731\n2. piqa acc: 80.1%\n- Average: 0.7213\n\nNotes: piqa took 3.5 hours\n")
    assert [line for line, _ in unread(log)] == [3, 4]
    assert [average.percent for average in log.models[0].averages] == [Decimal("72.13")]


@pytest.mark.parametrize("cell", ["1_000", "0_5734", "57_34"])
def test_digits_in_groups_are_no_score(cell: str) -> None:
    log = read(f"{HEADING}|boolq|1|acc|{cell}|±|0.0087|\n|piqa|0|acc|0.8010|±|0.0093|\n")
    assert [row.task for row in log.models[0].tables[0].rows] == ["piqa"]
    assert [line for line, _ in unread(log)] == [3]


@pytest.mark.parametrize(
    ("cell", "beside", "wanted"),
    [
        ("0.5734 ± 0.0131", "0.0102", None),
        ("57.34% ± 1.31%", "1.02%", None),
        ("0.5734 ± 0.0102", "0.0102", "0.0102"),
        ("0.5734 ± 0.0102", "", "0.0102"),
    ],
)
def test_two_errors_that_differ_are_named_and_not_read(cell: str, beside: str, wanted: str | None) -> None:
    log = read(f"{HEADING}|arc_easy|0|acc|{cell}|±|{beside}|\n|piqa|0|acc|0.8010|±|0.0093|\n")
    first = log.models[0].tables[0].rows[0]
    assert (str(first.value), first.stderr) == ("0.5734", Decimal(wanted) if wanted else None)
    assert ["two standard errors" in text for _, text in unread(log)] == ([] if wanted else [True])


def test_an_error_in_another_unit_than_its_percentage_says_so() -> None:
    log = read(f"{HEADING}|arc_easy|0|acc|57.34%|±|0.0102|\n|piqa|0|acc|0.8010|±|0.0093|\n")
    assert [text.partition(": ")[2] for _, text in unread(log)] == [
        "standard error 0.0102 has another unit than its value (2376 documents); not read"
    ]


@pytest.mark.parametrize(("shown", "verdict"), [(2, Agreement.UNCHECKED), (8, Agreement.INCONSISTENT)])
def test_a_group_of_which_a_part_is_shown_is_not_accused(shown: int, verdict: Agreement) -> None:
    heading = "|Tasks|Version|Filter|n-shot|Metric|   |Value|   |Stderr|\n|---|---|---|---|---|---|---|---|---|\n"
    tasks = [task.name for task in load_suites()["agieval"].tasks][:shown]
    rows = "".join(f"| - {name}|1|none|0|acc_norm|↑|0.30{n}0|±|0.0200|\n" for n, name in enumerate(tasks))
    found = audit_log(read(f"{heading}|agieval_nous|0|none| |acc_norm|↑|0.3905|±|0.0094|\n{rows}")).findings
    assert [finding.verdict for finding in found if "group" in finding.what] == [verdict]


@pytest.mark.parametrize(
    ("label", "is_model"),
    [
        ("golden ratio 7B", True),
        ("Merge A vs B", True),
        ("Foo loss", False),
        ("Foo vs Bar", False),
        ("Accuracy loss", False),
        ("Drop (%)", False),
        ("vs FP16", False),
        ("Change", False),
    ],
)
def test_a_label_is_a_model_unless_it_is_a_change_and_no_row_is_lost_silently(
    label: str, is_model: bool, tmp_path: Path
) -> None:
    file = tmp_path / "log.md"
    file.write_text(
        "|Model|AGIEval|GPT4All|TruthfulQA|Bigbench|Average|\n|---|---|---|---|---|---|\n"
        "|Foo|44.10|73.00|57.20|45.10|54.85|\n|Bar|43.90|72.50|57.00|44.60|54.50|\n"
        f"|{label}|42.90|71.50|56.00|43.60|53.50|\n"
    )
    said = CliRunner().invoke(main, ["baselines", "import", str(file), "--output", "-"])
    assert said.exit_code == 0, said.output
    assert (f"name: {label}\n" in said.output) is is_model
    assert is_model or f"log.md:5: note: '{label}': no model; not imported" in said.output
