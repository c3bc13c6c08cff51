"""What a results file of lm-eval records of how it measured, as text that two files can be compared by.

Each setting has a field. Those of `REFUSED` ask the model another question or judge its answers in another way: the
gate refuses where they differ. The others are said beside its result. `UNCOMPARED` move no score.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import StoreError
from evalkit.results.lm_eval_protocol import mapping_at, scored_names
from evalkit.results.task_names import task_and_metric

REFUSED = ("fewshot_as_multiturn", "gen_kwargs", "model_args", "task_version", "task_config")
"""Fields whose differences refuse a comparison, beside those that runs of evalkit have too."""

UNCOMPARED = frozenset(
    [
        "batch_size",
        "batch_sizes",
        "max_batch_size",
        "device",
        "use_cache",
        "bootstrap_iters",
        "limit",
        "num_fewshot",
        "model",
        "model_args",
        "model_dtype",
        "gen_kwargs",
        "random_seed",
        "numpy_seed",
        "torch_seed",
        "fewshot_seed",
    ]
)
"""Keys of ``config`` that move no score, or that have a field of their own."""

ASKING = frozenset(
    [
        "add_bos_token",
        "prefix_token_id",
        "max_length",
        "max_gen_toks",
        "max_new_tokens",
        "truncation",
        "enable_thinking",
        "think_end_token",
        "chat_template_args",
        "tokenized_requests",
        "escape_until",
    ]
)
"""Arguments of a model that change what it is asked, or how much of it and of its answer counts."""

_NAMED_APART = frozenset(["pretrained", "model", "path", "dtype"])
_SECRET = re.compile(r"token$|key$|auth|secret|password", re.IGNORECASE)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_NO_CONFIG = frozenset(
    [
        "task",
        "task_alias",
        "tag",
        "group",
        "group_alias",
        "num_fewshot",
        "metadata",
        "should_decontaminate",
        "unsafe_code",
        "doc_to_decontamination_query",
    ]
)
"""Keys of a task's configuration that name it, move no score, or have a field of their own."""

_DEFAULTS = {"target_delimiter": " ", "fewshot_delimiter": "\n\n", "repeats": 1}
_NOTHING: tuple[Any, ...] = (None, "", False, [], {})


def text_of(value: Any) -> str:
    """Return a recorded value as one text, without addresses in memory: equal values have equal texts."""
    if isinstance(value, str):
        return _ADDRESS.sub("", value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _ADDRESS.sub("", json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))


def model_arguments(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the arguments of the model, by name; those that may be secret are left out."""
    arguments = mapping_at(found, "config").get("model_args")
    if isinstance(arguments, str):
        pairs: list[tuple[str, Any]] = []
        for part in re.split(r",(?![^{\[(]*[}\])])", arguments):
            name, _, value = part.partition("=")
            pairs.append((name.strip(), value.strip()))
    else:
        pairs = list(arguments.items()) if isinstance(arguments, dict) else []
    known = {name: text_of(value) for name, value in pairs if name and value not in _NOTHING}
    kept = {name: value for name, value in known.items() if value.lower() not in ("false", "none", "null")}
    return {n: v for n, v in kept.items() if n in ASKING or not _SECRET.search(n)}


def asked_with(found: Mapping[str, Any]) -> dict[str, bool | None]:
    """Return whether requests had a BOS token, a chat template, a system prompt, by evalkit's names of these options.

    None where the file does not say: a model's own default of the BOS token is nowhere in it.
    """
    arguments = mapping_at(found, "config").get("model_args")
    text = json.dumps(arguments) if isinstance(arguments, dict) else str(arguments or "")
    bos = re.search(r"add_bos_token[\"']?\s*[=:]\s*[\"']?(true|false|0|1)\b", text, re.IGNORECASE)
    said: dict[str, bool | None] = {"add_bos": None if bos is None else bos[1].lower() in ("true", "1")}
    for option, keys in {
        "apply_chat_template": ("chat_template", "chat_template_sha"),
        "system": ("system_instruction", "system_instruction_sha"),
    }.items():
        said[option] = any(found.get(key) for key in keys) if any(key in found for key in keys) else None
    return said


def of_file(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of the whole file, without those that say nothing: name -> text."""
    config = mapping_at(found, "config")
    said: dict[str, Any] = {"fewshot_as_multiturn": found.get("fewshot_as_multiturn")}
    said["gen_kwargs"] = config.get("gen_kwargs")
    said |= {f"model_args {name}": value for name, value in model_arguments(found).items() if name not in _NAMED_APART}
    said["task_config description_dict"] = config.get("description_dict")
    said["backend"] = config.get("model") if isinstance(config.get("model"), str) else None
    said |= {name: config.get(name) for name in ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")}
    said |= {
        name: value
        for name, value in found.items()
        if name == "max_length" or name.startswith("tokenizer_") or name == "eot_token_id"
    }
    said |= {f"config {name}": value for name, value in config.items() if name not in UNCOMPARED | {"description_dict"}}
    return {name: text_of(value) for name, value in said.items() if value not in _NOTHING}


def of_tasks(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the settings of each task: name of evalkit's -> setting -> text.

    A task that the file has under two names (TruthfulQA's) has the settings of both, with the file's names.
    """
    settings: dict[str, dict[str, str]] = {}
    names = scored_names(found)
    own = [task_and_metric(plain, "acc")[0] for plain in names.values()]
    for (name, plain), task in zip(names.items(), own, strict=True):
        of_task = settings.setdefault(task, {})
        suffix = f" of {plain}" if own.count(task) > 1 else ""
        version = version_of(found, name)
        if version is not None:
            of_task[f"task_version{suffix}"] = version
        config = mapping_at(mapping_at(found, "configs"), name)
        for key, value in {**_DEFAULTS, **config}.items() if config else ():
            if key not in _NO_CONFIG and value not in _NOTHING:
                of_task[f"task_config {key}{suffix}"] = text_of(value)
        if config:
            of_task[f"configured{suffix}"] = "yes"
        digest = mapping_at(found, "task_hashes").get(name)
        if isinstance(digest, str) and digest:
            of_task[f"task_hash{suffix}"] = digest
    return settings


def version_of(found: Mapping[str, Any], name: str) -> str | None:
    """Return the version of a task as the file says it; None where it does not."""
    metadata = mapping_at(mapping_at(mapping_at(found, "configs"), name), "metadata")
    said = next((v for v in (mapping_at(found, "versions").get(name), metadata.get("version")) if v is not None), None)
    if said is None or isinstance(said, (dict, list, bool)) or said == "":
        return None
    try:
        return str(int(float(said))) if float(said).is_integer() else str(float(said))
    except (ValueError, OverflowError):
        return str(said)


def printed_version(found: Mapping[str, Any], task: str, metric: str) -> str | None:
    """Return the version of the task that a metric is of, as the file writes it, e.g. ``1.0``; None where it says none.

    TruthfulQA's mc1 and mc2 are two tasks there, each with its version.
    """
    for name, plain in scored_names(found).items():
        own, split = task_and_metric(plain, "acc")
        if own == task and split in ("acc", metric) and version_of(found, name) is not None:
            said = mapping_at(found, "versions").get(name)
            return str(said) if said is not None else version_of(found, name)
    return None


def digest_of_request(context: Any, continuations: Sequence[str], target: Any, prompt_hash: Any) -> str:
    """Return a digest of a document's requests and gold answer; of lm-eval's own hash where the requests are absent.

    The first letter says which, since the two kinds cannot be compared.
    """
    kind, asked = ("r", [context, *continuations]) if context else ("h", [prompt_hash])
    content = json.dumps([asked, str(target)], default=str)
    return kind + hashlib.sha256(content.encode()).hexdigest()[:16]


def check_settings(found: Mapping[str, Any], file: Path) -> None:
    """Raise `StoreError` where shots or limit are no numbers, or where a file says two numbers of shots of a task."""
    places = {"config.limit": mapping_at(found, "config").get("limit")}
    places["config.num_fewshot"] = mapping_at(found, "config").get("num_fewshot")
    for name in scored_names(found):
        said = mapping_at(found, "n-shot").get(name)
        own = mapping_at(mapping_at(found, "configs"), name).get("num_fewshot")
        places |= {f"n-shot.{name}": said, f"configs.{name}.num_fewshot": own}
        counts = [int(value) for value in (said, own) if value is not None and _is_count(value)]
        if len(set(counts)) > 1 and own not in (0, "0"):  # lm-eval takes metadata.num_fewshot where its own is 0
            raise StoreError(
                f"{file}: n-shot.{name} says {said}, configs.{name}.num_fewshot {own}; the file contradicts itself"
            )
    for place, value in places.items():
        if value is None or (isinstance(value, str) and value.strip() in ("", "None", "null")):
            continue
        if place == "config.limit":
            if not _is_limit(value):
                raise StoreError(f"{file}: {place}: expected a number above 0, found {json.dumps(value)[:40]}")
        elif not _is_count(value):
            raise StoreError(f"{file}: {place}: expected a whole number, found {json.dumps(value)[:40]}")


def _is_limit(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        return 0 < float(value) < math.inf
    except ValueError:
        return False


def _is_count(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().isdecimal()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
