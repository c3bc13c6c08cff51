"""Code made a continuation of a problem's prompt: a whole program, a method of the prompt's class, or a body."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache

from evalkit.sandbox.definitions import (
    DEFINITIONS,
    LONGEST,
    EntryNames,
    Kind,
    function_of,
    leaves,
    open_scopes,
    parsed,
    statements_of,
    stub_in,
)
from evalkit.sandbox.verdict import Problem

KEPT = 64
"""Of so many texts it is remembered what they are; one answer's pieces are looked at again and again."""
_FINALLY = re.compile(r"^[ \t\f]*finally\b", re.MULTILINE)
_MOST_FINALLY = 5
_FUTURE = re.compile(r"^from __future__ import .*$", re.M)


def is_python(problem: Problem, completion: str) -> bool:
    """Return whether the prompt with this completion is Python; nothing is run."""
    return error_line(problem.prompt + completion) is None


@lru_cache(maxsize=KEPT)
def error_line(program: str, flags: int = 0) -> int | None:
    """Return the line of a program's syntax error, from 1; None where there is none, or that is not known.

    It is not known of a program that is too long, or nested too deep for this process: the verdict tells.

    Args:
        program: source text.
        flags: of `compile`; ``ast.PyCF_ONLY_AST`` allows a body without its function.
    """
    if len(program) > LONGEST:
        return None
    added: list[int] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program's own escapes
            # Compiled, not only parsed: a body without its indentation parses, but for its `return`.
            if not flags and len(_FINALLY.findall(program)) > _MOST_FINALLY:
                program, added = _without_finally(program)
            compile(program, "completion", "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        line = error.lineno or 1
        return line - sum(one < line for one in added)
    except (RecursionError, MemoryError):
        return None
    except ValueError:
        return 1
    return None


def _without_finally(program: str) -> tuple[str, list[int]]:
    """Return a program whose ``finally`` blocks stand behind their statements, and the numbers of its added lines.

    CPython compiles such a block twice, and nested ones exponentially often. What is an error in one is one there, too.
    Made of the text, since a tree is compiled by recursion under this process's limit.
    """
    lines = re.split(r"\r\n?|\n", program)
    for node in ast.walk(ast.parse(program)):
        if not (final := getattr(node, "finalbody", None)):
            continue
        number = next(n for n in range(final[0].lineno - 1, -1, -1) if _FINALLY.match(lines[n]))
        indentation = lines[number].partition("finally")[0]
        handled = "" if getattr(node, "handlers", None) else f"{indentation}except: 0\n"
        lines[number] = f"{handled}{indentation}if 1{lines[number].partition('finally')[2]}"
    before, added = 0, []
    for number, line in enumerate(lines, 1):
        if "\n" in line:
            before += 1
            added.append(number + before - 1)
    return "\n".join(lines), added


def is_code(text: str) -> bool:
    """Return whether a text that is a body is more than words and values: ``Sure`` and ``[1, 2]`` are Python too."""
    tree = parsed(textwrap.dedent(text).strip() + "\n")
    return bool(text.strip()) if tree is None else any(map(_acts, tree.body))


def does_something(code: str, problem: Problem) -> bool:
    """Return whether code, as a body, changes anything, and is no example of how to use what is asked for."""
    tree = parsed(textwrap.dedent(code).strip() + "\n")
    if tree is None:
        return True  # not known
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    idle = (ast.Import, ast.ImportFrom, ast.Pass, ast.Assert)
    return not names & EntryNames.of(problem).names and any(
        _acts(one) and not isinstance(one, idle) for one in tree.body
    )


def _acts(statement: ast.stmt) -> bool:
    acting = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)
    return not isinstance(statement, ast.Expr) or isinstance(statement.value, acting)


def returns(problem: Problem, completion: str) -> bool:
    """Return whether what the prompt began, with this body, returns, yields or raises anything itself."""
    tree = parsed(problem.prompt + completion)
    if tree is None:
        return True  # not known
    body: Sequence[ast.stmt] = tree.body
    for scope in open_scopes(problem.prompt):
        begun = (one for one in body if isinstance(one, DEFINITIONS) and one.name == scope.node.name)
        body = next(begun, ast.ClassDef("", [], [], [], [])).body
    return any(leaves(statement) or isinstance(statement, ast.Raise) for statement in statements_of(body))


def filled_stub(problem: Problem, stub: str, body: str) -> str | None:
    """Return a stub that an answer gave, with the body that it gave apart; None where the prompt's stub is as good."""
    stub = textwrap.dedent(stub).rstrip() + "\n"
    tree = parsed(stub) or stub_in(stub)
    entry = EntryNames.of(problem)
    function = None if tree is None else function_of(tree, entry.names | entry.methods)
    scopes = open_scopes(problem.prompt)
    if function is None or any(isinstance(scope.node, ast.ClassDef) for scope in scopes):
        return None
    begun = scopes[-1].node if scopes else None
    if isinstance(begun, DEFINITIONS[:2]) and _flat(begun.args) == _flat(function.args):
        return None
    lines = stub.split("\n")
    if isinstance(function.body[-1], ast.Raise | ast.Pass) and function.body[-1].lineno <= len(lines):
        lines = [*lines[: function.body[-1].lineno - 1], ""]
    head = next(continuations(problem, "\n".join(lines), Kind.WHOLE))
    of_stub = problem._replace(prompt=problem.prompt + head)
    return next((head + one for one in continuations(of_stub, body, Kind.BODY) if is_python(of_stub, one)), None)


def _flat(tree: ast.AST) -> list[object]:
    """Return what a tree is made of, to be compared with another's; `ast.dump` is a recursion."""
    return [
        (type(node), [one for _, one in ast.iter_fields(node) if not isinstance(one, ast.AST | list)])
        for node in ast.walk(tree)
    ]


def continuations(problem: Problem, code: str, kind: Kind) -> Iterator[str]:
    """Yield what code may be as a completion, the likeliest first."""
    scopes = open_scopes(problem.prompt)
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


def joined(problem: Problem, code: str, kind: Kind) -> str | None:
    """Return code as a completion; None where no way to join it to the prompt gives Python."""
    return next((one for one in continuations(problem, code, kind) if is_python(problem, one)), None)


def _for_methods(code: str) -> str:
    """Return what methods find in the module, not in their class: imports, constants, functions without `self`."""
    tree = parsed(code)
    kept = [] if tree is None else [node for node in tree.body if not _is_method(node)]
    return "\n".join(filter(None, (ast.get_source_segment(code, node) for node in kept))) + "\n" if kept else ""


def _is_method(node: ast.stmt) -> bool:
    if not isinstance(node, DEFINITIONS[:2]):
        return False
    arguments = [*node.args.posonlyargs, *node.args.args]
    return bool(node.decorator_list) or (bool(arguments) and arguments[0].arg in ("self", "cls"))


def _indented(code: str, indentation: str) -> str:
    """Put blanks before the lines of code, but for those within a string."""
    tree = parsed(code)
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
