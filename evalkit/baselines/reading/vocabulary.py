"""The words that may stand around scores of nous-2023, and the settings that its harness printed: closed lists."""

from __future__ import annotations

import re

from evalkit.baselines.reading.cells import holds_nothing
from evalkit.baselines.reading.commands import settings_of
from evalkit.baselines.reading.fences import FENCE_MARK
from evalkit.baselines.reading.taken_from import made_from, taken_from, without_source
from evalkit.results.task_names import (
    METRICS,
    names_other_benchmark,
    shots_named,
    suite_of_task,
    task_and_metric,
)

# --- words ---

_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    a about above achieved achieves across again against ai all also an and are as at auto autoeval auto-eval
    average averaged averages avg base basic be been below benchmark benchmarked benchmarking benchmarks best
    better between both by can card chart click found expand collapse current has some compare compared
    compares comparison comparisons complete conducted data dataset datasets detail detailed details done each
    eleuther eleutherai entire eval evals evaluate evaluated evaluating evaluation evaluations final find
    first-party following follows for framework from full further get github github.com gist got harness have
    here hf how huggingface huggingface.co in is it its leaderboard link links listed llm llm-autoeval lm
    lm-eval lm-evaluation-harness log logs main mean means measured merge merged merges merging method
    methodology metric metrics model models more most multiple my nous nousresearch nous-benchmark-suite
    obtained of official on on-par open openai original other others our ours out outperforms over overall
    overview own page part performance performed performs please provided quality raw read report reported
    reports repository reproduce research result results row rows run runs same score scored scores see
    several set sets shown shows suite suites summary table tables task tasks test tested tests than thanks the their
    them these this those to total trained used uses using value values version versions via was we well were
    when which with yet you your acc accuracy norm normalized percent per cent mc2 mcg mc all-round code
    coding reasoning general knowledge understanding common sense macro unweighted arithmetic subtasks subtask
    summarized summarised individual respective respectively new old previous before after update updated
    inference copy results.json scoring section contents note notes humaneval pass pass1 pass@1 glaive

    very much almost quite really slightly still good great strong nice fine useful usefull lovers enjoy check out
    now up down highest lowest seen every achieving currently us place list top position comparing supplanting
    1st 2nd 3rd
    notebook colab preference tuned fine-tune fine-tuned finetune finetuned recipe pairs thank big happy excited
    welcome special kudos feel free hope work community friend friends awesome amazing impressive competitive size
    sized class despite being while even though like similarly mlabonne maxime labonne teknium distilabel capybara
    orca yall vs versus reference gets reaches
    """,
    )
)
_CJK = re.compile(
    r"(?:基准|测试|测评|评测|评估|评价|推理|集|结果|模型|平均|分数?|得分|成绩|总|任务|性能|对比|比较|表现|下|表|如|的|在|上|各|个|项|四|套件|综合|值"
    r"|数据|见|本|我们|与|和|及|其他|其它|是|为|所有|汇总|报告|能力|准确率|与|指标|参考)+"
)
# Words that models are named with, where nothing else tells that a word is a name.
_MODEL_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    mistral mixtral llama qwen gemma phi yi solar zephyr starling hermes openhermes nous tinyllama falcon mpt
    bloom pythia vicuna alpaca wizardlm openchat dolphin deita gpt claude palm gemini baichuan internlm
    chatglm deepseek orca openorca orca-mini stablelm smollm olmo opt redpajama dolly guanaco samantha
    airoboros capybara puffin stablebeluga platypus wizard neural intel tulu notus command dbrx grok minicpm
    aya amber neuralhermes marcoro marcoroni beagle neuralbeagle monarch alphamonarch kunoichi laser teknium
    synthia xwin open hermes-2 collective cognition base instruct instruction chat sft dpo orpo rlhf ipo kto
    slerp ties dare dare-ties moe it pro mini small medium large tiny merge merged linear stock model-stock
    passthrough preview final the this model ours our experimental laser laserrl turbo ultra nano step
    checkpoint intermediate-step token awq gptq gguf exl2 bf16 fp16 fp8 int8 int4 nf4 quantized
    """,
    )
)
# Those of them that name no model where no other word does.
_NOT_ALONE = frozenset(
    ("base", "model", "the", "this", "gpt", "open", "it", "our", "step", "token", "checkpoint", "final", "preview")
)
_LANGUAGES = (
    r"english|german|french|spanish|italian|portuguese|dutch|polish|russian|chinese|mandarin|japanese|korean|arabic|hindi"
    r"|turkish|vietnamese|thai|indonesian|swedish|danish|norwegian|finnish|czech|greek|hebrew|ukrainian|romanian|hungarian"
    r"|bengali|tamil|urdu|persian|farsi|catalan|basque|deutsch|français|español|italiano|português|multilingual|bilingual"
    r"|translated|translations?|中文|英文|英语|德语|法语|日语|韩语|俄语|西班牙语|多语言?|翻译"
)
# What says that something was measured otherwise, wherever it stands near scores.
_OTHER_WAY = re.compile(
    r"(?<![a-z])(?:[nk#]\s*-?\s*shots?|shots?|(?:num_)?few[\s_-]*shots?|num_fewshot|in-context|icl|demonstrations?"
    r"|limits?|limited|subsets?|subsampl\w*|sampled?|samples|sampling|first\s+[0-9]+|random(?:ly)?|partial(?:ly)?|in\s+part"
    r"|chat[\s_-]*templates?|chatml|templates?|templated|prompt(?:s|ed|ing)?|prompt[\s-]*formats?|system\s+(?:prompt|message)s?"
    r"|cot|chain[\s-]*of[\s-]*thoughts?|self[\s-]*consistency|maj(?:ority)?@?[0-9]*|best[\s-]*of[\s-]*[0-9n]+|pass@(?!1(?![0-9]))[0-9k]+"
    r"|temperature|greedy|generative|generation|seeds?|splits?|train(?:ing)?[\s-]*(?:set|split)|dev(?:[\s-]*set)?|validation"
    rf"|thinking|tools?|open[\s_-]*compass|light[\s_-]*eval|{_LANGUAGES})(?![a-z])"
    r"|样本|提示|模板|思维链|子集|抽样|随机|温度|种子"
    r"|\A\W*[0-9.]+\s?[BM]\s+(?:models?|variants?|versions?)\W*\Z|\bover\s+all\s+models\b"
    r"|\A\W*(?:below|above|here|next|now|this\s+is|these\s+are)\b.*\b(?:parent|teacher|student|source|original|base)\s+model\b",
    re.IGNORECASE,
)
_ZERO = re.compile(r"(?<![0-9a-z])(?:0|zero)[\s_-]*shots?(?![a-z])|零样本", re.IGNORECASE)


def other_way(text: str) -> str | None:
    """Return the words of a label that say that something was measured otherwise than nous-2023; None if none do."""
    plain = _ZERO.sub(" ", text)
    count, some = shots_named(plain)
    if count or some:
        return f"{count}-shot" if count else "few-shot"
    found = _OTHER_WAY.search(plain)
    return str(found[0]) if found is not None else None


def takes_no_part(line: str) -> bool:
    """Tell whether a line says nothing: it is empty, a rule, a fence, a tag, an image or an address."""
    said = _AUTOEVAL.sub("", re.sub(rf"<[^>]*>|https?://\S+|{FENCE_MARK}\w*|!\[\]\S*", "", line))
    return re.search(r"\w", said) is None


# What LLM AutoEval prints below its tables: how long it took, on what.
_AUTOEVAL = re.compile(
    r"^\W*(?:metadata\W*elapsed[ _]time\W*[0-9:]*\W*(?:gpu\W*[^'\"]*)?\W*|elapsed[ _]time\W*[0-9:]+)\W*$", re.IGNORECASE
)


def is_name(text: str) -> bool:
    """Tell whether a text is a model's name, as far as a name can be told: by its shape or a word of models' names.

    A name has a word with a letter and a digit, a hyphen or a capital inside, or one of a family of models. Every other
    word has to be one that models are named with, or begin with a capital beside such a word. What stands in brackets
    says more of the model (``base``, ``this model``).

    >>> [is_name(name) for name in ("OpenHermes 2.5 Mistral 7B", "teknium/Foo-7B", "Llama 2 (base)")]
    [True, True, True]
    >>> [is_name(name) for name in ("Upper bound", "σ", "Foo-7B (German)", "Improvement over Foo-7B", "95 % interval")]
    [False, False, False, False, False]
    """
    text = text.strip(" *_`#:|>")
    if other_way(text) is not None or re.search(r"\s[-–—−/+]\s|[=<>%±Δ∆σ]|\bvs\b", text):
        return False
    inside = " ".join(re.findall(r"[(\[（]([^)\]）]*)[)\]）]", text))
    outside = re.sub(r"[(\[（][^)\]）]*[)\]）]", " ", text)
    if any(word.lower() not in _MODEL_WORDS and not _shaped(word) for word in re.findall(r"[^\s,;]+", inside)):
        return False
    words = [word.strip(".,:;*_`\"'†‡§") for word in outside.split()]
    words = [word for word in words if re.search(r"\w", word)]
    known = [word for word in words if _shaped(word) or word.lower() in _MODEL_WORDS - _NOT_ALONE]
    rest = [word for word in words if not _shaped(word) and word.lower() not in _MODEL_WORDS]
    ours = text.lower() in ("this model", "ours", "our model", "base model", "base", "本模型")
    if any(_STATISTIC.fullmatch(word) for word in rest) or any(
        _OF_NUMBERS.search(parts_of(word)) for word in words if not word.endswith((".json", ".jsonl"))
    ):
        return False
    return ours or (bool(known) and all(re.fullmatch(r"[A-Z][A-Za-z]*|v?[0-9][0-9.]*[a-zA-Z]?", w) for w in rest))


def has_word_of_models(name: str) -> bool:
    """Tell whether one of a name's parts is a word that models are named with, as a family's or a way to train."""
    return any(part.lower() in _MODEL_WORDS for part in re.split(r"[\s_.-]+|(?<=[a-z])(?=[0-9])", name))


def is_plain_name(text: str) -> bool:
    """Tell whether a text is a model's name and holds no word beside it that models are not named with.

    >>> is_plain_name("Nous Hermes 2 Mistral 7B"), is_plain_name("Leaderboard Bar-13B")
    (True, False)
    """
    words = [word.strip(".,:;*_`\"'†‡§") for word in re.findall(r"[^\s,;()\[\]]+", text)]
    return is_name(text) and all(
        _shaped(word) or word.lower() in _MODEL_WORDS or re.fullmatch(r"\W*|v?[0-9.]+[a-zA-Z]?", word) for word in words
    )


def is_statistic(text: str) -> bool:
    """Tell whether a label is one of numbers about models, and has no word that a model is named with.

    >>> [is_statistic(label) for label in ("Upper bound", "Win rate", "Average of models", "Best-7B", "Foo")]
    [True, True, True, False, False]
    """
    words = [word.strip(".,:;()[]*_`") for word in text.split()]
    named = any(_shaped(word) or word.lower() in _MODEL_WORDS - {"model", "models", "the", "final"} for word in words)
    return not named and (
        any(_STATISTIC.fullmatch(word) for word in words) or re.fullmatch(r"[σΔ∆]", text.strip()) is not None
    )


# Words that begin labels of numbers about models, and no names.
_STATISTIC = re.compile(
    r"improve\w*|gains?|loss|drops?|delta|diff(?:erences?)?|gaps?|changes?|average|mean|median|max(?:imum)?|min(?:imum)?|best|worst|upper|lower|bound"
    r"|percentiles?|ranks?|wins?|rates?|time|runtime|speed(?:-?ups?)?|latency|weights?|interval|errors?|std|stderr|variance|ratio"
    r"|majority|random|human|humans|sota|target|contamination|relative|recovery|number|docs|place|class|previous",
    re.IGNORECASE,
)


# The same where such a word is a part of one, as in Upper-Bound, AvgRank, CI95, Foo-7B-std, Foo-7B-0shot; what no
# model is named with alone ("best" is in names).
_OF_NUMBERS = re.compile(
    r"(?<!\S)(?:improve\w*|gains?|loss|drops?|delta|diff(?:erences?)?|gaps?|changes?|average|avg|mean|median|max(?:imum)?|min(?:imum)?"
    r"|upper|lower|bound|percentiles?|ranks?|wins?|rates?|time|hours?|year|latency|interval|ci|errors?|se|std|stderr|variance|ratio"
    r"|majority|random|chance|human|level|sota|target|marks|scores?|tests?|train|dev|val|tasks?|runs?|samples?|acc|mc|norm|evals?"
    r"|shots?|version|reported|paper|judge|greedy|icl|prompt|chatml|thinking|oracle|top|z"
    r"|sys|system|baseline|beam|ppl|cn|jp|kr|ru|pt|zh|de|fr|es|en|ja|ko|[0-9]+ s|[nk] [0-9]+|@ [0-9]+)(?!\S)"
)


def parts_of(word: str) -> str:
    """Return the parts of a word in small letters: split at hyphens, digits and inner capitals.

    >>> [parts_of(word) for word in ("Upper-Bound", "CI95", "AvgRank", "Foo-7B-0shot", "Foo@5")]
    ['upper bound', 'ci 95', 'avg rank', 'foo 7 b 0 shot', 'foo @ 5']
    """
    return " ".join(re.findall(r"[0-9.]+|@|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+", word)).lower()


def _shaped(word: str) -> bool:
    """Tell whether a word has the shape of a model's name: Foo-7B, a/Foo, OpenHermes, 7B, v0.2."""
    if re.search(r"[^\W\d_]", word) is None or not word.isascii() or re.fullmatch(r"[nkp]=?[0-9]+", word):
        return False
    if re.fullmatch(r"[0-9]+(?:st|nd|rd|th|x|s|ms|h|gb|mb|k|-bit|bit)", word, re.IGNORECASE):
        return False
    digits = re.search(r"[0-9]", word) is not None and re.search(r"[A-Za-z]", word) is not None
    joined = re.fullmatch(r"[\w.]+(?:[-/_][\w.+]+)+", word) is not None and re.search(r"[A-Z0-9]", word) is not None
    return digits or joined or re.search(r"[a-z][A-Z]", word) is not None


SUITE_NAMES = re.compile(
    r"gpt[\s_-]*4[\s_-]*all|agi[\s_-]*eval|big[\s_-]*bench(?:[\s_-]*hard)?|truthful[\s_-]*qa(?:_mc)?|human[\s_-]*eval",
    re.IGNORECASE,
)


_COUNTED = r"(?:re-?)?run|seed|epoch|checkpoint|ckpt|step|trial|attempt|iteration|round|repeat|repetition|replicate"
_ORDINAL = r"first|second|third|fourth|fifth|last|final|other|another|1st|2nd|3rd|[4-9]th|[1-9][0-9]th"
RUN_LABEL = re.compile(
    rf"\b(?:(?:{_COUNTED})(?:\s*(?:no\.?|number|nr\.?|[#:=№])?\s*|-)[0-9][0-9,._]*[km]?|(?:{_COUNTED})\s+(?-i:[A-Z])"
    rf"|(?:{_ORDINAL})\s+(?:{_COUNTED})s?|re-?run)(?=[^\w]*$|\s*[,;:)\]|]|\s+-+\s|\s+(?:of|results?|scores?)\b)",
    re.IGNORECASE,
)
"""Which of several runs, seeds or checkpoints it is: what follows is not the same measurement as what came before."""


def label_of(line: str) -> str | None:
    """Return what a line between two tables says beside the words that say nothing of a model; None if it says nothing.

    >>> [label_of(line) for line in ("Results for Foo-7B", "=== Epoch 2 ===", "## AGIEval", "Average: 44.12")]
    ['Foo-7B', 'Epoch 2', None, None]
    >>> [label_of(line) for line in ("**Run 2**", "Results of the second run:", "Foo-7B, seed 1", "We run 3 suites")]
    ['Run 2', 'second run', 'Foo-7B seed 1', None]
    """
    if takes_no_part(line) or holds_nothing(line.strip()) or settings_of(line) is not None:
        return None
    text = re.sub(rf"<[^>]*>|https?://\S+|{FENCE_MARK}\w*", " ", line).strip(" #>*_`|=-+•")
    text = without_source(re.sub(r"^[0-9]{1,2}[.)]\s+", "", text))
    board = len(text) <= 60 and _BOARD.search(line) is not None
    text = _BOARD.sub(" ", text)
    if names_other_benchmark(text) and len(text) <= 60:
        return None
    took = _DURATION.fullmatch(text)
    if took is not None and not is_name(took["where"] or ""):
        return None
    text = _HARNESS.sub(" ", re.sub(r"(?<=\w)['’]s\b", " ", text))
    run = RUN_LABEL.search(text)
    rest = text if run is None else f"{text[: run.start()]} {text[run.end() :]}"
    rest = _ZERO.sub(
        " ", SUITE_NAMES.sub(" ", re.sub(r"[0-9]+[\s-]*shots?\b|(?:num_)?few[\s_-]*shots?", " ", rest, flags=re.I))
    )
    rest = re.sub(r"(?<![\w.-])[0-9]+(?:[.,][0-9]+\s*%?|\s*%)|\bpass\s*@?\s*1\b|@", " ", rest, flags=re.IGNORECASE)
    words = [word for word in re.findall(r"[^\s,;:!?()\[\]{}\"'|=*`~<>&]+", rest) if re.search(r"\w", word)]
    telling = _TELLING if _OF_SCORES.search(text) else _TELLING | {"others", "best", "worst", "merge", "merged"}
    telling |= {"others"} if re.search(r"\b(?:of|for|by)\s+(?:the\s+)?others\b", text, re.IGNORECASE) else set()
    telling |= {"other"} if re.search(r"\bother\s+models?\b", text, re.IGNORECASE) else set()
    telling |= {"reference", "comparison"} if re.match(r"\W*for\s+(?:reference|comparison)\W*$", text, re.I) else set()
    own = [word for word in words if not _says_nothing(word, telling) and word.lower() not in _PLACES]
    if run is not None:
        own = [*(word for word in own if not re.fullmatch(r"[0-9.]+", word)), run[0].strip()]
    if not own or all(re.fullmatch(r"[0-9.]+", word) for word in own):
        return None
    if board:  # of a leaderboard, only a model says something
        own = [word for word in own if _shaped(word) or word.lower() in _MODEL_WORDS]
        if not is_name(" ".join(own)):
            return None
    return " ".join(own) if len(own) <= 6 else " ".join(line.split())[:60]


# A place where scores were taken from is no model, and what is said of it may be.
_BOARD = re.compile(r"(?:open[\s_-]*llm[\s_-]*)?leader[\s_-]*board(?:['’]s|s)?|排行榜上?的?", re.IGNORECASE)
_PLACES = frozenset(("source", "sources", "scratch", "via", "lists", "leaderboards"))


# What the harness was, and the time that it took on a machine, say nothing of a model; nor does GPT4All's short name.
_HARNESS = re.compile(
    r"[(\[][^()\[\]]*(?:lm[\s_-]*eval|harness|lighteval|opencompass)[^()\[\]]*[)\]]"
    r"|(?:lm[\s_-]*eval(?:uation)?(?:[\s_-]*harness)?|harness)(?:\s+[\w./-]+){0,2}\s+(?:branch|commit|fork|tag)\b"
    r"|(?:[\w./`-]+\s+)?(?:branch|commit|fork|tag)\s+of\s+(?:the\s+)?(?:lm[\s_-]*eval|harness|eleuther)[\w-]*"
    r"|(?<![\w-])gpt\s+(?=(?:evaluations?|evals?|benchmarks?|bench|suite|tasks?|set)\b)",
    re.IGNORECASE,
)
_DURATION = re.compile(
    r"(?:(?:took|time|runtime|duration|elapsed|total|in|about|~)\W*){0,3}"
    r"(?:(?:[0-9]+(?:[.,][0-9]+)?\s*(?:h(?:ou)?rs?|min(?:ute)?s?|sec(?:ond)?s?|days?)[\s,]*){1,4}"
    r"|(?:[0-9]+\s*h\s*)?[0-9]+\s*m\s*[0-9]+\s*s)\s*(?:[(\[](?P<where>[^()\[\]]*)[)\]])?\W*|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:\.[0-9]+)?",
    re.IGNORECASE,
)
_TELLING = {"old", "new", "before", "after", "previous", "original", "merged", "base", "ours"}
"""Known words that tell one model from another where they stand above its scores."""
_OF_SCORES = re.compile(
    r"\b(?:results?|scores?|benchmarks?|suites?|tasks?|evaluations?|evals?|tables?|bold|in|is|are|was|were)\b", re.I
)


# Those that say of scores below them that they are another model's than the file's.
_ANOTHERS = frozenset(
    ("other", "others", "previous", "old", "original", "before", "base", "best", "worst", "reference", "comparison")
)


def names_another(line: str, label: str) -> bool:
    """Tell whether a line above scores names whose they are; `label` is what `label_of` finds in it.

    >>> [names_another(line, line) for line in ("GPT-4", "## Previous best", "v2", "GPU: A100", "Colab")]
    [True, False, False, False, False]
    >>> names_another("Previous best:", "Previous best")
    True
    """
    words = [word.strip(".*_-:").lower() for word in label.split()]
    if is_version(label) or all(word.endswith((".json", ".jsonl")) for word in words):
        return False  # a version of the model; its results file
    if all(word in _ANOTHERS for word in words):
        return True
    if line.startswith("#"):
        return is_name(label)
    key, _, value = re.sub(r"[:=]\s*$", "", line).partition(":")
    said = not value.strip() or re.search(
        r"compar|reference|result|score|eval|bench|结果|对比|比较|参考", key, re.IGNORECASE
    )
    own = " ".join(word for word in label.split() if word.lower().strip(".:") not in _ANOTHERS)
    whose = bool(said) or taken_from(line, names_model=False) is not None
    return whose and not made_from(line) and is_name(own)


def is_version(label: str) -> bool:
    """Tell whether a label says no more than a version."""
    return re.fullmatch(r"(?:v(?:ersion)?\.?\s*)?[0-9][0-9.]*[a-z]?", label.strip(), re.IGNORECASE) is not None


def name_in(label: str) -> str:
    """Return a label that `names_another` as a name: without "Original" where a name stands behind it.

    >>> name_in("Original a/Source-7B"), name_in("Previous best")
    ('a/Source-7B', 'Previous best')
    """
    own = label.partition(" ")[2]
    return own if label.lower().startswith("original ") and is_name(own) else label


def _says_nothing(word: str, telling: set[str]) -> bool:
    plain = word.strip(".*_-†‡§%↑↓⬆⬇").lower()
    known = (plain in _WORDS and plain not in telling) or plain in METRICS
    return known or _CJK.fullmatch(plain) is not None or suite_of_task(task_and_metric(plain, "")[0]) is not None
