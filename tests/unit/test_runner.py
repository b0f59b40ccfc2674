"""What a run's reports can and cannot make of its ending, told over a real socket by a peer that lies."""

from __future__ import annotations

import socket
import threading

import pytest

from grader import wire
from grader.records import Ending, Limits
from grader.runner import Job, _Collector
from grader.session import Link

HELLO = wire.Hello(wire.VERSION, "3.11", "here", {})


class Watched:
    """What the host saw of the run: nothing remarkable."""

    over_limit = False
    peak_mb = 1.0


def ending_of(*reports):
    """How a run ends that sends these reports and closes its channel."""
    ours, theirs = socket.socketpair()
    job = Job(cells=(wire.SourceCell("code", "1"),), seed=0, limits=Limits(wall_s=5, memory_mb=100))
    collector = _Collector(HELLO, job, str)

    def lie():
        theirs.sendall(b"".join(wire.frame(report) for report in reports))
        theirs.close()

    sender = threading.Thread(target=lie)
    sender.start()
    link = Link(ours)
    link.pid = 1
    try:
        collector.collect(link)
        return collector.facts(Watched(), 1.0).ending
    finally:
        sender.join()
        link.close()


@pytest.mark.parametrize("how", ["ok", "cell error", "timeout", "out of memory", "kernel died", "output flood"])
def test_a_run_tells_how_it_ended(how):
    """These six it may say of itself: they cost nobody but the student anything."""
    assert ending_of(wire.Started(0.1), wire.Ended(how), wire.Ready()).value == how


@pytest.mark.parametrize("how", ["our fault", "not a notebook", "wrong lab", "empty", "excellent", ""])
def test_a_run_cannot_claim_what_only_the_judge_may_say(how):
    """That it was our fault, say, would ask staff to give the points by hand."""
    assert ending_of(wire.Started(0.1), wire.Ended(how), wire.Ready()) is Ending.CHANNEL_BROKEN
