"""Files to documents: JSON lines, and BIG-bench's JSON. Every fault is an error that names the file and the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalkit.data.layouts import Document
from evalkit.errors import DataError, did_you_mean

# What PROTOCOL "nous-2023" says where a BIG-bench file names none.
BIGBENCH_DEFAULTS: dict[str, Any] = {
    "task_prefix": "",
    "example_input_prefix": "\nQ: ",
    "example_output_prefix": "\nA: ",
    "choice_prefix": "\n  choice: ",
    "append_choices_to_input": True,
}


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        here = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file{did_you_mean(path.name, here)}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not raw.strip():
        raise DataError(f"{path}: empty file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x}); convert the file to UTF-8 first"
        ) from None


def read_jsonl(path: Path) -> list[tuple[int, Document]]:
    """Read JSON lines; returns (line number, document) pairs.

    Raises:
        DataError: no file, wrong encoding, an empty line in the middle, or a line that is no JSON object.
    """
    # Only "\n" ends a line: str.splitlines would also split at U+2028, which JSON allows inside strings.
    lines = _read_text(path).rstrip("\n").split("\n")
    documents = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise DataError(f"{path}:{number}: empty line")
        try:
            document = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not valid JSON ({error.msg}, column {error.colno})") from None
        if not isinstance(document, dict):
            raise DataError(f"{path}:{number}: a {type(document).__name__}, expected a JSON object")
        documents.append((number, document))
    return documents


def read_bigbench(path: Path) -> list[tuple[int, Document]]:
    """Read a BIG-bench JSON task; returns (position of the example from 1, document) pairs.

    Each document carries the file's formatting rules under ``format``, so that it can be rendered alone.

    Raises:
        DataError: no file, wrong encoding, no JSON, or not the layout of a BIG-bench task.
    """
    text = _read_text(path)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(found, dict) or not isinstance(found.get("examples"), list):
        raise DataError(f"{path}: not a BIG-bench JSON task (no list 'examples')")
    if not found["examples"]:
        raise DataError(f"{path}: 'examples' is empty")
    rules = {}
    for key, default in BIGBENCH_DEFAULTS.items():
        rules[key] = found.get(key, default)
        if not isinstance(rules[key], type(default)):
            raise DataError(f"{path}: '{key}' is {type(rules[key]).__name__}, expected {type(default).__name__}")
    documents = []
    for position, example in enumerate(found["examples"], 1):
        if not isinstance(example, dict):
            raise DataError(f"{path}: example {position}: a {type(example).__name__}, expected a JSON object")
        documents.append((position, {**example, "format": rules}))
    return documents
