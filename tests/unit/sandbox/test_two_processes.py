"""Where two processes could be told from one: names of methods, exceptions of callbacks, recursion through both."""

from __future__ import annotations

import pytest

from evalkit.sandbox import Checker, Problem
from evalkit.sandbox.arrays import build_dtype

from .test_like_python import agree, by_python, indented

pytestmark = pytest.mark.torch_free

# (program, tests that would pass if the program's choice were told the expected value)
FORGERIES = [
    ("class S:\n    startswith = len\ndef f(*a): return S()", "f().startswith('abc')"),
    ("class S(str):\n    startswith = len\ndef f(*a): return S('z')", "f().startswith('abc')"),
    ("class S(set):\n    issubset = len\ndef f(*a): return S([9])", "f().issubset({1, 2})"),
    ("class S(str):\n    find = int\ndef f(*a): return S('q')", "f().find('3') == 3"),
    ("class S:\n    equals = bool\ndef f(*a): return S()", "f().equals([1, 2])"),
    ("class S:\n    isclose = max\nmath = S()\ndef f(*a): return 1.5", "math.isclose(f(), 2.5)"),
    ("class S(set):\n    union = set\ndef f(*a): return S([1])", "f().union({5}) == {5}"),
    ("class S(set):\n    symmetric_difference = min\ndef f(*a): return S()", "not f().symmetric_difference({0, 5})"),
    ("class S(str):\n    replace = max\ndef f(*a): return S('')", "f().replace('a', 'b') == 'b'"),
    ("class S: pass\ndef f(g):\n    S.startswith = g\n    return S", "f(lambda *a: True).startswith('abc')"),
    ("def f(*a): return 1\nf.startswith = len", "f.startswith('abc')"),
    ("class f:\n    equals = bool", "f.equals([1])"),
    ("class S(type):\n    eq = bool\nclass K(metaclass=S): pass\ndef f(*a): return K", "f().eq([1])"),
    ("from fractions import Fraction\nclass S:\n    equals = Fraction\ndef f(*a): return S()", "f().equals(2)"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "test"), FORGERIES)
def test_no_code_of_the_programs_choice_is_told_what_is_expected(checker: Checker, program: str, test: str) -> None:
    """Whatever the name of a comparing method is bound to: a builtin, a type, a function of the tests."""
    tests = f"def check(f):\n    assert {test}\n"
    (verdict,) = checker.check(Problem("Test/0", "", tests, "f"), [program])
    assert verdict.label == "failed"
    assert "would be told what the tests expect" in verdict.detail


HONEST = [
    ("return a[0].lower() == 'x'", "assert f('X')"),
    ("return S('ab')", "assert f().upper() == 'AB' and f().count == 3 and f().index() == 7"),
    ("return kw", "assert f(self=1, cls=2, name=3) == {'self': 1, 'cls': 2, 'name': 3}"),
    ("return sorted(K(self=1, cls=2).kw)", "assert f() == ['cls', 'self']"),
    ("return K", "assert sorted(f()(cls=2, handle=1).kw) == ['cls', 'handle']"),
    ("return N(1, 2, 3)", "r = f()\nassert r == (1, 2, 3) and r._fields == ('x', '_1', '_2') and r._1 == 2"),
    ("return N(1, 2, 3)._replace(x=5)", "assert f() == (5, 2, 3)"),
    ("try: a[0]()\nexcept SystemExit as e: return e.code",
     "import sys\nassert f(lambda: sys.exit(3)) == 3"),
    ("try: a[0]()\nexcept KeyboardInterrupt: return 4",
     "def g(): raise KeyboardInterrupt\nassert f(g) == 4"),
    ("try: a[0]()\nfinally: kept.append(1)",
     "def g(): raise SystemExit(9)\ntry: f(g)\nexcept SystemExit as e: assert e.code == 9\nelse: assert False"),
    ("try: a[0]()\nexcept Exception: return 1\nexcept BaseException as e: return type(e).__name__",
     "class Own(BaseException): pass\ndef g(): raise Own\nassert f(g) == 'Own'"),
]  # fmt: skip
PROMPT = "kept = []\n\n\ndef f(*a, **kw):\n"
CLASSES = (
    "import collections\nN = collections.namedtuple('N', ['x', 'def', 'x'], rename=True)\n"
    "class K:\n    def __init__(this, **kw): this.kw = kw\n"
    "class S(str):\n    count = 3\n    def index(self): return 7\n"
)


@pytest.mark.parametrize(("body", "lines"), HONEST)
def test_names_and_exceptions_are_pythons(checker: Checker, body: str, lines: str) -> None:
    assert agree(checker, PROMPT, f"{indented(body)}\n{CLASSES}", lines)


@pytest.mark.parametrize(
    "text", ["<M8[D/0]", "<M8[0s]", "<M8[s/2]", "<m8[-1s]", "<M8[99999999999s]", "<f3", "<V8", "i4"]
)
def test_numpys_own_reader_of_dtypes_gets_none_but_those_on_a_list(text: str) -> None:
    """numpy divides by zero in the first, which ends the process."""
    pytest.importorskip("numpy")
    with pytest.raises(ValueError, match="not a dtype"):
        build_dtype(text)


def test_every_dtype_that_crosses_is_on_that_list() -> None:
    numpy = pytest.importorskip("numpy")
    units = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"]
    times = [f"{kind}8[{more}{unit}]" for kind in "mM" for unit in units for more in ("", "25")]
    for text in [*numpy.typecodes["All"].replace("V", ""), "S7", "U31", "m8", "M8", *times]:
        for order in "<>":
            dtype = numpy.dtype(text).newbyteorder(order)
            assert build_dtype(dtype.str) == dtype


# (body of f(*a), tests with {n}): recursion through both, as deep as one process has room for.
RECURSION = [
    ("return 0 if a[0] == 0 else 1 + a[1](a[0] - 1)", "def g(n): return f(n, g)\nassert f({n}, g) == {n}"),
    ("if a[0] is None: return 0\nreturn 1 + f(a[0][0], a[1]) + a[1](a[0][1])",
     "def g(n): return 0 if n is None else f(n, g)\nt = None\nfor i in range({n}): t = (None, t)\n"
     "assert f(t, g) == {n}"),
    ("def w(*b):\n    return a[0](*b)\nreturn w", "@f\ndef g(n): return n if n == 0 else g(n - 1)\nassert g({n}) == 0"),
    ("def w(*b):\n    try: return a[0](*b)\n    except RecursionError: return -1\nreturn w",
     "@f\ndef g(n): return 1 + g(n + 1)\nassert g(0) > 0"),
    ("return a[0]()", "def g(): return f(g)\ntry: f(g)\nexcept RecursionError: pass\nelse: assert False"),
    ("def down(n): return 0 if n == 0 else 1 + down(n - 1)\nreturn down(a[0])",
     "def deep(n): return f(200) if n == 0 else deep(n - 1)\nassert deep({n} + 400) == 200"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "lines"), RECURSION)
@pytest.mark.parametrize("depth", [60, 110, 300])
def test_recursion_through_both_processes_goes_as_deep_as_in_one(
    checker: Checker, body: str, lines: str, depth: int
) -> None:
    assert agree(checker, "def f(*a):\n", indented(body), lines.replace("{n}", str(depth)))


def test_generators_within_generators_go_deep(checker: Checker) -> None:
    lines = "k = range(3)\nfor i in range(90): k = f(k)\nassert list(k) == [90, 91, 92]"
    assert agree(checker, "def f(it):\n", "    for x in it:\n        yield x + 1\n", lines)


def test_what_is_too_deep_for_two_processes_is_named(checker: Checker) -> None:
    test = (
        "import sys\nsys.setrecursionlimit(10**4)\ndef check(f):\n"
        "    def g(n): return f(n, g)\n    assert f(700, g) == 700\n"
    )
    body = "    import sys\n    sys.setrecursionlimit(10**4)\n    return 0 if n == 0 else 1 + g(n - 1)\n"
    (verdict,) = checker.check(Problem("Test/0", "def f(n, g):\n", test, "f"), [body])
    assert verdict.label == "failed"
    assert "too deep across two processes" in verdict.detail


def test_the_recursion_limit_that_program_and_tests_see_is_pythons(checker: Checker) -> None:
    lines = "import sys\nassert f() == sys.getrecursionlimit() == 1000 and f() == 1000"
    assert agree(checker, "def f():\n", "    import sys\n    return sys.getrecursionlimit()\n", lines)


@pytest.mark.parametrize("wrap", ["(None, t)", "[t]", "{1: t}", "collections.deque([t])", "frozenset([t])", "P(1, t)"])
@pytest.mark.parametrize("depth", [30, 70, 98])
def test_nested_values_cross_at_every_depth_both_ways(checker: Checker, wrap: str, depth: int) -> None:
    prompt = "import collections\nP = collections.namedtuple('P', 'a b')\n\n\ndef f(t):\n"
    lines = f"t = 0\nfor _ in range({depth}): t = {wrap}\nassert f(t) == t"
    assert agree(checker, prompt, "    return t\n", lines)


ITERATOR = """class f:
    def __init__(self, n): self.n, self.i, self.starts = n, 0, 0
    def reset(self): self.i = 0
    def __next__(self):
        if self.i >= self.n: raise StopIteration
        self.i += 1
        return self.i
"""
RESTARTS = ITERATOR + "    def __iter__(self):\n        self.i, self.starts = 0, self.starts + 1\n        return self\n"
GOES_ON = ITERATOR + "    def __iter__(self): return self\n"
OTHER = ITERATOR + "    def __iter__(self): return iter('ab')\n"
GENERATORS = """
kept = []
def gen():
    try:
        x = yield 1
        yield x
    finally: kept.append("closed")
    return 7
def f(g=None, do=0):
    if g is None:
        kept.append(gen())
        return kept[-1]
    if do == 0: return g is kept[0]
    if do == 1: return next(g), g.send(5)
    if do == 2:
        next(g)
        g.close()
        return kept[1:]
"""
ORDERED = """class f:
    def __init__(self, x): self.x = x
    def {method}(self, o): return {value}
"""
LE = ORDERED.format(method="__le__", value="self.x <= o.x")
NE = ORDERED.format(method="__ne__", value="self.x != o.x")
OWN_ITERATORS = [
    (RESTARTS, "i = f(40)\nassert list(i) == list(i) and sum(i) == 820 and i.starts == 3", True),
    (RESTARTS, "i = f(3)\nassert list(i) == [1, 2, 3] and list(i) == []", False),
    (RESTARTS, "i = f(3)\nassert [(a, b) for a in i for b in i] == [(1, 1), (1, 2), (1, 3)]", True),
    (RESTARTS, "i = f(3)\nassert 2 in i and 3 in i and 1 in i and 4 not in i and i.starts == 4", True),
    (GOES_ON, "i = f(3)\nassert list(i) == [1, 2, 3] and list(i) == []\ni.reset()\nassert next(i) == 1", True),
    (GOES_ON, "i = f(90)\nfor _ in range(30): next(i)\nassert i.i == 30", True),
    (GOES_ON, "i = f(2)\nassert next(i) == 1 and iter(i) is i and next(i) == 2 and next(i, None) is None", True),
    (OTHER, "i = f(5)\nassert list(i) == ['a', 'b'] and next(i) == 1", True),
    (OTHER, "i = f(2)\nassert list(i) == [1, 2]", False),
    (ITERATOR, "try: iter(f(2))\nexcept TypeError: pass\nelse: assert False", True),
    (GENERATORS, "g = f()\nassert f(g) is True", True),
    (GENERATORS, "g = f()\nassert f(g, 1) == (1, 5)", True),
    (GENERATORS, "g = f()\nassert f(g, 2) == ['closed'] and list(g) == []", True),
    (GENERATORS, "g = f()\nassert next(g) == 1 and f(g) is True and g.send(3) == 3", True),
    (LE, "assert f(1) <= f(2) and f(2) >= f(1) and not f(3) <= f(2)", True),
    (LE, "assert f(3) <= f(2)", False),
    (LE, "try: f(1) < f(2)\nexcept TypeError: pass\nelse: assert False", True),
    (NE, "assert not f(1) != f(1) and f(1) != f(2)", True),
    (NE, "assert f(1) != f(1)", False),
]


@pytest.mark.parametrize(("program", "lines", "holds"), OWN_ITERATORS)
def test_iterators_generators_and_orders_of_the_program_are_its_own(
    checker: Checker, program: str, lines: str, holds: bool
) -> None:
    assert agree(checker, "", program, lines) is holds


# (body of f(g), tests): a generator of the tests, which the program drives.
DRIVEN = [
    ("next(g)\nreturn g.send(10)", "assert f(gen()) == 20", True),
    ("next(g)\ng.close()", "f(gen())\nassert log == ['end']", True),
    ("next(g)\ng.close()", "g = gen()\nf(g)\nassert next(g, 0) is None", False),
    ("next(g)\nreturn g.throw(ValueError('q'))", "assert f(gen()) == 'q'", True),
    ("next(g)\ntry: g.throw(KeyError('q'))\nexcept KeyError as e: return e.args", "assert f(gen()) == ('q',)", True),
    ("r = yield from g\nyield r", "assert list(f(gen())) == [1, None, 7]", True),
    ("for x in g:\n    if x == 1: break", "g = gen()\nf(g)\nassert log == [] and g.send(2) == 4", True),
    ("return sum(1 for _ in g)", "assert f(gen()) == 2 and log == ['end']", True),
]  # fmt: skip
GENERATOR = """log = []
def gen():
    try:
        x = yield 1
        yield x and x * 2
    except ValueError as error:
        yield str(error)
    finally:
        log.append('end')
    return 7
"""


@pytest.mark.parametrize(("body", "lines", "holds"), DRIVEN)
def test_a_generator_of_the_tests_can_be_driven_by_the_program(
    checker: Checker, body: str, lines: str, holds: bool
) -> None:
    assert agree(checker, "def f(g):\n", indented(body), GENERATOR + lines) is holds


@pytest.mark.parametrize("end", ["@staticmethod", "@staticmethod\n", "@nothing", "@", "\n    @staticmethod"])
@pytest.mark.parametrize("start", ["", "\n\n", "METADATA = {}\n\n"])
def test_a_completion_that_is_cut_after_a_decorator(checker: Checker, end: str, start: str) -> None:
    """In one process it is the tests' function that is decorated, where they begin with one."""
    test, body = f"{start}def check(f):\n    assert f(1) == 1\n", f"    return x\n\n{end}"
    (verdict,) = checker.check(Problem("Test/0", "def f(x):\n", test, "f"), [body])
    assert verdict.passed == by_python("def f(x):\n", body, test)


def test_issubclass_with_a_class_of_the_programs_own_is_named(checker: Checker) -> None:
    body = "class A: pass\nclass B(A): pass\ndef f(x): return B() if x else A()\n"
    test = "def check(f):\n    assert issubclass(type(f(1)), type(f(0)))\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [body])
    assert "could not cross: a class of the program's own: issubclass" in verdict.detail


@pytest.mark.parametrize("call", ["os.open(path='/no', flags=os.O_RDONLY)", "os.open('/no', 0)"])
def test_a_missing_file_is_missing_at_the_sealed_level(call: str) -> None:
    body = f"    import os\n    try: {call}\n    except FileNotFoundError: return 1\n"
    test = "def check(f):\n    assert f(1) == 1\n"
    with Checker(jobs=1, _without=["landlock"]) as sealed:
        (verdict,) = sealed.check(Problem("Test/0", "def f(x):\n", test, "f"), [body])
    assert verdict.passed
    assert "sealed" in verdict.isolation
