"""Names as people print them -> evalkit's names of tasks, suites and metrics."""

from __future__ import annotations

import re
from functools import lru_cache

from evalkit.config.suites import load_tasks, short_name

# Printed in place of the suite's own name; each is matched at the start of a heading or of a table's label.
_SUITE_PATTERNS = {
    "gpt4all": r"gpt[\s_-]*4[\s_-]*all",
    "agieval": r"agi[\s_-]*eval",
    "bigbench": r"big[\s_-]*bench",
    "truthfulqa": r"truthful[\s_-]*qa",
    "humaneval": r"human[\s_-]*eval",
}
_SUITE = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _SUITE_PATTERNS.items()), re.IGNORECASE)

# Benchmarks that begin with a suite's name and are others; and a model.
_OTHERS = re.compile(r"^(?:\s*\+|[\s_-]*(?:plus|hard|lite|extra|fix|pack|x|j|zh|cn|v2)\b|_[a-z])", re.IGNORECASE)

_FOREIGN = re.compile(
    r"\b(?:gsm[\s_-]*8k|mgsm|mt[\s_-]*bench|if[\s_-]*eval|mmlu(?:[\s_-]*pro)?|cmmlu|c[\s_-]*eval|gpqa|musr|drop|bbh"
    r"|arc(?:[\s_-]*(?:c|e|challenge|easy))?|ai2 reasoning challenge|hella[\s_-]*swag|winogrande"
    r"|boolq|piqa|siqa|openbookqa"
    r"|big[\s_-]*bench[\s_-]*(?:hard|lite)|math(?:[\s_-]*(?:lvl|level)[\s_-]*5|500)?|mbpp\+?|multipl[\s_-]*e|ds[\s_-]*1000"
    r"|human[\s_-]*eval\s*(?:plus|x\b|fix)|eval[\s_-]*plus|alpaca[\s_-]*eval|eq[\s_-]*bench|arena[\s_-]*hard|magi"
    r"|live[\s_-]*(?:code[\s_-]*)?bench|swe[\s_-]*bench|aime(?:[\s_-]*(?:20)?2[0-9])?|lambada|race|squad|triviaqa|nq|commonsenseqa|toxigen|xstest"
    r"|open[\s_-]*llm|leaderboard|wmt|flores|wikitext|clue|superclue|gaokao|bfcl|simpleqa|ruler)\b"
    r"|\b(?:human[\s_-]*eval|mbpp)\s*\+",
    re.IGNORECASE,
)

# Other spellings by the 0.4 line of lm-eval and its branches, where leaving out "_" and case is not enough.
_TASK_ALIASES = {
    "agievallogiqa": "agieval_logiqa_en",
    "agievalsatenwop": "agieval_sat_en_without_passage",
    "agievalsatm": "agieval_sat_math",
    "truthfulqa": "truthfulqa_mc",
    "ai2reasoningchallenge": "arc_challenge",
    "arcc": "arc_challenge",
    "arce": "arc_easy",
    "obqa": "openbookqa",
}
# One task of the 0.3 line became two: the metric moved into the name.
_SPLIT_TASKS = {"truthfulqamc1": ("truthfulqa_mc", "mc1"), "truthfulqamc2": ("truthfulqa_mc", "mc2")}

METRICS = frozenset(
    {
        "acc",
        "acc_norm",
        "acc_mutual_info",
        "mc1",
        "mc2",
        "multiple_choice_grade",
        "exact_str_match",
        "exact_match",
        "em",
    }
    | {"f1", "bleu", "rouge1", "rouge2", "rougel", "word_perplexity", "byte_perplexity", "bits_per_byte", "perplexity"}
    | {"ppl", "brier_score", "mcc", "likelihood_diff", "pct_stereotype"}
)
"""Metrics that are recognised without a heading; in a table with headings any name is taken."""


def bare(name: str) -> str:
    """Return a name without case, spaces and punctuation."""
    return re.sub(r"[^0-9a-z]+", "", name.lower())


@lru_cache(maxsize=1)
def _tasks_by_bare_name() -> dict[str, str]:
    names = {bare(name): name for name in load_tasks()}
    for name in load_tasks():
        names.setdefault(bare(short_name(name)), name)
    return names | _TASK_ALIASES


def task_and_metric(printed_task: str, printed_metric: str) -> tuple[str, str]:
    """Return evalkit's task and metric; names that evalkit does not know stay as printed (metric in lower case)."""
    metric, _, filtered = without_arrows(printed_metric.strip().lower()).partition(",")
    metric = metric.strip().replace(" ", "_")
    if filtered.strip() not in ("", "none"):
        metric = f"{metric},{filtered.strip()}"
    key = bare(printed_task)
    if key in _SPLIT_TASKS and metric in ("acc", "score"):
        return _SPLIT_TASKS[key]
    known = load_tasks().get(_tasks_by_bare_name().get(key, printed_task))
    if known is not None and (plain := metric.removeprefix(f"{known.suite}_")) in known.metrics:  # lighteval's
        metric = plain
    is_group = known is not None and key == known.suite and key in _TASK_ALIASES
    if known is not None and is_group and metric.partition(",")[0] not in ("", "score", *known.metrics):
        return printed_task, metric  # TruthfulQA's of the 0.4 line: its acc is a mean of mc1 and mc2
    if "+" in printed_task:  # HumanEval+ and MBPP+ are other benchmarks than those without the sign
        return printed_task, metric
    return _tasks_by_bare_name().get(key, printed_task), metric


def is_metric(cell: str) -> bool:
    """Tell whether a cell is the name of a metric."""
    name = without_arrows(cell.strip().lower()).split(",")[0].replace(" ", "_")
    return name in METRICS or re.fullmatch(r"pass@\d+|(?:bleu|rouge(?:[12l]|lsum))_(?:max|acc|diff)", name) is not None


# Measures whose range is not 0 to 1; "bleu_acc" is a share: how often the true answer is the nearer one.
_NO_SHARE = re.compile(
    r"perplexity|\bppl\b|bits_per_byte|likelihood_diff|(?:bleu|rouge(?:[12l]|lsum)?)(?:$|_max|_diff)|_diff(?:erence)?$|chrf|\bw?er$"
    r"|\bter$|\bcer$|\bmcc\b|brier|pearson|spearman|\bm[as]e\b|\brmse\b|\bloss\b|\bece\b|tokens?$|length$|seconds?$"
)


def is_no_share(metric: str) -> bool:
    """Tell whether a metric's range is not 0 to 1, so that its value is no share of right answers.

    >>> [is_no_share(m) for m in ("rouge2_diff", "bleu_max", "bleu_acc", "f1", "word_perplexity")]
    [True, True, False, False, True]
    """
    return _NO_SHARE.search(metric.strip().lower().partition(",")[0]) is not None


def suite_of_task(task: str) -> str | None:
    """Return the suite of one of evalkit's tasks, or None."""
    found = load_tasks().get(task)
    return found.suite if found else None


def leading_suite(text: str) -> tuple[str, str] | None:
    """Return (suite, rest of the text) if the text begins with a suite's name, else None."""
    found = _SUITE.match(text.lstrip(" #>-*_`[(|"))
    if found is None or _OTHERS.match(found.string[found.end() :]):
        return None
    return str(found.lastgroup), found.string[found.end() :]


def any_suite(text: str) -> str | None:
    """Return the only suite that a text names, or None if it names none or several."""
    names = {str(found.lastgroup) for found in _SUITE.finditer(text) if not _OTHERS.match(text[found.end() :])}
    return names.pop() if len(names) == 1 else None


def names_other_benchmark(text: str) -> bool:
    """Tell whether a text names a benchmark that is no suite of evalkit."""
    return _FOREIGN.search(text.replace("_", " ")) is not None


_SCORE_OF_ITS_OWN = re.compile(
    r"[\W_]*(?P<name>[A-Za-z][\w .+/-]{1,30}?)\s*(?:\((?:[0-9]{1,2}[ -]?shots?|[\w@]+)\))?\s*[:=]\s*"
    r"[0-9]{1,3}(?:[.,][0-9]+)?\s*%?[\W_]*"
)


def is_score_of_another(text: str) -> bool:
    """Tell whether a line is one score of a benchmark that is no suite of evalkit: it says nothing of others' scores.

    >>> [is_score_of_another(text) for text in ("IFEval: 45.2", "- **GSM8K** (5-shot): 61.1 %")]
    [True, True]
    >>> [is_score_of_another(text) for text in ("BigBench: 41.2", "IFEval: 45.2, others 5-shot")]
    [False, False]
    """
    found = _SCORE_OF_ITS_OWN.fullmatch(text.replace("*", ""))
    return found is not None and any_suite(text) is None and names_other_benchmark(found["name"])


_OTHER_SCALE = re.compile(r"mt[\s_-]*bench|\barena|\belo\b|wikitext|\bc4\b|perplexity|\bppl\b", re.IGNORECASE)


def has_other_scale(label: str) -> bool:
    """Tell whether a label names a measure that is no share of right answers: MT-Bench, Elo, a perplexity."""
    return _OTHER_SCALE.search(label) is not None


def is_benchmark(label: str) -> bool:
    """Tell whether a label names a suite, a task or another benchmark scored in shares: no size, date or rank."""
    if has_other_scale(label):
        return False
    plain = label.replace("%", "").strip()
    task = task_and_metric(re.sub(r"\(\s*\)", "", task_and_shots(plain)[0]).strip(), "score")[0]
    return (
        comparison_role(label) not in ("other", "average", "total")
        or suite_of_task(task) is not None
        or names_other_benchmark(label)
    )


_BENCH = re.compile(r"(?<![\w-])(?<!lm )(?!lm[\s_-]*eval)[\w-]*(?:bench(?!mark)|eval(?!uat|kit))[\w+-]*", re.IGNORECASE)


def names_something_else(text: str, suite: str | None) -> bool:
    """Tell whether a sentence names a benchmark, or a suite, other than a given suite and its tasks."""
    plain = text.replace("_", " ")
    named = [found[0] for found in _FOREIGN.finditer(plain)]
    if any(suite is None or suite_of_task(task_and_metric(name, "")[0]) != suite for name in named):
        return True
    suites = {str(found.lastgroup) for found in _SUITE.finditer(text)}
    rest = _SUITE.sub(" ", plain)
    return bool(suites - {suite}) or _BENCH.search(rest) is not None


# The tasks and shots of the Open LLM Leaderboard's first version; its files are those of a branch of lighteval.
_LEADERBOARD = re.compile(
    r"arc:challenge\|25|hellaswag\|10|truthfulqa:mc\|0|drop\|3|(?:winogrande|gsm8k|hendrycksTest-\w+)\|5"
)


def task_and_shots(label: str) -> tuple[str, int | None, str | None]:
    """Return a task's name, the number of examples in its label, and the harness (or leaderboard) of such labels.

    >>> task_and_shots("AI2 Reasoning Challenge (25-Shot)")
    ('AI2 Reasoning Challenge', 25, None)
    >>> task_and_shots("leaderboard|arc:challenge|25"), task_and_shots("harness|arc:challenge|25")
    (('arc:challenge', 25, 'lighteval'), ('arc:challenge', 25, 'open-llm-leaderboard'))
    """
    found = re.fullmatch(r"[a-z][\w-]*([|:])(.+?)\1([0-9]{1,3})(?:\1[01])?", label.strip())
    if found is not None:
        ranked = label.strip().startswith("harness") and _LEADERBOARD.fullmatch(f"{found[2]}|{found[3]}")
        return found[2], int(found[3]), "open-llm-leaderboard" if ranked else "lighteval"
    found = re.fullmatch(r"(.*?)[\s,]*[(\[]?\s*([0-9]{1,3})[\s-]*shots?\s*[)\]]?", label.strip(), re.IGNORECASE)
    return (found[1], int(found[2]), None) if found is not None and found[1] else (label, None, None)


_SHOTS = re.compile(
    r"(?<![0-9.])(?P<count>[0-9]{1,3})[\s_-]*shots?(?![a-z]|[\s_-]*(?:learn|train|tun))|(?<![a-z])(?P<word>zero|one|two|three|four|five|ten|few|multi)"
    r"[\s_-]*shots?(?![a-z]|[\s_-]*(?:learn|train|tun))|(?P<zh>零|少)样本",
    re.IGNORECASE,
)
_SHOT_WORDS = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10, "零": 0}


def shots_named(text: str) -> tuple[int | None, bool]:
    """Return the number of examples that a heading names, and whether it names some without saying how many.

    >>> shots_named("bloom-1b1_math_few_shot_5-shot.json"), shots_named("GPT4All (few-shot)"), shots_named("Shots")
    ((5, False), (None, True), (None, False))
    """
    found = list(_SHOTS.finditer(text))
    words = [m["count"] or (m["word"] or m["zh"]).lower() for m in found]
    counts = {int(w) if w.isdigit() else _SHOT_WORDS[w] for w in words if w.isdigit() or w in _SHOT_WORDS}
    return (counts.pop(), False) if len(counts) == 1 else (None, bool(found))


def model_of_heading(name: str) -> str:
    """Return a heading without what it says about files and examples; of a results file, the model in its name.

    >>> model_of_heading("mpt-7b (10-shot)"), model_of_heading("bloom-1b1_pawsx_0-shot.json")
    ('mpt-7b', 'bloom-1b1')
    >>> model_of_heading("common_sense_10-shot"), model_of_heading("opt-1.3b.json")
    ('', 'opt-1.3b')
    """
    stem = re.sub(r"\.(?:jsonl?|csv|ya?ml|txt|md)$", "", name.strip(), flags=re.IGNORECASE)
    if _SHOTS.search(stem) is None:
        return stem
    if re.search(r"\s", stem) is None and "_" in stem:  # a file: model_tasks_5-shot
        first = stem.split("_")[0]
        return first if re.search(r"[0-9]", first) and "-" in first and _SHOTS.search(first) is None else ""
    return re.sub(
        r"[\s(\[,:–—-]+$",
        "",
        re.sub(r"[(\[]?\s*(?:with|at)?\s*" + f"(?:{_SHOTS.pattern})" + r"\s*[)\]]?", "", stem, flags=re.IGNORECASE),
    ).strip()


ARROWS = r"[↑↓⬆⬇⇑⇓⇧⇩▲▼△▽🔼🔽]"
"""Signs that say which way is better, or which way a number went."""


def without_arrows(label: str) -> str:
    """Return a heading without the arrows that only say which way is better.

    >>> [without_arrows(label) for label in ("GPT4All↑", "AGIEval (↑)", "BigBench ⬆ (%)", "Value (%, ↑)")]
    ['GPT4All', 'AGIEval', 'BigBench (%)', 'Value (%)']
    """
    plain = re.sub(rf"\s*[(\[]\s*{ARROWS}+\s*[)\]]|\s*[,;]?\s*{ARROWS}+", "", label.replace("\ufe0f", ""))
    return plain.strip() if plain != label else label


def comparison_role(label: str) -> str:
    """Return the role of a comparison table's row: a suite's name, ``total``, ``average`` or ``other``."""
    text = re.sub(r"\s*[(\[]\s*%\s*[)\]]|\s*%\s*$", "", without_arrows(label.strip().lower()))
    found = leading_suite(text)
    if found is not None and len(found[1].strip()) <= 24 and not re.match(r"[_\w]", found[1]):
        task = _tasks_by_bare_name().get(bare(text))
        if task is None or not found[1].strip():
            return found[0]
    if _own_words(text):
        return "other"  # "ARC (Average)", "Coding average": a score among others, not the table's average
    # "Average Total" is an average of the totals, so the word average decides.
    if re.search(
        r"average|avg|mean|平均|^\W*(?:overall|all(?:\s+tasks|\s+benchmarks)?|media|promedio|moyenne|durchschnitt|mittelwert)\W*$",
        text,
    ):
        return "average"
    return "total" if re.search(r"\btotal|\bsum\b|总分|合计", text) else "other"


# What the label of an average or a total of a whole table is made of.
_PLAIN_WORD = re.compile(
    r"averaged?|avg|means?|macro|micro|(?:un)?weighted|arithmetic|geometric|overall|grand|final|total|sum|scores?|points?"
    r"|results?|performance|accuracy|acc|norm|normali[sz]ed|all|tasks?|benchmarks?|bench|datasets?|tests?|evals?|suites?|sets?"
    r"|of|for|over|across|the|this|these|and|on|in|by|our|is|per|cent|percent|pct|shots?|zero|few|four|five|six|seven"
    r"|nous|open|llm|lm|hf|leaderboard|harness|evaluation|v?[0-9]+|[0-9]+(?:shots?|tasks?)"
    r"|(?:平均|总|合计|分数?|得分|成绩|值|四个?|个|套件|基准|测试|集|任务|的|各项?|综合|スコア|点|値)+",
)


def _own_words(label: str) -> bool:
    """Tell whether the label of an average says of what it is, and that is not several benchmarks.

    >>> _own_words("arc (average)"), _own_words("average (gpt4all, agieval)"), _own_words("open llm average ⬆️")
    (True, False, False)
    """
    if re.search(r"average|avg|mean|平均|\btotal|\bsum\b|总分|合计", label) is None:
        return False
    named = {bare(found[0]) for pattern in (_FOREIGN, _SUITE) for found in pattern.finditer(label.replace("_", " "))}
    named = {name for name in named if not re.match(r"open|leaderboard", name)}
    if re.match(r"\W*(?:average|avg|mean)", label):
        label = _SUITE.sub(" ", label)  # "Avg (AGIEval)" below the tasks of a suite
    words = re.findall(r"[^\W_]+", label)
    return len(named) < 2 and any(_PLAIN_WORD.fullmatch(word) is None for word in words)
