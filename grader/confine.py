"""Namespaces, mounts, limits and the system-call filter, for Linux, with nothing but the standard library.

Two callers. The *outer* sandbox holds a zygote for its whole life: `python confine.py FD` reads its plan
from a descriptor, builds a read-only root (or lets bubblewrap build it) and executes the zygote. Each run
then confines itself a second time with `enter_run`: own user, pid, mount, network, ipc and uts namespaces,
fresh tmpfs for everything writable, no capability, no new privileges, a system-call filter, resource
limits. The zygote holds no secret, and nothing the student runs can reach it.

This module is an island: the sandbox imports it, so it depends on nothing else of the package.
Numbers are those of the Linux user ABI (uapi headers); each call that fails raises OSError naming itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 22, 38

#: System calls by architecture: only the ones named here differ in number between x86_64 and aarch64.
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
CAPSET = {"x86_64": 126, "aarch64": 91}

#: The user a student's code believes to be.
INNER_UID = 1000


def die_with_parent() -> None:
    """Have Linux kill this process when its parent is gone; elsewhere it notices when its channel closes."""
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, "pdeathsig")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, value: int, what: str) -> None:
    _check(_libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {what}")


def unshare(flags: int) -> None:
    _check(_libc().unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    _check(
        _libc().mount(*encoded, ctypes.c_ulong(flags), None if data is None else data.encode()),
        f"mount {source} on {target}",
    )


def map_user(inside: int, outside_uid: int, outside_gid: int) -> None:
    """Map one user and one group into the user namespace just made."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {outside_uid} 1"),
        ("gid_map", f"{inside} {outside_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def hide_memory() -> None:
    """Keep other processes of the same user from reading or writing this one's memory (/proc/PID/mem, ptrace)."""
    prctl(PR_SET_DUMPABLE, 0, "dumpable")


def drop_capabilities() -> None:
    """Give up every capability, for good, in this process and whatever it executes."""
    libc = _libc()
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    data = bytes(24)
    _check(libc.syscall(CAPSET[platform.machine()], header, data), "capset")
    prctl(PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")


# ---------------------------------------------------------------- the system-call filter

#: Refused with EPERM inside a run: {name: (x86_64, aarch64)}; None where the architecture has no such call.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "personality": (135, 92),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "vhangup": (153, 58),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "fanotify_init": (300, 262),
    "mknodat": (259, 33),
    "mknod": (133, None),
}
NAMESPACE_FLAGS = NEWUSER | NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET | NEWCGROUP
CLONE = (56, 220)
CLONE3 = (435, 435)
SOCKET = (41, 198)
SOCKETPAIR = (53, 199)
IOCTL = (16, 29)
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
#: unix, inet, inet6: libzmq and TensorFlow want these to exist; there is no network behind them.
SOCKET_FAMILIES = (1, 2, 10)
_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EOPNOTSUPP = 1, 38, 95


def seccomp_program(machine: str | None = None) -> bytes:
    """The filter as classic BPF (struct sock_filter, 8 bytes each).

    Offsets are those of struct seccomp_data: number 0, architecture 4, low half of argument i at 16 + 8 i.
    Refused socket families answer EOPNOTSUPP, because EAFNOSUPPORT makes libzmq abort (measured); `clone3`
    answers ENOSYS, so that glibc falls back to `clone`, whose flags a filter can read.
    """
    machine = machine or platform.machine()
    column = list(AUDIT_ARCH).index(machine)
    program: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, 4),
        (_JEQ, 1, 0, AUDIT_ARCH[machine]),
        (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":  # the x32 ABI would be a second door to every call
        program += [(_JGE, 0, 1, 0x40000000), (_RET, 0, 0, _KILL)]
    for numbers in REFUSED.values():
        number = numbers[column]
        if number is not None:
            program += [(_JEQ, 0, 1, number), (_RET, 0, 0, _ERRNO | _EPERM)]
    program += [(_JEQ, 0, 1, CLONE3[column]), (_RET, 0, 0, _ERRNO | _ENOSYS)]
    program += [
        (_JEQ, 0, 4, CLONE[column]),
        (_LOAD, 0, 0, 16),
        (_JSET, 0, 1, NAMESPACE_FLAGS),
        (_RET, 0, 0, _ERRNO | _EPERM),
        (_RET, 0, 0, _ALLOW),
    ]
    program += [
        (_JEQ, 0, 5, IOCTL[column]),
        (_LOAD, 0, 0, 24),
        (_JEQ, 1, 0, TIOCSTI),
        (_JEQ, 0, 1, TIOCLINUX),
        (_RET, 0, 0, _ERRNO | _EPERM),
        (_RET, 0, 0, _ALLOW),
    ]
    for call in (SOCKET, SOCKETPAIR):
        allowed = len(SOCKET_FAMILIES)
        program += [(_JEQ, 0, allowed + 3, call[column]), (_LOAD, 0, 0, 16)]
        program += [(_JEQ, allowed - index, 0, family) for index, family in enumerate(SOCKET_FAMILIES)]
        program += [(_RET, 0, 0, _ERRNO | _EOPNOTSUPP), (_RET, 0, 0, _ALLOW)]
    program.append((_RET, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", code, jt, jf, k) for code, jt, jf, k in program)


def apply_seccomp() -> None:
    """Load the filter into this process. Needs no_new_privs. Raises ValueError on another architecture."""
    program = seccomp_program()
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _check(_libc().prctl(PR_SET_SECCOMP, 2, ctypes.c_char_p(fprog), 0, 0), "seccomp")


# ---------------------------------------------------------------- the run's own sandbox


def enter_run(plan: Mapping[str, Any]) -> None:
    """Confine the calling process to one run; returns in a new process, pid 1 of its namespace.

    ``plan``: ``namespaces`` (bool), ``work`` (folder that becomes the writable home), ``disk_mb``,
    ``overlays`` ({target: source}, read-only), ``datasets`` ([folder, name]: only that one is left),
    ``seccomp`` (bool), ``processes``. The caller must be single-threaded (true just after a fork). The process
    that called stays behind as a waiter and never returns; it ends as the new one ends, and the new one dies with it.
    """
    os.setsid()
    if plan["namespaces"]:
        uid, gid = os.getuid(), os.getgid()
        unshare(NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS)
        map_user(INNER_UID, uid, gid)
        _fork_into_pid_namespace()
        _private_mounts(plan)
        _hostname("lab")
        drop_capabilities()
    os.chdir(plan["work"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_NOFILE, 4096)
    _lower(resource.RLIMIT_FSIZE, plan["disk_mb"] << 20)
    if plan["namespaces"]:  # without them the limit would count the user's other processes too
        _lower(resource.RLIMIT_NPROC, plan["processes"])
    if plan["seccomp"]:
        prctl(PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")
        apply_seccomp()


def _lower(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (limit, limit))


def _fork_into_pid_namespace() -> None:
    parent_alive, parent_end = os.pipe()
    child = os.fork()
    if child:
        os.close(parent_alive)
        _close_descriptors_except({parent_end})
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            os.write(2, f"a run ended with exit status {code}\n".encode())  # to nowhere, unless debugging
        os._exit(code & 0xFF)
    os.close(parent_end)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, "pdeathsig")
    os.set_blocking(parent_alive, False)
    try:  # the parent may have died before the line above took effect: then its end of the pipe is closed
        if os.read(parent_alive, 1) == b"":
            os._exit(1)
    except BlockingIOError:
        pass
    os.close(parent_alive)


def _close_descriptors_except(keep: set[int]) -> None:
    """Close all but the standard three and ``keep``.

    By number and not by listing /proc/self/fd: the child of `_fork_into_pid_namespace` may just have mounted a new
    /proc over it, in which this process does not exist (seen once in forty runs).
    """
    start = 3
    for descriptor in sorted(number for number in keep if number >= start):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, 1 << 20)


def _private_mounts(plan: Mapping[str, Any]) -> None:
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    size = f"size={plan['disk_mb']}m,nr_inodes=65536,mode=0700"
    for target, options in (
        (plan["work"], size),
        ("/tmp", "size=256m,nr_inodes=16384,mode=0700"),
        ("/dev/shm", "size=256m,nr_inodes=4096,mode=0700"),
    ):
        mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options)
    shown, dataset = plan["datasets"]
    if os.path.isdir(shown):  # another lab's copy, or the same data divided by another secret, would show withheld rows
        if dataset:
            mount(f"{shown}/{dataset}", shown, None, MS_BIND)
        else:
            mount("tmpfs", shown, "tmpfs", MS_RDONLY, "size=4k")
    for target, source in plan["overlays"].items():
        if os.path.exists(target):
            mount(source, target, None, MS_BIND)
            mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | _locked_flags(target))


def _hostname(name: str) -> None:
    encoded = name.encode()
    _check(_libc().sethostname(encoded, len(encoded)), "sethostname")


# ---------------------------------------------------------------- the outer sandbox


def outer(plan: Mapping[str, Any]) -> None:
    """Build the zygote's sandbox and execute ``plan['argv']`` in it; never returns.

    ``plan``: ``read_only`` ({path inside: path outside}), ``links`` ({path: target}), ``argv``, ``environ``,
    ``uid`` (to drop to when root, else None), ``bwrap`` (its path or None), ``work``, ``keep_fds``.
    As root the sources are staged first, with root's sight, because the unprivileged user may not be
    able to walk to them (an interpreter under a private home, say).
    """
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, "pdeathsig")
    os.umask(0o022)
    read_only: dict[str, str] = dict(plan["read_only"])
    if plan["uid"] is not None:
        unshare(NEWNS)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        read_only = _stage(plan["stage"], read_only)
        _become(plan["uid"])
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, "pdeathsig")  # cleared by the change of user
        prctl(PR_SET_DUMPABLE, 1, "dumpable")  # as cleared too; /proc/self/uid_map needs it
    if plan["bwrap"]:
        _execute_bwrap(plan, read_only)
    uid, gid = os.getuid(), os.getgid()
    unshare(NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS)
    map_user(INNER_UID, uid, gid)
    _fork_into_pid_namespace_keeping(plan["keep_fds"])
    _build_root(plan, read_only)
    prctl(PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")
    _close_descriptors_except(set(plan["keep_fds"]))
    os.execve(plan["argv"][0], plan["argv"], plan["environ"])


def _fork_into_pid_namespace_keeping(keep: Sequence[int]) -> None:
    child = os.fork()
    if child:
        for descriptor in keep:  # or the zygote would not see its master's end close
            os.close(descriptor)
        status = os.waitpid(child, 0)[1]
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, "pdeathsig")


def _become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _stage(stage: str, read_only: Mapping[str, str]) -> dict[str, str]:
    mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755")
    staged = {}
    for index, (inside, outside) in enumerate(sorted(read_only.items())):
        target = f"{stage}/{index}"
        if os.path.isdir(outside):
            os.mkdir(target, 0o755)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        mount(outside, target, None, MS_BIND | MS_REC)
        staged[inside] = target
    return staged


DEVICES = ("null", "zero", "full", "random", "urandom")


def _execute_bwrap(plan: Mapping[str, Any], read_only: Mapping[str, str]) -> None:
    """Hand over to bubblewrap. Arguments go through a descriptor, so that no path shows in /proc/1/cmdline."""
    arguments = [
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--uid", str(INNER_UID), "--gid", str(INNER_UID), "--hostname", "lab", "--die-with-parent", "--new-session"),
    ]
    for inside, outside in sorted(read_only.items()):
        arguments += ["--ro-bind", outside, inside]
    for link, target in sorted(plan["links"].items()):
        arguments += ["--symlink", target, link]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--dir", plan["work"]]
    arguments += ["--size", str(64 << 20), "--tmpfs", "/tmp"]
    # /dev is a tmpfs of bubblewrap's that all runs of this zygote share: writable, it would be a letter box between them.
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    read_end, write_end = os.pipe()
    os.write(write_end, b"\0".join(text.encode() for text in arguments) + b"\0")
    os.close(write_end)
    os.set_inheritable(read_end, True)
    _close_descriptors_except({read_end, *plan["keep_fds"]})
    os.execve(plan["bwrap"], [plan["bwrap"], "--args", str(read_end), "--", *plan["argv"]], plan["environ"])


def _build_root(plan: Mapping[str, Any], read_only: Mapping[str, str]) -> None:
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    root = plan["root"]
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,mode=0755")
    for inside, outside in sorted(read_only.items()):
        _bind_read_only(outside, root + inside)
    for link, target in plan["links"].items():
        os.makedirs(os.path.dirname(root + link), exist_ok=True)
        os.symlink(target, root + link)
    for folder in ("/proc", "/dev/shm", "/tmp", "/.old", plan["work"]):
        os.makedirs(root + folder, exist_ok=True)
    mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=0700")
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in DEVICES:
        os.close(os.open(f"{root}/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        mount(f"/dev/{name}", f"{root}/dev/{name}", None, MS_BIND)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")):
        os.symlink(target, f"{root}/dev/{name}")
    os.symlink("/proc/self/fd/2", f"{root}/dev/stderr")
    _check(_libc().syscall(PIVOT_ROOT[platform.machine()], root.encode(), f"{root}/.old".encode()), "pivot_root")
    os.chdir("/")
    _check(_libc().umount2(b"/.old", MNT_DETACH), "umount")
    os.rmdir("/.old")
    mount("none", "/", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _bind_read_only(outside: str, target: str) -> None:
    if os.path.isdir(outside):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):  # it does where one mount covers a file of another
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(outside, target, None, MS_BIND | MS_REC)
    mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | _locked_flags(target))


def _locked_flags(path: str) -> int:
    """Flags of the mount below, which a user namespace may not take away (EPERM otherwise)."""
    have = os.statvfs(path).f_flag
    pairs = (
        (4, MS_NODEV),
        (8, MS_NOEXEC),
        (1024, 1024),
        (2048, 2048),
        (4096, 1 << 21),
    )  # ST_ -> MS_, the last relatime
    return sum(flag for bit, flag in pairs if have & bit)


def main() -> None:
    """``confine.py FD``: read the plan (JSON) from the descriptor and enter the outer sandbox."""
    descriptor = int(sys.argv[1])
    with os.fdopen(descriptor, "rb") as file:
        plan = json.load(file)
    try:
        outer(plan)
    except OSError as error:
        os.write(2, f"sandbox: {error.strerror or error}\n".encode())
        os._exit(97)


if __name__ == "__main__":
    main()
