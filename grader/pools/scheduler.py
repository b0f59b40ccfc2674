"""A Dask scheduler somebody else started: connect to it, or say in one line why not.

Three things may hang for minutes: the machine's resolver (glibc asks each name server for 5 s, twice), a connection whose
packets are dropped, and a stranger that listens and says nothing. So we knock before Dask does, and give up in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from distributed import Client
from distributed.comm.addressing import get_address_host_port
from distributed.core import rpc
from distributed.security import Security

from grader.errors import OursError, UsageError, plain

#: A scheduler that is there answers in milliseconds; one that is not is told within seconds.
ANSWER_S = 6.0
#: So long a shut door may be one that is just being opened: `dask scheduler` takes a second or two to start.
OPENING_S = 3.0
#: Between two knocks at a door that is shut.
PAUSE_S = 0.2


def connect(address: str) -> Any:
    """A client of that scheduler. For ``tls://`` its certificates are those of Dask's own configuration.

    It is asked who it is first: a Client that does not reach its scheduler takes long to give up, and ends noisily.
    """
    where = plain(address)
    try:
        arguments = Security().get_connection_args("client")
        _knock(*get_address_host_port(address))
        kind = asyncio.run(asyncio.wait_for(_who_is(address, arguments), ANSWER_S))
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"this scheduler cannot be asked: {plain(str(error))}",
            where=where,
            fix="write tcp://host:8786, or tls://host:8786 with certificates (docs/cluster.md)",
        ) from None
    except OSError as error:
        silent = f"nothing is heard within {ANSWER_S:.0f} s"
        because = error.strerror or (silent if isinstance(error, TimeoutError) else "the connection was closed")
        raise UsageError(
            f"no Dask scheduler answers: {plain(because)}",
            where=where,
            fix="start `dask scheduler` there, or correct the address (docs/cluster.md)",
        ) from None
    except Exception:  # noqa: BLE001 - whatever is there makes Dask read nonsense: a MemoryError was seen
        kind = "something unknown"
    if kind != "Scheduler":
        raise UsageError(f"what answers is no Dask scheduler but {plain(kind)}", where=where, fix="correct the address")
    return Client(address, timeout=ANSWER_S, set_as_default=False, name="grader")


def _knock(host: str, port: int) -> None:
    """Raises the OSError that is in the way of a connection.

    Dask cannot tell it: its last attempt has microseconds left, and times out whatever the others met (8 of 25 tries at a port
    where nobody listens). The thread may be left behind: a resolver cannot be interrupted, and asyncio waits for its threads.
    """
    opened: Future[None] = Future()

    def open_it() -> None:
        deadline = time.monotonic() + OPENING_S
        while True:
            try:
                socket.create_connection((host, port), ANSWER_S).close()
                return opened.set_result(None)
            except Exception as error:  # noqa: BLE001 - raised again by `result`
                if not isinstance(error, ConnectionRefusedError) or time.monotonic() > deadline:
                    return opened.set_exception(error)
            time.sleep(PAUSE_S)

    Thread(target=open_it, daemon=True).start()
    opened.result(ANSWER_S)


async def _who_is(address: str, arguments: Mapping[str, Any]) -> str:
    async with rpc(
        address, timeout=2 * ANSWER_S, connection_args=arguments
    ) as server:  # ours is the limit that strikes
        kind = str((await server.identity())["type"])
        return kind if kind == "Scheduler" else f"a {kind}"


def dashboard(client: Any) -> str:
    """The link to its dashboard; "" for a scheduler without one."""
    with contextlib.suppress(KeyError):
        return plain(str(client.dashboard_link or ""))
    return ""


def private(address: str) -> bool:
    """Whether nobody can read on the way: encrypted, or within this machine."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme in {"tls", "wss"}:
        return True
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def same_versions(versions: Mapping[str, Any]) -> None:
    """Raises OursError unless every worker has this side's grader and Python, as `Client.get_versions` tells them."""
    ours = _told(versions["client"])
    for address, packages in sorted(versions["workers"].items()):
        if (theirs := _told(packages)) != ours:
            raise OursError(
                f"this machine has {ours}, and the worker has {theirs}",
                where=plain(address),
                fix="install the same on all machines (docs/cluster.md)",
            )


def _told(versions: Mapping[str, Any]) -> str:
    """Patch releases of Python go together: what crosses is read alike by all of them."""
    packages = versions["packages"]
    python = ".".join(str(packages["python"]).split(".")[:2])
    return plain(f"grader {packages.get('grader') or 'not installed'} on Python {python}")
