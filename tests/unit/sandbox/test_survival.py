"""No sample and no circumstance ends a check: killed helpers, tight limits, odd parents, stops, full disks."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from evalkit.sandbox import Checker, Problem
from evalkit.sandbox.checker import MAX_TIMEOUT_SECONDS
from evalkit.sandbox.unfinished import UnfinishedCheck
from evalkit.sandbox.wire import MAX_THREADS
from tests.support.sandbox.canaries import PROBLEM
from tests.support.sandbox.hostile import SOLVE

pytestmark = pytest.mark.torch_free

MANY_THREADS = """
    import threading
    go = threading.Event()
    threading.stack_size(1 << 16)
    threads = [threading.Thread(target=go.wait) for _ in range({count})]
    try:
        for thread in threads:
            thread.start()
        go.wait({seconds})
    finally:
        go.set()
"""
# What a test does with the returned value, and one that makes the tester work beyond all bounds.
COUNTED = Problem("Test/0", "def f(x):\n", "def check(f):\n    assert len(tuple(f(1))) == 1\n", "f")
COMPARED = Problem("Test/1", "def f(x):\n", "def check(f):\n    assert f(1) + 1 == 2\n", "f")


def write_inputs(folder: Path, completions: list[str]) -> list[str]:
    row = {"task_id": "Test/0", "prompt": PROBLEM.prompt, "test": PROBLEM.test, "entry_point": PROBLEM.entry_point}
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    lines = (json.dumps({"task_id": "Test/0", "completion": text}) + "\n" for text in completions)
    (folder / "samples.jsonl").write_text("".join(lines))
    command = [sys.executable, "-m", "evalkit.cli.humaneval", "check", str(folder / "samples.jsonl")]
    return [*command, "--data", str(folder / "test.jsonl")]


def results(folder: Path) -> list[str]:
    return [json.loads(line)["result"] for line in (folder / "samples_results.jsonl").read_text().splitlines()]


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


# --- Fork servers ----------------------------------------------------------------------------------------------------


def helpers(others: Collection[int] = ()) -> dict[int, str]:
    """Process -> name of this process's children that run, but those of other tests' checkers."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if rest.split()[0] not in "ZX" and int(rest.split()[1]) == os.getpid():
            found[int(folder.name)] = name
    return {pid: name for pid, name in found.items() if pid not in others}


@pytest.mark.skipif(os.geteuid() != 0, reason="the descriptors of a nursery can be seen by root only")
def test_helpers_of_a_kind_come_from_one_server_and_have_no_descriptor_of_another_worker() -> None:
    others = helpers().keys()
    with Checker(jobs=2) as two:
        assert all(verdict.passed for verdict in two.check(PROBLEM, [SOLVE] * 4))
        while sorted(helpers(others).values()).count("evalkit-tester") < 2:
            two.check(PROBLEM, [SOLVE])
        names = helpers(others)
        assert sorted(set(names.values())) == ["evalkit-forks", "evalkit-nursery", "evalkit-tester"]
        assert list(names.values()).count("evalkit-forks") == 2
        links = [{str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()} for pid in names]
        common = [one & other for one, other in itertools.combinations(links, 2)]
        assert {name for names in common for name in names if name.startswith(("socket:", "pipe:"))} == set()
        groups = {os.getsid(pid) for pid in names}
        assert groups.isdisjoint({os.getsid(0)})
        assert len(groups) == len(names)
    assert helpers(others) == {}


CHECK_ONE = r"""
from evalkit.sandbox import Checker, Problem
problem = Problem("Test/0", "def f(x):\n", "def check(f):\n    assert f(1) == 1\n", "f")
with Checker(jobs=1) as checker:
    print(checker.check(problem, ["    return x\n"])[0].label)
"""


@pytest.mark.parametrize("keeps", [True, False])
def test_byte_code_of_the_helpers_is_kept_where_python_keeps_any(keeps: bool, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    flags = ["-X", f"pycache_prefix={tmp_path}", *(() if keeps else ("-B",))]
    done = subprocess.run(
        [sys.executable, *flags, "-c", CHECK_ONE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "passed", done.stderr
    kept = {path.name.partition(".")[0] for path in tmp_path.rglob("*.pyc")}
    assert {"nursery", "candidate", "tester", "judge", "encoding"} <= kept if keeps else not kept


@pytest.mark.parametrize("victim", ["evalkit-forks", "evalkit-"])
def test_killed_servers_are_done_without(victim: str) -> None:
    others = helpers().keys()
    with Checker(jobs=2) as two:
        for _ in range(3):
            for pid, name in helpers(others).items():
                if name.startswith(victim):
                    os.kill(pid, signal.SIGKILL)
            verdicts = two.check(PROBLEM, [SOLVE] * 4)
            assert all(verdict.passed for verdict in verdicts), verdicts
    assert helpers(others) == {}


def stop_all(names: Collection[str], others: Collection[int], root: int) -> int:
    """Stop all processes of these names that come from ``root``; how many."""
    parents, called = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        parents[int(folder.name)], called[int(folder.name)] = int(rest.split()[1]), name
    family, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family - set(others)
        family |= more
        grown = bool(more)
    stopped = [pid for pid in family - {root} if called[pid] in names]
    done = 0
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):  # it ended since
            os.kill(pid, signal.SIGSTOP)
            done += 1
    return done


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user may not stop processes that are not dumpable")
@pytest.mark.parametrize(
    ("names", "times"),
    [
        (["evalkit-forks", "evalkit-nursery", "evalkit-tester"], 1),  # judges and programs are forked from the last two
        (["evalkit-nursery"], 2),
        (["evalkit-tester"], 1),
    ],
)
def test_stopped_helpers_cost_no_verdict_and_are_not_waited_for(
    names: list[str], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.sandbox.servers.ANSWER_SECONDS", 86_400.0)
    monkeypatch.setattr("evalkit.sandbox.worker.REPLY_SLACK_SECONDS", 86_400.0)
    others = helpers().keys()
    slow = "    import time\n    time.sleep(0.1)\n" + SOLVE
    with Checker(jobs=2) as two:
        verdicts = []
        for number, (_, verdict) in enumerate(two.as_finished([(PROBLEM, slow)] * 12)):
            verdicts.append(verdict)
            if number in range(1, 8 * times, 8):
                assert stop_all(names, others, os.getpid())
    assert [verdict.label for verdict in verdicts] == ["passed"] * 12, verdicts
    assert helpers(others) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user may not stop processes that are not dumpable")
def test_stopped_helpers_do_not_outlive_a_killed_check(tmp_path: Path) -> None:
    command = write_inputs(tmp_path, ["    import time\n    time.sleep(2)\n" + SOLVE] * 4)
    with subprocess.Popen([*command, "--jobs", "1"], stdout=subprocess.DEVNULL) as check:
        names = ["evalkit-forks", "evalkit-nursery", "evalkit-tester"]
        while not any(name == "evalkit-tester" for name in map(name_of, children_of(check.pid))):
            time.sleep(0.05)
        there = children_of(check.pid)
        assert stop_all(names, (), check.pid) >= 4
        check.kill()
    for pid in there:
        while name_of(pid).startswith("evalkit-"):  # until whoever takes over orphans has waited for it
            time.sleep(0.05)


def name_of(pid: int) -> str:
    """The name of a process that runs, or is stopped; "" of others."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return ""
    return "" if rest.split()[0] in "ZX" else name


def children_of(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


# --- Bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("without", ["", "namespaces", "namespaces listener", "landlock"])
def test_threads_are_bounded_and_honest_ones_have_room(without: str) -> None:
    with Checker(jobs=1, _without=without.split()) as checker:
        few = MANY_THREADS.format(count=60, seconds=0) + SOLVE
        many = MANY_THREADS.format(count=MAX_THREADS + 50, seconds=0.5) + SOLVE
        honest, crowd = checker.check(PROBLEM, [few, many])
    assert honest.label == "passed"
    assert (crowd.label, crowd.attempts) in (("failed", 1), ("crashed", 1))


@pytest.mark.parametrize("value", ["range(6 * 10**7)", "[0] * 10**8", "'a' * 10**9", "iter(int, 1)"])
def test_a_value_that_fills_the_testers_memory_is_the_samples_own_failure(value: str) -> None:
    with Checker(jobs=1) as checker:
        verdict, honest = checker.check(COUNTED, [f"    return {value}\n", "    return [x]\n"])
        assert verdict.label in ("out of memory", "timed out", "failed")
        assert verdict.attempts == 1 or verdict.label == "timed out"  # which on a busy machine is tried again
        assert honest.label == "passed"


def test_one_long_call_in_the_tester_ends_and_is_not_made_again() -> None:
    slow = "    from fractions import Fraction\n    n = 1 << 7_000_000\n    return Fraction(n + 1, n) if x else 0\n"
    with Checker(jobs=1) as checker:
        verdict, honest = checker.check(COMPARED, [slow, "    return x\n"])
    assert not verdict.passed
    assert verdict.label != "harness error"
    assert verdict.attempts == 1
    assert honest.label == "passed"


# --- Helpers that die ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_helpers_killed_at_random_lose_no_sample() -> None:
    rng, verdicts = random.Random(7), []
    with Checker(jobs=2) as checker:
        for verdict in checker.check_many((PROBLEM, SOLVE) for _ in range(150)):
            verdicts.append(verdict)
            helpers = children(os.getpid())
            if len(verdicts) % 4 == 0 and helpers:
                with contextlib.suppress(ProcessLookupError):  # it was of a worker that has ended just now
                    os.kill(rng.choice(helpers), signal.SIGKILL)
    assert len(verdicts) == 150
    # Whatever was killed was tried again; never a wrong verdict about the program.
    assert {verdict.label for verdict in verdicts} == {"passed"}
    assert any(verdict.attempts > 1 for verdict in verdicts)


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            name, _, rest = stat.partition("(")[2].rpartition(")")
            if int(rest.split()[1]) == pid and name.startswith("evalkit-"):
                found.append(int(entry.name))
    return found


# --- Odd parents -----------------------------------------------------------------------------------------------------


def close_stdin() -> None:
    os.close(0)


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})


def ignore_signals() -> None:
    for number in (signal.SIGALRM, signal.SIGPIPE, signal.SIGXCPU, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@pytest.mark.parametrize("oddity", [close_stdin, ignore_children, block_signals, ignore_signals])
def test_an_odd_parent_changes_no_verdict(oddity: Any, tmp_path: Path) -> None:
    endless = "    while True:\n        pass\n"
    found = run([*write_inputs(tmp_path, [SOLVE, endless]), "--timeout", "0.4"], preexec_fn=oddity)
    assert found.returncode == 0, found.stderr
    assert results(tmp_path) == ["passed", "timed out"]


def test_a_cpu_limit_of_ones_own_is_named(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (2, 2))

    found = run(write_inputs(tmp_path, [SOLVE]), preexec_fn=limit)
    assert found.returncode == 2
    assert "ulimit -t" in found.stderr
    assert found.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.jsonl", "test.jsonl"]  # nothing was begun


@pytest.mark.parametrize(("limit", "option"), [(resource.RLIMIT_AS, "ulimit -v"), (resource.RLIMIT_DATA, "ulimit -d")])
def test_a_memory_limit_of_ones_own_is_named(limit: int, option: str, tmp_path: Path) -> None:
    below = (1 << 30) - 1  # programs are promised a GiB

    def lower() -> None:
        resource.setrlimit(limit, (below, below))

    found = run(write_inputs(tmp_path, [SOLVE]), preexec_fn=lower)
    assert found.returncode == 2
    assert option in found.stderr
    assert found.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.jsonl", "test.jsonl"]


@pytest.mark.parametrize("seconds", ["inf", "1e10", "nan", "0", "-1"])
def test_an_impossible_time_limit_is_one_line(seconds: str, tmp_path: Path) -> None:
    found = run([*write_inputs(tmp_path, [SOLVE]), "--timeout", seconds])
    assert found.returncode == 2
    assert f"at most {MAX_TIMEOUT_SECONDS:.0f}" in found.stderr
    assert found.stderr.count("\n") == 1


# --- Stops and disks -------------------------------------------------------------------------------------------------


def wait_for_verdicts(process: subprocess.Popen[str], folder: Path, count: int, *, in_work: int = 1) -> None:
    """Wait until so many verdicts are in the file, and another sample is in work."""
    while True:
        text = b"".join(path.read_bytes() for path in folder.glob("*.unfinished"))
        if text.count(b'"verdict":{') >= count and text.count(b'"begun"') >= count + in_work:
            return
        assert process.poll() is None
        os.sched_yield()


def test_ctrl_c_keeps_the_verdicts_and_the_same_command_goes_on(tmp_path: Path) -> None:
    endless = "    while True:\n        pass\n"
    command = [*write_inputs(tmp_path, [SOLVE] * 10 + [endless] + [SOLVE] * 5), "--jobs", "1", "--timeout", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_verdicts(process, tmp_path, 10)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "10 of 16 verdicts are in" in said
    assert not (tmp_path / "samples_results.jsonl").exists()
    changed = [*command[:-1], "0.5"]  # another limit is another check
    again = run(changed)
    assert again.returncode == 0
    assert "continuing" not in again.stderr
    (tmp_path / "samples_results.jsonl").unlink()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == ("continuing: 10 of 16 verdicts are there; 1 that were in work go last\n")
        process.kill()


def test_a_sample_that_was_in_work_keeps_no_other_from_its_turn(tmp_path: Path) -> None:
    """However often the check is stopped: the others get their verdicts, though the first two take long."""
    endless = "    while True:\n        pass\n"
    command = [*write_inputs(tmp_path, [endless] * 2 + [SOLVE] * 3), "--jobs", "1", "--timeout", "60"]
    for number, verdicts in enumerate((0, 0, 3)):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_for_verdicts(process, tmp_path, verdicts, in_work=number + 1)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        kept = [path.read_text() for path in tmp_path.glob("*.unfinished")]
        assert f"{verdicts} of 5 verdicts are in" in said, (number, kept)


# Ctrl-C comes where a line is in the file and the call that writes it has not returned.
STOPPED_IN_A_WRITE = """
import os, signal, sys
from evalkit.store import files
whole, word = files.write_all, sys.argv.pop(1).encode()

def write_all(fd, data):
    whole(fd, data)
    if word in data:
        os.kill(os.getpid(), signal.SIGINT)

files.write_all = write_all
from evalkit.cli.humaneval import main
main()
"""


@pytest.mark.parametrize(("word", "verdicts"), [('"begun"', 0), ('"verdict":{', 1)])
def test_a_stop_takes_back_no_line_that_was_written(word: str, verdicts: int, tmp_path: Path) -> None:
    """Else the first of these samples takes its whole time again, and a verdict that was there is lost."""
    python, _, _, *arguments = write_inputs(tmp_path, [SOLVE] * 3)
    found = run([python, "-c", STOPPED_IN_A_WRITE, word, *arguments, "--jobs", "1"])
    assert found.returncode == 130, found.stderr
    assert f"{verdicts} of 3 verdicts are in" in found.stderr
    (kept,) = tmp_path.glob("*.unfinished")
    lines = [json.loads(line.partition(" ")[2]) for line in kept.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["header", "work", *["verdict"] * verdicts]


def test_attempts_before_a_stop_count_after_it(tmp_path: Path) -> None:
    asked = [(PROBLEM, text) for text in ("slow", "a", "b")]
    output = tmp_path / "results.jsonl"
    with UnfinishedCheck(output, asked, {}) as check:
        for what in ("begun", "starved"):
            check.note(0, what)
        check.note(1, "begun")
        check.note(0, "begun")
    with UnfinishedCheck(output, asked, {}) as check:
        assert check.todo(3) == [2, 1, 0]
        tried = {0: check.tried[0]}
    attempts: list[bool] = []

    class Busy(Checker):
        def _attempt_in_turn(self, *_: Any, alone: bool, **__: Any) -> tuple[dict[str, Any], bool, bool]:
            attempts.append(alone)
            return (
                {"label": "timed out", "detail": "", "waited_seconds": 2.0, "seconds": 3.0, "plain": True},
                False,
                False,
            )

    notes: list[tuple[int, str]] = []
    with Busy(jobs=1) as checker:
        first, second = (
            list(checker.as_finished(asked[:1], lambda *note: notes.append(note), given)) for given in (tried, {})
        )
    assert attempts == [True, False, True]
    assert [(v.label, v.attempts) for _, v in first + second] == [("timed out", 2)] * 2
    assert notes == [(0, what) for what in ("begun", "begun", "starved")]


def test_the_file_of_a_finished_check_is_gone(tmp_path: Path) -> None:
    assert run(write_inputs(tmp_path, [SOLVE])).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.jsonl", "samples_results.jsonl", "test.jsonl"]


@pytest.mark.parametrize("place", ["/dev/full", "/proc/results.jsonl", "{folder}", "{folder}/nothing/results.jsonl"])
def test_an_output_that_cannot_be_written_is_found_before_the_first_sample(place: str, tmp_path: Path) -> None:
    touch = "    open('/nothing')\n" + SOLVE
    found = run([*write_inputs(tmp_path, [touch]), "--output", place.format(folder=tmp_path)])
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""
