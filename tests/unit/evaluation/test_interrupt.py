"""Signals: raised at once, or held until the batch in hand is finished; the second one ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from evalkit.evaluation.interrupt import Interrupted, StopSignals

pytestmark = pytest.mark.torch_free


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_interrupts_at_once(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, StopSignals():
        signal.raise_signal(number)
    assert caught.value.exit_code == code
    assert str(caught.value) == signal.Signals(number).name
    assert signal.getsignal(number) is before


def test_a_held_signal_waits_for_the_check(capfd: pytest.CaptureFixture[str]) -> None:
    with StopSignals() as signals, signals.held():
        signals.check()
        signal.raise_signal(signal.SIGTERM)
        # A second one would end the process at once.
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with pytest.raises(Interrupted):
            signals.check()
    assert "SIGTERM: finishing the batch in hand; once more stops at once" in capfd.readouterr().err


def test_a_signal_that_is_held_for_a_moment_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with StopSignals() as signals:
        with signals.held(""):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            signals.check()
    assert capfd.readouterr().err == ""


def test_no_except_exception_swallows_it() -> None:
    def careless() -> None:
        with suppress(Exception):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted), StopSignals():
        careless()


def in_a_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_other_threads_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with StopSignals() as signals:
            signals.check()
            seen.append(signal.getsignal(signal.SIGINT))

    in_a_thread(work)
    assert seen == [before]


def test_the_second_signal_stops_at_once() -> None:
    code = (
        "import os, signal, sys\n"
        "from evalkit.evaluation.interrupt import StopSignals\n"
        "with StopSignals() as signals, signals.held():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('held', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still there', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == -signal.SIGINT
    assert done.stdout == "held\n"
