"""A batch on a Dask cluster: what travels to the workers, what they do with it, and what comes back.

Nothing is shared but the scheduler. A `Kit` holds all that a worker needs of this course: specs, hidden suites and
translations of the labs as files, full data as files (the lite data lies in every installation), the secret and the
limits. It goes to each worker once, by the pool's plugin. A task goes as an `Errand`, with the kept run where it is to be
judged again; a `Parcel` comes back, the run's folder as bytes, and is put in its place here.

In the worker a grading process unpacks the kit in a temporary folder of its own and does what a local worker does, in
the sandbox that this machine reaches: its level is proved there and stands in each verdict. A worker is refused where
its sandbox is weaker than demanded, or where notebooks would meet other versions than here: a class is graded alike, and
a kept run stands when the same command is given again.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from grader import datasets, heldout, store
from grader.errors import OursError, UsageError
from grader.grading import Setting
from grader.labs import files_of
from grader.pools import Done, Pool, Progress
from grader.provenance import JUDGING, Basis, environment
from grader.records import Gpus, Level, Record, Tier
from grader.sandbox.canary import Proof, choose
from grader.worker import GradingWorker, Result, Task, mounted_folder

Files = Mapping[str, bytes]


class Ready(Record, frozen=True):
    """What a worker can do."""

    proof: Proof
    gpus: Gpus


class Errand(Record, frozen=True):
    """A task, with what its run will rest on, and the files of the run that is kept where that is needed."""

    task: Task
    basis: Basis
    kept: dict[str, bytes] = {}


class Parcel(Record, frozen=True):
    """What became of an errand. ``files`` are the run's folder where it was written."""

    result: Result
    files: dict[str, bytes] = {}


@dataclass(frozen=True, repr=False)  # it holds the secret
class Kit:
    """All that a worker needs of this course. ``python`` is empty where notebooks run on the worker's own interpreter."""

    prepared: Mapping[str, Setting]
    labs: Mapping[str, Files]
    data: Files
    course_name: str
    python: str
    versions: Mapping[str, str]
    minimum: Level
    cold: bool

    def __call__(self, slot: int, *, gpu: bool) -> ClusterWorker:
        return ClusterWorker(self, slot, gpu=gpu)


def pack_kit(
    prepared: Mapping[str, Setting], course_name: str, python: str, minimum: Level, *, own: bool, cold: bool
) -> Kit:
    """Read what the workers need. ``python`` runs notebooks here; ``own``: there it is each worker's own instead."""
    data: dict[str, bytes] = {}
    for source in {setting.source for setting in prepared.values()}:
        if source is not None and source.tier is Tier.FULL:
            names = [file.path for file in datasets.known(source.dataset).files]
            data |= {name: (source.folder / name).read_bytes() for name in names}
    labs = {lab: dict(files_of(setting.lab.folder, JUDGING)) for lab, setting in prepared.items()}
    return Kit(prepared, labs, data, course_name, "" if own else python, environment(python), minimum, cold)


# ---------------------------------------------------------------- in the worker


class ClusterWorker:
    """Does errands with a `GradingWorker` in a temporary folder. Bytes in, bytes out; asked for nothing, it says `Ready`."""

    def __init__(self, kit: Kit, slot: int, *, gpu: bool) -> None:
        python = kit.python or sys.executable
        _same_environment(kit.versions, environment(python))
        backend, self.proof = choose(python, kit.minimum)
        self.folder = Path(tempfile.mkdtemp(prefix="grader-"))
        self.bases: dict[str, Basis] = {}
        try:
            prepared = _unpack(kit, self.folder, self.proof.level)
            self.out = self.folder / "out"
            offered = None if gpu else Gpus(problem="it was started without `--resources GPU=1`")
            factory = GradingWorker.Factory(
                backend, python, prepared, str(self.out), kit.course_name, kit.cold, self.bases, gpus=offered
            )
            self.worker = factory(slot)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.wants_gpu = any(setting.lab.gpu != "no" for setting in prepared.values())

    def __call__(self, errand: bytes, tell: Callable[[str], None]) -> bytes:
        if not errand:
            gpus = self.worker.gpus() if self.wants_gpu else Gpus()
            return msgspec.msgpack.encode(Ready(proof=self.proof, gpus=gpus))
        given = msgspec.msgpack.decode(errand, type=Errand)
        submission = given.task.submission
        self.bases[submission.lab] = given.basis
        try:
            if given.kept:
                store.place(self.out, submission, given.kept)
            result = self.worker(given.task, tell)
            if result.did == "unwritten":  # this machine's disk, not that of the class
                raise OursError(result.why)
            return msgspec.msgpack.encode(
                Parcel(result=result, files=store.pack(store.run_folder(self.out, submission)))
            )
        finally:
            shutil.rmtree(self.out, ignore_errors=True)

    def close(self) -> None:
        self.worker.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _same_environment(wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raises OursError naming what differs."""
    names = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if names:
        told = ", ".join(
            f"{name} {found.get(name, 'missing')} (the batch: {wanted.get(name, 'none')})" for name in names
        )
        raise OursError(f"notebooks would meet {told}", fix="install the same on all machines")


def _unpack(kit: Kit, folder: Path, level: Level) -> dict[str, Setting]:
    """The settings with this machine's paths."""
    _write(folder / "data", kit.data)
    prepared = {}
    for name, setting in kit.prepared.items():
        _write(folder / "labs" / name, kit.labs[name])
        source = mounted = None
        if setting.source is not None:
            full = setting.source.tier is Tier.FULL
            place = folder / "data" if full else datasets.resolve(setting.source.dataset, None, Tier.LITE).folder
            source = msgspec.structs.replace(setting.source, folder=place)
            mounted = heldout.mounted(source.dataset, source, setting.secret, mounted_folder())
        lab = msgspec.structs.replace(setting.lab, folder=folder / "labs" / name)
        prepared[name] = replace(setting, lab=lab, source=source, mounted=mounted, level=level)
    return prepared


def _write(folder: Path, files: Files) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


# ---------------------------------------------------------------- on the driver


@dataclass(frozen=True)
class Cluster:
    """Workers that are ready. ``proof`` is the weakest of their sandboxes, ``gpus`` what those with a GPU offer."""

    pool: Any
    out: Path
    proof: Proof
    gpus: Gpus
    bases: Mapping[str, Basis] = field(default_factory=dict)

    def grading(self, bases: Mapping[str, Basis]) -> Pool:
        """The pool whose runs will rest on these; they depend on the GPUs."""
        return replace(self, bases=bases)

    def run(self, tasks: Sequence[Task]) -> Generator[Progress | Done, None, None]:
        """What comes back is put into its place before it is told."""
        with contextlib.closing(self.pool.run(tasks, self._errand)) as messages:
            for message in messages:
                if isinstance(message, Done) and message.result is not None:
                    yield Done(message.task, self._placed(tasks[message.task], message.result))
                else:
                    yield message

    def _errand(self, task: Task) -> bytes:
        kept = {} if task.work == "run" else store.pack(store.run_folder(self.out, task.submission))
        return msgspec.msgpack.encode(Errand(task=task, basis=self.bases[task.submission.lab], kept=kept))

    def _placed(self, task: Task, parcel: bytes) -> Result:
        came = msgspec.msgpack.decode(parcel, type=Parcel)
        try:
            if came.files:
                with store.writing(store.run_folder(self.out, task.submission)):
                    store.place(self.out, task.submission, came.files)
        except store.Unwritable as error:
            return Result(did="unwritten", why=str(error))
        return came.result


@contextlib.contextmanager
def join(address: str, kit: Kit, out: Path, note: Callable[[str], None]) -> Iterator[Cluster]:
    """The workers of the scheduler there, ready; they are left as they were."""
    try:
        from grader.pools.dask import DaskPool
    except ModuleNotFoundError as error:
        raise UsageError(f"a cluster needs Dask: {error}", fix="install grader[cluster]") from None

    def wants_gpu(task: Task) -> bool:
        return kit.prepared[task.submission.lab].lab.gpu != "no"

    with DaskPool(address, kit, wants_gpu=wants_gpu, note=note) as pool:
        ready = [msgspec.msgpack.decode(said, type=Ready) for said in pool.ready]
        offers = sorted((one.gpus for one in ready if one.gpus.cards), key=lambda gpus: gpus.cards)
        proof = min((one.proof for one in ready), key=lambda proof: proof.level)
        yield Cluster(pool, out, proof, offers[0] if offers else Gpus())
