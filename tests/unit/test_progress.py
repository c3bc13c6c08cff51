"""Progress: the estimate follows the work done in this process, and a log gets few lines."""

from __future__ import annotations

import io

import pytest

from evalkit.evaluation.progress import Progress, duration_text

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
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("\r") == 3


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "1 h 30 min")])
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
