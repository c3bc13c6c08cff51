"""What a run's record says about the model that it ran, and about the software under it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING

import torch

from evalkit.answering import FullyDescribed
from evalkit.models import devices, identity, quantised

if TYPE_CHECKING:
    from evalkit.models.openmind import OpenMindLM

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "lm_eval",
    "numpy",
    "torch_npu",
    "openmind",
    "openmind_hub",
)


def describe_model(lm: OpenMindLM) -> FullyDescribed:
    """Return the model's part of a record: plain JSON values, with None for what does not apply.

    Reads the checkpoint's files once for the fingerprint; `fingerprint` says what that costs.
    """
    checkpoint = lm.checkpoint
    quantization = _quantisation(lm)
    known = identity.of(lm, quantization)
    groups = identity.as_described(known)
    return {
        "name": lm.pretrained,
        "origin": checkpoint.origin if checkpoint else "built-in",
        "folder": str(checkpoint.folder) if checkpoint and checkpoint.origin == "folder" else None,
        "revision": checkpoint.revision if checkpoint else None,
        "loader": lm.loader,
        "device": str(lm.device),
        "device_name": devices.product_name(lm.device),
        "instruction_set": torch.backends.cpu.get_cpu_capability() if lm.device.type == "cpu" else None,
        "dtype": str(lm.model.dtype).removeprefix("torch."),
        "quantization": quantization,
        "architecture": type(lm.model).__name__,
        "parameters": int(lm.model.num_parameters()),
        "max_length": int(lm.max_length),
        "trust_remote_code": lm.trust_remote_code,
        "tokenizer": type(lm.tokenizer).__name__,
        "vocabulary": known.tokenizer.vocabulary,
        "add_bos": bool(lm.add_bos_token),
        "has_chat_template": bool(getattr(lm.tokenizer, "chat_template", None)),
        "chat_template_sha256": known.chat_template,
        "weights": [file.name for file in lm.weights.files],
        "weights_unused": list(lm.weights.unused),
        "adapter": None if lm.adapter is None else {"name": lm.adapter, "sha256": known.model.adapter},
        "generation": {**groups["generation"], "ignored": dict(lm.ignored_settings)},
        "model_fingerprint": known.model.model_fingerprint,
        "tokenizer_fingerprint": known.tokenizer.tokenizer_fingerprint,
        "identity": groups,
        "versions": versions(),
    }


def versions() -> dict[str, str | None]:
    """Return the versions of everything that may change a score; None for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    found |= {package: installed_version(package) for package in PACKAGES}
    found["cuda"] = torch.version.cuda
    found["cann"] = _cann_version()
    return found


def installed_version(package: str) -> str | None:
    """Return an installed package's version."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _quantisation(lm: OpenMindLM) -> str | None:
    """Return by what the checkpoint's weights are quantised (gptq, fp8, ...), also where the model is not any more."""
    method = quantised.quantization_method(lm.checkpoint) if lm.checkpoint else None
    return method if method != "" else "bitsandbytes"


def _cann_version() -> str | None:
    """Return CANN's version as torch_npu tells it, where torch_npu is in use."""
    utils = sys.modules.get("torch_npu.npu.utils")
    get: Callable[[], str] | None = getattr(utils, "get_cann_version", None)
    return get() if get else None
