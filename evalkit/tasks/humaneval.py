"""HumanEval: the prompt as it stands, the protocol's stop strings, pass@k by running the program."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evalkit.tasks.metrics import NOT_SCORED

if TYPE_CHECKING:
    from evalkit.sandbox import Checker, Problem

Doc = Mapping[str, Any]

_checker: Checker | None = None
# Verdicts of the run under way, by task_id; `process_results` can only return numbers.
_verdicts: dict[str, list[dict[str, Any]]] = {}


def text(doc: Doc) -> str:
    """The prompt."""
    return str(doc["prompt"])


def target(doc: Doc) -> str:
    """The test, for the record; correctness is decided by running it."""
    return str(doc["test"])


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Unbiased estimator of the probability that one of k samples passes.

    1 - C(n-c, k) / C(n, k); arXiv 2107.03374, section 2.1.

    Raises:
        ValueError: fewer than k samples.
    """
    if k > n:
        raise ValueError(f"pass@{k} needs at least {k} samples, got {n}")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


@contextmanager
def execution(checker: Checker) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Let ``results`` run programs in this checker; yields the verdicts, by task_id, as they come."""
    global _checker
    _checker = checker
    _verdicts.clear()
    try:
        yield _verdicts
    finally:
        _checker = None


def _problem(doc: Doc) -> Problem:
    from evalkit.sandbox import Problem

    return Problem(task_id=doc["task_id"], prompt=doc["prompt"], test=doc["test"], entry_point=doc["entry_point"])


def _current_checker() -> Checker:
    """The run's checker; under lm-eval's own command line one with full isolation, for the process's life."""
    global _checker
    if _checker is None:
        import atexit

        from evalkit.sandbox import Checker

        _checker = Checker(isolation="require")
        _checker.__enter__()
        atexit.register(_checker.__exit__, None, None, None)
    return _checker


def results(doc: Doc, results: Sequence[Any]) -> dict[str, float]:
    """pass@1 of the completions. A harness error is no failure of the model: it refuses the score."""
    completions = [completion for entry in results for completion in ([entry] if isinstance(entry, str) else entry)]
    verdicts = _current_checker().check(_problem(doc), completions)
    _verdicts[doc["task_id"]] = [asdict(verdict) for verdict in verdicts]
    if not verdicts or any(verdict.label == "harness error" for verdict in verdicts):
        return {"pass@1": NOT_SCORED}
    return {"pass@1": pass_at_k(len(verdicts), sum(verdict.passed for verdict in verdicts), 1)}
