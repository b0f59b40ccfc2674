"""Blocking frames over a socket or a pair of pipes: the driver's end of the one channel out."""

from __future__ import annotations

import socket
import threading
from typing import Any

from grader import wire


class Channel:
    """Sends reports, receives orders. Sending is safe from several threads."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.lock = threading.Lock()

    def send(self, report: wire.Report) -> None:
        self.send_raw(wire.frame(report))

    def send_raw(self, data: bytes) -> None:
        with self.lock:
            self.sock.sendall(data)

    def receive(self) -> wire.Order | None:
        """The next order, or None when the other side is gone."""
        body = read_frame(self.sock, wire.ORDER_CAP)
        return None if body is None else wire.decode_order(body)


def read_frame(sock: Any, cap: int) -> bytes | None:
    """One frame's body, or None at the end of the stream. Raises wire.WireError above ``cap``."""
    header = read_exactly(sock, wire.HEADER.size)
    if header is None:
        return None
    (size,) = wire.HEADER.unpack(header)
    if size > cap:
        raise wire.WireError(f"a frame of {size} bytes is above the cap of {cap}")
    return read_exactly(sock, size)


def read_exactly(sock: Any, size: int) -> bytes | None:
    buffer = bytearray(size)
    view = memoryview(buffer)
    done = 0
    while done < size:
        count = sock.recv_into(view[done:], size - done)
        if count == 0:
            return None
        done += count
    return bytes(buffer)
