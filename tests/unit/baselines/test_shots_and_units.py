"""Cards made of lm-eval's results: examples in headings, many sections of a model, per cent below 1, other metrics."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from evalkit.baselines.model import Baseline
from evalkit.baselines.published import Log
from evalkit.baselines.reading.importer import import_log
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.text import numbered_lines

pytestmark = pytest.mark.torch_free
HEADING = "|    Task     |Version| Metric |Value|   |Stderr|\n|-------------|------:|--------|----:|---|-----:|\n"
SENSE = HEADING + (
    "|arc_challenge|      0|acc     |23.63|±  |  1.24|\n|             |       |acc_norm|25.68|±  |  1.28|\n"
    "|boolq        |      1|acc     |59.08|±  |  0.86|\n|winogrande   |      0|acc     |54.93|±  |  1.40|\n"
)
READING = (
    HEADING + "|race         |      1|acc     |31.96|±  |  1.44|\n|sciq         |      0|acc     |84.70|±  |  1.14|\n"
)
MATH = HEADING + (
    "|drop         |      1|em      | 1.38|±  |  0.12|\n|             |       |f1      | 4.01|±  |  0.15|\n"
    "|gsm8k        |      0|acc     | 0.00|±  |  0.00|\n|math_geometry|      1|acc     | 0.21|±  |  0.21|\n"
    "|math_precalc |      1|acc     | 0.83|±  |  0.25|\n|mathqa       |      0|acc     |23.55|±  |  0.78|\n"
)


def read(text: str) -> Log:
    return parse_log("log.md", numbered_lines(text))


def baselines(folder: Path, text: str) -> tuple[Baseline, ...]:
    (folder / "card.md").write_text(text)
    return import_log(folder / "card.md", retrieved="2026-01-01").baselines


@pytest.mark.parametrize(
    ("heading", "protocol"),
    [
        ("## mpt-7b_common_sense_reasoning_10-shot.json", "lm-eval-0.3, 10-shot"),
        ("## Common sense reasoning (10-shot)", "lm-eval-0.3, 10-shot"),
        ("## mpt-7b 10 shot", "lm-eval-0.3, 10-shot"),
        ("## common_sense_few_shot_5-shot", "lm-eval-0.3, 5-shot"),
        ("## Five-shot results", "lm-eval-0.3, 5-shot"),
        ("## GPT4All (25-shot)", "lm-eval-0.3, 25-shot"),
        ("## GPT4All, 25-shot, with some words", "lm-eval-0.3, 25-shot"),
        ("# All with 10 shots\n\n## GPT4All", "lm-eval-0.3, 10-shot"),
        ("GPT4All\n\nAll numbers are 3-shot.", "lm-eval-0.3, 3-shot"),
        ("## GPT4All (few-shot)", "unknown"),
        ("## mpt-7b_common_sense_reasoning_0-shot.json", "unknown"),
        ("## GPT4All, zero-shot", "nous-2023"),
        ("# MMLU, 5-shot\n\nNone.\n\n# GPT4All", "unknown"),
        ("# A few-shot learner\n\nNone.\n\n# GPT4All", "unknown"),
        ("# GPT4All\n\nIt was trained on 8-shot prompts.", "unknown"),
        ("# 5-shot\n\n## Screenshots\n\nNone.\n\n# GPT4All", "unknown"),
    ],
)
def test_examples_that_a_heading_names_are_part_of_the_protocol(tmp_path: Path, heading: str, protocol: str) -> None:
    (found,) = baselines(tmp_path, f"# Foo-7B\n\n{heading}\n\n{SENSE}")
    assert found.protocol_of("gpt4all") == protocol


def test_sections_of_one_model_are_one_model_with_its_name(tmp_path: Path) -> None:
    text = (
        f"# bloom-1b1\n\n## bloom-1b1_common_sense_reasoning_0-shot.json\n{SENSE}\n"
        f"## bloom-1b1_mathematical_reasoning_few_shot_5-shot.json\n{MATH}\n"
        f"## bloom-1b1_reading_comprehension_0-shot.json\n{READING}\n"
    )
    (found,) = baselines(tmp_path, text)
    assert found.name == "bloom-1b1"
    assert {task: {m.shots for m in ms.values()} for task, ms in found.tasks.items()} == {
        **{key: {0} for key in ("arc_challenge", "boolq", "winogrande", "race", "sciq")},
        **{key: {5} for key in ("drop", "gsm8k", "math_geometry", "math_precalc", "mathqa")},
    }


def test_sections_of_two_models_stay_apart(tmp_path: Path) -> None:
    text = (
        f"## bloom-1b1_sense_0-shot.json\n{SENSE}\n## bloom-1b1_reading_0-shot.json\n{READING}\n"
        f"## opt-1.3b_sense_0-shot.json\n{SENSE.replace('59.08', '57.77')}\n## opt-1.3b_math_5-shot.json\n{MATH}\n"
    )
    first, second = baselines(tmp_path, text)
    assert (first.name, second.name) == ("bloom-1b1", "opt-1.3b")
    assert (first.tasks["boolq"]["acc"].value, second.tasks["boolq"]["acc"].value) == (
        Decimal("0.5908"),
        Decimal("0.5777"),
    )
    assert ("race" in first.tasks, "race" in second.tasks) == (True, False)
    assert ("mathqa" in first.tasks, "mathqa" in second.tasks) == (False, True)


def rows(text: str) -> dict[tuple[str, str], Decimal]:
    log = read(text)
    return {(row.task, row.metric): row.value for m in log.models for table in m.tables for row in table.rows}


def test_a_column_has_one_unit() -> None:
    assert rows(f"## x_5-shot\n{MATH}") == {
        ("drop", "em"): Decimal("0.0138"),
        ("drop", "f1"): Decimal("0.0401"),
        ("gsm8k", "acc"): Decimal("0.0000"),
        ("math_geometry", "acc"): Decimal("0.0021"),
        ("math_precalc", "acc"): Decimal("0.0083"),
        ("mathqa", "acc"): Decimal("0.2355"),
    }


def test_a_slip_in_a_column_of_shares_makes_no_per_cent() -> None:
    table = (
        f"{HEADING}|arc_challenge|0|acc|0.4900|±|0.0146|\n|boolq|1|acc|0.8513|±|0.0062|\n|piqa|0|acc|8.139|±|0.0091|\n"
    )
    assert rows(table) == {("arc_challenge", "acc"): Decimal("0.4900"), ("boolq", "acc"): Decimal("0.8513")}


def test_without_errors_a_mixed_column_is_not_read() -> None:
    log = read(f"{HEADING}|arc_challenge|0|acc|0.49|||\n|boolq|1|acc|0.83|||\n|piqa|0|acc|23.55|||\n")
    assert log.models == ()
    assert [note.line for note in log.notes if note.unread] == [3, 4, 5]


@pytest.mark.parametrize("row", ["|gsm8k|0|acc|0.83|±|0.25|", "|bigbench_geometric_shapes|0|acc|0.83|±|0.48|"])
def test_a_value_whose_error_fits_only_in_per_cent_is_no_share(row: str) -> None:
    log = read(f"{HEADING}{row}\n")
    assert log.models == ()
    assert "fits only if both are per cent" in log.notes[-1].message


# lm-eval 0.4 writes a task's metrics in any order.
TRUTHFULQA = """\
|truthfulqa       |N/A|none|0|rouge2_diff|-3.1083|±|0.9876|
|                 |   |none|0|bleu_acc   | 0.3905|±|0.0003|
|                 |   |none|0|acc        | 0.4230|±|0.0002|
| - truthfulqa_gen|  3|none|0|bleu_max   |25.3083|±|0.7876|
|                 |   |none|0|bleu_acc   | 0.3905|±|0.0171|
| - truthfulqa_mc1|  2|none|0|acc        | 0.3501|±|0.0167|
| - truthfulqa_mc2|  2|none|0|acc        | 0.5101|±|0.0157|
"""


@pytest.mark.parametrize("order", range(5))
def test_a_row_of_bleu_may_come_first(order: int) -> None:
    lines = TRUTHFULQA.splitlines(keepends=True)
    blocks = [lines[3:5], lines[5:6], lines[6:7]]
    blocks = [blocks[(order + place) % 3] for place in range(3)]
    heading = "|Tasks|Version|Filter|n-shot|Metric|Value|   |Stderr|\n|---|---|---|---|---|---|---|---|\n"
    first = lines[:3] if order != 4 else lines[:1] + lines[2:3] + lines[1:2]
    found = rows(f"### TruthfulQA\n{heading}{''.join(first)}{''.join(line for block in blocks for line in block)}")
    assert found == {
        ("truthfulqa_gen", "bleu_acc"): Decimal("0.3905"),
        ("truthfulqa_mc", "mc1"): Decimal("0.3501"),
        ("truthfulqa_mc", "mc2"): Decimal("0.5101"),
    }
