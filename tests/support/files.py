"""Damaging files on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def replace_line(path: Path, number: int, line: str) -> None:
    """Put other text in a file's line (from 1)."""
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[number - 1] = line
    path.write_text("\n".join(lines), encoding="utf-8")


def change_document(path: Path, number: int, change: dict[str, Any], drop: str | None = None) -> None:
    """Change columns of the document at a line (from 1) of a JSON lines file, and drop one."""
    line = path.read_text(encoding="utf-8").split("\n")[number - 1]
    document = {**json.loads(line), **change}
    document.pop(drop, None)
    replace_line(path, number, json.dumps(document, ensure_ascii=False))
