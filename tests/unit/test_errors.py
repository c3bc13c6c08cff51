"""The error tree and its hints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from evalkit import errors, paths
from evalkit.errors import EvalkitError, did_you_mean, some
from evalkit.paths import configs_dir

pytestmark = pytest.mark.torch_free


def test_the_picture_shows_the_tree() -> None:
    drawn = set(re.findall(r"\w+Error", errors.__doc__ or ""))
    found = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, EvalkitError)}
    assert drawn == found
    assert all(getattr(errors, name).exit_code == 2 for name in found)


def test_hints() -> None:
    assert did_you_mean("gpt4al", ["gpt4all", "agieval"]) == "; did you mean 'gpt4all'?"
    assert did_you_mean("xyz", ["gpt4all", "agieval"]) == ""
    assert did_you_mean("a", []) == ""
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(list("abcdef"), 2, "; ") == "a; b and 4 more"


def test_configs_inside_the_package_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert yaml.safe_load((configs_dir() / "suites" / "gpt4all.yaml").read_text())["suite"] == "gpt4all"
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "evalkit")
    assert configs_dir() == tmp_path / "configs"
    (tmp_path / "evalkit" / "_configs").mkdir(parents=True)
    assert configs_dir() == tmp_path / "evalkit" / "_configs"
