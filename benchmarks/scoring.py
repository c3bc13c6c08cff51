"""Scoring speed: lm-eval's ``hf`` model against evalkit's forest, on the same requests, model and tokenizer.

    python benchmarks/scoring.py --data FOLDER [--documents 12] [--hidden 256 --layers 4] [--json F]

Each side runs in a process of its own, so that its peak memory is its own. Timed is what happens between the rendered
strings and the scores: lm-eval's ``loglikelihood``, against encoding, planning and scoring. lm-eval's batch size is
the fastest of 4, 16 and 64 on a sample of the requests (on CUDA: ``auto``). Its peak memory is taken at batch size 16.
Prints one line and writes a JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import BenchmarkRequest, mistral_tokenizer, random_mistral, suite_requests

LM_EVAL_BATCHES = (4, 16, 64)
SAMPLE_SHARE = 0.06
MEMORY_BATCH = 16


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder with the benchmark data")
    parser.add_argument("--documents", type=int, default=12, help="documents of every task; 0: all")
    parser.add_argument("--suite", action="append", help="only this suite; may be repeated")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--max-batch-tokens", type=int)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/scoring.json"))
    parser.add_argument("--side", choices=["lm-eval", "lm-eval-memory", "evalkit"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


class PeakMemory:
    """Peak memory of this process since it was made, in MiB: of the device, or of the host for a CPU."""

    def __init__(self, device: str) -> None:
        import torch

        self._backend = None if device == "cpu" else getattr(torch, torch.device(device).type)
        if self._backend is not None:
            self._backend.reset_peak_memory_stats()

    def mebibytes(self) -> float:
        """Return the peak so far."""
        if self._backend is not None:
            return float(self._backend.max_memory_allocated() / 2**20)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Counter:
    """Counts the positions that a model computes, and those that go through its output layer."""

    def __init__(self, model: Any) -> None:
        self.tokens = 0
        self.logit_rows = 0
        self._head = model.get_output_embeddings()
        body = sum(parameter.numel() for parameter in model.model.parameters())
        self._body_weights = body - model.get_input_embeddings().weight.numel()
        model.register_forward_pre_hook(self._count, with_kwargs=True)
        self._head.register_forward_hook(self._count_rows)

    def _count(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = args[0] if args else kwargs["input_ids"]
        self.tokens += ids.numel()

    def _count_rows(self, _module: Any, _args: Any, logits: Any) -> None:
        self.logit_rows += logits.shape[:-1].numel()

    def teraflop(self) -> float:
        """Return the work of the matrix products with weights (attention itself not counted)."""
        return 2 * (self._body_weights * self.tokens + self._head.weight.numel() * self.logit_rows) / 1e12


def synchronize(device: str) -> None:
    """Wait for an asynchronous device."""
    import torch

    if device != "cpu":
        getattr(torch, torch.device(device).type).synchronize()


def instances(requests: list[BenchmarkRequest]) -> list[Any]:
    """Return the requests as lm-eval's instances."""
    from lm_eval.api.instance import Instance

    return [
        Instance("loglikelihood", {}, (request.context, request.continuation), k, (request.task, k, 1))
        for k, request in enumerate(requests)
    ]


def run_lm_eval(options: argparse.Namespace, requests: list[BenchmarkRequest]) -> dict[str, Any]:
    """Score with lm-eval's hf model."""
    from lm_eval.models.huggingface import HFLM

    model = random_mistral(options.hidden, options.layers, options.dtype, options.device)
    counter = Counter(model)
    tokenizer = mistral_tokenizer()

    def scorer(batch: int | str) -> Any:
        return HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch, add_bos_token=False)

    if options.side == "lm-eval-memory":
        # The longest rows come first in lm-eval, so its peak is reached by the first batches.
        lm = scorer(MEMORY_BATCH)
        longest = sorted(requests, key=lambda request: -len(request.context + request.continuation))
        memory = PeakMemory(options.device)
        lm.loglikelihood(instances(longest[: 4 * MEMORY_BATCH]), disable_tqdm=True)
        return {"peak_mib": memory.mebibytes()}
    batch: int | str = "auto"
    if options.device == "cpu":
        # A few documents of every task, so that the sample has the requests' mixture of lengths.
        documents = sorted({(request.task, request.document) for request in requests})
        chosen = set(random.Random(0).sample(documents, max(1, int(SAMPLE_SHARE * len(documents)))))
        sample = [request for request in requests if (request.task, request.document) in chosen]
        seconds = {}
        for size in LM_EVAL_BATCHES:
            start = time.perf_counter()
            scorer(size).loglikelihood(instances(sample), disable_tqdm=True)
            seconds[size] = time.perf_counter() - start
        batch = min(seconds, key=lambda size: seconds[size])
    lm = scorer(batch)
    counter.tokens = 0
    start, cpu = time.perf_counter(), time.process_time()
    scores = lm.loglikelihood(instances(requests), disable_tqdm=True)
    synchronize(options.device)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "batch": batch,
        "tokens": counter.tokens,
        "scores": scores,
    }


def run_evalkit(options: argparse.Namespace, requests: list[BenchmarkRequest]) -> dict[str, Any]:
    """Score with evalkit."""
    from evalkit.scoring.choice import choose_scorer
    from evalkit.scoring.encode import encode_pairs
    from evalkit.scoring.packs import score

    model = random_mistral(options.hidden, options.layers, options.dtype, options.device)
    tokenizer = mistral_tokenizer()
    start = time.perf_counter()
    scorer, choice = choose_scorer(model, max_length=4096, max_batch_tokens=options.max_batch_tokens)
    probe_seconds = time.perf_counter() - start
    counter = Counter(model)
    memory = PeakMemory(options.device)
    start, cpu = time.perf_counter(), time.process_time()
    encoded = encode_pairs(
        tokenizer, [(request.context, request.continuation) for request in requests], prefix_token_id=1
    ).requests
    encode_seconds = time.perf_counter() - start
    scores = score(scorer, encoded)
    synchronize(options.device)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "probe_seconds": probe_seconds,
        "encode_seconds": encode_seconds,
        "tokens": counter.tokens,
        "logit_rows": counter.logit_rows,
        "tflops": counter.teraflop() / seconds,
        "forest_tokens": scorer.plan(encoded).forest_tokens if choice.name == "forest" else None,
        "scorer": choice.name,
        "reason": choice.reason,
        "peak_mib": memory.mebibytes(),
        "scores": scores,
    }


def matmul_tflops(device: str, dtype: str) -> float:
    """Return the rate of a large matrix product on the device, in TFLOP/s."""
    import torch

    size = 1024 if device == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(a, b)
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e12


def differing_predictions(requests: list[BenchmarkRequest], first: list[Any], second: list[Any]) -> int:
    """Return for how many documents the best continuation differs."""
    groups: dict[tuple[str, int], list[int]] = {}
    for k, request in enumerate(requests):
        groups.setdefault((request.task, request.document), []).append(k)
    return sum(
        int(np.argmax([first[k][0] for k in group]) != np.argmax([second[k][0] for k in group]))
        for group in groups.values()
    )


def run_side(side: str, requests_file: Path) -> dict[str, Any]:
    """Run one side in a fresh process and return its figures."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--out", out.name]
        subprocess.run(command, check=True, env={**os.environ, "BENCHMARK_REQUESTS": str(requests_file)})
        found: dict[str, Any] = json.loads(Path(out.name).read_text())
        return found


def main() -> None:
    """Run both sides and compare."""
    options = arguments()
    if options.side:
        requests = [
            BenchmarkRequest(*entry) for entry in json.loads(Path(os.environ["BENCHMARK_REQUESTS"]).read_text())
        ]
        side = run_evalkit if options.side == "evalkit" else run_lm_eval
        options.out.write_text(json.dumps(side(options, requests)))
        return
    requests = suite_requests(options.data, options.documents or None, options.suite)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests.json"
        file.write_text(json.dumps(requests))
        ours = run_side("evalkit", file)
        theirs = run_side("lm-eval", file)
        # Again: the better of two runs, since other work on the machine only ever slows one down.
        again = run_side("evalkit", file)
        memory = run_side("lm-eval-memory", file)
    for key in ("seconds", "cpu_seconds", "encode_seconds", "probe_seconds"):
        ours[key] = min(ours[key], again[key])
    ours["tflops"] = max(ours["tflops"], again["tflops"])
    matmul = matmul_tflops(options.device, options.dtype)
    figures = {
        "documents_a_task": options.documents,
        "requests": len(requests),
        "hidden": options.hidden,
        "layers": options.layers,
        "device": options.device,
        "dtype": options.dtype,
        "machine": platform.processor() or platform.machine(),
        "ratio": theirs["seconds"] / ours["seconds"],
        "cpu_ratio": theirs["cpu_seconds"] / ours["cpu_seconds"],
        "max_difference": max(abs(a[0] - b[0]) for a, b in zip(ours["scores"], theirs["scores"], strict=True)),
        "differing_greedy_flags": sum(a[1] != b[1] for a, b in zip(ours["scores"], theirs["scores"], strict=True)),
        "differing_predictions": differing_predictions(requests, ours["scores"], theirs["scores"]),
        "matmul_tflops": matmul,
        "share_of_matmul": ours["tflops"] / matmul,
        "evalkit": {key: value for key, value in ours.items() if key != "scores"},
        "lm_eval": {key: value for key, value in (theirs | memory).items() if key != "scores"},
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    bound = ours["tokens"] / ours["forest_tokens"] if ours["forest_tokens"] else float("nan")
    print(
        f"scoring: {figures['ratio']:.1f}x ({theirs['seconds']:.1f} s at batch {theirs['batch']} -> "
        f"{ours['seconds']:.1f} s), cpu time {figures['cpu_ratio']:.1f}x, tokens {theirs['tokens']} -> "
        f"{ours['tokens']} ({bound:.3f} of the bound), max difference {figures['max_difference']:.1e}, "
        f"differing predictions {figures['differing_predictions']}, "
        f"peak {memory['peak_mib']:.0f} -> {ours['peak_mib']:.0f} MiB, "
        f"{ours['tflops']:.3g} TFLOP/s ({figures['share_of_matmul']:.0%} of a matrix product's)"
    )


if __name__ == "__main__":
    main()
