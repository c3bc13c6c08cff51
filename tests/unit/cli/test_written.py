"""No command replaces a file that it reads, or that is nothing it wrote: every option that names a file to write."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from evalkit.cli.commands import main
from evalkit.cli.written import Writing, Written
from evalkit.errors import ConfigError
from evalkit.paths import configs_dir
from evalkit.replacing import KINDS, refuse_to_replace

pytestmark = pytest.mark.torch_free

# What each command needs besides, "@" is a file that it reads.
NEEDED = {
    "report": ["@"],
    "plot": ["@"],
    "results export": ["@", "--format", "csv"],
    "baselines import": ["@"],
    "gate": ["@", "--baseline", "none"],
    "humaneval check": ["@"],
}


def commands(group: click.Group = main, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


WRITING = [
    (name, option.opts[0])
    for name, command in commands()
    for option in command.params
    if isinstance(option.type, Written)
]


def refusal(*arguments: object) -> str:
    found = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert found.exit_code == 2, found.output
    lines = found.stderr.splitlines()
    assert len(lines) == 1, found.output
    return lines[0]


def test_every_option_that_may_write_a_file_is_one_of_these() -> None:
    """By the words of their help, which is not what the code goes by."""
    told = {
        (name, option.opts[0])
        for name, command in commands()
        for option in command.params
        if isinstance(option, click.Option)
        and isinstance(option.type, click.Path)
        and any(word in (option.help or "").lower() for word in ("write", "results", "output"))
    }
    assert told == set(WRITING)
    assert {name for name, _ in WRITING} == set(NEEDED)
    assert all(isinstance(command, Writing) for name, command in commands() if name in NEEDED)


@pytest.mark.parametrize("link", ["itself", "symbolic", "hard"])
@pytest.mark.parametrize(("command", "option"), WRITING)
def test_what_a_command_reads_is_not_replaced(command: str, option: str, link: str, tmp_path: Path) -> None:
    read = tmp_path / "read.yaml"
    read.write_text("precious\n")
    output = tmp_path / "output.yaml"
    if link == "symbolic":
        output.symlink_to(read)
    elif link == "hard":
        os.link(read, output)
    else:
        output = tmp_path / "." / "read.yaml"
    arguments = [str(read) if word == "@" else word for word in NEEDED[command]]
    line = refusal(*command.split(), *arguments, option, output)
    assert f"{option} {output}: this command reads that file" in line
    assert read.read_text() == "precious\n"


@pytest.mark.parametrize(("command", "option"), [one for one in WRITING if one[0] != "baselines import"])
def test_what_another_program_wrote_is_not_replaced(command: str, option: str, tmp_path: Path) -> None:
    read, other = tmp_path / "read", tmp_path / "other.svg"
    read.write_text("something\n")
    other.write_text('{"task_id": "HumanEval/0", "prompt": "def f():"}\n')
    arguments = [str(read) if word == "@" else word for word in NEEDED[command]]
    assert "so it is not replaced" in refusal(*command.split(), *arguments, option, other)
    assert "HumanEval/0" in other.read_text()


def test_data_of_a_check_are_read_too(tmp_path: Path) -> None:
    problem = {"task_id": "a", "prompt": "def f():\n", "test": "", "entry_point": "f"}
    data = tmp_path / "test.jsonl"
    data.write_text(json.dumps(problem) + "\n")
    samples = tmp_path / "s.jsonl"
    samples.write_text(json.dumps({"task_id": "a", "completion": "    return 1\n"}) + "\n")
    for given in (data, tmp_path):
        before = data.read_bytes()
        assert "replaced" in refusal("humaneval", "check", samples, "--data", given, "--output", data)
        assert data.read_bytes() == before
    (tmp_path / "s_results.jsonl").write_text("my notes\n")
    assert "exists and is not results of a check" in refusal("humaneval", "check", samples, "--data", data)


def test_two_options_do_not_name_one_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    os.link(one, other)
    line = refusal("gate", tmp_path, "--baseline", "none", "--junit", one, "--json", other)
    assert "--junit and --json name one file" in line


def test_a_runs_own_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    line = refusal("gate", tmp_path, "--baseline", "none", "--markdown", tmp_path / "report.md")
    assert "a run's own file" in line
    other = tmp_path / "elsewhere"  # not read by the command, and called otherwise
    (other / "run").mkdir(parents=True)
    (other / "run/run.json").write_text("{}")
    (other / "run/report.md").write_text("# Mine")
    (other / "notes.md").symlink_to(other / "run/report.md")
    line = refusal("gate", tmp_path, "--baseline", "none", "--markdown", other / "notes.md")
    assert "a run's own file" in line


def test_what_is_read_by_name_is_not_replaced(tmp_path: Path) -> None:
    own = next((configs_dir() / "baselines").glob("*.yaml"))
    line = refusal("gate", tmp_path, "--baseline", own.stem, "--markdown", own)
    assert "lies among evalkit's own configuration" in line


def test_a_table_of_somebody_else_is_no_exported_one(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (a)")
        connection.execute("CREATE TABLE experiments (a)")
        connection.commit()
    (tmp_path / "mine.csv").write_text("run,loss\n1,2\n")
    (tmp_path / "mine.parquet").write_bytes(b"PAR1 of somebody else PAR1")
    (tmp_path / "train.py").write_text("x = 1\n")
    for name, kind in (("mlflow.db", "an exported table"), ("mine.csv", "an exported table")):
        with pytest.raises(ConfigError, match="is not an exported table"):
            refuse_to_replace("--output", tmp_path / name, [], kind)
    with pytest.raises(ConfigError, match="is not an exported table"):
        refuse_to_replace("--output", tmp_path / "mine.parquet", [], "an exported table")
    with pytest.raises(ConfigError, match="is not Markdown"):
        refuse_to_replace("--markdown", tmp_path / "train.py", [], "Markdown")


EARLIER = {
    "results of a check": b'{"task_id": "a", "completion": "", "result": "passed", "passed": true}\n',
    "an HTML page": b"<!DOCTYPE html>\n<html>",
    "a picture": b"\x89PNG\r\n",
    "an exported table": b"run,model,task,metric\n",
    "a JUnit report": b'<?xml version="1.0"?>\n<testsuites name="evalkit gate">',
    "a gate's JSON": b'{\n "verdict": "pass",\n "candidate": "a",\n "alpha": 0.05,\n "parts": []}',
    "Markdown": b"earlier lines of this step's summary\n",
    "a baseline": b"model: x\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_earlier_output_is_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    refuse_to_replace("--output", path, [], kind)
    for content in (b"", EARLIER[kind]):
        path.write_bytes(content)
        refuse_to_replace("--output", path, [], kind)
    refuse_to_replace("--output", Path("/dev/stdout"), [], kind)


def test_gzipped_results_are_results(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(EARLIER["results of a check"]))
    refuse_to_replace("--output", path, [], "results of a check")
    path.write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(ConfigError, match="is not results of a check"):
        refuse_to_replace("--output", path, [], "results of a check")
