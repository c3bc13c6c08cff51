"""Blocks of code in an answer: fenced as in CommonMark or nearly so, as models write them, or in CodeLlama's tags."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

# Words in angle brackets that are tokens, and no HTML: of two words or more, with a number, or one of a few; Python can
# read one as two comparisons.
WORD_TOKEN = (
    r"<(?!h[1-6]>)(?:_[^\W\d_]\w{0,30}|[^\W\d_]{1,20}(?:_[^\W\d_]{1,20})+|[^\W\d_]{1,20}(?:_[^\W\d_]{1,20}){0,3}_?\d{1,5}"
    r"|0x[0-9A-F]{2}"
    r"|filename|role|human|user|system|assistant|bot|AI|EOT|PRE|SUF|MID|step|用户|助手|人类)>"
)
_OF_TURNS = (
    r"turn|text|sentence|utterance|message|msg|document|response|role|header|user|human|system|assistant|model|bot|tool"
)
KNOWN_WORD_TOKEN = re.compile(
    rf"<(?:(?:start|begin|end)_(?:of_)?(?:{_OF_TURNS}|image|audio|file)(?:_id)?"
    rf"|(?:im|fim|{_OF_TURNS})_(?:start|begin|end|sep|pad|prefix|middle|suffix)|(?:eo|bo)[a-z]_(?:token|id)"
    r"|file_sep|repo_name|gh_stars|issue_(?:start|comment|closed)|commit_(?:before|msg|after)|empty_output"
    r"|jupyter_(?:start|text|code|output|script)|(?:(?:reserved|special|token|extra|id|unused|dummy|ctrl|sentinel|mask)_?)+\d+"
    r"|_\w+|0x[0-9a-f]{2}|[^\W\d_]+)>",
    re.IGNORECASE,
)
"""Those of `WORD_TOKEN` that are tokens wherever they stand: Gemma's, StarCoder's, numbered ones, single words."""

# Tokens of tokenizers written out, in the forms that they have: ChatML's, DeepSeek's wide bars, Llama's, Gemma's ...
TOKEN = (
    r"(?:<[|｜][^<>|｜\n]{1,40}[|｜]>|\[\|[\w ]{1,40}\|\]|</?s>|<(?:bos|eos|pad|unk|sep|eot|eod)>"
    r"|<\|\w{1,40}>|<\w{1,40}\|>"
    rf"|\[e~\[|\]~!?b[\[\]]|\[/?INST\]|<</?SYS>>|\[unused\d{{1,4}}\]|{WORD_TOKEN})"
)

# What may stand before a fence: block quotes, list items, blanks. One way to match each text, so linear.
_BEFORE = r"^(?P<before>(?:[ \t>]|(?:[-*+]|\d{1,9}[.)])[ \t])*)"
_OPENING = re.compile(
    rf"{_BEFORE}(?:(?P<fence>`{{3,}}(?=[^`\n]*$)|~{{3,}})(?P<info>[^\n]*)(?:\n|\Z)"
    r"|(?P<tag>\[PYTHON\])\n?|^(?P<quotes>'''|\"\"\")(?:python|py)[ \t]*\n)",
    re.M,
)
INNER_OPENING = re.compile(r"^[ \t>]*(?:`{3,}|~{3,})[ \t]*\w[^`\n]*$", re.M)
"""A fence that can only open a block: where one stands within a block, that one was not closed before it."""
# No opening fence in CommonMark, which wants a line of its own; models write one behind a few words.
_LATE_OPENING = re.compile(r"(?<!`)(?P<fence>`{3,})(?P<info>(?:[ \t]*[\w+.-]+)?)[ \t]*\n|(?P<tag>\[PYTHON\])\n?")
# Where code may end that has no closing fence: fences anywhere, tags, end tokens.
_POSSIBLE_END = re.compile(rf"`{{3,}}|^[ \t>]*~{{3,}}|\[/PYTHON\]|{TOKEN}", re.M)
_MOST = 20
"""So many ends of one block, and so many openings, are looked at; an answer is written by a stranger."""
_LONG, _BUDGET = 10_000, 500_000
"""Of longer answers fewer: every end of every opening is a text to parse, so many characters together."""


@dataclass(frozen=True)
class Block:
    """Where a block of code is in an answer; ``answer[start:stop]`` is its text, fences left out."""

    begin: int
    """Where its opening fence's line begins."""
    start: int
    stop: int
    after: int
    """Where the answer goes on, behind the closing fence."""
    before: str
    """What stands before the opening fence in its line."""
    info: str
    """What stands behind the opening fence: mostly the language."""
    is_closed: bool

    def code(self, answer: str, stop: int | None = None) -> str:
        """Return the text up to `stop`, without the quote marks and the indentation that the opening fence has too."""
        text = answer[self.start : self.stop if stop is None else stop]
        if not self.before:
            return text
        quotes = self.before.count(">")
        indentation = len(self.before.rpartition(">")[2])
        strip = re.compile(rf"^(?:[ \t]*>){{0,{quotes}}}[ \t]{{0,{indentation}}}", re.M)
        return strip.sub("", text)

    def readings(self, answer: str) -> Iterator[tuple[int, str]]:
        """Yield the code as CommonMark delimits it; then as it is if a later or earlier mark in the text ends it.

        Each with where it stops in the answer.
        """
        yield self.stop, self.code(answer)
        for end in islice(_POSSIBLE_END.finditer(answer, self.start), _most(answer)):
            if end.start() not in (self.start, self.stop):
                yield end.start(), self.code(answer, end.start())


def blocks(answer: str) -> list[Block]:
    """Return the blocks of an answer in their order, as CommonMark has them.

    An opening fence is three or more backticks or tildes and any text (the info string); its block ends at a line with
    a fence of the same sign at least as long, where end tokens may follow, or with the answer. Lists and block quotes
    are not parsed: a fence may stand behind any number of their marks.
    """
    found: list[Block] = []
    at = 0
    while (opening := _OPENING.search(answer, at)) is not None:
        found.append(_block(answer, opening, opening["before"]))
        at = found[-1].after
    return found


def outside(answer: str, fenced: list[Block]) -> str:
    """Return an answer without its blocks."""
    ends = [0, *(block.after for block in fenced)]
    begins = [*(block.begin for block in fenced), len(answer)]
    return "".join(answer[end:begin] for end, begin in zip(ends, begins, strict=True))


def late_blocks(answer: str) -> list[Block]:
    """Return what may be blocks too: those that begin within a line, or within another block."""
    openings = [(opening, opening["before"]) for opening in islice(_OPENING.finditer(answer), _most(answer))]
    openings += [(opening, "") for opening in islice(_LATE_OPENING.finditer(answer), _most(answer))]
    return [_block(answer, *one) for one in sorted(openings, key=lambda one: one[0].end())]


def _most(answer: str) -> int:
    return _MOST if len(answer) <= _LONG else max(2, min(_MOST, math.isqrt(_BUDGET // len(answer))))


def _block(answer: str, opening: re.Match[str], before: str) -> Block:
    if opening["tag"]:
        closing = re.compile(r"\[/PYTHON\]")
    elif opening.groupdict().get("quotes"):
        closing = re.compile(rf"^{opening['quotes']}[ \t]*$", re.M)
    else:
        sign, length = re.escape(opening["fence"][0]), len(opening["fence"])
        closing = re.compile(rf"^[ \t>]*{sign}{{{length},}}[ \t]*(?=$|{TOKEN})", re.M)
    end = closing.search(answer, opening.end())
    stop, after = (len(answer), len(answer)) if end is None else end.span()
    info = (opening["info"] or "").strip()
    return Block(opening.start(), opening.end(), stop, after, before, info, is_closed=end is not None)
