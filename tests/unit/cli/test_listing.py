"""`evalkit list`: what there is, and where data would come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.cli.listing import listing
from evalkit.config.suites import load_suites, load_tasks
from evalkit.errors import ConfigError

pytestmark = pytest.mark.torch_free


def rows(what: str, *data: str) -> dict[str, str]:
    """The listing's lines by their first word."""
    lines = listing(what, data or ("samples",)).split("\n")[2:]
    return {line.split()[0]: line for line in lines}


def test_suites() -> None:
    found = rows("suites")
    assert list(found) == list(load_suites())
    assert found["gpt4all"].split() == ["gpt4all", "7", "20,465", "nous-2023", "GPT4All"]


def test_tasks() -> None:
    found = rows("tasks")
    assert list(found) == list(load_tasks())
    assert found["truthfulqa_mc"].split() == ["truthfulqa_mc", "truthfulqa", "1", "mc1,", "mc2", "mc2", "817"]


def test_models() -> None:
    assert "tiny" in rows("models")


def test_data_says_what_is_complete_and_where_the_rest_would_come_from(data_folder: Path) -> None:
    (data_folder / "gpt4all/piqa/validation.jsonl").unlink()
    found = rows("data", str(data_folder))
    assert set(found) == set(load_tasks())
    assert " complete " in found["arc_easy"]
    assert "allenai/ai2_arc (ARC-Easy)" in found["arc_easy"]
    assert "ILoveDataset/ai2_arc (ARC-Easy)" in found["arc_easy"]
    assert " missing " in found["piqa"]
    assert "not known on the openMind hub" in found["piqa"]
    assert "not on the hub in the protocol's form" in found["bigbench_snarks"]


def test_data_of_the_samples_is_no_score() -> None:
    assert all("sample documents (not a score)" in line for line in rows("data").values())


def test_an_unknown_source() -> None:
    with pytest.raises(ConfigError, match="--data nowhere: no such folder"):
        listing("data", ["nowhere"])
    with pytest.raises(ConfigError, match="no data source for gpt4all"):
        listing("data", ["agieval=samples"])
