"""Settings that tests make in their interpreter, and that the program, in another, does not have.

Which of them a sample may rest on is told by names: of what the tests use, and of what the program's text speaks of.
"""

from __future__ import annotations

import functools
from types import CodeType

# What the verdict calls it -> (names that tests set it by, words of programs and failures that rest on it).
SETTINGS = {
    "a random seed": (frozenset(("seed",)), ("random",)),
    "the decimal context": (frozenset(("getcontext", "setcontext", "localcontext")), ("ecimal",)),
    "the recursion limit": (frozenset(("setrecursionlimit",)), ("RecursionError", "recursionlimit")),
    "numpy's settings": (frozenset(("seterr", "errstate", "set_printoptions", "printoptions")), ("numpy",)),
    "filters of warnings": (frozenset(("simplefilter", "filterwarnings", "catch_warnings")), ("warn", "numpy")),
    "the environment": (frozenset(("environ", "putenv")), ("environ", "getenv")),
    "the locale": (frozenset(("setlocale",)), ("locale",)),
    "captured output": (frozenset(("redirect_stdout", "redirect_stderr")), ("print", "stdout", "stderr")),
}


_SETTING = frozenset().union(*(names for names, _ in SETTINGS.values()))


@functools.lru_cache(maxsize=512)
def names_in(code: CodeType) -> frozenset[str]:
    """Names of globals, attributes and modules that a code object and those in it use."""
    names, todo = set(code.co_names), [code]
    while todo:
        for constant in todo.pop().co_consts:
            if isinstance(constant, CodeType):
                names.update(constant.co_names)
                todo.append(constant)
    return frozenset(names)


def settings_of(tests: CodeType, text: str) -> list[str]:
    """Keys of :data:`SETTINGS` that these tests use and this text, of a program and how it failed, speaks of."""
    used = names_in(tests)
    if used.isdisjoint(_SETTING):
        return []
    return [
        f"{what} that the tests set"
        for what, (names, words) in SETTINGS.items()
        if names & used and any(word in text for word in words)
    ]
