"""What keeping results costs: time spent in the ledger and its journal, as a share of the tiny model's run.

    python benchmarks/journal.py [--data FOLDER] [--limit N] [--json FILE]

The run is `evalkit run` itself. The clock runs in `Ledger.score` and `Ledger.generate`, and stops while the scorer
plans, packs are computed or texts are generated. What remains is the cost: keys of requests, JSON, checksums, writes,
waiting for fdatasync. Then the run is read again, which is what a resumed run does first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.evaluation.run import run
from evalkit.store import journal
from evalkit.store.ledger import Ledger
from evalkit.store.sections import read_sections

TARGET = 0.03


class Clock:
    """Seconds in the ledger, less those in the model."""

    def __init__(self) -> None:
        self.ledger = 0.0
        self.model = 0.0

    def timed_model(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Count a call as the model's."""

        def call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.model += time.perf_counter() - started

        return call


class TimedScorer:
    """A scorer whose work is counted as the model's."""

    def __init__(self, scorer: Any, clock: Clock) -> None:
        self._scorer, self._clock = scorer, clock
        self.name, self.max_length, self.device = scorer.name, scorer.max_length, scorer.device
        self.rows, self.plan = clock.timed_model(scorer.rows), clock.timed_model(scorer.plan)

    def launch(self, *arguments: Any) -> Callable[[], Any]:
        """See `evalkit.scoring.packs.Scorer`."""
        return self._clock.timed_model(self._clock.timed_model(self._scorer.launch)(*arguments))


def install(clock: Clock) -> None:
    """Time every ledger of this process."""
    score, generate = Ledger.score, Ledger.generate

    def timed_score(self: Ledger, requests: Any, scorer: Any, documents: Any) -> Any:
        started = time.perf_counter()
        scores = score(self, requests, TimedScorer(scorer, clock), documents)
        clock.ledger += time.perf_counter() - started
        return scores

    def timed_generate(self: Ledger, prompts: Any, plan: Any, stream: Any, documents: Any) -> Any:
        def timed_stream(batches: Any) -> Iterator[Any]:
            made = stream(batches)
            yield from iter(lambda: clock.timed_model(next)(made, None), None)

        started = time.perf_counter()
        texts = generate(self, prompts, plan, timed_stream, documents)
        clock.ledger += time.perf_counter() - started
        return texts

    Ledger.score = timed_score  # type: ignore[method-assign]
    Ledger.generate = timed_generate  # type: ignore[method-assign]


def main() -> None:
    """Print one line of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data", help="folder of the data sets, or samples")
    parser.add_argument("--limit", type=int, help="first N documents of each task")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    clock = Clock()
    install(clock)
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(
            model=ModelConfig(name="tiny"),
            data=(options.data,),
            limit=options.limit,
            output=folder,
            fresh=True,
            isolation="best",
        )
        started = time.perf_counter()
        finished = run(config, ["benchmarks/journal.py"])
        seconds = time.perf_counter() - started
        path = finished.record.folder / "journal.jsonl"
        started = time.perf_counter()
        contents = journal.read(path)
        sections = read_sections(contents.records, path)
        read_seconds = time.perf_counter() - started
        size = path.stat().st_size
    cost = clock.ledger - clock.model
    requests = sum(section.requests for section in sections)
    figures = {
        "run_seconds": seconds,
        "ledger_seconds": cost,
        "overhead": cost / seconds,
        "overhead_of_model_time": cost / clock.model,
        "requests": requests,
        "records": len(contents.records),
        "requests_per_second": requests / cost,
        "journal_bytes": size,
        "read_seconds": read_seconds,
        "target": TARGET,
    }
    print(
        f"journal: {cost:.2f} s of {seconds:.1f} s = {cost / seconds:.2%} (target < {TARGET:.0%}); "
        f"{requests:,} requests in {len(contents.records):,} records, {requests / cost:,.0f} requests a second, "
        f"{size / 1e6:.1f} MB, read again in {read_seconds:.2f} s"
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
