"""Linear layers whose weights lie as the processor's matrix products want them, for the time of generation.

A step of generation multiplies a few rows with all weights. The usual product then spends more time on putting the
weights in order than on multiplying (2 rows: 77 ms for 133 million weights, 16 rows: 93; put in order once: 45 and 61).
oneDNN keeps them in its own order; torch's compiler uses the same two operators for models that are frozen. Rows of
these products are, besides, the same to the bit whatever the number of rows, which is tried before it is relied on
(``generate_choice``).

The ordered weights are a copy, made when generation begins (a third of a second for that many) and given back when it
ends: as much memory again, so only where the machine has plenty, and never older than the weights. What scores
(``loglikelihood``) is untouched: its numbers are those of the model as it was loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from evalkit.errors import ModelError
from evalkit.out_of_memory import is_out_of_memory
from evalkit.scoring.host_memory import available_bytes, whole_bytes
from evalkit.scoring.memory import model_device

MEMORY_SHARE = 0.25
"""Greatest share of the machine's memory, within the limits of this process, that the copies may take."""

FREE_SHARE = 0.5
"""Greatest share of what is free of it, which changes by the hour: a run that is resumed is told what was decided
when it began (``Work.prepacks``)."""


class Prepacked:
    """Linear layers of a model on the CPU with weights in oneDNN's order; empty where that cannot be had.

    Args:
        model: the model; it is as it was outside of `used`.
        wanted: what was decided before, whatever the memory is now; None: as memory allows.
    """

    def __init__(self, model: Any, *, wanted: bool | None = None) -> None:
        layers = [
            module
            for module in model.modules()
            # Adapters, quantised layers and layers with hooks of their own have other types or other forwards.
            if type(module) is torch.nn.Linear
            and "forward" not in vars(module)
            and module.weight.device.type == "cpu"
            and module.weight.dtype == torch.float32
        ]
        sizes = {id(layer.weight): layer.weight.numel() * layer.weight.element_size() for layer in layers}
        self._bytes = sum(sizes.values())
        fits = self._has_room() if wanted is None else wanted
        is_here = model_device(model).type == "cpu" and _has_products()
        self._layers: list[Any] = layers if fits and is_here else []

    def _has_room(self) -> bool:
        free = available_bytes()
        return self._bytes <= MEMORY_SHARE * (whole_bytes() or 0) and (free is None or self._bytes <= FREE_SHARE * free)

    def __len__(self) -> int:
        return len(self._layers)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let the layers compute with the ordered weights; not to be entered again within."""
        packed: dict[int, torch.Tensor] = {}
        try:
            for layer in self._layers:
                key = id(layer.weight)  # some share theirs
                if key not in packed:
                    try:
                        packed[key] = _packed(layer.weight)
                    except Exception as error:
                        # Without the copy the texts kept so far and those to come would be of other products.
                        if is_out_of_memory(error):
                            raise ModelError(_no_room(self._bytes)) from error
                        raise
                layer.forward = _Linear(packed[key], layer)
            packed.clear()
            yield
        finally:
            for layer in self._layers:
                vars(layer).pop("forward", None)


class _Linear:
    """The forward of a layer."""

    def __init__(self, packed: torch.Tensor, layer: torch.nn.Linear) -> None:
        self._packed, self._bias, self._out = packed, layer.bias, layer.out_features
        self._product = torch.ops.mkldnn._linear_pointwise

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        if not hidden.numel():
            return hidden.new_empty(*hidden.shape[:-1], self._out)
        found: torch.Tensor = self._product(hidden, self._packed, self._bias, "none", [], "")
        return found


def _no_room(size: int) -> str:
    return (
        f"out of memory on cpu for the copy of the weights that texts are generated with ({size / 2**20:,.0f} MiB); "
        "stop other programs or raise this process's limit (ulimit, container, job) and start it again, which goes on "
        "where it was (--fresh begins anew, without the copy)"
    )


def _packed(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), 16)
    return packed


def _has_products() -> bool:
    """Whether this build of torch has oneDNN and the two operators under these names."""
    weight = torch.ones(2, 2)
    try:
        product = _Linear(_packed(weight), torch.nn.Linear(2, 2, bias=False))
        with torch.inference_mode():
            return bool((product(weight) == 2.0).all())
    except (AttributeError, RuntimeError, NotImplementedError, TypeError):
        return False
