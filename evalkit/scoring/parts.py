"""Work in as many parts as memory demands, and what running out of memory looks like on CPU, CUDA and NPU."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from evalkit.errors import ModelError, message_of
from evalkit.out_of_memory import is_out_of_memory

Part = TypeVar("Part")
Done = TypeVar("Done")


class Device(Protocol):
    """What ``torch.device`` says of itself."""

    @property
    def type(self) -> str:
        """``cpu``, ``cuda``, ``npu`` ..."""


@dataclass
class Budget:
    """Greatest size of what is computed at once; shrinks when memory runs out.

    A resumed run begins with the budget that its last finished pack left, so that later packs are split as they would
    have been.

    Attributes:
        size: in tokens for packs, in rows for generated batches.
    """

    size: int


def in_parts(
    whole: Part,
    run: Callable[[Part], Done],
    *,
    size: Callable[[Part], int],
    halves: Callable[[Part], Sequence[Part]],
    name: Callable[[Part], str],
    budget: Budget,
    device: Device,
) -> Iterator[Done]:
    """Yield what ``run`` makes of some work, in its order: whole, or in parts where memory runs out.

    Args:
        whole: the work.
        run: does a part; called again for the halves of a part for which memory ran out.
        size: of a part, in the budget's unit.
        halves: cuts a part in two; returns it alone where that cannot be done.
        name: what a part is called that cannot be halved and does not fit: ``one row of 12 tokens``.
        budget: larger parts are halved without being tried; is lowered where memory runs out.
        device: where the memory is.

    Raises:
        ModelError: a part that cannot be halved does not fit into memory.
    """
    todo = [whole]
    while todo:
        part = todo.pop(0)
        if size(part) > budget.size and len(cut := halves(part)) > 1:
            todo[:0] = cut
            continue
        try:
            done = run(part)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = (message_of(error).splitlines() or [type(error).__name__])[0]
        else:
            yield done
            continue
        # Outside the handler: the exception holds the frames, and they hold the tensors.
        release_cache(device)
        cut = halves(part)
        if len(cut) == 1:
            raise ModelError(
                f"out of memory on {device} for {name(part)} ({message}); "
                "use a smaller dtype, a larger device or a smaller max_length"
            )
        budget.size = max(size(cut[0]), size(part) // 2)
        todo[:0] = cut


def halved(rows: list[Part]) -> list[list[Part]]:
    """Return two halves of a list; the list alone where there is nothing to cut."""
    half = len(rows) // 2
    return [rows[:half], rows[half:]] if half else [rows]


def release_cache(device: Device) -> None:
    """Give cached blocks back to the device, so that a smaller attempt can succeed; a CPU keeps none."""
    # What has a device has loaded torch; this module works without.
    empty_cache = getattr(getattr(sys.modules.get("torch"), device.type, None), "empty_cache", None)
    if device.type != "cpu" and empty_cache is not None:
        gc.collect()
        empty_cache()
