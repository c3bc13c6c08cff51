"""The unit of a score in a table of several models: its own, its benchmark's, its model's, never a neighbour's."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.baselines.audit.checks import Agreement
from evalkit.baselines.audit.findings import audit_log
from evalkit.baselines.model import Baseline
from evalkit.baselines.published import Note
from evalkit.baselines.reading.importer import import_log
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.summaries import models_of_tables
from evalkit.baselines.reading.text import numbered_lines
from evalkit.errors import DataError

pytestmark = pytest.mark.torch_free
SUITES = "| Model | AGIEval | GPT4All | TruthfulQA | Bigbench"
RULE = "|---|---|---|---|---|---|---|\n"
BESIDE = {"MT-Bench": "7.90", "Params (B)": "7", "Size (GB)": "14.5", "Speed": "55", "WikiText2": "5.47", "Rank": "2"}


def read(folder: Path, text: str) -> tuple[dict[str, Baseline], list[Note]]:
    (folder / "card.md").write_text(text)
    found = import_log(folder / "card.md", retrieved="2026-01-01")
    return {baseline.name: baseline for baseline in found.baselines}, [n for n in found.notes if n.unread]


def verdicts(text: str) -> list[Agreement]:
    return [finding.verdict for finding in audit_log(parse_log("card.md", numbered_lines(text))).findings]


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("first", [True, False])
def test_what_stands_beside_suites_in_shares_leaves_them_shares(tmp_path: Path, beside: str, first: bool) -> None:
    number = BESIDE[beside]
    text = (
        f"| Model | {beside} | AGIEval | GPT4All | TruthfulQA | Bigbench | Average |\n{RULE}|---|\n"
        f"| Foo | {number} | 0.4412 | 0.7301 | 0.5822 | 0.4510 | 0.5511 |\n"
        f"| Bar | {number} | 0.4299 | 0.7201 | 0.5722 | 0.4415 | 0.5409 |\n"
        if first
        else f"{SUITES} | Average | {beside} |\n{RULE}"
        f"| Foo | 0.4412 | 0.7301 | 0.5822 | 0.4510 | 0.5511 | {number} |\n"
        f"| Bar | 0.4299 | 0.7201 | 0.5722 | 0.4415 | 0.5409 | {number} |\n"
    )
    found, unread = read(tmp_path, text)
    assert {suite: str(value) for suite, value in found["Foo"].averages.items()} == {
        "gpt4all": "73.01",
        "agieval": "44.12",
        "bigbench": "45.10",
        "truthfulqa": "58.22",
    }
    assert found["Bar"].averages["gpt4all"] == Decimal("72.01")
    assert unread == []
    assert verdicts(text) == [Agreement.EXACT, Agreement.EXACT]


@pytest.mark.parametrize("beside", BESIDE)
def test_what_stands_below_suites_by_models_leaves_them_shares(tmp_path: Path, beside: str) -> None:
    rows = "| AGIEval | 0.4412 | 0.43 |\n| GPT4All | 0.7301 | 0.72 |\n| TruthfulQA | 0.5822 | 0.57 |\n"
    found, _ = read(tmp_path, f"| | Foo | Bar |\n|---|---|---|\n{rows}| {beside} | {BESIDE[beside]} | 7.8 |\n")
    assert found["Foo"].averages["gpt4all"] == Decimal("73.01")
    assert found["Bar"].averages["truthfulqa"] == Decimal(57)


@pytest.mark.parametrize("beside", BESIDE)
def test_what_stands_beside_benchmarks_in_shares_leaves_them_shares(tmp_path: Path, beside: str) -> None:
    text = (
        f"| Benchmark | Foo-7B | Bar-7B |\n|---|---|---|\n| {beside} | {BESIDE[beside]} | 6.31 |\n"
        "| ARC-c | 0.5401 | 0.5312 |\n| HellaSwag | 0.7902 | 0.7812 |\n| Average | 0.6652 | 0.6562 |\n"
    )
    found, _ = read(tmp_path, text)
    assert found["Foo-7B"].tasks["arc_challenge"]["score"].value == Decimal("0.5401")
    assert found["Bar-7B"].tasks["hellaswag"]["score"].value == Decimal("0.7812")
    assert Agreement.INCONSISTENT not in verdicts(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(200, 9800), min_size=8, max_size=8), st.sampled_from(sorted(BESIDE)), st.booleans())
def test_shares_and_per_cent_of_the_same_numbers_are_the_same_baselines(
    numbers: list[int], beside: str, side: bool
) -> None:
    def card(places: int) -> str:
        cells = [str(Decimal(n).scaleb(places)) for n in numbers]
        names = ["AGIEval", "GPT4All", "TruthfulQA", "Bigbench", beside]
        columns = [[*cells[:4], BESIDE[beside]], [*cells[4:], BESIDE[beside]]]
        if side:
            lines = [["Model", *names], ["---"] * 6, ["Foo", *columns[0]], ["Bar", *columns[1]]]
        else:
            lines = [["", "Foo", "Bar"], ["---"] * 3, *(list(row) for row in zip(names, *columns, strict=True))]
        return "".join(f"|{'|'.join(line)}|\n" for line in lines)

    for places in (-4, -2):
        models, _ = models_of_tables(parse_log("card.md", numbered_lines(card(places))).comparisons)
        assert [[average.percent for average in model.averages] for model in models] == [
            [Decimal(n).scaleb(-2) for n in numbers[:4]],
            [Decimal(n).scaleb(-2) for n in numbers[4:]],
        ]


@pytest.mark.parametrize(
    ("rows", "wanted", "lines"),
    [
        (  # a share among a model's percentages
            "| Foo | 0.4412 | 73.01 | 58.22 | 45.10 |\n| Bar | 43.12 | 72.01 | 57.22 | 44.10 |\n",
            {"Foo": {"gpt4all": "73.01", "truthfulqa": "58.22", "bigbench": "45.10"}, "Bar": {"agieval": "43.12"}},
            [3],
        ),
        (  # a benchmark in shares among those in per cent
            "| Foo | 44.12 | 73.01 | 0.5822 | 45.10 |\n| Bar | 43.12 | 72.01 | 0.5722 | 44.10 |\n",
            {"Foo": {"agieval": "44.12", "gpt4all": "73.01", "bigbench": "45.10"}},
            [3, 4],
        ),
        (  # a sign decides, also of a number below 1
            "| Foo | 0.4412% | 73.01% | 58.22% | 45.10% |\n",
            {"Foo": {"agieval": "0.4412", "gpt4all": "73.01", "truthfulqa": "58.22", "bigbench": "45.10"}},
            [],
        ),
        ("| Foo | 0 | 73.01 | 58.22 | 45.10 |\n", {"Foo": {"agieval": "0", "gpt4all": "73.01"}}, []),
    ],
)
def test_a_number_below_1_among_percentages_is_named_and_not_read(
    tmp_path: Path, rows: str, wanted: dict[str, dict[str, str]], lines: list[int]
) -> None:
    text = f"{SUITES} |\n|---|---|---|---|---|\n{rows}"
    found, unread = read(tmp_path, text)
    for name, averages in wanted.items():
        assert averages.items() <= {suite: str(value) for suite, value in found[name].averages.items()}.items()
    assert [note.line for note in unread] == lines
    if lines:
        missing = {"agieval", "gpt4all", "truthfulqa", "bigbench"} - set(wanted["Foo"])
        assert not missing & set(found["Foo"].averages)
    assert Agreement.INCONSISTENT not in verdicts(text)


def test_a_pass_at_1_in_another_unit_than_the_suites_is_not_read(tmp_path: Path) -> None:
    found, unread = read(
        tmp_path,
        "| Model | AGIEval | GPT4All | HumanEval |\n|---|---|---|---|\n| Foo | 44.12 | 73.01 | 0.312 |\n",
    )
    assert found["Foo"].humaneval is None
    assert [(note.line, "HumanEval" in note.message) for note in unread] == [(3, True)]
    headed = (
        "| Model | AGIEval (%) | GPT4All (%) | HumanEval (%) |\n|---|---|---|---|\n| Foo | 44.12 | 73.01 | 0.61 |\n"
    )
    humaneval = read(tmp_path, headed)[0]["Foo"].humaneval
    assert humaneval is not None
    assert humaneval.percent == Decimal("0.61")


def test_an_average_in_per_cent_of_shares_is_checked_in_its_unit() -> None:
    table = "| Model | AGIEval | GPT4All | Average |\n|---|---|---|---|\n| Foo | 0.4412 | 0.7302 | {} |\n"
    assert verdicts(table.format("58.57")) == [Agreement.EXACT]
    assert verdicts(table.format("0.5857")) == [Agreement.EXACT]
    assert verdicts(table.format("59.57")) == [Agreement.INCONSISTENT]
    log = parse_log("card.md", numbered_lines(table.format("0.5867")))
    (finding,) = audit_log(log).findings
    assert (finding.verdict, finding.recomputed) == (Agreement.INCONSISTENT, "0.5857")


@pytest.mark.parametrize("label", ["*Rank*", "Ranking", "Average", "Δ", "Improvement", "Std"])
def test_rows_that_say_ranks_changes_and_averages_are_no_models(tmp_path: Path, label: str) -> None:
    rows = f"| Foo | 44.12 | 73.01 |\n| Bar | 46.12 | 74.01 |\n| {label} | 2 | 1 |\n"
    found, _ = read(tmp_path, f"| Model | AGIEval | GPT4All |\n|---|---|---|\n{rows}")
    assert list(found) == ["Foo", "Bar"]


def test_cells_models_and_rows_that_are_not_read_are_named(tmp_path: Path) -> None:
    rows = (
        "| Foo | 44.12 | 73.01 | 58.22 | ~44 |\n"
        "| Qux | **43.12** | | | |\n"
        "| | 47.12 | 76.01 | 51.1 | 40.2 |\n"
        "| Foo | 45.12 | 74.01 | 58.22 | 45 |\n"
        "| foo | 46.12 | 75.01 | 58.22 | 45 |\n"
    )
    found, unread = read(tmp_path, f"{SUITES} |\n|---|---|---|---|---|\n{rows}")
    assert list(found) == ["Foo", "Qux", "foo"]
    assert found["Qux"].averages == {"agieval": Decimal("43.12")}
    assert "bigbench" not in found["Foo"].averages
    assert [note.line for note in unread] == [3, 5, 6]
    log = parse_log("card.md", numbered_lines(f"{SUITES} |\n|---|---|---|---|---|\n{rows}"))
    (same,) = [f for f in audit_log(log).findings if f.verdict is Agreement.INCONSISTENT]
    assert (same.line, "lines 3 and 6" in same.reason) == (6, True)


def test_the_same_names_below_two_headings_are_two_models(tmp_path: Path) -> None:
    table = "|Scheme|arc_challenge|boolq|truthfulqa_mc1|Avg.|\n|---|---|---|---|---|\n|BF16|{}|0.8459|0.3721|{}|\n"
    text = f"## 1. Foo-8B-Instruct results\n\n{table.format('0.5358', '0.5846')}\n"
    text += f"## Bar3-8B\n\n{table.format('0.5580', '0.5920')}"
    found, unread = read(tmp_path, text)
    assert list(found) == ["Foo-8B-Instruct BF16", "Bar3-8B BF16"]
    assert found["Bar3-8B BF16"].tasks["arc_challenge"]["score"].value == Decimal("0.5580")
    assert found["Bar3-8B BF16"].tasks["truthfulqa_mc"]["mc1"].value == Decimal("0.3721")
    assert unread == []


def test_a_quantisers_table_on_its_side_is_read(tmp_path: Path) -> None:
    found, unread = read(
        tmp_path,
        "# Foo-7B\n\n| Quant | Size | PPL | ARC-c | HellaSwag | MMLU |\n|---|---|---|---|---|---|\n"
        "| Q8_0 | 7.70 GB | 6.5781 ± 0.04070 | 57.42 | 79.02 | 63.5 |\n"
        "| Q2_K | 2.72 GB | 7.8812 ± 0.05110 | 51.11 | 74.11 | 55.2 |\n",
    )
    assert list(found) == ["Foo-7B Q8_0", "Foo-7B Q2_K"]
    assert found["Foo-7B Q2_K"].tasks["arc_challenge"]["score"].value == Decimal("0.5111")
    assert unread == []


def test_a_table_of_one_models_suites_gives_their_averages(tmp_path: Path) -> None:
    rows = "| AGIEval | 0.4412 |\n| GPT4All | 0.7301 |\n| TruthfulQA | 0.5822 |\n| MT-Bench | 7.9 |\n"
    found, _ = read(tmp_path, f"# Foo\n\n| Benchmark | Score |\n|---|---|\n{rows}")
    assert {suite: str(value) for suite, value in found["Foo"].averages.items()} == {
        "gpt4all": "73.01",
        "agieval": "44.12",
        "truthfulqa": "58.22",
    }


def test_a_file_of_which_nothing_is_read_says_what_stands_where(tmp_path: Path) -> None:
    heading = "| Task | Metric | Foo-7B | Stderr | Base-7B | Stderr |\n|---|---|---|---|---|---|\n"
    with pytest.raises(DataError, match="line 3: table not read"):
        read(tmp_path, f"### GPT4All\n\n{heading}| boolq | acc | 0.8731 | 0.0058 | 0.8531 | 0.0062 |\n")


ROWS = {"ARC-C": "54.0", "HellaSwag": "80.0", "MMLU": "62.0", "Winogrande": "74.0", "GSM8K": "45.2"}
NO_MODELS = [  # hand-made, on both sides
    "Few-shot", "k-shot", "# Shots", "shot数", "SE", "SD", "Std Err", "Std. Dev.", "±", "CI", "95% CI", "p-value", "n",
    "N", "# Questions", "题目数", "Size", "Seed", "Recovery (%)", "Accuracy Recovery (%)", "Foo recovery",
    "Foo recovery (%)",
    "Foo (% of FP16)", "% of BF16", "vs FP16", "Foo vs BF16", "Retained", "Perf. retained", "Degradation", "Loss",
    "Foo loss", "Foo Δ%", "Foo - Bar", "Bar/Foo", "差异", "恢复率", "Foo Stderr", "Foo (stderr)", "Foo std", "Foo n",
    "Human", "Random guess",
]  # fmt: skip
MODELS = [
    "vicuna-7b-delta",
    "mlabonne/Foo",
    "Llama-3-8B",
    "Mistral (5-shot)",
    "GapGPT-7B",
    "Lossless-7B",
    "Foo - Instruct",
    "SE-7B",
]


def both_ways(heading: str) -> list[str]:
    upright = f"|Benchmark|Foo|Bar|{heading}|\n|---|---|---|---|\n"
    upright += "".join(f"|{name}|{value}|{float(value) - 1}|{float(value) + 1}|\n" for name, value in ROWS.items())
    flat = f"|Model|{'|'.join(ROWS)}|\n|---|---|---|---|---|---|\n"
    flat += "".join(f"|{n}|{'|'.join(f'{float(v) + d}' for v in ROWS.values())}|\n" for n, d in made_of(heading))
    return [upright, flat]


def made_of(heading: str) -> list[tuple[str, float]]:
    return [("Foo", 0), ("Bar", -1), (heading, 1)]


@pytest.mark.parametrize("heading", NO_MODELS)
def test_changes_errors_and_counts_are_no_baselines(tmp_path: Path, heading: str) -> None:
    for text in both_ways(heading):
        (tmp_path / "card.md").write_text(text)
        try:
            found = import_log(tmp_path / "card.md", retrieved="2026-01-01")
        except DataError as error:
            assert "line 1: " in str(error)  # noqa: PT017  # refused as a whole, with its line
            continue
        assert [baseline.name for baseline in found.baselines] == ["Foo", "Bar"]
        assert found.baselines[0].tasks["arc_challenge"]["score"].value == Decimal("0.540")


@pytest.mark.parametrize("name", MODELS)
def test_names_that_hold_such_words_are_models(tmp_path: Path, name: str) -> None:
    for text in both_ways(name):
        assert set(read(tmp_path, text)[0]) == {"Foo", "Bar", name}


def test_a_recovery_row_of_suites_is_named_and_not_read(tmp_path: Path) -> None:
    text = f"{SUITES} | Average |\n{RULE}| Foo-INT4 | 43.90 | 72.50 | 57.01 | 44.60 | 54.50 |\n"
    text += "| Foo-INT4 recovery (%) | 99.50 | 99.30 | 99.63 | 98.89 | 99.33 |\n"
    (tmp_path / "card.md").write_text(text)
    found = import_log(tmp_path / "card.md", retrieved="2026-01-01")
    assert [baseline.name for baseline in found.baselines] == ["Foo-INT4"]
    assert (4, "'Foo-INT4 recovery (%)': no model; not imported") in [(n.line, n.message) for n in found.notes]


def test_a_second_label_column_is_part_of_the_name(tmp_path: Path) -> None:
    head = "| Model | {} | ARC-C | HellaSwag | BoolQ | Avg. |\n|---|---|---|---|---|---|\n"
    rows = "| Llama | FP16 | 54.0 | 80.0 | 87.0 | 73.67 |\n| Llama | GPTQ | 53.0 | 79.0 | 86.0 | 72.67 |\n"
    for column in ("Method", "Quant", "Precision", "Setting", "Format", "Anything", "量化方法"):
        assert list(read(tmp_path, head.format(column) + rows)[0]) == ["Llama FP16", "Llama GPTQ"]
        assert verdicts(head.format(column) + rows) == [Agreement.EXACT, Agreement.EXACT]
    merged = rows.replace("FP16", "16").replace("| Llama | GPTQ", "| | 4")
    assert list(read(tmp_path, head.format("Bits") + merged)[0]) == ["Llama 16-bit", "Llama 4-bit"]


def test_one_name_with_other_numbers_stays_an_accusation() -> None:
    text = "| Model | ARC-C | HellaSwag | BoolQ | Avg. |\n|---|---|---|---|---|\n"
    text += "| Llama | 54.0 | 80.0 | 87.0 | 73.67 |\n| Llama | 53.0 | 79.0 | 86.0 | 72.67 |\n"
    assert Agreement.INCONSISTENT in verdicts(text)


@pytest.mark.parametrize(("total", "verdict"), [("2.1945", Agreement.EXACT), ("2.2945", Agreement.INCONSISTENT)])
def test_a_total_of_shares_below_percentages(total: str, verdict: Agreement) -> None:
    assert verdicts(f"{SUITES} | Total |\n{RULE}| Foo | 44.12 | 73.01 | 57.22 | 45.10 | {total} |\n") == [verdict]


@pytest.mark.parametrize(("again", "word"), [("44.12", "as"), ("44.13", "other than")])
def test_a_model_again_with_equal_numbers(tmp_path: Path, again: str, word: str) -> None:
    table = f"{SUITES} |\n|---|---|---|---|---|\n| Foo | {{}} | 73.01 | 57.22 | 45.10 |\n"
    (tmp_path / "card.md").write_text(table.format("44.12") + "\nAgain:\n\n" + table.format(again))
    notes = import_log(tmp_path / "card.md", retrieved="2026-01-01").notes
    found = [note for note in notes if "again" in note.message]
    assert [(n.message, n.unread) for n in found] == [(f"Foo again, {word} on line 3, which is kept", word != "as")]


def test_a_head_of_two_rows_is_refused_with_its_line(tmp_path: Path) -> None:
    text = "<table><tr><th rowspan=2>Model</th><th colspan=2>ARC-C</th><th colspan=2>HellaSwag</th></tr>\n"
    text += "<tr><th>acc</th><th>acc_norm</th><th>acc</th><th>acc_norm</th></tr>\n"
    text += "<tr><td>Foo</td><td>51.0</td><td>54.0</td><td>60.0</td><td>80.0</td></tr></table>\n"
    (tmp_path / "card.md").write_text(text)
    with pytest.raises(DataError, match="line 2: table not read, its head has two rows"):
        import_log(tmp_path / "card.md", retrieved="2026-01-01")
