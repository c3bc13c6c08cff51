"""Which tests leave no trace in the process that runs them, so that it may run the next ones, too.

A fork for each sample costs a third of a check. The tests of HumanEval hardly need it: they compare what the candidate
returns with literals. :func:`is_traceless` proves that of a text by what it consists of, or says no: a list of what is
allowed, in which no module, no attribute, no class and no function of the interpreter can be reached, but a few
builtins that change nothing. What a candidate sends is data, and cannot change that.
"""

from __future__ import annotations

import ast
import functools
from typing import Any

from .entry import entry_of

# They take values and return values. Not among them: open, exec, setattr, vars, globals, type with three arguments ...
_ALLOWED = (
    "abs all any bin bool bytes chr complex dict divmod enumerate filter float frozenset hash hex int isinstance len "
    "list map max min oct ord pow range repr reversed round set sorted str sum tuple zip "
    "True False None Exception AssertionError ValueError TypeError IndexError KeyError ZeroDivisionError"
)
_BUILTINS = frozenset(_ALLOWED.split())
_PLAIN = (
    *(ast.Module, ast.Expr, ast.Pass, ast.Assert, ast.If, ast.For, ast.Return, ast.Assign, ast.AugAssign),
    *(ast.Constant, ast.Name, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Starred, ast.Subscript, ast.Slice),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.keyword, ast.arguments, ast.arg),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.JoinedStr, ast.FormattedValue),
)
_SIGNS = (ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context)
_NODES = frozenset(_PLAIN).union(*(sign.__subclasses__() for sign in _SIGNS))
# Importing these does nothing but bind names; in prompts only.
_HARMLESS = "typing math collections itertools functools re string operator heapq bisect copy datetime"
_IMPORTS = frozenset(_HARMLESS.split())


# Fields that hold no node, or only one of _SIGNS, whatever the node.
_NO_NODES = "ctx op ops id attr arg asname module level kind type_comment"
_WITHOUT_NODES = frozenset(_NO_NODES.split())


class _Fields(dict[type[ast.AST], tuple[str, ...]]):
    """By class, the names of its fields in which nodes can be."""

    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        names = () if kind is ast.Constant else tuple(name for name in kind._fields if name not in _WITHOUT_NODES)
        self[kind] = names
        return names


_FIELDS = _Fields()


def nodes_of(tree: ast.AST) -> list[ast.AST]:
    """A tree's nodes, as ``ast.walk`` gives them, but for signs and contexts, in a fifth of its time."""
    nodes = [tree]
    for node in nodes:
        for name in _FIELDS[type(node)]:
            value = getattr(node, name, None)
            if type(value) is list:
                nodes += [part for part in value if isinstance(part, ast.AST)]
            elif isinstance(value, ast.AST):
                nodes.append(value)
    return nodes


Kinds = dict[type[ast.AST], list[Any]]


def by_kind(nodes: list[ast.AST]) -> Kinds:
    """Nodes by their class, in order."""
    kinds: Kinds = {}
    for node in nodes:
        kind = type(node)
        if kind in kinds:
            kinds[kind].append(node)
        else:
            kinds[kind] = [node]
    return kinds


@functools.lru_cache(maxsize=1)
def parsed_test(test: str) -> tuple[ast.Module, Kinds]:
    """The tree of a problem's tests and its nodes by their class, neither to be changed.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as ``ast.parse``.
    """
    tree = ast.parse(test)
    return tree, by_kind(nodes_of(tree))


def _is_traceless_test(test: str, entry_point: str) -> bool:
    tree, kinds = parsed_test(test)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if not kinds.keys() <= _NODES | {ast.FunctionDef} or len(kinds.get(ast.FunctionDef, ())) > len(functions):
        return False
    names = kinds.get(ast.Name, ())
    known = {entry_point, "check"}
    known.update(node.id for node in names if type(node.ctx) is ast.Store)
    if not entry_of(entry_point).is_the_programs(known - {entry_point} | {function.name for function in functions}):
        return False  # it would be run with the tests
    for function in functions:
        if function.decorator_list or function.returns or function.args.defaults or function.args.kw_defaults:
            return False
        known |= {argument.arg for argument in nodes_of(function.args) if isinstance(argument, ast.arg)}
    if known & _BUILTINS or any(argument.startswith("__") for argument in known):
        return False
    if not {node.id for node in names} <= known | _BUILTINS:
        return False
    if any(argument.annotation is not None for argument in kinds.get(ast.arg, ())):
        return False
    targets = [target for node in kinds.get(ast.Assign, ()) for target in node.targets]
    targets += [node.target for node in kinds.get(ast.AugAssign, ())]
    return not any(isinstance(part, ast.Subscript) for target in targets for part in nodes_of(target))


def _is_annotation(tree: ast.AST | None) -> bool:
    allowed = (ast.Name, ast.Subscript, ast.Tuple, ast.List, ast.Constant, ast.BinOp, ast.BitOr, ast.expr_context)
    return tree is None or all(isinstance(node, allowed) for node in nodes_of(tree))


def _is_traceless_prompt(tree: ast.Module) -> bool:
    """Whether running the prompt only imports and defines; the tests above call nothing of it but the entry, which is
    the candidate's."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            if not {name.name for name in node.names} <= _IMPORTS:
                return False
        elif isinstance(node, ast.ImportFrom):
            if node.module not in _IMPORTS or node.level:
                return False
        elif isinstance(node, ast.FunctionDef):
            arguments = [argument for argument in nodes_of(node.args) if isinstance(argument, ast.arg)]
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            if node.decorator_list or not all(isinstance(value, ast.Constant | None) for value in defaults):
                return False
            if not all(map(_is_annotation, [node.returns, *(argument.annotation for argument in arguments)])):
                return False
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return False
    return True


def _parsed_prompt(prompt: str) -> ast.Module:
    """With a body for the function that it ends in; one that is whole, or empty, as it is."""
    try:
        return ast.parse(prompt.rstrip() + "\n    pass\n")
    except SyntaxError:
        return ast.parse(prompt)


@functools.lru_cache(maxsize=512)
def is_traceless(prompt: str, test: str, entry_point: str) -> bool:
    """Whether these texts, run as the tests of a candidate, change nothing in the interpreter that runs them.

    Args:
        prompt: ends in the entry's docstring, so it is looked at with a body for it.
    """
    try:
        return _is_traceless_test(test, entry_point) and _is_traceless_prompt(_parsed_prompt(prompt))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
