"""``evalkit humaneval check``: files in, files out, the table, and one-line refusals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evalkit.cli.humaneval import humaneval
from evalkit.errors import EvalkitError
from evalkit.sandbox import Checker
from evalkit.sandbox.unfinished import UnfinishedCheck
from tests.support.sandbox.canaries import PROBLEM
from tests.support.sandbox.hostile import SOLVE

pytestmark = pytest.mark.torch_free


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with two problems."""
    rows = [
        {"task_id": task, "prompt": PROBLEM.prompt, "test": PROBLEM.test, "entry_point": PROBLEM.entry_point}
        for task in ("Test/0", "Test/1")
    ]
    (tmp_path / "humaneval").mkdir()
    (tmp_path / "humaneval" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def samples(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(humaneval, ["check", *map(str, arguments)])


def test_results_are_human_evals_and_more(folder: Path) -> None:
    given = samples(
        folder / "samples.jsonl",
        {"task_id": "Test/0", "completion": SOLVE, "seed": 7},
        {"task_id": "Test/1", "completion": "    x = '\ud800'\n" + SOLVE},
    )
    result = run(given, "--data", folder, "-k", "1,10")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (folder / "samples_results.jsonl").read_text().splitlines()]
    assert [(row["task_id"], row["passed"], row["result"]) for row in rows] == [
        ("Test/0", True, "passed"),
        ("Test/1", False, "malformed"),
    ]
    assert rows[0]["seed"] == 7
    assert "seccomp" in rows[0]["isolation"]
    assert rows[0]["completion"] == SOLVE
    assert "pass@1" in result.output
    assert "50.0  9.5 to 90.5 (Wilson)" in result.output
    assert "pass@10: not given" in result.output
    assert "problems: 2 of 2\n" in result.output


def test_a_part_of_the_problems_is_said_to_be_one(folder: Path) -> None:
    given = samples(folder / "s.jsonl", *[{"task_id": "Test/1", "completion": SOLVE}] * 3)
    result = run(given, "--data", folder / "humaneval" / "test.jsonl", "--output", folder / "r.jsonl", "-k", "1,2")
    assert "problems: 1 of 2; NOT the whole set" in result.output
    assert len((folder / "r.jsonl").read_text().splitlines()) == 3


def test_zipped_samples_are_read(folder: Path) -> None:
    with gzip.open(folder / "s.jsonl.gz", "wt") as lines:
        lines.write(json.dumps({"task_id": "Test/0", "completion": SOLVE}) + "\n\n")
    result = run(folder / "s.jsonl.gz", "--data", folder, "--output", folder / "r.jsonl")
    assert result.exit_code == 0, result.output
    whole = (folder / "s.jsonl.gz").read_bytes()
    (folder / "s.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    refusal = run(folder / "s.jsonl.gz", "--data", folder).exception
    assert isinstance(refusal, EvalkitError)
    assert "s.jsonl.gz: not a whole gzip file" in str(refusal)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"task_id": "Test/0"}\n', "s.jsonl:1: a sample needs 'task_id' and 'completion'"),
        ('{"task_id": "Tset/0", "completion": ""}\n', "no problem 'Tset/0'; did you mean 'Test/0'"),
        ("not json\n", "s.jsonl:1: not valid JSON"),
        ("[1]\n", "s.jsonl:1: a list, expected a JSON object"),
        ("\n", "holds no sample"),
        (None, "s.jsonl: no such file"),
    ],
)
def test_bad_samples_are_named(folder: Path, lines: str | None, message: str) -> None:
    path = folder / "s.jsonl"
    if lines is not None:
        path.write_text(lines)
    refusal = run(path, "--data", folder).exception
    assert isinstance(refusal, EvalkitError)
    assert message in str(refusal)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"task_id": "a", "prompt": "", "test": ""}], "no text in column 'entry_point'"),
        ([{"task_id": "a", "prompt": "", "test": "", "entry_point": "f"}] * 2, "a is there twice"),
        ([], "holds no problem"),
    ],
)
def test_bad_problems_are_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    data = samples(tmp_path / "test.jsonl", *rows)
    given = samples(tmp_path / "s.jsonl", {"task_id": "a", "completion": ""})
    refusal = run(given, "--data", data).exception
    assert isinstance(refusal, EvalkitError)
    assert message in str(refusal)


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    refusal = run(samples(tmp_path / "s.jsonl", {}), "--data", tmp_path).exception
    assert isinstance(refusal, EvalkitError)
    assert "holds none of test.jsonl" in str(refusal)


def test_off_needs_the_second_flag(folder: Path) -> None:
    given = samples(folder / "s.jsonl", {"task_id": "Test/0", "completion": SOLVE})
    refusal = run(given, "--data", folder, "--isolation", "off").exception
    assert isinstance(refusal, EvalkitError)
    assert "--unsafe-code-execution" in str(refusal)
    allowed = run(given, "--data", folder, "--isolation", "off", "--unsafe-code-execution")
    assert allowed.exit_code == 0
    assert "isolation: off" in allowed.output


@pytest.mark.parametrize("ks", ["0", "one", "1,,2", "-1"])
def test_k_is_checked(folder: Path, ks: str) -> None:
    result = run(samples(folder / "s.jsonl", {}), "-k", ks)
    assert result.exit_code == 2
    assert "1,10,100" in result.output


def test_nothing_runs_where_isolation_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = samples(folder / "s.jsonl", {"task_id": "Test/0", "completion": SOLVE})
    defaults = {**Checker.__init__.__kwdefaults__, "_without": ("seccomp",)}
    monkeypatch.setattr(Checker.__init__, "__kwdefaults__", defaults)
    refusal = run(given, "--data", folder).exception
    assert isinstance(refusal, EvalkitError)
    assert "no seccomp (switched off)" in str(refusal)
    assert not (folder / "s_results.jsonl").exists()
    weak = run(given, "--data", folder, "--isolation", "best")
    assert weak.exit_code == 0
    assert "no seccomp: switched off" in weak.output


def test_tests_that_cannot_run_are_a_verdict_of_their_sample_and_said(folder: Path) -> None:
    good = {"task_id": "Test/0", "prompt": PROBLEM.prompt, "test": PROBLEM.test, "entry_point": PROBLEM.entry_point}
    broken = {**good, "task_id": "Test/9", "test": "import no_such_module"}
    data = samples(folder / "broken.jsonl", good, broken)
    given = samples(folder / "s.jsonl", *({"task_id": task, "completion": SOLVE} for task in ("Test/0", "Test/9")))
    found = run(given, "--data", data, "-k", "1")
    assert found.exit_code == 0, found.output
    assert "warning: 1 of the failed samples could not be judged: the tests need a module" in found.stderr
    assert "50.0" in found.stdout


def test_answers_without_code_and_with_several_versions_are_counted_and_named(folder: Path) -> None:
    whole = f'```python title="s.py"\n{PROBLEM.prompt}{SOLVE}```\n'
    wrong = f"```\n{PROBLEM.prompt}    return 0\n```\n"
    answers = [("Test/0", whole), ("Test/0", "I cannot."), ("Test/1", wrong + whole), ("Test/1", "")]
    given = samples(folder / "s.jsonl", *({"task_id": task, "completion": text} for task, text in answers))
    found = run(given, "--data", folder, "--extract", "-k", "1")
    assert found.exit_code == 0, found.output
    assert "warning: 2 of 4 answers: no code found in the answer (Test/0, Test/1)\n" in found.stderr
    assert "warning: 1 of 4 answers: the answer has several versions of what was asked for" in found.stderr
    rows = [json.loads(line) for line in (folder / "s_results.jsonl").read_text().splitlines()]
    assert [row["passed"] for row in rows] == [True, False, False, False]
    assert [row["detail"].partition(";")[0].partition(",")[0] for row in rows][1:] == [
        "no code found in the answer",
        "the answer has several versions of what was asked for",
        "no code found in the answer",
    ]


def test_a_harness_error_refuses_the_score_and_is_all_that_the_same_command_tries(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lost = Checker._verdict, ["Test/1"]

    def losing(self: Checker, worker: Any, job: Any, **options: Any) -> Any:
        problem = job[0]
        asked.append(problem.task_id)
        found = real(self, worker, job, **options)
        return found._replace(passed=False, label="harness error") if problem.task_id in lost else found

    monkeypatch.setattr(Checker, "_verdict", losing)
    given = samples(folder / "s.jsonl", *({"task_id": task, "completion": SOLVE} for task in ("Test/0", "Test/1")))
    asked: list[str] = []
    refusal = run(given, "--data", folder).exception
    assert isinstance(refusal, EvalkitError)
    assert "no score: 1 of 2 samples could not be judged" in str(refusal)
    rows = [json.loads(line) for line in (folder / "s_results.jsonl").read_text().splitlines()]
    assert [row["result"] for row in rows] == ["passed", "harness error"]
    lost.clear()
    asked.clear()
    assert run(given, "--data", folder, "-k", "1").exit_code == 0
    assert asked == ["Test/1"]


def test_results_are_gzipped_where_their_name_says_so(folder: Path) -> None:
    with gzip.open(folder / "s.jsonl.gz", "wt") as lines:
        lines.write(json.dumps({"task_id": "Test/0", "completion": SOLVE}) + "\n")
    for output in ([], ["--output", folder / "o.jsonl.gz"]):
        result = run(folder / "s.jsonl.gz", "--data", folder, *output)
        assert result.exit_code == 0, result.output
    with gzip.open(folder / "o.jsonl.gz", "rt") as lines:
        assert [json.loads(line)["passed"] for line in lines] == [True]
    assert json.loads((folder / "s_results.jsonl").read_text())["passed"]


def test_two_checks_at_once_have_two_outputs(folder: Path) -> None:
    """The later one is refused while the first one's process lives, and takes over what a dead one has left."""
    given = samples(folder / "s.jsonl", {"task_id": "Test/0", "completion": SOLVE})
    output = folder / "o.jsonl"
    with UnfinishedCheck(output, [(PROBLEM, "another")], {}) as first:
        first.note(0, "begun")
        refusal = run(given, "--data", folder, "--output", output).exception
        assert isinstance(refusal, EvalkitError)
        assert "another process is checking other samples, whose results go there" in str(refusal)
        assert [path.name for path in folder.glob("o.jsonl*")] == [first.path.name]
    assert first.path.exists()
    assert run(given, "--data", folder, "--output", output).exit_code == 0
    assert first.path.exists()
    assert json.loads(output.read_text())["passed"]
