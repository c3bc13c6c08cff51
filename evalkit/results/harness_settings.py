"""Settings of lm-eval 0.3 with which scores are nous-2023: a closed list.

Every key has its harmless values; any other key or value may have changed a score, or the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

KINDS = frozenset({"hf-causal", "hf-causal-experimental", "gpt2"})
"""Kinds of models of the 0.3 line of the harness that the published tables are of: decoders alone."""
_BOOL = r"true|false|none|"
NO_VALUE = r"\(?(?:none|null|false|)\)?"
_MEMORY = r"none|[0-9]+\s?(?:[gm]i?b)?"
DEVICE = r"none|auto|cpu|mps|(?:cuda|npu|xpu)(?::[0-9]{1,2})?"
_BATCH = r"none|[0-9]{1,4}|auto(?::[0-9]{1,3})?|auto \([0-9]{1,4}\)"
# Arguments of the model: what is loaded, how and where; nothing of requests, and no other weights than the named.
_MODEL_ARGUMENTS = {
    "pretrained": r"(?:\./|/)?[a-z0-9][\w.-]*(?:/[\w.-]+)*/?",
    **dict.fromkeys(("dtype", "torch_dtype"), r"(?:torch\.)?(?:float16|bfloat16|float32)|auto"),
    **dict.fromkeys(
        ("trust_remote_code", "use_accelerate", "low_cpu_mem_usage", "parallelize", "use_auth_token", "token"), _BOOL
    ),
    **dict.fromkeys(("use_fast", "use_fast_tokenizer"), _BOOL),
    **dict.fromkeys(("max_memory_per_gpu", "max_cpu_memory"), _MEMORY),
    **dict.fromkeys(("device_map", "device_map_option"), r"none|auto|balanced"),
    **dict.fromkeys(("load_in_8bit", "load_in_4bit", "peft", "delta", "subfolder", "quantized", "gptq"), NO_VALUE),
    "revision": rf"{NO_VALUE}|main",
    "device": DEVICE,
    "offload_folder": r"none|(?:\./)?offload",
    "batch_size": _BATCH,
    "max_batch_size": _BATCH,
    "max_length": r"none|[0-9]{4,6}",
}
RUN = {
    "limit": NO_VALUE,
    "num_fewshot": rf"0|{NO_VALUE}",
    "batch_size": _BATCH,
    "max_batch_size": _BATCH,
}
_CONFIG = RUN | {
    "model_args": r".*",
    "model": "|".join(KINDS),
    "batch_sizes": r"\[[0-9, ]*\]",
    "device": DEVICE,
    "no_cache": _BOOL,
    "bootstrap_iters": r"[0-9]+",
    "description_dict": r"\{\}|none|",
    "provide_description": NO_VALUE,
    "decontamination_ngrams_path": NO_VALUE,
    "check_integrity": _BOOL,
    "write_out": _BOOL,
    "output_base_path": NO_VALUE,
}
# How weights were made smaller or stored, what was put on them: names of other models than without it.
_OTHER_WEIGHTS = re.compile(
    r"gptq\w*|gguf|ggml|awq|exl[0-9]|exllama\w*|hqq|aqlm|quip|eetq|nf[0-9]+|fp[0-9]+\w*|mxfp\w*|nvfp\w*|mxint\w*|bf16|float[0-9]+|int[0-9]+"
    r"|i?q[0-9]\w*|w[0-9]+[ag][0-9]+\w*|w[248]|[0-9.]*bpw\w*|[0-9.]+bits?|bits?|bnb|bitsandbytes|rtn|auto-?round|marlin\w*|quant\w*"
    r"|smoothquant|squeezellm|mlx|onnx|openvino|trt|sym|asym|g(?:32|64|128)|sparse\w*|pruned?\w*|adapters?|q?loras?|peft|delta",
    re.IGNORECASE,
)
_FILE = frozenset({"results", "versions", "config", "evalkit counted"})
_TASK = re.compile(
    r"(?:acc|acc_norm|acc_mutual_info|mc1|mc2|multiple_choice_grade|exact_str_match|exact_match|em|f1|ppl|mcc|bits_per_byte"
    r"|(?:word|byte)_perplexity|(?:bleu|rouge(?:[12L]|Lsum))_(?:max|acc|diff))(?:_stderr)?"
)
_NOBODY = re.compile(
    r"xx+|your?|my|our|the|org|orgs|organi[sz]ation|users?|username|repo|id|name|dir|folder|path|to|hf|local|home|root|tmp|temp|data|cache|workspace"
    r"|(?:my|hf|your|our)?models?|model(?:name|path|id|dir)|ll?ms?|base|outputs?|out|results?|runs?|exps?|experiments?|setups?|checkpoints?|ckpts?"
    r"|global|steps?|epochs?|iters?|final|best|last|latest|new|old|tests?|evals?|snapshots?|versions?|nous|openllm|autoeval"
    r"|merged?s?|merges|convert(?:ed)?|export(?:ed)?|trained|fine|tuned?|finetuned?|save[ds]?|weights?|sft|dpo|orpo|kto|ppo|rlhf|rl|chat|instruct"
    r"|slerp|ties|dare|linear|stock|passthrough|fp|bf|int|float|bits?|cn|zh|en",
    re.IGNORECASE,
)
_NO_WORD = re.compile(r"[v0-9][0-9.x]*[a-z]?|(?=[a-f]*[0-9])[0-9a-f]{7,}", re.IGNORECASE)
"""Sizes, numbers, dates, versions, hashes."""
NO_PRETRAINED = "without pretrained=, where the harness loads gpt2"


def other_weights(text: str) -> str | None:
    """Return the part of a name that says of other weights: quantised ones, an adapter's; None without one.

    >>> [other_weights(name) for name in ("Foo-7B-nf4", "Foo-7B.IQ4_XS", "Foo-7B q4f16_1", "Foo-4bit", "Qwen2-7B")]
    ['nf4', 'IQ4', 'q4f16', '4bit', None]
    """
    bits = re.search(r"[0-9][ _-]bits?(?![a-z])", text, re.IGNORECASE)
    parts = (part for part in re.split(r"[^A-Za-z0-9.]+|\\.(?=[A-Za-z])", text) for part in (part, *part.split(".")))
    return bits[0] if bits is not None else next((part for part in parts if _OTHER_WEIGHTS.fullmatch(part)), None)


def is_placeholder(pretrained: str) -> bool:
    """Tell whether what a command loads may be anybody: a folder of a run, a word for a name, a cut or a variable.

    >>> [is_placeholder(p) for p in ("./output", "checkpoint-500", "org/repo", "path/to/Foo-7B", "a/Foo...", "$MODEL")]
    [True, True, True, True, True, True]
    >>> [is_placeholder(p) for p in ("a/Foo-7B", "gpt2", "/data/Foo-7B/", "models/mistral")]
    [False, False, False, False]
    """
    return re.search(r"\.\.|path[/_-]?to|[$<>{}\[\]*?]", pretrained, re.I) is not None or names_nobody(pretrained)


def names_nobody(name: str) -> bool:
    """Tell whether a name has no word of two letters beside those that any model's may have: of sizes, runs, training.

    A single capital beside a size is a name (`M-7B`).

    >>> [names_nobody(name) for name in ("13B-merged", "run3/global_step_200", "snapshots/1a2b3c4d", "DPO", "Step-100")]
    [True, True, True, True, True]
    >>> [names_nobody(name) for name in ("a/Foo-7B-dpo", "Yi-34B-Chat", "Qwen2.5", "Model-A-7B", "x-7b")]
    [False, False, False, False, True]
    """
    last = re.split(r"[/\\]", name.strip("/ "))[-1]
    parts = [part for part in re.split(r"[\W_]+|(?<=[A-Za-z])(?=[0-9])", last) if not _NO_WORD.fullmatch(part)]
    words = (word for part in parts for word in re.findall(r"[^\W\d_]{2,}", part))
    letter = re.search(r"(?<![^\W_])[A-Z][ _-][0-9.]+B(?![^\W_])", last)
    return letter is None and all(_NOBODY.fullmatch(word) for word in words)


def arguments_of(text: str) -> dict[str, str]:
    """Return the arguments of a model by name; one that is there twice says both values."""
    found: dict[str, str] = {}
    for part in re.split(r",(?![^\[{(]*[\]})])", text):
        key, sign, value = part.partition("=")
        if key.strip():
            name, said = key.strip(" '\""), value.strip(" '\"") if sign else "True"
            found[name] = f"{found[name]} and {said}" if name in found else said
    return found


def fits(known: Mapping[str, str], key: str, value: str) -> bool:
    return key in known and re.fullmatch(known[key], value.strip(), re.IGNORECASE | re.ASCII) is not None


def odd_argument(arguments: str) -> str | None:
    """Return the first of a model's arguments that is not known, as `key=value`; None without one."""
    found = arguments_of(arguments)
    for key, value in found.items():
        own = key == "tokenizer" and value == found.get("pretrained")
        short = key == "max_length" and value.isdigit() and int(value) < 2048  # long prompts are cut
        nobody = key == "pretrained" and is_placeholder(value)
        quantised = key == "pretrained" and other_weights(value) is not None
        if short or quantised or nobody or not (own or fits(_MODEL_ARGUMENTS, key, value)):
            return f"{key}={value}"
    return None


def odd_config(found: Mapping[str, Any]) -> str | None:
    """Return what is not known in the settings of a results file of lm-eval 0.3; None if nous-2023 had all of it.

    >>> odd_config({"model": "hf-causal", "model_args": "pretrained=a/Foo,peft=b/Bar", "num_fewshot": 0})
    'peft=b/Bar'
    >>> odd_config({"model": "hf-causal", "model_args": "pretrained=a/Foo", "num_fewshot": 0, "limit": None})
    >>> odd_config({"model": "hf-causal", "model_args": "pretrained=a/Foo"})
    'its config has no num_fewshot'
    """
    for key in ("model", "model_args", "num_fewshot"):  # the harness writes them always
        if key not in found:
            return f"its config has no {key}"
    for key, value in found.items():
        if not fits(_CONFIG, key, "" if value is None else str(value)):
            return f"{key}: {value}"[:60]
    arguments = found.get("model_args") or ""
    if isinstance(arguments, dict):
        arguments = ",".join(f"{key}={value}" for key, value in arguments.items())
    if "model" in found and "pretrained" not in arguments_of(str(arguments)):
        return f"model {found['model']} {NO_PRETRAINED}"
    return odd_argument(str(arguments)) if arguments else None


def odd_results(found: Mapping[str, Any]) -> str | None:
    """Return what a results file of lm-eval 0.3 says that is not known; None if the harness wrote all of it.

    >>> odd_results({"results": {"boolq": {"acc": 0.8}}, "versions": {"boolq": 1}, "config": {}, "note": "5-shot"})
    'note: 5-shot'
    >>> odd_results({"results": {"boolq": {"acc": 0.8, "n": 100}}, "versions": {"boolq": 1}, "config": {}})
    'boolq n: 100'
    """
    for key, value in found.items():
        if key not in _FILE:
            return f"{key}: {value}"[:60]
    results, versions = found.get("results"), found.get("versions")
    for task, values in results.items() if isinstance(results, dict) else ():
        for key, value in values.items() if isinstance(values, dict) else ():
            if _TASK.fullmatch(key) is None or isinstance(value, bool) or not isinstance(value, (int, float)):
                return f"{task} {key}: {value}"[:60]
    for task, version in versions.items() if isinstance(versions, dict) else ():
        if isinstance(version, bool) or not isinstance(version, int) or task not in (results or {}):
            return f"version of {task}: {version}"[:60]
    config = found.get("config")
    return odd_config(config) if isinstance(config, dict) else "it has no config"
