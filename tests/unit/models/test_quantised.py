"""Quantised checkpoints: whole, or refused; recorded as what they are. The oracle: weights multiplied out by torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evalkit.errors import ModelError

pytestmark = pytest.mark.model

BLOCK = 128
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [BLOCK, BLOCK]}


def set_config(folder: Path, settings: Any) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}), encoding="utf-8")


def in_blocks(scales: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return the scale of each weight; shape ``shape``."""
    return scales.repeat_interleave(BLOCK, 0)[: shape[0]].repeat_interleave(BLOCK, 1)[:, : shape[1]]


def to_fp8(folder: Path) -> dict[str, torch.Tensor]:
    """Quantise a checkpoint's projections in place; returns the weights that its numbers stand for."""
    from safetensors.torch import load_file, save_file

    plain, stored = load_file(folder / "model.safetensors"), {}
    meant = dict(plain)
    for name, weight in plain.items():
        if "_proj.weight" not in name:
            stored[name] = weight.clone()
            continue
        shape = [-(-size // BLOCK) for size in weight.shape]
        scales = torch.full(shape, float(weight.abs().max()) / 448)
        stored[name] = (weight / in_blocks(scales, weight.shape)).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"] = scales
        meant[name] = stored[name].float() * in_blocks(scales, weight.shape)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    set_config(folder, {**FP8, "dequantize": True})
    return meant


def store(folder: Path, *, without: str = "", **more: torch.Tensor) -> None:
    from safetensors.torch import load_file, save_file

    stored = load_file(folder / "model.safetensors")
    kept = {name: tensor.clone() for name, tensor in stored.items() if not without or without not in name}
    save_file({**kept, **more}, folder / "model.safetensors", metadata={"format": "pt"})


def load(folder: Path, **options: Any) -> Any:
    from evalkit.models.openmind import OpenMindLM

    return OpenMindLM(str(folder), device="cpu", loader="transformers", **options)


def message(folder: Path) -> str:
    with pytest.raises(ModelError) as raised:
        load(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_fp8_weights_are_multiplied_out_and_recorded_as_fp8(own_checkpoint: Path) -> None:
    meant = to_fp8(own_checkpoint)
    lm = load(own_checkpoint, dtype="float32")
    found = lm.model.state_dict()
    for name, weight in meant.items():
        assert torch.allclose(found[name], weight, rtol=1e-2), name  # bfloat16 in between
    described = lm.describe()
    assert described["quantization"] == "fp8"
    assert described["identity"]["model"]["quantization"] == "fp8"


@pytest.mark.parametrize("lost", ["layers.1.mlp.down_proj.weight", "model.norm.weight", "layers.0.self_attn.q_proj"])
def test_a_weight_that_is_not_there_is_refused(own_checkpoint: Path, lost: str) -> None:
    to_fp8(own_checkpoint)
    store(own_checkpoint, without=lost)
    assert "not in the checkpoint, first model." in message(own_checkpoint)


@pytest.mark.parametrize("lost", ["layers.1.mlp.down_proj.weight_scale_inv", "_scale_inv"])
def test_so_is_a_scale(own_checkpoint: Path, lost: str) -> None:
    to_fp8(own_checkpoint)
    store(own_checkpoint, without=lost)
    assert "scale" in message(own_checkpoint)


def test_layers_that_the_configuration_lacks_are_refused(own_checkpoint: Path) -> None:
    to_fp8(own_checkpoint)
    store(own_checkpoint, **{"model.layers.7.input_layernorm.weight": torch.ones(1)})
    assert "has no place for by config.json" in message(own_checkpoint)


@pytest.mark.parametrize("method", ["exl2", "modelopt", "EXL3"])
def test_a_method_that_transformers_does_not_know_is_named(own_checkpoint: Path, method: str) -> None:
    set_config(own_checkpoint, {"quant_method": method, "bits": 4})
    assert f"quantization_config names the method '{method.lower()}', and transformers" in message(own_checkpoint)


@pytest.mark.parametrize("settings", ["fp8", 8, ["fp8"]])
def test_settings_that_are_no_object_are_named_where_they_stand(own_checkpoint: Path, settings: Any) -> None:
    set_config(own_checkpoint, settings)
    assert "config.json: quantization_config must be an object with quant_method" in message(own_checkpoint)


def test_an_empty_object_says_that_it_has_no_method(own_checkpoint: Path) -> None:
    set_config(own_checkpoint, {})
    assert "names no method (quant_method)" in message(own_checkpoint)
