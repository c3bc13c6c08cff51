"""Exports hold what the records hold, in all three formats."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from evalkit.errors import StoreError
from evalkit.results.export import export_runs
from tests.support.records import write_record

pytestmark = pytest.mark.torch_free


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "m" / name for name in ("t1", "t2")]
    for folder in folders:
        write_record(folder, {"boolq": {"acc": [1.0, 0.0]}, "piqa": {"acc": [1.0, None], "acc_norm": [0.0, 1.0]}})
    return folders


def test_csv(runs: list[Path], tmp_path: Path) -> None:
    path, rows = export_runs(runs, "csv", "samples", tmp_path / "x.csv")
    table = pd.read_csv(path)
    assert rows == len(table) == 8
    assert list(table["run"].unique()) == ["m/t1", "m/t2"]
    assert json.loads(table["continuations"][0]) == [" a"]
    assert math.isnan(table["acc_norm"][0])
    assert math.isnan(table["acc"][3])


def test_parquet(runs: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    path, _ = export_runs(runs, "parquet", "metrics", tmp_path / "x.parquet")
    table = pd.read_parquet(path)
    assert list(table.columns) == ["run", "model", "task", "metric", "value", "stderr", "n", "failed"]
    refused = table[(table["task"] == "piqa") & (table["metric"] == "acc")]
    assert refused["value"].isna().all()
    assert list(refused["failed"]) == [1, 1]


def test_sqlite_holds_all_tables(runs: list[Path], tmp_path: Path) -> None:
    path, rows = export_runs(runs, "sqlite", "runs", tmp_path / "x.sqlite")
    assert rows == 2
    with closing(sqlite3.connect(path)) as connection:
        counts = {
            name: connection.execute(f"select count(*) from {name}").fetchone()[0]
            for name in ("samples", "metrics", "runs")
        }
        record = json.loads(connection.execute("select record from runs").fetchone()[0])
    assert counts == {"samples": 8, "metrics": 6, "runs": 2}
    assert record["protocol"] == "nous-2023"


def test_an_export_replaces_the_last_one(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        path, _ = export_runs(runs[:1], "sqlite", "samples")
    assert path == Path("evalkit.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select count(*) from runs").fetchone()[0] == 1


def test_what_cannot_be_exported(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run here"):
        export_runs([tmp_path], "csv", "samples")
    for kind in ("csv", "sqlite"):
        with pytest.raises(StoreError, match="cannot be written"):
            export_runs(runs, kind, "samples", tmp_path / "absent" / "x")
