"""What is not known makes no score nous-2023: keys of results files, names, labels, tags inside numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.baselines import Baseline, import_log

pytestmark = pytest.mark.torch_free
TABLE = (
    "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
    "|truthfulqa_mc|1|mc1|0.5680|±|0.0173|\n|||mc2|0.7325|±|0.0145|\n"
)
HTML = (
    "# Foo-7B\n\n### TruthfulQA\n\n<table><tr><th>Task</th><th>Version</th><th>Metric</th><th>Value</th><th></th>"
    "<th>Stderr</th></tr>\n<tr><td>truthfulqa_mc</td><td>1</td><td>mc2</td><td>0.7325</td><td>±</td><td>0.0145</td>"
    "</tr></table>\n"
)


def read(text: str, folder: Path, name: str = "Foo-7B.md") -> list[Baseline]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return list(import_log(path, retrieved="2026-01-01").baselines)


def results(**more: Any) -> dict[str, Any]:
    return {
        "results": {"truthfulqa_mc": {"mc1": 0.568, "mc1_stderr": 0.0173, "mc2": 0.7325, "mc2_stderr": 0.0145}},
        "versions": {"truthfulqa_mc": 1},
        "config": {"model": "hf-causal", "model_args": "pretrained=a/Foo-7B", "num_fewshot": 0, "limit": None},
    } | more


def with_config(**more: Any) -> dict[str, Any]:
    return results(config=results()["config"] | more)


def with_task(**more: Any) -> dict[str, Any]:
    return results(results={"truthfulqa_mc": results()["results"]["truthfulqa_mc"] | more})


@pytest.mark.parametrize("name", ["results.json", "Foo-7B.json"])
def test_a_plain_results_file_is_of_the_protocol(name: str, tmp_path: Path) -> None:
    (found,) = read(json.dumps(results()), tmp_path, name)
    assert (found.name, found.protocol) == ("a/Foo-7B", "nous-2023")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (results(note="5-shot"), "results.json"),
        (results(num_fewshot=5), "results.json"),
        (results(limit=100), "results.json"),
        (results(quantization="int4"), "results.json"),
        (results(versions={"truthfulqa_mc": "1 (5-shot)"}), "results.json"),
        (results(versions={"truthfulqa_mc": 1, "note": "5-shot"}), "results.json"),
        (with_task(num_fewshot=5), "results.json"),
        (with_task(split="train"), "results.json"),
        (with_task(mc1_stderr=0.0496), "results.json"),
        (with_config(model_args="pretrained=a/Foo-7B-GPTQ"), "results.json"),
        (with_config(model="gpt2", model_args=""), "results.json"),
        (results(), "Foo-7B-GPTQ.json"),
        (results(), "Foo-7B_5-shot.json"),
        (results(), "Foo-7B_limit100.json"),
        (results(), "Bar-13B.json"),
    ],
)
def test_what_a_results_file_says_beside_is_not_of_the_protocol(
    file: dict[str, Any], name: str, tmp_path: Path
) -> None:
    (found,) = read(json.dumps(file), tmp_path, name)
    assert "nous-2023" not in (found.protocol, *found.other_protocols.values())
    assert any("not nous-2023" in note for note in found.notes)


@pytest.mark.parametrize(
    "text",
    [
        f"# Foo-7B\n\n### TruthfulQA\n{TABLE}\nTruthfulQA and HumanEval: 55.1\n",
        f"# Foo-7B\n\n## TruthfulQA and HumanEval: 55.1\n\n{TABLE}",
        f"# Foo-7B\n\n### TruthfulQA bleu\n{TABLE}\nAverage: 33.1\n",
        f"# Foo-7B\n\n### TruthfulQA mc1\n{TABLE}\nAverage: 56.80\n",
        f"# Foo-7B\n\n## GPT4All perplexity\n\nAverage: 99.1\n\n### TruthfulQA\n{TABLE}",
    ],
)
def test_an_average_below_more_than_a_suite_is_not_the_suites(text: str, tmp_path: Path) -> None:
    (found,) = read(text, tmp_path)
    assert (found.averages, found.protocol) == ({}, "unknown")
    assert any("not read" in note and not note.startswith("TruthfulQA") for note in found.notes)


@pytest.mark.parametrize("name", ["results.md", "log.md", "teacher.md", "modelname.md", "eval_results.md"])
def test_the_title_names_the_model_where_the_files_name_does_not(name: str, tmp_path: Path) -> None:
    (found,) = read(f"# Bar-13B\n\n### TruthfulQA\n{TABLE}", tmp_path, name)
    assert found.name == "Bar-13B"


@pytest.mark.parametrize("labels", [("Performance", "Overall"), ("Summary", "Benchmark")])
def test_a_word_of_labels_is_no_model(labels: tuple[str, str], tmp_path: Path) -> None:
    other = TABLE.replace("0.7325", "0.6325").replace("0.5680", "0.4680")
    found = read(f"# Foo-7B\n\n### {labels[0]}\n{TABLE}\n### {labels[1]}\n{other}", tmp_path)
    assert found[0].name == "Foo-7B"
    assert not {baseline.name for baseline in found} & set(labels)


@pytest.mark.parametrize("cell", ["0.7325<small>5</small>", "<b>0.73</b><b>25</b>", "0.73<!-- -->25", "0.73<wbr>25"])
def test_a_tag_inside_a_number_makes_it_none(cell: str, tmp_path: Path) -> None:
    text = HTML.replace("0.7325", cell)
    path = tmp_path / "Foo-7B.md"
    path.write_text(f"{text}\n### GPT4All\n{TABLE.replace('truthfulqa_mc', 'boolq').replace('mc1', 'acc')}")
    (found,) = import_log(path, retrieved="2026-01-01").baselines
    assert "mc2" not in found.tasks.get("truthfulqa_mc", {})


@pytest.mark.parametrize(
    "said",
    [
        "gpt2 (), limit: None, provide_description: False, num_fewshot: 0, batch_size: 8\n",
        "```bash\n# Bar-13B\n```\n",
    ],
)
def test_another_model_above_the_table_makes_it_unknown(said: str, tmp_path: Path) -> None:
    found = read(f"# Foo-7B\n\n{said}\n### TruthfulQA\n{TABLE}", tmp_path)
    assert {baseline.protocol for baseline in found} == {"unknown"}
