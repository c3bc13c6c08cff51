"""A copy of evalkit with a suite of a person's own, as somebody would make one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


def copied(root: Path) -> None:
    """Copy evalkit and its configuration, with a layout ``any`` that takes documents as they are."""
    for name in ("evalkit", "configs"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    layouts = root / "evalkit/data/layouts.py"
    text = layouts.read_text(encoding="utf-8")
    head = re.search(r"^LAYOUTS: .*= \{\n", text, re.MULTILINE)
    assert head is not None
    layouts.write_text(text.replace(head[0], f'{head[0]}    "any": lambda doc: [dict(doc)],\n'), encoding="utf-8")


def add_suite(configs: Path, tasks: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Add a suite ``own`` to a folder of configurations.

    Args:
        configs: the folder.
        tasks: by name what the suite's file says of a task.
        data: by name what ``datasets.yaml`` says of its data.
    """
    facts = {"suite": "own", "title": "Own", "order": 9, "protocol": "own", "in_total": False, "default": False,
             "average": "mean", "tasks": dict(tasks)}  # fmt: skip
    (configs / "suites/own.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")
    with (configs / "datasets.yaml").open("a", encoding="utf-8") as file:
        file.write("\n" + yaml.safe_dump(dict(data)))
