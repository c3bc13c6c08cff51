"""Whose numbers are these? Models told apart, averages that belong to nobody, rows that are too short."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.baselines import import_log
from evalkit.baselines.published import Log
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.text import numbered_lines

pytestmark = pytest.mark.torch_free
HEADING = "|Task|Version|Metric|Value|   |Stderr|\n|---|---|---|---|---|---|\n"
TRUTHFUL = f"### TruthfulQA\n{HEADING}|truthfulqa_mc|1|mc1|0.2510|±|0.0150|\n|  |  |mc2|0.4120|±|0.0142|\n\n"


def read(text: str) -> Log:
    return parse_log("log.md", numbered_lines(text))


def scores(log: Log) -> dict[str | None, dict[str, str]]:
    return {
        model.name: {row.task: str(row.value) for table in model.tables for row in table.rows} for model in log.models
    }


def test_labels_that_recur_are_the_same_models() -> None:
    text = ""
    for suite, task, metric, values in (
        ("GPT4All", "piqa", "acc_norm", ("0.71", "0.75")),
        ("AGIEval", "agieval_sat_math", "acc_norm", ("0.31", "0.35")),
        ("TruthfulQA", "truthfulqa_mc", "mc2", ("0.41", "0.45")),
    ):
        text += f"## {suite}\n\n"
        for label, value in zip(("Before:", "After tuning:"), values, strict=True):
            text += f"{label}\n\n{HEADING}|{task}|0|{metric}|{value}|±|0.01|\n\n"
    assert scores(read(text)) == {
        "Before": {"piqa": "0.71", "agieval_sat_math": "0.31", "truthfulqa_mc": "0.41"},
        "After tuning": {"piqa": "0.75", "agieval_sat_math": "0.35", "truthfulqa_mc": "0.45"},
    }


@pytest.mark.parametrize("second", ["boolq|1|acc|0.6100", "piqa|0|acc|0.7100", "piqa|0|acc|0.7000"])
def test_another_pretrained_is_another_model(second: str) -> None:
    def line(name: str) -> str:
        return f"hf (pretrained={name},dtype=float16), limit: None, num_fewshot: 0, batch_size: 4\n{HEADING}"

    text = f"{line('u/one')}|piqa|0|acc|0.7000|±|0.0107|\n\n{line('u/two')}|{second}|±|0.01|\n\n{line('u/one')}"
    found = scores(read(f"{text}|winogrande|0|acc|0.6000|±|0.0138|\n"))
    task, value = second.split("|")[0], second.split("|")[-1]
    assert found == {"u/one": {"piqa": "0.7000", "winogrande": "0.6000"}, "u/two": {task: value}}


@pytest.mark.parametrize(
    "between",
    [
        "|Vicuna-Bench|Score|\n|---|---|\n|Turn 1|7.1|\n",
        "|WildBench|\n|---|\n",
        "|Arena-Hard|0.31|\n",
        "```\n######## First turn ########\nscore\n```\n",
        "* HumanEval+\n",
        "The Vicuna bench gave this.\n",
        "AlpacaEval was run as well.\n",
        "What AGIEval says about it.\n",
        "|a|b|c|\n|---|---|---|\n|x|1.5|2.5|\n",
    ],
)
def test_an_average_below_something_else_belongs_to_no_suite(between: str) -> None:
    (model,) = read(f"{TRUTHFUL}{between}\nAverage: 7.15\n").models
    assert model.averages == ()
    assert model.other_averages == ()


@pytest.mark.parametrize("between", ["", "Not bad.\n", "mc2 of TruthfulQA is what counts.\n"])
def test_an_average_below_its_rows_is_the_suites(between: str) -> None:
    (model,) = read(f"{TRUTHFUL}{between}\nAverage: 41.20\n").models
    assert [(found.suite, str(found.percent)) for found in model.averages] == [("truthfulqa", "41.20")]


@pytest.mark.parametrize("short", ["|||f1_stderr|0.02||", "|||acc_norm|0.5535|±|", "|||acc_norm|0.5535|"])
def test_a_short_row_takes_nothing_from_the_next(short: str) -> None:
    found = scores(read(f"{HEADING}|arc_easy|0|acc|0.6|±|0.01|\n{short}\n|boolq|1|acc|0.5774|±|0.0086|\n"))[None]
    assert found["boolq"] == "0.5774"
    assert set(found) == {"arc_easy", "boolq"}


def test_a_row_broken_in_two_is_joined() -> None:
    found = scores(read(f"{HEADING}|arc_easy|0|acc\n|0.6|±|0.01|\n|boolq|1|acc|0.5774|±|0.0086|\n"))[None]
    assert found == {"arc_easy": "0.6", "boolq": "0.5774"}


GPT4ALL = f"### GPT4All\n{HEADING}|boolq|1|acc|0.8700|±|0.0059|\n"


@pytest.mark.parametrize("above", ["", "# Mine-7B\n\n", "## Results\n\n", "## Summary\n\n"])
@pytest.mark.parametrize("printed", ["Average: 29.42", "**Average: 29.42%**", "Average score: 29.42", "Mean: 29.42"])
def test_an_average_above_all_suites_is_no_suites(above: str, printed: str) -> None:
    log = read(f"{above}{printed}\n\n{GPT4ALL}\nAverage: 72.68\n\n{TRUTHFUL}")
    found = {average.suite: str(average.percent) for model in log.models for average in model.averages}
    assert found == {"gpt4all": "72.68"}
    assert any("29.42" in note.message for note in log.notes)


def test_an_average_above_all_suites_that_they_give_is_that_of_the_suites() -> None:
    log = read(f"Average: 56.94\n\n{GPT4ALL}\nAverage: 72.68\n\n{TRUTHFUL}")
    (model,) = log.models
    assert {average.suite: str(average.percent) for average in model.averages} == {
        "average": "56.94",
        "gpt4all": "72.68",
    }


@pytest.mark.parametrize(
    "configuration",
    [
        "```yaml\nslices:\n  - sources:\n      - model: a/Source-7B\nbase_model: a/Source-7B\n```\n",
        "```yaml\nmodel: a/Source-7B\n```\n",
        "```\nmodel: a/Source-7B\nlr: 1e-5\n```\n",
        "- Base model: a/Source-7B\n- Model: a/Source-7B\n",
    ],
)
def test_a_configuration_names_no_model(configuration: str) -> None:
    log = read(f"# Mine-7B\n\n{configuration}\n{GPT4ALL}")
    assert all("Source" not in (model.name or "") for model in log.models)
    (named,) = read(f"```\nModel: a/Mine-7B\n{GPT4ALL}```\n").models
    assert named.name == "a/Mine-7B"


OF_TRUTHFUL = TRUTHFUL.replace("### TruthfulQA\n", "TruthfulQA:\n")


@pytest.mark.parametrize("line", ["IFEval: 45.2", "- **IFEval**: 45.2 %", "IFEval (0-shot): 45.2", "GSM8K = 61"])
@pytest.mark.parametrize("average", ["41.20", "43.20"])
def test_a_single_score_of_another_benchmark_is_no_heading(line: str, average: str) -> None:
    """An average below it is the suite's if the suite's rows give it, and else nobody knows of what it is."""
    (model,) = read(f"# Foo-7B\n\n{OF_TRUTHFUL}{line}\n\nAverage: {average}\n").models
    assert [(a.suite, str(a.percent)) for a in model.averages] == (
        [("truthfulqa", "41.20")] if average[1] == "1" else []
    )


@pytest.mark.parametrize(
    ("line", "protocol"),
    [
        ("Average: 41.20", "nous-2023"),
        ("GSM8K (5-shot): 45.2", "unknown"),
        ("IFEval: 45.2, the others 5-shot", "unknown"),
        ("Upstream says so", "unknown"),
    ],
)
def test_another_benchmarks_score_says_nothing_of_a_suites_protocol(line: str, protocol: str, tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text(f"# Foo-7B\n\n{OF_TRUTHFUL}Average: 41.20\n\n{line}\n")
    (baseline,) = import_log(path, retrieved="2026-01-01").baselines
    assert baseline.protocol_of("truthfulqa") == protocol
