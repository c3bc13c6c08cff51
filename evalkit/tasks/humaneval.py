"""HumanEval: pass@k by running programs, from completions of the prompt or from a chat model's answers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evalkit.tasks.metrics import NOT_SCORED

if TYPE_CHECKING:
    from evalkit.sandbox import Checker, Problem, Verdict

Doc = Mapping[str, Any]

# pass@k is reported for those of these that the number of samples allows.
REPORTED_K = (1, 10, 100)

_INSTRUCTION = "Complete the following Python function. Answer with the whole function in one ```python code block."
# A block of code in Markdown: between lines of backticks or tildes, or to the end where the answer was cut.
_FENCED = re.compile(
    r"(?:(?P<ticks>`{3,})|^[ \t]*(?P<tildes>~{3,}))[ \t]*[\w+-]*[ \t]*\r?\n"
    r"(?P<code>.*?)(?:^[ \t]*(?(ticks)(?P=ticks)|(?P=tildes))|\Z)",
    re.DOTALL | re.MULTILINE,
)
# What a model thought before it answered: at the beginning, closed; or opened by the chat template already.
_THOUGHT = re.compile(r"\A\s*<(?P<name>think|thinking|reasoning|thought)>.*?</(?P=name)>", re.DOTALL)
_THOUGHT_OPENED_BEFORE = re.compile(r"\A(?:(?!<think>).)*?</think>", re.DOTALL)
_CODE_LINE = re.compile(r"^[ \t]*(?:def |async def |from \w|import \w|@\w|class )", re.MULTILINE)

_checker: Checker | None = None
# Whether `no_execution` is in force.
_runs_nothing = False
# Verdicts that are being made, by task, problem and completion: programs run while the model goes on.
_begun: dict[tuple[str, str, str], list[Future[Verdict]]] = {}
# Verdicts of the run under way, by `verdict_key`; `process_results` can only return numbers.
_verdicts: dict[str, list[dict[str, Any]]] = {}


def text(doc: Doc) -> str:
    """The prompt."""
    return str(doc["prompt"])


def target(doc: Doc) -> str:
    """The test, for the record; correctness is decided by running it."""
    return str(doc["test"])


@contextmanager
def execution(checker: Checker) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Let ``results`` run programs in this checker; yields the verdicts, by `verdict_key`, as they come."""
    global _checker
    _checker = checker
    _verdicts.clear()
    _begun.clear()
    try:
        yield _verdicts
    finally:
        _checker = None
        _begun.clear()


@contextmanager
def no_execution() -> Iterator[None]:
    """Let ``results`` run nothing: its metrics are then not scored. For a look at a run that is not finished."""
    global _runs_nothing
    _runs_nothing = True
    try:
        yield
    finally:
        _runs_nothing = False


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
    """pass@k of the completions. A harness error is no failure of the model: it refuses the score."""
    return _judge("humaneval", doc, _texts(results))


def chat_text(doc: Doc) -> str:
    """The question for a chat model; the adapter puts it into the chat template."""
    return f"{_INSTRUCTION}\n\n```python\n{doc['prompt'].strip()}\n```"


def chat_results(doc: Doc, results: Sequence[Any]) -> dict[str, float]:
    """pass@k of the code in the answers."""
    return _judge("humaneval_chat", doc, [_completion("humaneval_chat", doc, text) for text in _texts(results)])


def begin(task: str, doc: Doc, text: str) -> None:
    """Start checking what a model has just written, beside its further work; ``results`` waits for the verdict.

    Args:
        task: the task's name; nothing happens where it runs no programs, or outside `execution`.
        doc: the document.
        text: the generated text.
    """
    if _checker is not None and task in ("humaneval", "humaneval_chat"):
        completion = _completion(task, doc, text)
        future = _checker.submit(_problem(doc), completion)
        _begun.setdefault((task, doc["task_id"], completion), []).append(future)


def _completion(task: str, doc: Doc, text: str) -> str:
    return answered_code(text, doc["entry_point"]) if task == "humaneval_chat" else text


def answered_code(answer: str, entry_point: str) -> str:
    """Take the code out of a chat model's answer, as a continuation of the prompt.

    What it thought aloud before (``<think>`` ... ``</think>``) is no answer and left out. The first fenced block that
    defines the function counts, else the first one, else the whole answer from the first line
    that looks like code. A block that was never closed (the answer was cut) counts too. What defines the function
    again follows the prompt on lines of its own, so that the prompt's imports and helpers hold; anything else is taken
    as the function's body.

    Args:
        answer: the generated text.
        entry_point: name of the function asked for.
    """
    answer = without_thought(answer)
    blocks = [match.group("code") for match in _FENCED.finditer(answer)]
    defines = re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(entry_point)}\b", re.MULTILINE)
    code = next((block for block in blocks if defines.search(block)), blocks[0] if blocks else None)
    if code is None:
        start = _CODE_LINE.search(answer)
        code = answer[start.start() :] if start else answer
    if defines.search(code):
        return "\n" + textwrap.dedent(code)
    body = textwrap.dedent(code).strip("\n")
    return textwrap.indent(body, "    ") + "\n"


def without_thought(answer: str) -> str:
    """Return what follows a thought that an answer begins with; all of it where there is none, or it has no end."""
    thought = _THOUGHT.match(answer) or _THOUGHT_OPENED_BEFORE.match(answer)
    return answer[thought.end() :] if thought else answer


def _texts(results: Sequence[Any]) -> list[str]:
    """Flatten lm-eval's responses: one text, or a list of them where several samples were asked for."""
    return [text for entry in results for text in ([entry] if isinstance(entry, str) else entry)]


def _judge(task: str, doc: Doc, completions: Sequence[str]) -> dict[str, float]:
    from evalkit.sandbox.score import estimate

    if _runs_nothing:
        return {"pass@1": NOT_SCORED}
    checker = _current_checker()
    begun = [_begun.get((task, doc["task_id"], completion)) for completion in completions]
    futures = [
        there.pop() if there else checker.submit(_problem(doc), completion)
        for there, completion in zip(begun, completions, strict=True)
    ]
    verdicts = [future.result() for future in futures]
    _verdicts[verdict_key(task, doc["task_id"])] = [asdict(verdict) for verdict in verdicts]
    n, passed = len(verdicts), sum(verdict.passed for verdict in verdicts)
    if n == 0 or any(verdict.label == "harness error" for verdict in verdicts):
        return {"pass@1": NOT_SCORED}
    return {f"pass@{k}": estimate(n, passed, k) for k in REPORTED_K if k <= n}


def verdict_key(task: str, task_id: str) -> str:
    """Name a problem of a task among the verdicts."""
    return f"{task}:{task_id}"
