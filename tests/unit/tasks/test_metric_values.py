"""What a person's task functions may give or raise: a number, or one line that names task, document and metric."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.config import suites, task_files
from evalkit.config.suites import load_tasks
from evalkit.config.task_files import content_of, read_task_file, task_file
from evalkit.config.task_modules import code_of
from evalkit.errors import ConfigError
from evalkit.store.sections import FailedText
from evalkit.tasks.metric_values import values_of

pytestmark = pytest.mark.torch_free

GOOD = [(-1.5, True), (-2.5, False)]
HERE = r"^[^\n]*configs/suites/truthfulqa\.yaml:\d+: tasks: truthfulqa_mc: metrics: document 3: "


def values(found: Any, answers: Any = GOOD) -> dict[str, float]:
    return values_of("truthfulqa_mc", 3, lambda: found, answers, is_judged=False)


@pytest.mark.parametrize("value", [0, 1, True, 0.25, np.float32(0.25), np.float64(1.0), np.bool_(True), np.int64(1)])
def test_a_number_of_any_kind_is_a_plain_float(value: Any) -> None:
    found = values({"mc1": value, "mc2": 0.5})
    assert (type(found["mc1"]), found["mc1"]) == (float, float(value))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("0.5", "'mc2' is a text ('0.5'), expected a number from 0 to 1"),
        (None, "'mc2' is null (null), expected"),
        ([0.5], "'mc2' is a list ([0.5]), expected"),
        ((0.5, 1), "'mc2' is a tuple ((0.5, 1)), expected"),
        (np.array([0.5]), "'mc2' is of type ndarray"),
        (55.0, "'mc2' is 55, but a metric is a share from 0 to 1"),
        (-0.1, "'mc2' is -0.1, but a metric is a share"),
        (math.nan, "'mc2' is nan, although all answers are there"),
        (math.inf, "'mc2' is inf, although all answers are there"),
    ],
)
def test_what_is_no_share_names_its_metric(value: Any, what: str) -> None:
    with pytest.raises(ConfigError, match=HERE + re.escape(what) + r".*; mend the task's function$"):
        values({"mc1": 1.0, "mc2": value})


@pytest.mark.parametrize(
    ("found", "what"),
    [
        ({"mc2": 0.5}, "'mc1' is lacking, there is mc2"),
        ({"mc1": 1.0, "mc2": 0.5, "mc9": 1.0}, "'mc9' is a metric that neither the suite nor the task names"),
        (0.5, "the task's function gives 0.5, expected metrics and their values"),
    ],
)
def test_other_metrics_than_those_that_are_named(found: Any, what: str) -> None:
    with pytest.raises(ConfigError, match=HERE + re.escape(what)):
        values(found)


@pytest.mark.parametrize(
    "missing", [[(math.nan, False)], [None], [FailedText()], [[FailedText()]], [(-math.inf, True)]]
)
def test_without_an_answer_there_may_be_no_value(missing: Any) -> None:
    assert math.isnan(values({"mc1": 1.0, "mc2": math.nan}, [*GOOD, *missing])["mc2"])


def test_what_a_function_raises_is_one_line() -> None:
    def fails() -> None:
        raise ZeroDivisionError("two\nlines")

    with pytest.raises(ConfigError, match=HERE + r"the task's function fails \(ZeroDivisionError: two lines\)"):
        values_of("truthfulqa_mc", 3, fails, GOOD, is_judged=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(task_files, "configs_dir", lambda: tmp_path)
    made = tmp_path / "tasks" / "own"
    made.mkdir(parents=True)
    return made


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("task: t\ntest_split: a\ntask: u\n", "t.yaml:3: not valid YAML (key 'task' is there twice, first in line 1)"),
        ('task: t\nrows: !!int ""\n', "t.yaml:2: not valid YAML (!!int does not fit, found ''; leave the tag out)"),
        ("task: t\nrows: !foo x\n", "t.yaml:2: not valid YAML (could not determine a constructor for the tag '!foo')"),
        ("task: t\nf: !function x\n", "t.yaml:2: not valid YAML (!function expects 'MODULE.FUNCTION')"),
        (
            "task: t\ninclude: u\n",
            "u: cannot be read (No such file or directory), included by configs/tasks/own/t.yaml",
        ),
        ("task: t\ninclude: t.yaml\n", "t.yaml: includes itself"),
        ("task: t\ninclude: 3\n", "t.yaml: include: expected a file's name or a list of them, found [3]"),
    ],
)
def test_a_task_file_that_is_wrong_is_one_line(text: str, what: str, folder: Path) -> None:
    (folder / "t.yaml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"configs/tasks/own/{what}") + "$"):
        read_task_file(folder / "t.yaml")


def test_a_task_is_found_by_what_its_file_says_and_later_files_win(folder: Path) -> None:
    (folder / "any.yaml").write_text("include: [a, b]\ntask: t\nlast: own\n")
    (folder / "a").write_text("x: 1\ny: 1\n")
    (folder / "b").write_text("y: 2\nlast: b\n")
    found = task_file("own", "t")
    assert found == folder / "any.yaml"
    assert read_task_file(found) == {"x": 1, "y": 2, "last": "own", "task": "t"}
    assert task_file("own", "other") is None


@pytest.mark.parametrize("changed", ["b", "utils.py", "other.py"])
def test_every_file_that_a_task_names_is_part_of_its_digest(changed: str, folder: Path) -> None:
    (folder / "t.yaml").write_text("include: [a, b]\ntask: t\ndoc_to_text: !function utils.f\n")
    (folder / "a").write_text("list: [{function: !function other.g}]\n")
    for name in ("b", "utils.py", "other.py"):
        (folder / name).write_text("x: 1\n")
    file = folder / "t.yaml"
    before = content_of(file), code_of(file)
    assert (content_of(file), code_of(file)) == before
    (folder / changed).write_text("x: 2\n")
    after = content_of(file), code_of(file)
    assert [a != b for a, b in zip(after, before, strict=True)] == [changed == "b", changed != "b"]


def test_evalkits_own_functions_are_the_codes_and_no_files() -> None:
    assert suites.load_suites()
    for name, task in load_tasks().items():
        found = task_file(task.suite, name)
        assert found is not None
        assert ".py" not in str(content_of(found))
