"""``evalkit run --dry-run``: what a run would do, and how long, measured on a few packs. No score is kept."""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from tabulate import tabulate

from evalkit.answering import Request, ScoreRequest, TextRequest
from evalkit.config.generation_settings import max_tokens
from evalkit.config.suites import find_task, load_suites
from evalkit.evaluation.generation_time import measure_texts
from evalkit.evaluation.preflight_requests import Requested, asked_of
from evalkit.evaluation.progress import duration_text
from evalkit.models.generation import generation_requests
from evalkit.scoring.generate import MAX_ROWS
from evalkit.scoring.generate_choice import unsupported
from evalkit.scoring.memory import free_bytes
from evalkit.scoring.packs import iter_packs
from evalkit.scoring.requests import GenerationRequest, TokenRequest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from evalkit.models.scored import ScoredLM

# So many parts are measured, fewer (but two) once this much time is spent.
MEASURED_PARTS = 4
MEASURED_SECONDS = 1.0
# Tokens of a part on the CPU; matrix products of so many rows run at their full rate.
MEASURED_TOKENS_CPU = 256
# Requests that are encoded to count tokens; of more, evenly spread ones stand for all.
ENCODED = 16_000
_BLOCK = 32
_NEIGHBOURS = 4


def plan_text(model: ScoredLM | None, requests: Mapping[str, Sequence[Request]], start_seconds: float = 0.0) -> str:
    """Return the plan of a run as a report of a few lines.

    Args:
        model: the model in this process; None where another place answers, of which nothing is measured.
        requests: by task.
        start_seconds: what loading and the look before the work took, as they will in the run.
    """
    lines = [_table(requests), ""]
    if model is None:
        return "\n".join([*lines, "- no time was measured: the model is not in this process"])
    asked = asked_of(model, requests)
    seconds: list[float] = []
    if asked.pairs:
        lines += _scoring(model, asked, seconds)
    if asked.prompts:
        texts = [r for of_task in requests.values() for r in of_task if isinstance(r, TextRequest)]
        lines += _generation(model, texts, seconds)
    lines += _memory(model)
    if seconds:
        whole, start = duration_text(sum(seconds) + start_seconds), duration_text(start_seconds)
        lines.append(f"- the whole run: about {whole}, with {start} of loading and looking")
    return "\n".join(lines)


def _table(requests: Mapping[str, Sequence[Request]]) -> str:
    rows: list[tuple[str, int, int, int, int]] = []
    for suite in load_suites().values():
        tasks = [of_task for name, of_task in requests.items() if find_task(name).suite == suite.name]
        if tasks:
            every = [request for of_task in tasks for request in of_task]
            documents = len({(request.task, request.doc_id) for request in every})
            texts = sum(isinstance(request, TextRequest) and request.sample == 0 for request in every)
            scores = sum(isinstance(request, ScoreRequest) for request in every)
            rows.append((suite.title, len(tasks), documents, scores, texts))
    rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    headings = ["suite", "tasks", "documents", "log-likelihoods", "texts"]
    return str(tabulate(rows, headings, tablefmt="github", intfmt=","))


def _scoring(model: ScoredLM, asked: Requested, seconds: list[float]) -> Iterator[str]:
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
    weights = _weights(model.model)
    scored = sum(len(r.continuation_ids) * factor for r, factor in zip(requests, scale, strict=True))
    rate, measured, spent = _scoring_rate(model, requests, weights)
    seconds.append(weights.work(tokens, scored) / rate)
    yield (
        f"- scoring: about {duration_text(seconds[-1])} at {tokens / seconds[-1]:,.0f} tokens/s, measured on "
        f"{measured:,} tokens in {spent:.1f} s"
    )


@dataclass(frozen=True)
class _Weights:
    """What a position costs: the layers at every one, the head only where something is predicted.

    Attributes:
        layers: numbers in the matrices between embedding and head.
        head: numbers in the head's matrix.
    """

    layers: int
    head: int

    def work(self, positions: float, predicted: float) -> float:
        """Return multiplications."""
        return self.layers * positions + self.head * predicted


def _weights(model: PreTrainedModel) -> _Weights:
    """Count a model's weights. Experts that a token does not use are counted: only ratios matter."""
    get = getattr(model, "get_output_embeddings", None)
    head = getattr(get() if get else None, "weight", None)
    embedding = getattr(model.get_input_embeddings(), "weight", None)
    ends = {id(weight) for weight in (head, embedding)}
    layers = sum(p.numel() for p in model.parameters() if p.dim() > 1 and id(p) not in ends)
    return _Weights(max(1, layers), 0 if head is None else int(head.numel()))


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


def _scoring_rate(model: ScoredLM, requests: Sequence[TokenRequest], weights: _Weights) -> tuple[float, int, float]:
    """Return multiplications a second, measured on how many tokens, in how many seconds.

    The first part pays for what is done once (kernels, threads, pages of memory) and is not counted. On an accelerator
    the parts are as large as packs: small ones would leave it idle.
    """
    scorer = model.scorer
    on_cpu = torch.device(model.device).type == "cpu"
    wanted = MEASURED_TOKENS_CPU if on_cpu else int(getattr(scorer, "max_batch_tokens", MEASURED_TOKENS_CPU))
    rng = random.Random(0)
    parts = [_part(requests, rng, wanted if k or not on_cpu else wanted // 4) for k in range(1 + MEASURED_PARTS)]
    tokens, work, spent = 0, 0.0, 0.0
    with model.running():
        for number, part in enumerate(parts):
            clock = time.perf_counter()
            made = sum(result.tokens for result in iter_packs(scorer, part))
            took = time.perf_counter() - clock
            if number:
                tokens, spent = tokens + made, spent + took
                work += weights.work(made, sum(len(request.continuation_ids) for request in part))
            if number > 1 and spent > MEASURED_SECONDS:
                break
    return work / spent, tokens, spent


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


def _generation(model: ScoredLM, requests: Sequence[TextRequest], seconds: list[float]) -> Iterator[str]:
    shown = [model.in_chat_template(request) for request in requests]
    greatest = sum(max_tokens(request.settings, int(model.max_gen_toks)) for request in shown)
    texts = f"{len(shown):,} text{'s' if len(shown) != 1 else ''}"
    if model.engine_name is not None:
        yield f"- generation: {texts} of {greatest:,} tokens at most, by {model.engine_name}: no time was measured"
        return
    # Made without the probe that comes before texts that count: how fast it is does not depend on that.
    generator = None if unsupported(model.model) else model.new_generator()
    if generator is None:
        yield f"- generation: {texts} of {greatest:,} tokens at most, by transformers' own loop: no time was measured"
        return
    batch = model.generation_rows
    if generator.uses_slots and str(model.batch_size).startswith("auto"):
        batch = MAX_ROWS
    of_task: dict[str, list[GenerationRequest]] = {}
    for request, ours in zip(shown, generation_requests(shown, 0, int(model.max_gen_toks)), strict=True):
        if ours is not None:
            of_task.setdefault(request.task, []).append(ours)
    expected, looked, made, spent = 0.0, 0, 0, 0.0
    with model.running():
        for number, wanted in enumerate(of_task.values()):
            sample = measure_texts(generator, generator.rows(wanted), batch, warm_up=not number)
            expected += sample.whole_seconds()
            looked, made, spent = looked + len(sample.lengths), made + sum(sample.lengths), spent + sample.seconds
    seconds.append(expected)
    yield (
        f"- generation: {texts} of {greatest:,} tokens together at most, about {duration_text(expected)} "
        f"(measured on {looked} prompts, {made} new tokens, in {spent:.1f} s; their length is a guess by these)"
    )


def _memory(model: ScoredLM) -> Iterator[str]:
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
