"""Settings: what a field says once is the option, the YAML key, the help, the check and the docs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.cli import main
from evalkit.config.options import build, declared_settings, flat
from evalkit.config.run_config import InferConfig, ModelConfig, RunConfig, make_config, tables
from evalkit.config.suites import load_suites, load_tasks
from evalkit.errors import ConfigError

pytestmark = pytest.mark.torch_free

ROOT = Path(__file__).parents[3]
LOADING = {
    "--revision": None, "--adapter": None, "--tokenizer": None, "--loader": "auto", "--device": "auto",
    "--dtype": "auto", "--trust-remote-code": "no",
}  # fmt: skip
# Written by hand: what the commands have promised since before the options were generated.
PROMISED: dict[str, dict[str, str | None]] = {
    "run": LOADING | {
        "--model": None, "--config": None, "--suite": "all but humaneval_chat", "--task": "none",
        "--data": "samples for tiny, else hub", "--limit": "all", "--samples": "1", "--temperature": "0",
        "--output": "results", "--batch-size": "auto", "--scorer": "auto", "--max-batch-tokens": "measured",
        "--engine": "evalkit", "--top-p": "1", "--top-k": "0", "--repetition-penalty": "1",
        "--audit-fraction": "0", "--max-length": "the model's own limit", "--max-new-tokens": "the tasks' own",
        "--add-bos": "no", "--apply-chat-template": "no", "--system": "none", "--system-in-user": None,
        "--isolation": "require", "--unsafe-code-execution": None, "--seed": "1234", "--fresh": None,
        "--resume": None, "--dry-run": None, "--reuse": None,
    },
    "infer": LOADING | {
        "--model": None, "--prompt": None, "--system": "none", "--system-in-user": None, "--max-new-tokens": "128",
        "--temperature": "0", "--top-p": "1", "--top-k": "0", "--repetition-penalty": "1", "--seed": "1234",
        "--raw": None, "--add-bos": "no", "--engine": "evalkit",
    },
    "gate": LOADING | {"--data": "the baseline's", "--dtype": "the baseline's"},
}  # fmt: skip


def option_of(command: str, flag: str) -> click.Option:
    found = [
        p for p in main.commands[command].params if isinstance(p, click.Option) and flag in (*p.opts, *p.secondary_opts)
    ]
    assert len(found) == 1, (command, flag)
    return found[0]


@pytest.mark.parametrize("command", PROMISED)
def test_a_command_has_its_options_with_their_defaults_in_the_help(command: str) -> None:
    for flag, default in PROMISED[command].items():
        option = option_of(command, flag)
        shown = re.search(r"  \[default: (.+)\]$", option.help or "")
        assert (shown[1] if shown else None) == default, flag
    if command != "gate":  # which has others
        assert {p.opts[0] for p in main.commands[command].params} == set(PROMISED[command])


@pytest.mark.parametrize("key", ["trust_remote_code", "add_bos", "apply_chat_template"])
def test_what_a_file_says_yes_to_can_be_refused(key: str, tmp_path: Path) -> None:
    assert option_of("run", f"--no-{key.replace('_', '-')}").secondary_opts
    path = tmp_path / "run.yaml"
    path.write_text(f"model: m\n{key}: true\n")
    assert flat(make_config(path, {}))[key] is True
    assert flat(make_config(path, {key: False}))[key] is False


def test_helps_name_the_choices() -> None:
    for key in ("loader", "scorer", "engine", "isolation"):
        setting = declared_settings(RunConfig)[key]
        for choice in get_args(setting.kind):
            assert re.search(rf"\b{choice}\b", setting.option.help), (key, choice)
    suite = declared_settings(RunConfig)["suite"].option
    assert re.findall(r"\w+", suite.help.partition(":")[2]) == list(load_suites())
    assert suite.default == f"all but {', '.join(s.name for s in load_suites().values() if not s.default)}"


# --- three ways to say the same --------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1).filter(
    lambda text: text != "tiny" and not text.startswith("-")
)
# What may hold a key is refused (tests of `ModelConfig`).
PLACES = TEXTS.filter(lambda text: not {"@", "?"} & set(text))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "model": PLACES, "revision": PLACES, "adapter": PLACES, "tokenizer": PLACES,
    "loader": st.sampled_from(["auto", "openmind", "transformers"]),
    "device": st.sampled_from(["auto", "cpu", "npu", "npu:3", "cuda:12", "gpu"]),
    "dtype": st.sampled_from(["auto", "float64", "fp16", "bfloat16"]),
    "trust_remote_code": st.booleans(), "batch_size": st.sampled_from(["auto", "1", "32"]),
    "scorer": st.sampled_from(["auto", "forest", "plain"]), "max_batch_tokens": st.integers(1, 10**9),
    "audit_fraction": st.floats(0, 1), "max_length": st.integers(2, 10**9), "add_bos": st.booleans(),
    "suite": st.lists(st.sampled_from(sorted(load_suites())), min_size=1),
    "task": st.lists(st.sampled_from(sorted(load_tasks())), min_size=1),
    "data": st.lists(PLACES.filter(lambda text: not text.endswith("=")), min_size=1),
    "limit": st.integers(1, 10**9), "temperature": st.floats(0, 10),
    "output": PLACES, "max_new_tokens": st.integers(1, 10**9), "apply_chat_template": st.booleans(), "system": TEXTS,
    "isolation": st.sampled_from(["require", "best"]), "unsafe_code_execution": st.just(True),
    "seed": st.integers(0, 2**32 - 1), "dry_run": st.just(True), "reuse": PLACES, "fresh": st.just(True),
}  # fmt: skip


def arguments(values: dict[str, Any]) -> list[str]:
    words = []
    for key, value in values.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}={item}" for item in (value if isinstance(value, list) else [value])]
    return words


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {"model": PLACES},
        optional={key: v for key, v in VALUES.items() if key != "model"},
    )
)
@pytest.mark.no_cover
def test_flags_a_file_and_a_program_say_the_same(tmp_path_factory: pytest.TempPathFactory, values: Any) -> None:
    command = main.commands["run"]
    flags = command.make_context("run", arguments(values)).params
    assert flags.pop("config_file") is None
    by_flags = make_config(None, flags)
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")  # YAML with every text in quotes
    by_file = make_config(path, {})
    expected = {key: list(v) if isinstance(v, tuple) else v for key, v in flat(by_flags).items()}
    assert expected | {"source_file": str(path)} == flat(by_file)
    for key, value in values.items():
        assert expected[key] == value
    assert build(RunConfig, flat(by_flags)) == by_flags


def test_flags_that_are_not_given_are_none() -> None:
    flags = main.commands["run"].make_context("run", []).params
    assert set(flags.values()) == {None, ()}


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("top_k: 5", "top_k: says among which tokens to draw, and nothing is drawn; add --temperature"),
        ("top_p: 0", "top_p: 0.0 is not a probability above 0 and up to 1"),
        ("repetition_penalty: 0", "repetition_penalty: 0.0 is not between 0.01 and 100 (1 is none)"),
        ("engine: vlm", "engine: 'vlm' is not one of evalkit, vllm"),
        ("limit: 0", "limit: 0 is not a number of documents (1 or more)"),
        ("temperature: .nan", "not valid YAML (.nan is not finite; write a finite number, or '.nan' for a text)"),
        ("dtype: float8", "dtype: 'float8' is not one of auto, float64, float32"),
        ("device: cudaa", "device: 'cudaa' is not one of auto, npu, npu:3, cuda, cuda:1, cpu; did you mean 'cuda'?"),
        ("device: cpu:1", "device: 'cpu:1' is not one of"),
        ("batch_size: 0", "batch_size: '0' is neither 'auto' nor a number of rows"),
        ("suite: [gpt4all, gpt4al]", "suite: unknown suite 'gpt4al'; did you mean 'gpt4all'?"),
        ("task: bolq", "task: unknown task 'bolq'; did you mean 'boolq'?"),
        ("max_length: many", "max_length: expected an integer, found 'many'"),
        (
            "isolation: off",
            "not valid YAML (off is a boolean in some versions of YAML only; write false, or 'off' for a text)",
        ),
        ("samples: 5", "samples: 5 greedy completions are all the same"),
        ("system_in_user: true", "system_in_user: says where the chat template"),
        ("isolation: 'off'", "isolation: off runs model-written programs"),
        ("fresh: true\nresume: true", "fresh: contradicts resume"),
        ("suite:\n", "suite: expected a text or a list of texts, found null"),
        ("data: ['']", "data: is empty"),
        ("data: [gpt4all=]", "data: is empty"),
        *((f"{key}: ''", f"{key}: is empty") for key in ("revision", "adapter", "tokenizer", "output", "reuse")),
        ("scorer: 3", "scorer: 3 is not one of auto, forest, plain"),
        ("max_lenght: 3", "unknown key 'max_lenght'; did you mean 'max_length'?"),
    ],
)
def test_a_file_is_refused_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"# a run\nmodel: m\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        make_config(path, {})
    assert str(caught.value).startswith(f"{path}:3: {message}")


@pytest.mark.parametrize(
    "device", ["", "tpu", "npu:", "npu:x", "npu:-1", "cpu:0", "auto:0", "cuda:1:2", " cpu", "cpu\n", "cuda:²"]
)
def test_a_device_is_a_word_of_the_few(device: str) -> None:
    with pytest.raises(ConfigError, match=r"^device: '.*' is not one of auto, npu, npu:3, cuda, cuda:1, cpu"):
        ModelConfig(name="m", device=device)


def test_what_does_not_go_together_is_named_with_its_line_where_the_file_says_it(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: tiny\nsuite:\n  - gpt4all\n  - gptt\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="yaml:4: suite: unknown suite 'gptt'"):
        make_config(path, {})
    path.write_text("model: tiny\nsamples: 5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="yaml:2: samples: 5 greedy"):
        make_config(path, {})
    with pytest.raises(ConfigError, match=r"^samples: 7 greedy"):  # the command line's number
        make_config(path, {"samples": 7})
    assert make_config(path, {"temperature": 0.2}).samples == 5


def test_a_program_is_refused_as_a_file_is() -> None:
    made: list[tuple[Any, str]] = [
        (lambda: RunConfig(model="tiny"), "model: expected a ModelConfig, found 'tiny'"),
        (lambda: RunConfig(model=ModelConfig(name="m"), limit="3"), "limit: expected an integer, found '3'"),
        (lambda: RunConfig(model=ModelConfig(name="m"), suite="gpt4all"), "suite: expected a list, found 'gpt4all'"),
        (lambda: ModelConfig(name="m", add_bos="no"), "add_bos: expected true or false, found 'no'"),
        (lambda: ModelConfig(name=""), "no model: give --model FOLDER"),
        (lambda: build(ModelConfig, {}), "no model: give --model FOLDER"),
        (lambda: build(InferConfig, {}), "prompt: is empty"),
        (lambda: InferConfig(text="x", top_p=1.5), "top_p: 1.5 is not a probability above 0 and up to 1"),
    ]
    for make, message in made:
        with pytest.raises(ConfigError, match="^" + re.escape(message)):
            make()


LOGINS = ("http://user:secret@host:8000/v1", "https://secret@host", "//user:secret@host", "user:secret@host/v1")
QUERIES = ("https://host/v1?token=secret", "https://host?a=1&sig=secret", "host/v1?key=secret", "//host/v1#secret")


@pytest.mark.parametrize("address", [*LOGINS, *QUERIES])
@pytest.mark.parametrize("option", ["--model", "--tokenizer", "--adapter", "--revision", "--data", "gate", "file"])
def test_a_password_in_an_address_is_refused_and_stands_nowhere(tmp_path: Path, option: str, address: str) -> None:
    output = tmp_path / "out"
    words = ["run", "--model", "m", option, address, "--output", str(output)]
    if option == "gate":
        words = ["gate", "--run-model", address, "--baseline", str(tmp_path)]
    elif option == "file":
        (tmp_path / "run.yaml").write_text(f"suite: gpt4all\nmodel: {address}\n", encoding="utf-8")
        words = ["run", "--config", str(tmp_path / "run.yaml"), "--output", str(output)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    what = "a user's name or password" if address in LOGINS else "a query (?...), which may hold a key"
    assert f"holds {what}, which would stand in" in result.stderr
    assert (result.stderr.count("\n"), "secret" in result.output) == (1, False)
    assert not output.exists()


@pytest.mark.parametrize(
    "name", ["http://host:8000/v1@2", "org/name", "me@work/model", "C:/a/b@c", "what?", "a#b", "http://[::1]:80"]
)
def test_an_address_without_a_password_is_a_name(name: str) -> None:
    assert ModelConfig(name=name).name == name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["infer", "--prompt", "x"], "no model: give --model FOLDER, --model HUB/ID or --model tiny"),
        (["infer", "--model", "m", "--prompt", "x", "--top-p", "0"], "top_p: 0.0 is not a probability above 0"),
        (["infer", "--model", "m", "--prompt", "x", "--device", "tpu"], "device: 'tpu' is not one of auto, npu"),
        (["infer", "--model", "m", "--prompt", "x", "--add-bos"], "--add-bos is for --raw"),
        (["gate", "--run-model", "m", "--baseline", "b", "--dtype", "fp8"], "dtype: 'fp8' is not one of auto, float64"),
        (["gate", "x", "--baseline", "b", "--no-trust-remote-code"], "--trust-remote-code goes with --run-model"),
    ],
)
def test_a_wrong_option_is_one_line(words: list[str], message: str) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


# --- the docs --------------------------------------------------------------------------------------------------------


def test_the_tables_of_the_docs_are_the_fields() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n?<!-- end -->", page, re.DOTALL))
    assert found == tables(), "python -m evalkit.config.run_config prints the tables"
    for key in declared_settings(RunConfig):
        assert f"`{key}`" in found["run"]
