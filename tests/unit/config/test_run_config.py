"""A run configuration: YAML file and flags, every mistake one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evalkit.config.options import build
from evalkit.config.run_config import ModelConfig, RunConfig, make_config, model_folder_name, suites_of
from evalkit.config.suites import load_suites, load_tasks
from evalkit.errors import ConfigError
from evalkit.paths import configs_dir

pytestmark = pytest.mark.torch_free

M = ModelConfig(name="m")


def written(folder: Path, content: str | dict[str, Any]) -> Path:
    path = folder / "run.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def without_line(message: str) -> str:
    """Return a message about a file without the number of its line."""
    return re.sub(r"\.yaml:\d+:", ".yaml:", message)


def refusal(file: Path | None, **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make_config(file, flags)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_flags_alone() -> None:
    config = make_config(None, {"model": "tiny", "suite": ("gpt4all",), "limit": None, "add_bos": None, "task": ()})
    assert config == RunConfig(model=ModelConfig(name="tiny"), suite=("gpt4all",))


def test_a_file_alone(tmp_path: Path) -> None:
    content = {"model": "m", "suite": "agieval", "data": ["hub", "bigbench=samples"], "batch_size": 8, "limit": 3}
    path = written(tmp_path, content)
    config = make_config(path, {})
    assert config == RunConfig(
        model=ModelConfig(name="m", batch_size="8"),
        suite=("agieval",),
        data=("hub", "bigbench=samples"),
        limit=3,
        source_file=str(path),
    )


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, {"model": "m", "limit": 3, "data": "hub", "add_bos": True, "dtype": "float16"})
    config = make_config(path, {"model": "n", "limit": 5, "data": ("samples",), "add_bos": False, "dtype": None})
    assert (config.model.name, config.limit, config.data, config.model.add_bos, config.model.dtype) == (
        "n",
        5,
        ("samples",),
        False,
        "float16",
    )


@pytest.mark.parametrize("flags", [{"task": ("boolq",)}, {"suite": ("truthfulqa",)}])
def test_what_flags_name_replaces_what_the_file_names(tmp_path: Path, flags: dict[str, Any]) -> None:
    path = written(tmp_path, {"model": "m", "suite": ["gpt4all", "bigbench"], "task": ["agieval_sat_en"]})
    expected = {"boolq"} if "task" in flags else {"truthfulqa_mc"}
    assert set(make_config(path, flags).task_names()) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": "m", "limits": 3}, "unknown key 'limits'; did you mean 'limit'?"),
        ({"model": "m", "quux": 3}, "unknown key 'quux'"),
        ({"model": "m", "source_file": "x"}, "unknown key 'source_file'"),
        ({"model": "m", 3: 3}, "unknown key '3'"),
        ({"model": 3}, "model: expected a text, found 3"),
        ({"model": "m", "limit": "3"}, "limit: expected an integer, found '3'"),
        ({"model": "m", "limit": True}, "limit: expected an integer, found True"),
        ({"model": "m", "limit": 2.5}, "limit: expected an integer, found 2.5"),
        ({"model": "m", "add_bos": "yes"}, "add_bos: expected true or false, found 'yes'"),
        ({"model": "m", "suite": 3}, "suite: expected a text or a list of texts, found 3"),
        ({"model": "m", "suite": ["gpt4all", 3]}, "suite: item 2: expected a text, found 3"),
        ({"model": "m", "data": None}, "data: expected a text or a list of texts, found null"),
        ("- a\n- b\n", "expected a mapping of keys such as 'model' and 'suite'"),
        ("", "expected a mapping of keys such as 'model' and 'suite'"),
        ("model: [", "not valid YAML (while parsing a flow node"),
        ("model: !!python/name:os.system x", "not valid YAML ("),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, content: Any, message: str) -> None:
    path = written(tmp_path, content)
    assert without_line(refusal(path)).startswith(f"{path}: {message}")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.yaml") == f"{tmp_path / 'no.yaml'}: cannot be read (No such file or directory)"
    (tmp_path / "latin.yaml").write_bytes(b"model: caf\xe9\n")
    assert refusal(tmp_path / "latin.yaml") == f"{tmp_path / 'latin.yaml'}: not UTF-8"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"model": None}, "no model: give --model FOLDER, --model HUB/ID or --model tiny (the built-in model)"),
        ({"model": ""}, "no model:"),
        ({"suite": ("gpt4al",)}, "unknown suite 'gpt4al'; did you mean 'gpt4all'? (known: gpt4all, agieval"),
        ({"task": ("arc_eazy",)}, "unknown task 'arc_eazy'; did you mean 'arc_easy'?; `evalkit list tasks` shows all"),
        (
            {"loader": "openmnd"},
            "loader: 'openmnd' is not one of auto, openmind, transformers; did you mean 'openmind'",
        ),
        ({"dtype": "float8"}, "dtype: 'float8' is not one of auto, float64, float32, bfloat16"),
        ({"scorer": "tree"}, "scorer: 'tree' is not one of auto, forest, plain"),
        ({"isolation": "none"}, "isolation: 'none' is not one of require, best, off"),
        ({"isolation": "off"}, "isolation: off runs model-written programs with your rights; add --unsafe-code"),
        ({"limit": 0}, "limit: 0 is not a number of documents (1 or more)"),
        ({"limit": -3}, "limit: -3 is not a number of documents (1 or more)"),
        ({"max_length": 1}, "max_length: 1 is not a number of tokens that a row can have (2 or more)"),
        ({"max_batch_tokens": 0}, "max_batch_tokens: 0 is not a number of tokens (1 or more)"),
        ({"batch_size": "0"}, "batch_size: '0' is neither 'auto' nor a number of rows"),
        ({"batch_size": "many"}, "batch_size: 'many' is neither"),
        ({"batch_size": "²"}, "batch_size: '²' is neither"),
        ({"seed": -1}, "seed: -1 is not between 0 and 4294967295"),
        ({"seed": 2**32}, "seed: 4294967296 is not between 0 and 4294967295"),
    ],
)
def test_a_value_that_does_not_fit(flags: dict[str, Any], message: str) -> None:
    assert refusal(None, **{"model": "m", **flags}).startswith(message)


def test_isolation_may_be_switched_off_on_purpose() -> None:
    assert RunConfig(model=M, isolation="off", unsafe_code_execution=True).isolation == "off"


def test_without_suite_and_task_the_five_suites_run() -> None:
    assert RunConfig(model=M).task_names() == tuple(
        task.name for suite in load_suites().values() if suite.default for task in suite.tasks
    )


def test_tasks_run_once_in_reporting_order() -> None:
    config = RunConfig(model=M, suite=("truthfulqa", "gpt4all"), task=("boolq", "agieval_sat_en"))
    assert config.task_names() == (
        *(task.name for task in load_suites()["gpt4all"].tasks),
        "agieval_sat_en",
        "truthfulqa_mc",
    )
    assert suites_of(config.task_names()) == ("gpt4all", "agieval", "truthfulqa")


def test_default_data_is_the_samples_for_the_built_in_model_and_the_hub_for_others() -> None:
    assert RunConfig(model=ModelConfig(name="tiny")).data_sources() == ("samples",)
    assert RunConfig(model=ModelConfig(name="org/name")).data_sources() == ("hub",)
    assert RunConfig(model=ModelConfig(name="tiny"), data=("hub",)).data_sources() == ("hub",)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("tiny", "tiny"),
        ("org/Name-7B", "org__Name-7B"),
        ("a b/c:d", "a_b__c_d"),
        ("/", "model"),
        ("./no/such/", ".__no__such"),
    ],
)
def test_a_models_folder_is_one_path_component(model: str, name: str) -> None:
    if model == "/":
        assert "/" not in model_folder_name(model)
    else:
        assert model_folder_name(model) == name


def test_a_checkpoint_folder_gives_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out" / "step-100").mkdir(parents=True)
    assert model_folder_name(str(tmp_path / "out" / "step-100") + "/") == "step-100"
    monkeypatch.chdir(tmp_path / "out" / "step-100")
    assert model_folder_name(".") == "step-100"


@given(st.text())
def test_any_model_name_becomes_a_harmless_path_component(model: str) -> None:
    try:
        name = model_folder_name(model)
    except ValueError:  # a NUL character, which no path may have
        assert "\0" in model
        return
    assert name
    assert "/" not in name
    assert name not in (".", "..")


@pytest.mark.parametrize("path", sorted((configs_dir() / "runs").glob("*.yaml")), ids=lambda path: path.name)
def test_the_run_configurations_that_come_with_evalkit_are_valid(path: Path) -> None:
    assert set(make_config(path, {}).task_names()) <= set(load_tasks())


def test_the_record_of_a_configuration_is_plain_data() -> None:
    config = RunConfig(model=ModelConfig(name="m", dtype="float16"), suite=("gpt4all",))
    plain = json.loads(json.dumps(config.to_dict()))
    assert (plain["model"], plain["dtype"], plain["suite"]) == ("m", "float16", ["gpt4all"])
    assert build(RunConfig, plain) == config
