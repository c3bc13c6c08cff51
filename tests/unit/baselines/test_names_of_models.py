"""A model's name is one that stands in the file as a name: no number, no piece of prose; runs are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.baselines.reading.importer import Imported, import_log
from evalkit.errors import DataError

pytestmark = pytest.mark.torch_free
HEADING = "|Task|Version|Metric|Value|   |Stderr|\n|---|--:|---|--:|---|--:|\n"
FIRST = f"{HEADING}|arc_easy|0|acc|0.8001|±|0.0082|\n|boolq|1|acc|0.8501|±|0.0062|\n|piqa|0|acc|0.8101|±|0.0091|\n"
SECOND = FIRST.replace("0.8101", "0.8131")
OTHER = f"{HEADING}|agieval_sat_math|0|acc|0.2401|±|0.0289|\n"
SUITES = "| GPT4All | AGIEval | BigBench | TruthfulQA |\n|---|---|---|---|\n"
ROWS = ("| 70.10 | 40.10 | 30.1 | 50.2 |\n", "| 71.10 | 40.90 | 30.9 | 50.9 |\n")


def read(text: str, tmp_path: Path, name: str = "card.md") -> Imported:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return import_log(path, retrieved="2024-01-01")


def averages(found: Imported) -> dict[str, list[str]]:
    return {b.name: [str(value) for value in b.averages.values()] for b in found.baselines}


def test_two_rows_without_names_are_nobodys(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(f"# Foo-7B\n\n{SUITES}{''.join(ROWS)}", tmp_path)
    for line in (5, 6):
        assert f"line {line}: row without a model's name; not read" in str(error.value)


def test_one_row_without_a_name_is_the_files(tmp_path: Path) -> None:
    assert averages(read(f"# Foo-7B\n\n{SUITES}{ROWS[0]}", tmp_path)) == {"Foo-7B": ["70.10", "40.10", "30.1", "50.2"]}


@pytest.mark.parametrize(
    ("column", "labels", "names"),
    [
        ("Step", ("500", "1000"), ["Step 500", "Step 1000"]),
        ("Epoch", ("1", "2"), ["Epoch 1", "Epoch 2"]),
        ("Model", ("7", "Foo-7B"), ["Model 7", "Foo-7B"]),
        ("Models", ("Bar-7B", "Foo-7B"), ["Bar-7B", "Foo-7B"]),
    ],
)
def test_a_number_says_what_it_is_of(column: str, labels: tuple[str, str], names: list[str], tmp_path: Path) -> None:
    rows = "".join(f"| {label} {row}" for label, row in zip(labels, ROWS, strict=True))
    text = f"| {column} {SUITES.replace('|---', '|---|---', 1)}{rows}"
    assert averages(read(text, tmp_path)) == {
        names[0]: ["70.10", "40.10", "30.1", "50.2"],
        names[1]: ["71.10", "40.90", "30.9", "50.9"],
    }


@pytest.mark.parametrize("column", ["Rank", "#", "", "No."])
def test_a_rank_is_nobodys_name(column: str, tmp_path: Path) -> None:
    text = f"| {column} {SUITES.replace('|---', '|---|---', 1)}| 1 {ROWS[0]}| 2 {ROWS[1]}"
    with pytest.raises(DataError, match="line 3: row without a model's name; not read"):
        read(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"## 1\n\n{FIRST}\n## 2\n\n{SECOND}", "card.md"),
        (f"# 500\n\n{FIRST}\n# 1000\n\n{SECOND}", "card.md"),
        (f"Model: 70.10\n\n{FIRST}", "card.md"),
        (FIRST, "7.md"),
        (f"{FIRST}\n{SECOND.replace('0.8501', '0.8511')}", "7.md"),
    ],
)
def test_no_name_is_a_number(text: str, name: str, tmp_path: Path) -> None:
    for baseline in read(text, tmp_path, name).baselines:
        assert any(letter.isalpha() for letter in baseline.name), baseline.name


RUNS = (
    "Run 2:",
    "**Run 2**",
    "## Run 2",
    "Run #2",
    "Second run",
    "2nd run:",
    "Another run:",
    "Rerun:",
    "Seed 1",
    "seed=1",
    "Epoch 3",
    "Checkpoint 500",
    "Step 1000:",
    "Results of the second run:",
    "Trial 2:",
    "Run B",
)


@pytest.mark.parametrize("label", RUNS)
@pytest.mark.parametrize("below", [FIRST, SECOND, OTHER], ids=["same", "one row", "other rows"])
def test_another_run_is_not_joined(label: str, below: str, tmp_path: Path) -> None:
    found = read(f"# Foo-7B\n\n{FIRST}\n{label}\n\n{below}", tmp_path).baselines
    assert [sorted(b.tasks) for b in found] == [
        ["arc_easy", "boolq", "piqa"],
        ["agieval_sat_math"] if below is OTHER else ["arc_easy", "boolq", "piqa"],
    ]


def test_a_run_of_a_model_is_not_the_model(tmp_path: Path) -> None:
    text = f"Foo-7B, run 1:\n\n{FIRST}\nFoo-7B, run 2:\n\n{OTHER}"
    assert [b.name for b in read(text, tmp_path).baselines] == ["Foo-7B run 1", "Foo-7B run 2"]


@pytest.mark.parametrize("line", ["We run 3 suites:", "Runs of the Nous suite:", "Table 2:", "Page 2"])
def test_what_names_no_run_tells_nothing_apart(line: str, tmp_path: Path) -> None:
    assert len(read(f"# Foo-7B\n\n{FIRST}\n{line}\n\n{OTHER}", tmp_path).baselines) == 1


PROSE = (
    "Evaluated from scratch:",
    "Source: https://example.org/a",
    "The following scores are copied from the parent model:",
    "Second table:",
    "Everything was done on one GPU:",
    "Peter measured these:",
    "With the new tokenizer:",
    "Caveats apply",
    "Updated June 2024:",
    "Trained with QLoRA:",
    "Thanks to Intel:",
    "Acknowledgements",
    "Hardware: 8xA100",
    "Commit abc123:",
    "Date: 2024-01-01",
    "Fine-tuning:",
)


@pytest.mark.parametrize("line", PROSE)
@pytest.mark.parametrize("title", ["# Foo-7B\n\n", ""])
def test_prose_is_nobodys_name(line: str, title: str, tmp_path: Path) -> None:
    found = read(f"{title}{FIRST}\n{line}\n\n{SECOND}", tmp_path).baselines
    assert found[0].name in ("Foo-7B", "card", "card 1")  # the title's, or the file's
    assert all(b.name.startswith("unnamed (line ") or b.name == "card 2" for b in found[1:])


@pytest.mark.parametrize("name", ["Kunoichi", "Kunoichi DPO", "Bar-13B", "a/bar-13b", "Zephyr 7B", "Before"])
@pytest.mark.parametrize("line", ["{}:", "### {}", "Results for {}:"])
def test_a_name_stays_one(name: str, line: str, tmp_path: Path) -> None:
    found = read(f"# Foo-7B\n\n{FIRST}\n{line.format(name)}\n\n{SECOND}", tmp_path).baselines
    assert [b.name for b in found] == ["Foo-7B", name]


def test_the_title_is_not_the_name_of_the_second_table(tmp_path: Path) -> None:
    """A remark between two tables of one model's tasks: the title stands above the first."""
    other = FIRST.replace("0.80", "0.70").replace("0.85", "0.75")
    found = read(f"# Foo-7B\n\n{FIRST}\nEnjoy!\n\n{other}", tmp_path).baselines
    assert [(b.name, str(b.tasks["boolq"]["acc"].value)) for b in found] == [
        ("Foo-7B", "0.8501"),
        ("unnamed (line 13)", "0.7501"),
    ]
