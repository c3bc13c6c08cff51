"""What README and docs/ print to be typed: each command is one that there is, each Python example runs as it stands."""

from __future__ import annotations

import importlib.util
import re
import shlex
from itertools import pairwise
from pathlib import Path

import click
import pytest

from evalkit.cli import main
from tests.integration.test_python_docs import python

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
# What a page leaves to its reader: names that an example uses without making them.
GIVEN = {
    "sandbox.md": 'prompt, entry_point = "def add(a, b):\\n", "add"\n'
    'test = "def check(candidate):\\n    assert candidate(1, 2) == 3\\n"\n'
    'completions = ["    return a + b\\n", "    return a\\n"]\n',
}
PRINTED = {
    "sandbox.md": "passed \nfailed AssertionError in the tests: assert candidate(1, 2) == 3\n",
    "configuration.md": None,
}


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands() -> list[tuple[str, list[str]]]:
    """Return (page, words) of each line of the blocks for a shell, `&&` and line ends with a backslash followed."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while "&&" in words:
                    found.append((page.name, words[: words.index("&&")]))
                    words = words[words.index("&&") + 1 :]
                if words:
                    found.append((page.name, words))
    return found


def parsed(words: list[str]) -> None:
    """Let click read an `evalkit` command as it would, files that must be there apart, without doing it."""
    command: click.Command = main
    context = click.Context(main, info_name="evalkit")
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words
        command, words = found, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    assert rest == [], words
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice) and isinstance(said := values.get(parameter.name or ""), str):
            parameter.type.convert(said, parameter, context)


@pytest.mark.torch_free
@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_printed_command_is_one_that_there_is(page: str, words: list[str]) -> None:
    program = words[0].rpartition("/")[2]
    if program == "evalkit":
        parsed(words[1:])
        for word in words:
            assert not word.startswith("configs/") or (REPOSITORY / word).is_file(), word
    elif program == "make":
        makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
        (target, *settings) = words[1:]
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
        for name in (setting.partition("=")[0] for setting in settings):
            assert re.search(rf"^{name} +[?]=", makefile, re.MULTILINE), name
    elif program.startswith("python") and words[1] == "-m" and words[2] != "venv":
        assert importlib.util.find_spec(words[2]) is not None
    elif program.startswith("python") and words[1] != "-m":
        assert (REPOSITORY / words[1]).is_file()
    elif program == "pip":
        for name, following in pairwise(words):
            assert name != "-r" or (REPOSITORY / following).is_file()
    else:
        assert program in {"git", "mkdir", "cp", "python3.11"}, (page, words)


def test_every_page_with_python_is_run_by_a_test() -> None:
    assert {page.name for page in PAGES if blocks(page, "python")} == {*PRINTED, "python.md", "CONTRIBUTING.md"}


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("page", PRINTED)
def test_the_python_of_a_page_runs(page: str, tmp_path: Path) -> None:
    code = GIVEN.get(page, "") + "\n".join(blocks(REPOSITORY / "docs" / page, "python"))
    printed = python(tmp_path, code).stdout
    assert PRINTED[page] in (None, printed)
