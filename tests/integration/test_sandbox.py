"""The sandbox: what every backend promises, what the strongest one keeps out, and what is left when the grader dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from grader import wire
from grader.errors import SandboxError
from grader.records import Level, Limits
from grader.runner import Job, run_notebook
from grader.sandbox import available, backends, canary
from grader.sandbox.backends import Bare, Namespaces
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
def test_the_canary_proves_level_2(backend):
    """Every claim of L1 and L2, by trying; a machine that forbids user namespaces reaches less and is told how to get there."""
    proof = canary.prove(backend, sys.executable)
    if proof.problem:
        lacking(f"does not work here: {proof.problem}")
    assert proof.level is Level.L2, {name: held for name, held in proof.claims.items() if not held}
    assert set(proof.claims) == set(canary.CLAIMS)


def test_no_sandbox_is_level_0_and_says_how_to_get_one():
    """It is never taken for more."""
    proof = canary.prove(Bare(), sys.executable)
    assert proof.level is Level.L0
    assert "bubblewrap" in proof.summary


@pytest.mark.slow
def test_the_canary_gets_out_where_nothing_holds_it(monkeypatch):
    """The attempts are real ones: in a plain process group they succeed, and the level says so."""
    bare = Bare()
    with canary._bait() as bait, Zygote(bare, sys.executable, options={"tensorflow": False}) as zygote:
        findings = canary._findings(zygote, bait)
    assert findings["host_file"] is True
    assert findings["host_write"] is True
    assert findings["host_port"] is True
    assert findings["network"] in (True, False)
    claims = {name: findings.get(name) is False for name in canary.CLAIMS}
    assert canary._level(claims) is Level.L0


def test_one_broken_claim_lowers_the_level():
    """A level is all of its claims and all of those below."""
    held = dict.fromkeys(canary.CLAIMS, True)
    assert canary._level(held) is Level.L2
    for name, (level, _) in canary.CLAIMS.items():
        assert canary._level({**held, name: False}) is Level(level - 1)


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
    assert all(level == 2 and not problem and not broken for level, problem, broken in found.values()), found


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
    assert found["/island/grader"] == ["__init__.py", "confine.py", "driver", "probe", "wire.py"]
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
