"""Fixtures of all tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

# How long an example takes says something about the machine, nothing about the code.
settings.register_profile("evalkit", deadline=None)
# For the other Pythons: what differs between versions shows in few examples.
settings.register_profile("few", deadline=None, max_examples=10)
settings.load_profile(os.environ.get("EVALKIT_HYPOTHESIS_PROFILE", "evalkit"))

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("EVALKIT_SHARED", REPOSITORY.parent / "shared"))

# What changes where documents come from; a developer's own settings must not decide over a test.
DATA_VARIABLES = ("EVALKIT_DATA", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")

# Workers share the processors; torch would start as many threads in each as there are.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_LIGHT = importlib.util.find_spec("torch") is None or importlib.util.find_spec("lm_eval") is None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Where torch or lm-eval is not installed, leave out what may import them: all that is not marked torch_free."""
    if not _LIGHT:
        return None
    modules = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return None if any("torch_free" in module.read_text(encoding="utf-8") for module in modules) else True


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material."""
    if not SHARED.is_dir():
        pytest.skip(f"the reference material is not at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DATA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    # Documents are kept for a process's life; a test that rewrites a file must see it.
    documents = sys.modules.get("evalkit.tasks.documents")
    if documents is not None:
        documents.load.cache_clear()


# Patches entries of the manifest: {"boolq": {"rows": 3}}.
PatchManifest = Callable[[dict[str, dict[str, Any]]], None]


@pytest.fixture
def patch_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PatchManifest:
    """A function that gives entries of ``configs/datasets.yaml`` other values, in this process."""
    from evalkit.data import manifest

    path = manifest.configs_dir() / "datasets.yaml"
    folder = tmp_path / "patched-configs"

    def patch(changes: dict[str, dict[str, Any]]) -> None:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, change in changes.items():
            entries[name].update(change)
        folder.mkdir(exist_ok=True)
        (folder / "datasets.yaml").write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")
        manifest._load.cache_clear()
        monkeypatch.setattr(manifest, "configs_dir", lambda: folder)

    yield patch  # type: ignore[misc]
    manifest._load.cache_clear()


@pytest.fixture
def data_folder(tmp_path: Path, patch_manifest: PatchManifest) -> Path:
    """A local folder that counts as complete and published: the built-in samples under a manifest that fits them."""
    from evalkit.data import load_manifest
    from evalkit.data.layouts import content_sha256, normal
    from evalkit.data.reading import read_bigbench, read_jsonl
    from evalkit.paths import SAMPLES

    folder = tmp_path / "data"
    shutil.copytree(SAMPLES, folder)
    changes = {}
    for name, entry in load_manifest().items():
        path = folder / entry.file
        found = read_bigbench(path) if path.suffix == ".json" else read_jsonl(path)
        sha256 = content_sha256(normal(entry.layout, document) for _, document in found)
        changes[name] = {"rows": len(found), "sha256": sha256}
    patch_manifest(changes)
    return folder
