"""The trusted half of a run's channel, and the tape.

Theory of operation. A `Link` is one channel to an untrusted process: every read has an absolute deadline and a cap,
and the first thing that is not of the protocol ends it (`ChannelError`). How long to wait for a report to begin is
counted in the own time of the run behind it (`owntime`): a machine that is busy with others costs no answer. A `Session`
asks questions over up to two links: *live* (the student's kernel) and *clean* (a second sandbox with the kept files and
no student code, started when first needed), and writes every question and answer on a `Tape`. A session without links
*replays* a tape: that is how regrading works without running anything.

Tape keys. A question is known by its side, kind and expression, where drawn inputs stand under the name of their
draw (they need not be generated again) and handles under the question that made them; a question that is asked
after mutating ones is another question.
"""

from __future__ import annotations

import hashlib
import math
import random
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

from grader import wire
from grader.errors import ChannelError, OursError
from grader.owntime import Clock, Patience, Wall
from grader.records import GpuActivity

Side = Literal["live", "clean"]
#: A probe may be late by this much before its channel is given up: the driver itself waits 5 s longer than the deadline.
LATE_S = 15.0
#: A report that has begun must have arrived by then: 64 MiB take 0.1 s on a quiet machine.
FRAME_S = 60.0
#: All answers of one run together, in bytes and in objects; the tape keeps every one of them in memory and on disk.
ANSWERS_CAP = 256 << 20
OBJECTS_CAP = 4 * wire.MAX_OBJECTS
#: An answer that is a handle, or why there is none: a few numbers, and an exception of at most 2,000 characters.
HANDLE_CAP = 1 << 16


class TapeMiss(OursError):
    """A replay met a question that is not on the tape; the run has to be done again."""


class Drawn(Protocol):
    """A lazy array of held-out inputs; ``key`` names it on the tape."""

    @property
    def key(self) -> str: ...

    def array(self) -> np.ndarray[Any, Any]: ...


class Meter(Protocol):
    """Tells what the run's processes did on the host's GPUs (see grader.gpu)."""

    def activity(self, windows: Iterable[tuple[float, float]]) -> GpuActivity: ...


class Link:
    """One channel to an untrusted process. ``pid`` is that process as this side sees it, once it has spoken.

    ``clock`` tells the own time of the run it belongs to, where somebody measures it; wall time elsewhere.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pid = 0
        self.received = self.objects = 0
        self.clock: Clock = Wall()

    def send(self, order: wire.Order, seconds: float = 60.0) -> None:
        self.sock.settimeout(seconds)
        try:
            self.sock.sendall(wire.frame(order))
        except OSError as error:
            raise ChannelError(f"the run does not listen any more ({error})") from None

    def receive(self, deadline: float, cap: int = wire.REPORT_CAP) -> wire.Report:
        """The next report. ``deadline`` is on time.monotonic's clock. Raises ChannelError.

        `ChannelUnwieldy` where one came whole and is not worth reading; the next report may be read after it.
        """
        header = self._exactly(wire.HEADER.size, deadline)
        (size,) = wire.HEADER.unpack(header)
        if size > cap:
            raise ChannelAbused(f"the run sent a frame of {size} bytes, above the cap of {cap}")
        body = self._exactly(size, deadline)
        try:
            self.objects += wire.weigh(body)
            return wire.decode_report(body)
        except wire.Unwieldy as error:
            raise ChannelUnwieldy(str(error)) from None
        except wire.WireError as error:
            raise ChannelAbused(f"the run sent something that is not of the protocol ({error})") from None

    def hear(self, patience: Patience, cap: int = wire.REPORT_CAP) -> wire.Report:
        """The next report, if it begins while there is patience. Raises ChannelTimeout if not, ChannelError."""
        while (left := patience.left()) > 0:
            self.sock.settimeout(left)
            try:
                self.sock.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                continue
            except OSError as error:
                raise ChannelError(f"the run's channel broke ({error})") from None
            return self.receive(time.monotonic() + FRAME_S, cap)
        raise ChannelTimeout("the run did not answer in time")

    def _exactly(self, size: int, deadline: float) -> bytes:
        read = bytearray()  # no list of what came: 40 MiB in pieces of 3 bytes took 2 GB (measured)
        while size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ChannelTimeout("the run did not answer in time")
            self.sock.settimeout(left)
            try:
                data = self._recv(min(size, 1 << 20))
            except TimeoutError:
                raise ChannelTimeout("the run did not answer in time") from None
            except OSError as error:
                raise ChannelError(f"the run's channel broke ({error})") from None
            if not data:
                raise ChannelClosed("the run closed its channel")
            read += data
            size -= len(data)
            self.received += len(data)
        return bytes(read)

    def _recv(self, size: int) -> bytes:
        if self.pid or not hasattr(socket, "SCM_CREDENTIALS"):
            return self.sock.recv(size)
        data, ancillary, _, _ = self.sock.recvmsg(size, socket.CMSG_SPACE(12))
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                self.pid = struct.unpack("3i", payload[:12])[0]
        return data

    def close(self) -> None:
        self.sock.close()


class ChannelTimeout(ChannelError):
    """Nothing came within the deadline."""


class ChannelClosed(ChannelError):
    """The other end is gone."""


class ChannelAbused(ChannelError):
    """The other end sent what no honest one sends: its own doing, and the same another time."""


class ChannelUnwieldy(ChannelAbused):
    """One message was not worth reading."""


# ---------------------------------------------------------------- the tape


class TapeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One question and its answer; ``gpu`` is what the host saw meanwhile, where it was measured."""

    side: Side
    key: str
    kind: wire.Kind
    question: str
    answer: wire.Answer
    gpu: GpuActivity | None = None


class Tape:
    """Every question and answer of a run, in order."""

    def __init__(self, entries: tuple[TapeEntry, ...] = ()) -> None:
        self.entries = list(entries)
        self._read = len(entries)
        self._found = {(e.side, e.key): e for e in entries}

    def find(self, side: Side, key: str) -> TapeEntry | None:
        return self._found.get((side, key))

    def add(self, entry: TapeEntry) -> None:
        self.entries.append(entry)
        self._found[entry.side, entry.key] = entry

    @property
    def grown(self) -> bool:
        """Whether there are answers on it that it did not begin with."""
        return len(self.entries) > self._read

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self.entries)

    @classmethod
    def decode(cls, data: bytes) -> Tape:
        return cls(tuple(msgspec.msgpack.decode(data, type=list[TapeEntry])))


# ---------------------------------------------------------------- sessions


class Session:
    """Asks questions. ``live`` None and ``clean`` None: replay only (a miss raises TapeMiss)."""

    def __init__(
        self,
        live: Link | None,
        clean: Callable[[], Link] | None,
        tape: Tape,
        *,
        seed: int,
        deadline_s: float,
        replay: bool = False,
        meter: Meter | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """``chance`` chooses what is asked again; a run must not know it. None: nobody knows it."""
        self.tape = tape
        self._chance = chance or secrets.SystemRandom()
        self._meter = meter
        self.replay = replay
        self.deadline_s = deadline_s
        self.seed = seed
        self._live = live
        self._start_clean = clean
        self._clean: Link | None = None
        self._dead: dict[Side, str] = {}
        self._history: dict[Side, str] = {"live": "", "clean": ""}
        self._origins: dict[tuple[Side, int], str] = {}
        self.seconds = 0.0
        self.missed = 0
        #: Whether a kernel that was there to be asked went away before it had answered everything.
        self.lost = False
        self._answered = self._objects = 0
        #: Pure questions to the live kernel since the last one that changed it: they may come again.
        self._again: list[_Asked] = []
        self._differing: set[str] = set()
        self._again_s = 0.0
        self._slow_s, self._slow_repeats = 0.0, 0
        self._asked: dict[tuple[Side, str], int] = {}

    def ask(
        self,
        side: Side,
        expr: wire.Expr,
        draws: Mapping[str, Drawn] | None = None,
        *,
        want: wire.Want = "auto",
        kind: wire.Kind = "pure",
        deadline_s: float | None = None,
    ) -> wire.Answer:
        """Ask, or find the answer on the tape. ``draws`` resolves the placeholders in ``expr``."""
        key = self._key(side, expr, want, kind)
        entry = self.tape.find(side, key)
        answer = entry.answer if entry else None
        if answer is None:
            if self.replay and not (side == "clean" and self._start_clean):
                raise TapeMiss("a question of the suite is not on the tape")
            self.missed += 1
            start = time.monotonic()
            if side == "live" and kind == "mutating":  # nobody can ask again what was before
                self._ask_again(RECHECK_S - self._again_s, SLOW_REPEATS + 1)
            answer = self._put(side, expr, draws or {}, want, kind, deadline_s or self.deadline_s)
            if side == "live" and kind == "pure" and _repeatable(answer):
                seconds = time.monotonic() - start
                answer = self._repeated(_Asked(expr, draws or {}, want, deadline_s or self.deadline_s, answer, seconds))
            self.seconds += time.monotonic() - start
            self.tape.add(TapeEntry(side=side, key=key, kind=kind, question=brief(expr), answer=answer))
        if kind == "mutating":
            self._history[side] = key
            if side == "live":
                self._again.clear()
        if isinstance(answer.value, wire.Handle):
            self._origins[side, answer.value.id] = key
        return answer

    def recheck(self) -> tuple[str, ...]:
        """Ask some pure questions once more, in another order, and tell which were ever answered otherwise than before.

        Who counts questions, to answer the first ones honestly, does not know when this comes, nor in which order: at
        the end, and before each question that changes the kernel. A kernel that goes away tells nothing; a replay has
        nobody to ask.
        """
        lost = self.lost
        self._ask_again(RECHECK_S, SLOW_REPEATS + 2)
        self.lost = lost  # everything had been answered
        return tuple(sorted(self._differing))

    def _ask_again(self, seconds: float, slow_repeats: int) -> None:
        """Put quick questions again, for at most so long, and a slow one unless so many have been repeated."""
        begun = time.monotonic()
        shuffled = self._chance.sample(self._again, len(self._again))
        for asked in [asked for asked in shuffled if not asked.slow][:RECHECKS]:
            if time.monotonic() - begun > seconds or not self._compare(asked):
                break
        self._again_s += time.monotonic() - begun
        for asked in shuffled:
            if asked.slow and self._slow_repeats < slow_repeats and self._affords(asked):
                self._compare(asked)
                break

    def _compare(self, asked: _Asked) -> bool:
        """Note it where the answer is another one now. False: there is nobody left to ask."""
        again = self._put_again(asked)
        if again.status != "died" and _agreed(asked.answer, again).status != "ok":
            self._differing.add(brief(asked.expr))
        return again.status != "died"

    def _repeated(self, asked: _Asked) -> wire.Answer:
        """The answer; a refusal where it was asked for twice, and the second one is another.

        Quick questions are all asked twice, slow ones within what `_affords`: the first, and others by chance.
        """
        answer = asked.answer
        chosen = self._slow_repeats == 0 or (self._slow_repeats < SLOW_REPEATS and self._chance.random() < 0.5)
        if not asked.slow or (chosen and self._affords(asked)):
            answer = _agreed(answer, self._put_again(asked))
        if answer.status == "ok" and not _of_the_record(asked.expr):
            self._again.append(asked)
        return answer

    def _affords(self, asked: _Asked) -> bool:
        """Whether there is time to repeat a slow question: all repeats of a run together have one question's time."""
        return self._slow_s + asked.seconds <= self.deadline_s

    def _put_again(self, asked: _Asked) -> wire.Answer:
        """A second answer, which is not kept and so not counted. A slow one may be somewhat slower than the first."""
        start = time.monotonic()
        (self._answered, self._objects), kept = (0, 0), (self._answered, self._objects)
        deadline_s = asked.deadline_s + (asked.seconds if asked.slow else 0.0)
        again = self._put("live", asked.expr, asked.draws, asked.want, "pure", deadline_s)
        self._answered, self._objects = kept
        if asked.slow:
            self._slow_s += time.monotonic() - start
            self._slow_repeats += 1
        return again

    def measure(
        self,
        expr: wire.Expr,
        draws: Mapping[str, Drawn] | None = None,
        *,
        seconds: float,
        deadline_s: float | None = None,
    ) -> tuple[wire.Answer, GpuActivity]:
        """Put a question to the live kernel again and again for that long, while the host watches its GPUs.

        Returns the last answer. It is one entry of the tape, however often it was asked.
        """
        key = self._key("live", expr, "auto", "stochastic", f"measured {seconds:g} s")
        entry = self.tape.find("live", key)
        if entry is None:
            if self.replay:
                raise TapeMiss("a measured question of the suite is not on the tape")
            if self._meter is None:
                raise OursError("a question is to be measured, and nothing measures this run")
            self.missed += 1
            deadline_s = deadline_s or self.deadline_s
            begin, until = time.time(), time.monotonic() + seconds  # windows are by the host's clock, which may jump
            answer = self._put("live", expr, draws or {}, "auto", "stochastic", deadline_s)
            while answer.status == "ok" and time.monotonic() < until:
                answer = self._put("live", expr, draws or {}, "auto", "stochastic", deadline_s)
            end = time.time()
            self.seconds += end - begin
            gpu = self._meter.activity([(begin, end)])
            fields: dict[str, Any] = {"kind": "stochastic", "question": brief(expr), "answer": answer, "gpu": gpu}
            entry = TapeEntry(side="live", key=key, **fields)
            self.tape.add(entry)
        return entry.answer, entry.gpu or GpuActivity(problem="it was not measured")

    def put_file(self, path: str, data: bytes) -> None:
        """Put a kept file into the clean sandbox (nothing happens in a replay)."""
        if self._start_clean is None:
            return
        try:
            link = self._link("clean")
            for start in range(0, max(len(data), 1), wire.CHUNK):
                link.send(wire.PutFile(path, data[start : start + wire.CHUNK], start == 0))
        except ChannelError as error:
            self._dead["clean"] = str(error)

    def _key(self, side: Side, expr: wire.Expr, want: wire.Want, kind: wire.Kind, *more: str) -> str:
        neutral = _rename_handles(expr, lambda number: self._origins.get((side, number), str(number)))
        data = msgspec.msgpack.encode([side, want, kind, self._history[side], neutral, *more])
        key = hashlib.sha256(data).hexdigest()[:32]
        if kind == "pure":
            return key
        self._asked[side, key] = self._asked.get((side, key), 0) + 1  # asked again, it may well answer otherwise
        return f"{key}-{self._asked[side, key]}"

    def _link(self, side: Side) -> Link:
        if side == "live":
            if self._live is None:
                raise ChannelClosed("the kernel is gone")
            return self._live
        if self._clean is None:
            if self._start_clean is None:
                raise ChannelClosed("there is no clean sandbox")
            self._clean = self._start_clean()
        return self._clean

    def _put(
        self,
        side: Side,
        expr: wire.Expr,
        draws: Mapping[str, Drawn],
        want: wire.Want,
        kind: wire.Kind,
        deadline_s: float,
    ) -> wire.Answer:
        nonce = secrets.token_hex(8)
        if side in self._dead:
            return wire.Answer(nonce, "died", None, wire.Fault("Died", self._dead[side][:300]))
        cap = HANDLE_CAP if want == "handle" else wire.REPORT_CAP
        question = wire.Ask(nonce, fill(expr, draws), want, kind, deadline_s, cap, self.seed)
        try:
            link = self._link(side)
            bytes_before, objects_before = link.received, link.objects
            link.send(question)
            try:
                report = link.hear(Patience(deadline_s + LATE_S, link.clock), cap)
            except ChannelUnwieldy as error:
                report = wire.Answer(nonce, "refused", None, wire.Fault("CannotCross", str(error)))
            self._answered += link.received - bytes_before
            self._objects += link.objects - objects_before
            if self._answered > ANSWERS_CAP:
                raise ChannelAbused(f"the run's answers are more than {ANSWERS_CAP >> 20} MiB together")
            if self._objects > OBJECTS_CAP:
                raise ChannelAbused(f"the run's answers have more than {OBJECTS_CAP:,} parts together")
            if not isinstance(report, wire.Answer) or report.nonce != nonce:
                raise ChannelAbused("the run answered another question than the one asked")
        except ChannelError as error:
            # Whoever ended it, the run or a machine without memory, looks the same: a second run tells. Abuse is the run's.
            self.lost |= not isinstance(error, ChannelAbused) and (side == "clean" or self._live is not None)
            self._dead[side] = str(error)
            return wire.Answer(nonce, "died", None, wire.Fault("Died", str(error)[:300]))
        self.lost |= side == "live" and report.status == "died"
        return report

    def close(self) -> None:
        for link in (self._live, self._clean):
            if link is not None:
                link.close()


# ---------------------------------------------------------------- pure questions may be repeated

#: A pure question whose answer was there within this time, by our clock, is asked twice; both answers must agree.
REPEAT_S = 0.25
#: So many of them are asked once more when everything has been asked, for at most so long. Before questions that change
#: the kernel as many are, and for as long all together.
RECHECKS = 8
RECHECK_S = 1.0
#: So many slow ones are asked twice at once, and one more before the kernel is changed, and one in the end.
SLOW_REPEATS = 2
#: Relative and absolute: float32 sums taken in another order differ by some 1e-7.
AGREE = 1e-5


class _Asked(msgspec.Struct, frozen=True):
    """A pure question that was answered, after so many seconds of our clock: what a run says of that is its own claim."""

    expr: wire.Expr
    draws: Mapping[str, Drawn]
    want: wire.Want
    deadline_s: float
    answer: wire.Answer
    seconds: float

    @property
    def slow(self) -> bool:
        return self.seconds >= REPEAT_S


def _of_the_record(expr: wire.Expr) -> bool:
    """Whether it asks for the record of training, which grows with every gradient that a suite asks for."""
    return isinstance(expr, wire.Call) and expr.fn in (wire.Helper("training"), wire.Helper("training_summary"))


def _repeatable(answer: wire.Answer) -> bool:
    return answer.status == "ok" and not isinstance(answer.value, wire.Handle)


def _agreed(first: wire.Answer, again: wire.Answer) -> wire.Answer:
    """The first answer if the second is the same within 1e-5; a refusal otherwise."""
    if again.status == "died" or (
        again.value is not None and first.value is not None and agree(first.value, again.value)
    ):
        return first if again.status != "died" else again
    fault = wire.Fault("Inconsistent", "two different answers to the same question, asked twice")
    return wire.Answer(first.nonce, "refused", None, fault, first.seconds)


def agree(one: wire.Value, other: wire.Value) -> bool:
    """Whether two answers are the same: same types and shapes, numbers within 1e-5, NaN equal to NaN."""
    match one, other:
        case wire.Array(), wire.Array():
            if (one.dtype, one.shape) != (other.dtype, other.shape):
                return False
            try:
                arrays = [wire.to_array(a.dtype, a.shape, a.data).astype(np.float64) for a in (one, other)]
            except wire.WireError:
                return one == other
            return bool(np.allclose(arrays[0], arrays[1], rtol=AGREE, atol=AGREE, equal_nan=True))
        case wire.Seq(), wire.Seq():
            same = len(one.items) == len(other.items)
            return same and all(agree(a, b) for a, b in zip(one.items, other.items, strict=True))
        case wire.Map(), wire.Map():
            same = [key for key, _ in one.items] == [key for key, _ in other.items]
            return same and all(agree(a, b) for (_, a), (_, b) in zip(one.items, other.items, strict=True))
        case wire.Lit(float() as a), wire.Lit(float() as b):
            # np.isclose says the same after 30 us: 200,000 numbers in a list would take 6 s
            near = math.isfinite(b) and abs(a - b) <= AGREE + AGREE * abs(b)
            return a == b or near or (math.isnan(a) and math.isnan(b))
        case _:
            return one == other


# ---------------------------------------------------------------- expressions with placeholders


def placeholder(drawn: Drawn) -> wire.Const:
    """A constant that stands for a drawn array without generating it."""
    return wire.Const(wire.Array("", (), b"", drawn.key))


def fill(expr: wire.Expr, draws: Mapping[str, Drawn]) -> wire.Expr:
    """The expression with its drawn inputs in place."""

    def swap(node: Any) -> Any:
        if isinstance(node, wire.Array) and node.key and not node.data and node.key in draws:
            array = np.ascontiguousarray(draws[node.key].array())
            return wire.Array(array.dtype.str, tuple(array.shape), array.tobytes(), node.key)
        return None

    return _map(expr, swap)  # type: ignore[no-any-return]  # a tree of the same type


def _rename_handles(expr: wire.Expr, name: Callable[[int], str]) -> Any:
    def swap(node: Any) -> Any:
        return wire.Handle(0, name(node.id)) if isinstance(node, wire.Handle) else None

    return _map(expr, swap)


def _map(node: Any, swap: Callable[[Any], Any]) -> Any:
    """A copy of the tree with ``swap`` applied to every node; None keeps the node."""
    swapped = swap(node)
    if swapped is not None:
        return swapped
    if isinstance(node, msgspec.Struct):
        fields = {name: _map(getattr(node, name), swap) for name in node.__struct_fields__}
        return type(node)(**fields)
    if isinstance(node, list | tuple):
        return type(node)(_map(item, swap) for item in node)
    return node


def brief(expr: wire.Expr) -> str:
    """The question in a few words, for people who read a tape."""
    match expr:
        case wire.Name(name) | wire.Var(name) | wire.Helper(name):
            return name
        case wire.Attr(of, name):
            return f"{brief(of)}.{name}"
        case wire.Item(of, key):
            return f"{brief(of)}[{brief(key)}]"
        case wire.Call(fn, args, kwargs):
            shown = [brief(arg) for arg in args] + [f"{name}={brief(arg)}" for name, arg in kwargs]
            return f"{brief(fn)}({', '.join(shown)})"[:500]
        case wire.Lambda(params, body):
            return f"({', '.join(params)}) -> {brief(body)}"[:200]
        case wire.Op(op, args):
            return f"{op}({', '.join(brief(arg) for arg in args)})"[:200]
        case wire.Const(value):
            return _brief_value(value)


def _brief_value(value: wire.Value) -> str:
    match value:
        case wire.Array(dtype, shape, _, key):
            return f"<{key or f'{dtype} {list(shape)}'}>"
        case wire.Lit(v):
            return repr(v)[:60]
        case wire.Handle(number, type_name):
            return f"<{type_name} #{number}>"
        case _:
            return f"<{type(value).__name__.lower()}>"
