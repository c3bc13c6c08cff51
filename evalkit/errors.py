"""Every error that a user can cause, and nothing else.

::

    EvalkitError            exit code 2; the command line prints its message as one line
    ├── ConfigError         a flag, a YAML file, a task or suite name
    ├── DataError           documents: missing, incomplete, malformed
    ├── ModelError          a checkpoint, a tokenizer, a device
    ├── StoreError          a run's folder: unfinished, damaged, from another run
    └── SandboxError        model-written code cannot be run safely here

A message says what, where, and what to do, in one line. Anything that is not an ``EvalkitError`` is a bug.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable


class EvalkitError(Exception):
    """Base of all user-facing errors.

    Attributes:
        exit_code: the process's exit code when the error ends a command.
    """

    exit_code = 2


class ConfigError(EvalkitError):
    """A flag or a configuration file asks for something that does not exist or does not fit."""


class DataError(EvalkitError):
    """Documents are missing, incomplete or malformed."""


class ModelError(EvalkitError):
    """A model, tokenizer or device cannot be used."""


class StoreError(EvalkitError):
    """A run's folder cannot be read or written."""


class SandboxError(EvalkitError):
    """Model-written code cannot be run under the conditions asked for."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known word, else ``""``.

    >>> did_you_mean("gpt4al", ["gpt4all", "agieval"])
    "; did you mean 'gpt4all'?"
    """
    import difflib  # only for an error's sake

    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def message_of(error: BaseException) -> str:
    """Return what an exception says; nothing where it fails to say it, as exceptions of other libraries may."""
    try:
        return str(error)
    except Exception:
        return ""


def first_line(error: BaseException) -> str:
    """Return an exception as one short line: its class and its message up to the first line that ends a sentence."""
    text = ""
    for line in filter(None, map(str.strip, message_of(error).splitlines())):
        text = f"{text} {line}".strip()
        if not line.endswith((":", ",", "-", "(")):
            break
    return f"{type(error).__name__}: {text.rstrip(':,-( ')[:300]}" if text else type(error).__name__


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
