"""Tables of HTML read as the same tables of Markdown do; groups of results files; rows that name a group of models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.baselines.audit.findings import Audit, audit_file, audit_log
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.text import numbered_lines
from evalkit.tables import Column, Table, to_html, to_markdown

MARKDOWN = "| Model | ARC | MMLU | Avg |\n|---|---|---|---|\n| Foo-7B | 60.0 | 50.0 | 55.0 |\n"
ROWS = (("Foo-7B", "80.0", "60.0", "40.0", "60.0"), ("Bar-7B", "70.0", "50.0", "30.0", "57.0"))


def audited(text: str) -> Audit:
    return audit_log(parse_log("card.md", numbered_lines(text)))


def verdicts(text: str) -> list[tuple[str, str]]:
    return sorted((found.verdict.name, found.printed) for found in audited(text).findings)


@pytest.mark.parametrize("head", ["<thead><tr>{}</tr></thead>", "<tr>{}</tr>"])
@pytest.mark.parametrize("tag", ["th", "td"])
@pytest.mark.parametrize("above", ["", MARKDOWN, MARKDOWN + "\n"])
def test_a_table_of_html_is_one_of_its_own(head: str, tag: str, above: str) -> None:
    labels = "".join(f"<{tag}>{name}</{tag}>" for name in ("Model", "ARC", "GSM8K", "HellaSwag", "Avg"))
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in ROWS)
    text = f"{above}<table>{head.format(labels)}\n{body}</table>\n"
    assert verdicts(text) == sorted(
        [("EXACT", "60.0"), ("INCONSISTENT", "57.0"), *([("EXACT", "55.0")] if above else [])]
    )


def test_a_comparison_says_the_same_as_html_and_as_markdown() -> None:
    names = ("Task", "Metric", "A", "B", "Difference", "95 % interval", "Gained", "Lost", "p", "p (Holm)")
    suites = (("GPT4All", "70.00", "72.00"), ("AGIEval", "40.00", "41.00"), ("BigBench", "40.00", "40.00"))
    rest = ("-1.00 to +3.00", None, None, "0.0300", "0.0900")
    rows = [("boolq", "acc", "70.00", "72.00", "+2.00", "-1.00 to +3.00", 3, 5, "0.0300", "0.0900")]
    rows += [(n, "average", a, b, f"{float(b) - float(a):+.2f}", *rest) for n, a, b in suites]
    rows += [("Average", "average", "50.00", "51.00", "+1.00", "-1.00 to +3.00", None, None, "0.5000", "1.0000")]
    table = Table("a to b", tuple(Column(name, key=name) for name in names), tuple(rows), ("an average of suites",))
    assert verdicts(to_html(table)) == verdicts(to_markdown(table)) != []
    assert audited(to_html(table)).inconsistent == ()


@pytest.mark.parametrize(("stem", "wrong"), [(0.5142118863049095, 0), (0.5265118863049095, 1), (0.5268908382066277, 0)])
@pytest.mark.parametrize("name", ["mmlu_stem", "own"])
def test_groups_of_results_files_are_checked_against_their_members(
    stem: float, wrong: int, name: str, tmp_path: Path
) -> None:
    right = {"mmlu_algebra": (67, 100), "mmlu_anatomy": (51, 135), "mmlu_astronomy": (81, 152)}
    group = {"alias": name, "acc,none": stem}
    found = {
        "results": {task: {"acc,none": k / n} for task, (k, n) in right.items()} | {name: group},
        "groups": {name: group},
        "group_subtasks": {name: list(right)},
        "n-samples": {task: {"original": n, "effective": n} for task, (_, n) in right.items()},
        "config": {"limit": None},
    }
    file = tmp_path / "results_2024-05-01T00-00-00.000000.json"
    file.write_text(json.dumps(found))
    assert len(audit_file(file).inconsistent) == wrong


@pytest.mark.parametrize("label", ["**Chat** | | | |", " | | | |"])
def test_rows_of_one_name_in_two_groups_are_no_duplicates(label: str) -> None:
    head, row = "| Model | ARC | MMLU | Avg |\n|---|---|---|---|\n", "| Foo-7B | 60.0 | 50.0 | 55.0 |\n"
    text = f"{head}{row}| {label}\n{row.replace('50.0 | 55.0', '40.0 | 50.0')}"
    assert audited(text).inconsistent == ()
    assert len(audited(text.replace(f"| {label}\n", "")).inconsistent) == 1
