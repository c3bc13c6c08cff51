"""Runs written without a model, for reports: many documents, two runs that differ, hostile texts everywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.records.model import RunRecord
from evalkit.records.samples import Sample
from evalkit.results.writing import write_run
from tests.support.records import facts, of_schema_2

EVALKIT: dict[str, Any] = {
    "protocol": "nous-2023",
    "started": "2026-01-02T03:04:05+00:00",
    "duration_seconds": 61.6,
    "command": ["evalkit", "run"],
    "config": {"model": "org/name", "limit": None, "add_bos": False, "apply_chat_template": False, "system": None},
    "suites": ["gpt4all"],
    "model": {
        "name": "org/name",
        "device": "npu:0",
        "device_name": "Ascend910B",
        "dtype": "bfloat16",
        "loader": "openmind",
    },
    "scorer": {"name": "forest", "reason": "exact on the probe"},
    "data": {},
    "environment": {"versions": {"evalkit": "0.1.0", "python": "3.11.7"}},
    "isolation": None,
}

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>alert(2)</script>",
    '"><svg onload=alert(3)>',
    "' onmouseover='alert(4)",
    "{{ 7*7 }}{% raw %} ${alert(5)} `x` {name}",
    "javascript:alert(6)",
    "a\u2028b\u2029c",
    "abc\u202edef\u2066ghi\u200f",
    "nul\x00 bell\x07 esc\x1b[31m del\x7f",
    "]]> --> &lt;b&gt; &#60; </title></style>",
    "half \ud83d 😀 \ufeff",
    "http://example.invalid/x.png",
)


def choice_sample(task: str, doc_id: int, logprobs: Sequence[float | None], gold: int, **changes: Any) -> Sample:
    """A document with choices; its metrics follow from the log-probabilities, by equal lengths of the choices."""
    known = [value for value in logprobs if value is not None]
    right = None if len(known) < len(logprobs) or not known else float(known.index(max(known)) == gold)
    names = ("multiple_choice_grade",) if task.startswith("bigbench") else ("acc", "acc_norm")
    values: dict[str, Any] = {
        "task": task,
        "doc_id": doc_id,
        "cluster": None,
        "metrics": dict.fromkeys(names, right),
        "target": gold,
        "context": f"Question: what is number {doc_id} of {task}?\nAnswer:",
        "continuations": [f" choice {letter}" for letter in "ABCDEFGH"[: len(logprobs)]],
        "logprobs": list(logprobs),
        "greedy": [False] * len(logprobs),
        "generated": [],
        "details": {},
    }
    return Sample(**{**values, **changes})


def random_samples(task: str, count: int, seed: int, skill: float = 1.0, length: int = 0) -> list[Sample]:
    """Documents of four choices; the right one's log-probability is raised by `skill` nats.

    Args:
        task: its name.
        count: number of documents.
        seed: two runs of one seed have equal documents and similar log-probabilities.
        skill: how good the model is.
        length: characters of text in front of each question.
    """
    rng = random.Random(seed)
    samples = []
    for doc_id in range(count):
        gold = rng.randrange(4)
        logs = [rng.gauss(-20, 2) for _ in range(4)]
        logs[gold] += skill
        words = "".join(rng.choice("abcdefghij ") for _ in range(length))
        context = f"{words}\nQuestion: what is number {doc_id} of {task}?\nAnswer:"
        samples.append(choice_sample(task, doc_id, logs, gold, context=context))
    return samples


def write_samples(folder: Path, samples: Sequence[Sample], name: str = "org/name", **changes: Any) -> RunRecord:
    """Write a finished run; ``changes`` replace entries of `EVALKIT`, ``limit`` and ``add_bos`` those of its config."""
    config = {key: changes.pop(key) for key in ("limit", "add_bos") if key in changes}
    verdict = changes.pop("verdict", "published")
    evalkit = {
        **EVALKIT,
        "model": {**EVALKIT["model"], "name": name},
        "config": {**EVALKIT["config"], **config},
        "data": {
            task: {"source": "folder", "verdict": verdict, "sha256": f"sha of {task}"}
            for task in dict.fromkeys(sample.task for sample in samples)
        },
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    return of_schema_2(write_run(folder, facts(**evalkit), {"results": {}, "versions": {}}, samples))


def hostile_run(folder: Path) -> RunRecord:
    """A run in which every text that a model or a file of data could have written is hostile."""
    samples = [
        choice_sample(
            "arc_easy",
            doc_id,
            [-1.0, -2.0],
            0,
            context=f"{text}\nQuestion: {text}\nAnswer:",
            continuations=[f" {text}", f" not {text}"],
            cluster=text,
            details={text: [text]},
        )
        for doc_id, text in enumerate(HOSTILE)
    ]
    samples += [
        choice_sample(
            "humaneval",
            doc_id,
            [],
            0,
            metrics={"pass@1": 0.0},
            context=text,
            target=text,
            generated=[text, text],
            details={"verdicts": [{"output": text}]},
        )
        for doc_id, text in enumerate(HOSTILE)
    ]
    model = {**EVALKIT["model"], "name": HOSTILE[0] + HOSTILE[7], "device_name": HOSTILE[1], "dtype": HOSTILE[2]}
    return write_samples(folder, samples, protocol=HOSTILE[3], model=model, started=HOSTILE[0])
