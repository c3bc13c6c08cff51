"""HumanEval: pass@k by running programs, from completions of the prompt or from a chat model's answers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.tasks.metrics import NOT_SCORED

if TYPE_CHECKING:
    from evalkit.sandbox import Problem, Verdict

Doc = Mapping[str, Any]

# pass@k is reported for those of these that the number of samples allows.
REPORTED_K = (1, 10, 100)

COMPLETION, CHAT = "humaneval", "humaneval_chat"

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


def program_of(task: str, doc: Doc, text: str) -> tuple[Problem, str]:
    """Return the problem of a document and what a model's text adds to its prompt."""
    from evalkit.sandbox import Problem

    problem = Problem(task_id=doc["task_id"], prompt=doc["prompt"], test=doc["test"], entry_point=doc["entry_point"])
    return problem, answered_code(text, doc["entry_point"]) if task == CHAT else text


def judged(texts: Sequence[Sequence[str]], docs: Sequence[Doc]) -> list[Any]:
    """Judge completions, all in one call: the task's filter under lm-eval's own command, with full isolation.

    Args:
        texts: by document its samples.
        docs: the documents.

    Returns:
        By document its text, or a list of them where there are several; each is a `JudgedText`.
    """
    return _judged(COMPLETION, texts, docs)


def chat_judged(texts: Sequence[Sequence[str]], docs: Sequence[Doc]) -> list[Any]:
    """Judge the code in a chat model's answers; see `judged`."""
    return _judged(CHAT, texts, docs)


def _judged(task: str, texts: Sequence[Sequence[str]], docs: Sequence[Doc]) -> list[Any]:
    from evalkit.sandbox import Checker
    from evalkit.tasks.programs import Programs, with_verdicts

    with Checker(isolation="require") as checker:
        verdicts = Programs(checker).judge([(task, number) for number in range(len(docs))], docs, texts)
    return [found if len(found) > 1 else found[0] for found in with_verdicts(texts, verdicts)]


def results(_doc: Doc, results: Sequence[Any]) -> dict[str, float]:
    """pass@k of texts that were judged; those that were not have no score.

    A harness error is no failure of the model: it refuses the score too.
    """
    from evalkit.sandbox.score import estimate

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
