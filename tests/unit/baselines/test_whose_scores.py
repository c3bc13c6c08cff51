"""The file's name is that of scores which no other label stands above; a bare pass@1 is nobody's."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from evalkit.baselines import Baseline, import_log
from evalkit.cli import main
from evalkit.errors import DataError
from evalkit.results.reading import read_run

pytestmark = pytest.mark.torch_free
HEAD = "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
OWN = f"### GPT4All\n{HEAD}|boolq|1|acc|0.8700|±|0.0059|\n|piqa|0|acc_norm|0.8300|±|0.0088|\n\n"
TRUTHFUL = f"{HEAD}|truthfulqa_mc|1|mc1|0.3500|±|0.0167|\n|||mc2|0.5050|±|0.0155|\n"
THEIRS = {
    "average": "AGIEval: 44.12\n",
    "statement": "44.12 on AGIEval\n",
    "below its name": "AGIEval\nAverage: 44.12\n",
    "table": TRUTHFUL,
    "headed table": f"### TruthfulQA\n{TRUTHFUL}",
    "pass@1": "HumanEval pass@1: 30.5\n",
}
NAMES = [
    *("GPT-4:", "GPT4", "Mistral-7B", "**Mistral-7B**", "- Mistral-7B", "> Mistral-7B", "| Mistral-7B |", "Zephyr:"),
    *("For comparison, Mistral-7B:", "Reference: Mistral-7B", "参考: Mistral-7B", "Compare with GPT-4:"),
    *("Mistral-7B gets:", "Results of Mistral-7B:", "(OpenHermes-1)", "## Mistral-7B", "#### Mistral-7B:", "v1:"),
    *("Base model:", "Previous best:", "For reference:", "Scores of others", "Foo-7B-v1 (old):", "Original model"),
]


def card(text: str, folder: Path) -> dict[str, Baseline]:
    path = folder / "card.md"
    path.write_text(f"# Foo-7B\n\n{text}", encoding="utf-8")
    return {found.name: found for found in import_log(path, retrieved="2026-01-01").baselines}


def has_theirs(found: Baseline) -> bool:
    return "agieval" in found.averages or "truthfulqa_mc" in found.tasks or found.humaneval is not None


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize("label", NAMES)
@pytest.mark.parametrize("where", ["alone", "before", "after"])
def test_scores_below_another_label_are_not_the_files(label: str, kind: str, where: str, tmp_path: Path) -> None:
    if label.startswith("- ") and kind == "headed table" and where != "after":
        kind = "table"  # an item of a list above a heading may be one of a merge's sources
    theirs = f"{label}\n\n{THEIRS[kind]}\n"
    text = {"alone": theirs, "before": theirs + OWN, "after": OWN + theirs}[where]
    found = card(text, tmp_path)
    holders = [name for name, baseline in found.items() if has_theirs(baseline)]
    assert len(holders) == 1
    assert holders[0] not in ("card", "Foo-7B")
    heads_own = where == "before" and (kind == "headed table" or label == "## Mistral-7B")  # by the headings' levels
    if where != "alone" and not heads_own:
        (own,) = (baseline for name, baseline in found.items() if "boolq" in baseline.tasks)
        assert own.name in ("card", "Foo-7B")
        assert not has_theirs(own)


@pytest.mark.parametrize(
    "label",
    [
        *("Finetuned from model: a/Source-7B", "Teacher model: a/Source-7B", "Trained from Mistral-7B", "GPU: A100"),
        *("* model: a/Source-7B", "- a/Source-7B", "- base_model: a/Source-7B", "Merge of A-7B and B-7B:"),
        *("Evaluated with LLM AutoEval:", "Here are the results", "## Evaluation", "opt-1.3b.json", "0-shot"),
    ],
)
def test_what_names_no_other_model_leaves_the_file_its_name(label: str, tmp_path: Path) -> None:
    assert list(card(f"{label}\n\n{OWN}", tmp_path)) == ["Foo-7B"]


@pytest.mark.parametrize("label", ["Teacher:", "SOTA:", "Human:", "Vanilla", "基座模型:"])
def test_a_label_that_may_be_anybody_makes_no_claim(label: str, tmp_path: Path) -> None:
    for theirs in THEIRS.values():
        for name, found in card(f"{label}\n\n{theirs}\n{OWN}", tmp_path).items():
            for suite in ("agieval", "truthfulqa", "humaneval"):
                if name in ("card", "Foo-7B") and has_theirs(found):
                    assert found.protocol_of(suite) != "nous-2023" or suite not in {
                        *found.averages,
                        *(["truthfulqa"] if "truthfulqa_mc" in found.tasks else []),
                        *(["humaneval"] if found.humaneval is not None else []),
                    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("## HumanEval of GPT-4\npass@1: 67.0\n", "GPT-4"),
        ("### AGIEval (Mistral-7B)\nAverage: 44.12\n", "Mistral-7B"),
        ("AGIEval results of Mistral-7B:\n\nAverage: 44.12\n", "Mistral-7B"),
        (f"## TruthfulQA of GPT-4\n{TRUTHFUL}", "GPT-4"),
    ],
)
def test_a_suites_heading_that_names_a_model(text: str, name: str, tmp_path: Path) -> None:
    assert list(card(text, tmp_path)) == [name]
    found = card(OWN + text, tmp_path)
    assert [own for own, baseline in found.items() if has_theirs(baseline)] == [name]
    for own in ("### TruthfulQA-MC2", "### TruthfulQA (mc2)", "### TruthfulQA 0-shot", "## TruthfulQA v1.1"):
        assert list(card(f"{own}\n{TRUTHFUL}", tmp_path)) == ["Foo-7B"]


def test_one_label_heads_all_that_stands_below_it(tmp_path: Path) -> None:
    found = card(f"## Evaluation\n\nBar-7B\n\n{OWN}### TruthfulQA\n{TRUTHFUL}\n## Citation\n", tmp_path)
    assert {name: set(b.tasks) for name, b in found.items()} == {"Bar-7B": {"boolq", "piqa", "truthfulqa_mc"}}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "pass@1: 45.0",
            "GPT-4:\npass@1: 67.0",
            "AIME24 results:\n\npass@1: 45.0",
            "### HumanEval-X (C++)\npass@1: 45.0",
        ),
        *("Base\n{'pass@1': 0.585}\nBase + Extra\n{'pass@1': 0.524}", "### MBPP\n\npass@1: 45.0"),
        *("HumanEval+\npass@1: 45.0", "HumanEval results\n\n## LiveCodeBench\npass@1: 45.0"),
    ],
)
def test_a_bare_pass_at_1_is_of_what_nobody_knows(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line [0-9]+: .*pass@1"):
        card(text, tmp_path)
    assert all(found.humaneval is None for found in card(f"{text}\n\n{OWN}", tmp_path).values())


def test_pass_at_1_below_humaneval(tmp_path: Path) -> None:
    assert all(b.humaneval is None for b in card(f"{OWN}GPT-4 on HumanEval:\npass@1: 67.0\n", tmp_path).values())
    for text in ("HumanEval\npass@1: 45.0\n", "Glaive ran HumanEval, the score is:\n45.0% @ Pass1\n"):
        (found,) = card(text, tmp_path).values()
        assert found.humaneval is not None
        assert str(found.humaneval.percent) == "45.0"


def test_model_line_of_another_benchmarks_log_names_nothing(tmp_path: Path) -> None:
    text = f"## EQ Bench\n\nModel: a/Foo-7B-GGUF\nScore (v2): 72.76\n\n## TruthfulQA\n{TRUTHFUL}"
    assert list(card(text, tmp_path)) == ["Foo-7B"]
    assert list(card(f"## Benchmarks\n\nModel: a/Foo-7B-GGUF\n\n### TruthfulQA\n{TRUTHFUL}", tmp_path)) == [
        "a/Foo-7B-GGUF"
    ]


def test_shots_of_one_table_are_not_those_of_the_table_above(tmp_path: Path) -> None:
    text = f"## GPT4All\n\n{HEAD}|boolq|1|acc|0.8700|±|0.0059|\n\n1-shot\n\n{HEAD}|piqa|0|acc|0.8210|±|0.0089|\n"
    (found,) = card(text, tmp_path).values()
    assert (found.tasks["boolq"]["acc"].shots, found.tasks["piqa"]["acc"].shots) == (None, 1)
    assert found.protocol == "lm-eval-0.3, 0/1-shot"


@pytest.mark.parametrize("label", ["GPT4All (7)", "GPT4All (7 tasks)", "GPT4All (7 subtasks):"])
def test_a_suites_number_of_tasks_says_nothing(label: str, tmp_path: Path) -> None:
    (found,) = card(f"## {label}\n\nAverage: 70.12\n", tmp_path).values()
    assert (str(found.averages["gpt4all"]), found.protocol) == ("70.12", "nous-2023")
    (other,) = card(f"## {label.replace('7', '5')}\n\nAverage: 70.12\n", tmp_path).values()
    assert other.protocol == "unknown"


@pytest.mark.parametrize(
    "text",
    [
        *("The chat template was applied in all evaluations.", "Evaluations were run with lm-eval v0.4.2."),
        *("The scores below are those of the base model.", "All results are from the unquantized model."),
        *("Evaluated on a random 10% subset of each benchmark.", "Translated data were used for benchmarking."),
    ],
)
def test_far_text_that_speaks_of_all_scores(text: str, tmp_path: Path) -> None:
    (found,) = card(f"{text}\n\nText.\n\n## Training\n\nText.\n\n{OWN}", tmp_path).values()
    assert found.protocol == "unknown"


@pytest.mark.parametrize(
    "text",
    [
        "Also check out the alternative leaderboard at Yet_Another_LLM_Leaderboard",
        "Evaluations done using mlabonne's useful Colab notebook llm-autoeval.",
        "It also performs very well compared to other models on Nous benchmark suite. It's almost as good as the best"
        " Yi-34B fine-tune, which is a much bigger model: 24.2B parameters + only two experts are selected during"
        " inference (so ~12B) vs. 34B param.",
    ],
)
def test_what_cards_of_mergers_say_is_not_read_either(text: str, tmp_path: Path) -> None:
    table = (
        "|Model|AGIEval|GPT4All|TruthfulQA|Bigbench|Average|\n|---|--:|--:|--:|--:|--:|\n"
        "|Bar-7B|45.29|75.95|60.86|46.4|57.13|\n"
    )
    assert card(f"{text}\n\n{table}", tmp_path)["Bar-7B"].protocol == "unknown"


def test_the_words_of_a_sentence_are_nobodys_name(tmp_path: Path) -> None:
    """A merger's card, whose leaderboard rows follow a program's output: both tables are the card's model's."""
    other = TRUTHFUL.replace("0.5050", "0.6354").replace("0.3500", "0.3699")
    text = (
        "I also evaluated it using Nous' benchmark suite and obtained the following results:\n\n"
        f"### TruthfulQA\n{TRUTHFUL}\n## Usage\n\n"
        f"> A large language model is a type of artificial intelligence.\n\n{other}"
    )
    found = card(text, tmp_path)
    assert found["Foo-7B"].tasks["truthfulqa_mc"]["mc2"].value == Decimal("0.5050")
    assert not [name for name in found if "language" in name or name == "I"]


def test_a_suites_benchmark_set_is_no_model(tmp_path: Path) -> None:
    text = f"AGI-Eval\n\n{HEAD}|agieval_aqua_rat|0|acc|0.2362|±|0.0267|\n\nGPT-4All Benchmark Set\n\n{OWN[12:]}"
    (found,) = card(text, tmp_path).values()
    assert {"agieval_aqua_rat", "boolq", "piqa"} <= set(found.tasks)


def test_pictures_behind_a_name_are_no_part_of_it(tmp_path: Path) -> None:
    text = (
        "| Model | Average | AGIEval | GPT4All | TruthfulQA | Bigbench |\n|---|--:|--:|--:|--:|--:|\n"
        "| [a/Foo-8B](https://x.y) [📄](https://x.z) 🥇 | 55.87 | 44.13 | 73.52 | 59.05 | 46.77 |\n"
        "| [**a/Bar-8B**](https://x.y) [📄](https://x.z) | **55.06** | **43.29** | 73.33 | 57.47 | 46.17 |\n"
    )
    assert set(card(text, tmp_path)) == {"a/Foo-8B", "a/Bar-8B"}


def test_evalkits_own_report_is_of_one_model(tmp_path: Path) -> None:
    """Its head has a line for each fact ("Duration: 51 s"), its tables others for what was not run: no names."""
    golden = Path(__file__).parents[2] / "golden" / "runs" / "tiny-samples"
    shown = CliRunner().invoke(main, ["report", str(golden)])
    assert "- Versions: evalkit" in shown.output
    path = tmp_path / "mine.md"
    path.write_text(shown.output, encoding="utf-8")
    (found,) = import_log(path, retrieved="2026-01-01").baselines
    assert (found.name, set(found.tasks)) == ("tiny", set(read_run(golden).metrics))
