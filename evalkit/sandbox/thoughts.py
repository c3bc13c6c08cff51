"""What a model thought aloud before its answer: a pair of marks at the head of the text, and what is between them.

The marks are those of chat templates, as they are or as decoding without special tokens leaves them.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

_WORD = (
    r"think|thought|reason|scratch|inner|reflect|monologue|internal|analysis|planning|思考"
    r"|(?<![a-z])(?:cot|plan)(?![a-z])"
)
_INNER = rf"(?=[^<>\s]{{0,40}}?(?:{_WORD}))[|｜/]{{0,2}}[\w:▁][\w:|｜▁/-]{{0,60}} ?"
_ATTRIBUTES = r"(?:[ \t]+[\w:-]{1,30}=(?:\"[^\"<>\n]{0,60}\"|'[^'<>\n]{0,60}'|[\w.-]{1,40})){0,4}[ \t]*"
_SQUARE = r"/?(?:BEGIN_|START_|END_)?(?:THINK|THINKING|THOUGHTS?|REASONING)(?:_START|_END)?"
_NAMED = (
    rf"\*{{0,2}}(?:<(?P<a>{_INNER}){_ATTRIBUTES}\\?>|&lt;(?P<b>{_INNER})&gt;|◁(?P<c>{_INNER})▷|«(?P<d>{_INNER})»|\[(?P<e>{_SQUARE})\])"
    rf"\*{{0,2}}"
)
_MARK = re.compile(_NAMED, re.IGNORECASE)
# What may stand before an opening mark in its line. Behind more than block quotes and emphasis (marks of lists and
# headings, an opening quotation mark, a speaker's label) a mark has to speak of thinking by one of its usual names.
UNSEEN = "\0\b\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe0f\ufeff"  # ranges of a class in a pattern
_BARE = rf"[ \t>*_~{UNSEEN}]*"
_DRESSED = (
    rf"(?:[ \t>*_~{UNSEEN}\"'`“‘+•·|\u2190-\u25c0\u25c2-\u2bff\U0001f300-\U0001faff\\-]|\#{{2,6}}[ \t]"
    r"|\(?(?:\d{1,3}|[a-z])[.)][ \t]|&gt;|<(?:p|div|b|em|strong|blockquote|li)>)*"
)
_LABEL = r"(?:\[?(?:assistant|model|ai|bot|gpt)\b\]?[*_]*[:\uff1a]?|[^\W\d][\w .-]{0,30}[*_]{0,2}[:\uff1a])"
_BEFORE = rf"{_DRESSED}(?:{_LABEL}{_DRESSED})?"
_AT_MARGIN = re.compile(rf"^(?:{_BARE}|(?P<dress>{_BEFORE})){_NAMED}", re.IGNORECASE | re.MULTILINE)
_HEAD = re.compile(rf"[\s{UNSEEN}]*(?:{_BEFORE}[\s{UNSEEN}]*{_DRESSED})?", re.IGNORECASE)
_BARE_HEAD = re.compile(rf"[\s>{UNSEEN}]*")
_IS_BARE = re.compile(rf"[\s>*_~{UNSEEN}]*")
_USUAL = re.compile("think|thought|reasoning")
# Behind the end of a sentence in its line, and of its own: nothing that is said of it follows.
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”*_)]*[ \t]*\Z")
_SAID_OF_IT = re.compile(r"[ \t]+[^\s]")
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}
_CLOSES = re.compile(r"/|(?<![a-z])(?:end|close|stop)(?![a-z])")
_NO_NAME = re.compile(r"(?<![a-z])(?:start|begin|open|end|close|stop|of)(?![a-z])|[\W_]")
_SWITCHES = frozenset(("thinkon", "thinkoff", "nothink"))  # they say whether a thought follows

_LONGEST_HEAD = 4_000
_MOST = 20

# Harmony's answers have channels, of which the final one is for the reader; a header ends the message before it.
_HEADER = r"<\|channel\|>\s*(?:{})\b[^<\n]*(?:<\|constrain\|>[^<\n]*)?<\|message\|>"
_ASIDE, _FINAL = _HEADER.format("analysis|commentary"), _HEADER.format("final")
_JOINED_FINAL = r"assistantfinal(?![ \t]*[=).,\]])"  # a variable of that name is none
_PLAIN_FINAL = rf"(?-i:{_JOINED_FINAL})|(?-i:assistant)\s+(?-i:final)\b|^(?-i:final)[ \t]*$"
# The opening mark of a thought, and the closing one, where they have no name in common.
_PLAIN = re.compile(_PLAIN_FINAL, re.MULTILINE)
_PAIRS = [
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE | re.MULTILINE))
    for opening, closing in (
        (_ASIDE, _FINAL),
        (r"(?:<\|start\|>\s*assistant)?[ \t]*to=self<\|message\|>", r"(?:assistant|to=user)[ \t]*<\|message\|>"),
        (r"<\|think\|>", r"<\|(?:/|end_?)think\|>|<\|end\|>"),
        (r"<\|content_thinking\|>", r"<\|end_message\|>|<\|content_text\|>"),
        (r"<\|open\|>\s*think\s*<\|sep\|>", r"<\|close\|>\s*think\s*<\|sep\|>"),
        (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
        (r"\[unused16\]", r"\[unused17\]"),
        (r"<\|im_start\|>think\b", r"<\|im_start\|>answer\b"),
        (r"<\|channel>thought\b", r"<channel\|>"),
        (r"<unused94>thought\b", r"<unused95>"),
        (r"<details [^<>\n]*\btype=.reasoning.[^<>\n]*>", r"</details>"),
    )
]
# Those in words, which an answer's own heading or list may have: behind block quotes and blanks alone.
_IN_WORDS = [
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE | re.MULTILINE))
    for opening, closing in (
        (r"/think\n", r"<\|im_end\|>\s*<\|im_start\|>assistant\b"),
        (r"Here(?: is|'s|’s) my thought process:", r"Here(?: is|'s|’s) my response:"),
        (r"Here are my reasoning steps:", r"\[BEGIN FINAL RESPONSE\]"),
        (r"(?-i:Thinking(?:\.\.\.|…))\n", r"^(?:\.\.\.|…)done thinking\."),
    )
]
# A channel's name that decoding has left, with the message glued to it; English ("analysis of") goes on otherwise.
_THINKS = r"(?:we|i|let|ok|okay|hmm|so|need|the user|user)\b"
_CHANNEL = re.compile(
    r"(?:assistant\b:?\s*|assistant)?(?P<name>analysis|commentary)(?!['’]s\b)"
    rf"(?= ?[A-Z\"'`*#\n]|[^\0-\x7f]|[a-z\d(\[{{<$]|[ \t]*to=|\.\.\.| {_THINKS}"
    rf"|\.[ \t]+(?i:{_THINKS})| (?:the|this|they|you|it|it['’]s|just|given|simple|implement|write)\b)"
)
# Gemma's, whose thought may be empty: code follows, or words to the reader.
_EMPTY_THOUGHT = (
    r"\s|```|~~~|(?:async )?def |class \w+[(:]|from \w+ import|import \w|@\w"
    r"|(?:Sure|Certainly|Of course|To solve|Below)\b"
    r"|Here(?:['’]s| is| are)\b(?! (?:a|my|the) (?:think|thought|plan|reason))"
)
_GEMMA = re.compile(rf"(?:model\s+|assistant\s+)?(?P<name>thought)[ \t]*\n(?!{_EMPTY_THOUGHT})")
_GLUED = re.compile(rf"[\s>{UNSEEN}]*(?:assistant\b:?\s*)?(?:analysis|commentary)\w")  # no English
_A_NAME = re.compile(
    r"\w+(?:\.\w+|\[[^\]\n]*\])*[ \t]*"
    r"(?:(?::[^=\n]+)?(?:[-+*/%&|^@]|//|\*\*|<<|>>)?=(?!=)|(?:,[ \t]*\w+[ \t]*)+=|\()"
)
# What an answer begins with, behind a thought whose opening the chat template wrote, or the tokenizer left out.
_ANSWER = re.compile(
    rf"{_FINAL}|{_JOINED_FINAL}|^assistant[ \t]*\n\s*final[ \t]*$|to=user<\|message\|>"
    r"|<\|content(?:_text)?\|>|<\|open\|>\s*response\s*<\|sep\|>|<\|close\|>\s*think\s*<\|sep\|>(?:\s*<\|open\|>\s*response\s*<\|sep\|>)?|<\|inner_suffix\|>"
    r"|<\|START_(?:RESPONSE|TEXT)\|>|<\|begin_of_solution\|>|\[BEGIN FINAL RESPONSE\]"
    r"|\[unused17\]|<\|im_start\|>answer\b|^\.\.\.done thinking\.|^<think_off>|<channel\|>|<unused95>",
    re.MULTILINE,
)
_BEGIN = re.compile(rf"[\s>{UNSEEN}]*(?:<\|(?:start|begin)\|>\s*assistant\s*|<\|message_model\|>)?")
_ASIDE_BEHIND = re.compile(
    rf"<\|end\|>\s*<\|start\|>assistant\s*{_ASIDE}|(?<!\w)assistant(?:analysis|commentary)(?![ \t]*[=).,\]])"
)
# Before it the answer was over: what follows is another's turn, or another answer.
_OVER = re.compile(
    r"<\|(?:return|flush|eot|eot_id|endoftext|content_model_end_sampling|im_end)\|>|</s>|<(?:end_of_turn|eos)>"
    r"|<[|｜](?:start|begin|im_start|start_header_id)?[|｜>]*\s*(?:user|human|system|developer)\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"^[ \t>]*(?:```|~~~|\[PYTHON\]|def |class |return\b)", re.MULTILINE)


@dataclass(frozen=True)
class _Mark:
    start: int
    end: int
    name: str
    """Without what says that it opens or closes."""
    closes: bool


def opens_a_thought(text: str) -> bool:
    """Return whether a text begins with the opening mark of a thought."""
    return _opening(text, at_head=True) is not None


def opens_in_words(text: str) -> bool:
    """Return whether plain words open a text's thought, and no mark: an answer's heading may have them, too."""
    opening = _opening(text, at_head=True)
    if opening is None or isinstance(opening[1], str) or _ASIDE_BEHIND.search(text) is not None:
        return False
    if _GLUED.match(text) is not None:
        return False
    in_words = (_PLAIN, *(closing for _, closing in _IN_WORDS))
    return opening[1] in in_words and not opens_a_thought(text[opening[0] :])


def answer_begun(text: str) -> int | None:
    """Return where the answer begins in a text that begins with a mark which says so; None in any other text."""
    begin = _BEGIN.match(text)
    answer = _ANSWER.match(text, begin.end() if begin is not None else 0)
    return None if answer is None else answer.end()


def without_thought(text: str) -> str | None:
    """Return a text behind its thought; None where that was opened, and never closed: there is no answer.

    The opening mark stands at the head, or behind prose without code; the chat template may have written it.
    """
    names: set[str] = set()
    found = is_open = False
    for _ in range(_MOST):
        opening = _opening(text, at_head=False)
        if opening is None:
            break
        after, closing = opening
        if isinstance(closing, str):
            names.add(closing)
            ends = (one.end for one in _marks(text, after) if one.closes and one.name == closing)
            end = next(ends, None)
        else:
            end = None if (mark := closing.search(text, after)) is None else mark.end()
        if end is None and closing is _PLAIN:
            is_open = True  # the word alone; another mark may close it
            break
        if end is None:
            return None
        text, found = text[end:], True
    answer = next((one for one in _ANSWER.finditer(text) if not _is_quoted(text, one)), None)
    if answer is not None and not _OVER.search(text, 0, answer.start()):
        if not (found and _CODE.search(text, 0, answer.start())):
            text, found = text[answer.end() :], True
    elif answer is None and not found and (aside := _ASIDE_BEHIND.search(text)) is not None:
        return text if _OVER.search(text, 0, aside.start()) else None
    rest = _behind_lone_closing(text, names)
    return None if is_open and not found and rest == text else rest


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    """Return whether a mark stands in quotes or backticks: it is only spoken of."""
    before, after = text[: mark.start()][-1:], text[mark.end() : mark.end() + 1]
    return before in ("'", '"', "`") and before == after


def _behind_lone_closing(text: str, names: set[str]) -> str:
    """Return a text behind the mark that closes a thought which the chat template opened.

    Args:
        text: without the thoughts that it opens itself.
        names: of the marks of those.
    """
    opened: set[str] = set()
    for mark in _marks(text, 0):
        if not mark.closes:
            opened.add(mark.name)
        elif mark.name not in opened:
            is_stray = mark.name in names and _CODE.search(text, 0, mark.start)
            return text if is_stray or _OVER.search(text, 0, mark.start) else text[mark.end :]
    return text


def _marks(text: str, at: int) -> Iterator[_Mark]:
    """Yield the marks that speak of thinking, whatever brackets they have."""
    for mark in _MARK.finditer(text, at):
        if (named := _named(mark)) is not None:
            yield named


def _named(mark: re.Match[str]) -> _Mark | None:
    inner = next(filter(None, mark.group(*"abcde"))).lower()
    name = _NO_NAME.sub("", inner)
    return None if name in _SWITCHES else _Mark(mark.start(), mark.end(), name, _CLOSES.search(inner) is not None)


def _opening(text: str, *, at_head: bool) -> tuple[int, str | re.Pattern[str]] | None:
    """Return where the first opening mark ends that no code stands before, and its name, or what closes it."""
    begin = _end_of(_BARE_HEAD, text)
    for pattern, closing in _IN_WORDS:
        if (pair := pattern.match(text, begin)) is not None:
            return pair.end(), closing
    channel = _CHANNEL.match(text, begin) or _GEMMA.match(text, begin)
    if channel is not None and not _is_statement(text[channel.start("name") :].partition("\n")[0]):
        return channel.end(), _PLAIN
    begin = _end_of(_HEAD, text)
    for pattern, closing in _PAIRS:
        if (pair := pattern.match(text, begin)) is not None and not _is_quoted(text, pair):
            return pair.end(), closing
    mark = _MARK.match(text, begin)
    named = None if mark is None else _named_behind(text[:begin], mark)
    if named is None and not at_head:
        found = _AT_MARGIN.finditer(text, begin, _LONGEST_HEAD)
        margin = filter(None, (_named_behind(one["dress"] or "", one) for one in found))
        within = (
            one for mark in _MARK.finditer(text, begin, _LONGEST_HEAD) if (one := _named_within(mark)) is not None
        )
        every = [one for one in (next(margin, None), next(within, None)) if one is not None]
        first = min(every, key=lambda one: one.start, default=None)
        named = None if first is None or _CODE.search(text, 0, first.start) else first
    return None if named is None or named.closes else (named.end, named.name)


def _end_of(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return 0 if found is None else found.end()


def _named_within(mark: re.Match[str]) -> _Mark | None:
    """Return a mark by a usual name that opens a thought behind a sentence in its line; None where it is spoken of."""
    named = _named(mark)
    if named is None or named.closes or not _USUAL.search(named.name) or _SAID_OF_IT.match(mark.string, mark.end()):
        return None
    line = mark.string[mark.string.rfind("\n", 0, mark.start()) + 1 : mark.start()]
    return (
        named if _SENTENCE_END.search(line) and line.count("`") % 2 == 0 and not _is_quoted(mark.string, mark) else None
    )


def _named_behind(dress: str, mark: re.Match[str]) -> _Mark | None:
    """Return the mark behind what stands before it in its line; None where its name is too rare for that, or quoted."""
    named = _named(mark)
    if named is not None and not _USUAL.search(named.name) and _SAID_OF_IT.match(mark.string, mark.end()):
        return None
    if named is None or _IS_BARE.fullmatch(dress):
        return named
    if "Reason" in mark[0]:
        return None  # a place to be filled, in a list
    is_quoted = _QUOTES.get(dress[-1:]) == mark.string[mark.end() : mark.end() + 1]
    return None if is_quoted or not _USUAL.search(named.name) else named


def _is_statement(line: str) -> bool:
    """Return whether a line that a name begins assigns to it or calls it: Python, or what goes on in the next line."""
    if _A_NAME.match(line) is None:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(line)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return line.rstrip()[-1:] in tuple("([{,\\=+-*/%|&") or any(line.count(one) % 2 for one in ('"""', "'''"))
    return True
