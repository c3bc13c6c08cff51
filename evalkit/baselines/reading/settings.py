"""What the harness's line, its command or its results file may say where scores are nous-2023: a closed list.

Every key has its harmless values; any other key or value may have changed a score, or the model.
"""

from __future__ import annotations

import re

from evalkit.baselines.reading.commands import options_of, settings_of
from evalkit.baselines.reading.vocabulary import other_way
from evalkit.baselines.reading.wording import names_another_model
from evalkit.config.suites import load_suites, load_tasks
from evalkit.results.harness_settings import (
    DEVICE,
    KINDS,
    NO_PRETRAINED,
    NO_VALUE,
    RUN,
    arguments_of,
    fits,
    odd_argument,
    other_weights,
)
from evalkit.results.task_names import bare

_LINE = RUN | {"provide_description": NO_VALUE}
_COMMAND = RUN | {
    "provide_description": r"false|none",
    "description_dict_path": NO_VALUE,
    "device": DEVICE,
    **dict.fromkeys(("no_cache", "log_samples", "write_out", "show_config"), r"true|"),
    "verbosity": r"debug|info|warning|error",
}
_VARIABLE = re.compile(
    r"(?:CUDA|ASCEND_RT|HIP)_VISIBLE_DEVICES=[0-9,]+|(?:OMP|MKL)_NUM_THREADS=[0-9]+|TOKENIZERS_PARALLELISM=(?:true|false)"
    r"|(?:TRANSFORMERS|HF_HUB|HF_DATASETS)_OFFLINE=[01]|PYTHONUNBUFFERED=1"
)
_PROGRAM = re.compile(
    r"(?:python[0-9.]*|-m|(?:\./|lm-evaluation-harness/)?main\.py|lm[_-]eval(?:uate)?|accelerate|launch)",
    re.IGNORECASE,
)


def _is_call(before: str) -> bool:
    """Tell whether the words before a command's options are its program and variables that change nothing."""
    return all(_VARIABLE.fullmatch(word) or _PROGRAM.fullmatch(word) for word in before.lstrip("!$ ").split())


def _are_tasks(value: str) -> bool:
    return all(task in load_tasks() or task in load_suites() for task in value.split(","))


def odd_setting(line: str) -> str | None:
    """Return what is not known in a line of settings; None if nous-2023 had all of it, "" if it is no line of settings.

    A line that goes on with a command ("--batch_size 8") is one, too, and so is one that a command begins on.

    >>> [odd_setting(line) for line in ("lm_eval --model_args pretrained=a/Foo", "--batch_size 8", "Scores of ours")]
    [None, None, '']
    >>> odd_setting("python main.py --model gpt2 --tasks boolq")
    'a command without pretrained=, where the harness loads gpt2'
    >>> [odd_setting(line) for line in ("We took --limit 0", "lm_eval --model_args pretrained=Foo --tasks of Bar")]
    ['We took', 'tasks: of Bar']
    >>> odd_setting("hf-causal (pretrained=a/Foo,peft=b/Bar), limit: None, num_fewshot: 0, batch_size: 8")
    'peft=b/Bar'
    >>> odd_setting("python main.py \\\\"), odd_setting("python main.py of theirs")
    (None, '')
    """
    text = line.strip().strip("`").strip()
    text = re.sub(r"\s*\\$", "", text)
    if re.search(r"main\.py|lm[_-]eval", text) and _is_call(text):
        return None
    if "--" in text and (settings_of(text) is not None or text.startswith("--")):
        return _odd_command(text)
    settings = settings_of(text)
    if settings is None:
        return ""
    found = re.match(r"(?P<kind>[\w.-]+)\s*\((?P<args>[^()]*)\)\s*,\s*(?P<rest>.*)$", text)
    if found is None:
        return text[:60]
    if found["kind"] not in KINDS:
        return f"kind: {found['kind']}"
    if "pretrained" not in arguments_of(found["args"]):
        return f"{found['kind']} {NO_PRETRAINED}"
    if (odd := odd_argument(found["args"])) is not None:
        return odd[:60]
    seen = set()
    for part in re.split(r",\s*", found["rest"].strip().strip("`").strip(" ,.")):
        key, _, value = part.partition(":")
        if not fits(_LINE, key.strip(), value) or key.strip() in seen:
            return part[:60]
        seen.add(key.strip())
    return None


def _says_more(part: str, arguments: str) -> bool:
    """Tell whether a part of the path that a command writes to names another model, other weights or another way."""
    said = re.sub(r"\.(?:jsonl?|md|txt|log)$", "", part)
    loaded = arguments_of(arguments).get("pretrained", "")
    owner = loaded.split("/")[0] if "/" in loaded else ""
    other = other_weights(said) or other_way(said.replace("_", " "))
    return other is not None or (said != owner and names_another_model(said, loaded))


def _odd_command(text: str) -> str | None:
    before = text.partition("--")[0]
    if not _is_call(before.strip()):
        return before.strip()[:60]
    options = options_of(text)
    if re.search(r"[;|&<>]|\$\(", text) or len(options) != len(re.findall(r"(?<!\S)--\w", text)):
        return text[:60]  # another command, or an option twice
    arguments = options.pop("model_args", "")
    asks = bool(before.strip()) or bool(options.keys() & {"model", "tasks"}) or bool(arguments)
    if asks and "pretrained" not in arguments_of(arguments):
        return f"a command {NO_PRETRAINED}"
    if (odd := odd_argument(arguments) if arguments else None) is not None:
        return odd[:60]
    loaded = bare(arguments_of(arguments).get("pretrained", "").split("/")[-1])
    for key, value in options.items():
        known = fits(_COMMAND, key, value)
        known = known or (key == "model" and value in KINDS)
        known = known or (key == "tasks" and _are_tasks(value))
        known = known or (key == "model_alias" and bool(loaded) and bare(value) == loaded)
        known = known or (
            key in ("output_path", "output_base_path")
            and re.fullmatch(r"[\w./~-]*", value, re.ASCII) is not None
            and not any(_says_more(part, arguments) for part in value.split("/"))
        )
        if not known:
            return f"{key}: {value}"[:60]
    return None
