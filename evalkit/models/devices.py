"""Which device and which number format: what the user's words mean on this machine.

Nothing here imports torch_npu. Whoever wants an NPU passes `choose_device` a function that makes ``torch.npu`` appear.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType

import torch

from evalkit.config.run_config import Dtype, parse_device
from evalkit.errors import ModelError

# The environment variable that hides some of the devices; indices count within what it leaves visible.
VISIBILITY = {"npu": "ASCEND_RT_VISIBLE_DEVICES", "cuda": "CUDA_VISIBLE_DEVICES"}

DTYPES: dict[str, torch.dtype] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def choose_device(device: str, activate_npu: Callable[[], bool]) -> torch.device:
    """Turn ``auto``, ``npu``, ``npu:3``, ``cuda``, ``cuda:1`` or ``cpu`` into a device of this machine.

    ``auto`` takes the first of npu, cuda and cpu that is there. An accelerator is always returned with an index, which
    is 0, the first visible one, if none was named. ``activate_npu`` imports what makes ``torch.npu`` appear; it returns
    False where nothing of the kind is installed, and raises `ModelError` where something is but does not work.

    Raises:
        ModelError: there is no such device.
    """
    kind, index = parse_device(device)
    if kind == "auto":
        if activate_npu() and _count("npu") > 0:
            kind = "npu"
        elif _count("cuda") > 0:
            kind = "cuda"
        else:
            kind = "cpu"
    elif kind == "npu" and not activate_npu():
        raise ModelError(
            f"device '{device}': torch_npu is not installed; install the torch_npu release that fits "
            f"torch {torch.__version__}, or use --device cpu"
        )
    if kind == "cpu":
        return torch.device("cpu")
    count = _count(kind)
    if count == 0:
        raise ModelError(
            f"device '{device}': no {kind.upper()} is visible to this process{_visibility(kind)}; "
            f"check {_status_command(kind)}, or use --device cpu"
        )
    index = 0 if index is None else index
    if index >= count:
        raise ModelError(
            f"device '{device}': only {count} {kind.upper()} device{'s are' if count > 1 else ' is'} visible"
            f"{_visibility(kind)}; use an index from 0 to {count - 1}"
        )
    return torch.device(kind, index)


def choose_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """Turn a dtype's name into the dtype.

    ``auto`` is bfloat16 where the device computes in it, else float16, and float32 on the CPU.
    """
    if dtype != "auto":
        return DTYPES[dtype]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if _computes_bfloat16(device) else torch.float16


def product_name(device: torch.device) -> str:
    """Return the device's product name, for example ``Ascend910B3``, or the processor's architecture for the CPU."""
    if device.type == "cpu":
        import platform

        return platform.processor() or platform.machine()
    return str(_module(device.type).get_device_name(device.index))


def _module(kind: str) -> ModuleType:
    """Return ``torch.npu`` or ``torch.cuda``. They have the same functions."""
    module: ModuleType = getattr(torch, kind)
    return module


def _count(kind: str) -> int:
    module = _module(kind)
    return int(module.device_count()) if module.is_available() else 0


def _visibility(kind: str) -> str:
    value = os.environ.get(VISIBILITY[kind])
    return f" ({VISIBILITY[kind]}={value})" if value is not None else ""


def _status_command(kind: str) -> str:
    return "`npu-smi info`" if kind == "npu" else "`nvidia-smi`"


def _computes_bfloat16(device: torch.device) -> bool:
    supported: Callable[..., bool] | None = getattr(_module(device.type), "is_bf16_supported", None)
    if supported is None:
        return False
    try:
        # GPUs before Ampere only emulate it, at a fraction of float16's speed.
        return bool(supported(including_emulation=False))
    except TypeError:
        return bool(supported())
