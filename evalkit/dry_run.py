"""``evalkit run --dry-run``: what a run would do, and how long, measured on a few packs. No score is kept."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from tabulate import tabulate

from evalkit.models.generation import generation_requests
from evalkit.preflight import Asked
from evalkit.progress import duration_text
from evalkit.scoring.memory import free_bytes
from evalkit.suites import find_task, load_suites

# Packs are measured for so long, and at least two of them, unless they take longer than the patience allows.
MEASURED_SECONDS = 2.0
MEASURED_PACKS = 2
PATIENCE_SECONDS = 30.0
# New tokens of the texts by which generation is measured.
MEASURED_TOKENS = 8


def plan_text(model: Any, tasks: dict[str, Any], asked: Asked, documents: dict[str, int]) -> str:
    """Return the plan of a run as a report of a few lines.

    Args:
        model: an `OpenMindLM`.
        tasks: lm-eval's tasks with their requests.
        asked: the same requests.
        documents: how many documents of each task are asked.
    """
    lines = [_table(asked, documents), ""]
    seconds: list[float] = []
    if asked.pairs:
        lines += _scoring(model, asked, seconds)
    if asked.prompts:
        lines += _generation(model, tasks, seconds)
    lines += _memory(model)
    total = "" if len(seconds) < 2 else f"together {duration_text(sum(seconds))} at most"
    return "\n".join([*lines, *([f"- {total}"] if total else [])])


def _table(asked: Asked, documents: dict[str, int]) -> str:
    rows: list[list[Any]] = []
    for suite in load_suites().values():
        names = [name for name in documents if find_task(name).suite == suite.name]
        if names:
            scored = sum(task in names for task, _, _ in asked.pairs)
            texts = sum(task in names for task, _, _ in asked.prompts)
            rows.append([suite.title, len(names), sum(documents[name] for name in names), scored, texts])
    rows.append(["all", *(sum(row[column] for row in rows) for column in range(1, 5))])
    headings = ["suite", "tasks", "documents", "log-likelihoods", "texts"]
    return str(tabulate(rows, headings, tablefmt="github", intfmt=","))


def _scoring(model: Any, asked: Asked, seconds: list[float]) -> Iterator[str]:
    clock = time.perf_counter()
    requests = model.encode([(context, continuation) for _, context, continuation in asked.pairs]).requests
    rows = sum(min(len(r.context_ids) + len(r.continuation_ids) - 1, int(model.max_length)) for r in requests)
    encoding = time.perf_counter() - clock
    scorer = model.scorer
    plan = scorer.plan(requests)
    yield (
        f"- tokens: {rows:,} row by row; the {scorer.name} computes {plan.forest_tokens:,} of them "
        f"({100 * plan.forest_tokens / rows:.0f} %), {plan.tokens:,} positions with padding, in {len(plan.packs):,} "
        f"packs "
        f"(encoded in {duration_text(encoding)})"
    )
    tokens, times = _measured(model, requests, plan)
    rate = tokens / sum(times)
    seconds.append(plan.tokens / rate)
    yield (
        f"- scoring: about {duration_text(seconds[-1])} at {rate:,.0f} tokens/s, measured on "
        f"{len(times)} pack{'s' if len(times) > 1 else ''} in {sum(times):.1f} s"
    )


def _measured(model: Any, requests: Sequence[Any], plan: Any) -> tuple[int, list[float]]:
    """Score some packs; return their tokens together and the seconds of each.

    The first also prepares the requests and warms the device: it counts only where there is no other.
    """
    tokens: list[int] = []
    times: list[float] = []
    with model.running():
        results = model.scorer.iter_packs(requests, plan=plan, packs=spread(len(plan.packs)))
        clock = time.perf_counter()
        for result in results:
            times.append(time.perf_counter() - clock)
            tokens.append(result.tokens)
            enough = len(times) > MEASURED_PACKS and sum(times[1:]) >= MEASURED_SECONDS
            if enough or sum(times[1:]) >= PATIENCE_SECONDS:
                break
            clock = time.perf_counter()
        results.close()
    first = 1 if len(times) > 1 else 0
    return sum(tokens[first:]), times[first:]


def spread(count: int) -> list[int]:
    """All numbers below ``count``, so ordered that any first few of them lie evenly: packs are sorted by their length.

    >>> spread(9)
    [4, 2, 6, 1, 3, 5, 7, 0, 8]
    """
    order = list(dict.fromkeys(count * part // parts for parts in (2, 4, 8, 16, 32) for part in range(1, parts)))
    return [*order, *(number for number in range(count) if number not in set(order))] if count > 1 else [*range(count)]


def _generation(model: Any, tasks: dict[str, Any], seconds: list[float]) -> Iterator[str]:
    requests = [r for task in tasks.values() for r in task.instances if r.request_type == "generate_until"]
    shown = [model.in_chat_template(request) for request in requests for _ in range(request.repeats)]
    greatest = sum(int(request.args[1].get("max_gen_toks", model.max_gen_toks)) for request in shown)
    texts = f"{len(shown):,} text{'s' if len(shown) != 1 else ''}"
    generator = model.generator
    if generator is None:
        yield f"- generation: {texts} of {greatest:,} tokens at most, by transformers' own loop: no time was measured"
        return
    wanted = [r for r in generation_requests(shown, 0, int(model.max_gen_toks)) if r is not None]
    batch = int(model.batch_size_per_gpu)
    some = [replace(r, max_new_tokens=min(r.max_new_tokens, MEASURED_TOKENS), until=()) for r in wanted[:batch]]
    clock = time.perf_counter()
    with model.running():
        made = sum(result.tokens for result in generator.iter_batches(some))
    spent = time.perf_counter() - clock
    rate = max(made, 1) / spent
    seconds.append(greatest / rate)
    yield (
        f"- generation: {texts} of {greatest:,} tokens together at most, at {rate:,.0f} tokens/s "
        f"{duration_text(seconds[-1])} at most (measured on {len(some)} prompts, {made} new tokens; "
        "texts that end early take less)"
    )


def _memory(model: Any) -> Iterator[str]:
    weights = sum(p.numel() * p.element_size() for p in model.model.parameters())
    device = torch.device(model.device)
    if device.type == "cpu":
        # Kilobytes on Linux, bytes on macOS.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    else:
        backend = getattr(torch, device.type)
        peak = int(backend.max_memory_allocated(device)) if hasattr(backend, "max_memory_allocated") else 0
    free = free_bytes(device)
    yield (
        f"- memory: weights {weights / 1e9:.2f} GB; greatest use so far, measured packs included, {peak / 1e9:.2f} GB"
        + ("" if free is None else f"; {free / 1e9:.1f} GB are free on {device}")
    )


def documents_of(tasks: dict[str, Any]) -> dict[str, int]:
    """Return how many documents of each task the requests belong to."""
    return {name: len({request.doc_id for request in task.instances}) for name, task in tasks.items()}


__all__: Sequence[str] = ("documents_of", "plan_text")
