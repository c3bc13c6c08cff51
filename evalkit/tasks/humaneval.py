"""HumanEval: pass@k by running programs, from completions of the prompt or from a chat model's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.sandbox.extract import take_code
from evalkit.tasks.metrics import NOT_SCORED

if TYPE_CHECKING:
    from evalkit.sandbox import Problem, Verdict

Doc = Mapping[str, Any]

# pass@k is reported for those of these that the number of samples allows.
REPORTED_K = (1, 10, 100)

COMPLETION, CHAT = "humaneval", "humaneval_chat"

_INSTRUCTION = "Complete the following Python function. Answer with the whole function in one ```python code block."


class JudgedText(str):
    """A generated text with the verdict on its program."""

    verdict: Verdict

    def __new__(cls, text: str, verdict: Verdict) -> JudgedText:
        """Join the two."""
        made = super().__new__(cls, text)
        made.verdict = verdict
        return made

    def __getnewargs__(self) -> tuple[str, Verdict]:  # type: ignore[override]  # a copy needs both
        """Return what a copy is made from."""
        return str(self), self.verdict


def text(doc: Doc) -> str:
    """The prompt."""
    return str(doc["prompt"])


def target(doc: Doc) -> str:
    """The test, for the record; correctness is decided by running it."""
    return str(doc["test"])


def program_of(task: str, doc: Doc, text: str) -> tuple[Problem, str, str]:
    """Return the problem of a document, what a model's text adds to its prompt, and what is to say of the taking."""
    from evalkit.sandbox import Problem

    problem = Problem(task_id=doc["task_id"], prompt=doc["prompt"], test=doc["test"], entry_point=doc["entry_point"])
    if task != CHAT:
        return problem, text, ""
    taken = take_code(problem, text)
    return problem, taken.completion, taken.remark


def results(_doc: Doc, results: Sequence[Any]) -> dict[str, float]:
    """pass@k of texts that were judged; those that were not have no score.

    A harness error is no failure of the model: it refuses the score too.
    """
    from evalkit.sandbox.pass_at_k import estimate

    verdicts = verdicts_of(results)
    n, passed = len(verdicts), sum(verdict.passed for verdict in verdicts)
    if n == 0 or any(verdict.label == "harness error" for verdict in verdicts):
        return {"pass@1": NOT_SCORED}
    return {f"pass@{k}": estimate(n, passed, k) for k in REPORTED_K if k <= n}


def verdicts_of(results: Sequence[Any]) -> list[Verdict]:
    """Return the verdicts that a document's texts bring along; none where one of them was not judged."""
    texts = [text for entry in results for text in ([entry] if isinstance(entry, str) else entry)]
    found = [text.verdict for text in texts if isinstance(text, JudgedText)]
    return found if len(found) == len(texts) else []


def chat_text(doc: Doc) -> str:
    """The question for a chat model; the adapter puts it into the chat template."""
    return f"{_INSTRUCTION}\n\n```python\n{doc['prompt'].strip()}\n```"
