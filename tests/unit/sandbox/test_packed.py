"""What the judge makes ready while a program's process is made: its byte code, and what its texts say. The oracle is a
compilation in the program's own process, as the text of it has."""

from __future__ import annotations

import symtable
import warnings

import pytest

from evalkit.sandbox import Checker, Problem
from evalkit.sandbox.judge import MAX_READ_ASIDE, packed
from evalkit.sandbox.plain import plain_tests

SOLVE = "    return x + 1\n"
PROBLEM = Problem("Test/0", "def f(x):\n", "def check(f):\n    assert f(1) == 2\n", "f")


@pytest.mark.parametrize(
    "program",
    [
        "def f(x:\n",
        "def f(x): return x in {1, 2, 3}\n",  # marshal orders a set by itself
        "def f(x):\n    def g(y): return y in {'a', 'b', 'c'}\n    return g(x)\n",
        "def f(x): return x is 1\n",  # a SyntaxWarning
        r"def f(x): return '\d'" + "\n",  # a DeprecationWarning; later a SyntaxWarning
        "x = 1\0\n",
        "x = '\ud800'\n",
        "(" * 5000,
        "x = " + "-" * 7000 + "1\n",
        "x = 1\n" * MAX_READ_ASIDE,
    ],
)
def test_what_compiles_otherwise_elsewhere_is_sent_as_it_is(program: str) -> None:
    before = [*warnings.filters]
    assert packed(program) is None
    assert warnings.filters == before


def test_a_warning_of_the_compiler_is_in_the_programs_output(checker: Checker) -> None:
    (verdict,) = checker.check(PROBLEM, ["    return x + 1 if x is 1 else 0\n"])
    assert verdict.passed
    assert "SyntaxWarning" in verdict.output


@pytest.mark.parametrize(
    "body",
    [
        "    a, b = 'abc d', 'abc d'\n    return x + (a is b)\n",  # one constant of one compilation
        "    a, b = (1, 'x y', (2.5, None)), (1, 'x y', (2.5, None))\n    return x + (a is b)\n",
        "    def g(): return 12345.5\n    def h(): return 12345.5\n    return x + (g() is h())\n",
        "    try: 1 / 0\n    except Exception as error: return x + (error.__traceback__.tb_lineno == 2)\n",
    ],
)
def test_byte_code_is_what_the_text_gives(checker: Checker, body: str) -> None:
    """The comment makes the text too long to be compiled by the judge."""
    long = body + f"#{'.' * MAX_READ_ASIDE}\n"
    assert packed(PROBLEM.prompt + body) is not None
    assert packed(PROBLEM.prompt + long) is None
    assert [(one.label, one.detail) for one in checker.check(PROBLEM, [body, long])] == [("passed", "")] * 2


def test_texts_that_are_hard_to_compile_leave_the_judge_as_it_is() -> None:
    """Each ends as its own sample does, and the next ones in that worker pass."""
    hard = [
        "(" * 3000,
        "    return " + "-" * 7000 + "x\n",
        "    return " + "f(" * 2000 + "x" + ")" * 2000 + "\n",
        "    return " + "lambda: " * 900 + "x\n",
        "    return " + "x." * 3900 + "x\n",
        "".join(" " * depth + "if x:\n" for depth in range(4, 100)) + " " * 100 + "pass\n",
        "    return f'" + "{x:" * 900 + "\n",
        "\n".join(f"def g{n}(): g{n + 1}()" for n in range(300)) + "\n",
        "    return 9 ** 9 ** 9 if 0 else (0,) * (1 << 40)\n",
    ]
    with Checker(jobs=1) as checker:
        verdicts = checker.check(PROBLEM, [text for one in hard for text in (one, SOLVE)])
    assert [verdict.label for verdict in verdicts[1::2]] == ["passed"] * len(hard)
    assert {verdict.label for verdict in verdicts[::2]} <= {"malformed", "failed", "timed out", "out of memory"}


TESTS = [
    "META = 1\n\ndef check(candidate):\n    for i in (1, 2):\n        x = i\n        assert META == candidate(x)\n",
    "def check(candidate):\n    x = 1\n    x += candidate(x)\n    assert abs(x) == N, x\nN = 2\n",
    "A, (B, *C) = 1, (2, 3)\ndef check(g):\n    assert g(B) == A\n    B = 1\n",
    "def check(candidate):\n    assert [x for x in range(3)] == candidate(2)\n",
    "x = 1\ndef check(candidate):\n    x = candidate(1)\nassert x\n",
    "def check(candidate):\n    assert candidate(1) == 1\ndef more(a):\n    return a\n",
    "for n in range(3):\n    m = n\ndef check(candidate):\n    assert candidate(n) == n\n    m = len([1])\n",
]  # fmt: skip


@pytest.mark.parametrize("test", TESTS)
def test_global_names_of_tests_are_those_of_the_symbol_table(test: str) -> None:
    told = plain_tests("def f(x):\n", test, "f")
    names, todo = set(), [symtable.symtable(test, "test", "exec")]
    top = todo[0]
    for table in todo:
        todo += table.get_children()
        names |= {one.get_name() for one in table.get_symbols() if table is top or one.is_global()}
    assert told is not None
    assert told.names == names - {"f"}
