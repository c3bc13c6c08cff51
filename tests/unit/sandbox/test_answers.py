"""Code taken out of answers: right completions written by hand, and canonical solutions in every dress, run."""

from __future__ import annotations

import builtins
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from evalkit.sandbox import Checker, Problem, Verdict
from evalkit.sandbox.extract import (
    ANOTHER,
    NO_ANSWER,
    NO_CODE,
    NOTHING,
    UNKNOWN,
    extract,
    remark_lines,
    remarked,
    take_code,
)
from evalkit.sandbox.files import SAMPLE_DATA, read_problems
from evalkit.sandbox.raw import SEVERAL, WORDS
from tests.conftest import SHARED

pytestmark = pytest.mark.torch_free

TEST = "def check(candidate):\n    assert candidate(3) == 9\n"
SQUARE = Problem("square", 'import operator\n\n\ndef sq(x: int) -> int:\n    """Square."""\n', TEST, "sq")
BARE = Problem("no docstring", "def sq(x):\n", TEST, "sq")
CLASS = Problem("class", 'class Account:\n    """An account."""\n', "", "Account")
TITLE = Problem("a class in words", "# Write a class Account.\n", "", "Account")
METHOD = Problem(
    "method", 'class Solution:\n    def sq(self, x: int) -> int:\n        """Square."""\n', TEST, "Solution().sq"
)
EXPRESSION = SQUARE._replace(entry_point="cached(sq, n=3)")
STUB = Problem(
    "method without a docstring", "class Solution:\n    def sq(self, x: int) -> int:\n", TEST, "Solution().sq"
)
GEO = Problem("static", 'class Geo:\n    """Geometry."""\n', TEST, "Geo.sq")

CODE = "def sq(x):\n    return x * x\n"
OTHER = "def sq(x):\n    return x + x\n"
DEF = "\n" + CODE
BODY = "    return x * x\n"
BODY_8 = "        return x * x\n"
WHOLE = "class Account:\n    def __init__(self):\n        self.n = 0\n"
METHODS = "def __init__(self):\n    self.n = 0\n"
IN_SOLUTION = "\n    def sq(self, x):\n        return x * x\n\n"
TOKEN_IN_STRING = "def sq(x):\n    '</s>'\n    return x * x\n"
STRING = 's = """\n  a\n"""\nreturn x * x\n'
STATIC = "\n    @staticmethod\n    def sq(x):\n        return x * x\n\n"


def fenced(code: str, info: str = "python", fence: str = "```") -> str:
    return f"{fence}{info}\n{code}{fence}\n"


def quoted(text: str, mark: str) -> str:
    return "".join(mark + line for line in text.splitlines(keepends=True))


# Problem, answer, and the completion that a person would take from it.
TABLE = {
    # The opening fence may have any text behind it.
    **{
        f"info string {info}": (SQUARE, fenced(CODE, info), DEF)
        for info in (
            *("", "python", "Python3", "py", "python3.11", "{.python}", "python:sq.py", "c++", " python "),
            *('python title="sq.py"', "python {linenos=true}", "python copy showLineNumbers", "python # sq.py"),
        )
    },
    "tildes, with backticks in the info string": (SQUARE, fenced(CODE, "python `a`", "~~~"), DEF),
    "four signs hold three": (SQUARE, fenced(f"# ```\n{CODE}", fence="````"), f"\n# ```\n{CODE}"),
    "a longer closing fence": (SQUARE, f"```python\n{CODE}`````\nDone.", DEF),
    "tildes do not close backticks": (SQUARE, f"```\n# 1\n{CODE}'''\n~~~\n'''\n```", f"\n# 1\n{CODE}'''\n~~~\n'''\n"),
    "in a list": (SQUARE, "1. Write:\n" + quoted(fenced(CODE), "   ") + "2. Done", DEF),
    "in a list, in its first line": (SQUARE, "- " + quoted(fenced(CODE), "  ").lstrip(), DEF),
    "in a block quote": (SQUARE, "He said:\n" + quoted(fenced(CODE), "> "), DEF),
    "in a list in a block quote": (SQUARE, "> * so:\n" + quoted(fenced(CODE), ">   "), DEF),
    "within a Markdown block": (SQUARE, fenced(f"# Answer\n{fenced(CODE)}", "markdown", "````"), DEF),
    "lines of Windows": (SQUARE, fenced(CODE).replace("\n", "\r\n"), DEF),
    # Fences that CommonMark does not have, and models write.
    "closed on the last line": (SQUARE, f"```python\n{CODE.rstrip()}```", DEF.rstrip()),
    "closed on the last line, prose behind": (SQUARE, f"```python\n{CODE.rstrip()}```\nIt's a square.", DEF.rstrip()),
    "an end token behind the closing fence": (SQUARE, f"```python\n{CODE}```<|im_end|>\n<|im_start|>user\nHi", DEF),
    "closed on the last line, then an end token": (SQUARE, f"```python\n{CODE.rstrip()}```</s>", DEF.rstrip()),
    "opened behind words": (SQUARE, f"Answer: ```python\n{CODE}```\nDone.", DEF),
    "never closed": (SQUARE, f"```python\n{CODE}", DEF),
    "never closed, end token": (SQUARE, f"```python\n{CODE}</s>", DEF),
    "never opened": (SQUARE, f"{CODE}```\nThis squares.", CODE),
    "never opened, a body": (SQUARE, f"{BODY}```\n\nOr:\n{fenced(OTHER)}", BODY),
    "a fence in the docstring": (
        SQUARE,
        fenced('def sq(x):\n    """Square.\n\n    ```\n    sq(2)\n    ```\n    """\n    return x * x\n'),
        '\ndef sq(x):\n    """Square.\n\n    ```\n    sq(2)\n    ```\n    """\n    return x * x\n',
    ),
    # CodeLlama-Instruct.
    "tags": (SQUARE, f"[PYTHON]\n{CODE}[/PYTHON]\nDone.", DEF),
    "tags in the code's lines": (SQUARE, f"Sure. [PYTHON]{CODE.rstrip()}[/PYTHON]", DEF.rstrip()),
    "tags around a fence": (SQUARE, f"[PYTHON]\n{fenced(CODE)}[/PYTHON]", DEF),
    # End tokens.
    "an end token in a string": (
        SQUARE,
        fenced("def sq(x):\n    '</s>'\n    return x * x\n"),
        "\ndef sq(x):\n    '</s>'\n    return x * x\n",
    ),
    "an end token in a string, closed too late": (
        SQUARE,
        "```python\ndef sq(x):\n    '<|a|>'\n    return x * x\n<|im_end|>\n<|im_start|>user\nHi",
        "\ndef sq(x):\n    '<|a|>'\n    return x * x\n",
    ),
    "tokens at both ends": (SQUARE, f"<|im_start|>assistant\n{fenced(CODE)}<|im_end|>\n{fenced(OTHER)}", DEF),
    "an end token without a fence": (SQUARE, f"{CODE}<|endoftext|>{OTHER}", DEF),
    # Thought.
    "thought with a capital": (SQUARE, f"<Think>\n{fenced(OTHER)}</Think>\n{fenced(CODE)}", DEF),
    "thought that the template opened": (SQUARE, f"{fenced(OTHER)}</THINK>\n{fenced(CODE)}", DEF),
    # Which block.
    "an example before": (SQUARE, f"{fenced('print(sq(1))')}{fenced(CODE)}", DEF),
    "a shell's block before": (SQUARE, f"{fenced('pip install x', 'bash')}{fenced(CODE)}", DEF),
    "an example behind": (SQUARE, f"{fenced(CODE)}For example:\n{fenced('sq(3)')}", DEF),
    "no fence, an example in one": (SQUARE, f"{CODE}\nExample:\n{fenced('>>> sq(3)')}", DEF),
    # Definitions that are no `def`.
    "lambda": (SQUARE, fenced("sq = lambda x: x * x\n"), "\nsq = lambda x: x * x\n"),
    "annotated": (SQUARE, fenced("sq: object = lambda x: x * x\n"), "\nsq: object = lambda x: x * x\n"),
    "in a branch": (SQUARE, fenced(f"if True:\n{quoted(CODE, '    ')}"), f"\nif True:\n{quoted(CODE, '    ')}"),
    "import": (SQUARE, fenced("from m import f as sq\n"), "\nfrom m import f as sq\n"),
    "lambda without a fence": (SQUARE, "Sure:\nsq = lambda x: x * x\nIt squares.", "\nsq = lambda x: x * x\n"),
    "from the future": (SQUARE, fenced(f"from __future__ import annotations\n{CODE}"), f"\n\n{CODE}"),
    # Bodies.
    "body": (SQUARE, fenced(BODY), BODY),
    "body at the margin": (SQUARE, fenced("return x * x\n"), BODY),
    "a string over lines keeps its blanks": (
        SQUARE,
        's = """\n  a\n"""\nreturn x * x\n',
        '    s = """\n  a\n"""\n    return x * x\n',
    ),
    "body without its first blanks": (SQUARE, "y = x\n    return y * y\n", "    y = x\n    return y * y\n"),
    "body without its first blanks, prose behind": (
        SQUARE,
        "y = x\n    return y * y\nOr so.",
        "    y = x\n    return y * y\n",
    ),
    "body, prose behind": (SQUARE, f"{BODY}\nThis is the square.\n", f"{BODY}\n"),
    "body after the prompt without a docstring": (BARE, fenced("return x * x\n"), BODY),
    "whole after the prompt without a docstring": (BARE, fenced(CODE), f"    pass\n{DEF}"),
    # Classes.
    "class": (CLASS, fenced(WHOLE), "\n" + WHOLE),
    "class, no fence": (CLASS, f"Here is the class:\n\n{WHOLE}", "\n" + WHOLE),
    "class after words": (TITLE, f"Here:\n{fenced(WHOLE)}", "\n" + WHOLE),
    "its methods": (CLASS, fenced(METHODS), "\n" + quoted(METHODS, "    ") + "\n"),
    "class around the method": (METHOD, fenced("class Solution:\n    sq = pow\n"), "\nclass Solution:\n    sq = pow\n"),
    "method at the margin": (METHOD, fenced("def sq(self, x):\n    return x * x\n"), IN_SOLUTION),
    "method with its indentation": (METHOD, fenced("    def sq(self, x):\n        return x * x\n"), IN_SOLUTION),
    "method after a stub": (STUB, fenced("def sq(self, x):\n    return x * x\n"), f"        pass\n{IN_SOLUTION}"),
    "body of the method at the margin": (METHOD, fenced("return x * x\n"), BODY_8),
    "body of the method with four blanks": (METHOD, fenced(BODY), BODY_8),
    "body of the method as it is": (METHOD, fenced(BODY_8), BODY_8),
    "static method": (GEO, fenced("@staticmethod\ndef sq(x):\n    return x * x\n"), STATIC),
    "method with an import": (
        METHOD,
        fenced("import math\n\ndef sq(self, x):\n    return math.prod([x, x])\n"),
        "\n    import math\n\n    def sq(self, x):\n        return math.prod([x, x])\n\nimport math\n",
    ),
    "an expression": (EXPRESSION, f"{fenced('print(1)')}{fenced(CODE)}", DEF),
    "no expression": (SQUARE._replace(entry_point="sq, n=3"), f"{fenced('print(1)')}{fenced(CODE)}", DEF),
    # The entry's name is no name of another.
    "a name that begins alike": (SQUARE, fenced("def sq2(x): 0\n") + fenced(CODE), DEF),
}

# No fence says where the code ends; what is left out beside it is said.
WITH_WORDS = (
    *("no fence, an example in one", "lambda without a fence", "body without its first blanks, prose behind"),
    *("body, prose behind", "class, no fence"),
)
REMARKED = {**dict.fromkeys(WITH_WORDS, WORDS), "tokens at both ends": ANOTHER, "an end token without a fence": ANOTHER}


@pytest.mark.parametrize("kind", TABLE)
def test_the_completion_is_the_one_a_person_would_take(kind: str) -> None:
    problem, answer, completion = TABLE[kind]
    taken = take_code(problem, answer)
    assert taken.completion.rstrip("\n") == completion.rstrip("\n")
    assert taken.remark == REMARKED.get(kind, "")


@pytest.mark.parametrize(
    "answer",
    [
        *("", "\n", "Sure", "Sure!", "I cannot help with that.", "```python\n```", "```", "</s>", "1. No.\n2. No."),
    ],
)
def test_an_answer_without_code_is_said_to_have_none(answer: str) -> None:
    taken = take_code(SQUARE, answer)
    assert taken.remark == NO_CODE
    assert taken.completion == answer
    assert extract(SQUARE, answer).remark == NO_CODE


def test_of_several_versions_the_first_counts_and_it_is_said() -> None:
    taken = take_code(SQUARE, f"{fenced(OTHER)}Wrong for 3. Better:\n{fenced(CODE)}")
    assert (taken.completion, taken.remark) == ("\n" + OTHER, SEVERAL)
    assert take_code(SQUARE, fenced(CODE) + fenced(CODE + "\n")).remark == ""


@pytest.mark.parametrize("code", ["print(sq(3))\n", "class Solution:\n    def sq(self, x):\n        return x * x\n"])
def test_code_that_answers_nothing_is_said_to(code: str) -> None:
    assert take_code(SQUARE, fenced(code)).remark == NOTHING
    assert take_code(SQUARE, code).remark == NOTHING
    assert take_code(SQUARE, fenced("raise ValueError\n")).remark == ""


def test_a_first_version_that_is_no_python_is_not_passed_over() -> None:
    taken = take_code(SQUARE, fenced("def sq(x):\n    return x x\n") + fenced(CODE))
    assert "x x" in taken.completion


VERDICT = Verdict("T/1", False, "failed", "AssertionError", 0.1, 0.1, "none")


def test_the_verdict_says_what_became_of_the_answer() -> None:
    assert remarked(VERDICT, NO_CODE).detail == f"{NO_CODE}; AssertionError"
    assert remarked(VERDICT._replace(detail=""), NO_CODE).detail == NO_CODE
    assert remarked(VERDICT, "") == VERDICT
    for not_judged in (NO_ANSWER, f"{UNKNOWN} `<mull>`"):  # that it is no Python says nothing more
        assert remarked(VERDICT._replace(label="malformed", detail="SyntaxError"), not_judged).detail == not_judged
    assert remarked(VERDICT._replace(passed=True, label="passed", detail=""), SEVERAL).detail == SEVERAL
    for other in (
        VERDICT._replace(label="harness error"),
        VERDICT._replace(detail="could not be judged: the tests need a module"),
    ):
        assert remarked(other, NO_CODE) == other


def test_answers_without_code_are_counted() -> None:
    details = [("T/1", NO_CODE), ("T/1", f"{NO_CODE}; AssertionError"), ("T/2", SEVERAL), ("T/3", "AssertionError")]
    assert remark_lines(details) == [f"2 of 4 answers: {NO_CODE} (T/1)", f"1 of 4 answers: {SEVERAL} (T/2)"]
    assert remark_lines([("T/1", "")]) == []


@pytest.mark.parametrize(
    "answer",
    [
        "`" * 90_000,
        "```\n" * 20_000,
        '```\n"""\n```\n' * 8_000,
        "> " * 45_000,
        "- " * 45_000 + "x",
        "``` " * 20_000,
        "def sq(x):\n" * 8_000,
        "```" + " " * 90_000 + "x`",
        "<|a|>" * 18_000,
        "[PYTHON]" * 10_000,
        "(" * 90_000,
        "x = 1\ny z\n" * 9_000,
        " " * 60_000 + "\n```python\ndef sq(x):\n    return x\n```",
    ],
    ids=lambda answer: repr(answer[:12]),
)
def test_no_answer_takes_long(answer: str) -> None:
    """A quadratic search would take minutes here, and the suite's own limit end it."""
    take_code(SQUARE, answer)


REPEATED = [
    *("[PYTHON]", "<think>", "<think></think>", "</think>", "```", "```\n", "def f(\n", "def sq(\n", "Human:"),
    *("<|im_end|>", "<|channel|>analysis<|message|>", "return x\n", "    return x\n", "foo ", "foo\n", "[PAD]", "`"),
    *("~~~\n", "'''python\n", "class A:\n", "@x\n", "import x\n", "def sq(x):\n    pass\n", "x = (\n", "[unused16]"),
    *("```python\nreturn (x\n```\n", "```python\ndef sq(x):\n    pass\n```\n", "def sq(x):\n    return x x\n\n"),
    *("    return x\nFoo bar.\n", "def sq(x):\n    return x\nFoo bar.\n", "Here is my thought process:", "analysis"),
    "Human:\n",
]


@pytest.mark.parametrize("repeated", REPEATED, ids=repr)
@pytest.mark.no_cover
def test_the_work_on_an_answer_is_linear_in_its_length(repeated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the work is: the characters that Python's parser is given; nearly all of the time is that."""
    given = 0
    parse = builtins.compile

    def counted(source: object, *args: Any, **named: Any) -> Any:
        nonlocal given
        given += len(source) if isinstance(source, str) else 0
        return parse(source, *args, **named)  # type: ignore[call-overload]

    work = {}
    for size in (5_000, 40_000):
        given = 0
        with monkeypatch.context() as patch:
            patch.setattr(builtins, "compile", counted)
            take_code(SQUARE, (repeated * (size // len(repeated) + 1))[:size])
        work[size] = given / size
    assert work[5_000] < 1_000, work
    assert work[40_000] < 2 * work[5_000] + 50, work


def problems() -> dict[str, Problem]:
    data = SHARED / "data" / "humaneval"
    return read_problems(data if data.is_dir() else SAMPLE_DATA)


# How a whole function, or its body, is dressed up; each must pass as the canonical solution does.
DRESSES: dict[str, Callable[[str, str], str]] = {
    "prose": lambda whole, _: f"Here you go:\n\n{fenced(whole)}\nHope it's what you want!",
    "title": lambda whole, _: fenced(whole, 'python title="solution.py"'),
    "pandoc": lambda whole, _: fenced(whole, "{.python .numberLines}"),
    "closed on the last line": lambda whole, _: f"```python\n{whole.rstrip()}```",
    "tildes": lambda whole, _: fenced(whole, "python", "~~~~"),
    "tags": lambda whole, _: f"[PYTHON]\n{whole}[/PYTHON]",
    "list": lambda whole, _: "1. So:\n" + textwrap.indent(fenced(whole), "   "),
    "quote": lambda whole, _: quoted(fenced(whole), "> "),
    "thought": lambda whole, _: f"<Think>{fenced('pass')}</Think>{fenced(whole)}<|im_end|>",
    "cut": lambda whole, _: f"```python\n{whole}",
    "no fence": lambda whole, _: f"Here is the function.\n\n{whole}\nThis function does what you asked for.",
    "body": lambda _, body: fenced(body),
    "body at the margin": lambda _, body: fenced(textwrap.dedent(body)),
    "body, no fence": lambda _, body: f"{body}<|endoftext|>\nThanks.",
    "body at the margin, no fence": lambda _, body: textwrap.dedent(body).strip("\n"),
    "body, stray fence": lambda _, body: f"{body}```\n\nThis is it.",
}


def test_canonical_solutions_pass_in_every_dress(checker: Checker) -> None:
    dressed = [
        (problem, dress, DRESSES[dress](problem.prompt + solution, solution))
        for problem in problems().values()
        if (solution := problem.canonical_solution)
        for dress in DRESSES
    ]
    taken = [(problem, take_code(problem, answer)) for problem, _, answer in dressed]
    # Each program once; most dresses give the same one.
    programs = {(problem.task_id, one.completion.strip("\n")): (problem, one.completion) for problem, one in taken}
    verdicts = dict(zip(programs, checker.check_many(programs.values()), strict=True))
    assert [
        (problem.task_id, dress, one.remark, verdicts[problem.task_id, one.completion.strip("\n")].detail)
        for (problem, dress, _), (_, one) in zip(dressed, taken, strict=True)
        if one.remark != (WORDS if dress == "no fence" else "")
        or not verdicts[problem.task_id, one.completion.strip("\n")].passed
    ] == []
