"""Backends: start a zygote in an outer sandbox, and plan the inner one of each run."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from grader.errors import SandboxError
from grader.sandbox.users import Lease, lease

#: The work folder and home of a run inside a namespace sandbox.
HOME = "/home/student"
DATASETS = "/datasets"
ISLAND = "/island"
#: Where a virtual environment is seen inside: its own path would tell where the grader lives, and may lie below /tmp,
#: which every run has anew and empty. A virtual environment finds itself from where its python is, so it may move.
VENV = "/opt/venv"
#: Processes and threads of a run, counted by its user's limit (L2) and, below that, by its control group (L3).
PROCESSES, GROUP_PROCESSES = 512, 480
PACKAGE = Path(__file__).resolve().parent.parent
#: The untrusted half: all of our own code that is visible inside.
ISLAND_FILES = ("wire.py", "confine.py", "seccomp.py", "owntime.py", "probe", "driver")


@dataclass(frozen=True)
class Interpreter:
    """A Python that can import TensorFlow: where it is, and where a sandbox shows it.

    ``mounts`` maps paths inside to paths outside. ``site`` is its site-packages outside, ``inside_site`` inside.
    """

    executable: str
    inside: str
    mounts: Mapping[str, str]
    site: str
    inside_site: str


@functools.cache
def interpreter(executable: str) -> Interpreter:
    """Ask an interpreter where it lives. Raises SandboxError when it does not run."""
    code = (
        "import json,sys,sysconfig; print(json.dumps([sys.executable, sys.prefix, sys.base_prefix,"
        " sysconfig.get_path('purelib'), sysconfig.get_path('platlib')]))"
    )
    try:
        done = subprocess.run([executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(
            f"the kernel's Python does not run: {error}", where=executable, fix="set [kernel] python in course.toml"
        ) from None
    seen, prefix, base, site, _ = json.loads(done.stdout)
    mounts = {path: path for path in (base, os.path.realpath(base))}
    if prefix == base:
        return Interpreter(executable, seen, mounts, site, os.path.realpath(site))
    mounts[VENV] = os.path.realpath(prefix)
    return Interpreter(executable, _moved(seen, prefix), mounts, site, _moved(site, prefix))


def _moved(path: str, prefix: str) -> str:
    """A path below a virtual environment as seen inside."""
    return VENV + path.removeprefix(prefix)


@dataclass(frozen=True)
class Launched:
    """A zygote's process, the file its stderr goes to, the folders to remove when it is gone, and its runs' users."""

    process: subprocess.Popen[bytes]
    stderr: IO[bytes]
    folders: tuple[str, ...] = ()
    users: Lease | None = None


class Backend(Protocol):
    """What a sandbox has to offer."""

    @property
    def name(self) -> str: ...

    def launch(
        self,
        python: str,
        options: Mapping[str, Any],
        control: int,
        data: Path | None,
        slot: int,
        devices: Sequence[str] = (),
    ) -> Launched:
        """Start ``python -m grader.driver.zygote`` inside. Raises SandboxError.

        ``control`` is an inheritable descriptor; ``slot`` (0, 1, …) is the first block of users to try. ``devices`` are
        the device files of GPUs to show inside; none unless a lab asks for them.
        """
        ...

    def plan(self, disk_mb: int, overlays: Mapping[str, str], dataset: str = "") -> dict[str, Any]:
        """How a run confines itself (see confine.enter_run). It sees the mounted data of ``dataset`` and of no other."""
        ...

    def rooms(self, launched: Launched) -> tuple[str, str]:
        """(work folder, tmp folder) of that zygote's next run, as seen from inside."""
        ...

    def data_folders(self, data: Path | None, dataset: str) -> list[str]:
        """Where a run finds the mounted data, as seen from inside."""
        ...


def _zygote_argv(python: str, control: int, options: Mapping[str, Any]) -> list[str]:
    return [python, "-s", "-B", "-m", "grader.driver.zygote", str(control), json.dumps(dict(options))]


def _environ(island: str, home: str, *, gpu: bool = False) -> dict[str, str]:
    """All a zygote inherits. PYTHONHASHSEED is fixed so that the same bytes meet the same order of sets.

    On a GPU TensorFlow takes all memory at once unless told otherwise, and leaves none to the runs of other workers. A
    scheduler such as Slurm tells by CUDA_VISIBLE_DEVICES which of the machine's GPUs are for this worker.
    """
    ours = {name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES",) if name in os.environ}
    growth = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} | ours if gpu else {}
    return growth | {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": island,
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PIP_NO_INDEX": "1",  # there is no network: `!pip install` ends at once and not after its retries
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "CUDA_CACHE_DISABLE": "1",
        "USER": "student",
    }


@dataclass(frozen=True)
class Namespaces:
    """User, pid, network, mount, ipc and uts namespaces made with our own calls."""

    name: str = "namespaces"
    bwrap: str | None = None

    def launch(
        self,
        python: str,
        options: Mapping[str, Any],
        control: int,
        data: Path | None,
        slot: int,
        devices: Sequence[str] = (),
    ) -> Launched:
        kernel = interpreter(python)
        if any(f"{path}/".startswith(("/tmp/", "/dev/")) for path in kernel.mounts):
            raise SandboxError(
                "the Python that the kernel's environment was made from lies below /tmp, which every run has anew and empty",
                where=python,
                fix="install it in another folder",
            )
        base = tempfile.mkdtemp(prefix="grader-", dir=_open_folder())
        os.chmod(base, 0o755)  # noqa: S103 - empty mount points, and the unprivileged user must reach them
        for name in ("stage", "root", "etc", "empty"):
            os.mkdir(f"{base}/{name}", 0o755)
        Path(f"{base}/empty/file").touch()
        read_only = {**_system_folders(), **kernel.mounts, **_etc(f"{base}/etc")}
        read_only[f"{ISLAND}/grader/__init__.py"] = str(PACKAGE / "_inside.py")
        read_only |= {f"{ISLAND}/grader/{name}": str(PACKAGE / name) for name in ISLAND_FILES}
        read_only |= _masks(kernel, f"{base}/empty")
        if data is not None:
            read_only[DATASETS] = str(data)
        if options.get("matplotlib_cache"):
            read_only["/matplotlib"] = str(options["matplotlib_cache"])
            options = {**options, "matplotlib_cache": "/matplotlib"}
        users = lease(slot)
        plan = {
            "read_only": _without_nested(read_only),
            "links": _system_links(),
            "argv": _zygote_argv(kernel.inside, control, options),
            "environ": _environ(ISLAND, HOME, gpu=bool(devices)),
            "devices": list(devices),
            "users": [users.zygote, users.first_run, users.runs] if users else None,
            "bwrap": self.bwrap,
            "work": HOME,
            "keep_fds": [0, 1, 2, control],
            "stage": f"{base}/stage",
            "root": f"{base}/root",
        }
        try:
            process, stderr = _start(plan, control)
        except BaseException:
            if users:
                users.close()
            raise
        return Launched(process, stderr, (base,), users)

    def plan(self, disk_mb: int, overlays: Mapping[str, str], dataset: str = "") -> dict[str, Any]:
        return {
            "namespaces": True,
            "datasets": [DATASETS, dataset],
            "seccomp": True,
            "work": HOME,
            "disk_mb": disk_mb,
            "processes": PROCESSES,
            "overlays": dict(overlays),
        }

    def rooms(self, launched: Launched) -> tuple[str, str]:
        return HOME, "/tmp"

    def data_folders(self, data: Path | None, dataset: str) -> list[str]:
        return [] if data is None else [DATASETS]


def Bubblewrap(path: str) -> Namespaces:  # noqa: N802 - a constructor in all but name
    """The same rooms, the outer one built by bubblewrap."""
    return Namespaces(name="bubblewrap", bwrap=path)


@dataclass(frozen=True)
class Bare:
    """A plain process group: for a student's own machine. Level 0, advisory."""

    name: str = "none"

    def launch(
        self,
        python: str,
        options: Mapping[str, Any],
        control: int,
        data: Path | None,
        slot: int,
        devices: Sequence[str] = (),
    ) -> Launched:
        base = tempfile.mkdtemp(prefix="grader-")
        island = f"{base}/island/grader"
        os.makedirs(island)
        shutil.copyfile(PACKAGE / "_inside.py", f"{island}/__init__.py")
        for name in ISLAND_FILES:
            os.symlink(PACKAGE / name, f"{island}/{name}")
        stderr = tempfile.TemporaryFile()
        process = subprocess.Popen(
            _zygote_argv(python, control, options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(control,),
            env=_environ(os.path.dirname(island), base, gpu=bool(devices)),
            cwd=base,
            start_new_session=True,
        )
        return Launched(process, stderr, (base,))

    def plan(self, disk_mb: int, overlays: Mapping[str, str], dataset: str = "") -> dict[str, Any]:
        return {"namespaces": False, "seccomp": False, "disk_mb": disk_mb, "processes": 0, "overlays": {}}

    def rooms(self, launched: Launched) -> tuple[str, str]:
        room = tempfile.mkdtemp(prefix="r", dir=launched.folders[0])
        os.mkdir(f"{room}/work")
        os.mkdir(f"{room}/tmp")
        return f"{room}/work", f"{room}/tmp"

    def data_folders(self, data: Path | None, dataset: str) -> list[str]:
        return [] if data is None else [str(data / dataset)]


def available() -> Sequence[Backend]:
    """Backends worth trying on this machine, strongest first. Whether they work, the canary says."""
    found: list[Backend] = []
    if sys.platform == "linux":
        bwrap = shutil.which("bwrap")
        if bwrap:
            found.append(Bubblewrap(bwrap))
        found.append(Namespaces())
    if hasattr(os, "fork"):
        found.append(Bare())
    return found


def _start(plan: Mapping[str, Any], control: int) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    stderr = tempfile.TemporaryFile()
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(PACKAGE / "confine.py"), str(read_end)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=(read_end, control),
        env={},
        cwd="/",
        start_new_session=True,
    )
    os.close(read_end)
    with os.fdopen(write_end, "wb") as file:
        file.write(json.dumps(plan).encode())
    return process, stderr


def _open_folder() -> str:
    """A temporary folder that the zygote's user can walk to: root's own may be private (pam_tmpdir, or TMPDIR in a home)."""
    if os.getuid() != 0:
        return tempfile.gettempdir()
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        path = Path(folder).resolve()
        if all(parent.is_dir() and parent.stat().st_mode & 0o001 for parent in (path, *path.parents)):
            return folder
    raise SandboxError("no temporary folder is open to other users", fix="make one and set TMPDIR to it")


def _system_folders() -> dict[str, str]:
    folders = {"/usr": "/usr"}
    names = ("/bin", "/lib", "/lib64", "/lib32", "/sbin")
    folders |= {name: name for name in names if os.path.isdir(name) and not os.path.islink(name)}
    looked_up = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime")
    return folders | {name: os.path.realpath(name) for name in looked_up if os.path.exists(name)}


#: Copies of the labs' data that packages bring along: each would show rows that are withheld. Below site-packages,
#: and below the root. (scikit-learn's iris.csv has an overlay of its own: students use load_iris.)
COPIES_IN_SITE = (
    "grader/lite",
    "plotly/package_data/datasets",
    "scipy/io/arff/tests/data/iris.arff",
    "vega_datasets/_data/cars.json",
    "vega_datasets/_data/iris.json",
)
COPIES_IN_SYSTEM = ("/usr/share/dataset-fashion-mnist",)


def _masks(kernel: Interpreter, empty: str) -> dict[str, str]:
    """Something empty over every copy that is there."""
    copies = {f"{kernel.inside_site}/{name}": f"{kernel.site}/{name}" for name in COPIES_IN_SITE}
    copies |= {name: name for name in COPIES_IN_SYSTEM}
    return {
        inside: empty if os.path.isdir(outside) else f"{empty}/file"
        for inside, outside in copies.items()
        if os.path.exists(outside)
    }


def _system_links() -> dict[str, str]:
    names = ("/bin", "/lib", "/lib64", "/lib32", "/sbin")
    return {name: os.readlink(name) for name in names if os.path.islink(name)}


def _etc(folder: str) -> dict[str, str]:
    """The few files of /etc a program looks into: one user, one host name, no resolver."""
    texts = {
        "passwd": f"student:x:1000:1000:student:{HOME}:/bin/sh\n",
        "group": "student:x:1000:\n",
        "hosts": "127.0.0.1 localhost lab\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    for name, text in texts.items():
        Path(folder, name).write_text(text)
    return {f"/etc/{name}": f"{folder}/{name}" for name in texts}


def _without_nested(read_only: Mapping[str, str]) -> dict[str, str]:
    """Drop what another entry already shows at the same place (an interpreter below /usr)."""
    kept: dict[str, str] = {}
    for inside, outside in sorted(read_only.items()):
        if not any(inside.startswith(f"{k}/") and outside == v + inside[len(k) :] for k, v in kept.items()):
            kept[inside] = outside
    return kept
