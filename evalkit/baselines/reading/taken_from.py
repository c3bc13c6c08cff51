"""Lines that say where scores were taken from: a card, a leaderboard, a paper, another model's page.

Such scores are another's, or at least nobody knows how they were measured. What a model was *made* from is something
else ("Finetuned from a/Foo"), and what the scores were measured with ("from our harness"), too.
"""

from __future__ import annotations

import re

_PLACE = (
    r"(?:(?:model|data)\s*)?cards?|(?:open[\s_-]*llm[\s_-]*)?leader[\s_-]*boards?|papers?|(?:tech\w*\s+)?reports?|readmes?"
    r"|blogs?(?:\s*posts?)?|web\s?sites?|announcements?|authors?|publications?"
)
_TAKES = r"from|via|per|according\s+to|sources?\s*:|(?:taken|copied|quoted|cited|borrowed)\s+(?:from|in|of)"
_ITS = r"(?:(?!yet\b|yall\b|nous\b)[^\s:;.!?]+\s+){0,4}?"
_FROM_A_PLACE = re.compile(
    rf"(?<![\w-])(?:{_TAKES})\s+{_ITS}(?:{_PLACE})\b"
    r"|(?:来自|摘自|引自|取自|来源|根据)[^,，。:：]{0,12}?(?:模型卡|排行榜|榜单|论文|报告|官方|官网|博客)"
    # A page's address says it with these words, and a line that says nothing but the place.
    r"|\b(?:taken|copied|quoted|cited|borrowed|scores?|numbers?|figures?|results?|values?|sources?|via)\b[^.;]{0,30}?\bhttps?://\S+"
    r"|\A[\s>*_(\[]*(?:the\s+)?(?:hf\s+|hugging\s*face\s+)?(?:open[\s_-]*llm[\s_-]*)?leader[\s_-]*boards?[\s*_)\].:]*\Z"
    r"|\A\W*(?:official|(?:self[\s-]*)?reported|published|claimed|stated)(?:\s+(?:results?|scores?|numbers?|figures?|values?))?\W*\Z",
    re.IGNORECASE,
)
# Beside a model's name less says it as well.
_WITH_A_NAME = re.compile(
    r"(?<![\w-])from\b(?!\s+(?:scratch|(?:the\s+|our\s+|an?\s+)?(?:lm[\s_-]*eval|llm[\s_-]*auto|eleuther|harness|nous\b|runs?\b|gist)"
    r"|our\b|my\b|this\b|these\b|left\b|top\b))"
    rf"|(?<![\w-])(?:on|in|by|of)\s+(?:the|its|their|his|her)\s+{_ITS}(?:{_PLACE})\b|\bas\s+(?:reported|published|given|listed)\b"
    r"|\b(?:reported|published|quoted|cited|copied|taken|official)\b|[(\[]\s*(?:leader\s*board|paper|model\s+card)\s*[)\]]|来自|摘自|引自|取自",
    re.IGNORECASE,
)
_MADE = re.compile(
    r"\b(?:based|built|\w*train\w*|\w*tun(?:ed?|ing)|merg\w*|mix\w*|blend\w*|deriv\w*|distil\w*|quanti\w*|teacher|student"
    r"|sources?|parents?|adapters?|loras?|tokenizers?|datasets?|init\w*|continu\w*|upscal\w*|thanks|credits?"
    r"|(?:start|fork|convert|creat|prun|branch|grow|expand|compress|warm)\w*|made)\b|基于|微调|训练|合并",
    re.IGNORECASE,
)
"""What a line says that names what a model was made from, and not whose the scores below are."""
_SAYS_SO = re.compile(
    rf"(?<![\w-])(?:{_TAKES}|{_PLACE}|as\s+(?:reported|published|given|listed)|reported|published|taken|copied|quoted|cited"
    r"|official|numbers|figures|its|their)(?![\w-])|(?:来自|摘自|引自|取自|来源|根据)[^,，。:：()]{0,12}",
    re.IGNORECASE,
)


def made_from(line: str) -> bool:
    """Tell whether a line says what a model was made from.

    >>> [made_from(line) for line in ("Finetuned from a/Foo", "Merge of A-7B and B-7B", "Bar-13B (from its card)")]
    [True, True, False]
    """
    return _MADE.search(line) is not None and _FROM_A_PLACE.search(line) is None


def taken_from(line: str, *, names_model: bool) -> str | None:
    """Return the words of a line that say that scores were taken from somewhere; None if it does not say so.

    >>> taken_from("From the Bar-13B card:", names_model=True), taken_from("from Bar-13B:", names_model=True)
    ('From the Bar-13B card', 'from')
    >>> taken_from("Finetuned from Bar-13B", names_model=True) is taken_from("from step 500", names_model=False) is None
    True
    """
    found = _FROM_A_PLACE.search(line)
    if found is None and names_model and not made_from(line):
        found = _WITH_A_NAME.search(line)
    return str(found[0]) if found is not None else None


def without_source(text: str) -> str:
    """Return a text without the words that say where scores were taken from, so that a model's name is left.

    >>> without_source("Bar-13B, from the Open LLM Leaderboard"), without_source("From the Bar-13B card")
    ('Bar-13B', 'Bar-13B')
    >>> without_source("Foo-7B distilled from Bar")
    'Foo-7B distilled from Bar'
    """
    if taken_from(text, names_model=True) is None:
        return text
    rest = re.sub(r"\bthe\b", " ", _SAYS_SO.sub(" ", text), flags=re.IGNORECASE)
    return " ".join(re.sub(r"[(\[]\s*[)\]]", " ", rest).split()).strip(" ,;")
