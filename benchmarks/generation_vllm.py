"""vLLM's side of ``generation.py``: runs by an interpreter that has vLLM, and needs nothing else.

Reads {model, dtype, prompts (token ids), until, most} as JSON, and prints {seconds, cpu_seconds, peak_mib, version,
texts}. What is timed is ``LLM.generate`` after a first text; CPU time and memory are those of all its processes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def processes() -> list[int]:
    """Return the numbers of this process and of all that it has started, and they."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(path.parent.name)] = int(fields[1])
    mine = [os.getpid()]
    for number in mine:  # grows while it is gone through
        mine += [child for child, parent in parents.items() if parent == number]
    return mine


def cpu_seconds() -> float:
    """Return what all of them have used."""
    ticks = 0
    for number in processes():
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mib() -> float:
    """Return the sum of their greatest memory so far."""
    lines = [Path(f"/proc/{number}/status").read_text(encoding="utf-8") for number in processes()]
    return sum(int(text.partition("VmHWM:")[2].split()[0]) for text in lines if "VmHWM:" in text) / 1024


def main() -> None:
    """Generate, and print what it took."""
    report, sys.stdout = sys.stdout, sys.stderr
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
    import vllm
    from vllm import LLM, SamplingParams

    asked = json.load(sys.stdin)
    llm = LLM(asked["model"], dtype=asked["dtype"], max_model_len=2048, enforce_eager=True, generation_config="vllm")
    settings = [
        SamplingParams(temperature=0, max_tokens=most, stop=until or None)
        for until, most in zip(asked["until"], asked["most"], strict=True)
    ]
    prompts = [{"prompt_token_ids": ids} for ids in asked["prompts"]]
    llm.generate(prompts[:1], SamplingParams(temperature=0, max_tokens=2), use_tqdm=False)
    wall, cpu = time.perf_counter(), cpu_seconds()
    outputs = llm.generate(prompts, settings, use_tqdm=False)
    found = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": cpu_seconds() - cpu,
        "peak_mib": peak_mib(),
        "version": vllm.__version__,
        "texts": [output.outputs[0].text for output in outputs],
    }
    report.write(json.dumps(found) + "\n")
    report.flush()


if __name__ == "__main__":
    main()
