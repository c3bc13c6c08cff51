r"""An append-only file of records that tells damage from an interrupted write.

A record is one line, ``<crc32> <json>\n``: eight lower-case hexadecimal digits of the JSON's CRC-32, a space, a JSON
object in ASCII. The object's key ``prev`` holds the first 16 digits of the SHA-256 of the whole line before (of nothing
for the first line), so that a lost, repeated, moved or foreign line is noticed although it is correct in itself. The
first line is the header, which says whose journal it is.

What a crash can leave is a last line without its end: the *torn tail*. It is cut off and its record made again.
Anything wrong *before* a correct line cannot come from a crash; reading stops there and names the line.

Covered: killed processes, full disks, power failures, flipped bits, two writers. Not covered: whoever edits lines and
recomputes the checksums; this is no signature.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from evalkit.errors import StoreError
from evalkit.store import files

VERSION = 1
_CHAIN_DIGITS = 16
_CRC_DIGITS = 8

Record = dict[str, Any]


@dataclass(frozen=True)
class Contents:
    """A journal as read.

    Attributes:
        header: the first record; None if not even that was finished.
        records: the others, in order.
        good_bytes: length of the correct part; what follows is a torn tail.
        torn_bytes: length of the torn tail.
        chain: the next record's ``prev``.
    """

    header: Record | None
    records: list[Record]
    good_bytes: int
    torn_bytes: int
    chain: str


def encode(record: Mapping[str, Any], chain: str) -> bytes:
    """Return a record's line.

    Args:
        record: JSON values only; no NaN or infinity.
        chain: ``chain_of`` the line before.
    """
    body = json.dumps({"prev": chain, **record}, allow_nan=False, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def chain_of(line: bytes) -> str:
    """Return what the line after ``line`` (with its end) has as ``prev``."""
    return hashlib.sha256(line).hexdigest()[:_CHAIN_DIGITS]


def _decode(line: bytes) -> Record | None:
    """Return the record of a line without its end, or None if the line is not correct."""
    crc, space, body = line[:_CRC_DIGITS], line[_CRC_DIGITS : _CRC_DIGITS + 1], line[_CRC_DIGITS + 1 :]
    # Compared as text: int() would also take "+1a" or upper-case digits, and let some flipped bits pass.
    if space != b" " or crc != b"%08x" % zlib.crc32(body):
        return None
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def parse(data: bytes, path: Path) -> Contents:
    """Read a journal's bytes.

    Raises:
        StoreError: damage before a correct line (with the line's number), or a journal of a newer evalkit.
    """
    # Only b"\n" ends a record: str.splitlines would also split at U+2028 and others.
    lines = data.split(b"\n")
    lines.pop()  # what follows the last b"\n": a torn tail, or nothing
    records: list[Record] = []
    good_bytes = 0
    chain = chain_of(b"")
    for number, line in enumerate(lines, 1):
        record = _decode(line)
        if record is None:
            if any(_decode(later) is not None for later in lines[number:]):
                raise StoreError(
                    f"{path}:{number}: damaged line before correct ones; an interrupted write cannot do that, so "
                    "nothing of this run is used: check the disk, then start anew with --fresh"
                )
            break
        if record.get("prev") != chain:
            raise StoreError(
                f"{path}:{number}: does not follow the line before it (lines are missing, moved or from another run); "
                "nothing of this run is used: start anew with --fresh"
            )
        records.append(record)
        chain = chain_of(line + b"\n")
        good_bytes += len(line) + 1
    header = records[0] if records else None
    if header is not None:
        if header.get("kind") != "header":
            raise StoreError(f"{path}:1: not a header; this is no journal of evalkit")
        version = header.get("journal")
        if version != VERSION:
            raise StoreError(
                f"{path}: journal version {version}, this evalkit reads {VERSION}; use the evalkit that wrote it"
            )
    return Contents(header, records[1:], good_bytes, len(data) - good_bytes, chain)


def read(path: Path) -> Contents:
    """Read a journal without touching it; a writer may be at work.

    Raises:
        StoreError: no such file, unreadable, or see ``parse``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    return parse(data, path)


def read_header(path: Path) -> Record | None:
    """Return a journal's header, or None if it was never finished.

    Raises:
        StoreError: unreadable, damaged, or of a newer evalkit.
    """
    try:
        with path.open("rb") as stream:
            first = stream.readline()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    if _decode(first.removesuffix(b"\n")) is None or not first.endswith(b"\n"):
        return read(path).header  # damage, or a torn tail: the whole file tells
    return parse(first, path).header


class Journal:
    """The one writer of a journal file.

    ``append`` returns when the record is in the file; from then on a killed process does not lose it. A thread brings
    it to the disk (fdatasync) while the caller goes on, and the next ``append`` waits for that: a power failure costs
    at most the last record besides. Errors of the disk are raised by the next call.

    Attributes:
        path: the file.
        header: its first record.
    """

    def __init__(self, path: Path, fd: int, header: Record, size: int, chain: str) -> None:
        """Take over an open, locked file; use ``create`` or ``open_``."""
        self.path = path
        self.header = header
        self._fd = fd
        self._size = size
        self._chain = chain
        self._is_broken = False
        self._is_synced = True
        self._syncer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._syncing: Future[None] | None = None

    @classmethod
    def create(cls, path: Path, header: Mapping[str, Any]) -> Journal:
        """Start a journal with a header; both are on the disk when this returns.

        Raises:
            StoreError: the file exists, is locked, or cannot be written.
        """
        record = {"kind": "header", "journal": VERSION, **header}
        line = encode(record, chain_of(b""))
        try:
            fd = files.open_file(path, is_new=True)
        except OSError as error:
            raise StoreError(f"{path}: cannot be made ({error.strerror}); {files.remedy(error)}") from None
        try:
            files.lock(fd, path)
            files.write_all(fd, line)
            files.sync_data(fd)
            files.sync_folder(path.parent)
        except BaseException as error:
            files.close_file(fd)
            if isinstance(error, OSError):
                raise StoreError(f"{path}: cannot be written ({error.strerror}); {files.remedy(error)}") from None
            raise
        return cls(path, fd, {"prev": chain_of(b""), **record}, len(line), chain_of(line))

    @classmethod
    def open_(cls, path: Path) -> tuple[Journal, list[Record]]:
        """Continue a journal: lock it, read it, cut its torn tail off.

        Returns:
            The journal and its records after the header.

        Raises:
            StoreError: see ``read``; locked by another process; not writable; or it has no header.
        """
        try:
            fd = files.open_file(path, is_new=False)
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be opened for writing ({error.strerror}); {files.remedy(error)}"
            ) from None
        try:
            # Locked before it is read: another writer could add to it in between.
            files.lock(fd, path)
            contents = read(path)
            if contents.header is None:
                raise StoreError(f"{path}: has no header, so nothing was computed yet; start anew with --fresh")
            if contents.torn_bytes:
                files.cut_to_size(fd, contents.good_bytes)
                files.sync_data(fd)
        except BaseException as error:
            files.close_file(fd)
            if isinstance(error, OSError):
                raise StoreError(f"{path}: cannot be written ({error.strerror}); {files.remedy(error)}") from None
            raise
        return cls(path, fd, contents.header, contents.good_bytes, contents.chain), contents.records

    def append(self, record: Mapping[str, Any], *, sync: bool = True) -> None:
        """Add a record.

        Args:
            record: JSON values.
            sync: bring it to the disk; False: leave that to the next record with True, or to `close`.

        Raises:
            StoreError: the disk is full or failed. The file then ends with the record before; this journal takes no
                more, and everything in it stays good for a later run.
        """
        line = encode(record, self._chain)
        self.sync()
        try:
            files.write_all(self._fd, line)
        except BaseException as error:
            self._is_broken = True
            self._cut_back()
            if isinstance(error, OSError):
                raise self._failure(error) from None
            raise
        self._size += len(line)
        self._chain = chain_of(line)
        self._is_synced = sync
        if sync:
            self._syncing = self._syncer.submit(files.sync_data, self._fd)

    def sync(self) -> None:
        """Return when all records are on the disk.

        Raises:
            StoreError: the disk failed, now or at an earlier record.
        """
        if self._is_broken:
            raise StoreError(f"{self.path}: an earlier write failed; give the same command again")
        if self._syncing is not None:
            try:
                self._syncing.result()
            except OSError as error:
                self._is_broken = True
                raise self._failure(error) from None
            self._syncing = None

    def close(self) -> None:
        """Bring everything to the disk and give the lock back.

        Raises:
            StoreError: the disk failed.
        """
        if self._fd < 0:
            return
        try:
            if not self._is_broken:
                self.sync()
                if not self._is_synced:
                    self._sync_now()
        finally:
            self._syncer.shutdown(wait=True)
            files.close_file(self._fd)
            self._fd = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _sync_now(self) -> None:
        try:
            files.sync_data(self._fd)
        except OSError as error:
            raise self._failure(error) from None

    def _cut_back(self) -> None:
        """Take a half-written line off again; where that fails too, the next opening does it."""
        try:
            files.cut_to_size(self._fd, self._size)
        except OSError:
            return

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path}: cannot be written ({error.strerror}); what was finished is safe: {files.remedy(error)}"
        )
