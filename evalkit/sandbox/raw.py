"""Code in a text without fences: where it begins, and where it ends and prose or broken code begins."""

from __future__ import annotations

import ast
import codeop
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice

from evalkit.sandbox.continuation import KEPT, continuations, error_line, is_code, is_python, joined, returns
from evalkit.sandbox.definitions import EntryNames, How, Kind, meaning_of, parsed
from evalkit.sandbox.prose import bound_names, is_idle, is_misspelt_code, is_prose
from evalkit.sandbox.verdict import Problem

# Lines that code without a fence may begin with.
CODE_LINE = re.compile(
    r"^(?:(?:async )?def |from \w|import \w|@\w.*(?:\n+@\w.*)*|class |\w+(?: *:[^=\n]+)? *=[^=])", re.MULTILINE
)
_INDENTED_DEFINITION = re.compile(r"^(?P<indentation>[ \t]+)(?:async )?(?:def \w+ *\(|class \w+ *[:(])", re.MULTILINE)
_INDENTED_LINE = re.compile(r"^[ \t]+\S", re.MULTILINE)
# Tokens at the end that are Python, as an index or a comparison.
_PADDING = re.compile(r"(?:\[(?P<name>PAD|EOS|BOS|UNK|SEP|CLS|MASK)\]|<\w{1,20}>(?:model|assistant)?)\s*\Z")
_TOKENS_BEHIND = re.compile(r"(?:<[^<>\n]{1,40}>|\[[^\[\]\n]{1,40}\])[ \t]*\Z")
MOST = 20
"""So many beginnings of code are tried, and so many ends of each."""
_MOST_WORDS = 200
"""So many lines of words are left out before code, and as many behind it."""
NEAR = 3
"""So many definitions of what is asked for are tried behind those: from where their code begins, and their line."""
BUDGET = 500_000
"""So many characters are parsed before what is left are these alone."""
_FEW, _LONG = 5, 10_000
"""Fewer ends of a longer text: each is a text to parse, and the first error of Python's nearly always the right one."""

_STATEMENT = re.compile(r"(?:return|yield)\b|[ \t]+(?!def |class |from |import |async |@)(?:\w+ *[^\w\s'\"]|[a-z]+ )")
DEFINITION = re.compile(r"^(?:@\w.*\n){0,20}(?:(?:async )?def|class)\b", re.MULTILINE)
_OPENED = re.compile(r"```[ \w]*\s*\Z")
_BEHIND_HEAD = re.compile(r"\)[^:#]*:[ \t]*([^#]*)")
_RETURN = re.compile(r"^[ \t]*(?:return|yield)\b", re.MULTILINE)

BROKEN = "the first attempt at what was asked for is no Python"
SEVERAL = "the answer has several versions of what was asked for, and they differ; the first was taken"
WORDS = "words beside the code, on which Python would fail, were left out"
CUT = "what was cut at the end of the answer, behind its code, was left out"


@dataclass(frozen=True)
class Version:
    """One version of what is asked for, in an answer."""

    how: How
    completion: str
    code: str
    """As the answer has it."""
    remark: str = ""
    """`BROKEN`, `CUT`, `SEVERAL`, `WORDS`, or no text."""
    begin: int = 0
    """Where the code of its block begins in the answer."""


@lru_cache(maxsize=KEPT)
def without_words(problem: Problem, code: str) -> str:
    """Return code without the words at its margin, at its head and its end, and without padding tokens.

    Such a line is Python, and does nothing but fail, since its words are no names.
    """
    for _ in range(MOST):
        padding = _PADDING.search(code, max(0, len(code) - 60))
        if padding is None or (padding["name"] and re.search(rf"(?<!\[)\b{padding['name']}\b", problem.prompt + code)):
            break
        code = code[: padding.start()]
    lines = code.split("\n")
    if not any(line and line[0] not in " \t" for line in lines):
        return code
    known = _known(problem, code)
    first, last = 0, len(lines)
    while first < min(last, _MOST_WORDS) and (not lines[first].strip() or is_idle(lines[first], known)):
        first += 1
    least = max(first, len(lines) - _MOST_WORDS)
    while last > least and (not lines[last - 1].strip() or is_idle(lines[last - 1], known)):
        if last - 1 > first and lines[last - 2].endswith("\\"):
            break
        last -= 1
    if not any(line.strip() for line in lines[:first] + lines[last:]):
        return code
    return "\n".join(lines[first:last]) + "\n"


def words_in(problem: Problem, code: str) -> str:
    """Return `WORDS` if `without_words` leaves lines of code out, and not tokens alone; no text elsewhere."""
    left = without_words(problem, code).strip().split("\n")
    return WORDS if len(left) < len(code.strip().split("\n")) else ""


def _known(problem: Problem, code: str) -> frozenset[str]:
    """Return the names that a prompt and code behind it bind; of code that is no Python, all its words that may be."""
    prompt = parsed(problem.prompt) or parsed(f"{problem.prompt}\n    pass")
    tree = parsed(textwrap.dedent(code)) or parsed(f"{problem.prompt}{code}")
    if tree is None:
        bound = re.findall(r"^[ \t]*(?:(\w[\w, ]*)=(?!=)|(?:def|class|import|for) (\w+))", code, re.MULTILINE)
        return bound_names(prompt) | {word for pair in bound for one in pair for word in re.findall(r"\w+", one)}
    if re.search(r"^[ \t]+return\b", code, re.MULTILINE):  # the margin is not the function's
        return bound_names(*(child for one in (prompt, tree) if one is not None for child in _outside(one)))
    return bound_names(prompt, tree)


def _outside(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the statements of a module, its functions without what is in them."""
    for one in tree.body:
        yield ast.alias(one.name) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else one


def is_outline(code: str) -> bool:
    """Return whether code only shows a signature: without its colon and anything behind, or with ``(...)`` for it."""
    text = textwrap.dedent(code).rstrip()
    if re.search(r"^(?:async )?def \w+ *\( *(?:\.\.\.|…) *\)", text, re.MULTILINE) is not None:
        return True
    tree = parsed(f"{text}: pass")
    return tree is not None and bool(tree.body) and isinstance(tree.body[-1], ast.FunctionDef | ast.AsyncFunctionDef)


def definitions(problem: Problem, text: str) -> Iterator[Version]:
    """Yield what a text defines of what is asked for, as far as the first real definition, or the first broken code.

    Broken code is what a definition or an import at the margin begins, and is no Python; the first attempt is then it.
    """
    for before, start in _starts(problem, text):
        taken, rest = _up_to_cut(*_beginning(start, flags=ast.PyCF_ONLY_AST), partial(_defines, problem))
        code = without_words(problem, taken)
        meaning = meaning_of(code, problem)
        completion = joined(problem, code, meaning.kind) if meaning.kind is not Kind.BODY else None
        is_refused = completion is None and meaning.how is How.BY_DEFINITION  # a `return` beside it, say
        is_open = completion is None or meaning.how is How.AS_STUB
        if is_refused or (is_open and _begins_with_broken_definition(start)):
            kind = meaning.kind if is_refused else meaning_of(_chunk(start), problem).kind
            yield Version(How.BY_DEFINITION, refused(problem, start, kind), start, BROKEN)
            return  # the answer's first attempt; what it says below is another one
        if completion is None:
            continue
        remark = behind(rest) if meaning.how is How.BY_DEFINITION else ""
        if remark == BROKEN:
            completion = refused(problem, start, meaning.kind)
        yield Version(meaning.how, completion, code, remark or _left_out(problem, before, taken, rest))
        if meaning.how is How.BY_DEFINITION:
            return


def refused(problem: Problem, code: str, kind: Kind) -> str:
    """Return code that Python refuses, as a completion that it refuses: not indented so that it is another program."""
    every = [next(continuations(problem, code, one)) for one in (kind, Kind.WHOLE, Kind.BODY)]
    return next((one for one in every if not is_python(problem, one)), every[0])


def _chunk(text: str) -> str:
    """Return the statement that a text begins with: up to the next line at the margin, no Python perhaps."""
    lines = text.split("\n")
    end = next((n for n, line in enumerate(lines) if n and line.strip() and line[0] not in " \t)]}#"), len(lines))
    return "\n".join(lines[:end]) + "\n"


def _begins_with_broken_definition(text: str) -> bool:
    """Tell whether a text begins with a definition that is no Python, and no signature or pseudo-code alone."""
    if re.match(r"(?:async )?def \w+ *\((?! *\.\.\. *\))|class \w+ *[:(]", text) is None:
        return False
    chunk = _chunk(text)
    head, *below = chunk.split("\n")
    code = [line for line in (*_BEHIND_HEAD.findall(head), *below) if line.strip() and not is_prose(line)]
    return bool(code) and error_line(chunk, ast.PyCF_ONLY_AST) is not None


def naming(problem: Problem) -> re.Pattern[str]:
    """Return what finds the lines at the margin that define one of the entry point's names."""
    entry = EntryNames.of(problem)
    names = "|".join(map(re.escape, sorted(entry.names | entry.methods))) or "(?!)"
    return re.compile(rf"^(?:(?:async )?(?:def|class) +(?:{names})\b|(?:{names})\b *(?::[^=\n]+)?=[^=])", re.MULTILINE)


def _starts(problem: Problem, text: str) -> Iterator[tuple[str, str]]:
    """Yield what stands before each line that code may begin with, and the text from there on.

    Of too many lines, the first ones; and those of what is asked for.
    """
    indented = _INDENTED_DEFINITION.search(text)
    first = CODE_LINE.search(text)
    if indented is not None and (first is None or indented.start() < first.start()):
        # Code that is indented as a whole, as in Markdown without fences.
        lines = text[indented.start() :].split("\n")
        width = indented["indentation"]
        count = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith(width)), len(lines))
        yield text[: indented.start()], "\n".join([line.removeprefix(width) for line in lines[:count]] + lines[count:])
    every = [start.start() for start in islice(CODE_LINE.finditer(text), MOST + 1)]
    few = max(NEAR, min(MOST, BUDGET // (_FEW * len(text) + 1)))
    if len(every) > few:
        near = (at for line in islice(naming(problem).finditer(text), NEAR) for at in _run(text, line.start()))
        every = list(dict.fromkeys((*every[:few], *near)))
    for at in every:
        yield text[:at], text[at:]


def _run(text: str, at: int) -> tuple[int, int]:
    """Return where the code begins that a line at the margin stands in, without prose between; and where the line does.

    Decorators are its own.
    """
    begin = line = at
    is_decorated = True
    while begin:
        start = text.rfind("\n", 0, begin - 1) + 1
        before = text[start : begin - 1]
        if before.strip() and before[0] not in " \t)]}#@" and is_prose(before):
            break
        is_decorated = is_decorated and (not before.strip() or before[0] == "@")
        begin = start
        line = begin if is_decorated and before.strip() else line
    first = CODE_LINE.search(text, begin)
    return (begin if first is None else first.start()), line


def body(problem: Problem, text: str, *, at_head: bool = False) -> Version | None:
    """Return a text, or its lines from the first indented one on, as a body; without the prose behind it.

    Args:
        problem: what is asked for.
        text: of an answer, without its blocks.
        at_head: only what begins with the text's first line, returns, or is meant to.
    """
    indented = _INDENTED_LINE.search(text)
    for start in (0,) if at_head else dict.fromkeys((0, indented.start() if indented else 0)):
        code = text[start:].lstrip("\n")
        if meaning_of(code, problem).how is How.BY_DEFINITION and code[:1] not in (" ", "\t"):
            continue  # the whole function; a `return` beside it makes no body of it
        ways = len(list(continuations(problem, code, Kind.BODY)))
        found = [_beginning(code, problem.prompt, partial(_nth_body, problem, way)) for way in range(ways)]
        way = max(range(ways), key=lambda way: len(found[way][0]))
        every, rest = _up_to_cut(*found[way], lambda one: _RETURN.search(one) is not None)
        taken = without_words(problem, every)
        if is_code(taken):
            remark = behind(rest)
            taken = code if remark == BROKEN else taken
            completion = refused(problem, code, Kind.BODY) if remark == BROKEN else _nth_body(problem, way, taken)
            is_body = meaning_of(every, problem).kind is Kind.BODY
            is_broken = remark == BROKEN and is_body and _RETURN.search(code) is not None
            if not at_head or is_broken or returns(problem, completion):
                return Version(How.NOT, completion, taken, remark or _left_out(problem, text[:start], every, rest))
        elif _STATEMENT.match(code) and not is_prose(code.split("\n")[0]) and _returns(code):
            return Version(How.NOT, refused(problem, code, Kind.BODY), code, BROKEN)
    return None


def _returns(code: str) -> bool:
    """Return whether a line of code that is no Python returns something, as far as a line tells."""
    return any(not is_prose(line) for line in code.split("\n") if _RETURN.match(line))


def _left_out(problem: Problem, before: str, taken: str, rest: str) -> str:
    """Return what is to be said of what stands beside code that no fence delimits: no text where that is nothing."""
    code = without_words(problem, taken).strip()
    again = code not in rest and (_defines(problem, rest) or (_returns(rest) and not DEFINITION.search(rest)))
    if again:
        return SEVERAL
    before = "" if _OPENED.search(before) else before  # a fence behind words, and the words
    beside = (line for text in (before, rest) for line in text.split("\n"))
    is_said = any(line.strip() and line.lstrip()[0] != "#" and _without_tokens(line).strip() for line in beside)
    return WORDS if is_said else words_in(problem, taken)


def behind(rest: str) -> str:
    """Return what is to be said of the lines behind code, from its first error on: nothing where they are prose.

    An indented line is the function's own.
    `CUT` where they are the beginning of another definition, or of a last statement, that the length limit cut;
    `BROKEN` where they are neither: Python would not run them.
    """
    lines = [line for line in rest.split("\n") if line.strip()]
    lines = lines[next((n for n, line in enumerate(lines) if line.lstrip()[0] != "#"), len(lines)) :]
    if not lines:
        return ""
    if lines[0][0] not in " \t" and is_prose(lines[0]):
        return BROKEN if is_misspelt_code(_chunk(rest[rest.index(lines[0]) :])) else ""
    first = re.search(r"^[^\s#].*", rest, re.MULTILINE)
    if first is None or first[0].split("\n")[0] != lines[0].split("\n")[0]:
        return BROKEN
    chunk = _chunk(rest[first.start() :])
    is_last = rest[first.start() :].rstrip("\n") == chunk.rstrip("\n")
    is_definition = re.match(r"(?:async )?def\b|class\b|@\w", chunk) is not None
    if is_last and (is_definition or not rest.endswith("\n")) and _is_incomplete(chunk):
        return CUT
    return BROKEN


def _defines(problem: Problem, code: str) -> bool:
    return meaning_of(code, problem).how is How.BY_DEFINITION


def _up_to_cut(code: str, rest: str, is_enough: Callable[[str], bool]) -> tuple[str, str]:
    """Return code, and the rest, parted before the definition that the rest is in, where the length limit cut that.

    The lines of it that are Python were the code's: a function of a docstring alone, say.
    """
    if rest[:1] not in (" ", "\t"):
        return code, rest
    last = [found.start() for found in DEFINITION.finditer(code)][-1:]
    if not last or not code[: last[0]].strip():
        return code, rest
    parted = code[: last[0]], code[last[0] :] + rest
    return parted if behind(parted[1]) == CUT and is_enough(parted[0]) else (code, rest)


def without_end(problem: Problem, code: str) -> Version | None:
    """Return code that defines what is asked for, without the prose at its end, or what the length limit cut there."""
    taken, rest = _up_to_cut(*_beginning(code, flags=ast.PyCF_ONLY_AST), partial(_defines, problem))
    meaning = meaning_of(taken, problem)
    completion = joined(problem, taken, meaning.kind)
    if meaning.how is not How.BY_DEFINITION or completion is None or (remark := behind(rest)) == BROKEN:
        return None
    return Version(meaning.how, completion, taken, remark or _left_out(problem, "", taken, rest))


class _Parser(codeop.CommandCompiler):
    """Tells whether a text is complete without making byte code, which can be exponentially longer than the text."""

    def __init__(self) -> None:
        self.compiler = _parse  # type: ignore[assignment]


def _parse(source: str, filename: str, symbol: str, incomplete_input: bool = True) -> ast.AST:
    flags: int = ast.PyCF_ONLY_AST | getattr(codeop, "PyCF_DONT_IMPLY_DEDENT", 0)
    flags |= getattr(codeop, "PyCF_ALLOW_INCOMPLETE_INPUT", 0) if incomplete_input else 0
    parsed: ast.AST = compile(source, filename, symbol, flags, dont_inherit=True)
    return parsed


_PARSER = _Parser()


def _is_incomplete(code: str) -> bool:
    """Return whether code that is no Python only lacks its end."""
    code = code.rstrip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _PARSER(code, symbol="exec") is None
    except SyntaxError as error:
        lines = code.split("\n")
        is_open = (error.msg or "").startswith(("unterminated string", "unterminated f-string", "'{' was never closed"))
        return error.lineno == len(lines) and (is_open or (error.offset or 0) > len(lines[-1]))
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
    for _ in range(max(_FEW, min(MOST, MOST * _LONG // (len(text) + 1)))):
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
        last = len(lines)
        while last and lines[last - 1].lstrip()[:1] in ("", "@"):
            last -= 1
            if lines[last].strip():
                lines = lines[:last]  # a decorator of nothing
    return "", ""


def _without_tokens(line: str) -> str:
    for _ in range(MOST):
        if (token := _TOKENS_BEHIND.search(line, max(0, len(line) - 100))) is None:
            break
        line = line[: token.start()]
    return line
