"""HumanEval: code taken out of chat answers, pass@k of several samples, harness errors that refuse the score."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from evalkit.records.values import finite
from evalkit.sandbox import Problem, Verdict
from evalkit.tasks import humaneval

pytestmark = pytest.mark.torch_free

DOC = {
    "task_id": "Sample/0",
    "prompt": 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """Sum."""\n',
    "test": "def check(candidate):\n    assert candidate([1, 2]) == 3\n",
    "entry_point": "total",
}
WHOLE = "def total(xs):\n    return sum(xs)\n"


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
    assert runs(humaneval.answered_code(answer, "total"))


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
    assert runs(humaneval.answered_code(answer, "total"))


@pytest.mark.parametrize("answer", [f"<think>\n{WRONG}</think>\n", f"{WRONG}</think>"])
def test_a_thought_without_an_answer_fails(answer: str) -> None:
    with pytest.raises((AssertionError, SyntaxError, NameError)):
        runs(humaneval.answered_code(answer, "total"))


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
    assert runs(humaneval.answered_code(answer, "total"))


@pytest.mark.parametrize("answer", ["", "I cannot help with that.", "```python\n```"])
def test_an_answer_without_code_is_a_completion_that_fails(answer: str) -> None:
    with pytest.raises((AssertionError, SyntaxError, NameError)):
        runs(humaneval.answered_code(answer, "total"))


def test_a_function_whose_name_begins_alike_is_another_one() -> None:
    answer = "```python\ndef totals(xs):\n    return 0\n```\n```python\n" + WHOLE + "```"
    assert "def totals" not in humaneval.answered_code(answer, "total")


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


def test_programs_are_checked_once_where_they_were_begun_beside_the_model() -> None:
    checker = FakeChecker()
    with humaneval.execution(checker):  # type: ignore[arg-type]
        for text in ("good", "bad", "good"):
            humaneval.begin("humaneval", DOC, text)
        humaneval.begin("arc_easy", DOC, "no program")
        assert humaneval.results(DOC, [["good", "bad", "good", "late"]])["pass@1"] == pytest.approx(2 / 4)
    assert checker.submitted == ["good", "bad", "good", "late"]
    humaneval.begin("humaneval", DOC, "outside a run")


def judged(completions: list[str]) -> dict[str, float]:
    with humaneval.execution(FakeChecker()) as verdicts:  # type: ignore[arg-type]
        values = humaneval.results(DOC, [completions])
        assert len(verdicts["humaneval:Sample/0"]) == len(completions)
    return values


def test_pass_at_k_is_the_unbiased_estimate_for_each_k_that_the_samples_allow() -> None:
    assert judged(["good"]) == {"pass@1": 1.0}
    values = judged(["good"] * 3 + ["bad"] * 9)
    assert set(values) == {"pass@1", "pass@10"}
    assert values["pass@1"] == pytest.approx(3 / 12)
    assert values["pass@10"] == 1.0  # ten of twelve cannot avoid the three


def test_a_harness_error_refuses_the_score() -> None:
    assert finite(judged(["good", "?"])["pass@1"]) is None


def test_no_completion_is_no_score() -> None:
    assert finite(judged([])["pass@1"]) is None


def test_the_question_holds_the_prompt_in_a_block() -> None:
    assert humaneval.chat_text(DOC).endswith("```python\n" + DOC["prompt"].strip() + "\n```")
