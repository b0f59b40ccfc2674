"""What counts as a run's own time, and how long its limits may take on the wall."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from grader import owntime, runner, session, wire
from grader.owntime import OwnTime, Patience, Wall, counted, most_s
from grader.records import Ending, Limits
from grader.runner import Job, _Collector
from grader.session import Link
from tests.unit.test_runner import HELLO, Watched


@pytest.mark.parametrize(
    ("ran", "waited", "own"),
    [
        (0.0, 0.0, 10.0),  # it slept
        (10.0, 0.0, 10.0),  # it calculated, alone on its core
        (1.0, 9.0, 1.0),  # ten wanted that core
        (2.0, 3.0, 7.0),  # it slept for half of the time
        (20.0, 0.0, 10.0),  # two threads at once
        (2.0, 18.0, 1.0),  # two threads, ten times as many wanted the cores
    ],
)
def test_only_waiting_for_a_core_does_not_count(ran, waited, own):
    """Of ten seconds, by what the threads of a run did together."""
    assert counted(10.0, ran, waited, lanes=2) == pytest.approx(own)


def test_threads_that_only_wait_buy_no_processor_time():
    """A hundred of them beside two that calculate: the two count as on an idle machine with two cores."""
    assert counted(10.0, 20.0, 1000.0, lanes=2) == 10.0


@pytest.mark.parametrize("ran", [0.0, 0.1, 3.0, 10.0, 80.0])
@pytest.mark.parametrize("waited", [0.0, 0.1, 10.0, 500.0])
def test_own_time_never_runs_faster_than_the_wall(ran, waited):
    """A limit is never reached earlier than a wall clock would have said, nor does own time run backwards."""
    assert 0.0 <= counted(10.0, ran, waited, lanes=4) <= 10.0


class Slow:
    """A clock of own time that a busy machine has slowed down."""

    def __init__(self, rate):
        self.rate, self.begun, self.looks = rate, time.monotonic(), 0

    def seconds(self):
        return self.rate * (time.monotonic() - self.begun)

    def look(self):
        self.looks += 1


def used_up(patience):
    begun = time.monotonic()
    while left := patience.left():
        time.sleep(left)
    return time.monotonic() - begun


def test_patience_waits_for_own_time_and_seldom_looks():
    """A clock at a quarter of the speed: four times as long, with few looks at it."""
    clock = Slow(0.25)
    assert used_up(Patience(0.1, clock)) >= 0.4
    assert clock.looks < 60


def test_patience_ends_on_the_wall_however_busy_the_machine(monkeypatch):
    """A clock that stands still does not hold a place for ever."""
    monkeypatch.setattr(owntime, "STRETCH", 5.0)
    assert 0.5 <= used_up(Patience(0.1, Slow(0.0))) < 5


def test_a_limit_is_stretched_twenty_times_and_by_four_hours_at_most():
    """Both are in the documents."""
    assert most_s(60) == 1200
    assert most_s(3600) == 5 * 3600


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="this kernel does not tell of waiting")
def test_sleeping_is_own_time():
    """On any machine, however busy."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as sleeper:
        own = OwnTime(1, lambda: [sleeper.pid])
        time.sleep(0.5)  # it has started by then
        own.look()
        before, begun = own.seconds(), time.monotonic()
        time.sleep(0.5)
        own.look()
        assert own.seconds() - before == pytest.approx(time.monotonic() - begun, rel=0.5)
        sleeper.kill()


def test_processes_that_are_gone_count_in_full():
    """Nobody tells of their waiting."""
    own = OwnTime(1, lambda: [2**22 + 1])
    own.look()
    time.sleep(0.2)
    own.look()
    assert own.seconds() >= 0.2


# ---------------------------------------------------------------- the judge keeps the time


def told(monkeypatch, behave, wall_s=0.3, grace_s=0.3):
    """How a run ends that starts and then does what ``behave`` does with its socket, and what it was told by then."""
    monkeypatch.setattr(runner, "GRACE_S", grace_s)
    ours, theirs = session.socket.socketpair()
    theirs.settimeout(10)
    limits = Limits(wall_s=wall_s, memory_mb=100)
    collector = _Collector(HELLO, Job(cells=(wire.SourceCell("code", "1"),), seed=0, limits=limits), str)
    theirs.sendall(wire.frame(wire.Started(0.1)))
    orders = []

    def run():
        size = theirs.recv(wire.HEADER.size)
        orders.append(wire.decode_order(theirs.recv(*wire.HEADER.unpack(size))))
        behave(theirs)

    thread = threading.Thread(target=run)
    thread.start()
    link = Link(ours)
    link.pid = 1
    try:
        collector.collect(link)
    except runner.ChannelError as error:
        collector.broke(error, Watched())
    finally:
        link.close()
        thread.join()
        theirs.close()
    return collector.facts(Watched(), 1.0).ending, orders


def test_a_run_is_told_that_its_time_is_up_and_may_end_politely(monkeypatch):
    """What it sends then still counts."""

    def behave(sock):
        sock.sendall(wire.frame(wire.Ended("timeout")) + wire.frame(wire.Ready()))

    assert told(monkeypatch, behave, grace_s=30) == (Ending.TIMEOUT, [wire.TimeUp()])


def test_a_run_that_goes_on_after_its_time_is_given_up(monkeypatch):
    """Also one that never stops talking."""

    def behave(sock):
        try:
            while True:
                sock.sendall(wire.frame(wire.CellStarted(1)))
        except OSError:
            return

    assert told(monkeypatch, behave) == (Ending.TIMEOUT, [wire.TimeUp()])


def test_starting_does_not_count(monkeypatch):
    """The clock of the notebook begins with the kernel's first answer, however late that comes (`--cold`: with a zygote)."""
    ours, theirs = session.socket.socketpair()
    limits = Limits(wall_s=0.3, memory_mb=100)
    collector = _Collector(HELLO, Job(cells=(wire.SourceCell("code", "1"),), seed=0, limits=limits), str)

    def run():
        time.sleep(0.6)
        for report in (wire.Started(0.6), wire.Ended("ok"), wire.Ready()):
            theirs.sendall(wire.frame(report))

    thread = threading.Thread(target=run)
    thread.start()
    link = Link(ours)
    link.pid = 1
    collector.collect(link)
    thread.join()
    facts = collector.facts(Watched(), 1.0)
    assert (facts.ending, collector.told) == (Ending.OK, False)
    assert facts.timings["own"] < 0.3
    link.close()
    theirs.close()


def test_the_wall_is_the_clock_where_nobody_measures():
    """A link that belongs to no watched run."""
    assert isinstance(Link(None).clock, Wall)
