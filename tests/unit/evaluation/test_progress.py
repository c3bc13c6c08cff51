"""Progress: the estimate follows the work done in this process, and a log gets few lines."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from evalkit.evaluation.progress import PROGRESS_FILE, Progress, duration_text

pytestmark = pytest.mark.torch_free


class Clock:
    """Seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_estimate_is_work_left_over_the_rate_so_far(clock: Clock) -> None:
    progress = Progress("scoring", 1000, stream=io.StringIO(), clock=clock)
    clock.now += 10
    progress.advance(250)
    assert progress.seconds_left() == pytest.approx(30)
    assert progress.text() == "scoring: 25% of 1,000 tokens, 30 s left"


def test_work_found_finished_does_not_flatter_the_rate(clock: Clock) -> None:
    progress = Progress("scoring", 1000, done=900, stream=io.StringIO(), clock=clock)
    clock.now += 10
    progress.advance(50)
    assert progress.seconds_left() == pytest.approx(10)


def test_there_is_no_estimate_from_next_to_nothing(clock: Clock) -> None:
    progress = Progress("scoring", 1000, stream=io.StringIO(), clock=clock)
    clock.now += 10
    progress.advance(5)
    assert progress.seconds_left() is None


def test_a_log_file_gets_a_line_every_half_minute(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress("scoring", 1000, stream=stream, clock=clock)
    for _ in range(60):
        clock.now += 1
        progress.advance(10)
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[-1] == "evalkit: scoring: 600 tokens in 60 s, 10 tokens a second"


def test_a_terminal_gets_one_line_that_is_renewed(clock: Clock) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    progress = Progress("scoring", 100, stream=stream, clock=clock)
    clock.now += 1
    progress.advance(50)
    clock.now += 1
    progress.advance(50)
    progress.finish()
    shown = stream.getvalue()
    assert shown.count("\n") == 1
    assert "\revalkit: scoring: " in shown
    assert "0/100 [" in shown
    assert shown.splitlines()[-1] == "evalkit: scoring: 100 tokens in 2 s, 50 tokens a second"


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8"))


def test_a_dashboard_reads_how_far_it_is(clock: Clock, tmp_path: Path) -> None:
    tasks = {"boolq": (3, 9), "arc_easy": (0, 5), "piqa": (1, 3)}
    progress = Progress(
        "log-likelihoods", 1000, done=200, tasks=tasks, folder=tmp_path, stream=io.StringIO(), clock=clock
    )
    begun = read(tmp_path)
    assert (begun["done"], begun["eta_seconds"], begun["finished"]) == (200, None, False)
    clock.now += 10
    progress.advance(400, {"piqa": 2, "boolq": 4})
    clock.now += 0.5
    progress.advance(100, {"arc_easy": 1})
    now = read(tmp_path)
    assert datetime.fromisoformat(now.pop("updated")).tzinfo is not None
    assert now == {
        "what": "log-likelihoods", "task": "boolq, piqa", "done": 600, "total": 1000, "unit": "tokens",
        "tasks": {
            "boolq": {"done": 7, "total": 9}, "arc_easy": {"done": 0, "total": 5}, "piqa": {"done": 3, "total": 3},
        },
        "per_second": 40.0, "eta_seconds": 10.0, "finished": False, "stopped": False,
    }  # fmt: skip  # half a second later it is not written again
    progress.advance(300, {"arc_easy": 4, "boolq": 2})
    progress.finish()
    last = read(tmp_path)
    assert (last["done"], last["eta_seconds"], last["finished"]) == (1000, 0.0, True)
    assert all(of_task["done"] == of_task["total"] for of_task in last["tasks"].values())
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS_FILE]


def test_where_the_run_ends_before_its_end_the_file_is_true(clock: Clock, tmp_path: Path) -> None:
    progress = Progress("texts", 10, "texts", tasks={"a": (0, 10)}, folder=tmp_path, stream=io.StringIO(), clock=clock)
    clock.now += 0.1
    progress.advance(4, {"a": 4})
    assert read(tmp_path)["done"] == 0
    progress.stop()
    now = read(tmp_path)
    assert (now["done"], now["tasks"]["a"]["done"], now["finished"], now["stopped"]) == (4, 4, False, True)
    progress.advance(6, {"a": 6})
    progress.finish()
    progress.stop()  # in what comes after the section
    assert (read(tmp_path)["finished"], read(tmp_path)["stopped"]) == (True, True)


def test_a_kill_while_it_is_written_leaves_the_one_before(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress("texts", 10, "texts", folder=tmp_path, stream=io.StringIO(), clock=clock)

    def killed(self: Path, text: str, encoding: str) -> None:
        self.write_bytes(text[:9].encode())
        raise SystemExit

    monkeypatch.setattr(Path, "write_text", killed)
    clock.now += 2
    with pytest.raises(SystemExit):
        progress.advance(5)
    assert read(tmp_path)["done"] == 0


def test_a_file_that_cannot_be_written_ends_no_run(clock: Clock, tmp_path: Path) -> None:
    progress = Progress("texts", 10, "texts", folder=tmp_path / "gone", stream=io.StringIO(), clock=clock)
    clock.now += 2
    progress.advance(10)
    progress.finish()


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "1 h 30 min")])
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
