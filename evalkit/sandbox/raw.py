"""Code in a text without fences: where it begins, and where it ends and prose or broken code begins."""

from __future__ import annotations

import ast
import codeop
import keyword
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from evalkit.sandbox.continuation import continuations, error_line, is_code, joined
from evalkit.sandbox.definitions import How, Kind, meaning_of
from evalkit.sandbox.verdict import Problem

# Lines that code without a fence may begin with.
CODE_LINE = re.compile(r"^(?:(?:async )?def |from \w|import \w|@\w|class |\w+(?: *:[^=\n]+)? *=[^=])", re.MULTILINE)
_INDENTED_DEFINITION = re.compile(r"^(?P<indentation>[ \t]+)(?:async )?(?:def \w+ *\(|class \w+ *[:(])", re.MULTILINE)
_INDENTED_LINE = re.compile(r"^[ \t]+\S", re.MULTILINE)
# A word, or one in brackets, as a line of its own: a title, a language, a role, a mark.
_WORD = re.compile(r"\[?(?P<word>[^\W\d]\w*)\]?[ \t]*")
# "Complexity: O(n)" is a declaration to Python, which does nothing but fail where its names are none.
_REMARK = re.compile(r"[A-Z]\w*: +[^=\n]*[^=\s:{(\[,\\][ \t]*")
# Tokens at the end that are Python, as an index or a comparison.
_PADDING = re.compile(r"(?:\[(?P<name>PAD|EOS|BOS|UNK|SEP|CLS|MASK)\]|<\w{1,20}>(?:model|assistant)?)\s*\Z")
_TOKENS_BEHIND = re.compile(r"(?:<[^<>\n]{1,40}>|\[[^\[\]\n]{1,40}\])[ \t]*\Z")
_MOST = 20
"""So many beginnings of code are tried, and so many ends of each."""

# Lines behind code that are code too: what another definition or import begins with; a statement of the function.
_MORE_CODE = re.compile(
    r"^(?:(?:async )?def \w+ *\(.*(?::|[^.\w\s])[ \t]*(?:#.*)?$|(?:async )?def \w+ *\(.*\n[ \t]+\S"
    r"|class \w+ *(?:\([^\n]*\))? *:|import [\w.]+(?: as\b.*|,.*)?$|from [\w.]+ import\b)",
    re.MULTILINE,
)
_OPERATOR = r"(?:not|in|is|and|or|if|else|for|lambda|await)\b"
_TWO_WORDS = rf"\b(?!{_OPERATOR})[^\W\d]\w* (?!{_OPERATOR})[^\W\d]\w*"  # prose, where no keyword is one of them
_STATEMENT = re.compile(
    rf"[ \t]+(?:(?:return|yield|raise|pass|break|continue)\b|(?:if|elif|while)\b *(?![^:]*{_TWO_WORDS}).*:"
    r"|for\b.*\bin\b.*:|(?:else|try|finally) *:|(?:except|with)\b.*:|[\w.\[\]]+ *[-+*/]?=[^=])"
)


@dataclass(frozen=True)
class Version:
    """One version of what is asked for, in an answer."""

    how: How
    completion: str
    code: str
    """As the answer has it."""


def without_words(problem: Problem, code: str) -> str:
    """Return code without the words and remarks at its margin, at its head and its end, and without padding tokens.

    Such a line is Python, and does nothing but fail where its words are no names.
    """
    for _ in range(_MOST):
        padding = _PADDING.search(code, max(0, len(code) - 60))
        if padding is None or (padding["name"] and re.search(rf"(?<!\[)\b{padding['name']}\b", problem.prompt + code)):
            break
        code = code[: padding.start()]
    lines = code.split("\n")
    first, last = 0, len(lines)
    while first < last and (not lines[first].strip() or _is_word(lines[first])):
        first += 1
    while last > first and (not lines[last - 1].strip() or _is_word(lines[last - 1])):
        if last - 1 > first and lines[last - 2].endswith("\\"):
            break
        last -= 1
    if not any(map(_is_word, lines[:first] + lines[last:])):
        return code
    return "\n".join(lines[first:last]) + "\n"


def _is_word(line: str) -> bool:
    word = _WORD.fullmatch(line)
    return (word is not None and not keyword.iskeyword(word["word"])) or _REMARK.fullmatch(line) is not None


def definitions(problem: Problem, text: str, *, may_be_cut: bool) -> Iterator[Version]:
    """Yield what a text defines of what is asked for, as far as the first real definition."""
    for start in _starts(text):
        code, rest = _beginning(start, flags=ast.PyCF_ONLY_AST)
        code = without_words(problem, code)
        meaning = meaning_of(code, problem)
        completion = joined(problem, code, meaning.kind) if meaning.kind is not Kind.BODY else None
        undefined = completion is None or meaning.how is How.AS_STUB
        if undefined and _begins_with_broken_definition(start, problem):
            first = meaning_of(_chunk(start), problem)
            yield Version(How.BY_DEFINITION, next(continuations(problem, start, first.kind)), start)
            return  # the answer's first attempt; what it says below is another one
        if completion is None:
            continue
        if meaning.how is How.BY_DEFINITION and is_broken_code(rest, problem, may_be_cut=may_be_cut):
            completion = next(continuations(problem, start, meaning.kind))
        yield Version(meaning.how, completion, code)
        if meaning.how is How.BY_DEFINITION:
            return


def _chunk(text: str) -> str:
    """Return the statement that a text begins with: up to the next line at the margin, no Python perhaps."""
    lines = text.split("\n")
    end = next((n for n, line in enumerate(lines) if n and line.strip() and line[0] not in " \t)]}#"), len(lines))
    return "\n".join(lines[:end]) + "\n"


def _begins_with_broken_definition(text: str, problem: Problem) -> bool:
    """Tell whether a text begins with a definition of what is asked for that is no Python, and no signature alone."""
    chunk = _chunk(text)
    return (
        meaning_of(chunk, problem).how is How.BY_DEFINITION
        and error_line(chunk, ast.PyCF_ONLY_AST) is not None
        and any(_STATEMENT.match(line) for line in chunk.split("\n")[1:])
    )


def _starts(text: str) -> Iterator[str]:
    """Yield a text from each line on that code may begin with."""
    indented = _INDENTED_DEFINITION.search(text)
    first = CODE_LINE.search(text)
    if indented is not None and (first is None or indented.start() < first.start()):
        # Code that is indented as a whole, as in Markdown without fences.
        lines = text[indented.start() :].split("\n")
        width = indented["indentation"]
        count = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith(width)), len(lines))
        yield "\n".join([line.removeprefix(width) for line in lines[:count]] + lines[count:])
    for start in islice(CODE_LINE.finditer(text), _MOST):
        yield text[start.start() :]


def body(problem: Problem, text: str, *, may_be_cut: bool) -> Version | None:
    """Return a text, or its lines from the first indented one on, as a body; without the prose behind it."""
    indented = _INDENTED_LINE.search(text)
    for start in dict.fromkeys((0, indented.start() if indented else 0)):
        code = text[start:].strip("\n")
        ways = len(list(continuations(problem, code, Kind.BODY)))
        found = [_beginning(code, problem.prompt, partial(_nth_body, problem, way)) for way in range(ways)]
        way = max(range(ways), key=lambda way: len(found[way][0]))
        taken, rest = found[way]
        taken = without_words(problem, taken)
        if is_code(taken):
            if is_broken_code(rest, problem, may_be_cut=may_be_cut):
                taken = code
            return Version(How.NOT, _nth_body(problem, way, taken), taken)
    return None


def is_broken_code(rest: str, problem: Problem, *, may_be_cut: bool) -> bool:
    """Return whether what stands behind code, from its first error on, is code too, and not prose.

    Args:
        rest: the lines from the error on.
        problem: what is asked for.
        may_be_cut: pass over the beginning of another definition at the end, where the model ran out of tokens.
    """
    lines = rest.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if _STATEMENT.match(first):
        return True
    for start in islice(_MORE_CODE.finditer(rest), _MOST):
        behind = rest[start.start() :].split("\n")
        count = next(
            (n for n, line in enumerate(behind) if n and line.strip() and line[0] not in " \t)]}#"), len(behind)
        )
        chunk = "\n".join(behind[:count]) + "\n"
        if error_line(chunk, ast.PyCF_ONLY_AST) is None:
            continue
        is_cut = count == len(behind) and may_be_cut and meaning_of(chunk, problem).kind is Kind.BODY
        if not (is_cut and _is_incomplete(chunk)):
            return True
    return False


def _is_incomplete(code: str) -> bool:
    """Return whether code that is no Python only lacks its end."""
    code = code.rstrip("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return codeop.compile_command(code, symbol="exec") is None
    except SyntaxError as error:
        lines = code.split("\n")
        return error.lineno == len(lines) and (error.offset or 0) > len(lines[-1])
    except (ValueError, OverflowError, RecursionError, MemoryError):
        return False


def _nth_body(problem: Problem, way: int, code: str) -> str:
    return list(continuations(problem, code, Kind.BODY))[way]


def _beginning(text: str, prompt: str = "", join: Callable[[str], str] = str, flags: int = 0) -> tuple[str, str]:
    """Return a text if its program is Python, else its lines before the error's, if these are; and so on; and the rest.

    Args:
        text: code, and prose behind it.
        prompt: what the program begins with.
        join: makes the text follow it, line by line.
        flags: of `error_line`.
    """
    lines, before = text.split("\n"), prompt.count("\n")
    every = list(lines)
    for _ in range(_MOST):
        code = "\n".join(lines) + "\n"
        wrong = error_line(prompt + join(code), flags) if code.strip() else None
        if wrong is None:
            return code, "\n".join(every[len(lines) :])
        at = max(0, min(wrong - 1 - before, len(lines) - 1))
        # A line of code stays, when a token that this tokenizer has stands behind it.
        bare = _without_tokens(lines[at])
        lines = lines[:at]
        if bare.strip() and bare != every[at]:
            code = "\n".join([*lines, bare]) + "\n"
            if error_line(prompt + join(code), flags) is None:
                return code, ""
    return "", ""


def _without_tokens(line: str) -> str:
    for _ in range(_MOST):
        if (token := _TOKENS_BEHIND.search(line, max(0, len(line) - 100))) is None:
            break
        line = line[: token.start()]
    return line
