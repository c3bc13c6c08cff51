"""The grammar is closed in cells, headings, settings, names and front matter, too: nothing foreign in any of them.

The foreign strings and files were written by people who tried to make the import claim what it should not.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest

from evalkit.baselines import Baseline, import_log
from evalkit.errors import ConfigError, DataError
from tests.support.few import few

pytestmark = pytest.mark.torch_free
RULE = "|---|--:|---|--:|---|--:|\n"
HEAD = f"|Task|Version|Metric|Value||Stderr|\n{RULE}"
BODY = "|truthfulqa_mc|1|mc1|0.5680|±|0.0173|\n|||mc2|0.7325|±|0.0145|\n"
FRONT = "---\nlicense: mit\nlanguage: en\ntags: [mistral]\nmodel_name: Foo-7B\nmetrics: [accuracy]\n---\n"
LINE = (
    "hf-causal (pretrained=a/Foo-7B,dtype=float16),"
    " limit: None, provide_description: False, num_fewshot: 0, batch_size: 8\n"
)
COMMAND = (
    "CUDA_VISIBLE_DEVICES=0 python main.py --model hf-causal --model_args pretrained=a/Foo-7B"
    " --tasks boolq,truthfulqa_mc --num_fewshot 0 --output_path results\n"
)
LOG = f"{FRONT}# Foo-7B\n\n{LINE}{COMMAND}### TruthfulQA\n{HEAD}{BODY}\nAverage: 73.25\n"
FOREIGN = (
    """
5-shot ¦ (5-shot) ¦ [5-shot] ¦ ［5-shot］ ¦ （5-shot） ¦ &lt;small 5-shot&gt; ¦ few-shot ¦ fewshot ¦ 10 examples
ten examples ¦ n=5 ¦ German ¦ de ¦ 中文版 ¦ 德语 ¦ 日本語 ¦ 🇩🇪 ¦ ⚠ ¦ 🔥 ¦ † ¦ * ¦ + ¦ 10% ¦ 25% ¦ 100% ¦ 5. ¦ #5
Bar-13B ¦ a/Bar-13B ¦ Bar-13B: ¦ of Bar-13B ¦ base model ¦ nf4 ¦ FP8 ¦ IQ4_XS ¦ W8A8 ¦ HQQ ¦ marlin ¦ q4f16_1
4 bits ¦ int4 ¦ gptq ¦ step 1000 ¦ revision=step1000 ¦ peft=b/Bar ¦ load_in_4bit=True ¦ subfolder=checkpoint-500
limit 100 ¦ num_fewshot ¦ bits ¦ chat_template ¦ prompt ¦ CoT ¦ maj@8
<span style="text-decoration:line-through">0.5</span> ¦ <span title="5-shot">0.5</span>
[x](https://huggingface.co/a/Bar-13B) ¦ [x][y] ¦ ~~0.5~~ ¦ <!-- x --> ¦ x[^1] ¦ translated ¦ subset ¦ estimated
copied ¦ theirs ¦ our run ¦ v2 ¦ x ¦ ? ¦ !
""".strip()
    .replace("\n", " ¦ ")
    .split(" ¦ ")
)


def models(text: str, name: str = "Foo-7B.md", **options: str) -> list[Baseline]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(text, encoding="utf-8")
        return list(import_log(Path(folder) / name, retrieved="2026-01-01", **options).baselines)


def claimed(text: str, name: str = "Foo-7B.md") -> bool:
    try:
        return any("nous-2023" in (b.protocol, *b.other_protocols.values()) for b in models(text, name))
    except DataError:
        return False


def places() -> list[tuple[str, str]]:
    """Return (what stands there, what it becomes, with {} for the foreign string)."""
    kept = [
        "truthfulqa_mc",
        "mc1",
        "Task",
        "Version",
        "Metric",
        "Value",
        "Stderr",
        "### TruthfulQA",
        "mit",
        "en",
        "mistral",
    ]
    kept += ["accuracy", "float16", "limit: None", "Description: False".lower(), "batch_size: 8", "num_fewshot: 0"]
    kept += ["hf-causal", "boolq", "=0 ", "path results", "0.5680", "0.0173|", "±"]
    return [
        *((text, f"{text} {{}}") for text in kept if text in LOG),
        *((text, f"{text}{{}}") for text in ("truthfulqa_mc", "mc1", "float16", "boolq", "0.0173|", "### TruthfulQA")),
        *((f"\n|{text}", f"\n{{}}|{text}") for text in ("truthfulqa_mc", "Task", "---")),
        *((f"|{text}|", "|{}|") for text in ("truthfulqa_mc", "Task", "Metric", "Value", "mc1", "±", "")),
        (RULE, f"{RULE}|{{}}|-|-|-|-|-|\n"),
        (RULE, RULE.replace("---|\n", "---|{}\n").replace("--:|\n", "--:|{}|\n")),
        (BODY, f"{BODY}|{{}}|1|acc|0.5000|±|0.01|\n"),
        ("mit", "{}"),
        ("language: en", "language: {}"),
        ("[mistral]", "[{}]"),
        ("[accuracy]", "[{}]"),
        ("a/Foo-7B,", "a/Foo-7B {},"),
        (",dtype", ",{},dtype"),
        ("CUDA", "{} CUDA"),
        ("\nAverage: 73.25", "\nAverage {}: 73.25"),
        ("\nAverage: 73.25", "\nAverage: 73.25 {}"),
        ("\nAverage: 73.25", "\nResults | {}"),
        ("# Foo-7B\n", "# Foo-7B {}\n"),
    ]


def test_the_clean_log_is_of_nous_2023() -> None:
    assert claimed(LOG)


# What is known where it stands: a part of a name, what a shell prints before a command.
HARMLESS = {("# Foo-7B\n", "v2"), ("# Foo-7B\n", "x"), ("CUDA", "!")}


@pytest.mark.parametrize(("old", "new"), places(), ids=lambda text: repr(text)[:30])
@pytest.mark.no_cover
def test_nothing_foreign_stands_anywhere(old: str, new: str) -> None:
    assert old in LOG
    wrong = []
    for foreign in few(FOREIGN):
        text = LOG.replace(old, new.replace("{}", foreign), 1)
        if (old, foreign) not in HARMLESS and claimed(text):
            wrong.append(foreign)
    assert wrong == []


@pytest.mark.parametrize(
    "argument",
    [
        "load_in_4bit=True",
        "revision=step1000",
        "peft=b/Bar",
        "subfolder=x",
        "delta=b/Bar",
        "dtype=int8",
        "add_bos_token=True",
    ],
)
def test_other_weights_and_requests_are_not_of_nous_2023_in_logs_and_results_files(argument: str) -> None:
    assert not claimed(LOG.replace("dtype=float16", argument))
    results = {"truthfulqa_mc": {"mc1": 0.3023, "mc1_stderr": 0.016, "mc2": 0.4509, "mc2_stderr": 0.0145}}
    for arguments, right in (("pretrained=a/Foo", True), (f"pretrained=a/Foo,{argument}", False)):
        config = {"model": "hf-causal", "model_args": arguments, "num_fewshot": 0, "limit": None}
        found = {"results": results, "versions": {"truthfulqa_mc": 1}, "config": config}
        assert claimed(json.dumps(found), "results.json") is right
        assert not claimed(json.dumps(found | {"config": config | {"apply_chat_template": True}}), "results.json")


@pytest.mark.parametrize(
    "name", ["Foo-7B-nf4", "Foo-7B-FP8", "Foo-7B.IQ4_XS", "Foo-7B-W8A8", "Foo-7B-HQQ", "Foo-7B-fewshot"]
)
def test_a_file_of_other_weights_is_not_of_nous_2023(name: str) -> None:
    assert not claimed(f"### TruthfulQA\n{HEAD}{BODY}", f"{name}.md")


@pytest.mark.parametrize(
    "row", ["|num_fewshot|5|5|", "|bits|4|4|", "||fp16|int4|", "|limit|100|100|", "|few-shot|5|5|"]
)
def test_a_row_of_settings_is_not_of_the_grammar(row: str) -> None:
    table = "|Benchmark|Foo-7B|Bar-13B|\n|---|---|---|\n{}|GPT4All|73.12|72.12|\n|TruthfulQA|57.10|73.25|\n"
    assert claimed(table.format(""))
    assert not claimed(table.format(f"{row}\n"))


def test_tags_and_fences_that_say_nothing_keep_the_claim() -> None:
    for line in ('<div align="center">', "<hr>", "<h3>TruthfulQA</h3>", "```bash", "python main.py \\"):
        assert claimed(LOG.replace("### Truth", f"{line}\n### Truth"))


def test_the_text_says_the_name_where_the_file_is_called_after_another_model() -> None:
    (found,) = models(f"# Bar-13B\n\n### TruthfulQA\n{HEAD}{BODY}")
    assert found.name == "Bar-13B"
    assert any("not Foo-7B as the file's name" in note for note in found.notes)
    assert models(f"---\nmodel_name: 'Qux-7B'\n---\n### TruthfulQA\n{HEAD}{BODY}", "scores.md")[0].name == "Qux-7B"
    assert models(f"# Foo-7B\n\n### TruthfulQA\n{HEAD}{BODY}", "README_CN.md")[0].name == "Foo-7B"


def test_protocol_nous_2023_leaves_out_what_the_file_says_otherwise_of() -> None:
    newer = "|Tasks|Version|Filter|n-shot|Metric|Value||Stderr|\n|---|---|---|--:|---|--:|---|--:|\n"
    row = "|hellaswag|1|none|10|acc|0.8000|±|0.0040|\n"
    (found,) = models(f"Prose.\n\n### TruthfulQA\n{HEAD}{BODY}\n### More\n{newer}{row}", protocol="nous-2023")
    assert (found.protocol, set(found.tasks)) == ("nous-2023", {"truthfulqa_mc"})
    assert any("hellaswag acc: 10-shot by the file itself" in note for note in found.notes)
    with pytest.raises(ConfigError, match="the file says otherwise of all scores"):
        models(f"{newer}{row}", protocol="nous-2023")
    with pytest.raises(ConfigError, match="is no protocol"):
        models(LOG, protocol="")
    assert any("did you mean" in note for note in models(LOG, protocol="nous-2032")[0].notes)


@pytest.mark.parametrize(
    "text",
    [
        LOG.replace("Average: 73.25", "TruthfulQA and HumanEval: 73.25"),
        LOG.replace("### TruthfulQA", "### TruthfulQA bleu"),
        LOG.replace("### TruthfulQA", "### TruthfulQA mc1"),
        LOG.replace("### TruthfulQA", "```bash\n# Bar-13B\n```\n### TruthfulQA"),
        re.sub(r"\(pretrained=[^)]*\)", "()", LOG),
        LOG.replace("|0.7325|", "|0.7325<small>5</small>|"),
    ],
)
def test_what_else_may_be_said_beside_a_suite_ends_the_claim(text: str) -> None:
    assert text != LOG
    assert not claimed(text)


OF_0_3 = {
    "results": {"truthfulqa_mc": {"mc1": 0.3023, "mc1_stderr": 0.0161, "mc2": 0.4509, "mc2_stderr": 0.0145}},
    "versions": {"truthfulqa_mc": 1},
    "config": {"model": "hf-causal", "model_args": "pretrained=a/Foo-7B", "num_fewshot": 0, "limit": None},
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"num_fewshot": 5},
        {"limit": 100},
        {"quantization": "int4"},
        {"note": "5-shot"},
        {"config": {**OF_0_3["config"], "model_args": "pretrained=a/Foo-7B-GPTQ"}},
        {"config": {**OF_0_3["config"], "model_args": ""}},
        {"results": {"truthfulqa_mc": {**OF_0_3["results"]["truthfulqa_mc"], "num_fewshot": 5}}},
        {"results": {"truthfulqa_mc": {**OF_0_3["results"]["truthfulqa_mc"], "split": "train"}}},
    ],
)
def test_a_results_file_says_nothing_but_what_the_harness_wrote(more: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**OF_0_3, **more}), encoding="utf-8")
    (found,) = import_log(path, retrieved="2026-01-01").baselines
    assert (found.protocol_of("truthfulqa") == "nous-2023") == (not more)
