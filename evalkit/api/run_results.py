"""What `evalkit.run` and `evalkit.read_run` return: a record that shows itself and becomes a frame, and a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.config.suites import find_task, load_suites
from evalkit.errors import StoreError
from evalkit.records.model import SAMPLES_FILE, RunRecord
from evalkit.records.samples import Sample

if TYPE_CHECKING:
    import pandas as pd


class Run(RunRecord, frozen=True, kw_only=True):
    """A run: the whole record (see docs/results.md), its report and its scores.

    ``metrics[task][metric]`` holds value and stderr as fractions, as run.json does.
    """

    @classmethod
    def of(cls, record: RunRecord) -> Run:
        """Return a record as a Run."""
        of_record = {name: getattr(record, name) for name in RunRecord.__struct_fields__}
        return cls(**of_record | {"folder": record.folder.absolute()})  # a notebook may change its folder

    def __repr__(self) -> str:
        return f"<evalkit.Run of {self.model.name}: {len(self.metrics)} tasks, in {self.folder}>"

    @property
    def report(self) -> str:
        """The report, Markdown: report.md."""
        from evalkit.report.run_report import run_report

        return run_report(self)

    def _repr_markdown_(self) -> str:
        return self.report

    def samples(self) -> list[Sample]:
        """Read the documents with their answers and scores, in the data's order; of an unfinished run those there are.

        Raises:
            StoreError: they are missing or damaged.
        """
        if self.partial is not None:
            from evalkit.evaluation.partial import partial_run

            return list(partial_run(self.folder)[1])
        from evalkit.results.reading import read_samples

        return list(read_samples(self.folder))

    def to_frame(self) -> pd.DataFrame:
        """Return the scores in per cent: a row a task and metric, then the suites and their average.

        Columns: kind (task, suite or average), name, metric, value, stderr, low and high (ends of the 95 % interval,
        of headline metrics), documents, failed (a count; such a task has no score), partial (whether the run is
        unfinished, so that no number is a result; suites are left out then).

        Raises:
            StoreError: the run's documents, of which suites and intervals are made, are not there any more.
        """
        from evalkit.comparison.points import Point, points_of_run, read_data
        from evalkit.results.reading import has_samples
        from evalkit.tables import to_frame

        columns: dict[str, type] = {"kind": str, "name": str, "metric": str}
        columns |= dict.fromkeys(("value", "stderr", "low", "high"), float) | {"documents": int, "failed": int}
        columns["partial"] = bool
        unfinished = self.partial is not None
        has_documents = not unfinished and has_samples(self)
        if not has_documents and not unfinished and self.foreign is None:
            raise StoreError(f"{self.folder / SAMPLES_FILE}: not there, and suites and intervals are made of it")
        scores = points_of_run(read_data(self)) if has_documents else None
        rows: list[tuple[object, ...]] = []
        for task, of_task in self.metrics.items():
            for metric, found in of_task.items():
                value, stderr = (None if x is None else 100 * x for x in (found.value, found.stderr))
                point = scores.tasks.get(task) if scores and metric == find_task(task).headline else None
                ends = (point.low, point.high) if point else (None, None)
                rows.append(("task", task, metric, value, stderr, *ends, found.n, found.failed, unfinished))
        if scores is not None:
            whole: list[tuple[str, str, Point | None]] = [("suite", name, p) for name, p in scores.suites.items()]
            for kind, name, point in [*whole, ("average", "average", scores.average)]:
                if point is not None:
                    tasks = load_suites()[name].tasks if kind == "suite" else ()
                    known = [m for t in tasks if (m := self.metrics.get(t.name, {}).get(t.headline))]
                    counts = (sum(m.n for m in known), sum(m.failed for m in known)) if known else (None, None)
                    numbers = (point.value, point.stderr, point.low, point.high, *counts)
                    rows.append((kind, name, "average", *numbers, unfinished))
        return to_frame(columns, rows)


@dataclass(frozen=True)
class Plan:
    """What a run would do: the result of ``run(..., dry_run=True)``.

    Attributes:
        report: requests, tokens and estimated time, Markdown.
    """

    report: str

    def _repr_markdown_(self) -> str:
        return self.report
