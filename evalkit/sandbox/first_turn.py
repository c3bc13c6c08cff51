"""The part of a text that is a model's answer: without its thought, and without the turns behind it."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from itertools import islice

from evalkit.sandbox.fences import INNER_OPENING, KNOWN_WORD_TOKEN, TOKEN, WORD_TOKEN, Block, blocks
from evalkit.sandbox.thoughts import UNSEEN, Unclear, answer_begun, opens_a_thought, unknown_mark, without_thought

END_TOKEN = re.compile(TOKEN)
"""A token that ends a turn, or begins one, written out by the harness that took the answer down."""

_ROLES = r"(?:user|human|system|assistant|model|tool|developer|function|observation|ipython|prompter)"
_OURS = r"(?:assistant|model|final|chatbot)\b"
_OURS_ENDS = ("assistant", "model", "final", "chatbot")
_COMMON = re.compile(
    r"s|bos|eos|pad|unk|sep|eo[tmd]|im|middle|inst|sys|start|begin|beginning|end|of|text|sentence|turn|token|header|id|role|response|answer"
    r"|assistant|model|ai|bot|chatbot|output|final|box|solution|reserved|special|sot|fim|pre|suf|mid|filename|python|code"
    r"|(?:start|end)of(?:text|turn)"
)
"""What the tokens of turns are made of."""
_LEADING = re.compile(rf"\A[\s>{UNSEEN}]*(?P<token>{TOKEN})(?:{_OURS})?\n?", re.IGNORECASE)
# Another's turn in plain text, at the margin: a speaker and a colon, a heading, a round's number, a role alone.
_ANOTHER = "Human|HUMAN|User|USER|Instruction|INSTRUCTION"
_SPEAKER = (
    rf"^(?:\*\*|__|@@ ?|#{{2,4}} |\[)?(?:GPT4 Correct )?(?:{_ANOTHER}|Q|问|用户|人类)\]?(?:\*\*|__)?[ \t]*[:\uff1a]"
    rf"|^(?:@@|#{{2,4}}) (?:{_ANOTHER})[ \t]*$|^\[Round \d+\]|^(?:user|human|system|assistant)[ \t]*$"
)
_RESTATED = re.compile(r"\W*(?:Q|\u95ee|Instruction|INSTRUCTION)")  # a question, at the head
_MARK = re.compile(rf"{TOKEN}|(?P<speaker>{_SPEAKER})", re.MULTILINE)
_WORD_TOKEN = re.compile(WORD_TOKEN)
_OPENS_A_TURN = re.compile(
    rf"(?:<[|｜]?[^<>\n]*{_ROLES}(?![a-z])[^<>\n]*>|{TOKEN}\s*(?:{TOKEN}\s*)*{_ROLES}\b)", re.IGNORECASE
)
_OF_ANOTHER = re.compile(r"\s*(?:user|human|system|tool|developer|function|observation|ipython)\b", re.IGNORECASE)
_ANOTHERS_TOKEN = re.compile(r"user|human|system|prompter|tool|\[INST\]|<<SYS", re.IGNORECASE)
_CODE = re.compile(r"^[ \t>]*(?:```|~~~|\[PYTHON\]|def |class |return\b)", re.MULTILINE)
_REFUSAL = re.compile(
    r"\b(?:cannot|can not|can['’]t|won['’]t|will not|unable|sorry|apologi[sz]e|not able)\b|无法|不能|抱歉|对不起",
    re.IGNORECASE,
)
_DEFINED = re.compile(r"^(?:async )?def \w", re.MULTILINE)
_LONGEST_LINE = 400
_MOST = 200
"""So many tokens are looked at; the one behind them ends the answer."""


def first_turn(text: str, prompt: str = "") -> str | Unclear:
    """Return a model's answer: what it thought before is left out, and so is what follows the end of its turn.

    A token ends the turn wherever it stands, but for those that the answer only speaks of: in a string of code that is
    Python, in quotes or backticks within a line, or between the words of a line, where it opens no turn. A line that
    another's turn begins with in plain text ends it too, but at the head, where a role alone is a title, and `Q:` the
    question restated.

    Args:
        text: what the model wrote.
        prompt: its names in angle brackets are comparisons.

    Returns:
        Why it is not understood, where a thought was begun, and never ended, or a mark before its code is not known.
    """
    if (begin := answer_begun(text)) is not None:
        answer = _without_head(text[begin:])
    else:
        answer = _without_head(text)
        if isinstance(answer, str):
            behind = without_thought(answer)
            is_thought = behind != answer
            answer = behind if isinstance(behind, Unclear) else _without_head(behind)
            if is_thought and isinstance(answer, str) and not answer.strip():
                return Unclear("", is_thought=True)
    if isinstance(answer, Unclear):
        return answer
    end = _end(answer, prompt)
    turn = answer if end is None else answer[:end]
    return unknown_mark(turn) or turn


def _without_head(text: str) -> str | Unclear:
    """Leave out the tokens that a text begins with; nothing is left where another's turn begins."""
    for _ in range(_MOST):
        leading = None if opens_a_thought(text) else _LEADING.match(text)
        if leading is None or _is_tag(leading["token"]):
            return text
        rest = text[leading.end() :]
        is_anothers = not leading[0].endswith("\n") and _OF_ANOTHER.match(rest)
        if is_anothers or _ANOTHERS_TOKEN.search(leading[0]):
            return ""
        is_ours = leading[0].rstrip().lower().endswith(_OURS_ENDS) or _is_common(leading[0]) or "]~" in leading[0]
        if not is_ours and not re.match(r"[ \t]+[a-z]", rest):  # no sentence on it
            return Unclear(leading[0].strip()[:40], is_thought=False)
        text = rest
    return text


def _is_common(token: str) -> bool:
    return all(map(_COMMON.fullmatch, re.findall(r"[^\W\d_]+", token.lower())))


def _end(text: str, prompt: str) -> int | None:
    """Return where the turn ends; None where it does not."""
    found = blocks(text)
    only, refusal = _only_code(text, found), _REFUSAL.search(text)
    refused = len(text) if refusal is None else refusal.start()
    held = iter(found)
    block = next(held, None)
    quoted: dict[int, tuple[int, bool]] = {}  # up to where each block is Python or an example, and which
    for mark in islice(_MARK.finditer(text), _MOST):
        while block is not None and block.after <= mark.start():
            block = next(held, None)
        if block is not None and block.start <= mark.start():
            if block.start not in quoted:
                quoted[block.start] = _held(block, text)
            stop, is_python = quoted[block.start]
            if mark.start() < stop and not (is_python and _ends_within(text, mark)):
                continue
        if mark["speaker"] is not None:
            is_first = not text[: mark.start()].strip()
            is_title = is_first and (mark["speaker"].strip().islower() or _RESTATED.match(mark["speaker"]))
            leads_to_the_code = mark.start() < min(only, refused)
            if not is_title and not leads_to_the_code:
                return mark.start()
        elif _is_tag(mark[0]) and not _ends_behind_code(text, mark):
            continue
        elif not _is_named(text, mark) and not _is_comparison(text, mark, prompt):
            return mark.start()
    late = next(islice(_MARK.finditer(text), _MOST, None), None)
    return None if late is None else late.start()


def _is_tag(token: str) -> bool:
    """Return whether words in angle brackets are no token that is known: a tag, or a place to be filled."""
    return _WORD_TOKEN.fullmatch(token) is not None and KNOWN_WORD_TOKEN.fullmatch(token) is None


def _ends_behind_code(text: str, tag: re.Match[str]) -> bool:
    """Return whether words in angle brackets end the turn: alone in their line behind code, and nothing closes them."""
    is_alone = re.compile(rf"^{re.escape(tag[0])}[ \t]*$", re.MULTILINE).match(text, tag.start()) is not None
    return is_alone and f"</{tag[0][1:]}" not in text[tag.end() :] and _CODE.search(text, 0, tag.start()) is not None


def _only_code(text: str, found: list[Block]) -> int:
    """Return where the only code of a text begins, its one block or function; 0 where there are several, or none."""
    first = _CODE.search(text)
    is_alone = len(found) == 1 if found else len(list(islice(_DEFINED.finditer(text), 2))) == 1
    return first.start() if first is not None and is_alone else 0


def _ends_within(text: str, mark: re.Match[str]) -> bool:
    """Return whether a token in a block that is Python with it ends the turn all the same: a string was left open.

    It opens another's turn, or it stands alone at the margin.
    """
    if mark["speaker"] is not None or _WORD_TOKEN.fullmatch(mark[0]) or _is_named(text, mark):
        return False
    if _OPENS_A_TURN.match(text, mark.start()) or _ANOTHERS_TOKEN.search(mark[0]):
        return True
    return re.compile(rf"^(?:{TOKEN})+[ \t]*$", re.MULTILINE).match(text, mark.start()) is not None


def _is_comparison(text: str, token: re.Match[str], prompt: str) -> bool:
    """Return whether a word in angle brackets is a name: its line is Python, and it stands elsewhere without them."""
    if _WORD_TOKEN.fullmatch(token[0]) is None:
        return False
    stop = text.find("\n", token.end())
    line = text[text.rfind("\n", 0, token.start()) + 1 : len(text) if stop < 0 else stop].strip()
    if not any(map(_is_python, (line, f"{line} pass"))):
        return False
    return re.search(rf"(?<![<\w]){re.escape(token[0][1:-1])}(?![>\w])", prompt + text) is not None


def _held(block: Block, text: str) -> tuple[int, bool]:
    """Return up to where tokens in a block are its own, and whether it is Python there, or closed and no code."""
    token = _MARK.search(text, block.start)
    for stop, code in block.readings(text):
        if token is not None and stop > token.start() and _is_python(code):
            return stop, True
    code = block.code(text)
    is_example = (
        block.is_closed and not INNER_OPENING.search(code) and not re.search(r"^\s*(?:def|return)\b", code, re.M)
    )
    return (block.stop if is_example and not _OPENS_A_TURN.search(code) else block.start), False


def _is_python(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(textwrap.dedent(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _is_named(text: str, token: re.Match[str]) -> bool:
    """Return whether a line only speaks of a token."""
    at, after = token.span()
    before = text[max(text.rfind("\n", 0, at) + 1, at - _LONGEST_LINE) : at]
    behind = text[after : after + _LONGEST_LINE].partition("\n")[0]
    if before.count("`") % 2 and "`" in behind:
        return True
    if any(start < len(before) < stop for start, stop in _strings(before + token[0] + behind)):
        return True
    is_html = (token[0] == "<s>" and "</s>" in behind) or (token[0] == "</s>" and "<s>" in before)
    if is_html or (before[-1:] == "*" and behind[:1] == "*"):
        return True
    if token[0] == "[INST]" and (not before.strip() or "[/INST]" in text[after:]):
        return False
    if _OPENS_A_TURN.match(text, at) or not re.match(r"[ \t]*[.,;:!?)]|[ \t]+\S", behind):
        return False
    if END_TOKEN.match(behind.lstrip()) or re.match(rf"\s*{_ROLES}\b", behind, re.IGNORECASE):
        return False
    is_apart = not before.strip() or before[-1] in " \t("
    return is_apart and (not before.strip() or "#" in before or not _has_statement(before))


def _strings(line: str) -> Iterator[tuple[int, int]]:
    """Yield where a line has strings; an apostrophe within a word begins none."""
    for found in re.finditer(
        r"(?<![^\W\d])[rbfuRBFU]{0,2}(?P<quote>['\"])(?:\\.|(?!(?P=quote))[^\\])*(?P=quote)", line
    ):
        yield found.span()


def _has_statement(line: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(not isinstance(one, ast.Expr) or not isinstance(one.value, ast.Name | ast.Constant) for one in tree.body)
