"""What is one object, or one memory, in Python is one here, and a copy is a copy; the oracle is plain Python."""

from __future__ import annotations

import itertools
import random
import textwrap

import pytest

from evalkit.sandbox import Checker, Problem
from evalkit.sandbox.arrays import build_view
from evalkit.sandbox.decoding import decode
from evalkit.sandbox.raised import Raiser
from evalkit.sandbox.talking import describe

from .test_like_python import agree, indented

pytestmark = pytest.mark.torch_free

NUMPY = "import numpy as np\nfrom array import array\n"
# (body of f(*a), tests, of which some hold and some do not)
MEMORY = [
    ("return a[0][:]", "a = np.zeros(3)\nb = f(a)\nb[0] = 1\nassert a[0] == {0, 1}"),
    ("return a[0][::-2]", "a = np.arange(9)\nb = f(a)\na[8] = 5\nassert b[0] == {5, 8}"),
    ("return a[0].reshape(-1)", "a = np.zeros((2, 2))\nb = f(a)\nb[0] = 1\nassert a.sum() == {0, 1}"),
    ("return a[0].T", "a = np.zeros((2, 3))\nassert np.shares_memory(a, f(a)) == {True, False}"),
    ("return a[0].T.copy()", "a = np.zeros((2, 3))\nassert np.shares_memory(a, f(a)) == {True, False}"),
    ("a[0][0] = 5\nreturn int(a[1].sum())", "m = np.zeros(4)\nassert f(m[:2], m[:3]) == {0, 5}"),
    ("a[0][0] = 5\nreturn int(a[1].sum())", "m = np.zeros((4, 4)).copy('F')\nassert f(m[1], m[:, 0]) == {0, 5}"),
    ("for row in a[0]: row += 1", "m = np.zeros((2, 2))\nf(m[1:])\nassert m.sum() == {0, 2}"),
    ("m = np.zeros(4)\nreturn m[:2], m[1:]", "x, y = f()\nx[1] = 3\nassert y[0] == {0, 3}"),
    ("return np.asarray(a[0])", "a = np.array(['x', 'yz'])\nb = f(a)\nb[0] = 'q'\nassert a[0] == {'q', 'x'}"),
    ("a[0][0] = 1", "a = np.zeros(2)\na.flags.writeable = False\ntry: f(a)\nexcept ValueError: r = 1\n"
     "else: r = 0\nassert r == {0, 1}"),
    ("a = np.zeros(2)\na.flags.writeable = False\nreturn a", "assert f().flags.writeable == {True, False}"),
    ("return a[0].flags.f_contiguous", "assert f(np.ones((2, 3), order='F')) == {True, False}"),
    ("return np.asfortranarray(a[0])", "assert f(np.ones((2, 3))).flags.f_contiguous == {True, False}"),
    ("a[0].shape = (2, 2)", "a = np.arange(4)\nf(a)\nassert a.shape == {(4,), (2, 2)}"),
    ("return a[0] is np.int32 and a[1] == np.dtype('f4')", "assert f(np.int32, np.dtype('f4')) == {True, False}"),
    ("return np.dtype('i2'), np.float32", "d, t = f()\nassert (d == np.int16 and t is np.float32) == {True, False}"),
    ("return memoryview(a[0])", "b = bytearray(b'abc')\nm = f(b)\nb[0] = 0\nassert m[0] == {0, 97}"),
    ("a[0][1] = 7", "b = bytearray(b'abc')\nf(memoryview(b))\nassert b[1] == {7, 98}"),
    ("a[0].extend(b'!')\nreturn memoryview(a[0])", "b = bytearray(b'abc')\nassert bytes(f(b)) == {b'abc!', b'abc'}"),
    ("a[0][0] = 9", "x = array('i', [1, 2])\nm = memoryview(x)\nf(x)\nassert m[0] == {1, 9}"),
    ("import types\nreturn types.MappingProxyType(a[0])",
     "d = dict(x=1)\nm = f(d)\nd['x'] = 2\nassert m['x'] == {1, 2}"),
    ("return a[0].keys()", "d = dict(x=1)\nk = f(d)\nd['y'] = 2\nassert len(k) == {1, 2}"),
    ("return a[0].values()", "d = dict(x=1)\nk = f(d)\nd['x'] = 2\nassert sum(k) == {1, 2}"),
    ("return len(a[0]), 'x' in a[0]", "assert f(dict(x=1).keys()) == {(1, True), (0, False)}"),
    ("return np.lib.stride_tricks.sliding_window_view(a[0], 3)",
     "a = np.arange(6)\nv = f(a)\na[2] = 50\nassert (int(v[0, 2]), int(v[2, 0])) == {(50, 50), (2, 2)}"),
    ("return np.lib.stride_tricks.as_strided(a[0], (2, 2), (8, 8))",
     "a = np.arange(6)\nv = f(a)\nv[:] = 0\nassert a[1] == {0, 1}"),
    ("a[0][0, 1] = 9",
     "a = np.arange(6)\nf(np.lib.stride_tricks.as_strided(a, (2, 2), (16, 8)))\nassert a[1] == {9, 1}"),
    ("f.x = array('i', [1, 2])\nreturn memoryview(f.x), f.x",
     "m, x = f()\nx[0] = 5\nassert (m[0], m[1], m.format) == {(5, 2, 'i'), (1, 2, 'B')}"),
    ("return memoryview(a[0])", "a = np.arange(6.).reshape(2, 3)\nm = f(a)\na[1, 0] = 8\n"
     "assert (m[1, 0], m.format, m.shape) == {(8.0, 'd', (2, 3)), (3.0, 'd', (2, 3))}"),
    ("return memoryview(b'abcdef').cast('H')",
     "m = f()\nassert (len(m), m.format, m.readonly) == {(3, 'H', True), (6, 'B', True)}"),
    ("return memoryview(b'abcdef').cast('B', (2, 3))",
     "assert str(f().tolist()[1]) == {'[100, 101, 102]', '[97, 98, 99]'}"),
    ("return memoryview(array('h', [1, 2, 3, 4]))[::2]", "m = f()\nassert (m[1], len(m)) == {(3, 2), (2, 2)}"),
    ("return a[0].format, a[0][1]", "assert f(memoryview(array('q', [1, -2]))) == {('q', -2), ('B', 0)}"),
    ("return memoryview(np.zeros(2, [('a', 'i4')]))", "assert f().nbytes == {8, 4}"),
    ("a[0]['x'] += 1", "d = dict(x=1, y=2)\nfor k in d: f(d)\nassert d['x'] == {3, 2}"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "lines"), MEMORY)
def test_memory_is_shared_as_in_one_process(checker: Checker, body: str, lines: str) -> None:
    """Each of the values that the last line names is tried; Python says which one holds."""
    pytest.importorskip("numpy")
    start, equal, values = lines.rpartition("== ")
    choices = [repr(value) for value in eval(values)] if values.startswith("{") else None
    truths = [
        agree(checker, NUMPY + "def f(*a):\n", indented(body), f"{NUMPY}{start}{equal}{choice}")
        for choice in choices or [values]
    ]
    assert truths.count(True) == 1


# (definitions behind f, tests): of which some hold and some do not.
OWN = [
    ("class f(list):\n    def push(self, x): self.append(x)",
     "s = f()\ns.push(1)\ns.append(2)\nassert len(s) == 2 and s == [1, 2] and s.pop() == 2 and s == [1]"),
    ("class f(list):\n    def push(self, x): self.append(x)", "s = f([])\ns.push(1)\nassert len(s) == 0"),
    ("class f(list):\n    def push(self, x): self.append(x)", "s = t = f([])\nt.push(1)\nassert s is t and s == [1]"),
    ("class f(dict):\n    def merged(self, o):\n        self.update(o)\n        return f(self)",
     "c = f(a=1)\nassert c.merged({'a': 2}) == {'a': 2} and c == {'a': 1}"),
    ("class f(set):\n    def plus(self, x):\n        self.add(x)\n        return self",
     "a = f([1])\nb = a.plus(2)\nassert b is a and a == {1, 2}"),
    ("class L(list): pass\nS = L([1])\n\n\ndef f(): return S", "a, b = f(), f()\na.append(3)\nassert b == [1]"),
    ("class L(list): pass\nS = L([1])\n\n\ndef f(): return S", "a, b = f(), f()\na.append(3)\nassert a is b"),
    ("class f(list):\n    def append(self, x): super().append(x), super().append(x)",
     "s = f()\ns.append(1)\nassert len(s) == 1"),
    ("class f(list):\n    def __getitem__(self, i): return list.__getitem__(self, i - 1)",
     "assert f([5, 6])[1] == 5 and f([5, 6]) == [5, 6]"),
    ("class f(list):\n    def __len__(self): return 7", "assert len(f([1])) == 1"),
    ("class f(dict):\n    def __missing__(self, k): return k * 2", "assert f(a=1)['b'] == 'bb' and 'b' not in f()"),
    ("class f(dict):\n    def __setitem__(self, k, v): super().__setitem__(k.lower(), v)",
     "d = f()\nd['A'] = 1\nassert d == {'a': 1} and d['a'] == 1"),
    ("class f(list):\n    def __add__(self, o): return f([x + y for x, y in zip(self, o)])",
     "assert f([1]) + f([2]) == [3]"),
    ("class f(float):\n    def __str__(self): return f'{float(self):.1f}C'",
     "assert str(f(100)) == '100.0C' and f(100) == 100 and f'{f(2)}' == '2.0'"),
    ("class f(str):\n    def shout(self): return self.upper() + '!'",
     "assert f('a').shout() == 'A!' == f('A').shout()"),
    ("class f(tuple):\n    def __lt__(self, o): return o[0] < self[0]",
     "assert sorted([f([1]), f([3]), f([2])]) == [(3,), (2,), (1,)]"),
    ("import typing\nclass f(typing.NamedTuple):\n    x: int\n    def norm(self): return self.x ** 2",
     "p = f(3)\nassert p.norm() == 9 and p == (3,) and p._replace(x=4).x == 4 and str(p) == 'f(x=3)'"),
    ("class f(list):\n    def __init__(self, *a):\n        super().__init__(*a)\n        self.size = 0",
     "s = f([1])\ns.size = 5\nassert s.size == 5 and s == [1]"),
    ("class f:\n    def __init__(self, r): self.r = r\n    def grown(self):\n        self.r.append(1)\n"
     "        return self\n    def __eq__(self, o): return self.r == o.r",
     "import copy\nm = f([])\nold = copy.deepcopy(m)\nm.grown()\nassert m == old"),
    ("class f:\n    def __init__(self, r): self.r = r",
     "import copy\na = f([1])\nb, c = copy.copy(a), copy.deepcopy(a)\nc.r.append(2)\nassert b.r is a.r and a.r == [1]"),
    ("class f:\n    def __init__(self, r): self.r = r",
     "import copy\na = f([1])\nb = copy.copy(a)\nb.r.append(2)\nassert a.r == [1]"),
    ("class f:\n    def __init__(self, r): self.r = r\n    def __copy__(self): return f(self.r[:])",
     "import copy\na = f([1])\nb = copy.copy(a)\nb.r.append(2)\nassert a.r == [1]"),
    ("class f:\n    def __init__(self, n=None): self.n, self.v = n, 0",
     "import copy\na = f()\nl = [a, f(a)]\nc = copy.deepcopy(l)\nc[0].v = 5\nassert c[1].n.v == 5 and l[0].v == 0"),
    ("class f:\n    def __init__(self, r): self.r = r",
     "import copy\nl = [1]\nc, m = copy.deepcopy([f(l), l])\nm.append(2)\n"
     "assert c.r is m and c.r == [1, 2] and l == [1]"),
    ("class f:\n    def __init__(self, r): self.r = r",
     "import copy\nl = [1]\nm, c = copy.deepcopy([l, f(l)])\nm.append(2)\n"
     "assert c.r is m and c.r == [1, 2] and l == [1]"),
    ("class f:\n    def __init__(self, r): self.r = r",
     "import copy\nl = [1]\nc, m = copy.deepcopy([f(l), l])\nm.append(2)\nassert c.r == [1]"),
    ("class f:\n    def __init__(self, r): self.r = r",
     "import copy\nl = [[1], {}]\nc = [copy.deepcopy([f(l[0]), *l, f(l)]) for _ in range(30)]\n"
     "c[3][1].append(2)\nassert c[3][0].r == [1, 2] == c[3][3].r[0] and c[4][0].r == [1] == l[0]"),
    ("class f(list):\n    def __hash__(self): return 1", "assert hash(f()) == 1 and {f([1]): 2}[f([1])] == 2"),
    ("class f(list):\n    def __hash__(self): return 1", "try: hash(f())\nexcept TypeError: pass\nelse: assert False"),
    ("class f(list):\n    def __eq__(self, o): return list.__eq__(self, o)",
     "try: hash(f())\nexcept TypeError: pass\nelse: assert False"),
    ("from collections import defaultdict\nclass f(defaultdict):\n    def __init__(self): super().__init__(list)",
     "g = f()\ng[1].append(2)\n"
     "assert dict(g) == {1: [2]} and sorted(g.items()) == [(1, [2])] and list(g.values()) == [[2]]"),
    ("from collections import Counter\nclass f(Counter): pass",
     "g = f('aab')\n"
     "assert dict(g) == {'a': 2, 'b': 1} and sorted(g.items()) == [('a', 2), ('b', 1)] and 'a' in g.keys()"),
    ("class E(UnicodeDecodeError): pass\ndef f(): raise E('utf8', b'ab', 0, 1, 'bad')",
     "try: f()\n"
     "except UnicodeDecodeError as e: assert (e.start, e.reason, e.object, e.args[3]) == (0, 'bad', b'ab', 1)"),
    ("import threading\ndef f(g, xs):\n    r = [None] * len(xs)\n    def one(k): r[k] = g(xs[k])\n"
     "    ts = [threading.Thread(target=one, args=(k,)) for k in range(len(xs))]\n    for t in ts: t.start()\n"
     "    for t in ts: t.join()\n    return r",
     "assert f(lambda v: v * 3, list(range(8))) == [3 * i for i in range(8)]\n"
     "assert f(lambda v: f(lambda w: w + v, [1, 2]), [10, 20, 30]) == [[11, 12], [21, 22], [31, 32]]"),
    ("import concurrent.futures as c\nex = c.ThreadPoolExecutor(2)\ndef f(g, x): return ex.submit(g, x)",
     "a, b = f(lambda v: v * 3, 5), f(abs, -5)\nassert a.result() == 15 and b.result(timeout=1) == 5"),
    ("import threading\ndef f(g, n):\n    r = []\n"
     "    ts = [threading.Thread(target=lambda: r.append(g(n - 1))) for _ in '12']\n"
     "    for t in ts: t.start()\n    for t in ts: t.join()\n    return sum(r)",
     "def g(n): return f(g, n) if n > 0 else 1\nassert f(g, 3) == 8"),
    ("import threading\ndef f(g):\n    def forever():\n        while True: g(1)\n"
     "    threading.Thread(target=forever, daemon=True).start()\n    return 5",
     "l = []\nassert f(l.append) == 5 and f(l.append) == 5 and {*l} <= {1}"),
    ("import concurrent.futures as c\nex = c.ThreadPoolExecutor(2)\ndef f(g, x): return ex.submit(g, x)",
     "a = f(lambda v: v * 3, 5)\nwhile not a.done(): pass\nassert a.result() == 15"),
    ("class f(list): pass", "import copy\na = f([[1]])\nb = copy.deepcopy(a)\nb[0].append(2)\nassert a == [[1]]"),
    ("class f(list): pass",
     "import copy\na = f([[1]])\nb = copy.copy(a)\nb.append(2)\nassert a == [[1]] and b[0] is a[0]"),
    ("def f(n): return lambda: n", "import copy\ng = f(3)\nassert copy.deepcopy(g)() == 3 and copy.copy(g) is g"),
    ("def f(n): return iter([n])", "import copy\nassert [*copy.copy(f(3))] == [3]"),
    ("def f(n): yield n", "import copy\ncopy.copy(f(3))"),
    ("def f(x): return f", "import copy\nassert f(1) is f and f(1)(2)(3).__name__ == 'f' and copy.deepcopy(f) is f"),
    ("def f(x): return x", "assert not hasattr(f, 'cache') and getattr(f, 'calls', 0) == 0"),
    ("def f(x): return f.missing", "try: f(1)\nexcept AttributeError as e: assert e.obj is f"),
    ("class f:\n    n = 0\n    @classmethod\n    def make(cls): return cls",
     "assert f.make() is f and f.make()().n == 0 and type(f()).n == 0 and type(f())().n == 0"),
    ("class f: pass\n\n\nclass G(f): pass", "assert type(f()) is type(f()) and type(f()) is not type(G())"),
    ("class f:\n    def __init__(self, x): self.x = x",
     "p = f(1)\nq = type(p)(5)\nassert q.x == 5 and p.__class__(6).x == 6"),
    ("class ValueError(Exception): pass\n\n\ndef f(): raise ValueError('x')",
     "import builtins\ntry: f()\nexcept builtins.ValueError: pass"),
    ("class KeyError(ValueError): pass\n\n\ndef f(): raise KeyError('x')",
     "try: f()\nexcept ValueError as e: assert type(e).__name__ == 'KeyError'"),
    ("def f(g):\n    try: g()\n    except ValueError: return 1\n    except Exception: return 2",
     "class ValueError(Exception): pass\ndef g(): raise ValueError\nassert f(g) == 2"),
]  # fmt: skip


@pytest.mark.parametrize(("definitions", "lines"), OWN)
def test_own_classes_are_used_as_in_one_process(checker: Checker, definitions: str, lines: str) -> None:
    agree(checker, "", definitions + "\n", lines)


NAMED = [
    ("class f:\n    def __radd__(self, o): return 5", "assert 1 + f() == 5", "operators of the program's own class f"),
    ("class f(float):\n    def __add__(self, o): return 5", "assert f(1) + 1 == 5", "operators of the program's own"),
    ("async def f():\n    yield 1", "import asyncio\nasync def m(): return [x async for x in f()]\n"
     "assert asyncio.run(m()) == [1]", "asynchronous"),
    ("class A: pass\ndef f(): return A", "assert f().__mro__[0].__name__ == 'A'", "__mro__"),
    ("def f(): yield 1", "import inspect\nassert inspect.isgeneratorfunction(f)", "__code__ of the entry"),
    ("def f(): return f", "import pickle\nclass A: pass\nassert pickle.dumps(f().__call__)", "pickle"),
    ("import numpy as np\ndef f(a): a.resize(9, refcheck=False)",
     "import numpy as np\na = np.arange(3)\nv = a[1:]\nf(a)\nassert len(a) == 9 and v is not a", "another size"),
    ("def f(b): b.extend(b'x')", "b = bytearray(b'a')\nm = memoryview(b)\ntry: f(b)\n"
     "except BufferError: pass\nassert len(b) == 2", "re-sized"),
]  # fmt: skip


@pytest.mark.parametrize(("definitions", "lines", "name"), NAMED)
def test_what_cannot_cross_is_named(checker: Checker, definitions: str, lines: str, name: str) -> None:
    test = "def check(f):\n" + textwrap.indent(lines, "    ") + "\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [definitions + "\n"])
    assert (verdict.label, verdict.passed) == ("failed", False)
    assert "could not cross" in verdict.detail
    assert name in verdict.detail


@pytest.mark.parametrize(
    ("body", "line", "name"),
    [
        ("def __eq__(self, o): return False", "f([1]) == [1]", "__eq__"),
        ("def __contains__(self, x): return False", "1 in f([1])", "__contains__"),
        ("def __lt__(self, o): return False", "f([1]) < [2]", "__lt__"),
        ("def __radd__(self, o): return [0]", "[1] + f([2]) == [1, 2]", "__radd__"),
    ],
)
def test_a_pass_that_rests_on_the_base_types_comparison_fails_in_one_process(
    checker: Checker, body: str, line: str, name: str
) -> None:
    test = f"def check(f):\n    assert {line}\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [f"class f(list):\n    {body}\n"])
    assert (verdict.label, verdict.in_one_process) == ("failed", "failed")
    assert verdict.detail.startswith("passes with program and tests in two processes, but fails in one: ")
    assert verdict.detail.endswith(f"; {name} of the program's own class f was not asked")


@pytest.mark.parametrize(
    ("base", "line", "sign"),
    [
        ("int", "3 + f(2) == 5", "radd"),
        ("int", "3 * f(2) == 6", "rmul"),
        ("float", "5 - f(1.0) == 4", "rsub"),
        ("str", "'a' + f('b') == 'ab'", "radd"),
        ("str", "'%s!' % f('b') == 'b!'", "rmod"),
        ("tuple", "(1,) + f((2,)) == (1, 2)", "radd"),
        ("set", "{1} | f({2}) == {1, 2}", "ror"),
        ("frozenset", "frozenset([1]) & f([1]) == {1}", "rand"),
        ("dict", "{1: 1} | f({2: 2}) == {1: 1, 2: 2}", "ror"),
        ("bytes", "b'a' + f(b'b') == b'ab'", "radd"),
    ],
)
def test_a_pass_that_rests_on_the_base_types_operator_fails_in_one_process(
    checker: Checker, base: str, line: str, sign: str
) -> None:
    body = f"class f({base}):\n    def __{sign}__(self, o): return 7\n"
    (verdict,) = checker.check(Problem("Test/0", "", f"def check(f):\n    assert {line}\n", "f"), [body])
    assert (verdict.label, verdict.in_one_process) == ("failed", "failed")
    assert verdict.detail.startswith("passes with program and tests in two processes, but fails in one: ")
    assert verdict.detail.endswith(f"; __{sign}__ of the program's own class f was not asked")


REFLECTED = [
    ("class f(int):\n    def __radd__(self, o): return 7", "assert sum([f(1), f(2)]) == 3"),
    ("class f(int):\n    def __radd__(self, o): return f(int(o) + int(self))", "assert sum([f(1), f(2)]) == 3"),
    ("class f:\n    def __init__(self, v): self.v = v\n    def __add__(self, o): return f(self.v + o.v)\n"
     "    def __radd__(self, o): return self if o == 0 else self + o", "assert sum([f(1), f(2)]).v == 3"),
    ("class A(int): pass\nclass B(A):\n    def __radd__(self, o): return 77\ndef f(): return A(1), B(2)",
     "a, b = f()\nassert a + b == 77"),
    ("class A(int): pass\nclass B(A):\n    def __radd__(self, o): return 77\ndef f(): return A(1), B(2)",
     "a, b = f()\nassert a + b == 3"),
    ("class A(int): pass\nclass B(int):\n    def __rsub__(self, o): return 77\ndef f(): return A(1), B(2)",
     "a, b = f()\nassert a - b == -1"),
    ("class A(str): pass\nclass B(str):\n    def __rsub__(self, o): return 'q'\ndef f(): return A('x'), B('y')",
     "a, b = f()\nassert a - b == 'q'"),
    ("class A: pass\nclass B:\n    def __rmul__(self, o): return 5\ndef f(): return A(), B()",
     "a, b = f()\nassert a * b == 5"),
    ("class f(list):\n    def more(self): pass",
     "x = y = f([1])\nx += [2]\nx *= 2\nassert x is y and y == [1, 2, 1, 2] and [0] + y == [0, 1, 2, 1, 2]"),
    ("class f(bytearray):\n    def more(self): pass",
     "x = y = f(b'a')\nx += b'b'\nx *= 2\nassert x is y and y == b'abab' and y % () == b'abab'"),
    ("class f(int):\n    def more(self): pass",
     "x = f(7)\nassert (x + 1, 10 - x, pow(x, 2, 5), 2 ** x, divmod(x, 2), x * 'a', [1] * x, x + 1.5, x << 1)"
     " == (8, 3, 4, 128, (3, 1), 'aaaaaaa', [1] * 7, 8.5, 14)"),
]  # fmt: skip


@pytest.mark.parametrize(("definitions", "lines"), REFLECTED)
def test_operators_of_the_right_side_are_asked_as_in_one_process(
    checker: Checker, definitions: str, lines: str
) -> None:
    agree(checker, "", definitions + "\n", lines)


@pytest.mark.parametrize("line", ["5 - f(1) == 0", "5 + f(1) == 5", "0 - f(1) == 0", "0.0 + f(1) == 0"])
def test_the_right_side_is_shown_no_value_that_tests_may_expect(checker: Checker, line: str) -> None:
    body = "class f:\n    __init__ = lambda s, v: None\n    __radd__ = lambda s, o: o\n    __rsub__ = lambda s, o: 0\n"
    (verdict,) = checker.check(Problem("Test/0", "", f"def check(f):\n    assert {line}\n", "f"), [body])
    assert (verdict.label, "could not cross: operators" in verdict.detail) == ("failed", True)


SETTINGS = [
    ("import random\ndef f(): return random.random()", "import random\nrandom.seed(1)\nx = f()\nrandom.seed(1)\n"
     "assert x == random.random()", "a random seed"),
    ("from decimal import Decimal\ndef f(): return str(Decimal(1) / 3)",
     "import decimal\ndecimal.getcontext().prec = 3\nassert f() == '0.333'", "the decimal context"),
    ("def f(n): return n and 1 + f(n - 1)", "import sys\nsys.setrecursionlimit(9000)\nassert f(4000) == 4000",
     "the recursion limit"),
    ("import os\ndef f(): return os.environ.get('X')", "import os\nos.environ['X'] = '1'\nassert f() == '1'",
     "the environment"),
]  # fmt: skip


@pytest.mark.parametrize(("definitions", "lines", "name"), SETTINGS)
def test_settings_of_the_tests_are_named(checker: Checker, definitions: str, lines: str, name: str) -> None:
    test = "def check(f):\n" + textwrap.indent(lines, "    ") + "\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [definitions + "\n"])
    assert verdict.label == "failed"
    assert f"could not cross: {name} that the tests set" in verdict.detail
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), ["def f(*a): raise KeyError\n"])
    assert (verdict.label, "could not cross" in verdict.detail) == ("failed", False)


def test_a_thread_that_nobody_listens_to_is_named(checker: Checker) -> None:
    body = "import threading\n\n\ndef f(g):\n    threading.Thread(target=g).start()\n"
    test = "import threading\n\n\ndef check(f):\n    e = threading.Event()\n    f(e.set)\n    assert e.wait(0.05)\n"
    verdicts = list(checker.check(Problem("Test/0", "", test, "f"), [body] * 3))
    assert all(verdict.passed or "program's threads" in verdict.detail for verdict in verdicts), verdicts


WILD = [
    ([2, 2, 2], [8 * 4096 * 100, 1 << 62, 1 << 62], 0),
    ([3], [-(1 << 63)], 0),
    ([3], [1 << 63], 0),
    ([1 << 20], [1 << 44], 0),
    ([2, 2], [1 << 61, -(1 << 61)], 0),
    ([2], [8], 8 * 999),
    ([2], [-8], 0),
    ([1], [8], -8),
    ([1], [8], 1 << 64),
    ([0], [8], 0),
    ([2], [8, 8], 0),
]


@pytest.mark.parametrize(("shape", "strides", "offset"), WILD)
def test_a_view_beyond_its_owner_is_refused(shape: list[int], strides: list[int], offset: int) -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(ValueError, match=r"view|array"):
        build_view(numpy.arange(1000), shape, strides, offset, "")


def test_a_view_is_built_exactly_where_all_its_items_are_its_owners() -> None:
    """The oracle looks at each item's place."""
    numpy = pytest.importorskip("numpy")
    owner, draw, built = numpy.arange(6), random.Random(5), 0
    for _ in range(2000):
        shape = [draw.randint(1, 3) for _ in range(draw.randint(0, 3))]
        strides = [8 * draw.randint(-4, 4) for _ in shape]
        offset = 8 * draw.randint(-1, 6)
        places = [
            offset + sum(n * stride for n, stride in zip(index, strides, strict=True))
            for index in itertools.product(*map(range, shape))
        ]
        if all(0 <= place <= 40 for place in places):
            built += 1
            made = build_view(owner, shape, strides, offset, "")
            assert made.reshape(-1).tolist() == [place // 8 for place in places]
        else:
            with pytest.raises(ValueError, match="beyond its owner"):
                build_view(owner, shape, strides, offset, "")
    assert built > 100


def test_an_array_is_not_given_back_while_tests_hold_a_view_of_it(checker: Checker) -> None:
    """The memory of the view must not become that of another object, which the program could then write."""
    pytest.importorskip("numpy")
    body = "import numpy as np\n\n\ndef f(a, v=None):\n    if v is not None:\n        f.a, f.v = a, v\n"
    body += "        a.resize(1, refcheck=False)\n    return 1\n"
    lines = "import numpy as np\na = np.arange(1000)\nv = a[200:300]\nf(a, v)\n"
    lines += "texts = [str(i) * 300 for i in range(3000)]\nassert v.sum() == sum(range(200, 300))"
    test = "def check(f):\n" + textwrap.indent(lines, "    ") + "\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [body])
    assert not verdict.passed
    assert verdict.label == "failed"


@pytest.mark.parametrize("place", ["-5, -4", "1 << 40, (1 << 40) + 1"])
def test_places_of_a_unicode_error_that_are_none_are_not_read(checker: Checker, place: str) -> None:
    body = f"def f():\n    raise UnicodeDecodeError('utf8', b'x', {place}, 'r')\n"
    test = "def check(f):\n    try:\n        f()\n    except ValueError as e:\n        assert str(e) == 'xyz'\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [body])
    assert not verdict.passed
    assert "SIG" not in verdict.detail


def test_what_the_constructor_refuses_is_no_part_of_a_unicode_error() -> None:
    told = describe(UnicodeDecodeError("utf8", b"x", 0, 1, "r"))
    for name, value in (("object", 1.5), ("start", 1 << 40), ("end", (1 << 40) + 1)):
        told["state"].append([name, value])
    error = Raiser({}).make(told, decode)
    assert isinstance(error, UnicodeDecodeError)
    assert (error.object, error.start, error.end) == (b"x", 0, 1)
    assert "byte 0x78 in position 0" in str(error)
