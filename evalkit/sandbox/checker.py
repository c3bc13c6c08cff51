"""Checks samples: a queue of jobs, a thread and a worker for each of ``jobs``, a verdict for every sample.

No sample ends a run. Where an attempt says nothing about the program (its processes were killed, or could not be
started), it is made again, alone; what fails every time is that sample's "harness error", and the others go on.
"""

from __future__ import annotations

import functools
import math
import os
import queue
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from evalkit.config.isolation import ISOLATIONS
from evalkit.errors import SandboxError
from evalkit.sandbox.demanded import NotIsolatedError, demand
from evalkit.sandbox.outcomes import (
    ATTEMPTS,
    KEPT,
    Settled,
    final_label,
    lost,
    memory_kills,
    needs_second_opinion,
    of_dead_worker,
    together,
    why_again,
)
from evalkit.sandbox.thread_limits import threads_can_run_out
from evalkit.sandbox.turns import Turns
from evalkit.sandbox.verdict import Problem, Verdict
from evalkit.sandbox.wire import MAX_THREADS
from evalkit.sandbox.worker import NO_LEVEL, Worker, WorkerDiedError, WorkerSettings, fork_servers

if TYPE_CHECKING:
    from concurrent.futures import Future

MAX_TIMEOUT_SECONDS = 86_400.0
# Pauses before a lost attempt is made again: what is short (memory, process ids) may be there again.
PAUSE_SECONDS = 0.1
LEAST_DESCRIPTORS = 24  # of a helper: what programs get lies above the first sixteen
GIVING_UP = 5  # after so many lost samples in a row, a worker tries each further one once


Note = Callable[[str], None]


class _Place:
    """Takes one sample's verdict, as a ``Future`` does; importing that brings ``logging``."""

    def __init__(self, done: queue.SimpleQueue[tuple[int, Any]], number: int) -> None:
        self._done, self._number = done, number

    def set_result(self, what: Verdict | BaseException) -> None:
        self._done.put((self._number, what))

    set_exception = set_result

    def cancel(self) -> None:
        from concurrent.futures import CancelledError

        self.set_result(CancelledError())


_Job = tuple[Problem, str, "Future[Verdict] | _Place", Note, Mapping[str, int]]


class _ClosingError(Exception):
    """The checker is closed before the sample has its verdict."""


class _Start:
    """How the start of a worker went. Mutable: set once, in the worker's thread."""

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self.error: BaseException | None = None
        self.level = NO_LEVEL

    def end(self, error: BaseException | None = None) -> None:
        self.error = error
        self.is_over.set()


class Checker:
    """Runs model-written programs so that they can harm nothing and fake nothing.

    Use as a context manager. At entry all workers start; it is over when the first one's walls are proved, and no
    sample runs in a worker before that one's are.

    Args:
        isolation: "require" refuses to start unless every wall is proved; "best" runs with what there is and says so in
            each verdict; "off" has no walls at all.
        timeout_seconds: wall time of one program, without what it waits for a CPU; and its CPU time. What ends it
            without regard to waiting is 1.4 s above, and in a second attempt ten times as much.
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
        self._settings = WorkerSettings(isolation, timeout_seconds, memory_bytes, tuple(sorted(_without)))
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._turns = Turns()
        self._threads: list[threading.Thread] = []
        self._workers: list[Worker] = []
        self._servers = fork_servers()
        self._closing = threading.Event()
        self._ignores_children = False
        self.level = NO_LEVEL
        """The walls of the first worker (each verdict names those of its own)."""
        self._starting: list[_Start] = []

    def __enter__(self) -> Checker:
        _keep_low_descriptors()
        self._check_own_limits()
        self._closing.clear()
        self._starting = []
        if threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        ):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else nobody learns how a helper ended
            self._ignores_children = True
        try:
            for number in range(self.jobs):
                start = _Start()
                self._starting.append(start)
                thread = threading.Thread(target=self._work, args=(start,), name=f"sandbox-{number}", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads
                    start.end(error)
                else:
                    self._threads.append(thread)
            first = self._starting[0]
            first.is_over.wait()
            if first.error is not None:
                raise first.error
            self.level = first.level
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

    def _check_own_limits(self) -> None:
        """Refuse limits of this process's own that would end honest programs: helpers inherit them.

        Raises:
            SandboxError: one is below what a program is promised.
        """
        seconds, memory = self._settings.timeout_seconds, self._settings.memory_bytes
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        if hard != resource.RLIM_INFINITY and hard < math.ceil(seconds):
            raise SandboxError(
                f"programs may use {seconds:g} s of CPU time, but this process's own limit is {hard} s; raise it "
                "(ulimit -t) or lower the time limit"
            )
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most != resource.RLIM_INFINITY and most < LEAST_DESCRIPTORS:
            raise SandboxError(
                f"the sandbox's helper processes need {LEAST_DESCRIPTORS} file descriptors each, but this process's "
                f"own limit is {most}; raise it (ulimit -n)"
            )
        for limit, option in ((resource.RLIMIT_AS, "-v"), (resource.RLIMIT_DATA, "-d")):
            hard = resource.getrlimit(limit)[1]
            if hard != resource.RLIM_INFINITY and hard < memory:
                raise SandboxError(
                    f"programs may use {memory >> 20:,} MiB of memory, but this process's own limit is "
                    f"{hard >> 20:,} MiB; raise it (ulimit {option})"
                )

    @property
    def not_started(self) -> list[str]:
        """Why some of the workers did not start (no process ids, no descriptors), as far as is known by now; those that
        did do all the work. All but the first start while samples are checked already."""
        return [_in_words(start.error) for start in self._starting if start.error is not None]

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
        done: queue.SimpleQueue[tuple[int, Verdict | BaseException | str]] = queue.SimpleQueue()
        pending = 0

        def take() -> Iterator[tuple[int, Verdict]]:
            nonlocal pending
            place, what = done.get()
            if isinstance(what, str):
                note(place, what)
            elif isinstance(what, BaseException):
                raise what
            else:
                pending -= 1
                yield place, what

        for number, (problem, completion) in enumerate(samples):
            report = functools.partial(_report, done, number)
            self._put(problem, completion, _Place(done, number), report, (tried or {}).get(number))
            pending += 1
            while pending > 8 * self.jobs or not done.empty():
                yield from take()
        while pending:
            yield from take()

    def submit(self, problem: Problem, completion: str) -> Future[Verdict]:
        """Queue one sample and return at once. The verdict is cancelled where the checker is closed before it."""
        from concurrent.futures import Future

        future: Future[Verdict] = Future()
        self._put(problem, completion, future, lambda _: None, None)
        return future

    def _put(
        self,
        problem: Problem,
        completion: str,
        future: Future[Verdict] | _Place,
        note: Note,
        tried: Mapping[str, int] | None,
    ) -> None:
        if not self._threads:
            raise SandboxError("the checker is not running; use it as a context manager: with Checker() as checker")
        self._queue.put((problem, completion, future, note, tried or {}))

    def _work(self, start: _Start) -> None:
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
                start.end(error)
                return
            start.level = worker.level
            start.end()
            lost_in_a_row = 0
            while (job := self._queue.get()) is not None:
                future = job[2]
                try:
                    verdict = self._verdict(worker, job, patient=lost_in_a_row < GIVING_UP)
                except _ClosingError:
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
                raise _ClosingError
            attempts += 1
            outcome, was_alone, kernel_killed = self._attempt_in_turn(
                worker, problem, completion, alone=attempts > 1, in_one_process=in_one_process
            )
            killed_for_memory = was_alone and kernel_killed
            why = why_again(outcome, was_alone=was_alone, was_patient=attempts > 1)
            if why == "threads" and not threads_can_run_out(MAX_THREADS * self.jobs):
                why = None
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
            outcome = self._attempt(worker, problem, completion, in_one_process=in_one_process, patient=alone)
        except Exception as error:  # a fault of ours, or no memory left here: this sample's, not the run's
            worker.kill()
            outcome = lost(f"{type(error).__name__}: {error}")
        finally:
            was_alone = self._turns.end(0 if alone else token)
        return outcome, was_alone, alone and (memory_kills() or 0) > before

    def _attempt(self, worker: Worker, problem: Problem, completion: str, **how: bool) -> dict[str, Any]:
        """One attempt's outcome. The processes are ended where they can't be trusted with another one.

        Raises:
            SandboxError, OSError: the worker with more modules, which the program needs, does not start.
        """
        try:
            outcome = worker.check(problem, completion, **how)
        except WorkerDiedError as died:
            outcome = of_dead_worker(died)
            if died.is_over or outcome["label"] == "harness error":
                worker.kill()
            return outcome
        if outcome["label"] == "lacking":
            return self._attempt_with_more(worker, problem, completion, **how)
        if (
            outcome["label"] == "harness error"
            or outcome.get("signal") == signal.SIGKILL
            or not {"seccomp", "off"} & set(worker.level.walls)
        ):
            worker.kill()
        return outcome

    def _attempt_with_more(self, worker: Worker, problem: Problem, completion: str, **how: bool) -> dict[str, Any]:
        """An attempt, from its start, where the whole standard library is loaded."""
        if not worker.may_lack:
            return lost("it was said to need more modules where all are loaded")
        if worker.fuller is None:
            worker.fuller = Worker(self._settings._replace(full=True), self._servers)
        fuller = worker.fuller
        if not fuller.is_running:
            self._start(fuller)
        outcome = self._attempt(fuller, problem, completion, **how)
        return {**outcome, "isolation": str(fuller.level)}


def _report(done: queue.SimpleQueue[tuple[int, Any]], number: int, what: str) -> None:
    done.put((number, what))


def _in_words(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _keep_low_descriptors() -> None:
    """Open 0 to 2 where the caller closed them: a pipe that got one of these numbers would not survive a start."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
