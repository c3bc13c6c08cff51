"""``evalkit run --dry-run``: what a run would do, and how long, measured on a few packs. No score is kept."""

from __future__ import annotations

import resource
import statistics
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

# Packs are measured until this much time is spent, at least one and at most all.
MEASURED_SECONDS = 2.0
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
    rates = []
    spent = 0.0
    # From the middle outward: neither the dearest pack nor the cheapest stands for all.
    order = sorted(range(len(plan.packs)), key=lambda k: abs(k - len(plan.packs) // 2))
    results = scorer.iter_packs(requests, plan=plan, packs=order)
    with model.running():
        while spent < MEASURED_SECONDS:
            clock = time.perf_counter()
            result = next(results, None)
            if result is None:
                break
            # The first also pays for what is only done once, unless it is alone.
            rates.append(result.tokens / (time.perf_counter() - clock))
            spent += time.perf_counter() - clock
        results.close()
    rate = statistics.median(rates)
    seconds.append(plan.tokens / rate)
    yield (
        f"- scoring: about {duration_text(seconds[-1])} at {rate:,.0f} tokens/s, measured on {len(rates)} of the packs "
        f"in {spent:.1f} s"
    )


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
