"""Scores that were taken from a card or a leaderboard are the model's that it names; how measured, nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.baselines import Baseline, import_log

pytestmark = pytest.mark.torch_free
HEAD = "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
OWN = f"### GPT4All\n{HEAD}|boolq|1|acc|0.8700|±|0.0059|\n|piqa|0|acc_norm|0.8300|±|0.0088|\n\nAverage: 70.59\n\n"
THEIRS = f"### TruthfulQA\n{HEAD}|truthfulqa_mc|1|mc1|0.5680|±|0.0173|\n|||mc2|0.7325|±|0.0145|\n"

LABELS = {
    "Bar-13B, from the leaderboard:": "Bar-13B",
    "Bar-13B (from its card):": "Bar-13B",
    "From the Bar-13B card:": "Bar-13B",
    "From Bar-13B:": "Bar-13B",
    "Mistral-7B-v0.1, from the leaderboard:": "Mistral-7B-v0.1",
    "Eval of the original Foo-7B (from its card):": "Foo-7B",
    "Original Foo-7B, from its card:": "Foo-7B",
    "Model: Bar-13B, from the Open LLM Leaderboard": "Bar-13B",
    "Bar-13B on the leaderboard:": "Bar-13B",
    "Bar-13B (as reported):": "Bar-13B",
    "For comparison, Bar-13B from its paper:": "Bar-13B",
    "**Bar-13B** (numbers from its model card)": "Bar-13B",
    "Bar-13B's scores, copied from its README:": "Bar-13B",
    "### Bar-13B (from its card)": "Bar-13B",
    "| Bar-13B, from the leaderboard |": "Bar-13B",
    "Bar-13B（来自其模型卡）：": "Bar-13B",
}


def models(text: str, folder: Path) -> dict[str, Baseline]:
    path = folder / "card.md"
    path.write_text(f"# Fused-7B\n\n{text}", encoding="utf-8")
    return {found.name: found for found in import_log(path, retrieved="2026-01-01").baselines}


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("own", [OWN, ""], ids=["after its own", "alone"])
def test_taken_scores_are_of_the_model_that_the_line_names(label: str, own: str, tmp_path: Path) -> None:
    found = models(f"{own}{label}\n\n{THEIRS}", tmp_path)
    ((name, theirs),) = ((n, b) for n, b in found.items() if "truthfulqa_mc" in b.tasks)
    assert name.removeprefix("Original ").removeprefix("original ") == LABELS[label]
    assert theirs.protocol_of("truthfulqa") == "unknown"
    assert any("protocol unknown" in note for note in theirs.notes)
    if own:
        (mine,) = (b for b in found.values() if "boolq" in b.tasks)
        assert mine.name in ("card", "Fused-7B")
        assert mine.protocol_of("gpt4all") == "unknown"
        assert set(mine.tasks) == {"boolq", "piqa"}


@pytest.mark.parametrize("label", ["From the leaderboard:", "Scores taken from its card:", "摘自论文："])
def test_without_a_model_the_scores_are_the_files_and_no_claim_is_made(label: str, tmp_path: Path) -> None:
    (found,) = models(f"{OWN}{label}\n\n{THEIRS}\n### AGIEval\nAverage: 44.12\n", tmp_path).values()
    assert found.protocol == "unknown"


@pytest.mark.parametrize(
    "line",
    [
        "(numbers taken from https://huggingface.co/org/Bar-13B)",
        "These are the scores of https://huggingface.co/org/Bar-13B",
        "Copied from https://huggingface.co/org/Bar-13B/blob/main/README.md",
        "(Open LLM Leaderboard)",
        "via HF leaderboard",
    ],
)
def test_a_pages_address_and_the_bare_place_say_it_too(line: str, tmp_path: Path) -> None:
    (found,) = models(f"{OWN}{line}\n\n{THEIRS}", tmp_path).values()
    assert found.protocol_of("truthfulqa") == "unknown"


def test_a_heading_of_sources_holds_down_to_the_next_of_its_level(tmp_path: Path) -> None:
    text = (
        f"## From the leaderboard\n\n### Bar-13B\n{HEAD}|boolq|1|acc|0.8500|±|0.0062|\n\n## Fused-7B\n\n{OWN}{THEIRS}"
    )
    found = models(text, tmp_path)
    assert {name: b.protocol_of("gpt4all") for name, b in found.items()} == {
        "Bar-13B": "open-llm-leaderboard",
        "Fused-7B": "unknown",
    }


@pytest.mark.parametrize(
    "line",
    [
        *("Finetuned from Bar-13B", "Trained from Bar-13B from scratch", "Results from LLM AutoEval:"),
        *("Scores from our runs of the Nous suite:", "Evaluated with the harness from EleutherAI:"),
        "Forked from a/Bar-13B",
    ],
)
def test_what_a_model_was_made_from_or_measured_with_takes_no_scores(line: str, tmp_path: Path) -> None:
    for text in (f"{line}\n\n{OWN}", f"{OWN}{line}\n\n{THEIRS}"):
        assert list(models(text, tmp_path)) == ["Fused-7B"]


def test_a_label_of_the_next_section_makes_no_claim_of_any(tmp_path: Path) -> None:
    found = models(f"{OWN}Bar-13B from Meta:\n\n{THEIRS}", tmp_path)
    (mine,) = (b for b in found.values() if "boolq" in b.tasks)
    assert mine.protocol_of("gpt4all") == "unknown"


OTHERS = [
    "Below, the parent model.",
    "vs. Bar-13B",
    "GPT-3.5 for reference",
    "Without the adapter:",
    "13B:",
    "70B model:",
    "Official results:",
    "Reported:",
    "Published numbers",
    "Self-reported",
    "What the authors report:",
    "Average over all models:",
    "Human performance:",
    "State of the art:",
    "Using the chat template:",
    "Evaluation of checkpoints/step-1000",
    "LoRA r=16:",
    "上一版本:",
    "官方结果:",
    "微调前:",
    "教师模型",
    "引用自论文的结果",
]


@pytest.mark.parametrize("line", OTHERS)
def test_below_a_line_that_may_speak_of_others_the_file_has_no_score_of_nous_2023(line: str, tmp_path: Path) -> None:
    found = [b for b in models(f"{OWN}{line}\n\n{THEIRS}", tmp_path).values() if "truthfulqa_mc" in b.tasks]
    assert len(found) == 1
    assert found[0].name not in ("card", "Fused-7B") or found[0].protocol_of("truthfulqa") == "unknown"


WAYS = [
    *("with lm-eval 0.4.2", "lm-evaluation-harness v0.4.3", "lm_eval==0.4.2", "All scores use 5-shot."),
    *("transformers 4.40, lm-eval 0.4.2", "(n-shot: 5)", "Settings: chat template on", "Evaluated by OpenCompass"),
    *("Measured with lighteval", "limit=100", "num_fewshot=5"),
]


@pytest.mark.parametrize("line", WAYS)
@pytest.mark.parametrize("place", ["top", "above the heading", "below the heading", "below", "at the end"])
def test_another_way_to_measure_is_heeded_wherever_it_is_said(line: str, place: str, tmp_path: Path) -> None:
    heading, table = THEIRS.split("\n", 1)
    text = {
        "top": f"{line}\n\n{OWN}{THEIRS}",
        "above the heading": f"{OWN}{line}\n\n{THEIRS}",
        "below the heading": f"{OWN}{heading}\n{line}\n\n{table}",
        "below": f"{OWN}{THEIRS}\n{line}\n",
        "at the end": f"{OWN}{THEIRS}\n## Notes\n\n{line}\n",
    }[place]
    (found,) = (b for b in models(text, tmp_path).values() if "truthfulqa_mc" in b.tasks)
    assert found.protocol_of("truthfulqa") != "nous-2023"
