"""Worker processes of a Dask cluster: nothing is shared with them but the scheduler's address.

Theory of operation. Entering the pool connects to the scheduler, compares versions and registers a `Visit` with every
worker, those that come later too. `run` gives out no more tasks than there are workers ready for them, so what this
process holds does not grow with the batch. Tasks and results are bytes. Where a task runs is Dask's to decide, by the
resources it asks for, and so is giving a lost worker's task to another one. This side counts how often it heard that each
was begun and gives up after `TRIES`; where a worker dies too fast to be heard, Dask gives up after four. That is ours, never
the student's. Leaving the pool ends everything on the workers.

Trust. Dask's messages hold pickles, in both directions: scheduler, workers and this process trust each other fully, and
nobody else may reach them (docs/cluster.md). What a student wrote crosses as bytes inside our records.
"""

from __future__ import annotations

import contextlib
import math
import queue
import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import dask
import msgspec
from distributed import KilledWorker

from grader.errors import OursError, plain
from grader.pools.protocol import TRIES, Done, Progress
from grader.pools.scheduler import connect, dashboard, private, same_versions
from grader.pools.serve import unexpected
from grader.pools.station import StationLost
from grader.pools.visit import GPU, Visit, grade_there, readiness

#: So long the pool waits for a worker, at the beginning or when all are gone: a node takes minutes to start.
WAIT_S = 600.0
#: How often the scheduler is asked which workers there are.
LOOK_S = 2.0


@dataclass
class DaskPool:
    """The workers of the scheduler at ``address``. Within its context, ``ready`` is what each of them said.

    ``factory(slot, gpu=…)`` makes the `Worker` there, ``gpu`` telling whether that Dask worker offers one.
    ``wants_gpu`` says which tasks go to such a worker, where there is one. ``note`` takes sentences for whoever watches.
    """

    address: str
    factory: Any
    wants_gpu: Callable[[Any], bool] = lambda task: False
    note: Callable[[str], None] = lambda text: None
    wait_s: float = WAIT_S
    ready: tuple[bytes, ...] = ()
    name: str = field(default_factory=lambda: f"grader-{secrets.token_hex(6)}")
    heard: queue.SimpleQueue[tuple[str, Any]] = field(default_factory=queue.SimpleQueue)
    client: Any = None

    def __enter__(self) -> Self:
        self.client = connect(self.address)
        try:
            self._find_workers()
            same_versions(self.client.get_versions(packages=["grader"]))
            self.client.subscribe_topic(self.name, lambda event: self.heard.put(("said", event[1])))
            self.client.register_plugin(Visit(self.name, self.factory), name=self.name)
            self.ready = tuple(said for said in self.client.run(readiness, self.name).values() if said)
            if not self.ready:
                raise OursError("every worker left again", where=plain(self.address), fix="look into their logs")
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._leave()

    def _find_workers(self) -> None:
        where = plain(self.address)
        self.note(f"cluster at {where}, dashboard {dashboard(self.client) or 'off'}")
        if not private(self.address):
            self.note(f"{where} is not encrypted: who can read that network reads hidden labels (docs/cluster.md)")
        begun = time.monotonic()
        waits = False
        while not workers_of(self.client):
            if time.monotonic() - begun > self.wait_s:
                why = f"no worker came within {self.wait_s:.0f} s"
                raise OursError(why, where=where, fix="start some with `dask worker` (docs/cluster.md)")
            if not waits:
                self.note(f"no worker there yet: waiting, {self.wait_s:.0f} s at most")
            waits = True
            time.sleep(LOOK_S / 4)

    def run(
        self, tasks: Sequence[Any], encode: Callable[[Any], bytes] = msgspec.msgpack.encode
    ) -> Generator[Progress | Done, None, None]:
        """``encode`` makes the bytes that a worker gets, when it gets them; results are bytes.

        Raises OursError when the scheduler is gone, or every worker for ``wait_s``.
        """
        dispatch = _Dispatch(self, tasks, encode)
        left = set(range(len(tasks)))
        try:
            while left:
                dispatch.look()
                dispatch.feed()
                for message in dispatch.hear():
                    if message.task in left:  # else its end came first
                        if isinstance(message, Done):
                            left.discard(message.task)
                        yield message
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                self.client.cancel([flight.future for flight in dispatch.flights.values()], force=True)

    def _leave(self) -> None:
        with contextlib.suppress(Exception):  # not registered yet, or the scheduler is gone
            self.client.unregister_worker_plugin(self.name)
        with contextlib.suppress(Exception):
            self.client.close(timeout=5)


def workers_of(client: Any) -> Mapping[str, Any]:
    """What the scheduler says of each of its workers, by address.

    ``n_workers``: from 2025.4 on, releases of Dask tell of five unless asked for all; those before tell of all, and ignore it.
    """
    workers: Mapping[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return workers


@dataclass
class _Flight:
    """A task that was given out."""

    task: int
    future: Any
    gpu: bool


class _Dispatch:
    """One batch under way: which tasks wait, which were given out, which workers are ready."""

    def __init__(self, pool: DaskPool, tasks: Sequence[Any], encode: Callable[[Any], bytes]) -> None:
        self.pool, self.client, self.tasks, self.encode = pool, pool.client, tasks, encode
        self.waiting: dict[bool, deque[int]] = {True: deque(), False: deque()}  # by whether they want a GPU
        for index, task in enumerate(tasks):
            self.waiting[pool.wants_gpu(task)].append(index)
        self.given, self.begun = [0] * len(tasks), [0] * len(tasks)
        self.flights: dict[str, _Flight] = {}
        self.workers, self.gpus = 0, 0
        self.looked = -math.inf
        self.seen, self.gpu_seen = time.monotonic(), -math.inf

    def look(self) -> None:
        """Which workers are ready; asked once in a while."""
        now = time.monotonic()
        if now - self.looked < LOOK_S:
            return
        try:
            workers = workers_of(self.client).values()
        except (OSError, TimeoutError) as error:
            raise self._gone(f"the scheduler is gone: {plain(str(error))}") from None
        self.looked = now
        offers = [worker["resources"] for worker in workers if worker["resources"].get(self.pool.name, 0) >= 1]
        self.workers, self.gpus = len(offers), sum(has.get(GPU, 0) >= 1 for has in offers)
        self.seen = now if self.workers else self.seen
        if now - self.seen > self.pool.wait_s:
            raise self._gone(f"no worker has been ready for {self.pool.wait_s:.0f} s")
        had_gpu, self.gpu_seen = self._gpu_expected(now), now if self.gpus else self.gpu_seen
        if had_gpu and not self._gpu_expected(now):  # given out for a GPU that will not come back
            for key in [key for key, flight in self.flights.items() if flight.gpu]:
                self.waiting[True].append(self._drop(key).task)

    def _gone(self, why: str) -> OursError:
        return OursError(why, where=plain(self.pool.address), fix="start it again and repeat the command")

    def _gpu_expected(self, now: float) -> bool:
        """Whether a worker offers a GPU, or did a while ago."""
        return now - self.gpu_seen <= self.pool.wait_s

    def feed(self) -> None:
        """One task for each worker that has none; those that want a GPU first, and to a GPU where there are any."""
        expected = self._gpu_expected(self.looked)
        while self.waiting[True] and len(self.flights) < self.workers:
            if expected and sum(flight.gpu for flight in self.flights.values()) >= self.gpus:
                break
            self._give(self.waiting[True].popleft(), gpu=expected)
        while self.waiting[False] and len(self.flights) < self.workers:
            self._give(self.waiting[False].popleft(), gpu=False)

    def _give(self, index: int, *, gpu: bool) -> None:
        self.given[index] += 1
        name = self.pool.name
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):  # a kept run may be large
            future = self.client.submit(
                grade_there,
                name,
                index,
                self.encode(self.tasks[index]),
                key=f"{name}-{index}-{self.given[index]}",
                resources={name: 1, **({GPU: 1} if gpu else {})},
                pure=False,
            )
        self.flights[future.key] = _Flight(index, future, gpu)
        future.add_done_callback(lambda future: self.pool.heard.put(("ended", future.key)))

    def hear(self) -> Iterator[Progress | Done]:
        """What one message means; nothing after a while without any."""
        try:
            kind, what = self.pool.heard.get(timeout=LOOK_S)
        except queue.Empty:
            return
        if kind == "ended":
            if what in self.flights:
                yield from self._ended(self.flights.pop(what))
        elif "refused" in what:
            self.pool.note(plain(what["refused"], 600))
        elif "text" in what:
            yield Progress(task=what["task"], text=what["text"])
        else:
            yield from self._begun(what["task"])

    def _begun(self, index: int) -> Iterator[Done]:
        self.begun[index] += 1
        if self.begun[index] > TRIES:
            for key in [key for key, flight in self.flights.items() if flight.task == index]:
                self._drop(key)
            yield self._given_up(index)

    def _ended(self, flight: _Flight) -> Iterator[Done]:
        try:
            yield msgspec.msgpack.decode(flight.future.result(), type=Done)
        except (KilledWorker, StationLost, CancelledError):
            if max(self.given[flight.task], self.begun[flight.task]) < TRIES:
                self.waiting[self.pool.wants_gpu(self.tasks[flight.task])].appendleft(flight.task)
            else:
                yield self._given_up(flight.task)
        except (OSError, TimeoutError) as error:
            raise self._gone(f"a result could not be fetched: {plain(str(error))}") from None
        except Exception as error:  # noqa: BLE001 - a mistake of ours: it costs this run alone
            yield Done(flight.task, failure=unexpected(error))

    def _given_up(self, index: int) -> Done:
        return Done(index, failure=f"the worker was lost {TRIES} times at this run")

    def _drop(self, key: str) -> _Flight:
        flight = self.flights.pop(key)
        self.client.cancel([flight.future], force=True)
        return flight
