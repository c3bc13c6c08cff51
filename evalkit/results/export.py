"""Finished runs as tables for other programs: Parquet, SQLite or CSV. The record stays run.json and samples.jsonl."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from evalkit.errors import ConfigError, StoreError
from evalkit.records.model import RunRecord
from evalkit.replacing import refuse_to_replace
from evalkit.results.reading import read_run, read_samples
from evalkit.results.writing import evalkit_part
from evalkit.store import files

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = {"parquet": ".parquet", "sqlite": ".sqlite", "csv": ".csv"}
# Lists and mappings have no column type that all three formats share; they are JSON text.
JSON_COLUMNS = (
    "target",
    "context",
    "continuations",
    "logprobs",
    "greedy",
    "generated",
    "details",
    "picked",
    "gold",
    "characters",
)


def export_runs(runs: Sequence[Path], kind: str, table: str, output: Path | None = None) -> tuple[Path, int]:
    """Write runs to one file.

    Args:
        runs: folders of finished runs.
        kind: ``parquet``, ``csv`` (one table), or ``sqlite`` (all tables).
        table: ``samples``, ``metrics`` or ``runs``; sqlite takes it for the number of rows that is returned only.
        output: file; by default ``<table>.<kind>``, or ``evalkit.sqlite``, in the current folder.

    Returns:
        The file, and the number of rows of the table.

    Raises:
        ConfigError: the file is there and no such table.
        StoreError: a run is unfinished or damaged, or the file cannot be written.
    """
    path = output or Path(("evalkit" if kind == "sqlite" else table) + SUFFIXES[kind])
    refuse_to_replace("--output", path, runs, "an exported table")
    records = [read_run(folder) for folder in runs]
    makers: dict[str, Callable[[Sequence[RunRecord]], pd.DataFrame]] = {
        "samples": sample_table,
        "metrics": metric_table,
        "runs": run_table,
    }
    wanted = list(makers) if kind == "sqlite" else [table]
    frames = {name: makers[name](records) for name in wanted}
    try:
        with files.replacing(path) as temporary:
            if kind == "sqlite":
                with closing(sqlite3.connect(temporary)) as connection:
                    for name, frame in frames.items():
                        frame.to_sql(name, connection, index=False)
            elif kind == "csv":
                frames[table].to_csv(temporary, index=False)
            else:
                frames[table].to_parquet(temporary, index=False)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = files.remedy(error) if isinstance(error, OSError) else "choose another --output"
        raise StoreError(f"{path}: cannot be written ({reason}); {hint}") from None
    except ImportError:
        raise StoreError("Parquet needs pyarrow; install it, or use --format csv or sqlite") from None
    return path, len(frames[table])


def sample_table(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return a row a document: run, task, answers, and a column for each metric (empty where the task lacks it)."""
    rows: list[dict[str, Any]] = []
    for record in records:
        for sample in read_samples(record.folder):
            values = to_builtins(sample)
            metrics = values.pop("metrics")
            values |= {name: json.dumps(values[name], ensure_ascii=False) for name in JSON_COLUMNS}
            rows.append({"run": _name(record), "model": record.model.name, **values, **metrics})
    return _frame(rows)


def metric_table(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return a row a metric: run, model, task, metric, value, stderr, n, failed."""
    rows = [
        {
            "run": _name(record),
            "model": record.model.name,
            "task": task,
            "metric": metric,
            **to_builtins(value),
        }
        for record in records
        for task, of_task in record.metrics.items()
        for metric, value in of_task.items()
    ]
    # Numbers with gaps: where every score is refused, pandas would otherwise make a column of objects.
    metrics: pd.DataFrame = _frame(rows).astype({"value": "float64", "stderr": "float64"})
    return metrics


def run_table(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return a row a run: what was run, on what; ``record`` is evalkit's whole part of run.json as text."""
    rows = [
        {
            "run": _name(record),
            "folder": str(record.folder),
            "model": record.model.name,
            "protocol": record.protocol,
            "started": record.started,
            "duration_seconds": record.duration_seconds,
            "device": record.model.device,
            "dtype": record.model.dtype,
            "model_fingerprint": record.model.model_fingerprint,
            "limit": record.config.limit,
            "record": json.dumps(evalkit_part(record) | _foreign(record), ensure_ascii=False),
        }
        for record in records
    ]
    return _frame(rows)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError:
        raise ConfigError("results export needs pandas, which is not installed here: pip install pandas") from None
    frame: pd.DataFrame = pd.DataFrame(rows)
    return frame


def _foreign(record: RunRecord) -> dict[str, Any]:
    return {} if record.foreign is None else {"foreign": to_builtins(record.foreign)}


def _name(record: RunRecord) -> str:
    """Return ``<model>/<time>``, as the folders are called."""
    folder = record.folder.resolve()
    return f"{folder.parent.name}/{folder.name}"
