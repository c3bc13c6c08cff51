"""Tables: settings are no scores, labels that say more than a suite are not its average, what is dropped is named."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.baselines.audit.checks import Agreement
from evalkit.baselines.audit.findings import Audit, audit_log
from evalkit.baselines.reading.importer import Imported, import_log
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.text import numbered_lines
from evalkit.config.suites import load_tasks
from evalkit.errors import DataError


def table(*rows: str) -> str:
    head, *body = rows
    rule = "|".join("---" for _ in head.split("|"))
    return "".join(f"| {row} |\n" for row in (head, rule, *body))


def audited(text: str) -> Audit:
    return audit_log(parse_log("card.md", numbered_lines(text)))


def imported(text: str, folder: Path, name: str = "card.md") -> Imported:
    (folder / name).write_text(text)
    return import_log(folder / name, retrieved="2024-01-01")


_SETTINGS = [
    *(
        ("Sparsity", "0.5", "0.7"),
        ("Sparsity", "50%", "70%"),
        ("lr", "1e-4", "3e-4"),
        ("LoRA rank", "32", "64"),
        ("Seed", "1", "2"),
    ),
    *(("Group", "128", "64"), ("top-p", "0.9", "0.95"), ("Steps", "1000", "2000"), ("alpha", "1.5", "2.5")),
]


@given(st.sampled_from(_SETTINGS), st.integers(10, 80), st.integers(10, 80))
def test_a_setting_is_no_score_and_tells_rows_of_one_name_apart(
    setting: tuple[str, str, str], first: int, second: int
) -> None:
    rows = [(first, second), (second, first + 3)]
    text = table(
        f"Model | {setting[0]} | ARC-e | ARC-c | Avg.",
        *(f"LLaMA | {how} | {a}.0 | {b}.0 | {(a + b) / 2}" for (a, b), how in zip(rows, setting[1:], strict=True)),
    )
    found = audited(text)
    assert found.inconsistent == ()
    assert found.count(Agreement.EXACT) == 2
    right = f"{(second + first + 3) / 2}"
    wrong = text[: text.rindex(right)] + f"{(second + first + 3) / 2 + 4}" + text[text.rindex(right) + len(right) :]
    # Of two averages one fits, so the columns that count are known, and the other is wrong.
    assert {finding.line for finding in audited(wrong).findings if finding.verdict is not Agreement.EXACT} == {4}


def test_two_rows_of_one_name_that_nothing_tells_apart_are_named() -> None:
    text = table("Model | ARC-e | ARC-c | Avg.", "Foo | 80.0 | 50.0 | 65.0", "Foo | 70.0 | 40.0 | 55.0")
    assert [finding.line for finding in audited(text).inconsistent] == [4]
    assert audited(text.replace("Foo | 80", "Foo\\* | 80")).inconsistent == ()  # a printed star, and a footnote below


def test_rows_of_one_name_in_groups_of_several_models_are_not_compared() -> None:
    head, *rows = ("Model | ARC-e | ARC-c", "Foo | 81.0 | 51.0", "RTN | 80.0 | 50.0", " | | ", "Bar | 71.0 | 41.0")
    assert audited(table(head, *rows, "RTN | 70.0 | 40.0")).inconsistent == ()
    assert audited(table(head, rows[0], rows[1], rows[3], "RTN | 70.0 | 40.0")).inconsistent != ()


@pytest.mark.parametrize("label", ["Weighted Avg.", "Geometric mean", "Micro average", "加权平均"])
def test_an_average_that_says_that_it_is_no_plain_mean_is_not_checkable(label: str) -> None:
    rows = (f"Model | ARC-e | ARC-c | BoolQ | {label}", "Foo | 80.0 | 50.0 | 85.0 | 77.7")
    assert audited(table(*rows)).inconsistent == ()
    plain = table(rows[0].replace(label, "Unweighted Avg."), rows[1])
    assert [finding.line for finding in audited(plain).inconsistent] == [3]


@given(st.integers(100, 1000), st.lists(st.floats(0.2, 0.9), min_size=3, max_size=3))
def test_errors_that_all_fit_one_smaller_number_are_a_limited_run(limit: int, shares: list[float]) -> None:
    names = ("hellaswag", "boolq", "piqa")
    lines = []
    for name, share in zip(names, shares, strict=True):
        value = round(share * limit) / limit
        lines.append(f"{name} | acc | {value:.4f} | {math.sqrt(value * (1 - value) / (limit - 1)):.4f}")
    text = table("Task | Metric | Value | Stderr", *lines)
    assert all(load_tasks()[name].documents > 1500 for name in names)
    assert audited(text).inconsistent == ()
    single = table("Task | Metric | Value | Stderr", lines[0])
    assert [finding.line for finding in audited(single).inconsistent] == [3]


@pytest.mark.parametrize(
    "label",
    [
        *("AGIEval (Chinese)", "AGIEval English", "AGIEval (5 of 8)", "AGIEval (CoT)", "AGIEval (win rate)"),
        *("AGIEval vs base", "AGIEval (SAT only)", "AGIEval rank"),
    ],
)
def test_a_label_that_says_more_than_its_suite_is_not_its_average(label: str, tmp_path: Path) -> None:
    found = imported(table(f"Model | GPT4All | {label} | BigBench", "Foo-7B | 73.01 | 44.12 | 45.10"), tmp_path)
    (baseline,) = found.baselines
    assert baseline.averages == {"gpt4all": Decimal("73.01"), "bigbench": Decimal("45.10")}
    assert any(label in note.message and "not read" in note.message for note in found.notes)


def test_a_second_column_of_a_suite_is_named(tmp_path: Path) -> None:
    text = table("Model | AGIEval | GPT4All | BigBench | AGIEval", "Foo-7B | 44.12 | 73.01 | 45.10 | 41.1")
    found = imported(text, tmp_path)
    assert found.baselines[0].averages["agieval"] == Decimal("44.12")
    assert [note.message for note in found.notes if "again" in note.message] == [
        "'AGIEval': AGIEval again, the first is kept; not read"
    ]


def test_a_footnote_is_no_part_of_a_name_and_a_size_is_no_score(tmp_path: Path) -> None:
    head = "Model | Total Params | GPT4All<br>(%) | AGIEval | BigBench"
    text = table(
        head, "Foo-7B<sup>59</sup> | 24.2B | 73.01 | 44.12 | 45.10\\*", "Bar-7B | 7.2B | 71.01 | 42.12 | 43.10"
    )
    found = imported(text, tmp_path)
    assert [baseline.name for baseline in found.baselines] == ["Foo-7B", "Bar-7B"]
    assert found.baselines[0].averages["bigbench"] == Decimal("45.10")
    assert not [note for note in found.notes if note.unread]


ORG = "* Results\n| Model | AGIEval | GPT4All |\n|-------+---------+---------|\n| Foo | 44.12 | 73.01 |\n"
RULE = "======  =======  =======\n"
RST = f"{RULE}Model   AGIEval  GPT4All\n{RULE}Foo     44.12    73.01\n{RULE}"
CELLS = "<tr><td>Foo</td><td>44.12</td></tr>\n<tr><td>Bar</td><td>43.1</td></tr>"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("card.org", ORG, 4),
        ("card.rst", RST, 4),
        ("card.md", "- AGIEval\n  - OpenHermes-2.5: 43.07\n  - Foo-7B: 44.12\n", 2),
        ("card.html", f"<html><table>{CELLS}</table></html>", 1),
    ],
)
def test_a_file_of_unknown_form_is_named_by_its_lines(name: str, text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"line {line}: .*not read"):
        imported(text, tmp_path, name)
