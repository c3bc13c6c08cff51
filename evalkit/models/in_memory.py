"""Weights in memory, and not in a file that is mapped there and that another program may write.

transformers maps safetensors files; a tensor of the file's own dtype, on the CPU, is then the file itself. A training
that saves over it under way changes the model, so that the scores of one run are those of two; a file that is shortened
ends the process (SIGBUS).
"""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import Any

import torch


def into_memory(model: Any) -> None:
    """Copy weights that are a mapped file into memory; those of the file's own dtype are, on the CPU.

    Else another program that writes the file changes the model under way, and one that shortens it ends the process
    (SIGBUS). Takes under a second of processor time a GB, and as much memory as the weights have; the mapping needs
    none any more.
    """
    for tensor in mapped_tensors(model):
        tensor.data = tensor.data.clone()


def mapped_tensors(model: Any) -> list[torch.Tensor]:
    """Return parameters and buffers on the CPU whose memory is a file's; all where the system cannot tell."""
    here = [
        tensor
        for tensor in (*model.parameters(), *model.buffers())
        if tensor.device.type == "cpu" and type(tensor.data) is torch.Tensor and tensor.layout is torch.strided
    ]
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return here
    ranges = sorted(
        (int(start, 16), int(end, 16))
        for start, end in (line.split(" ", 1)[0].split("-") for line in lines if " /" in line)
    )
    starts = [start for start, _ in ranges]
    found = []
    for tensor in here:
        at = bisect.bisect_right(starts, tensor.data_ptr()) - 1
        if at >= 0 and tensor.data_ptr() < ranges[at][1]:
            found.append(tensor)
    return found


def reads_files(model: Any) -> bool:
    """Whether some weights stay in files while the model runs: those that a device map puts on the disk."""
    places = getattr(model, "hf_device_map", None)
    return isinstance(places, dict) and "disk" in map(str, places.values())
