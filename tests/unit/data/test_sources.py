"""A data set from a folder or the samples: checked, fingerprinted, never silently incomplete."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.data import DataSource, availability, load_documents, load_manifest
from evalkit.data.manifest import find_dataset
from evalkit.data.sources import _without_equal, availability_columns
from evalkit.errors import DataError
from evalkit.paths import SAMPLES
from tests.support.files import change_document, replace_line

pytestmark = pytest.mark.torch_free


def load(name: str, folder: Path) -> Any:
    return load_documents(find_dataset(name), DataSource("folder", folder))


def refusal(name: str, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(name, folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", load_manifest())
def test_a_complete_folder_is_the_published_content(name: str, data_folder: Path) -> None:
    loaded = load(name, data_folder)
    assert loaded.verdict == "published"
    described = loaded.describe()
    assert described.rows == described.expected_rows == loaded.rows
    assert described.sha256 == described.expected_sha256
    assert described.documents == len(loaded.documents) <= loaded.rows
    assert (described.source, described.location) == ("folder", str(data_folder / loaded.dataset.file))


@pytest.mark.parametrize("name", load_manifest())
def test_samples_are_labelled(name: str) -> None:
    loaded = load_documents(find_dataset(name), DataSource("samples"))
    assert loaded.verdict == "samples"
    assert loaded.location == f"built-in samples: {loaded.dataset.file}"
    assert 8 <= loaded.rows <= 16


def test_other_content_of_the_right_size_is_said_so(data_folder: Path) -> None:
    change_document(data_folder / "gpt4all/boolq/validation.jsonl", 2, {"question": "is this another question"})
    assert load("boolq", data_folder).verdict == "other"


def test_ids_do_not_count_as_content(data_folder: Path) -> None:
    change_document(data_folder / "gpt4all/boolq/validation.jsonl", 2, {"idx": 77})
    assert load("boolq", data_folder).verdict == "published"


@pytest.mark.parametrize("name", load_manifest())
def test_a_cut_file_is_refused(name: str, data_folder: Path) -> None:
    path = data_folder / find_dataset(name).file
    if path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        content["examples"].pop()
        path.write_text(json.dumps(content), encoding="utf-8")
    else:
        path.write_text(path.read_text(encoding="utf-8").strip().rpartition("\n")[0], encoding="utf-8")
    rows = find_dataset(name).rows
    assert refusal(name, data_folder).startswith(f"{path}: {rows - 1} rows, expected {rows}; the file is incomplete")


def test_too_many_rows_are_refused(data_folder: Path) -> None:
    path = data_folder / "gpt4all/piqa/validation.jsonl"
    text = path.read_text(encoding="utf-8").rstrip("\n")
    path.write_text(f"{text}\n{text.splitlines()[0]}\n", encoding="utf-8")
    assert f"{path}: 11 rows, expected 10" in refusal("piqa", data_folder)


def test_samples_in_a_folder_are_not_taken_for_the_data(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "data")
    assert "10 rows, expected 3270" in refusal("boolq", tmp_path / "data")


def test_a_missing_file_says_which(tmp_path: Path) -> None:
    path = tmp_path / "gpt4all/boolq/validation.jsonl"
    assert refusal("boolq", tmp_path).startswith(
        f"{path}: no such file; the folder given by --data must hold 'gpt4all/boolq/validation.jsonl'"
    )
    assert "legacy harness" in refusal("bigbench_snarks", tmp_path)


LINES = [name for name, entry in load_manifest().items() if entry.file.endswith(".jsonl")]
FIRST_COLUMN = {
    "gpt4all/arc_challenge/test.jsonl": "answerKey",
    "gpt4all/arc_easy/test.jsonl": "choices",
    "gpt4all/boolq/validation.jsonl": "passage",
    "gpt4all/hellaswag/validation.jsonl": "endings",
    "gpt4all/openbookqa/test.jsonl": "question_stem",
    "gpt4all/piqa/validation.jsonl": "sol2",
    "gpt4all/winogrande/validation.jsonl": "answer",
    "truthfulqa/multiple_choice/validation.jsonl": "mc2_targets",
    "humaneval/test.jsonl": "test",
}


@pytest.mark.parametrize("name", LINES)
def test_each_error_names_file_and_line(name: str, data_folder: Path) -> None:
    path = data_folder / find_dataset(name).file
    original = path.read_bytes()
    column = FIRST_COLUMN.get(find_dataset(name).file, "label")
    change_document(path, 3, {}, drop=column)
    assert refusal(name, data_folder).startswith(f"{path}:3: missing column '{column}'")
    path.write_bytes(original)
    change_document(path, 4, {column: ["of another type"]})
    assert refusal(name, data_folder).startswith(f"{path}:4: column '{column}'")
    path.write_bytes(original)
    replace_line(path, 5, '{"half": ')
    assert refusal(name, data_folder).startswith(f"{path}:5: not valid JSON")
    path.write_bytes(original.replace(b"\n", b"\n\xff", 1))
    assert refusal(name, data_folder).startswith(f"{path}:2: not UTF-8")
    path.write_bytes(b"")
    assert refusal(name, data_folder) == f"{path}: empty file"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("arc_easy", {"answerKey": "Z"}, "answerKey 'Z' is not one of"),
        ("boolq", {"label": 2}, "label 2 is not one of 0, 1"),
        ("hellaswag", {"label": "4"}, "label '4' is not one of"),
        ("piqa", {"label": -1}, "label -1 is not one of 0, 1"),
        ("winogrande", {"answer": "0"}, "answer '0' is not one of '1', '2'"),
        ("agieval_sat_math", {"label": "E"}, "label 'E' is not one of 'A', 'B', 'C', 'D'"),
    ],
)
def test_an_unknown_label_names_file_and_line(
    name: str, change: dict[str, Any], message: str, data_folder: Path
) -> None:
    path = data_folder / find_dataset(name).file
    change_document(path, 7, change)
    assert refusal(name, data_folder).startswith(f"{path}:7: {message}")


def test_a_bigbench_error_names_file_line_and_example(data_folder: Path) -> None:
    path = data_folder / "bigbench/geometric_shapes.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["examples"][1]["target"]
    path.write_text(json.dumps({"examples": content["examples"]}, indent=1), encoding="utf-8")
    line = next(n for n, text in enumerate(path.read_text().split("\n"), 1) if "M 12.00,10.00" in text) - 1
    message = refusal("bigbench_geometric_shapes", data_folder)
    assert message.startswith(f"{path}:{line}: example 2: missing column 'target'")


def test_without_a_comparison_a_bigbench_target_is_optional(data_folder: Path) -> None:
    assert all("target" not in document for document in load("bigbench_snarks", data_folder).documents)


documents = st.lists(
    st.fixed_dictionaries({"a": st.integers(0, 1)}, optional={"b": st.sampled_from([None, 0, 0.0, "0"])}), max_size=8
)


@given(documents)
def test_equal_documents_count_once(rows: list[dict[str, Any]]) -> None:
    """Oracle: compare the JSON text of each document with all kept ones."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        if all(json.dumps(row) != json.dumps(other) for other in kept):
            kept.append(row)
    assert json.dumps(_without_equal(rows)) == json.dumps(kept)


def test_availability(data_folder: Path, tmp_path: Path) -> None:
    boolq = find_dataset("boolq")
    folder = DataSource("folder", data_folder)
    assert availability(boolq, folder) == "complete"
    change_document(data_folder / boolq.file, 1, {"question": "another"})
    assert availability(boolq, folder) == "complete, but not the published content"
    replace_line(data_folder / boolq.file, 1, "{")
    assert availability(boolq, folder).startswith(f"unusable: {data_folder / boolq.file}:1: not valid JSON")
    assert availability(boolq, DataSource("folder", tmp_path)) == "missing"
    assert availability(boolq, DataSource("samples")) == "10 sample documents (not a score)"
    assert availability(boolq, DataSource("hub")) == "aps/super_glue (boolq)"
    assert availability(boolq, DataSource("openmind")) == "not known on the openMind hub"
    assert availability_columns(find_dataset("bigbench_snarks")) == (
        "not on the hub in the protocol's form",
        "not known on the openMind hub",
    )
    assert availability_columns(find_dataset("arc_easy")) == (
        "allenai/ai2_arc (ARC-Easy)",
        "ILoveDataset/ai2_arc (ARC-Easy)",
    )
