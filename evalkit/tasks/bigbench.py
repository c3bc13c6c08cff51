"""The eighteen BigBench tasks. A document carries its file's formatting rules under ``format`` (data/reading.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.tasks.metrics import NOT_SCORED, Result, logprobs, tie_broken_argmax

Doc = Mapping[str, Any]

# Generated answers are cut to this many characters, then the first run of text without sentence ends is compared.
ANSWER_CHARACTERS = 128
_ANSWER = re.compile(r"[^\.\?\!\;\n]+")
_PERMUTATION_SEED = 42


def text(doc: Doc) -> str:
    """Task prefix, input, choices in a fixed random order where the task lists them, output prefix."""
    rules = doc["format"]
    listed = ""
    if rules["append_choices_to_input"]:
        # A generator afresh for each document: its choices' order depends on the document alone.
        permuted = np.random.RandomState(_PERMUTATION_SEED).permutation(sorted(doc["target_scores"]))
        listed = "".join(f"{rules['choice_prefix']}{choice}" for choice in permuted)
    return (
        f"{rules['task_prefix']}{rules['example_input_prefix']}{doc['input']}{listed}{rules['example_output_prefix']}"
    )


def choices(doc: Doc) -> list[str]:
    """The keys of ``target_scores``, in the file's order."""
    return list(doc["target_scores"])


def target(doc: Doc) -> list[int]:
    """Indices of the choices with the highest score."""
    scores = list(doc["target_scores"].values())
    return [index for index, score in enumerate(scores) if score == max(scores)]


def picks(values: np.ndarray, _lengths: Sequence[int]) -> dict[str, int]:
    """The most probable choice; equal ones are told apart as the published scores did."""
    return {"multiple_choice_grade": tie_broken_argmax(values)}


def results(doc: Doc, results: Sequence[Result]) -> dict[str, float]:
    """multiple_choice_grade: the score of the most probable choice."""
    values = logprobs(results)
    if values is None:
        return {"multiple_choice_grade": NOT_SCORED}
    scores = list(doc["target_scores"].values())
    return {"multiple_choice_grade": float(scores[picks(values, ())["multiple_choice_grade"]])}


def generated_answer(text: str) -> str:
    """The part of a generated text that counts as the answer (empty if there is none)."""
    found = _ANSWER.search(text[:ANSWER_CHARACTERS])
    return found.group() if found else ""


def results_with_generation(doc: Doc, results_: Sequence[Any]) -> dict[str, float]:
    """multiple_choice_grade, and exact_str_match of the last result, which is a generated text."""
    generated = results_[-1]
    grades = results(doc, results_[:-1])
    matched = NOT_SCORED if generated is None else float(generated_answer(generated) == doc["target"])
    return {**grades, "exact_str_match": matched}
