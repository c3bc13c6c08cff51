"""``evalkit humaneval show``: completions, verdicts and output of a run, readable and harmless."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.errors import ConfigError
from evalkit.records.samples import Sample
from evalkit.report.completions import completions
from tests.support.records import sample as record_of
from tests.support.records import write_samples

pytestmark = pytest.mark.torch_free


def verdict(passed: bool, **changes: Any) -> dict[str, Any]:
    found = {
        "task_id": "HumanEval/0",
        "passed": passed,
        "label": "passed" if passed else "failed",
        "detail": "" if passed else "AssertionError: line 3",
        "seconds": 0.25,
        "output": "",
    }
    return {**found, **changes}


def sample(*verdicts: dict[str, Any]) -> Sample:
    return Sample(
        task="humaneval",
        doc_id=0,
        cluster=None,
        metrics={"pass@1": 0.5},
        target="",
        context="def f():\n",
        continuations=[],
        logprobs=[],
        greedy=[],
        generated=[f"    return {number}" for number in range(len(verdicts))],
        details={"verdicts": list(verdicts)},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_samples(
        tmp_path, [sample(verdict(True), verdict(False, output="\x1b[31mred\n" + "line\n" * 20))]
    ).folder


def test_all_completions_are_shown_with_their_verdicts(folder: Path) -> None:
    text = "\n".join(completions(folder))
    assert "HumanEval/0 (humaneval, sample 1): passed, 0.25 s" in text
    assert "HumanEval/0 (humaneval, sample 2): failed, 0.25 s: AssertionError: line 3" in text
    assert "  >     return 1" in text
    assert text.endswith("1 of 2 passed; 2 shown")


def test_failed_only(folder: Path) -> None:
    text = "\n".join(completions(folder, failed_only=True))
    assert "sample 1" not in text
    assert text.endswith("1 of 2 passed; 1 shown")


def test_what_a_program_printed_is_cut_and_cannot_drive_the_terminal(folder: Path) -> None:
    text = "\n".join(completions(folder))
    assert "printed (first 10 of 21 lines)" in text
    assert "\x1b" not in text
    assert "\\x1b[31mred" in text


def test_a_problem_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no problem 'HumanEval/9' in this run"):
        list(completions(folder, problems=["HumanEval/9"]))


def test_a_run_without_programs_says_so(tmp_path: Path) -> None:
    plain = record_of("boolq", 0, acc=1.0)
    result = CliRunner().invoke(main, ["humaneval", "show", str(write_samples(tmp_path, [plain]).folder)])
    assert result.exit_code == 2
    assert "this run has no programs" in result.output
