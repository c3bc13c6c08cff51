"""What a task's own functions read is part of what its scores depend on, whatever and wherever it is; no more is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit import opened, task_files, task_reads
from evalkit.opened import uncollected
from evalkit.task_files import Function, own_functions, task_file
from evalkit.task_reads import content_read, noting

UTILS = """
import json, os, pathlib
import beside_utils
HERE = pathlib.Path(__file__).parent
KEY = (HERE / "key.yaml").read_text()
def f(doc):
    with open(os.path.join(HERE, "_data", "shots.json")) as file:
        shots = json.load(file)
    (HERE / "made.txt").write_text("made")
    return (HERE / "made.txt").read_text() + (HERE / "../up.md").read_text() + (HERE / ".dot").read_text() + str(shots)
"""
READ = ("key.yaml", "_data/shots.json", "../up.md", ".dot", "beside_utils.py", "linked/inner.txt")


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task's file in `suite/`, with functions beside it."""
    folder = tmp_path / "suite"
    (folder / "_data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    for name in READ:
        (folder / name).write_text("1")
    (folder / "beside_utils.py").write_text(
        "import pathlib\nX = (pathlib.Path(__file__).parent / 'linked/inner.txt').read_text()\n"
    )
    (folder / "utils.py").write_text(UTILS)
    (folder / "t.yaml").write_text("task: t\ndoc_to_text: !function utils.f\n")
    (folder / "nohup.out").write_text("1")
    (folder / "gone.txt").symlink_to(folder / "nowhere")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(task_reads, "_reads", {})
    monkeypatch.delitem(sys.modules, "beside_utils", raising=False)
    return folder / "t.yaml"


def digest(task: Path) -> str:
    """Load the task's functions as lm-eval does, anew each time, call them, and say what was read."""
    import importlib.util

    with noting(task):
        (source,) = own_functions(task)
        spec = importlib.util.spec_from_file_location("utils", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.f({})
    return json.dumps(content_read(task))


@pytest.mark.parametrize("name", READ)
def test_what_is_read_counts(name: str, task: Path) -> None:
    before = digest(task)
    assert digest(task) == before
    (task.parent / name).write_text("2 " if not name.endswith(".py") else "Y = 2\n")
    assert digest(task) != before


@pytest.mark.parametrize("name", ["nohup.out", "made.txt", "README.md", "another.yaml"])
def test_what_is_not_read_or_was_written_there_does_not(name: str, task: Path) -> None:
    before = digest(task)
    (task.parent / name).write_text("2")
    assert digest(task) == before
    assert name == "made.txt" or name not in before


def test_what_two_tasks_import_is_read_by_both(task: Path) -> None:
    alone = digest(task)
    other = task.with_name("u.yaml")
    other.write_text(task.read_text().replace("task: t", "task: u"))
    task_reads._reads.clear()
    digest(other)
    assert digest(task) == alone


def test_other_tasks_files_are_not_read_by_it(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_files, "configs_dir", lambda: task.parent.parent)
    folder = task.parent.parent / "tasks/own"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}_file.yaml").write_text(f"task: {name}\n")
    with noting(task):
        assert task_file("own", "b") == folder / "b_file.yaml"
    assert content_read(task) == []


def test_neither_python_nor_its_libraries_count(task: Path) -> None:
    sys.modules.pop("this", None)
    with noting(task):
        import colorsys  # noqa: F401  # any module that was not imported before

        Path(sys.executable).open("rb").close()
    assert content_read(task) == []


def test_caches_do_not_count(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(task_reads.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / ".cache/lib").mkdir(parents=True)
    for name in ("words.cache", ".cache/lib/data"):
        (tmp_path / name).write_text("1")
        with noting(task):
            (tmp_path / name).read_text()
    assert content_read(task) == []


def test_what_evalkit_reads_itself_does_not_count(task: Path) -> None:
    with noting(task), uncollected():
        (task.parent / "nohup.out").read_text()
    assert content_read(task) == []


def test_a_task_without_functions_is_not_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Callable[..., None]] = []
    monkeypatch.setattr(sys, "addaudithook", called.append)
    monkeypatch.setattr(opened, "_has_hook", False)
    (tmp_path / "t.yaml").write_text("task: t\ndoc_to_text: !function evalkit.tasks.gpt4all.boolq_results\n")
    for file in (None, tmp_path / "t.yaml"):
        with noting(file):
            (tmp_path / "t.yaml").read_text()
    assert called == []
    assert Function("evalkit.tasks.gpt4all", "boolq_results", tmp_path).file is None
