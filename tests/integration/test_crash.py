"""Runs of the tiny model that are killed, resumed, and compared with one that was left alone.

A quick number of kills here; `make test-crash` sets EVALKIT_CRASH_POINTS=500.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.model]

REPOSITORY = Path(__file__).resolve().parents[2]
POINTS = int(os.environ.get("EVALKIT_CRASH_POINTS", "20"))


def campaign(folder: Path, *options: str) -> dict[str, Any]:
    """Run `tests.support.crash` in a process of its own, since it forks."""
    command = [sys.executable, "-m", "tests.support.crash", str(folder), *options]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=4 * 3600)
    assert done.returncode == 0, done.stderr[-2000:]
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert summary["problems"] == []
    return summary


def test_kills_at_random_times(tmp_path: Path) -> None:
    """Same journal, samples, report and record to the byte (times aside); no finished pack computed twice."""
    summary = campaign(tmp_path / "runs", "--random", str(POINTS))
    assert summary["points"] == POINTS
    # Delays are drawn up to the length of a run, so that few kills come too late.
    assert summary["killed"] >= POINTS // 2


def test_kills_at_every_call_that_reaches_the_disk(tmp_path: Path) -> None:
    """Each write (half done), fdatasync, fsync, rename and open of a run."""
    summary = campaign(tmp_path / "runs", "--calls")
    assert summary["points"] == summary["killed"] == summary["calls"] > 40


def test_disk_full_at_ten_calls(tmp_path: Path) -> None:
    """One clear error line, exit code 2; with space again, the same results."""
    summary = campaign(tmp_path / "runs", "--full", "10")
    assert summary["points"] == 10


def test_two_runs_at_once(tmp_path: Path) -> None:
    """On nothing, and on a killed run: one of them may be refused, none may spoil the other."""
    assert campaign(tmp_path / "runs", "--races", "4")["points"] == 4
