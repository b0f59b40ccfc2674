"""The trusted end of a zygote's control channel."""

from __future__ import annotations

import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from grader import zygote
from grader.zygote import Zygote


def answers_what_has_come(control):
    """The far end: waits a moment for more requests, and answers all that came with one write."""
    waiting = 0
    while True:
        if select.select([control], [], [], 0.3)[0]:
            data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 4)
            if not data:
                return
            waiting += len(descriptors)
            for descriptor in descriptors:
                socket.close(descriptor)
        elif waiting:
            control.sendall(b"{}\n" * waiting)
            waiting = 0


@pytest.mark.skipif(not hasattr(socket, "recv_fds"), reason="no descriptors can be sent here")
def test_two_threads_that_fork_at_once_both_get_their_answer(monkeypatch):
    """None waits for an answer that the other has read along with its own."""
    monkeypatch.setattr(zygote, "FORK_S", 5.0)
    ours, theirs = socket.socketpair()
    one = Zygote.__new__(Zygote)
    one.control, one._buffer, one._asking = ours, b"", threading.Lock()
    one.launched = SimpleNamespace(users=None)
    far = threading.Thread(target=answers_what_has_come, args=(theirs,))
    far.start()
    with ThreadPoolExecutor(4) as pool:
        channels = list(pool.map(lambda _: one.fork({"plan": {}}), range(4)))
    ours.close()
    far.join()
    theirs.close()
    for channel in channels:
        channel.close()
    assert len(channels) == 4
