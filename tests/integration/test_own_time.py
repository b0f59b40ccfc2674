"""A busy machine costs no notebook its time, and no notebook gains by it: real runs, beside real load."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from grader import wire
from grader.owntime import most_s
from grader.records import Ending
from grader.session import Session, Tape

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="Linux tells of no waiting")

#: Busy for so many seconds of processor time, however long that takes.
WORK = "import time\ndef work(s):\n    until = time.process_time() + s\n    while time.process_time() < until: pass\n    return s"
FORKS = "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        while True: pass\ntime.sleep(100)"


CORES = len(os.sched_getaffinity(0))
#: Processes for each core that never rest.
HOGS = 5
HOG = "import time\nt = time.time()\nwhile time.time() < t + 100: pass"


@contextlib.contextmanager
def busy(hogs):
    """So many processes that never rest, of the same priority as the runs.

    Each has a session of its own, because where Linux groups tasks by session (autogroup) one group gets no more than a run.
    """
    started = [subprocess.Popen([sys.executable, "-c", HOG], start_new_session=True) for _ in range(hogs)]
    try:
        yield
    finally:
        for hog in started:
            hog.kill()
            hog.wait()


@pytest.fixture
def busy_machine():
    with busy(HOGS * CORES):
        yield


@pytest.mark.slow
def test_a_busy_machine_costs_nobody_a_timeout(notebook):
    """Two runs at once that need more than their limit on the wall; then a question to each.

    How much load slows a run that much depends on how the machine shares its cores: it is doubled until it does.
    """
    limit_s = 3.0
    for hogs in (HOGS * CORES, 2 * HOGS * CORES, 4 * HOGS * CORES):
        with busy(hogs), ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(lambda _: notebook(WORK, "work(1.0)", limits={"wall_s": limit_s}), range(2)))
            for run in runs:
                assert run.facts.ending is Ending.OK
                assert run.facts.timings["own"] < limit_s
            if all(run.facts.timings["notebook"] > limit_s for run in runs):
                for run in runs:
                    session = Session(run.link, None, Tape(), seed=1, deadline_s=2.0)
                    asked = wire.Call(wire.Name("work"), (wire.Const(wire.Lit(0.6)),))
                    answer = session.ask("live", asked, kind="stochastic")
                    assert (answer.status, answer.value) == ("ok", wire.Lit(0.6))
                return
    pytest.fail("nothing that was tried made this machine busy")


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", ["import time\ntime.sleep(100)", "while True: pass", FORKS], ids=["asleep", "busy", "busy in children"]
)
def test_a_notebook_without_end_is_ended_on_a_busy_machine_too(notebook, busy_machine, source):
    """After its own time, whatever it does meanwhile."""
    run = notebook("x = 6", source, limits={"wall_s": 1})
    assert run.facts.ending is Ending.TIMEOUT
    assert 0.5 < run.facts.timings["own"] < 30
    assert run.facts.timings["notebook"] < most_s(1) + 30


@pytest.mark.slow
def test_a_question_without_end_is_ended(notebook):
    """Politely: the kernel answers the next one. The question sleeps, so that all of its time is its own."""
    run = notebook("import time", "def f(): time.sleep(100)", "x = 6")
    session = Session(run.link, None, Tape(), seed=1, deadline_s=1.5)
    assert session.ask("live", wire.Call(wire.Name("f"))).status == "timeout"
    assert session.ask("live", wire.Name("x")).value == wire.Lit(6)
