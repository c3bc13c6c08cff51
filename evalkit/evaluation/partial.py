"""A look at an unfinished run: the metrics of those documents whose requests are all answered in the journal.

The model is not loaded. The tasks build their requests again, and the journal answers in the model's place.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.answering import Mark, ScoreRequest, Scores, Session, TextRequest, Texts
from evalkit.config.options import build
from evalkit.config.run_config import RunConfig
from evalkit.config.suites import find_task, load_suites, with_programs
from evalkit.data import LoadedData, resolve_sources
from evalkit.errors import StoreError, some
from evalkit.evaluation.evaluated import sample_of
from evalkit.records.asked import Asked
from evalkit.records.facts import Environment, ModelFacts, ScorerFacts
from evalkit.records.identity import DeviceIdentity, Identity
from evalkit.records.model import Partial, RunFacts, RunRecord
from evalkit.records.samples import Sample
from evalkit.results.writing import make_record, part
from evalkit.store import journal, runs
from evalkit.store.identity import differences, protocol_of
from evalkit.store.sections import SCORES, TEXTS, Section, read_sections

_MISSING = object()


class JournalAnswers:
    """Answers requests from a journal, in place of the model that it is of.

    Args:
        sections: of the journal.
    """

    def __init__(self, sections: Sequence[Section]) -> None:
        self._sections = {section.what: section for section in sections}

    def scores(self, requests: Sequence[ScoreRequest], _session: Session) -> Scores:
        """Return the stored scores; what is not there is marked as missing."""
        found = self._answers(SCORES, requests)
        return Scores([(math.nan, False) if a is _MISSING else a for a in found], _missing(found))

    def texts(self, requests: Sequence[TextRequest], _session: Session) -> Texts:
        """Return the stored texts; what is not there is marked as missing."""
        found = self._answers(TEXTS, requests)
        return Texts([None if text is _MISSING else text for text in found], _missing(found))

    def _answers(self, what: str, requests: Sequence[ScoreRequest] | Sequence[TextRequest]) -> list[Any]:
        """Return the answer of each request, found by its task, its document and its number there."""
        section = self._sections.get(what)
        if section is None:
            return [_MISSING] * len(requests)
        documents = section.documents()
        if documents is None:  # an older journal, of requests in the order in which all tasks have them
            positions: list[int | None] = list(range(len(requests)))
        else:
            known = {key: position for position, key in enumerate(_numbered(documents))}
            positions = [known.get(key) for key in _numbered((r.task, r.doc_id) for r in requests)]
        answers = section.by_position()
        return [_MISSING if position is None else answers.get(position, _MISSING) for position in positions]


def _missing(found: Sequence[object]) -> Mapping[Mark, Sequence[int]]:
    return {"missing": [position for position, answer in enumerate(found) if answer is _MISSING]}


def _numbered(documents: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int, int]]:
    """Yield each request's name: its task, its document, and how many of that document come before it."""
    seen: Counter[tuple[str, int]] = Counter()
    for document in documents:
        yield (*document, seen[document])
        seen[document] += 1


def partial_record(folder: Path) -> RunRecord:
    """Make the record of an unfinished run from what is there; see `partial_run`."""
    return partial_run(folder)[0]


def partial_run(folder: Path) -> tuple[RunRecord, list[Sample]]:
    """Make the record of an unfinished run, and its finished documents, from what is there; nothing is written.

    Raises:
        StoreError: there is no journal, it is damaged, or the data have changed since.
        DataError, ConfigError: the run's documents cannot be read any more.
    """
    from evalkit.tasks.documents import load
    from evalkit.tasks.lm_eval_tasks import Tasks

    path = folder / runs.JOURNAL_FILE
    if not path.is_file():
        raise StoreError(f"{folder}: {runs.unfinished_text(folder)}")
    contents = journal.read(path)
    if contents.header is None:
        raise StoreError(f"{folder}: nothing is computed yet; give the run's command again")
    identity, sections = contents.header["identity"], read_sections(contents.records, path)
    config = _config(contents.header["asked"])
    names = list(identity["settings"]["tasks"])
    sources = resolve_sources(config.data_sources(), load_suites(), sorted({find_task(name).suite for name in names}))
    data = {name: load(name, sources[find_task(name).suite]) for name in names}
    changed = [name for name, loaded in data.items() if loaded.sha256 != identity["data"][name]["sha256"]]
    if changed:
        raise StoreError(f"{folder}: the documents of {', '.join(changed)} have changed since the run was begun")

    tasks = Tasks(names, sources)
    then = {part: said for part, said in identity["protocol"].items() if part not in ("name", "sha256")}
    if changed := differences({"protocol": then}, {"protocol": protocol_of(names, tasks.made)}):
        what = f"its tasks have changed since the run was begun: {some(changed, 5, '; ')}"
        raise StoreError(f"{folder}: {what}; undo that, or begin the run anew with --fresh --reuse {folder}")
    tasks.build(config, None)
    evaluated = tasks.evaluate(config, JournalAnswers(sections), Session())
    complete = {
        name: [
            entry
            for entry in sorted(evaluated.samples[name], key=lambda e: int(e["doc_id"]))
            if "missing" not in evaluated.marks.of(name, int(entry["doc_id"]))
        ]
        for name in names
    }
    # Without their programs' verdicts, texts have no score; how many are there is said.
    unjudged = with_programs(names)
    for name in unjudged:
        evaluated.results["results"].pop(name, None)
    samples = [
        sample_of(name, entry, data[name].dataset.layout)
        for name in names
        if name not in unjudged
        for entry in complete[name]
    ]
    counted = {name: len(entries) for name, entries in complete.items()}
    partial = Partial(
        documents={
            name: (counted[name], min(len(loaded.documents), config.limit or len(loaded.documents)))
            for name, loaded in data.items()
        },
        without_verdicts=tuple(unjudged),
        there=runs.progress_text(sections),
    )
    return make_record(folder, _facts(folder, contents.header, data), evaluated.results, samples, partial), samples


def _config(asked: Mapping[str, Any]) -> RunConfig:
    # Rendering a chat template needs the tokenizer; the metrics do not depend on it.
    return build(RunConfig, {**asked, "apply_chat_template": False, "system": None, "system_in_user": False})


def _facts(folder: Path, header: Mapping[str, Any], data: Mapping[str, LoadedData]) -> RunFacts:
    """Return the record's entries, as far as the journal knows them."""
    identity, asked = part(Identity, header["identity"], "identity"), part(Asked, header["asked"], "asked")
    device = identity.device or DeviceIdentity(kind="unknown")
    sessions = runs.read_sessions(folder)
    versions = {name: version for name, version in identity.versions.items() if version is not None}
    return RunFacts(
        protocol=identity.protocol.name if identity.protocol is not None else "unknown",
        started=sessions[0].started if sessions else "unknown",
        duration_seconds=None,
        config=asked,
        model=ModelFacts(
            name=asked.model,
            device=device.kind,
            device_name=device.name,
            dtype=identity.dtype or "unknown",
            loader=identity.model.loader or "unknown",
        ),
        scorer=part(ScorerFacts, header["work"]["scorer"], "scorer"),
        data={name: loaded.describe() for name, loaded in data.items()},
        environment=Environment(versions={"evalkit": identity.code.evalkit or "unknown", **versions}),
        identity=identity,
        sessions=tuple(sessions),
    )
