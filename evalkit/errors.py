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

from collections.abc import Iterable, Sequence


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


def some(names: Sequence[str], shown: int = 3, between: str = ", ") -> str:
    """Return the first of some names, and how many more there are.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    return between.join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


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
