"""From a folder to a model and a tokenizer that are known to be complete, or one line that says why not."""

from __future__ import annotations

import inspect
import json
import pickle
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from packaging.version import parse as parse_version

from evalkit.config.options import declared_settings
from evalkit.config.run_config import ModelConfig
from evalkit.errors import ModelError, did_you_mean, first_line
from evalkit.models import quantised as quantised_weights
from evalkit.models.checkpoints import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    Checkpoint,
    adapter_files,
    check_model_json,
    check_no_adapter,
    check_tokenizer,
    check_weights,
    weight_files,
)
from evalkit.models.in_memory import into_memory
from evalkit.models.sentencepieces import as_sentencepiece, restore_bos
from evalkit.models.tekken import as_tekken, is_tekken
from evalkit.models.tokenizer_json import FILE as TOKENIZER_JSON_FILE
from evalkit.models.tokenizer_json import as_tokenizer_json, brings_code, is_gpt2, is_own_code, needs_file_alone
from evalkit.models.tokenizer_packages import check_tokenizer_packages
from evalkit.out_of_memory import is_out_of_memory

TRANSFORMERS_RELEASE = parse_version(transformers.__version__).release
DTYPE_ARGUMENT = "torch_dtype" if TRANSFORMERS_RELEASE < (4, 56) else "dtype"
# Below version 5, weights are otherwise in memory twice: as made and as read.
MEMORY_OPTIONS: dict[str, Any] = {"low_cpu_mem_usage": True} if TRANSFORMERS_RELEASE < (5,) else {}


def load_tokenizer(
    checkpoint: Checkpoint,
    auto_tokenizer: Any,
    *,
    trust_remote_code: bool,
    add_bos: bool,
    notes: list[str] | None = None,
) -> Any:
    """Load a checkpoint's tokenizer.

    Args:
        auto_tokenizer: the ``AutoTokenizer`` class of transformers or openmind.
        add_bos: texts will be encoded with the special tokens that the tokenizer adds; a BOS must be among them.
        notes: gets what a user should know, one line each.

    Raises:
        ModelError: there is none, it cannot be loaded, or it adds no BOS although asked to.
    """
    check_tokenizer(checkpoint)
    check_tokenizer_packages(checkpoint.folder)
    options: dict[str, Any] = {"add_bos_token": True} if add_bos else {}
    with _explained(checkpoint, "the tokenizer"):
        tokenizer = _tokenizer(checkpoint.folder, auto_tokenizer, trust_remote_code, options)
        if not is_own_code(tokenizer):
            as_tokenizer_json(checkpoint.folder, tokenizer, notes)
        else:
            _try_own_code(tokenizer)
    as_sentencepiece(checkpoint.folder, tokenizer)
    with _explained(checkpoint, "the tokenizer"):
        if not is_own_code(tokenizer):
            restore_bos(checkpoint.folder, tokenizer)
    as_tekken(checkpoint.folder, tokenizer)
    rule: Any = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    if getattr(rule, "dropout", None):  # of training: each encoding of a text would be another one
        rule.dropout = None
    if add_bos and (tokenizer.bos_token_id is None or tokenizer.encode("a")[0] != tokenizer.bos_token_id):
        raise ModelError(f"{checkpoint.name}: its tokenizer adds no BOS token; leave --add-bos (add_bos_token) out")
    return tokenizer


def _tokenizer(folder: Path, auto_tokenizer: Any, trust_remote_code: bool, options: dict[str, Any]) -> Any:
    """Load by the class that transformers chooses; by the file alone where that class cannot, and the file can."""
    if is_tekken(folder):  # its class for Mistral's models is mistral-common itself, which takes no options
        return transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))
    try:
        tokenizer = auto_tokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code, **options)
    except Exception:
        if is_gpt2(folder):  # transformers 5 has no class for some models whose files are GPT-2's
            return transformers.GPT2TokenizerFast.from_pretrained(str(folder), **options)
        if not (folder / TOKENIZER_JSON_FILE).is_file() or brings_code(folder):
            raise
    else:
        if not (folder / TOKENIZER_JSON_FILE).is_file() or not needs_file_alone(tokenizer):
            return tokenizer
    return transformers.PreTrainedTokenizerFast.from_pretrained(str(folder), **options)


def _try_own_code(tokenizer: Any) -> None:
    """Use a checkpoint's own tokenizer once: code for another release of transformers fails only then."""
    tokenizer.encode("a")
    tokenizer.decode(tokenizer.encode("a b", add_special_tokens=False))


def load_model(
    checkpoint: Checkpoint,
    auto_model: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    dtype_is_auto: bool,
    trust_remote_code: bool,
    options: dict[str, Any],
    adapter: Path | None = None,
    notes: list[str] | None = None,
) -> Any:
    """Load a checkpoint's weights onto a device, in inference mode.

    A quantised checkpoint (GPTQ, AWQ, ...) keeps its own dtype unless the user named one, and is placed while loading,
    since quantised layers cannot be moved.

    Args:
        auto_model: the ``AutoModelForCausalLM`` class of transformers or openmind.
        options: further arguments of its ``from_pretrained``; with a ``device_map`` the model stays where that puts it.
        adapter: folder of a PEFT adapter to apply; without it, none is applied, wherever one lies.
        notes: gets what a user should know, one line each.

    Raises:
        ModelError: weights are missing or damaged, memory runs out, the architecture is unknown, ...
    """
    check_model_json(checkpoint)
    method = quantised_weights.quantization_method(checkpoint)
    quantised_weights.check_method(checkpoint, method)
    if adapter is None:
        check_no_adapter(checkpoint)
    else:
        adapter_files(adapter)
    check_weights(checkpoint, options)
    if method is not None:
        quantised_weights.check_scales(checkpoint, options)
    quantised = method is not None
    arguments: dict[str, Any] = {**MEMORY_OPTIONS, DTYPE_ARGUMENT: dtype, **options}
    if quantised:
        arguments.setdefault("device_map", {"": str(device)})
        if dtype_is_auto:
            arguments[DTYPE_ARGUMENT] = "auto"
    with _explained(checkpoint, "the model", device), _without_adapter(checkpoint.folder) as folder:
        model, info = auto_model.from_pretrained(
            str(folder), trust_remote_code=trust_remote_code, output_loading_info=True, **arguments
        )
        # With a device map of the user's, weights without a value are those that stay on disk.
        missing = {*info["missing_keys"], *(() if "device_map" in options else _unfilled(model))}
        if quantised:
            missing = quantised_weights.not_made(missing, checkpoint, options)
        if missing:
            # transformers would go on, with random numbers in their place.
            are = "weights are" if len(missing) > 1 else "weight is"
            raise ModelError(
                f"{checkpoint.folder}: {len(missing)} {are} not in the checkpoint, first {min(missing)}; "
                "config.json does not belong to these weights, or the export is incomplete"
            )
        _check_unused(checkpoint, model, info["unexpected_keys"], notes, quantised)
        if adapter is not None:
            _apply_adapter(model, adapter)
        if "device_map" not in arguments:
            model = model.to(device)
        into_memory(model)
    return model.eval()


def _check_unused(
    checkpoint: Checkpoint, model: Any, names: Iterable[str], notes: list[str] | None, quantised: bool = False
) -> None:
    """Look at weights of the files that the model has no place for; transformers drops them without a word.

    Biases in the files of a quantised model are not looked at: some quantisers write empty ones for every layer.

    Raises:
        ModelError: they are further layers of its own kind, or biases of its layers: config.json is another model's.
    """
    unused = sorted(names)
    if not unused:
        return
    known = {_LAYER.sub(".N.", name) for name in model.state_dict()}
    modules = dict(model.named_modules())
    for name in unused:
        owner = modules.get(name.rpartition(".")[0])
        has_owner = not quantised and isinstance(getattr(owner, "weight", None), torch.Tensor)
        if _LAYER.sub(".N.", name) in known or has_owner:
            raise ModelError(
                f"{checkpoint.folder}: the files hold {len(unused):,} weights that {type(model).__name__} has no place "
                f"for by config.json, such as {name}; config.json does not belong to these weights"
            )
    if notes is not None:
        notes.append(f"{len(unused):,} weights of the files are not part of {type(model).__name__}, first {unused[0]}")


@contextmanager
def _without_adapter(folder: Path) -> Iterator[Path]:
    """Yield the folder, or one of links to its files where an adapter lies among them that must not be applied."""
    if not (folder / ADAPTER_CONFIG).is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="evalkit-") as bare:
        for file in folder.iterdir():
            if file.name not in (ADAPTER_CONFIG, *ADAPTER_WEIGHTS):
                (Path(bare) / file.name).symlink_to(file.resolve())
        yield Path(bare)


def _apply_adapter(model: Any, folder: Path) -> None:
    """Put an adapter's layers into a model; its class, and how it is called, stay the same.

    The layers are not merged into the weights: in half precision merging would round small changes away.

    Raises:
        ModelError: the adapter was made for another model, or is of a kind that has no layers.
    """
    settings = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    kind = str(settings.get("peft_type", "")).upper()
    try:
        import peft
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as KINDS
    except ImportError as error:
        raise ModelError(f"--adapter {folder}: needs the package peft; pip install peft") from error
    # Names of an enumeration of peft's, or of older releases plain texts.
    known: dict[str, Any] = {str(getattr(name, "value", name)).upper(): made for name, made in KINDS.items()}
    if kind not in known:
        raise ModelError(
            f"--adapter {folder}: {ADAPTER_CONFIG} names the kind '{kind}', which peft {peft.__version__} does not "
            "know; a newer one may (pip install -U peft)"
        )
    try:
        with warnings.catch_warnings(), _in_safetensors(folder) as source:
            warnings.simplefilter("ignore")  # peft's advice about how adapters were saved
            chosen = peft.PeftConfig.from_pretrained(str(source))
            if settings.get("alora_invocation_tokens") or kind in NOT_LAYERS or chosen.is_prompt_learning:
                name = "activated LoRA" if kind == "LORA" else kind
                raise ModelError(
                    f"--adapter {folder}: an adapter of the kind {name} is more than layers in a model, and not "
                    "applied here; merge it into its base with peft (merge_and_unload) where it can be, and give the "
                    "result"
                )
            _check_fields(folder, settings, known[kind], peft.__version__)
            _check_rows(model, folder, source)
            chosen.inference_mode = True
            before = set(model.state_dict())
            # It puts its layers into the model itself; for kinds that are layers alone it does nothing more.
            found = peft.PeftModel(model, chosen).load_adapter(str(source), "default", torch_device="cpu")
    except ModelError:
        raise
    except Exception as error:  # peft raises whatever comes first
        raise ModelError(
            f"--adapter {folder}: does not fit {type(model).__name__} ({first_line(error)}); "
            "was it trained on another model?"
        ) from error
    lost = sorted({*found.missing_keys, *found.unexpected_keys})
    added = [name for name in model.state_dict() if name not in before]
    if lost or not added:
        what = f"{len(lost)} of its weights have no place, first {lost[0]}" if lost else "it adds nothing"
        raise ModelError(
            f"--adapter {folder}: does not fit {type(model).__name__} ({what}); was it trained on another model?"
        )


def _check_fields(folder: Path, settings: dict[str, Any], kind: Any, release: str) -> None:
    """Raise `ModelError` where a setting is switched on that this peft does not know; it would drop it with a warning.

    What is off (null, false, 0, empty) is what a newer peft writes for things that the adapter does not use.
    """
    fields = inspect.signature(kind).parameters
    unknown = [name for name, value in settings.items() if name not in fields and value]
    if unknown:
        raise ModelError(
            f"{folder / ADAPTER_CONFIG}: {unknown[0]}={json.dumps(settings[unknown[0]])[:60]} is unknown to peft "
            f"{release}, which would drop it, and it may change the answers; install the peft that wrote it "
            "(pip install -U peft), or remove the line where it is only a note"
        )


@contextmanager
def _in_safetensors(folder: Path) -> Iterator[Path]:
    """Yield the adapter's folder, or one with its pickled weights in the form that transformers reads."""
    if (folder / ADAPTER_WEIGHTS[0]).is_file():
        yield folder
        return
    from safetensors.torch import save_file

    weights = torch.load(folder / ADAPTER_WEIGHTS[1], map_location="cpu", weights_only=True)
    with tempfile.TemporaryDirectory(prefix="evalkit-") as made:
        shutil.copy(folder / ADAPTER_CONFIG, made)
        save_file(
            {name: value.contiguous().clone() for name, value in weights.items()}, Path(made) / ADAPTER_WEIGHTS[0]
        )
        yield Path(made)


def _check_rows(model: Any, folder: Path, source: Path) -> None:
    """Raise `ModelError` where an adapter brings an embedding or a head of other rows than the model's."""
    from safetensors import safe_open

    rows = int(model.get_input_embeddings().weight.shape[0])
    with safe_open(str(source / ADAPTER_WEIGHTS[0]), framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - it is no dictionary
            if re.search(r"(embed_tokens|lm_head|wte)(\.\w+)*\.weight$", name) and "lora_" not in name:
                count = int(file.get_slice(name).get_shape()[0])
                if count != rows:
                    raise ModelError(
                        f"--adapter {folder}: it brings {count:,} rows of tokens ({name}), the model has {rows:,}; "
                        "resize the base (resize_token_embeddings), merge the adapter with peft, and name the result"
                    )


# Adapters (peft_type) that are more than layers in a model: routers, prompts in layers, a bank of vectors that layers
# share. Those of virtual tokens peft tells.
NOT_LAYERS = frozenset(("ADAPTION_PROMPT", "POLY", "VBLORA", "XLORA"))
_LAYER = re.compile(r"\.\d+\.")


def _unfilled(model: Any) -> list[str]:
    """Return the weights that were never given a value; transformers 4 with low memory use does not report those."""
    return [name for name, parameter in model.named_parameters() if parameter.device.type == "meta"]


@contextmanager
def _explained(checkpoint: Checkpoint, what: str, device: torch.device | None = None) -> Iterator[None]:
    """Turn what transformers raises while loading into a `ModelError` with a remedy."""
    try:
        yield
    except ModelError:
        raise
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        AttributeError,
        TypeError,
        ImportError,
        MemoryError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        raise ModelError(_explanation(error, checkpoint, what, device)) from error
    except Exception as error:
        # The one of safetensors, and `tokenizers` has nothing more specific than Exception for a bad tokenizer.json.
        raise ModelError(f"{checkpoint.folder}: {what} cannot be loaded: {first_line(error)}") from error


def _explanation(error: Exception, checkpoint: Checkpoint, what: str, device: torch.device | None) -> str:
    text = str(error)
    where = str(checkpoint.folder)
    if is_out_of_memory(error):
        more = "stop other programs or raise this process's limit (ulimit, container, job)"
        if device is None:  # tokenizers are in the processor's memory
            return f"{where}: out of memory on cpu while loading {what}; {more}"
        size = sum(file.stat().st_size for file in weight_files(checkpoint.folder)) / 1e9
        remedy = f"{more}, or use --dtype bfloat16"
        if device.type != "cpu":
            remedy = "free the device, use --dtype bfloat16 or float16, or spread the model with device_map=auto"
        return f"{where}: out of memory on {device} while loading {size:.1f} GB of weights; {remedy}"
    if "trust_remote_code" in text:
        return (
            f"{where}: {what} needs Python code from the checkpoint, which runs with your rights; "
            "read it, then add --trust-remote-code (trust_remote_code=True)"
        )
    if "does not recognize this architecture" in text or "Unrecognized model" in text:
        kind = checkpoint.config().get("model_type")
        return (
            f"{where}: transformers {transformers.__version__} does not know the model type '{kind}'; "
            "install a release that does, or add --trust-remote-code if the checkpoint brings its own code"
        )
    if what == "the tokenizer" and brings_code(checkpoint.folder) and not isinstance(error, ImportError):
        return (
            f"{where}: the checkpoint's own tokenizer code does not run with transformers {transformers.__version__} "
            f"({first_line(error)}); take newer code from its authors, or name a folder with a tokenizer.json of this "
            "model with --tokenizer"
        )
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", text)
    if isinstance(error, TypeError) and unexpected:
        loaders = inspect.signature(transformers.PreTrainedModel.from_pretrained).parameters
        known = [*loaders, *COMMON_OPTIONS, *declared_settings(ModelConfig)]
        return f"unknown model argument '{unexpected[1]}'{did_you_mean(unexpected[1], known)}"
    if isinstance(error, ImportError):
        return f"{where}: {what} needs a package that is not installed: {first_line(error)}"
    if what == "the tokenizer" and not (checkpoint.folder / TOKENIZER_JSON_FILE).is_file():
        cause = first_line(error)
        if "instantiate the backend tokenizer" in text or "Converting from SentencePiece and Tiktoken" in text:
            cause = f"transformers {transformers.__version__} has no class for these files and this model"
        return (
            f"{where}: {what} cannot be loaded: {cause}; put a tokenizer.json made by the model's authors "
            "beside it, or name the right class as tokenizer_class in its tokenizer_config.json"
        )
    return f"{where}: {what} cannot be loaded: {first_line(error)}"


# Arguments of from_pretrained that its signature does not show, and lm-eval's; for suggestions only.
COMMON_OPTIONS = (
    "attn_implementation",
    "device_map",
    "max_memory",
    "offload_folder",
    "quantization_config",
    "subfolder",
    "variant",
    "pretrained",
    "add_bos_token",
    "max_batch_size",
)
