"""Sandboxes made weaker on purpose, to see what an attack gains below the level that stops it: `make hostile-l1`, `hostile-l0`.

L1 is our namespaces with nothing else: no filter of system calls, no control group, and inside its own namespaces a run
keeps all capabilities and its driver's memory lies open. The user stays an unprivileged one, for as root these notebooks
would write the settings of this machine's kernel. L0 is the plain process group; `box` encloses the whole test for it.

    python -m tests.hostile.weak        tests/hostile/test_corpus.py at L0, in the box; as root

The box is a room of bubblewrap's for an ordinary user: everything is read-only but an empty /tmp, there is no network and no
process but its own, and a control group holds its memory and the number of its processes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from grader.records import Level
from grader.sandbox import Backend, Bare, Namespaces, backends, canary, cgroups

#: Set by `make hostile-l1` and `make hostile-l0`: the one level to run the corpus at, whatever this machine could.
LEVEL = Level(int(os.environ["GRADER_TEST_LEVEL"])) if "GRADER_TEST_LEVEL" in os.environ else None
ROOT = Path(__file__).resolve().parents[2]
NOBODY = "65534"
MEMORY_MB, PROCESSES = 8192, 2000
#: What these do below the level that stops them, they do to the machine: processes, memory and files without end.
SPARED = {"F64", "F65", "F67"}
#: Replaces what follows of the same names in confine.py, as it is shown to the runs.
OPEN = """
_drop = drop_capabilities
def drop_capabilities(keep=()):
    if keep: _drop(keep)
def hide_memory(): pass


if __name__ =="""


@dataclass(frozen=True)
class Rooms(Namespaces):
    """Namespaces alone."""

    def plan(self, *args: Any, **named: Any) -> dict[str, Any]:
        return {**super().plan(*args, **named), "seccomp": False}


def chosen(level: Level, folder: Path) -> tuple[Backend, canary.Proof]:
    """The sandbox of that level, and the canary's word for it."""
    if level is Level.L0:
        assert os.geteuid() != 0, (
            "as root, notebooks in a plain process group would attack this machine: `make hostile-l0`"
        )
        backend: Backend = Bare()
    else:
        island = folder / "grader"
        shutil.copytree(backends.PACKAGE, island, ignore=shutil.ignore_patterns("lite", "__pycache__"))
        confine = island / "confine.py"
        confine.write_text(confine.read_text("utf-8").replace("\nif __name__ ==", OPEN), "utf-8")
        for path in (folder, *folder.parents[:2]):
            path.chmod(path.stat().st_mode | 0o055)
        backends.PACKAGE = island
        backend = Rooms()
    cgroups.make = lambda limit_mb, processes: None
    proof = canary.prove(backend, sys.executable)
    assert not proof.problem, proof.problem
    assert proof.level is level, proof
    return backend, proof


def strangers() -> list[psutil.Process]:
    """Who lives in the box and was left behind there: it is neither this process, nor around it, nor below it."""
    time.sleep(1)  # for who is just ending
    me = psutil.Process()
    known = {me, *me.parents(), *me.children(recursive=True)}
    return [process for process in psutil.process_iter() if process not in known]


def box() -> int:
    """The corpus at L0."""
    base = Path(sys.base_prefix).resolve()
    inside = [
        "setpriv",
        "--reuid",
        NOBODY,
        "--regid",
        NOBODY,
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]
    settings = {"GRADER_TEST_LEVEL": "0", "HOME": "/tmp", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/hostile/test_corpus.py",
        *sys.argv[1:],
    ]
    home: list[object] = []
    if base.is_relative_to("/root"):  # the interpreter's home is root's, where nobody else can walk
        ways = [way for way in reversed(base.parents) if way.is_relative_to("/root")]
        home = ["--perms", "0755", "--tmpfs", *ways[:1]]
        home += [part for way in ways[1:] for part in ("--perms", "0755", "--dir", way)]
        home += ["--ro-bind", base, base]
    command = [
        *("bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp"),
        *home,
        *("--unshare-pid", "--unshare-ipc", "--unshare-net", "--unshare-uts", "--die-with-parent", "--new-session"),
        *("--clearenv", *(part for name, value in settings.items() for part in ("--setenv", name, value))),
        *("--chdir", ROOT, "--", *inside, "--", *tests),
    ]
    group = cgroups.make(MEMORY_MB, PROCESSES)
    assert group is not None, "the box needs a control group: see `grader doctor`"
    waits = ["sh", "-c", 'read go && exec "$@" </dev/null', "sh", *map(str, command)]
    with subprocess.Popen(waits, stdin=subprocess.PIPE) as process:
        group.add(process.pid)
        process.communicate(b"go\n")
    group.close()
    return process.returncode


if __name__ == "__main__":
    sys.exit(box())
