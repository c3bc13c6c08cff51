"""The code in a model's answer, as a completion of its prompt; and whether completions are Python at all."""

from __future__ import annotations

import ast
import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from evalkit.sandbox import raw
from evalkit.sandbox.continuation import (
    continuations,
    does_something,
    error_line,
    filled_stub,
    is_code,
    is_python,
    joined,
    returns,
)
from evalkit.sandbox.definitions import How, Kind, leaves, meaning_of, parsed, statements_of
from evalkit.sandbox.fences import WORD_TOKEN, Block, blocks, late_blocks, outside
from evalkit.sandbox.first_turn import END_TOKEN, first_turn
from evalkit.sandbox.raw import (
    BROKEN,
    CODE_LINE,
    CUT,
    SEVERAL,
    WORDS,
    Version,
    is_outline,
    refused,
    without_end,
    without_words,
    words_in,
)
from evalkit.sandbox.thoughts import Unclear, opens_a_thought
from evalkit.sandbox.verdict import SHOWN_IDS, Problem, Verdict
from evalkit.sandbox.wire import NOT_JUDGED

NO_CODE = "no code found in the answer"
LATER = "no code found in the answer before another speaker's turn"
NO_ANSWER = "no answer behind the thought"
ANOTHER = "behind the end of the answer's turn stands another version of what was asked for; it was not read"
NOTHING = "the answer's code neither defines what was asked for nor returns anything; it was taken for the body"
UNKNOWN = "not understood, so no program of it was run: before its code stands"
"""The mark follows, in backticks."""
MANY = "the answer has more pieces of code than are looked at, and none of those defines what was asked for"
REMARKS = (LATER, NO_CODE, NO_ANSWER, UNKNOWN, MANY, BROKEN, SEVERAL, ANOTHER, CUT, WORDS, NOTHING)
"""What may be said of an answer, whether its program passes or fails; one of them is said of it."""
_ADVICE = (
    "take the answers down with the marks of their thoughts, special tokens too (skip_special_tokens=False), or without"
    " the thoughts; and give room for more tokens where a thought was cut"
)

_FENCES = re.compile(r"```|^[ \t]*~~~|\[PYTHON\]", re.MULTILINE)
_CLOSING = re.compile(r"```(?!\w|[ \t]*\w|[^{`\n]*[{`])|^[ \t]*~~~(?![ \t]*\w)|\[PYTHON\]", re.MULTILINE)
_ANOTHER_LANGUAGE = re.compile(
    r"(?:js|jsx|javascript|tsx?|typescript|java|c|cpp|c\+\+|cs|csharp|go|rust|ruby|php|kotlin|swift|scala|(?:ba|z)?sh|shell"
    r"|console|pycon|json|ya?ml|html|sql|diff|haskell|lua|perl|r|julia|pseudo\w*|algorithm)\b",
    re.IGNORECASE,
)
_ATTEMPT = re.compile(r"(?:^|:)[ \t]*(?:return|yield)\b", re.MULTILINE)
_ANY_CODE = re.compile(r"```|(?:^|[>\]])(?:def|class) \w", re.MULTILINE)
_WORD_BEHIND = re.compile(WORD_TOKEN)
_MOST_BLOCKS = 50
_MOST_FORMS = 5
"""So many forms of answers that are not understood are named."""


@dataclass(frozen=True)
class Taken:
    """What was taken out of an answer."""

    completion: str
    """Follows the prompt. The answer itself where no code was found."""
    remark: str = ""
    """One of `REMARKS`, or no text."""


def take_code(problem: Problem, answer: str) -> Taken:
    """Take the code out of an answer, as a continuation of the prompt.

    1. The answer is one turn, without what was thought aloud before it (`first_turn`). One that is not understood is
       made a text that is no program, whatever it says.
    2. An answer that goes on in a block that the harness opened is what stands before its first fence.
    3. What stands before the first block, where it is a body from its first line on, or defines what is asked for.
    4. Of the blocks, the first counts that really defines what is asked for; a lambda or the like only where none does.
       One that seems to, and is no Python, counts too: the verdict names the error.
    5. Where none does: the text outside of them, if it does.
    6. Where neither does: the first body of what the prompt began, or a stub in the answer: of the blocks, then the
       text. One that returns something is preferred to one that only does something.
    7. Else what only imports what is asked for, or is a stub of it; else any code.

    Each piece is joined to the prompt as what it is: definitions of their own, methods of the prompt's class, a body.
    """
    whole = re.sub(r"\r\n?", "\n", answer)
    text = first_turn(whole, problem.prompt)
    if isinstance(text, Unclear):
        return Taken(f"\n? {answer}", NO_ANSWER if text.is_thought else f"{UNKNOWN} `{text.mark}`")
    taken = _of_turn(problem, answer, text)
    behind = whole.partition(text)[2] if text else ""
    if taken.remark in ("", WORDS) and _is_another_in(behind, problem, taken.completion):
        return replace(taken, remark=ANOTHER)
    return taken


def _is_another_in(behind: str, problem: Problem, completion: str) -> bool:
    """Return whether what is not read defines what is asked for, too, and otherwise."""
    if not behind or completion.strip() in behind:
        return False
    names = "|".join(re.findall(r"[^\W\d]\w*", problem.entry_point)) or "(?!)"
    begins = rf"(?:^|[>\]|｜])[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(?:{names})\b"  # a token may stand before
    return re.search(begins, behind, re.MULTILINE) is not None


def _of_turn(problem: Problem, answer: str, text: str) -> Taken:
    every = [block for block in blocks(text) if block.code(text).strip()]
    fenced = _looked_at(problem, every, text)
    unfenced = without_words(problem, outside(text, every))
    words = words_in(problem, outside(text, every))
    if (continued := _continued(problem, text)) is not None:
        return continued
    versions = _versions_in_blocks(fenced, problem, text)
    if (first := _before(problem, text[: fenced[0].begin] if fenced else unfenced, is_all=not fenced)) is not None:
        return _of_several(replace(first, remark=first.remark or words), versions)
    attempts = _attempts(fenced, problem, text)
    stub = _first(versions, How.AS_STUB)
    defining = [one for one in versions if one.how in (How.BY_DEFINITION, How.BY_VALUE)]
    in_text = list(raw.definitions(problem, unfenced))
    if (first := _first(versions, How.BY_DEFINITION) or _first(versions, How.BY_VALUE)) is not None:
        before = [one for block, one in attempts if block.after <= first.begin]
        own = first.code.strip()
        at = text.find(own)
        apart = [
            one
            for block, one in attempts
            if own not in block.code(text)
            and not at <= block.begin < at + len(own)
            and block.code(text).strip() not in own
        ]
        others = [*defining, *apart, *(one for one in in_text if _defines(one.code, problem))]
        if before:
            return _of_several(replace(before[0], completion=_filled(problem, stub, before[0])), [*before, *others])
        return _of_several(first, others)
    if (first := _first(in_text, How.BY_DEFINITION) or _first(in_text, How.BY_VALUE)) is not None:
        line = _line_outside(first.code, fenced, text)
        before = [one for block, one in attempts if line is None or block.after <= line]
        others = [first, *(one for _, one in attempts)]
        if before:
            return _of_several(replace(before[0], completion=_filled(problem, stub, before[0])), others)
        return _of_several(replace(first, remark=first.remark or words), others)
    if _is_beyond(problem, text, every, unfenced):
        return Taken(answer, MANY)
    versions += in_text
    stub = stub or _first(versions, How.AS_STUB)
    bodies_of = _bodies(fenced, problem, text, unfenced)
    returning = [one for one in bodies_of if returns(problem, one.completion)]
    if returning:
        first = replace(returning[0], remark=returning[0].remark or ("" if fenced else words))
        return replace(_of_several(first, returning), completion=_filled(problem, stub, first))
    if (body := next((one for one in bodies_of if does_something(one.code, problem)), None)) is not None:
        return Taken(_filled(problem, stub, body), body.remark or NOTHING)
    if (last := _first(versions, How.BY_IMPORT) or stub) is not None:
        return Taken(last.completion, NOTHING if last is stub else "")
    if bodies_of:
        return Taken(bodies_of[0].completion, NOTHING)
    broken = _broken(fenced, problem, text)
    if broken is not None:
        return Taken(broken, BROKEN)
    if not text.strip():
        return Taken(answer, LATER if _ANY_CODE.search(answer) and not opens_a_thought(answer) else NO_CODE)
    behind = "" if answer.rstrip().endswith(text.rstrip()) else answer.partition(text)[2]
    return Taken(answer, LATER if _ANY_CODE.search(behind) else NO_CODE)


def _looked_at(problem: Problem, every: list[Block], text: str) -> list[Block]:
    """Return the blocks that are looked at, in their order: of too many, those with the entry point's name first."""
    if len(every) <= _MOST_BLOCKS:
        return every
    names = raw.naming(problem)
    naming = [block for block in every if names.search(textwrap.dedent(block.code(text)))][: _MOST_BLOCKS // 2]
    chosen = {block.start for block in naming}
    rest = [block.start for block in every if block.start not in chosen]
    chosen.update(rest[: _MOST_BLOCKS - len(naming)])
    return [block for block in every if block.start in chosen]


def _is_beyond(problem: Problem, text: str, every: list[Block], unfenced: str) -> bool:
    """Return whether an answer of which nothing defines what is asked for names it, beyond what was looked at."""
    is_many = len(every) > _MOST_BLOCKS or next(islice(CODE_LINE.finditer(unfenced), raw.MOST, None), None) is not None
    names = islice(raw.naming(problem).finditer(text), raw.NEAR, None)
    return is_many and next(names, None) is not None


def _before(problem: Problem, text: str, *, is_all: bool) -> Version | None:
    """Return the attempt that an answer begins with, before its first block, if any."""
    body = raw.body(problem, without_words(problem, text), at_head=True)
    if body is not None or is_all:
        return body
    defined = next((one for one in raw.definitions(problem, text) if one.how is How.BY_DEFINITION), None)
    # What a helper returns is no attempt.
    body = raw.body(problem, text) if defined is None and not raw.DEFINITION.search(text) else None
    return body if body is not None and _is_attempt(body.code, problem) else defined


def _attempts(fenced: list[Block], problem: Problem, text: str) -> list[tuple[Block, Version]]:
    """Return the blocks that are bodies which return, and are Python or meant to be."""
    code = [block for block in fenced if not _ANOTHER_LANGUAGE.match(block.info)]
    bodies = [(block, body) for block in code if (body := _body_in(block, problem, text)) is not None]
    return [(block, body) for block, body in bodies if _leaves(body.code) and not _defines(body.code, problem)]


def _leaves(code: str) -> bool:
    tree = parsed(textwrap.dedent(code).strip() + "\n")
    return bool(_ATTEMPT.search(code)) if tree is None else any(map(leaves, statements_of(tree.body)))


def _line_outside(code: str, fenced: list[Block], text: str) -> int | None:
    """Return where the first line of code stands in a text, outside of its blocks."""
    line = re.compile(rf"^[ \t]*{re.escape(code.strip().partition(chr(10))[0])}", re.MULTILINE)
    found = (one.start() for one in islice(line.finditer(text), _MOST_BLOCKS))
    return next((at for at in found if not any(block.begin <= at < block.after for block in fenced)), None)


def _of_several(first: Version, others: Iterable[Version]) -> Taken:
    """Return the version that counts, and whether there are others that differ."""
    differ = any(one.completion.strip() != first.completion.strip() for one in others)
    return Taken(first.completion, SEVERAL if differ and first.remark in ("", WORDS) else first.remark)


def extract(problem: Problem, completion: str) -> Taken:
    """Take the code out of a completion that is no Python; one that is Python as it stands is left alone.

    But for words at the margin, at its head or its end, which are Python, and no code; for a text within quotes; and
    for a token that Python reads as two comparisons.
    """
    code = without_words(problem, completion)
    if not code.strip() or _is_text(completion) or not is_python(problem, completion) or not is_python(problem, code):
        return take_code(problem, completion)
    turn = first_turn(code, problem.prompt)
    if opens_a_thought(code) and code.lstrip()[:1] not in ("'", '"', "#"):
        return take_code(problem, completion)
    if isinstance(turn, str) and _WORD_BEHIND.match(code[len(turn) :]) and is_python(problem, turn):
        return Taken(turn, WORDS)
    return Taken(code, words_in(problem, completion))


def _is_text(completion: str) -> bool:
    tree = parsed(completion.strip() + "\n")
    is_alone = tree is not None and len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr)
    return is_alone and completion.lstrip()[:3] in ("'''", '"""')


def remarked(verdict: Verdict, remark: str) -> Verdict:
    """Return the verdict on a program with what was remarked when it was taken out of an answer.

    A harness error, or tests that could not judge, say nothing about the answer.
    """
    if not remark or verdict.label == "harness error" or verdict.detail.startswith(NOT_JUDGED):
        return verdict
    is_said = not verdict.detail or remark.startswith((NO_ANSWER, UNKNOWN))  # it was no program
    return verdict._replace(detail=remark if is_said else f"{remark}; {verdict.detail}")


def remark_lines(remarks: Iterable[tuple[str, str]]) -> list[str]:
    """Return what a command says of answers without code and of ambiguous ones: a line each, none where there are none.

    Args:
        remarks: task id, and a text that begins with the remark: `Taken.remark`, or a verdict's detail.
    """
    lines, all_of_them = [], list(remarks)
    unknown = Counter(text for _, text in all_of_them if text.startswith(UNKNOWN))
    failed = unknown.total() + sum(text.startswith(NO_ANSWER) for _, text in all_of_them)
    forms = [text for text, _ in unknown.most_common(_MOST_FORMS)]
    others = [UNKNOWN] if len(unknown) > len(forms) else []
    for remark in (one for place in REMARKS for one in ([*forms, *others] if place == UNKNOWN else [place])):
        beside = forms if remark == UNKNOWN else ()
        ids = [task_id for task_id, text in all_of_them if _is_said(remark, text) and text not in beside]
        if ids:
            different = list(dict.fromkeys(ids))
            names = ", ".join(different[:SHOWN_IDS]) + (", ..." if len(different) > SHOWN_IDS else "")
            said = "not understood: before their code stand other marks" if remark == UNKNOWN else remark
            lines.append(f"{len(ids):,} of {len(all_of_them):,} answers: {said} ({names})")
    if failed:
        lines.append(f"{failed:,} of {len(all_of_them):,} answers are not understood, and failed; {_ADVICE}")
    return lines


def _is_said(remark: str, text: str) -> bool:
    """Return whether a text begins with a remark, and not with a longer one that begins alike."""
    longest = max((one for one in REMARKS if text.startswith(one)), key=len, default="")
    return text.startswith(remark) and len(remark) >= len(longest)


def hint(samples: Iterable[tuple[Problem, str]]) -> str | None:
    """Return one line where most completions are no Python; None elsewhere."""
    total, why = 0, Counter[str]()
    for problem, completion in samples:
        total += 1
        if not is_python(problem, completion):
            why[_looks_like(completion)] += 1
    if why.total() * 2 <= total:
        return None
    kinds = ", ".join(f"{count} {kind}" for kind, count in why.most_common())
    return (
        f"{why.total()} of {total} completions are no Python after their prompt ({kinds}); --extract takes the code out"
    )


def _looks_like(completion: str) -> str:
    if _FENCES.search(completion):
        return "with Markdown fences"
    if END_TOKEN.search(completion):
        return "with end tokens"
    first = completion.lstrip("\n")
    return "without the function's indentation" if first[:1] not in (" ", "\t", "") else "otherwise"


def _first(versions: Iterable[Version], how: How) -> Version | None:
    return next((one for one in versions if one.how is how), None)


def _filled(problem: Problem, stub: Version | None, body: Version) -> str:
    filled = filled_stub(problem, stub.code, body.code) if stub is not None else None
    return body.completion if filled is None else filled


def _continued(problem: Problem, text: str) -> Taken | None:
    """Return what stands before a closing fence that nothing opened."""
    fence = _CLOSING.search(text)
    code = without_words(problem, text[: fence.start()]) if fence else ""
    if fence is None or not code.strip() or not is_code(code) or not is_python(problem, code):
        return None
    meaning = meaning_of(code, problem)
    is_body = code.lstrip("\n")[:1] in (" ", "\t") and returns(problem, code)
    if not (is_body if meaning.kind is Kind.BODY else meaning.how is How.BY_DEFINITION):
        return None
    return Taken(code, words_in(problem, text[: fence.start()]))


def _versions_in_blocks(fenced: list[Block], problem: Problem, text: str) -> list[Version]:
    """Return what the blocks define of what is asked for, in their order, to the first that is no Python, if any."""
    versions: list[Version] = []
    broken: Block | None = None
    reach = 0
    every = {block.start: block for block in [*late_blocks(text), *fenced]}
    for start, block in sorted(every.items()):
        if start < reach or (broken is not None and start >= broken.after):
            continue
        around = next((one for one in fenced if one.start < start < one.after), None)
        if around is not None and _is_attempt(text[around.start : block.begin], problem):
            continue  # the answer's first attempt is what stands before
        found = _version_in(block, problem, text)
        if found is not None:
            stop, version = found
            versions.append(replace(version, begin=block.start))
            reach = block.after if version.how is not How.AS_STUB or stop == block.stop else stop
        elif block in fenced and broken is None:
            code = block.code(text)
            defines = not _ANOTHER_LANGUAGE.match(block.info) and _defines(code, problem) and not is_outline(code)
            if error_line(textwrap.dedent(code), ast.PyCF_ONLY_AST) is None and not defines:
                reach = block.after  # Python of another kind; what it holds is in its strings
            elif defines:
                broken = block  # no Python, or none that follows the prompt, as with a `return` beside its function
    if broken is not None and not any(one.how is How.BY_DEFINITION for one in versions):
        code = broken.code(text)
        kind = meaning_of(code, problem).kind
        versions.append(Version(How.BY_DEFINITION, refused(problem, code, kind), code, BROKEN, broken.start))
    return versions


def _version_in(block: Block, problem: Problem, text: str) -> tuple[int, Version] | None:
    """Return where a block stops and what it defines; None where that is nothing asked for, or it is no Python."""
    for stop, reading in block.readings(text):
        code = without_words(problem, reading)
        meaning = meaning_of(code, problem)
        if meaning.kind is Kind.BODY:
            continue
        completion = joined(problem, code, meaning.kind)
        if meaning.how is How.AS_STUB:
            if stop != block.stop and text[:stop].rstrip(" \t")[-1:] != "\n":
                continue  # what the mark ends is no block, but a line
            completion = completion or next(continuations(problem, code, meaning.kind))
        if completion is not None:
            return stop, Version(meaning.how, completion, code, words_in(problem, reading))
    if not block.is_closed and (version := without_end(problem, block.code(text))) is not None:
        return block.stop, version
    return None


def _defines(code: str, problem: Problem) -> bool:
    return meaning_of(code, problem).how is How.BY_DEFINITION


def _is_attempt(code: str, problem: Problem) -> bool:
    """Return whether code that may be no Python is meant to answer: it defines what is asked for, or returns."""
    return _defines(code, problem) or (bool(_ATTEMPT.search(code)) and ">>>" not in code)


def _bodies(fenced: list[Block], problem: Problem, text: str, unfenced: str) -> list[Version]:
    """Return what may be a body of what the prompt began, in the blocks and then in the text outside of them."""
    found = [_body_in(block, problem, text) for block in fenced]
    found.append(raw.body(problem, unfenced))
    return [one for one in found if one is not None]


def _body_in(block: Block, problem: Problem, text: str) -> Version | None:
    for _, reading in block.readings(text):
        code = without_words(problem, reading)
        if meaning_of(code, problem).kind is Kind.BODY and is_code(code):
            completion = joined(problem, code, Kind.BODY)
            if completion is not None:
                return Version(How.NOT, completion, code, words_in(problem, reading))
    code = block.code(text)
    if not block.is_closed and (body := raw.body(problem, code, at_head=True)) is not None and body.remark != BROKEN:
        return body
    if not _ANOTHER_LANGUAGE.match(block.info) and _is_attempt(code, problem):
        return Version(How.NOT, refused(problem, code, Kind.BODY), code, BROKEN)
    return None


def _broken(fenced: list[Block], problem: Problem, text: str) -> str | None:
    """Return what looks like the code where none of it is Python: its verdict will name the error."""
    codes = [block.code(text) for block in fenced]
    if not codes:
        few = max(raw.NEAR, min(_MOST_BLOCKS, raw.BUDGET // (len(text) + 1)))
        rests = (text[line.start() :] for line in islice(CODE_LINE.finditer(text), few))
        codes = [rest for rest in rests if _defines(rest, problem)][:1]
    meanings = [(meaning_of(code, problem), code) for code in codes]
    defining = [one for one in meanings if one[0].how is How.BY_DEFINITION] or meanings
    return refused(problem, defining[0][1], defining[0][0].kind) if defining else None
