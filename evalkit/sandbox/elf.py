"""Which shared libraries a file asks for (elf(5)), without loading it."""

from __future__ import annotations

import os
import struct

# Elf64_Ehdr, Elf64_Phdr, Elf64_Dyn, little-endian: what x86-64 and aarch64 have.
_HEADER = struct.Struct("<4sBB10xHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<qQ")
_LOADED, _DYNAMIC = 1, 2  # PT_LOAD, PT_DYNAMIC
_NEEDED, _STRINGS, _STRINGS_BYTES = 1, 5, 10  # DT_NEEDED, DT_STRTAB, DT_STRSZ
_FIRST_BYTES = 4096  # the header, and usually the table of segments behind it


def needed_libraries(path: str) -> frozenset[str] | None:
    """The names that a file asks the dynamic linker for; None where it does not say so in this form.

    Raises:
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _needed(fd)
    except (struct.error, ValueError, IndexError):
        return None
    finally:
        os.close(fd)


def _needed(fd: int) -> frozenset[str] | None:
    first = os.pread(fd, _FIRST_BYTES, 0)
    magic, word, order, *_, phoff, _, _, _, phentsize, phnum, _, _, _ = _HEADER.unpack_from(first)
    if (magic, word, order, phentsize) != (b"\x7fELF", 2, 1, _SEGMENT.size):
        return None
    if phoff + phnum * phentsize > len(first):
        return None
    segments = [_SEGMENT.unpack_from(first, phoff + n * phentsize) for n in range(phnum)]
    (dynamic,) = (segment for segment in segments if segment[0] == _DYNAMIC)
    entries = list(_ENTRY.iter_unpack(os.pread(fd, dynamic[5], dynamic[2])))
    address, length = (next(value for tag, value in entries if tag == what) for what in (_STRINGS, _STRINGS_BYTES))
    offset = next(s[2] + address - s[3] for s in segments if s[0] == _LOADED and s[3] <= address < s[3] + s[5])
    strings = os.pread(fd, length, offset)
    starts = [value for tag, value in entries if tag == _NEEDED]
    return frozenset(strings[start : strings.index(b"\0", start)].decode("ascii") for start in starts)
