"""Workers that grade attacks as they would grade anyone, and the table that tells how each attack ended."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from grader.labs import load_lab
from grader.records import Level, Tier
from grader.sandbox import cgroups
from grader.sandbox.canary import choose
from grader.settings import load_settings
from grader.worker import GradingWorker, prepare
from grader.zygote import Zygote
from tests.hostile import weak
from tests.hostile.attacks import LABS, TENSORFLOW

collect_ignore_glob = ["labs/*", "corpus/*"]

#: (id, level): [what it does, the outcomes of its tests, their seconds].
ROWS: dict[tuple[str, str], tuple[str, list[str], list[float]]] = {}


class Worker(GradingWorker):
    """A worker of the batch, whose zygote imports TensorFlow only where the lab needs it."""

    tensorflow = False

    def _zygote(self, devices: tuple[str, ...] = ()) -> Zygote:
        known = self.zygotes.get(devices)
        if known is None or not known.alive():
            if known is not None:
                known.close()
            options = {} if self.tensorflow else {"tensorflow": False}
            data = self.factory.mounts if self.tensorflow else None
            self.zygotes[devices] = Zygote(
                self.factory.backend, self.factory.python, data=data, slot=self.slot, options=options
            )
        return self.zygotes[devices]


@pytest.fixture(scope="session")
def proof(tmp_path_factory):
    """The backend, and what the canary proved of it."""
    return choose(sys.executable) if weak.LEVEL is None else weak.chosen(weak.LEVEL, tmp_path_factory.mktemp("weak"))


@pytest.fixture(scope="session")
def make_worker(proof, tmp_path_factory):
    """A worker for one of the corpus's labs, as the batch makes it; kept until the session is over.

    Labs that need TensorFlow share one.
    """
    made: dict[tuple[bool, int, Level], Worker] = {}

    def make(lab: str, slot: int, level: Level) -> Worker:
        tensorflow = lab in TENSORFLOW
        if (tensorflow, slot, level) not in made:
            folder = tmp_path_factory.mktemp(f"{lab}-{slot}")
            mounts = tmp_path_factory.mktemp("mounts")
            mounts.chmod(0o755)
            for parent in mounts.parents[:3]:
                mode = parent.stat().st_mode
                if mode & 0o011 != 0o011:
                    parent.chmod(mode | 0o011)
            settings = load_settings(None, {}, {"secret": "hostile"})
            labs = {
                name: prepare(load_lab(LABS / name), settings, level, Tier.LITE, mounts)
                for name in (TENSORFLOW if tensorflow else (lab,))
            }
            factory = GradingWorker.Factory(proof[0], sys.executable, labs, str(folder), "A course", mounts=mounts)
            worker = Worker(factory, slot)
            worker.tensorflow = tensorflow
            made[tensorflow, slot, level] = worker
        return made[tensorflow, slot, level]

    yield make
    for worker in made.values():
        worker.close()
        worker._suites.close()  # a kept pytest holds a file open, and a warning at the end fails the session


@pytest.fixture
def as_level(proof, monkeypatch) -> Callable[[Level], None]:
    """Makes this machine reach no more than that level: 2 is 3 without users of its own and without control groups."""

    def lower(level: Level) -> None:
        if level < proof[1].level:
            assert level is Level.L2
            monkeypatch.setattr(cgroups, "make", lambda limit_mb, processes: None)

    return lower


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    mark = item.get_closest_marker("attack")
    if mark is not None and (report.when == "call" or report.outcome != "passed"):
        told = dict(item.user_properties)
        outcome = told.get("outcome", "held") if report.passed else report.outcome.upper()
        _, outcomes, seconds = ROWS.setdefault((mark.args[0], told.get("level", "-")), (mark.args[1], [], []))
        outcomes.append(outcome)
        seconds.append(report.duration)
    return report


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    terminalreporter.section("attacks")
    lines, failed = [], 0
    for (name, level), (does, outcomes, seconds) in ROWS.items():
        bad = [outcome for outcome in outcomes if outcome in ("FAILED", "SKIPPED")]
        failed += bool(bad)
        shown = " | ".join(dict.fromkeys(bad or outcomes))
        lines.append(((name[0], int(name[1:]), level), name, level, shown, sum(seconds), does))
    width = max(len(line[3]) for line in lines)
    for _, name, level, outcome, seconds, does in sorted(lines):
        terminalreporter.line(f"{name:4} {level:3} {outcome:{width}} {seconds:6.1f} s  {does}")
    total = sum(line[4] for line in lines)
    attacks = len({name for name, _ in ROWS})
    terminalreporter.line(f"{attacks} attacks, {len(lines)} rows, {failed} of them failed or skipped, {total:.0f} s")
