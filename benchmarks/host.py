"""Host side: rendering, encoding and planning of the 34 log-likelihood tasks, evalkit against lm-eval.

    python benchmarks/host.py --data FOLDER [--documents N] [--json F]

lm-eval: its own task files (Jinja templates) on the same documents, ``build_all_requests``, then ``loglikelihood`` of
its ``hf`` model with the model itself cut out, so that it encodes and sorts. It has no files for the published form of
AGIEval and BigBench, so its templates for them are given contexts that were rendered beforehand, at no cost to it.
evalkit: from the task objects to packs. Loading the documents from disk is in neither figure.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any

from common import instances_of, loglikelihood_tasks, mistral_tokenizer, task_objects

from evalkit.config.suites import find_task

# lm-eval's file for each task; one of the same template where it has none.
LM_EVAL_FILES = {
    "arc_challenge": ["arc/arc_challenge.yaml"],
    "arc_easy": ["arc/arc_easy.yaml"],
    "boolq": ["super_glue/boolq/default.yaml"],
    "hellaswag": ["hellaswag/hellaswag.yaml"],
    "openbookqa": ["openbookqa/openbookqa.yaml"],
    "piqa": ["piqa/piqa.yaml"],
    "winogrande": ["winogrande/default.yaml"],
    "truthfulqa_mc": ["truthfulqa/truthfulqa_mc1.yaml", "truthfulqa/truthfulqa_mc2.yaml"],
}
AGIEVAL_FILE = "agieval/aqua-rat.yaml"
BIGBENCH_FILE = "bigbench/multiple_choice/navigate.yaml"


def as_lm_eval_documents(name: str, suite: str, task: Any, docs: list[Any]) -> list[dict[str, Any]]:
    """Return documents with the columns that lm-eval's file for the task reads."""
    if suite == "agieval":
        rendered = [instances_of(task, doc) for doc in docs]
        return [
            {"query": many[0].args[0], "choices": [one.args[1].lstrip() for one in many], "gold": [0]}
            for many in rendered
        ]
    if suite == "bigbench":
        rendered = [instances_of(task, doc) for doc in docs]
        return [
            {
                "inputs": many[0].args[0],
                "multiple_choice_targets": [one.args[1] for one in many],
                "targets": [many[0].args[1]],
            }
            for many in rendered
        ]
    if name == "winogrande":
        return [{key: doc[key] for key in ("sentence", "option1", "option2", "answer")} for doc in docs]
    return [dict(doc) for doc in docs]


def lm_eval_side(tasks: dict[str, Any], documents: dict[str, list[Any]], tokenizer: Any) -> dict[str, float]:
    """Time lm-eval's own rendering and encoding."""
    import datasets
    import lm_eval.tasks
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.utils import Collator
    from lm_eval.tasks._yaml_loader import load_yaml

    datasets.disable_progress_bars()
    folder = Path(lm_eval.tasks.__file__).parent
    loaded = []
    for name, task in tasks.items():
        suite = find_task(name).suite
        other = BIGBENCH_FILE if suite == "bigbench" else AGIEVAL_FILE
        rows = datasets.Dataset.from_list(as_lm_eval_documents(name, suite, task, documents[name]))
        for file in LM_EVAL_FILES.get(name, [other]):
            config = load_yaml(folder / file)
            for key in ("dataset_path", "dataset_name", "dataset_kwargs", "metadata", "tag"):
                config.pop(key, None)
            split = config.get("test_split") or config["validation_split"]
            config["task"] = f"{name}_{len(loaded)}"
            config["custom_dataset"] = lambda split=split, rows=rows, **_: {split: rows}
            # A split that is named must be there.
            config |= dict.fromkeys(("training_split", "validation_split", "test_split"))
            config["test_split"] = split
            loaded.append(ConfigurableTask(config=config))
    start = time.perf_counter()
    for task in loaded:
        task.build_all_requests(limit=None, rank=0, world_size=1)
    rendering = time.perf_counter() - start
    requests = [instance for task in loaded for instance in task.instances]
    lm = object.__new__(HFLM)
    lm.tokenizer, lm.backend, lm.add_bos_token = tokenizer, "causal", False
    lm.custom_prefix_token_id, lm.enable_thinking, lm.logits_cache = None, False, True

    def sort_only(encoded: list[Any], **_: Any) -> list[Any]:
        collator = Collator(
            encoded,
            sort_fn=lambda request: (-len(request[1] + request[2]), tuple(request[1] + request[2])),
            group_by="contexts",
            group_fn=lambda request: request[-2] + request[-1][:-1],
        )
        return list(collator.get_batched(n=16))

    lm._loglikelihood_tokens = sort_only
    start = time.perf_counter()
    lm.loglikelihood(requests, disable_tqdm=True)
    encoding = time.perf_counter() - start
    return {"rendering": rendering, "encoding": encoding, "requests": len(requests)}


def evalkit_side(tasks: dict[str, Any], documents: dict[str, list[Any]], tokenizer: Any) -> dict[str, float]:
    """Time evalkit's rendering, encoding and planning."""
    import math

    from evalkit.scoring.encode import encode_pairs
    from evalkit.scoring.forest import build_rows
    from evalkit.scoring.plan import plan_packs

    start = time.perf_counter()
    pairs = [one.args for name, task in tasks.items() for doc in documents[name] for one in instances_of(task, doc)]
    rendered = time.perf_counter()
    requests = encode_pairs(tokenizer, pairs, prefix_token_id=1).requests
    encoded = time.perf_counter()
    rows = build_rows(requests, 4096)
    plan = plan_packs(
        requests, rows, max_batch_tokens=4096, tree_tokens=4096, attention_scale=math.inf, max_scored=1024
    )
    planned = time.perf_counter()
    return {
        "rendering": rendered - start,
        "encoding": encoded - rendered,
        "planning": planned - encoded,
        "requests": len(requests),
        "forest_tokens": plan.forest_tokens,
        "tokens": plan.tokens,
        "row_tokens": sum(len(request.context_ids) + len(request.continuation_ids) - 1 for request in requests),
    }


def main() -> None:
    """Time both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder with the benchmark data")
    parser.add_argument("--documents", type=int, default=0, help="documents of every task; 0: all")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/host.json"))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ["TQDM_DISABLE"] = "1"
    tokenizer = mistral_tokenizer()
    tasks = task_objects(options.data, loglikelihood_tasks())
    documents = {name: list(task.eval_docs)[: options.documents or None] for name, task in tasks.items()}
    ours = evalkit_side(tasks, documents, tokenizer)
    theirs = lm_eval_side(tasks, documents, tokenizer)
    seconds = ours["rendering"] + ours["encoding"] + ours["planning"]
    their_seconds = theirs["rendering"] + theirs["encoding"]
    figures = {
        "documents": sum(map(len, documents.values())),
        "machine": platform.processor() or platform.machine(),
        "share_of_lm_eval": seconds / their_seconds,
        "evalkit": ours | {"seconds": seconds},
        "lm_eval": theirs | {"seconds": their_seconds},
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(
        f"host: {their_seconds:.1f} s (rendering {theirs['rendering']:.1f}, encoding {theirs['encoding']:.1f}) -> "
        f"{seconds:.1f} s (rendering {ours['rendering']:.1f}, encoding {ours['encoding']:.1f}, "
        f"planning {ours['planning']:.1f}): {figures['share_of_lm_eval']:.3f} of lm-eval, "
        f"{figures['documents']} documents, {ours['requests']} requests"
    )


if __name__ == "__main__":
    main()
