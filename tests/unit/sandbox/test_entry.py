"""What ``check`` is given is what one process gives it, whatever the entry point says."""

from __future__ import annotations

import ast

import pytest

from evalkit.sandbox import Checker, Problem
from evalkit.sandbox.entry import changed_variables, defined_anew, entry_of, goes_on, variables
from tests.support.sandbox.entries import entries
from tests.support.sandbox.one_process import truths

pytestmark = [pytest.mark.torch_free]


def test_an_entry_point_of_any_form_is_judged_as_in_one_process(checker: Checker) -> None:
    rows = entries()
    passed = truths([(problem, completion) for _, problem, completion in rows])
    verdicts = list(checker.check_many((problem, completion) for _, problem, completion in rows))
    different = [
        (name, truth, verdict.label, verdict.detail)
        for (name, _, _), truth, verdict in zip(rows, passed, verdicts, strict=True)
        if verdict.passed != truth or verdict.is_disputed
    ]
    assert different == []
    assert {True, False} == set(passed)
    assert not any("candidate_entry" in verdict.detail for verdict in verdicts)


def test_a_failure_within_the_entry_point_names_it(checker: Checker) -> None:
    check = "def check(c):\n    assert c(1) == 2\n"
    for entry, test, says in (
        ("norm(f)", check, "NameError: name 'norm' is not defined (in check(norm(f)))"),
        ("norm(f)", "def norm(g): return h(g)\n" + check, "NameError \"name 'h' is not defined\" in the tests"),
        ("g, f", check, "in the tests: check(g, f)"),
        ("f g", check, "could not be judged: the entry point 'f g' is not Python"),
    ):
        (verdict,) = checker.check(Problem("T/0", "def f(a):\n", test, entry), ["    return a + 1\n"])
        assert not verdict.passed
        assert says in verdict.detail


def test_what_the_completion_defines_anew_beside_the_prompts_is_named(checker: Checker) -> None:
    prompt = "def a(x):\n    raise NotImplementedError\n\nLIMIT = 0\n\nclass C:\n    n = 1\n\ndef b(x):\n"
    completion = "    return a(x)\n\ndef a(x): return x + 1\nLIMIT = 5\nclass C:\n    n = 2\n"
    for line, name in (("a(1) == 2", "a"), ("LIMIT == 5", "LIMIT"), ("C.n == 2", "C")):
        problem = Problem("T/0", prompt, f"def check(c):\n    assert {line} and c(1) == 2\n", "b")
        (verdict,) = checker.check(problem, [completion])
        assert verdict.is_disputed
        assert f"could not cross: {name} of the completion, for the tests have the prompt's" in verdict.detail


@pytest.mark.parametrize(
    ("text", "value", "first", "last", "is_name"),
    [
        ("f", "f", "f", "f", True),
        (" f ", "f", "f", "f", True),
        ("(f)", "f", "f", "f", True),
        ("S().add", "S().add", "S", "add", False),
        ('D["f"]', "D['f']", "D", 'D["f"]', False),
        ("lambda a: f(a)", "lambda a: f(a)", "", "lambda a: f(a)", False),
        ("f, g", None, "", "f, g", False),
        ("*f", None, "", "*f", False),
        ("n=f", None, "", "n=f", False),
        ("", None, "", "", False),
    ],
)
def test_entry_points_are_read(text: str, value: str | None, first: str, last: str, is_name: bool) -> None:
    entry = entry_of(text)
    assert (entry.value, entry.first, entry.last, entry.is_name) == (value, first, last, is_name)


@pytest.mark.parametrize(
    ("prompt", "completion", "expected"),
    [
        ("class A:\n", "    n = 1\n", True),
        ("class A:\n", "\n# c\n\n    n = 1\n", True),
        ("class A:\n", "\nn = 1\n", False),
        ("class A:", "\n    n = 1\n", True),
        ("class A:", " n = 1\n", True),
        ("def f():\n    ", "return 1\n", True),
        ("def f():\n    pass", "\ndef g(): pass\n", False),
        ("class A:\n", "", False),
    ],
)
def test_a_completion_goes_on_within_what_the_prompt_ends_in(prompt: str, completion: str, expected: bool) -> None:
    assert goes_on(prompt, completion) is expected


def test_only_definitions_at_the_top_level_count_as_new() -> None:
    text = "    x = 1\ny == 2\nz = 3\nasync  def a(): pass\nclass B: pass\ndef cc(): pass\nd: int = 3\n"
    names = frozenset(("x", "y", "z", "a", "B", "c", "d"))
    assert defined_anew(names, text) == ["B", "a", "d", "z"]


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ("return TABLE[x] + len(TABLE)", []),
        ("# global TABLE\n    s = '''\n    global TABLE\n    '''\n    return TABLE.x", []),
        ("TABLE[x] = 1", ["TABLE"]),
        ("TABLE[x][0] += 1", ["TABLE"]),
        ("del TABLE[x]", ["TABLE"]),
        ("TABLE.append(x)", ["TABLE"]),
        ("t = TABLE\n    t.append(x)", ["TABLE"]),
        ("heappush(TABLE, x)", ["TABLE"]),
        ("global COUNT\n    COUNT += 1", ["COUNT"]),
        ("COUNT = 2\n    return COUNT", []),
        ("globals()['COUNT'] = 1", ["TABLE", "COUNT"]),
    ],
)
def test_a_program_that_only_reads_a_prompts_variable_does_not_change_it(body: str, changed: list[str]) -> None:
    prompt = "TABLE = [1]\nCOUNT = 0\n\ndef f(x):\n"
    found = variables(ast.parse(f"{prompt}    pass\n").body)
    assert changed_variables(found, f"{prompt}    {body}\n") == changed
