"""A look at an unfinished run: the metrics of those documents whose requests are all answered in the journal.

The model is not loaded. lm-eval builds the requests again, and the journal answers in the model's place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from evalkit.config import RunConfig
from evalkit.data import LoadedData, resolve_sources
from evalkit.errors import StoreError
from evalkit.evaluated import evaluate_tasks, sample_of
from evalkit.results import RunRecord, Sample, make_record
from evalkit.store import journal, runs
from evalkit.store.sections import SCORES, TEXTS, FailedText, Section, read_sections
from evalkit.suites import find_task, load_suites

# Its metric runs programs, which a look at a run should not; and its requests come last, so that the others' stay.
NOT_SHOWN = "humaneval"


class MissingText(str):
    """What lm-eval gets for a text that isn't there yet."""


class MissingScore(tuple[float, bool]):
    """What lm-eval gets for a score that isn't there yet."""


class JournalAnswers:
    """Answers lm-eval's requests from a journal.

    Args:
        sections: of the journal.
    """

    rank = 0
    world_size = 1
    tokenizer_name = ""

    def __init__(self, sections: Sequence[Section]) -> None:
        self._answers = {section.what: section.by_position() for section in sections}

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Return the stored scores; `MissingScore` for what is not there."""
        found = self._answers.get(SCORES, {})
        return [found.get(position, MissingScore((math.nan, False))) for position in range(len(requests))]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return the stored texts; `MissingText` for what is not there."""
        found = self._answers.get(TEXTS, {})
        texts = [found.get(position, MissingText()) for position in range(len(requests))]
        return [FailedText() if text is None else text for text in texts]


def partial_record(folder: Path) -> RunRecord:
    """Make the record of an unfinished run from what is there; nothing is written.

    Raises:
        StoreError: there is no journal, it is damaged, or the data have changed since.
        DataError, ConfigError: the run's documents cannot be read any more.
    """
    from evalkit.tasks.documents import load

    path = folder / runs.JOURNAL_FILE
    if not path.is_file():
        raise StoreError(f"{folder}: {runs.unfinished_text(folder)}")
    contents = journal.read(path)
    if contents.header is None:
        raise StoreError(f"{folder}: nothing is computed yet; give the run's command again")
    identity, sections = contents.header["identity"], read_sections(contents.records, path)
    config = _config(contents.header["asked"])
    names = [name for name in identity["settings"]["tasks"] if find_task(name).suite != NOT_SHOWN]
    sources = resolve_sources(config.data_sources(), load_suites(), sorted({find_task(name).suite for name in names}))
    data = {name: load(name, sources[find_task(name).suite]) for name in names}
    changed = [name for name, loaded in data.items() if loaded.sha256 != identity["data"][name]["sha256"]]
    if changed:
        raise StoreError(f"{folder}: the documents of {', '.join(changed)} have changed since the run was begun")

    evaluated = evaluate_tasks(config, names, sources, JournalAnswers(sections))
    logged = evaluated.pop("samples")
    samples = [
        sample_of(name, entry, data[name].dataset.layout, {}, frozenset())
        for name in names
        for entry in sorted(logged[name], key=lambda entry: int(entry["doc_id"]))
        if _is_complete(entry)
    ]
    evalkit = _description(folder, contents.header, config, data, samples)
    evalkit["partial"]["there"] = runs.progress_text(sections)
    return make_record(folder, evalkit, evaluated, samples)


def _config(asked: Mapping[str, Any]) -> RunConfig:
    known = {field.name for field in fields(RunConfig)}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in asked.items() if k in known}
    # Rendering a chat template needs the tokenizer; the metrics do not depend on it.
    return RunConfig(**(values | {"apply_chat_template": False, "system": None}))


def _is_complete(entry: Mapping[str, Any]) -> bool:
    answers = [answer for response in entry["resps"] for answer in response]
    return not any(isinstance(answer, (MissingScore, MissingText)) for answer in answers)


def _description(
    folder: Path,
    header: Mapping[str, Any],
    config: RunConfig,
    data: Mapping[str, LoadedData],
    samples: Sequence[Sample],
) -> dict[str, Any]:
    """Return the record's entries, as far as the journal knows them."""
    identity, asked = header["identity"], header["asked"]
    sessions = runs.read_sessions(folder)
    versions = {name: version for name, version in identity["versions"].items() if version is not None}
    counted = {name: sum(sample.task == name for sample in samples) for name in data}
    return {
        "protocol": identity["protocol"]["name"],
        "started": sessions[0]["started"] if sessions else "unknown",
        "duration_seconds": None,
        "config": asked,
        "model": {
            "name": asked["model"],
            "device": identity["device"]["kind"],
            "device_name": identity["device"]["name"],
            "dtype": identity["dtype"],
            "loader": identity["model"]["loader"],
        },
        "scorer": header["work"]["scorer"],
        "data": {name: loaded.describe() for name, loaded in data.items()},
        "environment": {"versions": {"evalkit": identity["code"]["evalkit"], **versions}},
        "identity": identity,
        "sessions": sessions,
        "partial": {
            "documents": {
                name: [counted[name], min(len(loaded.documents), config.limit or len(loaded.documents))]
                for name, loaded in data.items()
            }
        },
    }
