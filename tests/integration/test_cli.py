"""The command line: every mistake is one line on stderr and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evalkit import __version__
from evalkit.cli import main
from tests.support.files import change_document
from tests.support.records import write_record

pytestmark = pytest.mark.torch_free
# `run` asks for its packages before it looks at anything else.
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


def evalkit(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="evalkit")


def error_line(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.endswith("\n")
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def test_help_and_version() -> None:
    for option in ("--help", "-h"):
        result = evalkit(option)
        assert result.exit_code == 0
        for command in ("run", "report", "verify", "infer", "list"):
            assert f"\n  {command} " in result.stdout
    assert evalkit("--version").stdout == f"evalkit, version {__version__}\n"
    for command in ("run", "report", "verify", "infer", "list"):
        assert evalkit(command, "--help").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense"], "No such option"),
        (["rnu"], "No such command"),
        (["run", "--modle", "tiny"], "No such option"),
        (["run", "--limit", "ten"], "Invalid value for '--limit': 'ten' is not a valid"),
        (["run"], "no model: give --model FOLDER, --model HUB/ID or --model tiny (the built-in model)"),
        (["run", "--model"], "Option '--model' requires an argument"),
        (["run", "--model", "tiny", "--suite", "gpt4al"], "unknown suite 'gpt4al'; did you mean 'gpt4all'?"),
        (["run", "--model", "tiny", "--task", "arc"], "unknown task 'arc'"),
        (["run", "--model", "tiny", "--limit", "0"], "limit: 0 is not a number of documents"),
        (["run", "--model", "tiny", "--seed", "-1"], "seed: -1 is not between 0 and 4294967295"),
        (["run", "--model", "tiny", "--isolation", "off"], "isolation: off runs model-written programs"),
        (["run", "--model", "tiny", "--task", "boolq", "--data", "/no/where"], "--data /no/where: no such folder"),
        (["run", "--model", "tiny", "--task", "boolq", "--data", ""], "data: is empty; give hub"),
        (["run", "--model", "tiny", "--task", "boolq", "--data", "agieval=samples"], "no data source for gpt4all"),
        pytest.param(
            ["run", "--model", "x/y", "--suite", "bigbench"],
            "--data hub: 18 tasks of bigbench are not there",
            marks=needs_torch,
        ),
        pytest.param(
            ["run", "--model", "x/y", "--task", "boolq", "--data", "openmind"],
            "--data openmind: 1 task of gpt4all is not there",
            marks=needs_torch,
        ),
        (["run", "--config", "/no/run.yaml"], "/no/run.yaml: cannot be read (No such file or directory)"),
        (["report"], "Missing argument 'RUN...'; see evalkit report --help"),
        (["report", "/no/run"], "/no/run: no run here (no run.json); name a folder such as results/<model>/<time>"),
        (["verify", "--task", "bolq"], "unknown task 'bolq'; did you mean 'boolq'?"),
        (["verify", "--data", "gpt4all=samples"], "no data source for agieval, bigbench, truthfulqa;"),
        (["verify", "--data", "elsewhere"], "--data elsewhere: no such folder"),
        (["infer", "--model", "tiny"], "Missing option '--prompt'"),
        (["list", "everything"], "Invalid value for "),
        (["list", "data", "--data", "sample"], "--data sample: no such folder; did you mean 'samples'?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    assert error_line(evalkit(*arguments)).startswith(message)


def test_no_command_shows_the_help() -> None:
    result = evalkit()
    assert "Usage: evalkit [OPTIONS] COMMAND" in result.output


@needs_torch
def test_a_damaged_folder_names_file_and_line(data_folder: Path) -> None:
    path = data_folder / "gpt4all/boolq/validation.jsonl"
    change_document(path, 3, {"label": 7})
    result = evalkit("run", "--model", "tiny", "--task", "boolq", "--data", data_folder)
    assert error_line(result) == f"{path}:3: label 7 is not one of 0, 1"


def test_a_misspelled_key_of_a_run_configuration(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: tiny\nlimits: 3\n")
    assert error_line(evalkit("run", "--config", path)) == f"{path}:2: unknown key 'limits'; did you mean 'limit'?"


@needs_torch
def test_a_results_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = evalkit("run", "--model", "tiny", "--task", "boolq", "--output", tmp_path / "file")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "choose another" in result.stderr.splitlines()[-1]


def test_debug_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "evalkit.cli"]
    plain = subprocess.run([*command, "report", "/no/run"], capture_output=True, text=True, check=False)
    assert plain.returncode == 2
    assert plain.stderr.startswith("error: /no/run: no run here")
    assert "Traceback" not in plain.stderr
    debug = subprocess.run([*command, "--debug", "report", "/no/run"], capture_output=True, text=True, check=False)
    assert debug.returncode != 0
    assert "Traceback (most recent call last)" in debug.stderr
    assert "evalkit.errors.StoreError: /no/run: no run here" in debug.stderr


def test_report_of_several_runs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_record(tmp_path / name, {"boolq": {"acc": [1.0, 0.0]}})
    result = evalkit("report", tmp_path / "a", tmp_path / "b" / "run.json")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.count("# org/name\n") == 2
    assert result.stdout.count("|boolq|      1|acc   |0.5000|±  |0.5000|") == 2


@pytest.mark.parametrize("what", ["suites", "tasks", "models", "data"])
def test_list(what: str) -> None:
    result = evalkit("list", what)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert {"suites": "gpt4all", "tasks": "winogrande", "models": "tiny", "data": "humaneval"}[what] in result.stdout


def test_a_listing_can_be_cut_by_a_pipe() -> None:
    command = f"{sys.executable} -m evalkit.cli list tasks | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert json.dumps(done.stdout).startswith('"task')


@pytest.mark.parametrize("fault", [IndexError("list index out of range"), OSError(5, "Input/output error", "x")])
def test_a_fault_of_ours_is_no_verdict(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's own exit code for an exception is 1, which means "worse" to those who gate."""

    def broken(*_: object) -> str:
        raise fault

    monkeypatch.setattr("evalkit.cli.listing.listing", broken)
    with pytest.raises(SystemExit) as stopped:
        main(["list", "suites"])
    assert stopped.value.code == 70
    told = capsys.readouterr().err
    assert f"{type(fault).__name__}: {fault}" in told
    assert told.endswith("error: a fault of evalkit itself; please report it with the lines above\n")


@pytest.mark.parametrize(
    "lack",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("unable to mmap 5: Cannot allocate memory (12)"),
    ],
)
def test_memory_that_the_machine_lacks_is_one_line(
    lack: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> str:
        raise lack

    monkeypatch.setattr("evalkit.cli.listing.listing", broken)
    with pytest.raises(SystemExit) as stopped:
        main(["list", "suites"])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: out of memory (")
    assert told.endswith("; stop other programs or raise this process's limit (ulimit, container, job)\n")
    assert told.count("\n") == 1


@pytest.mark.parametrize("command", ["report {}", "gate {} --baseline {}", "audit {}", "compare {} {}"])
def test_a_name_that_is_too_long_is_one_line(command: str) -> None:
    line = error_line(evalkit(*command.replace("{}", "a" * 300).split()))
    assert "too long" in line


def test_the_look_before_the_work_sees_that_there_is_no_run_to_reuse(tmp_path: Path) -> None:
    command = ["run", "--model", "tiny", "--task", "boolq", "--dry-run", "--reuse", str(tmp_path / "none")]
    found = CliRunner().invoke(main, [*command, "--output", str(tmp_path)])
    assert found.exit_code == 2
    assert f"{tmp_path / 'none'}: no run to take scores from" in found.output
