"""No sample sees what the tests of another one, or a program through them, did to the interpreter."""

from __future__ import annotations

import ast
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from evalkit.sandbox import Checker, Problem, remote
from evalkit.sandbox.calls import CandidateSession
from evalkit.sandbox.channel import Channel, Malformed, Over
from evalkit.sandbox.traceless import is_traceless, nodes_of
from evalkit.sandbox.wire import NOT_JUDGED

pytestmark = pytest.mark.torch_free

PROMPT = "def f(x):\n"
# What one sample's tests change (or its program, through an argument); tests that pass where nothing was changed.
LEAKS = [
    ("import builtins\n    builtins.sorted = lambda x: [1]\n    f(1)", "assert sorted([2, 1]) == [1, 2]"),
    ("import math\n    math.pi = 3\n    f(1)", "import math\n    assert math.pi > 3"),
    ("import keyword\n    f(keyword.kwlist)", "import keyword\n    assert 'if' in keyword.kwlist"),
    ("import sys\n    sys.setrecursionlimit(90)\n    f(1)", "import sys\n    assert sys.getrecursionlimit() > 500"),
    (
        "import decimal\n    decimal.getcontext().prec = 2\n    f(1)",
        "import decimal\n    assert str(decimal.Decimal(1) / 3)[9:]",
    ),
    ("import warnings\n    warnings.simplefilter('error')\n    f(1)", "import warnings\n    warnings.warn('x')"),
    ("import json\n    json.loads = None\n    f(1)\n    f(1)", "import json\n    assert json.loads('1') == 1"),
    ("import os\n    os.chdir('/usr')\n    f(1)", "import os\n    assert os.getcwd() != '/usr'"),
]


@pytest.mark.parametrize(("changing", "noticing"), LEAKS)
def test_what_one_sample_changes_the_next_does_not_see(checker: Checker, changing: str, noticing: str) -> None:
    first = Problem("Test/1", PROMPT, f"def check(f):\n    {changing}\n", "f")
    second = Problem("Test/2", PROMPT, f"def check(f):\n    {noticing}\n    assert f([1]) is None\n", "f")
    body = "    if isinstance(x, list): del x[:]\n"
    verdicts = [checker.check(problem, [body])[0] for problem in (first, second) * 2]
    assert [(verdict.label, verdict.detail) for verdict in verdicts] == [("passed", "")] * 4


STATE = """
import builtins, gc, json.encoder, os, resource, signal, sys, _thread
def state():
    fds = [fd for fd in range(64) if not _closed(fd)]
    names = ("evalkit_sandbox.wire", "evalkit_sandbox.kernel", "evalkit_sandbox.candidate")
    return [
        sorted(vars(builtins)), sorted(sys.modules), dict(os.environ), os.getcwd(), fds, sys.path, sys.argv,
        gc.isenabled(),
        [resource.getrlimit(n) for n in range(16)], [repr(signal.getsignal(n)) for n in range(1, 32)], _thread._count(),
        sys.getrecursionlimit(), [sorted(vars(sys.modules[n])) for n in names],
        pow.__name__, json.encoder.c_make_encoder.__name__,
    ]
def _closed(fd):
    try:
        os.fstat(fd)
    except OSError:
        return True
"""
SPOILING = """
import builtins, gc, json.encoder, os, resource, signal, sys, _thread, time
os.environ["SEEN"] = "1"
os.chdir("/")
os.dup(1), os.dup(1)
for module in list(sys.modules.values()):
    if getattr(module, "__name__", "").startswith("evalkit_sandbox.") and "candidate" not in module.__name__:
        module.spoilt = True
sys.modules["spoilt"] = sys
sys.path.append("/spoilt")
sys.argv.append("spoilt")
sys.setrecursionlimit(3000)
signal.signal(signal.SIGTERM, lambda *_: None)
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
_thread.start_new_thread(time.sleep, (60,))
json.encoder.c_make_encoder = json.encoder.encode_basestring_ascii = print
builtins.spoilt = builtins.pow
builtins.pow = abs
gc.disable()
sys.modules["evalkit_sandbox.wire"]._SCAN = sys.modules["evalkit_sandbox.wire"]._CHUNKS = None
"""


def test_what_one_program_changes_the_next_does_not_see(checker: Checker) -> None:
    problem = Problem("Test/3", "", "def check(f):\n    assert f([1]) is None\n", "f")
    told = f"{STATE}\nprint(state())\ndef f(x): pass\n"
    first, spoilt, second = checker.check(problem, [told, SPOILING + told, told])
    assert (first.label, second.label) == ("passed", "passed")
    assert first.output == second.output != ""
    assert "spoilt" in spoilt.output
    assert "spoilt" not in second.output


def test_tests_that_end_their_process_are_that_samples_failure(checker: Checker) -> None:
    ends = Problem("Test/1", PROMPT, "def check(f):\n    import os\n    f(1)\n    os._exit(0)\n", "f")
    dies = Problem("Test/2", PROMPT, "def check(f):\n    import os\n    f(1)\n    os.abort()\n", "f")
    sound = Problem("Test/3", PROMPT, "def check(f):\n    assert f(1) is None\n", "f")
    verdicts = [checker.check(problem, ["    pass\n"])[0] for problem in (ends, dies, sound)]
    assert [verdict.label for verdict in verdicts] == ["failed", "crashed", "passed"]
    assert "ended their own process" in verdicts[0].detail
    assert "SIGABRT in the tests" in verdicts[1].detail


@pytest.mark.parametrize(
    "test",
    [
        "def check(f):\n    assert f([1, 2]) == [2, 1]\n    x = [f(i) for i in range(3)]\n    assert abs(x[0]) < 1",
        "METADATA = {'author': 'x'}\n\n\ndef check(candidate):\n    for a, b in [(1, 2)]:\n        assert f(a) == b",
    ],
)
def test_plain_comparisons_are_known_to_leave_no_trace(test: str) -> None:
    assert is_traceless("from typing import List\n\ndef f(x: List[int]):\n    '''y'''\n", test, "f")


@pytest.mark.parametrize(
    "statement",
    [
        *("import math", "from os import path", "x = f.y", "f.y = 1", "x = [].append", "del f", "global f", "print(1)"),
        *("x = open", "exec('1')", "x = __builtins__", "x = __import__('os')", "setattr(f, 'a', 1)", "x = type(f)"),
        *("class A: pass", "def g(): pass", "g = lambda: 1", "f(1)[0] = 2", "with f: pass", "raise f", "x = math"),
        *("try: f()\n    except E: pass", "x = globals()", "x = vars(f)", "abs = f", "x = (y := 1)", "x = helper(1)"),
        *("async def g(): pass", "x = yield", "f(1)[0] += 1", "x = getattr(f, 'a')", "x = input()", "while f(): pass"),
    ],
)
def test_whatever_reaches_further_is_not(statement: str) -> None:
    test = f"def check(f):\n    {statement}\n"
    ast.parse(test)
    assert not is_traceless("import math\ndef helper(x):\n    return math.x\ndef f(x):\n    '''y'''\n", test, "f")


@pytest.mark.parametrize(
    "prompt",
    [
        *("import os\ndef f(x):\n", "x = 1\ndef f(x):\n", "class A: pass\ndef f(x):\n", "print(1)\ndef f(x):\n"),
        *(
            "def f(x=[].append(1)):\n",
            "def f(x: print(1)):\n",
            "@print\ndef f(x):\n",
            "def f(x) -> g():\n",
            "def f(x:\n",
        ),
    ],
)
def test_a_prompt_that_does_something_is_not(prompt: str) -> None:
    assert not is_traceless(prompt, "def check(f):\n    assert f(1) == 1\n", "f")


# --- What is left of a sample says nothing in the next one ---------------------------------------------------------


def an_iterator(session: CandidateSession) -> Any:
    return remote.stand_in(remote.remote_class("it", frozenset({"next"}), session, 8), session, 7, "generator")


def test_a_finished_session_has_no_voice() -> None:
    """The judge of traceless tests goes on; what the garbage collector ends of a sample must not write to new pipes."""
    requests, replies, prints = os.pipe(), os.pipe(), os.pipe()
    os.set_blocking(requests[0], False)
    channel = Channel((requests[1], replies[0], prints[0]))
    channel.open()
    session = CandidateSession(channel, 0)
    iterator = remote.generator(an_iterator(session))
    session.close()
    for question in (lambda: session.ask("len", 1, []), lambda: next(iterator), lambda: session.call(0, (), {})):
        with pytest.raises(Over):
            question()
    with pytest.raises(BlockingIOError):
        os.read(requests[0], 1)
    for fd in (*requests, *replies, *prints):
        os.close(fd)


@pytest.mark.parametrize("reply", [{"a": 1}, [1], [[1], 0], ["ab", True], 5, None, [[], False, 1]])
def test_an_iterator_that_answers_with_no_items_ends_the_sample(monkeypatch: pytest.MonkeyPatch, reply: object) -> None:
    session = CandidateSession(Channel((-1, -1, -1)), 0)
    monkeypatch.setattr(CandidateSession, "ask", lambda *_: reply)
    with pytest.raises(Malformed):
        next(remote.generator(an_iterator(session)))
    assert isinstance(session.ending, Malformed)


def test_the_tests_own_exception_comes_back_as_itself(checker: Checker) -> None:
    retry = Problem(
        "Test/0",
        "def retry(n):\n",
        "class Flaky(Exception):\n    pass\ndef check(retry):\n    calls = []\n    @retry(3)\n    def f():\n"
        "        calls.append(1)\n        raise Flaky('boom', len(calls))\n    try:\n        f()\n"
        "    except Flaky as error:\n        assert error.args == ('boom', 3)\n    else:\n        assert False\n"
        "    assert len(calls) == 3\n",
        "retry",
    )
    body = (
        "    def wrap(f):\n        def again():\n            for i in range(n):\n                try:\n"
        "                    return f()\n                except Exception:\n"
        "                    if i == n - 1:\n                        raise\n        return again\n    return wrap\n"
    )
    verdict = checker.check(retry, [body])[0]
    assert (verdict.label, verdict.detail) == ("passed", "")


@pytest.mark.parametrize("path", ["os.devnull", "os.devnull.encode()", "pathlib.Path(os.devnull)"])
def test_the_null_device_is_there_for_tests_and_programs(checker: Checker, path: str) -> None:
    opening = f"with open({path}, 'w') as file:\n        file.write('x')\n"
    problem = Problem(
        "Test/0", "import os, pathlib\ndef f(x):\n", f"def check(f):\n    {opening}    assert f(1) == 1\n", "f"
    )
    verdict = checker.check(problem, [f"    {opening}    return x\n"])[0]
    assert (verdict.label, verdict.detail) == ("passed", "")


def test_a_program_cannot_say_that_it_could_not_be_judged(checker: Checker) -> None:
    problem = Problem("Test/0", PROMPT, "def check(f):\n    assert f(1) == 1\n", "f")
    body = "    raise type('could not be judged', (Exception,), {})('the data set is broken')\n"
    verdict = checker.check(problem, [body])[0]
    assert verdict.label == "failed"
    assert not verdict.detail.startswith(NOT_JUDGED)


@pytest.mark.slow
def test_tests_with_an_alarm_of_their_own_end_as_a_time_out() -> None:
    tests = (
        "import signal\ndef check(f):\n    signal.setitimer(signal.ITIMER_REAL, 0)\n    assert f(1) == 1\n    f(2)\n"
    )
    body = "    import time\n    if x == 2:\n        time.sleep(100)\n    return x\n"
    with Checker(jobs=1, timeout_seconds=0.5) as quick:
        verdict = quick.check(Problem("Test/0", PROMPT, tests, "f"), [body])[0]
    assert (verdict.label, verdict.attempts) == ("timed out", 1)


@pytest.mark.slow
def test_own_threads_buy_no_wall_time() -> None:
    body = (
        "    import hashlib, threading, time\n    begun, data = time.monotonic(), bytes(1 << 22)\n"
        "    def burn():\n        while time.monotonic() - begun < 0.6:\n            hashlib.sha256(data).digest()\n"
        "    threads = [threading.Thread(target=burn) for _ in range(12)]\n"
        "    for thread in threads:\n        thread.start()\n    burn()\n"
        "    for thread in threads:\n        thread.join()\n    time.sleep(max(0, begun + 3.5 - time.monotonic()))\n"
        "    return x\n"
    )
    problem = Problem("Test/0", PROMPT, "def check(f):\n    assert f(1) == 1\n", "f")
    with Checker(jobs=1) as checker:
        verdict = checker.check(problem, [body])[0]
    assert verdict.label == "timed out", verdict


SIGNS = (ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context)


@pytest.mark.parametrize(
    "module", ["ast", "argparse", "asyncio.tasks", "dataclasses", "typing", "difflib", "test.test_grammar"]
)
def test_all_nodes_of_a_text_are_seen(module: str) -> None:
    """Against ``ast.walk``; a node that is not seen could be one that is not allowed."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        pytest.skip(f"no {module} here")
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    assert nodes_of(tree) == [node for node in ast.walk(tree) if not isinstance(node, SIGNS)]


def test_every_kind_of_node_shows_all_below_it() -> None:
    """Also of kinds that no text here has: each field of each kind, filled with a node, is seen or holds only signs."""
    kinds = [ast.AST]
    for kind in kinds:
        kinds += [below for below in kind.__subclasses__() if below is not ast.Constant and below.__module__ == "ast"]
        for name in kind._fields:
            for value in (ast.Await(ast.Name("x", ast.Load())), [ast.Await(ast.Name("x", ast.Load()))]):
                node = kind.__new__(kind)  # kinds ask for their fields from Python 3.13 on
                setattr(node, name, value)
                seen = any(isinstance(part, ast.Await) for part in nodes_of(node))
                assert seen or name in ("ctx", "op", "ops") or _is_text(kind, name), (kind, name)


def _is_text(kind: type[ast.AST], name: str) -> bool:
    """Whether a field holds text or numbers, as the grammar in the class's docstring says."""
    words = (kind.__doc__ or "").replace("(", " ").replace(")", " ").replace(",", " ").split()
    return any(
        words[i].rstrip("?*") in ("identifier", "string", "int", "constant") and words[i + 1] == name
        for i in range(len(words) - 1)
    )
