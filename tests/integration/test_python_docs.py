"""docs/python.md, followed: its cells are run as they are printed there, in one process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.model, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
SHOWN = """
for result in (first, change, verdict, board, findings):
    assert result._repr_markdown_().count("|") > 10
    assert len(result.to_frame())
plan = evalkit.run(model="tiny", task="boolq", limit=2, dry_run=True, quiet=True)
assert plan._repr_markdown_().startswith("| suite")
"""


THREADS = """
import sys, threading
import evalkit

own = sys.stdout, sys.stderr
counts = {}

def score(limit, quiet):
    counts[limit] = evalkit.run(model="tiny", task="boolq", limit=limit, output=f"out{limit}", quiet=quiet)

threads = [threading.Thread(target=score, args=each) for each in ((3, True), (4, False), (5, True), (6, False))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert (sys.stdout, sys.stderr) == own
print({limit: run.metrics["boolq"]["acc"].n for limit, run in sorted(counts.items())})
"""


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/python.md").read_text(encoding="utf-8"), re.DOTALL)
    done = python(tmp_path, "\n".join([*cells, SHOWN]))
    assert (done.stdout, done.stderr) == ("", "")


def test_threads_have_their_own_streams_and_only_our_lines_are_said(tmp_path: Path) -> None:
    done = python(tmp_path, THREADS)
    assert done.stdout == "{3: 3, 4: 4, 5: 5, 6: 6}\n"
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("evalkit: ") for line in lines)  # no bar of lm-eval's
    folders = {re.sub(r"\W.*", "", line.partition("run folder: ")[2].rpartition("out")[2]) for line in lines}
    assert folders - {""} == {"4", "6"}
