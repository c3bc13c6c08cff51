"""The words that may stand in a file of nous-2023: models' names, titles, labels, cells. Each is known exactly.

A text is of a kind only as a whole: beside a name or a suite nothing may stand, no sign, number, picture or letter of
another script, since each may say that it is another model, or was measured otherwise.
"""

from __future__ import annotations

import re

from evalkit.baselines.reading.columns import is_heading_word, is_version_column
from evalkit.baselines.reading.vocabulary import has_word_of_models, is_plain_name, other_way
from evalkit.config.suites import load_suites
from evalkit.results.harness_settings import names_nobody, other_weights
from evalkit.results.task_names import bare, leading_suite, suite_of_task, task_and_metric, without_arrows

# Parts of no name of one model: which of several it is, whose, how it was asked.
_NO_PART = re.compile(
    r"this|the|our|ours|shots?|few|zero|one|fewshots?|zeroshots?|[0-9nk]+shots?|translated|score|scores|prompt"
    r"|cot|icl|template|limit|subset|greedy|examples?|run|runs|seed|fp|[0-9]+(?:st|nd|rd|th)",
    re.IGNORECASE,
)
_NOT_ALONE = re.compile(
    r"models?|(?:intermediate-)?step|checkpoint|ckpt|token|tokens|epoch|base|of|by|for", re.IGNORECASE
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+]*(?:[ ./_-]+[A-Za-z0-9.+]+)*\+{0,2}")
_LANGUAGE = re.compile(
    r"(?<=\w)[-_](?:en|zh|cn|de|fr|es|it|ja|jp|ko|kr|ru|pt|pl|nl|vi|ar|hi|tr|id|th|sv)(?=$|[-_])", re.IGNORECASE
)
"""A language's code as a part of a name, which is not a word beside it."""
_WORDS_OF_NAMES = re.compile(r"(?<!\S)(?:meta|lm|llm|alpha|beta|nous)(?!\S)", re.IGNORECASE)


def is_model(text: str) -> bool:
    """Tell whether a text is a model's name and nothing else: letters, digits and the signs between them.

    >>> [is_model(name) for name in ("Nous Hermes 2 Mistral 7B", "a/Foo-7B", "Meta Llama 3 8B Instruct")]
    [True, True, True]
    >>> [is_model(name) for name in ("Foo-7B nf4", "Foo-7B step 1000", "base model", "Foo-7B (German)", "Foo-7B 🇩🇪")]
    [False, False, False, False, False]
    """
    if _NAME.fullmatch(text) is None or other_weights(text) is not None or other_way(text) is not None:
        return False
    words = text.split()
    alone = len(words) > 1 and any(_NOT_ALONE.fullmatch(w) for w in words if w.lower() != "base" or w == words[0])
    parts = [part for part in re.split(r"[ /_-]+", text) if part]
    if alone or any(_NO_PART.fullmatch(part) for part in parts) or (len(words) > 1 and "it" in text.lower().split()):
        return False
    text = _LANGUAGE.sub("", text)
    return is_plain_name(text) or is_plain_name(" ".join(_WORDS_OF_NAMES.sub(" ", text).split()))


OWN_ROLE = re.compile(r"ours|(?:this|our) model|本模型", re.IGNORECASE)
"""What a table calls the model of its file instead of its name."""
ROLE = re.compile(r"base(?: model)?", re.IGNORECASE)
"""What it calls another one."""
_PICTURES = re.compile(r"(?:[👑🏆🚀🔥✨⭐🌟💫🐬🦙🤖🌴🌙☀🧠💻🎉📊📈📝📋🏅🎯🧪🔎🔍]\ufe0f?\s*)+")
"""Decoration before a title or heading; a flag, a sign of warning or a medal says something."""


def bare_title(text: str) -> str:
    """Return a title without what says beside the name that it is one: "Model card for", "评测结果", decoration."""
    said = without_arrows(text.strip())
    said = _PICTURES.sub("", said, count=1) if _PICTURES.match(said) else said
    said = re.sub(r"^model card (?:for|of)\s+|^模型\s*[:：]?\s*|\s*(?:评测|评估|测试)?(?:结果)?$", "", said, flags=re.I)
    said = re.sub(
        r"(?:\s*:)?\s+(?:[-–—]\s+)?(?:(?:evaluation |benchmark )?(?:results|evaluation|benchmarks)|model card)$",
        "",
        said,
        flags=re.I,
    )
    return said.strip(" *_`").replace(" - ", " ")


def name_cell(cell: str) -> str:
    """Return a model's name in a cell of a table without "(ours)", a star, or the picture of a link behind it.

    >>> [name_cell(cell) for cell in ("Foo-7B (ours)", "Foo-7B*", "🏆 Foo-7B 📄", "Foo-7B (base)")]
    ['Foo-7B', 'Foo-7B', 'Foo-7B', 'Foo-7B (base)']
    """
    said = re.sub(r"(?<=\w)(?:\s*\((?:ours|this model)\)|[*∗]|\s*📄)$", "", plain_cell(cell), flags=re.IGNORECASE)
    return _PICTURES.sub("", said, count=1) if _PICTURES.match(said) else said


def is_title(text: str) -> bool:
    """Tell whether a title is a model's name and nothing else.

    >>> [is_title(text) for text in ("Hermes 2 - Solar 10.7B", "模型 M-7B 评测", "👑 Foo-7B", "Foo in 4 bits", "DPO")]
    [True, True, True, False, False]
    """
    said = bare_title(text)
    return not is_label(said) and is_model(said) and not names_nobody(said)


# Published logs that are called otherwise than the model that their harness's line names.
_SAME = {"mixtral7x8instructv0.1": "mixtral8x7binstructv0.1", "solar10.7bv1base": "solar10.7bv1.0"}
_SAME["dolphin2.6mixtral7x8"] = "dolphin2.6mixtral8x7b"


def same_model(one: str, other: str) -> bool:
    """Tell whether two names are one model's: the same but for case, separators and the owner (`a/` or `a__`).

    >>> same_model("a/Foo-7B", "foo_7b"), same_model("a/Foo-7B-base", "Foo-7B"), same_model("Foo-v1.0", "Foo-v0.1")
    (True, False, False)
    >>> same_model("opt-1-3b", "opt-1.3b"), same_model("opt-1-3b", "opt-13b"), same_model("a__Foo-7B", "a/Foo-7B")
    (True, False, True)
    >>> same_model("mistralAI/Mixtral-8x7B-Instruct-v0.1", "Mixtral-7x8-Instruct-v0.1")
    True
    """

    def plain(name: str) -> str:
        said = re.split(r"/|__", name.strip().strip("/_"))[-1].lower()
        said = re.sub(r"[\s_-]+", "", re.sub(r"(?<=[0-9])[\s_-]+(?=[0-9])", ".", said))
        return _SAME.get(said, said)

    return plain(one) == plain(other)


_RUN_WORDS = re.compile(
    r"results?|outputs?|out|evals?|evaluations?|exp(?:eriment)?s?|bench(?:mark)?s?|runs?|logs?|scores?|harness|autoeval|all|tasks?"
    r"|suite|table|json|gist|summary|readme|model|card|index|final|new|my|gpt4all|agieval|bigbench|truthfulqa|humaneval",
    re.IGNORECASE,
)
_RUN_ALONE = re.compile(
    rf"{_RUN_WORDS.pattern}|v?[0-9.]+|(?:out|output|exp|run|result|results|eval|test|bench)[0-9]+|tests?|nous|lm|llm|human|truthful|qa",
    re.IGNORECASE,
)
_WHEN = re.compile(
    r"20[0-9]{2}-?[01][0-9]-?[0-3][0-9](?:[T _-][0-9]{2}[:_-]?[0-9]{2}(?:[:_-]?[0-9]{2}(?:\.[0-9]+)?)?)?"
)
_SIZED = re.compile(r"(?<![^\W_])[0-9]+(?:[.x][0-9]+)*[bm](?![^\W_])", re.IGNORECASE)


def is_sized(name: str) -> bool:
    """Tell whether a file's name has a model's size."""
    return _SIZED.search(name) is not None


_BENCHMARKS = ("Nous", "Openllm")
"""What LLM AutoEval writes behind a model's name in that of a gist."""


def model_of_file(stem: str) -> str | None:
    """Return the model's name in that of a file or folder; None of words of runs, suites, dates, and small letters.

    Small letters name a model with its size or a word of models' names.

    >>> [model_of_file(stem) for stem in ("gpt4all", "out_2", "t06_pct_ok", "my-notes", "README", "log-2024-01-31")]
    [None, None, None, None, None, None]
    >>> [model_of_file(stem) for stem in ("results_Bar-13B", "Nous-Hermes-13B", "foo_7b", "zephyr", "GPT4All-J")]
    ['Bar-13B', 'Nous-Hermes-13B', 'foo_7b', 'zephyr', 'J']
    >>> model_of_file("Foo-7B-Nous"), model_of_file("nous")
    ('Foo-7B', None)
    """
    parts = re.split(r"([\s_-]+)", _WHEN.sub("", stem).strip("_- "))
    if all(_RUN_ALONE.fullmatch(part) or not part for part in parts[::2]):
        return None
    while not parts[0] or _RUN_WORDS.fullmatch(parts[0]):
        parts = parts[2:]
    while not parts[-1] or _RUN_WORDS.fullmatch(parts[-1]):
        parts = parts[:-2]
    if len(parts) > 2 and parts[-1] in _BENCHMARKS:
        parts = parts[:-2]
    name = "".join(parts)
    plain = re.fullmatch(r"(?!.*(?:epoch|step|check|ckpt|seed))[a-z0-9_.-]+", name) and not is_sized(name)
    return None if plain and not has_word_of_models(name) else name


def names_another_model(said: str, model: str) -> bool:
    """Tell whether the name of a file or folder is that of another model.

    >>> [names_another_model(said, "a/Foo-7B") for said in ("gpt4all", "out_2", "Foo-7B-agieval", "a__Foo-7B")]
    [False, False, False, False]
    >>> [names_another_model(said, "a/Foo-7B") for said in ("results_Bar-13B", "Foo-7B-v2", "Foo-7B-dpo", "Foo-7B 2")]
    [True, True, True, True]
    """
    name = model_of_file(said)
    same = (same_model(one, other) for one in (said, name or said) for other in (model, model.replace("/", "_")))
    return name is not None and not any(same)


# --- suites, tasks, metrics, headings ---

# What a label may say beside suites and tasks: nothing of whose, when, by whom, how often or of what data.
_LABEL_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    results result scores score benchmarks benchmark evaluation evaluations evals eval average averages avg avg. mean
    summary overall metrics metric suite suites table tables tasks performance 0-shot zero-shot macro and
    评测结果 评估结果 测试结果 评测 评估 测评 结果 得分 分数 平均 平均分 平均分数 平均得分 平均成绩 平均值 总分 汇总
    基准测试 基准测试结果 和
    """,
    )
)
SUITE = re.compile(
    r"(?<![^\W_])(?:gpt4[\s_-]*all|agi[\s_-]*eval|big[\s_-]*bench|truthful[\s_-]*qa(?:_mc)?|human[\s_-]*eval|nous[\s_-]*bench(?:mark)?)(?![^\W_])",
    re.IGNORECASE,
)
_METRICS = re.compile(
    r"(?:acc|acc_norm|acc_mutual_info|mc1|mc2|multiple_choice_grade|exact_str_match|exact_match|em|f1|bleu|rouge[12l]|pass@1"
    r"|(?:bleu|rouge(?:[12l]|lsum))_(?:max|acc|diff)|(?:word_|byte_)?perplexity|bits_per_byte|ppl|brier_score|mcc|likelihood_diff"
    r"|pct_stereotype|multiple choice grade|exact str match)(?:,none)?",
    re.IGNORECASE,
)
_AVERAGE_CELL = re.compile(
    r"(?:(?:macro|overall|total|grand)\s+)?(?:average|avg\.?|mean)(?:\s+(?:score|total))?|total(?:\s+average|\s+score)?|overall"
    r"|平均分?数?|平均得分|平均值|总分|合计",
    re.IGNORECASE,
)
_FACT = re.compile(
    r"models?|model name|names?"
    r"|licen[cs]es?|(?:#|total|active)?\s?params?|parameters?|sizes?|ranks?|ranking|#|suites?|changes?"
    r"|[δ∆]|变化|模型(?:名称?)?"
    r"|参数量?|大小|排名|许可证?",
    re.IGNORECASE,
)
"""Columns that say what a model is, and not how it was measured."""
CHANGE = re.compile(r"changes?|[δ∆]|变化", re.IGNORECASE)
"""The one column of them that is of scores."""
_FACT_VALUE = re.compile(
    r"[0-9.]{1,6}\s?[BMT]|apache-2\.0|mit|cc-by(?:-nc)?(?:-sa)?(?:-[0-9.]{1,3})?|llama ?[0-9.]*|gemma|other",
    re.IGNORECASE,
)
_SIGN = re.compile(r"±|\+/?-|_|-{1,3}|[-:]+|[↑↓⬆⬇]|n/?a|none|null|/|", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?[0-9]{1,6}(?:[.,][0-9]{1,18})?(?P<percent>\s?%)?(?:\s*(?:±|\+/?-)\s*[0-9.]{1,20}\s?%?)?")


def plain_cell(cell: str) -> str:
    """Return a cell without the signs of Markdown around it and arrows behind it."""
    return without_arrows(cell.strip()).strip("`").strip()


def is_task(text: str) -> bool:
    """Tell whether a text is exactly a task's name, in any spelling."""
    found = re.fullmatch(r"(?:[-└]\s*)?([A-Za-z][A-Za-z0-9 _:-]*)", text)
    return found is not None and suite_of_task(task_and_metric(found[1], "score")[0]) is not None


def is_suite(text: str) -> bool:
    """Tell whether a text is exactly a suite's name, or one with the number of its tasks, or a per cent sign.

    >>> [is_suite(text) for text in ("GPT4All", "AGIEval (%)", "GPT4All (7 tasks)", "GPT4All (5 tasks)", "TruthfulQA+")]
    [True, True, True, False, False]
    """
    found = SUITE.match(text)
    suite = leading_suite(found[0]) if found is not None else None
    if found is None or suite is None:
        return False
    count = len(load_suites()[suite[0]].tasks)
    return (
        re.fullmatch(rf"\s*(?:\(\s*%\s*\)|\[\s*%\s*\]|%|\({count} tasks\)|\(0-shot\))?\s*[:：]?", text[found.end() :])
        is not None
    )


def is_suite_with_shots(text: str) -> bool:
    """Tell whether a text is a suite's name, also with a number of examples, which is read as that suite's protocol."""
    return is_suite(re.sub(r"\s*\([0-9]{1,2}[\s-]?shots?\)$", "", text))


def is_metric_name(text: str) -> bool:
    """Tell whether a text is exactly a metric's name."""
    return _METRICS.fullmatch(text) is not None


def other_metric(text: str, suite: str) -> str | None:
    """Return the metric that a suite's label names and that its average is not of; None without one.

    >>> other_metric("TruthfulQA bleu", "truthfulqa"), other_metric("TruthfulQA mc2", "truthfulqa")
    ('bleu', None)
    """
    own = {task.headline for task in load_suites()[suite].tasks} | {"acc", "acc_norm", "pass@1"}
    own -= {"acc", "acc_norm"} if suite == "truthfulqa" else set()
    words = re.findall(r"[\w@]+", SUITE.sub(" ", text))
    return next((word for word in words if is_metric_name(word) and word.lower() not in own), None)


def is_average_name(text: str) -> bool:
    """Tell whether a cell is exactly the name of an average or a total."""
    return _AVERAGE_CELL.fullmatch(re.sub(r"\s*(?:\(\s*%\s*\)|\[\s*%\s*\]|%)$", "", text).strip(" :：")) is not None


def is_sign(text: str) -> bool:
    """Tell whether a cell is blank, a dash, an arrow or "±"."""
    return _SIGN.fullmatch(text.strip()) is not None


def is_fact(text: str) -> bool:
    """Tell whether a text heads a column of names, sizes, licences or ranks."""
    return _FACT.fullmatch(text.strip(" :")) is not None


def is_fact_value(text: str) -> bool:
    """Tell whether a text is a size, a licence or a rank."""
    return _FACT_VALUE.fullmatch(text) is not None or NUMBER.fullmatch(text) is not None or is_sign(text)


def is_heading(text: str, *, of_rows: bool = True) -> bool:
    """Tell whether a cell heads a column of a score table, exactly; in one `of_rows` with metrics also of shots."""
    plain = text.strip(" :_")
    error = re.fullmatch(r"(\w+)_stderr", plain, re.IGNORECASE)
    return (
        plain.isprintable()
        and (is_heading_word(plain, of_rows=of_rows) or is_version_column(plain) or is_metric_name(plain))
    ) or (error is not None and is_metric_name(error[1]))


# --- labels and averages ---


def is_label(text: str) -> bool:
    """Tell whether a heading or label names suites, tasks and results, and says nothing else.

    >>> [is_label(text) for text in ("1. GPT4All Benchmark results:", "GPT4All (7 tasks)", "AGIEval 评测结果")]
    [True, True, True]
    >>> [is_label(text) for text in ("Combined results:", "GPT4All (5 tasks)", "TruthfulQA 10%", "AGIEval+")]
    [False, False, False, False]
    """
    text = without_arrows(text.strip())
    text = re.sub(r"^(?:[0-9]{1,2}[.)]|[0-9]{1,2}(?:\.[0-9]{1,2}){1,3}\.?)\s+", "", text.strip())
    if _PICTURES.match(text) and not SUITE.search(text):
        text = _PICTURES.sub("", text, count=1)
    text = re.sub(r"^[*_]{1,3}(?=\w)|(?<=\w)[*_]{1,3}(?=[:：]?$)", "", text)
    found = SUITE.search(text)
    suite = leading_suite(found[0]) if found is not None else None
    if suite is not None:
        count = len(load_suites()[suite[0]].tasks)
        text = re.sub(rf"\(\s*{count}\s*(?:(?:sub)?tasks)?\s*\)|\b{count}\s+(?:sub)?tasks\b", " ", text, flags=re.I)
    text = re.sub(
        r"\((?:higher is better|%|0-shot|zero[\s-]shot)\)|\[(?:0-shot|zero[\s-]shot)\]", " ", text, flags=re.I
    )
    text = SUITE.sub(" \0 ", text)
    words = re.sub(r"[:：.]?\s*$", "", text)
    if suite is not None and other_metric(text, suite[0]) is not None:
        return False
    return all(_is_label_word(w) for w in re.split(r"\s*[,，/、&]\s*|\s+[|–-]\s+|[:：]\s|\s+", words) if w)


def _is_label_word(word: str) -> bool:
    named = re.sub(r"^\0$", "", word)
    inside = re.fullmatch(r"[(\[](.*)[)\]]", named)
    plain = (inside[1] if inside is not None else named).strip("`").removesuffix(":").lower()
    return not plain or plain == "\0" or plain in _LABEL_WORDS or is_metric_name(plain) or is_task(plain)


_AVERAGE_WORDS = re.compile(r"average|avg|mean|score|pass@1|greedy|平均|得分|总分", re.IGNORECASE)
_NUMBER = r"[0-9]{1,4}(?:[.,][0-9]{1,18})?\s?%?"
_AVERAGE = re.compile(
    rf"(?P<label>.*?)(?:\s*[:：=]\s*|\s+(?:is\s+)?)(?P<number>{_NUMBER})(?:\s*(?:±|\+/?-)\s*{_NUMBER})?[\s.*_`]*",
    re.IGNORECASE,
)


def is_average(text: str) -> bool:
    """Tell whether a line is a label of an average, or of a suite, and its number.

    >>> [is_average(text) for text in ("Average: 73.12", "GPT4All average 7 tasks: 73.12", "TruthfulQA 10%")]
    [True, True, False]
    >>> is_average("TruthfulQA and HumanEval: 55.1"), is_label("TruthfulQA bleu"), is_label("GPT4All perplexity")
    (False, False, False)
    """
    found = _AVERAGE.fullmatch(re.sub(r"^[-+•]\s+", "", text))
    if found is None:
        return False
    label = without_arrows(found["label"])
    said = _AVERAGE_WORDS.search(label) is not None
    named = leading_suite(label) is not None and "." in found["number"]
    if len(set(map(bare, SUITE.findall(label)))) > 1:
        return False
    return (said or named) and is_label(re.sub(r"\b(?:pass\s?@\s?1|greedy)(?!\w)", " ", label).strip(" :=*_"))
