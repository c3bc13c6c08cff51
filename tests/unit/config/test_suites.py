"""Suites and tasks as their files declare them, and lm-eval's configs beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit.config.suites import find_suite, find_task, load_suites, load_tasks
from evalkit.errors import ConfigError
from evalkit.paths import configs_dir

pytestmark = pytest.mark.torch_free

TASK: dict[str, Any] = {"version": 0, "metrics": ["acc"], "headline": "acc", "documents": 3}
SUITE = {
    "suite": "s",
    "title": "S",
    "order": 1,
    "protocol": "p",
    "in_total": True,
    "card_row": 1,
    "default": True,
    "average": "mean",
    "tasks": {"t": TASK},
}


def test_the_published_suites() -> None:
    suites = {name: suite for name, suite in load_suites().items() if suite.default}
    assert [(name, suite.title, len(suite.tasks), suite.in_total) for name, suite in suites.items()] == [
        ("gpt4all", "GPT4All", 7, True),
        ("agieval", "AGIEval", 8, True),
        ("bigbench", "BigBench", 18, True),
        ("truthfulqa", "TruthfulQA", 1, True),
        ("humaneval", "HumanEval", 1, False),
    ]
    assert {suite.protocol for suite in suites.values()} == {"nous-2023"}
    assert all(not suite.in_total for suite in load_suites().values() if not suite.default)


def test_a_twin_has_the_passages_of_the_task_whose_questions_it_asks() -> None:
    # Counted in the published files of both tasks, whose questions are the same in the same order.
    published = {2: 1, 3: 4, 4: 16, 5: 12, 6: 9, 7: 2}
    assert find_task("agieval_sat_en").passages == published
    assert find_task("agieval_sat_en_without_passage").passages == published


def test_versions_metrics_and_headlines_are_those_of_the_protocol() -> None:
    tasks = {task.name: task for suite in load_suites().values() if suite.default for task in suite.tasks}
    assert {name for name, task in tasks.items() if task.version == 1} == {"boolq", "truthfulqa_mc", "humaneval"}
    for name, task in tasks.items():
        if name.startswith("bigbench_"):
            second = ("exact_str_match",) if name == "bigbench_geometric_shapes" else ()
            assert (task.metrics, task.headline) == (("multiple_choice_grade", *second), "multiple_choice_grade")
        elif name in ("boolq", "winogrande"):
            assert (task.metrics, task.headline) == (("acc",), "acc")
        elif name == "truthfulqa_mc":
            assert (task.metrics, task.headline) == (("mc1", "mc2"), "mc2")
        elif name == "humaneval":
            assert (task.metrics, task.headline) == (("pass@1",), "pass@1")
        else:
            assert (task.metrics, task.headline) == (("acc", "acc_norm"), "acc_norm")


def test_tasks_stand_in_the_order_of_the_published_tables(shared: Path) -> None:
    log = (shared / "benchmark-logs" / "OpenHermes-2.5-Mistral-7B.md").read_text(encoding="utf-8")
    printed = re.findall(r"^\|([a-z_]+) *\| +(\d)\|", log, flags=re.MULTILINE)
    ours = [(task.name, str(task.version)) for task in load_tasks().values() if not task.suite.startswith("humaneval")]
    assert ours == printed


@pytest.mark.parametrize("suite", load_suites().values(), ids=lambda suite: suite.name)
def test_each_task_has_an_lm_eval_config_that_agrees(suite: Any) -> None:
    class Loader(yaml.SafeLoader):
        """Reads `!function` lines as text."""

    Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    folder = configs_dir() / "tasks" / suite.name

    def read(path: Path) -> dict[str, Any]:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader)
        base = read(path.parent / found.pop("include")) if "include" in found else {}
        return {**base, **found}

    configs = {path.stem: read(path) for path in folder.glob("*.yaml") if not path.name.startswith("_")}
    assert set(configs) == {task.name for task in suite.tasks}
    for task in suite.tasks:
        config = configs[task.name]
        assert config["task"] == task.name
        assert config["dataset_kwargs"] == {"dataset": task.name}
        assert config["metadata"] == {"version": task.version, "protocol": suite.protocol}
        assert tuple(entry["metric"] for entry in config["metric_list"]) == task.metrics
        assert config["num_fewshot"] == 0
    group = folder / f"_{suite.name}.yaml"
    if group.exists():
        assert read(group)["group"] == suite.name
        assert read(group)["task"] == [task.name for task in suite.tasks]
    else:
        assert list(configs) == [suite.name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**SUITE, "titel": "x"}, "unknown key 'titel'; did you mean 'title'?"),
        ({key: item for key, item in SUITE.items() if key != "order"}, "missing key 'order'"),
        ({**SUITE, "average": "median"}, "average: 'median' is not one of mean"),
        ({**SUITE, "tasks": ["t"]}, "tasks: expected a mapping, found ['t']"),
        ({**SUITE, "tasks": {"t": None}}, "tasks: t: expected a mapping, found null"),
        ({**SUITE, "tasks": {"t": {**TASK, "metrics": "acc"}}}, "tasks: t: metrics: expected a list, found 'acc'"),
        ({**SUITE, "tasks": {"t": {**TASK, "documents": "many"}}}, "tasks: t: documents: expected an integer, found"),
        ({**SUITE, "tasks": {"t": {**TASK, "documents": 0}}}, "tasks: t: documents: expected an integer >= 1, found 0"),
        ({**SUITE, "default": "false"}, "default: expected true or false, found 'false'"),
        ({**SUITE, "order": True}, "order: expected an integer, found True"),
        (
            {**SUITE, "tasks": {"t": {**TASK, "metric": 1}}},
            "tasks: t: unknown key 'metric'; did you mean",
        ),
        (
            {**SUITE, "tasks": {"t": {**TASK, "headline": "f1"}}},
            "tasks: t: headline: 'f1' is not among its metrics",
        ),
        ({**SUITE, "suite": "other"}, "suite: 'other', but the file is called s.yaml"),
        ({**SUITE, "tasks": {}}, "tasks: names none"),
        ({**SUITE, "title": " "}, "title: is empty"),
        ({**SUITE, "in_total": False}, "in_total: and card_row belong together"),
        ({**SUITE, "card_row": None}, "in_total: and card_row belong together"),
        ({**SUITE, "tasks": {"t": {**TASK, "metrics": ["acc", "acc"]}}}, "tasks: t: metrics: 'acc' is there twice"),
        (
            {**SUITE, "tasks": {"t": {**TASK, "passages": {3: 1}, "passages_in_order": [3]}}},
            "tasks: t: passages: 'passages_in_order' says it already; give one of both",
        ),
        (
            {**SUITE, "tasks": {"t": {**TASK, "passages_in_order": [1, 1]}}},
            "tasks: t: passages: they hold 2 documents, not 3",
        ),
        (
            {
                **SUITE,
                "tasks": {
                    "t": TASK,
                    "u": {**TASK, "same_questions_as": "t"},
                    "v": {**TASK, "same_questions_as": "u"},
                },
            },
            "tasks: v: same_questions_as: 'u' has a twin itself; name that one",
        ),
        ({**SUITE, "graded": ["f1"]}, "graded: 'f1' is no metric of its tasks"),
        ([], "expected a mapping of keys such as 'suite' and 'tasks'"),
    ],
)
def test_a_mistake_in_a_suites_file_is_named(tmp_path: Path, content: Any, message: str) -> None:
    folder = tmp_path / "configs" / "suites"
    folder.mkdir(parents=True)
    (folder / "s.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError) as caught:
        load_suites(folder)
    assert re.sub(r"yaml:\d+", "yaml", str(caught.value)).startswith(f"configs/suites/s.yaml: {message}")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"order": 1}, "order: s.yaml has order 1 already"),
        ({"card_row": 1}, "card_row: s.yaml has card_row 1 already"),
        ({"tasks": {"u": TASK, "t": TASK}}, "tasks: t: s.yaml has this task already"),
    ],
)
def test_what_another_file_has_already_is_named(tmp_path: Path, second: dict[str, Any], message: str) -> None:
    folder = tmp_path / "configs" / "suites"
    folder.mkdir(parents=True)
    (folder / "s.yaml").write_text(yaml.safe_dump(SUITE))
    other = {**SUITE, "suite": "z", "order": 2, "card_row": 2, "tasks": {"u": TASK}}
    (folder / "z.yaml").write_text(yaml.safe_dump({**other, **second}, sort_keys=False))
    with pytest.raises(ConfigError) as caught:
        load_suites(folder)
    key = message.split(":")[0] if "tasks" not in message else "  t"
    line = 1 + [text.split(":")[0] for text in (folder / "z.yaml").read_text().splitlines()].index(key)
    assert str(caught.value) == f"configs/suites/z.yaml:{line}: {message}"


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"unknown suite 'GPT4ALL' \(known: gpt4all, agieval"):
        find_suite("GPT4ALL")
    with pytest.raises(ConfigError, match="unknown task 'winogrand'; did you mean 'winogrande'"):
        find_task("winogrand")
    assert find_suite("agieval").name == "agieval"
    assert find_task("piqa").suite == "gpt4all"
