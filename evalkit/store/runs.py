"""Run folders: which unfinished run the same command continues, and where a new one goes.

::

    <output>/<model>/<time>/
        journal.jsonl     header (identity), plans, finished packs; see ledger.py
        sessions.jsonl    a line each time that a process worked on the run: when, where, by which command
        samples.jsonl     \\
        report.md          > written when everything is computed; run.json last
        run.json          /

A folder with ``run.json`` is a finished run, one without is not.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import StoreError, some
from evalkit.records.identity import MOVING
from evalkit.records.model import REUSE_REMARK, RUN_FILE, RunSession
from evalkit.store import files, journal
from evalkit.store.identity import COMPUTED, REUSED, differences
from evalkit.store.journal import Journal, Record
from evalkit.store.sections import SCORES, TEXTS, Section, Source, read_sections

JOURNAL_FILE = "journal.jsonl"
SESSIONS_FILE = "sessions.jsonl"

_IF_MENDED = "which is right if a fault that moved answers was mended since"
_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:-(\d+))?")


@dataclass(frozen=True)
class OpenRun:
    """A run that this process alone may write.

    Attributes:
        folder: its folder.
        journal: open for writing.
        records: what the journal had when it was opened.
        is_resumed: whether the run was begun by another process.
        last_written: when that process last wrote a result, in seconds since 1970; None of a new run.
    """

    folder: Path
    journal: Journal
    records: list[Record]
    is_resumed: bool
    last_written: float | None = None


def open_run(
    parent: Path,
    identity: Mapping[str, Any],
    asked: Mapping[str, Any],
    *,
    work: Mapping[str, Any] | None = None,
    fresh: bool = False,
    resume: bool = False,
    say: Callable[[str], None] = lambda _: None,
    now: datetime | None = None,
) -> OpenRun:
    """Continue the newest unfinished run of this identity, or begin a new one.

    Args:
        parent: folder of the model's runs.
        identity: what the scores depend on (``identity.identity``).
        asked: the command's options (``identity.asked``).
        work: for the header: how work is done, which a resumed run does in the same way whatever it was asked for.
        fresh: begin a new run in any case.
        resume: refuse to begin a new run.
        say: receives one line at a time.
        now: the time; for tests.

    Raises:
        StoreError: the same command began a run whose identity has changed (names what differs); there is nothing to
            ``resume``; a journal is damaged; another process is writing the run; the folder is not writable.
    """
    if not fresh:
        unfinished = _unfinished(parent, say)
        for folder, header in unfinished:
            if header["identity"] == identity:
                last_written = (folder / JOURNAL_FILE).stat().st_mtime  # opening may cut off an unfinished line
                found, records = Journal.open_(folder / JOURNAL_FILE)
                # Between the look and the lock, the process that had it may have finished.
                if not (folder / RUN_FILE).exists():
                    return OpenRun(folder, found, records, is_resumed=True, last_written=last_written)
                found.close()
        for folder, header in unfinished:
            changed = differences(header["identity"], identity)
            if changed and (resume or header["asked"] == asked):
                anew = "--fresh starts anew and leaves it as it is"
                if not _changed_for_reuse(header["identity"], identity):
                    anew = f"--fresh --reuse {folder} starts anew with its answers to equal requests"
                    if _computed_otherwise(header["identity"], identity):
                        anew += f", computed as they were; --fresh alone computes all, {_IF_MENDED}"
                raise StoreError(f"{folder}: this unfinished run cannot be continued: {_listed(changed)}; {anew}")
        if resume:
            raise StoreError(f"{parent}: no unfinished run to resume; leave --resume out to start one")
        if unfinished:
            folder, header = unfinished[0]
            what = _listed(differences(header["asked"], asked))
            say(f"unfinished run {folder} is another one ({what}); starting anew")
    folder = _make_folder(parent, now or datetime.now(timezone.utc))
    made = Journal.create(folder / JOURNAL_FILE, {"identity": identity, "asked": asked, "work": work or {}})
    return OpenRun(folder, made, [], is_resumed=False)


def _folders(parent: Path) -> list[Path]:
    """Return the run folders, the newest first."""
    try:
        matches = [_NAME.fullmatch(entry.name) for entry in parent.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = [(match[1], int(match[2] or 1), match[0]) for match in matches if match]
    return [parent / name for _, _, name in sorted(names, reverse=True)]


def _unfinished(parent: Path, say: Callable[[str], None]) -> list[tuple[Path, Record]]:
    """Return (folder, header) of the unfinished runs, the newest first."""
    found = []
    for folder in _folders(parent):
        path = folder / JOURNAL_FILE
        if (folder / RUN_FILE).exists() or not path.exists():
            continue
        header = journal.read_header(path)
        if header is None:
            say(f"{folder}: begun, but stopped before anything was computed; not used")
            continue
        found.append((folder, header))
    return found


def _make_folder(parent: Path, now: datetime) -> Path:
    """Create ``<parent>/<time>``, later in name than every run there: the newest run stays the newest by any clock.

    Raises:
        StoreError: it cannot be made.
    """
    stamp = now.strftime("%Y-%m-%dT%H-%M-%SZ")
    newest = next((match for match in (_NAME.fullmatch(folder.name) for folder in _folders(parent)) if match), None)
    attempt = 1
    if newest is not None and newest[1] >= stamp:
        stamp, attempt = newest[1], int(newest[2] or 1) + 1
    while True:
        folder = parent / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        try:
            folder.mkdir(parents=True)
            files.sync_folder(parent)
        except FileExistsError:
            attempt += 1
            continue
        except OSError as error:
            raise StoreError(f"{folder}: cannot be made ({error.strerror}); {files.remedy(error)}") from None
        return folder


# --- sessions ---------------------------------------------------------------------------------------------------------


def begin_session(folder: Path, command: Sequence[str], started: str, last_written: float | None = None) -> None:
    """Note that this process works on the run.

    Args:
        folder: of the run.
        command: command line of this process.
        started: when it began, as ISO 8601.
        last_written: `OpenRun.last_written`: until then the session before this one worked; it may have been killed.

    Raises:
        StoreError: the folder cannot be written.
    """
    until = None if last_written is None else datetime.fromtimestamp(last_written, timezone.utc)
    entry = RunSession(
        started=started,
        host=platform.node(),
        pid=os.getpid(),
        command=tuple(command),
        previous_until=None if until is None else until.isoformat(timespec="seconds"),
    )
    path = folder / SESSIONS_FILE
    try:
        fd = files.open_file(path, is_new=not path.exists())
        try:
            files.write_all(fd, json.dumps(msgspec.to_builtins(entry)).encode() + b"\n")
        finally:
            files.close_file(fd)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror}); {files.remedy(error)}") from None


def read_sessions(folder: Path) -> list[RunSession]:
    """Return the sessions of a run; lines that a crash left unfinished are skipped, for no score depends on them."""
    try:
        lines = (folder / SESSIONS_FILE).read_bytes().split(b"\n")
    except OSError:
        return []
    sessions = []
    for line in lines:
        try:
            sessions.append(msgspec.convert(json.loads(line), RunSession))
        except ValueError:  # msgspec's are too
            continue
    return sessions


def earlier_seconds(sessions: Sequence[RunSession]) -> float:
    """Return how long all sessions but the last worked, each from its start to the last result that it wrote."""
    total = 0.0
    for session, following in itertools.pairwise(sessions):
        try:
            began, until = (datetime.fromisoformat(text or "") for text in (session.started, following.previous_until))
        except (TypeError, ValueError):
            continue  # of an evalkit that did not note it
        total += max(0.0, (until - began).total_seconds())
    return total


# --- other runs -------------------------------------------------------------------------------------------------------


def source_run(folder: Path, identity: Mapping[str, Any]) -> Source:
    """Return another run's results, for ``--reuse``.

    Args:
        folder: its folder; it may be unfinished.
        identity: the identity of the run that wants them.

    Raises:
        StoreError: no run with a journal is there, or its model, tokenizer, dtype, scorer, or an option that moves
            scores of the same requests is another.
    """
    path = check_source(folder)
    contents = journal.read(path)
    if contents.header is None:
        raise StoreError(f"{folder}: nothing was computed in this run; leave --reuse out")
    changed = _changed_for_reuse(contents.header["identity"], identity)
    if changed:
        raise StoreError(f"{folder}: its scores cannot be taken over: {_listed(changed)}; leave --reuse out")
    remarks = []
    otherwise = _computed_otherwise(contents.header["identity"], identity)
    if otherwise:
        remarks.append(
            f"{REUSE_REMARK}{folder}: its answers were computed otherwise: {_listed(otherwise)}; without --reuse "
            f"all are computed, {_IF_MENDED}"
        )
    earlier = contents.header["identity"].get("reuse")
    if earlier:
        remarks.append(
            f"{REUSE_REMARK}{folder}: some of its answers are those of the run {earlier}, computed as they were there"
        )
    return Source.of(folder.resolve().name, read_sections(contents.records, path), remarks)


def _computed_otherwise(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs of how answers are computed, and does not keep them from being taken over."""
    theirs, ours = ({group: which.get(group) for group in COMPUTED} for which in (then, now))
    return differences(theirs, ours)


def _changed_for_reuse(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs of that which the answer to one request depends on."""
    theirs, ours = (
        {**{group: which.get(group) for group in REUSED}, "settings": _beside_requests(which)} for which in (then, now)
    )
    return differences(theirs, ours)


def _beside_requests(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that scores depend on and that the requests do not show; a run of before them has defaults."""
    settings = identity.get("settings") or {}
    return {
        key: settings.get(key, setting.default) for key, setting in MOVING.items() if not setting.option.in_requests
    }


def check_source(folder: Path) -> Path:
    """Return the journal of the run that scores are to be taken from.

    Raises:
        StoreError: there is none.
    """
    path = folder / JOURNAL_FILE
    if not path.is_file():
        raise StoreError(
            f"{folder}: no run to take scores from (no {JOURNAL_FILE}); name a folder such as results/M/TIME"
        )
    return path


def sections_of(folder: Path) -> list[Section]:
    """Read how far a run has got, without disturbing a process that is writing it.

    Raises:
        StoreError: no journal, or it is damaged.
    """
    path = folder / JOURNAL_FILE
    return read_sections(journal.read(path).records, path)


def unfinished_text(folder: Path) -> str:
    """Return why a folder without ``run.json`` cannot be reported, and what to do."""
    if not (folder / JOURNAL_FILE).is_file():
        return "no run here (no run.json); name a folder such as results/<model>/<time>"
    there = progress_text(sections_of(folder))
    return f"unfinished run: {there}; give its command again to finish it, or see what is there with --partial"


def progress_text(sections: Sequence[Section]) -> str:
    """Return e.g. ``1,200 of 5,000 log-likelihoods are there; texts: none begun``."""
    known = {section.what: section for section in sections}
    parts = []
    for what in (SCORES, TEXTS):
        section = known.get(what)
        if section is not None and section.requests:
            parts.append(f"{section.finished_requests:,} of {section.requests:,} {what} are there")
    return "; ".join(parts) or "nothing is computed yet"


def _listed(found: Sequence[str]) -> str:
    return some(found, 5, "; ")
