"""What a machine can do for the grader, what it lacks, and how to fix each.

Theory of operation. ``gather`` collects facts and judges nothing; ``diagnose`` judges and touches nothing, so each
verdict is tested without the machine it is about. The trusted side imports no TensorFlow: its versions and what it
sees of a GPU are asked in a process of the *kernel's* interpreter, which may be another one than ours.

A finding is ``ok``, a ``note`` (grading works, with less) or a ``problem`` (notebooks cannot be graded).
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from grader import datasets, gpu
from grader.errors import GraderError
from grader.fits import FITS, LEAST_DRIVER, dotted, fit_of, unfit, version_of
from grader.records import Level, Record, Tier
from grader.settings import Settings
from grader.version import __version__

#: TensorFlow's import took up to 11 s on a cold disk cache; a busy network drive needs far longer.
ASK_S = 180.0
#: One run with TensorFlow takes about 600 MiB before its model; the labs' own limit is 4096.
ENOUGH_MEMORY_MB = 3072
#: PCI vendor of NVIDIA, and the display classes (VGA, 3D controller).
NVIDIA = "0x10de"
DISPLAY = ("0x0300", "0x0302")


class Kernel(Record, frozen=True):
    """What the kernel's interpreter says of itself. ``error`` is why TensorFlow cannot be imported there."""

    executable: str
    python: str = ""
    packages: dict[str, str] = msgspec.field(default_factory=dict)
    error: str = ""
    cuda_build: bool | None = None
    cuda: str = ""
    cudnn: str = ""
    gpus: tuple[str, ...] = ()
    missing_libraries: bool = False
    visible_devices: str | None = None


class Nvidia(Record, frozen=True):
    """What the host says of its NVIDIA GPU. ``error`` is NVML's; ``blind`` is why it cannot be told who uses a card."""

    cards: tuple[str, ...] = ()
    driver: str = ""
    error: str = ""
    blind: str = ""
    hardware: bool = False
    smi: bool = False


class Claim(Record, frozen=True):
    """One promise of a sandbox level, and whether it was held when the canary tried to break it."""

    name: str
    level: Level
    text: str
    held: bool


class Box(Record, frozen=True):
    """What the canary proved. ``problem`` is why no sandbox could be tried at all."""

    level: Level = Level.L0
    claims: tuple[Claim, ...] = ()
    backend: str = ""
    hint: str = ""
    problem: str = ""
    bubblewrap: str = ""


class Facts(Record, frozen=True):
    """All that ``diagnose`` needs."""

    system: str
    kernel: Kernel
    nvidia: Nvidia
    sandbox: Box
    data: tuple[datasets.Status, ...]
    data_folder: str = ""
    min_level: int = 0
    memory_mb: int = 0
    cores: int = 1
    machine: str = ""
    grader: str = __version__
    installer: str = ""


class Finding(Record, frozen=True):
    """One line of the diagnosis; ``fix`` is what to type or to change."""

    topic: str
    state: Literal["ok", "note", "problem"]
    text: str
    fix: str = ""


# ---------------------------------------------------------------- judging


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """What is right, what is missing and the fix, in the order a person would read it."""
    return (
        *_versions(facts),
        _gpu(facts),
        *_gpu_use(facts),
        *_data(facts),
        *_sandbox(facts),
        _memory(facts),
    )


def _versions(facts: Facts) -> Iterator[Finding]:
    kernel = facts.kernel
    if not kernel.python:
        fix = "set [kernel] python in course.toml to a Python that has TensorFlow"
        yield Finding(
            topic="Python", state="problem", text=f"{kernel.executable} does not run: {kernel.error}", fix=fix
        )
        return
    yield Finding(topic="Python", state="ok", text=f"{kernel.python} ({kernel.executable}), {facts.system}")
    tensorflow = kernel.packages.get("tensorflow") or kernel.packages.get("tensorflow-cpu", "")
    if kernel.error:
        yield Finding(
            topic="TensorFlow", state="problem", text=f"cannot be imported: {kernel.error}", fix=_import_fix(facts)
        )
    else:
        yield Finding(topic="TensorFlow", state="ok", text=tensorflow or "imported")
    keras = kernel.packages.get("keras", "")
    if tensorflow:
        yield _fit(kernel, tensorflow, keras)
        yield from _numpy(kernel, tensorflow)
    absent = [name for name in ("ipykernel", "nbclient", "nbformat", "numpy") if name not in kernel.packages]
    if absent:
        fix = f"{kernel.executable} -m pip install {' '.join(absent)}"
        yield Finding(topic="Jupyter", state="problem", text=f"the kernel's Python lacks {', '.join(absent)}", fix=fix)


def _import_fix(facts: Facts) -> str:
    kernel = facts.kernel
    python = version_of(kernel.python)
    if python and not FITS[-1].python[0] <= python <= FITS[-1].python[1]:
        low, high = map(dotted, FITS[-1].python)
        newest = dotted(FITS[-1].tensorflow)
        return f"TensorFlow {newest} needs Python {low} to {high}: set [kernel] python in course.toml"
    if "No module named" in kernel.error:
        return f"{kernel.executable} -m pip install tensorflow, or set [kernel] python in course.toml"
    if "illegal instruction" in kernel.error.lower():
        return "this processor lacks AVX, which TensorFlow's wheels need: grade on another machine"
    return f"{kernel.executable} -m pip install --force-reinstall tensorflow"


def _fit(kernel: Kernel, tensorflow: str, keras: str) -> Finding:
    """Whether the three versions fit together."""
    mine, python, has = version_of(tensorflow), version_of(kernel.python), version_of(keras)
    pip = f"{kernel.executable} -m pip install"
    newest = FITS[-1].tensorflow
    if mine is None or python is None:
        return Finding(topic="Keras", state="note", text=f"TensorFlow {tensorflow}: unknown version, fit not checked")
    if mine < FITS[0].tensorflow:
        text = f"TensorFlow {tensorflow} comes with Keras 2; the labs need Keras 3"
        return Finding(topic="Keras", state="problem", text=text, fix=f"{pip} --upgrade tensorflow keras")
    if has is None:
        return Finding(topic="Keras", state="problem", text="Keras is not installed", fix=f"{pip} keras")
    row = next((fit for fit in FITS if fit.tensorflow == mine), FITS[-1])
    if has < row.keras:
        text = f"{keras} is too old for TensorFlow {tensorflow}, which needs Keras {dotted(row.keras)} or newer"
        return Finding(topic="Keras", state="problem", text=text, fix=f'{pip} "keras>={dotted(row.keras)}"')
    if has >= (4, 0):
        text = f"{keras} is newer than what TensorFlow {tensorflow} was tried with"
        return Finding(topic="Keras", state="note", text=text, fix=f'{pip} "keras<4"')
    low, high = row.python
    if mine == row.tensorflow and not low <= python <= high:
        text = f"TensorFlow {tensorflow} has no build for Python {dotted(python)}, only {dotted(low)} to {dotted(high)}"
        return Finding(topic="Keras", state="problem", text=text, fix="set [kernel] python in course.toml")
    if mine > newest:
        text = f"{keras}; TensorFlow {tensorflow} is newer than this grader knows, fit not checked"
        return Finding(
            topic="Keras", state="note", text=text, fix=f"if something fails: {pip} tensorflow=={dotted(newest)}.*"
        )
    return Finding(topic="Keras", state="ok", text=f"{keras}, fits TensorFlow {tensorflow} and Python {dotted(python)}")


def _numpy(kernel: Kernel, tensorflow: str) -> Iterator[Finding]:
    """A NumPy that this TensorFlow was not made for: it may be imported, and fail later in odd places."""
    has = kernel.packages.get("numpy", "")
    if wanted := unfit(tensorflow, "numpy", has):
        text = f"{has} does not fit TensorFlow {tensorflow}, which needs {wanted}"
        yield Finding(topic="NumPy", state="problem", text=text, fix=f'{kernel.executable} -m pip install "{wanted}"')


def _cuda(kernel: Kernel) -> str:
    """Why the CUDA that is installed is not the one this TensorFlow was built with, or ""."""
    row = fit_of(kernel.packages.get("tensorflow", ""))
    if row is None:
        return ""
    wanted = {
        "CUDA": (row.cuda, kernel.cuda, kernel.packages.get("nvidia-cuda-runtime-cu12", "")),
        "cuDNN": (row.cudnn, kernel.cudnn, kernel.packages.get("nvidia-cudnn-cu12", "")),
    }
    for name, (table, built, installed) in wanted.items():
        least, has = (version_of(built) or table), version_of(installed)
        # Within a major version newer is compatible (NVIDIA), older is not.
        if has is not None and (has[0] != least[0] or has < least):
            return f"{name} {dotted(has)} is installed, and TensorFlow {dotted(row.tensorflow)} needs {dotted(least)}"
    return ""


def _gpu(facts: Facts) -> Finding:
    """One sentence: is a GPU visible to TensorFlow, and if not, the first thing on its way that is missing."""
    kernel, nvidia = facts.kernel, facts.nvidia
    if kernel.gpus:
        cards = ", ".join(nvidia.cards) or ", ".join(kernel.gpus)
        driver = f", driver {nvidia.driver}" if nvidia.driver else ""
        return Finding(topic="GPU", state="ok", text=f"{cards}{driver}")
    if not (nvidia.cards or nvidia.hardware):
        smi = ", though nvidia-smi is installed" if nvidia.smi else ""
        return Finding(
            topic="GPU", state="note", text=f"this machine has none that can be seen{smi}; the labs run on the CPU"
        )
    card = ", ".join(nvidia.cards) or "an NVIDIA card"
    if not nvidia.cards:
        why = f"the driver is missing or not loaded ({nvidia.error or 'NVML does not answer'})"
        fix = "install NVIDIA's driver (Debian: apt-get install nvidia-driver) and restart; containers need --gpus all"
    elif kernel.visible_devices is not None and kernel.visible_devices.strip() in ("", "-1"):
        why, fix = "CUDA_VISIBLE_DEVICES hides it", "unset CUDA_VISIBLE_DEVICES"
    elif kernel.error or not kernel.python:
        why, fix = "TensorFlow cannot be imported", "see TensorFlow above"
    elif kernel.cuda_build is False:
        why = "this TensorFlow is built for the CPU only"
        fix = f"{kernel.executable} -m pip install 'tensorflow[and-cuda]'"
        if facts.system.startswith("Windows"):
            fix = "TensorFlow has had no GPU build for Windows since 2.11: use WSL2"
    elif mismatch := _cuda(kernel):
        why = mismatch
        fix = f"{kernel.executable} -m pip install 'tensorflow[and-cuda]'"
    elif kernel.missing_libraries:
        why = "the CUDA libraries are missing"
        if row := fit_of(kernel.packages.get("tensorflow", "")):
            why += f": TensorFlow {dotted(row.tensorflow)} needs CUDA {dotted(row.cuda)} and cuDNN {dotted(row.cudnn)}"
        fix = f"{kernel.executable} -m pip install 'tensorflow[and-cuda]'"
    elif (number := version_of(nvidia.driver)) and number[0] < LEAST_DRIVER:
        why = f"driver {nvidia.driver} is too old for CUDA 12"
        fix = f"install NVIDIA's driver {LEAST_DRIVER} or newer"
    else:
        why = "TensorFlow does not list it"
        fix = f"compare driver {nvidia.driver or '?'} with what CUDA 12 needs: {LEAST_DRIVER} or newer"
    return Finding(topic="GPU", state="note", text=f"{card} is here, but TensorFlow does not see it: {why}", fix=fix)


def _gpu_use(facts: Facts) -> Iterator[Finding]:
    """Whether checks that want to see a GPU used can be decided here."""
    nvidia = facts.nvidia
    if nvidia.cards and nvidia.blind:
        text = f"checks of it are left out: {nvidia.blind}"
        yield Finding(topic="GPU use", state="note", text=text, fix="grade on the host itself, outside of a container")
    elif nvidia.cards:
        yield Finding(topic="GPU use", state="ok", text="NVML tells which process is busy")


def _data(facts: Facts) -> Iterator[Finding]:
    fetch = "grader data fetch {}, or grader data import FOLDER"
    for row in facts.data:
        topic = f"data: {row.dataset}"
        if row.problem:
            yield Finding(topic=topic, state="problem", text=row.problem)
        elif row.tier is Tier.FULL:
            yield Finding(topic=topic, state="ok", text=f"full, in {row.folder}")
        else:
            absent = row.missing[0] if len(row.missing) == 1 else f"{len(row.missing)} files of the full data"
            text = f"lite, ships with the grader; {absent} not in {facts.data_folder}"
            yield Finding(topic=topic, state="note", text=text, fix=fetch.format(row.dataset))


def _sandbox(facts: Facts) -> Iterator[Finding]:
    box = facts.sandbox
    text = f"level L{int(box.level)} ({box.backend}), proved by a canary" if box.backend and box.level else ""
    if box.problem:
        yield Finding(topic="sandbox", state="problem", text=box.problem, fix=box.hint)
    elif box.level < facts.min_level:
        short = f"reaches only level L{int(box.level)}, and the course demands L{facts.min_level}"
        yield Finding(topic="sandbox", state="problem", text=short, fix=box.hint)
    elif box.level == Level.L0:
        none = "level L0: a plain process group, which holds no hostile notebook; grade only notebooks you trust"
        yield Finding(topic="sandbox", state="note", text=none, fix=box.hint)
    else:
        yield Finding(topic="sandbox", state="ok", text=text, fix=box.hint)
    if facts.system.startswith("Linux"):
        if box.bubblewrap:
            yield Finding(topic="bubblewrap", state="ok", text=box.bubblewrap)
        elif box.level >= Level.L2:
            yield Finding(
                topic="bubblewrap",
                state="ok",
                text="not installed, and not needed: own namespaces reach the same level",
            )
        else:
            yield Finding(topic="bubblewrap", state="note", text="not installed", fix=facts.installer)


def _memory(facts: Facts) -> Finding:
    text = f"{facts.memory_mb / 1024:.1f} GiB free to use, {facts.cores} core{'s' if facts.cores != 1 else ''}"
    if facts.memory_mb and facts.memory_mb < ENOUGH_MEMORY_MB:
        fix = "close other programs, or lower memory_mb under [limits] in course.toml"
        return Finding(topic="memory", state="note", text=f"{text}: little for TensorFlow", fix=fix)
    if facts.memory_mb and facts.memory_mb < facts.cores * ENOUGH_MEMORY_MB // 2:
        jobs = max(1, facts.memory_mb // (ENOUGH_MEMORY_MB // 2))
        return Finding(
            topic="memory", state="note", text=f"{text}: too little for a run on every core", fix=f"--jobs {jobs}"
        )
    return Finding(topic="memory", state="ok", text=text)


# ---------------------------------------------------------------- gathering


def gather(settings: Settings) -> Facts:
    """Look at this machine. Takes seconds: TensorFlow is imported once and the canary runs."""
    python = str(settings.kernel_python) if settings.kernel_python else sys.executable
    return Facts(
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        kernel=ask_kernel(python),
        nvidia=ask_nvidia(),
        sandbox=prove_sandbox(python),
        data=datasets.status(settings.data),
        data_folder=str(datasets.cache_folder(settings.data)),
        min_level=settings.min_level,
        memory_mb=memory_mb(),
        cores=cores(),
        installer=installer(),
    )


# Runs in the kernel's interpreter. Its last line of output is the answer; TensorFlow talks on stderr meanwhile.
_ASK = """
import json, os, sys
from importlib import metadata
names = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "ipykernel", "nbclient", "nbformat", "pandas", "matplotlib",
         "nvidia-cudnn-cu12", "nvidia-cuda-runtime-cu12")
found = {}
for name in names:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
said = {"python": ".".join(map(str, sys.version_info[:3])), "packages": found,
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES")}
print(json.dumps(said), flush=True)
try:
    import tensorflow as tf
    import keras
    built = tf.sysconfig.get_build_info()
    said["cuda_build"] = bool(tf.test.is_built_with_cuda())
    said["cuda"], said["cudnn"] = str(built.get("cuda_version") or ""), str(built.get("cudnn_version") or "")
    said["gpus"] = [device.name for device in tf.config.list_physical_devices("GPU")]
except BaseException as error:
    said["error"] = (type(error).__name__ + ": " + " ".join(str(error).split()))[:300]
print(json.dumps(said), flush=True)
"""


def ask_kernel(python: str) -> Kernel:
    """What the kernel's interpreter can import and see; never raises."""
    try:
        done = subprocess.run(
            [python, "-I", "-B", "-c", _ASK], capture_output=True, timeout=ASK_S, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        return Kernel(executable=python, error=error.strerror or str(error))
    except subprocess.TimeoutExpired:
        return Kernel(executable=python, error=f"no answer within {ASK_S:.0f} s")
    stderr = done.stderr.decode("utf-8", "replace")
    said: dict[str, Any] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError):
            said = json_object(line) or said
    if done.returncode < 0:  # ended by a signal: 4 is SIGILL, a processor without AVX
        said["error"] = "illegal instruction" if done.returncode == -4 else f"ended by signal {-done.returncode}"
    elif done.returncode and not said:
        said["error"] = (stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
    # TensorFlow's own words (gpu_device.cc): "Cannot dlopen some GPU libraries. …"
    missing = "Cannot dlopen some GPU libraries" in stderr or "Could not find cuda drivers" in stderr
    try:
        return msgspec.convert({**said, "executable": python, "missing_libraries": missing}, Kernel)
    except msgspec.ValidationError:
        return Kernel(executable=python, error="answers something else than a Python would")


def json_object(line: str) -> dict[str, Any]:
    """The JSON object on a line, or an empty one."""
    found = msgspec.json.decode(line)
    return found if isinstance(found, dict) else {}


def ask_nvidia() -> Nvidia:
    """What NVML says; where it says nothing, whether there is a card on the bus at all."""
    hardware = _card_on_bus() or Path("/dev/nvidiactl").exists()
    smi = shutil.which("nvidia-smi") is not None
    found = gpu.inventory()
    why = {"blind": found.problem} if found.cards else {"error": found.problem}
    return Nvidia(cards=found.cards, driver=found.driver, hardware=hardware, smi=smi, **why)


def _card_on_bus() -> bool:
    for device in Path("/sys/bus/pci/devices").glob("*"):
        with contextlib.suppress(OSError):
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
            if vendor == NVIDIA and kind.startswith(DISPLAY):
                return True
    return False


def prove_sandbox(python: str) -> Box:
    """The strongest sandbox that works here, as the canary proves it."""
    bubblewrap = shutil.which("bwrap") or ""
    try:
        from grader.sandbox.canary import CLAIMS, choose

        _, proof = choose(python)
    except (GraderError, OSError, ImportError) as error:
        fix = getattr(error, "fix", "")
        return Box(
            problem=getattr(error, "what", str(error)), hint="" if "doctor" in fix else fix, bubblewrap=bubblewrap
        )
    claims = tuple(
        Claim(name=name, level=level, text=text, held=proof.claims[name])
        for name, (level, text) in CLAIMS.items()
        if name in proof.claims
    )
    return Box(level=proof.level, claims=claims, backend=proof.backend, hint=proof.hint, bubblewrap=bubblewrap)


def memory_mb() -> int:
    """Memory that a run could have: what is available, or what our control group leaves of it."""
    import psutil

    available = int(psutil.virtual_memory().available)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            available = min(available, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(0, available) >> 20


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def installer() -> str:
    """The line that installs bubblewrap here."""
    for program, line in (
        ("apt-get", "apt-get install bubblewrap"),
        ("dnf", "dnf install bubblewrap"),
        ("zypper", "zypper install bubblewrap"),
        ("pacman", "pacman -S bubblewrap"),
        ("apk", "apk add bubblewrap"),
    ):
        if shutil.which(program):
            root = hasattr(os, "geteuid") and os.geteuid() == 0
            return line if root else f"sudo {line}"
    return "install the package bubblewrap"
