"""Data from hubs: `datasets` against a hub on the loopback interface, and the openMind hub's client replaced by a fake.

The Hugging Face client reads HF_ENDPOINT when it is imported, so each case runs in a process of its own.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.data import DataSource, load_documents
from evalkit.data.manifest import find_dataset
from evalkit.errors import DataError
from evalkit.paths import SAMPLES
from tests.support.loopback_hub import serving

NAMES = ("arc_easy", "boolq", "piqa", "hellaswag", "truthfulqa_mc", "agieval_aqua_rat", "winogrande", "humaneval")

# Loads data sets under a manifest that expects as many rows as the samples have (or as told), and prints them.
LOAD = """
import json, msgspec, sys
from evalkit.data import DataSource, load_documents
from evalkit.data.manifest import find_dataset
from evalkit.errors import DataError
answers = {}
for name, rows in json.loads(sys.argv[1]).items():
    try:
        loaded = load_documents(msgspec.structs.replace(find_dataset(name), rows=rows), DataSource("hub"))
        answers[name] = [loaded.location, loaded.verdict, loaded.documents]
    except DataError as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""


def sample_rows(name: str) -> list[dict[str, Any]]:
    text = (SAMPLES / find_dataset(name).file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.rstrip("\n").split("\n")]


def repository(name: str) -> tuple[str, dict[str, bytes]]:
    """A hub's repository with the samples of a data set: parquet files, named classes where the real one has them."""
    import datasets

    entry = find_dataset(name)
    assert entry.hub is not None
    rows = sample_rows(name)
    table = datasets.Dataset.from_list(rows)
    if name in ("boolq", "piqa"):
        table = table.cast_column("label", datasets.ClassLabel(names=["first", "second"]))
    content = io.BytesIO()
    table.to_parquet(content)
    folder = entry.hub.config or "data"
    card = {"configs": [{"config_name": entry.hub.config or "default", "data_files": []}]}
    card["configs"][0]["data_files"] = [{"split": entry.split, "path": f"{folder}/{entry.split}-*"}]
    return entry.hub.repository, {
        "README.md": f"---\n{json.dumps(card)}\n---\n".encode(),
        f"{folder}/{entry.split}-00000-of-00001.parquet": content.getvalue(),
    }


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a process whose hub is ours; repositories of `NAMES`."""
    import datasets

    datasets.disable_progress_bars()
    with serving(dict(repository(name) for name in NAMES)) as address:
        yield {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path_factory.mktemp("hf-home"))}


def load(environment: dict[str, str], rows: dict[str, int]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(rows)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


@pytest.mark.slow
def test_documents_come_from_the_hub_then_from_its_cache(hub: dict[str, str]) -> None:
    wanted = {name: len(sample_rows(name)) for name in NAMES}
    offline = {**hub, "HF_HUB_OFFLINE": "1"}
    for environment in (hub, offline):
        for name, (location, verdict, documents) in load(environment, wanted).items():
            entry = find_dataset(name)
            assert entry.hub is not None
            assert documents == sample_rows(name)
            assert verdict == "other"
            config = f" ({entry.hub.config})" if entry.hub.config else ""
            assert location == f"hub: {entry.hub.repository}{config}, {entry.split}"


@pytest.mark.slow
def test_what_the_hub_does_not_deliver_is_one_line_with_the_remedy(hub: dict[str, str], tmp_path: Path) -> None:
    answers = load({**hub, "HF_HOME": str(tmp_path)}, {"openbookqa": 10, "boolq": 11, "arc_challenge": 10})
    remedy = "; set HF_ENDPOINT to a mirror, or give a local folder with --data FOLDER (layout: docs/data.md)"
    # No such repository, and one that has another configuration only.
    for name, repository_name in (("openbookqa", "allenai/openbookqa (main)"), ("arc_challenge", "allenai/ai2_arc")):
        assert answers[name].startswith(f"hub: {repository_name}")
        assert ": cannot be loaded: " in answers[name]
        assert answers[name].endswith(remedy)
        assert "\n" not in answers[name]
    assert answers["boolq"].startswith("hub: aps/super_glue (boolq), validation: 10 rows, expected 11;")


@pytest.mark.slow
def test_offline_without_a_cached_copy_says_so(hub: dict[str, str], tmp_path: Path) -> None:
    answer = load({**hub, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}, {"boolq": 10})["boolq"]
    assert "cannot be loaded (HF_HUB_OFFLINE is set: only what is cached can be loaded): " in answer
    assert answer.endswith("--data FOLDER (layout: docs/data.md)")


def test_bigbench_is_not_on_the_hub() -> None:
    with pytest.raises(DataError, match=r"bigbench_snarks: not on the hub .* Take the 18 JSON files") as caught:
        load_documents(find_dataset("bigbench_snarks"), DataSource("hub"))
    assert "--data bigbench=FOLDER" in str(caught.value)


FAKE_HUB = """
ENDPOINT = "https://hub.example"
OM_HUB_CACHE = "/cache"
calls, answers = [], []
class OmHubHTTPError(OSError): pass
class GatedRepoError(OmHubHTTPError): pass
class RepositoryNotFoundError(OmHubHTTPError): pass
class RevisionNotFoundError(OmHubHTTPError): pass
class LocalEntryNotFoundError(FileNotFoundError, ValueError): pass
class OMValidationError(ValueError): pass
def snapshot_download(name, *, repo_type, revision, ignore_patterns, local_files_only):
    calls.append((name, repo_type, revision, local_files_only))
    answer = answers.pop(0)
    if isinstance(answer, Exception):
        raise answer
    return answer
"""


@pytest.fixture
def openmind_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the openMind hub that answers as told."""
    import importlib

    import datasets

    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "openmind_hub.py").write_text(FAKE_HUB)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "openmind_hub", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    yield importlib.import_module("openmind_hub")
    sys.modules.pop("openmind_hub", None)


def snapshot_of(name: str, folder: Path) -> Path:
    for path, content in repository(name)[1].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", ["arc_easy", "hellaswag", "truthfulqa_mc"])
def test_documents_come_from_the_openmind_hub(
    name: str, openmind_hub: Any, tmp_path: Path, patch_manifest: Any
) -> None:
    patch_manifest({name: {"rows": len(sample_rows(name))}})
    openmind_hub.answers.append(str(snapshot_of(name, tmp_path / "snapshot")))
    entry = find_dataset(name)
    assert entry.openmind is not None
    loaded = load_documents(entry, DataSource("openmind"))
    assert openmind_hub.calls == [(entry.openmind.repository, "dataset", "main", False)]
    assert loaded.documents == sample_rows(name)
    assert loaded.location.startswith(f"openMind hub: {entry.openmind.repository}")
    assert loaded.describe().source == "openmind"


def refused(name: str) -> str:
    with pytest.raises(DataError) as caught:
        load_documents(find_dataset(name), DataSource("openmind"))
    message = str(caught.value)
    assert "\n" not in message
    return message


HUB = "https://hub.example"
ELSEWHERE = "use --data hub, or give a local folder with --data FOLDER (layout: docs/data.md)"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("RepositoryNotFoundError", f"no such dataset on the openMind hub {HUB}; check the spelling, or {ELSEWHERE}"),
        ("OMValidationError", f"no such dataset on the openMind hub {HUB}; check the spelling, or {ELSEWHERE}"),
        ("GatedRepoError", "access to this openMind repository must be granted on its page"),
        ("RevisionNotFoundError", "the repository has no revision 'main'; check its branches"),
        ("OmHubHTTPError", f"download from the openMind hub {HUB} failed: OmHubHTTPError: text; {ELSEWHERE}"),
    ],
)
def test_refusals_of_the_openmind_hub(error: str, message: str, openmind_hub: Any) -> None:
    exception = getattr(openmind_hub, error)("text")
    exception.response = object()  # the hub did answer
    openmind_hub.answers.append(exception)
    assert refused("hellaswag").startswith(f"ILoveDataset/hellaswag: {message}")


def test_openmind_without_network_and_cache(openmind_hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = openmind_hub.LocalEntryNotFoundError("not cached")
    openmind_hub.answers.extend([OSError("refused"), absent])
    assert "not in the cache /cache, and the openMind hub https://hub.example cannot be reached" in refused("hellaswag")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    openmind_hub.answers.extend([absent, absent])
    assert "is not asked (HF_HUB_OFFLINE); use --data hub" in refused("hellaswag")


def test_an_openmind_repository_without_the_files(openmind_hub: Any, tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    openmind_hub.answers.append(str(tmp_path / "snapshot"))
    assert refused("hellaswag").startswith("openMind hub: ILoveDataset/hellaswag, validation: cannot be loaded: ")


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openmind_hub", None)
    message = refused("hellaswag")
    assert message.startswith("ILoveDataset/hellaswag: the openMind hub needs the package openmind-hub (")
    assert message.endswith(ELSEWHERE)


def test_a_client_that_does_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openmind_hub.py").write_text("raise ValueError('endpoint is not https')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openmind_hub", raising=False)
    assert "openmind_hub cannot be imported: ValueError: endpoint is not https; use --data hub" in refused("hellaswag")


def test_what_is_not_known_on_the_openmind_hub() -> None:
    assert refused("boolq") == (
        "boolq: not known on the openMind hub; add --data gpt4all=hub (HF_ENDPOINT may name a mirror), "
        "or give a local folder with --data FOLDER (layout: docs/data.md)"
    )
    message = refused("bigbench_snarks")
    assert message.startswith("bigbench_snarks: not known on the openMind hub; Take the 18 JSON files")
