"""Verdicts of a check under way, in a file beside the results: a check that is stopped or killed loses none of them.

The file's name has a digest of what is checked and how, so the same command finds it, and another one leaves it alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from evalkit import __version__
from evalkit.errors import StoreError
from evalkit.sandbox.verdict import Problem, Verdict
from evalkit.store.files import is_locked
from evalkit.store.journal import Journal

SYNC_SECONDS = 1.0
"""A killed process loses nothing; a power failure loses the verdicts of so many seconds."""


class UnfinishedCheck:
    """The verdicts so far, by the sample's place. Mutable: grows with each verdict.

    Args:
        output: where the results will go; the file lies beside it.
        asked: what is checked, in order.
        settings: what else a verdict depends on, JSON values.

    Attributes:
        path: the file.
        verdicts: what is there. A sample that could not be judged is not: it is tried again.
        begun: how often each sample was in work.
        tried: attempts that were no verdict yet, by sample and reason (``outcomes.KEPT``).

    Raises:
        StoreError: the folder cannot be written, the disk is full, or another process checks the same, or other
            samples with results in the same place.
    """

    def __init__(self, output: Path, asked: Sequence[tuple[Problem, str]], settings: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps([__version__, settings], sort_keys=True).encode())
        for problem, completion in asked:
            fields = [problem.task_id, problem.prompt, problem.test, problem.entry_point, completion]
            digest.update(json.dumps(fields).encode())
        self.path = output.with_name(f"{output.name}.{digest.hexdigest()[:12]}.unfinished")
        if output.exists() and not output.is_file():
            raise StoreError(f"{output}: not an ordinary file; name another place with --output")
        self.verdicts: dict[int, Verdict] = {}
        self.begun: Counter[int] = Counter()
        self.tried: dict[int, Counter[str]] = {}
        self._synced = time.monotonic()
        if self.path.exists() and self.path.stat().st_size == 0:
            self.path.unlink()  # killed before its first line
        if self.path.exists():
            try:
                self._journal, records = Journal.open_(self.path)
            except StoreError as error:
                if "another process" not in str(error):
                    raise
                raise StoreError(
                    f"{self.path}: another process is checking the same samples; wait until it has ended, or name "
                    "another place with --output"
                ) from None
            for record in records:
                place = int(record["sample"])
                if record["kind"] != "verdict":
                    self._count(place, str(record["what"]))
                    continue
                verdict = Verdict(**record["verdict"])
                if verdict.label != "harness error":
                    self.verdicts[place] = verdict
                else:
                    self.tried.pop(place, None)  # tried anew, not once more
        else:
            try:
                self._journal = Journal.create(self.path, {"samples": len(asked), "settings": dict(settings)})
            except StoreError as error:
                raise StoreError(f"--output {output}: no place for verdicts beside it: {error}") from None
        if (other := self._other_at_work(output)) is not None:
            self.__exit__(None, None, None)
            raise StoreError(
                f"--output {output}: another process is checking other samples, whose results go there ({other.name}); "
                "wait until it has ended, or name another place with --output"
            )

    def _other_at_work(self, output: Path) -> Path | None:
        """Return the file of another check with this output whose process lives: it holds the lock of its file."""
        for path in output.absolute().parent.iterdir():
            is_one = path.name.startswith(f"{output.name}.") and path.suffix == ".unfinished"
            if is_one and path.name != self.path.name and is_locked(path):
                return path
        return None

    def add(self, place: int, verdict: Verdict) -> None:
        """Write one verdict; it is in the file when this returns.

        Raises:
            StoreError: the disk is full or failed.
        """
        now = time.monotonic()
        is_due = now - self._synced >= SYNC_SECONDS
        self._journal.append({"kind": "verdict", "sample": place, "verdict": verdict._asdict()}, sync=is_due)
        if is_due:
            self._synced = now
        self.verdicts[place] = verdict

    def todo(self, samples: int) -> list[int]:
        """Places without a verdict in the order to check them: what was in work when a check was stopped goes last, or
        a few samples that take long would keep all others from their turn for as long as it is stopped again."""
        return sorted(
            (p for p in range(samples) if p not in self.verdicts), key=lambda place: (self.begun[place], place)
        )

    def note(self, place: int, what: str) -> None:
        """Write that a sample is in work ("begun"), or how an attempt ended (a reason).

        Raises:
            StoreError: the disk is full or failed.
        """
        self._journal.append({"kind": "work", "sample": place, "what": what}, sync=False)
        self._count(place, what)

    def _count(self, place: int, what: str) -> None:
        if what == "begun":
            self.begun[place] += 1
        else:
            self.tried.setdefault(place, Counter())[what] += 1

    @property
    def judged(self) -> int:
        """How many verdicts are there, without those of samples that could not be judged."""
        return sum(verdict.label != "harness error" for verdict in self.verdicts.values())

    def remove(self) -> None:
        """Remove the file: the results are written."""
        self._journal.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> UnfinishedCheck:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.verdicts or self.begun:
            self._journal.close()
        else:  # no sample was begun: the check did not start
            self.remove()
