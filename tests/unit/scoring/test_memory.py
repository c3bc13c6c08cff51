"""Budgets from free and measured memory, on devices that are only pretended."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.model


class Backend:
    """What ``torch.cuda`` and ``torch.npu`` offer, for a device with little memory."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.peak = 0
        self.emptied = 0

    def mem_get_info(self, _device: Any) -> tuple[int, int]:
        return self.free, 64 << 30

    def empty_cache(self) -> None:
        self.emptied += 1

    def reset_peak_memory_stats(self) -> None:
        self.peak = 100

    def memory_allocated(self) -> int:
        return 100

    def max_memory_allocated(self) -> int:
        return self.peak


@pytest.fixture
def npu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a pretended NPU with 3 GiB free, and its device."""
    import torch

    backend = Backend(3 << 30)
    monkeypatch.setattr(torch, "npu", backend, raising=False)
    return backend, SimpleNamespace(type="npu")


def model(hidden: int) -> Any:
    return SimpleNamespace(config=SimpleNamespace(hidden_size=hidden, intermediate_size=4 * hidden, vocab_size=32000))


def test_the_budget_is_a_power_of_two_that_fits(npu: Any) -> None:
    from evalkit.scoring.memory import BATCH_TOKENS_DEFAULT, batch_tokens

    backend, device = npu
    assert batch_tokens(model(64), device) == BATCH_TOKENS_DEFAULT
    # 1 GiB is a third of what is free; a position takes 4 * 28 * 4096 bytes.
    assert batch_tokens(model(4096), device) == 2048
    assert batch_tokens(model(4096), device, token_bytes=float(1 << 18)) == 4096
    backend.free = 1
    assert batch_tokens(model(4096), device) == 256


def test_a_device_that_cannot_be_asked_gets_the_ceiling(npu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.scoring.memory import BATCH_TOKENS_DEFAULT, batch_tokens, free_bytes

    backend, device = npu

    def fail(_device: Any) -> tuple[int, int]:
        raise RuntimeError("no such function")

    monkeypatch.setattr(backend, "mem_get_info", fail)
    assert free_bytes(device) is None
    assert batch_tokens(model(4096), device) == BATCH_TOKENS_DEFAULT


@pytest.mark.parametrize("name", ["mistral", "qwen3", "gemma2", "gemma3"])
def test_a_tokens_keys_and_values_are_as_large_as_the_models(name: str, build_model: Callable[[str], Any]) -> None:
    """Also where heads are wider than their share of the hidden states."""
    import torch
    from transformers import DynamicCache

    from evalkit.scoring.memory import cache_token_bytes

    model, cache = build_model(name), DynamicCache()
    with torch.inference_mode():
        model(torch.tensor([[5]]), past_key_values=cache, use_cache=True)
    numbers = [layer.keys.numel() + layer.values.numel() for layer in cache.layers]
    assert cache_token_bytes(model) == 4 * sum(numbers)
    config = copy.deepcopy(model.config)
    config.head_dim = 8 * 3
    assert cache_token_bytes(SimpleNamespace(config=config)) == 4 * sum(numbers) * 3


def test_the_cpu_says_what_is_free() -> None:
    import torch

    from evalkit.scoring.memory import free_bytes

    free = free_bytes(torch.device("cpu"))
    assert free is None or free > 0


def test_memory_is_measured_where_the_device_counts_it(npu: Any) -> None:
    import torch

    from evalkit.scoring.memory import measure_token_bytes

    backend, device = npu

    def run() -> int:
        backend.peak = 100 + 5000
        return 10

    assert measure_token_bytes(device, run) == 500.0
    assert measure_token_bytes(device, lambda: 10) is None
    assert measure_token_bytes(torch.device("cpu"), run) is None


def test_the_cache_is_emptied_on_devices_that_have_one(npu: Any) -> None:
    import torch

    from evalkit.scoring.parts import release_cache

    backend, device = npu
    release_cache(device)
    release_cache(torch.device("cpu"))
    assert backend.emptied == 1


def test_the_budget_of_a_run_is_measured_unless_it_is_given(mistral: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.scoring import choice

    seen: list[int] = []

    def measure(_device: Any, run: Any) -> float:
        seen.append(run())
        return 1e12  # a position would need a terabyte

    monkeypatch.setattr(choice, "measure_token_bytes", measure)
    assert choice.choose_scorer(mistral, max_length=96, max_batch_tokens=777)[0].max_batch_tokens == 777
    assert not seen
    assert choice.choose_scorer(mistral, max_length=96)[0].max_batch_tokens == 256
    assert seen == [94 + 3]  # a stem, one token more, and two leaves
