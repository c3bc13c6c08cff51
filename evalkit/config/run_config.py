"""What to run: `ModelConfig` says which model answers, `RunConfig` what is asked, `InferConfig` asks one question.

Their fields are the YAML keys, the options of the command line, the help and docs/configuration.md; see
`evalkit.config.options`. A file and flags become one frozen RunConfig. Flags win.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import field

from evalkit.config.generation_settings import refusing
from evalkit.config.isolation import ISOLATIONS, Isolation
from evalkit.config.options import Option, OptionStruct, between, build, flat, given, read_settings, table
from evalkit.config.suites import find_suite, find_task, load_suites
from evalkit.config.yaml_files import read_yaml
from evalkit.errors import ConfigError, did_you_mean
from evalkit.paths import is_folder, user_path

TINY = "tiny"
Dtype = Literal["auto", "float64", "float32", "bfloat16", "float16", "fp32", "bf16", "fp16"]
# As elsewhere in the field, "gpu" is CUDA's.
_DEVICE = re.compile(r"(?P<kind>auto|cpu)|(?P<indexed>npu|cuda|gpu)(?::(?P<index>\d+))?", re.ASCII)
_TOKENS = "a number of tokens (1 or more)"


def parse_device(device: str) -> tuple[str, int | None]:
    """Return kind (auto, cpu, npu or cuda) and index of a device as users write it.

    Raises:
        ValueError: it is no such word.
    """
    match = _DEVICE.fullmatch(device)
    if match is None:
        hint = did_you_mean(device.split(":")[0], ("auto", "npu", "cuda", "cpu"))
        raise ValueError(f"{device!r} is not one of auto, npu, npu:3, cuda, cuda:1, cpu{hint}")
    kind = (match["kind"] or match["indexed"]).replace("gpu", "cuda")
    return kind, int(match["index"]) if match["index"] else None


def _no_device(value: str) -> str | None:
    try:
        parse_device(value)
    except ValueError as error:
        return str(error)
    return None


def _no_batch_size(value: str) -> str | None:
    if value == "auto" or (value.isdecimal() and int(value) > 0):
        return None
    return f"{value!r} is neither 'auto' nor a number of rows"


def _empty(value: str | None) -> str | None:
    if value is None or (value.strip() and "\0" not in value):
        return None
    return "holds a NUL character, which no name has" if value.strip() else "is empty; leave it out, or say which"


_ISOLATION_HELP = f"Model-written programs: {', '.join(ISOLATIONS[:-1])} or {ISOLATIONS[-1]}."


# In an address, or where one is meant: "http://user:secret@host", "//token@host", "user:secret@host".
_LOGIN = re.compile(r"//[^/?#\s]*@|^[^/?#\s@]+:[^/?#\s@]+@")
# What an address asks for: "http://host/v1?key=secret", "host/v1?key=secret", "https://host#token".
_QUERY = re.compile(r"//[^\s]*[?#]|\?[^\s?=]+=")


def _login(value: str | None) -> str | None:
    """Refuse what may be a secret: names end up in folders, records, reports, and the machine's list of processes.

    Which keys of a query hold one nobody can list (token, key, api-key, sig ...), so none is taken.
    """
    what = {"a user's name or password": _LOGIN, "a query (?...), which may hold a key": _QUERY}
    found = next((kind for kind, pattern in what.items() if value is not None and pattern.search(value)), None)
    if found is None:
        return None
    return (
        f"holds {found}, which would stand in folders, records and reports; give the address without it, and have the "
        "adapter read it from the environment or a file of yours"
    )


def _no_name(value: str | None) -> str | None:
    return _empty(value) or _login(value)


def _half_a_character(value: str | None) -> str | None:
    found = None if value is None else re.search("[\ud800-\udfff]", value)
    return f"{found[0]!r} is half a character (a lone surrogate), which no tokenizer takes" if found else None


def _empty_source(values: tuple[str, ...]) -> str | None:
    empty = any(not value.rpartition("=")[2].strip() for value in values)
    if empty:
        return "is empty; give hub, openmind, samples or a folder"
    return next(
        filter(None, map(_login, (part for value in values for part in (value, value.rpartition("=")[2])))), None
    )


def _no_text(value: str) -> str | None:
    return None if value else "is empty; say what the model shall answer"


def _suite_names() -> str:
    """Return the names of the suites that there are; who reads them tells of a file that is wrong, not the help."""
    with suppress(ConfigError):
        return ", ".join(load_suites())
    return "evalkit list suites"


def _default_suites() -> str:
    with suppress(ConfigError):
        others = [suite.name for suite in load_suites().values() if not suite.default]
        return f"all but {', '.join(others)}" if others else "all"
    return "all"


class ModelConfig(OptionStruct, frozen=True, kw_only=True):
    """Which model answers, how it is loaded and how it computes."""

    name: Annotated[
        str,
        Option(
            "Local folder, hub id, or 'tiny' (the built-in model).",
            refuse=_login,
            missing="give --model FOLDER, --model HUB/ID or --model tiny (the built-in model)",
        ),
    ] = field(name="model")
    revision: Annotated[str | None, Option("Revision of a hub model.", or_number=True, refuse=_no_name, gate=True)] = (
        None
    )
    adapter: Annotated[
        str | None,
        Option("PEFT adapter (LoRA ...) to apply to the model.", metavar="FOLDER", refuse=_no_name, gate=True),
    ] = None
    tokenizer: Annotated[str | None, Option("Another tokenizer than the model's.", refuse=_no_name, gate=True)] = None
    loader: Annotated[
        Literal["auto", "openmind", "transformers"], Option("auto, openmind or transformers.", gate=True)
    ] = "auto"
    device: Annotated[str, Option("auto, npu[:N], cuda[:N] or cpu.", refuse=_no_device, gate=True)] = "auto"
    dtype: Annotated[Dtype, Option("auto, bfloat16, float16, float32 or float64.", gate=True)] = "auto"
    trust_remote_code: Annotated[
        bool, Option("Run code that the model's repository contains.", negatable=True, gate=True)
    ] = False
    batch_size: Annotated[
        str, Option("'auto' or rows a batch, for generation.", or_number=True, refuse=_no_batch_size)
    ] = "auto"
    scorer: Annotated[Literal["auto", "forest", "plain"], Option("auto, forest (shared prefixes once) or plain.")] = (
        "auto"
    )
    engine: Annotated[
        Literal["evalkit", "vllm"],
        Option("What generates texts: evalkit (the model in this process), or vllm where it is installed.", since=2),
    ] = "evalkit"
    max_batch_tokens: Annotated[
        int | None, Option("Token positions of a forward pass.", default="measured", refuse=between(1, None, _TOKENS))
    ] = None
    audit_fraction: Annotated[
        float,
        Option(
            "Share of the documents to score again in float32.",
            refuse=between(0.0, 1.0, "a share of the documents (0 to 1)"),
        ),
    ] = 0.0
    max_length: Annotated[
        int | None,
        Option(
            "Tokens a row may have.",
            default="the model's own limit",
            refuse=between(2, None, "a number of tokens that a row can have (2 or more)"),
        ),
    ] = None
    add_bos: Annotated[
        bool, Option("Put BOS before every request.", negatable=True, moves_scores=True, in_requests=True)
    ] = False
    system_in_user: Annotated[
        bool,
        Option(
            "Put the system prompt at the head of the user's turn, for chat templates that take none.",
            moves_scores=True,
            in_requests=True,
        ),
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adapter is not None and self.name == TINY:
            raise ConfigError(f"adapter: the built-in model '{TINY}' takes none; name its base model with --model")


_SEED = between(0, 2**32 - 1, f"between 0 and {2**32 - 1}, as NumPy's generator needs it")


class RunConfig(OptionStruct, frozen=True, kw_only=True):
    """One run, as asked for."""

    model: ModelConfig
    """What answers; its keys are a file's own, beside the others."""
    suite: Annotated[
        tuple[str, ...],
        Option(
            f"Suite; repeat for several: {_suite_names()}.",
            default=_default_suites(),
        ),
    ] = ()
    task: Annotated[
        tuple[str, ...], Option("Single task; repeat for several (evalkit list tasks).", default="none")
    ] = ()
    data: Annotated[
        tuple[str, ...],
        Option(
            "hub, openmind, samples or a folder; SUITE=SOURCE for one suite.",
            default="samples for tiny, else hub",
            refuse=_empty_source,
            gate=True,
        ),
    ] = ()
    limit: Annotated[
        int | None,
        Option(
            "First N documents of each task.",
            default="all",
            refuse=between(1, None, "a number of documents (1 or more)"),
            moves_scores=True,
            in_requests=True,
        ),
    ] = None
    samples: Annotated[
        int,
        Option(
            "HumanEval: completions for each problem.",
            refuse=between(1, None, "a number of completions (1 or more)"),
            moves_scores=True,
            in_requests=True,
        ),
    ] = 1
    temperature: Annotated[
        float,
        Option(
            "HumanEval: sampling temperature, 0 is greedy.",
            refuse=between(0.0, 10.0, "between 0 (greedy) and 10"),
            moves_scores=True,
            in_requests=True,
        ),
    ] = 0.0
    top_p: Annotated[
        float,
        Option(
            "HumanEval: with a temperature, draw only among the likeliest tokens that together have this probability.",
            refuse=between(sys.float_info.min, 1.0, "a probability above 0 and up to 1"),
            moves_scores=True,
            in_requests=True,
            since=2,
        ),
    ] = 1.0
    top_k: Annotated[
        int,
        Option(
            "HumanEval: with a temperature, draw only among so many of the likeliest tokens; 0 is all.",
            refuse=between(0, None, "a number of tokens, or 0 for all"),
            moves_scores=True,
            in_requests=True,
            since=2,
        ),
    ] = 0
    repetition_penalty: Annotated[
        float,
        Option(
            "HumanEval: divide what the model gives tokens that are there already by this; 1 is none.",
            refuse=refusing("repetition_penalty"),
            moves_scores=True,
            in_requests=True,
            since=2,
        ),
    ] = 1.0
    output: Annotated[str, Option("Folder that receives <model>/<time>/.", refuse=_empty)] = "results"
    max_new_tokens: Annotated[
        int | None,
        Option(
            "Lower the tokens of a generated text to this.",
            default="the tasks' own",
            refuse=between(1, None, _TOKENS),
            moves_scores=True,
            in_requests=True,
        ),
    ] = None
    apply_chat_template: Annotated[
        bool, Option("Wrap contexts in the model's chat template.", negatable=True, moves_scores=True, in_requests=True)
    ] = False
    system: Annotated[
        str | None,
        Option("System prompt.", default="none", refuse=_half_a_character, moves_scores=True, in_requests=True),
    ] = None
    isolation: Annotated[Isolation, Option(_ISOLATION_HELP)] = "require"
    unsafe_code_execution: Annotated[bool, Option("Permits --isolation off.")] = False
    seed: Annotated[
        int, Option("Seed of torch, numpy and random.", refuse=_SEED, moves_scores=True, in_requests=True)
    ] = 1234
    fresh: Annotated[bool, Option("Start anew, even if the same command left a run unfinished.")] = False
    resume: Annotated[bool, Option("Continue an unfinished run; an error if there is none.")] = False
    dry_run: Annotated[bool, Option("Look at model and requests, print the plan, score nothing.")] = False
    reuse: Annotated[
        str | None,
        Option("Take scores of equal requests from the folder of another run.", metavar="RUN", refuse=_empty),
    ] = None
    source_file: str | None = None
    """The file that it was read from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples > 1 and self.temperature == 0.0:
            raise ConfigError(
                f"samples: {self.samples} greedy completions are all the same; add --temperature (0.2 is usual)"
            )
        if self.temperature == 0.0 and (self.top_p, self.top_k) != (1.0, 0):
            name = "top_p" if self.top_p != 1.0 else "top_k"
            raise ConfigError(f"{name}: says among which tokens to draw, and nothing is drawn; add --temperature")
        if self.isolation == "off" and not self.unsafe_code_execution:
            raise ConfigError(
                "isolation: off runs model-written programs with your rights; "
                "add --unsafe-code-execution if that is what you want"
            )
        if self.model.system_in_user and not (self.system and self.apply_chat_template):
            raise ConfigError("system_in_user: says where the chat template has --system; add both, or leave it out")
        if self.fresh and self.resume:
            raise ConfigError("fresh: contradicts resume; give one of them")
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
        return self.data or (("samples",) if self.model.name == TINY else ("hub",))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the record, the model's fields beside the others."""
        return flat(self)


class InferConfig(OptionStruct, frozen=True, kw_only=True):
    """One question to a model, and how it is to be answered."""

    text: Annotated[str, Option("What to ask.", refuse=_no_text)] = field(name="prompt")
    system: Annotated[str | None, Option("System prompt.", default="none")] = None
    raw: Annotated[bool, Option("No chat template: continue the prompt as it stands.")] = False
    max_new_tokens: Annotated[
        int, Option("Longest answer in tokens; less where the context is full.", refuse=between(1, None, _TOKENS))
    ] = 128
    temperature: Annotated[
        float,
        Option("0 is greedy.", refuse=between(0.0, sys.float_info.max, "0 (the likeliest token) or above")),
    ] = 0.0
    top_p: Annotated[
        float,
        Option(
            "Draw only among the likeliest tokens that together have this probability.",
            refuse=between(sys.float_info.min, 1.0, "a probability above 0 and up to 1"),
        ),
    ] = 1.0
    top_k: Annotated[
        int,
        Option(
            "Draw only among so many of the likeliest tokens; 0 is all.",
            refuse=between(0, None, "a number of tokens, or 0 for all"),
        ),
    ] = 0
    repetition_penalty: Annotated[
        float,
        Option(
            "Divide what the model gives tokens that are there already by this; 1 is none.",
            refuse=refusing("repetition_penalty"),
        ),
    ] = 1.0
    seed: Annotated[int, Option("Seed of the draws.", refuse=_SEED)] = 1234

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.raw and self.system is not None:
            raise ConfigError("--system needs the chat template, which --raw leaves out; drop one of the two")


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a run configuration.

    Raises:
        ConfigError: no file, no YAML mapping, an unknown key, or a value that cannot be; with file and line.
    """
    file = read_yaml(path, str(path), "'model' and 'suite'")
    values = read_settings(file, RunConfig)
    for key, find in (("suite", find_suite), ("task", find_task)):
        for item, name in enumerate(values.get(key, ())):
            try:
                find(name)
            except ConfigError as error:
                in_list = isinstance(file.content[key], list)
                raise file.fault((key,), str(error), item if in_list else None) from None
    return values


def make_config(config_file: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """Merge a configuration file and flags; flags that were not given are None or empty.

    A ``suite`` or ``task`` among the flags replaces both of the file: together they say what to run.

    Raises:
        ConfigError: see ``read_config_file`` and ``RunConfig``; or no model was named.
    """
    values = read_config_file(config_file) if config_file else {}
    if flags.get("suite") or flags.get("task"):
        values = {key: value for key, value in values.items() if key not in ("suite", "task")}
    said = given(flags)
    try:
        return build(RunConfig, values | said | {"source_file": str(config_file) if config_file else None})
    except ConfigError as error:
        # Values that do not go together; each alone was looked at when the file was read.
        key, _, what = str(error).partition(": ")
        if config_file is None or key not in values or key in said:
            raise
        raise read_yaml(config_file, str(config_file), "").fault((key,), what) from None


def model_folder_name(model: str) -> str:
    """Turn a model's name into one path component: ``org/name`` becomes ``org__name``, a folder its last part."""
    path = user_path(model)
    name = path.resolve().name if is_folder(path) else model.strip("/")
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name.replace("/", "__")) or "model"


def suites_of(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return the suites that the tasks belong to, in reporting order."""
    wanted = {find_task(task).suite for task in tasks}
    return tuple(name for name in load_suites() if name in wanted)


def tables() -> dict[str, str]:
    """Return the tables of docs/configuration.md by command."""
    return {"run": table(RunConfig), "infer": table(InferConfig)}


if __name__ == "__main__":
    for name, text in tables().items():
        sys.stdout.write(f"<!-- {name} -->\n{text}\n<!-- end -->\n\n")
