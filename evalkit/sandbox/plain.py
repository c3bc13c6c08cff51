"""Which samples need no second opinion: program and tests in two processes are then as in one.

Two processes are like one where nothing but plain data crosses and neither side's names are the other's. The first is
seen while the values cross (``Heap.is_plain``); the second is told here, from the texts: tests of the simplest form
(``traceless.py``) that do nothing with the entry but call it, read no global name that the program binds, and bind none
that it mentions. Whatever is not proved so is run once more, in one process (``one_process.py``).
"""

from __future__ import annotations

import ast
import builtins
import functools
import itertools
import re
import symtable

from .settings import names_in
from .traceless import is_traceless

_WORD = re.compile(r"[^\W\d]\w*")
# Words of a program that may reach names, settings of the interpreter or statements beyond its own.
_REACHING = frozenset(
    (
        *("globals", "vars", "exec", "builtins", "modules", "gc", "ctypes", "settrace", "setprofile"),
        *("setrecursionlimit", "set_int_max_str_digits", "inspect", "traceback", "_getframe", "f_back", "f_globals"),
        *("__builtins__", "__globals__", "__main__", "__future__"),
    )
)


@functools.lru_cache(maxsize=512)
def names_of_tests(prompt: str, test: str, entry_point: str) -> frozenset[str] | None:
    """The global names of tests that can be plain, but for the entry's; None of others.

    Tests that can be plain are traceless, call the entry and do nothing else with it, and ask for identity (``is``)
    only with None, True and False: other values are not the same object on either side.
    """
    if not is_traceless(prompt, test, entry_point):
        return None
    tree = ast.parse(test)
    entries = {entry_point}
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == "check":
            entries |= {argument.arg for argument in (*function.args.posonlyargs, *function.args.args)[:1]}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in entries and id(node) not in called:
            return None
        if isinstance(node, ast.FunctionDef) and node.name == entry_point:
            return None
        if isinstance(node, ast.Compare) and not _asks_for_values(node):
            return None
    # No attributes, no imports: all of these are global names.
    return names_in(compile(test, "<tests>", "exec", dont_inherit=True)) - {entry_point}


def _asks_for_values(node: ast.Compare) -> bool:
    operands = [node.left, *node.comparators]
    for operator, pair in zip(node.ops, itertools.pairwise(operands), strict=True):
        is_single = any(
            isinstance(one, ast.Constant) and (one.value is None or type(one.value) is bool) for one in pair
        )
        if isinstance(operator, ast.Is | ast.IsNot) and not is_single:
            return False
    return True


def has_its_own_names(tests: frozenset[str], program: str) -> bool:
    """Whether a program and these global names of tests have nothing in common but builtins that are Python's."""
    words = set(_WORD.findall(program))
    if words & _REACHING or program.rstrip().endswith("\\"):  # the tests' first line would belong to it
        return False
    if not words & tests and program.isascii():  # other letters may be another spelling of a name
        return True
    try:
        mentioned, bound = _globals_of(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    own = {name for name in tests if not hasattr(builtins, name)}
    return not (bound & tests or mentioned & own)


def _globals_of(program: str) -> tuple[set[str], set[str]]:
    """The global names that a program mentions, and those of them that it binds or deletes."""
    mentioned, bound = set(), set()
    top = symtable.symtable(program, "<candidate>", "exec")
    todo = [top]
    for table in todo:
        todo += table.get_children()
        for symbol in table.get_symbols():
            if table is top or symbol.is_global():
                mentioned.add(symbol.get_name())
                if symbol.is_assigned() or symbol.is_imported():
                    bound.add(symbol.get_name())
    return mentioned, bound


def is_plain(prompt: str, test: str, entry_point: str, program: str) -> bool:
    """Whether program and tests, where only plain data crosses, behave as in one process.

    Args:
        prompt, test, entry_point: of the problem.
        program: the prompt and the completion.
    """
    tests = names_of_tests(prompt, test, entry_point)
    return tests is not None and has_its_own_names(tests, program)
