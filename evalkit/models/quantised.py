"""Checkpoints whose weights are quantised: by a method that transformers knows, and whole.

transformers goes on with random numbers where a weight is missing, leaves the weights as they are where it does not
know the method, and turns some methods into floating point while loading, without a trace in the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import transformers

from evalkit.errors import ModelError
from evalkit.models.checkpoints import Checkpoint, weights_of


def quantization_method(checkpoint: Checkpoint) -> str | None:
    """Return what config.json says that the weights are quantised by (gptq, fp8, ...), in lower case; None if nothing.

    Asked of the file: transformers drops the setting from a model that it turns into floating point while loading.
    """
    config = checkpoint.config()
    nested = config.get("text_config")
    settings = config.get("quantization_config")
    if settings is None and isinstance(nested, dict):
        settings = nested.get("quantization_config")
    return str(settings.get("quant_method") or "").lower() if isinstance(settings, dict) else None


def check_method(checkpoint: Checkpoint, method: str | None) -> None:
    """Raise `ModelError` where weights are quantised in a way that transformers does not know; it would go on."""
    if method is None:
        return
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as KNOWN

    # bitsandbytes is there once for 4 bits, once for 8. Without a method, that is what transformers asks about.
    settings = checkpoint.config().get("quantization_config") or {}
    if not method and (settings.get("load_in_4bit") or settings.get("load_in_8bit")):
        return
    if method in KNOWN or f"{method}_4bit" in KNOWN:
        return
    what = f"the method '{method}'" if method else "no method (quant_method)"
    raise ModelError(
        f"{checkpoint.folder / 'config.json'}: quantization_config names {what}, and transformers "
        f"{transformers.__version__} loads {', '.join(sorted(map(str, KNOWN)))}; convert the checkpoint to one of "
        "these or to bfloat16, or take a release that knows it; of plain weights, remove quantization_config"
    )


# What a weight of a quantised layer is multiplied by; one that was made up would make another model.
SCALES = frozenset(("weight_scale", "weight_scale_inv", "scales"))


def not_made(missing: Iterable[str], checkpoint: Checkpoint, options: Mapping[str, Any]) -> set[str]:
    """Return those of a quantised model's missing weights that its quantiser does not make by itself.

    Plain weights and biases it never makes, nor does it make scales; of others it makes what the checkpoint has for no
    layer at all.
    """
    kinds = {name.rpartition(".")[2] for name in stored_names(weights_of(checkpoint.folder, options).files)}
    plain = {"weight", "bias", *SCALES}
    return {name for name in missing if name.rpartition(".")[2] in plain | kinds}


def stored_names(files: Iterable[Path]) -> set[str]:
    """Return the names of the tensors in safetensors files."""
    return {name for file in files for name in _dtypes(file)}


def _dtypes(file: Path) -> dict[str, str]:
    """Return the dtype of each tensor of a safetensors file by name, as the file writes it; nothing of other files."""
    from safetensors import safe_open

    if file.suffix != ".safetensors":
        return {}
    with safe_open(str(file), framework="pt") as stream:
        return {name: str(stream.get_slice(name).get_dtype()) for name in stream.keys()}  # noqa: SIM118 - no dictionary


def check_scales(checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
    """Raise `ModelError` where weights of 8-bit floats have no scale beside them: without, they are other numbers."""
    stored: dict[str, str] = {}
    for file in weights_of(checkpoint.folder, options).files:
        stored |= _dtypes(file)
    scaled = {name.rpartition(".")[0] for name in stored if "scale" in name.rpartition(".")[2]}
    bare = sorted(
        name for name, dtype in stored.items() if dtype.startswith("F8_E4M3") and name.rpartition(".")[0] not in scaled
    )
    if bare:
        raise ModelError(
            f"{checkpoint.folder}: {len(bare):,} quantised weights have no scale in the files, first {bare[0]}; the "
            "export is incomplete"
        )
