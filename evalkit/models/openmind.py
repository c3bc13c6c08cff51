"""The adapter: a causal language model on an Ascend NPU, a GPU or the CPU, as lm-eval's model ``openmind``.

Here is the loading, with the libraries of `ascend`; `scored.ScoredLM` scores and generates, and all else is lm-eval's
`HFLM`. It gets a model and a tokenizer that are loaded, complete and on their device, since its own way falls to the
CPU for a bare ``npu``, loads from one hub only, and leaves errors as tracebacks.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evalkit.answering import FullyDescribed
from evalkit.errors import ModelError, first_line

try:
    import torch

    from evalkit.models.scored import ENGINE_ROWS, ScoredLM
except ImportError as error:
    raise ModelError(
        f"running a model needs torch and transformers ({error}); pip install -e '.[model]' in evalkit's "
        "folder brings them, beside the torch build that fits your device"
    ) from error
except RuntimeError as error:  # torch's, where somebody has switched the plug-ins on again (see evalkit/__init__.py)
    raise ModelError(f"torch cannot be imported: {str(error).splitlines()[0]}") from error

from evalkit.config.options import build, declared_settings
from evalkit.config.run_config import TINY, ModelConfig
from evalkit.models import chat, checkpoints, devices, in_memory, loading, tiny
from evalkit.models.ascend import activate_npu, auto_classes, choose_loader, find_checkpoint, hide_broken_torch_npu
from evalkit.models.checkpoints import Checkpoint, Weights
from evalkit.models.description import describe_model, installed_version
from evalkit.paths import user_path

CHAT_TEMPLATE_JSON = "chat_template.json"
# What training scripts save beside an adapter where they changed it.
ADAPTER_TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja")
# Arguments that HFLM itself understands and that mean something here, where scoring is not its own. All others go to
# `from_pretrained`.
HFLM_OPTIONS = (
    "chat_template_args",
    "enable_thinking",
    "max_batch_size",
    "prefix_token_id",
    "think_end_token",
    "truncation",
)
# Arguments of lm-eval's `hf` that make it load in other ways.
HF_ONLY_OPTIONS = ("autogptq", "backend", "delta", "gguf_file", "gptqmodel", "parallelize", "peft", "tp_plan")


class OpenMindLM(ScoredLM):
    """A model of lm-eval's, loaded by openmind or by transformers, on whichever device there is."""

    def __init__(self, pretrained: ModelConfig | str = TINY, **arguments: Any) -> None:
        """Load the model.

        Args:
            pretrained: what to load, and how; or its name, as lm-eval's ``--model_args`` gives it.
            arguments: where it is a name, the other fields of `ModelConfig` by name (``add_bos_token`` for
                ``add_bos``); any of ``HFLM_OPTIONS``; others are arguments of ``from_pretrained``, for example
                ``attn_implementation`` or ``device_map``.

        Raises:
            ConfigError: a field's value cannot be.
            ModelError: in one line, why the model cannot be used here.
        """
        config, options = pretrained, arguments
        if not isinstance(config, ModelConfig):
            config, options = from_lm_eval(config, arguments)
        for name in HF_ONLY_OPTIONS:
            if options.pop(name, None):
                raise ModelError(f"model argument '{name}' is one of lm-eval's own adapter; use `--model hf` for it")
        self.adapter = config.adapter
        adapter_folder = None if config.adapter is None else user_path(config.adapter)
        self.adapter_files = () if adapter_folder is None else checkpoints.adapter_files(adapter_folder)
        self.weights = Weights((), ())
        self.tokenizer_checkpoint: Checkpoint | None = None
        self._notes: list[str] = []
        self._described: FullyDescribed | None = None
        hflm_options = {name: options.pop(name) for name in HFLM_OPTIONS if name in options}
        target = devices.choose_device(config.device, activate_npu)
        if target.type == "npu":
            torch.npu.set_device(target)  # type: ignore[attr-defined]  # torch_npu adds it
        else:
            hide_broken_torch_npu()
        chosen_dtype = devices.choose_dtype(config.dtype, target)
        if config.engine == "vllm":
            check_engine(config, target.type)
        if config.name == TINY:
            self.loader = "built-in"
            self.checkpoint: Checkpoint | None = None
            if options:
                raise ModelError(f"the built-in model '{TINY}' takes no argument '{next(iter(options))}'")
            loaded_model: Any = tiny.model(chosen_dtype).to(target)
            loaded_tokenizer: Any = tiny.tokenizer(config.add_bos)
        else:
            self.loader = choose_loader(config.loader)
            self.checkpoint = find_checkpoint(config.name, config.revision, self.loader)
            tokenizer_source = (
                self.checkpoint if config.tokenizer is None else find_checkpoint(config.tokenizer, None, self.loader)
            )
            self.tokenizer_checkpoint = tokenizer_source
            if (self.checkpoint.folder / "config.json").is_file():
                checkpoints.check_model_json(self.checkpoint)
                self.weights = checkpoints.weights_of(self.checkpoint.folder, options)
            self._seen = self._stamps()
            with auto_classes(self.loader) as (auto_model, auto_tokenizer):
                loaded_tokenizer = loading.load_tokenizer(
                    tokenizer_source,
                    auto_tokenizer,
                    trust_remote_code=config.trust_remote_code,
                    add_bos=config.add_bos,
                    notes=self._notes,
                )
                loaded_model = loading.load_model(
                    self.checkpoint,
                    auto_model,
                    device=target,
                    dtype=chosen_dtype,
                    dtype_is_auto=config.dtype == "auto",
                    trust_remote_code=config.trust_remote_code,
                    options=options,
                    adapter=adapter_folder,
                    notes=self._notes,
                )
        with _wrapped(config.name), _without_warnings():
            super().__init__(
                loaded_model,
                loaded_tokenizer,
                batch_size=config.batch_size,
                max_length=config.max_length,
                add_bos_token=config.add_bos,
                scorer=config.scorer,
                max_batch_tokens=config.max_batch_tokens,
                audit_fraction=config.audit_fraction,
                **hflm_options,
            )
        if int(self.max_length) < 2:
            raise ModelError(
                f"{config.name}: its configuration gives it a context of {int(self.max_length)} tokens; say how many "
                "it has with --max-length"
            )
        # Of a model that is spread over devices, some weights may stay in their files.
        self._reads_files = in_memory.reads_files(self.model)
        # HFLM keeps the model itself under this name and asks a hub about it; the record wants what the user said.
        self.pretrained = config.name
        self.revision = config.revision
        self.trust_remote_code = config.trust_remote_code
        self.system_in_user = config.system_in_user
        if config.engine == "vllm":
            self._use_vllm(config)

    def _use_vllm(self, config: ModelConfig) -> None:
        """Let vLLM generate; the module is imported only here."""
        from evalkit.models.vllm_engine import VllmGenerator

        assert self.checkpoint is not None
        engine = VllmGenerator(
            config.name,
            str(self.checkpoint.folder),
            self.model,
            self.tokenizer,
            max_length=int(self.max_length),
            add_special_tokens=bool(self.add_bos_token),
            max_rows=ENGINE_ROWS if self._is_batch_auto else self.generation_rows,
            trust_remote_code=config.trust_remote_code,
        )
        self.engine, self.engine_name = engine, engine.version

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        """Return what tells that a weight file is still the same: inode, size and change time."""
        files = [file for file in (*self.weights.files, *self.adapter_files) if file.is_file()]
        return {str(file): ((s := file.stat()).st_ino, s.st_size, s.st_ctime_ns) for file in files}

    def check_unchanged(self) -> None:
        """Raise `ModelError` where weight files are not what they were when they were opened."""
        if self.checkpoint is not None and self._stamps() != self._seen:
            when = "they were loaded" if not self._reads_files else "they were in use"
            raise ModelError(f"{self.pretrained}: its weights changed while {when}; run again when nothing writes them")

    def check_in_use(self) -> None:
        """Raise `ModelError` where weights that are read while the model runs (left on the disk) have changed."""
        if self._reads_files:
            self.check_unchanged()

    def describe(self) -> FullyDescribed:
        """Return what a run's record says about its model; `description.describe_model` says what that is and costs."""
        if self._described is None:  # once: the files may have been overwritten since, the model has not
            self._described = describe_model(self)
            self.check_unchanged()
        return copy.deepcopy(self._described)

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into its results' ``config``, without its request to a hub."""
        return {
            "model_num_parameters": int(self.model.num_parameters()),
            "model_dtype": str(self.model.dtype),
            "model_revision": self.revision or "",
            "model_sha": (self.checkpoint.revision if self.checkpoint else None) or "",
        }

    def remarks(self) -> list[str]:
        """Return what a user should know about what was loaded, one line each."""
        found = list(self._notes)
        if self.weights.unused:
            names = ", ".join(self.weights.unused[:3]) + (" ..." if len(self.weights.unused) > 3 else "")
            used = ", ".join(file.name for file in self.weights.files[:1]) + (
                f" and {len(self.weights.files) - 1} more" if len(self.weights.files) > 1 else ""
            )
            found.append(
                f"the model's folder holds two sets of weights: {used} is loaded, as transformers does; unused: {names}"
            )
        if self.ignored_settings:
            settings = ", ".join(f"{name}={value}" for name, value in self.ignored_settings.items())
            found.append(f"generation_config.json asks for {settings}; texts are made by the protocol, without it")
        if self.adapter is not None:
            found += [f"adapter {self.adapter} is applied", *self._beside_adapter(user_path(self.adapter))]
        tokenizer = self.tokenizer_checkpoint
        if tokenizer and (tokenizer.folder / CHAT_TEMPLATE_JSON).is_file() and not self.tokenizer.chat_template:
            found.append(
                f"{tokenizer.folder / CHAT_TEMPLATE_JSON} is not read by transformers' tokenizers, so that there is no "
                "chat template; write its text into chat_template.jinja beside it"
            )
        return found

    def _beside_adapter(self, folder: Path) -> list[str]:
        """Name what lies beside an adapter, or beside its base, and is not used."""
        found = []
        own = self.checkpoint.folder if self.checkpoint else None
        if own is not None and own.resolve() != folder.resolve() and (own / checkpoints.ADAPTER_CONFIG).is_file():
            found.append(f"the other adapter that lies beside the weights in {own} is not applied")
        tokenizer = self.tokenizer_checkpoint
        names = [name for name in ADAPTER_TOKENIZER if (folder / name).is_file()]
        if names and (tokenizer is None or tokenizer.folder.resolve() != folder.resolve()):
            found.append(
                f"the adapter's folder holds a tokenizer or chat template too ({', '.join(names)}), which is not used; "
                f"--tokenizer {folder} takes it"
            )
        return found

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render a conversation as the text that the model was trained on.

        Raises:
            ModelError: the tokenizer has no chat template, or it refuses, drops or cannot render the conversation.
        """
        text = chat.render_chat(
            self.tokenizer,
            chat_history,
            name=self.pretrained,
            add_generation_prompt=add_generation_prompt,
            arguments=dict(self.chat_template_args or {}),
            system_in_user=self.system_in_user,
        )
        self._rendered.add(hash(text))
        return text


def check_engine(config: ModelConfig, device: str, temperature: float = 0.0) -> None:
    """Look, before anything is loaded, whether vLLM can generate.

    Raises:
        ModelError: it cannot for this model, or is not there.
        ConfigError: it cannot draw at this temperature.
    """
    from evalkit.models import vllm_engine

    if config.name == TINY:
        raise ModelError(f"--engine vllm: reads a checkpoint's folder, and the built-in model '{TINY}' has none")
    if config.adapter is not None:
        raise ModelError("--engine vllm: the adapter would not be applied there; merge it into the weights first")
    vllm_engine.version(device)
    vllm_engine.check_draws(temperature)


def from_lm_eval(name: str, arguments: Mapping[str, Any]) -> tuple[ModelConfig, dict[str, Any]]:
    """Return what lm-eval's arguments say of the model, and those that are not evalkit's.

    Raises:
        ConfigError: a value cannot be; in one line.
    """
    values: dict[str, Any] = {"model": name}
    options: dict[str, Any] = {}
    for argument, value in arguments.items():
        key = "add_bos" if argument == "add_bos_token" else argument
        (values if key in declared_settings(ModelConfig) else options)[key] = value
    if "dtype" in values:
        values["dtype"] = str(values["dtype"]).removeprefix("torch.")
    if str(values.get("batch_size", "")).startswith("auto:"):  # how often lm-eval would look for the size anew
        values["batch_size"] = "auto"
    return build(ModelConfig, values), options


@contextmanager
def _wrapped(name: str) -> Iterator[None]:
    """Turn what lm-eval's HFLM raises for a model that is loaded into one line."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # it looks into configurations and tokenizers as it likes
        raise ModelError(
            f"{name}: lm-eval {installed_version('lm_eval')} cannot take this model ({first_line(error)}); look at "
            "its config.json and tokenizer_config.json for what is named here (--debug shows where it was read)"
        ) from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence HFLM's advice against passing a loaded model; everything that it warns of is taken care of here."""
    logger = logging.getLogger("lm_eval.models.huggingface")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
