"""What a model thought aloud before its answer, and whether an answer is understood at all.

A closed rule. The thoughts of published chat templates, and of the reasoning parsers of vLLM and SGLang, are left out:
pairs of marks that speak of thinking, a few pairs that are listed, and what remains of those where the special tokens
are left out. Behind them an answer is prose and code. One that has before its code a mark that nothing known closes is
*not understood*: an opened thought, however it is dressed; a word that only a channel's name begins an answer with; any
tag, but HTML's and those that answers are put in. Nobody can tell a draft in an unfinished thought from an answer, so
no program of it is run, and that is said, and counted by the form of the mark.
"""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from evalkit.sandbox.first_code import CODE, OVER, head_of, prose_before

_WORD = (
    r"think|thought|reason|scratch|inner|reflect|monologue|internal|analysis|planning|思考"
    r"|(?<![a-z])(?:cot|plan)(?![a-z])"
)
_INNER = rf"(?=[^<>\s]{{0,40}}?(?:{_WORD}))[|｜/\\]{{0,2}}[\w:▁][\w:|｜▁-]{{0,60}}(?:/[\w:|｜▁-]{{1,60}})?"
_ATTRIBUTES = r"(?:[ \t]+[\w:-]{1,30}=(?:\"[^\"<>\n]{0,60}\"|'[^'<>\n]{0,60}'|[\w.-]{1,40})){0,4}"
_SQUARE = r"/?(?:BEGIN_|START_|END_)?(?:THINK|THINKING|THOUGHTS?|REASONING)(?:_START|_END)?"
_MARK = re.compile(
    rf"(?:<\s{{0,3}}(?P<a>{_INNER}){_ATTRIBUTES}\s{{0,3}}[\\/]?>"
    rf"|(?:&lt;|&\#60;|&\#x3c;|\\u003c)(?P<b>{_INNER})(?:&gt;|&\#62;|&\#x3e;|\\u003e)"
    rf"|◁(?P<c>{_INNER})▷|«(?P<d>{_INNER})»|\[(?P<e>{_SQUARE})\])",
    re.IGNORECASE,
)
UNSEEN = "\0\b\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe0f\ufeff"  # ranges of a class in a pattern
_USUAL = re.compile("think|thought")
_CLOSES = re.compile(r"/|(?<![a-z])(?:end|close|stop)(?![a-z])")
_NO_NAME = re.compile(r"(?<![a-z])(?:start|begin|open|end|close|stop|of)(?![a-z])|[\W_]")
_SWITCHES = frozenset(("thinkon", "thinkoff", "nothink"))  # they say whether a thought follows
_SAID = re.compile(
    r"[ \t]+(?:is|are|was|were|means?|denotes?|stands|refers|tags?|tokens?|marks?|blocks?|sections?|and|or|of|in)\b"
)
"""What goes on behind a mark that is only spoken of."""
_PLACE = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\Z")
_MOST = 20
_LONGEST_MARK = 1_000

# Harmony's answers have channels, of which the final one is for the reader; a header ends the message before it.
_HEADER = r"<\|channel\|>\s*(?:{})\b[^<\n]*(?:<\|constrain\|>[^<\n]*)?<\|message\|>"
_ASIDE, _FINAL = _HEADER.format("analysis|commentary"), _HEADER.format("final")
_JOINED_FINAL = r"assistantfinal(?![ \t]*[=).,\]])"  # a variable of that name is none
_PLAIN = re.compile(rf"{_JOINED_FINAL}|assistant\s+final\b|^final[ \t]*$|(?i:{_FINAL})", re.MULTILINE)
# The opening mark of a thought, and the closing one, where they have no name in common.
_PAIRS = [
    (re.compile(opening, re.IGNORECASE | re.MULTILINE), re.compile(closing, re.IGNORECASE | re.MULTILINE))
    for opening, closing in (
        (_ASIDE, _FINAL),
        (r"(?:<\|start\|>\s*assistant)?[ \t]{0,9}to=self<\|message\|>", r"(?:assistant|to=user)[ \t]*<\|message\|>"),
        (r"<\|think\|>", r"<\|(?:/|end_?)think\|>|<\|end\|>"),
        (r"<\|content_thinking\|>", r"<\|end_message\|>|<\|content_text\|>"),
        (r"<\|open\|>\s*think\s*<\|sep\|>", r"<\|close\|>\s*think\s*<\|sep\|>"),
        (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
        (r"\[unused16\]", r"\[unused17\]"),
        (r"<\|im_start\|>think\b", r"<\|im_start\|>answer\b"),
        (r"<\|channel>(?:\s*thought\b|[ \t]*\n)", r"<channel\|>"),
        (r"<unused94>(?:thought\b)?", r"<unused95>"),
        (r"<ctrl94>(?:thought\b)?", r"<ctrl95>"),
        (r"(?-i:<EXECUTION>)", r"</EXECUTION>"),
        (r"<details [^<>\n]{0,200}\btype=.reasoning.[^<>\n]{0,200}>", r"</details>"),
        (
            r"<details[^<>\n]{0,200}>\s{0,9}<summary>[^<\n]{0,40}(?:think|thought|reason)[^<\n]{0,40}</summary>",
            r"</details>",
        ),
        (r"^[ \t>]*(?:```|~~~)[ \t]*(?:thinking|think|thoughts?|reasoning)[ \t]*$", r"^[ \t>]*(?:```|~~~)[ \t]*$"),
    )
]
# Those in words, at the head, behind block quotes and blanks.
_IN_WORDS = [
    (re.compile(opening), re.compile(closing, re.MULTILINE))
    for opening, closing in (
        (r"/think\n", r"<\|im_end\|>\s*<\|im_start\|>assistant\b"),
        (r"Here(?: is|'s|’s) my thought process:", r"Here(?: is|'s|’s) my response:"),
        (r"Here are my reasoning steps:", r"\[BEGIN FINAL RESPONSE\]"),
        (r"Thinking(?:\.\.\.|…)\n", r"^(?:\.\.\.|…)done thinking\."),
        # A channel's name in small letters, whatever follows: decoding left its tokens out. No answer begins so.
        (
            r"(?:assistant\b[ \t]*:?\s*|assistant)?(?P<name>(?:(?<=assistant)(?i:analysis)|analysis)|commentary)",
            _PLAIN.pattern,
        ),
        (r"(?:ANALYSIS|Analysis)(?=[A-Z][\w ])", _PLAIN.pattern),
        (
            r"(?:thought|thinking|reasoning)(?=[A-Z])|(?:thinking|reasoning|reasoning_content)[ \t]*:"
            r"|(?i:think(?:ing)?)(?: [Pp]rocess)?[ \t]*(?:\.{3}|…|:)?[ \t]*\n"
            r"|[*_(]{1,3}think[^\n]{0,20}[*_)]{1,3}[ \t]*\n"
            r"|[*_(]{1,3}(?i:think)[^\n]{0,20}(?:\.{3}|…)[*_)]{1,3}[ \t]*\n"  # Poe's
            r"|\{\s{0,9}\"(?:thoughts?|thinking|reasoning(?:_content)?|analysis)\"\s{0,9}:",
            r"(?!)",
        ),
    )
]
# Gemma's channel without its tokens; its thought may be empty: code follows, or one line that announces it.
CODE_AT_ONCE = r"\s*(?:```|~~~|(?:async )?def \w+ ?\(|class \w+[(:]|from [\w.]+ import|import \w|@\w|[ \t]+return\b)"
_THINKS = (
    r"think|thought|reason|plan|breakdown|step|process|approach|chain|consider|partial|draft|attempt|first|initial"
    r"|possible|potential|sketch|outline|idea|maybe|monologue|simulation|let me|how\b"
)
_ANNOUNCED = (
    r"\s*(?:(?:Sure|Certainly|Of course|Absolutely|Okay)[,.!]? *)?"
    rf"(?:[Hh]ere(?:['’]s| is| are)|[Bb]elow is|[Tt]his is) (?![^\n]*(?i:{_THINKS}))[^\n]{{0,80}}"
    rf"\b(?:code|solution|implementation|function|program|completion|answer)\b[^\n]{{0,80}}:[ \t]*\n{CODE_AT_ONCE}"
)
_GEMMA = re.compile(rf"(?:model\s+|assistant\s+)?thought[ \t]*\n(?!{CODE_AT_ONCE}|{_ANNOUNCED})")
_LATE_CHANNEL = re.compile(r"^[ \t>]*(?:assistant)?(?P<name>analysis|commentary)(?=[A-Z]|[ \t]*$)", re.MULTILINE)
# What an answer begins with, behind a thought whose opening the chat template wrote, or the tokenizer left out.
_ANSWER = re.compile(
    rf"{_FINAL}|{_JOINED_FINAL}|^assistant[ \t]*\n\s*final[ \t]*$|to=user<\|message\|>"
    r"|<\|content(?:_text)?\|>|<\|open\|>\s*response\s*<\|sep\|>|<\|close\|>\s*think\s*<\|sep\|>(?:\s*<\|open\|>\s*response\s*<\|sep\|>)?|<\|inner_suffix\|>"
    r"|<\|START_(?:RESPONSE|TEXT)\|>|<\|begin_of_solution\|>|\[BEGIN FINAL RESPONSE\]"
    r"|\[unused17\]|<\|im_start\|>answer\b|^\.\.\.done thinking\.|^<think_off>|<channel\|>|<unused95>|<ctrl95>",
    re.MULTILINE,
)
_BEGIN = re.compile(rf"[\s>{UNSEEN}]*(?:<\|(?:start|begin)\|>\s*assistant\s*|<\|message_model\|>)?")
_BARE_HEAD = re.compile(rf"[\s>{UNSEEN}]*")
_ASIDE_BEHIND = re.compile(
    rf"<\|end\|>\s*<\|start\|>assistant\s*{_ASIDE}|(?<!\w)assistant(?:analysis|commentary)(?![ \t]*[=).,\]])"
)
_SIGN = rf"(?:(?::::)|(?!#{{1,6}}[ ])(?<![\w*_`])[^\w\s.,:;?!'\"`*_()=>+\-{UNSEEN}][^\w\s]{{0,3}}) ?"
_OF_THINKING = (
    r"(?:think(?:ing)?|thoughts?|reasoning|scratch_?pad|cot|chain[ _]of[ _]thought|reflection"
    r"|(?:inner|internal)[ _]monologue|思考(?:过程|开始)?|推理)"
)
_IN_SIGNS = re.compile(
    rf"^[ \t>*_~{UNSEEN}]*{_SIGN}[*_]{{0,3}}(?:begin|start)?[ _]?{_OF_THINKING}(?:[ _](?:begin|start|process))?"
    r"(?: ?[^\w\s.,:;?!'\"`*_()=+\-][^\w\s]{0,3}| ?--?>|[ \t]*(?:\.{3}|…|:)?[*_]{0,3}[ \t]*$)",
    re.IGNORECASE | re.MULTILINE,
)
"""A word for a thought between signs at the margin, or behind one in a line of its own; no heading of Markdown's."""
_TAG = re.compile(
    rf"(?:^[^\w\n<`'\"({{\[]*|(?<=[.!?…。！？])[ \t]{{0,3}}(?=<[^\n<>]{{1,80}}>[ \t]{{0,9}}$))"
    rf"<[ \t]{{0,3}}(?P<name>(?!(?:your|insert|the|any|some)\b)[^\W\d][\w:-]{{1,40}})"
    rf"{_ATTRIBUTES}(?:[ \t]+\w+){{0,2}}[ \t]*/?>",
    re.MULTILINE,
)
_HTML = (
    "a|abbr|article|aside|audio|b|big|blockquote|body|br|button|canvas|caption|center|cite|code|col|dd|del|details|dfn"
    "|div|dl|dt|em|fieldset|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd"
    "|label|legend|li|link|main|mark|math|meta|nav|object|ol|option|p|param|pre|q|s|samp|script|section|select|small"
    "|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|template|textarea|tfoot|th|thead|time|title|tr"
    "|tt|u|ul|var|video|wbr"
)
_OF_ANSWERS = (
    "(?:(?:final|my|source|python|updated|fixed|corrected|complete|full)[_-]?)*"
    "(?:answer|response|output|result|solution|code|function|implementation|program|completion)|final|python|py"
)
"""Tags that answers are put in."""


@dataclass(frozen=True)
class Unclear:
    """Why an answer is not understood."""

    mark: str
    """What stands before its code, and nothing known closes."""
    is_thought: bool
    """Whether it is a known mark of a thought."""


@dataclass(frozen=True)
class _Mark:
    start: int
    end: int
    name: str
    """Without what says that it opens or closes."""
    closes: bool


@dataclass(frozen=True)
class _Opening:
    start: int
    end: int
    closing: str | re.Pattern[str]
    """The name that the closing mark has, or what finds it."""
    is_mark: bool


def opens_a_thought(text: str) -> bool:
    """Return whether a text begins with the opening mark of a thought."""
    opening = _opening(text[:_LONGEST_MARK])
    return opening is not None and not re.search(r"[^\W_]", text[: opening.start])


def answer_begun(text: str) -> int | None:
    """Return where the answer begins in a text that begins with a mark which says so; None in any other text."""
    begin = _BEGIN.match(text)
    answer = _ANSWER.match(text, begin.end() if begin is not None else 0)
    return None if answer is None else answer.end()


def without_thought(text: str) -> str | Unclear:
    """Return a text behind its thought, or why it is not understood.

    The opening mark stands before any code; the chat template may have written it.
    """
    names: set[str] = set()
    found, words = False, None
    for _ in range(_MOST):
        opening = _opening(text)
        if opening is None:
            break
        if isinstance(opening.closing, str):
            names.add(opening.closing)
        end = _end(text, opening)
        if end is None and not opening.is_mark:
            words = opening  # another mark may close it
            break
        if end is None:
            return Unclear(_shown(text[opening.start : opening.end]), opening.is_mark)
        text, found = text[end:], True
    answer = next((one for one in _ANSWER.finditer(text) if not _is_quoted(text, one)), None)
    if answer is not None and not OVER.search(text, 0, answer.start()):
        if not found and (late := _late(text, answer)) is not None:
            text = text[:late]
        elif not (found and CODE.search(text, 0, answer.start())):
            text = text[answer.end() :]
            words = None
    elif answer is None and not found and (aside := _ASIDE_BEHIND.search(text)) is not None:
        return text if OVER.search(text, 0, aside.start()) else Unclear(_shown(aside[0]), is_thought=True)
    rest = _behind_lone_closing(text, names)
    if words is not None and rest == text:
        return Unclear(_shown(text[words.start : words.end]), is_thought=False)
    again = _opening(rest) if rest != text else None
    if again is not None and _end(rest, again) is None:
        return Unclear(_shown(rest[again.start : again.end]), again.is_mark)
    return rest


def _end(text: str, opening: _Opening) -> int | None:
    """Return where a thought ends: at its own closing mark, or where there is none at any that closes none between."""
    if not isinstance(opening.closing, str):
        own = opening.closing.search(text, opening.end)
        end = None if own is None else own.end()
    else:
        ends = (one.end for one in _marks(text, opening.end) if one.closes and one.name == opening.closing)
        end = next(ends, None)
    if end is not None or not opening.is_mark:
        return end
    opened: set[str] = set()
    other = None
    for mark in _marks(text, opening.end):
        if not mark.closes:
            opened.add(mark.name)
        elif mark.name not in opened and not _is_in_quotes(text, mark.start, mark.end):
            other = mark
            break
    stop = len(text) if other is None else other.start
    answers = (one.span() for one in _ANSWER.finditer(text, opening.end, stop) if not _is_quoted(text, one))
    start, end = next(answers, (stop, None if other is None else other.end))
    return None if end is None or OVER.search(text, opening.end, start) else end


def _late(text: str, answer: re.Match[str]) -> int | None:
    """Return where a thought begins, behind code, that the mark of an answer closes: the answer was before it."""
    head = head_of(text)
    begins = [
        one.start()
        for opening, closing in _PAIRS
        if opening.pattern != _ASIDE and closing.fullmatch(answer[0])
        for one in islice(opening.finditer(text, head, answer.start()), 1)
    ]
    if _PLAIN.match(answer[0]):
        begins += [one.start() for one in islice(_LATE_CHANNEL.finditer(text, head, answer.start()), 1)]
    return min(begins, default=None)


def unknown_mark(text: str) -> Unclear | None:
    """Return the mark before an answer's code that is neither known nor harmless, if any.

    A tag is harmless that is closed before the code, or around it with no code behind.

    Args:
        text: of one turn, without known thoughts.
    """
    text = unicodedata.normalize("NFKC", re.sub(rf"[{UNSEEN}]", "", text))
    before = prose_before(text)
    channels = islice(_LATE_CHANNEL.finditer(before), _MOST)
    late = (one for one in channels if not _is_statement(text, one.start("name")))
    if (signs := _IN_SIGNS.search(before) or next(late, None)) is not None:
        return Unclear(_shown(signs[0]), is_thought=False)
    for tag in islice(_TAG.finditer(before), _MOST):
        name = tag["name"].lower()
        if re.fullmatch(rf"{_HTML}|{_OF_ANSWERS}", name) or _is_spoken_of(text, tag, is_usual=False):
            continue
        closing = re.compile(rf"</{re.escape(name)}\s*>", re.IGNORECASE).search(text, tag.end())
        if closing is None or (CODE.search(text, tag.end(), closing.start()) and CODE.search(text, closing.end())):
            return Unclear(_shown(text[tag.start("name") - 1 : tag.end()]), is_thought=False)
    return None


def _shown(mark: str) -> str:
    return re.sub(rf"[\s{UNSEEN}]+", " ", mark).strip()[:40]


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    """Return whether a mark stands in quotes or backticks: it is only spoken of."""
    return _is_in_quotes(text, *mark.span())


def _is_in_quotes(text: str, start: int, end: int) -> bool:
    before, after = text[:start][-1:], text[end : end + 1]
    return before in ("'", '"', "`") and before == after


def _is_spoken_of(text: str, mark: re.Match[str], *, is_usual: bool) -> bool:
    """Return whether a sentence only names a mark, or it is a place to be filled in a list."""
    begin = text.rfind("\n", 0, mark.start()) + 1
    end = text.find("\n", mark.end())
    before, behind = text[begin : mark.start()][-400:], text[mark.end() : end if end >= 0 else len(text)][:400]
    is_inside = _is_quoted(text, mark) or (before.count("`") % 2 == 1 and "`" in behind)
    if _SAID.match(behind) is not None or (is_inside and re.search(r"\w", before + behind) is not None):
        return True
    if is_usual:
        return False
    is_place = _PLACE.match((before + mark[0]).partition("<")[0]) is not None and not behind.strip()
    return is_place or re.match(r"[ \t]*[:=]", behind) is not None


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
            is_stray = mark.name in names and CODE.search(text, 0, mark.start)
            return text if is_stray or OVER.search(text, 0, mark.start) else text[mark.end :]
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


def _opening(text: str) -> _Opening | None:
    """Return the first opening mark of a thought that no code stands before."""
    begin = _end_of(_BARE_HEAD, text)
    for pattern, closing in _IN_WORDS:
        pair = pattern.match(text, begin)
        if pair is None or ("name" in pattern.groupindex and _is_statement(text, pair.start("name"))):
            continue
        return _Opening(pair.start(), pair.end(), closing, is_mark=False)
    if (gemma := _GEMMA.match(text, begin)) is not None:
        return _Opening(gemma.start(), gemma.end(), _PLAIN, is_mark=False)
    before = prose_before(text)
    every = []
    for pattern, closing in _PAIRS:
        pairs = (one for one in islice(pattern.finditer(before), _MOST) if not _is_quoted(text, one))
        every += [_Opening(one.start(), one.end(), closing, is_mark=True) for one in islice(pairs, 1)]
    for mark in islice(_MARK.finditer(before), _MOST):
        named = _named(mark)
        if named is None or _is_spoken_of(text, mark, is_usual=_USUAL.search(named.name) is not None):
            continue
        if not named.closes:
            every.append(_Opening(named.start, named.end, named.name, is_mark=True))
        break
    return min(every, key=lambda one: one.start, default=None)


def _end_of(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return 0 if found is None else found.end()


def _is_statement(text: str, at: int) -> bool:
    """Return whether the line at a place assigns or calls: Python, or what goes on in the next line."""
    line = text[at : at + 500].partition("\n")[0]
    if re.match(r"\w+(?:[\w., \t:]|\[[\w \t]{0,40}\]){0,200}(?:[-+*/%&|^@]|//|\*\*)?=(?!=)|\w+\(", line) is None:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(line)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return line.rstrip()[-1:] in tuple("([{,\\=+-*/%|&") or any(line.count(one) % 2 for one in ('"""', "'''"))
    return True
