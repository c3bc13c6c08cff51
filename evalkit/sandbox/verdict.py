"""What the rest of evalkit sees of the sandbox: a problem, a verdict.

Named tuples, as all that the checker is made of: `dataclasses` brings `inspect`, a sixth of its import.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
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


class Problem(NamedTuple):
    """One HumanEval problem, with the columns of the public data set."""

    task_id: str
    prompt: str
    """The beginning of the program, up to the entry function's docstring."""
    test: str
    """Source text that defines ``check(candidate)``. Trusted, and never seen by a candidate."""
    entry_point: str
    """What ``check`` is given: a function's name, or any other text of arguments (``Solution().add``; ``entry.py``)."""
    canonical_solution: str | None = None


def with_lack(detail: str) -> str:
    """Return a verdict's detail; of a module that is missing it says what there is."""
    found = _MISSING.search(detail)
    if found is None or found[1] in {*sys.stdlib_module_names, "numpy"}:
        return detail
    return f"{detail}; programs find the standard library and numpy alone"


class Verdict(NamedTuple):
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
    in_one_process: str = ""
    """The label of the second opinion, program and tests in one process; "" where it was not needed."""

    @property
    def is_disputed(self) -> bool:
        """Whether it failed here and passes in one process."""
        return is_disputed(self._asdict())


SHOWN_IDS = 10


def is_disputed(fields: Mapping[str, Any]) -> bool:
    """:attr:`Verdict.is_disputed` of a verdict's fields; records of former versions have no second opinion."""
    return not fields["passed"] and fields.get("in_one_process") == "passed"


def disputed_lines(samples: Iterable[tuple[str, bool]]) -> list[str]:
    """What a report says of samples that failed here and pass in one process: a line, or none where there is none.

    Args:
        samples: task id, and :attr:`Verdict.is_disputed`.
    """
    ids = [task_id for task_id, is_disputed in samples if is_disputed]
    if not ids:
        return []
    different = list(dict.fromkeys(ids))
    names = ", ".join(different[:SHOWN_IDS]) + (", ..." if len(different) > SHOWN_IDS else "")
    count = f"{len(ids):,} sample{'s' if len(ids) > 1 else ''} failed here and pass{'' if len(ids) > 1 else 'es'}"
    them = "them" if len(ids) > 1 else "it"
    return [f"{count} in one process, where a program can fake its result: {names}; look at {them}"]
