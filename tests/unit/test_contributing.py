"""CONTRIBUTING, held to its word: what its table names is there, and its code passes the linter."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch_free

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDE = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| (?!to change)([^|]+) \| (.+) \|$", GUIDE.split("| to change | look in |")[1].split("\n## ")[0], re.M
)
# What strangers were asked to find: each has a row, whose first cell says it in these words.
ASKED = [
    "suite", "attention mask", "column of the card", "server that answers log-likelihoods", "metric",
    "layout of documents", "section of the report", "option of", "rule of the sandbox", "baseline's file",
    "results that `import`", "level of isolation", "stop rule", "interval",
]  # fmt: skip


def names_in(path: Path) -> set[str]:
    """The functions, classes and tables of a file's top."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("what", "where"), ROWS)
def test_what_the_table_names_is_there(what: str, where: str) -> None:
    folder = REPOSITORY / "evalkit"
    named = re.findall(r"`([a-z_./]+/|[\w./]+\.(?:py|yaml|html))(?::(\w+))?`", where)
    assert named, what
    for path, name in named:
        inside = path.endswith(".py") and "/" not in path and not (folder / path).exists()
        found = (
            REPOSITORY if path.startswith("configs/") else folder / "baselines/reading" if inside else folder
        ) / path
        assert found.exists(), (what, path)
        if name:
            assert name in names_in(found), (what, path, name)


@pytest.mark.parametrize("asked", ASKED)
def test_a_change_that_people_make_has_a_row(asked: str) -> None:
    assert [what for what, _ in ROWS if asked in what]


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="the linter is in the environment of make setup")
@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_the_adapters_code_passes_the_projects_linter(command: tuple[str, ...], tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    call = re.findall(r"`(evalkit\.evaluation\.run\.run\(.*?\))`", GUIDE)
    assert len(call) == 1
    (tmp_path / "bigrams.py").write_text(code, encoding="utf-8")
    (tmp_path / "trial.py").write_text(
        f"import evalkit.evaluation.run\nfrom bigrams import bigrams\n\n\ndef trial(config):\n    return {call[0]}\n",
        encoding="utf-8",
    )
    config = ["--config", str(REPOSITORY / "pyproject.toml"), "--no-cache"]
    quiet = ["--ignore", "ANN,D,INP,I"] if command == ("check",) else []
    files = [str(tmp_path / "bigrams.py"), str(tmp_path / "trial.py")]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *config, *quiet, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
