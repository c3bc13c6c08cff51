"""The helpers' sockets, which carry descriptors (unix(7), SCM_RIGHTS), without the module ``socket``.

That module and ``pathlib`` bring ``selectors``, ``urllib.parse`` and more: a third of what a helper imports at its
start, and memory that each fork of it has to map.
"""

from __future__ import annotations

import struct
from _socket import CMSG_LEN, MSG_WAITALL, SCM_RIGHTS, SOL_SOCKET, socket, socketpair
from collections.abc import Sequence

__all__ = ["MSG_WAITALL", "Socket", "receive_fds", "send_fds", "socketpair"]

Socket = socket
_FD_BYTES = struct.calcsize("i")


def send_fds(link: Socket, data: bytes, fds: Sequence[int]) -> None:
    """Send a few bytes and copies of these descriptors."""
    link.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))])


def receive_fds(link: Socket, count: int, most: int) -> tuple[bytes, list[int]]:
    """Receive up to ``count`` bytes, none at the end, and up to ``most`` descriptors."""
    data, ancillary, _, _ = link.recvmsg(count, CMSG_LEN(most * _FD_BYTES))
    fds: list[int] = []
    for level, kind, body in ancillary:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
            number = len(body) // _FD_BYTES
            fds += struct.unpack(f"{number}i", body[: number * _FD_BYTES])
    return data, fds
