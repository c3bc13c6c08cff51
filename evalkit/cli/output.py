"""Standard output that is full, closed, or whose reader has gone: one line and an exit code, no traceback."""

from __future__ import annotations

import errno
import os
import sys

# What a shell reports for a program that SIGPIPE ended: `evalkit report RUN | head -1` is no failure of the report.
GONE = 141
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF, errno.EFBIG)


def exit_code_of(error: OSError) -> int | None:
    """Return the exit code for an error of standard output, said on stderr; None where it is another file's."""
    if error.filename is not None:
        return None
    if error.errno == errno.EPIPE:
        _discard()
        return GONE
    if error.errno in _FULL:
        _discard()
        print(f"error: standard output cannot be written ({error.strerror}); send it elsewhere", file=sys.stderr)  # noqa: T201
        return 2
    return None


def is_closed() -> bool:
    """Return whether the process was started without a standard output."""
    stream: object = sys.stdout
    return stream is None


def _discard() -> None:
    """Let what is still buffered go nowhere, or the interpreter would complain once more when it ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass
