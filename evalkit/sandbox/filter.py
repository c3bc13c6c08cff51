"""The seccomp filter: the allow-list of ``syscalls.py`` as a BPF program.

The program is a list of ``struct sock_filter {u16 code; u8 jt; u8 jf; u32 k}`` over ``struct seccomp_data
{s32 nr; u32 arch; u64 instruction_pointer; u64 args[6]}`` (linux/seccomp.h, seccomp_filter.rst). In order:

1. a call in another calling convention (32-bit, x32) gets EPERM: its numbers mean other calls;
2. clone3 gets ENOSYS, so that the C library falls back to clone, whose flags the filter can see;
3. a binary search over the call numbers finds the answer: EPERM, allowed, or for calls with a rule allowed if one of
   the rule's alternatives holds.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping

from .syscalls import ALLOWED, AUDIT_ARCH, OTHERS, OWN_PID, RULES, Rule

# LD|W|ABS, ALU|AND|K, JMP|JEQ|K, JMP|JGE|K, JMP|JA, RET|K (linux/bpf_common.h)
_LOAD, _AND, _EQUAL, _AT_LEAST, _JUMP, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x05, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in seccomp_data
_WORD = 0xFFFFFFFF
X32_BIT = 0x40000000
ALLOW = 0x7FFF0000
EPERM = 0x00050000 | 1
ENOSYS = 0x00050000 | 38

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k
Comparison = tuple[int, int, int]  # offset of a word in seccomp_data, mask, value


def _comparisons(tests: list[tuple[int, int, int]]) -> list[Comparison]:
    """What an alternative compares, word by word."""
    comparisons = []
    for index, mask, value in tests:
        offset = _ARGUMENTS + 8 * index  # little-endian: the low half of the argument comes first
        comparisons.append((offset, mask & _WORD, value & _WORD))
        if mask >> 32:
            comparisons.append((offset + 4, mask >> 32, value >> 32))
    return comparisons


def _ruled(rule: Rule) -> list[Instruction]:
    """Instructions that decide one call by its rule: each alternative goes on to the next one, or to one of two ends.

    As few as can be, since the kernel translates them anew for each candidate: what all alternatives begin with is
    compared once, and a word that is still there is not loaded again.
    """
    alternatives = [_comparisons(tests) for tests in rule]
    first = alternatives[0][0]
    is_shared = len(alternatives) > 1 and all(len(one) > 1 and one[0] == first for one in alternatives)
    blocks = [[first], *(one[1:] for one in alternatives)] if is_shared else [[], *alternatives]
    program: list[Instruction] = []
    starts, ends = [], []  # where blocks begin; (a comparison's place, its block, whether it is that one's last)
    for number, block in enumerate(blocks):
        starts.append(len(program))
        before = blocks[number - 1] if number else []
        loaded = before[0][0] if len(before) == 1 and before[0][1] == _WORD else -1
        for place, (offset, mask, value) in enumerate(block):
            if place or offset != loaded:
                program.append((_LOAD, 0, 0, offset))
            if mask != _WORD:
                program.append((_AND, 0, 0, mask))
            ends.append((len(program), number, place == len(block) - 1))
            program.append((_EQUAL, 0, 0, value))
    refused, allowed = len(program), len(program) + 1
    starts.append(refused)
    for at, number, is_last in ends:
        if_true = allowed if is_last and number else at + 1
        if_false = starts[number + 1] if number else refused
        program[at] = (_EQUAL, if_true - at - 1, if_false - at - 1, program[at][3])
    return [*program, (_RETURN, 0, 0, EPERM), (_RETURN, 0, 0, ALLOW)]


def _search(starts: list[int], answers: list[list[Instruction]]) -> list[Instruction]:
    """A binary search for the last of ``starts`` that is not above the call number: its answer is run.

    Shallow for two reasons: every call pays for the path, and so does the installation, in which the kernel tries every
    number there is (its cache of calls that are always allowed, ``seccomp_cache_prepare`` in kernel/seccomp.c).
    """
    if len(starts) == 1:
        return answers[0]
    half = len(starts) // 2
    low, high = _search(starts[:half], answers[:half]), _search(starts[half:], answers[half:])
    if len(low) < 255:
        return [(_AT_LEAST, len(low), 0, starts[half]), *low, *high]
    return [(_AT_LEAST, 0, 1, starts[half]), (_JUMP, 0, 0, len(low)), *low, *high]


def build(
    machine: str,
    *,
    extra: Collection[str] = (),
    without: Collection[str] = (),
    rules: Mapping[str, Rule] = RULES,
) -> bytes:
    """Return the filter for a machine (``uname -m``), in which :data:`OWN_PID` still stands for the process's id.

    Args:
        machine: "x86_64" or "aarch64".
        extra: further calls to allow outright.
        without: calls to refuse although they are in the list (the sealed mode's opens).
        rules: what the calls with arguments may do.

    Raises:
        KeyError: there is no table for the machine.
    """
    numbers = {name: number for name, number in ALLOWED[machine].items() if name not in without}
    numbers |= {name: OTHERS[machine][name] for name in extra if name in OTHERS[machine]}
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, X32_BIT),
        (_RETURN, 0, 0, EPERM),
    ]
    answers: dict[int, list[Instruction]] = {number: [(_RETURN, 0, 0, ALLOW)] for number in numbers.values()}
    answers |= {numbers[name]: _ruled(rule) for name, rule in rules.items() if name in numbers and name not in extra}
    if "clone3" not in extra:
        answers[OTHERS[machine]["clone3"]] = [(_RETURN, 0, 0, ENOSYS)]
    # Intervals of numbers with one answer each: (first number, answer).
    intervals: list[tuple[int, list[Instruction]]] = []
    for number in range(max(answers) + 2):
        answer = answers.get(number, [(_RETURN, 0, 0, EPERM)])
        if not intervals or intervals[-1][1] != answer or len(answer) > 1:
            intervals.append((number, answer))
    program += _search([first for first, _ in intervals], [answer for _, answer in intervals])
    return pack(program)


def pack(program: Iterable[Instruction]) -> bytes:
    """Instructions as an array of ``struct sock_filter``."""
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def for_process(program: bytes, pid: int) -> bytes:
    """Put a process's id where :data:`OWN_PID` stands."""
    return program.replace(struct.pack("<I", OWN_PID), struct.pack("<I", pid))
