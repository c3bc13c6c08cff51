"""Documents whose answer changed between two runs, with everything that was asked and answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from evalkit.comparison.pairing import TaskPair
from evalkit.records.samples import Sample

GRADED_CHANGE = 0.5
"""A graded score (mc2) flips if it moves by at least this much."""


@dataclass(frozen=True)
class Flip:
    """One document with two answers.

    Attributes:
        task: its task.
        doc_id: its position in A's data.
        kind: ``gained`` (only B is right) or ``lost``.
        metric: the headline metric.
        a: A's value of it.
        b: B's value.
        context: the prompt; a list where it differs from choice to choice.
        target: gold answer, as the task defines it.
        choices: continuations that were scored.
        logprobs_a: A's log-probability of each, in nats.
        logprobs_b: B's.
        generated_a: A's texts.
        generated_b: B's.
    """

    task: str
    doc_id: int
    kind: str
    metric: str
    a: float
    b: float
    context: Any
    target: Any
    choices: list[str]
    logprobs_a: list[float | None]
    logprobs_b: list[float | None]
    generated_a: list[str]
    generated_b: list[str]

    @property
    def size(self) -> float:
        """How far the log-probabilities moved, in nats: the largest change of one choice relative to the mean."""
        moves = [
            y - x for x, y in zip(self.logprobs_a, self.logprobs_b, strict=False) if x is not None and y is not None
        ]
        centre = sum(moves) / len(moves) if moves else 0.0
        return max((abs(move - centre) for move in moves), default=0.0)


def flips_of(pair: TaskPair) -> Iterator[Flip]:
    """Yield the flipped documents of a task (candidate is B), in order."""
    metric = pair.task.headline
    for b, a in zip(pair.candidate, pair.baseline, strict=True):
        before, after = a.metrics[metric], b.metrics[metric]
        if before is None or after is None or abs(after - before) < GRADED_CHANGE:
            continue
        yield _flip(metric, a, b, before, after)


def _flip(metric: str, a: Sample, b: Sample, before: float, after: float) -> Flip:
    return Flip(
        task=a.task,
        doc_id=a.doc_id,
        kind="gained" if after > before else "lost",
        metric=metric,
        a=before,
        b=after,
        context=a.context,
        target=a.target,
        choices=a.continuations,
        logprobs_a=a.logprobs,
        logprobs_b=b.logprobs,
        generated_a=a.generated,
        generated_b=b.generated,
    )


def shown_first(flips: Iterable[Flip]) -> list[Flip]:
    """Return losses and gains in turn, each by how far the log-probabilities moved: those that say most first."""
    ordered = sorted(flips, key=lambda flip: -flip.size)
    lost, gained = ([flip for flip in ordered if flip.kind == kind] for kind in ("lost", "gained"))
    return [flip for both in zip_longest(lost, gained) for flip in both if flip is not None]


def flips_markdown(flips: Sequence[Flip], count: int) -> str:
    """Return the first `count` documents, prompts and texts as code blocks, so that nothing in them is markup."""
    lost = sum(flip.kind == "lost" for flip in flips)
    lines = [f"{len(flips):,} documents: {lost:,} lost, {len(flips) - lost:,} gained.", ""]
    for flip in flips[:count]:
        lines += [f"### {flip.task}, document {flip.doc_id}: {flip.kind} ({flip.metric} {flip.a:g} → {flip.b:g})", ""]
        same = isinstance(flip.context, str)
        lines += [*code_block(flip.context if same else "\n".join(map(str, flip.context))), ""]
        if flip.choices:
            lines += [*code_block(_choices(flip)), ""]
        for name, texts in (("A", flip.generated_a), ("B", flip.generated_b)):
            for text in texts:
                lines += [f"{name} wrote:", "", *code_block(text), ""]
        lines += [f"Gold answer: {_inline(_text(flip.target))}", ""]
    if len(flips) > count:
        lines += [f"{len(flips) - count:,} more; `--flips {len(flips)}` shows all.", ""]
    return "\n".join(lines)


def _choices(flip: Flip) -> str:
    def number(value: float | None) -> str:
        return "failed" if value is None else f"{value:.4f}"

    rows = [(number(x), number(y)) for x, y in zip_longest(flip.logprobs_a, flip.logprobs_b)]
    width = max(12, *(len(cell) for row in rows for cell in row))
    head = f"{'A, nats':>{width}}  {'B, nats':>{width}}  choice"
    body = [
        f"{x:>{width}}  {y:>{width}}  {_one_line(choice)}" for (x, y), choice in zip(rows, flip.choices, strict=False)
    ]
    return "\n".join([head, *body])


def code_block(text: str) -> list[str]:
    """Return a fenced block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text.strip("\n"), fence]


def _inline(text: str) -> str:
    """Return inline code that holds any text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {_one_line(text)} {fence}"


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _text(target: Any) -> str:
    text = target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)
    return text if len(text) <= 200 else text[:197] + "..."
