"""What the host says of its GPUs and of who is busy there, over a stand-in for NVIDIA's library."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pynvml
import pytest

from grader import gpu
from grader.checks.judge import judge
from grader.checks.student import Bench
from grader.errors import SandboxError
from grader.gpu import FIRST_PID_NAMESPACE, Meter, inventory
from grader.labs import load_lab
from grader.records import Ending, GpuActivity, Gpus, Outcome, Tier
from grader.runner import RunFacts
from grader.session import Session, Tape
from tests.nvml import NAME, Library, install

MINE, ANOTHER = 4_000_001, 4_000_002


@pytest.fixture
def library(monkeypatch):
    """One GPU with nobody on it; time passes ten times as fast."""
    monkeypatch.setattr(gpu, "PERIOD_S", 0.1)
    monkeypatch.setattr(gpu, "POLL_S", 0.02)
    return install(monkeypatch, Library())


@pytest.fixture
def meter(library):
    """A meter of a run whose one process is `MINE`."""
    watching = Meter(lambda: [MINE])
    yield watching
    watching.close()


def watched(meter, seconds=0.4):
    """The activity of the window that begins now."""
    begin = time.time()
    time.sleep(seconds)
    return meter.activity([(begin, time.time())])


# ---------------------------------------------------------------- the inventory


def test_a_host_offers_what_nvml_lists(library, tmp_path):
    """Names, the driver and the device files that a sandbox would show; nothing else of /dev."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "sda", "kvm"):
        (tmp_path / name).touch()
    found = inventory(FIRST_PID_NAMESPACE, tmp_path)
    assert (found.cards, found.driver, found.problem) == ((NAME,), "550.54", "")
    assert [path.rpartition("/")[2] for path in found.devices] == ["nvidia-uvm", "nvidia0", "nvidia1", "nvidiactl"]


def test_a_host_without_the_library_offers_nothing(monkeypatch):
    """And says why."""
    install(monkeypatch, Library()).errors["init"] = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    found = inventory(FIRST_PID_NAMESPACE)
    assert found.cards == ()
    assert found.problem


def test_in_another_pid_namespace_nobody_can_be_told_apart(library):
    """NVML's numbers are not those that the grader sees, so a GPU is there and its use is unknown."""
    found = inventory("pid:[4026532000]")
    assert found.cards == (NAME,)
    assert "--pid=host" in found.problem


def test_a_driver_that_does_not_tell_who_is_busy_is_a_problem(library):
    """As with a divided GPU, or without the right."""
    library.errors["utilization"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert "does not tell" in inventory(FIRST_PID_NAMESPACE).problem


# ---------------------------------------------------------------- between two runs


@pytest.fixture
def room(library, monkeypatch):
    """Asked once before, when the GPU was free."""
    monkeypatch.setattr(gpu, "FREE_S", 0.3)
    asked = gpu.Room()
    asked.wait()
    return asked


@pytest.fixture
def process():
    """One of ours that lives for a while."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as started:
        yield started
        started.kill()


def test_a_gpu_is_not_given_on_while_a_process_of_the_last_run_holds_it(room, library, process):
    """Not when nothing else is wrong, and not when the process is gone and the driver is still at it; then it is."""
    library.holds = lambda: {process.pid: 10}
    with pytest.raises(SandboxError, match="GPU 0 lists 1 of its processes"):
        room.wait()
    process.kill()
    process.wait()
    with pytest.raises(SandboxError, match="GPU 0 lists 1 of its processes"):
        room.wait()
    library.holds = dict
    room.wait()


def test_a_gpu_that_comes_free_in_time_is_given_on(room, library):
    """Drivers take a moment."""
    free_from = time.monotonic() + 0.1
    library.holds = lambda: {} if time.monotonic() > free_from else {MINE: 10}
    room.wait()
    assert time.monotonic() > free_from


def test_memory_that_nobody_accounts_for_keeps_the_next_run_from_it(room, library):
    """Above the least that was seen, and some slack: contexts leave crumbs, starving takes gigabytes."""
    library.lost_mb += gpu.SLACK_MB
    room.wait()
    library.lost_mb += 1
    with pytest.raises(SandboxError, match="1025 MiB of GPU 0"):
        room.wait()


def test_what_other_peoples_processes_hold_is_theirs(room, library):
    """And the runs' of other workers."""
    library.holds = lambda: {os.getppid(): 70_000, 1: 9_000}
    room.wait()


def test_where_the_driver_does_not_tell_who_holds_what_nobody_is_kept_waiting(room, library):
    """Neither where it lists no processes, nor where it lists them without their memory."""
    library.lost_mb += 50_000
    library.holds = lambda: {os.getppid(): None}
    room.wait()
    library.errors["processes"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    room.wait()


def test_a_gpu_that_fails_is_given_to_nobody(room, library):
    """Else a notebook would be judged by what it did without it."""
    library.errors["processes"] = pynvml.NVML_ERROR_GPU_IS_LOST
    with pytest.raises(SandboxError, match="did not come free"):
        room.wait()


# ---------------------------------------------------------------- the meter


def test_a_process_of_the_run_that_computes_is_seen(library, meter):
    """Its utilisation within the window counts."""
    library.busy = lambda: {MINE: 80}
    found = watched(meter)
    assert found.busy >= gpu.BUSY_PERIODS
    assert (found.peak, found.others, found.problem) == (80, 0, "")


def test_what_it_did_before_the_window_does_not_count(library, meter):
    """Neither does the sample that tells of the time just before."""
    library.busy = lambda: {MINE: 80}
    time.sleep(0.2)
    library.busy = dict
    assert watched(meter).busy == 0


def test_what_it_did_after_the_window_does_not_count(library, meter):
    """The window ends when the work did."""
    begin = time.time()
    time.sleep(0.2)
    end = time.time()
    library.busy = lambda: {MINE: 80}
    time.sleep(0.2)
    assert meter.activity([(begin, end)]).busy == 0


def test_short_windows_in_a_row_are_one(library, meter):
    """A search that trains many models for a moment each is seen, though no moment is as long as a sample period."""
    library.busy = lambda: {MINE: 80}
    windows = []
    for _ in range(8):
        begin = time.time()
        time.sleep(0.06)
        windows.append((begin, time.time()))
    assert meter.activity(windows).busy >= gpu.BUSY_PERIODS
    assert gpu.joined([(5.0, 6.0), (1.0, 2.0), (6.05, 7.0)]) == [(1.0, 2.0), (5.0, 7.0)]


def test_somebody_elses_work_is_not_the_runs(library, meter):
    """It is told to staff as what it is."""
    library.busy = lambda: {ANOTHER: 95}
    found = watched(meter)
    assert (found.busy, found.peak, found.others) == (0, 0, 95)


@pytest.mark.parametrize("percent", [0, 4_000_000])
def test_holding_memory_or_noise_is_not_work(library, meter, percent):
    """A process that is listed without using a multiprocessor, or with an impossible share, did nothing."""
    library.busy = lambda: {MINE: percent}
    assert watched(meter).peak == 0


def test_a_library_that_fails_meanwhile_is_nobodys_idleness(library, meter):
    """Then nobody knows what the run did."""
    library.errors["utilization"] = pynvml.NVML_ERROR_GPU_IS_LOST
    assert watched(meter, 0.1).problem


# ---------------------------------------------------------------- the checks

SUITE = '''
from grader.checks import VERIFIED, assert_gpu_used, check

@check("gpu", points=10, evidence=VERIFIED)
def test_gpu(student, gpu):
    """Trains on the GPU."""
    assert_gpu_used(gpu.training())
'''
OFFERED = Gpus(cards=(NAME,))


@pytest.fixture
def judged(make_lab):
    """Judges a run with these facts by a suite that wants to see the GPU used while it trained."""

    def judging(*, replay=False, lab_gpu="if-available", **facts):
        folder = make_lab(SUITE).folder
        path = folder / "lab.toml"
        path.write_text(path.read_text("utf-8").replace("points = 10", f'points = 10\ngpu = "{lab_gpu}"'), "utf-8")
        lab = load_lab(folder)
        session = Session(None, None, Tape(), seed=1, deadline_s=1, replay=replay)
        bench = Bench(lab, RunFacts(ending=Ending.OK, **facts), session, lambda path: b"")
        done = judge(lab, bench, None, Tier.FULL)
        return done.results[0], done.missed

    return judging


def test_a_busy_run_passes_and_an_idle_one_fails(judged):
    """On verified evidence; one busy period may be a stray."""
    passed, _ = judged(gpus=OFFERED, gpu_training=GpuActivity(seconds=9, busy=5, peak=70))
    assert (passed.outcome, passed.score, passed.evidence.value) == (Outcome.PASSED, 10, "verified")
    for busy in (0, 1):
        failed, _ = judged(gpus=OFFERED, gpu_training=GpuActivity(seconds=9, busy=busy, others=99))
        assert (failed.outcome, failed.score) == (Outcome.FAILED, 0)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"gpus": Gpus()}, "offers no GPU"),
        ({"gpus": Gpus(problem="NVML Shared Library Not Found")}, "NVML Shared Library Not Found"),
        ({"gpus": Gpus(cards=(NAME,), problem="in a container")}, "in a container"),
        ({"gpus": OFFERED, "gpu_training": GpuActivity(problem="GPU is lost")}, "GPU is lost"),
        ({}, "only measured when the course grades"),
    ],
)
def test_what_the_host_cannot_decide_is_skipped(judged, facts, said):
    """It leaves the maximum, and says why."""
    result, missed = judged(**facts)
    assert (result.outcome, result.blocked_by, missed) == (Outcome.SKIPPED, "", False)
    assert said in result.rationale


def test_a_run_that_nobody_measured_has_to_be_run_again(judged):
    """A tape from before the lab asked for a GPU cannot answer."""
    assert judged(replay=True)[1]


def test_a_lab_that_asks_for_no_gpu_cannot_judge_it(judged):
    """That is its author's mistake."""
    result, _ = judged(lab_gpu="no", gpus=OFFERED)
    assert result.outcome is Outcome.ERRORED
