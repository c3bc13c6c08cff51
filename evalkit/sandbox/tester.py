"""The process that has each sample judged, and its verdict. It never shares memory with model code.

Started by ``worker.py``; reads one job after the other from descriptor 0 and writes one verdict each to descriptor 1.
For a job it makes three pipes, has the nursery fork a candidate on their other ends, and forks from itself the judge
(``judge.py``), which runs the problem's tests with a function in the candidate's place that sends each call over. No
test ever runs in this process: each judge begins as the first one did. A sample passes only if the tests ran to their
end in the judge.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import sys
import time
from typing import Any

from . import kernel
from .channel import Channel, Fault
from .interpreter import prepare_builtins
from .judge import Judge, Lost, compiled_prompt, compiled_test
from .judge_process import NO_REPORT, WRITTEN, DiedError, JudgeProcess
from .judge_walls import JudgeWalls
from .plain import plain_tests
from .sockets import MSG_WAITALL, Socket, receive_fds, send_fds, socketpair
from .traceless import is_traceless
from .wire import DONE, KILL, MAX_CROSSING, MAX_THREADS, MORE, OUTCOME, RUN, SECONDS, frame, frame_length, parsed

CPU_TICK_SECONDS = 0.1
MEMORY_SHARE = 0.9  # of the limit; a program that has this much resident when its time is up ran out of memory first
# Trees of texts are many objects without cycles, which collections at Python's own threshold would go through for
# nothing: a third of the time that reading tests takes.
COLLECTING_THRESHOLD = 50_000
BLOATED_BYTES = 64 << 20  # a judge that keeps so much more than at its start is replaced
# What tests and the values that cross need, imported once here and not once a job. Not among them: what runs code in
# every forked child (threading, random).
PRELOADED = (
    *("typing", "collections", "collections.abc", "re", "math", "string", "itertools", "functools", "heapq", "bisect"),
    *("copy", "operator", "datetime", "decimal", "fractions", "traceback"),
)


class Tester:
    """Has jobs judged. Mutable: the judge of traceless tests, whether numpy is loaded."""

    def __init__(self, nursery: Socket, settings: dict[str, Any], private: list[int]) -> None:
        self.nursery = nursery
        self.settings = settings
        self.private = [nursery.fileno(), *private]
        """Descriptors that no judge keeps."""
        self.without = frozenset(settings["without"])
        self.walls = JudgeWalls(settings)
        self.has_numpy = False
        self.thresholds = gc.get_threshold()
        self.staying: JudgeProcess | None = None
        self.staying_bytes = 0
        """Its address space at its start."""

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Have one job judged and return the verdict's fields."""
        started = time.monotonic()
        channel = Channel.new()
        died = None
        try:
            send_fds(self.nursery, RUN, channel.theirs)
            channel.close_theirs()
            try:
                report = self.judged(job, channel, started + job["bound_seconds"])
            except DiedError as error:
                report, died = NO_REPORT, list(error.args)
            self.nursery.sendall(self.word(report))
            ended = self.nursery.recv(OUTCOME.size, MSG_WAITALL)
            if len(ended) < OUTCOME.size:
                raise Lost("the nursery died")
            if died is not None:
                return {"died": died}
            channel.output, channel.printed = bytearray.fromhex(report["output"]), report["printed"]
            channel.drain()
        finally:
            channel.close()
        if report["numpy"] and not self.has_numpy:
            self.load_numpy()
        return self.verdict(report, channel, OUTCOME.unpack(ended), started, patient=job["patient"])

    def give_more(self, seconds: float) -> None:
        """Have the nursery give the program more CPU time: that of crossing is not its own."""
        limit = MAX_CROSSING * self.settings["timeout_seconds"]
        self.nursery.sendall(MORE + SECONDS.pack(min(max(0.0, seconds), limit)))

    def word(self, report: dict[str, Any]) -> bytes:
        """What to tell the nursery. How long the program waited for a CPU, only a verdict near the limit depends on."""
        is_plain = report["label"] not in ("timed out", "lost") and report["used"] <= self.settings["timeout_seconds"]
        return DONE if report["word"] == KILL.decode() and is_plain else str(report["word"]).encode()

    def judged(self, job: dict[str, Any], channel: Channel, bound: float) -> dict[str, Any]:
        """The report of the judge that stays, for traceless tests, or of one that is forked for this job.

        Raises:
            DiedError: it made none.
        """
        # Where the program runs its tests itself, the judge only waits.
        stays = job["in_one_process"] or is_traceless(job["prompt"], job["test"], job["entry_point"])
        # Told here, while the candidate is made: the program's part is the judge's, which hostile texts may end.
        job["plain_tests"] = None
        if stays and not job["in_one_process"]:
            tests = plain_tests(job["prompt"], job["test"], job["entry_point"])
            job["plain_tests"] = tests and [sorted(tests.names), tests.has_many]
        if not stays:
            with contextlib.suppress(Fault):  # then the judge says so
                compiled_prompt(job["prompt"])
                compiled_test(job["test"])
        try:
            judge = self.staying if stays else None
            if judge is None:
                judge = self.fork_judge(None if stays else job, channel)
        except OSError as error:
            raise DiedError(f"fork: {error.strerror}", 0, -1.0, "") from None
        if stays:
            self.staying = None  # until it turns out well
            judge.send(job, channel)
        channel.leave()
        report = judge.report(bound, self.give_more, MAX_CROSSING * self.settings["timeout_seconds"])
        if stays and "mapped" in report and report["mapped"] <= self.staying_bytes + BLOATED_BYTES:
            self.staying = judge
        elif "mapped" in report:
            judge.end()
        if report["label"] == "lacking" and not job["may_lack"]:
            return {**NO_REPORT, "label": "failed", "detail": WRITTEN}
        return report

    def fork_judge(self, job: dict[str, Any] | None, channel: Channel) -> JudgeProcess:
        """Fork a judge for a job, whose pipes it has; without one, for those that are sent to it."""
        ours, theirs = socketpair()
        with contextlib.closing(theirs):
            mapped = self.walls.mapped_bytes()
            self.staying_bytes = mapped if job is None else self.staying_bytes
            pid = os.fork()
            if pid:
                return JudgeProcess(pid, ours)
            try:
                kernel.die_with_parent()
                if os.getppid() != self.settings["tester"]:
                    return os._exit(1)
                ours.close()
                for fd in (*self.private, *(channel.ours if job is None else ())):
                    os.close(fd)
                if self.staying is not None:
                    self.staying.link.close()
                self.be_judge(job, channel, theirs, mapped)
            finally:
                os._exit(0)

    def be_judge(self, job: dict[str, Any] | None, channel: Channel, link: Socket, mapped: int) -> None:
        """Judge, in a process of its own."""
        judge = Judge(self.without)
        self.walls.raise_here(mapped, stays=job is None)
        if job is not None:
            gc.set_threshold(*self.thresholds)  # tests that may be about collections find Python's own
        gc.enable()
        last: Channel | None = None
        while True:
            if job is None:
                header, pipes = receive_fds(link, 4, 3)
                if len(pipes) < 3:
                    return  # the tester is gone
                text = link.recv(frame_length(header), MSG_WAITALL)
                channel, job = Channel((pipes[0], pipes[1], pipes[2])), parsed(text)
                stays = True
                if last is not None:  # not before: its candidate would wake up at that, and is to be killed
                    last.close()
            else:
                stays = False
            try:
                report = judge.report(job, channel, lambda message: link.sendall(frame(message)))
            except MemoryError:
                report = {**NO_REPORT, "label": "out of memory", "detail": "of the tests' process"}
            link.sendall(frame({**report, "mapped": self.walls.mapped_bytes()}))
            if not stays:
                return
            last, job = channel, None

    def load_numpy(self) -> None:
        """Import numpy for the judges to come: this one needed it."""
        self.has_numpy = True
        with contextlib.suppress(Exception):
            importlib.import_module("numpy")
        gc.collect()
        gc.freeze()

    def verdict(
        self, report: dict[str, Any], channel: Channel, ended: tuple[Any, ...], started: float, *, patient: bool
    ) -> dict[str, Any]:
        """The verdict's fields, from what the judge and the nursery say."""
        status, over, killed, crowded, stopped, lacked, cpu, waited, resident = ended
        label, detail, used = report["label"], report["detail"], report["used"]
        limit = self.settings["timeout_seconds"]
        # The kernel's own CPU limit can come first; its SIGKILL is told by the time used.
        crossing = report["crossing"]
        over = over or cpu >= limit + crossing - CPU_TICK_SECONDS
        ended_by = os.WTERMSIG(status) if label == "gone" and os.WIFSIGNALED(status) and not (over or crowded) else 0
        if crowded:
            label, detail = "crashed", f"killed: it had more than {MAX_THREADS} threads and processes"
        elif label == "gone":
            label, detail = how_it_ended(status, detail, over=over, killed=killed)
        elif label == "timed out" and over:
            detail = "CPU time"
        is_full = resident * 1024 > MEMORY_SHARE * self.settings["memory_bytes"]
        # The limit is wall time; waiting for a CPU is the machine's.
        lost = min(used, max(0.0, waited) + report["waited_in_use"])
        is_starved = used - lost - crossing <= limit and "wall" not in self.without
        wall = f"wall clock: {used:.2f} s, of which {lost:.2f} s waiting for a CPU and {cpu:.2f} s using one"
        if label == "timed out" and detail == "wall clock":
            detail = wall
            if patient and is_starved and waited >= 0 and not stopped and not is_full:
                return {
                    "label": "harness error",
                    "detail": f"the program did not get its time on this busy machine ({wall})",
                    "is_starved": True,
                }
        if label == "passed" and used > limit and "wall" not in self.without:
            if not is_starved:
                label, detail = "timed out", wall
            else:
                took = f"took {used:.2f} s of wall time, of which {lost:.2f} s waiting for a CPU"
                if used - lost > limit:
                    took += f" and {crossing:.2f} s for values to cross"
                detail = "; ".join(filter(None, (took, detail)))
        if label == "timed out" and stopped:
            return {
                "label": "harness error",
                "detail": "the program's process was stopped by another",
                "is_silent": True,
            }
        if label == "timed out" and is_full:
            label, detail = "out of memory", "and still busy at the time limit"
        if label == "timed out" and crossing > 0.1 * limit:
            detail += (
                f", {crossing:.2f} s of it for values to cross (could not cross faster: many calls, or large values)"
            )
        own = report["waited"]
        return {
            "label": "harness error" if label == "lost" else label,
            "detail": detail,
            "is_lost": label == "lost",
            "plain": report["plain"],
            "may_lack_threads": lacked,
            "is_spent": crossing > 0.9 * MAX_CROSSING * limit,  # nearly all that crossing is ever given
            "signal": ended_by if label == "crashed" else 0,
            "cpu_seconds": cpu,
            "waited_seconds": -1.0
            if label == "timed out" and min(waited, own) < 0 and not over
            else max(0.0, waited) + own,
            "seconds": time.monotonic() - started,
            "peak_kib": resident,
            "output": channel.output.decode("utf-8", "backslashreplace"),
            "printed_bytes": channel.printed,
        }


def how_it_ended(status: int, where: str, *, over: bool, killed: bool) -> tuple[str, str]:
    """Label and detail of a candidate that closed its pipe, from its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if over or number == signal.SIGXCPU:
            return "timed out", "CPU time"
        if killed:
            return "ended early", f"closed its channel {where}"
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return "crashed", f"{name} {where}"
    return "ended early", f"exit code {os.WEXITSTATUS(status)} {where}"


@functools.cache
def load() -> None:
    """Do what every tester begins with, whatever its settings. A fork server does it once for all."""
    for name in PRELOADED:
        importlib.import_module(name)
    compile("0", "", "exec")  # makes the types of the syntax tree, which every judge would make anew


def main() -> None:
    """Entry point; the settings are the first argument, as JSON, and the libraries to allow the first frame."""
    settings = json.loads(sys.argv[1])
    kernel.start_afresh()
    kernel.die_with_parent()
    if os.getppid() != settings["parent"]:
        return
    kernel.set_name(b"evalkit-tester")
    jobs, verdicts = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # the tests print nothing and read nothing
        os.dup2(null, fd)
    os.close(null)
    kernel.be_killed_first()
    kernel.use_few_heaps()  # else a few threads of the tests reserve all the address space that a judge has
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each of its threads would take memory
    load()
    prepare_builtins()
    reader = os.fdopen(jobs, "rb")

    def received() -> bytes:
        header = reader.read(4)
        return reader.read(frame_length(header)) if header else b""

    first = received()
    if not first:
        return
    settings |= json.loads(first)
    settings["tester"] = os.getpid()
    nursery = Socket(fileno=settings["nursery_fd"])
    tester = Tester(nursery, settings, [jobs, verdicts])
    gc.freeze()
    gc.set_threshold(COLLECTING_THRESHOLD)
    gc.enable()
    while text := received():
        try:
            verdict = tester.run(parsed(text))
        except (Fault, OSError, MemoryError) as error:
            verdict = {"label": "harness error", "detail": f"{type(error).__name__}: {error}", "is_lost": True}
        data = memoryview(frame(verdict))
        while data:
            data = data[os.write(verdicts, data) :]
