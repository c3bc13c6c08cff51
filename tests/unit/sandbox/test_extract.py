"""Completions of other harnesses: what is no Python is said, and --extract finds the code in it."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from evalkit.sandbox.continuation import error_line, is_python
from evalkit.sandbox.extract import extract, hint
from evalkit.sandbox.files import SAMPLE_DATA, read_problems, read_samples

pytestmark = pytest.mark.torch_free

PROBLEMS = read_problems(SAMPLE_DATA)
TASK, PROBLEM = next(iter(PROBLEMS.items()))
BODY = PROBLEM.canonical_solution or ""
WHOLE = PROBLEM.prompt + BODY
WRAPPED = {
    "end token": BODY + "<|endoftext|>",
    "end token and more": BODY + "<|im_end|>\n<|im_start|>user\nThanks",
    "sentencepiece's end": BODY + "</s>",
    "fence": f"```python\n{WHOLE}```\n",
    "fence without a language": f"```\n{WHOLE}```",
    "fence that was cut": f"```python\n{WHOLE}",
    "tildes": f"~~~python\n{WHOLE}~~~\n",
    "a thought": f"<think>\n```python\ndef {PROBLEM.entry_point}(*_): pass\n```\n</think>\n```python\n{WHOLE}```",
    "a thought that the template opened": f"def or class?\n</think>\n{BODY}",
    "prose and fence": f"Here is the solution:\n\n```python\n{WHOLE}```\nIt is linear in time.",
    "no indentation": "\n".join(line.removeprefix("    ") for line in BODY.splitlines()) + "\n",
    "prose behind": BODY + "\nThis function returns what was asked for, I hope.\n",
}


def behaves(completion: str) -> bool:
    """Run the problem's own test, which the samples' authors wrote."""
    space: dict[str, object] = {}
    exec(f"{PROBLEM.prompt}{completion}\n{PROBLEM.test}\ncheck({PROBLEM.entry_point})\n", space)
    return True


@pytest.mark.parametrize("kind", WRAPPED)
def test_the_code_is_found(kind: str) -> None:
    assert not is_python(PROBLEM, WRAPPED[kind])
    assert behaves(extract(PROBLEM, WRAPPED[kind]).completion)


@pytest.mark.parametrize("depth", [1, 4, 18])
def test_nested_finally_blocks_are_compiled_once(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython copies each into the way of an exception and the other one: of 18 within each other, 2**18 copies."""
    head = "".join(f"{' ' * n}try:\n{' ' * n} a\n{' ' * n}finally:\n" for n in range(depth))
    sizes: list[int] = []
    compiled = builtins.compile

    def counted(*args: Any, **named: Any) -> Any:
        found = compiled(*args, **named)
        sizes.append(len(found.co_code) if isinstance(found, CodeType) else 0)
        return found

    monkeypatch.setattr(builtins, "compile", counted)
    assert error_line(f"{head}{' ' * depth}a\n") is None
    assert error_line(f"{head}{' ' * depth}return\n") == 3 * depth + 1
    assert max(sizes) < 1_000 + 200 * depth


def test_what_is_python_is_left_alone() -> None:
    for problem in PROBLEMS.values():
        assert extract(problem, problem.canonical_solution or "").completion == problem.canonical_solution


def test_the_hint_comes_only_where_most_are_no_python() -> None:
    good, bad = (PROBLEM, BODY), (PROBLEM, WRAPPED["fence"])
    assert hint([good, good, bad]) is None
    line = hint([bad, bad, good])
    assert line is not None
    assert line.startswith("2 of 3 completions are no Python after their prompt (2 with Markdown fences)")
    assert "--extract" in line


@pytest.mark.parametrize("row", [{"completion": [BODY, BODY]}, {"solution": WHOLE}, {"solution": [WHOLE, WHOLE]}])
def test_lists_and_whole_programs_are_read(row: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps({"task_id": TASK, **row}) + "\n", encoding="utf-8")
    found = read_samples(path, PROBLEMS)
    assert [sample["completion"] for sample in found] == [BODY] * (
        2 if isinstance(next(iter(row.values())), list) else 1
    )
    assert all(behaves(sample["completion"]) for sample in found)


def test_a_rewritten_program_follows_the_prompt(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps({"task_id": TASK, "solution": f"# mine\n{WHOLE}"}) + "\n", encoding="utf-8")
    assert behaves(read_samples(path, PROBLEMS)[0]["completion"])
