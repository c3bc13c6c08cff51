"""Results files of lm-eval 0.3 and 0.4: shots, limit and harness are what the file says, and compared task by task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.baselines.reading.importer import import_log
from evalkit.comparison.gate import gate
from evalkit.errors import ConfigError
from evalkit.results.reading import read_run

pytestmark = pytest.mark.torch_free

# (value, error, version) as lm-eval 0.3 writes them: full precision, metrics without filters.
GPT4ALL = {
    "arc_challenge": (0.5836177474402731, 0.014405618279436176, 0),
    "arc_easy": (0.8042929292929293, 0.008141015407566888, 0),
    "boolq": (0.8519877675840979, 0.006210949869232172, 1),
    "hellaswag": (0.8125871340370444, 0.0038944505016930368, 0),
    "openbookqa": (0.45, 0.022270877485360437, 0),
    "piqa": (0.823177366702938, 0.008901456201658635, 0),
    "winogrande": (0.7292817679558011, 0.012487904760626306, 0),
}
ONLY_ACC = ("boolq", "winogrande")


def old(path: Path, **config: Any) -> Path:
    """Write a results file of the 0.3 line."""
    results = {}
    for task, (value, error, _) in GPT4ALL.items():
        metric = "acc" if task in ONLY_ACC else "acc_norm"
        results[task] = {metric: value, f"{metric}_stderr": error}
    settings = {"model": "hf-causal", "model_args": "pretrained=org/Foo-7B,dtype=float16", "num_fewshot": 0}
    settings |= {"batch_size": "auto", "no_cache": False, "limit": None, "description_dict": {}} | config
    found = {"results": results, "versions": {t: v for t, (_, _, v) in GPT4ALL.items()}, "config": settings}
    path.write_text(json.dumps(found))
    return path


def new(path: Path, shots: dict[str, int]) -> Path:
    """Write a results file of the 0.4 line."""
    results = {task: {"acc,none": 0.5, "acc_stderr,none": 0.01, "alias": task} for task in shots}
    found = {"results": results, "n-shot": shots, "configs": {}, "config": {"model_args": "pretrained=a/b"}}
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize(
    ("config", "protocol"),
    [
        ({}, "nous-2023"),
        ({"num_fewshot": 10}, "lm-eval-0.3, 10-shot"),
        ({"limit": 100}, "lm-eval-0.3, limit 100"),
        ({"num_fewshot": 5, "limit": 0.5}, "lm-eval-0.3, 5-shot, limit 0.5"),
        ({"description_dict": {"boolq": "Answer."}}, "lm-eval-0.3"),
        ({"num_fewshot": None}, "lm-eval-0.3"),
    ],
)
def test_a_file_of_the_old_line_says_how_it_was_measured(tmp_path: Path, config: dict[str, Any], protocol: str) -> None:
    file = old(tmp_path / "eval.json", **config)
    assert read_run(file).protocol == protocol
    (baseline,) = import_log(file, retrieved="2026-01-01").baselines
    assert (baseline.protocol, baseline.name) == (protocol, "org/Foo-7B")
    shots = {metric.shots for of_task in baseline.tasks.values() for metric in of_task.values()}
    assert shots == {config.get("num_fewshot", 0)}


def test_another_version_of_a_task_is_not_the_published_one(tmp_path: Path) -> None:
    file = old(tmp_path / "eval.json")
    found = json.loads(file.read_text())
    found["versions"]["boolq"] = 2
    file.write_text(json.dumps(found))
    assert read_run(file).foreign.protocols == {"gpt4all": "lm-eval-0.3"}


def test_ten_shots_do_not_pass_against_none(tmp_path: Path) -> None:
    many, none = old(tmp_path / "many.json", num_fewshot=10), old(tmp_path / "none.json")
    with pytest.raises(ConfigError, match=r"protocol: lm-eval-0\.3, 10-shot, baseline nous-2023"):
        gate(many, str(none), margin=1.0, alpha=0.05)
    assert gate(none, str(none), margin=2.0, alpha=0.05).exit_code == 0


def test_shots_are_compared_task_by_task(tmp_path: Path) -> None:
    shots = dict.fromkeys(GPT4ALL, 0)
    a, b = new(tmp_path / "a.json", shots | {"boolq": 5}), new(tmp_path / "b.json", shots | {"piqa": 5})
    assert read_run(a).protocol == read_run(b).protocol == "lm-eval-0.4, 0/5-shot"
    with pytest.raises(ConfigError, match=r"5-shot for boolq, baseline lm-eval-0\.4; protocol: lm-eval-0\.4 for piqa"):
        gate(a, str(b), margin=1.0, alpha=0.05)


def test_documents_of_a_limited_file_are_those_of_its_limit(tmp_path: Path) -> None:
    record = read_run(old(tmp_path / "eval.json", limit=100))
    assert {value.n for of_task in record.metrics.values() for value in of_task.values()} == {100}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"model": None, "model_args": None}, "eval"),
        ({"model": None, "model_args": {"model": None, "pretrained": "org/dict"}}, "org/dict"),
        ({"model_args": "trust_remote_code=False,pretrained=org/second"}, "org/second"),
        ({"model": None, "model_args": {"model": None}}, "eval"),
    ],
)
def test_a_model_is_named_by_what_was_loaded_or_by_its_file(tmp_path: Path, config: dict[str, Any], name: str) -> None:
    assert read_run(old(tmp_path / "eval.json", **config)).model.name == name


def lighteval(path: Path, results: dict[str, dict[str, float]], **general: Any) -> Path:
    """Write a results file of lighteval, or of the leaderboard's branch of it."""
    found = {"config_general": {"model_name": "org/name", "max_samples": None} | general, "results": results}
    path.write_text(json.dumps(found | {"versions": {}, "config_tasks": {}, "summary_general": {}}))
    return path


def test_tasks_of_lighteval_have_evalkits_names(tmp_path: Path) -> None:
    results = {
        "leaderboard|arc:challenge|25": {"acc": 0.3430034129692833, "acc_stderr": 0.013872423223718164},
        "leaderboard|truthfulqa:mc|0": {"truthfulqa_mc1": 0.2998776009791922, "truthfulqa_mc2": 0.4542},
        "lighteval|piqa|0": {"acc": 0.71, "acc_stderr": 0.0106},
        "all": {"acc": 0.52},
    }
    (baseline,) = import_log(lighteval(tmp_path / "a.json", results), retrieved="2026-11-28").baselines
    assert {task: set(metrics) for task, metrics in baseline.tasks.items()} == {
        "arc_challenge": {"acc"},
        "piqa": {"acc"},
        "truthfulqa_mc": {"mc1", "mc2"},
    }
    assert baseline.tasks["arc_challenge"]["acc"].shots == 25
    assert not any("TruthfulQA: no scores" in note for note in baseline.notes)
    assert baseline.protocol_of("truthfulqa") == "lighteval"


def test_a_file_of_the_leaderboard_is_named_only_with_its_tasks_and_shots(tmp_path: Path) -> None:
    results = {"harness|arc:challenge|25": {"acc_norm": 0.698}, "harness|hendrycksTest-virology|5": {"acc": 0.33}}
    (baseline,) = import_log(lighteval(tmp_path / "a.json", results), retrieved="2026-11-28").baselines
    assert baseline.protocol_of("gpt4all") == "open-llm-leaderboard"
    other = {"harness|arc:challenge|10": {"acc_norm": 0.698}}
    (baseline,) = import_log(lighteval(tmp_path / "b.json", other), retrieved="2026-11-28").baselines
    assert baseline.protocol_of("gpt4all") == "lighteval, 10-shot"


def test_a_task_that_a_file_of_lighteval_has_twice_keeps_both_its_names(tmp_path: Path) -> None:
    results = {"helm|piqa|0": {"acc": 0.7}, "lighteval|piqa|0": {"acc": 0.8}}
    run = read_run(lighteval(tmp_path / "a.json", results))
    assert {task: metrics["acc"].value for task, metrics in run.metrics.items()} == {
        "helm|piqa|0": 0.7,
        "lighteval|piqa|0": 0.8,
    }


def test_a_file_of_lighteval_with_a_limit_says_so(tmp_path: Path) -> None:
    run = read_run(lighteval(tmp_path / "a.json", {"lighteval|piqa|0": {"acc": 0.7}}, max_samples=10))
    assert (run.metrics["piqa"]["acc"].n, run.protocol) == (10, "lighteval, limit 10")
