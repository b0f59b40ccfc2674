"""The doctor: from facts to findings, each problem with its fix; and the questions it asks of a kernel's Python."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import msgspec
import pytest

from grader.datasets import Status
from grader.doctor import (
    Box,
    Facts,
    Finding,
    Kernel,
    Nvidia,
    ask_kernel,
    cores,
    diagnose,
    installer,
    memory_mb,
)
from grader.fits import FITS, Fit
from grader.records import Level, Tier

HEALTHY = Facts(
    system="Linux 6.1",
    kernel=Kernel(
        executable="/opt/python/bin/python",
        python="3.12.3",
        packages={
            "tensorflow": "2.21.0",
            "keras": "3.15.1",
            "numpy": "2.4.6",
            "ipykernel": "7.4.0",
            "nbclient": "0.11.0",
            "nbformat": "5.11.1",
        },
        cuda_build=True,
        gpus=("/physical_device:GPU:0",),
    ),
    nvidia=Nvidia(cards=("NVIDIA T4",), driver="550.54", hardware=True, smi=True),
    sandbox=Box(level=Level.L2, backend="bubblewrap", bubblewrap="/usr/bin/bwrap"),
    data=(Status(dataset="iris", title="Iris", tier=Tier.FULL, folder=Path("/data")),),
    data_folder="/data",
    memory_mb=16_000,
    cores=4,
    installer="apt-get install bubblewrap",
)


def healthy(**changes: object) -> Facts:
    return msgspec.structs.replace(HEALTHY, **changes)


def kernel(**changes: object) -> Facts:
    """A healthy machine whose kernel's Python says something else."""
    return healthy(kernel=msgspec.structs.replace(HEALTHY.kernel, **changes))


def packages(**versions: str) -> Facts:
    return kernel(packages={**HEALTHY.kernel.packages, **versions})


def on(topic: str, facts: Facts) -> Finding:
    (finding,) = [finding for finding in diagnose(facts) if finding.topic == topic]
    return finding


def test_a_healthy_machine_has_nothing_to_fix():
    """Where everything is there, every finding is ok and none asks for anything."""
    assert {(finding.state, finding.fix) for finding in diagnose(HEALTHY)} == {("ok", "")}


def test_every_topic_is_told():
    """The diagnosis covers versions, GPU, each data set, sandbox, bubblewrap, memory and cores."""
    topics = [finding.topic for finding in diagnose(HEALTHY)]
    assert topics == [
        "Python",
        "TensorFlow",
        "Keras",
        "GPU",
        "GPU use",
        "data: iris",
        "sandbox",
        "bubblewrap",
        "memory",
    ]
    assert "4 cores" in on("memory", HEALTHY).text


@pytest.mark.parametrize(
    "facts",
    [
        kernel(python="", error="No such file or directory"),
        kernel(error="ModuleNotFoundError: No module named 'tensorflow'"),
        kernel(error="illegal instruction"),
        packages(keras="3.3.0"),
        packages(tensorflow="2.15.0", keras="2.15.0"),
        healthy(sandbox=Box(problem="no way to run a notebook works", hint="allow user namespaces")),
        healthy(min_level=3, sandbox=Box(level=Level.L2, backend="bubblewrap", hint="use another kernel")),
    ],
)
def test_each_problem_comes_with_its_fix(facts):
    """What keeps notebooks from being graded is a problem, and says what to do."""
    problems = [finding for finding in diagnose(facts) if finding.state == "problem"]
    assert problems
    assert all(finding.fix for finding in problems)


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize("fit", FITS)
def test_the_oldest_keras_of_a_tensorflow_fits(fit: Fit):
    """A TensorFlow with the Keras it asks for, on a Python it is built for, is ok."""
    python = f"{fit.python[1][0]}.{fit.python[1][1]}.0"
    versions = {"tensorflow": "{}.{}.0".format(*fit.tensorflow), "keras": "{}.{}.0".format(*fit.keras)}
    assert on("Keras", kernel(python=python, packages={**HEALTHY.kernel.packages, **versions})).state == "ok"


@pytest.mark.parametrize(
    ("tensorflow", "keras", "python", "state", "said"),
    [
        ("2.21.0", "3.11.3", "3.12.3", "problem", "needs Keras 3.12 or newer"),
        ("2.20.0", "3.9.2", "3.12.3", "problem", "needs Keras 3.10 or newer"),
        ("2.15.1", "2.15.0", "3.11.4", "problem", "Keras 3"),
        ("2.19.0", "3.12.0", "3.13.1", "problem", "no build for Python 3.13"),
        ("2.21.0", "", "3.12.3", "problem", "not installed"),
        ("2.23.0", "3.18.0", "3.12.3", "note", "newer than this grader knows"),
        ("2.21.0", "4.0.0", "3.12.3", "note", "newer"),
        ("2.21.0", "3.12.0", "3.11.0", "ok", "fits"),
    ],
)
def test_versions_that_do_not_fit_are_told(tensorflow, keras, python, state, said):
    """TensorFlow, Keras and Python are compared with the table of what fits together."""
    versions = {**HEALTHY.kernel.packages, "tensorflow": tensorflow, "keras": keras}
    finding = on("Keras", kernel(python=python, packages=versions))
    assert finding.state == state
    assert said in finding.text


@pytest.mark.parametrize(
    ("tensorflow", "keras", "numpy", "said"),
    [
        ("2.17.1", "3.2.0", "2.0.2", "needs numpy>=1.23,<2.0"),
        ("2.18.1", "3.5.0", "2.1.3", "needs numpy>=1.26,<2.1"),
        ("2.21.0", "3.12.0", "1.24.4", "needs numpy>=1.26"),
        ("2.19.1", "3.5.0", "2.1.3", ""),
        ("2.21.0", "3.12.0", "2.4.6", ""),
    ],
)
def test_a_numpy_that_tensorflow_was_not_made_for_is_a_problem(tensorflow, keras, numpy, said):
    """NumPy is held against what the wheel itself asks for."""
    found = [f for f in diagnose(packages(tensorflow=tensorflow, keras=keras, numpy=numpy)) if f.topic == "NumPy"]
    assert [said in finding.text and finding.fix.endswith(f'"{said.split()[-1]}"') for finding in found] == (
        [True] if said else []
    )


def test_the_table_agrees_with_the_installed_tensorflow():
    """The row of the pinned TensorFlow says what its own metadata say."""
    from importlib import metadata

    row = FITS[-1]
    wanted = [line.replace(" ", "") for line in metadata.requires("tensorflow") or ()]
    assert f"{row.tensorflow[0]}.{row.tensorflow[1]}." in metadata.version("tensorflow")
    for name, version in (
        ("keras", row.keras),
        ("numpy", row.numpy[0]),
        ("nvidia-cuda-nvcc-cu12", row.cuda),
        ("nvidia-cudnn-cu12", row.cudnn),
    ):
        (line,) = [line for line in wanted if line.startswith((f"{name}>", f"{name}<"))]
        assert f">={version[0]}.{version[1]}." in line


def test_a_python_without_tensorflow_builds_is_told_what_fits():
    """On a Python that TensorFlow has no build for, installing it again would not help."""
    facts = kernel(python="3.14.0", error="ModuleNotFoundError: No module named 'tensorflow'")
    assert "3.10 to 3.13" in on("TensorFlow", facts).fix


def test_missing_jupyter_packages_are_named():
    """The kernel's Python needs the notebook layer; what it lacks is named in the line that installs it."""
    facts = kernel(packages={"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6", "nbformat": "5.11.1"})
    assert on("Jupyter", facts).fix.endswith("pip install ipykernel nbclient")


# ---------------------------------------------------------------- GPU


@pytest.mark.parametrize(
    ("seen", "said", "fix"),
    [
        ({"cuda_build": False}, "built for the CPU only", "tensorflow[and-cuda]"),
        ({"missing_libraries": True}, "CUDA libraries are missing", "tensorflow[and-cuda]"),
        ({"visible_devices": "-1"}, "CUDA_VISIBLE_DEVICES hides it", "unset CUDA_VISIBLE_DEVICES"),
        ({"missing_libraries": True}, "needs CUDA 12.5 and cuDNN 9.3", "tensorflow[and-cuda]"),
        (
            {"packages": {**HEALTHY.kernel.packages, "nvidia-cudnn-cu12": "8.9.7.29"}},
            "cuDNN 8.9 is installed, and TensorFlow 2.21 needs 9.3",
            "tensorflow[and-cuda]",
        ),
        (
            {"packages": {**HEALTHY.kernel.packages, "nvidia-cuda-runtime-cu12": "12.3.101"}, "cuda": "12.5.1"},
            "CUDA 12.3 is installed, and TensorFlow 2.21 needs 12.5",
            "tensorflow[and-cuda]",
        ),
        ({"error": "ImportError: x"}, "cannot be imported", "see TensorFlow"),
        ({}, "does not list it", "driver 550.54"),
    ],
)
def test_why_tensorflow_does_not_see_a_gpu(seen, said, fix):
    """A card that the driver shows and TensorFlow does not: the reason and its own fix are told."""
    finding = on("GPU", kernel(gpus=(), **seen))
    assert finding.state == "note"
    assert said in finding.text
    assert fix in finding.fix


def test_a_driver_that_is_too_old_is_told():
    """CUDA 12 needs driver 525."""
    nvidia = Nvidia(cards=("NVIDIA T4",), driver="470.82", hardware=True)
    finding = on("GPU", msgspec.structs.replace(kernel(gpus=()), nvidia=nvidia))
    assert "driver 470.82 is too old for CUDA 12" in finding.text
    assert "525 or newer" in finding.fix


@pytest.mark.parametrize("newer", ["9.28.0.42", "9.3.0.75"])
def test_a_newer_cudnn_of_the_same_major_version_fits(newer):
    """Within a major version cuDNN is backward compatible: it is not what hides the card."""
    finding = on("GPU", kernel(gpus=(), packages={**HEALTHY.kernel.packages, "nvidia-cudnn-cu12": newer}, cudnn="9"))
    assert "does not list it" in finding.text


def test_a_card_without_a_driver_is_told():
    """A card on the bus that NVML cannot reach means the driver, whatever TensorFlow is built for."""
    nvidia = Nvidia(error="Driver Not Loaded", hardware=True)
    finding = on("GPU", msgspec.structs.replace(kernel(gpus=(), cuda_build=False), nvidia=nvidia))
    assert "driver is missing or not loaded (Driver Not Loaded)" in finding.text
    assert "driver" in finding.fix


def test_a_machine_without_a_gpu_has_nothing_to_fix():
    """No card is no fault: the labs run on the CPU."""
    finding = on("GPU", msgspec.structs.replace(kernel(gpus=(), cuda_build=True), nvidia=Nvidia(error="not found")))
    assert (finding.state, finding.fix) == ("note", "")
    assert "CPU" in finding.text


# ---------------------------------------------------------------- data, sandbox, memory


def test_lite_data_is_a_note_with_the_way_to_the_full_tier():
    """Without full data grading works; the finding says which file is missing and how to get it."""
    row = Status(dataset="mnist", title="MNIST", tier=Tier.LITE, folder=Path("/lite"), missing=("mnist.npz",))
    finding = on("data: mnist", healthy(data=(row,)))
    assert finding.state == "note"
    assert "mnist.npz" in finding.text
    assert "grader data fetch mnist" in finding.fix


def test_a_wrong_data_file_is_a_problem():
    """A file that is not what it claims to be stops grading and is shown as such."""
    row = Status(dataset="mnist", title="MNIST", tier=Tier.LITE, folder=Path("/d"), problem="/d/mnist.npz: is not it")
    assert on("data: mnist", healthy(data=(row,))).state == "problem"


def test_the_line_that_installs_bubblewrap_is_shown_where_it_would_help():
    """Below L2 the missing bubblewrap is named with its install line; at L2 it is not needed."""
    weak = on("bubblewrap", healthy(sandbox=Box(level=Level.L0, backend="no sandbox")))
    assert (weak.state, weak.fix) == ("note", "apt-get install bubblewrap")
    strong = on("bubblewrap", healthy(sandbox=Box(level=Level.L2, backend="namespaces")))
    assert (strong.state, strong.fix) == ("ok", "")


def test_level_zero_is_never_called_ok():
    """A plain process group is told as what it is."""
    finding = on("sandbox", healthy(sandbox=Box(level=Level.L0, backend="no sandbox", hint="install bubblewrap")))
    assert finding.state == "note"
    assert "only notebooks you trust" in finding.text


def test_little_memory_is_told():
    """Too little memory for a run, or for a run on every core, says what to change."""
    assert on("memory", healthy(memory_mb=1000)).state == "note"
    assert on("memory", healthy(memory_mb=8000, cores=16)).fix == "--jobs 5"


def test_the_machine_itself_is_measured():
    """Memory and cores are positive, and some line installs bubblewrap."""
    assert memory_mb() > 0
    assert cores() >= 1
    assert "bubblewrap" in installer()


# ---------------------------------------------------------------- asking a kernel


def python_that(tmp_path: Path, script: str) -> str:
    """A program that stands where the kernel's Python should be."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


posix = pytest.mark.skipif(os.name == "nt", reason="uses a shell script as the interpreter")


@posix
def test_a_kernel_is_asked_in_its_own_process(tmp_path):
    """What the interpreter prints last is its answer; what it says before is ignored."""
    said = '{"python": "3.12.1", "packages": {"keras": "3.15.1"}, "visible_devices": null}'
    found = ask_kernel(python_that(tmp_path, f"echo noise; echo '[1]'; echo '{said}'"))
    assert (found.python, found.packages, found.error) == ("3.12.1", {"keras": "3.15.1"}, "")


@posix
def test_a_crash_during_the_import_keeps_what_was_said_before(tmp_path):
    """A processor without AVX ends the process: the versions stay, and the crash is the error."""
    found = ask_kernel(python_that(tmp_path, 'echo \'{"python": "3.12.1"}\'; kill -ILL $$'))
    assert (found.python, found.error) == ("3.12.1", "illegal instruction")


@posix
@pytest.mark.parametrize("script", ["exit 3", "echo hello", "echo '{\"python\": 3}'", "kill -KILL $$"])
def test_whatever_an_interpreter_answers_is_a_finding(tmp_path, script):
    """A program that is no Python ends as a problem with a fix, never as an exception."""
    found = on("Python", healthy(kernel=ask_kernel(python_that(tmp_path, script))))
    assert found.state == "problem"
    assert "[kernel] python" in found.fix


def test_an_interpreter_that_does_not_exist_is_a_finding():
    """A misspelt [kernel] python is told with its path."""
    finding = on("Python", healthy(kernel=ask_kernel("/nowhere/python")))
    assert finding.state == "problem"
    assert "/nowhere/python" in finding.text


def test_libraries_that_tensorflow_misses_are_read_from_its_log(tmp_path):
    """TensorFlow says on stderr only that CUDA's libraries are missing; that is how we know."""
    if os.name == "nt":
        pytest.skip("uses a shell script as the interpreter")
    found = ask_kernel(
        python_that(tmp_path, 'echo "Cannot dlopen some GPU libraries." >&2; echo \'{"python": "3.12.1"}\'')
    )
    assert found.missing_libraries


@pytest.mark.slow
def test_this_interpreter_fits_together():
    """The versions that the requirements pin fit, by the doctor's own table."""
    finding = on("Keras", healthy(kernel=ask_kernel(sys.executable)))
    assert finding.state == "ok", finding
