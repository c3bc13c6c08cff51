"""A run whose record no reader would take is not finished: nothing it computed is lost, and the same call goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalkit.comparison.points import points_of_run, read_data
from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.errors import StoreError
from evalkit.evaluation import run as running
from evalkit.records.samples import Sample
from evalkit.results.reading import read_run, read_samples

pytestmark = [pytest.mark.model, pytest.mark.slow]

Spoil = Callable[[Sample], Sample]


def config(output: Path) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name="tiny"), task=("arc_easy", "truthfulqa_mc"), data=("samples",), limit=3,
        output=str(output),
    )  # fmt: skip


def above_1(sample: Sample) -> Sample:
    return replace(sample, logprobs=(0.5, *sample.logprobs[1:]))


def without_choice(sample: Sample) -> Sample:
    return replace(sample, picked=None)


def other_document(sample: Sample) -> Sample:
    return replace(sample, doc_id=sample.doc_id + 7)


def other_metrics(sample: Sample) -> Sample:
    return replace(sample, metrics={}, picked={}) if sample.doc_id else sample


def marked_cut(sample: Sample) -> Sample:
    return replace(sample, details={**sample.details, "cut": True})


def read_all(folder: Path) -> None:
    """Read a run in every way that there is."""
    record = read_run(folder)
    list(read_samples(folder))
    points_of_run(read_data(record))


@pytest.mark.parametrize("spoil", [above_1, without_choice, other_document, other_metrics, marked_cut])
def test_a_record_that_no_reader_would_take_is_not_written(
    spoil: Spoil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = running.samples_of

    def spoiled(*arguments: Any) -> Sequence[Sample]:
        return [spoil(sample) if sample.task == "arc_easy" else sample for sample in right(*arguments)]

    with monkeypatch.context() as patched:
        patched.setattr(running, "samples_of", spoiled)
        # The readers are the judge: what is written without the check is refused by one of them.
        patched.setattr(running, "check_finished_run", None)
        unchecked = running.run(config(tmp_path / "unchecked"), ["run"]).record
        assert unchecked is not None
        with pytest.raises(StoreError):
            read_all(unchecked.folder)

    with monkeypatch.context() as patched:
        patched.setattr(running, "samples_of", spoiled)
        with pytest.raises(
            StoreError, match=r"^\S+: not finished, since its record could not be read again: "
        ) as error:
            running.run(config(tmp_path / "out"), ["run"])
    assert "\n" not in str(error.value)
    (journal,) = (tmp_path / "out").glob("*/*/journal.jsonl")
    assert not (journal.parent / "run.json").exists()
    kept = journal.read_bytes()

    finished = running.run(config(tmp_path / "out"), ["run"]).record
    assert finished is not None
    assert finished.folder == journal.parent
    assert journal.read_bytes() == kept, "nothing was computed again"
    read_all(finished.folder)
