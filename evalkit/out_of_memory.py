"""What lack of memory looks like, and what trying a model may not swallow."""

from __future__ import annotations

import errno

from evalkit.errors import ModelError, first_line, message_of

_OUT_OF_MEMORY = (
    "out of memory",  # CUDA, NPU, MPS
    "not enough memory",  # CPU on Windows
    "can't allocate memory",  # CPU on Linux
    "cannot allocate memory",  # files that are mapped, safetensors
    "cublas_status_alloc_failed",
    "failed to allocate memory",
    "memory allocation failure",  # ACL of the NPU
    "could not create a primitive",  # oneDNN, which says no more
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that the host or the device has no memory left."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    message = message_of(error).lower()
    if type(error).__name__ in {"OutOfMemoryError", "AcceleratorError"} and "memory" in message:
        return True
    return isinstance(error, RuntimeError) and any(text in message for text in _OUT_OF_MEMORY)


def raise_what_is_no_answer(error: Exception) -> None:
    """Raise where trying what a model takes failed for want of memory: that says nothing of the model.

    Raises:
        ModelError: so it is.
    """
    if isinstance(error, ModelError) and message_of(error).startswith("out of memory"):
        raise error
    if is_out_of_memory(error):
        raise ModelError(
            f"out of memory while the model was tried ({first_line(error)}); stop other programs, raise this process's "
            "limit (ulimit, container, job), or use a smaller dtype"
        ) from error
