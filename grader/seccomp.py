"""The system-call filter of a run, as classic BPF, for Linux on x86_64 and aarch64.

Theory of operation. The filter is an allow-list by number: what the tables of Linux 6.1 list is allowed, less
`REFUSED`, and any other number answers ENOSYS, so that a call which a newer kernel brings does not exist for a notebook
until somebody has looked at it. A list by name of the calls that TensorFlow makes would be shorter (some 60 for a fit and a
save, by strace), but notebooks start shells, git and compilers too, and a missing name would cost a student points. So
the calls that a notebook has no use for are named instead: whatever traces, mounts, loads, makes namespaces, reaches into
another process, uses keys, or is known for kernel flaws more than for need (io_uring, userfaultfd, bpf, perf).

Four calls are decided by an argument: ``clone`` (no namespace flags), ``ioctl`` (no typing into terminals), ``socket``
and ``socketpair`` (families and protocols). ``clone3`` answers ENOSYS, so that glibc falls back to ``clone``, whose
flags a filter can read. A process that calls by another architecture's table (32-bit, x32) is killed.

An island: the sandbox imports it, so it depends on nothing else of the package.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: Numbers that the tables of Linux 6.1 give (first and last); the gap between them is reserved.
KNOWN = {"x86_64": ((0, 334), (424, 450)), "aarch64": ((0, 294), (424, 450))}

#: Refused with EPERM: {name: (x86_64, aarch64)}; None where the architecture has no such call.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # mounts, roots and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    # files by other ways than paths, and devices
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "mknodat": (259, 33),
    "mknod": (133, None),
    "memfd_secret": (447, 447),
    # keyrings belong to a user, not to a namespace
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    # large and often flawed parts of the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "io_submit": (209, 2),
    "vmsplice": (278, 75),
    "seccomp": (317, 277),
    "remap_file_pages": (216, 234),
    # the machine
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, None),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
}
CLONE, CLONE3, IOCTL = (56, 220), (435, 435), (16, 29)
SOCKET, SOCKETPAIR = (41, 198), (53, 199)
#: User, mount, uts, ipc, pid, network, cgroup and time namespaces (the last shares its bit with CSIGNAL in clone).
NAMESPACE_FLAGS = 0x10000000 | 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000 | 0x02000000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
#: Kernel channels are ipc, so unix is all that is needed; libzmq, urllib3 and TensorFlow ask whether inet and inet6
#: exist. There is no network behind these, not even a loopback that is up. Of their protocols TCP and UDP are enough.
PROTOCOLS = (0, 6, 17)

_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EOPNOTSUPP = 1, 38, 95
_NUMBER, _ARCH = 0, 4
PR_SET_SECCOMP, FILTER_MODE = 22, 2

Instruction = tuple[int, int, int, int]


def program(machine: str | None = None) -> bytes:
    """The filter as an array of struct sock_filter, 8 bytes each.

    Offsets are those of struct seccomp_data: number 0, architecture 4, low half of argument i at 16 + 8 i. Raises
    ValueError on an architecture whose numbers are not known.
    """
    machine = machine or platform.machine()
    if machine not in AUDIT_ARCH:
        raise ValueError(f"no system-call table for {machine}")
    column = list(AUDIT_ARCH).index(machine)
    instructions: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, AUDIT_ARCH[machine]),
        (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":  # the x32 ABI would be a second door to every call
        instructions += [(_JGE, 0, 1, 0x40000000), (_RET, 0, 0, _KILL)]
    instructions += _by_argument(column)
    *steps, (_, lowest) = _verdicts(machine, column)
    for first, verdict in steps:
        instructions += [(_JGE, 0, 1, first), (_RET, 0, 0, verdict)]
    instructions.append((_RET, 0, 0, lowest))
    return b"".join(struct.pack("<HBBI", code, jt, jf, k) for code, jt, jf, k in instructions)


def _argument(index: int) -> Instruction:
    return (_LOAD, 0, 0, 16 + 8 * index)


def _by_argument(column: int) -> list[Instruction]:
    """The calls whose arguments decide. Each block is skipped where the number is another."""
    instructions: list[Instruction] = [(_JEQ, 0, 1, CLONE3[column]), (_RET, 0, 0, _ERRNO | _ENOSYS)]
    blocks: dict[int, list[Instruction]] = {
        CLONE[column]: [_argument(0), (_JSET, 0, 1, NAMESPACE_FLAGS), (_RET, 0, 0, _ERRNO | _EPERM)],
        IOCTL[column]: [_argument(1), (_JEQ, 1, 0, TIOCSTI), (_JEQ, 0, 1, TIOCLINUX), (_RET, 0, 0, _ERRNO | _EPERM)],
    }
    for call in (SOCKET, SOCKETPAIR):
        # EOPNOTSUPP, because EAFNOSUPPORT makes libzmq abort (measured)
        internet = [_argument(2), *((_JEQ, len(PROTOCOLS) - index, 0, p) for index, p in enumerate(PROTOCOLS))]
        blocks[call[column]] = [
            _argument(0),
            (_JEQ, len(internet) + 3, 0, AF_UNIX),
            (_JEQ, 1, 0, AF_INET),
            (_JEQ, 0, len(internet), AF_INET6),
            *internet,
            (_RET, 0, 0, _ERRNO | _EOPNOTSUPP),
        ]
    for number, block in blocks.items():
        instructions += [(_JEQ, 0, len(block) + 1, number), *block, (_RET, 0, 0, _ALLOW)]
    return instructions


def _verdicts(machine: str, column: int) -> list[tuple[int, int]]:
    """(first number, verdict) from the highest down: the first one that a number reaches decides."""
    refused = {numbers[column] for numbers in REFUSED.values()}
    last = KNOWN[machine][-1][1]
    verdicts = [(last + 1, _ERRNO | _ENOSYS)]
    for number in range(last, -1, -1):
        known = any(low <= number <= high for low, high in KNOWN[machine])
        verdict = _ERRNO | _ENOSYS if not known else _ERRNO | _EPERM if number in refused else _ALLOW
        if verdicts[-1][1] == verdict:
            verdicts[-1] = (number, verdict)
        else:
            verdicts.append((number, verdict))
    return verdicts


def apply() -> None:
    """Load the filter into this process, for good. Needs no_new_privs. Raises ValueError on another architecture."""
    code = program()
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_SECCOMP, FILTER_MODE, ctypes.c_char_p(fprog), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
