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


def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/python.md").read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*cells, SHOWN])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
