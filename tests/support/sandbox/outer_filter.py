"""Run a command under an outer seccomp filter that refuses some system calls, as a container's profile does.

    python outer_filter.py unshare=1 landlock_create_ruleset=38 prctl:22=22 -- COMMAND ...

``NAME=ERRNO`` refuses a call outright, ``prctl:OPTION=ERRNO`` one prctl option. x86-64 and aarch64.
"""

import os
import struct
import sys

from evalkit.sandbox import kernel
from evalkit.sandbox.syscalls import ALLOWED, AUDIT_ARCH, OTHERS

NUMBERS = {
    **ALLOWED[kernel.MACHINE],
    **OTHERS[kernel.MACHINE],
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}


def program(refusals: list[str]) -> bytes:
    """The filter: everything is allowed but the refusals."""
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, AUDIT_ARCH[kernel.MACHINE]), (0x06, 0, 0, 0x7FFF0000), (0x20, 0, 0, 0)]
    for refusal in refusals:
        name, _, number = refusal.partition("=")
        name, _, option = name.partition(":")
        answer = (0x06, 0, 0, 0x00050000 | int(number))
        if option:
            code += [(0x15, 0, 4, NUMBERS[name]), (0x20, 0, 0, 16), (0x15, 0, 1, int(option)), answer, (0x20, 0, 0, 0)]
        else:
            code += [(0x15, 0, 1, NUMBERS[name]), answer]
    code.append((0x06, 0, 0, 0x7FFF0000))
    return b"".join(struct.pack("<HBBI", *line) for line in code)


if __name__ == "__main__":
    split = sys.argv.index("--")
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.install_seccomp(program(sys.argv[1:split]))
    os.execvp(sys.argv[split + 1], sys.argv[split + 1 :])
