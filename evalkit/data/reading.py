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


def _decompressed(path: Path, raw: bytes) -> bytes:
    import gzip
    import zlib

    try:
        return gzip.decompress(raw)
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); copy it again") from None


def _read_text(path: Path, *, may_be_empty: bool = False) -> str:
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = _decompressed(path, raw)
    except FileNotFoundError:
        here = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file{did_you_mean(path.name, here)}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x}); convert the file to UTF-8 first"
        ) from None
    if not text.strip() and not may_be_empty:
        raise DataError(f"{path}: empty file")
    return text


def _no_constant(name: str) -> Any:
    # Python's own extension of JSON. A score of NaN would travel on as if it were a number.
    raise ValueError(f"{name} is not allowed in JSON")


def _parse(text: str, path: Path, first_line: int, *, is_lenient: bool = False) -> Any:
    """Parse JSON that starts at a line of a file: strict JSON, unless it is what models wrote."""
    try:
        found = json.loads(text, parse_constant=None if is_lenient else _no_constant)
        if not is_lenient:
            # Half of a UTF-16 pair, written as an escape, is valid JSON but no text: it cannot be hashed or encoded.
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{path}:{line}: not valid JSON ({error.msg}, column {error.colno})") from None
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(f"{path}:{first_line}: {half!r} is half a character (a lone surrogate)") from None
    except RecursionError:
        raise DataError(f"{path}:{first_line}: not usable JSON (nested too deeply)") from None
    except ValueError as error:  # a constant, or an integer of thousands of digits
        raise DataError(f"{path}:{first_line}: not valid JSON ({error})") from None
    return found


def read_jsonl(path: Path, *, is_lenient: bool = False) -> list[tuple[str, Document]]:
    """Read JSON lines, which may be gzipped; returns (where, document) pairs, with ``where`` as ``FILE:LINE``.

    Args:
        path: the file.
        is_lenient: for texts of models, which other programs wrote: empty lines are passed over, NaN and lone
            surrogates taken as they are, and there may be nothing at all.

    Raises:
        DataError: no file, wrong encoding, an empty line in the middle, or a line that is no JSON object.
    """
    # Only "\n" ends a line: str.splitlines would also split at U+2028, which JSON allows inside strings.
    lines = _read_text(path, may_be_empty=is_lenient).rstrip().split("\n")
    documents = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            if is_lenient:
                continue
            raise DataError(f"{path}:{number}: empty line")
        document = _parse(line, path, number, is_lenient=is_lenient)
        if not isinstance(document, dict):
            raise DataError(f"{path}:{number}: a {type(document).__name__}, expected a JSON object")
        documents.append((f"{path}:{number}", document))
    return documents


def read_bigbench(path: Path) -> list[tuple[str, Document]]:
    """Read a BIG-bench JSON task; returns (where, document) pairs, with ``where`` as ``FILE:LINE: example N``.

    Each document carries the file's formatting rules under ``format``, so that it can be rendered alone.

    Raises:
        DataError: no file, wrong encoding, no JSON, or not the layout of a BIG-bench task.
    """
    text = _read_text(path)
    found = _parse(text, path, 1)
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
    for position, (line, example) in enumerate(zip(_example_lines(text), found["examples"], strict=True), 1):
        where = f"{path}:{line}: example {position}"
        if not isinstance(example, dict):
            raise DataError(f"{where}: a {type(example).__name__}, expected a JSON object")
        documents.append((where, {**example, "format": rules}))
    return documents


def _example_lines(text: str) -> list[int]:
    """Return the line at which each entry of the (last) list ``examples`` of a valid JSON object starts."""
    decoder = json.JSONDecoder()

    def skip(position: int, characters: str) -> int:
        while text[position] in characters:
            position += 1
        return position

    lines: list[int] = []
    position = skip(0, " \t\r\n{")
    while text[position] != "}":
        key, position = decoder.raw_decode(text, position)
        position = skip(position, " \t\r\n:")
        if key != "examples":
            _, position = decoder.raw_decode(text, position)
        else:
            lines, line, counted = [], 1, 0
            position = skip(position + 1, " \t\r\n")
            while text[position] != "]":
                line += text.count("\n", counted, position)
                counted = position
                lines.append(line)
                _, position = decoder.raw_decode(text, position)
                position = skip(position, " \t\r\n,")
            position += 1
        position = skip(position, " \t\r\n,")
    return lines
