"""The kernel: an ipykernel forked from this process (warm), or started by jupyter_client (portable).

The probe is attached to the kernel's own event loop: a socket's readability wakes it between cells, in the main
thread, where Keras is used to being called. It needs nothing of IPython's shell but the namespace, so a notebook
that broke its shell can still be asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Generator, Iterator
from typing import Any

from jupyter_client.connect import write_connection_file
from jupyter_client.jsonutil import json_clean, json_default
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from jupyter_client.session import json_packer

from grader import wire
from grader.driver.channel import Channel, read_frame
from grader.driver.run import limit_memory, set_seeds
from grader.driver.shell import with_colabs_magic, without_quitting, without_terminal

#: ipykernel sends printed text every 0.2 s: a loop that prints long lines makes 400 MB by then (measured), which ended
#: in a MemoryError instead of an output flood.
FLUSH_S = 0.05


class ForkedProvisioner(KernelProvisionerBase):
    """A kernel that is already there: our own forked child, reaped by `Reaper`."""

    child: int = 0
    reaper: Reaper

    @property
    def has_process(self) -> bool:
        return True

    async def poll(self) -> int | None:
        return self.reaper.status(self.child)

    async def wait(self) -> int | None:
        import asyncio

        while (status := self.reaper.status(self.child)) is None:
            await asyncio.sleep(0.02)
        return status

    async def send_signal(self, signum: int) -> None:
        if self.reaper.status(self.child) is None:
            os.kill(self.child, signum)

    async def kill(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGTERM)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        raise RuntimeError("a forked kernel is not launched")

    async def cleanup(self, restart: bool = False) -> None:
        return


class Reaper:
    """Collects the exit status of every child; as pid 1 the driver also inherits the notebook's orphans."""

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}

    def status(self, pid: int) -> int | None:
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if ended == 0:
                break
            if len(self.statuses) < 10_000:
                self.statuses[ended] = os.waitstatus_to_exitcode(status)
        return self.statuses.get(pid)


class Kernel:
    """A running kernel: its manager, its client, and the socket its probe listens on.

    ``fits`` is a descriptor on which the kernel says when `fit` runs, one byte for each beginning and end; or None.
    """

    def __init__(self, manager: Any, probe: socket.socket, pid: int, fits: int | None = None) -> None:
        self.manager = manager
        self.probe = probe
        self.pid = pid
        self.fits = fits

    def kill(self) -> None:
        """End the kernel's process at once. Windows has no SIGKILL; there SIGTERM ends a process just as surely."""
        with contextlib.suppress(OSError):
            os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def fork_kernel(order: wire.RunNotebook, request: dict[str, Any]) -> Kernel:
    """Fork a kernel from this warm process. Call before anything starts a thread or an event loop's sockets."""
    folder = os.path.join(request["tmp"], "k")  # ipc paths must stay within 107 bytes
    os.makedirs(folder, mode=0o700)
    path, _ = write_connection_file(os.path.join(folder, "c.json"), transport="ipc", ip=os.path.join(folder, "s"))
    ours, theirs = socket.socketpair()
    fits = os.pipe() if order.tell_fits else None
    child = os.fork()
    if child == 0:
        ours.close()
        if fits is not None:
            os.close(fits[0])
            tell_fits(fits[1])
        os.close(request["channel_fd"])  # the one way out is the driver's alone
        from grader import confine  # late: Linux only; it is loaded already where a run is confined

        confine.die_with_parent()
        confine.offer_to_oom_killer(confine.OOM_SCORE_KERNEL)
        try:
            _become_kernel(path, theirs, order, request)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(1)
    theirs.close()
    if fits is not None:
        os.close(fits[1])
        os.set_blocking(fits[0], False)
    manager = AsyncKernelManager(connection_file=path, transport="ipc")
    manager.load_connection_file()
    provisioner = ForkedProvisioner(parent=manager)
    provisioner.child, provisioner.reaper = child, Reaper()
    manager.provisioner = provisioner
    manager._attempted_start = True
    return Kernel(manager, ours, child, fits[0] if fits else None)


def tell_fits(descriptor: int) -> None:
    """Have `fit` write to the descriptor when it begins (1) and ends (0), and go on where nobody reads."""
    from grader.probe import hooks

    os.set_blocking(descriptor, False)

    def tell(active: bool) -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, bytes([active]))

    hooks.RECORDER.tell = tell


def divide_cpu(count: int) -> None:
    """Give TensorFlow several CPU devices, so that placement shows without a GPU. Before anything is computed."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(count)])


def _become_kernel(connection: str, probe: socket.socket, order: wire.RunNotebook, request: dict[str, Any]) -> None:
    if request["memory_mb"]:
        limit_memory(request["memory_mb"])
    without_terminal()
    serve_kernel(connection, probe, order.seed, order.logical_cpus, order.snapshots)


def serve_kernel(
    connection: str, probe: socket.socket, seed: int, logical_cpus: int = 1, snapshots: tuple[int, ...] = ()
) -> None:
    """Be the kernel of that connection file, with the probe attached, until it is told to end."""
    from ipykernel.kernelapp import IPKernelApp

    from grader.probe.snapshots import SNAPSHOTS

    if logical_cpus > 1 and "tensorflow" in sys.modules:
        divide_cpu(logical_cpus)
    set_seeds(seed)
    SNAPSHOTS.epochs = snapshots
    app: Any = IPKernelApp.instance(quiet=True, log_level=50)
    app.initialize(["-f", connection, "--HistoryManager.enabled=False"])
    app.session.pack = pack
    for stream in (sys.stdout, sys.stderr):  # what is printed between two flushes is held in memory, several times over
        stream.flush_interval = FLUSH_S  # type: ignore[union-attr]  # ipykernel's OutStream
    sys.modules["__main__"].__dict__.pop("__file__", None)
    with_colabs_magic(app.shell)
    without_quitting(app.shell)
    attach_probe(probe, app.shell.user_ns)
    app.start()


def pack(message: Any) -> bytes:
    """A kernel message as JSON. A text with lone surrogates would make jupyter_client drop it: an error would be lost."""
    try:
        return bytes(json_packer(message))
    except UnicodeEncodeError:
        text = json.dumps(json_clean(message), default=json_default, ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8", "replace")


def attach_probe(sock: socket.socket, namespace: dict[str, Any]) -> None:
    """Answer questions from ``sock`` in this thread's event loop."""
    from tornado.ioloop import IOLoop

    from grader.probe import Probe

    probe = Probe(namespace)
    channel = Channel(sock)
    loop = IOLoop.current()

    def question(*_: Any) -> None:
        body = read_frame(sock, wire.ORDER_CAP)
        if body is None:
            loop.remove_handler(sock.fileno())
            return
        order = wire.decode_order(body)
        if isinstance(order, wire.Ask):
            channel.send_raw(probe.reply(order))
        elif isinstance(order, wire.RunNotebook):  # after the notebook: keep the graded models, tell what was seen
            for report in finish(order, namespace):
                channel.send(report)
            channel.send(wire.Ready())

    loop.add_handler(sock.fileno(), question, IOLoop.READ)


def finish(order: wire.RunNotebook, namespace: dict[str, Any]) -> Iterator[wire.Report]:
    """What the probe tells once the notebook is over: the graded objects, the kept models, the training record.

    One report at a time: a kernel near its memory limit has no room for all models at once.
    """
    from grader.probe import find, hooks, keep
    from grader.probe.encode import type_name

    left = wire.SNAPSHOTS_CAP
    for name in (*order.models, *order.probes):
        try:
            found = find.find(name, namespace)
        except Exception:  # a namespace can be made to raise
            found = None
        if found is None:
            yield wire.Kept(name.name, "", "missing", "")
            continue
        kind = type_name(found.thing)
        note = ""
        if name.kind == "model":
            try:
                data, note = keep.keep(found.thing)
                yield from parts(f".kept/{name.name}", data)
            except keep.NotKept as error:
                note = f"not kept: {error}"[:300]
            except Exception as error:
                note = f"not kept: {type(error).__name__}"[:300]
            else:
                if order.snapshots:
                    left, more = yield from _snapshots(name.name, found.thing, left)
                    note = "; ".join(filter(None, (note, more)))
        yield wire.Kept(name.name, found.found_as[:100], found.how, kind, note)
    try:
        observed = json.dumps(hooks.summary(), allow_nan=True)[: 1 << 20]
    except Exception:
        observed = "{}"
    yield wire.Observed(observed)


def _snapshots(name: str, model: Any, left: int) -> Generator[wire.Report, None, tuple[int, str]]:
    """Send the weights copied while the model trained. Returns (bytes left, a note on what was not sent)."""
    from grader.probe import keep
    from grader.probe.snapshots import SNAPSHOTS

    missing = list(SNAPSHOTS.left_out(model))
    try:
        for epoch, data in keep.snapshots(model):
            if len(data) > left:  # one model under several names is sent under each
                missing.append(epoch)
                continue
            left -= len(data)
            yield from parts(f".kept/{name}@{epoch}", data)
    except Exception as error:
        return left, f"its weights during training were not kept: {type(error).__name__}"
    if not missing:
        return left, ""
    epochs = ", ".join(map(str, sorted(missing)))
    cap = wire.SNAPSHOTS_CAP >> 20
    return left, f"its weights after epoch {epochs} were not kept: all copies of a run may have {cap} MiB"


def parts(path: str, data: bytes, order: int = 0) -> list[wire.Report]:
    """A file's bytes as FilePart reports."""
    pieces = [data[start : start + wire.CHUNK] for start in range(0, len(data), wire.CHUNK)] or [b""]
    return [wire.FilePart(path, piece, index == len(pieces) - 1, order) for index, piece in enumerate(pieces)]
