"""Every number that is printed is read or named; commands, their tasks, results files and front matter end claims."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from evalkit.baselines.reading.importer import Imported, import_log
from evalkit.errors import DataError

pytestmark = pytest.mark.torch_free
HEAD = "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
TRUTHFUL = f"{HEAD}|truthfulqa_mc|1|mc1|0.3501|±|0.0167|\n|||mc2|0.5107|±|0.0153|\n"


def imported(tmp_path: Path, text: str, name: str = "Foo-7B.md") -> Imported:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return import_log(path, retrieved="2026-01-01")


def claims(found: Imported) -> set[str]:
    return {p for b in found.baselines for p in (b.protocol, *b.other_protocols.values()) if p == "nous-2023"}


def read(found: Imported) -> set[Decimal]:
    """Return all numbers of the baselines, as shares and in per cent."""
    values = [v for b in found.baselines for v in b.averages.values()]
    for baseline in found.baselines:
        for metrics in baseline.tasks.values():
            values += [v for m in metrics.values() for v in (m.value, m.stderr) if v is not None]
    return {v for value in values for v in (value, value.scaleb(2), value.scaleb(-2))}


CARDS = [
    # a column beside the known ones
    "|Task|Version|Metric|Value||Stderr|Other|\n|---|--:|---|--:|---|--:|--:|\n"
    "|truthfulqa_mc|1|mc1|0.3501|±|0.0167|0.4111|\n|||mc2|0.5107|±|0.0153|0.5222|\n",
    # an error of nobody knows which metric
    "|Task|acc|acc_norm|stderr|\n|---|---|---|---|\n|arc_easy|0.7501|0.7107|0.0091|\n|boolq|0.8501||0.0071|\n",
    # a second average
    "|Benchmark|Foo-7B|Bar-7B|\n|---|---|---|\n|GPT4All|71.21|72.22|\n|AGIEval|41.23|42.24|\n"
    "|TruthfulQA mc1|35.05|36.06|\n|TruthfulQA|45.07|46.08|\n|Average|55.11|56.12|\n"
    "|Avg w/o TQA|55.31|56.32|\n|Average|55.51|56.52|\n",
    # metrics and shots as headings
    "|Benchmark|Foo-7B|Δ|\n|---|---|---|\n|arc_easy|75.01|+3.94|\n|boolq|85.02|-1.01|\n",
    # averages in prose
    f"Overall average: 55.13\n\n## TruthfulQA\n{TRUTHFUL}\nAvg 7 tasks: 71.24\n\nMean score (all) 54.35 points\n",
    "GPT4All average is now 70.01\n\nAGIEval average: 41.23\n\nThe AGIEval score rose to 42.71, and 43.82 after that\n",
    # a row of the newer line below an older heading
    f"{HEAD}|boolq|Yaml|none|0|acc|0.7695|\n|piqa|0|acc|0.8011|±|0.0091|\n",
]


@pytest.mark.parametrize("card", CARDS)
def test_every_number_is_read_or_named_with_its_line(tmp_path: Path, card: str) -> None:
    text = f"# Foo-7B\n\n{card}"
    found = imported(tmp_path, text)
    values = read(found)
    for number, line in enumerate(text.split("\n"), 1):
        for printed in re.findall(r"(?<![\w.+-])[0-9]+\.[0-9]+", line):
            named = any(printed in note.message for note in found.notes if note.line == number)
            whole = any(re.search(r"no model|not read", note.message) for note in found.notes if note.line == number)
            headed = printed in ("0.0071", "0.0091") and "column 'stderr' not read" in str(found.notes)
            assert Decimal(printed) in values or named or whole or headed, (number, printed, found.notes)


def test_a_number_that_was_read_is_not_said_to_be_lost(tmp_path: Path) -> None:
    found = imported(tmp_path, f"# Foo-7B\n\n## TruthfulQA\n{TRUTHFUL}\nAverage: 51.07\n")
    assert found.notes == ()


def test_a_wide_row_loses_no_metric(tmp_path: Path) -> None:
    text = "|Task|Version|mc1|mc2|\n|---|---|---|---|\n|truthfulqa_mc|1|0.3501|0.5107|\n"
    (baseline,) = imported(tmp_path, text).baselines
    assert {m: v.value for m, v in baseline.tasks["truthfulqa_mc"].items()} == {
        "mc1": Decimal("0.3501"),
        "mc2": Decimal("0.5107"),
    }


def test_a_task_with_its_metric_as_heading_is_that_task(tmp_path: Path) -> None:
    text = "|Model|truthfulqa mc1|truthfulqa mc2|arc_easy acc|arc_easy acc_norm|\n|---|---|---|---|---|\n"
    text += "|Foo-7B|35.01|51.07|75.01|71.1|\n"
    found = imported(tmp_path, text)
    (baseline,) = found.baselines
    assert {task: set(metrics) for task, metrics in baseline.tasks.items()} == {
        "arc_easy": {"acc", "acc_norm"},
        "truthfulqa_mc": {"mc1", "mc2"},
    }
    assert not any("not the average" in note.message for note in found.notes)  # which is not what they were read as


@pytest.mark.parametrize("names", [("acc", "acc_norm"), ("0-shot acc", "5-shot acc")])
def test_a_metric_is_no_model(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = "".join(f"|{name}|0.7{i}01|0.8{i}07|0.6{i}09|\n" for i, name in enumerate(names))
    with pytest.raises(DataError, match="no per-task scores"):
        imported(tmp_path, f"# Foo-7B\n\n|Metric|arc_easy|boolq|piqa|\n|---|---|---|---|\n{rows}")


# --- commands ---

SHELL = (
    "!CUDA_VISIBLE_DEVICES=0 python lm-evaluation-harness/main.py \\\n    --model hf-causal \\\n"
    "    --model_args pretrained=me/Foo-7B,\\\ndtype=float16 \\\n    --tasks {},\\\nboolq \\\n    {}--batch_size 8"
)


@pytest.mark.parametrize(
    ("tasks", "more", "claimed"),
    [
        ("truthfulqa_mc", "", True),
        ("truthfulqa", "--num_fewshot 0 \\\n    ", True),
        ("piqa", "", False),
        ("gpt4all", "", False),
        ("truthfulqa_mc", "--num_fewshot 5 \\\n    ", False),
        ("truthfulqa_mc", "--apply_chat_template \\\n    ", False),
        ("truthfulqa_mc", "--limit 100 \\\n    ", False),
    ],
)
@pytest.mark.parametrize("above", [True, False])
def test_a_command_on_several_lines_is_heard_with_its_tasks(
    tmp_path: Path, tasks: str, more: str, *, claimed: bool, above: bool
) -> None:
    command = f"```bash\n{SHELL.format(tasks, more)}\n```\n"
    table = f"## TruthfulQA\n{TRUTHFUL}"
    text = "# Foo-7B\n\n" + (f"{command}\n{table}" if above else f"{table}\n{command}")
    assert bool(claims(imported(tmp_path, text))) == claimed


def test_commands_one_after_the_other_ask_for_all_of_their_tasks(tmp_path: Path) -> None:
    call = "python main.py --model hf-causal --model_args pretrained=a/Foo-7B"
    lines = "".join(f"{call} --tasks {task}\n" for task in ("boolq", "truthfulqa_mc", "piqa"))
    assert claims(imported(tmp_path, f"# Foo-7B\n\n{lines}\n{TRUTHFUL}"))
    # Each above its own table: the last has no say of the first.
    two = f"{call} --tasks truthfulqa_mc\n\n{TRUTHFUL}\n{call} --tasks piqa\n\n"
    boolq = f"{HEAD}|boolq|1|acc|0.8703|±|0.0059|\n"
    (baseline,) = imported(tmp_path, f"# Foo-7B\n\n{two}{boolq}").baselines
    assert (baseline.protocol_of("truthfulqa"), baseline.protocol_of("gpt4all")) == ("nous-2023", "unknown")


def test_an_encoder_and_decoder_is_of_no_published_table(tmp_path: Path) -> None:
    line = "{} (pretrained=me/Foo-7B), limit: None, provide_description: False, num_fewshot: 0, batch_size: 8\n"
    assert claims(imported(tmp_path, line.format("hf-causal") + TRUTHFUL))
    assert not claims(imported(tmp_path, line.format("hf-seq2seq") + TRUTHFUL))


# --- results files ---


def results(**more: Any) -> str:
    config = {"model": "hf-causal", "model_args": "pretrained=me/Foo-7B", "num_fewshot": 0} | more
    scores = {"truthfulqa_mc": {"mc1": 0.3501, "mc1_stderr": 0.0167, "mc2": 0.5107, "mc2_stderr": 0.0153}}
    found: dict[str, Any] = {"results": scores, "versions": {"truthfulqa_mc": 1}}
    return json.dumps(found | ({"config": {k: v for k, v in config.items() if v != "gone"}} if more else {}))


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        (results(limit=None), True),
        (results(), False),
        (results(model="gone"), False),
        (results(num_fewshot="gone"), False),
        (results(model_args="gone"), False),
        (results(model="hf-seq2seq"), False),
    ],
)
def test_a_results_file_says_with_what_it_was_made(tmp_path: Path, text: str, *, claimed: bool) -> None:
    assert bool(claims(imported(tmp_path, text, "results.json"))) == claimed


# --- front matter ---


@pytest.mark.parametrize(
    ("line", "claimed"),
    [
        ("datasets: [me/ultrafeedback, teknium/OpenHermes-2.5]", True),
        ("datasets: [me/mmlu-5-shot]", False),
        ("datasets: [me/eval_with_cot]", False),
        ("tags: [merge, 7b, mistral]", True),
        ("tags: [merge, 13b]", False),
        ("tags: [5-shot]", False),
        ("library_name: transformers", True),
        ("library_name: peft", False),
        ("pipeline_tag: text2text-generation", False),
        ("metrics: [accuracy, mc2]", True),
        ("metrics: [bleu]", False),
        ("base_model: me/Bar-7B", False),
    ],
)
def test_front_matter_is_of_a_closed_list(tmp_path: Path, line: str, *, claimed: bool) -> None:
    text = f"---\nlicense: mit\n{line}\n---\n# Foo-7B\n\n{TRUTHFUL}"
    assert bool(claims(imported(tmp_path, text))) == claimed
