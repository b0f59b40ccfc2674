"""A batch's stay at one Dask worker: the half of the Dask pool that runs there.

A `Visit` is a worker plugin. It carries the factory (labs, data and the course's secret are in it), starts a grading
process (`station`) and has it get ready. Only then the Dask worker offers a resource named after the batch, one piece
of it. Every task asks for that piece: so a worker that is not ready, or not fit, is given nothing, and a worker grades
one submission at a time whatever its number of threads.
"""

from __future__ import annotations

import asyncio
import functools
import platform
from typing import Any

import msgspec
from distributed import Status, Worker, WorkerPlugin, get_worker

from grader.confine import hide_memory
from grader.errors import GraderError, OursError
from grader.pools.protocol import Done
from grader.pools.station import Station, StationLost
from grader.version import __version__

#: The resource that `dask worker --resources GPU=1` offers.
GPU = "GPU"


def here() -> str:
    """What has to be the same on both sides. Patch releases of Python go together."""
    return f"grader {__version__} on Python {'.'.join(platform.python_version_tuple()[:2])}"


class Visit(WorkerPlugin):
    """``factory(slot, gpu=…)`` makes the `Worker`; the empty task asks it to get ready, and ``ready`` is its answer."""

    def __init__(self, name: str, factory: Any) -> None:
        self.name, self.factory, self.version = name, factory, here()
        self.ready = b""
        self.station: Station | None = None

    async def setup(self, worker: Worker) -> None:
        """Raises OursError where this worker is unfit."""
        hide_memory()  # the course's secret, labels and thresholds
        try:
            self.ready = await self._prepare(worker)
        except GraderError as error:
            problem = f"the worker {worker.address} cannot grade: {error}"
            worker.log_event(self.name, {"refused": problem})
            raise OursError(problem) from None
        await worker.set_resources(**{self.name: 1})
        # A scheduler looks for waiting tasks that a worker could do when it resumes, not when it offers more.
        worker.status = Status.paused
        worker.status = Status.running

    async def _prepare(self, worker: Worker) -> bytes:
        if self.version != here():
            raise OursError(f"it has {here()}, and the batch {self.version}", fix="install the same on all machines")
        gpu = worker.state.total_resources.get(GPU, 0) >= 1
        self.station = Station(functools.partial(self.factory, gpu=gpu))
        done = await asyncio.to_thread(self.station.ask, b"", lambda text: None)
        if done.failure:
            raise OursError(done.failure)
        return bytes(done.result)

    async def teardown(self, worker: Worker) -> None:
        """Everything that was started here ends, in the middle of a run if need be."""
        if self.station is not None:
            await asyncio.to_thread(self.station.close)


def grade_there(name: str, index: int, task: bytes) -> bytes:
    """Do one task at this worker's station. What comes back is a `Done` as bytes."""
    worker = get_worker()
    visit = worker.plugins.get(name)
    if not isinstance(visit, Visit) or visit.station is None:
        raise StationLost("the batch is over on this worker")
    worker.log_event(name, {"task": index, "begun": True})
    done = visit.station.ask(task, lambda text: worker.log_event(name, {"task": index, "text": text}))
    return msgspec.msgpack.encode(Done(index, done.result, done.failure))


def readiness(name: str, dask_worker: Worker) -> bytes:
    """What this worker answered when it was asked to get ready."""
    visit = dask_worker.plugins.get(name)
    return visit.ready if isinstance(visit, Visit) else b""
