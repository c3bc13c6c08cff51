"""What to run: one YAML file and the command line's flags become a frozen RunConfig. Flags win."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from evalkit.errors import ConfigError, did_you_mean
from evalkit.paths import is_folder, user_path
from evalkit.suites import find_suite, find_task, load_suites
from evalkit.yaml_files import YamlFile, read_yaml, shown

TINY = "tiny"

_CHOICES: dict[str, tuple[str, ...]] = {
    "loader": ("auto", "openmind", "transformers"),
    "dtype": ("auto", "float64", "float32", "bfloat16", "float16", "fp32", "bf16", "fp16"),
    "scorer": ("auto", "forest", "plain"),
    "isolation": ("require", "best", "off"),
}


@dataclass(frozen=True)
class RunConfig:
    """One run, as asked for. Field names are the YAML keys; flags are spelled with hyphens.

    Attributes:
        model: local folder, hub id, or ``tiny`` for the built-in model.
        suite: suites to run; with neither suite nor task: all.
        task: single tasks to run besides the suites.
        data: sources of the documents, each ``SOURCE`` or ``SUITE=SOURCE``; empty: samples for ``tiny``, else hub.
        samples: completions for each HumanEval problem; several need a temperature.
        temperature: of HumanEval's completions; 0 is greedy.
        limit: first N documents of each task; None for all.
        output: folder that receives ``<model>/<time>/``.
        revision: revision of a hub model.
        tokenizer: another tokenizer than the model's.
        loader: auto, openmind or transformers.
        device: auto, npu[:N], cuda[:N] or cpu.
        dtype: auto, bfloat16, float16, float32 or float64 (bf16, fp16 and fp32 are the same).
        batch_size: ``auto`` or rows a batch, for generation.
        scorer: auto, forest (shared prefixes once) or plain (row by row).
        max_batch_tokens: token positions of a forward pass; None: measured.
        audit_fraction: share of the documents that are scored again in float32, to say what the dtype changed.
        max_length: tokens a row may have; None: the model's own limit.
        max_new_tokens: greatest number of tokens of a generated text; None: each task's own. It only lowers.
        trust_remote_code: run code that the model's repository contains.
        add_bos: put the BOS token before every request (protocol nous-2023 does not).
        apply_chat_template: wrap contexts in the tokenizer's chat template (protocol nous-2023 does not).
        system: system prompt, with the chat template or before the context.
        system_in_user: with the chat template, put the system prompt at the head of the first user turn.
        adapter: folder of a PEFT adapter (LoRA ...) to apply to the model.
        isolation: how model-written programs are run: require, best or off.
        unsafe_code_execution: permits ``isolation: off``.
        seed: seed of torch, numpy and random.
        fresh: begin a new run although an unfinished one could be continued.
        resume: continue an unfinished run or fail.
        reuse: folder of another run whose scores of equal requests are taken over.
        dry_run: look at model, data and requests, print the plan, and compute no score.
    """

    model: str
    suite: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    samples: int = 1
    temperature: float = 0.0
    limit: int | None = None
    output: str = "results"
    revision: str | None = None
    tokenizer: str | None = None
    loader: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    batch_size: str = "auto"
    scorer: str = "auto"
    max_batch_tokens: int | None = None
    audit_fraction: float = 0.0
    max_length: int | None = None
    max_new_tokens: int | None = None
    trust_remote_code: bool = False
    add_bos: bool = False
    apply_chat_template: bool = False
    system: str | None = None
    system_in_user: bool = False
    adapter: str | None = None
    isolation: str = "require"
    unsafe_code_execution: bool = False
    seed: int = 1234
    fresh: bool = False
    resume: bool = False
    reuse: str | None = None
    dry_run: bool = False
    source_file: str | None = field(default=None, metadata={"internal": True})

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"{name}: {value!r} is not one of {', '.join(known)}{did_you_mean(value, known)}")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit: {self.limit} is not a number of documents (1 or more)")
        if self.max_length is not None and self.max_length < 2:
            raise ConfigError(f"max_length: {self.max_length} tokens is too short (2 or more)")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens: {self.max_new_tokens} is not a number of tokens (1 or more)")
        if self.samples < 1:
            raise ConfigError(f"samples: {self.samples} is not a number of completions (1 or more)")
        if not 0.0 <= self.temperature <= 10.0:
            raise ConfigError(f"temperature: {self.temperature} is not between 0 (greedy) and 10")
        if self.samples > 1 and self.temperature == 0.0:
            raise ConfigError(
                f"samples: {self.samples} greedy completions are all the same; add --temperature (0.2 is usual)"
            )
        if not 0.0 <= self.audit_fraction <= 1.0:
            raise ConfigError(f"audit_fraction: {self.audit_fraction} is not a share of the documents (0 to 1)")
        if self.max_batch_tokens is not None and self.max_batch_tokens < 1:
            raise ConfigError(f"max_batch_tokens: {self.max_batch_tokens} is not a number of tokens (1 or more)")
        if self.batch_size != "auto" and not (self.batch_size.isdecimal() and int(self.batch_size) > 0):
            raise ConfigError(f"batch_size: {self.batch_size!r} is neither 'auto' nor a number of rows")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed: {self.seed} is not between 0 and {2**32 - 1}, as NumPy's generator needs it")
        if self.isolation == "off" and not self.unsafe_code_execution:
            raise ConfigError(
                "isolation: off runs model-written programs with your rights; "
                "add --unsafe-code-execution if that is what you want"
            )
        if self.system_in_user and not (self.system and self.apply_chat_template):
            raise ConfigError("system_in_user: says where the chat template has --system; add both, or leave it out")
        if self.adapter is not None and self.model == TINY:
            raise ConfigError(f"adapter: the built-in model '{TINY}' takes none; name its base model with --model")
        if self.fresh and self.resume:
            raise ConfigError("fresh and resume contradict each other; give one of them")
        self.task_names()

    def task_names(self) -> tuple[str, ...]:
        """Return the tasks to run, in reporting order, each once.

        Raises:
            ConfigError: an unknown suite or task.
        """
        for name in self.suite:
            find_suite(name)
        for name in self.task:
            find_task(name)
        everything = not self.suite and not self.task
        return tuple(
            task.name
            for suite in load_suites().values()
            for task in suite.tasks
            if (everything and suite.default) or suite.name in self.suite or task.name in self.task
        )

    def data_sources(self) -> tuple[str, ...]:
        """Return the ``--data`` values, with the default filled in."""
        return self.data or (("samples",) if self.model == TINY else ("hub",))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the record."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def _keys() -> dict[str, Any]:
    hints = typing.get_type_hints(RunConfig)
    return {f.name: hints[f.name] for f in fields(RunConfig) if not f.metadata.get("internal")}


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a run configuration.

    Raises:
        ConfigError: no file, no YAML mapping, an unknown key, or a value of the wrong type.
    """
    file = read_yaml(path, str(path), "'model' and 'suite'")
    known = _keys()
    values = {}
    for key in file.content:
        if key not in known:
            raise file.fault((), f"unknown key '{key}'{did_you_mean(str(key), known)}", key)
        values[key] = _value(file, key, known[key])
    return values


def _value(file: YamlFile, key: str, hint: Any) -> Any:
    """Return the value of a key as its field's type; a single text stands for a list of one."""
    found = file.content[key]
    if typing.get_origin(hint) is tuple and not isinstance(found, list):
        if not isinstance(found, str):
            raise file.fault((key,), f"expected a text or a list of texts, found {shown(found)}")
        return (found,)
    if key == "batch_size" and type(found) is int:
        return str(found)
    return file.value((key,), hint)


def make_config(config_file: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """Merge a configuration file and flags; flags that were not given are None or empty.

    A ``suite`` or ``task`` among the flags replaces both of the file: together they say what to run.

    Raises:
        ConfigError: see ``read_config_file`` and ``RunConfig``; or no model was named.
    """
    values = read_config_file(config_file) if config_file else {}
    if flags.get("suite") or flags.get("task"):
        values = {key: value for key, value in values.items() if key not in ("suite", "task")}
    for key, value in flags.items():
        if isinstance(value, (list, tuple)):
            if value:
                values[key] = tuple(value)
        elif value is not None:
            values[key] = value
    if not values.get("model"):
        raise ConfigError("no model: give --model FOLDER, --model HUB/ID or --model tiny (the built-in model)")
    return RunConfig(**values, source_file=str(config_file) if config_file else None)


def model_folder_name(model: str) -> str:
    """Turn a model's name into one path component: ``org/name`` becomes ``org__name``, a folder its last part."""
    path = user_path(model)
    name = path.resolve().name if is_folder(path) else model.strip("/")
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name.replace("/", "__")) or "model"


def suites_of(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return the suites that the tasks belong to, in reporting order."""
    wanted = {find_task(task).suite for task in tasks}
    return tuple(name for name in load_suites() if name in wanted)
