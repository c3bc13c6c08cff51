"""Completions as chat models and other harnesses give them: are they Python, and where is the code in them?"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable

from evalkit.sandbox.verdict import Problem

_END = re.compile(r"(?:<\|[\w ./-]{1,40}\|>|</s>|<eos>|<end_of_turn>|<pad>|\[/?INST\])")
_FENCES = re.compile(r"```|^[ \t]*~~~", re.MULTILINE)
# Longer texts are not parsed: no completion of these problems is, and parsing takes memory.
_LONGEST = 100_000


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


def is_python(problem: Problem, completion: str) -> bool:
    """Return whether the prompt with this completion is Python; nothing is run."""
    program = problem.prompt + completion
    if len(program) > _LONGEST:
        return True  # not known; the verdict tells
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program's own escapes
            # Compiled, not only parsed: a body without its indentation parses, but for its `return`.
            compile(program, "completion", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def extract(problem: Problem, answer: str) -> str:
    """Return the code of an answer as a continuation of the prompt; one that is Python as it stands is left alone.

    What was thought aloud before is left out. Tried in this order, the first that gives Python: without end tokens; the
    code block that defines the function; the whole as the function's body, indented; without the last lines, which may
    be prose.
    """
    if is_python(problem, answer):
        return answer
    answer = without_thought(answer)
    bare = _END.split(answer.lstrip("\n") if answer.lstrip().startswith("<|") else answer)
    text = next((part for part in bare if part.strip()), "")
    attempts = [text]
    if _FENCES.search(text):
        attempts.append(answered_code(text, problem.entry_point))
    attempts.append(textwrap.indent(textwrap.dedent(text).strip("\n"), "    ") + "\n")
    attempts.append(answered_code(text, problem.entry_point))
    lines = text.splitlines(keepends=True)
    if not _FENCES.search(text):
        attempts += ["".join(lines[:stop]) for stop in range(len(lines) - 1, 0, -1) if "".join(lines[:stop]).strip()][
            :40
        ]
    return next((code for code in attempts if is_python(problem, code)), attempts[0])


def hint(samples: Iterable[tuple[Problem, str]]) -> str | None:
    """Return one line where most completions are no Python; None elsewhere."""
    total, why = 0, Counter[str]()
    for problem, completion in samples:
        total += 1
        if not is_python(problem, completion):
            why[_looks_like(completion)] += 1
    if why.total() * 2 <= total:
        return None
    kinds = ", ".join(f"{count} {kind}" for kind, count in why.most_common())
    return (
        f"{why.total()} of {total} completions are no Python after their prompt ({kinds}); --extract takes the code out"
    )


def _looks_like(completion: str) -> str:
    if _FENCES.search(completion):
        return "with Markdown fences"
    if _END.search(completion):
        return "with end tokens"
    first = completion.lstrip("\n")
    return "without the function's indentation" if first[:1] not in (" ", "\t", "") else "otherwise"


def answered_code(answer: str, entry_point: str) -> str:
    """Take the code out of a chat model's answer, as a continuation of the prompt.

    What it thought aloud before (``<think>`` ... ``</think>``) is no answer and left out. The first fenced block that
    defines the function counts, else the first one, else the whole answer from the first line
    that looks like code. A block that was never closed (the answer was cut) counts too. What defines the function
    again follows the prompt on lines of its own, so that the prompt's imports and helpers hold; anything else is taken
    as the function's body.

    Args:
        answer: the generated text.
        entry_point: name of the function asked for, or an expression that ends with it (``Solution().add``).
    """
    answer = without_thought(answer)
    blocks = [match.group("code") for match in _FENCED.finditer(answer)]
    name = entry_point.strip().rpartition(".")[2]
    defines = re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(name)}\b", re.MULTILINE)
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
