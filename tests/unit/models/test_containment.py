"""`containment`: what a package changes while it is imported stays with whoever asked for it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evalkit.models.containment import contained_import

# Stands for the package that is changed; importable by the one that changes it.
HOLDER: Any = ModuleType("changed_by_others")
HOLDER.load = lambda: "original"

PACKAGE = """
import sys
import changed_by_others as HOLDER
HOLDER.load = lambda: "patched"
HOLDER.added = True
sys.tracebacklimit = 0
{then}
def __getattr__(name):
    if name == "lazy":
        HOLDER.late = True
        return 5
    raise AttributeError(name)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"patching_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(PACKAGE.format(then=getattr(request, "param", "")))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, HOLDER.__name__, HOLDER)
    return name


def assert_clean() -> None:
    assert HOLDER.load() == "original"
    assert not hasattr(HOLDER, "added")
    assert not hasattr(HOLDER, "late")
    assert not hasattr(sys, "tracebacklimit")


def test_changes_are_undone_and_can_be_put_in_force(package: str) -> None:
    contained = contained_import(package, ["lazy"], [HOLDER])
    assert_clean()
    with contained.in_force() as module:
        assert module.__name__ == package
        assert (HOLDER.load(), HOLDER.added, HOLDER.late) == ("patched", True, True)
    assert_clean()


def test_changes_are_undone_after_an_error_inside(package: str) -> None:
    contained = contained_import(package, [], [HOLDER])
    with pytest.raises(KeyError), contained.in_force():
        raise KeyError
    assert_clean()


@pytest.mark.parametrize("package", ["raise OSError('no library')"], indirect=True)
def test_changes_are_undone_after_a_failing_import(package: str) -> None:
    with pytest.raises(OSError, match="no library"):
        contained_import(package, [], [HOLDER])
    assert_clean()


def test_a_traceback_limit_of_the_users_own_is_kept(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "tracebacklimit", 7, raising=False)
    contained_import(package, [], [HOLDER])
    assert sys.tracebacklimit == 7
