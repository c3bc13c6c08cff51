"""What the closed rule of understood answers makes of tags, late thoughts, and blocks before a thought."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evalkit.sandbox import Problem
from evalkit.sandbox.extract import ANOTHER, LATER, NO_ANSWER, NO_CODE, UNKNOWN, Taken, extract, remark_lines, take_code

pytestmark = pytest.mark.torch_free

PROBLEM = Problem("add", 'def add(a, b):\n    """Add."""\n', "", "add")
WHOLE = "def add(a, b):\n    return a + b\n"
FENCED = f"```python\n{WHOLE}```\n"
WRONG = FENCED.replace("+", "-")
DRAFT = f"So we need add.\n\nFirst try:\n\n{WRONG}\nHmm, wait."

Take = Callable[[Problem, str], Taken]
BOTH = pytest.mark.parametrize("take", [take_code, extract])


def value(taken: Taken) -> int | None:
    """Return what the function of a completion makes of 1 and 2: 3 the right one, -1 a draft, None no program."""
    names: dict[str, Callable[[int, int], int]] = {}
    try:
        exec(PROBLEM.prompt + taken.completion, names)
    except (SyntaxError, NameError):
        return None
    return names["add"](1, 2)


SNAKES = ["final_answer", "final_code", "python_code", "updated_code", "code_block", "task_summary", "my_own_words"]


@pytest.mark.parametrize("name", SNAKES)
@BOTH
def test_a_tag_of_several_words_that_is_closed_is_harmless(name: str, take: Take) -> None:
    for said in ("", "Here is the solution:\n\n", "<explanation>\nIt adds.\n</explanation>\n\n"):
        for code in (FENCED, WHOLE):
            taken = take(PROBLEM, f"{said}<{name}>\n{code}</{name}>")
            assert value(taken) == 3, taken
            assert not taken.remark.startswith((UNKNOWN, LATER, NO_CODE))
    assert value(take(PROBLEM, f"<{name}>It adds.</{name}>\n\n{FENCED}")) == 3


@pytest.mark.parametrize("name", ["my_list", "user_query", "function_name", "task_1", "system_prompt"])
@pytest.mark.parametrize(
    "said",
    [
        "**Usage:** add.py {}\n\n",
        "- read {}\n- add\n\n",
        "We call {}.\n\n",
        "Replace {} by it.\n\n",
        "Read {}\nand go:\n",
    ],
)
@BOTH
def test_a_place_to_be_filled_ends_no_turn(name: str, said: str, take: Take) -> None:
    place = said.format(f"<{name}>")
    for answer in (f"{place}{FENCED}", f"{FENCED}\n{place}"):
        taken = take(PROBLEM, answer)
        assert value(taken) == 3, answer
        assert taken.remark == ""


@pytest.mark.parametrize(
    "token",
    [
        *("<end_of_turn>", "<start_of_turn>user\n", "<file_sep>x.py\n", "<reserved_106>x", "<extra_id_1>User\n"),
        *("<SPECIAL_12>", "<unused_3>", "<user_start>", "<_user>x", "<|next_problem|>", "[e~[", "[e~[\n]~b]user\n"),
        *("\n<next_problem>\n", "\n<task_2>\n"),
    ],
)
@BOTH
def test_an_end_token_ends_the_turn(token: str, take: Take) -> None:
    for answer in (f"{FENCED.rstrip()}{token}Again.\n{WRONG}", f"{WHOLE.rstrip()}{token}\nAgain:\n{WRONG}"):
        taken = take(PROBLEM, answer)
        assert value(taken) == 3, answer
        assert taken.remark == ANOTHER


@pytest.mark.parametrize(
    "opening",
    [
        *("*Thinking...*\n\n> **Title**\n> ", "**Thinking...**\n\n", "🤔 **Thinking...**\n\n", "*Thinking…*\n\n"),
        *("🤔 *thinking*\n", "> *Thinking...*\n> \n> "),
        *(
            f"thought\n{said}\n"
            for said in (
                "Here's a breakdown of the thinking process:",
                "Here's a step-by-step thought process:",
                "To solve this, let me consider.",
                "Sure, the user wants add.",
                "Here is a partial chain of thought",
                "Here's a first solution:",
                "Below I consider options.",
                "\nThe user wants add.",
            )
        ),
        "<|channel>\n",
        "<ctrl94>thought\n",
        "<ctrl94>",
        "<EXECUTION>\n",
    ],
)
@BOTH
def test_a_draft_behind_a_head_that_opens_a_thought_is_not_judged(opening: str, take: Take) -> None:
    taken = take(PROBLEM, opening + DRAFT)
    assert value(taken) is None
    assert taken.remark.startswith((UNKNOWN, NO_ANSWER))


@pytest.mark.parametrize(
    "said",
    ["", "\n", "Here is the code:\n\n", "Sure! Here's the completed function:\n", "Below is my implementation:\n"],
)
@BOTH
def test_behind_gemmas_empty_thought_an_announced_answer_is_one(said: str, take: Take) -> None:
    taken = take(PROBLEM, f"thought\n{said}{FENCED}")
    assert (value(taken), taken.remark) == (3, "")


@pytest.mark.parametrize(
    "thought",
    [
        *("<|channel>thought\nhm<channel|>", "<ctrl94>thought\nhm<ctrl95>", "<unused94>thought\nhm<unused95>"),
        "analysisWe are done.assistantfinal",
    ],
)
@BOTH
def test_a_thought_behind_a_finished_answer_takes_it_not_away(thought: str, take: Take) -> None:
    for before in ("", "The code:\n\n", "```bash\npip install x\n```\n"):
        for behind, remark in (("Done.", ""), ("", ""), (f"\n{WRONG}", ANOTHER)):
            taken = take(PROBLEM, f"{before}{FENCED}\n{thought}{behind}")
            assert (value(taken), taken.remark) == (3, remark), behind


@pytest.mark.parametrize(
    "before",
    [
        *("```bash\npip install x\n```\n", "```python\nfrom typing import List\n```\n", "```\nadd(2, 3)\n```\n"),
        *("```python\nassert add(2, 3) == 5\n```\n", "```\nx = [1, 2]\nprint(x)\n```\n", "```text\nfor a and b\n```\n"),
        *(f"Restated:\n\n```python\n{PROBLEM.prompt}{rest}```\n" for rest in ("", "    pass\n", "    ...\n")),
        *("```python\ndef add(a, b):\n```\n", f"{PROBLEM.prompt}\n"),
    ],
)
@pytest.mark.parametrize(
    ("opening", "closing"), [("<think>\n", "</think>\n"), ("[THINK]", "[/THINK]"), ("<mull>\n", "")]
)
@BOTH
def test_a_block_that_is_no_attempt_ends_not_where_thoughts_are_looked_for(
    before: str, opening: str, closing: str, take: Take
) -> None:
    assert take(PROBLEM, f"{before}\n{opening}{DRAFT}").remark.startswith((UNKNOWN, NO_ANSWER))
    if closing:
        assert value(take(PROBLEM, f"{before}\n{opening}{DRAFT}\n{closing}{FENCED}")) == 3
    assert value(take(PROBLEM, f"{before}\n{FENCED}")) == 3
    assert value(take(PROBLEM, f"{before}\n{FENCED}\n{opening}{DRAFT}")) == 3  # behind the answer


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        *(("<think>\n", "</thinking>"), ("<thinking>\n", "</think>"), ("<seed:think>", "</think>")),
        *(("<thought>\n", "</think>"), ("[THINK]", "</thought>"), ("<|channel>thought\n", "</think>")),
        *(("<think>\n", "<channel|>"), ("<think>\n", "<|channel|>final<|message|>"), ("<ctrl94>", "<ctrl95>")),
        *(("<|channel>\n", "<channel|>"), ("<EXECUTION>\n", "</EXECUTION>")),
    ],
)
@BOTH
def test_any_known_closing_mark_closes_any_known_opening_mark(opening: str, closing: str, take: Take) -> None:
    taken = take(PROBLEM, f"{opening}{DRAFT}\n{closing}\n\n{FENCED}")
    assert (value(taken), taken.remark) == (3, "")
    assert take(PROBLEM, f"{opening}{DRAFT}").remark == NO_ANSWER


@BOTH
def test_a_mark_within_a_thought_closes_it_not(take: Take) -> None:
    for within in ("<reflection>\nNo.\n</reflection>\n", "I close it with `</thought>` then.\n"):
        assert take(PROBLEM, f"<think>\n{within}{DRAFT}").remark == NO_ANSWER
        assert value(take(PROBLEM, f"<think>\n{within}{DRAFT}\n</think>\n{FENCED}")) == 3


@pytest.mark.parametrize("closing", ["</think>", "</think>\n", "<channel|>", "<unused95>\n", "</think><|im_end|>"])
@BOTH
def test_where_nothing_stands_behind_the_thought_that_is_said(closing: str, take: Take) -> None:
    for answer in (f"{FENCED}\n{closing}", f"<think>\n{FENCED}\n</think>\n"):
        taken = take(PROBLEM, answer)
        assert (value(taken), taken.remark) == (None, NO_ANSWER)


@BOTH
def test_a_tag_in_a_stub_or_an_example_is_no_mark(take: Take) -> None:
    """A docstring of HumanEval/144 has a line that begins with ``<numerator>/<denominator>``."""
    stub = 'def add(a, b):\n    """Add fractions:\n    <numerator>/<denominator>\n    <think>\n    """\n'
    for before in (f"```python\n{stub}```\n", f"{stub}\n", "```\nadd(2, 3)\n<numerator>\n```\n"):
        taken = take(PROBLEM, f"{before}\n{FENCED}")
        assert (value(taken), taken.remark) == (3, "")


def test_an_answer_is_counted_once_and_each_kind_has_its_remedy() -> None:
    assert len(remark_lines([("T/1", LATER)])) == 1
    assert [line.partition(": ")[2] for line in remark_lines([("T/1", f"{LATER}; x"), ("T/2", NO_CODE)])] == [
        f"{LATER} (T/1)",
        f"{NO_CODE} (T/2)",
    ]
    said, remedy = remark_lines([("T/1", NO_ANSWER), ("T/2", "")])
    assert said == f"1 of 2 answers: {NO_ANSWER} (T/1)"
    assert remedy.startswith("1 of 2 answers are not understood, and failed; take the answers down with the marks of")


@pytest.mark.parametrize("line", ["[PYTHON]\n", "O(n{})\n", "def f{}(): add\n", "def add(x, y{}): ...\n", "Word{}\n"])
@pytest.mark.parametrize("before", ["", "The function:\n", "```python\n"])
def test_of_a_long_answer_few_texts_are_parsed(line: str, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ast
    import builtins

    compiled: list[int] = []
    real = compile

    def counted(source: object, *args: object, **options: object) -> object:
        compiled.append(len(str(source)) if isinstance(source, str) else 0)
        return real(source, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(builtins, "compile", counted)
    monkeypatch.setattr(ast, "compile", counted, raising=False)
    long = "".join(line.format(number) for number in range(2000))
    take_code(PROBLEM, f"{before}{long}{FENCED}")
    assert sum(compiled) < 60 * len(long) + 1_000_000
    assert len(compiled) < 8_000
