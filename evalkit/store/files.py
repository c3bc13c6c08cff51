"""What the store does to the disk: whole writes, durable folders, atomic files, locks.

The rest of `evalkit.store` reaches the disk through ``os`` of this module only, which is therefore the one place where
tests make the disk fail.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evalkit.errors import StoreError

# macOS has no fdatasync; fsync does the same and more.
_DATASYNC = "fdatasync" if hasattr(os, "fdatasync") else "fsync"


def open_file(path: Path, *, is_new: bool) -> int:
    """Open a file for reading and appending; returns its descriptor.

    Raises:
        OSError: no such file, or (``is_new``) there is one already; no permission.
    """
    flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT | os.O_EXCL if is_new else 0)
    return os.open(path, flags, 0o666)  # the umask decides


def close_file(fd: int) -> None:
    """Close a file, and with it give its lock back."""
    os.close(fd)


def cut_to_size(fd: int, size: int) -> None:
    """Cut a file to ``size`` bytes."""
    os.ftruncate(fd, size)


def write_all(fd: int, data: bytes) -> None:
    """Write all bytes: a single ``os.write`` may take only some of them (signals, quotas, network file systems).

    Raises:
        OSError: the disk is full or failed; some of the bytes may have been written.
    """
    rest = memoryview(data)
    while rest:
        written = os.write(fd, rest)
        if written <= 0:
            raise OSError(errno.EIO, "nothing was written")
        rest = rest[written:]


def sync_data(fd: int) -> None:
    """Return when the file's data and its length are on the disk."""
    getattr(os, _DATASYNC)(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file's own fsync does not save its directory entry."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network file systems have no fsync for folders; their entries are durable by themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def lock(fd: int, path: Path) -> None:
    """Take the only writer's lock of an open file; the system gives it back when the process ends, however it ends.

    Raises:
        StoreError: another process has it, or the file system has no locks.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(
            f"{path}: another process is writing this run; wait until it has ended, or start another run with --fresh"
        ) from None
    except OSError as error:
        raise StoreError(
            f"{path}: this file system has no file locks ({error.strerror}); choose another place with --output"
        ) from None


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock of a file."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write in place of ``path``, which gets its contents complete or not at all.

    That holds after a power failure too: what was written is on the disk before the name changes.

    Raises:
        OSError: the file cannot be written (disk full, no permission).
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        yield temporary
        fd = os.open(temporary, os.O_RDWR)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)  # noqa: PTH105  # through this module's os, see above
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that it exists complete or not at all, also after a power failure.

    Raises:
        StoreError: the file cannot be written (disk full, no permission).
    """
    try:
        with replacing(path) as temporary:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                # "surrogatepass" would write what no reader accepts; a lone surrogate becomes a question mark.
                write_all(fd, text.encode("utf-8", errors="replace"))
            finally:
                os.close(fd)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror}); {remedy(error)}") from None


def remedy(error: OSError) -> str:
    """Return what to do about a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space, then give the same command again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "make the folder writable, or choose another place with --output"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "choose another place with --output"
    return "check the disk, then give the same command again"
