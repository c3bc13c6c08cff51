"""GPT4All: arc_challenge, arc_easy, boolq, hellaswag, openbookqa, piqa, winogrande."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.tasks.metrics import NOT_SCORED, Result, accuracies, logprobs

Doc = Mapping[str, Any]

_BRACKETED = re.compile(r"\[.*?\]")


# arc_challenge, arc_easy


def arc_text(doc: Doc) -> str:
    """``Question: ...\\nAnswer:``."""
    return f"Question: {doc['question']}\nAnswer:"


def lettered_choices(doc: Doc) -> list[str]:
    """The texts of ARC and OpenBookQA choices."""
    return list(doc["choices"]["text"])


def lettered_target(doc: Doc) -> int:
    """Index of the answer; labels are letters, in some hub documents digits."""
    return list(doc["choices"]["label"]).index(doc["answerKey"])


def lettered_results(doc: Doc, results: Sequence[Result]) -> dict[str, float]:
    """acc and acc_norm."""
    return accuracies(results, lettered_choices(doc), {lettered_target(doc)})


# boolq


def boolq_text(doc: Doc) -> str:
    """``passage\\nQuestion: ...?\\nAnswer:``."""
    return f"{doc['passage']}\nQuestion: {doc['question']}?\nAnswer:"


def boolq_target(doc: Doc) -> int:
    """Index among ``yes``, ``no``."""
    return 0 if doc["label"] == 1 else 1


def boolq_picks(values: np.ndarray, _lengths: Sequence[int]) -> dict[str, int]:
    """The more probable answer; equal log-probabilities count as "no", the last one."""
    return {"acc": len(values) - 1 - int(values[::-1].argmax())}


def boolq_results(doc: Doc, results: Sequence[Result]) -> dict[str, float]:
    """acc."""
    values = logprobs(results)
    if values is None:
        return {"acc": NOT_SCORED}
    return {"acc": float(boolq_picks(values, ())["acc"] == boolq_target(doc))}


# hellaswag


def hellaswag_clean(text: str) -> str:
    """Remove WikiHow's marks: ``[title]`` ends a sentence, other brackets vanish, double spaces are halved once."""
    text = text.strip().replace(" [title]", ". ")
    return _BRACKETED.sub("", text).replace("  ", " ")


def hellaswag_text(doc: Doc) -> str:
    """``activity: ctx_a Ctx_b``, cleaned. ``str.capitalize`` also lowers the rest of ctx_b."""
    return hellaswag_clean(f"{doc['activity_label']}: {doc['ctx_a']} {doc['ctx_b'].capitalize()}")


def hellaswag_choices(doc: Doc) -> list[str]:
    """The endings, cleaned."""
    return [hellaswag_clean(ending) for ending in doc["endings"]]


def hellaswag_target(doc: Doc) -> int:
    """Index of the true ending."""
    return int(doc["label"])


def hellaswag_results(doc: Doc, results: Sequence[Result]) -> dict[str, float]:
    """acc and acc_norm (by the length of the cleaned ending)."""
    return accuracies(results, hellaswag_choices(doc), {hellaswag_target(doc)})


# openbookqa


def openbookqa_text(doc: Doc) -> str:
    """The question's stem alone."""
    return str(doc["question_stem"])


# piqa


def piqa_text(doc: Doc) -> str:
    """``Question: ...\\nAnswer:``."""
    return f"Question: {doc['goal']}\nAnswer:"


def piqa_choices(doc: Doc) -> list[str]:
    """Both solutions."""
    return [doc["sol1"], doc["sol2"]]


def piqa_target(doc: Doc) -> int:
    """Index of the right solution."""
    return int(doc["label"])


def piqa_results(doc: Doc, results: Sequence[Result]) -> dict[str, float]:
    """acc and acc_norm."""
    return accuracies(results, piqa_choices(doc), {piqa_target(doc)})


# winogrande: two contexts and one continuation


def winogrande_text(doc: Doc) -> int:
    """Index of the right context. An integer here tells lm-eval that the choices are contexts."""
    return int(doc["answer"]) - 1


def winogrande_choices(doc: Doc) -> list[str]:
    """The sentence up to the blank, filled with either option."""
    before = doc["sentence"][: doc["sentence"].index("_")]
    return [before + doc["option1"], before + doc["option2"]]


def winogrande_target(doc: Doc) -> str:
    """The rest of the sentence, which follows either context."""
    return str(doc["sentence"][doc["sentence"].index("_") + 1 :].strip())


def winogrande_gold(doc: Doc) -> list[int]:
    """Index of the right context: the target is the text that follows either."""
    return [winogrande_text(doc)]


def winogrande_picks(values: np.ndarray, _lengths: Sequence[int]) -> dict[str, int]:
    """The more probable context."""
    return {"acc": int(values.argmax())}


def winogrande_results(doc: Doc, results: Sequence[Result]) -> dict[str, float]:
    """acc."""
    values = logprobs(results)
    if values is None:
        return {"acc": NOT_SCORED}
    return {"acc": float(winogrande_picks(values, ())["acc"] in winogrande_gold(doc))}
