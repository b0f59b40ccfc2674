"""The sandbox: what every backend promises, what the strongest one keeps out, and what is left when the grader dies."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from grader import wire
from grader.errors import SandboxDied, SandboxError
from grader.records import Ending, Level, Limits
from grader.runner import Job, open_clean, run_notebook
from grader.sandbox import available, backends, canary, cgroups
from grader.sandbox.backends import Bare, Bubblewrap, Namespaces
from grader.sandbox.conformance import PROMISES, running, value_of
from grader.zygote import Zygote
from tests.lacking import lacking

linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_every_backend_keeps_its_promises(any_zygote, promise):
    """The conformance suite, in every backend of this machine."""
    promise(any_zygote)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in available() if b.name != "none"], ids=lambda b: b.name)
def test_the_canary_proves_level_3(backend):
    """Every claim of every level, by trying; what this machine cannot have (users, groups) is said, not assumed."""
    proof = canary.prove(backend, sys.executable)
    if proof.problem:
        lacking(f"does not work here: {proof.problem}")
    broken = {name for name, held in proof.claims.items() if not held}
    assert set(proof.claims) == set(canary.CLAIMS)
    assert not {name for name in broken if canary.CLAIMS[name][0] <= Level.L2}, broken
    if cgroups.find() is not None:
        assert not {"all_memory", "all_processes", "left_behind"} & broken
    if broken:
        assert proof.level is Level.L2
        lacking(f"L3: {proof.hint}", installable=False)
    assert proof.level is Level.L3
    assert not proof.hint


def test_no_sandbox_is_level_0_and_says_how_to_get_one():
    """It is never taken for more."""
    proof = canary.prove(Bare(), sys.executable)
    assert proof.level is Level.L0
    assert proof.hint
    assert proof.hint in proof.summary


@pytest.mark.slow
def test_the_canary_gets_out_where_nothing_holds_it(monkeypatch):
    """The attempts are real ones: in a plain process group they succeed, and the level says so."""
    bare = Bare()
    with canary._bait() as bait, Zygote(bare, sys.executable, options={"tensorflow": False}) as zygote:
        findings = canary._findings(zygote, bait)
        libc = ctypes.CDLL(None)
        libc.shmctl(libc.shmget(bait["key"], 0, 0), 0, None)
        for process in psutil.process_iter():
            if bait["neighbour"] in canary._command_line(process.pid):
                process.kill()
    assert findings["host_file"] is True
    assert findings["host_write"] is True
    assert findings["host_port"] is True
    assert findings["network"] in (True, False)
    for name in ("system_calls", "neighbour", "all_memory", "left_behind", "own_user"):
        assert findings[name] is True, name
    claims = {name: findings.get(name) is False for name in canary.CLAIMS}
    assert canary._level(claims) is Level.L0


def test_one_broken_claim_lowers_the_level():
    """A level is all of its claims and all of those below."""
    held = dict.fromkeys(canary.CLAIMS, True)
    assert canary._level(held) is Level.L3
    for name, (level, _) in canary.CLAIMS.items():
        assert canary._level({**held, name: False}) is Level(level - 1)


def test_where_apparmor_restricts_namespaces_the_line_that_lifts_it_is_said(monkeypatch, tmp_path):
    """As on Ubuntu 24.04, where neither bubblewrap nor root would help; a machine without the restriction hears what does."""
    monkeypatch.setattr(canary, "RESTRICTION", tmp_path / "restriction")
    assert "bubblewrap" in canary._hint(Level.L0, {})
    (tmp_path / "restriction").write_text("0\n")
    assert "bubblewrap" in canary._hint(Level.L0, {})
    (tmp_path / "restriction").write_text("1\n")
    assert "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in canary._hint(Level.L0, {})


def test_what_level_3_lacks_is_said_by_what_raises_it(monkeypatch):
    """A user for each run needs root; groups need a place of the grader's own, asked of systemd."""
    held = dict.fromkeys(canary.CLAIMS, True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    both = canary._hint(Level.L2, {**held, "own_user": False, "all_memory": False})
    assert "as root" in both
    assert "systemd-run --user --scope -p Delegate=yes" in both
    assert canary._hint(Level.L2, {**held, "own_user": False}) == canary.USERS_HINT
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "systemd-run --scope" in canary._hint(Level.L2, {**held, "left_behind": False})
    assert canary._hint(Level.L3, held) == ""


def test_a_level_that_is_not_reached_is_refused(monkeypatch):
    """Level 3 too: grading does not begin, and the refusal names what did not hold and the line that raises it."""
    claims = {**dict.fromkeys(canary.CLAIMS, True), "all_memory": False}
    proof = canary.Proof(backend="one", level=Level.L2, claims=claims, hint="do this")
    monkeypatch.setattr(canary, "available", lambda: [Bare()])
    monkeypatch.setattr(canary, "prove", lambda backend, python: proof)
    assert canary.choose(sys.executable, Level.L2)[1] is proof
    with pytest.raises(SandboxError, match=r"only L2, and L3 is demanded.*by many processes or by files") as refusal:
        canary.choose(sys.executable, Level.L3)
    assert refusal.value.fix == "do this"


@linux
@pytest.mark.slow
@pytest.mark.parametrize("which", ["ESCAPE", "NEIGHBOUR", "HOG"])
def test_a_canary_that_is_killed_has_found_nothing(monkeypatch, which):
    """Each of the three: what it would have tried counts neither as held nor as managed."""
    monkeypatch.setattr(canary.attempts, which, "import os\nos.kill(os.getpid(), 9)")
    proof = canary.prove(Namespaces(), sys.executable)
    assert (proof.died, proof.level, proof.claims) == (True, Level.L0, {})
    assert "did not survive" in proof.problem


def test_a_killed_canary_does_not_lower_the_level_in_silence(monkeypatch):
    """No minimum is set, and no sandbox would be left: grading does not begin. Once may be chance, and is tried again."""
    dead = canary.Proof(backend="namespaces", level=Level.L0, claims={}, problem="did not survive", died=True)
    held = canary.Proof(backend="namespaces", level=Level.L3, claims=dict.fromkeys(canary.CLAIMS, True))
    bare = canary.Proof(backend="no sandbox", level=Level.L0, claims={})
    monkeypatch.setattr(canary, "available", lambda: [Namespaces(), Bare()])
    proofs = iter([dead, dead, bare, dead, held])
    monkeypatch.setattr(canary, "prove", lambda backend, python: next(proofs))
    with pytest.raises(SandboxError, match="did not survive"):
        canary.choose(sys.executable)
    assert canary.choose(sys.executable)[1] is held


@linux
def test_a_machine_that_refuses_a_sandbox_is_at_level_0(monkeypatch):
    """That is its way, not an accident: who demands no level may grade there."""
    monkeypatch.setattr(canary, "available", lambda: [Bubblewrap("/bin/false"), Bare()])
    backend, proof = canary.choose(sys.executable)
    assert (backend.name, proof.level, proof.died) == ("none", Level.L0, False)


@linux
@pytest.mark.parametrize(("script", "died"), [("kill -9 $$", True), ("exit 137", True), ("exit 1", False)])
def test_a_zygote_that_was_killed_is_told_from_one_that_was_refused(tmp_path, script, died):
    """137 is how bubblewrap tells that what it started was killed."""
    ends = tmp_path / "ends"
    ends.write_text(f"#!/bin/sh\n{script}\n")
    for folder in (ends, *ends.parents[:3]):
        folder.chmod(0o755)
    with pytest.raises(SandboxError) as ended:
        Zygote(Bubblewrap(str(ends)), sys.executable, options={"tensorflow": False}, slot=9)
    assert isinstance(ended.value, SandboxDied) == died


def test_without_bubblewrap_our_own_namespaces_are_used(monkeypatch, tmp_path):
    """PATH without bwrap: one backend less, and the next one still reaches L2."""
    monkeypatch.setenv("PATH", str(tmp_path))
    names = [backend.name for backend in available()]
    assert "bubblewrap" not in names
    assert names[-1] == "none"
    if sys.platform == "linux":
        assert names[0] == "namespaces"


AS_NOBODY = """
import json, sys
from grader.sandbox import available, canary
from grader.sandbox.conformance import PROMISES
from grader.zygote import Zygote
found = {}
for backend in available():
    if backend.name == "none":
        continue
    proof = canary.prove(backend, sys.executable)
    found[backend.name] = [int(proof.level), proof.problem, [n for n, held in proof.claims.items() if not held]]
    with Zygote(backend, sys.executable, options={"tensorflow": False}) as zygote:
        for promise in PROMISES:
            if promise.__name__ in ("memory_has_a_limit", "nothing_of_a_run_is_left_running", "kept_files_come_out"):
                promise(zygote)
print(json.dumps(found))
"""


#: Run as root: show what lies below private folders (an interpreter in root's home, a checkout in another's) to everyone,
#: in a mount namespace of this process and its children only. Arguments: {private folder: [paths to show]}, the command.
SHOW = """
import json, os, sys, tempfile
from grader import confine
confine.unshare(confine.NEWNS)
confine.mount("none", "/", None, confine.MS_REC | confine.MS_PRIVATE)
for private, shown in json.loads(sys.argv[1]).items():
    aside = {path: tempfile.mkdtemp(dir="/run") for path in shown}
    for path, folder in aside.items():
        confine.mount(path, folder, None, confine.MS_BIND | confine.MS_REC)
    confine.mount("tmpfs", private, "tmpfs", 0, "mode=0755")
    for path, folder in aside.items():
        os.makedirs(path)
        confine.mount(folder, path, None, confine.MS_BIND | confine.MS_REC)
        confine._libc().umount2(folder.encode(), confine.MNT_DETACH)
        os.rmdir(folder)
os.execv(sys.argv[2], sys.argv[2:])
"""


def private_folders(*paths):
    """{the first folder on the way that others may not enter: [the paths below it]}."""
    found = {}
    for path in map(Path, paths):
        ways = [parent for parent in (*reversed(path.parents), path) if not parent.stat().st_mode & 0o001]
        if ways:
            found.setdefault(str(ways[0]), []).append(str(path))
    return found


@linux
@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
@pytest.mark.parametrize("bubblewrap", [True, False])
def test_an_ordinary_user_gets_the_same_sandbox(tmp_path, bubblewrap):
    """As nobody, with and without bubblewrap on PATH: L2, and the memory of its runs can be watched."""
    home = Path("/tmp/grader-test-nobody")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    os.chown(home, 65534, 65534)
    path = "/usr/bin:/bin" if bubblewrap else str(tmp_path)
    environ = {
        "PATH": path,
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(home),
    }
    command = [
        shutil.which("setpriv"),
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--",
        sys.executable,
        "-c",
        AS_NOBODY,
    ]
    if private := private_folders(sys.base_prefix, ROOT):
        command = [sys.executable, "-c", SHOW, json.dumps(private), *command]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, cwd="/", check=False)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert ("bubblewrap" in found) == (bubblewrap and shutil.which("bwrap") is not None)
    above = {name for name, (level, _) in canary.CLAIMS.items() if level is Level.L3}
    assert all(level == 2 and not problem and set(broken) <= above for level, problem, broken in found.values()), found
    assert all("own_user" in broken for _, _, broken in found.values()), "one user has but one user"


# ---------------------------------------------------------------- what is not visible


SPY = """
import os
def listing(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return [type(error).__name__]
folders = ("/", "/tmp", "/home", "/root", "/mnt", "/srv", "/run", "/var", "/etc", "/island/grader")
found = {path: listing(path) for path in folders}
processes = [int(name) for name in listing("/proc") if name.isdigit()]
commands = [open(f"/proc/{pid}/cmdline").read() for pid in processes]
mounts = open("/proc/self/mountinfo").read()
"""


@linux
def test_a_notebook_sees_nothing_of_the_host(zygote):
    """No file of its users, no temporary file, no lab, no process, and not even the names of the folders in between."""
    with running(zygote, SPY) as run:
        found = value_of(run, "found")
        commands = value_of(run, "commands")
    assert set(found["/"]) <= {
        *("bin", "dev", "etc", "home", "island", "lib", "lib32", "lib64", "proc", "sbin", "tmp", "usr"),
        *("opt", Path(sys.base_prefix).parts[1], "datasets", "matplotlib"),
    }
    assert found["/home"] == ["student"]
    assert set(found["/tmp"]) <= {"k", "ipython", "matplotlib"}
    assert set(found["/etc"]) <= {
        *("passwd", "group", "hosts", "nsswitch.conf", "ld.so.cache", "alternatives", "fonts", "localtime")
    }
    assert found["/island/grader"] == [
        "__init__.py",
        "confine.py",
        "driver",
        "owntime.py",
        "probe",
        "seccomp.py",
        "wire.py",
    ]
    assert len(commands) <= 2, "the driver and the kernel are all there is"
    assert not any(str(ROOT / "labs") in command for command in commands)


@linux
def test_hidden_suites_are_not_below_what_is_mounted(zygote):
    """The environment of the kernel is mounted, the checkout around it is not."""
    hidden = [str(ROOT / name) for name in ("labs", "grader", "reference_solutions")]
    source = f"import os\nfound = [os.path.exists(path) for path in {hidden!r}]"
    with running(zygote, source) as run:
        assert value_of(run, "found") == [False, False, False]


@linux
def test_concurrent_runs_see_neither_files_nor_processes_of_each_other(zygote):
    """Each has its own home, tmp, shared memory and process numbers."""
    leave = (
        "import os\nfor folder in (os.getcwd(), '/tmp', '/dev/shm'):\n"
        "    open(folder + '/secret', 'w').write('x')\npid = os.getpid()"
    )
    look = (
        "import os\nfound = [os.path.exists(folder + '/secret') for folder in (os.getcwd(), '/tmp', '/dev/shm')]"
        "\npids = sorted(int(n) for n in os.listdir('/proc') if n.isdigit())"
    )
    with running(zygote, leave), running(zygote, look) as other:
        assert value_of(other, "found") == [False] * 3
        assert len(value_of(other, "pids")) == 2


@linux
def test_the_system_is_read_only_inside(zygote):
    """Nothing but the run's own folders can be written, the interpreter included."""
    source = f"""
import os
found = {{}}
for folder in ("/", "/usr", "/usr/bin", "/etc", "/island/grader", {sys.prefix!r}, "/home", "/proc/sys", "/dev"):
    try:
        open(folder + "/x", "w").close()
        found[folder] = "written"
    except OSError as error:
        found[folder] = "refused"
"""
    with running(zygote, source) as run:
        assert set(value_of(run, "found").values()) == {"refused"}


@linux
@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket(socket.AF_INET).connect(('1.1.1.1', 80))",
        "socket.create_connection(('localhost', 22), 1)",
        "socket.getaddrinfo('example.com', 80)",
        "socket.socket(40, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "os.setuid(0)",
        "os.mknod('dev', 0o600 | 0o020000, 0)",
        "os.chroot('/')",
    ],
)
def test_what_a_notebook_cannot_do(zygote, attempt):
    """Each of these raises an OSError and nothing else happens."""
    source = f"import os, socket\ntry:\n    {attempt}\n    found = 'done'\nexcept OSError:\n    found = 'refused'"
    with running(zygote, source) as run:
        assert value_of(run, "found") == "refused"


# ---------------------------------------------------------------- users and control groups


def host_users(run):
    """The users of a run's processes as the host sees them, by its own and its children's numbers."""
    return {ids for process in psutil.Process(run.link.pid).children(recursive=True) for ids in process.uids()}


@linux
@pytest.mark.skipif(os.getuid() != 0, reason="only root may be several users")
@pytest.mark.parametrize("backend", [b for b in available() if b.name != "none"], ids=lambda b: b.name)
@pytest.mark.slow
def test_no_two_runs_side_by_side_are_one_user(backend):
    """Of one zygote or of two, with their clean sandboxes: each has a user that nobody else is, and none is root."""
    options = {"tensorflow": False}
    with (
        Zygote(backend, sys.executable, options=options, slot=20) as one,
        Zygote(backend, sys.executable, options=options, slot=20) as two,
        running(one, "x = 1") as first,
        running(one, "x = 1") as second,
        running(two, "x = 1") as third,
    ):
        clean, watch = open_clean(two, 1, Limits(memory_mb=256, disk_mb=16))
        found = [host_users(run) for run in (first, second, third)] + [set(psutil.Process(clean.pid).uids())]
        watch.end()
        clean.close()
    assert all(len(users) == 1 for users in found), found
    assert len(set.union(*found)) == 4
    assert 0 not in set.union(*found)


needs_groups = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


def need_groups():
    if cgroups.find() is None:
        lacking("control groups for memory and pids that this user may make", installable=False)


@needs_groups
def test_files_in_memory_count_as_the_runs_memory(notebook):
    """No process holds much, but the work folder, /tmp and /dev/shm are memory too: the kernel ends the run."""
    need_groups()
    fill = """
for folder in (".", "/tmp", "/dev/shm"):
    for number in range(5 if folder == "." else 31):
        with open(f"{folder}/{number}", "wb") as file:
            file.write(bytes(8 << 20))
data = b"x" * (64 << 20)
"""
    run = notebook(fill, limits={"memory_mb": 128, "disk_mb": 48})
    assert run.facts.ending is Ending.OUT_OF_MEMORY
    assert "128 MiB" in run.facts.ending_detail


@needs_groups
def test_files_within_the_labs_own_limits_cost_nothing(notebook):
    """A notebook may fill its work folder and its memory: the one is not taken from the other."""
    need_groups()
    source = """
with open("big", "wb") as file:
    for _ in range(200):
        file.write(bytes(1 << 20))
x = bytearray(120 << 20)
for i in range(0, len(x), 4096):
    x[i] = 1
"""
    run = notebook(source, limits={"memory_mb": 256, "disk_mb": 224})
    assert run.facts.ending is Ending.OK, run.facts.ending_detail


@needs_groups
def test_a_fork_bomb_hits_its_ceiling_and_nothing_else(notebook, zygote):
    """Another run starts beside it, and no process of it is left afterwards."""
    need_groups()
    bomb = """
import os, time
for number in range(5000):
    try:
        if os.fork() == 0:
            time.sleep(300)
    except BlockingIOError:
        break
"""
    run = notebook(bomb, limits={"memory_mb": 2048, "wall_s": 100})
    group = run.group
    assert group.processes_refused()
    assert number_of(group) <= backends.GROUP_PROCESSES
    with running(zygote, "x = 1") as other:
        assert value_of(other, "x") == 1
    run.close()
    assert not group.exists()


def number_of(group):
    return len(set(group.processes()))


@needs_groups
@pytest.mark.slow
def test_groups_of_a_killed_grader_are_swept_by_the_next(tmp_path):
    """With whoever is still in them, and only those: a group that is in use stays."""
    need_groups()
    place = cgroups.find()
    code = (
        "import subprocess, sys, time\nfrom grader.sandbox import cgroups\n"
        "group = cgroups.make(64, 16)\nsleeper = subprocess.Popen(['sleep', '300'])\ngroup.add(sleeper.pid)\n"
        "print(group.name, sleeper.pid, flush=True)\ntime.sleep(300)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environ, text=True) as grader:
        name, pid = grader.stdout.readline().split()
        left = cgroups.Group(place, name, ())
        cgroups.sweep(place)
        assert left.exists(), "its owner lives"
        assert int(pid) in left.processes()
        grader.kill()
    cgroups.sweep(place)
    assert not left.exists()
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


@needs_groups
def test_version_2_kills_a_group_at_once(tmp_path):
    """Where a hierarchy of version 2 is mounted, whatever controllers it has: cgroup.kill, then rmdir."""
    point = cgroups._mounts(Path("/proc/self/mountinfo").read_text()).get("", ("", ""))[0]
    folder = Path(point, "grader-test-kill")
    try:
        folder.mkdir()
    except OSError as error:
        lacking(f"a hierarchy of version 2 that this user may write: {error}", installable=False)
    with subprocess.Popen(["sleep", "300"]) as sleeper:
        (folder / "cgroup.procs").write_text(str(sleeper.pid))
        assert cgroups._remove(folder, 2)
        assert sleeper.wait(5) == -signal.SIGKILL
    assert not folder.exists()


def test_a_sandbox_that_speaks_another_version_is_refused(zygote, monkeypatch):
    """Ours to mend, and nothing is asked of it."""
    monkeypatch.setattr(wire, "VERSION", wire.VERSION + 1)
    with pytest.raises(SandboxError, match="speaks version"), running(zygote, "x = 1"):
        pass


@linux
def test_a_crash_leaves_no_core(zygote):
    """Not even one that the host's core_pattern would pipe into a program of root's."""
    source = "import os, resource\nchild = os.fork()\nif child == 0: os.abort()\n"
    source += "found = [os.WCOREDUMP(os.waitpid(child, 0)[1]), list(resource.getrlimit(resource.RLIMIT_CORE)), os.listdir('.')]"
    with running(zygote, source) as run:
        dumped, limit, files = value_of(run, "found")
    assert not dumped
    assert max(limit) <= 1
    assert not [name for name in files if name.startswith("core")]


# ---------------------------------------------------------------- what is left behind


RUNNING = """
import sys
from grader import wire
from grader.records import Limits
from grader.runner import Job, run_notebook
from grader.sandbox import available
from grader.zygote import Zygote
backend = next(b for b in available() if b.name == sys.argv[1])
source = "import os, time\\nif os.fork() == 0: time.sleep(300)\\ntime.sleep(300)"
with Zygote(backend, sys.executable, options={"tensorflow": False}, slot=5) as zygote:
    job = Job(cells=(wire.SourceCell("code", source),), seed=0, limits=Limits(wall_s=200, memory_mb=512, disk_mb=16))
    run_notebook(zygote, job, lambda text: print(text, flush=True)).close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("backend", [backend.name for backend in available()])
def test_no_process_outlives_the_grader(backend, number):
    """Interrupted, asked to end or killed in the middle of a notebook: the zygote, the kernel and its children go too."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", RUNNING, backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environ,
        text=True,
    ) as grader:
        assert grader.stdout.readline() == "cell 1\n"
        time.sleep(1)
        processes = psutil.Process(grader.pid).children(recursive=True)
        assert len(processes) >= 4, "zygote, driver, kernel and the notebook's child"
        grader.send_signal(number)
        grader.wait(20)
    # What a notebook without any sandbox started by itself is its own (level 0 is advisory): the kernel is not.
    expected = processes if backend != "none" else processes[:3]
    _, alive = psutil.wait_procs(expected, timeout=10)
    left = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    if (place := cgroups.find()) is not None:  # what a killed grader leaves is an empty group, for the next to sweep
        cgroups.sweep(place)
        assert cgroups.sweep(place) == 0
    for process in processes:
        if process.is_running():
            process.kill()
    assert not left


@pytest.mark.slow
def test_a_zygote_leaves_no_folder_behind(monkeypatch, tmp_path):
    """Its temporary folder is removed with it, also that of a plain process group, which other workers do not share."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bare = Bare()
    with Zygote(bare, sys.executable, options={"tensorflow": False}) as one:
        with Zygote(bare, sys.executable, options={"tensorflow": False}) as two, running(two, "x = 1"):
            assert len(list(tmp_path.glob("grader-*"))) == 2
        with running(one, "x = 1") as run:
            assert value_of(run, "x") == 1
    assert not list(tmp_path.glob("grader-*"))


@pytest.mark.slow
def test_folders_nested_deeper_than_python_recurses_are_removed_too(monkeypatch, tmp_path):
    """In no sandbox they are on the disk, and whoever ends the zygote has other students to grade."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    nests = "import os\nhere = os.getcwd()\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\nos.chdir(here)"
    with Zygote(Bare(), sys.executable, options={"tensorflow": False}) as zygote, running(zygote, nests) as run:
        assert run.facts.ending is Ending.OK
    assert list(tmp_path.iterdir()) == []


@linux
@pytest.mark.slow
def test_a_private_temporary_folder_does_not_keep_root_from_a_sandbox(monkeypatch, tmp_path):
    """The zygote's own user cannot walk into it, so another one is taken, and removed with the zygote."""
    tmp_path.chmod(0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Zygote(Namespaces(), sys.executable, options={"tensorflow": False}, slot=8) as zygote:
        (base,) = zygote.launched.folders
        assert (Path(base).parent == tmp_path) == (os.getuid() != 0)
    assert not os.path.exists(base)


def test_listing_backends_makes_no_folder(monkeypatch, tmp_path):
    """It is asked for often."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    available()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_zygote_that_is_killed_is_our_fault_and_the_next_one_works(backend):
    """Never the student's."""
    job = Job(cells=(wire.SourceCell("code", "x = 1"),), seed=0, limits=Limits(wall_s=5, memory_mb=256, disk_mb=16))
    with Zygote(backend, sys.executable, options={"tensorflow": False}, slot=6) as zygote:
        zygote.launched.process.kill()
        zygote.launched.process.wait()
        with pytest.raises(SandboxError):
            run_notebook(zygote, job)
        assert not zygote.alive()
    with (
        Zygote(backend, sys.executable, options={"tensorflow": False}, slot=6) as zygote,
        run_notebook(zygote, job) as run,
    ):
        assert run.link is not None


@linux
@pytest.mark.slow
def test_a_python_without_what_kernels_need_is_named(backend):
    """It is ours to put right, and the message says how to find out."""
    other = shutil.which("python3", path="/usr/bin:/bin")
    if (
        other is None
        or subprocess.run([other, "-c", "import ipykernel"], capture_output=True, check=False).returncode == 0
    ):
        pytest.skip("no other Python here, or it has ipykernel")
    with (
        pytest.raises(SandboxError, match="doctor"),
        Zygote(backend, other, options={"tensorflow": False}, slot=7) as zygote,
    ):
        run_notebook(zygote, Job(cells=(), seed=0, limits=Limits(wall_s=5, memory_mb=256, disk_mb=16)))


@linux
def test_an_environment_is_shown_under_another_name(zygote):
    """Its own path would tell where the grader lives, and may lie below /tmp, which every run has anew and empty."""
    source = "import sys, os\nfound = [sys.prefix, sys.executable, os.path.exists(sys.executable)]"
    with running(zygote, source) as run:
        assert value_of(run, "found") == ["/opt/venv", f"/opt/venv/bin/{Path(sys.executable).name}", True]


@linux
def test_a_python_below_tmp_is_named_as_the_problem(monkeypatch):
    """An installed interpreter cannot be moved like an environment, and every run has its own empty /tmp."""
    below = backends.Interpreter("/tmp/python", "/tmp/python", {"/tmp/python": "/tmp/python"}, "", "")
    monkeypatch.setattr(backends, "interpreter", lambda executable: below)
    with pytest.raises(SandboxError, match="another folder"):
        Zygote(Namespaces(), sys.executable, options={"tensorflow": False}, slot=9)


# ---------------------------------------------------------------- when memory runs out


def readiness(pid):
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@linux
def test_a_run_and_everything_it_starts_is_the_first_to_go_when_memory_runs_out(notebook):
    """The kernel of the machine ends a notebook before a driver, and a driver before the grader."""
    run = notebook("import os, subprocess", "child = subprocess.Popen(['sleep', '60'])")
    scores = [readiness(pid) for pid in run.pids()]
    assert len(scores) >= 3
    assert scores[0] == 900
    assert set(scores[1:]) == {1000}
    assert readiness("self") < 900


@linux
def test_a_run_cannot_hide_behind_the_grader(notebook):
    """It may not ask for another to be ended in its place: where the kernel lets it, it is told again."""
    source = """
    import contextlib
    with contextlib.suppress(OSError), open('/proc/self/oom_score_adj', 'w') as file:
        file.write('0')
    """
    run = notebook(textwrap.dedent(source))
    until = time.monotonic() + 20
    while min(map(readiness, run.pids())) < 900 and time.monotonic() < until:
        time.sleep(0.05)
    assert min(map(readiness, run.pids())) >= 900
