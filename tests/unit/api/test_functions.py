"""The public Python API: light to import, described, and the command line's own."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy
import pytest

import evalkit
from evalkit.api import functions as api
from evalkit.cli import main
from evalkit.config.options import declared_settings
from evalkit.config.run_config import RunConfig
from evalkit.config.suites import load_suites
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


def test_it_shows_its_own_names_alone() -> None:
    assert [name for name in dir(evalkit) if not name.startswith("__")] == sorted(
        set(evalkit.__all__) - {"__version__"}
    )


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
        settings = declared_settings(RunConfig)
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


def test_types_of_options_are_those_of_the_settings() -> None:
    written = Path(api.__file__).with_name("run_options.py").read_text(encoding="utf-8")
    assert written == api.option_types(), "python -m evalkit.api.functions writes it anew"


@pytest.mark.slow
def test_a_type_checker_sees_a_wrong_option(tmp_path: Path) -> None:
    calls = {
        "evalkit.run(model='tiny', limt=3)": "limt",
        "evalkit.run(model=3)": "int",
        "evalkit.gate(run_model='tiny', baseline='x', devise='cpu')": "devise",
        "evalkit.run(model='tiny', dry_run=bool(1), data=[Path('x')], limit=None)": None,
    }
    file = tmp_path / "notebook.py"
    file.write_text("from pathlib import Path\nimport evalkit\n" + "\n".join(calls) + "\n", encoding="utf-8")
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(file)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for line, (call, word) in enumerate(calls.items(), 3):
        said = [text for text in found.splitlines() if text.startswith(f"{file}:{line}: error")]
        assert bool(said) == (word is not None), (call, found)
        assert word is None or any(f'"{word}"' in text for text in said), found


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda _: evalkit.run(model="tiny", suite={"agieval"}), "evalkit.run: suite: a set has no order"),
        (lambda _: evalkit.run(model="tiny", quiet="x"), "evalkit.run: quiet: expected true or false, found 'x'"),
        (lambda _: evalkit.run(config={"model": "tiny"}), "evalkit.run: config: expected a text"),
        (lambda _: evalkit.run(model="tiny", order_seed="x"), "unknown argument 'order_seed'"),
        (lambda _: evalkit.run(model="tiny", limit=3.5), "limit: expected an integer, found 3.5"),
        (lambda _: evalkit.run(model="tiny", data=[3]), "data: item 1: expected a text, found 3"),
        (lambda run: evalkit.compare(run, run, suite=3), "evalkit.compare: suite: expected a text or a list of texts"),
        (lambda run: evalkit.compare(run, run, task=[3]), "evalkit.compare: task: expected a text or a list of texts"),
        (lambda run: evalkit.gate(run, run, margin="1"), "evalkit.gate: margin: expected a number"),
        (lambda run: evalkit.gate(run, run, alpha=True), "evalkit.gate: alpha: expected a number"),
        (lambda run: evalkit.gate(run, run, order_seed="x"), "evalkit.gate: order_seed: expected an integer"),
        (lambda run: evalkit.gate(run, run, policy=3), "expected a path"),
        (lambda run: evalkit.gate(run_model=3, baseline=run), "evalkit.gate: run_model: expected a text"),
        (lambda _: evalkit.audit("x", strict="no"), "evalkit.audit: strict: expected true or false"),
        (lambda _: evalkit.leaderboard(3), "expected a path, a name or a Run, found int"),
        (lambda _: evalkit.leaderboard(sort=None), "evalkit.leaderboard: sort: expected a text"),
        (lambda _: evalkit.read_run(None), "expected a path"),
        (lambda _: evalkit.read_run("x" * 5000), "too long for a path"),
        (lambda _: evalkit.read_run("a\0b"), "holds a character that no path has"),
        (lambda _: evalkit.audit("|a|\n|-|\n|1|"), "a path of several lines"),
        (lambda _: evalkit.run(model="tiny", output="a\0b"), "output: holds a NUL character"),
        (lambda _: evalkit.run(model="tiny", limit=10**30), "limit: a number of more than 64 bits"),
        (lambda _: evalkit.run(model="tiny", limit=10**5000), "limit: a number of more than 64 bits"),
        (lambda _: evalkit.run(model="tiny", system="\ud800"), "system: '\\ud800' is half a character"),
        (lambda _: evalkit.run(model="tiny", reuse=object()), "evalkit.run: reuse: expected what a YAML file can hold"),
        (lambda _: evalkit.run(model="tiny", dry_run=numpy.bool_(True), limit=0), "limit: 0 is not"),
        (lambda _: evalkit.run(model="tiny", quiet=numpy.bool_(True), limit=numpy.int64(0)), "limit: 0 is not"),
        (lambda _: evalkit.run(model="tiny", dry_run=numpy.int64(1)), "evalkit.run: dry_run: expected true or false"),
        (lambda _: evalkit.run(model="tiny", dtype=numpy.float32), "dtype: expected a value, found the type float32"),
        (
            lambda _: evalkit.run(model="tiny", temperature=numpy.longdouble(1)),
            "temperature: expected what a YAML file can hold, found longdouble",
        ),
        (lambda _: evalkit.run(model="tiny", limit=numpy.float64(2)), "limit: expected an integer, found 2.0"),
        (lambda _: evalkit.run(model="tiny", limit=numpy.array([2])), "limit: expected an integer, found [2]"),
    ],
)
def test_an_argument_of_another_type_is_one_line(tmp_path: Path, call: Callable[..., object], says: str) -> None:
    record = write_record(tmp_path / "run", {"boolq": {"acc": [1.0, 0.0, 1.0]}})
    with pytest.raises(evalkit.EvalkitError, match=re.escape(says)) as refused:
        call(record)
    assert "\n" not in str(refused.value)


def test_what_yields_texts_is_a_list_of_them() -> None:
    for tasks in ((name for name in ["boolqq"]), {"boolqq": 1}.keys(), iter(["boolqq"]), {1: "boolqq"}.values()):
        with pytest.raises(evalkit.ConfigError, match="boolqq"):
            evalkit.run(model="tiny", task=tasks)  # type: ignore[arg-type]


def test_a_gate_is_true_where_it_is_passed(tmp_path: Path) -> None:
    good = write_record(tmp_path / "good", {"boolq": {"acc": [1.0] * 400}})
    bad = write_record(tmp_path / "bad", {"boolq": {"acc": [0.0] * 400}})
    few = write_record(tmp_path / "few", {"boolq": {"acc": [1.0, 0.0] * 4}})
    new = write_record(tmp_path / "new", {"boolq": {"acc": [0.0, 1.0] * 4}})
    for candidate, baseline, verdict in ((good, good, "pass"), (bad, good, "worse"), (new, few, "undecided")):
        found = evalkit.gate(candidate, baseline)
        assert (found.verdict, bool(found)) == (verdict, verdict == "pass")


def test_nothing_given_and_numbers_of_numpy_are_taken(tmp_path: Path) -> None:
    record = write_record(tmp_path / "run", {"boolq": {"acc": [1.0, 0.0] * 20}})
    assert [task.task for task in evalkit.compare(record, record, suite=None, task=["boolq"]).tasks] == ["boolq"]  # type: ignore[arg-type]
    assert evalkit.gate(record, record, margin=numpy.float64(30), suite=None).verdict == "pass"  # type: ignore[arg-type]
    assert evalkit.gate(record, record, margin=numpy.int64(30), suite={"gpt4all"}).verdict == "pass"  # type: ignore[arg-type]
    assert evalkit.gate(record, record, margin=numpy.array(30.0), allow_missing=numpy.bool_(False)).verdict == "pass"
    table = evalkit.leaderboard(record, across_protocols=numpy.bool_(True))  # type: ignore[arg-type]
    assert table.across_protocols is True


def test_a_run_is_found_from_another_folder_and_missed_where_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [task.name for task in load_suites()["truthfulqa"].tasks]
    write_record(tmp_path / "run", {name: {"mc1": [1.0, 0.0], "mc2": [0.75, 0.25]} for name in tasks})
    monkeypatch.chdir(tmp_path)
    run = evalkit.read_run("run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    frame = run.to_frame()
    assert frame[frame.kind == "suite"].value.tolist() == [50.0]
    assert not frame.partial.any()
    assert len(run.samples()) == 2 * len(tasks)
    (tmp_path / "run" / "samples.jsonl").unlink()
    with pytest.raises(evalkit.StoreError, match=r"samples\.jsonl: not there"):
        run.to_frame()


def test_results_are_short_at_the_prompt(tmp_path: Path) -> None:
    record = write_record(tmp_path / "run", {"boolq": {"acc": [1.0, 0.0] * 200}})
    (tmp_path / "card.md").write_text("|Task|Version|Metric|Value| |Stderr|\n|---|---|---|---|---|---|\n")
    for result in (evalkit.compare(record, record), evalkit.gate(record, record), evalkit.audit(tmp_path / "card.md")):
        assert repr(result).startswith(f"<evalkit.{type(result).__name__}")
        assert len(repr(result)) < 300
