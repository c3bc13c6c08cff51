"""Generation speed: lm-eval's ``generate_until`` against evalkit's, on the prompts of HumanEval and geometric_shapes.

    python benchmarks/generation.py --data FOLDER [--documents 24] [--hidden H --layers L] [--json F]

Greedy; lm-eval's batch size is the fastest of 4, 16 and 64. Prints one line; the texts of both sides are compared.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import platform
import time
from pathlib import Path
from typing import Any

from common import instances_of, mistral_tokenizer, random_mistral, task_objects

LM_EVAL_BATCHES = (4, 16, 64)
TASKS = ("humaneval", "bigbench_geometric_shapes")


def generation_instances(data: str, documents: int) -> list[Any]:
    """Return lm-eval's instances for the first documents of both tasks."""
    return [
        one
        for task in task_objects(data, TASKS).values()
        for doc in list(task.eval_docs)[:documents]
        for one in instances_of(task, doc, "generate_until")
    ]


def main() -> None:
    """Time both sides, twice each, alternating; the better time of each counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder with the benchmark data")
    parser.add_argument("--documents", type=int, default=24, help="documents of either task")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/generation.json"))
    options = parser.parse_args()
    logging.disable(logging.WARNING)

    from lm_eval.models.huggingface import HFLM

    from evalkit.scoring.generate_choice import choose_generator
    from evalkit.scoring.requests import GenerationRequest

    instances = generation_instances(options.data, options.documents)
    tokenizer = mistral_tokenizer()
    model = random_mistral(options.hidden, options.layers, options.dtype, options.device)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(3)  # else a random model repeats one token for ever
    generator, reason = choose_generator(model, tokenizer, max_length=2048)
    if generator is None:
        raise SystemExit(reason)
    requests = [
        GenerationRequest(
            prompt=one.args[0],
            until=tuple(one.args[1].get("until") or ()),
            max_new_tokens=int(one.args[1].get("max_gen_toks", 256)),
        )
        for one in instances
    ]
    seconds: dict[str, float] = {}
    texts: dict[str, list[str]] = {}

    def timed(name: str, run: Any) -> None:
        start = time.perf_counter()
        texts[name] = run()
        seconds[name] = min(seconds.get(name, float("inf")), time.perf_counter() - start)

    for _ in range(2):
        timed("evalkit", lambda: generator.generate(requests))
        for batch in LM_EVAL_BATCHES:
            lm = HFLM(
                pretrained=model,
                tokenizer=tokenizer,
                backend="causal",
                batch_size=batch,
                add_bos_token=False,
                max_length=2048,
            )
            timed(f"lm-eval {batch}", lambda lm=lm: lm.generate_until(copy.deepcopy(instances), disable_tqdm=True))
    best = min((name for name in seconds if name != "evalkit"), key=lambda name: seconds[name])
    differing = sum(a != b for a, b in zip(texts["evalkit"], texts[best], strict=True))
    figures = {
        "requests": len(requests),
        "hidden": options.hidden,
        "layers": options.layers,
        "device": options.device,
        "dtype": options.dtype,
        "machine": platform.processor() or platform.machine(),
        "seconds": seconds,
        "ratio": seconds[best] / seconds["evalkit"],
        "differing_texts": differing,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(
        f"generation: {figures['ratio']:.2f}x ({best}: {seconds[best]:.1f} s -> {seconds['evalkit']:.1f} s), "
        f"{len(requests)} requests, differing texts {differing}"
    )


if __name__ == "__main__":
    main()
