"""A thought in whatever dress that is never closed leaves no answer; an answer that begins like one is not lost."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from evalkit.sandbox import Problem
from evalkit.sandbox.extract import MANY, NO_ANSWER, UNKNOWN, WORDS, Taken, extract, remark_lines, take_code

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


def is_not_judged(taken: Taken) -> bool:
    """Whether it is said that the answer was not understood, and what was taken is no Python behind any prompt."""
    try:
        compile(f"{PROBLEM.prompt}{taken.completion}", "answer", "exec")
    except SyntaxError:
        return taken.remark == NO_ANSWER or re.fullmatch(f"{UNKNOWN} `[^`].*`", taken.remark) is not None
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
        *("analysis the function ", "analysis this asks ", "analysis. We need to ", "analysis it's simple. "),
        # Gemma's, without its tokens
        *("thought\n", "thought\nThe user wants it. ", "model\nthought\n", "\n> thought\n"),
        # with attributes, behind signs, and with what cannot be seen
        *('<think effort="high">\n', "<thinking mode='x' n=3>\n", "<think >\n", "&lt;think&gt;\n"),
        *("● <think>\n", "→ <think>", "🤔 <think>\n", "(1) <think>\n", "a) <think>\n", "[assistant] <think>\n"),
        *("\u200e<think>\n", "\xad<think>\n", "\u202a<think>", "\u2061<think>", "\0<think>\n"),
        # behind a sentence in its line
        *("Sure! <think>\n", "Let me think.<think>", "Of course: sure! <thinking>\n", "好的。<think>\n"),
        # in other brackets and signs, in a block, under a summary
        *(
            "< think >\n",
            "<think\n>\n",
            "<think/>\n",
            "<\\think>\n",
            "</think_start><think>",
            "`<think>`\n",
            "def <think>",
        ),
        *(
            "(<think>)\n",
            "[<think>]\n",
            "# <think>\n",
            "<<think>>\n",
            "<!-- think -->\n",
            "<!-- <think> -->\n",
            "#think\n",
        ),
        *(
            "&#60;think&#62;\n",
            "\\u003cthink\\u003e\n",
            "[[think]]\n",
            "[BEGIN THINKING]\n",
            "[THINK START]",
            "{think}\n",
        ),
        *("{{think}}", "$think$", "%%think%%", "【思考】\n", "《think》", "⟨think⟩\n", ":::thinking\n", "> [!THINK]\n"),
        *("```xml\n<think>\n", "~~~\n<think>\n", "✻ Thinking…\n"),
        *("<details><summary>Thinking</summary>\n", "<details>\n<summary>Thought for 3 seconds</summary>\n\n"),
        # other tags
        *("<deliberation>\n", "<rationale>\n", "<brainstorm>\n", "<mind>\n", "<step>\n", "Sure.\n\n<contemplation>\n"),
        *("<answer><think>\n", "<root><think>", "<channel>analysis<message>", "<|message|>", "<|ponder|>"),
        # words that no answer begins with
        *(
            "analysis: We need ",
            "analysis:\n",
            "analysis\tWe need",
            "analysis-We need",
            "analysis, we need",
            "analysis!",
        ),
        *(
            "analysis?We",
            "analysis=We need",
            "analysis=x+1 so we",
            "analysis={ so we need",
            "analysis first,",
            "analysis_",
        ),
        *("analysis to add", "analysis of it: ", "AnalysisWe need ", "ANALYSISWe need ", "assistantAnalysisWe"),
        *(
            "Sure.\nanalysisWe need ",
            "Sure.\n\nanalysis\nWe need",
            "thoughtWe need",
            "thinkingWe need",
            "think\nWe need",
        ),
        *("thinking...\n", "Thinking\n", "Thinking:\n", "Thinking Process:\n\n", "Thinking... \n"),
    ],
)
@pytest.mark.parametrize("take", [take_code, extract])
def test_a_thought_without_its_end_is_no_answer(opening: str, take: Take) -> None:
    assert is_not_judged(take(PROBLEM, opening + DRAFT))


@pytest.mark.parametrize(
    "before",
    [
        *("Analysis: the function adds.\n\n", "**Analysis**\n\nIt adds.\n\n", "### Analysis\n", "Analysis\n"),
        *("**analysis**\nAdd.\n", "# analysis\n", "- analysis\n", "Commentary: add.\n"),
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
    ("words", "mark"),
    [
        *(
            (f"analysis{rest}", "analysis")
            for rest in ("\n\n", "\nThe function adds.\n\n", "... add\n", " We add.\n\n")
        ),
        *((f"Thinking{rest}", f"Thinking{rest.strip()}") for rest in ("...\n", "…\n\n", ":\n", "\n\n")),
        ("thought\nAdd.Here:\n\n", "thought"),
        ("Here is my thought process:\n\n1. Add.\n\nCode:\n", "Here is my thought process:"),
    ],
)
@pytest.mark.parametrize(
    "behind", ["", "\nThis function adds a and b.", "\n### Explanation\n\n1. It adds.\n\nWait for it."]
)
@pytest.mark.parametrize("take", [take_code, extract])
def test_what_only_words_open_is_not_called_a_thought_without_an_answer(
    words: str, mark: str, behind: str, take: Take
) -> None:
    assert take(PROBLEM, f"{words}{FENCED}{behind}").remark == f"{UNKNOWN} `{mark}`"


@pytest.mark.parametrize("opening", ["analysis\n", "Thinking...\n", "thought\n", "Here is my thought process:\n"])
@pytest.mark.parametrize(
    "thought",
    [
        f"First try:\n\n{FENCED}",
        f"Maybe:\n{FENCED}",
        f"So.\n\n{FENCED}\nWait.",
        f"So.\n\n{FENCED}\nThis is wrong.",
        f"So.\n\n{FENCED}\nThe test fails.",
        f"So.\n\n{FENCED}\nThis returns the sum of a and",
        f"So.\n\n{FENCED}\nBut for floats",
        f"So.\n\n{FENCED}\nThis adds. It is O(1). Then the user wants more.",
        f"So.\n\n{FENCED}\n```python\ndef add(a, b):\n    return a -",
        f"So.\n\n```python\n{WHOLE}",
        f"So.\n\n{FENCED}\n```python\nprint(add(1, 2))\n```\n",
        f"<think>\nSo.\n\n{FENCED}",
        f"Wrong.<|im_end|>\n<|im_start|>user\nAgain.<|im_end|>\n<|im_start|>assistant\n{FENCED}",
        "The function adds.\n",
    ],
)
@pytest.mark.parametrize("take", [take_code, extract])
def test_a_thought_that_words_open_and_that_goes_on_is_no_answer(opening: str, thought: str, take: Take) -> None:
    assert is_not_judged(take(PROBLEM, opening + thought))


@pytest.mark.parametrize(
    "before",
    [
        *("<reason> is not used\n", "> <planning> is over\n", "- <Reasoning>\n", "Note. <think> is a tag.\n"),
        *("I think <think> is a tag.\n", "It is one. `<think>` is a tag.\n", "**Reasoning** <think></think>\n"),
        *("thought\n", "thought\nHere is the code:\n\n", "thought: add\n", "Thought\n", "thoughts\n"),
        *("<div class=thought>\n", "● Thinking: it adds\n"),
    ],
)
@pytest.mark.parametrize("behind", ["", "\n### Explanation\n\n1. It adds.\n\nWait for more.\n"])
@pytest.mark.parametrize("take", [take_code, extract])
def test_what_opens_no_thought_is_not_looked_at_as_one(before: str, behind: str, take: Take) -> None:
    taken = take(PROBLEM, before + FENCED + behind)
    assert adds(taken)
    assert taken.remark == ""


HARMLESS = [
    # HTML, tags that answers are put in, tags that are closed before the code
    *(
        "<br>\n",
        "<details>\n<summary>Explanation</summary>\n\nIt adds.\n\n</details>\n\n",
        "<p align='center'>It</p>\n\n",
    ),
    *("<b>Answer</b>\n", "<h2>Solution</h2>\n", "<pre>\n1 2\n</pre>\n", '<img src="x.png">\n', "<!-- add.py -->\n"),
    *("<answer>\n", "<response>\n", "<solution>\n", "<code>\n", "<python>\n", "<final_answer>\n", "<output>\n"),
    *("<explanation>Adds.</explanation>\n", "<approach>\nAdd.\n</approach>\n\n"),
    # types, comparisons, places to be filled, addresses
    *("Here's List<int>:\n", "We have map<string, int> here.\n", "<T> is generic.\n", "<int> is the type of a.\n"),
    *("Comparing a < b > c:\n", "If x<y>z then.\n", "<3 this\n", "-> add\n", "<class 'int'>\n", "<add.py>\n"),
    *(
        "- <a>: first\n- <b>: second\n",
        "- <your code here>\n",
        "Replace <name> by yours.\n",
        "Usage: add <one> <two>\n",
    ),
    *("<https://example.com> says:\n", "<a@b.c>\n", "Input: <string>\nOutput: <int>\n"),
    # brackets
    *("[Note]\n", "[Note] This adds.\n", "[Answer]:\n", "[1] First\n", "[Thinking about it](http://x.y) helps.\n"),
    *(
        "> [!NOTE]\n> It adds.\n",
        "[Explanation]\nIt adds.\n",
        "【思路】\n相加。\n",
        "《答案》\n",
        "{{ code }}\n",
        "$a + b$ is it.\n",
    ),
    *(":::note\nIt adds.\n:::\n", "(see below)\n", "\\[a+b\\]\n"),
    # words
    *(
        "### Thought Process\n\nAdd.\n\n",
        "**Thought process:**\n1. Add\n\n",
        "**Thinking Process:**\nAdd.\n\n",
        "Reasoning: we add.\n",
    ),
    *("Let me think about this step by step.\n\n", "I think this works:\n", "Thinking about the problem, we add.\n"),
    *(
        "Thinking step by step:\n1. add\n",
        "Thought: we add.\n",
        "My thought: add.\n",
        "Thoughts:\n- add\n",
        "Plan:\n1. add\n",
    ),
    *("## Step 1: Think\n\nadd.\n\n", "1. **Think**: add\n", "- think: add\n", "🤔 Thinking: add.\n", "思考：相加。\n"),
    *(
        "Okay, let's see.\n",
        "Assistant: Here\n",
        "The final answer is:\n",
        "✅ Solution:\n",
        "No <think> tags are needed.\n",
    ),
]


@pytest.mark.parametrize("before", HARMLESS)
@pytest.mark.parametrize(
    "behind", ["", "\n### Explanation\n\n1. It adds.\n", "\n<details>\n<summary>Thinking</summary>\n\nx\n</details>\n"]
)
@pytest.mark.parametrize("take", [take_code, extract])
def test_marks_that_are_no_markup_of_a_turn_are_harmless(before: str, behind: str, take: Take) -> None:
    for code in (FENCED, WHOLE):
        assert adds(take(PROBLEM, before + code + behind))


def test_answers_that_are_not_understood_are_counted_by_their_form_and_it_is_said_what_to_do() -> None:
    openings = ["<mull>\n"] * 3 + ["analysisWe "] * 2 + ["<think>\n"] + [f"<w{'x' * n}>\n" for n in range(1, 6)]
    remarks = [(f"T/{n}", take_code(PROBLEM, one + DRAFT).remark) for n, one in enumerate(openings)]
    *lines, advice = remark_lines(remarks)
    assert lines == [
        f"1 of 11 answers: {NO_ANSWER} (T/5)",
        f"3 of 11 answers: {UNKNOWN} `<mull>` (T/0, T/1, T/2)",
        f"2 of 11 answers: {UNKNOWN} `analysis` (T/3, T/4)",
        *(f"1 of 11 answers: {UNKNOWN} `<w{'x' * n}>` (T/{5 + n})" for n in (1, 2, 3)),
        "2 of 11 answers: not understood: before their code stand other marks (T/9, T/10)",
    ]
    assert advice.startswith("11 of 11 answers are not understood, and failed; take the answers down with the marks of")


@pytest.mark.parametrize("opening", ["```thinking\n", "~~~think\n", "<details>\n<summary>Thinking</summary>\n\n"])
@pytest.mark.parametrize("take", [take_code, extract])
def test_a_thought_in_a_block_or_under_a_summary_is_left_out(opening: str, take: Take) -> None:
    closing = "</details>\n\n" if "<" in opening else f"{opening[:3]}\n\n"
    assert adds(take(PROBLEM, f"{opening}We add, or not.\n{closing}{FENCED}"))
    assert not adds(take(PROBLEM, f"{opening}{DRAFT}"))


def helper(number: int) -> str:
    return f'def h{number}(x):\n    """Help."""\n    y = x + {number}\n    return y * 2\n\n\n'


@pytest.mark.parametrize("count", [1, 19, 20, 21, 49, 50, 51, 60, 200])
@pytest.mark.parametrize("take", [take_code, extract])
def test_behind_any_number_of_helpers_what_was_asked_for_is_found(count: int, take: Take) -> None:
    said = [f"Next comes helper {number}.\n\n" for number in range(count)]
    raw = "".join(helper(number) + said[number] for number in range(count))
    blocks = "".join(f"```python\n{helper(number)}```\n{said[number]}" for number in range(count))
    for answer, remark in (
        (f"Here it is:\n\n{raw}{WHOLE}", WORDS),
        (f"Here it is:\n\n{raw}import math\nPLUS = 0\n\n{WHOLE.replace('+ b', '+ b + PLUS')}", WORDS),
        (blocks + FENCED, ""),
        (FENCED + blocks, ""),
    ):
        taken = take(PROBLEM, answer)
        assert adds(taken), taken
        assert taken.remark == remark


@pytest.mark.parametrize("take", [take_code, extract])
def test_what_was_not_looked_at_is_said(take: Take) -> None:
    calls = "add = 1 is no sum.\n\n" * 30
    taken = take(PROBLEM, f"Here:\n\ndef half(x):\n    return x\n\nSo.\n\n{calls}{WHOLE}")
    assert taken.remark == MANY
    assert not adds(taken)


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
    for text in ("@x\n" * 2000, "@x\n@y\n\n" * 500, "@x\n\n@y\n" * 2000, "x = 1 is it.\n" * 1000):
        parsed.clear()
        take_code(PROBLEM, text)
        assert sum(parsed) < 30 * len(text) + 1_000_000
