"""Namespaces, mounts, users and limits, for Linux, with nothing but the standard library.

Two callers. The *outer* sandbox holds a zygote for its whole life: `python confine.py FD` reads its plan
from a descriptor, builds a read-only root (or lets bubblewrap build it) and executes the zygote. Each run
then confines itself a second time with `enter_run`: own user, pid, mount, network, ipc and uts namespaces,
fresh tmpfs for everything writable, no capability, no new privileges, resource limits (the system-call filter,
`seccomp`, comes right after). The zygote holds no secret, and nothing the student runs can reach it.

Users. Where root starts the grader, the outer user namespace maps one unprivileged user of the host for the zygote
(1000 inside) and a block of others for its runs (2000 and up). The zygote keeps two capabilities in that namespace,
to change user and group. A run's first act after the fork is to become one of the block; only then it makes its own user
namespace, where that one user is all there is. Root writes the outer map, from a helper that ends before the zygote runs.
Elsewhere a user may map nobody but himself: zygote and runs are that one user.

This module is an island: the sandbox imports it, so it depends on nothing else of the package.
Numbers are those of the Linux user ABI (uapi headers); each call that fails raises OSError naming itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

with contextlib.suppress(ModuleNotFoundError):  # Unix only; the trusted side imports this module too, for `hide_memory`
    import resource

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 4, 24, 38, 47
PR_CAP_AMBIENT_RAISE = 2
CAP_SETGID, CAP_SETUID = 6, 7

#: System calls by architecture: only the ones named here differ in number between x86_64 and aarch64.
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
CAPSET = {"x86_64": 126, "aarch64": 91}

#: How readily a run is ended when the machine's memory runs out (proc_pid_oom_score_adj(5)): long before the grader, and
#: the notebook before its driver, which still sends the files.
OOM_SCORE, OOM_SCORE_KERNEL = 900, 1000

#: The user a student's code believes to be, and the zygote in its own namespace.
INNER_UID = 1000
#: The first user of the block for runs, as the zygote's namespace numbers them.
FIRST_RUN = 2000


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
    """Keep other processes of the same user from reading or writing this one's memory (/proc/PID/mem, ptrace, cores).

    On Linux; a program that is executed afterwards starts anew.
    """
    if sys.platform == "linux":
        prctl(PR_SET_DUMPABLE, 0, "dumpable")


def drop_capabilities(keep: Sequence[int] = ()) -> None:
    """Give up every capability but those, for good, in this process and whatever it executes."""
    libc = _libc()
    for capability in range(64):
        if capability not in keep and libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    kept = sum(1 << capability for capability in keep)
    data = struct.pack("=6I", kept, kept, kept, 0, 0, 0)  # effective, permitted, inheritable; then the upper 32
    _check(libc.syscall(CAPSET[platform.machine()], header, data), "capset")
    for capability in keep:  # or a program that is not root's would lose them when it is executed
        _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, ctypes.c_ulong(capability), 0, 0), "ambient capability")
    prctl(PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")


# ---------------------------------------------------------------- the run's own sandbox


def enter_run(plan: Mapping[str, Any]) -> None:
    """Confine the calling process to one run; returns in a new process, pid 1 of its namespace.

    ``plan``: ``namespaces`` (bool), ``user`` (which of the zygote's block, or None), ``work`` (folder that becomes the
    writable home), ``disk_mb``, ``overlays`` ({target: source}, read-only), ``datasets`` ([folder, name]: only that
    one is left), ``processes``. The caller must be single-threaded (true just after a fork). The process
    that called stays behind as a waiter and never returns; it ends as the new one ends, and the new one dies with it.
    """
    os.setsid()
    offer_to_oom_killer(OOM_SCORE)
    if plan["namespaces"]:
        if plan["user"] is not None:
            become(FIRST_RUN + plan["user"])
        uid, gid = os.getuid(), os.getgid()
        unshare(NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS)
        map_user(INNER_UID, uid, gid)
        _fork_into_pid_namespace()
        _private_mounts(plan)
        _hostname("lab")
        drop_capabilities()
    os.chdir(plan["work"])
    # 1 and not 0: a core that the host's core_pattern pipes into a program ignores every other limit (core(5)).
    _lower(resource.RLIMIT_CORE, 1)
    _lower(resource.RLIMIT_NOFILE, 4096)
    _lower(resource.RLIMIT_FSIZE, plan["disk_mb"] << 20)
    if plan["namespaces"]:  # without them the limit would count the user's other processes too
        _lower(resource.RLIMIT_NPROC, plan["processes"])


def offer_to_oom_killer(score: int) -> None:
    """When the machine's memory runs out, this process is to be ended, and not the grader."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(score))


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
    ``users`` ([the zygote's, the first of its runs', how many] when root, else None), ``bwrap`` (its path or None),
    ``work``, ``keep_fds``, ``devices`` (paths in /dev that are shown besides `DEVICES`). As root the sources are staged
    first, with root's sight, because the unprivileged user may not be able to walk to them (an interpreter under a
    private home, say).
    """
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, "pdeathsig")
    os.umask(0o022)
    read_only: dict[str, str] = dict(plan["read_only"])
    users: Sequence[int] | None = plan["users"]
    if users is not None:
        unshare(NEWNS)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        read_only = _stage(plan["stage"], read_only)
    mapper = None if users is None else _leave_mapper_and_become(users)
    if plan["bwrap"]:
        _execute_bwrap(plan, read_only, mapper)
    uid, gid = os.getuid(), os.getgid()
    unshare(NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS)
    if mapper is None:
        map_user(INNER_UID, uid, gid)
    else:
        _be_mapped(mapper)
    _fork_into_pid_namespace_keeping(plan["keep_fds"])
    _build_root(plan, read_only)
    if users is None:
        prctl(PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")
    else:
        drop_capabilities(keep=(CAP_SETGID, CAP_SETUID))
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


def become(uid: int) -> None:
    """Be that user and nobody else, with the group of the same number."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, "pdeathsig")  # cleared by the change of user
    prctl(PR_SET_DUMPABLE, 1, "dumpable")  # as cleared too; /proc/self/uid_map needs it


Mapper = tuple[int, int]


def _leave_mapper_and_become(users: Sequence[int]) -> Mapper:
    """Become the zygote's user, and leave a helper behind that is still root: only root may map a block of users.

    Returns (where to write, where to read): the helper maps the process that it is told as bubblewrap tells it
    ({"child-pid": N}), writes one byte and ends.
    """
    told, tell = os.pipe()
    wait, done = os.pipe()
    if os.fork() == 0:
        os.close(tell)
        os.close(wait)
        code = 1
        try:
            _map_block(_child_pid(told), users)
            os.write(done, b"x")
            code = 0
        except (OSError, ValueError) as error:
            os.write(2, f"sandbox: users could not be mapped: {error}\n".encode())
        finally:
            os._exit(code)
    os.close(told)
    os.close(done)
    become(users[0])
    return tell, wait


def _child_pid(descriptor: int) -> int:
    text = b""
    while not text.rstrip().endswith(b"}"):
        piece = os.read(descriptor, 4096)
        if not piece:
            raise ValueError("no process was named")
        text += piece
    return int(json.loads(text)["child-pid"])


def _map_block(pid: int, users: Sequence[int]) -> None:
    own, first, count = users
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(f"{INNER_UID} {own} 1\n{FIRST_RUN} {first} {count}\n")


def _be_mapped(mapper: Mapper) -> None:
    tell, wait = mapper
    os.write(tell, json.dumps({"child-pid": os.getpid()}).encode())
    mapped = os.read(wait, 1)
    os.close(tell)
    os.close(wait)
    os.wait()  # for the helper
    if not mapped:
        raise OSError(1, "the users of the runs could not be mapped")


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
DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}


def _execute_bwrap(plan: Mapping[str, Any], read_only: Mapping[str, str], mapper: Mapper | None) -> None:
    """Hand over to bubblewrap. Arguments go through a descriptor, so that no path shows in /proc/1/cmdline."""
    arguments = [
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--uid", str(INNER_UID), "--gid", str(INNER_UID), "--hostname", "lab", "--die-with-parent", "--new-session"),
    ]
    if mapper is not None:
        arguments += ["--info-fd", str(mapper[0]), "--userns-block-fd", str(mapper[1])]
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    # Folders that bubblewrap makes on the way are its user's alone (0700), and the runs are other users.
    ways = {str(parent) for inside in (*read_only, plan["work"]) for parent in PurePosixPath(inside).parents}
    for folder in sorted(ways - {"/"}):
        arguments += ["--perms", "0755", "--dir", folder]
    for inside, outside in sorted(read_only.items()):
        arguments += ["--ro-bind", outside, inside]
    for link, target in sorted(plan["links"].items()):
        arguments += ["--symlink", target, link]
    # Not --dev: it brings terminals, which need a mapped root.
    arguments += ["--proc", "/proc", "--size", str(1 << 20), "--tmpfs", "/dev", "--perms", "0755", "--dir", "/dev/shm"]
    for name in DEVICES:
        arguments += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for device in plan["devices"]:
        arguments += ["--dev-bind", device, device]
    for name, target in DEVICE_LINKS.items():
        arguments += ["--symlink", target, f"/dev/{name}"]
    arguments += ["--perms", "0755", "--dir", plan["work"], "--size", str(64 << 20), "--tmpfs", "/tmp"]
    # /dev is a tmpfs of bubblewrap's that all runs of this zygote share: writable, it would be a letter box between them.
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    read_end, write_end = os.pipe()
    os.write(write_end, b"\0".join(text.encode() for text in arguments) + b"\0")
    os.close(write_end)
    inherited = {read_end, *(mapper or ())}
    for descriptor in inherited:
        os.set_inheritable(descriptor, True)
    _close_descriptors_except({*inherited, *plan["keep_fds"]})
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
    for device in (*(f"/dev/{name}" for name in DEVICES), *plan["devices"]):
        os.close(os.open(root + device, os.O_CREAT | os.O_WRONLY, 0o666))
        mount(device, root + device, None, MS_BIND)
    for name, target in DEVICE_LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
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
