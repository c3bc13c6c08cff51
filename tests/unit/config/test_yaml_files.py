"""The one validator: whatever is wrong in a file of any kind, one line names the file, the line and the value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit.baselines import read_baseline
from evalkit.config.run_config import read_config_file
from evalkit.config.suites import load_suites
from evalkit.config.yaml_files import parse_yaml
from evalkit.data import load_manifest
from evalkit.errors import ConfigError
from evalkit.paths import configs_dir

pytestmark = pytest.mark.torch_free

RUN = {"model": "m", "limit": 3, "seed": 5, "temperature": 0.5, "add_bos": False, "dtype": "auto", "system": "s"}
READERS: dict[str, tuple[Callable[[Path], Any], Any, str]] = {
    "run": (read_config_file, RUN, "run.yaml"),
    "suite": (
        lambda path: load_suites(path.parent),
        yaml.safe_load((configs_dir() / "suites" / "gpt4all.yaml").read_text(encoding="utf-8")),
        "gpt4all.yaml",
    ),
    "data": (
        load_manifest,
        dict(list(yaml.safe_load((configs_dir() / "datasets.yaml").read_text(encoding="utf-8")).items())[:3]),
        "datasets.yaml",
    ),
    "baseline": (
        read_baseline,
        yaml.safe_load((configs_dir() / "baselines" / "openhermes-2.5-mistral-7b.yaml").read_text(encoding="utf-8")),
        "openhermes.yaml",
    ),
}
# Stands where it is of no right type, and is found in the text by its name.
WRONG = {"WRONG": [{"x": 1}]}


def places(value: Any, trail: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where a value stands, inner ones too."""
    if trail:
        yield trail
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*trail, key))


def with_value(content: Any, trail: tuple[Any, ...], value: Any) -> Any:
    if not trail:
        return value
    changed: Any = dict(content) if isinstance(content, dict) else list(content)
    changed[trail[0]] = with_value(content[trail[0]], trail[1:], value)
    return changed


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.no_cover
def test_a_value_of_another_type_is_named_with_its_line_wherever_it_stands(kind: str, tmp_path: Path) -> None:
    read, content, name = READERS[kind]
    tried = 0
    for number, trail in enumerate(places(content)):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / name
        text = yaml.safe_dump(with_value(content, trail, WRONG), sort_keys=False, default_flow_style=False)
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            read(path)
        message = str(caught.value)
        assert "\n" not in message
        found = re.search(r"\.yaml:(\d+): ", message)
        assert found, message
        # Written in block style, the wrong mapping stands on the lines after its key, or behind the dash of a list.
        lines = text.splitlines()
        at = next(i for i, line in enumerate(lines) if "WRONG" in line) + 1
        assert int(found[1]) in (at - 1, at), (message, text)
        assert str(trail[-1] if isinstance(trail[-1], str) else f"item {trail[-1] + 1}") in message
        tried += 1
    assert tried >= len(content)


@pytest.mark.parametrize("kind", READERS)
def test_what_is_right_is_read(kind: str, tmp_path: Path) -> None:
    read, content, name = READERS[kind]
    path = tmp_path / name
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    assert read(path)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "text", ["", "3", "- a", "a: 1\na: 2\n", "a: [", "a: \x00", "&a [*a]", "? {a: 1}\n: 2\n", "a: " + "[" * 5000]
)
def test_what_is_no_such_file_is_one_line(kind: str, text: str, tmp_path: Path) -> None:
    read, _, name = READERS[kind]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^[^\n]*\.yaml[^\n]*$"):
        read(path)


def test_what_is_no_yaml_is_named_with_its_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^run\.yaml:3: not valid YAML \(key 'limit' is there twice, first in line 2\)$"
    ):
        parse_yaml("model: m\nlimit: 3\nlimit: 4\n", "run.yaml", "'model'")
    with pytest.raises(ConfigError, match=r"^run\.yaml:2: not valid YAML \(mapping values are not allowed"):
        parse_yaml("model: m\nlimit: 3: 4\n", "run.yaml", "'model'")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1:30", "write 90"),
        ("010", "write 10 (or 8, if it is octal)"),
        ("1_000", "write 1000"),
        ("0x10", "write 16"),
        ("0b11", "write 3"),
        ("1:30.5", "write 90.5"),
        (".inf", "write a finite number"),
        (".nan", "write a finite number"),
        ("1e999", "write a finite number"),
        ("yes", "write true"),
        ("Off", "write false"),
    ],
)
def test_what_versions_of_yaml_read_differently_is_refused(text: str, said: str) -> None:
    for content in (f"a: 1\nmargin: {text}\n", f"a: 1\n{text}: 3\n", f"a:\n- [{text}]\n"):
        with pytest.raises(ConfigError, match=r"^gate\.yaml:2: [^\n]*") as caught:
            parse_yaml(content, "gate.yaml", "'margin'")
        assert said in str(caught.value)
    assert parse_yaml(f"margin: '{text}'\n", "gate.yaml", "'margin'").content == {"margin": text}


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("-0", 0), ("+5", 5), ("2.50", 2.5), ("1e3", 1000.0), ("1E-3", 0.001), ("1.5e2", 150.0), (".5", 0.5)],
)
def test_numbers_are_those_of_yaml_1_2(text: str, number: float) -> None:
    found = parse_yaml(f"margin: {text}\n", "gate.yaml", "'margin'").content["margin"]
    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!map [1]", "expected a mapping"),
        ("a: !!set [1]", "expected a mapping"),
        ("a: !!seq {b: 1}", "expected a sequence node, but found mapping"),
        ("a: !!timestamp x", "x is no date; write 'x' for a text"),
        ("a: 2023-13-45", "2023-13-45 is no date; write '2023-13-45' for a text"),
        ('a: !!int ""', "!!int does not fit, found ''; leave the tag out"),
        ('a: [x, {b: !!int "-"}]', "!!int does not fit, found '-'; leave the tag out"),
        ('!!float "_": 3', "!!float does not fit, found '_'; leave the tag out"),
        ("a: &a {<<: [*a, 3]}", "while constructing a mapping; expected a mapping for merging, but found scalar"),
        ("a: " + "[" * 101 + "]" * 101, "nested deeper than 100 levels"),
        ("a: " + "{b: " * 101 + "3" + "}" * 101, "nested deeper than 100 levels"),
    ],
)
def test_a_tag_that_does_not_fit_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^run\.yaml:2: not valid YAML \({re.escape(said)}\)$"):
        parse_yaml(f"b: 1\n{text}\n", "run.yaml", "'a'")


def error_of(read: Callable[[Path], Any], path: Path) -> str | None:
    try:
        read(path)
    except ConfigError as error:
        return str(error)
    return None


TAGS = (
    "int",
    "float",
    "bool",
    "null",
    "timestamp",
    "binary",
    "str",
    "map",
    "seq",
    "set",
    "omap",
    "pairs",
    "merge",
    "x",
)
# fmt: off
FOUND = (
    '""', '"-"', '"+"', '"_"', '"."', '":"', '"1:"', '"0x"', '"0b"', '"0b_"', '"-0x"', '"0o7"', "x", "\u00e4",
    "2024-1-1",
    '"2024-99-99"', '"2024-01-01T99:00:00"', '"=="', '"A"', "[]", "[1]", "[[1]]", "[{a: 1}, 2]", "{}", "{a: 1}",
    "{[]: 1}", "&c [*c]", "&c {a: *c}", "&c {<<: *c}", "{<<: 3}", "{<<: [3]}", "{<<: [{a: 1}, {a: 2}]}", "{=: 3}",
    "[" * 90 + "]" * 90, "9" * 5000, '"' + "9" * 5000 + '"',
)
# fmt: on


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("tag", [*(f"!!{tag} " for tag in TAGS), "!function ", "! ", ""])
@pytest.mark.no_cover
def test_no_value_with_any_tag_is_more_than_one_line(kind: str, tag: str, tmp_path: Path) -> None:
    """PyYAML's constructors raise what Python does (IndexError, TypeError ...) where a tag does not fit."""
    read, content, name = READERS[kind]
    path = tmp_path / name
    right = yaml.safe_dump(content, sort_keys=False)
    first = next(iter(content))
    for found in FOUND if kind == "run" else FOUND[::6]:
        for text in (
            f"{right}zzz: {tag}{found}\n",
            f"{right}? {tag}{found}\n: 1\n",
            f"{right}zzz: [1, {{a: {tag}{found}}}]\n",
            f"{tag}{found}\n",
            yaml.safe_dump({first: "PLACE"}).replace("PLACE", f"{tag}{found}"),
        ):
            if found.startswith("&") and tag:  # an anchor stands before the tag
                text = text.replace(f"{tag}&c ", f"&c {tag}")
            path.write_text(text, encoding="utf-8")
            said = error_of(read, path)
            assert said is None or (name in said and "\n" not in said)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 30, "1" + "0" * 5000, "1e999", "0x" + "f" * 400])
@pytest.mark.parametrize("kind", READERS)
def test_a_number_too_large_for_any_computer_is_named(tmp_path: Path, kind: str, number: str) -> None:
    read, content, name = READERS[kind]
    path = tmp_path / name
    of_numbers = [t for t in places(content) if type(value_at(content, t)) in (int, float)]
    assert of_numbers
    for trail in {t[-1]: t for t in of_numbers}.values():
        text = yaml.safe_dump(with_value(content, trail, "NUMBER")).replace("NUMBER", number)
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            read(path)
        line = next(i for i, of_text in enumerate(text.splitlines(), 1) if number in of_text)
        assert f":{line}: " in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 400


def value_at(content: Any, trail: tuple[Any, ...]) -> Any:
    for step in trail:
        content = content[step]
    return content
