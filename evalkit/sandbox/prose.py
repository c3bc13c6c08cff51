"""Whether a line is prose: a closed list of what it may look like, and whatever else is code, or meant to be."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import warnings

# Words that Python gives a meaning at the beginning of a statement, and those that Python 2 or a later one gave it.
_KEYWORDS = frozenset(keyword.kwlist) - {"None", "True", "False"} | {"print", "exec", "match", "case"}
# Those of them that few sentences begin with.
_STATEMENTS = frozenset(
    (
        *("return", "import", "def", "else", "elif", "class", "assert", "raise", "del", "global", "nonlocal"),
        *("print", "exec", "yield", "lambda"),
    )
)
_UNSEEN = "\u200b\u200c\u200d\u2060\ufeff"  # zero width: what stands behind tells
_MARK = re.compile(
    r"(?:[=\-*_~#]{3,}|`.*|[$!?\\|<>].*|&\w+;.*|\*\*[^\W\d].*|__[^\W\d].* .*"
    r"|\[/?g?[A-Z_ ]+\].*|\d{1,3}[.)] .*|\(?[a-z]\) .*)"
)
_LABEL = re.compile(r"(?:[-*+•>] |#+ |[*_(\"'“‘])+")
_ONE_WORD = re.compile(r"[A-Z][\w'’-]*(?: ?[.!:?,;…]+| [\d.]+[.:]?)")
_FIRST_WORD = re.compile(r"[A-Z][\w'’-]*[,.:;!?]?[*_]* +[*_\"'`“(]*(?:[^\W_]|<[/|])")
_QUOTE = re.compile(r"(?<![^\W\d_])['\"]")
_ARGUMENT = re.compile(r"[(=\[,{] *[rbfuRBFU]{0,2}['\"]")
_PLAIN = re.compile(r"[*_\"'`“(]*(?P<word>[A-Za-z]+(?:['’-][A-Za-z]+)*)[*_\"'`”)]*(?P<end>[,.:;!?…]*)")


def is_prose(line: str) -> bool:
    """Return whether a line that is no Python, with whatever stands before it, is prose.

    It is a mark of Markdown or LaTeX, a numbered item, one capital word with its stop; or it begins with what begins no
    token of Python; or it is a sentence: a capital word and another, or two pairs of neighbouring words, no keywords.
    A line that a keyword begins is a sentence by its pairs alone; `return`, `Import`, `def` ... begin none.
    """
    text = line.lstrip(_UNSEEN).strip()
    if not text:
        return True
    if text[0] > "\x7f" and (not text[0].isidentifier() or re.match(r"\w+\s*[=(\[.]", text) is None):
        return True
    is_indented = line[0] in " \t"
    if not is_indented and _MARK.fullmatch(text):
        return True
    bare = text[label.end() :] if (label := _LABEL.match(text)) else text
    first = re.match(r"\w*", bare)
    begins = first[0] if first is not None else ""
    # Words in a string are no sentence's.
    words = (_QUOTE if begins in _KEYWORDS else _ARGUMENT).split(bare, maxsplit=1)[0].split()
    pairs = _pairs(words)
    if begins.lower() in _STATEMENTS:
        return False
    if begins in _KEYWORDS:
        return pairs > 1 or re.match(r"for (?:example|instance)\b|finally, \w", bare) is not None
    if pairs > 1 or (pairs and len(words) > 2 and not re.search(r"[=({\[\])}@+*/%<>]", bare)):
        return True
    if not is_indented and label is not None and len(words) > 1 and pairs:
        return True
    if is_indented and "return" in words:
        return False
    if _ONE_WORD.fullmatch(bare):
        return True
    return _FIRST_WORD.match(bare) is not None and not re.search(r"(?<![=!<>])=(?!=)", bare)


def is_misspelt_code(chunk: str) -> bool:
    """Return whether a line, and the indented ones below, are a statement but for a keyword's capital.

    ``While True:`` over a block, ``Try:``, ``From m import f``; not ``If so: yes``, ``With this:``, ``For example:``.

    Args:
        chunk: begins at the margin, and looks like prose.
    """
    word = re.match(r"[A-Z]\w*", chunk)
    if word is None or word[0].lower() not in _KEYWORDS:
        return False
    head, _, below = chunk.partition("\n")
    head = word[0].lower() + head[word.end() :]
    is_block = head.rstrip().endswith(":") and bool(below.strip())
    if is_block and re.fullmatch(r"(?:try|finally|except\b[^:]*)\s*:\s*", head):
        return True
    text = f"{head}\n    pass" if is_block else head
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if is_block and is_prose(below.lstrip("\n").partition("\n")[0]):
        return False
    if is_block:
        return re.fullmatch(r"(?:with|if|while) \w+\s*:\s*", head) is None or head.split()[1] in ("True:", "1:")
    return not isinstance(tree.body[0], ast.Expr) and (
        " import " in head or re.search(r"[=(\[<>+*/%]", head) is not None
    )


def _pairs(words: list[str]) -> int:
    """Count the neighbouring words of two letters or more that are no keywords."""
    found, before = 0, False
    for word in words:
        plain = _PLAIN.fullmatch(word)
        is_word = plain is not None and len(plain["word"]) > 1 and plain["word"] not in _KEYWORDS
        found += before and is_word
        before = is_word
    return found


def is_idle(line: str, known: frozenset[str]) -> bool:
    """Return whether a line at the margin that is Python is words: an expression or a declaration of no known name.

    Python would end with a NameError there: ``Time: O(n)``, ``Q.E.D``, ``Thanks, bye``.

    Args:
        line: a line of its own.
        known: the names that the program binds.
    """
    if line[:1] in (" ", "\t"):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(line).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    values: list[ast.expr] = []
    for one in body:
        if isinstance(one, ast.AnnAssign) and one.value is None:
            values += [one.annotation]
        elif isinstance(one, ast.Expr):
            values += [one.value]
        else:
            return False
    names = {node.id for value in values for node in ast.walk(value) if isinstance(node, ast.Name)}
    return bool(names) and not any(name in known or hasattr(builtins, name) for name in names)


def bound_names(*trees: ast.AST | None) -> frozenset[str]:
    """Return the names that programs bind: by an assignment, a definition, an import, a parameter."""
    found: set[str] = set()
    for node in (node for tree in trees if tree is not None for node in ast.walk(tree)):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found.add(node.name)
    return frozenset(found)
