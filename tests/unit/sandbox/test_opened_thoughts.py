"""A thought in whatever dress that is never closed leaves no answer; an answer that begins like one is not lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evalkit.sandbox import Problem
from evalkit.sandbox.extract import NO_ANSWER, Taken, extract, take_code

pytestmark = pytest.mark.torch_free

PROBLEM = Problem("add", 'def add(a, b):\n    """Add."""\n', "", "add")
WHOLE = "def add(a, b):\n    return a + b\n"
FENCED = f"```python\n{WHOLE}```\n"
DRAFT = f"Okay, so we need add.\n\nFirst try:\n\n{FENCED}\nHmm, wait."

Take = Callable[[Problem, str], Taken]


def adds(taken: Taken) -> bool:
    names: dict[str, Callable[[int, int], int]] = {}
    try:
        exec(PROBLEM.prompt + taken.completion, names)
        return names["add"](1, 2) == 3
    except (SyntaxError, TypeError):
        return False


@pytest.mark.parametrize(
    "opening",
    [
        # block quotes, lists, headings, emphasis, indentation, HTML, escapes, quotation marks
        *("> <think>\n", "> > <seed:think>\n", "- <think>\n", "* <think>\n", "1. <think>\n", "### <think>\n"),
        *(
            "**<think>**\n",
            "_<think>_ ",
            "   <think>\n",
            "<p><think>\n",
            "&gt; <think>\n",
            "\\<think\\>\n",
            '"<think>\n',
        ),
        *("- [THINK]", "> ◁think▷", "> <|think|>", "**<|think|>**", "> Thinking...\n"),
        # what cannot be seen
        *("\ufeff<think>", "\u200b<think>\n", "\u200b<|im_start|>assistant\n<think>", "\u200banalysis\nWe"),
        # a speaker before it
        *(
            "assistant\n<think>\n",
            "assistant<think>",
            "Assistant: <think>\n",
            "**Assistant:** <think>\n",
            "AI: <think>",
        ),
        *("<|im_start|>assistant\n<think>", "<|im_start|>assistant\n\n> <think>\n", "### Response: <think>\n"),
        # behind prose
        *("Sure.\n- <think>\n", "Sure.\n> **<think>**\n", "Sure.\n\u200b<think>\n"),
        # Harmony's channels, with their tokens and without
        *(
            "> <|channel|>analysis<|message|>",
            "- <|channel|>analysis<|message|>",
            "\ufeff<|channel|>analysis<|message|>",
        ),
        *("<|channel|>analysis\n", "<|start|>assistant<|channel|>analysis We", "<|im_start|>analysis\n"),
        *(
            "analysisit's a ",
            "analysis1. ",
            "analysis(We need to ",
            "analysis$x$ ",
            "analysis[User asks] ",
            "analysis…",
        ),
        *("> analysisWe", "> analysisthe ", "analysis we need ", "analysis so we ", "analysisx = 3 so we know "),
        *("assistantanalysis", "assistant\nanalysis\n", "assistant: analysisWe need ", "\ufeffanalysisThe user "),
        *("commentarywe need ", "assistantcommentary to=python code", "We need it.assistantanalysis"),
    ],
)
@pytest.mark.parametrize("take", [take_code, extract])
def test_a_thought_without_its_end_is_no_answer(opening: str, take: Take) -> None:
    taken = take(PROBLEM, opening + DRAFT)
    assert taken.remark == NO_ANSWER
    assert not adds(taken)


@pytest.mark.parametrize(
    "before",
    [
        *("Analysis: the function adds.\n\n", "**Analysis**\n\nIt adds.\n\n", "### Analysis\n", "Analysis\n"),
        *("analysis of the problem: add.\n\n", "analysis: add them.\n", "**analysis**\nAdd.\n", "# analysis\n"),
        *("analysis, then code:\n", "analysis (short): add\n", "analysis-driven design.\n", "analysis's result:\n"),
        *("> analysis of it\n", "- analysis\n", "Commentary: add.\n", "commentary on it:\n"),
        *("The `<think>` tag is not used.\n", "`<think>` is not used.\n", '"<think>" is a tag\n', "- Thinking: fine\n"),
        *("Format:\n- <reason>\n- <plan>\n", "1. <analysis> of it\n", "Step 1: <reason> is\n"),
        *("**Here is my thought process:**\n", "Assistant: Sure\n", "assistant\nSure\n"),
    ],
)
@pytest.mark.parametrize("take", [take_code, extract])
def test_an_answer_that_begins_like_a_thought_is_one(before: str, take: Take) -> None:
    taken = take(PROBLEM, before + FENCED)
    assert adds(taken)
    assert taken.remark == ""


@pytest.mark.parametrize(
    "line",
    [
        *("analysis_result = 3", "analysis = 3", "analysisResult = 3", "analysis2 = [1]", "analysis = {\n 'a': 1,\n}"),
        *("analysis: dict = {}", "analysisA, analysisB = 1, 2", "analysisA: int = 3", "analysisText = '''\nx\n'''"),
        *("commentary = 'x'", "analysis = (1 +\n 2)", "assistantanalysis = 3"),
    ],
)
@pytest.mark.parametrize("take", [take_code, extract])
def test_code_that_a_channels_name_begins_is_code(line: str, take: Take) -> None:
    for answer in (f"{line}\n{WHOLE}", f"```python\n{line}\n{WHOLE}```\n", f"{line}\n{FENCED}"):
        assert adds(take(PROBLEM, answer)), answer


@pytest.mark.parametrize(("opening", "closing"), [("> <think>\n> ", "> </think>\n\n"), ("- <think>", "</think>")])
@pytest.mark.parametrize("take", [take_code, extract])
def test_a_dressed_thought_with_its_end_is_left_out(opening: str, closing: str, take: Take) -> None:
    wrong = FENCED.replace("+", "-")
    assert adds(take(PROBLEM, f"{opening}Maybe\n{wrong}\n{closing}{FENCED}"))
    assert not adds(take(PROBLEM, f"{opening}Maybe\n{FENCED}\n{closing}{wrong}"))


def test_of_many_decorators_few_texts_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.sandbox import continuation

    parsed = []
    error_line = continuation.error_line

    def counted(code: str, *flags: int) -> int | None:
        parsed.append(len(code))
        return error_line(code, *flags)

    monkeypatch.setattr("evalkit.sandbox.raw.error_line", counted)
    text = "@x\n" * 2000
    take_code(PROBLEM, text)
    assert sum(parsed) < 200 * len(text)
