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
from grader.errors import GraderError, SandboxError
from grader.records import Level, Limits, Record
from grader.runner import Job, run_notebook
from grader.sandbox.backends import Backend, available
from grader.zygote import Zygote

#: What the canary must not manage, by the level that promises it.
CLAIMS: dict[str, tuple[Level, str]] = {
    "host_file": (Level.L1, "cannot read the host's files"),
    "host_write": (Level.L1, "cannot write outside its own folders"),
    "host_process": (Level.L1, "cannot see or signal the host's processes"),
    "host_port": (Level.L1, "cannot reach the host's loopback"),
    "network": (Level.L1, "has no network"),
    "launcher_environment": (Level.L1, "cannot read the launcher's environment"),
    "real_root": (Level.L2, "is an unprivileged user on the host"),
    "capabilities": (Level.L2, "has no capability"),
    "new_namespace": (Level.L2, "cannot make namespaces"),
    "ptrace": (Level.L2, "cannot trace processes"),
    "vsock": (Level.L2, "cannot open sockets of other families"),
    "privileges": (Level.L2, "cannot gain privileges"),
    "driver_memory": (Level.L2, "cannot read or write the memory of its driver"),
    "memory": (Level.L2, "cannot allocate without limit"),
}
HINTS = {
    Level.L0: "for a real sandbox allow unprivileged user namespaces, or install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap)",
    Level.L1: "L2 needs a kernel with seccomp and an unprivileged user",
}

NOTEBOOK = r"""
import ctypes, os, socket
BAIT = __BAIT__
def attempt(act):
    try:
        return bool(act())
    except BaseException:
        return False
def status(key):
    return next(l.split(":")[1].strip() for l in open("/proc/self/status") if l.startswith(key))
def connect(family, kind, address):
    s = socket.socket(family, kind); s.settimeout(0.5)
    s.connect(address); s.sendall(b"x"); return True
libc = ctypes.CDLL(None, use_errno=True)
findings = {
    "host_file": attempt(lambda: open(BAIT["file"]).read() == BAIT["secret"]),
    "host_write": attempt(lambda: [open(p, "w").close() for p in [BAIT["file"] + ".w"]]) or attempt(lambda: open("/usr/grader-canary", "w")),
    "host_process": attempt(lambda: any(BAIT["marker"].encode() in open(f"/proc/{p}/cmdline", "rb").read() for p in os.listdir("/proc") if p.isdigit())) or attempt(lambda: os.kill(BAIT["pid"], 0) is None),
    "host_port": attempt(lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", BAIT["port"]))),
    "network": attempt(lambda: any(name != "lo" for _, name in socket.if_nameindex())) or attempt(lambda: len(open("/proc/net/route").readlines()) > 1),
    "launcher_environment": any(attempt(lambda p=p: BAIT["variable"].encode() in open(f"/proc/{p}/environ", "rb").read()) for p in ("1", "2", "self")),
    "capabilities": attempt(lambda: int(status("CapEff"), 16) != 0),
    "new_namespace": attempt(lambda: libc.unshare(0x10000000) == 0),
    "ptrace": attempt(lambda: libc.ptrace(0, 0, 0, 0) == 0),
    "vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM)) or attempt(lambda: socket.socket(16, socket.SOCK_RAW)),
    "privileges": attempt(lambda: status("NoNewPrivs") != "1"),
    "driver_memory": attempt(lambda: open("/proc/1/mem", "r+b")) or attempt(lambda: open("/proc/1/environ", "rb").read()),
    "memory": attempt(lambda: bytearray(8 << 30)),
}
"""


class Proof(Record, frozen=True):
    """What the canary found. ``claims`` maps each claim to whether it held."""

    backend: str
    level: Level
    claims: dict[str, bool]
    hint: str = ""
    problem: str = ""
    start_s: float = 0.0

    @property
    def summary(self) -> str:
        """One line: the level reached, by what, and what would raise it."""
        text = f"sandbox level L{int(self.level)} ({self.backend})"
        return f"{text}; {self.hint}" if self.hint else text


def choose(python: str, minimum: Level = Level.L0) -> tuple[Backend, Proof]:
    """The strongest backend that works here, proved. Raises SandboxError when it is weaker than ``minimum``."""
    best: tuple[Backend, Proof] | None = None
    for backend in available():
        proof = prove(backend, python)
        if not proof.problem and (best is None or proof.level > best[1].level):
            best = (backend, proof)
        if best is not None and best[1].level >= Level.L2:
            break
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
        return Proof(backend="no sandbox", level=Level.L0, claims={}, hint=HINTS[Level.L0])
    start = time.perf_counter()
    try:
        with _bait() as bait, Zygote(backend, python, options={"tensorflow": False}, slot=90) as zygote:
            findings = _findings(zygote, bait)
    except GraderError as error:
        return Proof(backend=backend.name, level=Level.L0, claims={}, hint=HINTS[Level.L0], problem=str(error))
    claims = {name: findings.get(name) is False for name in CLAIMS}
    level = _level(claims)
    return Proof(
        backend=backend.name, level=level, claims=claims, hint=HINTS.get(level, ""), start_s=time.perf_counter() - start
    )


def _level(claims: dict[str, bool]) -> Level:
    level = Level.L0
    for candidate in (Level.L1, Level.L2):
        if all(held for name, held in claims.items() if CLAIMS[name][0] <= candidate):
            level = candidate
    return level


def _findings(zygote: Zygote, bait: dict[str, Any]) -> dict[str, Any]:
    source = NOTEBOOK.replace("__BAIT__", repr(bait))
    job = Job(cells=(wire.SourceCell("code", source),), seed=0, limits=Limits(wall_s=20, memory_mb=1024, disk_mb=16))
    with run_notebook(zygote, job) as run:
        if run.link is None:
            raise SandboxError(f"the canary did not survive: {run.facts.ending.value}")
        nonce = secrets.token_hex(8)
        run.link.send(wire.Ask(nonce, wire.Name("findings"), deadline_s=10))
        answer = run.link.receive(time.monotonic() + 20)
        if not isinstance(answer, wire.Answer) or answer.value is None or answer.nonce != nonce:
            raise SandboxError("the canary gave no answer")
        found = wire.from_value(answer.value)
        real_root = _host_uid(run.link.pid) == 0
    return {**found, "real_root": real_root} if isinstance(found, dict) else {}


def _host_uid(pid: int) -> int:
    """The user a run's process is on the host, as the host sees it: not for the canary to say."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
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
        try:
            yield {
                "file": str(path),
                "secret": secret,
                "pid": bait.pid,
                "marker": marker,
                "port": server.getsockname()[1],
                "variable": secret,
            }
        finally:
            os.environ.pop("GRADER_CANARY", None)
            bait.communicate(b"\n")
