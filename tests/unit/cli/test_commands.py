"""The commands as users type them: output, exit codes, one-line errors, and that they start without heavy imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from evalkit.cli import report_commands as commands
from evalkit.config.suites import load_suites
from evalkit.errors import EvalkitError
from evalkit.paths import configs_dir

pytestmark = pytest.mark.torch_free

GROUP = click.Group("evalkit", commands=[commands.baselines, commands.audit, commands.leaderboard, commands.power])

LOG = """GPT4All:
|    Task     |Version| Metric |Value |   |Stderr|
|-------------|------:|--------|-----:|---|-----:|
|boolq        |      1|acc     |0.8657|±  |0.0060|
|piqa         |      0|acc     |tbd   |±  |      |
Average: 73.12
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(GROUP, [str(argument) for argument in arguments])


def error_of(result: Result) -> str:
    assert isinstance(result.exception, EvalkitError), result.output
    assert result.exception.exit_code == 2
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_import_writes_a_baseline_and_says_what_it_could_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "My-Model-7B.md"
    log.write_text(LOG)
    target = tmp_path / "baselines" / "mine.yaml"
    found = run("baselines", "import", log, "--output", target, "--retrieved", "2024-02-03", "--source", "web/{file}")
    assert found.exit_code == 0
    assert "My-Model-7B.md:5: row not read: piqa acc has no number in 'tbd'" in found.output
    assert "1 place(s) could not be read" in found.output
    assert f"wrote {target}: 1 tasks, 1 numbers, 1 averages" in found.output
    text = target.read_text()
    assert "source: web/My-Model-7B.md\nretrieved: '2024-02-03'" in text
    assert (
        "unchanged"
        in run(
            "baselines", "import", log, "--output", target, "--retrieved", "2024-02-03", "--source", "web/{file}"
        ).output
    )
    assert "exists with other content" in error_of(run("baselines", "import", log, "--output", target))
    assert run("baselines", "import", log, "--output", target, "--force").exit_code == 0
    # By default into the folder of baselines, where every command finds it by name.
    monkeypatch.setattr("evalkit.report.baselines_list.default_folder", lambda: tmp_path / "mine")
    monkeypatch.setenv("EVALKIT_BASELINES", str(tmp_path / "mine"))
    assert run("baselines", "import", log, "--name", "Fancy Name").exit_code == 0
    assert (tmp_path / "mine" / "fancy-name.yaml").is_file()
    assert "fancy-name" in run("baselines", "list", "--format", "csv").output
    assert "Fancy Name" in run("leaderboard", "--sort", "gpt4all").output


def test_import_to_stdout_is_the_file_alone(tmp_path: Path) -> None:
    log = tmp_path / "a.md"
    log.write_text(LOG)
    found = run("baselines", "import", log, "--output", "-")
    assert found.stdout.startswith("name: a\nslug: a\n")
    assert "not read" in found.stderr


def test_import_refuses_what_does_not_fit(tmp_path: Path) -> None:
    log, empty = tmp_path / "a.md", tmp_path / "empty.md"
    log.write_text(LOG)
    empty.write_text("nothing\n")
    assert "no per-task scores and no suite averages were read" in error_of(run("baselines", "import", empty))
    assert "fits one log" in error_of(run("baselines", "import", log, empty, "--name", "x"))
    assert "name a folder" in error_of(run("baselines", "import", log, empty, "--output", tmp_path / "x.yaml"))
    assert "'yesterday' is no date" in error_of(run("baselines", "import", log, "--retrieved", "yesterday"))
    log.write_text(LOG + LOG.replace("0.8657", "0.7657"))
    assert "holds 2 models" in error_of(run("baselines", "import", log, "--output", tmp_path / "x.yaml"))


def test_several_models_are_written_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.md").write_text(f"# A-1\n{LOG}\n# B-2\n{LOG.replace('0.8657', '0.7657')}")
    Path("b.md").write_text(LOG)
    found = run("baselines", "import", "a.md", "b.md", "--output", "mine/here")
    assert found.exit_code == 0
    assert sorted(path.name for path in Path("mine/here").iterdir()) == ["a-1.yaml", "b-2.yaml", "b.yaml"]
    assert f"wrote {Path('mine/here/a-1.yaml')}" in found.output
    before = sorted(path.name for path in (configs_dir() / "baselines").iterdir())
    found = run("baselines", "import", "a.md")
    assert found.exit_code == 0
    assert "wrote b-2.yaml" in found.output
    assert "give this path as the baseline" in found.output
    assert Path("b-2.yaml").is_file()
    assert sorted(path.name for path in (configs_dir() / "baselines").iterdir()) == before


def test_list_shows_every_baseline_with_its_source() -> None:
    rows = json.loads(run("baselines", "list", "--format", "json").output)
    assert len(rows["rows"]) >= 29
    card = next(row for row in rows["rows"] if row["slug"] == "openhermes-2.5-mistral-7b")
    assert (card["gpt4all"], card["humaneval"], card["tasks"], card["protocol"]) == (73.12, 50.7, 34, "nous-2023")
    assert any("not published" in note for note in rows["notes"])


@pytest.mark.parametrize(("average", "code"), [("86.57", 0), ("86.50", 0), ("12.00", 1)])
def test_audit_exits_1_only_if_something_is_inconsistent(tmp_path: Path, average: str, code: int) -> None:
    table = "|Task|Version|Metric|Value||Stderr|\n|---|---|---|---|---|---|\n|truthfulqa_mc|1|mc2|0.8657|±|0.0060|\n"
    right, file = tmp_path / "right.md", tmp_path / "file.md"
    right.write_text(f"TruthfulQA\n{table}Average: 86.57\n")
    file.write_text(f"TruthfulQA\n{table}Average: {average if code else '86.57'}\n")
    found = run("audit", right, file)
    assert found.exit_code == code
    assert ("inconsistent" in found.output) == bool(code)


def test_audit_in_other_formats(tmp_path: Path) -> None:
    file = tmp_path / "file.md"
    file.write_text(LOG)
    rows = json.loads(run("audit", file, "--all", "--format", "json").output)["rows"]
    assert {row["Verdict"] for row in rows} == {"exact", "not checkable"}
    assert "cannot be read" in error_of(run("audit", tmp_path / "absent.md"))


def test_leaderboard_and_power() -> None:
    assert "Meta-Llama-3-70B-Instruct" in run("leaderboard").output
    assert run("leaderboard", "--format", "latex", "--sort", "bigbench").output.startswith(r"\begin{table}")
    planned = run("power", "--suite", "truthfulqa", "--effect", "4")
    assert planned.exit_code == 0
    assert "3.0 times all" in planned.output
    assert len(json.loads(run("power", "--format", "json").output)["rows"]) == 2 * len(load_suites())
    assert "did you mean 'gpt4all'" in error_of(run("power", "--suite", "gpt4al"))


@pytest.mark.slow
def test_power_of_a_suite_of_many_documents() -> None:
    planned = run("power", "--suite", "gpt4all", "--effect", "1.0")
    assert planned.exit_code == 0
    assert "18669" in planned.output


def imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in found.stdout.split()}


def test_commands_load_nothing_heavy_before_they_run() -> None:
    assert not imported_by("evalkit.cli.report_commands") & {"torch", "lm_eval", "numpy", "scipy", "pandas", "tabulate"}


@pytest.mark.parametrize(
    "module",
    [
        "comparison.leaderboard",
        "baselines.audit.findings",
        "baselines.audit.text",
        "comparison.power",
        "report.card",
        "report.baselines_list",
        "tables",
    ],
)
def test_reports_never_load_torch_or_lm_eval(module: str) -> None:
    assert not imported_by(f"evalkit.{module}") & {"torch", "lm_eval", "transformers", "pandas"}


def test_an_interrupt_while_the_commands_are_loaded_is_one_line() -> None:
    """Ctrl-C in the first tenths of a second; as the installed command begins."""
    text = (
        "import sys\nclass Stopped:\n    def find_spec(self, name, *_):\n"
        "        if name == 'evalkit.cli.commands': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stopped())\nfrom evalkit.cli import main\n"
    )
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (130, "aborted\n")
