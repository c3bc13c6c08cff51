"""Every hostile program gets its verdict and touches nothing; each mechanism, switched off, is missed by one."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from evalkit.errors import SandboxError
from evalkit.sandbox import Checker
from evalkit.sandbox.wire import PATIENCE
from tests.support.sandbox import hostile
from tests.support.sandbox.canaries import PROBLEM, TIMEOUT_SECONDS, Canaries, orphans, remove_message_queue

pytestmark = pytest.mark.torch_free

BY_NAME = {program.name: program for program in hostile.ALL}


def test_the_set_is_large_and_has_no_name_twice() -> None:
    assert len(BY_NAME) == len(hostile.ALL) >= 46


@pytest.mark.parametrize("name", BY_NAME)
def test_verdict_without_side_effect(name: str, checker: Checker, canaries: Canaries) -> None:
    program = BY_NAME[name]
    started = time.monotonic()
    (verdict,) = checker.check(PROBLEM, [canaries.fill(program.completion)])
    assert verdict.label in program.labels, verdict
    assert verdict.passed == (verdict.label == "passed")
    assert canaries.touched() == []
    assert len(verdict.output.encode("utf-8", "replace")) <= 64 << 10
    # A bound for a hang, not a measurement: on a busy machine the second attempt waits for a CPU.
    assert time.monotonic() - started < (2 + PATIENCE) * TIMEOUT_SECONDS + 10


# What is switched off, the program that notices, what it then achieves: "passed", or a canary. Some walls stand behind
# another one; both are taken away to show that the program would get through.
MUTANTS = [
    ("landlock sealed", "reads_a_secret", "passed"),
    ("environment", "reads_the_environment", "passed"),
    ("descriptors", "finds_open_descriptors", "passed"),
    ("limit:cpu watch wall", "just_over_the_cpu_limit", "passed"),
    ("limit:as", "maps_without_touching", "passed"),
    ("call-ids", "answers_in_advance", "passed"),
    ("seccomp:clone seccomp:setsid seccomp:prctl", "fork_and_stay", "process"),
    ("seccomp:clone3 seccomp:prctl", "raw_clone3", "process"),
    ("seccomp namespaces limit:nproc purge", "double_fork", "process"),
    ("seccomp landlock limit:fsize limit:nproc", "writes_a_file", "out"),
    ("seccomp landlock limit:nproc limit:fsize", "subprocess", "out"),
    ("seccomp:openat landlock sealed", "truncates_by_open", "keep"),
    ("seccomp:truncate landlock sealed", "truncates", "keep"),
    ("seccomp:unlink landlock sealed", "unlinks", "keep"),
    ("seccomp:mkdir landlock sealed", "makes_a_folder", "out"),
    ("seccomp:chmod", "changes_mode", "keep"),
    ("seccomp:utimensat", "changes_times", "keep"),
    ("seccomp:socket seccomp:sendto namespaces", "udp", "udp"),
    ("seccomp:socket seccomp:connect namespaces landlock", "tcp", "tcp"),
    ("seccomp:socketpair seccomp:sendto namespaces landlock", "datagram_from_a_pair", "unix"),
    ("seccomp:kill namespaces landlock", "kills_by_pid", "alive"),
    ("seccomp:prlimit64 namespaces caps", "lowers_the_limits_of_others", "alive"),
    ("seccomp:setpriority namespaces caps", "slows_others", "alive"),
    ("seccomp:process_vm_writev namespaces landlock caps dumpable", "writes_the_memory_of_others", "memory"),
    ("seccomp:msgget namespaces", "message_queue", "sysv"),
]


@pytest.mark.parametrize(("without", "name", "achieved"), MUTANTS)
def test_a_mechanism_switched_off_is_noticed(without: str, name: str, achieved: str, canaries: Canaries) -> None:
    program = BY_NAME[name]
    timeout_seconds = (
        0.2 if "limit:cpu" in without else TIMEOUT_SECONDS
    )  # must be over well before the wall-clock bound
    try:
        with Checker(isolation="best", timeout_seconds=timeout_seconds, jobs=1, _without=without.split()) as weak:
            (verdict,) = weak.check(PROBLEM, [canaries.fill(program.completion, timeout_seconds)])
            deadline = time.monotonic() + 10
            while not (seen := canaries.touched()) and achieved == "process" and time.monotonic() < deadline:
                pass  # what was left behind may not have begun yet
        if achieved == "passed":
            # The second opinion in one process stands behind this wall.
            assert verdict.label == "passed" or verdict.detail.startswith("passes with program and tests in two"), (
                verdict
            )
            assert "passed" not in program.labels
        else:
            assert achieved in seen, verdict
    finally:
        for pid in orphans():
            with contextlib.suppress(ProcessLookupError):  # it may be ending
                os.kill(pid, signal.SIGKILL)
        remove_message_queue()
        canaries.restore()


PROBED = [
    *("clone", "execve", "socket", "socketpair", "sendto", "sendmsg", "kill", "tgkill", "tkill", "fcntl", "pidfd_open"),
    *(
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "memfd_create",
        "shmget",
        "msgget",
        "io_uring_setup",
        "openat",
    ),
    *(
        "openat2",
        "unlinkat",
        "mkdirat",
        "fchmodat",
        "renameat2",
        "linkat",
        "truncate",
        "prctl",
        "unshare",
        "setpriority",
    ),
    "prlimit64",
]


@pytest.mark.parametrize("call", PROBED)
def test_a_call_let_through_is_found_by_the_probe(call: str) -> None:
    with pytest.raises(SandboxError, match="not enforced"):
        Checker(jobs=1, _without=[f"seccomp:{call}"]).__enter__()


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("seccomp", "no seccomp"),
        ("landlock sealed", "no Landlock"),
        ("limit:cpu", "no limit .CPU time"),
        ("limit:as", "memory beyond the limit"),
        ("limit:fsize", "file size"),
        ("limit:core", "core dumps"),
        ("limit:nofile", "descriptors"),
        ("descriptors", "an inherited descriptor"),
        ("environment", "environment variables"),
        pytest.param(
            "caps namespaces",
            "capabilities",
            marks=pytest.mark.skipif(os.getuid() != 0, reason="needs privileges to keep"),
        ),
        pytest.param(
            "nnp caps namespaces",
            "new privileges",
            marks=pytest.mark.skipif(os.getuid() != 0, reason="seccomp itself needs it otherwise"),
        ),
    ],
)
def test_require_refuses_and_says_what_is_missing(without: str, message: str) -> None:
    with pytest.raises(SandboxError, match=message) as refusal:
        Checker(jobs=1, _without=without.split()).__enter__()
    assert "--isolation best" in str(refusal.value)
