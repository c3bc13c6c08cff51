"""The manifest, and what ``--data`` may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evalkit.config.suites import load_suites, load_tasks
from evalkit.data import load_documents, load_manifest, parse_source, resolve_sources
from evalkit.data.layouts import LAYOUTS
from evalkit.data.manifest import DataSource, find_dataset
from evalkit.errors import ConfigError

pytestmark = pytest.mark.torch_free

SUITES = ["gpt4all", "agieval", "bigbench"]


def test_each_task_has_an_entry_that_agrees_with_its_suite() -> None:
    manifest, tasks = load_manifest(), load_tasks()
    assert set(manifest) == set(tasks)
    for name, entry in manifest.items():
        assert entry.suite == tasks[name].suite
        assert entry.layout in LAYOUTS
        assert entry.rows >= tasks[name].documents
        assert len(entry.sha256) == 64
        assert entry.file.startswith(f"{entry.suite.removesuffix('_chat')}/")


def test_openmind_repositories_are_the_known_ones() -> None:
    known = {entry.openmind.repository for entry in load_manifest().values() if entry.openmind}
    assert known == {"ILoveDataset/ai2_arc", "ILoveDataset/hellaswag", "ILoveDataset/truthful_qa"}


def test_what_no_hub_has_comes_with_a_remedy() -> None:
    for entry in load_manifest().values():
        assert entry.hub is not None or "--data" in entry.remedy


def test_rows_and_hashes_are_those_of_the_reference_data(shared: Path) -> None:
    source = DataSource("folder", shared / "data")
    for name, entry in load_manifest().items():
        loaded = load_documents(entry, source)
        assert (name, loaded.rows, loaded.sha256) == (name, entry.rows, entry.sha256)
        assert loaded.verdict == "published"
        assert len(loaded.documents) == load_tasks()[name].documents


def test_geometric_shapes_and_sports_understanding_count_equal_documents_once(shared: Path) -> None:
    source = DataSource("folder", shared / "data")
    counts = {
        name: (loaded.rows, len(loaded.documents))
        for name in ("bigbench_geometric_shapes", "bigbench_sports_understanding", "bigbench_snarks")
        for loaded in [load_documents(find_dataset(name), source)]
    }
    assert counts == {
        "bigbench_geometric_shapes": (360, 359),
        "bigbench_sports_understanding": (1000, 986),
        "bigbench_snarks": (181, 181),
    }


ENTRY = {
    "suite": "gpt4all",
    "layout": "boolq",
    "file": "f",
    "split": "test",
    "rows": 1,
    "sha256": "0",
    "hub": None,
    "openmind": None,
}


def manifest_file(folder: Path, entry: dict[str, object]) -> Path:
    path = folder / "datasets.yaml"
    path.write_text(yaml.safe_dump({"boolq": entry}))
    return path


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            [],
            "configs/datasets.yaml:1: boolq: expected a mapping, found []",
        ),
        ({**ENTRY, "rows": "many"}, "configs/datasets.yaml:6: boolq: rows: expected an integer, found 'many'"),
        (
            {**ENTRY, "layout": "bolq"},
            "configs/datasets.yaml:4: boolq: layout: unknown layout 'bolq'; did you mean 'boolq'?",
        ),
        (
            {**ENTRY, "layout": "piqa"},
            "configs/datasets.yaml:4: boolq: layout: 'piqa': the suite's file gives the task passages, but "
            "evalkit/data/layouts.py (PASSAGES) names none of this layout; without it their documents would count as "
            "independent",
        ),
        ({**ENTRY, "row": 1}, "configs/datasets.yaml:6: boolq: unknown key 'row'; did you mean 'rows'?"),
        ({k: v for k, v in ENTRY.items() if k != "split"}, "configs/datasets.yaml:1: boolq: missing key 'split'"),
        (
            {**ENTRY, "hub": {"repositry": "x"}},
            "configs/datasets.yaml:4: boolq: hub: unknown key 'repositry'; did you mean 'repository'?",
        ),
        ({**ENTRY, "hub": {"config": "x"}}, "configs/datasets.yaml:3: boolq: hub: missing key 'repository'"),
    ],
)
def test_a_mistake_in_the_manifest_is_named(tmp_path: Path, entry: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_manifest(manifest_file(tmp_path, entry))
    assert str(caught.value) == message


def test_an_unknown_data_set_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match="no data set 'bolq'; did you mean 'boolq'"):
        find_dataset("bolq")


def test_sources_are_words_or_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("hub", "openmind", "samples"):
        assert parse_source(word) == DataSource(word)  # type: ignore[arg-type]
        assert str(parse_source(word)) == word
    assert parse_source(str(tmp_path)) == DataSource("folder", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert parse_source("data") == DataSource("folder", tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(parse_source("~/data")) == str(tmp_path / "data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smaples", "--data smaples: no such folder; did you mean 'samples'? (known words: hub, openmind, samples)"),
        ("/no/where", "--data /no/where: no such folder (known words: hub, openmind, samples)"),
        ("", "--data: empty; give hub, openmind, samples or a folder"),
    ],
)
def test_a_source_that_is_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source(text)
    assert str(caught.value) == message


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.touch()
    with pytest.raises(ConfigError, match="no such folder"):
        parse_source(str(path))


def test_later_sources_win_and_a_suite_may_have_its_own(tmp_path: Path) -> None:
    folder = DataSource("folder", tmp_path)
    assert resolve_sources(["hub", f"agieval={tmp_path}"], SUITES, SUITES) == {
        "gpt4all": DataSource("hub"),
        "agieval": folder,
        "bigbench": DataSource("hub"),
    }
    assert resolve_sources([f"agieval={tmp_path}", "hub"], SUITES, SUITES)["agieval"] == DataSource("hub")
    assert resolve_sources(["agieval=hub"], SUITES, ["agieval"]) == {"agieval": DataSource("hub")}


def test_a_folder_with_an_equals_sign_is_no_suite(tmp_path: Path) -> None:
    folder = tmp_path / "run=3"
    folder.mkdir()
    assert resolve_sources([str(folder)], SUITES, ["agieval"]) == {"agieval": DataSource("folder", folder)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["agieva=hub"], "--data agieva=hub: unknown suite 'agieva'; did you mean 'agieval'?"),
        (
            ["agieval=hub"],
            "no data source for gpt4all, bigbench; add --data gpt4all=FOLDER, or --data SOURCE for all suites",
        ),
        (["agieval="], "--data: empty; give hub, openmind, samples or a folder"),
    ],
)
def test_sources_that_do_not_resolve(values: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_sources(values, SUITES, SUITES)
    assert str(caught.value) == message


@given(st.lists(st.tuples(st.sampled_from([None, *SUITES]), st.sampled_from(["hub", "openmind", "samples"]))))
def test_the_last_word_on_a_suite_counts(values: list[tuple[str | None, str]]) -> None:
    """Oracle: for each suite, search the flags from the end."""
    texts = [word if suite is None else f"{suite}={word}" for suite, word in values]
    expected = {
        suite: next((word for named, word in reversed(values) if named in (None, suite)), None) for suite in SUITES
    }
    if None in expected.values():
        with pytest.raises(ConfigError, match="no data source"):
            resolve_sources(texts, SUITES, SUITES)
    else:
        found = {suite: source.kind for suite, source in resolve_sources(texts, SUITES, SUITES).items()}
        assert found == expected


def test_recorded_requests_are_those_of_the_oracle(shared: Path) -> None:
    oracle = json.loads((shared / "oracle" / "requests.json").read_text(encoding="utf-8"))
    from evalkit.paths import configs_dir

    recorded = yaml.safe_load((configs_dir() / "protocols" / "nous-2023.yaml").read_text(encoding="utf-8"))["tasks"]
    for task, figures in oracle.items():
        assert recorded[task]["sha256"] == figures["sha256"], task
        assert recorded[task]["requests"] == figures["n_requests"], task
        assert recorded[task]["scores"] == figures["res"], task


def test_suites_are_known_to_the_manifest() -> None:
    assert {entry.suite for entry in load_manifest().values()} == set(load_suites())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (("suite",), "nope", "suite: unknown suite 'nope'"),
        (("suite",), "agieval", "suite: 'agieval', but the task is one of gpt4all"),
        (("sha256",), "zz", "sha256: expected 64 hexadecimal digits in small letters, found 'zz'"),
        (("sha256",), "", "sha256: expected 64 hexadecimal digits"),
        (("sha256",), "A" * 64, "sha256: expected 64 hexadecimal digits in small letters"),
        (("file",), "../../etc/passwd", "file: expected a path inside a folder of data"),
        (("file",), "/etc/passwd", "file: expected a path inside a folder of data"),
        (("file",), "", "file: expected a path inside a folder of data"),
        (("split",), "", "split: is empty"),
        (("hub", "repository"), " ", "hub: repository: is empty"),
        (("hub", "config"), "", "hub: config: is empty"),
        (("hub", "revision"), "", "hub: revision: is empty"),
        (("hub", "sha256"), "12", "hub: sha256: expected 64 hexadecimal digits"),
    ],
)
def test_an_entry_that_cannot_be_is_named_with_its_line(
    tmp_path: Path, key: tuple[str, ...], value: str, message: str
) -> None:
    entry = {
        "suite": "gpt4all",
        "layout": "boolq",
        "file": "gpt4all/boolq/validation.jsonl",
        "split": "validation",
        "rows": 3270,
        "sha256": "d" * 64,
        "hub": {"repository": "aps/super_glue", "config": "boolq"},
        "openmind": None,
    }
    place = entry
    for step in key[:-1]:
        place = place[step]  # type: ignore[assignment]
    place[key[-1]] = value
    file = tmp_path / "datasets.yaml"
    file.write_text(yaml.safe_dump({"boolq": entry}, sort_keys=False))
    with pytest.raises(ConfigError) as refused:
        load_manifest(file)
    line = 1 + next(
        n
        for n, text in enumerate(file.read_text().splitlines())
        if text.strip().startswith(key[-1] + ":") and (len(key) == 1 or text.startswith("    "))
    )
    assert str(refused.value).startswith(f"configs/datasets.yaml:{line}: boolq: {message}")
