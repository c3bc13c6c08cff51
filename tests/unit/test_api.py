"""The public Python API: light to import, described, and the command line's own."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import click
import pytest

import evalkit
from evalkit import api
from evalkit.cli import main
from evalkit.config import RunConfig
from evalkit.options import settings_of
from tests.support.records import write_record

pytestmark = pytest.mark.torch_free

FUNCTIONS = ("audit", "compare", "gate", "leaderboard", "run")
RESULTS = ("Audit", "Comparison", "Gate", "Leaderboard", "Run")
# What only the command line has: how a result is printed or written.
PRINTED = {"form", "flips", "junit", "markdown", "json_file", "aa", "everything", "help"}
RENAMED = {"suites": "suite", "tasks": "task", "policy_file": "policy", "all_records": "all", "config_file": "config"}


def test_importing_it_loads_nothing() -> None:
    code = "import evalkit, sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "transformers", "lm_eval", "pandas", "numpy", "scipy", "click", "msgspec", "yaml"}
    assert not {name.split(".")[0] for name in loaded} & heavy


@pytest.mark.parametrize("name", [name for name in evalkit.__all__ if name != "__version__"])
def test_every_public_name_says_what_it_is(name: str) -> None:
    found = getattr(evalkit, name)
    assert name in dir(evalkit)
    assert inspect.getdoc(found)
    if name in RESULTS:
        assert callable(found._repr_markdown_)
        assert "olumns:" in str(inspect.getdoc(found.to_frame)) or "row each" in str(inspect.getdoc(found.to_frame))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'walk'"):
        _ = evalkit.walk  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_the_commands_options(name: str) -> None:
    command = main.commands[name]
    options = {RENAMED.get(str(p.name), str(p.name)): p for p in command.params if isinstance(p, click.Option)}
    arguments = inspect.signature(getattr(evalkit, name)).parameters
    if name == "gate":
        assert set(api.GATED_OPTIONS) < set(options)
        options = {key: found for key, found in options.items() if key not in api.GATED_OPTIONS}
    assert {key for key in options if key not in PRINTED} <= set(arguments)
    for key, option in options.items():
        if key in arguments and name != "run" and isinstance(option.default, (bool, int, float, str)):
            assert arguments[key].default == option.default, key
    if name == "run":
        settings = settings_of(RunConfig)
        assert all(arguments[key].default == s.default for key, s in settings.items() if key != "model")
        assert all(f"    {key}: " in str(evalkit.run.__doc__) for key in settings)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    record = write_record(tmp_path / "run", {"boolq": {"acc": [1.0, 0.0, 1.0]}})
    for call, message in (
        (lambda: evalkit.run(model="tiny", limt=3), "unknown argument 'limt'; did you mean 'limit'?"),
        (lambda: evalkit.run(model="tiny", limit="3"), "limit: expected an integer"),
        (lambda: evalkit.gate(record, record, devise="cpu"), "unknown argument 'devise'; did you mean 'device'?"),
        (lambda: evalkit.gate(record), "--baseline"),
        (lambda: evalkit.compare(3, record), "found int"),  # type: ignore[arg-type]
        (lambda: evalkit.read_run(tmp_path), "no run here"),
        (lambda: evalkit.leaderboard(sort="boolq"), "cannot sort by 'boolq'"),
    ):
        with pytest.raises(evalkit.EvalkitError) as refused:
            call()
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)


def test_frames_hold_numbers_and_need_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = write_record(tmp_path / "run", {"boolq": {"acc": [1.0, 0.0, 1.0, None]}, "piqa": {"acc": [1.0, 0.0]}})
    found = evalkit.read_run(record.folder)
    assert isinstance(found, type(record))
    assert "2 tasks" in repr(found)
    assert [sample.task for sample in found.samples()] == ["boolq"] * 4 + ["piqa"] * 2
    frame = found.to_frame()
    assert [str(frame[key].dtype) for key in ("value", "low", "documents")] == ["float64", "float64", "Int64"]
    row = frame[frame["name"] == "boolq"].iloc[0]
    assert row["value"] != row["value"]
    assert row["failed"] == 1
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(evalkit.ConfigError, match="needs pandas"):
        found.to_frame()
