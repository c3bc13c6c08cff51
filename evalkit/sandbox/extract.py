"""The code in a model's answer, as a completion of its prompt; and whether completions are Python at all."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from evalkit.sandbox.continuation import Kind, continuations, error_line, is_code, is_python, kind_of, returns
from evalkit.sandbox.fences import END_TOKEN, Block, blocks, late_blocks, outside
from evalkit.sandbox.verdict import SHOWN_IDS, Problem, Verdict
from evalkit.sandbox.wire import NOT_JUDGED

NO_CODE = "no code found in the answer"
SEVERAL = "several blocks of the answer define what was asked for, and differ; the first was taken"
NOTHING = "the answer's code neither defines what was asked for nor returns anything; it was taken for the body"

_FENCES = re.compile(r"```|^[ \t]*~~~|\[PYTHON\]", re.MULTILINE)
# What a model thought before it answered: at the beginning, closed; or opened by the chat template already.
_THOUGHT = re.compile(r"\A\s*<(?P<name>think|thinking|reasoning|thought)>.*?</(?P=name)>", re.DOTALL | re.IGNORECASE)
_THOUGHT_OPENED_BEFORE = re.compile(r"\A(?:(?!<think>).)*?</think>", re.DOTALL | re.IGNORECASE)
# Lines that code without a fence may begin with.
_CODE_LINE = re.compile(r"^(?:(?:async )?def |from \w|import \w|@\w|class |\w+(?: *:[^=\n]+)? *=[^=])", re.MULTILINE)
_INDENTED_LINE = re.compile(r"^[ \t]+\S", re.MULTILINE)
_MOST_BLOCKS = 50
_MOST = 20
"""So many beginnings of code without a fence are tried, and so many ends of each."""


@dataclass(frozen=True)
class Taken:
    """What was taken out of an answer."""

    completion: str
    """Follows the prompt. The answer itself where no code was found."""
    remark: str = ""
    """`NO_CODE`, `SEVERAL`, `NOTHING`, or no text."""


def take_code(problem: Problem, answer: str) -> Taken:
    """Take the code out of an answer, as a continuation of the prompt.

    1. What was thought aloud before the answer (``<think>`` ... ``</think>``) is left out.
    2. So is what follows an end token, unless a block of code holds it.
    3. An answer that goes on in a block that the harness opened is what stands before its first fence.
    4. Of the blocks, the first counts that defines what is asked for.
    5. Where none does: the text outside of them, if it defines that.
    6. Where neither does: the first block that is a body of what the prompt began; else the text, if it is one.
    7. Where nothing is Python: the first block that seems to define it, else the first, so that the verdict says so.

    Each piece is joined to the prompt as what it is: definitions of their own, methods of the prompt's class, a body.
    """
    text = _without_end(without_thought(re.sub(r"\r\n?", "\n", answer)))
    fenced = [block for block in islice(blocks(text), _MOST_BLOCKS) if block.code(text).strip()]
    unfenced = outside(text, fenced)
    found = (
        _continued(problem, text)
        or _defining_block(fenced, problem, text)
        or _plain(_definition_without_fence(problem, unfenced))
        or _as_body(problem, next(filter(None, (_body_in(block, problem, text) for block in fenced)), None))
        or _as_body(problem, _body_without_fence(problem, unfenced))
        or _plain(_broken(fenced, problem, text))
    )
    return found or Taken(answer, NO_CODE)


def extract(problem: Problem, completion: str) -> Taken:
    """Take the code out of a completion that is no Python; one that is Python as it stands is left alone."""
    if completion.strip() and is_python(problem, completion):
        return Taken(completion)
    return take_code(problem, completion)


def without_thought(answer: str) -> str:
    """Return what follows a thought that an answer begins with; all of it where there is none, or it has no end."""
    thought = _THOUGHT.match(answer) or _THOUGHT_OPENED_BEFORE.match(answer)
    return answer[thought.end() :] if thought else answer


def remarked(verdict: Verdict, remark: str) -> Verdict:
    """Return the verdict on a program with what was remarked when it was taken out of an answer.

    One that passed needs none; a harness error, or tests that could not judge, say nothing about the answer.
    """
    if not remark or verdict.passed or verdict.label == "harness error" or verdict.detail.startswith(NOT_JUDGED):
        return verdict
    return replace(verdict, detail=f"{remark}; {verdict.detail}" if verdict.detail else remark)


def remark_lines(remarks: Iterable[tuple[str, str]]) -> list[str]:
    """Return what a command says of answers without code and of ambiguous ones: a line each, none where there are none.

    Args:
        remarks: task id, and a text that begins with the remark: `Taken.remark`, or a verdict's detail.
    """
    lines, all_of_them = [], list(remarks)
    for remark in (NO_CODE, SEVERAL, NOTHING):
        ids = [task_id for task_id, text in all_of_them if text.startswith(remark)]
        if ids:
            different = list(dict.fromkeys(ids))
            names = ", ".join(different[:SHOWN_IDS]) + (", ..." if len(different) > SHOWN_IDS else "")
            lines.append(f"{len(ids):,} of {len(all_of_them):,} answers: {remark} ({names})")
    return lines


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
    if END_TOKEN.search(completion):
        return "with end tokens"
    first = completion.lstrip("\n")
    return "without the function's indentation" if first[:1] not in (" ", "\t", "") else "otherwise"


def _without_end(text: str) -> str:
    """Return a text up to the first end token that follows something, and neither a block nor a string holds it."""
    text = re.sub(rf"\A(?:\s*{END_TOKEN.pattern}(?:assistant\b)?)+\n?", "", text)
    held = iter(blocks(text))
    block = next(held, None)
    for token in END_TOKEN.finditer(text):
        while block is not None and block.after <= token.start():
            block = next(held, None)
        line = text[text.rfind("\n", 0, token.start()) + 1 : token.start()]
        in_string = line.count("'") % 2 or line.count('"') % 2
        if not in_string and (block is None or token.start() < block.start):
            return text[: token.start()]
    return text


def _joined(problem: Problem, code: str, kind: Kind) -> str | None:
    """Return code as a completion; None where no way to join it to the prompt gives Python."""
    return next((one for one in continuations(problem, code, kind) if is_python(problem, one)), None)


def _plain(completion: str | None) -> Taken | None:
    return None if completion is None else Taken(completion)


def _as_body(problem: Problem, completion: str | None) -> Taken | None:
    if completion is None:
        return None
    return Taken(completion, "" if returns(problem, completion) else NOTHING)


def _continued(problem: Problem, text: str) -> Taken | None:
    """Return what stands before a closing fence that nothing opened."""
    fence = _FENCES.search(text)
    code = text[: fence.start()] if fence else ""
    goes_on = code.lstrip("\n")[:1] in (" ", "\t") or kind_of(code, problem) is not Kind.BODY
    return Taken(code) if code.strip() and goes_on and is_code(code) and is_python(problem, code) else None


def _defining_block(fenced: list[Block], problem: Problem, text: str) -> Taken | None:
    """Return the first block that defines what is asked for; if that one is no Python, it is returned all the same."""
    taken: list[str] = []
    broken: Block | None = None
    reach = 0
    every = {block.start: block for block in [*late_blocks(text), *fenced]}
    for start, block in sorted(every.items()):
        if start < reach:
            continue
        completion = _definition_in(block, problem, text)
        if completion is not None and (taken or broken is None or start < broken.after):
            taken.append(completion)
            reach = block.after
        elif broken is None and block in fenced and kind_of(block.code(text), problem) is not Kind.BODY:
            broken = block
    if taken:
        return Taken(taken[0], SEVERAL if len({one.strip() for one in taken}) > 1 else "")
    return _plain(_broken([broken], problem, text)) if broken else None


def _definition_in(block: Block, problem: Problem, text: str) -> str | None:
    """Return the completion that a block is; None where it does not define what is asked for, or is no Python."""
    for code in block.readings(text):
        kind = kind_of(code, problem)
        if kind is not Kind.BODY and (completion := _joined(problem, code, kind)) is not None:
            return completion
    return None


def _body_in(block: Block, problem: Problem, text: str) -> str | None:
    for code in block.readings(text):
        if is_code(code) and (completion := _joined(problem, code, Kind.BODY)) is not None:
            return completion
    return None


def _definition_without_fence(problem: Problem, text: str) -> str | None:
    for start in islice(_CODE_LINE.finditer(text), _MOST):
        code = _beginning(text[start.start() :], flags=ast.PyCF_ONLY_AST)
        kind = kind_of(code, problem)
        if kind is not Kind.BODY and (completion := _joined(problem, code, kind)) is not None:
            return completion
    return None


def _body_without_fence(problem: Problem, text: str) -> str | None:
    """Return a text, or its lines from the first indented one on, as a body; without the prose behind it."""
    indented = _INDENTED_LINE.search(text)
    for start in dict.fromkeys((0, indented.start() if indented else 0)):
        body = text[start:].strip("\n")
        ways = len(list(continuations(problem, body, Kind.BODY)))
        found = [_beginning(body, problem.prompt, partial(_nth_body, problem, way)) for way in range(ways)]
        way = max(range(ways), key=lambda way: len(found[way]))
        if is_code(found[way]):
            return _nth_body(problem, way, found[way])
    return None


def _nth_body(problem: Problem, way: int, code: str) -> str:
    return list(continuations(problem, code, Kind.BODY))[way]


def _beginning(text: str, prompt: str = "", join: Callable[[str], str] = str, flags: int = 0) -> str:
    """Return a text if its program is Python, else its lines before the error's, if these are; and so on.

    Args:
        text: code, and prose behind it.
        prompt: what the program begins with.
        join: makes the text follow it, line by line.
        flags: of `error_line`.
    """
    lines, before = text.split("\n"), prompt.count("\n")
    for _ in range(_MOST):
        code = "\n".join(lines) + "\n"
        wrong = error_line(prompt + join(code), flags) if code.strip() else None
        if wrong is None:
            return code
        lines = lines[: max(0, min(wrong - 1 - before, len(lines) - 1))]
    return ""


def _broken(fenced: list[Block], problem: Problem, text: str) -> str | None:
    """Return what looks like the code where none of it is Python: its verdict will name the error."""
    codes = [block.code(text) for block in fenced]
    if not codes:
        rests = (text[line.start() :] for line in islice(_CODE_LINE.finditer(text), _MOST))
        codes = [rest for rest in rests if kind_of(rest, problem) is not Kind.BODY][:1]
    kinds = [(kind_of(code, problem), code) for code in codes]
    defining = [one for one in kinds if one[0] is not Kind.BODY] or kinds
    return next(continuations(problem, defining[0][1], defining[0][0])) if defining else None
