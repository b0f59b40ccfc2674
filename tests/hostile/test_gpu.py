"""Attacks on what the host sees of its GPUs; the GPU is a stand-in for NVIDIA's library, the notebooks are real."""

from __future__ import annotations

import time

import psutil
import pytest

from grader import gpu
from grader.checks.judge import judge
from grader.checks.student import Bench
from grader.errors import SandboxError
from grader.labs import load_lab
from grader.records import Gpus, Outcome, Tier
from grader.session import Session, Tape
from tests.nvml import NAME, Library, install

SUITE = '''
from grader.checks import VERIFIED, assert_gpu_used, check

@check("trained", points=10, evidence=VERIFIED)
def test_trained(gpu):
    """Trains on the GPU."""
    assert_gpu_used(gpu.training())
'''
PATCHES = """
import sys, types
tensorflow = types.ModuleType("tensorflow")
device = types.SimpleNamespace(name="/physical_device:GPU:0", device_type="GPU")
tensorflow.config = types.SimpleNamespace(list_physical_devices=lambda kind=None: [device])
tensorflow.test = types.SimpleNamespace(is_gpu_available=lambda: True, gpu_device_name=lambda: "/device:GPU:0")
sys.modules["tensorflow"] = tensorflow
"""
FAKES = """
import os, subprocess
os.makedirs("bin"); os.makedirs("proc/driver/nvidia/gpus/0")
for name in ("bin/nvidia-smi", "libcuda.so.1", "libnvidia-ml.so.1", "proc/driver/nvidia/version"):
    open(name, "w").write("#!/bin/sh\\necho '0, 100 %, 80000 MiB'\\n"); os.chmod(name, 0o755)
here = os.getcwd()
os.environ.update(PATH=here + "/bin:" + os.environ["PATH"], LD_LIBRARY_PATH=here, LD_PRELOAD=here + "/libcuda.so.1")
subprocess.run(["nvidia-smi"], capture_output=True)
"""
HIDES = "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '-1'\nos.environ['NVIDIA_VISIBLE_DEVICES'] = 'none'"
DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"])
    os._exit(0)
"""


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setattr(gpu, "PERIOD_S", 0.2)
    monkeypatch.setattr(gpu, "POLL_S", 0.05)
    return install(monkeypatch, Library())


def outcome(make_lab, notebook, source: str) -> Outcome:
    folder = make_lab(SUITE).folder
    path = folder / "lab.toml"
    path.write_text(path.read_text("utf-8").replace("points = 10", 'points = 10\ngpu = "if-available"'), "utf-8")
    lab = load_lab(folder)
    run = notebook(source, "import time; time.sleep(0.6)", gpus=Gpus(cards=(NAME,)))
    session = Session(run.link, None, Tape(), seed=1, deadline_s=5)
    (result,) = judge(lab, Bench(lab, run.facts, session, lambda path: b""), None, Tier.LITE).results
    return result.outcome


@pytest.mark.attack("D36", "Patches TensorFlow's lists of devices.")
def test_a_patched_list_of_devices_is_no_gpu(make_lab, notebook, library):
    """The host saw nothing of the run's there."""
    assert outcome(make_lab, notebook, PATCHES) is Outcome.FAILED


@pytest.mark.attack("D37", "Brings an nvidia-smi, a libcuda and a /proc of its own.")
def test_fake_tools_are_not_asked(make_lab, notebook, library):
    """NVML is loaded outside of the sandbox."""
    assert outcome(make_lab, notebook, FAKES) is Outcome.FAILED


@pytest.mark.attack("D40", "Hides the GPU, to be excused from using it.")
def test_who_hides_the_gpu_is_not_excused(make_lab, notebook, library):
    """The host's inventory decides."""
    assert outcome(make_lab, notebook, HIDES) is Outcome.FAILED


@pytest.mark.attack("D38", "Keeps the GPU busy outside of its training.")
def test_work_outside_of_the_training_does_not_count(library):
    """Within it, work that is not the training's cannot be told from it: docs/threat-model.md says so."""
    mine = psutil.Process().pid
    library.busy = lambda: {mine: 90}
    meter = gpu.Meter(lambda: [mine])
    begin = time.time()
    time.sleep(0.8)
    try:
        assert meter.activity([(begin - 10, begin - 5)]).busy == 0
        assert meter.activity([(begin, begin + 0.8)]).busy >= 1
    finally:
        meter.close()


@pytest.mark.attack("D39", "Leaves a daemon that would hold the GPU's memory.")
def test_nobody_is_left_to_hold_the_gpu(notebook, library, monkeypatch):
    """While it lives the GPU is given to nobody else; every process of a run is gone when it is closed, and its memory free."""
    monkeypatch.setattr(gpu, "FREE_S", 0.5)
    run = notebook(DAEMON)
    mine = [psutil.Process(pid) for pid in run.pids()]
    assert len(mine) >= 3
    library.holds = lambda: {process.pid: 20_000 for process in mine if process.is_running()}
    room = gpu.Room()
    with pytest.raises(SandboxError, match="did not come free"):
        room.wait()
    run.close()
    room.wait()
    _, left = psutil.wait_procs(mine, timeout=5)
    assert not left
