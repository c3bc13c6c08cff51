"""`devices`: the user's words for a device and a dtype, against machines with and without accelerators."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from evalkit.config.run_config import Dtype
from evalkit.errors import ModelError
from evalkit.models import devices


def machine(monkeypatch: pytest.MonkeyPatch, *, npus: int | None = None, gpus: int = 0, bfloat16: bool = True) -> None:
    """Pretend to be a machine with so many accelerators; ``npus=None`` is one without torch_npu."""

    def module(count: int) -> SimpleNamespace:
        return SimpleNamespace(
            device_count=lambda: count,
            is_available=lambda: count > 0,
            is_bf16_supported=lambda: bfloat16,
            get_device_name=lambda index: f"Model {index}",
        )

    monkeypatch.setattr(torch, "cuda", module(gpus))
    if npus is not None:
        monkeypatch.setattr(torch, "npu", module(npus), raising=False)
        # torch knows the name "npu" only after torch_npu has claimed it.
        monkeypatch.setattr(torch, "device", lambda kind, index=None: SimpleNamespace(type=kind, index=index))


def choose(word: str) -> tuple[str, int | None]:
    device = devices.choose_device(word, lambda: hasattr(torch, "npu"))
    return device.type, device.index


@pytest.mark.parametrize(
    ("npus", "gpus", "expected"),
    [(2, 1, ("npu", 0)), (0, 1, ("cuda", 0)), (None, 2, ("cuda", 0)), (0, 0, ("cpu", None)), (None, 0, ("cpu", None))],
)
def test_auto_takes_npu_then_cuda_then_cpu(
    monkeypatch: pytest.MonkeyPatch, npus: int | None, gpus: int, expected: tuple[str, int | None]
) -> None:
    machine(monkeypatch, npus=npus, gpus=gpus)
    assert choose("auto") == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("npu", ("npu", 0)),
        ("npu:1", ("npu", 1)),
        ("cuda", ("cuda", 0)),
        ("cuda:2", ("cuda", 2)),
        ("cpu", ("cpu", None)),
    ],
)
def test_named_devices(monkeypatch: pytest.MonkeyPatch, word: str, expected: tuple[str, int | None]) -> None:
    machine(monkeypatch, npus=2, gpus=3)
    assert choose(word) == expected


def test_an_index_counts_within_the_visible_npus(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, npus=2)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "4,5")
    with pytest.raises(ModelError) as caught:
        choose("npu:3")
    assert str(caught.value) == (
        "device 'npu:3': only 2 NPU devices are visible (ASCEND_RT_VISIBLE_DEVICES=4,5); use an index from 0 to 1"
    )


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("npu", "device 'npu': torch_npu is not installed; install the torch_npu release that fits torch"),
        ("cuda:1", "device 'cuda:1': no CUDA is visible to this process; check `nvidia-smi`, or use --device cpu"),
        ("gpu", "device 'gpu': no CUDA is visible to this process; check `nvidia-smi`, or use --device cpu"),
    ],
)
def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, word: str, message: str) -> None:
    machine(monkeypatch)
    with pytest.raises(ModelError) as caught:
        choose(word)
    assert str(caught.value).startswith(message)


def test_no_npu_behind_torch_npu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, npus=0)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "")
    with pytest.raises(ModelError, match=r"no NPU is visible .* \(ASCEND_RT_VISIBLE_DEVICES=\); check `npu-smi"):
        choose("npu:0")


def test_auto_does_not_pass_over_a_broken_torch_npu() -> None:
    """Falling to the CPU in silence would cost a user days."""

    def broken() -> bool:
        raise ModelError("torch_npu is installed but cannot be loaded")

    for word in ("auto", "npu"):
        with pytest.raises(ModelError, match="cannot be loaded"):
            devices.choose_device(word, broken)
    assert devices.choose_device("cpu", broken) == torch.device("cpu")


@pytest.mark.parametrize(("kind", "supported", "expected"), [("cuda", True, "bfloat16"), ("npu", False, "float16")])
def test_dtype_auto_is_bfloat16_where_supported(
    monkeypatch: pytest.MonkeyPatch, kind: str, supported: bool, expected: str
) -> None:
    machine(monkeypatch, npus=1, gpus=1, bfloat16=supported)
    device = devices.choose_device(kind, lambda: True)
    assert devices.choose_dtype("auto", device) is getattr(torch, expected)


def test_dtype_auto_ignores_emulated_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, gpus=1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert devices.choose_dtype("auto", torch.device("cuda", 0)) is torch.float16


def test_dtype_auto_without_an_answer_is_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, gpus=1)
    monkeypatch.delattr(torch.cuda, "is_bf16_supported")
    assert devices.choose_dtype("auto", torch.device("cuda", 0)) is torch.float16


def test_dtype_names() -> None:
    cpu = torch.device("cpu")
    assert devices.choose_dtype("auto", cpu) is torch.float32
    assert devices.choose_dtype("bf16", cpu) is torch.bfloat16
    assert devices.choose_dtype("float64", cpu) is torch.float64
    assert set(devices.DTYPES) | {"auto"} == set(get_args(Dtype))


def test_product_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.product_name(torch.device("cpu"))
    machine(monkeypatch, gpus=1)
    assert devices.product_name(torch.device("cuda", 0)) == "Model 0"
