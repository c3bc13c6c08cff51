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

from .traceless import Kinds, by_kind, is_traceless, nodes_of, parsed_test

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
# Nodes that bind what they name: a definition, a handler, a pattern, a type (Python 3.12).
_BINDING = "FunctionDef ClassDef ExceptHandler MatchAs MatchStar TypeVar TypeVarTuple ParamSpec"
_NAMED = tuple(getattr(ast, name) for name in _BINDING.split() if hasattr(ast, name))
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_LOOPS = (ast.For, *_COMPREHENSIONS)
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
    tree, kinds = parsed_test(test)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    entries = {entry_point}
    for function in functions:
        if function.name == "check":
            entries |= {argument.arg for argument in (*function.args.posonlyargs, *function.args.args)[:1]}
        if function.name == entry_point or hasattr(builtins, function.name):
            return None
    calling = entries | {function.name for function in functions}
    called = {id(node.func) for node in kinds.get(ast.Call, ())}
    if any(node.id in entries and id(node) not in called for node in kinds.get(ast.Name, ())):
        return None
    if not all(map(_asks_for_values, kinds.get(ast.Compare, ()))):
        return None
    loops = (loop for kind in _LOOPS for loop in kinds.get(kind, ()))
    if any(_may_change_what_it_iterates(loop, calling) for loop in loops):
        return None
    try:
        names, bound = _globals_of_tests(tree, functions, kinds) or _globals_of(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if any(hasattr(builtins, name) for name in bound):
        return None
    return PlainTests(frozenset(names - {entry_point}), _has_many(kinds))


def _asks_for_values(node: ast.Compare) -> bool:
    if not any(type(operator) in (ast.Is, ast.IsNot) for operator in node.ops):
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
    if not _REACHING.isdisjoint(_WORD.findall(program)) or program.rstrip().endswith("\\"):
        return False  # the tests' first line would be its own
    try:
        nodes = nodes_of(ast.parse(program))
        kinds = by_kind(nodes)
        if not _is_of_allowed(kinds, entry_point) or ((many or _has_many(kinds)) and _calls_itself(nodes)):
            return False
        own = {name for name in tests if not hasattr(builtins, name)}
        mentioned, bound = _names_of(kinds)
        if not any(name.startswith("__") for name in mentioned):  # else a class may make another name of it
            foreign = {name for name in mentioned if hasattr(builtins, name)} - _BUILTINS
            if not (foreign or bound & tests or mentioned & own):
                return True  # whatever of it is local
        mentioned, bound = _globals_of(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    foreign = {name for name in mentioned - bound if hasattr(builtins, name)} - _BUILTINS
    return not (foreign or bound & tests or mentioned & own)


def _is_of_allowed(kinds: Kinds, entry_point: str) -> bool:
    """Whether a program imports only what is allowed, reaches no name but by its spelling, binds its entry only once it
    is loaded, and is not async."""
    if any(kind in kinds for kind in _NOT_ALLOWED):
        return False
    if any(_leads_on(node.attr) for node in kinds.get(ast.Attribute, ())):
        return False
    if any({alias.name for alias in node.names} - _MODULES for node in kinds.get(ast.Import, ())):
        return False
    for node in kinds.get(ast.ImportFrom, ()):
        if node.level or node.module not in _MODULES:
            return False
        if any(_leads_on(alias.name) or alias.name == "*" for alias in node.names):
            return False
    return not any(entry_point in node.names for node in kinds.get(ast.Global, ()))


def _names_of(kinds: Kinds) -> tuple[set[str], set[str]]:
    """Names that a text mentions, those of functions' arguments aside, and those of them that it binds or deletes,
    wherever: all of :func:`_globals_of`, and local ones, in a tenth of its time."""
    bound = {alias.asname or alias.name.partition(".")[0] for alias in kinds.get(ast.alias, ())}
    for kind in _NAMED:
        bound.update(node.name for node in kinds.get(kind, ()) if node.name is not None)
    bound.update(node.rest for node in kinds.get(ast.MatchMapping, ()) if node.rest is not None)
    for kind in (ast.Global, ast.Nonlocal):
        for node in kinds.get(kind, ()):
            bound.update(node.names)
    loaded: set[str] = set()
    for node in kinds.get(ast.Name, ()):
        (loaded if type(node.ctx) is ast.Load else bound).add(node.id)
    return loaded | bound, bound


def _leads_on(attribute: str) -> bool:
    if attribute.removeprefix("_") in _LEADING:
        return True
    return attribute.startswith("__") and attribute not in ("__init__", "__name__", "__doc__", "__len__", "__eq__")


def _has_many(kinds: Kinds) -> bool:
    """Whether a whole number of a text is that high; those that are only compared do not count."""
    high = [node for node in kinds.get(ast.Constant, ()) if type(node.value) is int and node.value >= _MANY]
    if not high:
        return False
    compared = {id(part) for node in kinds.get(ast.Compare, ()) for part in (node.left, *node.comparators)}
    return not all(id(node) in compared for node in high)


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


def _globals_of_tests(
    tree: ast.Module, functions: list[ast.FunctionDef], kinds: Kinds
) -> tuple[set[str], set[str]] | None:
    """:func:`_globals_of` of the usual traceless tests, in a tenth of its time; None where it has to tell."""
    if len(functions) != 1 or any(kind in kinds for kind in _COMPREHENSIONS):
        return None
    above = [node for part in tree.body if part is not functions[0] for node in nodes_of(part)]
    top = [node for node in above if isinstance(node, ast.Name)]
    at_top = set(map(id, top))
    below = [node for node in kinds.get(ast.Name, ()) if id(node) not in at_top]
    local = {node.arg for node in kinds.get(ast.arg, ())}
    local.update(node.id for node in below if type(node.ctx) is not ast.Load)
    bound = {functions[0].name, *(node.id for node in top if type(node.ctx) is not ast.Load)}
    return bound | {node.id for node in top} | {node.id for node in below} - local, bound


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
