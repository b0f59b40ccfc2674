"""The system-call filter, run by a small interpreter of its own instructions: what it answers to any call."""

from __future__ import annotations

import errno
import struct

import pytest

from grader import seccomp

MACHINES = tuple(seccomp.AUDIT_ARCH)
ALLOW, KILL = 0x7FFF0000, 0x80000000
LINUX_I386 = 0x40000003


def refusal(number):
    return 0x00050000 | number


def answer(machine, number, *arguments, arch=None):
    """What the filter of that machine returns for a call."""
    program = seccomp.program(machine)
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    seen = {0: number, 4: seccomp.AUDIT_ARCH[machine] if arch is None else arch}
    seen |= {16 + 8 * index: value & 0xFFFFFFFF for index, value in enumerate((*arguments, 0, 0, 0))}
    at = accumulator = 0
    while True:
        operation, jump_true, jump_false, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = seen[operand]
            case 0x06:
                return operand
            case 0x15 | 0x35 | 0x45:
                tests = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}
                at += jump_true if tests[operation] else jump_false


def numbers(call, machine):
    return call[MACHINES.index(machine)]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_refused_call_is_refused(machine):
    """And those beside them in the table are not."""
    refused = {numbers(pair, machine) for pair in seccomp.REFUSED.values()}
    special = {numbers(seccomp.CLONE3, machine)}
    for low, high in seccomp.KNOWN[machine]:
        for number in set(range(low, high + 1)) - special - {numbers(seccomp.SOCKET, machine)}:
            if number == numbers(seccomp.SOCKETPAIR, machine):
                continue
            assert answer(machine, number) == (refusal(errno.EPERM) if number in refused else ALLOW), number


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_that_nobody_looked_at_does_not_exist(machine):
    """Numbers beyond the table, or in its gap."""
    for number in (seccomp.KNOWN[machine][0][1] + 1, seccomp.KNOWN[machine][1][1] + 1, 1000, 0x3FFFFFFF):
        assert answer(machine, number) == refusal(errno.ENOSYS)


def test_another_architectures_calls_end_the_process():
    """32-bit calls, and the x32 door of x86_64."""
    for machine in MACHINES:
        assert answer(machine, 1, arch=LINUX_I386) == KILL
    assert answer("x86_64", 1, arch=seccomp.AUDIT_ARCH["aarch64"]) == KILL
    assert answer("x86_64", 0x40000000 + 39) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_and_processes_are_made_and_namespaces_are_not(machine):
    """By the flags of clone; clone3, whose flags no filter can read, answers that it does not exist."""
    clone = numbers(seccomp.CLONE, machine)
    thread, fork = 0x003D0F00, 17
    assert answer(machine, clone, thread) == answer(machine, clone, fork) == ALLOW
    for bit in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(machine, clone, fork | bit) == refusal(errno.EPERM)
    assert answer(machine, numbers(seccomp.CLONE3, machine)) == refusal(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("call", [seccomp.SOCKET, seccomp.SOCKETPAIR])
def test_only_unix_tcp_and_udp_sockets_exist(machine, call):
    """Anything else answers EOPNOTSUPP, which libraries expect of a machine without it."""
    number = numbers(call, machine)
    stream = 1
    assert answer(machine, number, 1, stream, 0) == ALLOW
    for family in (2, 10):
        for protocol in (0, 6, 17):
            assert answer(machine, number, family, stream, protocol) == ALLOW
        for protocol in (1, 58, 132, 136, 255, 262):  # ping, ping of version 6, sctp, udp-lite, raw, multipath tcp
            assert answer(machine, number, family, stream, protocol) == refusal(errno.EOPNOTSUPP)
    for family in set(range(47)) - {1, 2, 10}:
        assert answer(machine, number, family, stream, 0) == refusal(errno.EOPNOTSUPP)


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_is_typed_into_a_terminal(machine):
    """TIOCSTI and TIOCLINUX are refused, also with bits above the 32 that the kernel looks at; other requests pass."""
    ioctl = numbers(seccomp.IOCTL, machine)
    assert answer(machine, ioctl, 0, 0x5401) == ALLOW
    for request in (0x5412, 0x541C, 0x5412 | 1 << 32):
        assert answer(machine, ioctl, 0, request) == refusal(errno.EPERM)


def test_a_machine_without_a_table_has_no_filter():
    """And so no level above L0: nothing is guessed."""
    with pytest.raises(ValueError, match="riscv64"):
        seccomp.program("riscv64")
