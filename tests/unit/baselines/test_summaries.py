"""Tables of several models: suites by models as mergers print them, benchmarks by models as quantisers do, prose."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from evalkit.baselines.audit.findings import audit_log
from evalkit.baselines.reading.importer import import_log
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.text import numbered_lines
from evalkit.baselines.registry import load_baseline
from evalkit.errors import ConfigError, DataError

pytestmark = pytest.mark.torch_free

MERGE = """# phixtral-2x2_8

|                             Model                              |AGIEval|GPT4All|TruthfulQA|Bigbench|Average|
|----------------------------------------------------------------|------:|------:|---------:|-------:|------:|
|[**phixtral-2x2_8**](https://huggingface.co/mlabonne/phixtral-2x2_8)|   **34.1**|  **70.44**|     <u>**48.78**</u>|   37.82|  47.78|
|[phi-2-dpo](https://huggingface.co/lxuechen/phi-2-dpo)|  30.39|  71.68|     50.75|    34.9|  46.93|
|Change|  +3.71|  -1.24|     -1.97|    +2.92|  +0.85|
"""  # noqa: E501
QUANTISED = """### Evaluation
| Benchmark | base-9b | base-9b-w8a16 (this model) | Recovery |
|---|---|---|---|
| MMLU (5-shot) | 28.10 | 28.42 | 101.1 % |
| ARC Challenge (25-shot) | 49.06 | 49.32 | 100.5 % |
| GSM-8K (5-shot, strict-match) | 4.93 | 4.93 | 100.0 % |
| TruthfulQA (0-shot, mc2) | 40.28 | 40.25 | 99.4 % |
| MT-Bench (Instruct) | 6.86 | 8.32 | 99 % |
| **Average** | **41.76** | **41.83** | **100.2 %** |
"""


def write(folder: Path, text: str) -> Path:
    (folder / "card.md").write_text(text)
    return folder / "card.md"


def test_a_table_of_suites_is_a_baseline_a_row(tmp_path: Path) -> None:
    first, second = import_log(write(tmp_path, MERGE), retrieved="2026-01-01").baselines
    assert (first.name, second.name, first.protocol) == ("phixtral-2x2_8", "phi-2-dpo", "nous-2023")
    assert first.averages == {
        "gpt4all": Decimal("70.44"),
        "agieval": Decimal("34.1"),
        "bigbench": Decimal("37.82"),
        "truthfulqa": Decimal("48.78"),
    }
    assert second.averages["bigbench"] == Decimal("34.9")
    assert not first.tasks


def test_of_two_tables_the_suites_are_kept(tmp_path: Path) -> None:
    table = QUANTISED.replace("base-9b-w8a16 (this model)", "phi-2-dpo")
    found = {b.name: b for b in import_log(write(tmp_path, f"{table}\n{MERGE}"), retrieved="2026-01-01").baselines}
    assert sorted(found) == ["base-9b", "phi-2-dpo", "phixtral-2x2_8"]
    assert (found["phi-2-dpo"].averages["gpt4all"], dict(found["phi-2-dpo"].tasks)) == (Decimal("71.68"), {})


def test_shares_are_per_cent_of_their_table(tmp_path: Path) -> None:
    table = "|Model|AGIEval|GPT4All|\n|---|---|---|\n|x-1|0.341|0.7044|\n"
    (found,) = import_log(write(tmp_path, table), retrieved="2026-01-01").baselines
    assert found.averages == {"gpt4all": Decimal("70.44"), "agieval": Decimal("34.1")}


def test_suites_as_rows_and_examples_in_labels(tmp_path: Path) -> None:
    table = (
        "|Suite|a-1|Change|\n|---|---|---|\n|GPT4All (5-shot)|70.0|+1.0|\n|AGI Eval|37.2|-1.6|\n|BigBench|36.5|+1|\n"
    )
    (found,) = import_log(write(tmp_path, table), retrieved="2026-01-01").baselines
    assert found.name == "a-1"
    assert (found.protocol_of("gpt4all"), found.protocol_of("agieval")) == ("lm-eval-0.3, 5-shot", "nous-2023")


def test_one_of_several_is_asked_for_by_its_name(tmp_path: Path) -> None:
    card = write(tmp_path, MERGE)
    assert load_baseline(f"{card}#phi-2-dpo").averages["agieval"] == Decimal("30.39")
    with pytest.raises(ConfigError, match=r"holds 2 models; name one: .*#phixtral-2x2-8, .*#phi-2-dpo"):
        load_baseline(str(card))
    (found,) = import_log(card, retrieved="2026-01-01", name="phixtral-2x2_8").baselines
    assert found.averages["agieval"] == Decimal("34.1")
    with pytest.raises(ConfigError, match="no such model"):
        import_log(card, retrieved="2026-01-01", name="phi-3")


def test_benchmarks_by_models_are_of_the_leaderboard(tmp_path: Path) -> None:
    first, second = import_log(write(tmp_path, QUANTISED), retrieved="2026-01-01").baselines
    assert (first.name, second.name) == ("base-9b", "base-9b-w8a16")
    assert {first.protocol, second.protocol} == {"open-llm-leaderboard"}
    found = {(task, m, v.value, v.shots) for task, ms in second.tasks.items() for m, v in ms.items()}
    assert found == {
        ("MMLU", "score", Decimal("0.2842"), 5),
        ("arc_challenge", "score", Decimal("0.4932"), 25),
        ("GSM-8K", "score", Decimal("0.0493"), 5),
        ("truthfulqa_mc", "score", Decimal("0.4025"), 0),
    }
    assert any("MT-Bench" in note and "not per cent" in note for note in first.notes)
    assert not first.averages


def test_html_without_a_rule_reads_the_same(tmp_path: Path) -> None:
    lines = [[c.strip() for c in line.split("|")[1:-1]] for line in QUANTISED.splitlines() if line.startswith("|")]
    rows = "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in line)}</tr>" for line in lines if "---" not in line)
    found = import_log(write(tmp_path, f"# Card\n<table>{rows}</table>\n"), retrieved="2026-01-01").baselines
    wanted = import_log(write(tmp_path, QUANTISED), retrieved="2026-01-01").baselines
    assert [(b.name, b.tasks) for b in found] == [(b.name, b.tasks) for b in wanted]


def test_tables_of_sizes_and_links_are_no_scores(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no per-task scores"):
        import_log(
            write(tmp_path, "|Model|Params|Layers|\n|---|---|---|\n|a|7.1|32.0|\n|b|13.0|40.0|\n"), retrieved="x"
        )


def test_what_a_sentence_says_of_a_suite_is_read_and_audited() -> None:
    text = (
        "- GPT4All benchmark average is now 70.0 - from 68.8 in Older-1\n"
        "- 0.3657 on BigBench, up from 0.328 on older-1\n"
        "- 0.372 on AGIEval, up from 0.354 on older-1\n"
    )
    (model,) = parse_log("card.md", numbered_lines(text)).models
    assert {a.suite: a.percent for a in model.averages} == {
        "gpt4all": Decimal("70.0"),
        "bigbench": Decimal("36.57"),
        "agieval": Decimal("37.2"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "We ran 3.5 on GPT4All data to train it, which took long.",
        "The GPT4All dataset is 4.2 GB.",
        "AGIEval Chinese is now 40.1",
        "- 0.3657 on BigBench Hard",
    ],
)
def test_other_sentences_are_no_averages(text: str) -> None:
    assert parse_log("card.md", numbered_lines(text)).models == ()


def test_the_audit_of_such_tables_is_as_before() -> None:
    assert audit_log(parse_log("card.md", numbered_lines(MERGE))).inconsistent == ()
    wrong = audit_log(parse_log("card.md", numbered_lines(MERGE.replace("46.93", "49.63")))).inconsistent
    assert wrong
    assert wrong[0].line == 6


@pytest.mark.parametrize(("average", "imported"), [("27.43", False), ("31.70", True)])
def test_the_average_of_a_few_of_a_suites_rows_is_not_the_suites(average: str, imported: bool, tmp_path: Path) -> None:
    # The mean of the two rows that are there, 24.41 and 30.45, is 27.43; another number may be that of all eight.
    card = tmp_path / "card.md"
    card.write_text(
        "# Foo\n\n### AGIEval\n\n| Task | Version | Metric | Value | | Stderr |\n|---|--:|---|--:|---|--:|\n"
        "| agieval_aqua_rat | 0 | acc | 22.83 | ± | 2.64 |\n| | | acc_norm | 24.41 | ± | 2.70 |\n"
        "| agieval_sat_math | 0 | acc | 33.18 | ± | 3.18 |\n| | | acc_norm | 30.45 | ± | 3.11 |\n\n"
        f"Average: {average}\n",
        encoding="utf-8",
    )
    found = import_log(card, retrieved="2026-11-28")
    assert found.baselines[0].averages == ({"agieval": Decimal(average)} if imported else {})
    assert any("2 of the 8 rows of AGIEval" in str(note) for note in found.notes) is not imported


def test_a_leaderboards_footer_is_a_measurement_of_its_own(tmp_path: Path) -> None:
    # The layout of mergers' cards: the suites' tables, and what the hub's bot adds below them.
    card = tmp_path / "card.md"
    card.write_text(
        "# Foo\n\n### TruthfulQA\n|    Task     |Version|Metric|Value|   |Stderr|\n|---|---:|---|---:|---|---:|\n"
        "|truthfulqa_mc|      1|mc1   |46.88|±  |  1.75|\n|             |       |mc2   |64.15|±  |  1.52|\n\n"
        "Average: 64.15%\n\n# [Open LLM Leaderboard Evaluation Results](https://huggingface.co/spaces/x)\n\n"
        "|Metric|Value|\n|---|---:|\n|Avg.|73.01|\n|MMLU (5-Shot)|65.11|\n|TruthfulQA (0-shot)|63.54|\n"
        "|Winogrande (5-shot)|81.61|\n",
        encoding="utf-8",
    )
    found = import_log(card, retrieved="2026-11-28")
    (baseline,) = found.baselines
    assert baseline.protocol_of("truthfulqa") == "unknown"  # an address may say anything
    assert baseline.protocol_of("gpt4all") != "nous-2023"
    assert set(baseline.tasks["truthfulqa_mc"]) == {"mc1", "mc2"}
    assert any("truthfulqa_mc again, measured otherwise" in str(note) for note in found.notes)


def test_an_average_that_its_rounded_rows_give_is_the_suites(tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text(
        "# Foo\n\n### TruthfulQA\n|Tasks|Version|Filter|n-shot|Metric|Value|   |Stderr|\n"
        "|---|---|---|---|---|---|---|---|\n"
        "|truthfulqa_mc1|2|none|0|acc|0.30|±|0.01|\n|truthfulqa_mc2|2|none|0|acc|0.44|±|0.01|\n"
        "|truthfulqa_gen|3|none|0|bleu_acc|0.38|±|0.01|\n\nAverage: 43.68%\n",
        encoding="utf-8",
    )
    (baseline,) = import_log(card, retrieved="2026-11-28").baselines
    assert baseline.averages == {"truthfulqa": Decimal("43.68")}


CHECKPOINTS = """# Evaluate Tiny

### GPT4All Benchmarks

| Model | Pretrain Tokens | HellaSwag | Obqa | WinoGrande | ARC_c | ARC_e | boolq | piqa | avg |
|---|---|---|---|---|---|---|---|---|---|
| Pythia-1.0B | 300B | 47.16 | 31.40 | 53.43 | 27.05 | 48.99 | 60.83 | 69.21 | 48.30 |
| Tiny-1.1B-intermediate-step-50K-104b | 103B | 43.50 | 29.80 | 53.28 | 24.32 | 44.91 | 59.66 | 67.30 | 46.11 |

### Instruct-Eval Benchmarks

| Model | MMLU | BBH | HumanEval | DROP |
|---|---|---|---|---|
| Pythia-1.0B | 25.70 | 28.19 | 1.83 | 4.25 |
| Tiny-1.1B-intermediate-step-50K-104b | 26.45 | 28.82 | 5.49 | 11.42 |
"""


def test_a_second_table_of_other_benchmarks_says_more_of_the_same_models(tmp_path: Path) -> None:
    """As the EVAL.md of a model's checkpoints has it: the rows of the second table were dropped as "other than"."""
    found = import_log(write(tmp_path, CHECKPOINTS), retrieved="2026-01-01")
    first, second = found.baselines
    assert [first.name, second.name] == ["Pythia-1.0B", "Tiny-1.1B-intermediate-step-50K-104b"]
    assert {task: str(rows["score"].value) for task, rows in second.tasks.items()} == {
        "arc_challenge": "0.2432", "arc_easy": "0.4491", "boolq": "0.5966", "hellaswag": "0.4350",
        "openbookqa": "0.2980", "piqa": "0.6730", "winogrande": "0.5328", "humaneval": "0.0549",
        "MMLU": "0.2645", "BBH": "0.2882", "DROP": "0.1142",
    }  # fmt: skip
    assert not any(note.unread for note in found.notes)
    assert any("other scores than on line 7" in note.message for note in found.notes)


@pytest.mark.parametrize(
    ("cells", "said", "unread"),
    [
        ("| GPT4All | 73.00 |\n| AGIEval | 43.00 |", "as on line 5", False),
        ("| GPT4All | 72.00 |\n| AGIEval | 43.00 |", "other than on line 5", True),
        (
            "| hellaswag | 80.00 |\n| piqa | 81.00 |",
            "GPT4All measured otherwise, or with more rows, than on line 5",
            True,
        ),
    ],
)
def test_what_is_said_of_a_models_second_table_is_true(cells: str, said: str, unread: bool, tmp_path: Path) -> None:
    head = "| Benchmark | Foo-7B |\n|---|---|\n"
    suites = "| GPT4All | 73.00 |\n| AGIEval | 43.00 |\n| BigBench | 41.00 |\n| TruthfulQA | 55.00 |\n"
    found = import_log(write(tmp_path, f"# Foo-7B\n\n{head}{suites}\n{head}{cells}\n"), retrieved="2026-01-01")
    (baseline,) = found.baselines
    assert {suite: str(value) for suite, value in baseline.averages.items()} == {
        "gpt4all": "73.00", "agieval": "43.00", "bigbench": "41.00", "truthfulqa": "55.00",
    }  # fmt: skip
    assert [(said in note.message, note.unread) for note in found.notes if "again" in note.message] == [(True, unread)]


def test_two_columns_of_numbers_are_no_model_twice() -> None:
    text = "| Task | Value | Value |\n|---|---|---|\n| GPT4All | 73.0 | 71.0 |\n| AGIEval | 43.0 | 42.0 |\n"
    assert audit_log(parse_log("card.md", numbered_lines(text))).inconsistent == ()
