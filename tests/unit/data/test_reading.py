"""Files become documents, or one line that names the file and the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.data.reading import BIGBENCH_DEFAULTS, read_bigbench, read_jsonl
from evalkit.errors import DataError

pytestmark = pytest.mark.torch_free

EXAMPLE = {"input": "i", "target_scores": {"a": 1, "b": 0}}


def written(folder: Path, content: str | bytes, name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def refusal(read: object, path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)  # type: ignore[operator]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_documents_come_with_file_and_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 1}\n{"a": 2}\n')
    assert read_jsonl(path) == [(f"{path}:1", {"a": 1}), (f"{path}:2", {"a": 2})]


@pytest.mark.parametrize("content", ['{"a": 1}', '{"a": 1}\n\n\n', '{"a": 1}\r\n\r\n', '\ufeff{"a": 1}\n'])
def test_line_ends_at_the_end_and_a_byte_order_mark_do_not_matter(tmp_path: Path, content: str) -> None:
    assert [document for _, document in read_jsonl(written(tmp_path, content))] == [{"a": 1}]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\x85d\x0be"
    path = written(tmp_path, json.dumps({"a": text}, ensure_ascii=False).replace("\\u000b", "\x0b") + "\n{}")
    # A vertical tab is a control character, which JSON does not allow inside strings; the others are text.
    assert "not valid JSON (Invalid control character" in refusal(read_jsonl, path)
    text = text.replace("\x0b", "")
    path = written(tmp_path, json.dumps({"a": text}, ensure_ascii=False) + "\n{}")
    assert [document for _, document in read_jsonl(path)] == [{"a": text}, {}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": empty file"),
        (" \n\n", ": empty file"),
        ("\ufeff", ": empty file"),
        ('{"a": 1}\n\n{"a": 2}\n', ":2: empty line"),
        ('{"a": 1}\n{"a": 2\n', ":2: not valid JSON (Expecting ',' delimiter, column 8)"),
        ('{"a": 1}\n[1]\n', ":2: a list, expected a JSON object"),
        ('{"a": 1}\n3\n', ":2: a int, expected a JSON object"),
        ('{"a": NaN}\n', ":1: not valid JSON (NaN is not allowed in JSON)"),
        ('{}\n{"a": -Infinity}\n', ":2: not valid JSON (-Infinity is not allowed in JSON)"),
        ('{}\n{"a": "\\ud83d"}\n', ":2: '\\ud83d' is half a character (a lone surrogate)"),
        ('{}\n{"\\udc00": 1}\n', ":2: '\\udc00' is half a character (a lone surrogate)"),
        ("{}\n" + '{"a":' * 100_000 + "\n", ":2: not usable JSON (nested too deeply)"),
        (b'{"a": "ok"}\n{"a": "caf\xe9"}\n', ":2: not UTF-8 (byte 0xe9); convert the file to UTF-8 first"),
        ('{"a": "b"}\n'.encode("utf-16"), ":1: not UTF-8 (byte 0xff); convert the file to UTF-8 first"),
    ],
)
def test_a_fault_names_file_and_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = written(tmp_path, content)
    assert refusal(read_jsonl, path) == f"{path}{message}"


def test_a_number_of_thousands_of_digits(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": ' + "9" * 5000 + "}")
    assert refusal(read_jsonl, path).startswith(f"{path}:1: not valid JSON (")


def test_an_escaped_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": "\\ud83d\\ude42"}')
    assert read_jsonl(path) == [(f"{path}:1", {"a": "🙂"})]


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    written(tmp_path, "{}", "validation.jsonl")
    path = tmp_path / "validaton.jsonl"
    assert refusal(read_jsonl, path) == f"{path}: no such file; did you mean 'validation.jsonl'?"
    assert refusal(read_jsonl, tmp_path / "no" / "x.jsonl") == f"{tmp_path / 'no' / 'x.jsonl'}: no such file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refusal(read_jsonl, tmp_path) == f"{tmp_path}: cannot be read (Is a directory)"


def bigbench(folder: Path, **content: object) -> Path:
    return written(folder, json.dumps(content), "task.json")


def test_bigbench_rules_have_defaults(tmp_path: Path) -> None:
    path = bigbench(tmp_path, name="x", examples=[EXAMPLE])
    assert read_bigbench(path) == [(f"{path}:1: example 1", {**EXAMPLE, "format": BIGBENCH_DEFAULTS})]
    assert BIGBENCH_DEFAULTS == {
        "task_prefix": "",
        "example_input_prefix": "\nQ: ",
        "example_output_prefix": "\nA: ",
        "choice_prefix": "\n  choice: ",
        "append_choices_to_input": True,
    }


def test_bigbench_rules_of_the_file_win(tmp_path: Path) -> None:
    rules = {
        "task_prefix": "p",
        "example_input_prefix": "",
        "example_output_prefix": "o",
        "choice_prefix": "\n- ",
        "append_choices_to_input": False,
    }
    path = bigbench(tmp_path, **rules, examples=[EXAMPLE])
    assert read_bigbench(path)[0][1]["format"] == rules


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": empty file"),
        ('{"examples": [\n{"input": }]}', ":2: not valid JSON (Expecting value, column 11)"),
        ("[]", ": not a BIG-bench JSON task (no list 'examples')"),
        ('{"examples": {}}', ": not a BIG-bench JSON task (no list 'examples')"),
        ('{"examples": []}', ": 'examples' is empty"),
        ('{"examples": [{}], "task_prefix": 3}', ": 'task_prefix' is int, expected str"),
        ('{"examples": [{}], "append_choices_to_input": "yes"}', ": 'append_choices_to_input' is str, expected bool"),
        ('{"examples": [\n{},\n\n7]}', ":4: example 2: a int, expected a JSON object"),
        ('{"examples": [{"target_scores": {"a": NaN}}]}', ":1: not valid JSON (NaN is not allowed in JSON)"),
    ],
)
def test_a_fault_of_a_bigbench_file_names_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = written(tmp_path, content, "task.json")
    assert refusal(read_bigbench, path) == f"{path}{message}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=8,
)


@given(
    before=st.dictionaries(st.sampled_from(["a", "b{", 'c"examples": [']), json_values, max_size=3),
    examples=st.lists(st.dictionaries(st.sampled_from(["input", "}", "\n"]), json_values), min_size=1, max_size=5),
    after=st.dictionaries(st.sampled_from(["z", "examples2"]), json_values, max_size=2),
    indent=st.sampled_from([None, 0, 2]),
)
def test_lines_of_bigbench_examples(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[str, object],
    examples: list[dict[str, object]],
    after: dict[str, object],
    indent: int | None,
) -> None:
    """Oracle: mark each example, write the file, and look for the mark's line."""
    marked = [{"mark": f"EXAMPLE-{number}", **example} for number, example in enumerate(examples)]
    text = json.dumps({**before, "examples": marked, **after}, indent=indent)
    path = written(tmp_path_factory.mktemp("lines"), text, "task.json")
    lines = text.split("\n")
    expected = [next(n for n, line in enumerate(lines, 1) if f"EXAMPLE-{i}" in line) for i in range(len(examples))]
    if indent is not None:  # the object opens on the line before its first key
        expected = [line - 1 for line in expected]
    found = [int(where.removeprefix(f"{path}:").split(":")[0]) for where, _ in read_bigbench(path)]
    assert found == expected
