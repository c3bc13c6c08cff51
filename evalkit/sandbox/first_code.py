"""Where the first code of an answer begins that may be what was asked for: no example, command or stub."""

from __future__ import annotations

import ast
import re
import textwrap
from functools import lru_cache

from evalkit.sandbox.definitions import parsed
from evalkit.sandbox.fences import blocks

_MOST = 20
"""Blocks and stubs that are looked at."""
# Before it the answer was over: what follows is another's turn, or another answer.
OVER = re.compile(
    r"<\|(?:return|flush|eot|eot_id|endoftext|content_model_end_sampling|im_end)\|>|</s>|<(?:end_of_turn|eos)>"
    r"|<[|｜](?:start|begin|im_start|start_header_id)?[|｜>]*\s*(?:user|human|system|developer)\b",
    re.IGNORECASE,
)
# A block of a thought, or that begins with a tag, is no code yet.
CODE = re.compile(
    r"^[ \t>]*(?:(?:```|~~~)(?![ \t]*(?:<|thinking|think|thoughts?|reasoning)[^\n]*$)(?![^\n]*\n[ \t>]*<)|\[PYTHON\]"
    r"|(?:async )?def \w+[ \t]*\(|class \w+[ \t]*[:(]|return\b)",
    re.MULTILINE,
)
_LONGEST_EXAMPLE = 10_000
_ACTS = re.compile(r"=|\b(?:def|class|return|yield|lambda|for|while|if|with|try|match|del|global)\b")
_DEF = re.compile(r"(?:async )?def \w+[ \t]*\([^\n]*\)[^\n]*:[^\n]*\n", re.MULTILINE)
_MARGIN = re.compile(r"^[^\s#]", re.MULTILINE)


def head_of(text: str) -> int:
    """Return where the first code begins that may be an answer, no example, command or stub; or the turn is over."""
    return len(prose_before(text))


@lru_cache(maxsize=8)
def prose_before(text: str) -> str:
    """Return what stands before that; blanks for the characters of blocks and stubs that are no such code."""
    over = OVER.search(text)
    stop = len(text) if over is None else over.start()
    every = {block.begin: block for block in blocks(text)} if CODE.search(text) else {}
    found, at = "", 0
    for _ in range(_MOST):
        code = CODE.search(text, at, stop)
        if code is None:
            return found + text[at:stop]
        block = every.get(code.start())
        if block is not None and block.is_closed:
            behind = None if _is_attempt(block.code(text)) else block.after
        else:
            behind = _behind_stub(text, code.start())
        found += text[at : code.start()]
        if behind is None:
            return found
        at = min(behind, stop)
        found += re.sub(r"[^\n]", " ", text[code.start() : at])
    return found


def _is_attempt(code: str) -> bool:
    """Return whether code may be an attempt at a function: anything but statements and stubs; text without keywords."""
    if len(code) > _LONGEST_EXAMPLE:
        return True
    if _ACTS.search(code) is None:
        return False
    code = textwrap.dedent(code).rstrip()
    tree = parsed(code) or parsed(f"{code} pass") or parsed(f"{code}\n    pass")
    if tree is None:
        return re.search(r"\b(?:def|class|return|yield|lambda)\b", code) is not None
    return any(map(_does, tree.body))


def _does(statement: ast.stmt) -> bool:
    """Return whether a statement defines something that is no stub, or is no example."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return not all(map(_is_nothing, statement.body))
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return any(isinstance(one, ast.Lambda) for one in ast.walk(statement))
    return not isinstance(statement, ast.Expr | ast.Import | ast.ImportFrom | ast.Assert | ast.Pass)


def _is_nothing(statement: ast.stmt) -> bool:
    is_value = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_value or isinstance(statement, ast.Pass | ast.Raise)


def _behind_stub(text: str, at: int) -> int | None:
    """Return where a text goes on behind the stub of a function that stands at a place at the margin, if one does."""
    stub = _DEF.match(text, at)
    if stub is None:
        return None
    end = _MARGIN.search(text, stub.end())
    stop = len(text) if end is None else end.start()
    return None if _is_attempt(text[stub.start() : stop]) else stop
