"""Generation: evalkit against lm-eval's hf model, transformers' own ``generate`` and the memory's bandwidth.

    python benchmarks/generation.py --data FOLDER [--model FOLDER] [--measures humaneval,shapes] [--documents 24]
                                    [--batches 4,16,64] [--max-new-tokens N] [--samples 20] [--json F]
                                    [--vllm-python PYTHON]

Without --model: a random Mistral (--hidden, --layers) with the real vocabulary. Every side of a measure runs in a
process of its own, one after the other, with as many threads as OMP_NUM_THREADS says, and loads before the clock
starts; lm-eval gets the best of its batch sizes. Peak memory is the whole process's. Texts of both are compared.
Beside evalkit's seconds stand those that the products of its passes (the linear layers, as many rows as each pass had)
take when nothing else is done: what no scheduling can save.

    humaneval  HumanEval's prompts, greedy, its stop strings, at most 512 tokens
    shapes     geometric_shapes, greedy, no stop strings, 128 tokens
    chat       humaneval_chat through the chat template, greedy, at most 1,024 tokens
    samples    HumanEval, --samples completions a problem at temperature 0.2
    run        HumanEval by ``evalkit run`` against the generator called directly
    step       a step of 1, 4, 16 and 64 rows against the time to copy as many bytes as its weights and cache have, and
               beside it the products with the weights alone: torch's own, and those used (oneDNN's order)
    rows       HumanEval's texts against transformers' generate, a row at a time

With --vllm-python, an interpreter that has vLLM (and needs neither evalkit nor lm-eval): vLLM's own ``LLM.generate`` is
given the same token ids and stop strings beside lm-eval, in humaneval, shapes and chat, and has a line of its own.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import json
import logging
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import instances_of, mistral_tokenizer, random_mistral, task_objects

MEASURES = ("humaneval", "shapes", "chat", "samples", "run", "step", "rows")
TASKS = {"shapes": "bigbench_geometric_shapes", "chat": "humaneval_chat"}
MOST = {"shapes": 128, "chat": 1024}
STEP_ROWS, STEP_PLACES = (1, 4, 16, 64), 256


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder with the benchmark data")
    parser.add_argument("--model", default="", help="folder of a checkpoint; default: a random Mistral")
    parser.add_argument("--measures", default=",".join(MEASURES))
    parser.add_argument("--documents", type=int, default=24, help="documents of a task")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--max-new-tokens", type=int, default=0, help="lower every measure's limit to this")
    parser.add_argument("--batches", default="4,16,64", help="lm-eval's batch sizes")
    parser.add_argument("--no-drafts", action="store_true", help="let evalkit generate a token a step")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--vllm-python", help="interpreter that has vLLM")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/generation.json"))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def loaded(options: argparse.Namespace) -> tuple[Any, Any]:
    """Return the model and its tokenizer."""
    if options.model:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype)).eval()
        return model.to(options.device), AutoTokenizer.from_pretrained(options.model)
    model = random_mistral(options.hidden, options.layers, options.dtype, options.device)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(3)  # else a random model repeats one token for ever
    return model, mistral_tokenizer()


def instances(options: argparse.Namespace, measure: str, tokenizer: Any) -> list[Any]:
    """Return lm-eval's instances of a measure: (prompt, settings), repeated for samples."""
    task = next(iter(task_objects(options.data, (TASKS.get(measure, "humaneval"),)).values()))
    most = MOST.get(measure, 512)
    if options.max_new_tokens:
        most = min(most, options.max_new_tokens)
    found = []
    for doc in list(task.eval_docs)[: options.documents]:
        for one in instances_of(task, doc, "generate_until"):
            prompt, settings = one.args[0], {**one.args[1], "max_gen_toks": most}
            if settings.pop("chat", False):
                turn = [{"role": "user", "content": prompt}]
                if tokenizer.chat_template:
                    prompt = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
            if measure == "samples":
                settings |= {"do_sample": True, "temperature": 0.2}
            for _ in range(options.samples if measure == "samples" else 1):
                again = copy.copy(one)
                again.arguments = (prompt, settings)
                found.append(again)
    return found


def side_evalkit(options: argparse.Namespace, measure: str) -> dict[str, Any]:
    """Generate with evalkit's generator, then do no more than the products of its passes again."""
    import torch

    from evalkit.scoring.generate_choice import choose_generator
    from evalkit.scoring.requests import GenerationRequest

    model, tokenizer = loaded(options)
    wanted = instances(options, measure, tokenizer)
    generator, reason = choose_generator(model, tokenizer, max_length=2048)
    if generator is None:
        raise SystemExit(reason)
    generator.drafts = generator.drafts and not options.no_drafts
    seen: dict[str, int] = {}
    requests = []
    for one in wanted:
        seen[one.args[0]] = seen.get(one.args[0], -1) + 1
        temperature = one.args[1].get("temperature") or 0.0
        requests.append(
            GenerationRequest(
                one.args[0],
                tuple(one.args[1].get("until") or ()),
                one.args[1]["max_gen_toks"],
                temperature=temperature,
                sample=seen[one.args[0]] if temperature else 0,
            )
        )
    tokens = 0
    texts: list[str | None] = [None] * len(requests)
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    parts = layers[:-1], layers[-1:]  # the head has fewer rows: a prompt's last only
    with counted(parts[0][0]) as of_body, counted(parts[1][0]) as of_head, Clock() as clock:
        for row, text in generator.stream(generator.rows(requests)):
            tokens += len(row.generated)
            for index in row.indices:
                texts[index] = text
    with generator.prepacked.used():
        alone = sum(
            count * products(part, rows)
            for part, counts in zip(parts, (of_body, of_head), strict=True)
            for rows, count in counts.items()
        )
    return clock.found | {
        "products_seconds": alone,
        "texts": texts,
        "tokens": tokens,
        "is_invariant": generator.is_invariant,
        "drafted": generator.guesses.drafted,
        "accepted": generator.guesses.accepted,
    }


def side_vllm(options: argparse.Namespace, measure: str) -> dict[str, Any]:
    """Generate with vLLM, by another interpreter."""
    from transformers import AutoTokenizer

    if not options.model:
        raise SystemExit("--vllm-python: needs --model, which vLLM loads")
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    wanted = instances(options, measure, tokenizer)
    asked = {
        "model": options.model,
        "dtype": options.dtype,
        "prompts": [tokenizer(one.args[0], add_special_tokens=False)["input_ids"] for one in wanted],
        "until": [list(one.args[1].get("until") or ()) for one in wanted],
        "most": [one.args[1]["max_gen_toks"] for one in wanted],
    }
    done = subprocess.run(
        [options.vllm_python, str(Path(__file__).with_name("generation_vllm.py"))],
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"--vllm-python {options.vllm_python}: vLLM failed")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def side_lm_eval(options: argparse.Namespace, measure: str, batch: int) -> dict[str, Any]:
    """Generate with lm-eval's hf model."""
    from lm_eval.models.huggingface import HFLM

    model, tokenizer = loaded(options)
    wanted = instances(options, measure, tokenizer)
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, add_bos_token=False, max_length=2048)
    with Clock() as clock:
        texts = lm.generate_until(wanted, disable_tqdm=True)
    return clock.found | {"texts": texts}


def side_rows(options: argparse.Namespace, measure: str) -> dict[str, Any]:
    """Generate with transformers' generate, a row at a time; the text is made of its tokens as evalkit's is."""
    import torch

    from evalkit.scoring.stopping import Stopping

    model, tokenizer = loaded(options)
    stopping, texts = Stopping(model, tokenizer), []
    with Clock() as clock:
        for one in instances(options, measure, tokenizer):
            prompt = tokenizer(one.args[0], add_special_tokens=False)["input_ids"]
            whole = model.generate(
                torch.tensor([prompt], device=model.device),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=model.device),
                max_new_tokens=one.args[1]["max_gen_toks"],
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=sorted(stopping.end_ids) or None,
                pad_token_id=tokenizer.pad_token_id,
            )
            text = stopping.decoder.completion(prompt, whole[0, len(prompt) :].tolist())
            texts.append(stopping.cut(text, one.args[1].get("until") or ()))
    return clock.found | {"texts": texts}


def side_step(options: argparse.Namespace) -> dict[str, Any]:
    """Time steps, and copies of as many bytes as they read."""
    import torch

    from evalkit.scoring.generate_choice import choose_generator

    model, tokenizer = loaded(options)
    generator, reason = choose_generator(model, tokenizer, max_length=2048)
    if generator is None:
        raise SystemExit(reason)
    weights = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    block = torch.randn(64 << 20, device=model.device)
    other = torch.empty_like(block)
    copied = best(lambda: other.copy_(block))
    rate = 2 * block.numel() * block.element_size() / copied
    config = model.config
    width = config.hidden_size // config.num_attention_heads * config.num_key_value_heads
    place = 2 * config.num_hidden_layers * width * block.element_size()
    found: dict[str, Any] = {"copy_bytes_a_second": rate, "bytes_of_weights": sum(weights.values()), "rows": {}}
    prompt = tuple(range(5, 5 + STEP_PLACES))
    for rows in STEP_ROWS:
        with torch.inference_mode(), generator.prepacked.used():
            slots = generator.new_slots(rows, STEP_PLACES + 16)
            for slot in range(rows):
                slots.read(slot, prompt)
            seconds = best(lambda rows=rows, slots=slots: slots.step([9] * rows, [STEP_PLACES] * rows))
        bound = (sum(weights.values()) + rows * STEP_PLACES * place) / rate
        layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
        alone = {"torch": products(layers, rows)}
        with generator.prepacked.used():
            alone["used"] = products(layers, rows)
        read = sum(weights.values()) / rate
        found["rows"][str(rows)] = {
            "seconds": seconds,
            "tokens_a_second": rows / seconds,
            "of_bound": bound / seconds,
            "products_alone": {name: {"seconds": took, "of_bound": read / took} for name, took in alone.items()},
        }
    return found | {"peak_mib": peak_mib()}


def products(layers: list[Any], rows: int) -> float:
    """Return the seconds that linear layers take for so many tokens, one after the other, and no more."""
    import torch

    hidden = {width: torch.randn(rows, width).to(layers[0].weight) for width in {one.in_features for one in layers}}
    with torch.inference_mode():
        return best(lambda: [layer(hidden[layer.in_features]) for layer in layers], times=3)


@contextlib.contextmanager
def counted(layer: Any) -> Iterator[collections.Counter[int]]:
    """Count the passes of a linear layer by how many tokens they are of."""
    found: collections.Counter[int] = collections.Counter()

    def count(_module: Any, _args: Any, made: Any) -> None:
        found[made.numel() // made.shape[-1]] += 1

    hook = layer.register_forward_hook(count)
    try:
        yield found
    finally:
        hook.remove()


def side_run(options: argparse.Namespace) -> dict[str, Any]:
    """Let ``evalkit run`` do HumanEval; what is timed is from the first prompt to the last text."""
    from evalkit.cli import main
    from evalkit.models.scored import ScoredLM

    if not options.model:
        raise SystemExit("--measures run: needs --model, which evalkit run loads")
    times: dict[str, Any] = {}
    inner = ScoredLM.texts

    def timed(self: Any, *arguments: Any, **named: Any) -> Any:
        assert self.generator is not None  # the probe comes before the clock, as it does on the other side
        with Clock() as clock:
            found = inner(self, *arguments, **named)
        times.update(clock.found, texts=list(found.answers))
        return found

    ScoredLM.texts = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        words = ["run", "--model", options.model, "--dtype", options.dtype, "--device", options.device]
        words += ["--suite", "humaneval", "--limit", str(options.documents), "--data", options.data]
        words += ["--max-new-tokens", str(options.max_new_tokens or 512), "--output", folder]
        try:
            sys.stdout = sys.stderr
            main(words)
        except SystemExit as end:
            if end.code:
                raise
        finally:
            sys.stdout = sys.__stdout__
    return times


class Clock:
    """Wall and CPU seconds of a block, and the process's peak memory after it."""

    found: dict[str, Any]

    def __enter__(self) -> Clock:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.found = {
            "seconds": time.perf_counter() - self._wall,
            "cpu_seconds": time.process_time() - self._cpu,
            "peak_mib": peak_mib(),
        }


def peak_mib() -> float:
    """Return the greatest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def best(run: Any, times: int = 5) -> float:
    """Return the least of some runs' seconds, of CPU where threads would wait for neighbours."""
    found = []
    for _ in range(times):
        clock = time.perf_counter()
        run()
        found.append(time.perf_counter() - clock)
    return min(found)


def in_process(side: str, arguments: list[str]) -> dict[str, Any]:
    """Run a side in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--side", side]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        raise SystemExit(f"generation: {side} failed")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the measures and print a line of each."""
    options = options_of()
    logging.disable(logging.WARNING)
    if options.side:
        name, _, rest = options.side.partition(":")
        measure, _, batch = rest.partition(":")
        sides = {
            "evalkit": lambda: side_evalkit(options, measure),
            "lm-eval": lambda: side_lm_eval(options, measure, int(batch)),
            "rows": lambda: side_rows(options, measure),
            "vllm": lambda: side_vllm(options, measure),
            "step": lambda: side_step(options),
            "run": lambda: side_run(options),
        }
        print(json.dumps(sides[name]()))
        return
    figures: dict[str, Any] = {
        "documents": options.documents,
        "model": Path(options.model).name or f"random Mistral {options.hidden}x{options.layers}",
        "dtype": options.dtype,
        "device": options.device,
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
        "machine": platform.processor() or platform.machine(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "measures": {},
    }
    print(f"{figures['model']}, {options.dtype}, {figures['threads']} threads, load {figures['load']:.1f}")
    for measure in options.measures.split(","):
        if measure not in MEASURES:
            raise SystemExit(f"--measures {measure}: there is no such measure; give some of {', '.join(MEASURES)}")
        figures["measures"][measure] = found = measured(options, measure, sys.argv[1:])
        print(f"{measure:10} {found.pop('line')}", flush=True)
        if options.vllm_python and measure in ("humaneval", *TASKS):
            found["vllm"] = of_vllm(found, in_process(f"vllm:{measure}", sys.argv[1:]))
            print(f"{'':10} {found['vllm'].pop('line')}", flush=True)
        found.get("evalkit", {}).pop("texts", None)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measured(options: argparse.Namespace, measure: str, arguments: list[str]) -> dict[str, Any]:
    """Return a measure's figures, and the ``line`` that is printed."""
    if measure == "step":
        found = in_process("step", arguments)
        parts = [
            f"{rows} rows {of['tokens_a_second']:.0f} tokens/s ({100 * of['of_bound']:.0f} % of the bound; torch's own "
            f"products alone: {100 * of['products_alone']['torch']['of_bound']:.0f} %, those used: "
            f"{100 * of['products_alone']['used']['of_bound']:.0f} %)"
            for rows, of in found["rows"].items()
        ]
        return found | {"line": f"{', '.join(parts)}; copying {found['copy_bytes_a_second'] / 1e9:.1f} GB/s"}
    task = measure if measure in (*TASKS, "samples") else "humaneval"
    ours = in_process(f"evalkit:{task}", arguments)
    if measure in ("run", "rows"):
        others = {measure: in_process(measure if measure == "run" else f"rows:{task}", arguments)}
    else:
        others = {
            f"lm-eval at {batch}": in_process(f"lm-eval:{task}:{batch}", arguments)
            for batch in options.batches.split(",")
        }
    name = min(others, key=lambda name: others[name]["seconds"])
    other = others[name]
    differing = sum(a != b for a, b in zip(ours["texts"], other["texts"], strict=True))
    ratio, cpu_ratio = (other[key] / ours[key] for key in ("seconds", "cpu_seconds"))
    line = (
        f"{ratio:.2f} x ({cpu_ratio:.2f} x in CPU time): {name} {other['seconds']:.1f} s, "
        f"{other['peak_mib']:.0f} MiB; evalkit {ours['seconds']:.1f} s (its products alone "
        f"{ours['products_seconds']:.1f} s), {ours['peak_mib']:.0f} MiB, "
        f"{ours['tokens'] / ours['seconds']:.0f} tokens/s; "
        f"{len(ours['texts'])} texts, {'drawn otherwise' if measure == 'samples' else f'{differing} differ'}"
    )
    for side in others.values():
        side.pop("texts")
    return {
        "evalkit": ours,
        "others": others,
        "ratio": ratio,
        "cpu_ratio": cpu_ratio,
        "differ": differing,
        "line": line,
    }


def of_vllm(found: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Return vLLM's figures beside evalkit's of the same measure, and the ``line`` that is printed."""
    ours = found["evalkit"]
    differing = sum(a != b for a, b in zip(ours["texts"], theirs.pop("texts"), strict=True))
    ratio, cpu_ratio = (theirs[key] / ours[key] for key in ("seconds", "cpu_seconds"))
    line = (
        f"{ratio:.2f} x ({cpu_ratio:.2f} x in CPU time): vLLM {theirs['version']} {theirs['seconds']:.1f} s, "
        f"{theirs['cpu_seconds']:.1f} CPU s, {theirs['peak_mib']:.0f} MiB; {differing} texts differ"
    )
    return theirs | {"ratio": ratio, "cpu_ratio": cpu_ratio, "differ": differing, "line": line}


if __name__ == "__main__":
    main()
