"""Time against the number of documents: scoring 10, 25, 50 and 100 % of two suites should be linear in forest tokens.

    python benchmarks/scaling.py --data FOLDER [--suite truthfulqa --suite agieval] [--hidden H --layers L] [--json F]

Prints the seconds a thousand forest tokens of each share, and how far the worst is from their mean.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
from common import mistral_tokenizer, random_mistral, suite_requests

from evalkit.scoring.choice import choose_scorer
from evalkit.scoring.encode import encode_pairs
from evalkit.scoring.packed import ForestScorer
from evalkit.scoring.packs import score

SHARES = (0.1, 0.25, 0.5, 1.0)


def main() -> None:
    """Score growing shares of the suites."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder with the benchmark data")
    parser.add_argument("--suite", action="append", help="default: truthfulqa and agieval")
    parser.add_argument("--documents", type=int, default=0, help="documents of every task that count as 100 %%; 0: all")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/scaling.json"))
    options = parser.parse_args()
    suites = options.suite or ["truthfulqa", "agieval"]
    tokenizer = mistral_tokenizer()
    model = random_mistral(options.hidden, options.layers, options.dtype, options.device)
    scorer, choice = choose_scorer(model, max_length=4096)
    if not isinstance(scorer, ForestScorer):
        raise SystemExit(f"the forest is not exact for this model: {choice.reason}")
    points = []
    for share in SHARES:
        requests = suite_requests(options.data, options.documents or None, suites, share)
        start, cpu = time.perf_counter(), time.process_time()
        encoded = encode_pairs(
            tokenizer, [(request.context, request.continuation) for request in requests], prefix_token_id=1
        ).requests
        score(scorer, encoded)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        plan = scorer.plan(encoded)
        points.append(
            {
                "share": share,
                "requests": len(requests),
                "forest_tokens": plan.forest_tokens,
                "tokens": plan.tokens,
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
            }
        )
    tokens = np.array([point["forest_tokens"] for point in points])
    deviations = {}
    for key in ("seconds", "cpu_seconds"):
        rates = np.array([point[key] for point in points]) / tokens * 1000
        deviations[key] = {
            "per_thousand_tokens": rates.tolist(),
            "worst_deviation": float(np.abs(rates / rates.mean() - 1).max()),
        }
    figures = {
        "suites": suites,
        "hidden": options.hidden,
        "layers": options.layers,
        "device": options.device,
        "dtype": options.dtype,
        "machine": platform.processor() or platform.machine(),
        "points": points,
        **deviations,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    shown = ", ".join(
        f"{point['share']:.0%} {point['forest_tokens']} tokens {point['seconds']:.1f} s ({rate * 1000:.0f} us a token)"
        for point, rate in zip(points, deviations["seconds"]["per_thousand_tokens"], strict=True)
    )
    print(
        f"scaling: {shown}; worst deviation from linear {deviations['seconds']['worst_deviation']:.1%} "
        f"(cpu time {deviations['cpu_seconds']['worst_deviation']:.1%})"
    )


if __name__ == "__main__":
    main()
