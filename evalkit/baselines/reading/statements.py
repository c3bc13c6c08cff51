"""Which sentences give a number: a closed set of forms.

A sentence gives the average of a suite only if it is wholly understood: a suite's name, words that say nothing but
"average of its tasks in the headline metric", a linking sign or verb, one number, and the end; or, behind the number,
what it was before ("up from 40.1 in OpenHermes-1"). With any other word, or a second number, nobody knows what the
number is of: a rank, a change, another model's, another metric's.
"""

from __future__ import annotations

import re

from evalkit.config.suites import load_suites
from evalkit.results.task_names import any_suite, leading_suite, names_something_else, shots_named

NUMBER = r"\d{1,4}(?:[.,]\d+)?"

# Whole words that change nothing about which number an average is.
_WORD = re.compile(
    r"averaged?|avg|mean|scores?|overall|total|results?|accuracy|of|for|over|across|on|the|this|these|all|tasks?"
    r"|benchmarks?|subtasks?|suites?|sets?|in|is|was|are|and|at|now|rounded|per|cent|percent|final|macro|unweighted|our|its"
    r"|we|it|get|gets|got|has|have|reach|reaches|reached|achieve|achieves|achieved|model|models|metrics?|with"
    r"|(?:平均|分数?|得分|总|成绩|值|四|个|套件|基准|测试|集|任务|的|各项?|综合|在|上|为|是)+",
    re.IGNORECASE,
)
# The headline metric of the suite's average, under which names it is printed.
_HEADLINE = {
    "gpt4all": ("acc_norm", "norm"),
    "agieval": ("acc_norm", "norm"),
    "bigbench": ("multiple_choice_grade",),
    "truthfulqa": ("mc2",),
    None: ("acc_norm", "norm"),
}
_COUNT = re.compile(
    r"(?<![\w.])(?P<count>\d{1,2}|four)\s+(?:sub)?(?P<what>tasks|benchmarks|suites|sets)\b", re.IGNORECASE
)
_ERROR = re.compile(r"^\s*%?\s*(?:±|\+/?-)\s*\d+(?:[.,]\d+)?\s*%?")
_BEFORE = re.compile(
    rf"\s*%?[\s,;(-]*(?:(?:up|down)(?:\s+(?:by\s+)?{NUMBER}\s*%?(?:\s+points?)?)?(?:,?\s+)?)?"
    rf"(?:(?:from|vs\.?|versus|compared\s+(?:to|with)|improved\s+from|over)\s+(?:the\s+)?(?:{NUMBER}\s*%?)?"
    r"(?:\s*(?:in|on|of|with|by|for|at)?\s*(?P<name>[A-Za-z][\w.+/-]*(?:\s+[\w.+/-]+){0,5}?))?)?[\s).!]*",
    re.IGNORECASE,
)
_PASS_AT_1 = re.compile(r"pass\s*@?\s*1(?!\d)(?!\.\d)(?!\s*@)", re.IGNORECASE)


def _counts_of(suite: str | None) -> set[int]:
    """Return how many tasks "average of N tasks" may say."""
    suites = load_suites()
    if suite in suites:
        return {len(suites[suite].tasks)}
    return {4} | {len(found.tasks) for found in suites.values() if found.in_total}


def without_counts(text: str) -> str:
    """Return a sentence without "of 8 tasks", where that is how many the suite that it names has: no score."""
    counts = _counts_of(any_suite(text)) - {4}

    def kept(found: re.Match[str]) -> str:
        return " " + found["what"] if found["count"].isdigit() and int(found["count"]) in counts else found[0]

    return _COUNT.sub(kept, text)


def unknown_in(label: str, suite: str | None) -> str | None:
    """Return the first word or number around an average that is not of the closed set, or None.

    Args:
        label: the text without the number.
        suite: the suite that it names, if any.

    >>> unknown_in("AGIEval average", "agieval"), unknown_in("AGIEval average for Mistral", "agieval")
    (None, 'Mistral')
    """

    def kept(found: re.Match[str]) -> str:
        count = 4 if found["count"].lower() == "four" else int(found["count"])
        return " " if count in _counts_of(suite) else found[0]

    text = _COUNT.sub(kept, label)
    if (symbol := re.search(r"[~≈<>≤≥*/^+Δ∆→²³]", re.sub(r"^[\s>*+-]+", "", text))) is not None:
        return str(symbol[0])
    while suite is not None and (found := _first_suite(text)) is not None:
        text = f"{text[: found[0]]} {text[found[1] :]}"
    for word in re.findall(r"[^\W_]+(?:_[^\W_]+)*", text):
        if _WORD.fullmatch(word) is None and word.lower() not in _HEADLINE.get(suite, ()):
            return str(word)
    return None


def other_than_a_suites_average(label: str, suite: str) -> str | None:
    """Return the word by which a table's label of a suite is not that of its average, or None.

    How many examples the prompt has is the protocol's business and not judged here.

    >>> other_than_a_suites_average("TruthfulQA MC1", "truthfulqa")
    'MC1'
    >>> other_than_a_suites_average("AGIEval (5-shot)", "agieval") is None
    True
    """
    text = re.sub(
        r"(?:(?<![\w.])\d{1,3}|zero|few|one|two|three|four|five|ten|multi)[\s_-]*shots?\b|[零少]样本|\bacc\b|[†∗*%]",
        " ",
        label,
        flags=re.I,
    )
    if suite == "humaneval":
        text = _PASS_AT_1.sub(" ", text)
    return unknown_in(re.sub(r"\[\w{1,2}\]$", " ", text.strip()), suite)


def _first_suite(text: str) -> tuple[int, int] | None:
    """Return where the first suite's name stands in a text."""
    for start in re.finditer(r"(?<![^\W_])[A-Za-z]", text):
        rest = text[start.start() :]
        if (found := leading_suite(rest)) is not None:
            return start.start(), len(text) - len(found[1])
    return None


def unknown_after(rest: str, suite: str | None) -> str | None:
    """Return what stands behind a number and is neither its end nor what it was before; None if nothing does.

    >>> unknown_after(" - from 32.8 in OpenHermes-1", "bigbench"), unknown_after("st place", "bigbench")
    (None, 'st')
    """
    rest = _ERROR.sub("", rest)
    if "?" in rest:
        return "?"
    if re.match(r"\s*%?\W*?(?:#|$)", rest) or leading_suite(rest.lstrip(" %.,;/|·")) is not None:
        return None  # the end, or the next heading glued to it
    found = _BEFORE.fullmatch(rest)
    if found is not None and (found["name"] is None or _names_a_model(found["name"])):
        return None
    if re.match(r"\s*%?\s*\((?!\d)[^()]*\)[\s.]*$", rest) or re.search(r"[^\W\d_]", rest) is None:
        number = re.search(r"\d+", rest)
        return unknown_in(rest.replace("%", " "), suite) or (str(number[0]) if number is not None else None)
    # What begins like a statement of its own is judged by itself.
    following = re.match(r"[\s%]*[.,;|·]\s+(?P<next>.*)$", rest)
    if following is not None and re.match(r"(?:average|avg|mean|平均)", following["next"], re.IGNORECASE):
        return None
    return unknown_in(rest.replace("%", " "), suite)


def _names_a_model(name: str) -> bool:
    """Tell whether the words behind "from 40.1 in" are a model's name, and say nothing of how it was measured."""
    if shots_named(name) != (None, False) or names_something_else(name, None) or any_suite(name) is not None:
        return False
    plain = re.search(r"\b(?:shots?|samples?|limit|tasks?|runs?|steps?|seeds?|points?|epochs?)\b", name, re.IGNORECASE)
    return plain is None and re.search(r"[\d-]", name) is not None and re.match(r"[\d.]+$", name) is None


def pass_at_1(text: str) -> tuple[str, str, bool, bool] | None:
    """Read a line that speaks of pass@1.

    Returns:
        The number, its per cent sign, whether the line names HumanEval, and whether the line was wholly understood;
        None if the line does not speak of pass@1, or of pass@k at all.

    >>> pass_at_1("HumanEval pass@1: 50.7%"), pass_at_1("HumanEval pass@10: 57.3")
    (('50.7', '%', True, True), ('', '', True, False))
    """
    if re.search(r"pass\s*@?\s*\d", text, re.IGNORECASE) is None:
        return None
    rest, passes = _PASS_AT_1.subn(" ", text)
    named = _first_suite(rest)
    ours = named is not None and any_suite(rest) == "humaneval"
    if ours and named is not None:
        rest = f"{rest[: named[0]]} {rest[named[1] :]}"
    numbers = re.findall(r"(?<![\w.,+~/-])(\d{1,3}(?:\.\d+)?)(?![\w/])(?!\.\d)\s*(%?)", rest)
    words = re.sub(r"(?<![\w.,+~/-])\d{1,3}(?:\.\d+)?(?![\w/])(?!\.\d)\s*%?", " ", rest).replace("@", " ")
    words = re.sub(r"\b(?:zero-shot|greedy|score)\b", " ", words, flags=re.IGNORECASE) if ours else words
    whole = passes == 1 and len(numbers) == 1 and unknown_in(words, None) is None
    number, sign = numbers[0] if whole else ("", "")
    return number, sign, ours, whole


def says_more_than_a_row(text: str) -> bool:
    """Tell whether a line that speaks of pass@k holds words, so that it is a sentence and no row without bars.

    >>> says_more_than_a_row("HumanEval pass@1 12 score: 61.25"), says_more_than_a_row("humaneval 0 pass@1 0.5 ± 0.1")
    (True, False)
    """
    if re.search(r"pass\s*@?\s*\d", text, re.IGNORECASE) is None:
        return False
    rest = re.sub(r"human[\s_-]*eval|pass\s*@?\s*\d+|none|create_test", " ", text, flags=re.IGNORECASE)
    return re.search(r"[^\W\d_]{2}", rest) is not None and "|" not in text
