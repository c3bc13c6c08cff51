"""One thread's streams: others keep theirs, and the process's own is back at the end, whoever ends first."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from evalkit.streams import redirected, stream_target

pytestmark = pytest.mark.torch_free


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_two_threads_that_overlap_leave_nothing_behind(name: str) -> None:
    own = getattr(sys, name)
    targets = {key: io.StringIO() for key in "ab"}
    inside, out = {key: threading.Event() for key in "ab"}, threading.Event()

    def first() -> None:
        with redirected(name, targets["a"]):  # type: ignore[arg-type]
            inside["a"].set()
            inside["b"].wait(10)
            print("one", file=getattr(sys, name))
        out.set()

    def second() -> None:
        inside["a"].wait(10)
        with redirected(name, targets["b"]):  # type: ignore[arg-type]
            inside["b"].set()
            out.wait(10)  # the one that began first has ended
            print("two", file=getattr(sys, name))

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert getattr(sys, name) is own
    assert (targets["a"].getvalue(), targets["b"].getvalue()) == ("one\n", "two\n")


def test_one_inside_another_and_an_error() -> None:
    own, outer, inner = sys.stdout, io.StringIO(), io.StringIO()
    with redirected("stdout", outer):
        with pytest.raises(ZeroDivisionError), redirected("stdout", inner):
            sys.stdout.write(f"in\n{1 / len(inner.getvalue())}")
        sys.stdout.write("out\n")
        assert stream_target("stdout") is outer
    assert sys.stdout is own
    assert (outer.getvalue(), inner.getvalue()) == ("out\n", "")


def test_what_another_thread_prints_meanwhile_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    with redirected("stdout", io.StringIO()):
        thread = threading.Thread(target=print, args=("seen",))
        thread.start()
        thread.join(10)
    assert capsys.readouterr().out == "seen\n"
