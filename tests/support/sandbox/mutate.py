"""Mutated solutions: small changes of the kind that a model gets wrong."""

from __future__ import annotations

import ast
import copy
import random

_COMPARISONS = [ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq]
_OPERATORS = [ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod]


def _change(node: ast.AST, rng: random.Random) -> bool:
    """Change one node in place; whether anything was done."""
    if isinstance(node, ast.Compare):
        node.ops[0] = rng.choice(_COMPARISONS)()
    elif isinstance(node, ast.BinOp):
        node.op = rng.choice(_OPERATORS)()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.Not() if isinstance(node.op, ast.USub) else ast.USub()
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        node.value += rng.choice([-1, 1, 2])
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        node.value = not node.value
    elif isinstance(node, ast.Constant) and type(node.value) is str and node.value:
        node.value = node.value[:-1]
    elif isinstance(node, ast.If):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Return):
        node.value = rng.choice([None, ast.List([node.value or ast.Constant(None)], ast.Load()), ast.Constant(0)])
    elif isinstance(node, ast.Call) and len(node.args) > 1:
        node.args.pop()
    else:
        return False
    return True


def mutants(prompt: str, solution: str, entry_point: str, count: int, seed: int) -> list[str]:
    """Return ``count`` completions, each the solution with one to three changes inside the entry function.

    They are given as code that goes after the prompt: a second definition of the entry function, which wins.
    """
    rng = random.Random(seed)
    tree = ast.parse(prompt + solution)
    entry = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry_point)
    found: list[str] = []
    while len(found) < count:
        changed = copy.deepcopy(entry)
        changed.body = [node for node in changed.body if not isinstance(node, ast.Expr)] or changed.body
        nodes = [node for statement in changed.body for node in ast.walk(statement)]
        done = sum(_change(rng.choice(nodes), rng) for _ in range(rng.randint(1, 3)))
        if done or rng.random() < 0.02:
            found.append("    pass\n\n\n" + ast.unparse(ast.fix_missing_locations(changed)) + "\n")
    return found
