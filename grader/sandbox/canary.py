"""The canary: a notebook that tries to get out. A sandbox level is what it could not do.

It runs on the very path that submissions take: the same backend, zygote, confinement, driver and kernel (without
TensorFlow, which changes nothing here). Before it runs, the host puts out baits: a file in the host's temporary
folder, a listening port on the loopback, a process with a known number, an environment variable of the launcher. Each
claim of a level is one attempt. See docs/sandbox.md for what each level promises.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grader import wire
from grader.errors import ChannelError, GraderError, SandboxDied, SandboxError
from grader.records import Ending, Level, Limits, Record
from grader.runner import Job, Run, run_notebook
from grader.sandbox import attempts
from grader.sandbox.backends import GROUP_PROCESSES, Backend, available
from grader.zygote import Zygote

#: Small, so that what two folders in memory hold is more than a run may have.
LIMITS = Limits(wall_s=20, memory_mb=128, disk_mb=16, threads=1)

#: What the canary must not manage, by the level that promises it.
CLAIMS: dict[str, tuple[Level, str]] = {
    "host_file": (Level.L1, "cannot read the host's files"),
    "host_write": (Level.L1, "cannot write outside its own folders"),
    "host_process": (Level.L1, "cannot see or signal the host's processes"),
    "host_port": (Level.L1, "cannot reach the host's loopback"),
    "network": (Level.L1, "has no network"),
    "launcher_environment": (Level.L1, "cannot read the launcher's environment"),
    "descriptors": (Level.L1, "inherits no descriptor of the host's"),
    "neighbour": (Level.L1, "cannot see or reach a run beside it"),
    "real_root": (Level.L2, "is an unprivileged user on the host"),
    "capabilities": (Level.L2, "has no capability"),
    "new_namespace": (Level.L2, "cannot make namespaces"),
    "ptrace": (Level.L2, "cannot trace processes"),
    "vsock": (Level.L2, "cannot open sockets of other families"),
    "system_calls": (Level.L2, "cannot make system calls that a notebook has no use for"),
    "foreign_calls": (Level.L2, "cannot make system calls of another architecture"),
    "privileges": (Level.L2, "cannot gain privileges"),
    "driver_memory": (Level.L2, "cannot read or write the memory of its driver"),
    "core": (Level.L2, "leaves no core dump"),
    "memory": (Level.L2, "cannot allocate without limit"),
    "own_user": (Level.L3, "is a user that no other run is"),
    "all_memory": (Level.L3, "cannot take memory beyond its limit by many processes or by files"),
    "all_processes": (Level.L3, "cannot start processes and threads without limit"),
    "left_behind": (Level.L3, "leaves no process behind"),
}
HINTS = {
    Level.L0: "for a real sandbox allow unprivileged user namespaces, or install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap)",
    Level.L1: "L2 needs a kernel with seccomp and an unprivileged user",
}
#: 1 where AppArmor gives unprivileged processes user namespaces without capabilities, as Ubuntu has it since 24.04. A
#: sandbox needs them to mount, and its outer half is unprivileged even where root starts it.
RESTRICTION = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
RESTRICTION_HINT = (
    "AppArmor restricts user namespaces here: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
)
#: What L3 needs beyond L2, by the claims that are not held without it.
USERS_HINT = "L3 needs a user for each run: start the grader as root (sudo)"
GROUPS_HINT = (
    "L3 needs control groups for memory and pids: start the grader as `systemd-run {}--scope -p Delegate=yes grader …`"
)


class Proof(Record, frozen=True):
    """What the canary found. ``claims`` maps each claim to whether it held.

    ``problem``: why nothing was found; ``died``: because the canary, or what it ran in, was killed or did not answer, and
    not because the machine refused the sandbox.
    """

    backend: str
    level: Level
    claims: dict[str, bool]
    hint: str = ""
    problem: str = ""
    died: bool = False
    start_s: float = 0.0

    @property
    def summary(self) -> str:
        """One line: the level reached, by what, and what would raise it."""
        text = f"sandbox level L{int(self.level)} ({self.backend})"
        return f"{text}; {self.hint}" if self.hint else text


def choose(python: str, minimum: Level = Level.L0) -> tuple[Backend, Proof]:
    """The strongest backend that works here, proved. Raises SandboxError when it is weaker than ``minimum``.

    A canary that died has found nothing, and may not be why notebooks run in a weaker sandbox, or in none: where no other
    backend reaches L2 that is an error, whatever the minimum.
    """
    best: tuple[Backend, Proof] | None = None
    dead: list[Proof] = []
    for backend in available():
        proof = prove(backend, python)
        if proof.died:  # perhaps by a moment without memory
            proof = prove(backend, python)
        if proof.died:
            dead.append(proof)
        if not proof.problem and (best is None or proof.level > best[1].level):
            best = (backend, proof)
        if best is not None and best[1].level >= Level.L2:
            break
    if dead and (best is None or best[1].level < Level.L2):
        raise SandboxError(
            f"no sandbox could be proved: {dead[0].problem}",
            where=dead[0].backend,
            fix="something ends its processes, as a machine without memory does (see `dmesg`): mend that and try again",
        )
    if best is None:
        raise SandboxError("no way to run a notebook works on this machine", fix="run `grader doctor`")
    if best[1].level < minimum:
        broken = [text for name, (_, text) in CLAIMS.items() if best[1].claims.get(name) is False]
        why = f"; not held: a run {', '.join(broken)}" if broken else ""
        raise SandboxError(
            f"the sandbox reaches only L{int(best[1].level)}, and L{int(minimum)} is demanded{why}",
            fix=best[1].hint or f"demand at most L{int(best[1].level)}",
        )
    return best


def prove(backend: Backend, python: str) -> Proof:
    """Run the canary in that backend. Never raises: a backend that does not work proves nothing."""
    if backend.name == "none":
        return Proof(backend="no sandbox", level=Level.L0, claims={}, hint=_hint(Level.L0, {}))
    start = time.perf_counter()
    try:
        with _bait() as bait, Zygote(backend, python, options={"tensorflow": False}, slot=90) as zygote:
            findings = _findings(zygote, bait)
    except GraderError as error:
        died = isinstance(error, SandboxDied | ChannelError)
        hint = _hint(Level.L0, {})
        return Proof(backend=backend.name, level=Level.L0, claims={}, hint=hint, problem=str(error), died=died)
    claims = {name: findings.get(name) is False for name in CLAIMS}
    level, seconds = _level(claims), time.perf_counter() - start
    return Proof(backend=backend.name, level=level, claims=claims, hint=_hint(level, claims), start_s=seconds)


def _level(claims: dict[str, bool]) -> Level:
    level = Level.L0
    for candidate in (Level.L1, Level.L2, Level.L3):
        if all(held for name, held in claims.items() if CLAIMS[name][0] <= candidate):
            level = candidate
    return level


def _hint(level: Level, claims: dict[str, bool]) -> str:
    """The line that raises the level."""
    if level is Level.L0 and _restricted():
        return RESTRICTION_HINT
    if level is not Level.L2:
        return HINTS.get(level, "")
    needs = [] if claims["own_user"] else [USERS_HINT]
    if not (claims["all_memory"] and claims["all_processes"] and claims["left_behind"]):
        needs.append(GROUPS_HINT.format("" if os.geteuid() == 0 else "--user "))
    return "; ".join(needs)


def _restricted() -> bool:
    try:
        return RESTRICTION.read_text().strip() == "1"
    except OSError:  # no AppArmor, or one that does not know this
        return False


def _findings(zygote: Zygote, bait: dict[str, Any]) -> dict[str, Any]:
    """What was managed: by the canary's word where it tried, by the host's own look where the canary could be fooled."""
    with _canary(zygote, attempts.ESCAPE, bait) as first:
        found = _answer(first)
        with _canary(zygote, attempts.NEIGHBOUR, bait) as second:
            found |= _answer(second)
            users = [_host_uid(run) for run in (first, second)]
        group = first.group
        caught = group is not None and any(bait["neighbour"] in _command_line(pid) for pid in group.processes())
    found["real_root"] = 0 in users
    found["own_user"] = len({*users, os.getuid()}) < 3
    # The daemon was in the group, and the folder of a group cannot be removed while anybody is in it.
    found["left_behind"] = group is None or not caught or group.exists()
    with _canary(zygote, attempts.HOG, bait) as hog:
        if hog.facts.ending not in (Ending.OK, Ending.OUT_OF_MEMORY):
            raise _dead(hog)
        found["all_memory"] = hog.facts.ending is Ending.OK
    return found


@contextmanager
def _canary(zygote: Zygote, source: str, bait: dict[str, Any]) -> Iterator[Run]:
    cell = wire.SourceCell("code", source.replace("__BAIT__", repr(bait)))
    with run_notebook(zygote, Job(cells=(cell,), seed=0, limits=LIMITS)) as run:
        yield run


def _answer(run: Run) -> dict[str, Any]:
    if run.link is None:
        raise _dead(run)
    nonce = secrets.token_hex(8)
    run.link.send(wire.Ask(nonce, wire.Name("findings"), deadline_s=10))
    answer = run.link.receive(time.monotonic() + 20)
    if not isinstance(answer, wire.Answer) or answer.value is None or answer.nonce != nonce:
        why = "; ".join(f"{error.kind}: {error.message}" for error in run.facts.cell_errors)
        raise SandboxDied(f"the canary gave no answer {why}".strip())
    found = wire.from_value(answer.value)
    return found if isinstance(found, dict) else {}


def _dead(run: Run) -> SandboxDied:
    return SandboxDied(f"the canary did not survive: {run.facts.ending.value} {run.facts.ending_detail}".strip())


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace")
    except OSError:
        return ""


def _host_uid(run: Run) -> int:
    """The user a run's process is on the host, as the host sees it: not for the canary to say."""
    pid = run.link.pid if run.link else 0
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        raise _dead(run) from None
    return int(next(line for line in lines if line.startswith("Uid:")).split()[1])


@contextmanager
def _bait() -> Iterator[dict[str, Any]]:
    secret, marker = secrets.token_hex(16), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="grader-bait-") as folder, socket.create_server(("127.0.0.1", 0)) as server:
        os.chmod(folder, 0o755)  # noqa: S103 - a bait must be readable to anyone who can see it
        path = Path(folder, "bait")
        path.write_text(secret)
        path.chmod(0o644)
        os.environ["GRADER_CANARY"] = secret
        command = [sys.executable, "-I", "-S", "-c", "input()", marker]  # a process of the host's with a known name
        bait = subprocess.Popen(command, stdin=subprocess.PIPE)
        leaks = [os.open(leaked, os.O_RDONLY) for leaked in (path, folder)]
        for leak in leaks:
            os.set_inheritable(leak, True)
        try:
            yield {
                "file": str(path),
                "secret": secret,
                "pid": bait.pid,
                "marker": marker,
                "neighbour": secrets.token_hex(16),
                "key": secrets.randbelow(1 << 30) + 1,
                "port": server.getsockname()[1],
                "variable": secret,
                "threads": GROUP_PROCESSES,
            }
        finally:
            for leak in leaks:
                os.close(leak)
            os.environ.pop("GRADER_CANARY", None)
            bait.communicate(b"\n")
