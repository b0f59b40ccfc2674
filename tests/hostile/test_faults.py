"""Faults of the machine at random moments: whatever dies, every submission ends with one verdict, and it is the honest one.

A class of right notebooks is graded while parts of the grader are killed, the disk is filled and the clock jumps. When the
grader itself is gone, or has ended because it could not write, the same command is given again. In the end every student
has all points and one verdict, and nothing is left behind. `make faults` strikes a hundred times at a class of forty.

The clock of the machine is not touched: it is everybody's, and no namespace holds another wall clock (a time namespace moves
the monotonic one, and only for processes that start in it). The grader and its workers see a moved one instead; what lives
in the sandbox knows deadlines by the monotonic clock alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from grader import store
from grader.records import Ending
from grader.sandbox import cgroups
from tests.classes import POINTS, environment, hand_in, make_course
from tests.lacking import lacking

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="fills a file system: needs root"),
]
FAULTS = int(os.environ.get("GRADER_TEST_FAULTS", "15"))
CLASS = int(os.environ.get("GRADER_TEST_CLASS", "8"))
SEED = 20_300_131
#: Of a hundred faults; the grader's own death and a full disk end a batch, so they are fewer.
SHARES = {
    "kernel": 18,
    "driver": 18,
    "sandbox": 12,
    "zygote": 12,
    "worker": 15,
    "grader": 13,
    "disk full": 6,
    "clock jump": 6,
}
#: Cells that take their time, one after another, so that a fault meets a run anywhere.
SLOW = ("import time\ntime.sleep(0.15)", *["time.sleep(0.15)"] * 5)
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h


class Storm:
    """A class that is graded while it strikes."""

    def __init__(self, course: Path, disk: Path, seed: int) -> None:
        self.course, self.disk, self.chance = course, disk, random.Random(seed)
        self.students = [f"student-{number:02}" for number in range(CLASS)]
        for student in self.students:
            hand_in(course, student, *SLOW)
        self.clock = course / "clock"
        self.log = course / "log"
        self.round = 0
        self.struck: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    @property
    def out(self) -> Path:
        return self.disk / f"round-{self.round}"

    def rage(self, faults: list[str]) -> None:
        """Grade until all has struck and all is graded."""
        while True:
            process = self._start()
            last = self._strike_until_it_ends(process, faults)
            code = process.wait()
            if code:
                assert last, f"ended with {code} and nothing had struck:\n{self._said()}"
                self.ended[last] += 1
            if code == 0:
                self.check_verdicts()
                if not faults:
                    return
                shutil.rmtree(self.out)
                self.round += 1

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.quick", "grade", "--jobs", "2", "--out", str(self.out)],
                cwd=self.course,
                env=environment(self.course) | {"CLOCK_FILE": str(self.clock), "PYTHONSAFEPATH": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _said(self) -> str:
        return "\n".join(self.log.read_text("utf-8").splitlines()[-30:])

    def _strike_until_it_ends(self, process: subprocess.Popen[bytes], faults: list[str]) -> str:
        """Strike at random moments; gives the last fault that did."""
        last = ""
        while process.poll() is None:
            time.sleep(self.chance.uniform(0.1, 2.0))
            until = time.monotonic() + 60
            while faults and process.poll() is None and time.monotonic() < until:
                if self._strike(process, faults[0]):
                    last = faults.pop(0)
                    self.struck[last] += 1
                    break
                time.sleep(0.02)
        (self.disk / "filler").unlink(missing_ok=True)
        return last

    def _strike(self, process: subprocess.Popen[bytes], fault: str) -> bool:
        """Whether there was something to strike."""
        if fault == "clock jump":
            self.clock.write_text(str(self.chance.uniform(-400, 400) * 86_400))
            return True
        if not self.out.exists():  # the command has not begun with the batch
            return False
        if fault == "disk full":
            _fill(self.disk / "filler")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)  # a batch that has written everything does not notice
            return True
        with contextlib.suppress(psutil.Error):
            victims = _victims(psutil.Process(process.pid), fault)
            if victims:
                self.chance.choice(victims).kill()
                return True
        return False

    def check_verdicts(self) -> None:
        """One verdict for each student, and it is what the notebook deserves."""
        found = dict(store.verdicts(self.out))
        assert sorted(folder.name for folder in found) == self.students
        assert {verdict.ending for verdict in found.values()} == {Ending.OK}, self._said()
        assert {verdict.score for verdict in found.values()} == {POINTS}
        assert not [verdict.student for verdict in found.values() if verdict.needs_attention]
        with contextlib.closing(sqlite3.connect(self.out / "gradebook.db")) as book:
            rows = book.execute("SELECT student, score FROM attempts ORDER BY student").fetchall()
        assert rows == [(student, POINTS) for student in self.students]


def _victims(grader: psutil.Process, fault: str) -> list[psutil.Process]:
    """The processes that this fault can kill now."""
    if fault == "grader":
        return [grader]
    workers = [child for child in grader.children() if "spawn_main" in " ".join(child.cmdline())]
    if fault == "worker":
        return workers
    found = []
    for worker in workers:
        chain = worker.children(
            recursive=True
        )  # each has one child: what encloses the zygote, the zygote, what it forked
        rooms = [
            process for process in chain if process.name() == "bwrap" or "confine.py" in " ".join(process.cmdline())
        ]
        forked = chain[len(rooms) :]
        if fault == "sandbox":
            found += rooms
        elif len(forked) > (place := {"zygote": 0, "driver": 2, "kernel": 3}[fault]):
            found.append(forked[place])
    return found


def _fill(path: Path) -> None:
    """Leave no room at all."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                file.writelines(itertools.repeat(bytes(size)))


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lacking(f"no file system could be mounted: {done.stderr}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def nothing_left():
    """Whatever loses its parent meanwhile becomes ours, and must be gone in the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(SUBREAPER, 1, 0, 0, 0) == 0
    before = _marks()
    children = set(psutil.Process().children(recursive=True))
    yield
    until = time.monotonic() + 30
    while (left := _orphans(children)) and time.monotonic() < until:
        time.sleep(0.1)
    libc.prctl(SUBREAPER, 0, 0, 0, 0)
    assert not [(process.pid, process.cmdline()) for process in left]
    assert _marks() <= before


def _orphans(before: set[psutil.Process]) -> list[psutil.Process]:
    left = []
    for process in set(psutil.Process().children(recursive=True)) - before:
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
            elif process.ppid() == os.getpid():
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
    return left


def _marks() -> set[str]:
    """What a grader leaves on a machine besides processes: mounts, named sockets, control groups that nobody holds."""
    mounts = {line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "grader" in line}
    sockets = {line.split()[7] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if len(line.split()) > 7}
    place = cgroups.find()
    folders = [folder for parent in place.folders for folder in parent.glob(f"{cgroups.PREFIX}*")] if place else []
    return (
        mounts | {name for name in sockets if "grader" in name} | {str(folder) for folder in folders if _free(folder)}
    )


def _free(folder: Path) -> bool:
    """Whether the grader that made this control group is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@pytest.mark.timeout(3600)
def test_every_submission_ends_with_one_verdict_whatever_dies(tmp_path, disk, nothing_left, capsys):
    """Nobody loses a point by our machine's faults, nobody is graded twice, and nothing is left behind."""
    shares = list(SHARES.items())
    faults = [name for name, share in shares for _ in range(max(1, round(share * FAULTS / 100)))]
    storm = Storm(make_course(tmp_path), disk, SEED)
    storm.chance.shuffle(faults)
    begun, total = time.monotonic(), len(faults)
    storm.rage(faults)
    with capsys.disabled():
        print(f"\n{total} faults over a class of {CLASS}, {time.monotonic() - begun:.0f} s")
        print(f"{'fault':<12} {'struck':>6} {'the batch went on':>18} {'it ended, and was resumed':>26}")
        for name, count in storm.struck.items():
            print(f"{name:<12} {count:>6} {count - storm.ended[name]:>18} {storm.ended[name]:>26}")
    assert storm.struck.total() == total
