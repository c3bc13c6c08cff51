"""The seccomp filter does what the list says, for every call and architecture: compared with an interpreter of BPF."""

from __future__ import annotations

import re
import resource
import signal
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.sandbox.filter import ALLOW, ENOSYS, EPERM, X32_BIT, build, for_process
from evalkit.sandbox.syscalls import ALLOWED, AUDIT_ARCH, OTHERS, OWN_PID, RULES

pytestmark = pytest.mark.torch_free

PID = 4321
MACHINES = sorted(AUDIT_ARCH)


def run_bpf(program: bytes, number: int, arch: int, arguments: list[int]) -> int:
    """Interpret a filter the way the kernel does (its filter.rst), for the instructions used here."""
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *arguments)
    instructions = list(struct.iter_unpack("<HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, true, false, k = instructions[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == 0x15:
            at += true if accumulator == k else false
        elif code == 0x35:
            at += true if accumulator >= k else false
        elif code == 0x05:
            at += k
        elif code == 0x06:
            return k
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


def policy(machine: str, number: int, arguments: list[int], without: tuple[str, ...]) -> int:
    """What the list says, read literally."""
    names = {n: name for name, n in ALLOWED[machine].items() if name not in without}
    if number == OTHERS[machine]["clone3"]:
        return ENOSYS
    name = names.get(number)
    if name is None:
        return EPERM
    if name not in RULES:
        return ALLOW
    for alternative in RULES[name]:
        if all(arguments[i] & mask == (PID if value == OWN_PID else value) for i, mask, value in alternative):
            return ALLOW
    return EPERM


words = st.one_of(
    st.sampled_from([0, 1, 2, 3, PID, PID | 1 << 32, 0x3D0F00, 0x7D0F00, 17, 0x40, 0x200, 0x241, 0x80000, 0x5401]),
    st.integers(0, (1 << 64) - 1),
)


@given(st.data())
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("without", [(), ("open", "openat")])
def test_filter_equals_list(machine: str, without: tuple[str, ...], data: st.DataObject) -> None:
    program = for_process(build(machine, without=without), PID)
    known = sorted({*ALLOWED[machine].values(), *OTHERS[machine].values()})
    number = data.draw(st.one_of(st.sampled_from(known), st.integers(0, 600)))
    arguments = data.draw(st.lists(words, min_size=6, max_size=6))
    arch = AUDIT_ARCH[machine]
    assert run_bpf(program, number, arch, arguments) == policy(machine, number, arguments, without)
    assert run_bpf(program, number | X32_BIT, arch, arguments) == EPERM
    assert run_bpf(program, number, 0x40000003, arguments) == EPERM  # 32-bit x86


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_up_to_600_without_arguments(machine: str) -> None:
    program = for_process(build(machine), PID)
    for number in range(600):
        answer = run_bpf(program, number, AUDIT_ARCH[machine], [0] * 6)
        assert answer == policy(machine, number, [0] * 6, ())


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "name",
    [
        *(
            "execve",
            "fork",
            "vfork",
            "ptrace",
            "socket",
            "connect",
            "sendmsg",
            "memfd_create",
            "shmget",
            "mq_open",
            "bpf",
        ),
        *(
            "io_uring_setup",
            "process_vm_writev",
            "pidfd_getfd",
            "tkill",
            "rt_sigqueueinfo",
            "setns",
            "unshare",
            "mount",
        ),
        *(
            "open_by_handle_at",
            "userfaultfd",
            "keyctl",
            "perf_event_open",
            "openat2",
            "prctl",
            "seccomp",
            "timer_create",
        ),
    ],
)
def test_the_usual_holes_are_shut(machine: str, name: str) -> None:
    if name in OTHERS[machine]:
        program = for_process(build(machine), PID)
        assert run_bpf(program, OTHERS[machine][name], AUDIT_ARCH[machine], [0] * 6) == EPERM


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_numbers_are_those_of_the_kernels_headers(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed (linux-libc-dev)")
    defined = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)\s*$", Path(header).read_text(), re.MULTILINE)
    numbers = {name: int(number) for name, number in defined}
    numbers.setdefault("newfstatat", numbers.get("fstatat", -1))
    ours = {**ALLOWED[machine], **OTHERS[machine]}
    newer = {name for name in ours if name not in numbers and ours[name] > 440}  # than these headers
    assert {name: number for name, number in ours.items() if name not in newer} == {
        name: numbers[name] for name in ours if name not in newer
    }


@pytest.mark.parametrize("machine", MACHINES)
def test_the_process_id_stands_only_where_it_is_meant(machine: str) -> None:
    program = build(machine)
    ruled = [rule for rule in RULES.values() if any(value == OWN_PID for tests in rule for _, _, value in tests)]
    assert all(tests[0] == (0, 0xFFFFFFFF, OWN_PID) for rule in ruled for tests in rule)
    assert program.count(struct.pack("<I", OWN_PID)) == len(ruled)  # compared once for all alternatives of a rule
    assert len(program) // 8 < 4096  # the kernel's limit (BPF_MAXINSNS)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "place"), [("kill", 1), ("tgkill", 2)])
def test_every_signal_to_oneself_but_sigkill_and_sigstop(machine: str, name: str, place: int) -> None:
    program, number = for_process(build(machine), PID), ALLOWED[machine][name]
    refused = []
    for wanted in range(64):
        arguments = [PID, *[PID] * (place - 1), wanted, 0, 0, 0, 0][:6]
        if run_bpf(program, number, AUDIT_ARCH[machine], arguments) == EPERM:
            refused.append(wanted)
    assert refused == [signal.SIGKILL, 19]  # SIGSTOP, of these machines


@pytest.mark.parametrize("machine", MACHINES)
def test_limits_that_end_in_sigkill_are_only_asked(machine: str) -> None:
    program, number = for_process(build(machine), PID), ALLOWED[machine]["prlimit64"]

    def refused(new: int) -> list[int]:
        answers = {k: run_bpf(program, number, AUDIT_ARCH[machine], [0, k, new, 1, 0, 0]) for k in range(16)}
        return [limit for limit, answer in answers.items() if answer == EPERM]

    assert refused(0) == []
    assert refused(0x7F0000000000) == refused(0x100000001) == [resource.RLIMIT_CPU, 15]  # RLIMIT_RTTIME
