"""Chinese and English: the catalogue has exactly the messages of the code, with the same placeholders."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest
import yaml

from evalkit.errors import ConfigError
from evalkit.languages import CATALOGUES, ENGLISH, LANGUAGES, Language, load_language
from evalkit.report.html import script_messages

pytestmark = pytest.mark.torch_free
REPORT = CATALOGUES.parent / "report"
PACKAGE = REPORT.parent


def templates_of_code() -> set[str]:
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr":
                first = node.args[0]
                if path.parent.name in ("report", "comparison"):
                    assert isinstance(first, ast.Constant), f"{path.name}:{node.lineno}: tr() of something composed"
                    found.add(str(first.value))
    for name in ("report.html", "report.js"):
        text = (REPORT / "page" / name).read_text(encoding="utf-8")
        found |= {first or second for first, second in re.findall(r"""\btr\((?:"([^"]+)"|'([^']+)')""", text)}
    return found


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.no_cover
def test_the_catalogue_is_complete_and_has_nothing_else() -> None:
    messages = load_language("zh").messages
    assert set(messages) == templates_of_code()


def test_placeholders_agree() -> None:
    for english, chinese in load_language("zh").messages.items():
        assert placeholders(english) == placeholders(chinese), english
        assert chinese.strip(), english


def test_no_key_is_written_twice() -> None:
    lines = (CATALOGUES / "zh.yaml").read_text(encoding="utf-8").splitlines()
    keys = [line.split('": "')[0] for line in lines if line.startswith('"')]
    assert len(keys) == len(set(keys)) == len(yaml.safe_load("\n".join(lines)))


def test_values_are_no_templates() -> None:
    tr = Language("xx", {"hello {name}": "servus {name}"})
    assert tr("hello {name}", name="{name} {0}") == "servus {name} {0}"
    assert tr("not translated {x}", x=1) == "not translated 1"
    assert ENGLISH("100 % {") == "100 % {"  # without values, braces are text


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown language 'zn' \(known: en, zh\)"):
        load_language("zn")
    assert LANGUAGES == ("en", "zh")


def test_the_script_gets_its_messages() -> None:
    messages = script_messages(load_language("zh"))
    assert messages["right"] == "正确"
    assert script_messages(ENGLISH) == {}
    assert {name for name in messages if messages[name] == name} == set()
    assert Path(REPORT / "page" / "report.js").is_file()
