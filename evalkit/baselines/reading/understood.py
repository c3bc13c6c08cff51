"""Is a line near scores understood? A closed rule: after all that is known is taken away, nothing may be left.

What is known is short on purpose: suites and tasks, the file's own model, words that say "results of the evaluation",
the harness that nous-2023 was measured with, numbers and dates. Whose scores a line speaks of, and where they were
taken from, can be said in more ways than a list can hold; so a line that says anything else makes them ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from evalkit.baselines.reading.vocabulary import SUITE_NAMES, takes_no_part, without_task_counts
from evalkit.suites import load_suites
from evalkit.task_names import METRICS, suite_of_task, task_and_metric

_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    a about above achieved all also an and are as at be been below can complete detailed details done each
    evaluate evaluated evaluating evaluation evaluations eval evals find follow follows following for
    general get gets has have i in information is it its measured metadata more my now obtained of on our
    overall overview performance performed please reached reaches report show shown shows summary
    the these this to total useful value values was we were which with you
    average averaged averages avg mean macro unweighted percent accuracy acc result results score scored scores
    metric metrics table tables section appendix notes note row rows column columns test tests tested bench
    benchmark benchmarks benchmarked benchmarking suite suites task tasks subtasks
    quality reasoning reading comprehension knowledge coding common sense understanding language elapsed time json
    mc1 mc2 pass nous harness lm lm-eval lm_eval lm-evaluation-harness llm autoeval auto-eval llm-autoeval gist
    colab notebook
    """,
    )
)
_IN_HEADINGS = frozenset(("comparison", "comparisons", "compared", "compare", "model", "models"))
"""What a heading of Markdown may say as well: a table below "Benchmarks Compared" names its models itself."""
_CJK = re.compile(
    r"(?:基准(?:测试|评测)集?|测试集?|测评|评测|评估|评价|推理|结果|(?:本|我们的?)模型|平均|分数?|得分|成绩|总|任务|性能|表现|以?下|如|的|在|各项|套件|综合"
    r"|值|我们|和|及|汇总|能力|准确率|指标)+"
)
_PHRASES = re.compile(
    r"\bsee the entire leaderboard here\b|\bsee\s+(?:the\s+)?(?:tables?|below)\b|\bhere(?=\s+(?:are|is|the)\b)"
    r"|\bcheck out the alternative leaderboard at\b|\bmlabonne\s+useful\s+colab\s+notebook\b"
    r"|\beleuther(?:ai)?\b(?=[\s/]+(?:lm|language|eval|harness))"
    # Behind a model's own average: what an earlier one had.
    r"|(?:\bup\s+|\bdown\s+)?\bfrom\s+[0-9.]+\s*%?\s+(?:in|on|with)\s+[\w./-]+\s*\Z"
    r"|\b(?:using|with|on|by)\s+(?:the\s+)?nous(?:['’]s?)?(?:\s+research(?:['’]s?)?)?\s+bench\w*(?:\s+suites?)?\b|\bnous\s+bench\w*"
    r"|\bbench\w*\s+sets?\b|\busing(?=\s+(?:mlabonne|llm[\s-]*autoeval|(?:the\s+)?(?:eleuther|lm[\s_-]*eval)))"
    r"|\bthe\s+models?\s+(?:was|were)\s+(?:also\s+)?evaluated\b|\A\W*none\W*\Z|\byall\b|\byet[\s_]+another[\s_]+llm[\s_]+leaderboard\b|\bcommon[\s-]sense\b"
    r"|\bbig[\s-]*bench[\s-]+hard\b(?=\W*\Z)|\bzero[\s-]*shots?\b|(?<![0-9])0[\s-]*shots?\b|\bpass\s*@?\s*1\b"
    r"|\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b|\b[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2,4}\b"
    r"|\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?\s+(?:[0-9]{1,2}(?:st|nd|rd|th)?,?\s+)?[0-9]{4}\b|\bgpt[\s_-]*4[\s_-]*all\b",
    re.IGNORECASE,
)
_HOME = re.compile(
    r"https?://(?:www\.)?(?:github\.com/(?:mlabonne/llm-autoeval|EleutherAI/lm-evaluation-harness|teknium1/LLM-Benchmark-Logs)"
    r"|huggingface\.co/spaces/mlabonne/Yet_Another_LLM_Leaderboard)[\w./#?=&-]*",
    re.IGNORECASE,
)
"""Pages of the harness and of the published logs themselves."""
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>()\[\]\"']+", re.IGNORECASE)
_WORD = re.compile(r"[^\s,;:!?()\[\]{}\"'/|=*`~<>+&•–—-][^\s,;:!?()\[\]{}\"'/|=*`~<>&]*")
# A score has two digits before its point or two behind it; "1.1" may be a version, and "10%" a share of the documents.
_AVERAGE = re.compile(r"(?<![\w.])(?:[0-9]{2,3}[.,][0-9]+|[0-9][.,][0-9]{2,})(?![\w.]*\d)\s*%?")
SHORT = 12
"""Words that a line has at most that is a label or a caption more than prose."""


def is_short(line: str, *, heading: bool) -> bool:
    """Tell whether the rule is for a line: a heading, a label that ends in a colon, a short line, one with an address.

    >>> is_short("Bar-13B:", heading=False), is_short("It was made " + "of many things " * 9, heading=False)
    (True, False)
    """
    said = line.strip("`*_ \t")
    words = len(said.split()) + len(re.findall(r"[\u3400-\u9fff]", said)) // 2
    return heading or said.endswith((":", "：")) or words <= SHORT or _ADDRESS.search(said) is not None


def left_over(line: str, names: Iterable[str], *, heading: bool = False) -> str | None:
    """Return the words of a line that are left after all that is known; None if nothing is.

    Args:
        line: the line, as read.
        names: the models that may be named, as the file calls them.
        heading: whether it is a heading of Markdown.

    >>> left_over("## Results of Foo-7B on the AGIEval suite (0-shot)", ["a/Foo-7B"]) is None
    True
    >>> left_over("Leaderboard scores of Bar-13B:", ["Foo-7B"]), left_over("Source: https://x.y/z", [])
    ('Leaderboard Bar-13B', 'Source https://x.y/z')
    """
    text = re.sub(r"<(?!https?:)[^>]*>|```\w*|!\[[^\]]*\]\([^)]*\)|!\[\]\S*", " ", line)
    addresses = [found[0] for found in _ADDRESS.finditer(_HOME.sub(" ", text))]
    addresses = [a for a in addresses if not any(_pattern(name).fullmatch(_last(a)) for name in names)]
    text = _ADDRESS.sub(" ", text)
    if takes_no_part(text) and not addresses:
        return None
    for name in sorted(names, key=len, reverse=True):
        text = _pattern(name).sub(" ", text)
    text = SUITE_NAMES.sub(
        " ", _PHRASES.sub(" ", without_task_counts(re.sub(r"(?<=\w)['’]s?\b|['’](?=\s)", " ", text)))
    )
    text = re.sub(r"^[\s#>*_-]*(?:[0-9]{1,2}[.)]|[0-9]{1,2}(?:\.[0-9]{1,2}){1,3}\.?)\s", " ", text)
    text = _AVERAGE.sub(" ", text)
    telling = re.match(r"\W*for\s+(?:comparison|reference)", text, re.IGNORECASE) is not None
    known = _WORDS | (_IN_HEADINGS if heading and not telling else frozenset())
    left = [word for word in _WORD.findall(text) if not _is_known(word, known)]
    return " ".join([*left, *addresses])[:60] or None


def _is_known(word: str, known: frozenset[str]) -> bool:
    plain = word.strip(".*_-†‡§%↑↓⬆⬇#@").lower()
    if not re.search(r"\w", plain) or plain in known or plain in METRICS or _CJK.fullmatch(plain):
        return True
    parts = [part for part in re.split(r"[-_.]+", plain) if part]
    return (len(parts) > 1 and all(part in known for part in parts)) or (
        suite_of_task(task_and_metric(plain, "")[0]) is not None or plain in load_suites()
    )


def _last(address: str) -> str:
    """Return the owner and name at the end of a page's address."""
    return "/".join(re.sub(r"/(?:(?:blob|tree|raw|resolve)/.*)?$", "", address.rstrip("/.,")).split("/")[-1:])


def _pattern(name: str) -> re.Pattern[str]:
    """Return a pattern of a model's whole name, with or without its organisation, in any spelling of its gaps."""
    owner, _, own = name.strip().rpartition("/")
    parts = [re.escape(part) for part in re.findall(r"[^\W_]+", own)]
    said = r"(?:[^\w/,;:]|_){0,3}".join(parts) if parts else "(?!)"
    before = re.escape(owner) if owner else r"[\w.-]+"
    return re.compile(rf"(?<![\w-])(?:{before}/)?{said}(?![^\W_]|-|\.\d)", re.IGNORECASE)
