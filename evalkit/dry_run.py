"""``evalkit run --dry-run``: what a run would do, and how long, measured on a few packs. No score is kept."""

from __future__ import annotations

import random
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
from evalkit.scoring import TokenRequest
from evalkit.scoring.memory import free_bytes
from evalkit.suites import find_task, load_suites

# So many parts are measured, fewer (but two) once this much time is spent.
MEASURED_PARTS = 4
MEASURED_SECONDS = 1.0
# Tokens of a part on the CPU; matrix products of so many rows run at their full rate.
MEASURED_TOKENS_CPU = 256
# Requests that are encoded to count tokens; of more, evenly spread ones stand for all.
ENCODED = 16_000
_BLOCK = 32
_NEIGHBOURS = 4
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
    chosen, share = _some_pairs([task for task, _, _ in asked.pairs])
    requests = model.encode([asked.pairs[k][1:] for k in chosen]).requests
    scale = [share[asked.pairs[k][0]] for k in chosen]
    lengths = [min(len(r.context_ids) + len(r.continuation_ids) - 1, int(model.max_length)) for r in requests]
    rows = round(sum(length * factor for length, factor in zip(lengths, scale, strict=True)))
    scorer = model.scorer
    forest, tokens = 0.0, 0.0
    for factor in dict.fromkeys(scale):
        # Tasks that were looked at whole stay together, as in the run.
        plan = scorer.plan([r for r, of_task in zip(requests, scale, strict=True) if of_task == factor])
        forest += factor * plan.forest_tokens
        tokens += factor * plan.tokens
    about = "" if len(chosen) == len(asked.pairs) else f"about (by {len(chosen):,} of {len(asked.pairs):,} requests) "
    yield (
        f"- tokens: {about}{rows:,} row by row; the {scorer.name} computes {round(forest):,} of them "
        f"({100 * forest / rows:.0f} %), {round(tokens):,} positions with padding"
    )
    rate, measured, spent = _scoring_rate(model, requests)
    seconds.append(tokens / rate)
    yield (
        f"- scoring: about {duration_text(seconds[-1])} at {rate:,.0f} tokens/s, measured on {measured:,} tokens "
        f"in {spent:.1f} s"
    )


def _some_pairs(tasks: Sequence[str]) -> tuple[list[int], dict[str, float]]:
    """Return positions of about `ENCODED` requests, evenly spread blocks of each task, and how many each stands for.

    Args:
        tasks: of each request; requests of a task follow one another.
    """
    of_task: dict[str, list[int]] = {}
    for position, task in enumerate(tasks):
        of_task.setdefault(task, []).append(position)
    most = ENCODED // len(of_task) if len(tasks) > ENCODED else len(tasks)
    chosen: list[int] = []
    share: dict[str, float] = {}
    for task, positions in of_task.items():
        blocks = [positions[k : k + _BLOCK] for k in range(0, len(positions), _BLOCK)]
        step = max(1, -(-len(positions) // max(most, _BLOCK)))
        kept = [position for block in blocks[::step] for position in block]
        chosen += kept
        share[task] = len(positions) / len(kept)
    return chosen, share


def _scoring_rate(model: Any, requests: Sequence[TokenRequest]) -> tuple[float, int, float]:
    """Return tokens a second, of how many tokens, in how many seconds.

    The first part pays for what is done once (kernels, threads, pages of memory) and is not counted. On an accelerator
    the parts are as large as packs: small ones would leave it idle.
    """
    scorer = model.scorer
    on_cpu = torch.device(model.device).type == "cpu"
    wanted = MEASURED_TOKENS_CPU if on_cpu else int(scorer.max_batch_tokens)
    rng = random.Random(0)
    parts = [_part(requests, rng, wanted if k or not on_cpu else wanted // 4) for k in range(1 + MEASURED_PARTS)]
    tokens, spent = 0, 0.0
    with model.running():
        for number, part in enumerate(parts):
            clock = time.perf_counter()
            made = sum(result.tokens for result in scorer.iter_packs(part))
            took = time.perf_counter() - clock
            if number:
                tokens, spent = tokens + made, spent + took
            if number > 1 and spent > MEASURED_SECONDS:
                break
    return tokens / spent, tokens, spent


def _part(requests: Sequence[TokenRequest], rng: random.Random, tokens: int) -> list[TokenRequest]:
    """Draw neighbours (choices of a document) from all over until they have about so many tokens of their own."""
    part: list[TokenRequest] = []
    own = 0
    while own < tokens and len(part) < len(requests):
        start = rng.randrange(len(requests))
        block = requests[start : start + _NEIGHBOURS]
        own += max(len(r.context_ids) for r in block) + sum(len(r.continuation_ids) for r in block)
        part += block
    return part


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
    # The shortest prompts: what is measured is a step, of which a text has many; its prompt is read once.
    wanted.sort(key=lambda request: len(request.prompt))
    some = [replace(r, max_new_tokens=min(r.max_new_tokens, MEASURED_TOKENS), until=()) for r in wanted[:batch]]
    with model.running():
        sum(result.tokens for result in generator.iter_batches([replace(some[0], max_new_tokens=1)]))
        clock = time.perf_counter()
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
