"""Arrows and units in the headings of a table say nothing about whose or what the numbers are."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from evalkit.baselines import Baseline, import_log

pytestmark = pytest.mark.torch_free
PRINTED = {"gpt4all": "74.87", "agieval": "36.83", "bigbench": "40.51", "truthfulqa": "51.00"}
FORMS = (
    "{}↑",
    "{} ↑",
    "{} (↑)",
    "{} ⬆️",
    "{} ⬆",
    "{} (%)",
    "{} [%]",
    "{}↑ (%)",
    "{} (%) ↑",
    "{} (%, ↑)",
    "**{}** ▲",
    "↑{}",
)


def baselines(text: str, folder: Path) -> list[Baseline]:
    path = folder / "card.md"
    path.write_text(text, encoding="utf-8")
    return list(import_log(path, retrieved="2026-01-01").baselines)


@pytest.mark.parametrize("form", FORMS)
def test_suites_by_models_are_averages_whatever_arrow_stands_beside_them(form: str, tmp_path: Path) -> None:
    suites = ("GPT4All", "AGIEval", "BigBench", "TruthfulQA", "Average")
    head = "|".join(form.format(suite) for suite in suites)
    by_models = f"# Foo-7B\n\n|Model|{head}|\n|---|---|---|---|---|---|\n|Bar-7B|74.87|36.83|40.51|51.00|50.80|\n"
    rows = zip(suites, ("74.87", "36.83", "40.51", "51.00", "50.80"), strict=True)
    on_its_side = "# Foo-7B\n\n|Suite|Bar-7B|\n|---|---|\n" + "".join(f"|{form.format(s)}|{v}|\n" for s, v in rows)
    for text in (by_models, on_its_side):
        (found,) = baselines(text, tmp_path)
        assert found.name == "Bar-7B"
        assert found.averages == {suite: Decimal(value) for suite, value in PRINTED.items()}
        assert not found.tasks
        assert found.protocol == "nous-2023"


def test_a_benchmark_beside_the_suites_is_kept_and_makes_no_claim(tmp_path: Path) -> None:
    text = "|Model|GPT4All (↑)|AGIEval (%)|BigBench-Hard|TruthfulQA MC2|Avg.|\n|---|---|---|---|---|---|\n"
    (found,) = baselines(f"# Foo-7B\n\n{text}|Bar-7B|74.87|36.83|40.51|51.00|50.80|\n", tmp_path)
    assert found.averages == {s: Decimal(PRINTED[s]) for s in ("gpt4all", "agieval", "truthfulqa")}
    assert found.tasks["BigBench-Hard"]["score"].value == Decimal("0.4051")
    assert {found.protocol_of(suite) for suite in found.averages} == {"unknown"}
    assert any("'BigBench-Hard' stands beside it" in note for note in found.notes)


def test_benchmarks_by_models_keep_their_names_without_arrows(tmp_path: Path) -> None:
    text = "|Model|ARC-C ↑|HellaSwag ↑|AGIEval ↑|\n|---|---|---|---|\n|Bar-7B|59.58|83.31|36.83|\n"
    (found,) = baselines(f"# Foo-7B\n\n{text}", tmp_path)
    values = {task: metrics["score"].value for task, metrics in found.tasks.items()}
    assert values == {
        "arc_challenge": Decimal("0.5958"),
        "hellaswag": Decimal("0.8331"),
        "AGIEval": Decimal("0.3683"),
    }
    assert found.protocol == "unknown"


@pytest.mark.parametrize("head", ["Task|Version|Metric|Value ↑||Stderr ↓", "Task|Version|Metric ↑|Value (↑)||Stderr"])
def test_arrows_in_the_headings_of_a_log(head: str, tmp_path: Path) -> None:
    text = f"# Foo-7B\n\n### GPT4All\n|{head}|\n|---|--:|---|--:|---|--:|\n|boolq|1|acc|0.8700|±|0.0059|\n"
    (found,) = baselines(text, tmp_path)
    assert (found.tasks["boolq"]["acc"].value, found.tasks["boolq"]["acc"].stderr) == (
        Decimal("0.8700"),
        Decimal("0.0059"),
    )
    assert found.protocol == "nous-2023"


def test_arrows_in_a_table_with_a_column_a_metric(tmp_path: Path) -> None:
    text = "|Task|Version|acc ↑|acc_stderr|acc_norm (↑)|acc_norm_stderr|\n|---|---|---|---|---|---|\n"
    (found,) = baselines(f"# Foo-7B\n\n{text}|piqa|0|0.8156|0.0090|0.8300|0.0088|\n", tmp_path)
    values = {m: (found.tasks["piqa"][m].value, found.tasks["piqa"][m].stderr) for m in ("acc", "acc_norm")}
    assert values == {
        "acc": (Decimal("0.8156"), Decimal("0.0090")),
        "acc_norm": (Decimal("0.8300"), Decimal("0.0088")),
    }
