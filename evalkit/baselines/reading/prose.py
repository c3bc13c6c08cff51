"""Text around the tables: which suite comes next, printed averages, HumanEval, the harness's line about the run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from evalkit.baselines.published import Note, PrintedScore, ScoreTable
from evalkit.baselines.reading.cells import decimal_of, holds_nothing
from evalkit.baselines.reading.commands import settings_of
from evalkit.baselines.reading.grammar import is_known
from evalkit.baselines.reading.statements import pass_at_1, unknown_after, unknown_in, without_counts
from evalkit.baselines.reading.taken_from import made_from, without_source
from evalkit.baselines.reading.vocabulary import is_version, label_of, names_another
from evalkit.baselines.reading.wording import SUITE, other_metric
from evalkit.config.suites import load_suites
from evalkit.results.task_names import (
    any_suite,
    is_metric,
    leading_suite,
    model_of_heading,
    names_other_benchmark,
    names_something_else,
    shots_named,
)


@dataclass(frozen=True)
class SuiteHeading:
    """The text names a suite; what follows belongs to it.

    Attributes:
        line: line number in the file.
        suite: the suite.
        level: 1 to 6 for a heading of Markdown or HTML, 0 for plain text.
        beside: what stands beside the name: ``number`` (read or not), ``nothing`` (N/A and the like), ``text``, or
            empty. Suites with numbers below one another are a list, and an average below it is that of the suites.
        other: a second suite or another metric that it names: no average below it is the suite's.
    """

    line: int
    suite: str
    level: int = 0
    beside: str = ""
    other: str = ""


@dataclass(frozen=True)
class OtherHeading:
    """A heading that names something else than a suite: what follows belongs to no suite before it.

    Attributes:
        line, level: as for `SuiteHeading`.
        text: the heading.
    """

    line: int
    text: str
    level: int = 0


@dataclass(frozen=True)
class ModelHeading:
    """A heading that may name a model. `certain` if the line says so (``Model: ...``)."""

    line: int
    name: str
    certain: bool


@dataclass(frozen=True)
class Settings:
    """The harness's own line about the run."""

    line: int
    text: str


@dataclass(frozen=True)
class Aside:
    """A sentence or a table that gives no score of a task: a bare "Average" below it belongs to nothing above it.

    Attributes:
        line: line number in the file.
        text: the sentence, or the heading of the table.
        kind: ``sentence`` (counts only if it names something else), ``unread`` (a table or row that was not read), or
            ``comparison`` (a table of suites; an average of the suites may follow).
    """

    line: int
    text: str
    kind: str


@dataclass(frozen=True)
class Shots:
    """The text says how many examples the prompts below it have.

    Attributes:
        line: line number in the file.
        count: the number, or None if it says only that there are some.
        level: 1 to 6 for a heading, 7 for plain text: it holds until the next heading of this level or a larger one.
    """

    line: int
    count: int | None
    level: int


@dataclass(frozen=True)
class Label:
    """A line that says something beside the known words: what follows may be another model's.

    Attributes:
        line: line number in the file.
        text: what it says, without the known words.
        short: whether it is a label more than a sentence.
        level: 1 to 6 for a heading of Markdown or HTML, 0 for plain text.
        names: whether it names a model, or says that it is another than the file's ("Previous best").
        item: whether it is an item of a list.
    """

    line: int
    text: str
    short: bool
    level: int = 0
    names: bool = False
    item: bool = False


Event: TypeAlias = (
    Label | Shots | Aside | SuiteHeading | OtherHeading | ModelHeading | Settings | PrintedScore | ScoreTable
)

_NUMBER = r"(?P<number>\d{1,4}(?:[.,]\d+)?)\s*(?P<percent>%?)"
_AVERAGE = re.compile(
    rf"(?P<word>average|avg|mean|平均(?:分数|得分|成绩|分|值)?|(?:^|(?<=\s))(?:total\s+)?score|得分|总分)\b\.?"
    rf"(?P<between>\s*\([^)]*\)(?=\s*[:=])|[^:=\n]{{0,40}}?)(?P<sign>\s*[:=]\s*|\s+(?:is\s+)?)[(\[]?{_NUMBER}",
    re.IGNORECASE,
)
_EMPTY_AVERAGE = re.compile(
    r"(?:average|avg|mean|平均(?:分|值)?)\b\.?\s*[:=]\s*(?:n/?a|-+|\?+|tbd)?\s*$", re.IGNORECASE
)
_AFTER_SUITE = re.compile(rf"^[^:=(\n\d]{{0,24}}(?:[:=(]|\s[-–—]\s)\s*{_NUMBER}\s*\)?\s*$")
_SCORE_LIKE = re.compile(r"^\W*(?:[0-9]+[.,][0-9]|[0-9]+\s*%)|[0-9][.,][0-9]+\s*%?\s*$|[0-9]\s*%\s*$")
_NOT_YET = re.compile(
    r"(?:not\s+(?:yet\s+)?(?:evaluated|run|measured|available|reported|tested|applicable)|pending|missing|skipped|unknown"
    r"|(?:coming\s+)?soon|to\s+(?:come|be\s+\w+)|in\s+progress|running|wip|待测|未测试?|缺失)(?:\s+yet)?\W*$",
    re.IGNORECASE,
)
_METRIC_LINE = re.compile(r"^\W*(?P<metric>\w+)\W*?[:=]\W*[0-9]")
# No item of a list: that names a source of a merge, a base model, a setting of a configuration.
_MODEL_LINE = re.compile(r"^(?:[#>\s]*)model(?:[ _]name)?\s*[:=]\s*(?P<name>[\w./+-][\w./+ ()-]*)$", re.IGNORECASE)
_MODEL_NAME = re.compile(r"^[A-Za-z][\w.+/()-]*(?: [\w.+/()-]+){0,5}$")
# "BigBench average is now 36.57 - from 32.8 in ...", "36.57 on BigBench, up from ...": the first number is the model's.
_SAID = (
    re.compile(rf"^\W*(?P<label>[A-Za-z0-9 -]{{5,40}}?)\s+(?:is|was|of)\s+(?:now\s+)?(?:at\s+)?{_NUMBER}", re.I),
    re.compile(
        rf"^\W*{_NUMBER}\s+(?:average\s+)?(?:on|for)\s+(?P<label>[A-Za-z0-9 -]{{5,30}}?)(?=\W*$|\s*[,;(]|\s-)", re.I
    ),
)
_GENERIC = re.compile(
    r"result|benchmark|evaluat|score|summary|table|comparison|overview|detail|usage|licen[cs]e|training|prompt|average"
    r"|example|model card|description|quanti|install|reference|citation",
    re.IGNORECASE,
)


def _percent(number: str, sign: str, line: int, notes: list[Note]) -> Decimal:
    """Return a printed average in per cent; one above 1000 (read by nobody) where the number can mean two things."""
    value = decimal_of(number)
    if value is None:
        return Decimal(number.replace(",", ""))
    if not sign and value <= 1 and value != 0:
        notes.append(Note(line, f"average {number} is read as {value.scaleb(2)} per cent"))
        return value.scaleb(2)
    return value


def _averages(line: int, text: str, notes: list[Note]) -> tuple[list[Event], str]:
    """Return the averages in a text and what is left after the last of them."""
    events: list[Event] = []
    text, printed = without_counts(text), text
    while (found := _AVERAGE.search(text)) is not None:
        before, word = text[: found.start()], found["word"].lower()
        explicit = found["sign"].strip() in (":", "=") or len(text) <= 40
        if not explicit or (word.endswith("score") and len(before) > 40):
            break
        label = f"{before} {word} {found['between']}"
        suite = any_suite(label)
        if leading_suite(before) is not None and suite is not None:
            events.append(SuiteHeading(line, suite, beside="number"))
        overall = (
            re.search(r"total|overall|\bsuites\b|\b(?:four|4) benchmarks\b|总|四个?(?:套件|基准)", label, re.IGNORECASE)
            and suite is None
        )
        if overall:
            mean = re.search(r"average|avg|mean|平均|overall", label, re.IGNORECASE)
            suite = "average" if mean else "total"
        unknown = unknown_in(label, suite) if suite not in ("average", "total") else unknown_in(label, None)
        if suite is None and unknown is not None:
            notes.append(Note(line, f"average {found['number']} belongs to no suite: {' '.join(label.split())[:60]}"))
            text = text[found.end() :]
            continue
        unknown = unknown or unknown_after(text[found.end() :], suite if suite in load_suites() else None)
        if unknown is not None:
            shown = text if events else printed
            notes.append(Note(line, _not_understood(shown, unknown), unread=True))
            return [*events, Aside(line, shown, "unread")], ""
        value = _percent(found["number"], found["percent"], line, notes)
        if value > (1000 if suite == "total" else 100):
            notes.append(Note(line, f"average not read: {found[0].strip()}", unread=True))
        else:
            events.append(PrintedScore(line, suite, value, " ".join(label.lower().split()).strip("#>-* ")))
        text = text[found.end() :]
    return events, text


def _said(line: int, text: str, notes: list[Note]) -> PrintedScore | None:
    """Return the average that a sentence gives of one suite, with or without an earlier model's behind it."""
    found = next((m for pattern in _SAID if (m := pattern.match(text)) is not None), None)
    suite = any_suite(found["label"]) if found is not None and len(text) <= 160 else None
    if found is None or suite is None or not re.search(r"[.,]", found["number"]):
        return None
    if unknown_in(found["label"], suite) is not None or unknown_after(text[found.end() :], suite) is not None:
        return None
    value = _percent(found["number"], found["percent"], line, notes)
    return PrintedScore(line, suite, value, "average") if value <= 100 else None


def _not_understood(text: str, unknown: str) -> str:
    """Say that a sentence gives no number, and by which of its words."""
    return f"number not read: {' '.join(text.split())[:60]} ('{unknown}' is not of the forms that give an average)"


def _beside(text: str) -> str:
    """Return what stands beside a suite's name, as `SuiteHeading.beside` says it."""
    if _SCORE_LIKE.search(text):
        return "number"
    if re.match(r"\W*\(\s*[0-9]{1,2}(?:\s*(?:sub)?tasks?)?\s*\)\W*$", text):
        return ""  # how many tasks it has
    found = re.match(r"^[^:=(\n\w]{0,24}(?:[:=(]|\s[-–—]\s)(?P<rest>.*)$", text)
    rest = found["rest"].strip(" *_)") if found is not None else ""
    if rest and (holds_nothing(rest) or _NOT_YET.match(rest) or not re.search(r"\w", rest)):
        return "nothing"
    return "text" if rest else ""


_OF_AVERAGE = re.compile(
    r"[\s>#*_`-]*(?:average|avg|mean|overall|平均分?)(?:\s+score)?[\s*_`]*[:：=][\s*_`]*", re.IGNORECASE
)
"""What begins a line of an average, whatever it says behind it: no model's name."""
_LOST_AVERAGE = re.compile(
    rf"{_OF_AVERAGE.pattern}(?:nan|-?inf(?:inity)?|none|null|error\b.*"
    r"|.*\b(?:does not exist|not found|failed)\b.*)[\s%*_`.]*",
    re.IGNORECASE,
)
"""An average that a program could not compute, and what it printed instead."""


def read_prose(line: int, text: str) -> tuple[list[Event], list[Note]]:
    """Return the events in a line of text, in their order, and what is worth noting about it."""
    events, notes = _events(line, text)
    label, raw = label_of(text), text.strip()
    label = None if is_known(text) or _OF_AVERAGE.match(text) else label
    level = len(raw) - len(raw.lstrip("#"))
    level = level if level <= 6 else 0
    short = (
        len(text.strip()) <= 50 and any_suite(text) is None and not text.rstrip().endswith((".", ",", ";", "。", "，"))
    )
    if label is None:
        return events, notes
    if made_from(raw) and re.search(r"\bfrom\b", raw, re.IGNORECASE):
        if not raw.endswith(":"):
            return events, notes  # what the model was made from, and not whose the scores are
        short = False
    item = re.match(r"[-+•]\s|[0-9]{1,2}[.)]\s", raw) is not None
    if is_version(label) and not is_version(raw.strip("#*_>: ")):
        short = False  # of what is it a version?
    headed = any_suite(text) is not None and label[0].isalnum() and (raw.startswith("#") or raw.endswith(":"))
    names = (short or (headed and len(raw) <= 60 and not is_version(label))) and names_another(raw, label)
    return [Label(line, label, short, level, names, item), *events], notes


def _events(line: int, text: str) -> tuple[list[Event], list[Note]]:
    notes: list[Note] = []
    raw = text.strip()
    level = len(raw) - len(raw.lstrip("#"))
    level = level if level <= 6 else 0  # a line of signs as decoration is no heading of Markdown
    text = re.sub(r"^[0-9]{1,2}[.)]\s+(?=\D)", "- ", text.replace("`", " ").strip())  # a numbered list
    if not text:
        return [], []
    if settings_of(text) is not None:
        return [Settings(line, text)], []
    if (model := _MODEL_LINE.match(without_source(text))) is not None:
        return [ModelHeading(line, model["name"].strip(), certain=True)], []
    passed = pass_at_1(text)
    if passed is not None and passed[3]:
        return [
            PrintedScore(line, "humaneval" if passed[2] else "pass@1", _percent(passed[0], passed[1], line, notes))
        ], notes
    if passed is not None:
        why = "one number and pass@1 alone make a score of HumanEval"
        notes.append(Note(line, f"number not read: {text[:60]} ({why})", unread=True))
        return [], notes
    if (lost := _LOST_AVERAGE.fullmatch(text)) is not None:
        notes.append(Note(line, f"average not read: {' '.join(lost[0].split())[:60]}", unread=True))
        return [], notes
    said = _said(line, text, notes)
    if said is not None:
        return [said], notes
    events, rest = _averages(line, text, notes)
    rest = rest.strip()
    if _EMPTY_AVERAGE.search(rest):
        notes.append(Note(line, "no number after 'Average'"))
    heading = leading_suite(rest)
    if heading is not None and (len(rest) <= 80 or re.match(r"\s*[:(]", heading[1])):
        several = len({s for s in map(any_suite, SUITE.findall(rest)) if s}) > 1
        other = rest.strip("#:* ") if several else other_metric(rest, heading[0]) or ""
        events.append(SuiteHeading(line, heading[0], level, _beside(heading[1]), other))
        beside = _AFTER_SUITE.match(heading[1])
        unknown = None
        if beside is not None:
            before = heading[1][: beside.start("number")]
            unknown = unknown_in(before, heading[0]) or other or None
        # A whole number beside a suite's name is a count or a version; a score has places or a per cent sign.
        if unknown is not None:
            notes.append(Note(line, _not_understood(rest, unknown), unread=True))
        elif beside is not None and (beside["percent"] or re.search(r"[.,]", beside["number"])):
            average = _percent(beside["number"], beside["percent"], line, notes)
            if average <= 100:
                events.append(PrintedScore(line, heading[0], average))
        elif beside is not None and re.match(r"[^:=\d]*[:=]", heading[1]):
            why = "a whole number may be a count; a score has places or a per cent sign"
            notes.append(Note(line, f"number not read: {rest.strip()[:60]} ({why})", unread=True))
        elif beside is None and _SCORE_LIKE.search(heading[1]):
            notes.append(Note(line, f"number not read: {rest.strip()[:60]}", unread=True))
    elif heading is None and rest and not events:
        name = rest.lstrip("# ").rstrip(": ")
        named = re.fullmatch(
            r"(?:模型\s*[:：]?\s*)?([\w./+-]+)\s*(?:模型)?(?:评测|评估|测试)?(?:结果|报告)?|([\w./+-]+)\s+results?",
            name,
        )
        name_of_model = model_of_heading((named[1] or named[2]) if named is not None else without_source(name))
        marked = raw.startswith("#")
        shown = re.sub(r"[`>#*\s]+", " ", rest).strip()
        # A heading, a short line that ends in a colon, or one that is the name of another benchmark.
        if (
            marked
            or (rest.rstrip().endswith(":") and len(shown) <= 50 and not _GENERIC.search(shown))
            or (len(shown) <= 60 and names_other_benchmark(shown) and not shown.endswith((".", ",", ";")))
        ) and name:
            events.append(OtherHeading(line, name if marked else without_source(name), level))
        single = re.fullmatch(r"[A-Za-z][\w.+/]*-[\w.+/-]*\d[\w.+/-]*", name_of_model) is not None
        shaped = _MODEL_NAME.match(name_of_model) is not None and re.search(r"[\d-]", name_of_model) is not None
        elsewhere = names_other_benchmark(without_source(name))
        if (single or (marked and shaped)) and not _GENERIC.search(name_of_model) and not elsewhere:
            events.append(ModelHeading(line, name_of_model, certain=False))
    labelled = _METRIC_LINE.match(rest)
    if not events and labelled is not None and is_metric(labelled["metric"]):
        notes.append(Note(line, f"number not read: {rest[:60]}", unread=True))
        events.append(Aside(line, rest, "unread"))
    scored = any(isinstance(event, PrintedScore) for event in events)
    if not scored and not notes and len(rest) <= 160 and re.search(r"[0-9][.,][0-9]", rest) and any_suite(rest):
        told = re.search(r"average|\bavg|\bmean|\bscore", rest, re.IGNORECASE) is not None
        notes.append(Note(line, f"number not read: {rest[:60]} (not of the forms that give an average)", unread=told))
    if not events and names_something_else(rest, None):
        events.append(Aside(line, rest, "sentence"))
    count, some = shots_named(raw)
    heads = any(isinstance(event, (SuiteHeading, OtherHeading, ModelHeading)) for event in events)
    if heads and (some or count is not None):
        events.append(Shots(line, count, level or 7))
    elif count is not None and not events and len(raw) <= 60 and not re.search(r"\b(?:train|tun|learn)", raw):
        events.append(Shots(line, count, 7))
    return events, notes
