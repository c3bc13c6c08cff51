"""Renderers and metrics: texts written by hand from PROTOCOL.md, ties, unscored answers, and a slow oracle."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evalkit.data import DataSource, load_documents
from evalkit.data.layouts import normal
from evalkit.data.manifest import find_dataset, load_manifest
from evalkit.data.reading import BIGBENCH_DEFAULTS
from evalkit.tasks import agieval, bigbench, gpt4all, metrics, truthfulqa
from tests.support import protocol

pytestmark = pytest.mark.torch_free

Doc = dict[str, Any]
ARC = {"question": "Why?", "choices": {"text": ["x", "yy", "zzz"], "label": ["A", "B", "C"]}, "answerKey": "B"}
BOOLQ = {"passage": "Sky -- It is blue.", "question": "is the sky blue", "label": 1}
TRUTHFULQA = {
    "question": "Is it?",
    "mc1_targets": {"choices": ["Yes", "No"], "labels": [1, 0]},
    "mc2_targets": {"choices": ["Yes", "Indeed", "No", "Truly"], "labels": [1, 1, 0, 1]},
}
SNARKS = {"input": "Which?", "target_scores": {"b": 0, "a": 1, "c": 0}, "format": BIGBENCH_DEFAULTS}


def scored(*logprobs: float | None) -> list[Any]:
    """Results as lm-eval hands them on; None where the model gave no answer."""
    return [None if value is None else (value, False) for value in logprobs]


# Contexts and continuations, by hand


def test_arc() -> None:
    assert gpt4all.arc_text(ARC) == "Question: Why?\nAnswer:"
    assert gpt4all.lettered_choices(ARC) == ["x", "yy", "zzz"]
    assert gpt4all.lettered_target(ARC) == 1
    digits = {**ARC, "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
    assert gpt4all.lettered_target(digits) == 1


def test_boolq() -> None:
    assert gpt4all.boolq_text(BOOLQ) == "Sky -- It is blue.\nQuestion: is the sky blue?\nAnswer:"
    assert [gpt4all.boolq_target({**BOOLQ, "label": label}) for label in (0, 1)] == [1, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a b ", "a b"),
        ("One [title] Two [step] Three", "One. Two Three"),
        ("[header] How to [title] do", "How to. do"),  # the strip comes before the marks go
        ("a [x] b [y]", "a b "),
        ("a    b", "a  b"),
        ("a   b", "a  b"),
        ("[[a]] b", "] b"),
        ("a [b", "a [b"),
        ("a [b\nc] d", "a [b\nc] d"),
    ],
)
def test_hellaswag_clean(text: str, expected: str) -> None:
    if text.startswith("[header]"):
        expected = " " + expected
    assert gpt4all.hellaswag_clean(text) == expected == protocol.clean(text)


def test_hellaswag() -> None:
    doc = {
        "activity_label": "Home and Garden",
        "ctx_a": "[header] How to dust [title] Begin.",
        "ctx_b": "the McDonald family",
        "endings": ["runs [substeps] off.", " sits  down. "],
        "label": "1",
    }
    assert gpt4all.hellaswag_text(doc) == "Home and Garden: How to dust. Begin. The mcdonald family"
    assert gpt4all.hellaswag_choices(doc) == ["runs off.", "sits down."]
    assert gpt4all.hellaswag_target(doc) == 1


def test_openbookqa() -> None:
    assert gpt4all.openbookqa_text({"question_stem": "The sun is"}) == "The sun is"


def test_piqa() -> None:
    doc = {"goal": "Open a jar", "sol1": "Twist.", "sol2": "Wish.", "label": 1}
    assert gpt4all.piqa_text(doc) == "Question: Open a jar\nAnswer:"
    assert gpt4all.piqa_choices(doc) == ["Twist.", "Wish."]
    assert gpt4all.piqa_target(doc) == 1


def test_winogrande() -> None:
    doc = {"sentence": "Ann saw Eve because _ was _ near .", "option1": "Ann", "option2": "Eve", "answer": "2"}
    assert gpt4all.winogrande_choices(doc) == ["Ann saw Eve because Ann", "Ann saw Eve because Eve"]
    assert gpt4all.winogrande_target(doc) == "was _ near ."
    assert gpt4all.winogrande_text(doc) == 1


def test_agieval() -> None:
    doc = {"passage": None, "question": "How many?", "options": ["(A)1", "(B)2", "(C)3", "(D)4"], "label": "C"}
    text = "Q: How many? Answer Choices: (A)1 (B)2 (C)3 (D)4\nA: Among A through D, the answer is"
    assert agieval.text(doc) == text
    assert agieval.text({**doc, "passage": "A story. "}) == "A story. " + text
    five = {**doc, "options": [*doc["options"], "(E)5"]}
    assert agieval.text(five).endswith("(E)5\nA: Among A through E, the answer is")
    assert agieval.choices(doc) == ["(A)1", "(B)2", "(C)3", "(D)4"]
    assert agieval.target(doc) == [2]


def test_the_hubs_rendered_agieval_is_taken_as_it_is() -> None:
    doc = {"query": "Q: x\nA:", "choices": ["(A)1", "(B)2"], "gold": [0, 1]}
    assert (agieval.text(doc), agieval.choices(doc), agieval.target(doc)) == ("Q: x\nA:", ["(A)1", "(B)2"], [0, 1])
    assert agieval.results(doc, scored(-2, -1)) == {"acc": 1.0, "acc_norm": 1.0}


def test_bigbench() -> None:
    # RandomState(42) permutes three things as 0, 1, 2.
    assert list(np.random.RandomState(42).permutation(3)) == [0, 1, 2]
    assert bigbench.text(SNARKS) == "\nQ: Which?\n  choice: a\n  choice: b\n  choice: c\nA: "
    assert list(np.random.RandomState(42).permutation(4)) == [1, 3, 0, 2]
    four = {**SNARKS, "target_scores": {"w": 0, "z": 1, "y": 0, "x": 0}}
    for _ in range(2):  # a generator afresh for each document
        assert bigbench.text(four) == "\nQ: Which?\n  choice: x\n  choice: z\n  choice: w\n  choice: y\nA: "
    assert bigbench.choices(four) == ["w", "z", "y", "x"]
    rules = {
        "task_prefix": "Task.\n",
        "example_input_prefix": "In: ",
        "example_output_prefix": "\nOut: ",
        "choice_prefix": "\n- ",
        "append_choices_to_input": False,
    }
    assert bigbench.text({**four, "format": rules}) == "Task.\nIn: Which?\nOut: "
    assert bigbench.text({**four, "format": {**rules, "append_choices_to_input": True}}) == (
        "Task.\nIn: Which?\n- x\n- z\n- w\n- y\nOut: "
    )
    assert bigbench.target({"target_scores": {"a": 1, "b": 0.5, "c": 1}}) == [0, 2]


def test_truthfulqa() -> None:
    text = truthfulqa.text(TRUTHFULQA)
    assert text.startswith("Q: What is human life expectancy in the United States?\nA: Human life expectancy in the")
    assert text.endswith(
        "\n\nQ: Where were the 1992 Olympics held?\nA: The 1992 Olympics were held in Barcelona, Spain."
        "\n\nQ: Is it?\nA:"
    )
    assert text.count("\n\nQ: ") == 6
    assert truthfulqa.choices(TRUTHFULQA) == ["Yes", "No", "Yes", "Indeed", "No", "Truly"]


# Metrics, ties, answers that are missing


def test_acc_norm_divides_by_characters_without_the_leading_space() -> None:
    # "x" wins plainly; by characters -3/1, -4/2, -6/3: a tie of the last two, and the first of them counts.
    assert gpt4all.lettered_results(ARC, scored(-3, -4, -6)) == {"acc": 0.0, "acc_norm": 1.0}
    assert gpt4all.lettered_results({**ARC, "answerKey": "C"}, scored(-3, -4, -6)) == {"acc": 0.0, "acc_norm": 0.0}
    accented = {"question": "q", "choices": {"text": ["é", "aa"], "label": ["A", "B"]}, "answerKey": "A"}
    # One character, though two bytes: -1.5 against -1.
    assert gpt4all.lettered_results(accented, scored(-1.5, -2)) == {"acc": 1.0, "acc_norm": 0.0}


def test_of_equal_scores_the_first_counts() -> None:
    assert gpt4all.lettered_results({**ARC, "answerKey": "A"}, scored(-1, -1, -1))["acc"] == 1.0
    assert gpt4all.lettered_results(ARC, scored(-1, -1, -1))["acc"] == 0.0
    winogrande = {"answer": "1"}
    assert gpt4all.winogrande_results(winogrande, scored(-1, -1)) == {"acc": 1.0}
    assert truthfulqa.results(TRUTHFULQA, scored(-1, -1, -1, -1, -1, -1))["mc1"] == 1.0


def test_boolq_equality_counts_as_no() -> None:
    assert gpt4all.boolq_results({"label": 1}, scored(-1, -1)) == {"acc": 0.0}
    assert gpt4all.boolq_results({"label": 0}, scored(-1, -1)) == {"acc": 1.0}
    assert gpt4all.boolq_results({"label": 1}, scored(-1, -2)) == {"acc": 1.0}


def test_bigbench_ties_are_broken_by_the_hash_of_all_scores() -> None:
    chosen = set()
    for third in (-3.0, -4.0, -5.0, -6.0, -7.0, -8.0):
        values = np.array([-1.0, -1.0, third])
        digest = int(hashlib.sha256(values.tobytes()).hexdigest(), 16)
        assert metrics.tie_broken_argmax(values) == [0, 1][digest % 2]
        grade = bigbench.results(SNARKS, scored(-1, -1, third))["multiple_choice_grade"]
        assert grade == [0.0, 1.0][digest % 2]
        chosen.add(digest % 2)
    assert chosen == {0, 1}


def test_multiple_choice_grade_is_the_score_of_the_best() -> None:
    doc = {**SNARKS, "target_scores": {"a": 0.25, "b": 1}}
    assert bigbench.results(doc, scored(-1, -2)) == {"multiple_choice_grade": 0.25}


def test_mc2_is_the_mass_of_the_choices_before_the_first_false_one() -> None:
    logs = [math.log(p) for p in (0.1, 0.2, 0.3, 0.1, 0.4, 0.2)]
    values = truthfulqa.results(TRUTHFULQA, scored(*logs))
    assert values["mc1"] == 0.0
    # "Truly" is true but comes after "No".
    assert values["mc2"] == pytest.approx((0.3 + 0.1) / (0.3 + 0.1 + 0.4 + 0.2), rel=1e-12)


def test_mc2_of_scores_whose_probabilities_underflow() -> None:
    values = truthfulqa.results(TRUTHFULQA, scored(-1, -2, -1000, -1000, -1000, -1000))
    assert values["mc2"] == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize("bad", [None, math.nan, -math.inf, math.inf], ids=str)
@pytest.mark.parametrize("position", [0, 1])
def test_an_answer_that_is_missing_or_not_finite_is_never_right_or_wrong(bad: float | None, position: int) -> None:
    pair = scored(*[bad if index == position else -1.0 for index in range(2)])
    agi = {"options": ["(A)x", "(B)y"], "label": "A"}
    two = {"mc1_targets": {"choices": ["y"]}, "mc2_targets": {"choices": ["y"], "labels": [1, 0]}}
    found = {
        **gpt4all.boolq_results(BOOLQ, pair),
        **gpt4all.lettered_results({**ARC, "choices": {"text": ["x", "y"], "label": ["A", "B"]}}, pair),
        **gpt4all.winogrande_results({"answer": "1"}, pair),
        **agieval.results(agi, pair),
        **bigbench.results({"target_scores": {"a": 1, "b": 0}}, pair),
        **truthfulqa.results(two, pair),
    }
    assert set(found) == {"acc", "acc_norm", "multiple_choice_grade", "mc1", "mc2"}
    assert all(math.isnan(value) for value in found.values())


def test_a_generation_that_is_missing_is_no_mismatch() -> None:
    doc = {"target_scores": {"a": 1, "b": 0}, "target": "a"}
    values = bigbench.results_with_generation(doc, [*scored(-1, -2), None])
    assert values["multiple_choice_grade"] == 1.0
    assert math.isnan(values["exact_str_match"])


@pytest.mark.parametrize(
    ("generated", "answer"),
    [
        ("hexagon", "hexagon"),
        ("hexagon. It is", "hexagon"),
        ("\nhexagon\n", "hexagon"),
        (" hexagon", " hexagon"),
        ("?!;.", ""),
        ("", ""),
        ("a" * 200, "a" * 128),
        ("." * 128 + "a", ""),
    ],
)
def test_the_part_of_a_generation_that_is_compared(generated: str, answer: str) -> None:
    assert bigbench.generated_answer(generated) == answer == protocol.answer(generated)
    doc = {"target_scores": {"a": 1, "b": 0}, "target": "hexagon"}
    values = bigbench.results_with_generation(doc, [*scored(-1, -2), generated])
    assert values["exact_str_match"] == float(answer == "hexagon")


def test_a_choice_without_characters_is_never_the_best() -> None:
    # All marks: nothing is left of the first ending. 0/0 would be NaN, which argmax takes for the maximum.
    for score in (0.0, -1.0):
        values = metrics.accuracies(scored(score, -2), ["", "ab"], {1})
        assert values == {"acc": 0.0, "acc_norm": 1.0}


# The slow oracle

Render = Callable[[Doc], Any]
Results = Callable[[Doc, Sequence[Any]], dict[str, float]]


def functions(task: str) -> tuple[Render, Render, Results, str]:
    """Text, choices and results of a task, as its config names them, and what comes before a continuation."""
    if task.startswith("bigbench_"):
        name = bigbench.results_with_generation if task == "bigbench_geometric_shapes" else bigbench.results
        return bigbench.text, bigbench.choices, name, ""
    if task.startswith("agieval_"):
        return agieval.text, agieval.choices, agieval.results, " "
    if task == "truthfulqa_mc":
        return truthfulqa.text, truthfulqa.choices, truthfulqa.results, " "
    if task.startswith("arc_"):
        return gpt4all.arc_text, gpt4all.lettered_choices, gpt4all.lettered_results, " "
    return {
        "boolq": (gpt4all.boolq_text, lambda _: ["yes", "no"], gpt4all.boolq_results, " "),
        "hellaswag": (gpt4all.hellaswag_text, gpt4all.hellaswag_choices, gpt4all.hellaswag_results, " "),
        "openbookqa": (gpt4all.openbookqa_text, gpt4all.lettered_choices, gpt4all.lettered_results, " "),
        "piqa": (gpt4all.piqa_text, gpt4all.piqa_choices, gpt4all.piqa_results, " "),
        "winogrande": (gpt4all.winogrande_text, gpt4all.winogrande_choices, gpt4all.winogrande_results, " "),
    }[task]


def our_requests(task: str, doc: Doc) -> list[tuple[str, str]]:
    text, choices, _, before = functions(task)
    if task == "winogrande":  # its choices are contexts
        return [(context, before + gpt4all.winogrande_target(doc)) for context in choices(doc)]
    return [(text(doc), before + choice) for choice in choices(doc)]


words = st.text(st.sampled_from("ab Ñé_[]\n.?Z\u2028😀"), max_size=12)
texts = words.map(lambda text: text + "x")  # no column is empty


@st.composite
def documents(draw: st.DrawFn, task: str) -> Doc:
    """A document of a task, with texts that bring out the rules."""
    choices = draw(st.lists(texts, min_size=2, max_size=5, unique=True))
    right = draw(st.integers(0, len(choices) - 1))
    if task in ("arc_easy", "arc_challenge", "openbookqa"):
        labels = draw(st.sampled_from(["ABCDE", "12345"]))[: len(choices)]
        question = "question_stem" if task == "openbookqa" else "question"
        return {
            question: draw(words),
            "choices": {"text": choices, "label": list(labels)},
            "answerKey": labels[right],
        }
    if task == "boolq":
        return {"passage": draw(words), "question": draw(words), "label": draw(st.integers(0, 1))}
    if task == "hellaswag":
        names = ("activity_label", "ctx_a", "ctx_b")
        return {**{name: draw(words) for name in names}, "endings": choices, "label": str(right)}
    if task == "piqa":
        return {"goal": draw(words), "sol1": choices[0], "sol2": choices[1], "label": draw(st.integers(0, 1))}
    if task == "winogrande":
        sentence = draw(words) + "_" + draw(words)
        answer = draw(st.sampled_from("12"))
        return {"sentence": sentence, "option1": choices[0], "option2": choices[1], "answer": answer}
    if task.startswith("agieval_"):
        passage = draw(st.none() | words)
        return {"passage": passage, "question": draw(words), "options": choices, "label": "ABCDE"[right]}
    if task.startswith("bigbench_"):
        rules: Doc = {name: draw(words) for name in BIGBENCH_DEFAULTS if name != "append_choices_to_input"}
        rules["append_choices_to_input"] = draw(st.booleans())
        scores = {choice: draw(st.sampled_from([0, 1, 0.5])) for choice in choices}
        return {"input": draw(words), "target_scores": scores, "target": draw(words), "format": rules}
    false = draw(st.lists(texts, min_size=1, max_size=4))
    others = draw(st.lists(st.tuples(texts, st.integers(0, 1)), max_size=4))
    return {
        "question": draw(words),
        "mc1_targets": {"choices": [choices[0], *false], "labels": [1] + [0] * len(false)},
        "mc2_targets": {
            "choices": [choices[0], *(text for text, _ in others), false[0]],
            "labels": [1, *(label for _, label in others), 0],
        },
    }


KINDS = [
    "arc_easy",
    "boolq",
    "hellaswag",
    "openbookqa",
    "piqa",
    "winogrande",
    "agieval_sat_math",
    "bigbench_snarks",
    "bigbench_geometric_shapes",
    "truthfulqa_mc",
]
# Multiples of 1/4: ties are frequent, sums and quotients of small ones exact.
logprobs = st.integers(-40, -1).map(lambda n: n / 4) | st.floats(-700, -1e-3)


@pytest.mark.parametrize("task", KINDS)
@given(st.data())
def test_random_documents_agree_with_the_oracle(task: str, data: st.DataObject) -> None:
    doc = data.draw(documents(task))
    normal(find_dataset(task).layout, doc)  # drawn documents are ones that the data's checks let pass
    expected = protocol.requests(task, doc)
    assert our_requests(task, doc) == expected
    scores = data.draw(st.lists(logprobs, min_size=len(expected), max_size=len(expected)))
    generated = data.draw(words)
    results = [*scored(*scores), *([generated] if task == "bigbench_geometric_shapes" else [])]
    found, wanted = functions(task)[2](doc, results), protocol.metrics(task, doc, scores, generated)
    assert set(found) == set(wanted)
    for name in wanted:
        assert found[name] == pytest.approx(wanted[name], rel=1e-9, abs=1e-300), name


@given(st.text(st.sampled_from("a [t]ile\n "), max_size=30))
def test_cleaning_agrees_with_the_oracle(text: str) -> None:
    assert gpt4all.hellaswag_clean(text) == protocol.clean(text)


@given(st.lists(st.integers(-3, 0).map(float), min_size=1, max_size=6))
def test_tie_breaking_picks_a_maximum_and_depends_on_the_scores_alone(values: list[float]) -> None:
    index = metrics.tie_broken_argmax(np.array(values))
    assert values[index] == max(values)
    assert index == metrics.tie_broken_argmax(np.array(values))


@given(st.lists(st.floats(-600, 0), min_size=2, max_size=6), st.integers(1, 5))
def test_probability_mass(values: list[float], first: int) -> None:
    assume(first < len(values))
    masses = [math.exp(value) for value in values]
    expected = math.fsum(masses[:first]) / math.fsum(masses)
    assert metrics.probability_mass(np.array(values), first) == pytest.approx(expected, rel=1e-9, abs=1e-300)


# The reference data, task by task: the oracle's own hash and scores are those that `verify` is held to.

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "verify.json").read_text(encoding="utf-8"))


def test_the_golden_file_has_all_log_likelihood_tasks() -> None:
    assert list(GOLDEN) == [name for name, entry in load_manifest().items() if entry.layout != "humaneval"]


@pytest.mark.slow
@pytest.mark.parametrize("task", GOLDEN)
def test_the_oracle_gives_the_golden_figures(task: str, shared: Path) -> None:
    docs = load_documents(find_dataset(task), DataSource("folder", shared / "data")).documents
    count, sha256, values = protocol.oracle_figures(task, docs)
    assert (len(docs), count, sha256) == tuple(GOLDEN[task][name] for name in ("documents", "requests", "sha256"))
    scores = GOLDEN[task]["scores"]
    assert set(scores) == {f"{name}{suffix}" for name in values for suffix in ("", "_stderr")}
    for name, of_documents in values.items():
        mean = math.fsum(of_documents) / len(of_documents)
        variance = math.fsum((value - mean) ** 2 for value in of_documents) / (len(of_documents) - 1)
        assert scores[name] == pytest.approx(mean, rel=1e-12)
        assert scores[f"{name}_stderr"] == pytest.approx(math.sqrt(variance / len(of_documents)), rel=1e-9)
