"""What the rest of evalkit sees of the sandbox: a problem, a verdict."""

from __future__ import annotations

from dataclasses import dataclass

LABELS = (
    "passed",  # the tests ran to their end
    "failed",  # an assertion of the tests, or an exception that the program raised
    "timed out",  # CPU time, or the wall-clock bound
    "out of memory",  # a MemoryError that nobody caught
    "crashed",  # ended by a signal
    "ended early",  # exited, or closed its channel
    "malformed",  # not a Python program, or rubbish on its channel
    "harness error",  # says nothing about the program; never counted as a failure
)


@dataclass(frozen=True)
class Problem:
    """One HumanEval problem, with the columns of the public data set."""

    task_id: str
    prompt: str
    """The beginning of the program, up to the entry function's docstring."""
    test: str
    """Source text that defines ``check(candidate)``. Trusted, and never seen by a candidate."""
    entry_point: str
    """The name of the function that ``check`` is given."""
    canonical_solution: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of one sample."""

    task_id: str
    passed: bool
    label: str
    """One of :data:`LABELS`."""
    detail: str
    """Why, for a reader: assertion, exception with its line, signal. Partly the program's own words."""
    seconds: float
    """Wall time of the last attempt."""
    cpu_seconds: float
    """CPU time of the candidate in the last attempt."""
    isolation: str
    """The walls in force, for example ``seccomp+landlock+namespaces``."""
    output: str = ""
    """What the program printed, at most 64 KiB."""
    printed_bytes: int = 0
    """How much it printed altogether."""
    attempts: int = 1
    """2 if a time-out under load, or a harness error, was tried again."""
