"""The built-in samples have the shape of the real data sets, right answers in valid places, and texts of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLES = REPOSITORY / "evalkit" / "samples"
REAL = Path(os.environ.get("EVALKIT_SHARED", REPOSITORY.parent / "shared")) / "data"

needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"the reference data is not at {REAL}")

CHOICES = "{text: list[str], label: list[str]}"
TARGETS = "{choices: list[str], labels: list[int]}"
SCORES = "dict[str, int]"
AGIEVAL = {"question": "str", "options": "list[str]", "label": "str"}
INPUT = {"input": "str", "target_scores": SCORES}

# file -> column -> type, as `type_of` spells it.
JSON_LINES: dict[str, dict[str, str]] = {
    "gpt4all/arc_challenge/test.jsonl": {"id": "str", "question": "str", "choices": CHOICES, "answerKey": "str"},
    "gpt4all/arc_easy/test.jsonl": {"id": "str", "question": "str", "choices": CHOICES, "answerKey": "str"},
    "gpt4all/boolq/validation.jsonl": {"question": "str", "passage": "str", "idx": "int", "label": "int"},
    "gpt4all/hellaswag/validation.jsonl": {
        "ind": "int",
        "activity_label": "str",
        "ctx_a": "str",
        "ctx_b": "str",
        "ctx": "str",
        "endings": "list[str]",
        "split": "str",
        "label": "str",
    },
    "gpt4all/openbookqa/test.jsonl": {"id": "str", "question_stem": "str", "choices": CHOICES, "answerKey": "str"},
    "gpt4all/piqa/validation.jsonl": {"goal": "str", "sol1": "str", "sol2": "str", "label": "int"},
    "gpt4all/winogrande/validation.jsonl": {"sentence": "str", "option1": "str", "option2": "str", "answer": "str"},
    "agieval/aqua-rat/test.jsonl": {"passage": "null", **AGIEVAL},
    "agieval/logiqa-en/test.jsonl": {"passage": "str", **AGIEVAL},
    "agieval/lsat-ar/test.jsonl": {"passage": "str", **AGIEVAL},
    "agieval/lsat-lr/test.jsonl": {"passage": "str", **AGIEVAL},
    "agieval/lsat-rc/test.jsonl": {"passage": "str", **AGIEVAL},
    "agieval/sat-en/test.jsonl": {"passage": "str", **AGIEVAL},
    "agieval/sat-en-without-passage/test.jsonl": {"passage": "null", **AGIEVAL},
    "agieval/sat-math/test.jsonl": {"passage": "str", **AGIEVAL},
    "truthfulqa/multiple_choice/validation.jsonl": {"question": "str", "mc1_targets": TARGETS, "mc2_targets": TARGETS},
    "humaneval/test.jsonl": {
        "task_id": "str",
        "prompt": "str",
        "entry_point": "str",
        "canonical_solution": "str",
        "test": "str",
    },
}
BIGBENCH: dict[str, dict[str, str]] = {
    "bigbench/causal_judgement.json": {**INPUT, "comment": "str"},
    "bigbench/date_understanding.json": INPUT,
    "bigbench/disambiguation_qa.json": {"_id": "str", **INPUT},
    "bigbench/geometric_shapes.json": {**INPUT, "target": "str"},
    "bigbench/logical_deduction_five_objects.json": INPUT,
    "bigbench/logical_deduction_seven_objects.json": INPUT,
    "bigbench/logical_deduction_three_objects.json": INPUT,
    "bigbench/movie_recommendation.json": INPUT,
    "bigbench/navigate.json": {**INPUT, "inst_type": "str", "n_sentences": "int"},
    "bigbench/reasoning_about_colored_objects.json": {**INPUT, "comment": "str"},
    "bigbench/ruin_names.json": INPUT,
    "bigbench/salient_translation_error_detection.json": INPUT,
    "bigbench/snarks.json": INPUT,
    "bigbench/sports_understanding.json": INPUT,
    "bigbench/temporal_sequences.json": {**INPUT, "target": "str"},
    "bigbench/tracking_shuffled_objects_five_objects.json": INPUT,
    "bigbench/tracking_shuffled_objects_seven_objects.json": INPUT,
    "bigbench/tracking_shuffled_objects_three_objects.json": INPUT,
}
FILES = {**JSON_LINES, **BIGBENCH}

# Fields of a BigBench file that are neither documents nor format: the samples leave them out, or write their own.
NOT_FORMAT = {"canary", "contributors", "description", "examples", "keywords"}


def documents(root: Path, file: str) -> list[dict[str, Any]]:
    """Every document of `file` under `root`, in order."""
    text = (root / file).read_text(encoding="utf-8")
    if file.endswith(".json"):
        return list(json.loads(text)["examples"])
    return [json.loads(line) for line in text.splitlines()]


def type_of(value: Any, column: str = "") -> str:
    """The JSON type of a value; `target_scores` is a mapping, other objects are records with fixed fields."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"list[{', '.join(sorted({type_of(item) for item in value}))}]"
    if isinstance(value, dict) and column == "target_scores":
        return f"dict[str, {', '.join(sorted({type_of(item) for item in value.values()}))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {type_of(item)}" for key, item in value.items()) + "}"
    return type(value).__name__


def columns(document: dict[str, Any]) -> dict[str, str]:
    return {column: type_of(value, column) for column, value in document.items()}


def choices_and_answers(file: str, document: dict[str, Any]) -> tuple[list[str], set[int]]:
    """A document's choices and the positions of the right ones. ValueError where a label names no choice."""
    if "target_scores" in document:
        scores = document["target_scores"]
        return list(scores), {i for i, score in enumerate(scores.values()) if score == 1}
    if "choices" in document:
        return document["choices"]["text"], {document["choices"]["label"].index(document["answerKey"])}
    if file.startswith("agieval/"):
        return document["options"], {"ABCDE"[: len(document["options"])].index(document["label"])}
    if "endings" in document:
        return document["endings"], {list("0123").index(document["label"])}
    if "option1" in document:
        return [document["option1"], document["option2"]], {["1", "2"].index(document["answer"])}
    if "sol1" in document:
        return [document["sol1"], document["sol2"]], {[0, 1].index(document["label"])}
    if "idx" in document:
        return ["no", "yes"], {[0, 1].index(document["label"])}
    return document["mc1_targets"]["choices"], {i for i, x in enumerate(document["mc1_targets"]["labels"]) if x == 1}


def strings(value: Any) -> Iterator[str]:
    """All texts in a document, keys of `target_scores` included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)


def plain(text: str) -> str:
    """Lower case, single spaces: a copy with other spacing is still a copy."""
    return " ".join(text.lower().split())


def test_the_folder_holds_these_files_and_no_others() -> None:
    found = {path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*") if path.is_file()}
    assert found == {*FILES, "README.md"}


@pytest.mark.parametrize("file", FILES)
def test_every_document_has_the_declared_columns_and_types(file: str) -> None:
    for document in documents(SAMPLES, file):
        assert columns(document) == FILES[file]


@pytest.mark.parametrize("file", FILES)
def test_a_task_has_8_to_16_documents_in_a_small_file(file: str) -> None:
    assert 8 <= len(documents(SAMPLES, file)) <= 16
    assert (SAMPLES / file).stat().st_size < 8192


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("humaneval/")])
def test_choices_differ_and_right_answers_spread_over_the_positions(file: str) -> None:
    positions: Counter[int] = Counter()
    for document in documents(SAMPLES, file):
        choices, answers = choices_and_answers(file, document)
        assert len(set(choices)) == len(choices) >= 2
        assert answers
        assert len(answers) < len(choices)
        positions.update(answers)
    if file.startswith("truthfulqa/"):  # the best answer stands first by definition of mc1
        assert set(positions) == {0}
    else:
        assert max(positions.values()) <= 0.6 * positions.total()


def test_arc_has_three_four_and_five_choices_and_numeric_labels() -> None:
    labels = {
        tuple(document["choices"]["label"]) for document in documents(SAMPLES, "gpt4all/arc_challenge/test.jsonl")
    }
    assert labels == {tuple("ABC"), tuple("ABCD"), tuple("ABCDE"), tuple("1234")}


def test_hellaswag_has_marks_and_double_spaces_to_clean() -> None:
    rows = documents(SAMPLES, "gpt4all/hellaswag/validation.jsonl")
    for row in rows:
        assert row["ctx"] == f"{row['ctx_a']} {row['ctx_b']}".strip()
    everything = " ".join(text for row in rows for text in [row["ctx"], *row["endings"]])
    for mark in ("[header]", " [title]", "[step]", "[substeps]"):
        assert mark in everything
    assert any("  " in row["ctx"] for row in rows)
    assert any("  " in ending for row in rows for ending in row["endings"])


def test_winogrande_has_one_gap_in_each_sentence() -> None:
    for row in documents(SAMPLES, "gpt4all/winogrande/validation.jsonl"):
        assert row["sentence"].count("_") == 1


def test_agieval_options_carry_their_letters_and_passages_are_shared() -> None:
    sizes = set()
    for file in [file for file in FILES if file.startswith("agieval/")]:
        for row in documents(SAMPLES, file):
            sizes.add(len(row["options"]))
            assert [option[:3] for option in row["options"]] == [f"({c})" for c in "ABCDE"[: len(row["options"])]]
    assert sizes == {4, 5}
    for task in ("lsat-ar", "lsat-rc", "sat-en"):
        passages = Counter(row["passage"] for row in documents(SAMPLES, f"agieval/{task}/test.jsonl"))
        assert min(passages.values()) > 1
    math_passages = {row["passage"] for row in documents(SAMPLES, "agieval/sat-math/test.jsonl")}
    assert "" in math_passages
    assert len(math_passages) > 1


def test_sat_without_passage_asks_the_questions_of_sat() -> None:
    with_passage = documents(SAMPLES, "agieval/sat-en/test.jsonl")
    without = documents(SAMPLES, "agieval/sat-en-without-passage/test.jsonl")
    assert [{**row, "passage": None} for row in with_passage] == without


def test_truthfulqa_lists_the_best_answer_first_and_may_mix_true_and_false() -> None:
    mixed = 0
    true_answers = set()
    for row in documents(SAMPLES, "truthfulqa/multiple_choice/validation.jsonl"):
        mc1, mc2 = row["mc1_targets"], row["mc2_targets"]
        assert mc1["labels"] == [1] + [0] * (len(mc1["choices"]) - 1)
        assert len(mc2["labels"]) == len(mc2["choices"]) == len(set(mc2["choices"]))
        assert set(mc2["labels"]) == {0, 1}
        assert mc2["labels"][0] == 1
        assert mc2["choices"][0] == mc1["choices"][0]
        assert set(mc1["choices"]) <= set(mc2["choices"])
        mixed += mc2["labels"] != sorted(mc2["labels"], reverse=True)
        true_answers.add(sum(mc2["labels"]))
    assert mixed == 1
    assert {1, 2, 3, 5} <= true_answers


def test_bigbench_repeats_a_document_only_where_the_real_data_does() -> None:
    repeated = {}
    for file in BIGBENCH:
        rows = [json.dumps(row, sort_keys=True) for row in documents(SAMPLES, file)]
        if len(set(rows)) != len(rows):
            repeated[file] = len(rows) - len(set(rows))
    assert repeated == {"bigbench/geometric_shapes.json": 1, "bigbench/sports_understanding.json": 1}


def test_the_two_three_object_files_hold_the_same_documents() -> None:
    assert documents(SAMPLES, "bigbench/tracking_shuffled_objects_three_objects.json") == documents(
        SAMPLES, "bigbench/logical_deduction_three_objects.json"
    )


@pytest.mark.parametrize("file", BIGBENCH)
def test_bigbench_scores_are_0_or_1_and_targets_are_right_answers(file: str) -> None:
    for row in documents(SAMPLES, file):
        assert set(row["target_scores"].values()) == {0, 1}
        if "target" in row:
            assert row["target_scores"][row["target"]] == 1


@pytest.mark.parametrize(
    ("file", "right_answers"),
    [
        ("bigbench/geometric_shapes.json", {1, 2}),
        ("bigbench/reasoning_about_colored_objects.json", {1, 2}),
        ("bigbench/navigate.json", {1}),
    ],
)
def test_several_right_answers_occur_where_the_real_data_has_them(file: str, right_answers: set[int]) -> None:
    assert {sum(row["target_scores"].values()) for row in documents(SAMPLES, file)} == right_answers


@pytest.mark.parametrize("suite", ["gpt4all/", "agieval/", "bigbench/", "truthfulqa/", "humaneval/"])
def test_every_suite_has_text_beyond_ascii(suite: str) -> None:
    texts = [
        text for file in FILES if file.startswith(suite) for row in documents(SAMPLES, file) for text in strings(row)
    ]
    assert not all(text.isascii() for text in texts)


def humaneval_program(row: dict[str, Any], completion: str) -> str:
    return f"{row['prompt']}{completion}\n{row['test']}\ncheck({row['entry_point']})\n"


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "program.py"  # a file, since source files are UTF-8 in every locale and arguments are not
    path.write_text(program, encoding="utf-8")
    return subprocess.run([sys.executable, "-I", str(path)], capture_output=True, text=True)


@pytest.mark.parametrize("row", documents(SAMPLES, "humaneval/test.jsonl"), ids=lambda row: row["task_id"])
def test_humaneval_solutions_pass_and_an_empty_function_fails(row: dict[str, Any], tmp_path: Path) -> None:
    passed = run(humaneval_program(row, row["canonical_solution"]), tmp_path)
    assert passed.returncode == 0, passed.stderr
    failed = run(humaneval_program(row, "    return None\n"), tmp_path)
    assert failed.returncode == 1
    assert "AssertionError" in failed.stderr


def test_humaneval_tasks_are_numbered() -> None:
    rows = documents(SAMPLES, "humaneval/test.jsonl")
    assert [row["task_id"] for row in rows] == [f"Sample/{i}" for i in range(len(rows))]


@needs_real_data
@pytest.mark.parametrize("file", FILES)
def test_columns_and_types_are_those_of_the_real_data(file: str) -> None:
    for document in documents(REAL, file):
        assert columns(document) == FILES[file]


@needs_real_data
@pytest.mark.parametrize("file", BIGBENCH)
def test_format_fields_are_those_of_the_real_task(file: str) -> None:
    sample, real = (json.loads((root / file).read_text(encoding="utf-8")) for root in (SAMPLES, REAL))
    assert {k: v for k, v in sample.items() if k not in NOT_FORMAT} == {
        k: v for k, v in real.items() if k not in NOT_FORMAT
    }


@needs_real_data
@pytest.mark.parametrize("file", FILES)
def test_no_sample_text_occurs_in_the_real_data(file: str) -> None:
    real_texts = "\n".join(plain(text) for document in documents(REAL, file) for text in strings(document))
    copied = []
    for document in documents(SAMPLES, file):
        # Column names, labels and short answers ("two", "neither_color") are shared by nature; sentences are not.
        copied += [text for text in strings(document) if len(text.split()) >= 5 and plain(text) in real_texts]
    assert copied == []
