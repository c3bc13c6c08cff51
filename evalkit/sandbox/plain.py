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
from collections.abc import Iterator

from .settings import names_in
from .traceless import is_traceless

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
_MANY = 100
"""A number from which on a function that calls itself may come near the recursion limit."""


@functools.lru_cache(maxsize=512)
def names_of_tests(prompt: str, test: str, entry_point: str) -> frozenset[str] | None:
    """The global names of tests that can be plain, but for the entry's; None of others.

    Tests that can be plain are traceless, bind no builtin, call the entry and do nothing else with it, ask for identity
    (``is``) only with None, True and False (other values are not the same object on either side), and call no entry
    while they iterate over what it could change.
    """
    if not is_traceless(prompt, test, entry_point):
        return None
    tree = ast.parse(test)
    entries = {entry_point}
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == "check":
            entries |= {argument.arg for argument in (*function.args.posonlyargs, *function.args.args)[:1]}
    calling = entries | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in entries and id(node) not in called:
            return None
        if isinstance(node, ast.FunctionDef) and node.name == entry_point:
            return None
        if isinstance(node, ast.Compare) and not _asks_for_values(node):
            return None
        if _may_change_what_it_iterates(node, calling):
            return None
        if isinstance(node, ast.FunctionDef) and hasattr(builtins, node.name):
            return None
    top = symtable.symtable(test, "<tests>", "exec")
    if any(symbol.is_assigned() and hasattr(builtins, symbol.get_name()) for symbol in top.get_symbols()):
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


def _may_change_what_it_iterates(loop: ast.AST, calling: set[str]) -> bool:
    """Whether this is a loop of tests that goes over something else than its own values, and calls the entry: itself
    or by a function of the tests, which are ``calling``."""
    if not isinstance(loop, ast.For | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return False
    if not any(isinstance(node, ast.Name) and node.id in calling for node in ast.walk(loop)):
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
        tests: global names of the tests, of :func:`names_of_tests`.
        entry_point: which the program binds when it is loaded, and not later.
        many: whether numbers of the tests may lead a function that calls itself near the recursion limit.
    """
    if set(_WORD.findall(program)) & _REACHING or program.rstrip().endswith("\\"):  # the tests' first line would be its
        return False
    try:
        tree = ast.parse(program)
        mentioned, bound = _globals_of(program)
        if not _is_of_allowed(tree, entry_point) or ((many or _has_many(tree)) and _calls_itself(tree)):
            return False
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    foreign = {name for name in mentioned - bound if hasattr(builtins, name)} - _BUILTINS
    own = {name for name in tests if not hasattr(builtins, name)}
    return not (foreign or bound & tests or mentioned & own)


def _is_of_allowed(tree: ast.Module, entry_point: str) -> bool:
    """Whether a program imports only what is allowed, reaches no name but by its spelling, binds its entry only once it
    is loaded, and is not async."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names} - _MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names if _leads_on(alias.name) or alias.name == "*"}
            if node.level or node.module not in _MODULES:
                return False
        elif isinstance(node, ast.Attribute):
            names = {node.attr} if _leads_on(node.attr) else set()
        elif isinstance(node, ast.Global):
            names = {entry_point} & set(node.names)
        else:
            names = set()
        if names or isinstance(node, _NOT_ALLOWED):
            return False
    return True


def _leads_on(attribute: str) -> bool:
    if attribute.removeprefix("_") in _LEADING:
        return True
    return attribute.startswith("__") and attribute not in ("__init__", "__name__", "__doc__", "__len__", "__eq__")


def _numbers(tree: ast.AST) -> Iterator[int]:
    """Whole numbers of a text, but for those that are only compared."""
    compared: set[int] = set()
    for node in ast.walk(tree):  # a comparison comes before its operands
        if isinstance(node, ast.Compare):
            compared.update(map(id, (node.left, *node.comparators)))
        elif isinstance(node, ast.Constant) and type(node.value) is int and id(node) not in compared:
            yield node.value


def _has_many(tree: ast.AST) -> bool:
    return any(number >= _MANY for number in _numbers(tree))


@functools.lru_cache(maxsize=512)
def _have_many(test: str) -> bool:
    return _has_many(ast.parse(test))


def _calls_itself(tree: ast.Module) -> bool:
    """Whether a function may call itself, by way of others too: told by the names that they speak of."""
    calls: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.FunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign) and any(isinstance(part, ast.Lambda) for part in ast.walk(node.value)):
            names = [part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        for name in names:
            spoken = calls.setdefault(name, set())
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
                    spoken.add(part.id)
                elif isinstance(part, ast.Attribute):
                    spoken.add(part.attr)
    for _ in calls:
        for spoken in calls.values():
            spoken.update(*(calls[name] for name in spoken & calls.keys()))
    return any(name in spoken for name, spoken in calls.items())


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
    return tests is not None and has_its_own_names(tests, program, entry_point, many=_have_many(test))
