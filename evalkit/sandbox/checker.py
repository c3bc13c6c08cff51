"""Checks samples: a queue of jobs, a thread and a worker for each of ``jobs``, verdicts in the order of the samples."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any

from evalkit.errors import SandboxError
from evalkit.sandbox.verdict import Problem, Verdict
from evalkit.sandbox.worker import Level, Settings, Worker, WorkerDiedError

ISOLATIONS = ("require", "best", "off")
# A time-out under this share of waiting for a CPU is the program's own.
STARVED_SHARE = 0.1

_Job = tuple[Problem, str, "Future[Verdict]"]


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

    Use as a context manager. At entry the workers start and their walls are tried; no sample runs before that.

    Args:
        isolation: "require" refuses to start unless every wall is proved; "best" runs with what there is and says so in
            each verdict; "off" has no walls at all.
        timeout_seconds: CPU time of one program. The wall-clock bound is 1.4 s above it.
        jobs: programs at a time; the number of usable CPUs by default.
        memory_bytes: address space of one program.

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
        if not timeout_seconds > 0:
            raise SandboxError(f"the time limit must be above 0 seconds, not {timeout_seconds}")
        self.isolation = isolation
        self.jobs = jobs or len(os.sched_getaffinity(0))
        self._settings = Settings(isolation, timeout_seconds, memory_bytes, tuple(sorted(_without)))
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._turns = Turns()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self.level = Level((), {}, (), ())
        """The walls of the first worker (each verdict names those of its own)."""

    def __enter__(self) -> Checker:
        self._closing = False
        started: list[Future[Level]] = [Future() for _ in range(self.jobs)]
        for number, future in enumerate(started):
            thread = threading.Thread(target=self._work, args=(future,), name=f"sandbox-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
            if number == 0:
                try:
                    self.level = future.result()  # the others are spared a start that cannot succeed
                except BaseException:
                    self.close()
                    raise
        try:
            for future in started:
                future.result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers and everything they run; samples that have not begun are dropped."""
        self._closing = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def check(self, problem: Problem, completions: Sequence[str]) -> list[Verdict]:
        """Check completions of one problem; verdicts in their order."""
        return list(self.check_many((problem, completion) for completion in completions))

    def check_many(self, samples: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        """Check samples as they come; yields verdicts in their order, a few samples behind."""
        if not self._threads:
            raise SandboxError("the checker is not running; use it as a context manager: with Checker() as checker")
        pending: deque[Future[Verdict]] = deque()
        for problem, completion in samples:
            future: Future[Verdict] = Future()
            pending.append(future)
            self._queue.put((problem, completion, future))
            while len(pending) > 8 * self.jobs or (pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _work(self, started: Future[Level]) -> None:
        """One thread: owns one worker from start to end, because the helper processes die with the thread."""
        worker = Worker(self._settings)
        try:
            try:
                self._start_nursery(worker)
            except BaseException as error:
                started.set_exception(error)
                return
            started.set_result(worker.level)
            with contextlib.suppress(OSError):  # then the first sample finds no tester and tries again
                worker.start_tester()
            while (job := self._queue.get()) is not None:
                problem, completion, future = job
                if self._closing:
                    future.cancel()
                    continue
                try:
                    future.set_result(self._verdict(worker, problem, completion))
                except BaseException as error:
                    future.set_exception(error)
        finally:
            worker.kill()

    def _start_nursery(self, worker: Worker) -> None:
        worker.start_nursery()
        if self.isolation == "require":
            demand(worker.level)

    def _restart(self, worker: Worker) -> None:
        """Replace a worker's processes by fresh ones, whose walls are proved again."""
        worker.kill()
        self._start_nursery(worker)
        worker.start_tester()

    def _verdict(self, worker: Worker, problem: Problem, completion: str) -> Verdict:
        """One sample: an attempt, and a second where the first says nothing about the program."""
        token = self._turns.shared()
        try:
            outcome = self._attempt(worker, problem, completion)
        finally:
            alone = self._turns.end(token)
        attempts = 1
        if outcome["label"] == "harness error" or (outcome["label"] == "timed out" and not alone and starved(outcome)):
            attempts = 2
            self._turns.alone()
            try:
                outcome = self._attempt(worker, problem, completion)
            finally:
                self._turns.end()
        label = str(outcome["label"])
        return Verdict(
            task_id=problem.task_id,
            passed=label == "passed",
            label=label,
            detail=str(outcome["detail"]),
            seconds=float(outcome.get("seconds", 0.0)),
            cpu_seconds=float(outcome.get("cpu_seconds", 0.0)),
            isolation=str(worker.level),
            output=str(outcome.get("output", "")),
            printed_bytes=int(outcome.get("printed_bytes", 0)),
            attempts=attempts,
        )

    def _attempt(self, worker: Worker, problem: Problem, completion: str) -> dict[str, Any]:
        try:
            outcome = worker.check(problem, completion)
        except WorkerDiedError as died:
            self._restart(worker)
            if died.args[0] == "time":
                return {"label": "timed out", "detail": "the tests did not end", "waited_seconds": -1.0}
            return {"label": "harness error", "detail": died.args[0]}
        if outcome["label"] == "harness error" or not {"seccomp", "off"} & set(worker.level.walls):
            self._restart(worker)
        return outcome


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
        raise SandboxError(f"model code cannot be isolated here: no seccomp ({level.missing.get('seccomp')}); {remedy}")
    if "landlock" not in level.walls and "sealed" not in level.walls:
        raise SandboxError(
            f"model code cannot be isolated here: no Landlock ({level.missing.get('landlock')}); {remedy}"
        )
    if level.leaks:
        raise SandboxError(f"model code cannot be isolated here: not enforced: {', '.join(level.leaks)}; {remedy}")
    if level.faults:
        raise SandboxError(f"honest programs cannot run in the sandbox here: {'; '.join(level.faults)}; {remedy}")
