"""Run one notebook with nbclient, cell by cell, past errors, within its output cap and its time.

Past errors, because one failed plot must not cost a student the model that trained before or after it; whether
it "runs top to bottom" is a check of its own. The judge keeps the time, from the kernel's first answer: start
and import are ours. When it says that time is up the cell is interrupted; a kernel that ignores that is killed, and
what is on disk still counts.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import re
import select
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nbformat
import zmq
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from grader import wire
from grader.driver import kernel as kernels
from grader.driver.channel import Channel, read_frame
from grader.driver.run import now
from grader.owntime import OwnTime, Patience

#: A cell's traceback and a stream's text are kept up to here; the rest is dropped with a mark.
TEXT_CAP = 20_000
CELL_OUTPUTS_CAP = 200
INTERRUPT_GRACE_S = 3.0
#: How soon the judge is heard while a cell runs.
LISTEN_EVERY_S = 0.1
START_S = 60.0
#: We connect while the kernel is still making its sockets; by itself zmq would look again 0.1 to 0.2 s later.
RECONNECT_MS = 5
FILES_CAP = 500
#: Folders within folders that are looked into. Python 3.11 walks by recursion: 3,000 of them ended the driver.
DEPTH_CAP = 32
#: Beginnings and ends of `fit` that are told of one run.
FITS_CAP = 2_000
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: Frames that a traceback is kept with; IPython itself folds a recursion, so what is beyond was made.
FRAMES_CAP = 100
#: Where a frame of the hooks around `fit` and the like begins: they are ours, and tell nobody anything.
HOOKS = re.compile(r"\s*File .*[/\\]grader[/\\](?:probe|driver)[/\\]\w+\.py:\d+")


class OutputFlood(Exception):
    """The notebook printed more than its lab allows."""


class Client(NotebookClient):
    """nbclient with caps: every output is counted, and what is beyond the cap is dropped."""

    output_bytes = 0
    output_cap = 0
    flooded = False
    failure: Any = None

    async def _check_raise_for_error(self, cell: Any, cell_index: int, exec_reply: Any) -> None:
        """Keep the reply's own word on an error: the output that says so may be lost (a flood, a kernel out of memory)."""
        content = (exec_reply or {}).get("content", {})
        self.failure = content if content.get("status") == "error" else None
        await super()._check_raise_for_error(cell, cell_index, exec_reply)

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        content = msg.get("content", {})
        kind = msg.get("msg_type", "")
        if kind in ("stream", "display_data", "execute_result", "update_display_data", "error"):
            size = _weigh(content)
            self.output_bytes += size
            if self.output_bytes > self.output_cap:
                self.flooded = True
                return None
            if len(cell.outputs) >= CELL_OUTPUTS_CAP and kind != "error":
                return None
            if kind == "stream":
                _shorten(content, "text")
        return super().process_message(msg, cell, cell_index)


def _weigh(thing: Any, depth: int = 0) -> int:
    if isinstance(thing, str | bytes):
        return len(thing)
    if depth < 6 and isinstance(thing, dict):
        return sum(_weigh(item, depth + 1) for item in thing.values())
    if depth < 6 and isinstance(thing, list):
        return sum(_weigh(item, depth + 1) for item in thing)
    return 8


def _shorten(content: dict[str, Any], key: str) -> None:
    text = content.get(key)
    if isinstance(text, str) and len(text) > TEXT_CAP:
        content[key] = text[:TEXT_CAP] + f"\n[{len(text) - TEXT_CAP} more characters were not kept]\n"


async def run(channel: Channel, order: wire.RunNotebook, kernel: kernels.Kernel) -> int:
    """Run, collect, then relay questions until the judge hangs up."""
    started = now()
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1)
    await loop.run_in_executor(
        thread, now
    )  # started now: a notebook that takes every process it may leaves none for it
    session = _Session(channel, order, kernel)
    ended = await session.execute(started)
    channel.send(ended)
    send_files(channel, order)
    _send_executed(channel, session.notebook)
    alive = ended.alive and await loop.run_in_executor(thread, _finish, channel, order, kernel)
    channel.send(wire.Ready())
    await loop.run_in_executor(thread, _relay, channel, kernel, alive)
    return 0


class _Session:
    """One notebook being run."""

    def __init__(self, channel: Channel, order: wire.RunNotebook, kernel: kernels.Kernel) -> None:
        self.channel, self.order, self.kernel = channel, order, kernel
        v4: Any = nbformat.v4  # without types
        make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell}
        self.notebook = v4.new_notebook(cells=[make[c.kind](c.source) for c in order.cells])
        self.client = Client(self.notebook, km=kernel.manager, allow_errors=True, iopub_timeout=10)
        self.client.output_cap = order.output_bytes
        self.first_error = ""
        self.fits_told = 0

    async def execute(self, started: float) -> wire.Ended:
        """Run the cells, and meanwhile pass on when `fit` runs."""
        if self.kernel.fits is None:
            return await self._execute(started)
        loop = asyncio.get_running_loop()
        loop.add_reader(self.kernel.fits, self._fitting, self.kernel.fits)
        try:
            return await self._execute(started)
        finally:
            loop.remove_reader(self.kernel.fits)

    def _fitting(self, descriptor: int) -> None:
        told = os.read(descriptor, FITS_CAP - self.fits_told)
        self.fits_told += len(told)
        for byte in told:
            self.channel.send(wire.Fitting(bool(byte)))
        if not told:  # the kernel is gone, or has told as much as anyone will hear
            asyncio.get_running_loop().remove_reader(descriptor)

    async def _execute(self, started: float) -> wire.Ended:
        client = self.client
        client.kc = self.kernel.manager.client()
        client.kc.context.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        client.kc.start_channels()
        client.kc.allow_stdin = False
        await self._first_answer()
        self.channel.send(wire.Started(now() - started))
        begin = now()
        how, detail, alive = "ok", "", True
        code_cells = [(i, c) for i, c in enumerate(self.notebook.cells) if c.cell_type == "code" and c.source.strip()]
        for number, (index, cell) in enumerate(code_cells, start=1):
            self.channel.send(wire.CellStarted(number))
            how, detail, alive = await self._cell(cell, index, number)
            if how != "ok":
                break
        if how == "ok" and self.first_error:
            how, detail = "cell error", self.first_error
        return wire.Ended(how, detail[:500], alive, now() - begin, client.output_bytes)

    async def _first_answer(self) -> None:
        """Wait for the kernel's first reply, without nbclient's one-second polling, and until its outputs arrive.

        What is published before our subscription took effect is lost: the first cell would lose its output and its
        error, and its end would be waited for until nbclient gives up after ten seconds (met in one run of forty).
        """
        kc: Any = self.client.kc
        kc.kernel_info()
        heard = asyncio.ensure_future(kc.iopub_channel.get_msg())
        waiting = {asyncio.ensure_future(kc.shell_channel.get_msg()), heard}
        deadline = now() + START_S
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=0.05 if waiting == {heard} else 0.5)
            if waiting == {heard}:
                kc.kernel_info()
            if (waiting and now() > deadline) or await self.kernel.manager.provisioner.poll() is not None:
                raise RuntimeError("the kernel did not start")

    async def _cell(self, cell: Any, index: int, number: int) -> tuple[str, str, bool]:
        start = now()
        self.client.failure = None
        task = asyncio.ensure_future(self.client.async_execute_cell(cell, index, store_history=True))
        how, alive = "ok", True
        while not task.done():
            await asyncio.wait({task}, timeout=LISTEN_EVERY_S)
            if task.done():
                break
            if self.client.flooded:
                how = "output flood"
            elif self._time_is_up():
                how = "timeout"
            if how != "ok":
                alive = await self._interrupt(task)
                break
        if how == "ok" and self.client.flooded:
            how = "output flood"
        if how == "ok":
            try:
                task.result()
            except DeadKernelError:
                how, alive = "kernel died", False
        detail = f"in code cell {number}"
        if how == "kernel died":
            detail += f", exit status {await self.kernel.manager.provisioner.poll()}"
        self._report_cell(cell, number, now() - start, how, detail)
        return how, "" if how == "ok" else detail, alive

    def _time_is_up(self) -> bool:
        """Whether the judge has said so, or has gone."""
        if not select.select([self.channel.sock], [], [], 0)[0]:
            return False
        return isinstance(self.channel.receive(), wire.TimeUp | None)

    async def _interrupt(self, task: asyncio.Future[Any]) -> bool:
        """Interrupt the cell; True if the kernel obeyed. A kernel that does not is killed."""
        for _ in range(2):
            await self.kernel.manager.interrupt_kernel()
            patience = _patience(self.kernel, INTERRUPT_GRACE_S)
            while not task.done() and (left := patience.left()):
                await asyncio.wait({task}, timeout=left)
            if task.done():
                task.exception()  # looked at, so that asyncio does not complain
                return True
        task.cancel()
        await self.kernel.manager.provisioner.kill()
        await asyncio.wait({task}, timeout=1)
        return False

    def _report_cell(self, cell: Any, number: int, seconds: float, how: str, detail: str) -> None:
        error = next((o for o in cell.outputs if o.get("output_type") == "error"), self.client.failure)
        if how != "ok" or error is None:
            message = detail if how != "ok" else ""
            self.channel.send(wire.CellDone(number, how == "ok", seconds, how if how != "ok" else "", message))
            return
        kind, message = str(error.get("ename", ""))[:200], _both_ends(str(error.get("evalue", "")))
        traceback = _without_hooks(error.get("traceback", []))
        line = _line_of(traceback)
        lines = cell.source.splitlines()
        source = lines[line - 1][:300] if line and 0 < line <= len(lines) else ""
        self.first_error = self.first_error or f"{kind} in code cell {number}"
        self.channel.send(wire.CellDone(number, False, seconds, kind, message, line, source, traceback))


def _patience(kernel: kernels.Kernel, seconds: float) -> Patience:
    """So many seconds of the kernel's own time: on a busy machine it obeys and answers later."""
    own = OwnTime(os.cpu_count() or 1, lambda: [kernel.pid])
    own.look()
    return Patience(seconds, own)


def _both_ends(message: str) -> str:
    """A long message without its middle: TensorFlow puts a graph's traceback before what happened."""
    return message if len(message) <= 2000 else f"{message[:1000]} … {message[-990:]}"


def _without_hooks(frames: Any) -> str:
    """An IPython traceback without our own frames. A long one loses its middle: its end says what happened."""
    told = [ANSI.sub("", str(frame)) for frame in [*frames[:FRAMES_CAP], *frames[FRAMES_CAP:][-FRAMES_CAP:]]]
    text = "\n".join(frame for frame in told if not HOOKS.match(frame))
    half = TEXT_CAP // 2 - 10
    return text if len(text) <= TEXT_CAP else f"{text[:half]}\n…\n{text[-half:]}"


def _line_of(traceback: str) -> int | None:
    """The line of the cell an IPython traceback points at ("Cell In[3], line 7" or "----> 7")."""
    found = re.search(r"Cell In\[\d+\], line (\d+)", traceback) or re.search(r"^-+> (\d+) ", traceback, re.MULTILINE)
    return int(found.group(1)) if found else None


# ---------------------------------------------------------------- files


def send_files(channel: Channel, order: wire.RunNotebook) -> None:
    """Send what matches ``keep``: regular files below the work folder, no links, within the caps."""
    matches = []
    work = os.getcwd()
    for folder, names, files in os.walk(work, followlinks=False):
        names[:] = [n for n in sorted(names) if not os.path.islink(os.path.join(folder, n))][:1000]
        if os.path.relpath(folder, work).count(os.sep) >= DEPTH_CAP:
            names.clear()
        for name in sorted(files)[:2000]:
            path = os.path.relpath(os.path.join(folder, name), work).replace(os.sep, "/")
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in order.keep):
                matches.append((os.lstat(path).st_mtime_ns, path))
    left = order.keep_bytes
    for _, path in sorted(matches)[FILES_CAP:]:
        channel.send(wire.FileRefused(_unicode(path)[:500], f"more than {FILES_CAP} files"))
    for position, (_, path) in enumerate(sorted(matches)[:FILES_CAP], start=1):
        try:
            data = _read(path, left)
        except (OSError, ValueError) as error:
            channel.send(wire.FileRefused(_unicode(path)[:500], _unicode(str(error))[:200]))
            continue
        left -= len(data)
        for part in kernels.parts(path, data, position):
            channel.send(part)


def _unicode(text: str) -> str:
    """The text with a mark for every byte that is no Unicode: only that can cross, and a file may have any name."""
    return text.encode("utf-8", "replace").decode()


def _read(path: str, cap: int) -> bytes:
    if _unicode(path) != path:
        raise ValueError("its name is not Unicode")
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, os.O_RDONLY | flags)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size > cap:
            raise ValueError(f"{status.st_size} bytes are more than the lab keeps")
        return file.read(cap + 1)[:cap]


def _send_executed(channel: Channel, notebook: Any) -> None:
    write: Any = nbformat.writes  # without types
    text = write(notebook, version=4)
    for part in kernels.parts(".executed.ipynb", text.encode("utf-8", "replace")):
        channel.send(part)


# ---------------------------------------------------------------- questions


def _finish(channel: Channel, order: wire.RunNotebook, kernel: kernels.Kernel) -> bool:
    """Let the probe keep the models; pass its reports on until it is ready. False if it died meanwhile."""
    kernel.probe.settimeout(60)
    try:
        kernel.probe.sendall(wire.frame(order))
        while True:
            body = read_frame(kernel.probe, wire.REPORT_CAP)
            if body is None:
                return False
            report = wire.decode_report(body)
            if isinstance(report, wire.Ready):
                return True
            channel.send(report)
    except (OSError, wire.WireError):
        return False


def _relay(channel: Channel, kernel: kernels.Kernel, alive: bool) -> None:
    """Questions to the probe, answers back, until the judge hangs up. A probe that is late is killed."""
    while True:
        order = channel.receive()
        if order is None or isinstance(order, wire.Stop):
            return
        if not isinstance(order, wire.Ask):
            continue
        body = _exchange(kernel, order) if alive else None
        if body is None:
            alive = False
            channel.send(wire.Answer(order.nonce, "died", None, wire.Fault("KernelDied", "the kernel is gone")))
        else:
            channel.send_raw(wire.HEADER.pack(len(body)) + body)


def _exchange(kernel: kernels.Kernel, ask: wire.Ask) -> bytes | None:
    patience = _patience(kernel, ask.deadline_s + 5)
    kernel.probe.settimeout(ask.deadline_s + 5)
    try:
        kernel.probe.sendall(wire.frame(ask))
        while not select.select([kernel.probe], [], [], left := patience.left())[0]:
            if not left:
                raise TimeoutError
        return read_frame(kernel.probe, ask.max_bytes)
    except (OSError, wire.WireError):
        kernel.kill()
        return None
