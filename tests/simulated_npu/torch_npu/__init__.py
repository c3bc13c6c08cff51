"""A stand-in for torch_npu: importing it gives torch a device called ``npu`` whose arithmetic runs on the CPU.

Put the folder above this one on PYTHONPATH of a process of its own; a process can have only one such device. To torch,
transformers and the adapter it is a real device: tensors on it report ``npu:0``, mixing them with CPU tensors is an
error, and nothing works on it that torch does not dispatch to it. Uses torch's experimental hooks for devices written
in Python (`torch.utils.backend_registration`, torch 2.10 and later).

SIMULATED_NPUS says how many there are (2), or that CANN is missing ("broken"). `log` lists calls of ``torch.npu``.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

if os.environ.get("SIMULATED_NPUS") == "broken":
    raise ImportError("libhccl.so: cannot open shared object file: No such file or directory")

__version__ = "0.simulated"
log: list[str] = []


class NpuTensor(torch.Tensor):
    """A tensor on the simulated device. Its content is the CPU tensor ``content``, which views share as usual."""

    content: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, content: torch.Tensor, device: torch.device) -> NpuTensor:
        assert not isinstance(content, NpuTensor)
        # torch tracks versions of views of parameters, and refuses to where the view was made in inference mode.
        with torch.inference_mode(False):
            tensor: NpuTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls,
                content.size(),
                strides=content.stride(),
                storage_offset=content.storage_offset(),
                dtype=content.dtype,
                device=device,
                requires_grad=content.requires_grad,
            )
        tensor.content = content
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation of torch on the contents, and wrap what comes out of it."""
        kwargs = dict(kwargs or {})
        inputs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        own = [leaf for leaf in inputs if isinstance(leaf, NpuTensor)]
        crossing = func in (torch.ops.aten.copy_.default, torch.ops.aten._copy_from.default)
        for leaf in inputs:
            # As on a real device: only scalars and explicit copies cross from one device to another.
            if not (crossing or isinstance(leaf, NpuTensor) or leaf.dim() == 0 or _takes_cpu_indices(func)):
                raise RuntimeError(f"Expected all tensors to be on the same device, but found cpu and npu in {func}")
        # In inference mode, `aten.to` comes here as it was called, with the device among the positional arguments.
        asked = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
        device = asked[0] if asked else own[0].device
        args, kwargs = pytree.tree_map_only(torch.device, lambda _: torch.device("cpu"), (args, kwargs))
        wrappers = {id(leaf.content): leaf for leaf in own}

        def wrap(result: Any) -> Any:
            if not isinstance(result, torch.Tensor) or device.type != "npu":
                return result
            # An operation in place returns the tensor that it was given.
            given = wrappers.get(id(result))
            return given if given is not None else NpuTensor(result, _indexed(device))

        unwrapped = pytree.tree_map_only(NpuTensor, lambda leaf: leaf.content, (args, kwargs))
        return pytree.tree_map(wrap, func(*unwrapped[0], **unwrapped[1]))

    def tolist(self) -> Any:
        """Copy to the CPU and list; torch refuses it for classes of one's own."""
        return self.content.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"NpuTensor({self.content!r}, device={self.device})"


def _takes_cpu_indices(func: Any) -> bool:
    return func in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default)


def _indexed(device: torch.device) -> torch.device:
    return device if device.index is not None else torch.device("npu", _Npu.current)


class _Npu:
    """What becomes ``torch.npu``."""

    current = 0

    @staticmethod
    def is_available() -> bool:
        return _Npu.device_count() > 0

    @staticmethod
    def device_count() -> int:
        visible = os.environ.get("ASCEND_RT_VISIBLE_DEVICES")
        if visible is not None:
            return len([index for index in visible.split(",") if index])
        return int(os.environ.get("SIMULATED_NPUS", "2"))

    @staticmethod
    def current_device() -> int:
        return _Npu.current

    @staticmethod
    def set_device(device: Any) -> None:
        log.append("set_device")
        _Npu.current = torch.device(device).index or 0

    @staticmethod
    def get_device_name(device: Any = None) -> str:
        return f"Simulated NPU {torch.device('npu', device).index}"

    @staticmethod
    def is_bf16_supported() -> bool:
        return True

    @staticmethod
    def empty_cache() -> None:
        log.append("empty_cache")

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        torch.default_generator.manual_seed(seed)

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


_setup_privateuseone_for_python_backend(rename="npu", backend_module=_Npu())

# Operations that make a tensor from nothing have no argument through which torch would find `__torch_dispatch__`.
_library = torch.library.Library("aten", "IMPL", "PrivateUse1")


def _empty(size: Any, *, dtype: Any = None, device: Any = None, memory_format: Any = None, **_: Any) -> NpuTensor:
    content = torch.empty(size, dtype=dtype, device="cpu", memory_format=memory_format or torch.contiguous_format)
    return NpuTensor(content, _indexed(torch.device(device)))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, device: Any = None, **_: Any) -> NpuTensor:
    return NpuTensor(torch.empty_strided(size, stride, dtype=dtype, device="cpu"), _indexed(torch.device(device)))


def _copy_from(source: torch.Tensor, target: NpuTensor, non_blocking: bool = False) -> NpuTensor:
    """`torch.tensor(list, device="npu")` copies with `__torch_dispatch__` switched off."""
    target.content.copy_(source.content if isinstance(source, NpuTensor) else source)
    return target


_library.impl("empty.memory_format", _empty)
_library.impl("_copy_from", _copy_from)
_library.impl("empty_strided", _empty_strided)


def npu_fusion_attention(*_: Any, **__: Any) -> None:
    """Imported by transformers wherever there is a torch_npu; only flash attention, which nobody asks for, calls it."""
    raise AssertionError("the simulated NPU has no fused attention")
