"""What a task's own functions read is part of what its scores depend on, whatever and wherever it is; no more is."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit import opened, task_files, task_reads
from evalkit.opened import uncollected
from evalkit.task_files import Function, own_functions, task_file
from evalkit.task_reads import content_read, noting, programs_started

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
BESIDE = {"_data/shots.json", "linked/inner.txt"}
"""Data in the folder of the functions."""

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
    monkeypatch.setattr(task_reads, "_imported", set())
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


def names_read(task: Path) -> set[str]:
    return {name for name, _ in content_read(task)}


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


@pytest.mark.parametrize(
    "name", ["keys.parquet", "deep/er/12.txt", "keys.db", "K.TXT", "5.case", "words", "linked/7.xml"]
)
def test_data_in_the_functions_folder_count_though_nobody_is_seen_to_read_them(name: str, task: Path) -> None:
    """As of pyarrow, of another process, or of a function that opens a file for each document."""
    (task.parent / name).parent.mkdir(parents=True, exist_ok=True)
    (task.parent / name).write_text("1")
    before = digest(task)
    (task.parent / name).write_text("2")
    changed = digest(task)
    (task.parent / name).unlink()
    assert len({before, changed, digest(task)}) == 3


def test_files_of_one_name_that_change_places_are_another_task_and_a_moved_folder_is_the_same(task: Path) -> None:
    for language in ("en", "zh"):
        (task.parent / language).mkdir()
        (task.parent / language / "keys.json").write_text(language)
    before = digest(task)
    (task.parent / "en").rename(task.parent / "x")
    (task.parent / "zh").rename(task.parent / "en")
    (task.parent / "x").rename(task.parent / "zh")
    assert digest(task) != before


def test_a_folder_that_the_functions_write_to_is_no_data(task: Path) -> None:
    """A file for each document: a run must not change what it is compared by."""
    with noting(task):
        (task.parent / "made").mkdir()
        (task.parent / "made/0.json").write_text("0")
    before = content_read(task)
    (task.parent / "made/7.json").write_text("7")
    assert content_read(task) == before


def test_links_that_lead_elsewhere_now_are_another_task_and_circles_are_none(task: Path) -> None:
    folder = task.parent
    (folder / "keys_1.json").write_text("1")
    (folder / "keys_2.json").write_text("2")
    (folder / "keys.json").symlink_to("keys_1.json")
    (folder / "circle.json").symlink_to("circle.json")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.json")
    before = digest(task)
    (folder / "keys.json").unlink()
    (folder / "keys.json").symlink_to("keys_2.json")
    assert digest(task) != before


def test_where_a_task_lies_does_not_count_though_it_reads_beside_its_folder(task: Path, tmp_path: Path) -> None:
    before = digest(task)
    moved = tmp_path / "another/place"
    moved.mkdir(parents=True)
    for name in ("suite", "elsewhere", "up.md"):
        (tmp_path / name).rename(moved / name)
    (moved / "suite/linked").unlink()
    (moved / "suite/linked").symlink_to(moved / "elsewhere")
    sys.modules.pop("beside_utils", None)
    sys.path.insert(0, str(moved / "suite"))
    try:
        assert digest(moved / "suite/t.yaml") == before
    finally:
        sys.path.remove(str(moved / "suite"))


def test_data_of_a_data_set_that_was_built_before_count(task: Path, tmp_path: Path) -> None:
    """``load_dataset`` opens a file the first time, and its own cache of it from then on."""
    import datasets

    file = tmp_path / "elsewhere" / "rows.jsonl"
    found = []
    for text in ("1", "1", "2", "2"):
        file.write_text(f'{{"a": {text}}}\n')
        task_reads._reads.clear()
        with noting(task):
            (row,) = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "c"))
        assert row == {"a": int(text)}
        found.append([entry for entry in content_read(task) if entry[0].endswith("rows.jsonl")])
    assert found[0] == found[1] != found[2] == found[3]
    assert found[0]


def test_data_that_the_functions_write_and_do_not_read_do_not_count(task: Path) -> None:
    before = digest(task)
    with noting(task):
        (task.parent / "log.jsonl").write_text("at nine")
        (task.parent / "new").write_text("1")
        (task.parent / "new").rename(task.parent / "words.json")
    assert json.dumps(content_read(task)) == before


def test_data_of_a_folder_that_is_not_beside_the_task_do_not_count(task: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere/mine.py").write_text("def f(doc): return 1\n")
    (tmp_path / "elsewhere/many.json").write_text("1")
    sys.path.insert(0, str(tmp_path / "elsewhere"))  # as the fixture's patch, which undoes it
    task.write_text("task: t\ndoc_to_text: !function mine.f\n")
    with noting(task):
        (tmp_path / "elsewhere/key.txt").write_text("1")
        (tmp_path / "elsewhere/key.txt").read_text()
    assert names_read(task) == {"key.txt"}


def test_a_database_that_is_opened_by_its_address_counts(task: Path) -> None:
    sqlite3.connect(task.parent.parent / "keys").close()
    with noting(task):
        sqlite3.connect(f"file:{task.parent.parent}/keys?mode=ro", uri=True).close()
    assert "keys" in names_read(task)


@pytest.mark.parametrize("start", [
    lambda: subprocess.run(["true", "x"], check=True), lambda: subprocess.run("true x", shell=True, check=True),
    lambda: os.system("true x"),
])  # fmt: skip
def test_programs_that_are_started_are_named(start: Callable[[], object], task: Path) -> None:
    with noting(task):
        start()
    assert set(programs_started(task)) <= {"true", "sh"}
    assert programs_started(task)
    with noting(task, anew=True):
        pass
    assert programs_started(task) == []


def test_what_was_read_before_a_task_was_loaded_anew_does_not_count(task: Path) -> None:
    digest(task)
    with noting(task, anew=True):
        (task.parent / "key.yaml").read_text()
    assert names_read(task) == {"key.yaml", *BESIDE, "made.txt"}


def test_a_library_is_imported_once(task: Path) -> None:
    """A function of a library's own folder is no reason to have the library's modules anew."""
    import json.decoder

    import yaml.nodes

    task.write_text("task: t\ndoc_to_text: !function json.dumps\ndoc_to_target: !function yaml.dump\n")
    with noting(task):
        pass
    assert (sys.modules["json.decoder"], sys.modules["yaml.nodes"]) == (json.decoder, yaml.nodes)


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
    assert names_read(task) == BESIDE


def test_neither_python_nor_its_libraries_count(task: Path) -> None:
    sys.modules.pop("this", None)
    with noting(task):
        import colorsys  # noqa: F401  # any module that was not imported before

        Path(sys.executable).open("rb").close()
    assert names_read(task) == BESIDE


def test_caches_do_not_count(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(task_reads.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / ".cache/lib").mkdir(parents=True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    (tmp_path / "hub").mkdir()
    for name in ("words.cache", ".cache/lib/data", ".netrc", "hub/list"):
        (tmp_path / name).write_text("1")
        with noting(task):
            (tmp_path / name).read_text()
    assert names_read(task) == BESIDE


def test_what_evalkit_reads_itself_does_not_count(task: Path) -> None:
    with noting(task), uncollected():
        (task.parent / "nohup.out").read_text()
    assert names_read(task) == BESIDE


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
