"""The pool: every task ends exactly once, whatever happens to the process that had it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from grader.errors import LabError, SandboxError
from grader.pools import Admission, Done, LocalPool, Progress, admission, crowded, judges, local, room_mb, run_mb
from grader.pools.admission import JUDGE_MB, WORKER_MB
from grader.records import Limits
from grader.sandbox import cgroups


class Worker:
    """Does what its task says; notes in a folder what it did."""

    def __init__(self, slot, folder):
        self.slot, self.folder, self.closing_s = slot, folder, 0
        (Path(folder) / f"made-{os.getpid()}").touch()

    def __call__(self, task, tell):
        word, *rest = task
        if word == "slow to end":
            self.closing_s = rest[0]
        tell(word)
        match word:
            case "say":
                return rest[0]
            case "die once" if not (marker := Path(self.folder) / "died").exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "our fault":
                raise SandboxError("the sandbox broke", fix="mend it")
            case "lab":
                raise LabError("the lab is wrong", where="lab.toml")
            case "bug":
                return {}["absent"]
            case "dumpable":
                return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
            case "sleep":
                time.sleep(rest[0])
            case "slow to end":
                time.sleep(60)
            case "write":  # as a run is written: asked first, whatever has become of an interrupt
                with contextlib.suppress(BaseException if rest[0] == "swallow" else ()):
                    time.sleep(60)
                tell("")
                (Path(self.folder) / "written").touch()
        return word

    def close(self):
        time.sleep(self.closing_s)
        (Path(self.folder) / f"closed-{os.getpid()}").touch()


class Factory:
    def __init__(self, folder):
        self.folder = str(folder)

    def __call__(self, slot):
        return Worker(slot, self.folder)


def ran(folder, jobs, *tasks):
    """The pool's messages for these tasks: (results by task, failures by task, progress)."""
    messages = list(LocalPool(Factory(folder), jobs).run(tasks))
    done = [message for message in messages if isinstance(message, Done)]
    assert sorted(message.task for message in done) == list(range(len(tasks)))
    results = {message.task: message.result for message in done if not message.failure}
    failures = {message.task: message.failure for message in done if message.failure}
    return results, failures, [message for message in messages if isinstance(message, Progress)]


@pytest.mark.slow
def test_every_task_is_done_once_and_says_what_it_does(tmp_path):
    """Results come with their task's number, in whatever order they end."""
    results, failures, progress = ran(tmp_path, 2, ("say", "a"), ("say", "b"), ("say", "c"))
    assert (results, failures) == ({0: "a", 1: "b", 2: "c"}, {})
    assert sorted(message.task for message in progress) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_the_memory_of_a_worker_is_closed_to_other_processes(tmp_path):
    """It holds the course's secret, labels and thresholds: nobody traces it, and it leaves no core."""
    results, _, _ = ran(tmp_path, 1, ("dumpable",))
    assert results == {0: 0}


@pytest.mark.slow
def test_a_worker_imports_nothing_from_the_current_folder(tmp_path, monkeypatch):
    """Where the grader is started in a folder of submissions, one of them may be called signal.py."""
    for name in ("multiprocessing", "signal", "json", "numpy", "grader"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'taken')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    results, failures, _ = ran(tmp_path, 1, ("say", "a"))
    assert (results, failures) == ({0: "a"}, {})
    assert not (tmp_path / "taken").exists()
    assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_task_one_more_try(tmp_path):
    """The task is done on a fresh worker; the others do not notice."""
    results, failures, progress = ran(tmp_path, 2, ("die once",), ("say", "b"), ("say", "c"))
    assert (results, failures) == ({0: "die once", 1: "b", 2: "c"}, {})
    assert [message.task for message in progress].count(0) == 2


@pytest.mark.slow
def test_a_task_that_kills_every_worker_fails_alone(tmp_path):
    """After two tries it is given up, as our fault, and says so."""
    results, failures, progress = ran(tmp_path, 1, ("die",), ("say", "b"))
    assert results == {1: "b"}
    assert "died twice" in failures[0]
    assert [message.task for message in progress].count(0) == 2


@pytest.mark.slow
def test_an_error_is_told_and_the_worker_goes_on(tmp_path):
    """Ours, the lab's, or a mistake in the grader: one line for its task, and no worker process lost for it."""
    results, failures, _ = ran(tmp_path, 1, ("our fault",), ("lab",), ("bug",), ("say", "d"))
    assert results == {3: "d"}
    assert failures[0] == "the sandbox broke (mend it)"
    assert failures[1] == "lab.toml: the lab is wrong"
    assert failures[2].startswith("unexpected KeyError: 'absent' (test_pools.py:")
    assert len({path.name.split("-")[1] for path in tmp_path.glob("made-*")}) == 1


@pytest.mark.slow
def test_workers_are_closed_when_the_work_is_done(tmp_path):
    """Their zygotes would be left running otherwise."""
    ran(tmp_path, 2, ("say", "a"), ("say", "b"))
    made = {path.name.split("-")[1] for path in tmp_path.glob("made-*")}
    assert made == {path.name.split("-")[1] for path in tmp_path.glob("closed-*")}


@pytest.mark.slow
def test_a_caller_that_stops_listening_ends_the_workers(tmp_path):
    """A Ctrl-C in the middle: busy workers are ended, and close what they started."""
    messages = LocalPool(Factory(tmp_path), 2).run((("sleep", 60), ("sleep", 60)))
    next(messages)
    next(messages)
    start = time.monotonic()
    messages.close()
    assert time.monotonic() - start < 10
    assert len(list(tmp_path.glob("closed-*"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("how", ["swallow", "pass on"])
def test_a_worker_that_was_told_to_end_writes_nothing(tmp_path, how):
    """Not even where something in the middle of a run has swallowed the interrupt, and went on with half the answers."""
    messages = LocalPool(Factory(tmp_path), 1).run((("write", how),))
    next(messages)
    messages.close()
    assert list(tmp_path.glob("closed-*"))
    assert not (tmp_path / "written").exists()


@pytest.mark.slow
def test_a_worker_that_somebody_ends_costs_its_task_one_more_try(tmp_path):
    """SIGTERM from elsewhere, in the middle of a run: nothing is told of that try."""
    messages = LocalPool(Factory(tmp_path), 1).run((("write", "swallow"), ("say", "b")))
    next(messages)
    (first,) = {int(path.name.split("-")[1]) for path in tmp_path.glob("made-*")}
    os.kill(first, signal.SIGTERM)
    assert next(messages) == Progress(task=0, text="write")
    assert len(list(tmp_path.glob("made-*"))) == 2
    messages.close()
    assert not (tmp_path / "written").exists()


@pytest.mark.slow
def test_another_interrupt_while_the_workers_end_changes_nothing(tmp_path):
    """No traceback, and all workers are gone before anything is said of the batch; afterwards Ctrl-C works as before."""
    pool = LocalPool(Factory(tmp_path), 2)
    messages = pool.run((("slow to end", 2), ("slow to end", 2)))
    next(messages)
    next(messages)
    before = signal.getsignal(signal.SIGINT)
    again = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
    again.start()
    begun = time.monotonic()
    messages.close()
    again.join()
    assert time.monotonic() - begun > 1.5
    assert len(list(tmp_path.glob("closed-*"))) == 2
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_workers_that_do_not_end_are_killed_after_one_grace_for_all(tmp_path, monkeypatch):
    """Not one after another."""
    monkeypatch.setattr(local, "GRACE_S", 1.0)
    messages = LocalPool(Factory(tmp_path), 3).run((("slow to end", 60),) * 3)
    for _ in range(3):
        next(messages)
    begun = time.monotonic()
    messages.close()
    assert time.monotonic() - begun < 10
    assert not list(tmp_path.glob("closed-*"))


GRADER = """
    import importlib.util, sys
    spec = importlib.util.spec_from_file_location("pool_worker", {file!r})
    module = importlib.util.module_from_spec(spec)
    sys.modules["pool_worker"] = module
    spec.loader.exec_module(module)
    module.Worker.__module__ = module.Factory.__module__ = "pool_worker"
    from grader.pools import LocalPool
    for message in LocalPool(module.Factory({folder!r}), 2).run((("sleep", 60), ("sleep", 60))):
        print(message, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_workers_do_not_outlive_the_grader(tmp_path, number):
    """Not even in the middle of a run, and not even if the grader was killed without a word: they end and clean up."""
    (tmp_path / "pool_worker.py").write_text(Path(__file__).read_text("utf-8"), "utf-8")
    script = textwrap.dedent(GRADER.format(file=str(tmp_path / "pool_worker.py"), folder=str(tmp_path)))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), os.getcwd()))}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ, text=True
    ) as grader:
        grader.stdout.readline()
        grader.stdout.readline()
        children = psutil.Process(grader.pid).children(recursive=True)
        assert len([child for child in children if "spawn_main" in " ".join(child.cmdline())]) == 2
        grader.send_signal(number)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive
    assert len(list(tmp_path.glob("closed-*"))) == 2


@pytest.mark.slow
def test_a_worker_that_is_still_starting_does_not_outlive_the_grader(tmp_path):
    """It imports all that grades, which takes a minute where the machine is busy: a killed grader must not leave it at that."""
    slow = f"\nPath({str(tmp_path / 'imports')!r}).touch()\ntime.sleep(300)\n"
    (tmp_path / "pool_worker.py").write_text(Path(__file__).read_text("utf-8") + slow, "utf-8")
    script = textwrap.dedent(GRADER.format(file=str(Path(__file__)), folder=str(tmp_path)))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), os.getcwd()))}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ
    ) as grader:
        until = time.monotonic() + 60
        while not (tmp_path / "imports").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert (tmp_path / "imports").exists()
        children = psutil.Process(grader.pid).children(recursive=True)
        grader.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        for process in alive:
            process.kill()
        assert not alive


# ---------------------------------------------------------------- admission by memory


def under_way(messages):
    """How many tasks were under way at once, at most."""
    running, most = set(), 0
    for message in messages:
        (running.discard if isinstance(message, Done) else running.add)(message.task)
        most = max(most, len(running))
    return most


@pytest.mark.slow
@pytest.mark.parametrize(("room", "most"), [(3 * WORKER_MB + 300, 3), (2 * WORKER_MB + 250, 2), (10, 1)])
def test_only_so_many_runs_are_under_way_as_fit_into_memory(tmp_path, room, most):
    """Four workers were asked for. One run goes on in any case, or nothing would ever be graded."""
    pool = LocalPool(Factory(tmp_path), 4, Admission(room, lambda task: 100))
    messages = list(pool.run([("sleep", 0.5)] * 5))
    assert sorted(message.task for message in messages if isinstance(message, Done)) == list(range(5))
    assert under_way(messages) == most
    assert len(list(tmp_path.glob("made-*"))) == most


def test_a_large_run_is_not_overtaken_for_ever():
    """It is admitted as soon as nothing else is under way, and whatever its size."""
    admission = Admission(1000 + WORKER_MB, lambda task: task)
    assert admission.admits(5000, [], 1)
    assert not admission.admits(900, [200], 1)
    assert admission.admits(800, [200], 1)
    assert not admission.admits(800, [200], 2)


def test_workers_that_judge_from_tapes_are_as_many_as_compute_and_fit(monkeypatch):
    """One at least; never more than there are cores, whatever was asked for."""
    monkeypatch.setattr(admission, "default_jobs", lambda: 16)
    assert judges(8, 100 * JUDGE_MB) == 8
    assert judges(64, 100 * JUDGE_MB) == 16
    assert judges(8, 3.5 * JUDGE_MB) == 3
    assert judges(8, 0) == 1


def test_what_does_not_fit_is_said_before_the_batch():
    """With what a run may take, what there is, and what to do; nothing where everything fits."""
    limits = Limits(memory_mb=2000, disk_mb=100)
    one = run_mb(limits) + WORKER_MB
    assert run_mb(limits) > 2000 * 1.15
    assert crowded({"iris": limits}, 8 * one, 8) == []
    (fewer,) = crowded({"iris": limits}, 3.5 * one, 8)
    assert "3 at a time instead of 8" in fewer
    (never,) = crowded({"iris": limits}, one - 1, 8)
    assert "may not fit" in never
    assert "memory_mb" in never


def test_the_room_is_what_is_available_unless_it_is_set():
    """Less a reserve, and never more than the control groups around the grader allow."""
    assert room_mb(123_456) == 123_456
    assert 0 <= room_mb() <= psutil.virtual_memory().available / 2**20


def test_control_groups_around_the_grader_limit_the_room(tmp_path, monkeypatch):
    """The least that any of them still allows counts; files in memory are given back when it is needed."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder, limit, used, cache in ((inner, "max", 100, 0), (inner.parent, str(900 << 20), 500 << 20, 200 << 20)):
        (folder / "memory.max").write_text(limit)
        (folder / "memory.current").write_text(str(used))
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")
    monkeypatch.setattr(cgroups, "_mounts", lambda text: {"": (str(tmp_path), "/")})
    monkeypatch.setattr(cgroups, "_own", lambda text: {"": "/outer/inner"})
    assert cgroups.left_mb() == 600
    assert room_mb() == 0  # less than the reserve
