"""nous-2023 is claimed only for a file of which every line is of a closed grammar; evalkit does not read prose.

The lines were judged by hand: from real cards, from people who tried to make the import claim what it should not, and
random words. Half of them say nothing wrong, but no program can know that.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.baselines import Baseline, import_log
from evalkit.baselines.reading.wording import same_model
from evalkit.errors import DataError

pytestmark = pytest.mark.torch_free
HEAD = "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
GPT4ALL = f"### GPT4All\n{HEAD}|boolq|1|acc|0.8700|±|0.0059|\n|piqa|0|acc_norm|0.8300|±|0.0088|\n\nAverage: 85.0\n\n"
TRUTHFUL = f"### TruthfulQA\n{HEAD}|truthfulqa_mc|1|mc1|0.5680|±|0.0173|\n|||mc2|0.7325|±|0.0145|\n"
LOG = f"# Foo-7B\n\n{GPT4ALL}{TRUTHFUL}"
KNOWN = [
    "## 🏆 Evaluation",
    "## Evaluation",
    "## Benchmark Results",
    "# evaluation",
    "Elapsed time: 02:39:53",
    "Average: 45.47%",
    "Average score: 57.67%",
    "hf-causal-experimental (pretrained=a/Foo-7B,dtype=float16),"
    " limit: None, provide_description: False, num_fewshot: 0, batch_size: 8",
    "## 评测结果",
    "GPT4All (7 tasks)",
    "1. GPT4All Benchmark results:",
    "python main.py --model hf-causal --model_args pretrained=a/Foo-7B --tasks boolq,piqa,truthfulqa_mc",
]
FREE = [
    "Leaderboard scores of Bar-13B:",
    "The leaderboard lists Bar-13B as:",
    "The leaderboard's scores for Bar-13B:",
    "Leaderboard (Bar-13B):",
    "The Open LLM Leaderboard reports for Bar-13B:",
    "For reference, the leaderboard's Bar-13B:",
    "Bar-13B (Open LLM Leaderboard)",
    "Bar-13B's leaderboard scores:",
    "Bar-13B leaderboard:",
    "Bar-13B leaderboard scores:",
    "Open LLM Leaderboard, Bar-13B:",
    "Nous leaderboard, Bar-13B:",
    "Leaderboard entry Bar-13B",
    "Leaderboard results for Mistral-7B",
    "Bar-13B: (leaderboard)",
    "On the leaderboard, Bar-13B has:",
    "排行榜上的 Bar-13B：",
    "## Bar-13B — Open LLM Leaderboard",
    "## Leaderboard scores of Bar-13B",
    "## Open LLM Leaderboard: Bar-13B",
    "#### Bar-13B (leaderboard)",
    "Their card reports for Bar-13B:",
    "The Bar-13B model card reports:",
    "Bar-13B:",
    "**Bar-13B**",
    "| Bar-13B |",
    "Scores of [Bar-13B](https://huggingface.co/a/Bar-13B):",
    "[Bar-13B](https://huggingface.co/a/Bar-13B)",
    "Results for Bar-13B",
    "Bar-13B, measured by us:",
    "For comparison, TruthfulQA of Bar-13B:",
    "Leaderboard:",
    "Reported by others:",
    "The following scores are copied from the parent model:",
    "Taken from [here](https://huggingface.co/a/Bar-13B):",
    "Via https://huggingface.co/a/Bar-13B",
    "See [here](https://huggingface.co/a/Bar-13B):",
    "Full results [here](https://huggingface.co/a/Bar-13B).",
    "Source: https://huggingface.co/a/Bar-13B",
    "Source: https://huggingface.co/spaces/HuggingFaceH4/open_llm_leaderboard",
    "Taken from https://huggingface.co/a/Bar-13B",
    "From https://huggingface.co/a/Bar-13B:",
    "See https://huggingface.co/a/Bar-13B for the source of these:",
    "Link: https://huggingface.co/a/Bar-13B",
    "https://huggingface.co/a/Bar-13B",
    "<https://huggingface.co/a/Bar-13B>",
    "[Source](https://huggingface.co/a/Bar-13B)",
    "*[(source)](https://huggingface.co/a/Bar-13B)*",
    "Scores as in [this card](https://huggingface.co/a/Bar-13B)",
    "Scores as in [the original](https://huggingface.co/a/Bar-13B):",
    "## Scores from https://huggingface.co/a/Bar-13B",
    "## Reported scores",
    "## Scores reported elsewhere",
    "## Leaderboard",
    "## Scores of other models",
    "## For comparison",
    "## Base model",
    "Same format as the OpenHermes card:",
    "Zulu:",
    "### OpenLLM Leaderboard",
    "## Open LLM Leaderboard Evaluation Results",
    "Detailed results can be found [here](https://huggingface.co/datasets/open-llm-leaderboard/details_x)",
    "benchmarked on lm-evaluation-harness 0.4.1",
    "## openllm results",
    "### Compared to GPT-4",
    "As of January 11, 2024, it is at rank 4 of the leaderboard:",
    "Original model card: NousResearch's Nous Hermes Llama 2 7B",
    "Benchmark scores of the DPO model, before merging:",
    "## 5-shot evaluation",
    "German EQ-Bench v2_de: 69.93 (171/171). English (v2): 77.88 (171/171)",
    "Evaluation of the teacher",
    "I also evaluated it using Nous' benchmark suite and obtained the following results:",
    "The evaluation was performed using [LLM AutoEval](https://github.com/mlabonne/llm-autoeval) on Nous suite.",
    "# Benchmarks Compared",
    "## Benchmark Information",
    "### GPT4All, Bigbench, TruthfulQA, and AGIEval Model Comparisons:",
    "### Averages Compared:",
    "GPT-4All Benchmark Set",
    "Evaluations done using mlabonne's useful Colab notebook llm-autoeval.",
    "Also check out the alternative leaderboard at Yet_Another_LLM_Leaderboard",
    "Metadata: {'elapsed_time': '02:32:24', 'gpu': 'NVIDIA GeForce RTX 4090'}",
    "![image/png](https://cdn-uploads.huggingface.co/production/uploads/6317aade83d8d2fd903192d9/Kxq4BFEc.png)",
    "Foo-7B:",
    "Results of Foo-7B:",
    "Foo 7B on the Nous benchmark (0-shot):",
    "https://huggingface.co/a/Foo-7B",
    "Our results on TruthfulQA:",
    "Measured with lm-evaluation-harness, zero-shot.",
    "Evaluated on 2024-01-15 with https://github.com/EleutherAI/lm-evaluation-harness",
    "测试结果如下：",
    "All scores are 5-shot.",
    "We report five-shot scores.",
    "In-context examples: 5.",
    "We prepend five solved examples to every question.",
    "We used OpenCompass for all benchmarks.",
    "Benchmarks were run with lighteval.",
    "Evaluated with lm-evaluation-harness v0.4.2.",
    "Evaluated with the latest lm-eval.",
    "We used lm-eval at commit big-refactor.",
    "Scores use the chat template.",
    "All benchmarks were run through the Alpaca prompt.",
    "We used ChatML prompting for the evaluation.",
    "Only 100 random questions of each task were used.",
    "Evaluated on 10% of each benchmark.",
    "We evaluated on a subset due to cost.",
    "All benchmarks were machine translated to German.",
    "Benchmarks are the Korean versions.",
    "All scores are those of Bar-13B.",
    "Scores were measured on the merged parent, not on this model.",
    "Benchmark numbers come from the unquantised model.",
    "The numbers are from before DPO training.",
    "Benchmarks of the final release are pending; these are an earlier checkpoint's.",
    "Benchmarks were run in 4-bit.",
    "Scores are generated answers parsed with regex.",
    "Scored with exact match of generated answers.",
    "GPT-4 judged the answers.",
    "Scores are normalised by the random baseline.",
    "Average of 3 seeds.",
    "Best of 5 runs.",
    "We report maj@8.",
    "We dropped all questions longer than 1024 tokens.",
    "Questions with images were removed.",
    "The evaluation was run with a system prompt.",
    "Accuracy was computed with CoT prompting.",
    "The benchmark answers were shuffled.",
    "We ran the benchmarks with vLLM and temperature 0.7.",
    "Caution: these numbers are made up for illustration.",
    "Numbers below are placeholders.",
    "Example scores, do not cite.",
    "This is a template; replace the numbers by yours.",
    "Bar-13B",
    "- Bar-13B",
    "1. Bar-13B",
    "Combined model:",
    "Final model:",
    "Nous model:",
    "Average of the models:",
    "Results of none of our models:",
    "基准：",
    "基准模型的得分：",
    "上个模型的得分：",
    "四个模型的平均：",
    "Results at 40%:",
    "Foo-7B × 0.5",
    "Results 2.0:",
    "[Results](https://huggingface.co/x/Bar-13B)",
    '<TabItem label="Bar-13B">',
    "![Bar-13B](x.png)",
    "Results[^bar]",
    "*: numbers of its authors.",
    "Below is the original model card of a/Foo-7B:",
    "Original model description:",
    "<!-- of Bar-13B -->",
    "~~of Bar-13B~~",
    "+ new rows",
    "@@ -1,3 +1,3 @@",
    "lm_eval --tasks boolq as Bar-13B has it",
    "hf-causal (pretrained=a/Bar-13B), limit: None, provide_description: False, num_fewshot: 0, batch_size: 8",
    "hf-causal (pretrained=a/Foo-7B), limit: None, num_fewshot: 0, batch_size: 8, by Bar",
    "| of Bar-13B | measured otherwise |",
    "GPT-4-All:",
    "结果来自官方模型卡",
    "以下为第三方复现",
]  # fmt: skip


def models(text: str, name: str = "card.md") -> list[Baseline]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(text, encoding="utf-8")
        return list(import_log(Path(folder) / name, retrieved="2026-01-01").baselines)


def claims(found: list[Baseline]) -> bool:
    return any("nous-2023" in (b.protocol, *b.other_protocols.values()) for b in found)


@pytest.mark.parametrize("line", KNOWN)
def test_lines_of_the_grammar_keep_the_claim(line: str) -> None:
    for text in (f"# Foo-7B\n\n{line}\n\n{GPT4ALL}", f"# Foo-7B\n\n{TRUTHFUL}\n{line}\n"):
        assert claims(models(text))


@pytest.mark.parametrize("line", FREE)
@pytest.mark.no_cover
def test_any_other_line_ends_it_wherever_it_stands(line: str) -> None:
    for text in (
        f"# Foo-7B\n\n{line}\n\n{GPT4ALL}{TRUTHFUL}",
        f"# Foo-7B\n\n{GPT4ALL}{line}\n{TRUTHFUL}",
        f"{LOG}\nAverage: 73.25\n\n## Notes\n\n{line}\n",
    ):
        assert not claims(models(text))


@settings(max_examples=300, deadline=None)
@given(
    line=st.one_of(
        st.sampled_from(FREE),
        st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=2), min_size=1, max_size=8).map(
            lambda words: "zulu " + " ".join(words)
        ),
        st.text("测模型上个原始官方权重翻译提示抽样来自他们", min_size=3, max_size=12),
    ),
    place=st.integers(0, LOG.count("\n")),
)
@pytest.mark.no_cover
def test_free_text_anywhere_in_a_clean_log_is_never_nous_2023(line: str, place: int) -> None:
    lines = LOG.split("\n")
    try:
        found = models("\n".join([*lines[:place], line, *lines[place:]]))
    except DataError:
        return
    assert not claims(found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("|0.5680|", "|0.5680*|"),
        ("|0.5680|", "|0.5680†|"),
        ("|0.5680|", "|56.80%|"),
        ("|truthfulqa_mc|", "|truthfulqa_mc*|"),
        ("|Stderr|\n|---|--:|---|--:|---|--:|\n|truth", "|Stderr||\n|---|--:|---|--:|---|--:|--:|\n|truth"),
        ("|±|0.0173|", "|0.6100|0.0173|"),
        ("# Foo-7B", "# Foo-7B 1.1 of yore"),
        ("# Foo-7B", "# Foo-7B-GPTQ"),
        ("|truthfulqa_mc|", "Bar-13B |truthfulqa_mc|"),
        ("|0.0173|", "|0.0173| Bar-13B"),
        ("||Stderr|\n|---|--:|---|--:|---|--:|\n|truth", "|Bar-13B|Stderr|\n|---|--:|---|--:|---|--:|\n|truth"),
        ("# Foo-7B", "---\nquantized_by: someone\n---\n# Foo-7B"),
        ("# Foo-7B", "---\nbase_model: a/Bar-13B\n---\n# Foo-7B"),
        ("# Foo-7B", "---\ntags: [gguf]\n---\n# Foo-7B"),
        ("# Foo-7B", "---\ndescription: of Bar-13B\n---\n# Foo-7B"),
    ],
)
def test_marks_units_and_quantised_weights_end_it(old: str, new: str) -> None:
    text = LOG.replace(old, new)
    assert text != LOG
    assert claims(models(LOG))
    assert not claims(models(text.replace("|0.0173|\n", "|0.0173|0.61|\n") if "|Stderr||" in new else text))


def test_the_one_note_names_lines_and_the_way_out() -> None:
    (found,) = models(LOG.replace("# Foo-7B\n", "# Foo-7B\n\nZulu of yore.\n") + "\nAnd more.\n")
    (note,) = (note for note in found.notes if "protocol" in note)
    assert note.startswith(
        "line 3: GPT4All, TruthfulQA: protocol unknown, not nous-2023: not only scores: line 3 'Zulu"
    )
    assert "'And more.'" in note
    assert "evalkit does not read prose" in note
    assert note.endswith("--protocol nous-2023")


def test_the_harness_line_names_whose_the_scores_below_it_are() -> None:
    line = "hf-causal (pretrained=a/Bar-13B), limit: None, provide_description: False, num_fewshot: 0, batch_size: 8\n"
    own, other = models(f"# Foo-7B\n\n{GPT4ALL}{line}{TRUTHFUL}", "Foo-7B.md")
    assert (own.name, set(own.tasks), other.name) == ("Foo-7B", {"boolq", "piqa"}, "a/Bar-13B")
    assert not claims([own, other])
    (alone,) = models(f"{line}{GPT4ALL}{TRUTHFUL}", "Foo-7B.md")
    assert (alone.name, claims([alone])) == ("a/Bar-13B", False)  # the file is called otherwise
    assert not claims(models(f"# Bar-13B\n\n{GPT4ALL}", "Foo-7B.md"))
    assert not claims(models(f"{line.replace('Bar-13B', 'Foo-7B,load_in_4bit=True')}{GPT4ALL}", "Foo-7B.md"))
    assert same_model("upstage/SOLAR-10.7B-v1.0", "SOLAR-10.7b-v1-Base")


def test_an_item_of_a_list_that_names_a_model_heads_what_is_below_it() -> None:
    found = {b.name: set(b.tasks) for b in models(f"# Foo-7B\n\n- Foo-7B\n\n{GPT4ALL}- Bar-13B\n\n{TRUTHFUL}")}
    assert found["Bar-13B"] == {"truthfulqa_mc"}


def test_a_readme_is_called_after_its_title_or_folder(tmp_path: Path) -> None:
    assert models(LOG, "README.md")[0].name == "Foo-7B"
    assert models(f"---\nmodel_name: Qux-7B\n---\n{GPT4ALL}", "README.md")[0].name == "Qux-7B"
    path = tmp_path / "Baz-7B" / "README.md"
    path.parent.mkdir()
    path.write_text(GPT4ALL, encoding="utf-8")
    assert import_log(path, retrieved="2026-01-01").baselines[0].name == "Baz-7B"


def test_rows_that_a_diff_removes_are_noted_and_not_read() -> None:
    rows = "-|boolq|1|acc|0.8000|±|0.0070|\n+|boolq|1|acc|0.8700|±|0.0059|\n"
    (found,) = models(
        f"diff --git a/x b/x\n@@ -1,4 +1,4 @@\n ### GPT4All\n {HEAD.replace(chr(10), chr(10) + ' ', 1)}{rows}"
    )
    assert str(found.tasks["boolq"]["acc"].value) == "0.8700"
    assert any("removed by a diff" in note for note in found.notes)
    assert not claims([found])


def test_a_listing_of_lines_of_several_files_is_refused() -> None:
    with pytest.raises(DataError, match="as grep prints them"):
        models("a.md:|boolq|1|acc|0.8700|±|0.0059|\nb.md:|boolq|1|acc|0.8000|±|0.0059|\n")
