"""Protocol ``nous-2023`` a second time: slow, plain, written from its description alone; oracle of evalkit.tasks.

A request is (context, continuation). Scores are natural-log probabilities, one for each request, in the same order.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy

Doc = dict[str, Any]

QA_PRESET = [
    ("What is human life expectancy in the United States?", "Human life expectancy in the United States is 78 years."),
    (
        "Who was president of the United States in 1955?",
        "Dwight D. Eisenhower was president of the United States in 1955.",
    ),
    ("Which party did he belong to?", "He belonged to the Republican Party."),
    ("What is the square root of banana?", "I have no comment."),
    ("How does a telescope work?", "Telescopes use lenses or mirrors to focus light and make objects appear closer."),
    ("Where were the 1992 Olympics held?", "The 1992 Olympics were held in Barcelona, Spain."),
]


@lru_cache(maxsize=100_000)
def clean(text: str) -> str:
    """HellaSwag: strip, `` [title]`` to ``. ``, bracketed text away, two spaces to one from left to right, once."""
    text = ". ".join(text.strip().split(" [title]"))
    kept, position = "", 0
    while position < len(text):
        if text[position] == "[":
            end = text.find("]", position)
            # A bracket that is not closed in its line stays: marks don't span lines.
            if end != -1 and "\n" not in text[position:end]:
                position = end + 1
                continue
        kept += text[position]
        position += 1
    halved, position = "", 0
    while position < len(kept):
        halved += kept[position]
        position += 2 if kept[position : position + 2] == "  " else 1
    return halved


def requests(task: str, doc: Doc) -> list[tuple[str, str]]:
    """The log-likelihood requests of one document."""
    if task in ("arc_challenge", "arc_easy"):
        return [("Question: " + doc["question"] + "\nAnswer:", " " + text) for text in doc["choices"]["text"]]
    if task == "boolq":
        context = doc["passage"] + "\nQuestion: " + doc["question"] + "?\nAnswer:"
        return [(context, " yes"), (context, " no")]
    if task == "hellaswag":
        context = clean(doc["activity_label"] + ": " + doc["ctx_a"] + " " + doc["ctx_b"].capitalize())
        return [(context, " " + clean(ending)) for ending in doc["endings"]]
    if task == "openbookqa":
        return [(doc["question_stem"], " " + text) for text in doc["choices"]["text"]]
    if task == "piqa":
        return [("Question: " + doc["goal"] + "\nAnswer:", " " + doc[name]) for name in ("sol1", "sol2")]
    if task == "winogrande":
        before, _, after = doc["sentence"].partition("_")
        return [(before + doc[option], " " + after.strip()) for option in ("option1", "option2")]
    if task.startswith("agieval_"):
        letter = " ABCDEFGHIJKLMNOPQRSTUVWXYZ"[len(doc["options"])]
        passage = "" if doc["passage"] is None else doc["passage"]
        context = passage + "Q: " + doc["question"] + " Answer Choices:"
        for option in doc["options"]:
            context += " " + option
        context += "\nA: Among A through " + letter + ", the answer is"
        return [(context, " " + option) for option in doc["options"]]
    if task.startswith("bigbench_"):
        return [(bigbench_context(doc), choice) for choice in doc["target_scores"]]
    assert task == "truthfulqa_mc"
    preset = "".join(f"Q: {question}\nA: {answer}\n\n" for question, answer in QA_PRESET)
    context = preset + "Q: " + doc["question"] + "\nA:"
    return [(context, " " + c) for name in ("mc1_targets", "mc2_targets") for c in doc[name]["choices"]]


def bigbench_context(doc: Doc) -> str:
    """Prefixes, input and choices in the order that a generator seeded with 42 gives to their sorted list."""
    rules = doc["format"]
    context = rules["task_prefix"] + rules["example_input_prefix"] + doc["input"]
    if rules["append_choices_to_input"]:
        choices = sorted(doc["target_scores"].keys())
        for index in numpy.random.RandomState(42).permutation(len(choices)):
            context += rules["choice_prefix"] + choices[index]
    return str(context + rules["example_output_prefix"])


def first_maximum(values: Sequence[float]) -> int:
    best = 0
    for index, value in enumerate(values):
        if value > values[best]:
            best = index
    return best


def gold(task: str, doc: Doc) -> int:
    """The right choice of a task with accuracies."""
    if "answerKey" in doc:
        return [label == doc["answerKey"] for label in doc["choices"]["label"]].index(True)
    if task.startswith("agieval_"):
        return "ABCDEFGHIJKLMNOPQRSTUVWXYZ".index(doc["label"])
    return int(doc["answer"]) - 1 if task == "winogrande" else int(doc["label"])


def metrics(task: str, doc: Doc, scores: Sequence[float], generated: str = "") -> dict[str, float]:
    """The metric values of one document."""
    if task == "boolq":
        return {"acc": float((scores[0] > scores[1]) == (doc["label"] == 1))}
    if task.startswith("bigbench_"):
        best = [index for index, score in enumerate(scores) if score == max(scores)]
        digest = hashlib.sha256(b"".join(struct.pack("<d", score) for score in scores)).hexdigest()
        chosen = best[int(digest, 16) % len(best)]
        values = {"multiple_choice_grade": float(list(doc["target_scores"].values())[chosen])}
        if task == "bigbench_geometric_shapes":
            values["exact_str_match"] = float(answer(generated) == doc["target"])
        return values
    if task == "truthfulqa_mc":
        mc1 = len(doc["mc1_targets"]["choices"])
        labels, masses = doc["mc2_targets"]["labels"], [math.exp(score) for score in scores[mc1:]]
        true = labels.index(0)
        return {"mc1": float(first_maximum(scores[:mc1]) == 0), "mc2": math.fsum(masses[:true]) / math.fsum(masses)}
    right = gold(task, doc)
    values = {"acc": float(first_maximum(scores) == right)}
    if task == "winogrande":
        return values
    texts = [continuation[1:] for _, continuation in requests(task, doc)]
    per_character = [score / len(text) if text else -math.inf for score, text in zip(scores, texts, strict=True)]
    return {**values, "acc_norm": float(first_maximum(per_character) == right)}


def answer(generated: str) -> str:
    """Of at most 128 characters, the first run without sentence ends."""
    text = ""
    for character in generated[:128]:
        if character in ".?!;\n":
            if text:
                break
        else:
            text += character
    return text


def oracle_figures(task: str, docs: Sequence[Doc]) -> tuple[int, str, dict[str, list[float]]]:
    """Requests, their sha256 and metric values in shuffled order, as PROTOCOL's section on checking requests says."""
    shuffled = list(docs)
    random.Random(42).shuffle(shuffled)
    pairs = [[list(pair) for pair in requests(task, doc)] for doc in shuffled]
    flat = [pair for of_doc in pairs for pair in of_doc]
    generator = random.Random(42)
    values: dict[str, list[float]] = {}
    for doc, of_doc in zip(shuffled, pairs, strict=True):
        for name, value in metrics(task, doc, [-generator.random() for _ in of_doc], "lol").items():
            values.setdefault(name, []).append(value)
    return len(flat), hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest(), values
