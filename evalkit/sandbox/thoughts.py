"""What a model thought aloud before its answer: a pair of marks at the head of the text, and what is between them."""

from __future__ import annotations

import re

_WORD = r"think|thought|reason|scratch|inner|reflect|monologue|internal|analysis|planning"
_NAME = rf"(?P<name>(?!think_o(?:n|ff)\b)(?:\w{{1,20}}:)?[a-z_]{{0,20}}?(?:{_WORD})\w{{0,20}})"
_LONGEST_HEAD = 4_000
_MOST = 20

# Each opening mark, and the closing one; `{name}` is the name that the opening one has.
_PAIRS = [
    (re.compile(opening, re.IGNORECASE), closing)
    for opening, closing in (
        (rf"<{_NAME} ?>", r"</{name} ?>"),
        (rf"&lt;{_NAME}&gt;", r"&lt;/{name}&gt;"),
        (r"\[(?P<name>THINK|THINKING|THOUGHT)\]", r"\[/{name}\]"),
        (rf"◁{_NAME}▷", r"◁/{name}▷"),
        (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
        (rf"<[|｜](?:start|begin)[_▁](?:of[_▁])?{_NAME}[|｜]>", r"<[|｜]end[_▁](?:of[_▁])?{name}[|｜]>"),
        (rf"<\|{_NAME}\|>", r"<\|/{name}\|>"),
        (r"<\|cot_start\|>", r"<\|cot_end\|>"),
        (r"\[unused16\]", r"\[unused17\]"),
        (r"<\|im_start\|>think\b", r"<\|im_start\|>answer\b"),
        (r"<\|channel>thought\b", r"<channel\|>"),
        (r"<unused94>thought\b", r"<unused95>"),
        (r"<details [^<>\n]*\btype=.reasoning.[^<>\n]*>", r"</details>"),
        (r"Here(?: is|'s|’s) my thought process:", r"Here(?: is|'s|’s) my response:"),
    )
]
_CLOSED_ALONE = re.compile(rf"</{_NAME} ?>", re.IGNORECASE)  # opened by the chat template
# Ends of thoughts that have no opening of their own, or one that the chat template or the tokenizer left out.
_ENDED = re.compile(
    r"\[unused17\]|<\|im_start\|>answer\b|assistantfinal|^\.\.\.done thinking\.|^<think_off>", re.MULTILINE
)
_CODE = re.compile(r"^[ \t>]*(?:```|~~~|\[PYTHON\]|def |class |return\b)", re.MULTILINE)


def opens_a_thought(text: str) -> bool:
    """Return whether a text begins with the opening mark of a thought."""
    return _opening(text.lstrip(), at_head=True) is not None


def without_thought(text: str) -> str | None:
    """Return a text behind its thought; None where that was opened, and never closed: there is no answer.

    The opening mark stands at the head, or behind prose without code; the chat template may have written it.
    """
    found = False
    for _ in range(_MOST):
        opening = _opening(text, at_head=found)
        if opening is None:
            break
        mark, closing = opening
        pattern = closing.format(name=re.escape(mark.groupdict().get("name") or ""))
        end = re.compile(pattern, re.IGNORECASE).search(text, mark.end())
        if end is None:
            return None
        text, found = text[end.end() :], True
    ended = _ENDED.search(text)
    if ended is not None and not (found and _CODE.search(text, 0, ended.start())):
        text, found = text[ended.end() :], True
    alone = _CLOSED_ALONE.search(text)
    if alone is None or (found and _CODE.search(text, 0, alone.start())):
        return text
    opened = re.search(rf"<{re.escape(alone['name'])} ?>", text[: alone.start()], re.IGNORECASE)
    return text if opened else text[alone.end() :]


def _opening(text: str, *, at_head: bool) -> tuple[re.Match[str], str] | None:
    """Return the first opening mark that no code stands before, and the pattern of the one that closes it."""
    begin = len(text) - len(text.lstrip())
    for pattern, closing in _PAIRS:
        mark = pattern.match(text, begin)
        if mark is None and not at_head and pattern.pattern.startswith("<(?P<name>"):
            mark = re.compile(rf"^{pattern.pattern}", re.IGNORECASE | re.MULTILINE).search(text, begin, _LONGEST_HEAD)
            if mark is not None and _CODE.search(text, 0, mark.start()):
                mark = None
        if mark is not None:
            return mark, closing
    return None
