"""The journal: what is in it after a crash, a full disk, flipped bits, two writers."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import StoreError
from evalkit.store import files, journal
from evalkit.store.journal import Journal
from tests.support.faults import FaultyOs, install

pytestmark = pytest.mark.torch_free

HEADER = {"run": "test"}
RECORDS = [{"kind": "pack", "pack": n, "logprobs": [-0.1 * n, -1 / 3], "text": "a\nb\u2028c\ud800"} for n in range(12)]


def write(path: Path, records: list[dict[str, Any]] | None = None) -> bytes:
    with Journal.create(path, HEADER) as made:
        for record in RECORDS if records is None else records:
            made.append(record)
    return path.read_bytes()


def without_chain(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key != "prev"} for record in records]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_reads_what_was_written(path: Path) -> None:
    write(path)
    contents = journal.read(path)
    assert contents.header is not None
    assert contents.header["run"] == "test"
    assert without_chain(contents.records) == RECORDS
    assert contents.torn_bytes == 0


def test_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a") == write(tmp_path / "b")


def test_continued_journal_equals_one_written_at_once(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole")
    path = tmp_path / "parts"
    write(path, RECORDS[:5])
    reopened, records = Journal.open_(path)
    assert without_chain(records) == RECORDS[:5]
    with reopened:
        for record in RECORDS[5:]:
            reopened.append(record)
    assert path.read_bytes() == whole


def test_every_cut_leaves_a_prefix(path: Path) -> None:
    """A file cut at any byte holds the records whose lines are whole, and can be continued to the same bytes."""
    whole = write(path, RECORDS[:4])
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole) + 1):
        contents = journal.parse(whole[:size], path)
        finished = sum(end <= size for end in ends)
        assert (contents.header is not None) == (finished > 0)
        assert without_chain(contents.records) == RECORDS[: max(0, finished - 1)]
        assert contents.good_bytes + contents.torn_bytes == size
        if finished and size % 7 == 0:
            path.write_bytes(whole[:size])
            reopened, records = Journal.open_(path)
            with reopened:
                for record in RECORDS[len(records) : 4]:
                    reopened.append(record)
            assert path.read_bytes() == whole


def test_two_thousand_flipped_bits_are_noticed_or_harmless(path: Path) -> None:
    """A flipped bit is an error that names a line, or costs the last records; it never gives other values."""
    whole = write(path)
    rng = random.Random(4)
    messages = []
    for _ in range(2000):
        position, bit = rng.randrange(len(whole)), rng.randrange(8)
        flipped = bytearray(whole)
        flipped[position] ^= 1 << bit
        try:
            contents = journal.parse(bytes(flipped), path)
        except StoreError as error:
            messages.append(str(error))
        else:
            records = without_chain(contents.records)
            assert records == RECORDS[: len(records)]
            assert len(records) < len(RECORDS)
    assert len(messages) > 1500
    assert all(message.startswith(f"{path}:") for message in messages)


def test_two_thousand_cuts_in_a_large_journal(path: Path) -> None:
    records = [{"kind": "pack", "pack": n, "logprobs": [n / 7] * (n % 40)} for n in range(60)]
    whole = write(path, records)
    rng = random.Random(5)
    for _ in range(2000):
        kept = without_chain(journal.parse(whole[: rng.randrange(len(whole))], path).records)
        assert kept == records[: len(kept)]


@pytest.mark.parametrize("change", ["lost", "swapped", "repeated", "foreign"])
def test_correct_lines_in_the_wrong_place_are_damage(path: Path, tmp_path: Path, change: str) -> None:
    lines = write(path).splitlines(keepends=True)
    foreign = write(tmp_path / "other", [{"kind": "pack", "pack": 99}]).splitlines(keepends=True)
    changed = {
        "lost": [*lines[:4], *lines[5:]],
        "swapped": [*lines[:4], lines[5], lines[4], *lines[6:]],
        "repeated": [*lines[:4], lines[4], *lines[4:]],
        "foreign": [*lines, foreign[1]],
    }[change]
    with pytest.raises(StoreError, match=rf"journal.jsonl:({5 if change != 'foreign' else 14}|6): does not follow"):
        journal.parse(b"".join(changed), path)


def test_damage_in_the_middle_names_its_line_and_nothing_is_cut(path: Path) -> None:
    whole = write(path)
    lines = whole.split(b"\n")
    lines[3] = lines[3].replace(b"logprobs", b"logprobz")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(StoreError, match=r"journal\.jsonl:4: damaged line"):
        Journal.open_(path)
    assert path.read_bytes() == b"\n".join(lines)


@given(st.binary(max_size=200))
def test_garbage_is_never_read_as_records(data: bytes) -> None:
    contents = journal.parse(data, Path("journal.jsonl"))
    assert contents.header is None
    assert contents.records == []


@given(
    st.lists(
        st.dictionaries(
            st.text().filter(lambda key: key != "prev"),
            st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.text(), st.integers(), st.none()),
        )
    )
)
def test_any_json_survives_to_the_bit(records: list[dict[str, Any]]) -> None:
    lines = [journal.encode({"kind": "header", "journal": 1}, journal.chain_of(b""))]
    for record in records:
        lines.append(journal.encode(record, journal.chain_of(lines[-1])))
    contents = journal.parse(b"".join(lines), Path("j"))
    # repr tells -0.0 from 0.0.
    assert repr(without_chain(contents.records)) == repr(records)


def test_not_a_number_is_refused_rather_than_written(path: Path) -> None:
    with Journal.create(path, HEADER) as made:
        with pytest.raises(ValueError, match="JSON"):
            made.append({"value": float("nan")})
        made.append({"value": 1.0})
    assert len(journal.read(path).records) == 1


# --- headers ----------------------------------------------------------------------------------------------------------


def test_torn_header_is_no_header(path: Path) -> None:
    whole = write(path, [])
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert journal.read_header(path) is None
    with pytest.raises(StoreError, match="has no header"):
        Journal.open_(path)


def test_header_is_read_without_the_rest(path: Path) -> None:
    whole = write(path)
    header = journal.read_header(path)
    assert header is not None
    assert header["run"] == "test"
    damaged = bytearray(whole)
    damaged[20] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r":1: damaged line"):
        journal.read_header(path)


def test_other_files_and_newer_journals_are_refused(path: Path) -> None:
    first = journal.chain_of(b"")
    path.write_bytes(journal.encode({"kind": "header", "journal": 2}, first))
    with pytest.raises(StoreError, match="journal version 2, this evalkit reads 1"):
        journal.read(path)
    path.write_bytes(journal.encode({"kind": "pack"}, first))
    with pytest.raises(StoreError, match="no journal of evalkit"):
        journal.read_header(path)
    with pytest.raises(StoreError, match="cannot be read"):
        journal.read(path.with_name("absent"))
    with pytest.raises(StoreError, match="cannot be read"):
        journal.read_header(path.with_name("absent"))


# --- writers ----------------------------------------------------------------------------------------------------------


def test_second_writer_is_refused(path: Path) -> None:
    with Journal.create(path, HEADER), pytest.raises(StoreError, match="another process is writing"):
        Journal.open_(path)
    with Journal.open_(path)[0], pytest.raises(StoreError, match="another process is writing"):
        Journal.open_(path)
    Journal.open_(path)[0].close()


def test_lock_ends_with_the_process_that_has_it(path: Path) -> None:
    write(path, [])
    code = (
        "import os, signal, sys; from pathlib import Path; from evalkit.store.journal import Journal\n"
        "j, _ = Journal.open_(Path(sys.argv[1])); j.append({'pack': 1}); print('locked', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"locked\n"
    with pytest.raises(StoreError, match="another process is writing"):
        Journal.open_(path)
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    reopened, records = Journal.open_(path)
    reopened.close()
    assert len(records) == 1


def test_existing_file_is_never_overwritten(path: Path) -> None:
    path.write_text("something of the user's")
    with pytest.raises(StoreError, match="File exists"):
        Journal.create(path, HEADER)
    assert path.read_text() == "something of the user's"


def test_closing_twice_and_writing_after_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Journal.create(path, HEADER)
    made.close()
    made.close()


def test_file_system_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match="has no file locks"):
        Journal.create(path, HEADER)


# --- a disk that fails ------------------------------------------------------------------------------------------------


FEW = RECORDS[:3]
# The child of a fork writes a journal and dies; other threads play no part in it.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def run_until_done(path: Path) -> None:
    """Write all records, continuing what is there; what `evalkit run` does, without a model."""
    if path.exists() and journal.read_header(path) is None:
        path.unlink()
    if not path.exists():
        with Journal.create(path, HEADER) as made:
            for record in FEW:
                made.append(record)
        return
    reopened, records = Journal.open_(path)
    with reopened:
        for record in FEW[len(records) :]:
            reopened.append(record)


def number_of_calls(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patched:
        faulty = install(patched)
        run_until_done(path)
        return len(faulty.calls)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("stuck", [False, True])
def test_failure_of_every_call_is_one_clear_error_and_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, stuck: bool
) -> None:
    whole = write(tmp_path / "whole", FEW)
    for number in range(number_of_calls(tmp_path / "counted", monkeypatch)):
        path = tmp_path / f"failed-{number}"
        with monkeypatch.context() as patched:
            install(patched, fail_at=number, error=error, stuck=stuck)
            with pytest.raises(StoreError, match=r"again|--output"):
                run_until_done(path)
        if path.exists():
            assert path.read_bytes() == whole[: path.stat().st_size]
        run_until_done(path)
        assert path.read_bytes() == whole


@forks
def test_kill_at_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL in the middle of each write, sync and opening: the same bytes after a second run."""
    whole = write(tmp_path / "whole", FEW)
    for number in range(number_of_calls(tmp_path / "counted", monkeypatch)):
        path = tmp_path / f"killed-{number}"
        child = os.fork()
        if child == 0:
            files.os = FaultyOs(fail_at=number)  # type: ignore[assignment]
            run_until_done(path)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        run_until_done(path)
        assert path.read_bytes() == whole


def test_short_writes_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(FaultyOs):
        def __getattr__(self, name: str) -> Any:
            return (lambda fd, data: os.write(fd, bytes(data)[:3])) if name == "write" else getattr(os, name)

    monkeypatch.setattr(files, "os", Short())
    write(path)
    assert without_chain(journal.read(path).records) == RECORDS


def test_a_write_of_nothing_does_not_spin(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(FaultyOs):
        def __getattr__(self, name: str) -> Any:
            return (lambda *_: 0) if name == "write" else getattr(os, name)

    monkeypatch.setattr(files, "os", Stuck())
    with pytest.raises(StoreError, match="nothing was written"):
        write(path)


def test_journal_takes_nothing_after_a_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Journal.create(path, HEADER)
    with monkeypatch.context() as patched:
        install(patched, fail_at=0, error=errno.ENOSPC)
        with pytest.raises(StoreError, match="free some space"):
            made.append(RECORDS[0])
    with pytest.raises(StoreError, match="an earlier write failed"):
        made.append(RECORDS[0])
    made.close()
    assert journal.read(path).records == []


@forks
def test_really_full_file(path: Path) -> None:
    """The system's own limit on a file's size: a short write, then EFBIG, no pretence."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))
        try:
            write(path)
        except StoreError as error:
            os._exit(0 if "free some space" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    contents = journal.read(path)
    assert contents.torn_bytes == 0
    assert 0 < len(contents.records) < len(RECORDS)
    reopened, records = Journal.open_(path)
    with reopened:
        for record in RECORDS[len(records) :]:
            reopened.append(record)
    assert without_chain(journal.read(path).records) == RECORDS


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(StoreError, match="make the folder writable"):
        Journal.create(closed / "journal.jsonl", HEADER)


# --- files ------------------------------------------------------------------------------------------------------------


def test_atomic_file_is_complete_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    faulty = install(monkeypatch)
    files.write_atomically(path, "new" * 100)
    count = len(faulty.calls)
    for number in range(count):
        files.write_atomically(path, "old")
        with monkeypatch.context() as patched:
            install(patched, fail_at=number, error=errno.ENOSPC)
            with pytest.raises(StoreError, match=r"run\.json: cannot be written"):
                files.write_atomically(path, "new" * 100)
        assert path.read_text() in ("old", "new" * 100)
        assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


@forks
def test_atomic_file_under_sigkill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        faulty = install(patched)
        files.write_atomically(tmp_path / "counted", "text")
        count = len(faulty.calls)
    for number in range(count):
        path = tmp_path / f"{number}"
        child = os.fork()
        if child == 0:
            files.os = FaultyOs(fail_at=number)  # type: ignore[assignment]
            files.write_atomically(path, "text")
            os._exit(0)
        os.waitpid(child, 0)
        assert not path.exists() or path.read_text() == "text"
        files.write_atomically(path, "text")
        assert path.read_text() == "text"


def test_folders_that_cannot_be_synced_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, fail_at=1, error=errno.EINVAL)  # open, fsync
    files.sync_folder(tmp_path)
    install(monkeypatch, fail_at=1, error=errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        files.sync_folder(tmp_path)


def test_lines_are_ascii_json_after_the_checksum(path: Path) -> None:
    """What docs/results.md promises to other programs."""
    for line in write(path).decode("ascii").splitlines():
        assert json.loads(line[9:])["prev"]
