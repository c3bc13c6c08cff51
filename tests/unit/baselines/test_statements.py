"""Sentences: a number is read in a closed set of forms, and named with its line in all others."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evalkit.baselines.published import Log
from evalkit.baselines.reading.logs import parse_log, read_log
from evalkit.baselines.reading.text import numbered_lines


def read(text: str) -> Log:
    return parse_log("card.md", numbered_lines(text))


def scores(log: Log) -> dict[str | None, Decimal]:
    found: dict[str | None, Decimal] = {a.suite: a.percent for model in log.models for a in model.averages}
    for model in log.models:
        if model.humaneval is not None:
            found["humaneval"] = model.humaneval.percent
    return found


@pytest.mark.parametrize(
    "line",
    [
        *("HumanEval: 57.3 (pass@10)", "HumanEval pass@10: 57.3", "HumanEval in C++: 50.7", "HumanEval (5-shot): 50.7"),
        *("HumanEval pass@1: 50.7, pass@10: 70.1", "HumanEval pass@1 is 50.7%, not 43%", "MBPP pass@1: 61.2"),
        *("HumanEval pass@1 (T=0.8): 50.7", "HumanEval+ pass@1: 50.6", "HumanEval pass@1 of GPT-4: 67.0"),
        *("GPT4All average improved by 2.3 to 73.1.", "BigBench average went from 40.3 to 42.1"),
        *(
            "AGIEval average is over 5 tasks 44.12.",
            "Average on GPT4All is 1st with 73.01",
            "AGIEval average: top 5, 44.12",
        ),
        *("AGIEval average is not 44.12 but 43.12", "AGIEval average is up by 3.33", "AGIEval average should be 44.12"),
        *("GPT4All average = (59.1+84.0+87.1)/3 = 76.73", "GPT4All 3 of 7 tasks average 73.01"),
        *("AGIEval average is 44.12 in 5-shot", "BigBench average is at least 40", "GPT4All average is about 73"),
        *("GPT4All average is ~73.01", "TruthfulQA average is 0.5822, up from 0.5500 (0-shot)"),
        *("TruthfulQA BLEU: 58.22", "TruthfulQA informative: 98.22", "TruthfulQA average (MC1): 36.1"),
        *("BigBench Average [3]: 45.10", "GPT4All average, 5-shot: 73.01", "AGIEval average (3-shot): 44.12"),
        *(
            "BigBench average (limit 100): 45.10",
            "BigBench average of 5 tasks: 45.10",
            "AGIEval average without SAT: 44.12",
        ),
        *("AGIEval Average: 1st place, 44.12", "TruthfulQA Average: 10 runs, 58.22", "AGIEval avg rank: 3.5"),
        *("GPT4All average time: 12.5", "BigBench average tokens: 45.1", "AGIEval average for Mistral-7B: 30.66"),
        *("GPT4All average (base model): 71.16", "Mistral-7B GPT4All average: 71.16", "GPT-4 TruthfulQA average: 59.0"),
        *("GPT4All Average (acc): 70.1", "GPT4All Average: 73.01 -> 74.02", "AGIEval Average: 44.12/100"),
        *(
            "AGIEval average on the German set: 40.1",
            "GPT4All average, chat template: 73.01",
            "AGIEval Average v2: 44.12",
        ),
    ],
)
def test_a_sentence_with_another_word_or_number_gives_none(line: str) -> None:
    for text in (f"# Foo-7B\n\n{line}\n", f"# Foo-7B\n\n- **{line}**\n"):
        log = read(text)
        assert scores(log) == {}
        assert any(note.line == 3 and "not read" in note.message for note in log.notes)


@pytest.mark.parametrize(
    ("line", "suite", "percent"),
    [
        ("GPT4All average: 73.01", "gpt4all", "73.01"),
        ("The average score on GPT4All is 73.01.", "gpt4all", "73.01"),
        ("GPT4All Average (7 tasks): 73.01", "gpt4all", "73.01"),
        ("AGIEval average is over 8 tasks 44.12.", "agieval", "44.12"),
        ("AGIEval average of 8 tasks = 44.12 ± 1.2", "agieval", "44.12"),
        ("AGIEval Average acc_norm: 44.12", "agieval", "44.12"),
        ("TruthfulQA average (mc2): 58.22 %", "truthfulqa", "58.22"),
        ("BigBench average is now 36.57 - from 32.8 in Older-1", "bigbench", "36.57"),
        ("AGIEval average: 44.12 (up from 43.07)", "agieval", "44.12"),
        ("HumanEval pass@1: 50.7%", "humaneval", "50.7"),
        ("50.7% @ Pass1 on HumanEval", "humaneval", "50.7"),
        ("HumanEval score is 50.7 (pass@1)", "humaneval", "50.7"),
    ],
)
def test_the_forms_that_are_read(line: str, suite: str, percent: str) -> None:
    log = read(f"# Foo-7B\n\n{line}\n")
    assert scores(log) == {suite: Decimal(percent)}
    assert not [note for note in log.notes if note.unread]


_OTHER = st.sampled_from(
    [
        "5-shot",
        "chat",
        "German",
        "Mistral-7B",
        "without boolq",
        "limit 100",
        "median",
        "rank",
        "seed 3",
        "pass@10",
        "base",
        "rise",
        "step 500",
        "mc1",
        "validation",
        "12",
        "v2",
        "Q4_K_M",
        "minus",
        "twice",
        "CoT",
        "relative",
        "best-of-5",
    ]
)


@example("HumanEval pass@1", "12", 0)
@given(st.sampled_from(["GPT4All", "AGIEval", "BigBench", "TruthfulQA", "HumanEval pass@1"]), _OTHER, st.integers(0, 3))
def test_an_unknown_word_anywhere_in_a_statement_stops_it(suite: str, other: str, place: int) -> None:
    parts = [suite, "average", ":", "61.25"] if "pass" not in suite else [suite, "score", ":", "61.25"]
    parts.insert(place + 1, other)
    assert scores(read("# Foo-7B\n\n" + " ".join(parts) + "\n")) == {}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<!-- GPT4All average: 12.0 -->\nAGIEval average: 44.12\n", {"agieval": "44.12"}),
        ("<!--\nGPT4All average: 12.0\n\nmore -->\nAGIEval average: 44.12\n", {"agieval": "44.12"}),
        ("~~GPT4All average: 12.0~~\n\nGPT4All average: 73.01\n", {"gpt4all": "73.01"}),
        ("<del>GPT4All: 12.0</del>\n\nGPT4All: 73.01\n", {"gpt4all": "73.01"}),
        ("```python\n# GPT4All average: 12.0\n```\nAGIEval average: 44.12\n", {"agieval": "44.12"}),
        ("```js\nGPT4All average: 12.0\n```\nAGIEval average: 44.12\n", {"agieval": "44.12"}),
        ("```\nGPT4All average: 73.01\n```\n", {"gpt4all": "73.01"}),
    ],
)
def test_what_a_reader_does_not_see_is_no_score(text: str, wanted: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text(f"# Foo-7B\n\n{text}")
    log = read_log(tmp_path / "card.md")
    assert scores(log) == {suite: Decimal(value) for suite, value in wanted.items()}
    if "12.0" in text:
        assert any(note.line >= 3 and "not read" in note.message for note in log.notes)
