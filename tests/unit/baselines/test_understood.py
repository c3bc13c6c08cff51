"""What stands above a suite's heading: whose the scores below it are, and whether they are called nous-2023.

Every line was judged by hand before any of them was tried: the model that it gives the scores to ("own": the file's,
"-": nobody knows), and whether a reader would take them for the file's own run of the Nous suite. Half of them are from
real cards of models.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.baselines import Baseline, import_log
from evalkit.baselines.reading.understood import left_over

pytestmark = pytest.mark.torch_free
HEAD = "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
GPT4ALL = f"### GPT4All\n{HEAD}|boolq|1|acc|0.8700|±|0.0059|\n|piqa|0|acc_norm|0.8300|±|0.0088|\n\nAverage: 85.0\n\n"
TRUTHFUL = f"### TruthfulQA\n{HEAD}|truthfulqa_mc|1|mc1|0.5680|±|0.0173|\n|||mc2|0.7325|±|0.0145|\n"
SUITES = (
    "|Model|AGIEval|GPT4All|TruthfulQA|Bigbench|Average|\n|---|--:|--:|--:|--:|--:|\n"
    "|[Foo-7B](https://huggingface.co/a/Foo-7B)|44.66|76.24|64.15|45.64|57.67|\n"
)

FOREIGN = {
    # a model beside a place, in any order
    "Leaderboard scores of Bar-13B:": "Bar-13B",
    "The leaderboard lists Bar-13B as:": "Bar-13B",
    "The leaderboard's scores for Bar-13B:": "Bar-13B",
    "Leaderboard (Bar-13B):": "Bar-13B",
    "The Open LLM Leaderboard reports for Bar-13B:": "Bar-13B",
    "For reference, the leaderboard's Bar-13B:": "Bar-13B",
    "Bar-13B (Open LLM Leaderboard)": "Bar-13B",
    "Bar-13B's leaderboard scores:": "Bar-13B",
    "Bar-13B leaderboard:": "Bar-13B",
    "Bar-13B leaderboard scores:": "Bar-13B",
    "Open LLM Leaderboard, Bar-13B:": "Bar-13B",
    "Nous leaderboard, Bar-13B:": "Bar-13B",
    "Leaderboard entry Bar-13B": "Bar-13B",
    "Leaderboard results for Mistral-7B": "Mistral-7B",
    "Bar-13B: (leaderboard)": "Bar-13B",
    "On the leaderboard, Bar-13B has:": "Bar-13B",
    "排行榜上的 Bar-13B：": "Bar-13B",
    "## Bar-13B — Open LLM Leaderboard": "Bar-13B",
    "## Leaderboard scores of Bar-13B": "Bar-13B",
    "## Open LLM Leaderboard: Bar-13B": "Bar-13B",
    "#### Bar-13B (leaderboard)": "Bar-13B",
    "Their card reports for Bar-13B:": "Bar-13B",
    "The Bar-13B model card reports:": "Bar-13B",
    "Bar-13B:": "Bar-13B",
    "**Bar-13B**": "Bar-13B",
    "| Bar-13B |": "Bar-13B",
    "Scores of [Bar-13B](https://huggingface.co/a/Bar-13B):": "Bar-13B",
    "[Bar-13B](https://huggingface.co/a/Bar-13B)": "Bar-13B",
    "Results for Bar-13B": "Bar-13B",
    "Bar-13B, measured by us:": "Bar-13B",
    "For comparison, TruthfulQA of Bar-13B:": "Bar-13B",
    # a place alone, an address, somebody else
    "Leaderboard:": "-",
    "Reported by others:": "-",
    "The following scores are copied from the parent model:": "-",
    "Taken from [here](https://huggingface.co/a/Bar-13B):": "-",
    "Via https://huggingface.co/a/Bar-13B": "-",
    "See [here](https://huggingface.co/a/Bar-13B):": "-",
    "Full results [here](https://huggingface.co/a/Bar-13B).": "-",
    "Source: https://huggingface.co/a/Bar-13B": "-",
    "Source: https://huggingface.co/spaces/HuggingFaceH4/open_llm_leaderboard": "-",
    "Taken from https://huggingface.co/a/Bar-13B": "-",
    "From https://huggingface.co/a/Bar-13B:": "-",
    "See https://huggingface.co/a/Bar-13B for the source of these:": "-",
    "Link: https://huggingface.co/a/Bar-13B": "-",
    "https://huggingface.co/a/Bar-13B": "-",
    "<https://huggingface.co/a/Bar-13B>": "-",
    "[Source](https://huggingface.co/a/Bar-13B)": "-",
    "*[(source)](https://huggingface.co/a/Bar-13B)*": "-",
    "Scores as in [this card](https://huggingface.co/a/Bar-13B)": "-",
    "Scores as in [the original](https://huggingface.co/a/Bar-13B):": "-",
    "## Scores from https://huggingface.co/a/Bar-13B": "-",
    "## Reported scores": "-",
    "## Scores reported elsewhere": "-",
    "## Leaderboard": "-",
    "## Scores of other models": "-",
    "## For comparison": "-",
    "## Base model": "-",
    "Same format as the OpenHermes card:": "-",
    "Zulu:": "-",
    # real cards, of scores that are not the card's model's, or measured otherwise
    "### OpenLLM Leaderboard": "-",
    "## Open LLM Leaderboard Evaluation Results": "-",
    "Detailed results can be found [here](https://huggingface.co/datasets/open-llm-leaderboard/details_x)": "-",
    "benchmarked on lm-evaluation-harness 0.4.1": "-",
    "## openllm results": "-",
    "### Compared to GPT-4": "-",
    "As of January 11, 2024, it is at rank 4 of the leaderboard:": "-",
    "Original model card: NousResearch's Nous Hermes Llama 2 7B": "-",
    "Benchmark scores of the DPO model, before merging:": "-",
    "## 5-shot evaluation": "-",
    "German EQ-Bench v2_de: 69.93 (171/171). English (v2): 77.88 (171/171)": "-",
    "Evaluation of the teacher": "-",
}

OWN = [
    # real cards: of mergers, of Nous and Teknium, and what LLM AutoEval writes
    "I also evaluated it using Nous' benchmark suite and obtained the following results:",
    "The evaluation was performed using [LLM AutoEval](https://github.com/mlabonne/llm-autoeval) on Nous suite.",
    "## 🏆 Evaluation",
    "### Nous",
    "### Nous suite",
    "## nous results ",
    "### nous Benchmark results",
    "## Evaluation",
    "# Benchmarks",
    "# Benchmarks Compared",
    "## Benchmark Results",
    "## Benchmark Information",
    "### GPT4All, Bigbench, TruthfulQA, and AGIEval Model Comparisons:",
    "### Averages Compared:",
    "GPT-4All Benchmark Set",
    "# evaluation",
    "**Performance**",
    "## Performance",
    "Evaluations done using mlabonne's useful Colab notebook llm-autoeval.",
    "Also check out the alternative leaderboard at Yet_Another_LLM_Leaderboard",
    "Metadata: {'elapsed_time': '02:32:24', 'gpu': 'NVIDIA GeForce RTX 4090'}",
    "Elapsed time: 02:39:53",
    "Average: 45.47%",
    "Average score: 57.67%",
    "![image/png](https://cdn-uploads.huggingface.co/production/uploads/6317aade83d8d2fd903192d9/Kxq4BFEc.png)",
    "hf-causal-experimental (pretrained=a/Foo-7B,dtype=float16), limit: None, provide_description: False,"
    " num_fewshot: 0, batch_size: 8",
    # plain ones
    "Foo-7B:",
    "Results of Foo-7B:",
    "## Foo-7B",
    "## a/Foo-7B",
    "Foo 7B on the Nous benchmark (0-shot):",
    "https://huggingface.co/a/Foo-7B",
    "Our results on TruthfulQA:",
    "Measured with lm-evaluation-harness, zero-shot.",
    "Evaluated on 2024-01-15 with https://github.com/EleutherAI/lm-evaluation-harness",
    "## 评测结果",
    "测试结果如下：",
]


def models(text: str, folder: Path) -> dict[str, Baseline]:
    path = folder / "card.md"
    path.write_text(f"# Foo-7B\n\n{text}", encoding="utf-8")
    return {found.name: found for found in import_log(path, retrieved="2026-01-01").baselines}


def having(found: dict[str, Baseline], task: str) -> tuple[str, Baseline]:
    ((name, baseline),) = ((n, b) for n, b in found.items() if task in b.tasks)
    return ("own" if name in ("card", "Foo-7B", "a/Foo-7B") else name), baseline


@pytest.mark.parametrize("blank", ["\n", "\n\n"], ids=["adjacent", "apart"])
@pytest.mark.parametrize("line", FOREIGN)
def test_what_is_not_understood_is_never_the_files_own_run(line: str, blank: str, tmp_path: Path) -> None:
    found = models(f"{GPT4ALL}{line}{blank}{TRUTHFUL}", tmp_path)
    name, theirs = having(found, "truthfulqa_mc")
    assert theirs.protocol_of("truthfulqa") != "nous-2023"
    assert FOREIGN[line] in ("-", name)
    if FOREIGN[line] != "-" or line.startswith("#"):  # what heads a section says nothing of the one above it
        assert having(found, "boolq")[0] == "own"
        assert having(found, "boolq")[1].protocol_of("gpt4all") == "nous-2023"
    said = theirs.protocol_of("truthfulqa") != "unknown"  # its name says how
    assert said or any("TruthfulQA: protocol unknown" in note for note in theirs.notes)


@pytest.mark.parametrize("blank", ["\n", "\n\n"], ids=["adjacent", "apart"])
@pytest.mark.parametrize("line", OWN)
def test_what_is_understood_is_the_files_own(line: str, blank: str, tmp_path: Path) -> None:
    found = models(f"{GPT4ALL}{line}{blank}{TRUTHFUL}", tmp_path)
    for task, suite in (("boolq", "gpt4all"), ("truthfulqa_mc", "truthfulqa")):
        name, baseline = having(found, task)
        assert (name, baseline.protocol_of(suite)) == ("own", "nous-2023")


@pytest.mark.parametrize("line", [line for line in OWN if not line.startswith(("hf-causal", "Average"))])
def test_above_a_table_of_suites_it_is_understood_too(line: str, tmp_path: Path) -> None:
    (found,) = models(f"{line}\n\n{SUITES}", tmp_path).values()
    assert {found.protocol_of(suite) for suite in ("agieval", "gpt4all", "truthfulqa", "bigbench")} == {"nous-2023"}


def test_the_note_names_line_words_and_way_out(tmp_path: Path) -> None:
    (found,) = models(f"Zulu of yore:\n\n{TRUTHFUL}", tmp_path).values()
    (note,) = (note for note in found.notes if "protocol" in note)
    assert note.startswith("line 3: TruthfulQA: protocol unknown, not nous-2023: 'Zulu yore' in 'Zulu of yore:'")
    assert note.endswith("if you know that it was measured so: --protocol nous-2023")


def test_a_source_below_scores_dooms_those_above_it(tmp_path: Path) -> None:
    for between in ("", "\n"):
        found = models(f"{GPT4ALL}{TRUTHFUL}{between}Source: https://huggingface.co/a/Bar-13B\n", tmp_path)
        assert having(found, "truthfulqa_mc")[1].protocol_of("truthfulqa") == "unknown"
        assert having(found, "boolq")[1].protocol_of("gpt4all") == "nous-2023"


def test_a_label_heads_all_suites_below_it_up_to_the_next_one(tmp_path: Path) -> None:
    agieval = "### AGIEval\n\nAverage: 44.12\n\n"
    (found,) = models(f"Reported by others:\n\n{TRUTHFUL}\n{agieval}", tmp_path).values()
    assert {found.protocol_of(suite) for suite in ("truthfulqa", "agieval")} == {"unknown"}
    found = models(f"Reported by others:\n\n{TRUTHFUL}\nFoo-7B:\n\n{agieval}", tmp_path)
    assert {b.protocol_of("agieval") for b in found.values() if "agieval" in b.averages} == {"nous-2023"}


@pytest.mark.parametrize("version", ["N/A", "-", "?", "none", "", "Yaml", "1.5"])
def test_nous_2023_needs_versions_that_are_whole_numbers(version: str, tmp_path: Path) -> None:
    (found,) = models(TRUTHFUL.replace("|1|", f"|{version}|"), tmp_path).values()
    assert found.protocol_of("truthfulqa") != "nous-2023"


def test_the_harness_line_of_one_model_does_not_vouch_for_anothers_table(tmp_path: Path) -> None:
    line = "hf-causal (pretrained=a/Bar-13B), limit: None, provide_description: False, num_fewshot: 0, batch_size: 16"
    plain = "|Task|Metric|Value|Stderr|\n|---|---|--:|--:|\n|boolq|acc|0.8599|0.0061|\n"
    found = models(f"### Bar-13B\n{line}\n{TRUTHFUL}\n### Foo-7B\n{plain}", tmp_path)
    assert found["Foo-7B"].protocol_of("gpt4all") == "unknown"
    assert found["Foo-7B"].settings is None
    found = models(f"### Foo-7B\n{line.replace('Bar-13B', 'Foo-7B')}\n{TRUTHFUL}\n{plain}", tmp_path)
    assert {b.protocol_of("gpt4all") for b in found.values() if "boolq" in b.tasks} == {"nous-2023"}


@pytest.mark.parametrize(
    "label", ["Leaderboard Bar-13B", "Bar-13B Leaderboard", "Official Bar-13B", "Bar-13B Paper", "Their Bar-13B"]
)
def test_a_row_says_no_more_than_a_models_name(label: str, tmp_path: Path) -> None:
    found = models(f"{SUITES}|{label}|40.1|70.2|50.3|30.1|47.7|\n", tmp_path)
    assert found["Foo-7B"].protocol_of("gpt4all") == "nous-2023"
    assert all(b.protocol_of("gpt4all") == "unknown" for name, b in found.items() if name != "Foo-7B")


def test_a_models_name_is_known_only_as_a_whole() -> None:
    names = ["teknium/OpenHermes-2.5-Mistral-7B"]
    assert left_over("Results of OpenHermes 2.5 Mistral 7B", names) is None
    assert left_over("Results of teknium/OpenHermes-2.5-Mistral-7B:", names) is None
    for other in ("Mistral-7B", "OpenHermes-2.5-Mistral-7B-DPO", "OpenHermes-2.5-Mistral-7B.1", "b/Mistral 7B"):
        assert left_over(f"Results of {other}", names) is not None


@pytest.mark.parametrize(
    "line",
    [
        "Below is the original model card of a/Foo-7B:",
        "***Original model card***",
        "## Original README",
        "## Upstream model card",
        "<summary>Original model card</summary>",
        "Original model description:",
        "Original model: https://huggingface.co/a/Foo-7B/",
        "Quantization made by Somebody.",
    ],
)
def test_a_repeated_card_has_the_original_models_scores(line: str, tmp_path: Path) -> None:
    found = models(f"{line}\n\n# Foo-7B\n\n## Results\n\n{GPT4ALL}{TRUTHFUL}", tmp_path)
    assert found
    for baseline in found.values():
        assert "nous-2023" not in {baseline.protocol_of(suite) for suite in ("gpt4all", "truthfulqa")}


@pytest.mark.parametrize("name", ["Foo-7B-GPTQ", "Foo-7B-4.0bpw-exl2", "Foo-7B.Q4_K_M", "Foo-7B-4bits", "Foo-7B-GGUF"])
def test_a_quantised_models_file_may_have_the_original_models_scores(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.md"
    path.write_text(f"# Foo-7B\n\n{GPT4ALL}{TRUTHFUL}", encoding="utf-8")
    for found in import_log(path, retrieved="2026-01-01").baselines:
        assert "nous-2023" not in {found.protocol_of(suite) for suite in ("gpt4all", "truthfulqa")}


@pytest.mark.parametrize(
    "line",
    [
        "Foo-7B 1.1:",
        "Foo-7B (2.0)",
        "Evaluated on 10% of each benchmark.",
        "基准模型的得分：",
        "上个模型的得分：",
        "四个模型的平均：",
        "Results on our own test set:",
        "Evaluated with our own harness:",
        "Average of four runs:",
        "Combined model:",
        "Nous model:",
    ],
)
def test_known_words_make_no_unknown_statement(line: str, tmp_path: Path) -> None:
    found = models(f"{GPT4ALL}{line}\n\n{TRUTHFUL}", tmp_path)
    assert having(found, "truthfulqa_mc")[1].protocol_of("truthfulqa") != "nous-2023"
