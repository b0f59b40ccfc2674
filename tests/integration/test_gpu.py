"""A notebook's use of the GPU, seen from the host while it really runs; the GPU is a stand-in for NVIDIA's library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import psutil
import pytest

from grader import gpu, wire, worker
from grader.checks.judge import judge
from grader.checks.student import Bench
from grader.errors import SandboxError
from grader.grading import Setting
from grader.labs import load_lab
from grader.records import Ending, Gpus, Level, Limits, Outcome, Tier
from grader.runner import Job, gpus_inside, run_notebook
from grader.sandbox import available
from grader.sandbox.backends import Bare
from grader.sandbox.conformance import value_of
from grader.session import Session, Tape
from grader.submissions import Submission
from grader.zygote import Zygote
from tests.lacking import lacking
from tests.nvml import NAME, Library, install

ROOT = Path(__file__).resolve().parents[2]
OFFERED = Gpus(cards=(NAME,))
SUITE = '''
from grader.checks import VERIFIED, assert_gpu_used, check

@check("asked", points=5, evidence=VERIFIED)
def test_asked(student, gpu):
    """Computes on the GPU when it is asked."""
    assert_gpu_used(gpu.asking(student.f, 0.05, seconds=1.0))

@check("trained", points=5, evidence=VERIFIED)
def test_trained(gpu):
    """Trains on the GPU."""
    assert_gpu_used(gpu.training())
'''
WORKS = "import time\ndef f(seconds):\n    time.sleep(seconds)\n    return seconds\nf(0.6)"
HIDES = """
import os, sys, types
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
tensorflow = types.ModuleType("tensorflow")
tensorflow.config = types.SimpleNamespace(list_physical_devices=lambda kind=None: ["GPU:0"])
sys.modules["tensorflow"] = tensorflow
"""


@pytest.fixture
def library(monkeypatch):
    """One GPU, and time that passes five times as fast."""
    monkeypatch.setattr(gpu, "PERIOD_S", 0.2)
    monkeypatch.setattr(gpu, "POLL_S", 0.05)
    return install(monkeypatch, Library())


@pytest.fixture
def lab(make_lab):
    """A lab that wants to see the GPU used where there is one."""
    folder = make_lab(SUITE).folder
    path = folder / "lab.toml"
    path.write_text(path.read_text("utf-8").replace("points = 10", 'points = 10\ngpu = "if-available"'), "utf-8")
    return load_lab(folder)


def kernels(zygote):
    """The processes of the run that is going on, by the host's numbers."""
    return [process.pid for process in psutil.Process(zygote.launched.process.pid).children(recursive=True)]


def outcomes(lab, run, session):
    bench = Bench(lab, run.facts, session, lambda path: b"")
    judged = judge(lab, bench, None, Tier.FULL)
    assert not judged.missed
    return judged.results


def graded(lab, notebook, source, gpus=OFFERED):
    """How both checks end, live, and the same from the tape."""
    run = notebook(source, gpus=gpus)
    tape = Tape()
    live = outcomes(lab, run, Session(run.link, None, tape, seed=1, deadline_s=10, meter=run.meter))
    kept = Tape.decode(tape.encode())
    again = outcomes(lab, run, Session(None, None, kept, seed=1, deadline_s=10, replay=True))
    assert [(r.outcome, r.score, r.found, r.staff_note) for r in live] == [
        (r.outcome, r.score, r.found, r.staff_note) for r in again
    ]
    return [result.outcome for result in live]


def test_the_work_of_the_runs_own_processes_counts(lab, notebook, zygote, library):
    """Also when it is judged again from the tape."""
    library.busy = lambda: dict.fromkeys(kernels(zygote), 80)
    assert graded(lab, notebook, WORKS) == [Outcome.PASSED, Outcome.PASSED]


def test_somebody_elses_work_does_not(lab, notebook, library):
    """The grader's own process, say, or another run's."""
    library.busy = lambda: {os.getpid(): 99}
    assert graded(lab, notebook, WORKS) == [Outcome.FAILED, Outcome.FAILED]


def test_memory_alone_does_not(lab, notebook, zygote, library):
    """TensorFlow claims it on every GPU that it sees."""
    library.busy = lambda: dict.fromkeys(kernels(zygote), 0)
    assert graded(lab, notebook, WORKS) == [Outcome.FAILED, Outcome.FAILED]


def test_a_notebook_that_hides_the_gpu_gets_no_waiver(lab, notebook, library):
    """Neither CUDA_VISIBLE_DEVICES nor a patched list of devices changes what the host offers and sees."""
    assert graded(lab, notebook, HIDES + WORKS) == [Outcome.FAILED, Outcome.FAILED]


def test_where_the_host_offers_none_both_are_skipped(lab, notebook, monkeypatch):
    """And where it cannot tell who is busy."""
    for gpus in (Gpus(problem="NVML Shared Library Not Found"), Gpus(cards=(NAME,), problem="in a container")):
        assert graded(lab, notebook, WORKS, gpus) == [Outcome.SKIPPED, Outcome.SKIPPED]


def test_a_run_that_asks_for_no_gpu_is_not_watched(notebook, monkeypatch):
    """Not one call of the library, and no thread, for all the other labs."""
    monkeypatch.setattr("grader.runner.Meter", None)
    run = notebook(WORKS)
    assert (run.meter, run.facts.gpus, run.facts.gpu_training) == (None, None, None)


# ---------------------------------------------------------------- with TensorFlow

FITS = """
import time, keras, numpy as np
class Slow(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.4)
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((8, 2)), np.ones(8), epochs=3, verbose=0, callbacks=[Slow()])
open("over", "w").close()
time.sleep(1.5)
"""
PLACES = """
import tensorflow as tf
devices = [device.name for device in tf.config.list_logical_devices()]
with tf.device("CPU:1"):
    x = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        y = x * x
    gradient = tape.gradient(y, x)
"""


@pytest.fixture(scope="module")
def science(backend):
    """A zygote with TensorFlow."""
    with Zygote(backend, sys.executable, slot=3) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize(("when", "expected"), [("fit", True), ("after", False)])
def test_the_window_of_training_is_that_of_fit(notebook, science, library, tmp_path, when, expected):
    """Told by the hook when it happens, timed by the host: what the process does afterwards does not count."""

    def busy():
        over = [Path(f"/proc/{pid}/cwd/over").exists() for pid in kernels(science)]
        return dict.fromkeys(kernels(science), 80) if any(over) == (when == "after") else {}

    library.busy = busy
    run = notebook(FITS, where=science, gpus=OFFERED, limits={"memory_mb": 2048})
    assert run.facts.ending is Ending.OK
    assert 1.0 < run.facts.gpu_training.seconds < run.facts.timings["notebook"] - 1.4
    assert (run.facts.gpu_training.busy >= 2) == expected


@pytest.mark.slow
def test_a_kernel_can_have_several_cpu_devices(notebook, science):
    """So that placement shows without a GPU; steps of an own loop are noted where they happened."""
    run = notebook(PLACES, where=science, logical_cpus=2, limits={"memory_mb": 2048})
    assert [name[-5:] for name in value_of(run, "devices")] == ["CPU:0", "CPU:1"]
    assert run.facts.observed["devices"] == {"CPU:1": 1}


@pytest.mark.slow
def test_other_kernels_have_one(notebook, science):
    """As everywhere."""
    run = notebook(PLACES.replace("CPU:1", "CPU:0"), where=science, limits={"memory_mb": 2048})
    assert len(value_of(run, "devices")) == 1


@pytest.mark.slow
def test_the_sandbox_is_asked_whether_tensorflow_sees_a_gpu_there(science):
    """In the clean sandbox, before any student's code; TensorFlow on this machine's processor sees none."""
    assert gpus_inside(science) == 0


# ---------------------------------------------------------------- devices in the sandbox


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
@pytest.mark.parametrize("backend", [b for b in available() if b.name != "none"], ids=lambda b: b.name)
def test_devices_are_shown_where_they_are_asked_for_and_nowhere_else(backend):
    """Any device file of the host's stands for a GPU's: it is there when asked for, and is not otherwise."""
    usual = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
    spare = next(
        (path for path in sorted(Path("/dev").iterdir()) if path.is_char_device() and path.name not in usual), None
    )
    if spare is None:
        lacking("no device file in /dev that a sandbox has not anyway")
    source = (
        "import os, stat\nfound = {name: stat.S_ISCHR(os.lstat(f'/dev/{name}').st_mode) for name in os.listdir('/dev')}"
    )
    job = Job(cells=(wire.SourceCell("code", source),), seed=0, limits=Limits(wall_s=5, memory_mb=256, disk_mb=16))
    seen = []
    for devices in ((), (str(spare),)):
        with (
            Zygote(backend, sys.executable, options={"tensorflow": False}, slot=4, devices=devices) as zygote,
            run_notebook(zygote, job) as run,
        ):
            seen.append(value_of(run, "found"))
    assert {name: seen[1][name] for name in seen[1].keys() - seen[0].keys()} == {spare.name: True}


def test_only_a_lab_that_asks_has_the_devices_in_its_sandbox(make_lab, monkeypatch, library):
    """On a machine with a GPU a worker has two zygotes: one that shows it, and one without for all other labs."""
    made, offered = [], []

    class Listed:
        """Stands for a started zygote: only what it was asked to show matters here."""

        def __init__(self, *args, devices, **options):
            made.append(devices)

        def alive(self):
            return True

        def close(self):
            """Nothing was started."""

    found = Gpus(cards=(NAME,), devices=("/dev/nvidia0",))
    monkeypatch.setattr(worker, "Zygote", Listed)
    monkeypatch.setattr(worker, "gpus_inside", lambda zygote: 1)
    monkeypatch.setattr(gpu, "inventory", lambda: found)
    monkeypatch.setattr(
        worker,
        "grade_submission",
        lambda *args: offered.append(args[4]) or SimpleNamespace(lost=False, verdict=SimpleNamespace(ending=Ending.OK)),
    )
    factory = worker.GradingWorker.Factory(Bare(), sys.executable, {}, "", "")
    grading = worker.GradingWorker(factory, 0)
    lab = make_lab(REQUIRED)
    submission = Submission(student="s", slug="s", lab="tiny", source="", sha256="0" * 64, size=0)
    for asks in ("no", "required", "if-available", "no"):
        chosen = msgspec.structs.replace(lab, gpu=asks)
        grading.graded(Setting(chosen, None, None, "", lab.limits, Level.L0), submission, str)
    assert made == [(), ("/dev/nvidia0",)]
    assert offered == [None, found, found, None]


def test_a_gpu_that_is_not_free_of_the_last_run_is_our_fault(make_lab, monkeypatch, library):
    """No notebook is run on it, so none is judged by what it lacked: tried twice, then the machine's to mend."""
    library.holds = lambda: {4_000_001: 70_000}  # of a process that is gone
    monkeypatch.setattr(gpu, "FREE_S", 0.1)
    monkeypatch.setattr(worker, "grade_submission", None)
    found = Gpus(cards=(NAME,), devices=("/dev/nvidia0",))
    grading = worker.GradingWorker(worker.GradingWorker.Factory(Bare(), sys.executable, {}, "", "", gpus=found), 0)
    lab = msgspec.structs.replace(make_lab(REQUIRED), gpu="required")
    submission = Submission(student="s", slug="s", lab="tiny", source="", sha256="0" * 64, size=0)
    with pytest.raises(SandboxError, match="the GPU did not come free"):
        grading.graded(Setting(lab, None, None, "", lab.limits, Level.L0), submission, str)


def test_a_gpu_that_tensorflow_cannot_use_in_the_sandbox_is_not_offered(monkeypatch):
    """What is missing there is ours, and must not cost a student points."""
    monkeypatch.setattr(worker, "gpus_inside", lambda zygote: 0)
    monkeypatch.setattr(worker.GradingWorker, "_zygote", lambda worker, devices: None)
    monkeypatch.setattr(gpu, "inventory", lambda: OFFERED)
    gpus = worker.GradingWorker(worker.GradingWorker.Factory(Bare(), sys.executable, {}, "", ""), 0).gpus()
    assert gpus.cards == ()
    assert "grader doctor" in gpus.problem


# ---------------------------------------------------------------- no GPU where one is required

REQUIRED = '''
from grader.checks import OBSERVED, check

@check("one", points=10, evidence=OBSERVED)
def test_one(student):
    """Is one."""
    assert student.x.value() == 1
'''


@pytest.mark.slow
def test_a_lab_that_requires_a_gpu_waits_for_one(make_lab, tmp_path, monkeypatch):
    """Nobody's fault, no zero, nothing for staff to mend: exit code 5, and a card that says that it waits."""
    lab = make_lab(REQUIRED)
    path = lab.folder / "lab.toml"
    path.write_text(path.read_text("utf-8").replace("points = 10", 'points = 10\ngpu = "required"'), "utf-8")
    folder = tmp_path / "class" / "student-1"
    folder.mkdir(parents=True)
    cell = {"cell_type": "code", "source": "x = 1", "metadata": {}, "outputs": [], "execution_count": None}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    (folder / "tiny.ipynb").write_text(json.dumps(notebook), "utf-8")
    out = tmp_path / "out"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "GRADER_LABS": str(lab.folder.parent)}
    command = [sys.executable, "-m", "grader", "grade", str(tmp_path / "class"), "--out", str(out), "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, cwd=tmp_path)
    said = json.loads(done.stdout)
    assert (done.returncode, said["deferred"], said["attention"]) == (5, 1, 0)
    verdict = json.loads((out / "tiny" / "student-1" / "staff" / "result.json").read_text("utf-8"))
    assert (verdict["ending"], verdict["max_score"], verdict["needs_attention"]) == ("deferred", 0.0, [])
    assert {check["outcome"] for check in verdict["checks"]} == {"skipped"}
    assert "waits for a GPU" in (out / "tiny" / "student-1" / "card.html").read_text("utf-8")
