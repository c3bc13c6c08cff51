"""HumanEval: code taken out of chat answers, pass@k of several samples, harness errors that refuse the score."""

from __future__ import annotations

import copy
import json
import pickle
from concurrent.futures import Future
from typing import Any

import pytest

from evalkit.records.values import finite
from evalkit.sandbox import Problem, Verdict
from evalkit.sandbox.extract import NO_CODE, take_code
from evalkit.sandbox.raw import SEVERAL
from evalkit.tasks import humaneval
from evalkit.tasks.humaneval import program_of
from evalkit.tasks.programs import Programs, with_verdicts

pytestmark = pytest.mark.torch_free

DOC = {
    "task_id": "Sample/0",
    "prompt": 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """Sum."""\n',
    "test": "def check(candidate):\n    assert candidate([1, 2]) == 3\n",
    "entry_point": "total",
}
WHOLE = "def total(xs):\n    return sum(xs)\n"


def code_of(answer: str) -> str:
    """The completion that an answer to DOC is."""
    return take_code(program_of("humaneval", DOC, "")[0], answer).completion


def runs(completion: str) -> bool:
    """Whether prompt and completion are a program that passes (the code here is our own)."""
    scope: dict[str, Any] = {}
    exec(DOC["prompt"] + completion + "\n" + DOC["test"] + "\ncheck(total)", scope)
    return True


@pytest.mark.parametrize(
    "answer",
    [
        f"Here it is:\n\n```python\n{WHOLE}```\nIt adds up the numbers.",
        f"```\n{WHOLE}```",
        f"```py\r\n{WHOLE}```",
        f"First an example:\n```python\nprint(total([1]))\n```\nand now\n```python\n{WHOLE}\n```",
        f"```python\n{WHOLE}",  # cut off before the block was closed
        WHOLE,
        f"Sure, here is the function.\n\n{WHOLE}",
        "```python\nreturn sum(xs)\n```",  # the body alone
        "```python\n    return sum(xs)\n```",
        f"- a list item\n\n  ```python\n{''.join('  ' + line for line in WHOLE.splitlines(keepends=True))}  ```\n",
        f"```python\nimport math\n\ndef helper(x):\n    return x\n\n{WHOLE}```",
    ],
)
def test_the_code_of_a_chat_answer_follows_the_prompt_as_a_program(answer: str) -> None:
    assert runs(code_of(answer))


WRONG = "```python\ndef total(xs):\n    return 0\n```\n"
RIGHT = f"```python\n{WHOLE}```\n"


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>\nMaybe:\n{WRONG}No, that is wrong.\n</think>\n\n{RIGHT}",
        f"Maybe:\n{WRONG}No.\n</think>\n\nHere:\n{RIGHT}",  # the chat template wrote <think> already
        f"<think>\n\n</think>\n\n{RIGHT}{WRONG}",
        f"<think>\ndef total(xs): return 0\n</think>\n{WHOLE}",
        f"\n<thinking>{WRONG}</thinking>{RIGHT}",
        f"Use <think> tags? </think> no.\n{RIGHT}",
    ],
)
def test_what_was_thought_before_is_no_answer(answer: str) -> None:
    assert runs(code_of(answer))


@pytest.mark.parametrize("answer", [f"<think>\n{WRONG}</think>\n", f"{WRONG}</think>"])
def test_a_thought_without_an_answer_fails(answer: str) -> None:
    with pytest.raises((AssertionError, SyntaxError, NameError)):
        runs(code_of(answer))


@pytest.mark.parametrize(
    "answer",
    [
        f"~~~python\n{WHOLE}~~~\nDone.",
        f"~~~~\n{WHOLE}~~~~",
        f"````python\n{WHOLE}````\nDone.",
        f"~~~python\n{WHOLE}",
        f"About ~~~ that:\n{RIGHT}",
        f"{RIGHT}and, as some write it:\n{WRONG}",  # the first that defines the function
    ],
)
def test_blocks_between_other_lines_and_the_first_of_several(answer: str) -> None:
    assert runs(code_of(answer))


@pytest.mark.parametrize("answer", ["", "I cannot help with that.", "```python\n```"])
def test_an_answer_without_code_is_a_completion_that_fails(answer: str) -> None:
    with pytest.raises((AssertionError, SyntaxError, NameError)):
        runs(code_of(answer))


def test_a_function_whose_name_begins_alike_is_another_one() -> None:
    answer = "```python\ndef totals(xs):\n    return 0\n```\n```python\n" + WHOLE + "```"
    assert "def totals" not in code_of(answer)


class FakeChecker:
    """Passes completions that say so; stands in for the sandbox, which has tests of its own."""

    def submit(self, problem: Problem, completion: str) -> Future[Verdict]:
        found: Future[Verdict] = Future()
        found.set_result(
            Verdict(
                task_id=problem.task_id,
                passed=completion == "good",
                label={"good": "passed", "?": "harness error"}.get(completion, "failed"),
                detail="",
                seconds=0.0,
                cpu_seconds=0.0,
                isolation="none",
            )
        )
        self.submitted.append(completion)
        return found

    def __init__(self) -> None:
        self.submitted: list[str] = []


def judged(completions: list[str], checker: FakeChecker | None = None, task: str = "humaneval") -> list[Any]:
    """A document's texts with their verdicts, as lm-eval hands them to the metrics."""
    programs = Programs(checker or FakeChecker())  # type: ignore[arg-type]
    return with_verdicts([completions], programs.judge([(task, 0)], [DOC], [completions]))


def test_programs_are_checked_once_where_they_were_begun_beside_the_model() -> None:
    checker = FakeChecker()
    programs = Programs(checker)  # type: ignore[arg-type]
    for sample, text in enumerate(("good", "bad", "good")):
        programs.begin(("humaneval", 0, sample), DOC, text)
    programs.begin(("humaneval", 1, 0), DOC, "of another document")
    texts = ["good", "bad", "good", "late"]
    (verdicts,) = programs.judge([("humaneval", 0)], [DOC], [texts])
    assert checker.submitted == ["good", "bad", "good", "of another document", "late"]
    assert [verdict.passed for verdict in verdicts] == [True, False, True, False]
    assert humaneval.results(DOC, with_verdicts([texts], [verdicts]))["pass@1"] == pytest.approx(2 / 4)


def test_a_verdict_belongs_to_its_request_and_to_no_other_text() -> None:
    """Equal texts of two documents, and a text that is not the one that was begun, are programs of their own."""
    checker = FakeChecker()
    programs = Programs(checker)  # type: ignore[arg-type]
    other = {**DOC, "task_id": "Sample/1"}
    programs.begin(("humaneval", 1, 0), other, "good")
    programs.begin(("humaneval", 0, 0), DOC, "bad")
    found = programs.judge([("humaneval", 0), ("humaneval", 1)], [DOC, other], [["good"], ["good"]])
    assert [[verdict.task_id for verdict in of_document] for of_document in found] == [["Sample/0"], ["Sample/1"]]
    assert [verdict.passed for of_document in found for verdict in of_document] == [True, True]
    assert checker.submitted == ["good", "bad", "good"]


def test_a_chat_models_code_is_taken_out_before_it_is_checked() -> None:
    checker = FakeChecker()
    judged([RIGHT], checker, "humaneval_chat")
    assert checker.submitted == ["\n" + WHOLE]


def test_a_verdict_says_that_an_answer_had_no_code_or_several_versions() -> None:
    (verdicts,) = judged(["No.", RIGHT + WRONG, RIGHT], task="humaneval_chat")
    assert [text.verdict.detail for text in verdicts] == [NO_CODE, SEVERAL, ""]


def test_texts_that_nobody_judged_have_no_score_and_no_verdicts() -> None:
    assert finite(humaneval.results(DOC, ["good"])["pass@1"]) is None
    ((one,),) = judged(["good"])
    assert finite(humaneval.results(DOC, [[one, "good"]])["pass@1"]) is None
    assert humaneval.verdicts_of([one, "good"]) == []
    assert [verdict.label for verdict in humaneval.verdicts_of([one])] == ["passed"]


def test_a_judged_text_is_the_text() -> None:
    ((one,),) = judged(["good"])
    assert one == "good"
    assert json.dumps([one]) == '["good"]'
    for same in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert (same, same.verdict) == (one, one.verdict)


def scored(completions: list[str]) -> dict[str, float]:
    return humaneval.results(DOC, judged(completions))


def test_pass_at_k_is_the_unbiased_estimate_for_each_k_that_the_samples_allow() -> None:
    assert scored(["good"]) == {"pass@1": 1.0}
    values = scored(["good"] * 3 + ["bad"] * 9)
    assert set(values) == {"pass@1", "pass@10"}
    assert values["pass@1"] == pytest.approx(3 / 12)
    assert values["pass@10"] == 1.0  # ten of twelve cannot avoid the three


def test_a_harness_error_refuses_the_score() -> None:
    assert finite(scored(["good", "?"])["pass@1"]) is None


def test_no_completion_is_no_score() -> None:
    assert finite(scored([])["pass@1"]) is None


def test_the_question_holds_the_prompt_in_a_block() -> None:
    assert humaneval.chat_text(DOC).endswith("```python\n" + DOC["prompt"].strip() + "\n```")
