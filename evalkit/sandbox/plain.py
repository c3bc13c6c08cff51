"""Which samples need no second opinion: program and tests in two processes are then as in one.

Two processes are like one where nothing but plain data crosses and neither side's names are the other's. The first is
seen while the values cross (``Heap.is_plain``); the second is told here, from the texts: tests of the simplest form
(``traceless.py``) that do nothing with the entry but call it, bind no builtin and read no global name that the program
binds, and a program of what is allowed here (:func:`_is_of_allowed`). Whatever is not proved so is run once more, in
one process (``one_process.py``).
"""

from __future__ import annotations

import ast
import builtins
import functools
import itertools
import re
import symtable
from typing import NamedTuple

from .traceless import is_traceless, nodes_of, parsed_test

_WORD = re.compile(r"[^\W\d]\w*")
# Words of a program, those of its strings too, that may reach names, settings of the interpreter or statements beyond
# its own.
_REACHING = frozenset(
    (
        *("globals", "vars", "exec", "builtins", "modules", "gc", "ctypes", "settrace", "setprofile"),
        *("setrecursionlimit", "set_int_max_str_digits", "inspect", "traceback", "_getframe", "f_back", "f_globals"),
        *("__builtins__", "__globals__", "__main__", "__future__"),
    )
)
# Builtins that a plain program may speak of: they reach no name that it does not spell, and ask for no settings. Not
# among them: dir, eval, exec, exit, getattr, globals, id, input, locals, open, setattr, vars, RecursionError ...
_ALLOWED = (
    "abs all any ascii bin bool bytearray bytes callable chr classmethod complex dict divmod enumerate filter float "
    "format frozenset hash hex int isinstance issubclass iter len list map max min next object oct ord pow print "
    "property range repr reversed round set slice sorted staticmethod str sum super tuple type zip "
    "True False None NotImplemented Ellipsis ArithmeticError AssertionError AttributeError Exception IndexError "
    "KeyError LookupError NameError NotImplementedError OverflowError StopIteration TypeError UnicodeDecodeError "
    "UnicodeEncodeError UnicodeError ValueError ZeroDivisionError"
)
_BUILTINS = frozenset(_ALLOWED.split())
# Modules that a plain program may import: they keep no settings that tests of the simplest form could see, start no
# thread, and use no more of the stack than any other code.
_ALLOWED_MODULES = (
    "abc bisect cmath collections collections.abc copy dataclasses datetime decimal enum fractions functools hashlib "
    "heapq itertools math numbers operator random re statistics string textwrap time typing unicodedata"
)
_MODULES = frozenset(_ALLOWED_MODULES.split())
# Attributes of those modules that lead on to other ones or to names given as text.
_ELSEWHERE = "attrgetter methodcaller get_type_hints sys os threading types warnings contextvars"
_LEADING = frozenset(_ELSEWHERE.split())
_NOT_ALLOWED = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
_LOOKED_AT = frozenset((ast.Import, ast.ImportFrom, ast.Global, *_NOT_ALLOWED))
_LOOPS = frozenset((ast.For, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp))
_MANY = 100
"""A number from which on a function that calls itself may come near the recursion limit."""


class PlainTests(NamedTuple):
    """What is known of tests that can be plain."""

    names: frozenset[str]
    """Their global names, but for the entry's."""
    has_many: bool
    """Whether numbers of theirs may lead a function that calls itself near the recursion limit."""


@functools.lru_cache(maxsize=512)
def plain_tests(prompt: str, test: str, entry_point: str) -> PlainTests | None:
    """What is to be known of tests that can be plain; None of others.

    Tests that can be plain are traceless, bind no builtin, call the entry and do nothing else with it, ask for identity
    (``is``) only with None, True and False (other values are not the same object on either side), and call no entry
    while they iterate over what it could change.
    """
    if not is_traceless(prompt, test, entry_point):
        return None
    tree, nodes = parsed_test(test)
    entries = {entry_point}
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == "check":
            entries |= {argument.arg for argument in (*function.args.posonlyargs, *function.args.args)[:1]}
    calling = entries | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    called = {id(node.func) for node in nodes if type(node) is ast.Call}
    for node in nodes:
        kind = type(node)
        if isinstance(node, ast.Name):
            if node.id in entries and id(node) not in called:
                return None
        elif isinstance(node, ast.FunctionDef):
            if node.name == entry_point or hasattr(builtins, node.name):
                return None
        elif isinstance(node, ast.Compare):
            if not _asks_for_values(node):
                return None
        elif kind in _LOOPS and _may_change_what_it_iterates(node, calling):
            return None
    try:
        names, bound = _globals_of(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if any(hasattr(builtins, name) for name in bound):
        return None
    return PlainTests(frozenset(names - {entry_point}), _has_many(nodes))


def _asks_for_values(node: ast.Compare) -> bool:
    if not any(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops):
        return True
    operands = [node.left, *node.comparators]
    for operator, pair in zip(node.ops, itertools.pairwise(operands), strict=True):
        is_single = any(
            isinstance(one, ast.Constant) and (one.value is None or type(one.value) is bool) for one in pair
        )
        if isinstance(operator, ast.Is | ast.IsNot) and not is_single:
            return False
    return True


def _may_change_what_it_iterates(loop: ast.AST, calling: set[str]) -> bool:
    """Whether this loop of tests goes over something else than its own values, and calls the entry: itself
    or by a function of the tests, which are ``calling``."""
    if not any(isinstance(node, ast.Name) and node.id in calling for node in nodes_of(loop)):
        return False
    iterated = [loop.iter] if isinstance(loop, ast.For) else [part.iter for part in getattr(loop, "generators", ())]
    return not all(_is_its_own(value) for value in iterated)


def _is_its_own(value: ast.expr) -> bool:
    """Whether nothing else has hold of a value, which only this expression makes."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        if value.func.id in ("enumerate", "zip", "reversed"):
            return all(map(_is_its_own, value.args))
        return value.func.id in ("range", "list", "tuple", "sorted")
    return isinstance(value, ast.List | ast.Tuple | ast.Set | ast.Dict | ast.Constant | ast.ListComp)


def has_its_own_names(tests: frozenset[str], program: str, entry_point: str, *, many: bool = True) -> bool:
    """Whether a program is of what is allowed and has no name in common with these of the tests but Python's builtins.

    Args:
        tests: global names of the tests, of :func:`plain_tests`.
        entry_point: which the program binds when it is loaded, and not later.
        many: whether numbers of the tests may lead a function that calls itself near the recursion limit.
    """
    if set(_WORD.findall(program)) & _REACHING or program.rstrip().endswith("\\"):  # the tests' first line would be its
        return False
    try:
        tree = ast.parse(program)
        nodes = nodes_of(tree)
        mentioned, bound = _globals_of(program)
        if not _is_of_allowed(nodes, entry_point) or ((many or _has_many(nodes)) and _calls_itself(nodes)):
            return False
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    foreign = {name for name in mentioned - bound if hasattr(builtins, name)} - _BUILTINS
    own = {name for name in tests if not hasattr(builtins, name)}
    return not (foreign or bound & tests or mentioned & own)


def _is_of_allowed(nodes: list[ast.AST], entry_point: str) -> bool:
    """Whether a program imports only what is allowed, reaches no name but by its spelling, binds its entry only once it
    is loaded, and is not async."""
    for node in nodes:
        kind = type(node)
        if kind is ast.Attribute:
            names = {node.attr} if _leads_on(node.attr) else set()  # type: ignore[attr-defined]
        elif kind not in _LOOKED_AT:
            continue
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names} - _MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names if _leads_on(alias.name) or alias.name == "*"}
            if node.level or node.module not in _MODULES:
                return False
        elif isinstance(node, ast.Global):
            names = {entry_point} & set(node.names)
        else:
            return False
        if names:
            return False
    return True


def _leads_on(attribute: str) -> bool:
    if attribute.removeprefix("_") in _LEADING:
        return True
    return attribute.startswith("__") and attribute not in ("__init__", "__name__", "__doc__", "__len__", "__eq__")


def _has_many(nodes: list[ast.AST]) -> bool:
    """Whether a whole number of a text is that high; those that are only compared do not count."""
    compared: set[int] = set()
    for node in nodes:  # a comparison comes before its operands
        kind = type(node)
        if kind is ast.Constant:
            value = node.value  # type: ignore[attr-defined]
            if type(value) is int and value >= _MANY and id(node) not in compared:
                return True
        elif kind is ast.Compare:
            compared.update(map(id, (node.left, *node.comparators)))  # type: ignore[attr-defined]
    return False


def _calls_itself(nodes: list[ast.AST]) -> bool:
    """Whether a function may call itself, by way of others too: told by the names that they speak of."""
    calls: dict[str, set[str]] = {}
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.FunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign) and any(isinstance(part, ast.Lambda) for part in nodes_of(node.value)):
            names = [part.id for target in node.targets for part in nodes_of(target) if isinstance(part, ast.Name)]
        for name in names:
            spoken = calls.setdefault(name, set())
            for part in nodes_of(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
                    spoken.add(part.id)
                elif isinstance(part, ast.Attribute):
                    spoken.add(part.attr)
    for _ in calls:
        for spoken in calls.values():
            spoken.update(*(calls[name] for name in spoken & calls.keys()))
    return any(name in spoken for name, spoken in calls.items())


def _globals_of(text: str) -> tuple[set[str], set[str]]:
    """The global names that a text mentions, and those of them that it binds or deletes."""
    mentioned, bound = set(), set()
    top = symtable.symtable(text, "<text>", "exec")
    todo = [top]
    for table in todo:
        todo += table.get_children()
        for symbol in table.get_symbols():
            if table is top or symbol.is_global():
                mentioned.add(symbol.get_name())
                if symbol.is_assigned() or symbol.is_imported():
                    bound.add(symbol.get_name())
    return mentioned, bound


def is_plain(tests: PlainTests | None, program: str, entry_point: str) -> bool:
    """Whether program and tests, where only plain data crosses, behave as in one process.

    Args:
        tests: of :func:`plain_tests`.
        program: the prompt and the completion.
        entry_point: of the problem.
    """
    return tests is not None and has_its_own_names(tests.names, program, entry_point, many=tests.has_many)
