"""Does a text look like a model's name? What is taken from prose and does not is no name of anybody."""

from __future__ import annotations

import re

from evalkit.baselines.reading.cells import score_of
from evalkit.baselines.reading.vocabulary import RUN_LABEL, is_name

# Labels that say which of several models or runs it is, as well as a file says it.
_ROLE = re.compile(
    r"(?:(?:the|our|my)\s+)?(?:previous|old|new|original|before|after|base|best|worst|others?|teacher|student|parent"
    r"|ours|merged?)(?:\s+(?:best|models?|versions?|ones?|merge|checkpoint|[Vv]?[0-9][0-9.]*))*"
    r"|(?:before|after)\s+[\w-]+"
    r"|(?:first|second|third|final|last)\s+(?:best|models?|versions?|merge|checkpoint)"
    r"|(?:models?|variants?|versions?|candidates?|baselines?|runs?|system|method)\W{0,2}[A-Z0-9][\w.]*"
    r"|(?:旧|新|原始?|基础|基座|学生|教师|父|本|第.{1,2}次).{0,6}",
    re.IGNORECASE,
)
# Words of prose, of hardware and of dates: a text with one of them is a remark, whatever its other words look like.
_PROSE = re.compile(
    r"\w+(?:ing|ly)|(?:acknowledge|measure|experi|improve|environ|announce|require|agree)ments?|\w{3,}(?:ation|ition)s?"
    r"|(?:measur|evaluat|report|tak|copi|updat|train|us|bas|releas|publish|test|obtain|comput|generat|creat|quot|cit)(?:ed|en)?"
    r"|a|an|the|this|that|these|those|our|my|their|its|his|her|all|some|every|everything|nothing|something|another|same|own"
    r"|i|we|you|they|he|she|it's|is|are|was|were|be|been|has|have|had|do|does|did|done|will|would|can|could|should|must|may"
    r"|of|for|from|with|without|on|in|at|by|to|into|as|and|or|but|if|so|than|then|when|while|where|how|why|what|which|who"
    r"|not|no|also|only|just|once|again|here|there|below|above|next|now|later|today|first|second|third|last|following"
    r"|scratch|source|sources|reference|tables?|numbers?|figures?|scores?|results?|notes?|caveats?|remarks?|details?|thanks"
    r"|summary|overview|introduction|usage|setup|method(?:s|ology)?|discussion|conclusions?|appendix|changelog|news|faq|authors?"
    r"|citation|licen[cs]e|links?|downloads?|files?|parameters?|settings?|config|temperature|prompts?|templates?|tokenizers?"
    r"|formats?|datasets?|data|commit|branch|tag|date|time|runtime|duration|costs?|batch|hardware|gpus?|cpus?|npus?"
    r"|[0-9]{1,3}x\w+|(?:[ahvlpb][0-9]{2,3}0|rtx|gtx|tpu|ascend|cuda|rocm|mi[0-9]{3}x?|[0-9]{4})"
    r"|jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
    r"|enjoy|please|hello|hi|welcome|todo|wip|important|warning|caution|apply|average|mean|total|friend|team",
    re.IGNORECASE,
)


def is_number(text: str) -> bool:
    """Tell whether what stands where a name should is a number, with its error and marks, or has no letter.

    >>> [is_number(text) for text in ("70.10", "**0.80** ± 0.01", "1e-5", "7B", "01.AI")]
    [True, True, True, False, False]
    """
    return score_of(text.strip("*_` ")) is not None or re.search(r"[^\W\d_]", text) is None


_BESIDE = re.compile(
    r"(?:the|our|my|results?|scores?|numbers?|figures?|evaluations?|evals?|evaluated|benchmarks?|benchmarked|bench|model|models|card"
    r"|of|for|on|by|with|and|in|is|are|nous|lm|eval|harness|gpt4all|agieval|bigbench|truthfulqa|[0-9.]+|vs|new|old|original)",
    re.IGNORECASE,
)


def stands_alone(name: str, line: str) -> bool:
    """Tell whether a name is all that its line says, beside words like "results of"; one with digits may stand in more.

    >>> stands_alone("Kunoichi", "## Results for Kunoichi:"), stands_alone("Intel", "Thanks to Intel:")
    (True, False)
    """
    if re.search(r"[0-9/]", name):
        return True
    own = {word.lower() for word in re.findall(r"\w+", name)}
    return all(word.lower() in own or _BESIDE.fullmatch(word) for word in re.findall(r"[^\W_]+", line))


def may_be_a_name(text: str) -> bool:
    """Tell whether a text of a file may be called a model's name.

    It looks like a name, it is a few capitalised words, none of them of prose, or it says which of several models or
    runs is meant.

    >>> [may_be_a_name(text) for text in ("Foo-7B", "Kunoichi DPO", "Model A", "Previous best", "Run 2", "a/foo")]
    [True, True, True, True, True, True]
    >>> [may_be_a_name(t) for t in ("scratch", "Source", "Peter measured these", "Commit abc123", "June 2024", "70.10")]
    [False, False, False, False, False, False]
    """
    plain = text.strip(" *_`:#~")
    if is_number(plain):
        return False
    if _ROLE.fullmatch(plain) or RUN_LABEL.fullmatch(plain):
        return True
    words = [word for word in re.split(r"[\s,;:()\[\]]+", plain) if re.search(r"\w", word)]
    if any(_PROSE.fullmatch(word.strip("*_`.!?'\"")) for word in words):
        return False
    parts = [part for word in words for part in word.split("-")]
    if not re.search(r"[0-9/]", plain) and len(words) == 1 and any(_PROSE.fullmatch(part) for part in parts):
        return False  # Fine-tuning, Pre-training
    if (run := RUN_LABEL.search(plain)) is not None:
        plain = f"{plain[: run.start()]} {plain[run.end() :]}".strip(" ,;:()-")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", plain):
        return True
    own = re.sub(r"^(?:(?:the|our|new|old|original|previous|base)\s+)+", "", plain, flags=re.IGNORECASE)
    return is_name(plain) or is_name(own) or (len(words) <= 5 and all(re.match(r"[A-Z0-9]", word) for word in words))
