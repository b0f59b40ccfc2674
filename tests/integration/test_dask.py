"""A batch on Dask: a real scheduler, several real worker processes, and what becomes of a batch when they end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster

from grader import store
from grader.errors import OursError, UsageError
from grader.pools import Done, Progress, scheduler
from grader.pools.dask import DaskPool, workers_of
from tests.lacking import lacking

pytestmark = pytest.mark.slow
SECRET = "a secret of the course that no worker was told beforehand"

#: A word of a worker's has arrived by then; one that is killed sooner takes it along.
HEARD_S = 1.0
#: What the workers do in tests of the pool: importable there and here. It has a child, as a worker has a zygote.
ERRANDS = """
    import os, signal, subprocess, time
    from pathlib import Path

    import msgspec

    from grader.errors import SandboxError


    class Worker:
        def __init__(self, folder, gpu):
            self.folder, self.gpu = Path(folder), gpu
            if (self.folder / "unfit").exists():
                raise SandboxError("the sandbox is too weak")
            self.zygote = subprocess.Popen(["sleep", "600"])
            self.note("made", self.zygote.pid)

        def note(self, word, number=0):
            (self.folder / f"{word}-{os.getppid()}-{os.getpid()}-{number}-{time.monotonic_ns()}").touch()

        def __call__(self, task, tell):
            if not task:
                return b"with a GPU" if self.gpu else b"without"
            word, seconds = msgspec.msgpack.decode(task)
            self.note(word)
            tell(word)
            match word:
                case "end":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "end once" if len(list(self.folder.glob("end once-*"))) == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                case "ours":
                    raise SandboxError("the sandbox broke", fix="mend it")
            time.sleep(seconds)
            self.note("done")
            return b"with a GPU" if self.gpu else b"without"

        def close(self):
            self.zygote.kill()
            self.zygote.wait()


    class Factory:
        def __init__(self, folder):
            self.folder = str(folder)

        def __call__(self, slot, *, gpu):
            return Worker(self.folder, gpu)
"""


class Cluster:
    """A scheduler and workers, each with folders of its own. ``hidden`` is a folder that the workers do not see."""

    def __init__(self, folder: Path, hidden: Path | None = None) -> None:
        self.folder, self.hidden = folder, hidden
        self.tls: tuple[str, ...] = ()
        self.processes: list[subprocess.Popen] = []
        self.modules = folder / "modules"
        self.modules.mkdir(parents=True)
        (self.modules / "errands.py").write_text(textwrap.dedent(ERRANDS))

    def schedule(self, *options: str) -> None:
        told = self.folder / "scheduler.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0", *options)
        self.scheduler = self._start("dask_scheduler", "scheduler", *options, "--scheduler-file", str(told))
        wait_for(told.exists)
        self.address = json.loads(told.read_text())["address"]

    def work(self, *options: str, **environ: str) -> subprocess.Popen:
        """One more worker. Its process is what is started here where there is no nanny, else a child of it."""
        own = self.folder / f"worker{len(self.processes)}"
        own.mkdir()
        options = (self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(own), *options)
        return self._start("dask_worker", own.name, *options, cwd=own, **environ)

    def _start(self, module: str, name: str, *options: str, cwd: Path | None = None, **environ: str):
        command = [sys.executable, "-m", f"distributed.cli.{module}", *options, *self.tls]
        home = str(cwd or self.folder)
        if cwd and self.hidden and os.getuid() == 0:
            hide = 'mount -t tmpfs none "$0" && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", hide, str(self.hidden), *command]
        known = {"PATH": os.environ["PATH"], "HOME": home, "XDG_STATE_HOME": f"{home}/state"}
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=home,
                env={**known, "PYTHONPATH": str(self.modules), **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def close(self) -> None:
        family = [child for process in self.processes for child in family_of(process)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for process in self.processes:
            process.wait(10)


def family_of(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        first = psutil.Process(process.pid)
        return [*first.children(recursive=True), first]
    except psutil.NoSuchProcess:
        return []


def wait_for(true, seconds: float = 60.0):
    """Until it is; a busy machine may take long."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler, a worker of two threads without a nanny, and one with a nanny that offers a GPU."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.schedule()
        made.work("--no-nanny", "--nthreads", "2")
        made.work("--resources", "GPU=1")
        wait_for_workers(made, 2)
        yield made
    finally:
        made.close()


@pytest.fixture
def pool(cluster, tmp_path, monkeypatch):
    """Makes a pool of that cluster whose workers note in ``tmp_path`` what they do."""
    monkeypatch.syspath_prepend(str(cluster.modules))
    from errands import Factory

    return lambda **more: DaskPool(cluster.address, Factory(tmp_path), **more)


@pytest.fixture
def nobody() -> int:
    """A port where nobody listens: one that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def notes(folder: Path, word: str) -> list[tuple[int, int, int]]:
    """(Dask worker, grading process, number) of each note with that word."""
    return [tuple(map(int, path.name.split("-")[1:4])) for path in folder.glob(f"{word}-*")]


def sorted_out(messages) -> tuple[dict[int, bytes], dict[int, str], list[Progress]]:
    """(results by task, failures by task, progress); each task ends once."""
    messages = list(messages)
    done = [message for message in messages if isinstance(message, Done)]
    assert set(Counter(message.task for message in done).values()) == {1}
    results = {message.task: message.result for message in done if not message.failure}
    failures = {message.task: message.failure for message in done if message.failure}
    return results, failures, [message for message in messages if isinstance(message, Progress)]


def wait_for_workers(cluster, count: int) -> None:
    """A nanny starts a new worker for one that was killed."""
    client = scheduler.connect(cluster.address)
    try:
        client.wait_for_workers(count, timeout=60)
    finally:
        client.close()


def test_tasks_go_where_they_can_be_done_and_each_ends_once(pool, tmp_path):
    """A GPU is asked for where one is offered; a mistake of ours costs its task alone; a dead process another try."""
    told: list[str] = []
    tasks = [("gpu", 0.2), ("any", 0.2), ("ours", 0), ("end once", 0), ("end", 0), ("gpu", 0.2), ("any", 0.2)]
    with pool(wants_gpu=lambda task: task[0] == "gpu", note=told.append) as ready:
        assert sorted(ready.ready) == [b"with a GPU", b"without"]
        results, failures, progress = sorted_out(ready.run(tasks))
    assert sorted(results) == [0, 1, 3, 5, 6]
    assert results[0] == results[5] == b"with a GPU"
    assert failures == {2: "the sandbox broke (mend it)", 4: "the worker was lost 2 times at this run"}
    assert {message.task for message in progress} == set(range(7))
    assert len(notes(tmp_path, "end")) == 2
    assert re.search(r"dashboard http://127\.0\.0\.1:\d+/status", told[0])
    assert len(told) == 1, "within one machine nobody can listen"


def test_a_worker_does_one_task_at_a_time_whatever_its_threads(pool, tmp_path):
    """Two threads share a grading process, and would share its time limits and memory too."""
    with pool(wants_gpu=lambda task: False) as ready:
        sorted_out(ready.run([("any", 0.3)] * 8))
    spans: dict[str, list[tuple[int, str]]] = {}
    for path in tmp_path.iterdir():
        word, _, process, _, when = path.name.split("-")
        spans.setdefault(process, []).append((int(when), word))
    assert len(spans) == 2
    for process in spans.values():
        words = [word for _, word in sorted(process)]
        assert words == ["made", *["any", "done"] * (len(words) // 2)]


def test_a_killed_workers_task_is_done_elsewhere(cluster, pool, tmp_path):
    """And what it had started ends with it. Each task still ends once."""
    victim = cluster.work("--no-nanny")
    wait_for_workers(cluster, 3)
    with pool() as ready:
        messages = ready.run([("any", 3)] * 4)
        first = next(messages)
        mine = wait_for(lambda: [note for note in notes(tmp_path, "any") if note[0] == victim.pid])
        time.sleep(HEARD_S)
        os.kill(victim.pid, signal.SIGKILL)
        results, failures, progress = sorted_out([first, *messages])
    assert sorted(results) == [0, 1, 2, 3]
    assert not failures
    assert len(progress) == 5
    zygotes = [number for worker, _, number in notes(tmp_path, "made") if worker == victim.pid]
    assert zygotes
    wait_for(lambda: not any(map(psutil.pid_exists, [mine[0][1], *zygotes])), 15)


def test_a_task_whose_workers_are_killed_is_given_up_as_ours(cluster, pool, tmp_path):
    """After two tries; Dask by itself would try it four times. Its nanny's next worker does the rest."""
    with pool(wants_gpu=lambda task: task[0] == "gpu") as ready:
        messages = ready.run([("gpu", 30), ("any", 0.1)])
        seen = [next(messages)]
        for many in (1, 2):
            killed = wait_for(lambda many=many: sorted(notes(tmp_path, "gpu"))[many - 1 :])
            newest = next(worker for worker, _, _ in killed if psutil.pid_exists(worker))
            time.sleep(HEARD_S)
            os.kill(newest, signal.SIGKILL)
            with contextlib.suppress(StopIteration):
                while many == 1 and len(notes(tmp_path, "gpu")) < 2:
                    seen.append(next(messages))
        results, failures, _ = sorted_out([*seen, *messages])
    assert list(results) == [1]
    assert failures == {0: "the worker was lost 2 times at this run"}
    wait_for_workers(cluster, 2)


def test_a_worker_that_is_asked_to_end_takes_everything_with_it(cluster, pool, tmp_path):
    """SIGTERM, as Slurm sends it at the end of a job's time: its task is done elsewhere."""
    leaving = cluster.work()  # with a nanny
    wait_for_workers(cluster, 3)
    with pool() as ready:
        messages = ready.run([("any", 3)] * 3)
        seen = [next(messages)]
        wait_for(lambda: len(notes(tmp_path, "any")) == 3)
        started = [process.pid for process in family_of(leaving)]
        leaving.terminate()
        results, failures, _ = sorted_out([*seen, *messages])
    assert sorted(results) == [0, 1, 2]
    assert not failures
    leaving.wait(30)
    zygotes = [number for worker, _, number in notes(tmp_path, "made") if worker in started]
    assert zygotes
    wait_for(lambda: not any(map(psutil.pid_exists, zygotes)), 15)


def test_a_batch_that_is_left_leaves_nothing_on_the_workers(pool, tmp_path):
    """Ctrl-C in the middle: no grading process, no zygote, and nothing for Dask to do."""
    with pool() as ready:
        messages = ready.run([("any", 60)] * 5)
        next(messages)
        wait_for(lambda: len(notes(tmp_path, "any")) == 2)
        messages.close()
    made = notes(tmp_path, "made")
    assert len(made) == 2
    wait_for(lambda: not any(psutil.pid_exists(number) for made_of in made for number in made_of[1:]), 15)
    with pool() as again:
        assert not [key for keys in again.client.processing().values() for key in keys]


def test_every_worker_of_a_large_cluster_is_seen():
    """Some releases of Dask tell of five unless they are asked for all, and the rest would have nothing to do."""
    workers = {"n_workers": 7, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**workers) as many, many.get_client() as client:
        client.wait_for_workers(7, timeout=60)
        assert len(workers_of(client)) == 7


def test_a_worker_that_comes_late_is_given_work(cluster, pool, tmp_path):
    """A cluster grows while it is used."""
    with pool() as ready:
        messages = ready.run([("any", 0.5)] * 1000)
        next(messages)
        late = cluster.work("--no-nanny")
        for message in messages:
            if isinstance(message, Done) and late.pid in {worker for worker, _, _ in notes(tmp_path, "any")}:
                break
        messages.close()
    late.terminate()
    late.wait(60)


def test_a_worker_that_is_unfit_is_told_of_and_given_nothing(cluster, pool, tmp_path):
    """A batch that has begun goes on without it; one that has not is refused."""
    told: list[str] = []
    with pool(note=told.append) as ready:
        messages = ready.run([("any", 0.5)] * 1000)
        next(messages)
        (tmp_path / "unfit").touch()
        late = cluster.work("--no-nanny")
        for _ in messages:
            if len(told) == 2:
                break
        assert re.search(r"the worker tcp://127\.0\.0\.1:\d+ cannot grade: the sandbox is too weak", told[1])
        for _ in zip(range(6), messages, strict=False):
            pass
        messages.close()
    assert late.pid not in {worker for worker, _, _ in notes(tmp_path, "any")}
    with pytest.raises(OursError, match="cannot grade: the sandbox is too weak"):
        pool().__enter__()
    late.terminate()
    late.wait(60)


def test_another_version_on_a_worker_is_refused_and_both_are_told(cluster, pool):
    """What crosses has no version of its own."""
    old = cluster.modules / "old" / "grader-0.0.1.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: grader\nVersion: 0.0.1\n")
    other = cluster.work("--no-nanny", PYTHONPATH=f"{old.parent}:{cluster.modules}")
    wait_for_workers(cluster, 3)
    python = ".".join(map(str, sys.version_info[:2]))
    both = f"this machine has grader .* on Python {python}, and the worker has grader 0.0.1 on Python {python}"
    with pytest.raises(OursError, match=both):
        pool().__enter__()
    other.terminate()
    other.wait(60)


def refusal(address: str) -> str:
    """What is said of that address: one line that begins with it."""
    with pytest.raises(UsageError) as refused:
        DaskPool(address, None).__enter__()
    line = str(refused.value)
    assert line.startswith(f"{address}: ")
    assert "\n" not in line
    return line


def test_a_port_where_nobody_listens_is_one_line(nobody):
    """It says what the machine says of it, and what to do."""
    try:
        socket.create_connection(("127.0.0.1", nobody), 20).close()
    except OSError as error:
        because = error.strerror or "nothing is heard"
    line = refusal(f"tcp://127.0.0.1:{nobody}")
    assert f"no Dask scheduler answers: {because}" in line
    assert line.endswith("(start `dask scheduler` there, or correct the address (docs/cluster.md))")


def test_a_name_that_nobody_knows_is_one_line_however_slow_the_name_service(monkeypatch):
    """Some resolvers know every name, some never answer: the line says more of the first, and is there in time."""
    assert "correct the address" in refusal("tcp://nowhere.invalid:8786")
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait())
    monkeypatch.setattr(scheduler, "ANSWER_S", 1.0)
    line = refusal("tcp://nowhere.invalid:8786")
    over.set()
    assert "no Dask scheduler answers: nothing is heard within 1 s (start `dask scheduler` there, or correct" in line


def test_a_stranger_that_says_nothing_is_one_line(monkeypatch):
    """A connection is no scheduler yet."""
    monkeypatch.setattr(scheduler, "ANSWER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        line = refusal(f"tcp://127.0.0.1:{stranger.getsockname()[1]}")
    assert "no Dask scheduler answers: nothing is heard within 1 s (start `dask scheduler` there, or correct" in line


def test_a_scheduler_that_speaks_otherwise_is_one_line(encrypted):
    """One that wants encryption, asked without."""
    line = refusal(encrypted.address.replace("tls", "tcp"))
    assert "no Dask scheduler answers: the connection was closed (start `dask scheduler` there, or correct" in line


def test_an_address_that_cannot_be_used_is_one_line(cluster):
    """One without a port, and an encrypted one where nobody said which certificates."""
    for address in ("nowhere", cluster.address.replace("tcp", "tls")):
        line = refusal(address)
        assert "this scheduler cannot be asked: " in line
        assert line.endswith("(write tcp://host:8786, or tls://host:8786 with certificates (docs/cluster.md))")


@pytest.fixture
def encrypted(tmp_path):
    """A scheduler that speaks TLS only, no worker yet, and what Dask has to be told of the certificates."""
    if not shutil.which("openssl"):
        lacking("openssl, to make a certificate")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    wanted = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=cluster"]
    subprocess.run(["openssl", "req", *wanted, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    made = Cluster(tmp_path / "cluster")
    made.tls = ("--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key)
    mine = {"ca-file": certificate, "client.cert": certificate, "client.key": key}
    try:
        made.schedule()
        with dask.config.set({f"distributed.comm.tls.{name}": path for name, path in mine.items()}):
            yield made
    finally:
        made.close()


def test_a_cluster_with_certificates_whose_workers_all_go_and_come(encrypted, tmp_path, monkeypatch):
    """The pool says that it waits, ends where nobody comes, and goes on where somebody comes back."""
    monkeypatch.syspath_prepend(str(encrypted.modules))
    from errands import Factory

    assert encrypted.address.startswith("tls://")
    told: list[str] = []
    with pytest.raises(OursError, match=r"tls://.*no worker came within 1 s \(start some"):
        DaskPool(encrypted.address, Factory(tmp_path), note=told.append, wait_s=1).__enter__()
    assert "no worker there yet: waiting, 1 s at most" in told
    first = encrypted.work("--no-nanny")
    with DaskPool(encrypted.address, Factory(tmp_path)) as pool:
        messages = pool.run([("any", 1)] * 3)
        seen = [next(messages)]
        os.kill(first.pid, signal.SIGKILL)
        first.wait(10)
        encrypted.work("--no-nanny")
        results, failures, _ = sorted_out([*seen, *messages])
    assert sorted(results) == [0, 1, 2]
    assert not failures


# ---------------------------------------------------------------- the whole command

LAB = """\
schema = 1
id = "{name}"
title = "Doubling"
data = "iris"
points = 10
starter_score = 0
gpu = "{gpu}"
[limits]
wall_s = 60
memory_mb = 1024
[contract.double]
kind = "function"
"""
SUITE = '''\
import numpy as np

from grader.checks import VERIFIED, check, require


@check("double", points=10, evidence=VERIFIED)
def test_double(student, heldout):
    """`double(x)` is twice x, for flowers that were withheld."""
    found = np.asarray(student.double({asked}))
    require(np.allclose(found, 2 * {asked}.array()), "it is something else")
'''


def make_course(folder: Path, students: int) -> Path:
    for name, gpu in (("doubling", "no"), ("on_a_gpu", "required")):
        lab = folder / "labs" / name
        (lab / "hidden_tests").mkdir(parents=True)
        (lab / "lab.toml").write_text(LAB.format(name=name, gpu=gpu))
        write_suite(lab, "heldout.inputs")
    (folder / "course.toml").write_text(f'[course]\nname = "Deep learning"\nsecret = "{SECRET}"\n')
    for number in range(students):
        hand_in(folder, f"s{number}", "doubling", number)
    hand_in(folder, "s0", "on_a_gpu", 0)
    return folder


def write_suite(lab: Path, asked: str) -> None:
    (lab / "hidden_tests" / f"test_{lab.name}.py").write_text(SUITE.format(asked=asked))


def hand_in(course: Path, student: str, lab: str, number: int) -> None:
    source = f"import time\ntime.sleep(3)  # {number}\ndef double(x):\n    return 2 * x"
    cell = {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
    path = course / "submissions" / student / f"{lab}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


def start(course: Path, *arguments: str) -> subprocess.Popen:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRADER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "grader", "grade", *arguments, "--json"],
        cwd=course,
        env=kept | {"XDG_STATE_HOME": str(course / "state"), "KERAS_HOME": str(course / "keras")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen, word: str) -> str:
    said = ""
    while word not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def zygotes_of(process: subprocess.Popen) -> list[int]:
    found = []
    for child in family_of(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "grader.driver.zygote" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


@pytest.mark.timeout(600)
def test_a_class_is_graded_on_workers_that_share_nothing_and_one_of_which_is_killed(tmp_path):
    """No folder of the course is there for a worker. One verdict each, none of them anybody's zero; then it resumes."""
    course = make_course(tmp_path / "course", 5)
    cluster = Cluster(tmp_path / "cluster", hidden=course)
    try:
        cluster.schedule()
        victim, other = cluster.work("--no-nanny"), cluster.work()
        wait_for_workers(cluster, 2)
        batch = start(course, "--scheduler", cluster.address)
        said = read_until(batch, "[2/6]")
        wait_for(lambda: zygotes_of(victim))
        started = [process.pid for process in family_of(victim)]
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(10)
        out, rest = batch.communicate(timeout=300)
        said += rest
        assert "dashboard http://" in said
        assert batch.returncode == 5, said
        content = json.loads(out)
        assert content["attention"] == 0
        assert content["deferred"] == 1
        scores = {(run["lab"], run["student"]): run["score"] for run in content["runs"]}
        assert scores == {("doubling", f"s{number}"): 10 for number in range(5)} | {("on_a_gpu", "s0"): 0}
        assert sorted(re.findall(r"\[\d/6\] (\w+  s\d)", said)) == sorted(f"{lab}  {who}" for lab, who in scores)
        for lab, student in scores:
            saved = store.load(course / "report_cards" / lab / student)
            rests_on = store.provenance(saved.folder)
            assert not store.stale(saved.folder, rests_on.sizes)
        wait_for(lambda: not any(map(psutil.pid_exists, started)), 15)
        goes_on(course, cluster, other)
    finally:
        cluster.close()


def goes_on(course: Path, cluster: Cluster, worker: subprocess.Popen) -> None:
    """What is kept stands; a new question sends the kept run there and back; Ctrl-C leaves nothing there."""
    write_suite(course / "labs" / "doubling", "heldout.plain")
    batch = start(course, "--scheduler", cluster.address, "submissions/s0")
    out, said = batch.communicate(timeout=300)
    content = json.loads(out)
    assert (content["graded"], content["kept"], content["judged"]) == (2, 1, 0), said
    assert {run["lab"]: run["score"] for run in content["runs"]} == {"on_a_gpu": 0, "doubling": 10}

    batch = start(course, "--scheduler", cluster.address, "--fresh")
    read_until(batch, "sandbox level")
    wait_for(lambda: zygotes_of(worker))
    batch.send_signal(signal.SIGINT)
    out, said = batch.communicate(timeout=60)
    assert batch.returncode == 130
    assert said.splitlines()[-1] == "grader: interrupted: the cards finished so far stay in report_cards"
    assert "Traceback" not in said
    wait_for(lambda: not zygotes_of(worker), 15)


def test_a_scheduler_that_is_not_there_is_exit_2(tmp_path, nobody):
    course = make_course(tmp_path, 1)
    batch = start(course, "--scheduler", f"tcp://127.0.0.1:{nobody}")
    _, said = batch.communicate(timeout=120)
    assert batch.returncode == 2
    assert f"\ngrader: error: tcp://127.0.0.1:{nobody}: no Dask scheduler answers" in f"\n{said}"
    assert "Traceback" not in said
