"""The harness's own lines and the commands that call it: which model, which settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from evalkit.results.harness_settings import arguments_of

_SETTINGS = re.compile(
    r"^[\s>*`-]*(?P<kind>[\w.-]+)\s*\((?P<args>[^()]*(?:\([^()]*\)[^()]*)*)\)\s*,\s*(?P<rest>.*(?:num_fewshot|limit|batch_size|provide_description).*)$"
)
_OWN_LIMIT = re.compile(r"- Documents: first ([0-9]+) of each task|- [^:：]{1,8}[:：]\s*每个任务的前 ([0-9]+) 题")
_COMMAND = re.compile(
    r"(?:^|\s)(?:python3?\s+\S*main\.py|lm[_-]eval(?:uate)?|accelerate\s+launch|lm-eval)\s.*--|(?:^|\s)--\w[\w-]*",
    re.IGNORECASE,
)
_REQUESTS = frozenset(
    {"kind", "limit", "num_fewshot", "provide_description", "description_dict_path", "description_dict"}
)
"""Settings of the harness, which no argument of the model is taken for."""
_RUNNING = frozenset(
    {
        "batch_size",
        "device",
        "max_batch_size",
        "parallelize",
        "device_map",
        "device_map_option",
        "max_memory_per_gpu",
        "max_cpu_memory",
        "offload_folder",
        "low_cpu_mem_usage",
        "use_accelerate",
        "trust_remote_code",
        "use_auth_token",
        "token",
        "cache_dir",
        "use_fast",
        "output_path",
        "output_base_path",
        "log_samples",
        "verbosity",
        "no_cache",
        "write_out",
        "show_config",
        "tasks",
        "model_alias",
        "wandb_args",
    }
)
"""Settings that change no score, or name no model: those in which lines of one model may differ."""
_NOTHING = re.compile(r"\(?\s*(?:none|null|)\s*\)?|false|\{\s*\}", re.IGNORECASE)


def settings_of(line: str) -> dict[str, str] | None:
    """Return the settings in the harness's own line, or in a command line, by name; None if a line is neither.

    >>> settings_of("hf-causal (pretrained=a/Foo,peft=b), limit: None, num_fewshot: 0, batch_size: 8")["peft"]
    'b'
    >>> settings_of("python main.py --model_args pretrained=a/Foo --num_fewshot 5")["num_fewshot"]
    '5'
    >>> settings_of("- Documents: first 4 of each task")  # evalkit's own report
    {'limit': '4'}
    """
    if (own := _OWN_LIMIT.fullmatch(line.strip())) is not None:
        return {"limit": own[1] or own[2]}
    found = _SETTINGS.match(line)
    if found is not None:
        settings = {"kind": found["kind"]}
        settings |= {f"model_args.{k}" if k in _REQUESTS else k: v for k, v in arguments_of(found["args"]).items()}
        for part in re.split(r",\s*(?=\w+\s*:)", found["rest"]):
            key, _, value = part.partition(":")
            before = settings.get(key.strip())  # a key that is there twice says both
            settings[key.strip()] = value.strip(" `*|") if before is None else f"{before} and {value.strip()}"
        return settings
    if _COMMAND.search(line) is None or len(line) > 4000:
        return None
    settings = options_of(line)
    if not settings.keys() & {"tasks", "model_args", "num_fewshot", "limit"}:
        return None
    arguments = settings.pop("model_args", "")
    settings = {"kind" if name == "model" else name: value for name, value in settings.items()}
    return settings | {f"model_args.{k}" if k in _REQUESTS else k: v for k, v in arguments_of(arguments).items()}


_BEGINS = re.compile(r"main\.py|lm[_-]eval|\baccelerate\s+launch|(?:^|\s)--\w")


_NO_COMMAND = re.compile(r"\s*(?:```|~~~|#|\|)")
"""What ends a command, though a backslash stands above it: a fence, a heading, a table."""


def on_one_line(lines: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    r"""Return numbered lines with each command that goes on behind backslashes on its first; its others are empty.

    >>> on_one_line([(1, "python main.py \\"), (2, "  --tasks boolq,\\"), (3, "piqa"), (4, "Done \\"), (5, "so")])
    [(1, 'python main.py   --tasks boolq,piqa'), (2, ''), (3, ''), (4, 'Done \\'), (5, 'so')]
    """
    found: list[tuple[int, str]] = []
    first: int | None = None  # where the command that goes on begins
    for number, text in lines:
        if not text.strip() or _NO_COMMAND.match(text):
            first = None
        if first is None:
            found.append((number, text))
        else:
            found[first] = (found[first][0], found[first][1].rstrip().removesuffix("\\") + text)
            found.append((number, ""))
        goes_on = text.rstrip().endswith("\\") and (first is not None or _BEGINS.search(text) is not None)
        first = (len(found) - 1 if first is None else first) if goes_on else None
    return found


def options_of(line: str) -> dict[str, str]:
    """Return the options of a command line with the words behind each."""
    try:
        words = shlex.split(line.replace("\\", " "), comments=False)
    except ValueError:
        words = line.split()
    settings: dict[str, str] = {}
    key = None
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            key = name.replace("-", "_")
            settings[key] = value
        elif key is not None:
            settings[key] = f"{settings[key]} {word}".strip()
    return settings


def who(settings: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the settings that tell models and ways to measure apart: all but those of the machine."""
    said = {key: value.strip("/ ") for key, value in settings.items() if key not in _RUNNING}
    return tuple(sorted((key, value) for key, value in said.items() if not _NOTHING.fullmatch(value) and value != "0"))
