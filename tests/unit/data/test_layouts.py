"""Every kind of document: what it may hold, what its content hash is made of, which documents belong together."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from evalkit.data.layouts import LAYOUTS, cluster_key, content_sha256, normal
from evalkit.data.reading import BIGBENCH_DEFAULTS

pytestmark = pytest.mark.torch_free

GOOD: dict[str, dict[str, Any]] = {
    "arc": {"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"},
    "openbookqa": {"question_stem": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "A"},
    "boolq": {"passage": "p", "question": "q", "label": 1},
    "hellaswag": {"activity_label": "a", "ctx_a": "b", "ctx_b": "", "endings": ["x", "y", "z"], "label": "2"},
    "piqa": {"goal": "g", "sol1": "x", "sol2": "y", "label": 0},
    "winogrande": {"sentence": "a _ b", "option1": "x", "option2": "y", "answer": "2"},
    "agieval": {"passage": None, "question": "q", "options": ["(A)x", "(B)y", "(C)z"], "label": "C"},
    "bigbench": {"input": "i", "target_scores": {"x": 0, "y": 0.5}, "format": BIGBENCH_DEFAULTS},
    "bigbench_generation": {
        "input": "i",
        "target_scores": {"x": 0, "y": 1},
        "target": "y",
        "format": BIGBENCH_DEFAULTS,
    },
    "truthfulqa": {
        "question": "q",
        "mc1_targets": {"choices": ["x", "y"], "labels": [1, 0]},
        "mc2_targets": {"choices": ["x", "y", "z"], "labels": [1, 0, 1]},
    },
    "humaneval": {"task_id": "t", "prompt": "def f():", "test": "def check(f): pass", "entry_point": "f"},
}
NORMAL: dict[str, list[Any]] = {
    "arc": ["q", ["x", "y"], 1],
    "openbookqa": ["q", ["x", "y"], 0],
    "boolq": ["p", "q", 1],
    "hellaswag": ["a", "b", "", ["x", "y", "z"], 2],
    "piqa": ["g", "x", "y", 0],
    "winogrande": ["a _ b", "x", "y", 2],
    "agieval": ["", "q", ["(A)x", "(B)y", "(C)z"], 2],
    "bigbench": ["i", [["x", 0], ["y", 0.5]], None, BIGBENCH_DEFAULTS],
    "bigbench_generation": ["i", [["x", 0], ["y", 1]], "y", BIGBENCH_DEFAULTS],
    "truthfulqa": ["q", [["x", "y"], [1, 0]], [["x", "y", "z"], [1, 0, 1]]],
    "humaneval": ["t", "def f():", "def check(f): pass", "f"],
}
RENDERED = {"query": "Q: q", "choices": ["(A)x", "(B)y"], "gold": [1]}


def test_every_layout_has_an_example_here() -> None:
    assert set(GOOD) == set(NORMAL) == set(LAYOUTS)


@pytest.mark.parametrize("layout", GOOD)
def test_normalised_content(layout: str) -> None:
    assert normal(layout, GOOD[layout]) == NORMAL[layout]
    assert normal(layout, {"id": "of no weight", **GOOD[layout]}) == NORMAL[layout]


def test_labels_may_be_spelled_otherwise() -> None:
    digits = {**GOOD["arc"], "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
    assert normal("arc", digits) == NORMAL["arc"]


def test_the_hubs_rendered_form_of_agieval() -> None:
    assert normal("agieval", RENDERED) == ["Q: q", ["(A)x", "(B)y"], [1]]


COLUMNS = [(layout, column) for layout, doc in GOOD.items() for column in doc]


@pytest.mark.parametrize(("layout", "column"), COLUMNS)
def test_a_missing_column_is_named(layout: str, column: str) -> None:
    doc = {key: value for key, value in GOOD[layout].items() if key != column}
    with pytest.raises(ValueError, match=f"^missing column '{column}'.* \\(found: "):
        normal(layout, doc)


@pytest.mark.parametrize(("layout", "column"), COLUMNS)
@pytest.mark.parametrize("value", [3.5, True, [[]], b""], ids=repr)
def test_a_column_of_another_type_is_named(layout: str, column: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"'{column}'|{column} "):
        normal(layout, {**GOOD[layout], column: value})


def test_a_misspelled_column_gets_a_hint() -> None:
    doc = {"pasage": "p", "question": "q", "label": 1}
    with pytest.raises(
        ValueError, match=r"missing column 'passage'; did you mean 'pasage'\? \(found: pasage, question"
    ):
        normal("boolq", doc)


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("arc", {"answerKey": "C"}, "answerKey 'C' is not one of 'A', 'B'"),
        ("arc", {"answerKey": ""}, "answerKey '' is not one of 'A', 'B'"),
        ("arc", {"choices": {"text": ["x"], "label": ["A", "B"]}}, "column 'choices': 'text' has 1 entries"),
        ("arc", {"choices": {"text": ["x", "y", "z"], "label": ["A", "B"]}}, "has 3 texts and 2 labels"),
        ("arc", {"choices": {"text": ["x", ""], "label": ["A", "B"]}}, "column 'choices': 'text' has an empty entry"),
        ("arc", {"choices": {"text": ["x", 2], "label": ["A", "B"]}}, "'text' is not a list of strings"),
        ("arc", {"choices": {"label": ["A", "B"]}}, "'text' is not a list of strings"),
        ("openbookqa", {"answerKey": "E"}, "answerKey 'E' is not one of 'A', 'B'"),
        ("boolq", {"label": 2}, "label 2 is not one of 0, 1"),
        ("boolq", {"label": -1}, "label -1 is not one of 0, 1"),
        ("hellaswag", {"label": "3"}, "label '3' is not one of '0', '1', '2'"),
        ("hellaswag", {"label": ""}, "label '' is not one of"),
        ("hellaswag", {"label": 2}, "column 'label' is int, expected str"),
        ("piqa", {"label": -1}, "label -1 is not one of 0, 1"),
        ("winogrande", {"answer": "3"}, "answer '3' is not one of '1', '2'"),
        ("winogrande", {"answer": ""}, "answer '' is not one of '1', '2'"),
        ("winogrande", {"sentence": "no gap"}, "column 'sentence' has no '_' to fill in"),
        ("agieval", {"label": "D"}, "label 'D' is not one of 'A', 'B', 'C'"),
        ("agieval", {"passage": 3}, "column 'passage' is int, expected str or null"),
        ("agieval", {"options": ["(A)x"]}, "column 'options' has 1 entries, expected at least 2"),
        ("bigbench", {"target_scores": {"x": 1}}, "column 'target_scores' has 1 choices, expected at least 2"),
        ("bigbench", {"target_scores": {"x": "1", "y": 0}}, "'x' has the score '1', expected a number"),
        ("bigbench", {"target_scores": {"x": True, "y": 0}}, "'x' has the score True, expected a number"),
        ("bigbench", {"target": 3}, "column 'target' is not a list of strings"),
        ("truthfulqa", {"mc1_targets": {"choices": ["x", "y"], "labels": [1, 1]}}, "there must be a false one"),
        ("truthfulqa", {"mc1_targets": {"choices": ["x", "y"], "labels": [0, 1]}}, "the first choice must be true"),
        (
            "truthfulqa",
            {"mc1_targets": {"choices": ["x", "y", "z"], "labels": [1, 1, 0]}},
            "column 'mc1_targets' has 2 true choices, expected 1",
        ),
        ("truthfulqa", {"mc2_targets": {"choices": ["x", "y"], "labels": [1, 2]}}, "label 2 is not one of 0, 1"),
        ("truthfulqa", {"mc2_targets": {"choices": ["x", "y"], "labels": [1]}}, "'labels' is not a list of 2 labels"),
        ("humaneval", {"entry_point": " "}, "column 'entry_point' is empty"),
        ("humaneval", {"entry_point": "f g"}, "column 'entry_point' 'f g' is not what a Python call takes"),
    ],
)
def test_a_value_that_does_not_fit(layout: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        normal(layout, {**GOOD[layout], **change})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gold": [2]}, "gold 2 is not one of 0, 1"),
        ({"gold": []}, "column 'gold' is empty"),
        ({"choices": []}, "column 'choices' has 0 entries"),
    ],
)
def test_a_rendered_document_that_does_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        normal("agieval", {**RENDERED, **change})
    assert message in str(caught.value)


def test_content_hash_is_over_json_lines_in_order() -> None:
    contents = [["é", 1], ["b", [2]]]
    assert content_sha256(contents) == hashlib.sha256('["é",1]\n["b",[2]]\n'.encode()).hexdigest()
    assert content_sha256(contents) != content_sha256(contents[::-1])


def test_documents_of_one_passage_are_one_cluster() -> None:
    passage = {**GOOD["agieval"], "passage": "A long story. "}
    assert cluster_key("agieval", passage) == cluster_key("agieval", {**passage, "question": "another"})
    assert cluster_key("agieval", passage) != cluster_key("agieval", {**passage, "passage": "Another. "})
    assert cluster_key("agieval", GOOD["agieval"]) is None
    assert cluster_key("agieval", {"query": "A long story. Q: q"}) == cluster_key("agieval", passage)
    assert cluster_key("agieval", {"query": "Q: q"}) is None
    assert cluster_key("boolq", {"passage": "Title -- text"}) == cluster_key("boolq", {"passage": "Title -- other"})
    assert cluster_key("piqa", GOOD["piqa"]) is None


@pytest.mark.parametrize("entry", ["Solution().add", "D['f']", "f"])
def test_an_entry_point_may_be_any_value(entry: str) -> None:
    doc = {**GOOD["humaneval"], "entry_point": entry}
    assert normal("humaneval", doc)[3] == entry
