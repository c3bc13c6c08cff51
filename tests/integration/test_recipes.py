"""CONTRIBUTING's recipes, followed to the letter in a copy of evalkit: an option, an adapter that is hooked in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evalkit.records.model import SCHEMA_MINOR

pytestmark = [pytest.mark.model, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
ASK = ("--suite", "truthfulqa", "--data", "samples", "--limit", "2")


def copy(folder: Path) -> Path:
    for name in ("evalkit", "configs"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


# Reads the arguments of one command a line, and runs it as `evalkit` would: torch is imported once for them all.
COMMANDS = """
import json, sys
from click.testing import CliRunner
from evalkit.cli import main
for line in sys.stdin:
    done = CliRunner().invoke(main, json.loads(line), prog_name="evalkit")
    sys.__stdout__.write(json.dumps([done.exit_code, done.stdout, done.stderr, repr(done.exception)]) + "\\n")
    sys.__stdout__.flush()
"""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str
    exception: str


class Evalkit:
    """The command line of a copy, in one process that starts with the first command."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, *arguments: str) -> Done:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", COMMANDS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=self._root,
                env={**os.environ, "PYTHONPATH": str(self._root), "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return Done(*json.loads(self._process.stdout.readline()))

    def end(self) -> None:
        """End the process: the next command sees what was changed in the copy."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


@pytest.fixture
def started() -> Iterator[Callable[[Path], Evalkit]]:
    """A function that gives the command line of a copy."""
    made: list[Evalkit] = []

    def start(root: Path) -> Evalkit:
        made.append(Evalkit(root))
        return made[-1]

    yield start
    for of_copy in made:
        of_copy.end()


def inserted(file: Path, before: str, text: str) -> None:
    found = file.read_text(encoding="utf-8")
    assert found.count(before) == 1
    file.write_text(found.replace(before, text + before), encoding="utf-8")


def run_of(root: Path, output: str) -> dict[str, Any]:
    (file,) = (root / output).glob("*/*/run.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_an_option_is_one_line(tmp_path: Path, started: Callable[[Path], Evalkit]) -> None:
    root = copy(tmp_path)
    evalkit = started(root)
    assert evalkit("run", "--model", "tiny", *ASK, "--output", "before").returncode == 0
    evalkit.end()
    (line,) = re.findall(r"```py\n(    swap_space: .*\n)```", RECIPES)
    inserted(
        root / "evalkit" / "config" / "run_config.py",
        "    add_bos: Annotated[",
        line.replace("since=N", f"since={SCHEMA_MINOR + 1}").replace("gate=True", "gate=True, moves_scores=True"),
    )

    done = evalkit("run", "--model", "tiny", *ASK, "--output", "after", "--swap-space")
    assert done.returncode == 0, done.stderr
    after = run_of(root, "after")
    assert after["schema_minor"] == run_of(root, "before")["schema_minor"] + 1
    assert after["evalkit"]["config"]["swap_space"] is after["evalkit"]["identity"]["settings"]["swap_space"] is True
    for command in ("run", "gate", "infer"):
        assert "--swap-space" in evalkit(command, "--help").stdout
    (root / "run.yaml").write_text("model: tiny\nswap_space: false\nsuite: truthfulqa\ndata: samples\nlimit: 2\n")
    assert evalkit("run", "--config", "run.yaml", "--output", "yaml").returncode == 0

    # Records of before are whole, and comparable with those of after.
    (folder,) = (str(file.parent) for file in (root / "before").glob("*/*/run.json"))
    assert evalkit("report", folder).returncode == 0
    (other,) = (str(file.parent) for file in (root / "after").glob("*/*/run.json"))
    compared = evalkit("compare", folder, other)
    assert compared.returncode == 0, compared.stderr
    judged = evalkit("gate", "--run-model", "tiny", "--swap-space", "--baseline", folder)
    assert (judged.returncode, "swap_space: on, baseline off" in judged.stderr) == (2, True), judged.stderr
    for allowed in (("--baseline", other), ("--baseline", folder, "--allow-different", "swap_space")):
        judged = evalkit("gate", "--run-model", "tiny", "--swap-space", *allowed)
        assert judged.returncode in (0, 3), judged.stderr
    # Equal requests may have other scores now: none is taken over.
    told = evalkit("run", "--model", "tiny", *ASK, "--output", "reused", "--swap-space", "--reuse", folder)
    assert (told.returncode, "settings.swap_space: false, now true" in told.stderr) == (2, True), told.stderr
    # An evalkit that does not know the option says so, and not that the file is damaged.
    told = started(REPOSITORY)("report", other)
    assert (told.returncode, "use a newer evalkit" in told.stderr) == (2, True), told.stderr


def test_an_adapter_that_is_hooked_in_answers_every_command(tmp_path: Path, started: Callable[[Path], Evalkit]) -> None:
    root = copy(tmp_path)
    evalkit = started(root)
    (code,) = re.findall(r"```python\n(.*?)```", RECIPES, re.DOTALL)
    (root / "evalkit" / "models" / "bigrams.py").write_text(code, encoding="utf-8")
    hook = root / "evalkit" / "models" / "adapters.py"
    (branch,) = re.findall(r"::\n\n((?: {8}.*\n|\n)+)", hook.read_text(encoding="utf-8"))
    by_address = branch.replace('name == "bigrams"', 'name.startswith("http://")')
    assert by_address != branch
    inserted(hook, "        return None\n", branch + by_address)

    dry = evalkit("run", "--model", "bigrams", *ASK, "--dry-run")
    assert (dry.returncode, "the model is not in this process" in dry.stdout) == (0, True), dry.stderr
    done = evalkit("run", "--model", "bigrams", *ASK, "--output", "out")
    assert done.returncode == 0, done.stderr
    assert "scorer: bigrams" in done.stderr
    (folder,) = (str(file.parent) for file in (root / "out").glob("*/*/run.json"))
    judged = evalkit("gate", "--run-model", "bigrams", "--baseline", folder)
    assert judged.returncode in (0, 3), judged.stderr
    told = evalkit("infer", "--model", "bigrams", "--prompt", "x")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1), told.stderr
    assert "bigrams: answers elsewhere" in told.stderr

    # A name that is no folder and no hub's is looked for nowhere.
    address = "http://127.0.0.1:1/v1/"
    dry = evalkit("run", "--model", address, *ASK, "--dry-run")
    assert (dry.returncode, "the model is not in this process" in dry.stdout) == (0, True), dry.stderr
    done = evalkit("run", "--model", address, *ASK, "--output", "address")
    assert done.returncode == 0, done.stderr
    assert run_of(root, "address")["evalkit"]["model"]["name"] == address
    judged = evalkit("gate", "--run-model", address, "--baseline", folder)
    assert judged.returncode in (0, 3), judged.stderr
    told = evalkit("infer", "--model", address, "--prompt", "x")
    assert (told.returncode, f"{address}: answers elsewhere" in told.stderr) == (2, True), told.stderr
    configuration = str(REPOSITORY / "pyproject.toml")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", configuration, "evalkit/models/adapters.py"],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
